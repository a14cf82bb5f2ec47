"""A section on chat models that judged a sample of the documents: votes of each prompt, what they cost, agreement."""

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import starmap
from operator import itemgetter
from typing import Any

from curate.config.units import duration, number, percent, plural
from curate.report.charts import BLUE, GREY, ORANGE, RED, SKY, Panel, Series, draw, stacked
from curate.report.page import Section, table

Facts = Mapping[str, Any]
Row = tuple[str, str, Facts, Facts]
"""Stage, prompt, what its answers were, and what they took."""


def judges(part: Sequence[Facts], _: Facts) -> Section:
    """How each prompt voted, how many answers said nothing, and how far prompts agree."""
    first = part[0]
    documents = first["documents"]
    finding = (
        f"{first['stage']} asked {first['model']} about {number(documents['asked'])} of "
        f"{plural(documents['all'], 'document')}, with {plural(len(first['prompts']), 'prompt')}"
    )
    alarms = [f"{stage['stage']}: {warning}." for stage in part for warning in stage["warnings"]]
    caption = "Answers to each prompt of {}. What no rule knows is an abstention, and votes for neither."
    charts = [
        draw(f"judges-{place}", caption.format(stage["stage"]), finding, partial(stacked, [_panel(stage)]))
        for place, stage in enumerate(part)
    ]
    lead = " ".join(_costs(stage) for stage in part)
    return Section("judges", "Judges", finding, lead, alarms, charts, _tables(part))


def _panel(stage: Facts) -> Panel:
    prompts = stage["prompts"]
    counts = {
        ("keep", BLUE): [row["keep"] for row in prompts.values()],
        ("drop", ORANGE): [row["drop"] for row in prompts.values()],
        ("abstains", SKY): [row["abstain"] - _silent(row) for row in prompts.values()],
        ("says nothing", GREY): [_silent(row) for row in prompts.values()],
        ("unanswered", RED): [row["unanswered"] for row in prompts.values()],
    }
    asked = [max(row["asked"], 1) for row in prompts.values()]
    series = [
        Series(name, color, [count / all_ for count, all_ in zip(values, asked, strict=True)])
        for (name, color), values in counts.items()
    ]
    return Panel("", "share of the documents asked about", list(prompts), series)


def _silent(row: Facts) -> int:
    """Answers that no rule knows."""
    return sum(row["kinds"].values())


def _costs(stage: Facts) -> str:
    tokens = {side: sum(row["tokens"][side] for row in stage["prompts"].values()) for side in ("prompt", "completion")}
    spent = stage["spent"]
    said = (
        f"{stage['stage']}: {number(tokens['prompt'])} tokens were read and {number(tokens['completion'])} written, as "
        f"the endpoint counts them. The last run sent {plural(spent['requests'], 'request')}"
    )
    failed = sum(spent["failed"].values())
    if failed:
        kinds = ", ".join(f"{number(count)} {kind}" for kind, count in spent["failed"].items())
        said += f", of which {number(failed)} failed and were tried again or given up ({kinds})"
    return said + "."


def _tables(part: Sequence[Facts]) -> list[Any]:
    rows: list[Row] = [
        (stage["stage"], name, row, stage["spent"]["prompts"][name])
        for stage in part
        for name, row in stage["prompts"].items()
    ]
    text = {"stage": itemgetter(0), "prompt": itemgetter(1)}
    votes = {title: partial(_count, title) for title in ("asked", "keep", "drop", "abstain", "unanswered")}
    kinds = {kind: partial(_kind, kind) for kind in rows[0][2]["kinds"]} if rows else {}
    costs = {
        "requests": lambda row: number(row[2]["requests"]),
        "tokens read": lambda row: number(row[2]["tokens"]["prompt"]),
        "tokens written": lambda row: number(row[2]["tokens"]["completion"]),
        "from the cache": lambda row: number(row[3]["cached"]),
        "answered now": lambda row: number(row[3]["answered"]),
        "waited": lambda row: duration(row[3]["seconds"]),
    }
    pairs = [(stage["stage"], pair) for stage in part for pair in stage["pairs"]]
    of_pairs = {"stage": itemgetter(0), "prompts": lambda row: f"{row[1]['one']}, {row[1]['other']}"}
    agreement = {
        "both voted": lambda row: number(row[1]["both"]),
        "alike": lambda row: percent(row[1]["alike"], row[1]["both"]),
        "kappa": lambda row: "none" if row[1]["kappa"] is None else f"{row[1]['kappa']:.2f}",
    }
    made = [
        ("Votes by prompt; abstentions that no rule asked for by their kind", rows, text, votes | kinds),
        ("What the answers cost", rows, text, costs),
        ("Agreement of prompts where both voted; kappa is what is beyond chance", pairs, of_pairs, agreement),
    ]
    return list(starmap(table, made))


def _count(key: str, row: Row) -> str:
    return number(row[2][key])


def _kind(kind: str, row: Row) -> str:
    return number(row[2]["kinds"][kind])
