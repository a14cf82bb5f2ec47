"""How well near-duplicates were found, on copies planted in the corpus."""

from collections.abc import Callable, Sequence
from functools import partial
from operator import itemgetter
from typing import TypedDict

from curate.artifact import Totals
from curate.config.units import number, percent, plural
from curate.dedup.manifest import AuditedPairs, MinHashBody, PlantedCopies, RecallFacts
from curate.report.charts import BLUE, Chart, Panel, Series, draw, overlaid
from curate.report.page import PageSection, PageTable, table
from curate.report.record import RunRecord, StageRecord
from curate.report.section import Report, Section


class SizeLimits(TypedDict):
    """The largest bucket and component, and how often a limit of size was reached."""

    largest_bucket: int
    largest_component: int
    hot_buckets: int
    crowded: int
    cut_components: int


class StageRecall(RecallFacts):
    """How well one stage finds near-duplicates, and pairs by similarity."""

    stage: str
    verify: str
    threshold: float
    pairs: dict[str, int]
    limits: SizeLimits


def facts(run: RunRecord) -> list[StageRecall] | None:
    """Per stage that looked for near-duplicates: how well it finds them, and how similar what it found is."""
    return [_of_stage(stage) for stage in run.of("minhash") if "quality" in stage.manifest] or None


def _of_stage(stage: StageRecord) -> StageRecall:
    body = stage.body(MinHashBody)
    similarities = Totals()
    for counts in body["duplicates"].values():
        similarities.add(counts.get("jaccard", {}))
    return {
        **body["quality"],
        "stage": stage.name,
        "verify": body["verify"],
        "threshold": body["threshold"],
        "pairs": dict(sorted(similarities.counts.items())),
        "limits": {
            "largest_bucket": body["largest_bucket"],
            "largest_component": body["largest_component"],
            "hot_buckets": body["hot_buckets"],
            "crowded": body["crowded"],
            "cut_components": body["cut_components"],
        },
    }


def page(facts: Sequence[StageRecall], _: Report) -> PageSection:
    """Planted copies that were found, beside what the curve of the bands expects."""
    finding = _finding(facts[0]["planted"])
    charts = [_chart(facts, finding)] if facts[0]["planted"] else []
    lead = " ".join(_comparison(stage) for stage in facts)
    return PageSection("recall", "Recall", finding, lead, charts=charts, tables=_tables(facts))


def _finding(planted: Sequence[PlantedCopies]) -> str:
    copies, found = (sum(entry[key] for entry in planted) for key in ("documents", "found"))
    expected = sum(entry["expected"] for entry in planted)
    if not copies:
        return "No document is long enough to plant copies of"
    return f"Of {plural(copies, 'planted copy')}, {number(found)} were found; {expected:,.0f} were expected"


def _chart(facts: Sequence[StageRecall], finding: str) -> Chart:
    panels = []
    for stage in facts:
        rates = [f"{percent(planted['rate'], 1)} edited" for planted in stage["planted"]]
        shares = [planted["found"] / planted["documents"] for planted in stage["planted"]]
        targets = [planted["expected"] / planted["documents"] for planted in stage["planted"]]
        series = [Series("found", BLUE, shares)]
        panels.append(Panel(stage["stage"], "share of copies", rates, series, list(map(percent, shares)), targets))
    caption = "Copies with a share of their words edited, planted to be found. The line marks what the curve expects."
    return draw("recall", caption, finding, partial(overlaid, panels, columns=2, format_value=percent))


def _comparison(stage: StageRecall) -> str:
    """How candidates were compared, and what did not go as it should."""
    if stage["verify"] == "off":
        compared = "candidates were not compared"
    else:
        least = f"a similarity of {stage['threshold']:.2f} or more, by {stage['verify']},"
        compared = f"dropped is what has {least} to what is kept"
    return f"{stage['stage']}: {'; '.join([compared + _audit(stage['audited']), *_reached(stage['limits'])])}."


def _audit(audited: AuditedPairs) -> str:
    if "pairs" not in audited or "reached" not in audited or "low" not in audited or "high" not in audited:
        return ""
    return (
        f"; of {plural(audited['pairs'], 'pair')} looked at again, {number(audited['reached'])} have it exactly "
        f"({percent(audited['low'])} to {percent(audited['high'])} at 95 %)"
    )


def _reached(limits: SizeLimits) -> list[str]:
    """Limits that were reached, with how often."""
    named = {
        "buckets of more than 100,000 documents": limits["hot_buckets"],
        "times that a key was shared by more kept documents than it remembers": limits["crowded"],
        "components too large for one task, which were compared in parts": limits["cut_components"],
    }
    return [f"{number(count)} {what}" for what, count in named.items() if count]


def _tables(facts: Sequence[StageRecall]) -> list[PageTable]:
    planted = [(stage["stage"], row) for stage in facts for row in stage["planted"]]
    numbers: dict[str, Callable[[tuple[str, PlantedCopies]], str]] = {
        "words edited": lambda entry: percent(entry[1]["rate"], 1),
        "copies": lambda entry: number(entry[1]["documents"]),
        "mean similarity": lambda entry: f"{entry[1]['mean_jaccard']:.3f}",
        "similar enough": lambda entry: number(entry[1]["reached"]),
        "found": lambda entry: number(entry[1]["found"]),
        "expected": lambda entry: f"{entry[1]['expected']:,.1f}",
        "found, 95 %": lambda entry: f"{percent(entry[1]['low'])} to {percent(entry[1]['high'])}",
    }
    text = {"stage": itemgetter(0)}
    curve = [(stage["stage"], similarity, chance) for stage in facts for similarity, chance in stage["curve"]]
    chances = {"similarity": lambda entry: f"{entry[1]:.2f}", "chance": lambda entry: percent(entry[2])}
    pairs = [(stage["stage"], *entry) for stage in facts for entry in stage["pairs"].items()]
    counts = {"similarity from": itemgetter(1), "pairs": lambda entry: number(entry[2])}
    return [
        table("Planted copies", planted, text, numbers),
        table("Chance that a pair is found, by similarity", curve, text, chances),
        table("Dropped documents by similarity to what is kept", pairs, text, counts),
    ]


SECTION = Section("recall", 130, facts, page, needs=("minhash",))
