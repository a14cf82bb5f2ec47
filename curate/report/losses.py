"""Sections on what went in and what fell out: funnel, drop reasons, quarantine, duplicates.

A section is made of its part of the facts. It states its finding, draws it, and gives the same numbers as a table.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from operator import itemgetter
from typing import Any

from curate.config.units import format_bytes, format_count, number, percent, plural
from curate.report.charts import (
    BLUE,
    GREEN,
    GREY,
    LOSSES,
    ORANGE,
    RED,
    SKY,
    Panel,
    Series,
    draw,
    overlaid,
    share_panel,
    stacked,
)
from curate.report.page import Section, Table, table

Facts = Mapping[str, Any]
ALL = "all sources"


def funnel(part: Facts, facts: Facts) -> Section:
    """What became of the records of each source, in documents and in bytes."""
    total, sources = part["total"], part["sources"]
    records, kept = total["in"]["documents"], total["kept"]["documents"]
    lost = sorted(total["lost"], key=lambda step: -step["documents"])
    if not records:
        finding = "No record was read"
    elif not kept:
        finding = "No document was kept"
    elif not lost:
        finding = f"All {plural(records, 'record')} became documents, and all of those were kept"
    else:
        share = percent(lost[0]["documents"], records)
        finding = f"{percent(kept, records)} of all records were kept; {lost[0]['reason']} took the most, {share}"
    lead = (
        f"{plural(records, 'record')} with {format_bytes(total['in']['bytes'])} of text went in; "
        f"{plural(kept, 'document')} with {format_bytes(total['kept']['bytes'])} were kept."
    )
    rows = ({ALL: total} if len(sources) > 1 else {}) | sources
    named = [step for step in lost if step["kind"] == "dropped"][: len(LOSSES)]
    panels = [
        _funnel_panel("documents", "Documents", "share of records", rows, named, format_count),
        _funnel_panel("bytes", "Text", "share of bytes read", rows, named, format_bytes),
    ]
    caption = (
        "What became of each source. Of the rules that drop a document, the first counts; at the right, what went in."
    )
    charts = [draw("funnel", caption, finding, partial(stacked, panels))] if records else []
    tables = [_funnel_table(rows, facts.get("tokens"), facts.get("mixture")), *_lost_table(rows, lost)]
    return Section("funnel", "Funnel", finding, lead, charts=charts, tables=tables)


def _funnel_panel(
    unit: str, title: str, axis: str, rows: Facts, named: Sequence[Facts], show: Callable[[int], str]
) -> Panel:
    """Shares kept, lost to each of the `named` reasons, to other reasons and to quarantine."""
    keys = [_key(step) for step in named]
    names = ["kept", *(step["reason"] for step in named), "other reasons", "quarantined"]
    colors = [BLUE, *LOSSES[: len(keys)], GREY, RED]
    columns: list[list[float]] = [[] for _ in names]
    for source in rows.values():
        parts = [source["kept"][unit], *[0] * (len(names) - 1)]
        for step in source["lost"]:
            quarantined, key = step["kind"] == "quarantined", _key(step)
            parts[-1 if quarantined else keys.index(key) + 1 if key in keys else -2] += step[unit] or 0
        for column, size in zip(columns, parts, strict=True):
            column.append(size / (source["in"][unit] or 1))
    series = [Series(*each) for each in zip(names, colors, columns, strict=True) if any(each[2])]
    return Panel(title, axis, list(rows), series, [show(source["in"][unit]) for source in rows.values()])


def _key(step: Facts) -> tuple[str, str, str]:
    return step["stage"], step["kind"], step["reason"]


def _lost(source: Facts, key: tuple[str, str, str]) -> int:
    return sum(step["documents"] for step in source["lost"] if _key(step) == key)


def _funnel_table(rows: Facts, tokens: Facts | None, mixture: Facts | None) -> Table:
    def lost(kind: str) -> Callable[[str], str]:
        return lambda name: number(sum(step["documents"] for step in rows[name]["lost"] if step["kind"] == kind))

    def size(end: str, unit: str, show: Callable[[int], str]) -> Callable[[str], str]:
        return lambda name: show(rows[name][end][unit])

    def kept(unit: str) -> Callable[[str], str]:
        return lambda name: percent(rows[name]["kept"][unit], rows[name]["in"][unit])

    columns = {
        "records": size("in", "documents", number),
        "quarantined": lost("quarantined"),
        "dropped": lost("dropped"),
        "kept": size("kept", "documents", number),
        "share kept": kept("documents"),
        "text read": size("in", "bytes", format_bytes),
        "text kept": size("kept", "bytes", format_bytes),
        "share of text kept": kept("bytes"),
    }
    if tokens:
        columns["tokens kept"] = partial(_tokens, tokens)
    if mixture:
        names = [rung["name"] for rung in mixture["rungs"]]
        columns |= {f"in {name}": partial(_in_rung, mixture, place) for place, name in enumerate(names)}
    caption = "Documents and text by source" + (", and documents in each rung" if mixture else "")
    return table(caption, rows, {"source": str}, columns, total=len(rows) > 1)


def _tokens(tokens: Facts, source: str) -> str:
    counts = tokens["total"] if source == ALL else tokens["sources"].get(source, {})
    return format_count(counts.get("tokens", 0))


def _in_rung(mixture: Facts, rung: int, source: str) -> str:
    counted = mixture if source == ALL else mixture["sources"].get(source)
    return number(counted["rungs"][rung]["documents"]) if counted else "0"


def _lost_table(rows: Facts, lost: Sequence[Facts]) -> list[Table]:
    """Documents lost, reasons down and sources across; none when nothing was lost."""

    def of(source: Facts) -> Callable[[Facts], str]:
        return lambda step: number(_lost(source, _key(step)))

    text = {key: itemgetter(key) for key in ("stage", "reason", "kind")}
    sizes = {"text": lambda step: "" if step["bytes"] is None else format_bytes(step["bytes"])}
    counts = {name: of(source) for name, source in rows.items()}
    return [table("Documents lost, by reason and source", lost, text, sizes | counts)] if lost else []


def drops(part: Sequence[Facts], _: Facts) -> Section:
    """Which rules drop what, and which of them would not be missed."""
    charts, tables = [], []
    for decision in part:
        rules, documents = decision["rules"], decision["documents"]
        which = f" of {decision['stage']}" if len(part) > 1 else ""
        if any(rule["any"] for rule in rules):
            caption = f"Documents that each rule{which} is true of, in the order of the rules, with their share."
            chosen = {"any": SKY, "first": BLUE, "only": ORANGE}
            names = {"any": "true", "first": "true, and no rule above it", "only": "true, and no other rule"}
            series = [Series(names[key], color, [rule[key] for rule in rules]) for key, color in chosen.items()]
            notes = [percent(rule["any"], documents) for rule in rules]
            panel = Panel("", "documents", [rule["name"] for rule in rules], series, notes)
            plot = partial(overlaid, [panel], format_value=whole)
            charts.append(draw(f"drops-{decision['stage']}", caption, _drops_finding(decision), plot))
        text = {
            "rule": itemgetter("name"),
            "drops when": itemgetter("when"),
            "sources": lambda rule: ", ".join(rule["sources"] or ["all"]),
        }
        counts = {
            "true": lambda rule: number(rule["any"]),
            "share of documents": lambda rule, documents=documents: percent(rule["any"], documents),
            "no rule above it": lambda rule: number(rule["first"]),
            "no other rule": lambda rule: number(rule["only"]),
        }
        tables.append(table(f"Documents that each rule{which} drops", rules, text, counts))
    idle = [rule["name"] for decision in part for rule in decision["rules"] if not rule["any"]]
    lead = f"Never true: {', '.join(idle)}." if idle else ""
    alarms = [
        f"{found['rule']} drops {percent(found['documents'], found['of'])} of {found['source']}: is it meant for it?"
        for decision in part
        for found in decision["large"]
    ]
    return Section("drops", "Drop reasons", _drops_finding(part[-1]), lead, alarms=alarms, charts=charts, tables=tables)


def _drops_finding(decision: Facts) -> str:
    rules = decision["rules"]
    most = max(rules, key=lambda rule: rule["any"], default=None)
    if most is None or not most["any"]:
        return "No rule drops any document" if rules else "There are no rules, so every document is kept"
    finding = f"{most['name']} drops the most: {number(most['any'])} of {plural(decision['documents'], 'document')}"
    return f"{finding}, {number(most['only'])} of them for no other reason" if len(rules) > 1 else finding


def whole(value: float) -> str:
    """A count on an axis."""
    return format_count(round(value))


def quarantine(part: Facts, facts: Facts) -> Section:
    """What could not be read, why, and where."""
    rows, files = (
        dict(sorted(part[scope].items(), key=lambda entry: -entry[1]["count"])) for scope in ("rows", "files")
    )
    bad_rows, bad_files = (sum(entry["count"] for entry in reasons.values()) for reasons in (rows, files))
    said = [plural(count, noun) for count, noun in ((bad_rows, "record"), (bad_files, "file")) if count]
    if said:
        finding = f"{' and '.join(said)} could not be used, most often for {next(iter(rows or files))}"
    else:
        finding = "Nothing was quarantined: every record became a document"
    lead = ""
    if bad_rows:
        lead = f"That is {percent(bad_rows, facts['funnel']['total']['in']['documents'])} of all records. "
    if part["ignored_files"]:
        lead += f"Files passed over, because their names end in no known format: {_by_source(part['ignored_files'])}."
    charts = []
    if rows:
        counts = [entry["count"] for entry in rows.values()]
        panel = Panel("", "records", list(rows), [Series("records", RED, counts)], list(map(number, counts)))
        caption = "Records that could not be used, by reason."
        charts = [draw("quarantine", caption, finding, partial(overlaid, [panel], format_value=whole))]
    entries = [(scope, *entry) for scope, bad in (("file", files), ("record", rows)) for entry in bad.items()]
    text = {
        "reason": itemgetter(1),
        "what": itemgetter(0),
        "by source": lambda entry: _by_source(entry[2]["sources"]),
        "first places": lambda entry: "; ".join(_places(entry[2])),
    }
    tables = [table("Why, and where to look first", entries, text, {"count": lambda entry: number(entry[2]["count"])})]
    return Section("quarantine", "Quarantine", finding, lead, charts=charts, tables=tables if entries else [])


def _by_source(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{source}: {number(count)}" for source, count in counts.items())


def _places(entry: Facts) -> Iterator[str]:
    """Files with lines, or with offsets where lines are not known; sources where there are several."""
    for place in entry["places"]:
        where = f"{place['source']}: {place['file']}" if len(entry["sources"]) > 1 else place["file"]
        if place["line"] is not None:
            yield f"{where}, line {place['line']}"
        else:
            yield where if place["offset"] is None else f"{where}, at {place['offset']}"


def duplicates(part: Sequence[Facts], _: Facts) -> Section:
    """How much is a copy of something else, in which sources, and how large the clusters are."""
    kinds = {"exact": "exact", "minhash": "near"}
    named = Counter(found["kind"] for found in part)
    shares = [
        f"{percent(found['copies'], found['documents'])} are {kinds[found['kind']]} copies"
        + (f" by {found['stage']}" if named[found["kind"]] > 1 else "")
        for found in part
    ]
    if any(found["copies"] for found in part):
        finding = f"Of all documents, {' and '.join(shares)} of another one"
    else:
        finding = "No document is a copy of another one"
    hot = [
        f"{found['stage']} met {plural(found['hot_buckets'], 'hot bucket')} (many documents that agree in a band)."
        for found in part
        if found["hot_buckets"]
    ]
    panels = []
    for found in part:
        shares = {name: counts["share"] for name, counts in found["sources"].items()}
        panels.append(share_panel(found["stage"], "share of documents", "copies", ORANGE, shares))
    caption = "Documents of each source that are copies, not counting the one of each cluster that is kept."
    charts = [draw("copies", caption, finding, partial(overlaid, panels, columns=2, format_value=percent))]
    sizes = sorted({size for found in part for size in found["cluster_sizes"]}, key=int)
    if sizes:
        panels = []
        for found in part:
            values = [found["cluster_sizes"].get(size, 0) for size in sizes]
            series = [Series("clusters", GREEN, values)]
            ranges = list(map(_range, sizes))
            panels.append(Panel(found["stage"], "clusters", ranges, series, list(map(number, values))))
        caption = "Clusters by the number of documents in them."
        charts.append(draw("clusters", caption, finding, partial(overlaid, panels, columns=2, format_value=whole)))
    counted = [(found["stage"], *entry) for found in part for entry in found["sources"].items()]
    text = {"stage": itemgetter(0), "source": itemgetter(1)}
    numbers = {
        "documents": lambda entry: number(entry[2]["of"]),
        "copies": lambda entry: number(entry[2]["documents"]),
        "share": lambda entry: percent(entry[2]["share"]),
        "text of copies": lambda entry: format_bytes(entry[2]["bytes"]),
    }
    tables = [table("Copies by stage and source", counted, text, numbers)]
    if sizes:
        columns = {found["stage"]: partial(_clusters, found) for found in part}
        tables.append(table("Clusters by size", sizes, {"documents in a cluster": _range}, columns))
    return Section("duplicates", "Duplicates", finding, " ".join(hot), charts=charts, tables=tables)


def _clusters(found: Facts, size: str) -> str:
    return number(found["cluster_sizes"].get(size, 0))


def _range(size: str) -> str:
    """Sizes in the bin that begins with a power of two.

    Examples
    --------
    >>> _range("2"), _range("1024")
    ('2 to 3', '1,024 to 2,047')
    """
    return f"{number(int(size))} to {number(2 * int(size) - 1)}"
