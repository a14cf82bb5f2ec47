"""Sections on what came out and how: mixture, checks, timings, and what made the run what it is."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from operator import itemgetter
from typing import Any

from curate.config.units import duration, format_bytes, format_count, number, percent, plural
from curate.report.charts import BLUE, SKY, Panel, Series, draw, overlaid
from curate.report.page import Listing, Section, Table, table

Facts = Mapping[str, Any]
MISS = 0.01  # a rung further from its budget than this is said aloud
CHARTED_RUNGS = 6  # the largest ones; the table has them all
SHORT_SOURCES = 5  # that are named


def mixture(part: Facts, _: Facts) -> Section:
    """How near the rungs come to their budgets, and the sources to their shares."""
    rungs, sources, unit = part["rungs"], part["sources"], part["unit"]
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
    alarms = _short_sources(rungs, sources, show, unit)
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
    chart = draw("mixture", caption, finding, partial(overlaid, panels, columns=2, format_value=percent))
    tables = [_rungs_table(part, show), _shares_table(part, show)]
    return Section("mixture", "Mixture", finding, lead, alarms, [chart], tables)


def _miss(share: float) -> str:
    """A deviation from a budget, with as many digits as it takes to see it.

    Examples
    --------
    >>> _miss(-0.12), _miss(0.00004), _miss(0)
    ('-12 %', '0.004 %', '0 %')
    """
    return f"{100 * share:.2g} %"


def _short_sources(
    rungs: Sequence[Facts], sources: Mapping[str, Facts], show: Callable[[int], str], unit: str
) -> list[str]:
    """A sentence per source that had to give less than its share, on the first rung where that is so."""
    found = []
    for source, entry in sources.items():
        for rung, given in zip(rungs, entry["rungs"], strict=True):
            wanted = round(entry["weight"] * rung["budget"])
            if given["target"] < (1 - MISS) * wanted:
                has = f"has {show(entry['available'][unit])}, with max_epochs at {entry['max_epochs']:g}"
                found.append(f"{source} was to give {show(wanted)} {unit} to {rung['name']}, but {has}.")
                break
    if len(found) > SHORT_SOURCES:
        return [*found[:SHORT_SOURCES], f"So it is with {plural(len(found) - SHORT_SOURCES, 'more source')}."]
    return found


def _rungs_table(part: Facts, show: Callable[[int], str]) -> Table:
    unit = part["unit"]
    held_out = {"name": "validation", "budget": None, "copies": part["validation"]["documents"], **part["validation"]}
    numbers = {
        "budget": lambda rung: "" if rung["budget"] is None else show(rung["budget"]),
        f"{unit} in it": lambda rung: show(rung[unit]),
        "off by": lambda rung: "" if rung["budget"] is None else _miss(rung["miss"]),
        "documents": lambda rung: number(rung["documents"]),
        "copies of them": lambda rung: number(rung["copies"]),
        "text": lambda rung: format_bytes(rung["bytes"]),
    }
    return table("Rungs", [*part["rungs"], held_out], {"rung": itemgetter("name")}, numbers, folded=False)


def _shares_table(part: Facts, show: Callable[[int], str]) -> Table:
    unit = part["unit"]
    pairs = [
        (source, entry, rung["name"], given)
        for source, entry in part["sources"].items()
        for rung, given in zip(part["rungs"], entry["rungs"], strict=True)
    ]
    numbers = {
        "target": lambda pair: percent(pair[1]["weight"]),
        "realised": lambda pair: percent(pair[3]["share"]),
        f"target {unit}": lambda pair: show(pair[3]["target"]),
        f"realised {unit}": lambda pair: show(pair[3][unit]),
        "epochs": lambda pair: f"{pair[3]['epochs']:.2f}",
        "documents": lambda pair: number(pair[3]["documents"]),
        f"available {unit}": lambda pair: show(pair[1]["available"][unit]),
    }
    text = {"source": itemgetter(0), "rung": itemgetter(2)}
    return table("Target and realised shares by source and rung", pairs, text, numbers)


def shards(part: Facts, facts: Facts) -> Section:
    """Which files hold what."""
    folders, rungs = part["folders"], part["rungs"]
    files = sum(folder["files"] for folder in folders.values())
    finding = (
        f"{plural(files, 'file')} with {format_bytes(sum(folder['bytes'] for folder in folders.values()))} of text"
    )
    if len(rungs) > 1:
        finding += "; each rung is the beginning of the next"
    numbers = {
        "rows": lambda entry: number(entry["rows"]),
        "tokens": lambda entry: format_count(entry["tokens"]),
        "text": lambda entry: format_bytes(entry["bytes"]),
    }
    by_rung = table(
        "Rungs: each is the first so many files",
        [{**rung, "rows": rung["copies"]} for rung in rungs],
        {"rung": itemgetter("name"), "hash of its files": lambda rung: rung["nesting"][:16]},
        {"files": lambda rung: number(rung["files"]), **numbers},
        folded=False,
    )
    by_folder = table(
        "Folders: what each rung adds, and what is held out",
        [{"folder": folder, **counts} for folder, counts in folders.items()],
        {"folder": itemgetter("folder")},
        {"files": lambda folder: number(folder["files"]), **numbers},
    )
    columns = {"column": itemgetter("name"), "type": itemgetter("type")}
    tables = [by_rung, by_folder, table("Columns of the files", part["columns"], columns, {})]
    tokenizer = facts["tokens"]["tokenizer"]
    lead = (
        f"Tokens are counted by the tokenizer {tokenizer['sha256'][:8]} of {number(tokenizer['vocab_size'])} tokens"
        f"{', trained on this corpus' if tokenizer['trained'] else ''}, which lies beside the files."
    )
    return Section("shards", "Shards", finding, lead, tables=tables)


def checks(part: Sequence[Facts], _: Facts) -> Section:
    """Whether every document is accounted for."""
    failed = [check for check in part if not check["holds"]]
    if failed:
        finding = f"{plural(len(failed), 'check')} of {len(part)} failed: {', '.join(c['stage'] for c in failed)}"
    else:
        finding = f"Every document is accounted for: all {len(part)} checks hold"
    alarms = [f"{check['stage']} lost count of {', '.join(check['faults'])}." for check in failed]
    numbers = {key: lambda check, key=key: number(check[key]) for key in ("in", "kept", "dropped", "quarantined")}
    text, status = {"stage": itemgetter("stage")}, {"check": itemgetter("holds")}
    made = table("Documents by stage, all sources together", part, text, numbers, status, folded=False)
    lead = "For each stage and source, in = kept + dropped + quarantined, and the shards hold as many rows."
    return Section("checks", "Checks", finding, lead, alarms, tables=[made])


def timings(part: Sequence[Facts], _: Facts) -> Section:
    """Where the time went."""
    timed = [stage for stage in part if stage["tasks"]]
    total = sum(stage["cpu_seconds"] for stage in timed)
    finding = f"{duration(total)} of processor time"
    charts = []
    if total:
        most = max(timed, key=lambda stage: stage["cpu_seconds"])
        finding += f", {percent(most['cpu_seconds'], total)} of it in {most['stage']}"
        keys = {"wall time, summed over tasks": ("seconds", SKY), "processor time": ("cpu_seconds", BLUE)}
        series = [Series(name, color, [stage[key] for stage in timed]) for name, (key, color) in keys.items()]
        notes = [duration(stage["cpu_seconds"]) for stage in timed]
        panel = Panel("", "seconds", [stage["stage"] for stage in timed], series, notes)
        plot = partial(overlaid, [panel], format_value=lambda value: f"{value:,g}")
        charts = [draw("timings", "Time of each stage's tasks; at the right, processor time.", finding, plot)]
    numbers = {
        "tasks": lambda stage: number(stage["tasks"]),
        "wall time, summed": lambda stage: duration(stage["seconds"]),
        "longest task": lambda stage: duration(stage["longest"]),
        "processor time": lambda stage: duration(stage["cpu_seconds"]),
        "peak memory of a worker": lambda stage: format_bytes(stage["peak_rss"]),
    }
    made = table("Time and memory by stage", timed, {"stage": itemgetter("stage")}, numbers)
    lead = "From the receipts of the tasks. These numbers differ from run to run; all others on this page do not."
    return Section("timings", "Timings", finding, lead, charts=charts, tables=[made])


def appendix(facts: Facts, config: str) -> Section:
    """What made the run what it is: configuration, versions, fingerprints."""
    text = {
        **{key: itemgetter(key) for key in ("name", "stage", "fingerprint")},
        "state": lambda stage: "finished" if stage["done"] else "not finished",
    }
    versions = {"package": itemgetter(0), "version": itemgetter(1)}
    return Section(
        "appendix",
        "Appendix",
        f"Configuration {facts['config_hash'][:8]} with seed {facts['seed']}",
        "The same configuration, seed and input give the same bytes.",
        tables=[
            table("Stages, in the order in which they run", facts["stages"], text, {}),
            table("Versions", facts["host"].get("versions", {}).items(), versions, {}),
        ],
        listings=[Listing("Resolved configuration (run.yaml)", config)] if config else [],
    )
