"""How much is a copy of something else, in which sources, and how large the clusters are."""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypedDict

from curate.config.units import format_bytes, number, percent, plural
from curate.dedup.manifest import CopyCounts, DuplicatesBody, MinHashBody
from curate.report.charts import GREEN, ORANGE, Chart, Panel, Series, draw, overlaid, share_panel, whole
from curate.report.page import PageSection, PageTable, table
from curate.report.record import RunRecord, StageRecord
from curate.report.section import Report, Section

KINDS = {"exact": "exact", "minhash": "near"}


class SourceCopies(CopyCounts):
    """Copies of a source, all of its documents, and the share."""

    of: int
    share: float


class DuplicateFacts(TypedDict):
    """Copies that one stage found; `hot_buckets` is None for a stage that has no buckets."""

    stage: str
    kind: str
    documents: int
    copies: int
    sources: dict[str, SourceCopies]
    cluster_sizes: dict[str, int]
    hot_buckets: int | None


def facts(run: RunRecord) -> list[DuplicateFacts]:
    """Per deduplicating stage: copies by source, and how many clusters there are of each size."""
    return [_of_stage(stage) for stage in run.of(*KINDS)]


def _of_stage(stage: StageRecord) -> DuplicateFacts:
    body = stage.body(DuplicatesBody)
    sources: dict[str, SourceCopies] = {}
    for source, flow in body["flow"].items():
        copies = body["duplicates"].get(source, {"documents": 0, "bytes": 0})
        share = copies["documents"] / flow["in"] if flow["in"] else 0.0
        sources[source] = {**copies, "of": flow["in"], "share": share}
    return {
        "stage": stage.name,
        "kind": stage.kind,
        "documents": sum(counts["of"] for counts in sources.values()),
        "copies": sum(counts["documents"] for counts in sources.values()),
        "sources": sources,
        "cluster_sizes": body["cluster_sizes"],
        "hot_buckets": stage.body(MinHashBody)["hot_buckets"] if stage.kind == "minhash" else None,
    }


def page(facts: Sequence[DuplicateFacts], _: Report) -> PageSection:
    """Shares of copies by source, and clusters by size."""
    finding = _finding(facts)
    hot = [
        f"{stage['stage']} met {plural(stage['hot_buckets'], 'hot bucket')} (many documents that agree in a band)."
        for stage in facts
        if stage["hot_buckets"]
    ]
    sizes = sorted({size for stage in facts for size in stage["cluster_sizes"]}, key=int)
    charts = [_copies_chart(facts, finding), *([_clusters_chart(facts, sizes, finding)] if sizes else [])]
    tables = [_copies_table(facts)]
    if sizes:
        columns = {stage["stage"]: partial(_clusters, stage) for stage in facts}
        tables.append(table("Clusters by size", sizes, {"documents in a cluster": _range}, columns))
    return PageSection("duplicates", "Duplicates", finding, " ".join(hot), charts=charts, tables=tables)


def _finding(facts: Sequence[DuplicateFacts]) -> str:
    if not any(stage["copies"] for stage in facts):
        return "No document is a copy of another one"
    named = Counter(stage["kind"] for stage in facts)
    shares = [
        f"{percent(stage['copies'], stage['documents'])} are {KINDS[stage['kind']]} copies"
        + (f" by {stage['stage']}" if named[stage["kind"]] > 1 else "")
        for stage in facts
    ]
    return f"Of all documents, {' and '.join(shares)} of another one"


def _copies_chart(facts: Sequence[DuplicateFacts], finding: str) -> Chart:
    panels = []
    for stage in facts:
        shares = {name: counts["share"] for name, counts in stage["sources"].items()}
        panels.append(share_panel(stage["stage"], "share of documents", "copies", ORANGE, shares))
    caption = "Documents of each source that are copies, not counting the one of each cluster that is kept."
    return draw("copies", caption, finding, partial(overlaid, panels, columns=2, format_value=percent))


def _clusters_chart(facts: Sequence[DuplicateFacts], sizes: Sequence[str], finding: str) -> Chart:
    panels = []
    for stage in facts:
        values = [stage["cluster_sizes"].get(size, 0) for size in sizes]
        series = [Series("clusters", GREEN, values)]
        panels.append(Panel(stage["stage"], "clusters", list(map(_range, sizes)), series, list(map(number, values))))
    caption = "Clusters by the number of documents in them."
    return draw("clusters", caption, finding, partial(overlaid, panels, columns=2, format_value=whole))


def _copies_table(facts: Sequence[DuplicateFacts]) -> PageTable:
    rows = [(stage["stage"], *entry) for stage in facts for entry in stage["sources"].items()]
    text: dict[str, Callable[[tuple[str, str, SourceCopies]], str]] = {
        "stage": lambda row: row[0],
        "source": lambda row: row[1],
    }
    numbers: dict[str, Callable[[tuple[str, str, SourceCopies]], str]] = {
        "documents": lambda row: number(row[2]["of"]),
        "copies": lambda row: number(row[2]["documents"]),
        "share": lambda row: percent(row[2]["share"]),
        "text of copies": lambda row: format_bytes(row[2]["bytes"]),
    }
    return table("Copies by stage and source", rows, text, numbers)


def _clusters(stage: DuplicateFacts, size: str) -> str:
    return number(stage["cluster_sizes"].get(size, 0))


def _range(size: str) -> str:
    """Sizes in the bin that begins with a power of two.

    Examples
    --------
    >>> _range("2"), _range("1024")
    ('2 to 3', '1,024 to 2,047')
    """
    return f"{number(int(size))} to {number(2 * int(size) - 1)}"


SECTION = Section("duplicates", 120, facts, page, needs=("exact", "minhash"))
