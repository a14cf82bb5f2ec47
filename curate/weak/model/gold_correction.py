"""Correct a posterior by documents with gold labels, where the correction improves held-out documents.

The correction is a softmax ridge regression of the class on the posterior's scores and on the outcome of each function.
The posterior is its offset, so the correction is zero without evidence. Five-fold cross-validation chooses among three
kinds: none, a scale and shift of the scores, and the full regression. With at least 1,000 gold labels an isotonic curve
may follow.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curate.stats import calibration
from curate.weak.manifest import GoldMeasures
from curate.weak.model.posterior import Posterior, softmax
from curate.weak.model.rows import GoldRows
from curate.weak.model.statistics import Layout

ENOUGH = 30  # gold labels that a correction needs; fewer only inform the class balance
MANY = 1000  # gold labels that an isotonic curve needs (two classes only)
FOLDS = 5
MARGIN = 1.0  # a correction must beat a simpler one by this many standard errors of the mean gain
RIDGE = 6.0  # ridge penalty on each class's coefficients; for the difference of two classes the penalty is 3
ROUNDS = 500
STILL = 1e-6
KINDS = ("none", "scale", "full")

Floats = NDArray[np.float64]
Labels = NDArray[np.int8]


@dataclass(frozen=True)
class LinearCorrection:
    """An affine correction of scores.

    Parameters
    ----------
    scale
        Factor of the posterior's scores.
    intercept
        Shape (classes,).
    additive
        Shape (outcomes, classes).
    """

    scale: float
    intercept: Floats
    additive: Floats

    def scores(self, scores: Floats, outcomes: Floats) -> Floats:
        """Corrected scores, shape (documents, classes)."""
        return self.scale * scores + self.intercept + outcomes @ self.additive

    def applied(self, posterior: Posterior) -> Posterior:
        """The corrected posterior, in the same form."""
        return Posterior(
            posterior.offsets,
            self.scale * posterior.intercept + self.intercept,
            self.scale * posterior.additive + self.additive,
            posterior.mass,
            self.scale * posterior.share,
            posterior.side,
            posterior.floor,
        )


@dataclass(frozen=True)
class Correction:
    """The correction that cross-validation chose, and the losses that decided it.

    Parameters
    ----------
    kind
        ``none``, ``scale`` or ``full``.
    linear
        The correction, fitted on all gold.
    curve
        Isotonic calibration of the probability of class 1, applied after the correction; None without one.
    losses
        Held-out log loss of each kind, in nats. ``isotonic`` is the loss of the chosen kind followed by the curve.
    held_out
        Shape (documents with gold, classes): held-out posteriors of the chosen correction.
    contrary
        Whether the best correction would have reversed the scores. If so, no correction is applied.
    """

    kind: str
    linear: LinearCorrection
    curve: dict[str, Any] | None
    losses: dict[str, float]
    held_out: Floats
    contrary: bool


def correct(layout: Layout, posterior: Posterior, gold: GoldRows) -> Correction:
    """Choose the correction with the lowest held-out loss; among nearly equal ones, the simplest."""
    scores = posterior.scores(gold.votes)
    scores -= scores.mean(axis=1, keepdims=True)
    weights = gold.weights / gold.weights.mean()
    outcomes, folds = _one_hot(layout, gold.votes), _folds(gold.labels)

    def left_out(kind: str) -> Floats:
        return _left_out(folds, lambda rest: _fit(kind, rest, scores, outcomes, gold.labels, weights), scores, outcomes)

    held_out = {kind: left_out(kind) for kind in KINDS}
    chosen = "none"
    for kind in KINDS[1:]:
        if _better(_losses(held_out[kind], gold.labels), _losses(held_out[chosen], gold.labels), weights):
            chosen = kind
    linear = _fit(chosen, np.ones(len(folds), bool), scores, outcomes, gold.labels, weights)
    contrary = linear.scale <= 0
    if contrary:
        chosen, linear = "none", _no_correction(outcomes.shape[1], scores.shape[1])
    losses = {kind: float((weights * _losses(q, gold.labels)).mean()) for kind, q in held_out.items()}
    curve = None
    if scores.shape[1] == 2 and len(gold.labels) >= MANY:
        q = _curved_left_out(held_out[chosen], gold.labels, weights, folds)
        losses["isotonic"] = float((weights * _losses(q, gold.labels)).mean())
        if _better(_losses(q, gold.labels), _losses(held_out[chosen], gold.labels), weights):
            curve = _curve(softmax(linear.scores(scores, outcomes))[:, 1], gold.labels, weights)
            held_out[chosen] = q
    return Correction(chosen, linear, curve, losses, held_out[chosen], contrary)


def _folds(labels: Labels) -> NDArray[np.int64]:
    """Fold of each row, assigned in turn in the order of the keys within each class, shape (rows,)."""
    folds = np.empty(len(labels), np.int64)
    for c in np.unique(labels):
        rows = np.flatnonzero(labels == c)
        folds[rows] = np.arange(len(rows)) % FOLDS
    return folds


def _one_hot(layout: Layout, votes: NDArray[np.int8]) -> Floats:
    out = np.zeros((len(votes), int(layout.offsets[-1])))
    rows, functions = np.nonzero(votes >= -1)
    out[rows, layout.offsets[functions] + votes[rows, functions] + 1] = 1.0
    return out


def _left_out(
    folds: NDArray[np.int64], fit: Callable[[NDArray[np.bool_]], LinearCorrection], scores: Floats, outcomes: Floats
) -> Floats:
    """Posterior of each row under the correction fitted without its fold, shape (rows, classes)."""
    q = np.empty_like(scores)
    for fold in range(FOLDS):
        out = folds == fold
        if out.any():
            q[out] = softmax(fit(~out).scores(scores[out], outcomes[out]))
    return q


def _losses(q: Floats, labels: Labels) -> Floats:
    return -np.log(np.maximum(q[np.arange(len(q)), labels], calibration.EDGE))


def _better(losses: Floats, simpler: Floats, weights: Floats) -> bool:
    """Whether the mean gain over the simpler correction exceeds `MARGIN` standard errors."""
    gains = weights * (simpler - losses)
    return bool(gains.mean() > MARGIN * gains.std() / np.sqrt(len(gains)))


def _no_correction(outcomes: int, classes: int) -> LinearCorrection:
    return LinearCorrection(1.0, np.zeros(classes), np.zeros((outcomes, classes)))


def _fit(
    kind: str, rows: NDArray[np.bool_], scores: Floats, outcomes: Floats, labels: Labels, weights: Floats
) -> LinearCorrection:
    k = scores.shape[1]
    if kind == "none":
        return _no_correction(outcomes.shape[1], k)
    one = np.ones((int(rows.sum()), 1))
    columns = np.concatenate([one, outcomes[rows]], axis=1) if kind == "full" else one
    scale, table = _ridge(scores[rows], columns, labels[rows], weights[rows])
    return LinearCorrection(scale, table[0], table[1:] if kind == "full" else np.zeros((outcomes.shape[1], k)))


def _ridge(scores: Floats, columns: Floats, labels: Labels, weights: Floats) -> tuple[float, Floats]:
    """Minimize the weighted log loss plus half the ridge penalty; the scale is penalized by its distance from 1.

    Steps alternate. The coefficients take a step with a fixed matrix that bounds every Hessian (Böhning 1992), so that
    no step overshoots. The scale takes a Newton step.
    """
    rows, k = np.arange(len(scores)), scores.shape[1]
    target = np.eye(k)[labels]
    scale, table = 1.0, np.zeros((columns.shape[1], k))
    inverse = np.linalg.inv(0.5 * (columns.T * weights) @ columns + RIDGE * np.eye(columns.shape[1]))
    for _ in range(ROUNDS):
        miss = weights[:, None] * (softmax(scale * scores + columns @ table) - target)
        step = inverse @ (columns.T @ miss + RIDGE * table)
        table = table - step
        q = softmax(scale * scores + columns @ table)
        mean = (q * scores).sum(axis=1)
        slope = float((weights * (mean - scores[rows, labels])).sum()) + 0.5 * RIDGE * (scale - 1)
        curvature = float((weights * ((q * scores**2).sum(axis=1) - mean**2)).sum()) + 0.5 * RIDGE
        move = float(np.clip(slope / curvature, -0.5, 0.5))
        scale -= move
        if max(float(np.abs(step).max()), abs(move)) < STILL:
            break
    return scale, table


def _curve(scores: Floats, labels: Labels, weights: Floats) -> dict[str, Any]:
    """Fit an isotonic calibration to weighted shares of class 1, in the form that `calibration.apply` takes."""
    values, inverse = np.unique(scores, return_inverse=True)
    total = np.bincount(inverse, weights=weights, minlength=len(values)).astype(np.float64)
    share = np.bincount(inverse, weights=weights * (labels == 1), minlength=len(values)) / total
    steps = calibration.isotonic(share, total)
    return {"kind": "isotonic", "scores": values.tolist(), "probabilities": steps.tolist()}


def _curved_left_out(q: Floats, labels: Labels, weights: Floats, folds: NDArray[np.int64]) -> Floats:
    """Posterior of each row after a curve fitted on the other folds, shape (rows, classes)."""
    out = np.empty(len(q))
    for fold in range(FOLDS):
        rows = folds == fold
        out[rows] = calibration.apply(_curve(q[~rows, 1], labels[~rows], weights[~rows]), q[rows, 1])
    return np.stack([1 - out, out], axis=1)


def measured(q: Floats, labels: Labels, weights: Floats) -> GoldMeasures:
    """Weighted accuracy and log loss in nats; both None without documents.

    A document whose highest probability is tied counts in equal parts for each tied class.

    Examples
    --------
    >>> measured(np.array([[0.2, 0.8], [0.5, 0.5]]), np.array([1, 1]), np.ones(2))["accuracy"]
    0.75
    """
    if not len(labels):
        return {"documents": 0, "accuracy": None, "log_loss": None}
    best = q == q.max(axis=1, keepdims=True)
    right = best[np.arange(len(q)), labels] / best.sum(axis=1)
    return {
        "documents": len(labels),
        "accuracy": float(np.average(right, weights=weights)),
        "log_loss": float(np.average(_losses(q, labels), weights=weights)),
    }
