"""What became of the records of each source, in documents and in bytes."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Literal, TypedDict

from curate.artifact import SourceFlow
from curate.config.units import format_bytes, format_count, number, percent, plural
from curate.report.charts import BLUE, GREY, LOSSES, RED, Panel, Series, draw, stacked
from curate.report.page import PageSection, PageTable, Tile, table
from curate.report.record import RunRecord, StageRecord
from curate.report.section import Report, Section
from curate.report.sections import mixture, tokens
from curate.rules.manifest import SelectBody

ALL = "all sources"
NOTHING: SourceFlow = {"in": 0, "kept": 0, "dropped": {}, "quarantined": {}}


class Volume(TypedDict):
    """Documents and bytes of their text."""

    documents: int
    bytes: int


class Loss(TypedDict):
    """Documents that a stage lost for one reason; bytes of records that never became documents are not known."""

    stage: str
    reason: str
    kind: Literal["quarantined", "dropped"]
    documents: int
    bytes: int | None


SourceFunnel = TypedDict("SourceFunnel", {"in": Volume, "lost": list[Loss], "kept": Volume})
"""What went in, what was lost on the way, and what is kept."""

LossKey = tuple[str, str, str]
"""Stage, kind and reason of a loss."""


class FunnelFacts(TypedDict):
    """All sources together, and each of them."""

    total: SourceFunnel
    sources: dict[str, SourceFunnel]


def facts(run: RunRecord) -> FunnelFacts | None:
    """Per source: records in, what was lost to which reason of which stage, and documents kept, with bytes of text.

    Documents flow through the stages that make tables and then through the last `select`. Bytes of a record that never
    became a document are not known, and count as none.
    """
    tables = [stage for stage in run.stages if stage.makes_table]
    if not tables:
        return None
    path = [*tables, *run.of("select")[-1:]]
    sources = {source: _source_funnel(path, source) for source in tables[0].manifest["flow"]}
    return {"total": _total(sources.values()), "sources": sources}


def _source_funnel(path: Sequence[StageRecord], source: str) -> SourceFunnel:
    first, last = path[0], path[-1]
    return {
        "in": {"documents": first.manifest["flow"][source]["in"], "bytes": _text_bytes(first, source)},
        "lost": [loss for stage in path for loss in _losses(stage, source)],
        "kept": {"documents": last.manifest["flow"].get(source, NOTHING)["kept"], "bytes": _kept_bytes(last, source)},
    }


def _losses(stage: StageRecord, source: str) -> Iterator[Loss]:
    sizes = _bytes_by_reason(stage, source)
    flow = stage.manifest["flow"].get(source, NOTHING)
    for kind in ("quarantined", "dropped"):
        for reason, count in flow[kind].items():
            if count:
                name, size = stage.name, sizes.get(reason)
                yield {"stage": name, "reason": reason, "kind": kind, "documents": count, "bytes": size}


def _bytes_by_reason(stage: StageRecord, source: str) -> Mapping[str, int]:
    """Bytes that a `select` dropped; other stages do not count them."""
    sizes = stage.body(SelectBody)["bytes"].get(source) if stage.kind == "select" else None
    return sizes["dropped"] if sizes else {}


def _kept_bytes(stage: StageRecord, source: str) -> int:
    if stage.kind != "select":
        return _text_bytes(stage, source)
    sizes = stage.body(SelectBody)["bytes"].get(source)
    return sizes["kept"] if sizes else 0


def _text_bytes(table: StageRecord, source: str) -> int:
    return sum(shard.text_bytes for shard in table.artifact.shards() if shard.source == source)


def _total(sources: Iterable[SourceFunnel]) -> SourceFunnel:
    total: SourceFunnel = {"in": {"documents": 0, "bytes": 0}, "lost": [], "kept": {"documents": 0, "bytes": 0}}
    lost: dict[LossKey, Loss] = {}
    for source in sources:
        for end in ("in", "kept"):
            for unit in ("documents", "bytes"):
                total[end][unit] += source[end][unit]
        for loss in source["lost"]:
            same = lost.setdefault(_key(loss), {**loss, "documents": 0, "bytes": None})
            same["documents"] += loss["documents"]
            if loss["bytes"] is not None:
                same["bytes"] = (same["bytes"] or 0) + loss["bytes"]
    total["lost"] = list(lost.values())
    return total


def _key(loss: Loss) -> LossKey:
    return loss["stage"], loss["kind"], loss["reason"]


# -- page --------------------------------------------------------------------------------------------------------------


def page(facts: FunnelFacts, report: Report) -> PageSection:
    """Shares kept and lost by reason, and the same numbers by source."""
    total, sources = facts["total"], facts["sources"]
    records, kept = total["in"]["documents"], total["kept"]["documents"]
    lost = sorted(total["lost"], key=lambda loss: -loss["documents"])
    finding = _finding(records, kept, lost)
    lead = (
        f"{plural(records, 'record')} with {format_bytes(total['in']['bytes'])} of text went in; "
        f"{plural(kept, 'document')} with {format_bytes(total['kept']['bytes'])} were kept."
    )
    rows = ({ALL: total} if len(sources) > 1 else {}) | sources
    named = [loss for loss in lost if loss["kind"] == "dropped"][: len(LOSSES)]
    panels = [
        _panel("documents", "Documents", "share of records", rows, named, format_count),
        _panel("bytes", "Text", "share of bytes read", rows, named, format_bytes),
    ]
    caption = (
        "What became of each source. Of the rules that drop a document, the first counts; at the right, what went in."
    )
    charts = [draw("funnel", caption, finding, partial(stacked, panels))] if records else []
    tables = [_source_table(rows, report), *_lost_table(rows, lost)]
    return PageSection("funnel", "Funnel", finding, lead, charts=charts, tables=tables)


def _finding(records: int, kept: int, lost: Sequence[Loss]) -> str:
    if not records:
        return "No record was read"
    if not kept:
        return "No document was kept"
    if not lost:
        return f"All {plural(records, 'record')} became documents, and all of those were kept"
    share = percent(lost[0]["documents"], records)
    return f"{percent(kept, records)} of all records were kept; {lost[0]['reason']} took the most, {share}"


def _panel(
    unit: Literal["documents", "bytes"],
    title: str,
    axis: str,
    rows: Mapping[str, SourceFunnel],
    named: Sequence[Loss],
    show: Callable[[int], str],
) -> Panel:
    """Shares kept, lost to each of the `named` reasons, to other reasons and to quarantine."""
    keys = [_key(loss) for loss in named]
    names = ["kept", *(loss["reason"] for loss in named), "other reasons", "quarantined"]
    colors = [BLUE, *LOSSES[: len(keys)], GREY, RED]
    columns: list[list[float]] = [[] for _ in names]
    for source in rows.values():
        parts = [source["kept"][unit], *[0] * (len(names) - 1)]
        for loss in source["lost"]:
            quarantined, key = loss["kind"] == "quarantined", _key(loss)
            parts[-1 if quarantined else keys.index(key) + 1 if key in keys else -2] += loss[unit] or 0
        for column, size in zip(columns, parts, strict=True):
            column.append(size / (source["in"][unit] or 1))
    series = [Series(*each) for each in zip(names, colors, columns, strict=True) if any(each[2])]
    return Panel(title, axis, list(rows), series, [show(source["in"][unit]) for source in rows.values()])


def _source_table(rows: Mapping[str, SourceFunnel], report: Report) -> PageTable:
    def lost(kind: str) -> Callable[[str], str]:
        return lambda name: number(sum(loss["documents"] for loss in rows[name]["lost"] if loss["kind"] == kind))

    def size(
        end: Literal["in", "kept"], unit: Literal["documents", "bytes"], show: Callable[[int], str]
    ) -> Callable[[str], str]:
        return lambda name: show(rows[name][end][unit])

    def kept(unit: Literal["documents", "bytes"]) -> Callable[[str], str]:
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
    counted, mixed = report.of(tokens.SECTION), report.of(mixture.SECTION)
    if counted:
        columns["tokens kept"] = partial(_tokens, counted)
    if mixed:
        names = [rung["name"] for rung in mixed["rungs"]]
        columns |= {f"in {name}": partial(_in_rung, mixed, place) for place, name in enumerate(names)}
    caption = "Documents and text by source" + (", and documents in each rung" if mixed else "")
    return table(caption, rows, {"source": str}, columns, total=len(rows) > 1)


def _tokens(counted: tokens.TokenFacts, source: str) -> str:
    sizes = counted["total"] if source == ALL else counted["sources"].get(source)
    return format_count(sizes["tokens"] if sizes else 0)


def _in_rung(mixed: mixture.MixtureFacts, rung: int, source: str) -> str:
    if source == ALL:
        return number(mixed["rungs"][rung]["documents"])
    given = mixed["sources"].get(source)
    return number(given["rungs"][rung]["documents"]) if given else "0"


def _lost_table(rows: Mapping[str, SourceFunnel], lost: Sequence[Loss]) -> list[PageTable]:
    """Documents lost, reasons down and sources across; none when nothing was lost."""

    def count(source: SourceFunnel) -> Callable[[Loss], str]:
        return lambda loss: number(sum(own["documents"] for own in source["lost"] if _key(own) == _key(loss)))

    text: dict[str, Callable[[Loss], str]] = {
        "stage": lambda loss: loss["stage"],
        "reason": lambda loss: loss["reason"],
        "kind": lambda loss: loss["kind"],
    }
    sizes: dict[str, Callable[[Loss], str]] = {
        "text": lambda loss: "" if loss["bytes"] is None else format_bytes(loss["bytes"])
    }
    counts = {name: count(source) for name, source in rows.items()}
    return [table("Documents lost, by reason and source", lost, text, sizes | counts)] if lost else []


def tiles(facts: FunnelFacts, _: Report) -> list[Tile]:
    """Documents and text that were kept."""
    total = facts["total"]
    (records, read), (kept, left) = ((total[end]["documents"], total[end]["bytes"]) for end in ("in", "kept"))
    documents = f"{percent(kept, records)} of {format_count(records)} records"
    text = f"{percent(left, read)} of {format_bytes(read)} read"
    return [
        Tile("Documents kept", format_count(kept), documents, f"{number(kept)} of {number(records)}"),
        Tile("Text kept", format_bytes(left), text, f"{number(left)} of {number(read)} bytes"),
    ]


SECTION = Section("funnel", 10, facts, page, tiles)
