"""Classifiers that were trained, and how good they are on documents that they have not seen."""

from collections.abc import Sequence

from curate.classifiers.manifest import ClassifierBody
from curate.report.page import PageSection
from curate.report.record import RunRecord
from curate.report.section import Report, Section
from curate.report.trained import (
    ModelFacts,
    four_digits,
    measures_table,
    model_facts,
    reliability_chart,
    searches,
    settings_tables,
)
from curate.stats.manifest import Measures


def facts(run: RunRecord) -> list[ModelFacts[Measures]]:
    """Per classifier that was trained: its documents, how good it is on those it has not seen, and what was tried."""
    return [model_facts(stage.name, stage.body(ClassifierBody)["classifier"]) for stage in run.of("train_classifier")]


def page(facts: Sequence[ModelFacts[Measures]], _: Report) -> PageSection:
    """Reliability diagrams, the measures with the calibration and without, and the settings that were tried."""
    first = facts[0]
    finding = f"{first['stage']} tells the classes apart with an AUC of {four_digits(first['raw']['auc'])}"
    if first["calibrated"]:
        error = four_digits(first["calibrated"]["calibration_error"])
        finding += f"; its calibrated scores are off by {error} on average"
    caption = "Share of positive documents among those of about the same score; on the line, a score is a probability."
    chart = reliability_chart("classifiers", facts, caption, finding, "share of positive documents")
    measured = measures_table(
        facts,
        {
            "AUC": lambda found: found["auc"],
            "precision at 0.5": lambda found: found["precision"],
            "recall at 0.5": lambda found: found["recall"],
            "log loss, nats": lambda found: found["log_loss"],
            "calibration error": lambda found: found["calibration_error"],
        },
    )
    lead, tables = " ".join(searches(facts)), [measured, *settings_tables(facts)]
    return PageSection("classifiers", "Classifiers", finding, lead, charts=[chart], tables=tables)


SECTION = Section("classifiers", 60, facts, page, needs=("train_classifier",))
