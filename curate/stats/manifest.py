"""What the manifests of `buckets` and `density` hold, and the measures that trained models report."""

from typing import Literal, TypedDict

from curate.artifact import Body

ReliabilityBin = TypedDict("ReliabilityBin", {"from": float, "documents": int, "mean": float, "positive": float})
"""Documents of about the same score: where the bin begins, their mean score, and their share of positives."""


class Measures(TypedDict):
    """How good probabilities are; see `curate.stats.calibration.measures`."""

    documents: int
    positive: int
    auc: float | None
    precision: float | None
    recall: float | None
    log_loss: float | None
    calibration_error: float | None
    reliability: list[ReliabilityBin]


class BucketsBody(Body):
    """Cuts by group, documents with a value by group, and documents by source and bucket."""

    cuts: dict[str, list[float]]
    groups: dict[str, int]
    buckets: dict[str, dict[str, int]]


class Axis(TypedDict):
    """Scale and ends of a measurement."""

    scale: Literal["linear", "log"]
    low: float
    high: float


class CellCounts(TypedDict):
    """Documents with both measurements and without, and the cells (y times the bins plus x) that have documents."""

    documents: int
    null: int
    cells: list[int]
    counts: list[int]


class MeasuredPair(TypedDict):
    """Columns of the two axes, and counts by source."""

    x: str
    y: str
    sources: dict[str, CellCounts]


class DensityBody(Body):
    """Bins of each axis, axes by column, and every pair of columns."""

    bins: int
    axes: dict[str, Axis]
    pairs: list[MeasuredPair]
