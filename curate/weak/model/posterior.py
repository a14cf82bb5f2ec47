"""The functional form of every label model and its kernels: sums of table look-ups in a fixed order.

With the outcome v_j of function j in a document, and classes y,

    score_y = intercept_y + additive[v_1, y] + ... + additive[v_m, y] + share * log(SMOOTH + mass[v_1, y] + ... ),

the posterior is the softmax of the scores. `additive` holds log-likelihoods, `mass` the part of a vote that an outcome
gives to each class. A function that was not asked adds nothing. Where all votes of a document are for one class,
`floor` is a lower bound for that class: abstentions of other functions do not outweigh the votes.
"""

from dataclasses import dataclass, replace
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

SMOOTH = 0.5  # pseudo-votes for each class in the vote share: Jeffreys' prior
CLOSE = 1e-8  # tolerance of the mean posterior's distance from the balance

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]
Votes = NDArray[np.int8]


@dataclass(frozen=True)
class Posterior:
    """The tables of the formula above.

    Parameters
    ----------
    offsets
        Shape (functions + 1,): where each function's outcomes begin in the tables.
    intercept
        Shape (classes,).
    additive, mass
        Shape (outcomes, classes).
    share
        Coefficient of the logarithm of the vote share.
    side
        Shape (outcomes,): the class that an outcome is a vote for, -1 if it is a vote for none.
    floor
        Shape (classes,): lower bound of a class's log-odds against all other classes, for documents whose votes are all
        for that class; -inf for no bound.
    """

    offsets: Counts
    intercept: Floats
    additive: Floats
    mass: Floats
    share: float
    side: Counts
    floor: Floats

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return len(self.intercept)

    def scores(self, votes: Votes) -> Floats:
        """Score of each class up to a constant per document, shape (documents, classes).

        A document's scores do not depend on the other documents of the call.
        """
        out = np.zeros((len(votes), self.n_classes))
        if self.n_classes == 2:
            _logits(votes, *self._of_two(), out[:, 1])  # pyright: ignore[reportCallIssue]
        else:
            sides = self.side, self.floor
            _scores(votes, self.offsets, self.intercept, self.additive, self.mass, self.share, *sides, out)
        return out

    def _of_two(self) -> Any:
        """Tables for the logit of class 1. The sides become bits: 1 for class 0 and 2 for class 1."""
        odds, logit = self.additive[:, 1] - self.additive[:, 0], float(self.intercept[1] - self.intercept[0])
        return self.offsets, logit, odds, self.mass, self.share, (self.side + 1).astype(np.uint8), self.floor

    def probabilities(self, votes: Votes) -> Floats:
        """Posterior of each class, shape (documents, classes); rows sum to 1."""
        return softmax(self.scores(votes))

    def log_odds(self, votes: Votes) -> Floats:
        """Contribution of each function to the logit of class 1, shape (documents, functions); two classes only.

        The vote share's term is split among the functions by log x - log y = (x - y) / L(x, y), where L is the
        logarithmic mean. What `floor` adds is split evenly among the votes.
        """
        out = np.zeros(votes.shape)
        _log_odds(votes, *self._of_two(), out)  # pyright: ignore[reportCallIssue]
        return out

    def shifted(self, by: Floats) -> "Posterior":
        """Copy with `by` added to the intercepts."""
        return replace(self, intercept=self.intercept + by)


def softmax(scores: Floats) -> Floats:
    """Softmax along the last axis, computed in place: `scores` is overwritten and returned."""
    _softmax(scores)
    return scores


@numba.njit(cache=True, nogil=True)
def _softmax(scores):
    for i in range(len(scores)):
        most = scores[i, 0]
        for c in range(1, scores.shape[1]):
            most = max(most, scores[i, c])
        total = 0.0
        for c in range(scores.shape[1]):
            scores[i, c] = np.exp(scores[i, c] - most)
            total += scores[i, c]
        for c in range(scores.shape[1]):
            scores[i, c] /= total


@numba.njit(cache=True, nogil=True)
def _tally(votes, offsets, intercept, odds, mass, sides):
    """Of one document: its log-odds, mass of both classes, which sides its votes took, and how many took one."""
    logit, drop, keep, seen, cast = intercept, SMOOTH, SMOOTH, 0, 0
    for j in range(len(votes)):
        if votes[j] >= -1:
            u = offsets[j] + votes[j] + 1
            logit += odds[u]
            drop += mass[u, 0]
            keep += mass[u, 1]
            seen |= sides[u]
            cast += sides[u] > 0
    return logit, drop, keep, seen, cast


@numba.njit(cache=True, nogil=True)
def _logits(votes, offsets, intercept, odds, mass, share, sides, floor, out):
    for i in range(len(votes)):
        logit, drop, keep, sides_voted, _ = _tally(votes[i], offsets, intercept, odds, mass, sides)
        if share != 0:
            logit += share * (np.log(keep) - np.log(drop))
        out[i] = _bounded(logit, sides_voted, floor)


@numba.njit(cache=True, nogil=True, inline="always")
def _bounded(logit, sides_voted, floor):
    """Apply the bound of a class to the logit when all votes are for that class."""
    if sides_voted == 1:
        return min(logit, -floor[0])
    return max(logit, floor[1]) if sides_voted == 2 else logit


@numba.njit(cache=True, nogil=True)
def _scores(votes, offsets, intercept, additive, mass, share, side, floor, out):
    totals = np.empty(len(intercept))
    for i in range(len(votes)):
        out[i] = intercept
        totals[:] = SMOOTH
        only = -1  # the class that all votes are for, -1 for no vote yet, -2 for several
        for j in range(votes.shape[1]):
            if votes[i, j] >= -1:
                u = offsets[j] + votes[i, j] + 1
                for c in range(len(intercept)):
                    out[i, c] += additive[u, c]
                    totals[c] += mass[u, c]
                if side[u] >= 0:
                    only = side[u] if only == -1 or only == side[u] else -2
        if share != 0:
            out[i] += share * np.log(totals)
        if only >= 0:
            out[i, only] += max(_lacking(out[i], only, floor[only]), 0.0)


@numba.njit(cache=True, nogil=True)
def _lacking(scores, only, floor):
    """Amount by which the score of class `only` is below its bound."""
    most = -np.inf
    for c in range(len(scores)):
        if c != only:
            most = max(most, scores[c])
    total = 0.0
    for c in range(len(scores)):
        if c != only:
            total += np.exp(scores[c] - most)
    return floor - (scores[only] - most - np.log(total))


@numba.njit(cache=True, nogil=True)
def _log_odds(votes, offsets, intercept, odds, mass, share, sides, floor, out):
    for i in range(len(votes)):
        logit, drop, keep, sides_voted, cast = _tally(votes[i], offsets, intercept, odds, mass, sides)
        difference, nearly_equal = keep - drop, abs(keep - drop) <= 1e-6 * (keep + drop)
        logit += share * (np.log(keep) - np.log(drop))
        per_mass = share * (2 / (keep + drop) if nearly_equal else (np.log(keep) - np.log(drop)) / difference)
        bound_part = (_bounded(logit, sides_voted, floor) - logit) / max(cast, 1)
        for j in range(votes.shape[1]):
            if votes[i, j] >= -1:
                u = offsets[j] + votes[i, j] + 1
                out[i, j] = odds[u] + per_mass * (mass[u, 1] - mass[u, 0]) + (bound_part if sides[u] > 0 else 0.0)


@numba.njit(cache=True, nogil=True)
def outcome_sums(votes, offsets, values):
    """Sum the rows of `values` over the documents with each outcome, shape (outcomes, columns of `values`)."""
    out = np.zeros((offsets[-1], values.shape[1]))
    for i in range(len(votes)):
        for j in range(votes.shape[1]):
            if votes[i, j] >= -1:
                u = offsets[j] + votes[i, j] + 1
                for c in range(values.shape[1]):
                    out[u, c] += values[i, c]
    return out


def shift_to(scores: Floats, balance: Floats) -> Floats:
    """Find the intercepts to add to the scores so that the mean posterior equals the balance.

    They minimize the mean of log-sum-exp(scores + b) - balance . b, which is convex. Newton's method finds the minimum;
    a step that increases the objective is halved.

    Parameters
    ----------
    scores
        Shape (documents, classes).
    balance
        Shape (classes,), above 0, with sum 1.

    Returns
    -------
    ndarray
        Shape (classes,), with mean 0.

    Examples
    --------
    >>> bool(np.allclose(shift_to(np.zeros((5, 2)), np.array([0.2, 0.8])), [-np.log(2), np.log(2)]))
    True
    """
    if not len(scores):
        return np.log(balance) - np.log(balance).mean()
    shift = np.zeros(len(balance))
    value, mean, second = _moments(scores, shift, balance)
    for _ in range(100):
        if np.abs(mean - balance).max() < CLOSE:
            break
        step = np.linalg.solve(np.diag(mean + 1e-9) - second + 1.0, mean - balance)
        moved = _moments(scores, shift - step, balance)
        while moved[0] > value and np.abs(step).max() > CLOSE:
            step /= 2
            moved = _moments(scores, shift - step, balance)
        shift = shift - step
        value, mean, second = moved
    return shift - shift.mean()


def _moments(scores: Floats, shift: Floats, balance: Floats) -> tuple[float, Floats, Floats]:
    value, mean, second = _sums(scores, shift)
    n = len(scores)
    return value / n - float(balance @ shift), mean / n, second / n


@numba.njit(cache=True, nogil=True)
def _sums(scores, shift):
    """Sums over documents of the log-sum-exp, the posterior and the posterior's outer product with itself."""
    classes = scores.shape[1]
    value, mean, second, q = 0.0, np.zeros(classes), np.zeros((classes, classes)), np.empty(classes)
    for i in range(len(scores)):
        most = -np.inf
        for c in range(classes):
            q[c] = scores[i, c] + shift[c]
            most = max(most, q[c])
        total = 0.0
        for c in range(classes):
            q[c] = np.exp(q[c] - most)
            total += q[c]
        value += most + np.log(total)
        for c in range(classes):
            q[c] /= total
            mean[c] += q[c]
        for c in range(classes):
            for d in range(classes):
                second[c, d] += q[c] * q[d]
    return value, mean, second
