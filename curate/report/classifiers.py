"""Sections on classifiers and students that were trained: how good they are on documents that they have not seen."""

from collections.abc import Mapping, Sequence
from functools import partial
from operator import itemgetter
from typing import Any

from curate.config.units import format_bytes, number, percent, plural
from curate.report.charts import BLUE, ORANGE, Chart, Curve, against_diagonal, draw
from curate.report.page import Section, Table, table

Facts = Mapping[str, Any]
MEASURES = {
    "auc": "AUC",
    "precision": "precision at 0.5",
    "recall": "recall at 0.5",
    "log_loss": "log loss, nats",
    "calibration_error": "calibration error",
}
FIDELITY = {
    "spearman": "rank correlation",
    "pearson": "correlation",
    "auc": "AUC against the teacher's decision",
    "agreement": "decided alike",
    "mean_absolute_error": "mean distance",
    "log_loss": "log loss, nats",
    "least_log_loss": "least possible",
    "calibration_error": "calibration error",
}
METRICS = {"auc": "AUC", "log_loss": "log loss"}


def classifiers(part: Sequence[Facts], _: Facts) -> Section:
    """Reliability diagrams, the measures with the calibration and without, and the settings that were tried."""
    first = part[0]["raw"]
    finding = f"{part[0]['stage']} tells the classes apart with an AUC of {_figure(first['auc'])}"
    if part[0]["calibrated"]:
        error = _figure(part[0]["calibrated"]["calibration_error"])
        finding += f"; its calibrated scores are off by {error} on average"
    caption = "Share of positive documents among those of about the same score; on the line, a score is a probability."
    chart = _diagram("classifiers", part, caption, finding, "share of positive documents")
    return Section(
        "classifiers",
        "Classifiers",
        finding,
        " ".join(_search(stage) for stage in part if "tuning" in stage),
        charts=[chart],
        tables=[_measured(part, MEASURES), *_tried(part)],
    )


def students(part: Sequence[Facts], _: Facts) -> Section:
    """How closely students follow their teachers, and how fast they are."""
    first = part[0]
    told = first["calibrated"] or first["raw"]
    finding = (
        f"{first['stage']} follows {first['targets']['column']} with a rank correlation of {_figure(told['spearman'])}"
        f" and decides alike on {'none' if told['agreement'] is None else percent(told['agreement'])} of the documents"
    )
    caption = "Mean target of documents of about the same score; on the line, the student says what its teacher says."
    chart = _diagram("students", part, caption, finding, "mean target")
    said = [_taught(stage) for stage in part] + [_search(stage) for stage in part if "tuning" in stage]
    return Section(
        "students",
        "Students",
        finding,
        " ".join(said),
        charts=[chart],
        tables=[_measured(part, FIDELITY), *_tried(part)],
    )


def _diagram(name: str, part: Sequence[Facts], caption: str, finding: str, share: str) -> Chart:
    panels = {
        stage["stage"]: [
            Curve("as the model says", ORANGE, _points(stage["raw"])),
            Curve("calibrated", BLUE, _points(stage["calibrated"])),
        ]
        for stage in part
    }
    return draw(name, caption, finding, partial(against_diagonal, panels, ("mean score", share)))


def _measured(part: Sequence[Facts], measures: Mapping[str, str]) -> Table:
    rows = [
        (stage["stage"], which, stage[key])
        for stage in part
        for which, key in (("as the model says", "raw"), ("calibrated", "calibrated"))
        if stage[key]
    ]
    text = {"stage": itemgetter(0), "score": itemgetter(1)}
    figures: dict[str, Any] = {"documents": lambda row: number(row[2]["documents"])}
    figures |= {title: partial(_measure, key) for key, title in measures.items()}
    return table("On unseen documents", rows, text, figures)


def _taught(stage: Facts) -> str:
    """What a student learned from, what its teacher keeps, and its speed."""
    targets, told = stage["targets"], stage["raw"]
    said = f"{stage['stage']}: {plural(targets['learned_from'], 'document')} with a target"
    if targets["null"]:
        said += f" ({number(targets['null'])} without one were left out)"
    kept = f"; the teacher keeps {number(told['kept'])} of the {number(told['documents'])} unseen ones"
    speed = f", and the student scores {format_bytes(stage['speed'])} per processor second" if stage["speed"] else ""
    return f"{said}{kept}{speed}."


def _search(stage: Facts) -> str:
    """What a search for settings gained on the documents that judged it."""
    tuning = stage["tuning"]
    given, best = (tuning["trials"][trial]["values"][-1] for trial in (0, tuning["chosen"]))
    what = f"{stage['stage']}: of {plural(len(tuning['trials']), 'setting')} that were tried, "
    if not tuning["chosen"]:
        return f"{what}none is better than the first, which was given ({METRICS[tuning['metric']]} {_figure(given)})."
    return (
        f"{what}number {tuning['chosen'] + 1} is best, with {METRICS[tuning['metric']]} {_figure(best)} "
        f"where the first, which was given, has {_figure(given)}."
    )


def _tried(part: Sequence[Facts]) -> list[Table]:
    """A table of the settings that were tried, best last measures first, for each stage that searched."""
    found = []
    for stage in part:
        if "tuning" not in stage:
            continue
        tuning = stage["tuning"]
        rows = list(enumerate(tuning["trials"], 1))
        text = {"setting": lambda row, best=tuning["chosen"]: f"{row[0]}{' (chosen)' if row[0] == best + 1 else ''}"}
        figures: dict[str, Any] = {
            name.replace("_", " "): lambda row, name=name: f"{row[1]['parameters'][name]:g}"
            for name in tuning["parameters"]
        }
        for place, rung in enumerate(tuning["rungs"]):
            title = f"{METRICS[tuning['metric']]} on {number(rung['documents'])}"
            figures[title] = partial(_value, place)
        found.append(table(f"Settings that {stage['stage']} tried", rows, text, figures))
    return found


def _value(place: int, row: tuple[int, Facts]) -> str:
    values = row[1]["values"]
    return "" if place >= len(values) else "diverged" if values[place] is None else _figure(values[place])


def _points(found: Facts | None) -> list[tuple[float, float]]:
    return [(b["mean"], b["positive"]) for b in found["reliability"] if b["documents"]] if found else []


def _measure(key: str, row: tuple[str, str, Facts]) -> str:
    return _figure(row[2][key])


def _figure(value: float | None) -> str:
    return "none" if value is None else f"{value:.4f}"
