"""A posterior held against documents whose class is known, and corrected where that helps on documents it has not seen.

The correction is a ridge regression of the class, by softmax, on the posterior's own scores and on which outcome each
function has, with the posterior as its offset: without evidence nothing changes. It is chosen from three, by what each
gives documents left out of five folds: none, one that scales and shifts the scores, and the full one. With much gold an
isotonic curve may follow.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curate.stats import calibration
from curate.weak.model.posterior import Posterior, softmax
from curate.weak.model.rows import GoldRows
from curate.weak.model.statistics import Layout

ENOUGH = 30  # documents with gold, below which they inform the balance alone
MANY = 1000  # documents with gold from which on an isotonic curve may follow, for two classes
FOLDS = 5
MARGIN = 1.0  # standard errors of the mean gain by which a correction must be better than a simpler one
RIDGE = 6.0  # on each class's coefficients; on the difference of two classes that is a ridge of 3
ROUNDS = 500
STILL = 1e-6
KINDS = ("none", "scale", "full")

Floats = NDArray[np.float64]
Labels = NDArray[np.int8]


@dataclass(frozen=True)
class LinearCorrection:
    """What is added to scores that are multiplied.

    Parameters
    ----------
    scale
        What the posterior's scores are multiplied by.
    intercept
        Shape (classes,).
    additive
        Shape (outcomes, classes).
    """

    scale: float
    intercept: Floats
    additive: Floats

    def scores(self, scores: Floats, outcomes: Floats) -> Floats:
        """Shape (documents, classes)."""
        return self.scale * scores + self.intercept + outcomes @ self.additive

    def applied(self, posterior: Posterior) -> Posterior:
        """The corrected posterior, of the same form."""
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
    """What gold changes, and how that was decided.

    Parameters
    ----------
    kind
        ``none``, ``scale`` or ``full``.
    linear
        The correction, fitted on all gold.
    curve
        An isotonic calibration of the probability of class 1 that follows, None without one.
    losses
        Log loss of each kind on documents left out, in nats; ``isotonic`` is that of the curve after the chosen one.
    held_out
        Shape (documents with gold, classes): what the chosen correction gave each when it was left out.
    contrary
        Whether the chosen correction would have turned the scores round, and was refused for it.
    """

    kind: str
    linear: LinearCorrection
    curve: dict[str, Any] | None
    losses: dict[str, float]
    held_out: Floats
    contrary: bool


def correct(layout: Layout, posterior: Posterior, gold: GoldRows) -> Correction:
    """The correction that does best on documents left out; of those that do about the same, the simplest."""
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
        chosen, linear = "none", _nothing(outcomes.shape[1], scores.shape[1])
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
    """Shape (rows,): a fold each, dealt out in the order of the keys within each class."""
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
    """Shape (rows, classes): for each row the posterior of a correction fitted without its fold."""
    q = np.empty_like(scores)
    for fold in range(FOLDS):
        out = folds == fold
        if out.any():
            q[out] = softmax(fit(~out).scores(scores[out], outcomes[out]))
    return q


def _losses(q: Floats, labels: Labels) -> Floats:
    return -np.log(np.maximum(q[np.arange(len(q)), labels], calibration.EDGE))


def _better(losses: Floats, simpler: Floats, weights: Floats) -> bool:
    """Whether the mean gain over the simpler one is above `MARGIN` standard errors."""
    gains = weights * (simpler - losses)
    return bool(gains.mean() > MARGIN * gains.std() / np.sqrt(len(gains)))


def _nothing(outcomes: int, classes: int) -> LinearCorrection:
    return LinearCorrection(1.0, np.zeros(classes), np.zeros((outcomes, classes)))


def _fit(
    kind: str, rows: NDArray[np.bool_], scores: Floats, outcomes: Floats, labels: Labels, weights: Floats
) -> LinearCorrection:
    k = scores.shape[1]
    if kind == "none":
        return _nothing(outcomes.shape[1], k)
    one = np.ones((int(rows.sum()), 1))
    columns = np.concatenate([one, outcomes[rows]], axis=1) if kind == "full" else one
    scale, table = _ridge(scores[rows], columns, labels[rows], weights[rows])
    return LinearCorrection(scale, table[0], table[1:] if kind == "full" else np.zeros((outcomes.shape[1], k)))


def _ridge(scores: Floats, columns: Floats, labels: Labels, weights: Floats) -> tuple[float, Floats]:
    """The minimum of the weighted log loss plus half the ridge times squared coefficients (of the scale: from 1).

    By turns a step for the coefficients with a fixed matrix that no Hessian exceeds (Böhning 1992), so that none goes
    too far, and one of Newton's for the scale.
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
    """An isotonic calibration as `calibration.apply` takes it, by weighted shares of class 1."""
    values, inverse = np.unique(scores, return_inverse=True)
    total = np.bincount(inverse, weights=weights, minlength=len(values)).astype(np.float64)
    share = np.bincount(inverse, weights=weights * (labels == 1), minlength=len(values)) / total
    steps = calibration.isotonic(share, total)
    return {"kind": "isotonic", "scores": values.tolist(), "probabilities": steps.tolist()}


def _curved_left_out(q: Floats, labels: Labels, weights: Floats, folds: NDArray[np.int64]) -> Floats:
    """What a curve fitted on the other folds makes of each row."""
    out = np.empty(len(q))
    for fold in range(FOLDS):
        rows = folds == fold
        out[rows] = calibration.apply(_curve(q[~rows, 1], labels[~rows], weights[~rows]), q[rows, 1])
    return np.stack([1 - out, out], axis=1)


def measured(q: Floats, labels: Labels, weights: Floats) -> dict[str, Any]:
    """Weighted accuracy, where equal probabilities share a document, and log loss; None without documents.

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
