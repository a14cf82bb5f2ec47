"""Sections on how well near-duplicates were found, and on repeated text that was cut out of documents."""

from collections.abc import Mapping, Sequence
from functools import partial
from operator import itemgetter
from typing import Any

from curate.config.units import format_bytes, number, percent, plural
from curate.report.charts import BLUE, ORANGE, Panel, Series, draw, overlaid, share_panel
from curate.report.page import Section, table

Facts = Mapping[str, Any]
LIMITS = {
    "hot_buckets": "buckets of more than 100,000 documents",
    "crowded": "times that a key was shared by more kept documents than it remembers",
    "cut_components": "components too large for one task, which were compared in parts",
}


def recall(part: Sequence[Facts], _: Facts) -> Section:
    """Copies planted in the corpus, and how many of them were found, beside what the curve of the bands expects."""
    first = part[0]
    found = sum(planted["found"] for planted in first["planted"])
    expected = sum(planted["expected"] for planted in first["planted"])
    copies = sum(planted["documents"] for planted in first["planted"])
    finding = f"Of {plural(copies, 'planted copy')}, {number(found)} were found; {expected:,.0f} were expected"
    if not copies:
        finding = "No document is long enough to plant copies of"
    panels = []
    for stage in part:
        rates = [f"{percent(planted['rate'], 1)} edited" for planted in stage["planted"]]
        shares = [planted["found"] / planted["documents"] for planted in stage["planted"]]
        targets = [planted["expected"] / planted["documents"] for planted in stage["planted"]]
        series = [Series("found", BLUE, shares)]
        panels.append(Panel(stage["stage"], "share of copies", rates, series, list(map(percent, shares)), targets))
    caption = "Copies with a share of their words edited, planted to be found. The line marks what the curve expects."
    charts = (
        [draw("recall", caption, finding, partial(overlaid, panels, columns=2, format_value=percent))] if copies else []
    )
    return Section(
        "recall", "Recall", finding, " ".join(_words(stage) for stage in part), charts=charts, tables=_tables(part)
    )


def _words(stage: Facts) -> str:
    """How candidates were compared, and what did not go as it should."""
    if stage["verify"] == "off":
        compared = "candidates were not compared"
    else:
        least = f"a similarity of {stage['threshold']:.2f} or more, by {stage['verify']},"
        compared = f"dropped is what has {least} to what is kept"
    audited = stage["audited"]
    if audited:
        compared += (
            f"; of {plural(audited['pairs'], 'pair')} looked at again, {number(audited['reached'])} have it exactly "
            f"({percent(audited['low'])} to {percent(audited['high'])} at 95 %)"
        )
    limits = [f"{number(stage['limits'][name])} {what}" for name, what in LIMITS.items() if stage["limits"][name]]
    return f"{stage['stage']}: {'; '.join([compared, *limits])}."


def _tables(part: Sequence[Facts]) -> list[Any]:
    planted = [(stage["stage"], row) for stage in part for row in stage["planted"]]
    text = {"stage": itemgetter(0)}
    numbers = {
        "words edited": lambda entry: percent(entry[1]["rate"], 1),
        "copies": lambda entry: number(entry[1]["documents"]),
        "mean similarity": lambda entry: f"{entry[1]['mean_jaccard']:.3f}",
        "similar enough": lambda entry: number(entry[1]["reached"]),
        "found": lambda entry: number(entry[1]["found"]),
        "expected": lambda entry: f"{entry[1]['expected']:,.1f}",
        "found, 95 %": lambda entry: f"{percent(entry[1]['low'])} to {percent(entry[1]['high'])}",
    }
    curve = [(stage["stage"], similarity, chance) for stage in part for similarity, chance in stage["curve"]]
    chances = {"similarity": lambda entry: f"{entry[1]:.2f}", "chance": lambda entry: percent(entry[2])}
    pairs = [(stage["stage"], *entry) for stage in part for entry in stage["pairs"].items()]
    counts = {"similarity from": itemgetter(1), "pairs": lambda entry: number(entry[2])}
    return [
        table("Planted copies", planted, text, numbers),
        table("Chance that a pair is found, by similarity", curve, text, chances),
        table("Dropped documents by similarity to what is kept", pairs, text, counts),
    ]


def removed(part: Sequence[Facts], _: Facts) -> Section:
    """How much text was cut out of the documents of each source."""
    gone = sum(counts["bytes"] for stage in part for counts in stage["sources"].values())
    first = sum(counts["bytes_in"] for counts in part[0]["sources"].values())
    repeated = all(stage["kind"] != "cut_contamination" for stage in part)
    why = "stood elsewhere before, and was cut out" if repeated else "was cut out of documents"
    finding = f"{percent(gone, first)} of all text {why}"
    panels = []
    for stage in part:
        shares = {name: counts["bytes"] / max(counts["bytes_in"], 1) for name, counts in stage["sources"].items()}
        panels.append(share_panel(stage["stage"], "share of text", "cut out", ORANGE, shares))
    caption = "Text cut out of the documents of each source."
    charts = [draw("removed", caption, finding, partial(overlaid, panels, columns=2, format_value=percent))]
    rows = [(stage["stage"], *entry) for stage in part for entry in stage["sources"].items()]
    text = {"stage": itemgetter(0), "source": itemgetter(1)}
    numbers = {
        "text before": lambda entry: format_bytes(entry[2]["bytes_in"]),
        "cut out": lambda entry: format_bytes(entry[2]["bytes"]),
        "spans": lambda entry: number(entry[2]["spans"]),
        "documents touched": lambda entry: number(entry[2]["touched"]),
        "of them emptied": lambda entry: number(entry[2]["emptied"]),
    }
    name = "Repeated text" if repeated else "Text cut out"
    return Section("removed", name, finding, charts=charts, tables=[table("What was cut out", rows, text, numbers)])
