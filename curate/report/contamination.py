"""Section on the items of benchmarks that stand in documents."""

from collections.abc import Mapping, Sequence
from functools import partial
from operator import itemgetter
from typing import Any

from curate.config.units import format_bytes, number, percent, plural
from curate.report.charts import BLUE, ORANGE, Panel, Series, draw, overlaid
from curate.report.page import Section, table

Facts = Mapping[str, Any]
CHARTED = 30  # benchmarks, those with the largest share of items found
TOP = 20  # items named


def contamination(part: Sequence[Facts], _: Facts) -> Section:
    """Which benchmarks stand in the documents, and in how many."""
    entries = [(stage["stage"], name, found) for stage in part for name, found in stage["benchmarks"].items()]
    documents = {
        key: sum(counts[key] for stage in part for counts in stage["documents"].values())
        for key in ("hit", "mostly", "shared_only")
    }
    hit = sum(found["hit"] for _, _, found in entries)
    checkable = sum(found["checkable"] for _, _, found in entries)
    finding = "No document has anything in common with a benchmark item"
    if hit:
        finding = (
            f"{plural(hit, 'benchmark item')} of {number(checkable)} have an n-gram in a document; "
            f"{number(documents['hit'])} documents have one, and {number(documents['mostly'])} half of an item or more"
        )
    charts = []
    if hit:
        order = sorted(entries, key=lambda entry: (-_share(entry[2], "hit"), entry[:2]))[:CHARTED]
        series = [
            Series("any n-gram", BLUE, [_share(found, "hit") for *_, found in order]),
            Series("half of its n-grams or more", ORANGE, [_share(found, "mostly") for *_, found in order]),
        ]
        notes = [f"{number(found['hit'])}, {number(found['mostly'])}" for *_, found in order]
        panel = Panel("", "share of checkable items", [name for _, name, _ in order], series, notes)
        caption = "Items of each benchmark that were found in some document; at the right, how many."
        charts = [draw("contamination", caption, finding, partial(overlaid, [panel], format_value=percent))]
    lead = " ".join(_index(stage) for stage in part)
    if documents["shared_only"]:
        alone = plural(documents["shared_only"], "document")
        lead += f" {alone} have only what many items of a benchmark share, such as its prompt."
    return Section("contamination", "Contamination", finding, lead, _unchecked(entries), charts, _tables(entries))


def _share(found: Facts, which: str) -> float:
    return found[which] / found["checkable"] if found["checkable"] else 0.0


def _index(stage: Facts) -> str:
    made = stage["index"]
    return (
        f"{stage['stage']} looked for {plural(made['ngrams'], 'n-gram')} of "
        f"{' and '.join(map(str, made['lengths'])) or 'no'} words, in an index of {format_bytes(made['bytes'])}."
    )


def _unchecked(entries: Sequence[tuple[str, str, Facts]]) -> list[str]:
    """Benchmarks that can be found in part only."""
    said = []
    for _, name, found in entries:
        lost = found["short"] + found["shared"]
        if lost > found["items"] / 2:
            said.append(
                f"{number(lost)} of {plural(found['items'], 'item')} of {name} cannot be looked for: "
                f"{number(found['short'])} have too few words, {number(found['shared'])} no n-gram of their own."
            )
    return said


def _tables(entries: Sequence[tuple[str, str, Facts]]) -> list[Any]:
    text = {"stage": itemgetter(0), "benchmark": itemgetter(1)}
    numbers = {
        key: lambda entry, key=key: number(entry[2][key]) for key in ("items", "checkable", "short", "shared", "copy")
    }
    numbers |= {
        "items found": lambda entry: number(entry[2]["hit"]),
        "half or more": lambda entry: number(entry[2]["mostly"]),
        "documents": lambda entry: number(entry[2]["documents"]["hit"]),
        "with half or more": lambda entry: number(entry[2]["documents"]["mostly"]),
        "n-grams found": lambda entry: number(entry[2]["documents"]["ngrams"]),
    }
    rows = [
        (stage, name, source, counts)
        for stage, name, found in entries
        for source, counts in found["sources"].items()
        if counts["documents"]
    ]
    per_source = {
        "documents": lambda row: number(row[3]["documents"]),
        "with half or more": lambda row: number(row[3]["mostly"]),
        "n-grams found": lambda row: number(row[3]["ngrams"]),
    }
    top = [(stage, name, item) for stage, name, found in entries for item in found["top"]]
    top.sort(key=lambda row: (-row[2]["documents"], -row[2]["best"], row[1], row[2]["item"]))
    often = {
        "documents": lambda row: number(row[2]["documents"]),
        "largest share of it": lambda row: percent(row[2]["best"]),
    }
    return [
        table("Benchmarks", entries, text, numbers, folded=False),
        table("Documents by source", rows, {**text, "source": itemgetter(2)}, per_source),
        table("Items that most documents have", top[:TOP], {**text, "item": lambda row: row[2]["item"]}, often),
    ]
