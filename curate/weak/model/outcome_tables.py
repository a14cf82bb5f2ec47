"""Tables of what outcomes say of the class: from rank-one strengths, from one step of EM, or from EM run to its end."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curate.stats.calibration import isotonic
from curate.weak.model.posterior import Posterior, outcome_sums, shift_to, softmax
from curate.weak.model.statistics import Layout, VoteState

PRIOR = 10.0  # documents that an outcome's precision is drawn to the balance by
EDGE = 0.005  # no outcome's precision is believed to be nearer to 0 or 1
LEAST_Q = 1e-3  # an empty bucket at the bad end lies in the middle of nothing
ANCHOR = 0.1  # of the second step's counts are those of the first
SMALL = 0.5  # documents per cell that EM which runs to its end begins with: Jeffreys' prior
ROUNDS = 200  # of EM at most
STILL = 1e-7  # change of a mean log-likelihood at which EM stops

Floats = NDArray[np.float64]


def share_mass(layout: Layout, says: Floats, weights: Floats) -> Floats:
    """Shape (outcomes, classes): the part of its function's vote that each outcome gives to each class.

    A bucket whose middle has the share q of the scores below it gives q to class 1 and -ln(q)/2 to class 0, both of
    mean one half: Fisher's sum of logarithms of one-sided p-values (Statistical Methods for Research Workers, section
    21.1), since a score speaks most clearly from the depth of its bad end.
    """
    mass = np.zeros((len(says), layout.n_classes))
    for u, (j, code) in enumerate(zip(layout.function_of, layout.code_of, strict=True)):
        if code >= 0 and layout.voting[j]:
            mass[u, code] = weights[j]
        elif code >= 0:
            q = (1 + says[u]) / 2
            mass[u] = -weights[j] * np.log(max(q, LEAST_Q)) / 2, weights[j] * q
    return mass


def sides(layout: Layout, says: Floats) -> NDArray[np.int64]:
    """Shape (outcomes,): the class that an outcome is a vote for, -1 for none."""
    votes = layout.voting[layout.function_of]
    return np.where(
        layout.code_of < 0, -1, np.where(votes, layout.code_of, np.select([says > 0, says < 0], [1, 0], -1))
    )


def only_share(state: VoteState, says: Floats, weights: Floats, balance: Floats) -> Posterior:
    """The vote share, smoothed, shifted to nothing yet."""
    layout = state.layout
    return Posterior(
        offsets=layout.offsets,
        intercept=np.zeros(layout.n_classes),
        additive=np.zeros((len(says), layout.n_classes)),
        mass=share_mass(layout, says, weights),
        share=1.0,
        side=sides(layout, says),
        floor=np.log(balance) - np.log1p(-balance),
    )


def from_strength(state: VoteState, strength: Floats, says: Floats, balance: Floats) -> Floats:
    """Log-likelihoods of outcomes for two classes, from their correlations with the class.

    P(1 | u) = p + sqrt(p (1 - p)) a_u s_u / m_u, where m_u is the share of documents with the outcome and s_u its
    standard deviation; drawn to p by `PRIOR` documents, kept in the direction of the vote, and ascending in buckets.

    Returns
    -------
    ndarray
        Shape (outcomes, 2): log P(u | y) up to a term of u.
    """
    counts = state.counts.astype(np.float64)
    rate = counts / np.maximum(state.asked[state.layout.function_of], 1)
    p = float(balance[1])
    spread = np.sqrt(p * (1 - p) * (1 - rate) / np.where(rate > 0, rate, 1.0))
    precision = (counts * np.clip(p + spread * strength, 0, 1) + PRIOR * p) / (counts + PRIOR)
    precision = np.clip(precision, min(EDGE, p / 2), max(1 - EDGE, (1 + p) / 2))
    return directed(state, np.log(np.stack([(1 - precision) / (1 - p), precision / p], axis=1)), says)


def directed(state: VoteState, table: Floats, says: Floats) -> Floats:
    """A table for two classes in which a vote speaks for its class or not at all, and higher buckets for class 1."""
    layout, out = state.layout, table.copy()
    odds = out[:, 1] - out[:, 0]
    for j, (start, end) in enumerate(zip(layout.offsets[:-1] + 1, layout.offsets[1:], strict=True)):
        if layout.voting[j]:
            wrong = np.flatnonzero(odds[start:end] * says[start:end] < 0) + start
            out[wrong] = out[wrong].mean(axis=1, keepdims=True)
        else:
            risen = isotonic(odds[start:end], np.maximum(state.counts[start:end], 1).astype(np.float64))
            middle = out[start:end].mean(axis=1)
            out[start:end] = np.stack([middle - risen / 2, middle + risen / 2], axis=1)
    return out


def one_step(state: VoteState, start: Posterior, weights: Floats, balance: Floats, says: Floats) -> Floats:
    """Log-likelihoods of outcomes after one step of EM from the vote share.

    The share's posterior, shifted to the balance, gives the outcomes' probabilities within each class; those give a
    posterior of each document, and that the probabilities again, drawn to the first. More steps are worse where the
    functions depend on one another, which is where they are written by people.
    """
    votes, layout = state.sample.votes, state.layout
    prior = np.log(balance)
    first = start.scores(votes)
    first += shift_to(first, balance)
    anchor = _likelihood(state, softmax(first), 1.0, rates(state))
    table = _checked_direction(state, np.log(anchor), says)
    scores = _additive(layout, table, weights, prior, votes)
    scores += shift_to(scores, balance)
    second = _likelihood(state, softmax(scores), ANCHOR * len(votes), anchor)
    return _checked_direction(state, np.log(second), says)


def _checked_direction(state: VoteState, table: Floats, says: Floats) -> Floats:
    return directed(state, table, says) if state.layout.n_classes == 2 else table


def rates(state: VoteState) -> Floats:
    """Shape (outcomes, 1): share of the documents asked that have each outcome, none of them 0."""
    owner, sizes = state.layout.function_of, state.layout.sizes
    return ((state.counts + 1.0) / (state.asked + sizes)[owner])[:, None]


def _likelihood(state: VoteState, posterior: Floats, pseudo: float, center: Floats) -> Floats:
    """Shape (outcomes, classes): P(outcome | class), drawn to `center` by `pseudo` documents.

    These are dealt out to the classes as the function's documents are, so that an outcome without any tells nothing.
    """
    layout = state.layout
    sums = outcome_sums(state.sample.votes, layout.offsets, posterior)
    totals = np.add.reduceat(sums, layout.offsets[:-1], axis=0) + 1e-9
    parts = (pseudo * totals / totals.sum(axis=1, keepdims=True))[layout.function_of]
    return (sums + parts * center) / (totals[layout.function_of] + parts)


def _additive(layout: Layout, table: Floats, weights: Floats, prior: Floats, votes: NDArray[np.int8]) -> Floats:
    return plain(layout, table * weights[layout.function_of][:, None], prior).scores(votes)


def plain(layout: Layout, table: Floats, prior: Floats) -> Posterior:
    """A posterior of log-likelihoods alone, bounded by nothing."""
    k = layout.n_classes
    none = np.full(len(table), -1, np.int64)
    return Posterior(layout.offsets, prior, table, np.zeros((len(table), k)), 0.0, none, np.full(k, -np.inf))


def _jeffreys(state: VoteState, posterior: Floats, seen: NDArray[np.bool_]) -> Floats:
    """Shape (outcomes, classes): P(outcome | class), half a document added to each outcome that is ever seen."""
    layout = state.layout
    sums = outcome_sums(state.sample.votes, layout.offsets, posterior) + SMALL * np.maximum(seen, 1e-9)
    return sums / np.add.reduceat(sums, layout.offsets[:-1], axis=0)[layout.function_of]


@dataclass(frozen=True)
class Converged:
    """What EM ends with.

    Parameters
    ----------
    table
        Shape (outcomes, classes): log P(outcome | class).
    balance
        Shape (classes,).
    """

    table: Floats
    balance: Floats


def until_still(state: VoteState, start: Posterior, balance: Floats | None) -> Converged:
    """EM from the vote share until it stands still (Dawid and Skene 1979); abstaining is an outcome.

    Parameters
    ----------
    state
        Its sample is what EM runs over.
    start
        The vote share.
    balance
        Shape (classes,); estimated beside the rest when None.
    """
    votes, layout = state.sample.votes, state.layout
    q = start.probabilities(votes)
    seen = outcome_sums(votes, layout.offsets, np.ones((len(votes), 1))) > 0
    now, before = np.zeros((len(seen), layout.n_classes)), -np.inf
    prior = balance if balance is not None else np.full(layout.n_classes, 1 / layout.n_classes)
    for _ in range(ROUNDS):
        now = np.where(seen, np.log(_jeffreys(state, q, seen)), 0.0)
        prior = balance if balance is not None else (q.sum(axis=0) + SMALL) / (len(q) + SMALL * q.shape[1])
        scores = plain(layout, now, np.log(prior)).scores(votes)
        most = scores.max(axis=1, keepdims=True)
        likelihood = float((np.log(np.exp(scores - most).sum(axis=1)) + most[:, 0]).mean()) if len(scores) else 0.0
        q = softmax(scores)
        if abs(likelihood - before) < STILL:
            break
        before = likelihood
    return Converged(now, prior)


def likelihood(state: VoteState, posterior: Floats) -> Floats:
    """Shape (outcomes, classes): P(outcome | class) over the sample with a posterior, drawn to the rate a little."""
    return _likelihood(state, posterior, 1.0, rates(state))
