"""What made the run what it is: configuration, versions, fingerprints."""

from collections.abc import Callable, Sequence
from typing import TypedDict

from curate.report.page import PageSection, Verbatim, table
from curate.report.record import RunRecord
from curate.report.section import Report, Section


class StageEntry(TypedDict):
    """A stage of the run, finished or not."""

    name: str
    stage: str
    fingerprint: str
    done: bool


def facts(run: RunRecord) -> list[StageEntry]:
    """All stages in the order in which they run."""
    return [
        {"name": stage.name, "stage": stage.kind, "fingerprint": stage.artifact.fingerprint, "done": stage.finished}
        for stage in run.all_stages
    ]


def page(facts: Sequence[StageEntry], report: Report) -> PageSection:
    """Stages, versions and the resolved configuration."""
    description, config = report.run.description, report.run.config()
    stages: dict[str, Callable[[StageEntry], str]] = {
        "name": lambda stage: stage["name"],
        "stage": lambda stage: stage["stage"],
        "fingerprint": lambda stage: stage["fingerprint"],
        "state": lambda stage: "finished" if stage["done"] else "not finished",
    }
    versions: dict[str, str] = description.get("versions", {})
    return PageSection(
        "appendix",
        "Appendix",
        f"Configuration {description['config_hash'][:8]} with seed {description['seed']}",
        "The same configuration, seed and input give the same bytes.",
        tables=[
            table("Stages, in the order in which they run", facts, stages, {}),
            table("Versions", versions.items(), {"package": lambda row: row[0], "version": lambda row: row[1]}, {}),
        ],
        listings=[Verbatim("Resolved configuration (run.yaml)", config)] if config else [],
    )


SECTION = Section("stages", 210, facts, page)
