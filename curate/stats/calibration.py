"""Calibration of scores to probabilities, by isotonic regression or Platt's logistic curve, and measures of quality.

Isotonic regression uses the pool-adjacent-violators algorithm (Ayer et al. 1955; for classifiers Zadrozny and Elkan
2002). Platt's curve follows Platt (1999), with the corrected targets of Lin, Lin and Weng (2007).
"""

from collections.abc import Mapping
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from curate.stats.manifest import Measures, ReliabilityBin
from curate.stats.separation import separation

Values = NDArray[np.float64]
BINS = 10  # of the reliability diagram
EDGE = 1e-6  # minimum distance of scores from 0 and 1 before a logarithm; scores beyond are clipped


def isotonic(values: Values, weights: Values) -> Values:
    """Return the non-decreasing sequence with the minimum weighted squared distance from `values`, shape (n,).

    `scipy.optimize.isotonic_regression` gives the same but for the last bits, and would bring 113 MB into every
    installation; the tests compare the two.

    Parameters
    ----------
    values, weights
        Shape (n,) each; weights must be positive.

    Examples
    --------
    >>> isotonic(np.array([1.0, 3.0, 2.0]), np.ones(3)).tolist()
    [1.0, 2.5, 2.5]
    """
    out = np.empty(len(values))
    _pool(np.asarray(values, np.float64), np.asarray(weights, np.float64), out)
    return out


@numba.njit(cache=True, nogil=True)
def _pool(values, weights, out):
    mean, weight = np.empty(len(values)), np.empty(len(values))
    count = np.empty(len(values), np.int64)
    blocks = 0
    for i in range(len(values)):
        mean[blocks], weight[blocks], count[blocks] = values[i], weights[i], 1
        blocks += 1
        while blocks > 1 and mean[blocks - 2] >= mean[blocks - 1]:
            both = weight[blocks - 2] + weight[blocks - 1]
            mean[blocks - 2] = (mean[blocks - 2] * weight[blocks - 2] + mean[blocks - 1] * weight[blocks - 1]) / both
            weight[blocks - 2] = both
            count[blocks - 2] += count[blocks - 1]
            blocks -= 1
    start = 0
    for block in range(blocks):
        out[start : start + count[block]] = mean[block]
        start += count[block]


def fit(kind: str, scores: Values, target: Values | NDArray[np.bool_]) -> dict[str, Any]:
    """Fit a calibration, and return it as a JSON object for `apply`.

    Parameters
    ----------
    kind
        ``isotonic`` or ``platt``.
    scores
        Scores of the model, 0 to 1, shape (documents,).
    target
        Whether each document is positive, or the probability that it is, shape (documents,).
    """
    target = np.asarray(target, np.float64)
    return _fit_isotonic(scores, target) if kind == "isotonic" else _fit_platt(scores, target)


def apply(calibration: Mapping[str, Any], scores: Values) -> Values:
    """Return the calibrated probabilities of scores. The isotonic curve is interpolated between the ends of its steps.

    Examples
    --------
    >>> apply({"kind": "isotonic", "scores": [0.2, 0.6], "probabilities": [0.0, 1.0]}, np.array([0.1, 0.4])).tolist()
    [0.0, 0.5]
    """
    if calibration["kind"] == "isotonic":
        return np.interp(scores, calibration["scores"], calibration["probabilities"])
    return _logistic(calibration["slope"] * _logit(scores) + calibration["intercept"])


def _fit_isotonic(scores: Values, target: Values) -> dict[str, Any]:
    values, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    share = np.bincount(inverse, weights=target, minlength=len(values)) / counts
    steps = isotonic(share, counts.astype(np.float64))
    ends = np.ones(len(steps), bool)
    ends[1:-1] = (steps[1:-1] != steps[:-2]) | (steps[1:-1] != steps[2:])
    return {"kind": "isotonic", "scores": values[ends].tolist(), "probabilities": steps[ends].tolist()}


def _fit_platt(scores: Values, target: Values) -> dict[str, Any]:
    """Minimize the log loss by Newton's method. The targets are moved away from 0 and 1, so that a minimum exists."""
    x, positives = _logit(scores), float(target.sum())
    target = target * ((positives + 1) / (positives + 2)) + (1 - target) / (len(x) - positives + 2)
    slope, intercept = 1.0, 0.0

    def loss(a: float, b: float) -> float:
        z = a * x + b
        return float((np.logaddexp(0, z) - target * z).sum())

    for _ in range(100):
        p = _logistic(slope * x + intercept)
        gradient = np.array([((p - target) * x).sum(), (p - target).sum()])
        w = p * (1 - p)
        hessian = np.array([[(w * x * x).sum(), (w * x).sum()], [(w * x).sum(), w.sum()]]) + 1e-9 * np.eye(2)
        step, length, current_loss = np.linalg.solve(hessian, gradient), 1.0, loss(slope, intercept)
        while length > 1e-6 and loss(slope - length * step[0], intercept - length * step[1]) > current_loss:
            length /= 2
        slope, intercept = slope - length * float(step[0]), intercept - length * float(step[1])
        if np.abs(gradient).max() < 1e-8 * len(x) or length <= 1e-6:
            break
    return {"kind": "platt", "slope": slope, "intercept": intercept}


def _logit(scores: Values) -> Values:
    clipped = np.clip(scores, EDGE, 1 - EDGE)
    return np.log(clipped) - np.log1p(-clipped)


def _logistic(z: Values) -> Values:
    return 0.5 * (1 + np.tanh(0.5 * z))


def measures(scores: Values, positive: NDArray[np.bool_]) -> Measures:
    """Return measures of the quality of probabilities, on documents used neither for training nor for calibration.

    Parameters
    ----------
    scores
        Probabilities that the documents are positive, shape (documents,).
    positive
        Whether each document is positive, shape (documents,).

    Returns
    -------
    dict
        Number of ``documents`` and of ``positive`` ones; ``auc`` (ties count half); ``precision`` and ``recall`` at
        0.5; ``log_loss`` in nats; ``calibration_error``, the mean over documents of the distance between the mean score
        and the share of positives in a document's bin; ``reliability``, the bins. A measure that is not defined (e.g.,
        the precision if no score reaches 0.5) is None.

    Examples
    --------
    >>> quality = measures(np.array([0.9, 0.8, 0.1]), np.array([True, False, False]))
    >>> quality["auc"], quality["precision"], quality["recall"]
    (1.0, 0.5, 1.0)
    """
    predicted, positives = scores >= 0.5, int(positive.sum())
    true_positives = int((predicted & positive).sum())
    error, rows = reliability(scores, positive)
    p = np.clip(scores, EDGE, 1 - EDGE)
    separated = separation(scores[~positive], scores[positive])
    total = len(scores)
    return {
        "documents": total,
        "positive": positives,
        "auc": separated.auc if separated else None,
        "precision": true_positives / int(predicted.sum()) if predicted.any() else None,
        "recall": true_positives / positives if positives else None,
        "log_loss": float(-np.where(positive, np.log(p), np.log1p(-p)).mean()) if total else None,
        "calibration_error": error,
        "reliability": rows,
    }


def reliability(
    scores: Values, target: Values | NDArray[np.bool_], weights: Values | None = None
) -> tuple[float | None, list[ReliabilityBin]]:
    """Return the calibration error and the bins of the reliability diagram; see `measures`.

    Parameters
    ----------
    scores
        Probabilities that the documents are positive, shape (documents,).
    target
        Whether each document is positive, or the probability that it is, shape (documents,).
    weights
        Number of documents that each document represents, 1 by default, shape (documents,). The counts ``documents`` of
        the bins ignore the weights.

    Examples
    --------
    >>> reliability(np.array([0.25, 0.27]), np.array([0.2, 0.4]))[1][2]
    {'from': 0.2, 'documents': 2, 'mean': 0.26, 'positive': 0.30000000000000004}
    """
    bins = np.minimum((scores * BINS).astype(np.int64), BINS - 1)
    count = np.bincount(bins, minlength=BINS)
    document_weights = np.ones(len(scores)) if weights is None else weights
    total = np.bincount(bins, weights=document_weights, minlength=BINS)
    sums = (np.bincount(bins, weights=document_weights * values, minlength=BINS) for values in (scores, target))
    mean, share = (bin_sums / np.where(total > 0, total, 1) for bin_sums in sums)
    error = float((np.abs(mean - share) * total).sum() / total.sum()) if len(scores) else None
    return error, [
        {"from": b / BINS, "documents": int(count[b]), "mean": float(mean[b]), "positive": float(share[b])}
        for b in range(BINS)
    ]
