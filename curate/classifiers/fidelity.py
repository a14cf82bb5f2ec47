"""How closely scores follow targets that are probabilities: a student beside its teacher."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from curate.stats.calibration import EDGE, reliability
from curate.stats.separation import separation

Values = NDArray[np.float64]


def fidelity(scores: Values, target: Values, keep_rate: float | None = None) -> dict[str, Any]:
    """Measures of a student on documents that neither it nor its calibration has seen.

    Parameters
    ----------
    scores, target
        The student's probability and the teacher's, shape (documents,).
    keep_rate
        The teacher keeps this share, those of the highest targets (and all that are equal to the last of them); where
        None, those of 0.5 and more.

    Returns
    -------
    dict
        ``pearson``, ``spearman`` (ties have their mean rank), ``mean_absolute_error``, ``log_loss`` against the targets
        and ``least_log_loss``, their own entropy, in nats; ``kept``, how many documents the teacher keeps, ``auc``, how
        well the scores tell these from the rest, and ``agreement``, the share of documents on which both decide alike
        when the student keeps as many (without a keep rate: those of 0.5 and more); ``calibration_error`` and
        ``reliability`` as of `curate.stats.calibration.measures`, with the mean target as ``positive``. What does not
        exist (no documents, scores all equal) is None.

    Examples
    --------
    >>> found = fidelity(np.array([0.9, 0.8, 0.1]), np.array([0.8, 0.9, 0.2]), keep_rate=0.5)
    >>> found["spearman"], found["kept"], found["auc"], found["agreement"]
    (0.5, 2, 1.0, 1.0)
    """
    error, rows = reliability(scores, target)
    kept = target >= _least_kept(target, keep_rate)
    told = scores >= (0.5 if keep_rate is None else _nth(scores, int(kept.sum())))
    apart = separation(scores[~kept], scores[kept])
    there = len(scores) > 0
    return {
        "documents": len(scores),
        "pearson": _correlation(scores, target),
        "spearman": _correlation(_ranks(scores), _ranks(target)),
        "mean_absolute_error": float(np.abs(scores - target).mean()) if there else None,
        "log_loss": cross_entropy(scores, target),
        "least_log_loss": cross_entropy(target, target),
        "kept": int(kept.sum()),
        "auc": apart.auc if apart else None,
        "agreement": float((told == kept).mean()) if there else None,
        "calibration_error": error,
        "reliability": rows,
    }


def cross_entropy(scores: Values, target: Values) -> float | None:
    """Mean log loss of scores against targets that are probabilities, in nats; None without documents.

    Examples
    --------
    >>> round(cross_entropy(np.array([0.5, 0.5]), np.array([0.3, 1.0])), 4)
    0.6931
    """
    if not len(scores):
        return None
    p = np.clip(scores, EDGE, 1 - EDGE)
    return float(-(target * np.log(p) + (1 - target) * np.log1p(-p)).mean())


def soft_auc(scores: Values, target: Values) -> float | None:
    """Probability that a document drawn as positive has a higher score than one drawn as negative; ties count half.

    Both are drawn by their targets, each by itself; with targets of 0 and 1 this is the area under the ROC curve. None
    where all targets are 0, or all 1.

    Examples
    --------
    >>> soft_auc(np.array([0.9, 0.2, 0.4]), np.array([1.0, 0.0, 0.5]))
    0.9444444444444444
    """
    values, inverse = np.unique(scores, return_inverse=True)
    yes, no = (np.bincount(inverse, weights=weights, minlength=len(values)) for weights in (target, 1 - target))
    pairs = float(yes.sum() * no.sum())
    return float((yes * (np.cumsum(no) - no / 2)).sum()) / pairs if pairs > 0 else None


def _least_kept(target: Values, keep_rate: float | None) -> float:
    return 0.5 if keep_rate is None else _nth(target, round(keep_rate * len(target)))


def _nth(values: Values, count: int) -> float:
    """The value that `count` values reach."""
    return float(np.sort(values)[len(values) - count]) if count else np.inf


def _ranks(values: Values) -> Values:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[inverse]


def _correlation(a: Values, b: Values) -> float | None:
    if not len(a):
        return None
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / scale if scale > 0 else None
