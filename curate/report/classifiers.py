"""A section on the classifiers that were trained: how good they are on documents that they have not seen."""

from collections.abc import Mapping, Sequence
from functools import partial
from operator import itemgetter
from typing import Any

from curate.report.charts import BLUE, ORANGE, Curve, against_diagonal, draw
from curate.report.page import Section, number, table

Facts = Mapping[str, Any]
MEASURES = {
    "auc": "AUC",
    "precision": "precision at 0.5",
    "recall": "recall at 0.5",
    "log_loss": "log loss, nats",
    "calibration_error": "calibration error",
}


def classifiers(part: Sequence[Facts], _: Facts) -> Section:
    """Reliability diagrams, and the measures with the calibration and without."""
    first = part[0]["raw"]
    finding = f"{part[0]['stage']} tells the classes apart with an AUC of {_figure(first['auc'])}"
    if part[0]["calibrated"]:
        error = _figure(part[0]["calibrated"]["calibration_error"])
        finding += f"; its calibrated scores are off by {error} on average"
    panels = {
        stage["stage"]: [
            Curve("as the model says", ORANGE, _points(stage["raw"])),
            Curve("calibrated", BLUE, _points(stage["calibrated"])),
        ]
        for stage in part
    }
    caption = "Share of positive documents among those of about the same score; on the line, a score is a probability."
    plot = partial(against_diagonal, panels, ("mean score", "share of positive documents"))
    charts = [draw("classifiers", caption, finding, plot)]
    rows = [
        (stage["stage"], which, stage[key])
        for stage in part
        for which, key in (("as the model says", "raw"), ("calibrated", "calibrated"))
        if stage[key]
    ]
    text = {"stage": itemgetter(0), "score": itemgetter(1)}
    figures: dict[str, Any] = {"documents": lambda row: number(row[2]["documents"])}
    figures |= {title: partial(_measure, key) for key, title in MEASURES.items()}
    return Section(
        "classifiers", "Classifiers", finding, charts=charts, tables=[table("On unseen documents", rows, text, figures)]
    )


def _points(found: Facts | None) -> list[tuple[float, float]]:
    return [(b["mean"], b["positive"]) for b in found["reliability"] if b["documents"]] if found else []


def _measure(key: str, row: tuple[str, str, Facts]) -> str:
    return _figure(row[2][key])


def _figure(value: float | None) -> str:
    return "none" if value is None else f"{value:.4f}"
