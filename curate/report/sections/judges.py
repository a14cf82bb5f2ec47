"""Chat models that judged a sample of the documents: votes of each prompt, what they cost, agreement."""

from collections.abc import Callable, Sequence
from functools import partial
from operator import itemgetter

from curate.config.units import duration, number, percent, plural
from curate.report.charts import BLUE, GREY, ORANGE, RED, SKY, Panel, Series, draw, stacked
from curate.report.page import PageSection, PageTable, table
from curate.report.record import RunRecord
from curate.report.section import Report, Section
from curate.weak.manifest import (
    AskResult,
    JudgeBody,
    JudgeFacts,
    PromptAgreement,
    PromptCounts,
    PromptSpending,
    Spending,
)


class StageVerdicts(JudgeFacts):
    """What one stage asked, what came of it, and what asking took in the last run."""

    stage: str
    spent: Spending


Row = tuple[str, str, PromptCounts, PromptSpending]
"""Stage, prompt, what its answers were, and what they took."""


def facts(run: RunRecord) -> list[StageVerdicts] | None:
    """Per stage that asked a chat model: votes, tokens and agreement, and what the last run sent and waited for."""
    return [
        {**stage.body(JudgeBody)["judge"], "stage": stage.name, "spent": result["spent"]}
        for stage in run.of("judge")
        for result in stage.artifact.results("ask", AskResult)
    ] or None


def page(facts: Sequence[StageVerdicts], _: Report) -> PageSection:
    """How each prompt voted, how many answers said nothing, and how far prompts agree."""
    first = facts[0]
    documents = first["documents"]
    finding = (
        f"{first['stage']} asked {first['model']} about {number(documents['asked'])} of "
        f"{plural(documents['all'], 'document')}, with {plural(len(first['prompts']), 'prompt')}"
    )
    alarms = [f"{stage['stage']}: {warning}." for stage in facts for warning in stage["warnings"]]
    caption = "Answers to each prompt of {}. What no rule knows is an abstention, and votes for neither."
    charts = [
        draw(f"judges-{place}", caption.format(stage["stage"]), finding, partial(stacked, [_panel(stage)]))
        for place, stage in enumerate(facts)
    ]
    lead = " ".join(_costs(stage) for stage in facts)
    tables = [_votes_table(facts), _costs_table(facts), _agreement_table(facts)]
    return PageSection("judges", "Judges", finding, lead, alarms, charts, tables)


def _panel(stage: StageVerdicts) -> Panel:
    prompts = stage["prompts"].values()
    counts = {
        ("keep", BLUE): [row["keep"] for row in prompts],
        ("drop", ORANGE): [row["drop"] for row in prompts],
        ("abstains", SKY): [row["abstain"] - _silent(row) for row in prompts],
        ("says nothing", GREY): [_silent(row) for row in prompts],
        ("unanswered", RED): [row["unanswered"] for row in prompts],
    }
    asked = [max(row["asked"], 1) for row in prompts]
    series = [
        Series(name, color, [count / all_ for count, all_ in zip(values, asked, strict=True)])
        for (name, color), values in counts.items()
    ]
    return Panel("", "share of the documents asked about", list(stage["prompts"]), series)


def _silent(row: PromptCounts) -> int:
    """Answers that no rule knows."""
    return sum(row["kinds"].values())


def _costs(stage: StageVerdicts) -> str:
    read, written = (sum(row["tokens"][side] for row in stage["prompts"].values()) for side in ("prompt", "completion"))
    spent = stage["spent"]
    said = (
        f"{stage['stage']}: {number(read)} tokens were read and {number(written)} written, as "
        f"the endpoint counts them. The last run sent {plural(spent['requests'], 'request')}"
    )
    failed = sum(spent["failed"].values())
    if failed:
        kinds = ", ".join(f"{number(count)} {kind}" for kind, count in spent["failed"].items())
        said += f", of which {number(failed)} failed and were tried again or given up ({kinds})"
    return said + "."


def _rows(facts: Sequence[StageVerdicts]) -> list[Row]:
    return [
        (stage["stage"], name, row, stage["spent"]["prompts"][name])
        for stage in facts
        for name, row in stage["prompts"].items()
    ]


PROMPT = {"stage": itemgetter(0), "prompt": itemgetter(1)}


def _votes_table(facts: Sequence[StageVerdicts]) -> PageTable:
    rows = _rows(facts)
    kinds = rows[0][2]["kinds"] if rows else ()
    columns: dict[str, Callable[[Row], str]] = {
        "asked": lambda row: number(row[2]["asked"]),
        "keep": lambda row: number(row[2]["keep"]),
        "drop": lambda row: number(row[2]["drop"]),
        "abstain": lambda row: number(row[2]["abstain"]),
        "unanswered": lambda row: number(row[2]["unanswered"]),
        **{kind: partial(_kind, kind) for kind in kinds},
    }
    return table("Votes by prompt; abstentions that no rule asked for by their kind", rows, PROMPT, columns)


def _kind(kind: str, row: Row) -> str:
    return number(row[2]["kinds"][kind])


def _costs_table(facts: Sequence[StageVerdicts]) -> PageTable:
    columns: dict[str, Callable[[Row], str]] = {
        "requests": lambda row: number(row[2]["requests"]),
        "tokens read": lambda row: number(row[2]["tokens"]["prompt"]),
        "tokens written": lambda row: number(row[2]["tokens"]["completion"]),
        "from the cache": lambda row: number(row[3]["cached"]),
        "answered now": lambda row: number(row[3]["answered"]),
        "waited": lambda row: duration(row[3]["seconds"]),
    }
    return table("What the answers cost", _rows(facts), PROMPT, columns)


def _agreement_table(facts: Sequence[StageVerdicts]) -> PageTable:
    pairs = [(stage["stage"], pair) for stage in facts for pair in stage["pairs"]]
    text: dict[str, Callable[[tuple[str, PromptAgreement]], str]] = {
        "stage": lambda row: row[0],
        "prompts": lambda row: f"{row[1]['one']}, {row[1]['other']}",
    }
    columns: dict[str, Callable[[tuple[str, PromptAgreement]], str]] = {
        "both voted": lambda row: number(row[1]["both"]),
        "alike": lambda row: percent(row[1]["alike"], row[1]["both"]),
        "kappa": lambda row: "none" if row[1]["kappa"] is None else f"{row[1]['kappa']:.2f}",
    }
    caption = "Agreement of prompts where both voted; kappa is what is beyond chance"
    return table(caption, pairs, text, columns)


SECTION = Section("judges", 110, facts, page, needs=("judge",))
