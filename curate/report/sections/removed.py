"""How much text was cut out of the documents of each source."""

from collections.abc import Callable, Sequence
from functools import partial
from operator import itemgetter
from typing import TypedDict

from curate.config.units import format_bytes, number, percent
from curate.report.charts import ORANGE, Chart, draw, overlaid, share_panel
from curate.report.page import PageSection, table
from curate.report.record import RunRecord
from curate.report.section import Report, Section
from curate.rewrite import RemovedCounts, RewriteBody


class RemovedFacts(TypedDict):
    """What one stage cut out, by source."""

    stage: str
    kind: str
    sources: dict[str, RemovedCounts]


def facts(run: RunRecord) -> list[RemovedFacts] | None:
    """Per stage that cuts text out of documents: what went, by source."""
    return [
        {"stage": stage.name, "kind": stage.kind, "sources": stage.body(RewriteBody)["removed"]}
        for stage in run.stages
        if "removed" in stage.manifest
    ] or None


def page(facts: Sequence[RemovedFacts], _: Report) -> PageSection:
    """Share of the text of each source that was cut out."""
    gone = sum(counts["bytes"] for stage in facts for counts in stage["sources"].values())
    first = sum(counts["bytes_in"] for counts in facts[0]["sources"].values())
    repeated = all(stage["kind"] != "cut_contamination" for stage in facts)
    why = "stood elsewhere before, and was cut out" if repeated else "was cut out of documents"
    finding = f"{percent(gone, first)} of all text {why}"
    rows = [(stage["stage"], *entry) for stage in facts for entry in stage["sources"].items()]
    numbers: dict[str, Callable[[tuple[str, str, RemovedCounts]], str]] = {
        "text before": lambda row: format_bytes(row[2]["bytes_in"]),
        "cut out": lambda row: format_bytes(row[2]["bytes"]),
        "spans": lambda row: number(row[2]["spans"]),
        "documents touched": lambda row: number(row[2]["touched"]),
        "of them emptied": lambda row: number(row[2]["emptied"]),
    }
    made = table("What was cut out", rows, {"stage": itemgetter(0), "source": itemgetter(1)}, numbers)
    name = "Repeated text" if repeated else "Text cut out"
    return PageSection("removed", name, finding, charts=[_chart(facts, finding)], tables=[made])


def _chart(facts: Sequence[RemovedFacts], finding: str) -> Chart:
    panels = []
    for stage in facts:
        shares = {name: counts["bytes"] / max(counts["bytes_in"], 1) for name, counts in stage["sources"].items()}
        panels.append(share_panel(stage["stage"], "share of text", "cut out", ORANGE, shares))
    caption = "Text cut out of the documents of each source."
    return draw("removed", caption, finding, partial(overlaid, panels, columns=2, format_value=percent))


SECTION = Section("removed", 150, facts, page)
