"""What the sections on trained models share: reliability diagrams, measures, and the search for settings."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from operator import itemgetter
from typing import Generic, NotRequired, TypedDict

from curate.classifiers.manifest import Measured, TrainedModel, Tuning, TuningTrial
from curate.config.units import number, plural
from curate.report.charts import BLUE, ORANGE, Chart, Curve, against_diagonal, draw
from curate.report.page import PageTable, table
from curate.stats.manifest import ReliabilityBin

METRICS = {"auc": "AUC", "log_loss": "log loss"}


class ModelFacts(TypedDict, Generic[Measured]):
    """A model: documents of each part by class, how good its scores are, and the search for its settings."""

    stage: str
    documents: dict[str, dict[str, int]]
    raw: Measured
    calibrated: Measured | None
    tuning: NotRequired[Tuning]


def model_facts(stage: str, model: TrainedModel[Measured]) -> ModelFacts[Measured]:
    """What a report says of a trained model."""
    facts: ModelFacts[Measured] = {
        "stage": stage,
        "documents": model["documents"],
        "raw": model["raw"],
        "calibrated": model.get("calibrated"),
    }
    if "tuning" in model:
        facts["tuning"] = model["tuning"]
    return facts


def reliability_chart(
    name: str, models: Sequence[ModelFacts[Measured]], caption: str, finding: str, share: str
) -> Chart:
    """Reliability diagrams with calibration and without; `share` says what is drawn against the mean score."""
    panels = {
        model["stage"]: [
            Curve("as the model says", ORANGE, curve_points(model["raw"]["reliability"])),
            Curve("calibrated", BLUE, curve_points(model["calibrated"]["reliability"] if model["calibrated"] else [])),
        ]
        for model in models
    }
    return draw(name, caption, finding, partial(against_diagonal, panels, ("mean score", share)))


def curve_points(bins: Sequence[ReliabilityBin]) -> list[tuple[float, float]]:
    """Mean scores and shares of positives, of bins that have documents."""
    return [(each["mean"], each["positive"]) for each in bins if each["documents"]]


def measures_table(
    models: Sequence[ModelFacts[Measured]], measures: Mapping[str, Callable[[Measured], float | None]]
) -> PageTable:
    """Measures on unseen documents, by their titles."""
    rows: list[tuple[str, str, Measured]] = []
    for model in models:
        rows.append((model["stage"], "as the model says", model["raw"]))
        if model["calibrated"]:
            rows.append((model["stage"], "calibrated", model["calibrated"]))
    columns: dict[str, Callable[[tuple[str, str, Measured]], str]] = {
        "documents": lambda row: number(row[2]["documents"]),
        **{title: partial(_cell, measure) for title, measure in measures.items()},
    }
    return table("On unseen documents", rows, {"stage": itemgetter(0), "score": itemgetter(1)}, columns)


def _cell(measure: Callable[[Measured], float | None], row: tuple[str, str, Measured]) -> str:
    return four_digits(measure(row[2]))


def searches(models: Sequence[ModelFacts[Measured]]) -> list[str]:
    """What each search for settings gained on the documents that judged it."""
    return [_search(model["stage"], model["tuning"]) for model in models if "tuning" in model]


def _search(stage: str, tuning: Tuning) -> str:
    given, best = (tuning["trials"][trial]["values"][-1] for trial in (0, tuning["chosen"]))
    what = f"{stage}: of {plural(len(tuning['trials']), 'setting')} that were tried, "
    if not tuning["chosen"]:
        return (
            f"{what}none is better than the first, which was given ({METRICS[tuning['metric']]} {four_digits(given)})."
        )
    return (
        f"{what}number {tuning['chosen'] + 1} is best, with {METRICS[tuning['metric']]} {four_digits(best)} "
        f"where the first, which was given, has {four_digits(given)}."
    )


def settings_tables(models: Sequence[ModelFacts[Measured]]) -> list[PageTable]:
    """A table of the settings that were tried for each model that has a search."""
    return [_settings_table(model["stage"], model["tuning"]) for model in models if "tuning" in model]


def _settings_table(stage: str, tuning: Tuning) -> PageTable:
    rows = list(enumerate(tuning["trials"], 1))
    columns: dict[str, Callable[[tuple[int, TuningTrial]], str]] = {
        name.replace("_", " "): partial(_parameter, name) for name in tuning["parameters"]
    }
    for place, rung in enumerate(tuning["rungs"]):
        columns[f"{METRICS[tuning['metric']]} on {number(rung['documents'])}"] = partial(_value, place)
    chosen = tuning["chosen"] + 1
    text = {"setting": lambda row: f"{row[0]}{' (chosen)' if row[0] == chosen else ''}"}
    return table(f"Settings that {stage} tried", rows, text, columns)


def _parameter(name: str, row: tuple[int, TuningTrial]) -> str:
    return f"{row[1]['parameters'][name]:g}"


def _value(place: int, row: tuple[int, TuningTrial]) -> str:
    values = row[1]["values"]
    return "" if place >= len(values) else "diverged" if values[place] is None else four_digits(values[place])


def four_digits(value: float | None) -> str:
    """A measure with four decimals, ``none`` where it does not exist."""
    return "none" if value is None else f"{value:.4f}"
