"""Write report.json and report.html of a run, from its manifests and receipts."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from curate import storage
from curate.config.units import duration, format_bytes, format_count, number, percent, plural
from curate.extras import DISTRIBUTION
from curate.report import cleaned, repeats
from curate.report.classifiers import classifiers, students
from curate.report.contamination import contamination
from curate.report.density import density
from curate.report.facts import facts as facts_of
from curate.report.judges import judges
from curate.report.labeling import labeling
from curate.report.losses import drops, duplicates, funnel, quarantine
from curate.report.outputs import appendix, checks, mixture, shards, timings
from curate.report.page import Section, Tile
from curate.report.perplexity import perplexity
from curate.report.record import RunRecord
from curate.report.web import web

TEMPLATE = "template.html"
SECTIONS: dict[str, Callable[[Any, Mapping[str, Any]], Section]] = {
    "funnel": funnel,
    "drops": drops,
    "quarantine": quarantine,
    "web": web,
    "cleaned": cleaned.cleaned,
    "classifiers": classifiers,
    "perplexity": perplexity,
    "densities": density,
    "students": students,
    "labeling": labeling,
    "judges": judges,
    "duplicates": duplicates,
    "recall": repeats.recall,
    "contamination": contamination,
    "removed": repeats.removed,
    "mixture": mixture,
    "shards": shards,
    "checks": checks,
    "timings": timings,
}
"""Sections by the part of the facts that they show, in the order of the page."""


def build(run_dir: str) -> None:
    """Write ``report.json`` (the numbers) and ``report.html`` (a page that needs nothing else) into a run's directory.

    Parameters
    ----------
    run_dir
        Directory of a run, local or an fsspec URL. Stages that have not finished are named, and left out.

    Raises
    ------
    RunError
        There is no run at `run_dir`.
    """
    run = RunRecord(run_dir)
    facts = facts_of(run)
    storage.write_json(f"{run.root}/report.json", facts)
    with storage.replacing(f"{run.root}/report.html") as file:
        file.write(render(run, facts).encode())


def render(run: RunRecord, facts: dict[str, Any]) -> str:
    """The page.

    Parameters
    ----------
    run
        The run that the page is about.
    facts
        Its numbers, from `curate.report.facts.facts`.
    """
    version = facts["host"].get("versions", {}).get(DISTRIBUTION, "")
    return compose(
        title="/".join(run.root.split("/")[-2:]),
        about=f"configuration {facts['config_hash'][:8]} · seed {facts['seed']} · curate {version}",
        verdict=verdict(facts),
        tiles=tiles(facts),
        sections=[
            *(make(facts[part], facts) for part, make in SECTIONS.items() if facts.get(part)),
            appendix(facts, run.config()),
        ],
        colophon=f"Written by curate {version}. The same numbers are in report.json beside this page.",
    )


def compose(
    title: str, about: str, verdict: str, tiles: Sequence[Tile], sections: Sequence[Section], colophon: str
) -> str:
    """A page of the given parts, which needs nothing else."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template(TEMPLATE).render(
        title=title, about=about, verdict=verdict, tiles=tiles, sections=sections, colophon=colophon
    )


def verdict(facts: dict[str, Any]) -> str:
    """The run in two sentences."""
    waiting = [stage["name"] for stage in facts["stages"] if not stage["done"]]
    if "funnel" not in facts:
        return "No stage has read anything yet."
    total = facts["funnel"]["total"]
    said = (
        f"{plural(total['kept']['documents'], 'document')} of {plural(total['in']['documents'], 'record')} were kept, "
        f"from {plural(len(facts['funnel']['sources']), 'source')}."
    )
    failed = [check["stage"] for check in facts["checks"] if not check["holds"]]
    said += f" Documents are unaccounted for in {', '.join(failed)}." if failed else " Every document is accounted for."
    return said + (f" The run is not finished: still to come, {', '.join(waiting)}." if waiting else "")


def tiles(facts: dict[str, Any]) -> list[Tile]:
    """The numbers at the head of the page."""
    found = []
    if "funnel" in facts:
        total = facts["funnel"]["total"]
        (records, read), (kept, left) = ((total[end]["documents"], total[end]["bytes"]) for end in ("in", "kept"))
        share = f"{percent(kept, records)} of {format_count(records)} records"
        found.append(Tile("Documents kept", format_count(kept), share, f"{number(kept)} of {number(records)}"))
        share = f"{percent(left, read)} of {format_bytes(read)} read"
        found.append(Tile("Text kept", format_bytes(left), share, f"{number(left)} of {number(read)} bytes"))
    if "tokens" in facts:
        counted = facts["tokens"]["total"]["tokens"]
        largest = facts["mixture"]["rungs"][-1]["tokens"] if "mixture" in facts else None
        detail = "" if largest is None else f"{format_count(largest)} in the largest rung"
        found.append(Tile("Tokens kept", format_count(counted), detail, number(counted)))
    failed = sum(not check["holds"] for check in facts["checks"])
    value = f"{failed} of {len(facts['checks'])} fail" if failed else f"all {len(facts['checks'])} hold"
    found.append(Tile("Checks", value, "in = kept + dropped + quarantined", status="fail" if failed else "pass"))
    cpu = sum(stage["cpu_seconds"] for stage in facts["timings"])
    peak = max((stage["peak_rss"] for stage in facts["timings"]), default=0)
    found.append(Tile("Processor time", duration(cpu), f"{format_bytes(peak)} peak memory of a worker"))
    return found
