"""The form that every label model here has, and its kernels: sums of table look-ups, in the same order for each row.

With the outcome v_j of function j in a document, and classes y,

    score_y = intercept_y + additive[v_1, y] + ... + additive[v_m, y] + share * log(SMOOTH + mass[v_1, y] + ... ),

the posterior is the softmax of the scores. `additive` holds log-likelihoods, `mass` how much of a vote an outcome is
for a class. A function that was not asked adds nothing. Where all votes of a document are for one class, the posterior
of that class is at least what `floor` says: the silence of others does not outweigh what is said.
"""

from dataclasses import dataclass, replace
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

SMOOTH = 0.5  # of the vote share: Jeffreys' prior
CLOSE = 1e-8  # to the balance is near enough

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]
Votes = NDArray[np.int8]


@dataclass(frozen=True)
class Posterior:
    """Tables of the form above.

    Parameters
    ----------
    offsets
        Shape (functions + 1,): where each function's outcomes begin in the tables.
    intercept
        Shape (classes,).
    additive, mass
        Shape (outcomes, classes).
    share
        How much the logarithm of the vote share counts.
    side
        Shape (outcomes,): the class that an outcome is a vote for, -1 where it is for none.
    floor
        Shape (classes,): for each class the least difference of its score from the logarithm of the sum of the others'
        exponentials where all votes are for it; -inf for no such bound.
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
        """How many classes."""
        return len(self.intercept)

    def scores(self, votes: Votes) -> Floats:
        """Shape (documents, classes), up to a term of the document; the same whatever others stand beside it."""
        out = np.zeros((len(votes), self.n_classes))
        if self.n_classes == 2:
            _logits(votes, *self._of_two(), out[:, 1])  # pyright: ignore[reportCallIssue]
        else:
            sides = self.side, self.floor
            _scores(votes, self.offsets, self.intercept, self.additive, self.mass, self.share, *sides, out)
        return out

    def _of_two(self) -> Any:
        """Tables of the logit of class 1; the sides are bits, 1 for class 0 and 2 for class 1."""
        odds, logit = self.additive[:, 1] - self.additive[:, 0], float(self.intercept[1] - self.intercept[0])
        return self.offsets, logit, odds, self.mass, self.share, (self.side + 1).astype(np.uint8), self.floor

    def probabilities(self, votes: Votes) -> Floats:
        """Shape (documents, classes); rows sum to 1."""
        return softmax(self.scores(votes))

    def log_odds(self, votes: Votes) -> Floats:
        """Shape (documents, functions): what each adds to the logit of class 1, for two classes.

        The vote share's part is each function's by the mean value theorem: log x - log y = (x - y) / L(x, y), where L
        is the logarithmic mean. What `floor` adds is shared evenly by the votes.
        """
        out = np.zeros(votes.shape)
        _log_odds(votes, *self._of_two(), out)  # pyright: ignore[reportCallIssue]
        return out

    def shifted(self, by: Floats) -> "Posterior":
        """With other intercepts."""
        return replace(self, intercept=self.intercept + by)


def softmax(scores: Floats) -> Floats:
    """Probabilities in place of scores, along the last axis; the input's memory is used for them."""
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
        logit, drop, keep, seen, _ = _tally(votes[i], offsets, intercept, odds, mass, sides)
        if share != 0:
            logit += share * (np.log(keep) - np.log(drop))
        out[i] = _bounded(logit, seen, floor)


@numba.njit(cache=True, nogil=True, inline="always")
def _bounded(logit, seen, floor):
    """The logit where all votes are for one class: at least what the bound of the class says."""
    if seen == 1:
        return min(logit, -floor[0])
    return max(logit, floor[1]) if seen == 2 else logit


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
    """By how much the score of class `only` is below the bound."""
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
        logit, drop, keep, seen, cast = _tally(votes[i], offsets, intercept, odds, mass, sides)
        apart, near = keep - drop, abs(keep - drop) <= 1e-6 * (keep + drop)
        logit += share * (np.log(keep) - np.log(drop))
        each = share * (2 / (keep + drop) if near else (np.log(keep) - np.log(drop)) / apart)
        more = (_bounded(logit, seen, floor) - logit) / max(cast, 1)
        for j in range(votes.shape[1]):
            if votes[i, j] >= -1:
                u = offsets[j] + votes[i, j] + 1
                out[i, j] = odds[u] + each * (mass[u, 1] - mass[u, 0]) + (more if sides[u] > 0 else 0.0)


@numba.njit(cache=True, nogil=True)
def outcome_sums(votes, offsets, values):
    """Shape (outcomes, columns of `values`): sums of the rows of `values` over the documents with each outcome."""
    out = np.zeros((offsets[-1], values.shape[1]))
    for i in range(len(votes)):
        for j in range(votes.shape[1]):
            if votes[i, j] >= -1:
                u = offsets[j] + votes[i, j] + 1
                for c in range(values.shape[1]):
                    out[u, c] += values[i, c]
    return out


def shift_to(scores: Floats, balance: Floats) -> Floats:
    """What must be added to the scores so that the mean posterior is the balance.

    The minimum of the convex mean of log-sum-exp(scores + b) - balance . b, by Newton's method with halved steps.

    Parameters
    ----------
    scores
        Shape (documents, classes).
    balance
        Shape (classes,), above 0, of sum 1.

    Returns
    -------
    ndarray
        Shape (classes,), of mean 0.

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
    """Sums over documents of the log-sum-exp, of the posterior and of its products with itself."""
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
