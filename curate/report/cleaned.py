"""A section on what the cleaning stage changed in the documents of each source."""

from collections.abc import Mapping, Sequence
from functools import partial
from operator import itemgetter
from typing import Any

from curate.config.units import format_bytes, number, percent, plural
from curate.report.charts import BLUE, draw, overlaid, share_panel
from curate.report.page import Section, table

Facts = Mapping[str, Any]


def cleaned(part: Sequence[Facts], _: Facts) -> Section:
    """How many documents were touched, and by what."""
    first = part[0]["sources"].values()
    touched, documents = (sum(counts[name] for counts in first) for name in ("touched", "documents_in"))
    finding = f"{percent(touched, documents)} of {plural(documents, 'document')} were changed"
    panels = []
    for stage in part:
        shares = {name: counts["touched"] / max(counts["documents_in"], 1) for name, counts in stage["sources"].items()}
        panels.append(share_panel(stage["stage"], "share of documents", "changed", BLUE, shares))
    caption = "Documents of each source that were changed, by whatever rule."
    charts = [draw("cleaned", caption, finding, partial(overlaid, panels, columns=2, format_value=percent))]
    return Section("cleaned", "Cleaning", finding, charts=charts, tables=_tables(part))


def _tables(part: Sequence[Facts]) -> list[Any]:
    sources = [(stage["stage"], *entry) for stage in part for entry in stage["sources"].items()]
    text = {"stage": itemgetter(0), "source": itemgetter(1)}
    sizes = {
        "documents": lambda entry: number(entry[2]["documents_in"]),
        "of them changed": lambda entry: number(entry[2]["touched"]),
        "text before": lambda entry: format_bytes(entry[2]["bytes_in"]),
        "text after": lambda entry: format_bytes(entry[2]["bytes_out"]),
    }
    kinds = [
        (stage["stage"], source, kind, counts)
        for stage in part
        for source, entry in stage["sources"].items()
        for kind, counts in sorted(entry["kinds"].items())
    ]
    of = {
        "documents": lambda entry: number(entry[3]["documents"]),
        "places": lambda entry: number(entry[3]["places"]),
        "bytes removed or replaced": lambda entry: number(entry[3]["bytes"]),
    }
    return [
        table("Documents and text, before and after", sources, text, sizes),
        table("What was changed", kinds, text | {"kind": itemgetter(2)}, of),
    ]
