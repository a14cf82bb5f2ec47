"""Where the time and the memory went."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypedDict

from curate.config.units import duration, format_bytes, number, percent
from curate.report.charts import BLUE, SKY, Chart, Panel, Series, draw, overlaid
from curate.report.page import PageSection, Tile, table
from curate.report.record import RunRecord, StageRecord
from curate.report.section import Report, Section


class TimingFacts(TypedDict):
    """Tasks of one stage: seconds of wall and processor time, and peak memory in bytes."""

    stage: str
    tasks: int
    seconds: float
    longest: float
    cpu_seconds: float
    peak_rss: int


def facts(run: RunRecord) -> list[TimingFacts]:
    """Per stage, from its receipts: tasks, their wall and processor time in seconds, and peak memory in bytes."""
    return [_of_stage(stage) for stage in run.all_stages]


def _of_stage(stage: StageRecord) -> TimingFacts:
    receipts = list(stage.receipts())
    return {
        "stage": stage.name,
        "tasks": len(receipts),
        "seconds": round(sum(receipt.seconds for receipt in receipts), 3),
        "longest": round(max((receipt.seconds for receipt in receipts), default=0.0), 3),
        "cpu_seconds": round(sum(receipt.cpu_seconds for receipt in receipts), 3),
        "peak_rss": max((receipt.peak_rss for receipt in receipts), default=0),
    }


def page(facts: Sequence[TimingFacts], _: Report) -> PageSection:
    """Wall and processor time of each stage."""
    timed = [stage for stage in facts if stage["tasks"]]
    total = sum(stage["cpu_seconds"] for stage in timed)
    finding = f"{duration(total)} of processor time"
    charts = []
    if total:
        most = max(timed, key=lambda stage: stage["cpu_seconds"])
        finding += f", {percent(most['cpu_seconds'], total)} of it in {most['stage']}"
        charts = [_chart(timed, finding)]
    numbers: dict[str, Callable[[TimingFacts], str]] = {
        "tasks": lambda stage: number(stage["tasks"]),
        "wall time, summed": lambda stage: duration(stage["seconds"]),
        "longest task": lambda stage: duration(stage["longest"]),
        "processor time": lambda stage: duration(stage["cpu_seconds"]),
        "peak memory of a worker": lambda stage: format_bytes(stage["peak_rss"]),
    }
    made = table("Time and memory by stage", timed, {"stage": lambda stage: stage["stage"]}, numbers)
    lead = "From the receipts of the tasks. These numbers differ from run to run; all others on this page do not."
    return PageSection("timings", "Timings", finding, lead, charts=charts, tables=[made])


def _chart(timed: Sequence[TimingFacts], finding: str) -> Chart:
    series = [
        Series("wall time, summed over tasks", SKY, [stage["seconds"] for stage in timed]),
        Series("processor time", BLUE, [stage["cpu_seconds"] for stage in timed]),
    ]
    notes = [duration(stage["cpu_seconds"]) for stage in timed]
    panel = Panel("", "seconds", [stage["stage"] for stage in timed], series, notes)
    plot = partial(overlaid, [panel], format_value=lambda value: f"{value:,g}")
    return draw("timings", "Time of each stage's tasks; at the right, processor time.", finding, plot)


def tiles(facts: Sequence[TimingFacts], _: Report) -> list[Tile]:
    """Processor time and peak memory of the run."""
    cpu = sum(stage["cpu_seconds"] for stage in facts)
    peak = max((stage["peak_rss"] for stage in facts), default=0)
    return [Tile("Processor time", duration(cpu), f"{format_bytes(peak)} peak memory of a worker")]


SECTION = Section("timings", 200, facts, page, tiles)
