"""What `read` could not use, why, and where it stands."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Literal, TypedDict

from curate.config.units import number, percent, plural
from curate.io.manifest import ReadBody
from curate.report.charts import RED, Chart, Panel, Series, draw, overlaid, whole
from curate.report.page import PageSection, PageTable, table
from curate.report.record import RunRecord, StageRecord
from curate.report.section import Report, Section
from curate.report.sections import funnel
from curate.table import read_part

PLACES = 3  # examples per reason


class QuarantinePlace(TypedDict):
    """Where a row or file stands that could not be used."""

    source: str
    file: str
    line: int | None
    offset: int | None


class ReasonCounts(TypedDict):
    """How much could not be used for one reason, by source, and where to look first."""

    count: int
    sources: dict[str, int]
    places: list[QuarantinePlace]


class QuarantineFacts(TypedDict):
    """Rows and files by reason, and files of no known format by source."""

    rows: dict[str, ReasonCounts]
    files: dict[str, ReasonCounts]
    ignored_files: dict[str, int]


def facts(run: RunRecord) -> QuarantineFacts:
    """Rows and files that could not be used, by reason, with the first places of each; never their content."""
    rows: dict[str, ReasonCounts] = {}
    files: dict[str, ReasonCounts] = {}
    ignored: dict[str, int] = {}
    for stage in run.of("read"):
        body = stage.body(ReadBody)
        for source, flow in body["flow"].items():
            _count(rows, source, flow["quarantined"])
        for source, counts in body["files"].items():
            _count(files, source, counts["quarantined"])
            if counts["ignored"]:
                ignored[source] = counts["ignored"]
        _add_places(rows, "row", stage)
        _add_places(files, "file", stage)
    return {"rows": rows, "files": files, "ignored_files": ignored}


def _count(reasons: dict[str, ReasonCounts], source: str, counts: Mapping[str, int]) -> None:
    for reason, count in counts.items():
        entry = reasons.setdefault(reason, {"count": 0, "sources": {}, "places": []})
        entry["count"] += count
        entry["sources"][source] = entry["sources"].get(source, 0) + count


def _add_places(reasons: Mapping[str, ReasonCounts], scope: Literal["row", "file"], stage: StageRecord) -> None:
    """Add the first `PLACES` places of each reason; opens no more quarantine tables than it takes."""
    by_reason: dict[str, list[QuarantinePlace]] = {reason: [] for reason in reasons}
    columns = ["source", "file", "scope", "line", "offset", "reason"]
    for path in stage.quarantine():
        if all(len(places) == PLACES for places in by_reason.values()):
            break
        for row in read_part(path, columns).to_pylist():
            places = by_reason.get(row["reason"], [])
            if row["scope"] == scope and len(places) < PLACES:
                source, file, line, offset = (row[name] for name in ("source", "file", "line", "offset"))
                places.append({"source": source, "file": file, "line": line, "offset": offset})
    for reason, places in by_reason.items():
        reasons[reason]["places"] += places


# -- page --------------------------------------------------------------------------------------------------------------


def page(facts: QuarantineFacts, report: Report) -> PageSection:
    """Records that could not be used by reason, and the first places of each."""
    rows, files = _most_frequent_first(facts["rows"]), _most_frequent_first(facts["files"])
    bad_rows, bad_files = (sum(entry["count"] for entry in reasons.values()) for reasons in (rows, files))
    said = [plural(count, noun) for count, noun in ((bad_rows, "record"), (bad_files, "file")) if count]
    if said:
        finding = f"{' and '.join(said)} could not be used, most often for {next(iter(rows or files))}"
    else:
        finding = "Nothing was quarantined: every record became a document"
    lead = ""
    flow = report.of(funnel.SECTION)
    if bad_rows and flow:
        lead = f"That is {percent(bad_rows, flow['total']['in']['documents'])} of all records. "
    if facts["ignored_files"]:
        lead += f"Files passed over, because their names end in no known format: {_by_source(facts['ignored_files'])}."
    charts = [_chart(rows, finding)] if rows else []
    tables = [_table(rows, files)] if rows or files else []
    return PageSection("quarantine", "Quarantine", finding, lead, charts=charts, tables=tables)


def _most_frequent_first(reasons: Mapping[str, ReasonCounts]) -> dict[str, ReasonCounts]:
    return dict(sorted(reasons.items(), key=lambda entry: -entry[1]["count"]))


def _chart(rows: Mapping[str, ReasonCounts], finding: str) -> Chart:
    counts = [entry["count"] for entry in rows.values()]
    panel = Panel("", "records", list(rows), [Series("records", RED, counts)], list(map(number, counts)))
    caption = "Records that could not be used, by reason."
    return draw("quarantine", caption, finding, partial(overlaid, [panel], format_value=whole))


def _table(rows: Mapping[str, ReasonCounts], files: Mapping[str, ReasonCounts]) -> PageTable:
    entries = [(what, *entry) for what, reasons in (("file", files), ("record", rows)) for entry in reasons.items()]
    text: dict[str, Callable[[tuple[str, str, ReasonCounts]], str]] = {
        "reason": lambda entry: entry[1],
        "what": lambda entry: entry[0],
        "by source": lambda entry: _by_source(entry[2]["sources"]),
        "first places": lambda entry: "; ".join(_written(entry[2])),
    }
    return table("Why, and where to look first", entries, text, {"count": lambda entry: number(entry[2]["count"])})


def _by_source(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{source}: {number(count)}" for source, count in counts.items())


def _written(entry: ReasonCounts) -> Iterator[str]:
    """Files with lines, or with offsets where lines are not known; sources where there are several."""
    for place in entry["places"]:
        where = f"{place['source']}: {place['file']}" if len(entry["sources"]) > 1 else place["file"]
        if place["line"] is not None:
            yield f"{where}, line {place['line']}"
        else:
            yield where if place["offset"] is None else f"{where}, at {place['offset']}"


SECTION = Section("quarantine", 30, facts, page, needs=("read",))
