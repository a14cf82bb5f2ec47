"""What the cleaning stage changed in the documents of each source."""

from collections.abc import Callable, Sequence
from functools import partial
from operator import itemgetter
from typing import TypedDict

from curate.cleaning.manifest import ChangeCounts, CleanBody, SourceChanges
from curate.config.units import format_bytes, number, percent, plural
from curate.report.charts import BLUE, Chart, draw, overlaid, share_panel
from curate.report.page import PageSection, PageTable, table
from curate.report.record import RunRecord
from curate.report.section import Report, Section


class CleanedFacts(TypedDict):
    """What one stage changed, by source."""

    stage: str
    sources: dict[str, SourceChanges]


def facts(run: RunRecord) -> list[CleanedFacts] | None:
    """Per stage that cleans text: documents and bytes before and after, and each kind of change, by source."""
    return [
        {"stage": stage.name, "sources": stage.body(CleanBody)["changes"]}
        for stage in run.stages
        if "changes" in stage.manifest
    ] or None


def page(facts: Sequence[CleanedFacts], _: Report) -> PageSection:
    """How many documents were touched, and by what."""
    first = facts[0]["sources"].values()
    touched, documents = (sum(counts[name] for counts in first) for name in ("touched", "documents_in"))
    finding = f"{percent(touched, documents)} of {plural(documents, 'document')} were changed"
    return PageSection("cleaned", "Cleaning", finding, charts=[_chart(facts, finding)], tables=_tables(facts))


def _chart(facts: Sequence[CleanedFacts], finding: str) -> Chart:
    panels = []
    for stage in facts:
        shares = {name: counts["touched"] / max(counts["documents_in"], 1) for name, counts in stage["sources"].items()}
        panels.append(share_panel(stage["stage"], "share of documents", "changed", BLUE, shares))
    caption = "Documents of each source that were changed, by whatever rule."
    return draw("cleaned", caption, finding, partial(overlaid, panels, columns=2, format_value=percent))


def _tables(facts: Sequence[CleanedFacts]) -> list[PageTable]:
    sources = [(stage["stage"], *entry) for stage in facts for entry in stage["sources"].items()]
    sizes: dict[str, Callable[[tuple[str, str, SourceChanges]], str]] = {
        "documents": lambda row: number(row[2]["documents_in"]),
        "of them changed": lambda row: number(row[2]["touched"]),
        "text before": lambda row: format_bytes(row[2]["bytes_in"]),
        "text after": lambda row: format_bytes(row[2]["bytes_out"]),
    }
    kinds = [
        (stage["stage"], source, kind, counts)
        for stage in facts
        for source, entry in stage["sources"].items()
        for kind, counts in sorted(entry["kinds"].items())
    ]
    changes: dict[str, Callable[[tuple[str, str, str, ChangeCounts]], str]] = {
        "documents": lambda row: number(row[3]["documents"]),
        "places": lambda row: number(row[3]["places"]),
        "bytes removed or replaced": lambda row: number(row[3]["bytes"]),
    }
    text = {"stage": itemgetter(0), "source": itemgetter(1)}
    return [
        table("Documents and text, before and after", sources, text, sizes),
        table("What was changed", kinds, text | {"kind": itemgetter(2)}, changes),
    ]


SECTION = Section("cleaned", 50, facts, page)
