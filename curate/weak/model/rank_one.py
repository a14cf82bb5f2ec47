"""Estimate each outcome's correlation with the class from the joint counts of outcomes alone.

For two classes and any two outcomes u, v of different functions that are independent given the class,

    Cov(1[u], 1[v]) = p (1 - p) d_u d_v,    d_u = P(u | 1) - P(u | 0):

Outside the blocks of a single function the covariance has rank one, also for functions that abstain or that vote for
one class only. In correlations this is R_uv = a_u a_v, where a_u is the correlation of outcome u with the class. Pairs
of functions that depend on one another given the class violate the formula. The fit is therefore robust (Geman and
McClure's weights by iteratively reweighted least squares), and its large residuals identify these pairs. With more than
two classes the same formula holds for the votes for each class.
"""

from dataclasses import dataclass, replace

import numba
import numpy as np
from numpy.typing import NDArray

from curate.weak.model.statistics import Layout, VoteState

STEPS = 60  # maximum number of steps of the fit
SLACK = 0.05  # a correlation may exceed the maximum that the balance allows by this much
ONE_WAY = 0.5  # minimum net share of the votes' strengths that have the sign of the vote
STILL = 1e-7  # change of the strengths at which the fit stops
TRUSTED = 0.02  # minimum residual scale; with a scale near 0 the fit would never leave its start
MOST = 0.98  # upper bound of an outcome's correlation with the class
DEPENDENT = 0.15  # two functions are dependent from this residual correlation on
SURE = 4.0  # standard errors by which a correlation must differ from 0
FEW = 20  # minimum number of documents for which both functions of a pair were asked

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Correlations:
    """Correlations of outcomes of different functions, over the documents for which both functions were asked.

    Parameters
    ----------
    values
        Shape (outcomes, outcomes); 0 where a pair is not usable.
    usable
        Shape (outcomes, outcomes): False for two outcomes of one function, for an outcome without variance, and for
        pairs with fewer than `FEW` documents.
    weights
        Shape (outcomes, outcomes): number of documents of the pair, relative to the pair of functions with the most
        documents. 0 where the pair is not usable and where two functions nearly always give the same vote.
    documents
        Shape (functions, functions): number of documents for which both functions were asked.
    pairwise
        Shape (outcomes, outcomes): the same number for the functions of the two outcomes.
    unit
        Shape (outcomes, outcomes): additional documents on which both outcomes occur, per unit of correlation.
    """

    values: Floats
    usable: NDArray[np.bool_]
    weights: Floats
    documents: Floats
    pairwise: Floats
    unit: Floats


@dataclass(frozen=True)
class RankOne:
    """A fitted rank-one model of the correlations.

    Parameters
    ----------
    strength
        Shape (outcomes,): correlation of each outcome with the class.
    residual
        Shape (outcomes, outcomes): correlations minus the products of the strengths.
    scale
        Residual at which a pair's weight starts to fall.
    objective
        Weighted mean of the squared residuals, each capped at `DEPENDENT` squared.
    """

    strength: Floats
    residual: Floats
    scale: float
    objective: float


def correlations(state: VoteState) -> Correlations:
    """Compute the correlations of all outcomes of different functions."""
    layout, moments = state.layout, state.moments.astype(np.float64)
    owner = layout.function_of
    starts = layout.offsets[:-1]
    with_asked = np.add.reduceat(moments, starts, axis=1)  # documents with an outcome for which a function was asked
    documents = np.add.reduceat(with_asked, starts, axis=0)
    n = np.maximum(documents[np.ix_(owner, owner)], 1.0)
    mean = with_asked[:, owner] / n
    spread = np.sqrt(mean * (1 - mean))
    both = spread * spread.T
    usable = (owner[:, None] != owner[None, :]) & (n >= FEW) & (both > 0)
    if layout.n_classes > 2:
        usable &= same_side(layout, directions(state))
    values = np.where(usable, (moments / n - mean * mean.T) / np.where(both > 0, both, 1.0), 0.0)
    most = documents[~np.eye(len(documents), dtype=bool)].max(initial=1.0)
    inexplicable = (values > MOST**2) & same_side(layout, directions(state))  # above any product of two strengths
    nearly_equal = np.logical_or.reduceat(np.logical_or.reduceat(inexplicable, starts, axis=0), starts, axis=1)
    weights = np.where(usable & ~nearly_equal[np.ix_(owner, owner)], n / most, 0.0)
    return Correlations(values, usable, weights, documents, n, n * both)


def directions(state: VoteState) -> Floats:
    """Direction of each outcome from -1 (class 0) to 1 (class 1), 0 for abstaining, shape (outcomes,).

    The direction of a bucket is its position among the function's scores: twice the middle of its quantile range, minus
    one. With more than two classes every vote has direction 1, toward its own class.
    """
    layout, counts = state.layout, state.counts
    out = np.zeros(len(counts))
    if layout.n_classes != 2:
        return (layout.code_of >= 0).astype(np.float64)
    for j, (start, end) in enumerate(zip(layout.offsets[:-1] + 1, layout.offsets[1:], strict=True)):
        if layout.voting[j]:
            out[start:end] = [-1.0, 1.0]
        else:
            part = counts[start:end]
            out[start:end] = (2.0 * np.cumsum(part) - part) / max(int(part.sum()), 1) - 1.0
    return out


def same_side(layout: Layout, direction: Floats) -> NDArray[np.bool_]:
    """Whether two outcomes favor the same class, shape (outcomes, outcomes)."""
    same = np.multiply.outer(direction, direction) > 0
    return same if layout.n_classes == 2 else same & np.equal.outer(layout.code_of, layout.code_of)


def fit(state: VoteState, observed: Correlations) -> RankOne:
    """Fit the model from three starts and return the fit with the lowest objective.

    The starts for an outcome are the sum and the median of its correlations with the other functions' votes, and its
    own direction.
    """
    layout, direction = state.layout, directions(state)
    owner, starts = layout.function_of, layout.offsets[:-1]
    # Correlation with each other function's vote.
    with_vote = np.add.reduceat(observed.values * observed.weights * direction, starts, axis=1)
    sums, medians = with_vote.sum(axis=1), np.median(with_vote, axis=1)
    scaled_starts = [_scaled(start, direction, observed) for start in (sums, medians, 0.3 * direction)]
    fits = [_descend(start, observed, owner, state.n) for start in scaled_starts if np.any(start)]
    if not fits:
        return RankOne(np.zeros(len(owner)), observed.values, 0.0, 0.0)
    best = min(fits, key=lambda one: one.objective)
    sign = 1.0 if float((direction * best.strength).sum()) >= 0 else -1.0
    return RankOne(sign * best.strength, best.residual, best.scale, best.objective)


def fit_twice(state: VoteState, observed: Correlations, copies: float, material: float) -> RankOne:
    """Fit all pairs, then fit without near-copies, and return the second fit if it explains the other pairs better.

    Copies of one function form a factor of their own. With few other functions it is stronger than the class. Functions
    that are nearly always right agree as much as copies do, but then the other functions agree with them too.

    Parameters
    ----------
    copies
        Two functions may be copies if two of their outcomes favor the same class and correlate by at least this much.
    material
        The second fit must explain this much more of the other pairs' squared correlations.
    """
    layout, whole, direction = state.layout, fit(state, observed), directions(state)
    copies_mask = near_copies(layout, observed, direction, copies)
    if not copies_mask.any():
        return whole
    others = replace(observed, weights=np.where(copies_mask, 0.0, observed.weights))
    without = fit(state, others)
    gain = explained(layout, others, without, [], state.n) - explained(layout, others, whole, [], state.n)
    return without if gain > material else whole


def near_copies(layout: Layout, observed: Correlations, direction: Floats, copies: float) -> NDArray[np.bool_]:
    """Whether two outcomes belong to functions that are near-copies, shape (outcomes, outcomes).

    Two functions are near-copies if two of their outcomes favor the same class and correlate by `copies` or more.
    """
    copies_mask = observed.usable & (observed.values >= copies) & same_side(layout, direction)
    starts, owner = layout.offsets[:-1], layout.function_of
    per_pair = np.logical_or.reduceat(np.logical_or.reduceat(copies_mask, starts, axis=0), starts, axis=1)
    return per_pair[np.ix_(owner, owner)]


def doubts(state: VoteState, model: RankOne, balance: Floats | None) -> list[str]:
    """Reasons why the fitted factor cannot be the class; empty when it may be the class.

    An outcome of rate m correlates by at most sqrt(m (1 - p) / (p (1 - m))) with a class of rate p > m, and by at most
    the inverse of this where p < m. Also, most of the votes' strengths must have the sign of the vote.
    """
    direction, out = directions(state), []
    votes = direction != 0
    rate = np.clip(state.counts / np.maximum(state.asked[state.layout.function_of], 1), 1e-9, 1 - 1e-9)
    if balance is not None:
        side = np.where(model.strength >= 0, 1, 0) if len(balance) == 2 else np.maximum(state.layout.code_of, 0)
        target = balance[side]
        odds = rate * (1 - target) / (target * (1 - rate))
        most = np.sqrt(np.minimum(odds, 1 / odds))
        if (votes & (np.abs(model.strength) > most + SLACK) & (state.counts >= FEW)).any():
            out.append("correlates more strongly with the votes than a class of this balance can")
    size = float(np.abs(model.strength[votes]).sum())
    if size and float((direction * model.strength)[votes].sum()) < ONE_WAY * float(
        (np.abs(direction * model.strength)).sum()
    ):
        out.append("raises votes for keep and for drop alike")
    return out


def _scaled(start: Floats, direction: Floats, observed: Correlations) -> Floats:
    """Scale a start so that its products fit the correlations best, and give it the overall sign of the votes."""
    start = start if float((direction * start).sum()) >= 0 else -start
    product = np.multiply.outer(start, start) * observed.weights
    size = float((product * np.multiply.outer(start, start)).sum())
    ratio = float((product * observed.values).sum()) / size if size else 0.0
    return np.clip(start * np.sqrt(max(ratio, 0.0)), -MOST, MOST)


def _descend(start: Floats, observed: Correlations, owner: NDArray[np.int64], n: int) -> RankOne:
    """Fit by iteratively reweighted least squares; a pair with residual r has weight (1 + r^2 / s^2)^-2."""
    strength, floor = start, max(TRUSTED, 2.0 / np.sqrt(max(n, 1)))
    squares, used = np.zeros_like(observed.documents), np.zeros_like(observed.documents)
    scale = floor
    for _ in range(STEPS):
        _residuals(strength, observed.values, observed.weights, owner, squares, used)
        pair_residuals = np.sqrt(squares[used > 0] / used[used > 0])
        scale = max(1.4826 * float(np.median(pair_residuals)) if len(pair_residuals) else 0.0, floor)
        before = strength
        strength = _step(strength, observed.values, observed.weights, owner, squares / np.maximum(used, 1), scale)
        if np.abs(strength - before).max() < STILL:
            break
    residual = np.where(observed.usable, observed.values - np.multiply.outer(strength, strength), 0.0)
    total = float(observed.weights.sum())
    objective = float((observed.weights * np.minimum(residual**2, DEPENDENT**2)).sum()) / total if total else 0.0
    return RankOne(strength, residual, scale, objective)


@numba.njit(cache=True, nogil=True)
def _residuals(strength, values, weights, owner, squares, used):
    """Fill `squares` with the sum of squared residuals of each pair of functions, and `used` with their number."""
    squares[:], used[:] = 0.0, 0.0
    for u in range(len(strength)):
        for v in range(len(strength)):
            if weights[u, v] > 0:
                squares[owner[u], owner[v]] += (values[u, v] - strength[u] * strength[v]) ** 2
                used[owner[u], owner[v]] += 1


@numba.njit(cache=True, nogil=True)
def _step(strength, values, weights, owner, squares, scale):
    """Move each strength halfway to its weighted least-squares solution while the others are fixed."""
    out = strength.copy()
    trust = (1 + squares / scale**2) ** -2.0
    for u in range(len(strength)):
        numerator, denominator = 0.0, 0.0
        for v in range(len(strength)):
            weight = weights[u, v] * trust[owner[u], owner[v]]
            numerator += weight * values[u, v] * strength[v]
            denominator += weight * strength[v] ** 2
        solution = numerator / denominator if denominator > 0 else 0.0
        out[u] = min(max(0.5 * (strength[u] + solution), -MOST), MOST)
    return out


@dataclass(frozen=True)
class FunctionPair:
    """Two functions that agree more often, or less often, than the class explains.

    Parameters
    ----------
    first, second
        Positions of the two functions.
    first_code, second_code
        Codes of the two outcomes with the largest absolute residual.
    residual
        The residual correlation of these two outcomes.
    redundancy
        The largest residual correlation of two outcomes that favor the same class, 0 if there is none. Its square is
        the share of one function's information that the other one repeats.
    """

    first: int
    second: int
    first_code: int
    second_code: int
    residual: float
    redundancy: float


def dependent(layout: Layout, direction: Floats, observed: Correlations, model: RankOne) -> list[FunctionPair]:
    """Pairs of functions with a significant residual correlation of at least `DEPENDENT`.

    A residual is significant if the number of documents with both outcomes differs from the fit by at least `SURE`
    standard errors. The standard error is that of two independent outcomes, and at least one document.
    """
    error = np.maximum(observed.unit / np.sqrt(np.maximum(observed.pairwise, 1.0)), 1.0)
    significant = np.abs(model.residual) * observed.unit >= SURE * error
    large = np.where(significant & (np.abs(model.residual) >= DEPENDENT), model.residual, 0.0)
    repeated = np.where(same_side(layout, direction), large, 0.0)
    starts, pairs = layout.offsets[:-1], []
    per_pair = np.maximum.reduceat(np.maximum.reduceat(np.abs(large), starts, axis=0), starts, axis=1)
    for i, j in np.argwhere(np.triu(per_pair, 1) > 0).tolist():
        block = np.s_[layout.offsets[i] : layout.offsets[i + 1], layout.offsets[j] : layout.offsets[j + 1]]
        u, v = np.unravel_index(int(np.abs(large[block]).argmax()), large[block].shape)
        redundancy = max(float(repeated[block].max()), 0.0)
        pairs.append(FunctionPair(i, j, int(u) - 1, int(v) - 1, float(large[block][u, v]), redundancy))
    return pairs


def explained(layout: Layout, observed: Correlations, model: RankOne, pairs: list[FunctionPair], n: int) -> float:
    """Share of the squared correlations that the fit explains, without the pairs that are dependent.

    Sampling noise adds 1 / n to a squared correlation on average; this is subtracted from both sums. The share is near
    1 where a single factor, the class, causes the correlations. It is small where functions also separate documents by
    something else.
    """
    free = np.ones((len(layout.names),) * 2, bool)
    for pair in pairs:
        free[[pair.first, pair.second], [pair.second, pair.first]] = False
    weights = observed.weights * free[np.ix_(layout.function_of, layout.function_of)]
    noise = float(weights.sum()) / max(n, 1)
    whole = float((weights * observed.values**2).sum()) - noise
    rest = float((weights * model.residual**2).sum()) - noise
    return 1.0 - max(rest, 0.0) / whole if whole > 0 else 0.0
