"""Measures of how closely the scores of a student model follow the probabilities of its teacher."""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate.classifiers.manifest import Fidelity
from curate.stats.calibration import EDGE, reliability
from curate.stats.separation import separation

Values = NDArray[np.float64]


def fidelity(scores: Values, target: Values, keep_rate: float | None = None) -> Fidelity:
    """Compare a student with its teacher on documents used neither for training nor for calibration.

    Parameters
    ----------
    scores, target
        Probabilities of the student and of the teacher, shape (documents,).
    keep_rate
        Share of documents that the teacher keeps: those with the highest targets, and all ties with the last of them.
        If None, the teacher keeps documents with a target of at least 0.5.

    Returns
    -------
    dict
        Number of ``documents``; ``pearson`` and ``spearman`` correlation (ties get their mean rank);
        ``mean_absolute_error``; ``log_loss`` against the targets, and ``least_log_loss``, the entropy of the targets,
        in nats; ``kept``, the number of documents that the teacher keeps; ``auc``, the separation of these from the
        rest by the scores; ``agreement``, the share of documents on which both make the same decision if the student
        keeps as many documents (or, without a keep rate, those with a score of at least 0.5); ``calibration_error`` and
        ``reliability`` as in `curate.stats.calibration.measures`, with the mean target as ``positive``. A measure that
        is not defined (no documents, all scores equal) is None.

    Examples
    --------
    >>> quality = fidelity(np.array([0.9, 0.8, 0.1]), np.array([0.8, 0.9, 0.2]), keep_rate=0.5)
    >>> quality["spearman"], quality["kept"], quality["auc"], quality["agreement"]
    (0.5, 2, 1.0, 1.0)
    """
    error, rows = reliability(scores, target)
    kept = target >= _least_kept(target, keep_rate)
    student_keeps = scores >= (0.5 if keep_rate is None else _nth(scores, int(kept.sum())))
    separated = separation(scores[~kept], scores[kept])
    not_empty = len(scores) > 0
    return {
        "documents": len(scores),
        "pearson": _correlation(scores, target),
        "spearman": _correlation(_ranks(scores), _ranks(target)),
        "mean_absolute_error": float(np.abs(scores - target).mean()) if not_empty else None,
        "log_loss": cross_entropy(scores, target),
        "least_log_loss": cross_entropy(target, target),
        "kept": int(kept.sum()),
        "auc": separated.auc if separated else None,
        "agreement": float((student_keeps == kept).mean()) if not_empty else None,
        "calibration_error": error,
        "reliability": rows,
    }


def cross_entropy(scores: Values, target: Values) -> float | None:
    """Return the mean log loss of scores against probabilities as targets, in nats; None without documents.

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
    """Return the probability that a random positive document has a higher score than a random negative one.

    Ties count half. The positive document is drawn with probability proportional to its target, the negative one,
    independently, to one minus its target. With targets of 0 and 1, this is the area under the ROC curve. The result is
    None if all targets are 0 or all are 1.

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
    """Return the largest threshold that at least `count` values reach; infinity for 0."""
    return float(np.sort(values)[len(values) - count]) if count else np.inf


def _ranks(values: Values) -> Values:
    return pl.Series(values).rank("average").to_numpy()


def _correlation(a: Values, b: Values) -> float | None:
    if not len(a):
        return None
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / scale if scale > 0 else None
