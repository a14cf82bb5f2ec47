"""A posterior held against documents whose class is known, and corrected where that helps on documents it has not seen.

The correction is a ridge regression of the class, by softmax, on the posterior's own scores and on which outcome each
function has, with the posterior as its offset: without evidence nothing changes. It is chosen from three, by what each
gives documents left out of five folds: none, one that scales and shifts the scores, and the full one.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curate.models import calibration
from curate.models.posterior import Posterior, softmax
from curate.models.vote_rows import GoldRows
from curate.models.vote_state import Layout

ENOUGH = 30  # documents with gold, below which they inform the balance alone
FOLDS = 5
RIDGE = 6.0  # on each class's coefficients; on the difference of two classes that is a ridge of 3
MARGIN = 1.0  # standard errors by which a correction must be better than a simpler one
ROUNDS = 2000
STILL = 1e-9
KINDS = ("none", "scale", "full")

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Correction:
    """What gold changes.

    Parameters
    ----------
    kind
        ``none``, ``scale`` or ``full``.
    scale
        What the posterior's scores are multiplied by.
    intercept
        Shape (classes,).
    additive
        Shape (outcomes, classes).
    losses
        Log loss of each kind over the folds, in nats.
    """

    kind: str
    scale: float
    intercept: Floats
    additive: Floats
    losses: dict[str, float]

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


def correct(layout: Layout, posterior: Posterior, gold: GoldRows) -> Correction:
    """The correction that does best on folds; the simpler one where two do the same."""
    scores = posterior.scores(gold.votes)
    scores -= scores.mean(axis=1, keepdims=True)
    weights = gold.weights / gold.weights.mean()
    folds = _folds(gold.labels)
    outcomes = _one_hot(layout, gold.votes)
    found = {kind: _losses_over_folds(kind, scores, outcomes, gold.labels, weights, folds) for kind in KINDS}
    losses = {kind: float((weights * loss).mean()) for kind, loss in found.items()}
    kind = "none"
    for other in KINDS[1:]:
        kind = other if _better(weights * (found[kind] - found[other])) else kind
    fitted = _fit(kind, scores, outcomes, gold.labels, weights)
    if fitted[0] <= 0:
        kind, fitted = "none", _fit("none", scores, outcomes, gold.labels, weights)
    return Correction(kind, *fitted, losses)


def _folds(labels: NDArray[np.int8]) -> NDArray[np.int64]:
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


def _better(gains: Floats) -> bool:
    """Whether the mean gain is above `MARGIN` of its standard errors."""
    return bool(gains.mean() > MARGIN * gains.std() / np.sqrt(len(gains)))


def _losses_over_folds(
    kind: str, scores: Floats, outcomes: Floats, labels: NDArray[np.int8], weights: Floats, folds: NDArray[np.int64]
) -> Floats:
    """Shape (rows,): log loss of each row by a correction that was fitted without its fold."""
    losses = np.empty(len(labels))
    for fold in range(FOLDS):
        out, rest = folds == fold, folds != fold
        scale, intercept, additive = _fit(kind, scores[rest], outcomes[rest], labels[rest], weights[rest])
        q = softmax(scale * scores[out] + intercept + outcomes[out] @ additive)
        losses[out] = -np.log(np.maximum(q[np.arange(len(q)), labels[out]], 1e-12))
    return losses


def _fit(
    kind: str, scores: Floats, outcomes: Floats, labels: NDArray[np.int8], weights: Floats
) -> tuple[float, Floats, Floats]:
    """Scale, intercept and table, by Böhning's (1992) bound: a fixed matrix that no Hessian exceeds."""
    k = scores.shape[1]
    none = np.zeros((outcomes.shape[1], k))
    if kind == "none":
        return 1.0, np.zeros(k), none
    columns = np.concatenate([np.ones((len(scores), 1)), outcomes if kind == "full" else outcomes[:, :0]], axis=1)
    scale, table = _ridge(scores, columns, labels, weights)
    additive = table[1:] if kind == "full" else none
    return scale, table[0], additive


def _ridge(scores: Floats, columns: Floats, labels: NDArray[np.int8], weights: Floats) -> tuple[float, Floats]:
    """The minimum of the weighted log loss plus half the ridge times squared coefficients (of the scale: from 1)."""
    k = scores.shape[1]
    target = np.eye(k)[labels]
    scale, table = 1.0, np.zeros((columns.shape[1], k))
    bound = 0.5 * (columns.T * weights) @ columns + RIDGE * np.eye(columns.shape[1])
    inverse = np.linalg.inv(bound)
    for _ in range(ROUNDS):
        miss = weights[:, None] * (softmax(scale * scores + columns @ table) - target)
        step = inverse @ (columns.T @ miss + RIDGE * table)
        table = table - step
        q = softmax(scale * scores + columns @ table)
        mean = (q * scores).sum(axis=1)
        slope = float((weights * (mean - scores[np.arange(len(q)), labels])).sum()) + 0.5 * RIDGE * (scale - 1)
        curve = float((weights * ((q * scores**2).sum(axis=1) - mean**2)).sum()) + 0.5 * RIDGE
        move = float(np.clip(slope / curve, -0.5, 0.5))
        scale -= move
        if max(float(np.abs(step).max()), abs(move)) < STILL:
            break
    return scale, table


def isotonic_curve(posterior: Posterior, gold: GoldRows) -> dict[str, Any]:
    """A calibration of the probability of class 1, for two classes."""
    return calibration.fit("isotonic", posterior.probabilities(gold.votes)[:, 1], gold.labels == 1)


def measured(q: Floats, labels: NDArray[np.int8], weights: Floats) -> dict[str, Any]:
    """Weighted accuracy, where equal probabilities share a document, and log loss."""
    if not len(labels):
        return {"documents": 0, "accuracy": None, "log_loss": None}
    best = q == q.max(axis=1, keepdims=True)
    right = best[np.arange(len(q)), labels] / best.sum(axis=1)
    loss = -np.log(np.maximum(q[np.arange(len(q)), labels], 1e-6))
    return {
        "documents": len(labels),
        "accuracy": float(np.average(right, weights=weights)),
        "log_loss": float(np.average(loss, weights=weights)),
    }
