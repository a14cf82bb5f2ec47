"""Students, small models that follow a column of probabilities: how closely they do, and how fast they are."""

from collections.abc import Sequence

from curate.classifiers.manifest import Clocked, Fidelity, StudentBody, Targets
from curate.config.units import format_bytes, number, percent, plural
from curate.report.page import PageSection
from curate.report.record import RunRecord, StageRecord
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


class StudentFacts(ModelFacts[Fidelity]):
    """A student with what it learned from, and its speed in bytes per processor second."""

    targets: Targets
    speed: float | None


def facts(run: RunRecord) -> list[StudentFacts]:
    """Per student: what it learned from, how closely it follows that, and its speed in bytes per processor second."""
    return [_of_stage(stage) for stage in run.of("distill")]


def _of_stage(stage: StageRecord) -> StudentFacts:
    body, clocked = stage.body(StudentBody), list(stage.artifact.results("speed", Clocked))
    size, seconds = (sum(result[key] for result in clocked) for key in ("bytes", "cpu_seconds"))
    model = model_facts(stage.name, body["student"])
    return {**model, "targets": body["targets"], "speed": size / seconds if seconds else None}


def page(facts: Sequence[StudentFacts], _: Report) -> PageSection:
    """How closely students follow their teachers, and how fast they are."""
    first = facts[0]
    told = first["calibrated"] or first["raw"]
    finding = (
        f"{first['stage']} follows {first['targets']['column']} with a rank correlation of "
        f"{four_digits(told['spearman'])} and decides alike on "
        f"{'none' if told['agreement'] is None else percent(told['agreement'])} of the documents"
    )
    caption = "Mean target of documents of about the same score; on the line, the student says what its teacher says."
    chart = reliability_chart("students", facts, caption, finding, "mean target")
    measured = measures_table(
        facts,
        {
            "rank correlation": lambda found: found["spearman"],
            "correlation": lambda found: found["pearson"],
            "AUC against the teacher's decision": lambda found: found["auc"],
            "decided alike": lambda found: found["agreement"],
            "mean distance": lambda found: found["mean_absolute_error"],
            "log loss, nats": lambda found: found["log_loss"],
            "least possible": lambda found: found["least_log_loss"],
            "calibration error": lambda found: found["calibration_error"],
        },
    )
    lead = " ".join([*map(_taught, facts), *searches(facts)])
    tables = [measured, *settings_tables(facts)]
    return PageSection("students", "Students", finding, lead, charts=[chart], tables=tables)


def _taught(stage: StudentFacts) -> str:
    """What a student learned from, what its teacher keeps, and its speed."""
    targets, told = stage["targets"], stage["raw"]
    said = f"{stage['stage']}: {plural(targets['learned_from'], 'document')} with a target"
    if targets["null"]:
        said += f" ({number(targets['null'])} without one were left out)"
    kept = f"; the teacher keeps {number(told['kept'])} of the {number(told['documents'])} unseen ones"
    if not stage["speed"]:
        return f"{said}{kept}."
    return f"{said}{kept}, and the student scores {format_bytes(round(stage['speed']))} per processor second."


SECTION = Section("students", 90, facts, page, needs=("distill",))
