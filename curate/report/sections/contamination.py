"""Items of benchmarks that stand in documents."""

from collections.abc import Callable, Sequence
from functools import partial
from operator import itemgetter
from typing import Literal, TypedDict

from curate.artifact import Totals
from curate.config.units import format_bytes, number, percent, plural
from curate.contamination.manifest import (
    BenchmarkFacts,
    DecontaminateBody,
    DocumentCounts,
    IndexFacts,
    MatchCounts,
    TopItem,
)
from curate.report.charts import BLUE, ORANGE, Chart, Panel, Series, draw, overlaid
from curate.report.page import PageSection, PageTable, table
from curate.report.record import RunRecord, StageRecord
from curate.report.section import Report, Section

CHARTED = 30  # benchmarks, those with the largest share of items found
TOP = 20  # items named


class FoundDocuments(TypedDict):
    """Documents of all sources with an n-gram of a benchmark, those with half of an item or more, n-grams found."""

    hit: int
    mostly: int
    ngrams: int


class BenchmarkCounts(BenchmarkFacts):
    """A benchmark with the documents of all sources together."""

    documents: FoundDocuments


class ContaminationFacts(TypedDict):
    """What one stage looked for and found; documents by source."""

    stage: str
    index: IndexFacts
    documents: dict[str, DocumentCounts]
    benchmarks: dict[str, BenchmarkCounts]


Entry = tuple[str, str, BenchmarkCounts]
"""A stage, a benchmark, and what was found of it."""


def facts(run: RunRecord) -> list[ContaminationFacts]:
    """Per stage that looked for benchmarks: items that can be found and were, and documents that have them."""
    return [_of_stage(stage) for stage in run.of("decontaminate")]


def _of_stage(stage: StageRecord) -> ContaminationFacts:
    body = stage.body(DecontaminateBody)
    benchmarks: dict[str, BenchmarkCounts] = {
        name: {**counts, "documents": _all_sources(counts)} for name, counts in body["benchmarks"].items()
    }
    return {
        "stage": stage.name,
        "index": body["index"],
        "documents": body["documents"],
        "benchmarks": benchmarks,
    }


def _all_sources(benchmark: BenchmarkFacts) -> FoundDocuments:
    total = Totals({"documents": 0, "mostly": 0, "ngrams": 0})
    for counts in benchmark["sources"].values():
        total.add(counts)
    return {"hit": total.counts["documents"], "mostly": total.counts["mostly"], "ngrams": total.counts["ngrams"]}


def page(facts: Sequence[ContaminationFacts], _: Report) -> PageSection:
    """Which benchmarks stand in the documents, and in how many."""
    entries = [(stage["stage"], name, counts) for stage in facts for name, counts in stage["benchmarks"].items()]
    hit, mostly, shared_only = (
        sum(counts[key] for stage in facts for counts in stage["documents"].values())
        for key in ("hit", "mostly", "shared_only")
    )
    items = sum(counts["hit"] for _, _, counts in entries)
    finding = "No document has anything in common with a benchmark item"
    if items:
        checkable = sum(counts["checkable"] for _, _, counts in entries)
        finding = (
            f"{plural(items, 'benchmark item')} of {number(checkable)} have an n-gram in a document; "
            f"{number(hit)} documents have one, and {number(mostly)} half of an item or more"
        )
    charts = [_chart(entries, finding)] if items else []
    lead = " ".join(_index(stage) for stage in facts)
    if shared_only:
        alone = plural(shared_only, "document")
        lead += f" {alone} have only what many items of a benchmark share, such as its prompt."
    return PageSection("contamination", "Contamination", finding, lead, _unchecked(entries), charts, _tables(entries))


def _chart(entries: Sequence[Entry], finding: str) -> Chart:
    order = sorted(entries, key=lambda entry: (-_share(entry[2], "hit"), entry[:2]))[:CHARTED]
    series = [
        Series("any n-gram", BLUE, [_share(counts, "hit") for *_, counts in order]),
        Series("half of its n-grams or more", ORANGE, [_share(counts, "mostly") for *_, counts in order]),
    ]
    notes = [f"{number(counts['hit'])}, {number(counts['mostly'])}" for *_, counts in order]
    panel = Panel("", "share of checkable items", [name for _, name, _ in order], series, notes)
    caption = "Items of each benchmark that were found in some document; at the right, how many."
    return draw("contamination", caption, finding, partial(overlaid, [panel], format_value=percent))


def _share(counts: BenchmarkCounts, which: Literal["hit", "mostly"]) -> float:
    return counts[which] / counts["checkable"] if counts["checkable"] else 0.0


def _index(stage: ContaminationFacts) -> str:
    made = stage["index"]
    return (
        f"{stage['stage']} looked for {plural(made['ngrams'], 'n-gram')} of "
        f"{' and '.join(map(str, made['lengths'])) or 'no'} words, in an index of {format_bytes(made['bytes'])}."
    )


def _unchecked(entries: Sequence[Entry]) -> list[str]:
    """Benchmarks that can be found in part only."""
    return [
        f"{number(counts['short'] + counts['shared'])} of {plural(counts['items'], 'item')} of {name} cannot be looked "
        f"for: {number(counts['short'])} have too few words, {number(counts['shared'])} no n-gram of their own."
        for _, name, counts in entries
        if counts["short"] + counts["shared"] > counts["items"] / 2
    ]


def _tables(entries: Sequence[Entry]) -> list[PageTable]:
    text = {"stage": itemgetter(0), "benchmark": itemgetter(1)}
    numbers: dict[str, Callable[[Entry], str]] = {
        "items": lambda entry: number(entry[2]["items"]),
        "checkable": lambda entry: number(entry[2]["checkable"]),
        "short": lambda entry: number(entry[2]["short"]),
        "shared": lambda entry: number(entry[2]["shared"]),
        "copy": lambda entry: number(entry[2]["copy"]),
        "items found": lambda entry: number(entry[2]["hit"]),
        "half or more": lambda entry: number(entry[2]["mostly"]),
        "documents": lambda entry: number(entry[2]["documents"]["hit"]),
        "with half or more": lambda entry: number(entry[2]["documents"]["mostly"]),
        "n-grams found": lambda entry: number(entry[2]["documents"]["ngrams"]),
    }
    rows = [
        (stage, name, source, counts)
        for stage, name, benchmark in entries
        for source, counts in benchmark["sources"].items()
        if counts["documents"]
    ]
    per_source: dict[str, Callable[[tuple[str, str, str, MatchCounts]], str]] = {
        "documents": lambda row: number(row[3]["documents"]),
        "with half or more": lambda row: number(row[3]["mostly"]),
        "n-grams found": lambda row: number(row[3]["ngrams"]),
    }
    top = [(stage, name, item) for stage, name, benchmark in entries for item in benchmark["top"]]
    top.sort(key=lambda row: (-row[2]["documents"], -row[2]["best"], row[1], row[2]["item"]))
    item: dict[str, Callable[[tuple[str, str, TopItem]], str]] = {"item": lambda row: row[2]["item"]}
    often: dict[str, Callable[[tuple[str, str, TopItem]], str]] = {
        "documents": lambda row: number(row[2]["documents"]),
        "largest share of it": lambda row: percent(row[2]["best"]),
    }
    return [
        table("Benchmarks", entries, text, numbers, folded=False),
        table("Documents by source", rows, {**text, "source": itemgetter(2)}, per_source),
        table("Items that most documents have", top[:TOP], {**text, **item}, often),
    ]


SECTION = Section("contamination", 140, facts, page, needs=("decontaminate",))
