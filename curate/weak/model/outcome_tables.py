"""Log-likelihood tables of outcomes: from rank-one strengths, from one EM step, or from EM run to convergence."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curate.stats.calibration import isotonic
from curate.weak.model.posterior import Posterior, outcome_sums, shift_to, softmax
from curate.weak.model.statistics import Layout, VoteState

PRIOR = 10.0  # pseudo-documents that shrink an outcome's precision to the balance
EDGE = 0.005  # minimum distance of an outcome's precision from 0 and 1
LEAST_Q = 1e-3  # lower bound of a bucket's quantile; an empty bucket at the bad end has quantile 0
ANCHOR = 0.1  # pseudo-documents from the first step, as a share of the sample, in the second step's counts
SMALL = 0.5  # pseudo-documents per cell of EM that runs to convergence: Jeffreys' prior
ROUNDS = 200  # maximum number of EM steps
STILL = 1e-7  # change of the mean log-likelihood at which EM stops

Floats = NDArray[np.float64]


def share_mass(layout: Layout, direction: Floats, weights: Floats) -> Floats:
    """Part of a vote that each outcome gives to each class, shape (outcomes, classes).

    A bucket whose middle is at quantile q of the scores gives q to class 1 and -ln(q)/2 to class 0; both have mean one
    half. The logarithm is Fisher's method of combining one-sided p-values (Statistical Methods for Research Workers,
    section 21.1): very low scores are the strongest evidence.
    """
    mass = np.zeros((len(direction), layout.n_classes))
    for u, (j, code) in enumerate(zip(layout.function_of, layout.code_of, strict=True)):
        if code >= 0 and layout.voting[j]:
            mass[u, code] = weights[j]
        elif code >= 0:
            q = (1 + direction[u]) / 2
            mass[u] = -weights[j] * np.log(max(q, LEAST_Q)) / 2, weights[j] * q
    return mass


def sides(layout: Layout, direction: Floats) -> NDArray[np.int64]:
    """The class that each outcome is a vote for, -1 for none, shape (outcomes,)."""
    votes = layout.voting[layout.function_of]
    return np.where(
        layout.code_of < 0, -1, np.where(votes, layout.code_of, np.select([direction > 0, direction < 0], [1, 0], -1))
    )


def only_share(state: VoteState, direction: Floats, weights: Floats, balance: Floats) -> Posterior:
    """The smoothed vote share, not yet shifted to a balance."""
    layout = state.layout
    return Posterior(
        offsets=layout.offsets,
        intercept=np.zeros(layout.n_classes),
        additive=np.zeros((len(direction), layout.n_classes)),
        mass=share_mass(layout, direction, weights),
        share=1.0,
        side=sides(layout, direction),
        floor=np.log(balance) - np.log1p(-balance),
    )


def from_strength(state: VoteState, strength: Floats, direction: Floats, balance: Floats) -> Floats:
    """Compute log-likelihoods of outcomes for two classes from their correlations with the class.

    P(1 | u) = p + sqrt(p (1 - p)) a_u s_u / m_u, where m_u is the share of documents with outcome u and s_u its
    standard deviation. The estimate is shrunk to p by `PRIOR` pseudo-documents. A vote never counts against its own
    class, and the log-odds never decrease from a bucket to the next higher one.

    Returns
    -------
    ndarray
        Shape (outcomes, 2): log P(u | y) up to a constant per outcome.
    """
    counts = state.counts.astype(np.float64)
    rate = counts / np.maximum(state.asked[state.layout.function_of], 1)
    p = float(balance[1])
    spread = np.sqrt(p * (1 - p) * (1 - rate) / np.where(rate > 0, rate, 1.0))
    precision = (counts * np.clip(p + spread * strength, 0, 1) + PRIOR * p) / (counts + PRIOR)
    precision = np.clip(precision, min(EDGE, p / 2), max(1 - EDGE, (1 + p) / 2))
    return directed(state, np.log(np.stack([(1 - precision) / (1 - p), precision / p], axis=1)), direction)


def directed(state: VoteState, table: Floats, direction: Floats) -> Floats:
    """Constrain a table for two classes: no vote counts against its class, and log-odds never decrease over buckets."""
    layout, out = state.layout, table.copy()
    odds = out[:, 1] - out[:, 0]
    for j, (start, end) in enumerate(zip(layout.offsets[:-1] + 1, layout.offsets[1:], strict=True)):
        if layout.voting[j]:
            contrary_votes = np.flatnonzero(odds[start:end] * direction[start:end] < 0) + start
            out[contrary_votes] = out[contrary_votes].mean(axis=1, keepdims=True)
        else:
            monotone_odds = isotonic(odds[start:end], np.maximum(state.counts[start:end], 1).astype(np.float64))
            middle = out[start:end].mean(axis=1)
            out[start:end] = np.stack([middle - monotone_odds / 2, middle + monotone_odds / 2], axis=1)
    return out


def one_step(state: VoteState, start: Posterior, weights: Floats, balance: Floats, direction: Floats) -> Floats:
    """Compute log-likelihoods of outcomes by one EM step from the vote share.

    The vote share's posterior, shifted to the balance, gives a first estimate of P(outcome | class). This estimate
    gives a posterior of each document, which gives the second estimate, shrunk to the first. More steps are worse where
    functions depend on one another, as functions written by people do.
    """
    votes, layout = state.sample.votes, state.layout
    prior = np.log(balance)
    first = start.scores(votes)
    first += shift_to(first, balance)
    anchor = _likelihood(state, softmax(first), 1.0, rates(state))
    table = _checked_direction(state, np.log(anchor), direction)
    scores = _additive(layout, table, weights, prior, votes)
    scores += shift_to(scores, balance)
    second = _likelihood(state, softmax(scores), ANCHOR * len(votes), anchor)
    return _checked_direction(state, np.log(second), direction)


def _checked_direction(state: VoteState, table: Floats, direction: Floats) -> Floats:
    return directed(state, table, direction) if state.layout.n_classes == 2 else table


def rates(state: VoteState) -> Floats:
    """Smoothed share of each outcome among the documents asked, always above 0, shape (outcomes, 1)."""
    owner, sizes = state.layout.function_of, state.layout.sizes
    return ((state.counts + 1.0) / (state.asked + sizes)[owner])[:, None]


def _likelihood(state: VoteState, posterior: Floats, pseudo: float, center: Floats) -> Floats:
    """Estimate P(outcome | class), shrunk to `center` by `pseudo` documents, shape (outcomes, classes).

    The pseudo-documents have the same class shares as the function's documents, so an outcome without documents is not
    informative.
    """
    layout = state.layout
    sums = outcome_sums(state.sample.votes, layout.offsets, posterior)
    totals = np.add.reduceat(sums, layout.offsets[:-1], axis=0) + 1e-9
    parts = (pseudo * totals / totals.sum(axis=1, keepdims=True))[layout.function_of]
    return (sums + parts * center) / (totals[layout.function_of] + parts)


def _additive(layout: Layout, table: Floats, weights: Floats, prior: Floats, votes: NDArray[np.int8]) -> Floats:
    return plain(layout, table * weights[layout.function_of][:, None], prior).scores(votes)


def plain(layout: Layout, table: Floats, prior: Floats) -> Posterior:
    """A posterior of log-likelihoods only, without the vote share and without bounds."""
    k = layout.n_classes
    none = np.full(len(table), -1, np.int64)
    return Posterior(layout.offsets, prior, table, np.zeros((len(table), k)), 0.0, none, np.full(k, -np.inf))


def _jeffreys(state: VoteState, posterior: Floats, occurs: NDArray[np.bool_]) -> Floats:
    """Estimate P(outcome | class) with half a document added to each outcome that occurs, shape (outcomes, classes)."""
    layout = state.layout
    sums = outcome_sums(state.sample.votes, layout.offsets, posterior) + SMALL * np.maximum(occurs, 1e-9)
    return sums / np.add.reduceat(sums, layout.offsets[:-1], axis=0)[layout.function_of]


@dataclass(frozen=True)
class Converged:
    """The result of EM.

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
    """Run EM from the vote share to convergence (Dawid and Skene 1979); an abstention is an outcome too.

    Parameters
    ----------
    state
        Statistics of the votes; EM uses the rows of the sample.
    start
        The vote share.
    balance
        Shape (classes,); EM estimates it too when it is None.
    """
    votes, layout = state.sample.votes, state.layout
    q = start.probabilities(votes)
    occurs = outcome_sums(votes, layout.offsets, np.ones((len(votes), 1))) > 0
    log_likelihood, before = np.zeros((len(occurs), layout.n_classes)), -np.inf
    prior = balance if balance is not None else np.full(layout.n_classes, 1 / layout.n_classes)
    for _ in range(ROUNDS):
        log_likelihood = np.where(occurs, np.log(_jeffreys(state, q, occurs)), 0.0)
        prior = balance if balance is not None else (q.sum(axis=0) + SMALL) / (len(q) + SMALL * q.shape[1])
        scores = plain(layout, log_likelihood, np.log(prior)).scores(votes)
        most = scores.max(axis=1, keepdims=True)
        likelihood = float((np.log(np.exp(scores - most).sum(axis=1)) + most[:, 0]).mean()) if len(scores) else 0.0
        q = softmax(scores)
        if abs(likelihood - before) < STILL:
            break
        before = likelihood
    return Converged(log_likelihood, prior)


def likelihood(state: VoteState, posterior: Floats) -> Floats:
    """Estimate P(outcome | class) from a posterior over the sample, shape (outcomes, classes).

    One pseudo-document shrinks the estimate to the outcome's overall rate.
    """
    return _likelihood(state, posterior, 1.0, rates(state))
