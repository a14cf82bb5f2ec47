"""Whether every document is accounted for."""

from collections.abc import Callable, Sequence
from typing import TypedDict

from curate.config.units import number, plural
from curate.report.page import PageSection, Tile, table
from curate.report.record import RunRecord, StageRecord
from curate.report.section import Report, Section

CheckFacts = TypedDict(
    "CheckFacts",
    {
        "stage": str,
        "in": int,
        "kept": int,
        "dropped": int,
        "quarantined": int,
        "holds": bool,
        "faults": list[str],
    },
)
"""Documents of one stage, all sources together, and the sources of which it lost count."""


def facts(run: RunRecord) -> list[CheckFacts]:
    """Per stage, whether ``in = kept + dropped + quarantined`` holds for every source, and fits the shards' rows."""
    return [_check(stage) for stage in run.stages if "flow" in stage.manifest]


def _check(stage: StageRecord) -> CheckFacts:
    manifest = stage.manifest
    flow = manifest["flow"]
    out = {
        source: counts["kept"] + sum(counts["dropped"].values()) + sum(counts["quarantined"].values())
        for source, counts in flow.items()
    }
    unbalanced = [source for source, counts in flow.items() if counts["in"] != out[source]]
    misfit: list[str] = []
    if "shards" in manifest:
        rows = dict.fromkeys(flow, 0)
        for shard in stage.artifact.shards():
            rows[shard.source] = rows.get(shard.source, 0) + shard.rows
        end = "kept" if stage.makes_table else "in"
        misfit = [source for source, count in rows.items() if (flow[source][end] if source in flow else 0) != count]
    faults = sorted({*unbalanced, *misfit})
    return {
        "stage": stage.name,
        "in": sum(counts["in"] for counts in flow.values()),
        "kept": sum(counts["kept"] for counts in flow.values()),
        "dropped": sum(sum(counts["dropped"].values()) for counts in flow.values()),
        "quarantined": sum(sum(counts["quarantined"].values()) for counts in flow.values()),
        "holds": not faults,
        "faults": faults,
    }


def page(facts: Sequence[CheckFacts], _: Report) -> PageSection:
    """Documents by stage, and whether they add up."""
    failed = [check for check in facts if not check["holds"]]
    if failed:
        finding = f"{plural(len(failed), 'check')} of {len(facts)} failed: {', '.join(c['stage'] for c in failed)}"
    else:
        finding = f"Every document is accounted for: all {len(facts)} checks hold"
    alarms = [f"{check['stage']} lost count of {', '.join(check['faults'])}." for check in failed]
    numbers: dict[str, Callable[[CheckFacts], str]] = {
        "in": lambda check: number(check["in"]),
        "kept": lambda check: number(check["kept"]),
        "dropped": lambda check: number(check["dropped"]),
        "quarantined": lambda check: number(check["quarantined"]),
    }
    made = table(
        "Documents by stage, all sources together",
        facts,
        {"stage": lambda check: check["stage"]},
        numbers,
        {"check": lambda check: check["holds"]},
        folded=False,
    )
    lead = "For each stage and source, in = kept + dropped + quarantined, and the shards hold as many rows."
    return PageSection("checks", "Checks", finding, lead, alarms, tables=[made])


def tiles(facts: Sequence[CheckFacts], _: Report) -> list[Tile]:
    """How many checks hold."""
    failed = sum(not check["holds"] for check in facts)
    value = f"{failed} of {len(facts)} fail" if failed else f"all {len(facts)} hold"
    return [Tile("Checks", value, "in = kept + dropped + quarantined", status="fail" if failed else "pass")]


SECTION = Section("checks", 190, facts, page, tiles)
