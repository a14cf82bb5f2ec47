"""What the manifests of `train_classifier` and `distill` hold."""

from typing import Any, Generic, Literal, NotRequired, TypedDict, TypeVar

from curate.artifact import Body
from curate.stats.manifest import Measures, ReliabilityBin


class Fidelity(TypedDict):
    """How closely a student follows its teacher; see `curate.classifiers.fidelity.fidelity`."""

    documents: int
    pearson: float | None
    spearman: float | None
    mean_absolute_error: float | None
    log_loss: float | None
    least_log_loss: float | None
    kept: int
    auc: float | None
    agreement: float | None
    calibration_error: float | None
    reliability: list[ReliabilityBin]


class TuningCost(TypedDict):
    """Expected cost of a search, and of training with what it found, in trainings with the given settings."""

    search: float
    final: float


class TuningRound(TypedDict):
    """A round of a search: trials, and documents that each was trained on."""

    trials: int
    documents: int


class TuningTrial(TypedDict):
    """Settings, and the measure of each round that they took part in; None where training diverged."""

    parameters: dict[str, float | int]
    values: list[float | None]


class Tuning(TypedDict):
    """A search for settings; see `curate.classifiers.autotune.search`."""

    parameters: dict[str, float | int]
    chosen: int
    metric: Literal["auc", "log_loss"]
    predicted_trainings: TuningCost
    rungs: list[TuningRound]
    trials: list[TuningTrial]


Measured = TypeVar("Measured", Measures, Fidelity)


class JudgedModel(TypedDict, Generic[Measured]):
    """Calibration of a model, and how good its scores are without calibration and with it."""

    calibration: dict[str, Any] | None
    raw: Measured
    calibrated: NotRequired[Measured]


class FittedModel(JudgedModel[Measured], Generic[Measured]):
    """A model with its settings and its hash."""

    parameters: dict[str, float | int]
    sha256: str


class TrainedModel(FittedModel[Measured], Generic[Measured]):
    """A model with the documents of each part by class, and the search for its settings."""

    documents: dict[str, dict[str, int]]
    tuning: NotRequired[Tuning]


class ClassifierBody(Body):
    """Documents by class, and the classifier."""

    classes: dict[str, int]
    classifier: TrainedModel[Measures]


class Targets(TypedDict):
    """What a student learned from: the teacher's column and keep rate, documents, and the mean target."""

    column: str
    keep_rate: float | None
    learned_from: int
    null: int
    not_chosen: int
    mean: float


class StudentBody(Body):
    """The teacher's targets, and the student."""

    targets: Targets
    student: TrainedModel[Fidelity]


class Clocked(TypedDict):
    """Result of the task ``speed``: bytes scored, and processor seconds."""

    bytes: int
    cpu_seconds: float
