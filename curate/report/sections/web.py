"""What web archives hold that is no page, and the text that was made of pages."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from operator import itemgetter
from typing import Generic, TypedDict, TypeVar

from curate.cleaning.manifest import ExtractBody
from curate.config.units import format_bytes, number, percent, plural
from curate.report.charts import BLUE, GREY, Chart, Panel, Series, draw, overlaid, share_panel, whole
from curate.report.page import PageSection, PageTable, table
from curate.report.record import RunRecord, StageRecord
from curate.report.section import Report, Section


class RecordCounts(TypedDict):
    """Records of a source: documents, those skipped by what they are, those quarantined."""

    records: int
    documents: int
    skipped: dict[str, int]
    quarantined: int


class PageFlow(TypedDict):
    """HTML documents of a source, those passed on as they are, bytes before and after, those dropped by reason."""

    pages: int
    passed: int
    html_bytes: int
    text_bytes: int
    lost: int
    dropped: dict[str, int]


Counts = TypeVar("Counts", RecordCounts, PageFlow)


class BySource(TypedDict, Generic[Counts]):
    """Counts of one stage by source."""

    stage: str
    sources: dict[str, Counts]


class WebFacts(TypedDict):
    """Records per `read` stage, pages per `extract` stage."""

    records: list[BySource[RecordCounts]]
    pages: list[BySource[PageFlow]]


RecordRow = tuple[str, str, RecordCounts]
PageRow = tuple[str, str, PageFlow]
"""A stage, a source, and counts."""


def facts(run: RunRecord) -> WebFacts | None:
    """Records of web archives by what they are, per stage and source, and pages of which there is text, or none.

    Of `read`, the sources in which a record was passed over: those of other formats have none.
    """
    records = [counts for stage in run.of("read") if (counts := _records_of(stage))["sources"]]
    pages = [_pages_of(stage) for stage in run.of("extract")]
    return {"records": records, "pages": pages} if records or pages else None


def _records_of(stage: StageRecord) -> BySource[RecordCounts]:
    sources: dict[str, RecordCounts] = {
        source: {
            "records": flow["in"],
            "documents": flow["kept"],
            "skipped": flow["dropped"],
            "quarantined": sum(flow["quarantined"].values()),
        }
        for source, flow in stage.manifest["flow"].items()
        if flow["dropped"]
    }
    return {"stage": stage.name, "sources": sources}


def _pages_of(stage: StageRecord) -> BySource[PageFlow]:
    body = stage.body(ExtractBody)
    sources: dict[str, PageFlow] = {}
    for source, flow in body["flow"].items():
        counts = body["extracted"].get(source, {})
        sources[source] = {
            "pages": counts.get("pages", 0),
            "passed": counts.get("passed", 0),
            "html_bytes": counts.get("html_bytes", 0),
            "text_bytes": counts.get("text_bytes", 0),
            "lost": sum(flow["dropped"].values()),
            "dropped": flow["dropped"],
        }
    return {"stage": stage.name, "sources": sources}


# -- page --------------------------------------------------------------------------------------------------------------


def page(facts: WebFacts, _: Report) -> PageSection:
    """Records of archives by what they are; pages, and how many of them gave text."""
    records, pages = _rows(facts["records"]), _rows(facts["pages"])
    finding = "; ".join(said for said in (_of_records(records), _of_pages(pages)) if said)
    charts = [*_skipped_chart(records), *_text_chart(facts["pages"])]
    tables = [*_record_tables(records), *_page_tables(pages)]
    return PageSection("web", "Web pages", finding, charts=charts, tables=tables)


def _rows(stages: Sequence[BySource[Counts]]) -> list[tuple[str, str, Counts]]:
    return [(stage["stage"], source, counts) for stage in stages for source, counts in stage["sources"].items()]


def _of_records(rows: Sequence[RecordRow]) -> str:
    skipped = _skipped(rows)
    if not skipped:
        return ""
    records = sum(counts["records"] for _, _, counts in rows)
    most = skipped.most_common(1)[0][0]
    share = f"{number(skipped.total())} of {plural(records, 'record')} of web archives"
    return f"{share} are no pages, most often {most}"


def _of_pages(rows: Sequence[PageRow]) -> str:
    if not rows:
        return ""
    pages, lost = (sum(counts[name] for _, _, counts in rows) for name in ("pages", "lost"))
    read, text = (sum(counts[name] for _, _, counts in rows) for name in ("html_bytes", "text_bytes"))
    if not pages:
        return "No document was HTML"
    return f"{number(pages - lost)} of {plural(pages, 'page')} gave text, {percent(text, read)} of their HTML"


def _skipped(rows: Sequence[RecordRow]) -> Counter[str]:
    skipped: Counter[str] = Counter()
    for _, _, counts in rows:
        skipped.update(counts["skipped"])
    return skipped


def _skipped_chart(rows: Sequence[RecordRow]) -> list[Chart]:
    reasons: Mapping[str, int] = dict(_skipped(rows).most_common())
    if not reasons:
        return []
    counts = list(reasons.values())
    panel = Panel("", "records", list(reasons), [Series("records", GREY, counts)], list(map(number, counts)))
    caption = "Records of web archives that are no pages, by what they are."
    return [draw("skipped", caption, _of_records(rows), partial(overlaid, [panel], format_value=whole))]


def _text_chart(stages: Sequence[BySource[PageFlow]]) -> list[Chart]:
    panels = []
    for stage in stages:
        sizes = {name: (c["text_bytes"], c["html_bytes"]) for name, c in stage["sources"].items() if c["html_bytes"]}
        if sizes:
            shares = {name: text / html for name, (text, html) in sizes.items()}
            panels.append(share_panel(stage["stage"], "share of HTML", "text", BLUE, shares))
    if not panels:
        return []
    caption = "Bytes of text that the extractor found, per byte of HTML, for each source."
    finding = _of_pages(_rows(stages))
    return [draw("extracted", caption, finding, partial(overlaid, panels, columns=2, format_value=percent))]


WHOSE = {"stage": itemgetter(0), "source": itemgetter(1)}


def _record_tables(rows: Sequence[RecordRow]) -> list[PageTable]:
    sizes: dict[str, Callable[[RecordRow], str]] = {
        "records": lambda row: number(row[2]["records"]),
        "documents": lambda row: number(row[2]["documents"]),
        "no pages": lambda row: number(sum(row[2]["skipped"].values())),
        "quarantined": lambda row: number(row[2]["quarantined"]),
    }
    reasons = [
        (stage, source, reason, count)
        for stage, source, counts in rows
        for reason, count in sorted(counts["skipped"].items(), key=lambda item: -item[1])
    ]
    if not rows:
        return []
    return [
        table("Records of web archives", rows, WHOSE, sizes),
        table(
            "Records that are no pages",
            reasons,
            WHOSE | {"what they are": itemgetter(2)},
            {"records": lambda row: number(row[3])},
        ),
    ]


def _page_tables(rows: Sequence[PageRow]) -> list[PageTable]:
    reasons = sorted({reason for _, _, counts in rows for reason in counts["dropped"]})
    sizes: dict[str, Callable[[PageRow], str]] = {
        "pages": lambda row: number(row[2]["pages"]),
        "no HTML, passed on": lambda row: number(row[2]["passed"]),
        "HTML": lambda row: format_bytes(row[2]["html_bytes"]),
        "text": lambda row: format_bytes(row[2]["text_bytes"]),
        **{reason: partial(_dropped, reason) for reason in reasons},
    }
    return [table("Pages, their text, and pages that were dropped", rows, WHOSE, sizes)] if rows else []


def _dropped(reason: str, row: PageRow) -> str:
    return number(row[2]["dropped"].get(reason, 0))


SECTION = Section("web", 40, facts, page, needs=("read", "extract"))
