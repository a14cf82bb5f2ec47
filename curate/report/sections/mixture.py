"""How near the rungs come to their budgets, and the sources to their shares."""

from collections.abc import Callable
from functools import partial
from typing import Literal, TypedDict

from curate.config.units import format_bytes, format_count, number, percent, plural
from curate.mixture.manifest import (
    MixBody,
    MixtureRung,
    PlannedShare,
    RealisedShare,
    Sizes,
    SourceLimits,
)
from curate.report.charts import BLUE, Chart, Panel, Series, draw, overlaid
from curate.report.page import PageSection, PageTable, table
from curate.report.record import RunRecord
from curate.report.section import Report, Section

MISS = 0.01  # a rung further from its budget than this is said aloud
CHARTED_RUNGS = 6  # the largest ones; the table has them all
SHORT_SOURCES = 5  # that are named


class FilledRung(MixtureRung):
    """A rung with its size in the plan's unit, and how far that is from its budget, as a share of it."""

    realised: int
    miss: float


class SourceMixture(SourceLimits):
    """A source, with what it gives to each rung."""

    rungs: list[RealisedShare]


class MixtureFacts(TypedDict):
    """What a mixture was to give and gave."""

    stage: str
    unit: Literal["tokens", "bytes"]
    rungs: list[FilledRung]
    validation: Sizes
    sources: dict[str, SourceMixture]


def facts(run: RunRecord) -> MixtureFacts:
    """What the last `mix` was to give and gave: budgets of the rungs, and the share and epochs of each source."""
    stage = run.of("mix")[-1]
    plan = stage.body(MixBody)["plan"]
    unit = plan["unit"]
    rungs: list[FilledRung] = [
        {**rung, "realised": rung[unit], "miss": (rung[unit] - rung["budget"]) / rung["budget"]}
        for rung in plan["rungs"]
    ]
    sources: dict[str, SourceMixture] = {
        source: {**entry, "rungs": [_realised(share) for share in entry["rungs"]]}
        for source, entry in plan["sources"].items()
    }
    validation = plan["validation"]
    return {"stage": stage.name, "unit": unit, "rungs": rungs, "validation": validation, "sources": sources}


def _realised(share: PlannedShare) -> RealisedShare:
    """A share without the place where it ends, which is of no use to a reader."""
    return {
        "target": share["target"],
        "share": share["share"],
        "epochs": share["epochs"],
        "documents": share["documents"],
        "copies": share["copies"],
        "tokens": share["tokens"],
        "bytes": share["bytes"],
    }


# -- page --------------------------------------------------------------------------------------------------------------


def page(facts: MixtureFacts, _: Report) -> PageSection:
    """Realised shares against their targets."""
    rungs, unit = facts["rungs"], facts["unit"]
    show = format_count if unit == "tokens" else format_bytes
    worst = max(rungs, key=lambda rung: abs(rung["miss"]))
    if abs(worst["miss"]) > MISS:
        side = "below" if worst["miss"] < 0 else "above"
        budget = f"its budget of {show(worst['budget'])} {unit}"
        finding = f"{worst['name']} is {_miss(abs(worst['miss']))} {side} {budget}"
    else:
        which = "The one rung comes" if len(rungs) == 1 else f"All {len(rungs)} rungs come"
        finding = f"{which} within {_miss(abs(worst['miss']))} of the budget"
    lead = "A rung holds whole documents, so each source may be off by half of one."
    alarms = _short_sources(facts, show)
    tables = [_rungs_table(facts, show), _shares_table(facts, show)]
    return PageSection("mixture", "Mixture", finding, lead, alarms, [_chart(facts, show, finding)], tables)


def _chart(facts: MixtureFacts, show: Callable[[int], str], finding: str) -> Chart:
    rungs, sources, unit = facts["rungs"], facts["sources"], facts["unit"]
    charted = range(len(rungs))[-CHARTED_RUNGS:]
    panels = []
    for place in charted:
        shares = [entry["rungs"][place]["share"] for entry in sources.values()]
        series, targets = [Series("realised", BLUE, shares)], [entry["weight"] for entry in sources.values()]
        title = f"{rungs[place]['name']}: {show(rungs[place]['budget'])} {unit}"
        panels.append(Panel(title, f"share of {unit}", list(sources), series, list(map(percent, shares)), targets))
    caption = f"Share of each source in the {unit} of a rung, against its target."
    if len(charted) < len(rungs):
        caption += f" These are the {len(charted)} largest rungs; the tables have all {len(rungs)}."
    return draw("mixture", caption, finding, partial(overlaid, panels, columns=2, format_value=percent))


def _miss(share: float) -> str:
    """A deviation from a budget, with as many digits as it takes to see it.

    Examples
    --------
    >>> _miss(-0.12), _miss(0.00004), _miss(0)
    ('-12 %', '0.004 %', '0 %')
    """
    return f"{100 * share:.2g} %"


def _short_sources(facts: MixtureFacts, show: Callable[[int], str]) -> list[str]:
    """A sentence per source that had to give less than its share, on the first rung where that is so."""
    unit, sentences = facts["unit"], []
    for source, entry in facts["sources"].items():
        for rung, given in zip(facts["rungs"], entry["rungs"], strict=True):
            wanted = round(entry["weight"] * rung["budget"])
            if given["target"] < (1 - MISS) * wanted:
                has = f"has {show(entry['available'][unit])}, with max_epochs at {entry['max_epochs']:g}"
                sentences.append(f"{source} was to give {show(wanted)} {unit} to {rung['name']}, but {has}.")
                break
    rest = len(sentences) - SHORT_SOURCES
    return [*sentences[:SHORT_SOURCES], f"So it is with {plural(rest, 'more source')}."] if rest > 0 else sentences


def _rungs_table(facts: MixtureFacts, show: Callable[[int], str]) -> PageTable:
    unit = facts["unit"]
    rows: list[tuple[str, int, Sizes, FilledRung | None]] = [
        *((rung["name"], rung["copies"], rung, rung) for rung in facts["rungs"]),
        ("validation", facts["validation"]["documents"], facts["validation"], None),
    ]
    numbers: dict[str, Callable[[tuple[str, int, Sizes, FilledRung | None]], str]] = {
        "budget": lambda row: show(row[3]["budget"]) if row[3] else "",
        f"{unit} in it": lambda row: show(row[2][unit]),
        "off by": lambda row: _miss(row[3]["miss"]) if row[3] else "",
        "documents": lambda row: number(row[2]["documents"]),
        "copies of them": lambda row: number(row[1]),
        "text": lambda row: format_bytes(row[2]["bytes"]),
    }
    return table("Rungs", rows, {"rung": lambda row: row[0]}, numbers, folded=False)


def _shares_table(facts: MixtureFacts, show: Callable[[int], str]) -> PageTable:
    unit = facts["unit"]
    rows = [
        (source, entry, rung["name"], given)
        for source, entry in facts["sources"].items()
        for rung, given in zip(facts["rungs"], entry["rungs"], strict=True)
    ]
    numbers: dict[str, Callable[[tuple[str, SourceMixture, str, RealisedShare]], str]] = {
        "target": lambda row: percent(row[1]["weight"]),
        "realised": lambda row: percent(row[3]["share"]),
        f"target {unit}": lambda row: show(row[3]["target"]),
        f"realised {unit}": lambda row: show(row[3][unit]),
        "epochs": lambda row: f"{row[3]['epochs']:.2f}",
        "documents": lambda row: number(row[3]["documents"]),
        f"available {unit}": lambda row: show(row[1]["available"][unit]),
    }
    return table(
        "Target and realised shares by source and rung",
        rows,
        {"source": lambda row: row[0], "rung": lambda row: row[2]},
        numbers,
    )


SECTION = Section("mixture", 170, facts, page, needs=("mix",))
