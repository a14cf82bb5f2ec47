"""How strongly each outcome of each function goes with the class, from the moments of outcomes alone.

For two classes and any two outcomes u, v of different functions that are independent given the class,

    Cov(1[u], 1[v]) = p (1 - p) d_u d_v,    d_u = P(u | 1) - P(u | 0):

off the functions' own blocks the covariance is of rank one, whether or not a function abstains or votes for one class
only. As correlations that reads R_uv = a_u a_v, where a_u is the correlation of the outcome with the class. Pairs of
functions that depend on one another break it, so the fit is a robust one (Geman and McClure's weights by iterated least
squares) and what it leaves over names these pairs. With more classes the same holds of the votes for each class.
"""

from dataclasses import dataclass, replace

import numba
import numpy as np
from numpy.typing import NDArray

from curate.weak.model.statistics import Layout, VoteState

STEPS = 60
SLACK = 0.05  # by which a correlation may be above the most that the balance allows
ONE_WAY = 0.5  # of what votes have of the factor must be left when what has the wrong sign is taken off
STILL = 1e-7  # change of the strengths at which the fit stops
TRUSTED = 0.02  # residual correlation that costs no weight; a scale near 0 would leave a start as it is
MOST = 0.98  # no outcome's correlation with the class is believed to be larger
DEPENDENT = 0.15  # residual correlation from which on two functions are called dependent
SURE = 4.0  # standard errors that it must be away from none
FEW = 20  # documents for which both functions of a pair were asked, below which the pair says nothing

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Correlations:
    """Correlations of outcomes of different functions, over documents for which both were asked.

    Parameters
    ----------
    values
        Shape (outcomes, outcomes); 0 where not usable.
    usable
        Shape (outcomes, outcomes): False within a function, where an outcome has no spread, and where too few documents
        say anything.
    weights
        Shape (outcomes, outcomes): share of the documents that the pair was counted on, 0 where it is not usable and
        for functions that say the same almost always.
    documents
        Shape (functions, functions): for how many both were asked.
    pairwise
        Shape (outcomes, outcomes): the same for the functions of two outcomes.
    unit
        Shape (outcomes, outcomes): documents by which two outcomes meet more often, per unit of correlation.
    """

    values: Floats
    usable: NDArray[np.bool_]
    weights: Floats
    documents: Floats
    pairwise: Floats
    unit: Floats


@dataclass(frozen=True)
class RankOne:
    """The fit.

    Parameters
    ----------
    strength
        Shape (outcomes,): correlation of each outcome with the class.
    residual
        Shape (outcomes, outcomes): what the correlations have beyond the products of strengths.
    scale
        The residual from which on a pair loses weight.
    objective
        Mean of squared residuals, each at most `DEPENDENT` squared.
    """

    strength: Floats
    residual: Floats
    scale: float
    objective: float


def correlations(state: VoteState) -> Correlations:
    """Correlations of all outcomes of different functions."""
    layout, moments = state.layout, state.moments.astype(np.float64)
    owner = layout.function_of
    starts = layout.offsets[:-1]
    with_asked = np.add.reduceat(moments, starts, axis=1)  # how often an outcome is there and a function was asked
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
    above = (values > MOST**2) & same_side(layout, directions(state))  # what two functions' strengths can explain
    alike = np.logical_or.reduceat(np.logical_or.reduceat(above, starts, axis=0), starts, axis=1)
    weights = np.where(usable & ~alike[np.ix_(owner, owner)], n / most, 0.0)
    return Correlations(values, usable, weights, documents, n, n * both)


def directions(state: VoteState) -> Floats:
    """Shape (outcomes,): what each outcome says by itself, from -1 (class 0) to 1 (class 1), 0 for abstaining.

    That of a bucket is its place in the distribution of the buckets: twice the middle of its quantiles, less one. With
    more than two classes a vote has 1: it speaks for its class.
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


def same_side(layout: Layout, says: Floats) -> NDArray[np.bool_]:
    """Shape (outcomes, outcomes): whether two outcomes say the same, each in its measure."""
    same = np.multiply.outer(says, says) > 0
    return same if layout.n_classes == 2 else same & np.equal.outer(layout.code_of, layout.code_of)


def fit(state: VoteState, found: Correlations) -> RankOne:
    """The best of the fits from three starts: what all, the median and the sign of the votes say of an outcome."""
    layout, says = state.layout, directions(state)
    owner, starts = layout.function_of, layout.offsets[:-1]
    with_vote = np.add.reduceat(found.values * found.weights * says, starts, axis=1)  # with each other function's vote
    sums, medians = with_vote.sum(axis=1), np.median(with_vote, axis=1)
    begun = [_scaled(start, says, found) for start in (sums, medians, 0.3 * says)]
    fits = [_descend(start, found, owner, state.n) for start in begun if np.any(start)]
    if not fits:
        return RankOne(np.zeros(len(owner)), found.values, 0.0, 0.0)
    best = min(fits, key=lambda one: one.objective)
    sign = 1.0 if float((says * best.strength).sum()) >= 0 else -1.0
    return RankOne(sign * best.strength, best.residual, best.scale, best.objective)


def fit_twice(state: VoteState, found: Correlations, copies: float, material: float) -> RankOne:
    """The fit of all pairs, or that without pairs that say much the same, if it explains the other pairs better.

    Copies of one function are a factor of their own, and where the rest are few, the stronger one. Functions that are
    right nearly always agree as much, but then the rest agree on the same.

    Parameters
    ----------
    copies
        Correlation of two outcomes that say the same, from which on their functions may be copies.
    material
        Share of what other pairs have in common by which the second fit must explain more.
    """
    layout, whole, says = state.layout, fit(state, found), directions(state)
    near = near_copies(layout, found, says, copies)
    if not near.any():
        return whole
    others = replace(found, weights=np.where(near, 0.0, found.weights))
    without = fit(state, others)
    gain = explained(layout, others, without, [], state.n) - explained(layout, others, whole, [], state.n)
    return without if gain > material else whole


def near_copies(layout: Layout, found: Correlations, says: Floats, copies: float) -> NDArray[np.bool_]:
    """Shape (outcomes, outcomes): of functions with outcomes that say the same and correlate by `copies` or more."""
    near = found.usable & (found.values >= copies) & same_side(layout, says)
    starts, owner = layout.offsets[:-1], layout.function_of
    per_pair = np.logical_or.reduceat(np.logical_or.reduceat(near, starts, axis=0), starts, axis=1)
    return per_pair[np.ix_(owner, owner)]


def doubts(state: VoteState, model: RankOne, balance: Floats | None) -> list[str]:
    """Why the factor that was found cannot be the class; nothing when it may be.

    An outcome of rate m has at most a correlation of sqrt(m (1 - p) / (p (1 - m))) with a class of rate p > m, of the
    inverse where p < m. And most of what votes have of the factor must have the sign of the votes.
    """
    says, out = directions(state), []
    votes = says != 0
    rate = np.clip(state.counts / np.maximum(state.asked[state.layout.function_of], 1), 1e-9, 1 - 1e-9)
    if balance is not None:
        side = np.where(model.strength >= 0, 1, 0) if len(balance) == 2 else np.maximum(state.layout.code_of, 0)
        target = balance[side]
        odds = rate * (1 - target) / (target * (1 - rate))
        most = np.sqrt(np.minimum(odds, 1 / odds))
        if (votes & (np.abs(model.strength) > most + SLACK) & (state.counts >= FEW)).any():
            out.append("is stronger than a class of the balance can be")
    size = float(np.abs(model.strength[votes]).sum())
    if size and float((says * model.strength)[votes].sum()) < ONE_WAY * float((np.abs(says * model.strength)).sum()):
        out.append("moves votes for either side alike")
    return out


def _scaled(start: Floats, says: Floats, found: Correlations) -> Floats:
    """A start of the size with which its products come nearest to the correlations, with votes' signs on the whole."""
    start = start if float((says * start).sum()) >= 0 else -start
    product = np.multiply.outer(start, start) * found.weights
    size = float((product * np.multiply.outer(start, start)).sum())
    ratio = float((product * found.values).sum()) / size if size else 0.0
    return np.clip(start * np.sqrt(max(ratio, 0.0)), -MOST, MOST)


def _descend(start: Floats, found: Correlations, owner: NDArray[np.int64], n: int) -> RankOne:
    """Iterated least squares: pairs of functions with large residuals lose weight as (1 + r^2 / s^2)^-2."""
    strength, floor = start, max(TRUSTED, 2.0 / np.sqrt(max(n, 1)))
    squares, used = np.zeros_like(found.documents), np.zeros_like(found.documents)
    scale = floor
    for _ in range(STEPS):
        _residuals(strength, found.values, found.weights, owner, squares, used)
        known = np.sqrt(squares[used > 0] / used[used > 0])
        scale = max(1.4826 * float(np.median(known)) if len(known) else 0.0, floor)
        before = strength
        strength = _step(strength, found.values, found.weights, owner, squares / np.maximum(used, 1), scale)
        if np.abs(strength - before).max() < STILL:
            break
    residual = np.where(found.usable, found.values - np.multiply.outer(strength, strength), 0.0)
    total = float(found.weights.sum())
    objective = float((found.weights * np.minimum(residual**2, DEPENDENT**2)).sum()) / total if total else 0.0
    return RankOne(strength, residual, scale, objective)


@numba.njit(cache=True, nogil=True)
def _residuals(strength, values, weights, owner, squares, used):
    """Sum of squared residuals of each pair of functions, and how many there are."""
    squares[:], used[:] = 0.0, 0.0
    for u in range(len(strength)):
        for v in range(len(strength)):
            if weights[u, v] > 0:
                squares[owner[u], owner[v]] += (values[u, v] - strength[u] * strength[v]) ** 2
                used[owner[u], owner[v]] += 1


@numba.njit(cache=True, nogil=True)
def _step(strength, values, weights, owner, squares, scale):
    """Half a step to the weighted least-squares solution for each strength, the others as they are."""
    out = strength.copy()
    trust = (1 + squares / scale**2) ** -2.0
    for u in range(len(strength)):
        above, below = 0.0, 0.0
        for v in range(len(strength)):
            weight = weights[u, v] * trust[owner[u], owner[v]]
            above += weight * values[u, v] * strength[v]
            below += weight * strength[v] ** 2
        wanted = above / below if below > 0 else 0.0
        out[u] = min(max(0.5 * (strength[u] + wanted), -MOST), MOST)
    return out


@dataclass(frozen=True)
class FunctionPair:
    """Two functions that agree more, or less, than the class explains.

    Parameters
    ----------
    first, second
        Which functions.
    residual
        The residual correlation that is largest in size, of two outcomes that `first_code` and `second_code` name.
    redundancy
        The largest residual correlation of two outcomes that say the same; its square is the share of what one of the
        functions says that the other repeats. 0 where they repeat nothing.
    """

    first: int
    second: int
    first_code: int
    second_code: int
    residual: float
    redundancy: float


def dependent(layout: Layout, says: Floats, found: Correlations, model: RankOne) -> list[FunctionPair]:
    """Pairs of functions with a residual correlation of at least `DEPENDENT` that is no accident.

    No accident: the two outcomes meet on more documents than the fit has it, or on fewer, by `SURE` standard errors;
    the error is that of two outcomes with nothing in common, and at least one document.
    """
    error = np.maximum(found.unit / np.sqrt(np.maximum(found.pairwise, 1.0)), 1.0)
    sure = np.abs(model.residual) * found.unit >= SURE * error
    large = np.where(sure & (np.abs(model.residual) >= DEPENDENT), model.residual, 0.0)
    repeated = np.where(same_side(layout, says), large, 0.0)
    starts, pairs = layout.offsets[:-1], []
    per_pair = np.maximum.reduceat(np.maximum.reduceat(np.abs(large), starts, axis=0), starts, axis=1)
    for i, j in np.argwhere(np.triu(per_pair, 1) > 0).tolist():
        block = np.s_[layout.offsets[i] : layout.offsets[i + 1], layout.offsets[j] : layout.offsets[j + 1]]
        u, v = np.unravel_index(int(np.abs(large[block]).argmax()), large[block].shape)
        redundancy = max(float(repeated[block].max()), 0.0)
        pairs.append(FunctionPair(i, j, int(u) - 1, int(v) - 1, float(large[block][u, v]), redundancy))
    return pairs


def explained(layout: Layout, found: Correlations, model: RankOne, pairs: list[FunctionPair], n: int) -> float:
    """Share of the squared correlations of pairs that are not named dependent which the fit explains.

    What sampling alone makes of a correlation, 1 / n on average, is taken off both parts. Near 1 where a single factor,
    the class, is behind the votes; small where there are kinds of documents that functions tell apart besides.
    """
    free = np.ones((len(layout.names),) * 2, bool)
    for pair in pairs:
        free[[pair.first, pair.second], [pair.second, pair.first]] = False
    weights = found.weights * free[np.ix_(layout.function_of, layout.function_of)]
    noise = float(weights.sum()) / max(n, 1)
    whole = float((weights * found.values**2).sum()) - noise
    rest = float((weights * model.residual**2).sum()) - noise
    return 1.0 - max(rest, 0.0) / whole if whole > 0 else 0.0
