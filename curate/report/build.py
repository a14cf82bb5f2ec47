"""Write report.json and report.html of a run, from its manifests and receipts."""

from collections.abc import Sequence
from typing import Any

from curate import storage
from curate.config.units import plural
from curate.extras import DISTRIBUTION
from curate.report.page import compose
from curate.report.record import RunRecord
from curate.report.section import Report, Section, report_of
from curate.report.sections import all_sections, checks, funnel


def build(run_dir: str, sections: Sequence[Section[Any]] | None = None) -> None:
    """Write ``report.json`` (the numbers) and ``report.html`` (a page that needs nothing else) into a run's directory.

    Parameters
    ----------
    run_dir
        Directory of a run, local or an fsspec URL. Stages that have not finished are named, and left out.
    sections
        Sections of the report; those of `curate.report.sections` unless given.

    Raises
    ------
    RunError
        There is no run at `run_dir`.
    """
    run = RunRecord(run_dir)
    report = report_of(run, all_sections() if sections is None else sections)
    storage.write_json(f"{run.root}/report.json", report.facts)
    with storage.replacing(f"{run.root}/report.html") as file:
        file.write(render(report).encode())


def render(report: Report) -> str:
    """The page of a report."""
    facts = report.facts
    version = facts["host"].get("versions", {}).get(DISTRIBUTION, "")
    return compose(
        title="/".join(report.run.root.split("/")[-2:]),
        about=f"configuration {facts['config_hash'][:8]} · seed {facts['seed']} · curate {version}",
        verdict=verdict(report),
        tiles=report.tiles(),
        sections=report.page(),
        colophon=f"Written by curate {version}. The same numbers are in report.json beside this page.",
    )


def verdict(report: Report) -> str:
    """The run in two sentences."""
    flow = report.of(funnel.SECTION)
    if flow is None:
        return "No stage has read anything yet."
    total = flow["total"]
    said = (
        f"{plural(total['kept']['documents'], 'document')} of {plural(total['in']['documents'], 'record')} were kept, "
        f"from {plural(len(flow['sources']), 'source')}."
    )
    failed = [check["stage"] for check in report.of(checks.SECTION) or () if not check["holds"]]
    said += f" Documents are unaccounted for in {', '.join(failed)}." if failed else " Every document is accounted for."
    waiting = [stage.name for stage in report.run.all_stages if not stage.finished]
    return said + (f" The run is not finished: still to come, {', '.join(waiting)}." if waiting else "")
