"""Fit a posterior to the counts of votes: choose the method that suits the votes, and run it."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curate.weak.model import opposition, outcome_tables, rank_one
from curate.weak.model.posterior import Posterior, shift_to
from curate.weak.model.statistics import Layout, VoteState

COPIES = 0.5  # two functions count as one from this redundancy on
MATERIAL = 0.1  # a fit without near-copies must explain this much more of the other pairs' squared correlations
INDEPENDENT = 3  # functions that a model beyond the vote share needs; with two, nothing shows which one is right
DEALT = 0.5  # documents were assigned evenly if votes per document spread less than this share of independent votes
QUARTILES = 1.349  # standard deviations between the quartiles of a normal distribution
SILENT = 0.05  # maximum share of abstentions of functions that are like workers
ONE_SIDED = 0.05  # maximum share of the votes by functions that only ever give one vote
SHIFTS = 20  # maximum number of shifts to the balance
SEPARATE = 0.9  # minimum mean weight of functions for EM
EXPLAINED = 0.9  # minimum share of the squared correlations that the rank-one fit must explain to be used
OPPOSED = 0.03  # minimum share of opposed pairs that shows defects which exclude one another
AGAINST = 3.0  # a function loses its weight if it is worse than chance by this many standard errors

DEALT_OUT = (
    "the number of votes differs so little among documents that an abstention (-1) is read as not asked (-2): "
    "write -2 where a function was not asked"
)
RANKS_ONLY = (
    "no class balance is given and there are no gold labels to estimate it: the posterior is the vote share, "
    "which ranks documents but is not a calibrated probability"
)

VERY_STRONG = 0.85  # a correlation with the class that real functions rarely reach
SEVERAL_WAYS = (
    "disagree whichever functions are reversed, as happens where documents have defects that exclude one another: "
    "the model is the vote share"
)
LEFT_OUT = "the rank-one fit is not used"

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Dependencies:
    """Dependencies among the functions, from the rank-one fit.

    Parameters
    ----------
    pairs
        Pairs of functions that depend on one another given the class.
    weights
        Shape (functions,): 1 / (1 + r), where r is the sum of the shares of a function that others repeat.
    separate
        Shape (functions,): the weights if the fitted factor is the class, whatever the doubts.
    strength
        Shape (outcomes,): correlation with the class, for two classes.
    explained
        Share of the independent pairs' squared correlations that the class explains.
    doubts
        Reasons why the fitted factor may not be the class.
    opposed
        Share of the correlated pairs of functions that disagree whichever functions are reversed
        (`opposition.opposed`).
    """

    pairs: list[rank_one.FunctionPair]
    weights: Floats
    separate: Floats
    strength: Floats | None = None
    explained: float = 0.0
    doubts: list[str] = field(default_factory=list)
    opposed: float = 0.0


@dataclass(frozen=True)
class Fit:
    """A posterior and how it was fitted.

    Parameters
    ----------
    posterior
        The model, before the correction by gold labels.
    method
        ``mean of vote share, one-step EM and rank-one``, ``mean of vote share and one-step EM``, ``EM`` or
        ``vote share``.
    balance
        Shape (classes,).
    balance_from
        ``stated``, ``gold``, ``EM`` or ``none``.
    direction
        Shape (outcomes,): direction of each outcome, from `rank_one.directions`.
    weights
        Shape (functions,): 1 for a function that repeats no other, below 1 for one that does, 0 for one left out.
    likelihood
        Shape (outcomes, classes): estimated P(outcome | class).
    dependencies
        Dependencies among the functions.
    warnings
        Messages to the user.
    """

    posterior: Posterior
    method: str
    balance: Floats
    balance_from: str
    direction: Floats
    weights: Floats
    likelihood: Floats
    dependencies: Dependencies
    warnings: list[str] = field(default_factory=list)


def fit(state: VoteState, stated: Floats | None) -> Fit:
    """Choose the method that suits the votes and fit the posterior.

    1. Functions that never vote, and those that are right less often than chance, get weight 0.
    2. If the functions are like workers (`like_workers`), run EM to convergence.
    3. With fewer than three functions that are not copies, without a class balance, or if documents have several
       exclusive defects (`several_ways`), use the vote share. In the last case every function has full weight.
    4. Otherwise use the mean of the scores of the vote share, of one EM step and, where one factor explains the
       correlations, of the rank-one fit. Shift it so that the mean posterior is the balance.
    """
    k, names = state.layout.n_classes, state.layout.names
    dealt = dealt_out(state)
    state = state.unasked() if dealt else state
    balance, balance_from = _balance(state, stated)
    assumed_balance = balance if balance is not None else np.full(k, 1 / k)
    direction = rank_one.directions(state)
    dependence = dependencies(state, direction, balance)
    wrong = against(state, direction, dependence.strength)
    warnings = [f"{names[j]} never votes" for j in np.flatnonzero(state.cast == 0)]
    warnings += [DEALT_OUT] if dealt else []
    workers, several = like_workers(state, dependence.separate), several_ways(dependence)
    effect = "EM uses its votes unchanged" if workers else "it keeps full weight" if several else "it gets weight 0"
    warnings += [f"{names[j]} is right less often than chance: {effect}" for j in np.flatnonzero(wrong)]
    weights = np.where(state.cast > 0, 1.0 if several else np.where(wrong, 0.0, dependence.weights), 0.0)
    share = outcome_tables.only_share(state, direction, weights, assumed_balance)
    base = Fit(
        share, "vote share", assumed_balance, balance_from, direction, weights, np.empty(0), dependence, warnings
    )
    if workers:
        return _by_em(state, base, balance)
    groups = independent(weights, dependence.pairs)
    if balance is None:
        warnings.append(RANKS_ONLY)
    if groups < INDEPENDENT:
        warnings.append(f"only {groups} functions vote and are not copies of another: the model is the vote share")
    elif several:
        warnings.append(f"{dependence.opposed:.0%} of the correlated pairs of functions {SEVERAL_WAYS}")
    if balance is None or groups < INDEPENDENT or several:
        return _by_share(state, base, balance)
    return _by_mean(state, base)


def several_ways(dependence: Dependencies) -> bool:
    """Whether documents have defects that exclude one another, which a model of two classes cannot describe.

    In that case the main factor cannot be the class, and pairs of functions disagree whichever functions are reversed.
    """
    return bool(dependence.doubts) and dependence.opposed > OPPOSED


def _nearly_identical(state: VoteState, dependence: Dependencies) -> list[str]:
    """Warn if several functions correlate with the class so strongly that they may share a source instead."""
    if dependence.strength is None or dependence.doubts:
        return []
    per_function = np.maximum.reduceat(np.abs(dependence.strength), state.layout.offsets[:-1])
    names = [state.layout.names[j] for j in np.flatnonzero(per_function >= VERY_STRONG)]
    return [f"{', '.join(names)} nearly always agree: the model trusts them, so merge them if they are one function"][
        : len(names) > 1
    ]


def _balance(state: VoteState, stated: Floats | None) -> tuple[Floats | None, str]:
    if stated is not None:
        return stated, "stated"
    gold = state.gold
    if not len(gold.labels):
        return None, "none"
    weights = gold.weights / gold.weights.mean()
    counts = np.bincount(gold.labels, weights=weights, minlength=state.layout.n_classes)
    return (counts + 1) / (counts + 1).sum(), "gold"


def dependencies(state: VoteState, direction: Floats, balance: Floats | None) -> Dependencies:
    """Find the dependent pairs of functions, the weights that follow from them, and the outcomes' strengths.

    If the fitted factor cannot be the class, its strengths explain no correlation. Near-copies then count as dependent.
    """
    layout = state.layout
    observed = rank_one.correlations(state)
    model = rank_one.fit_twice(state, observed, COPIES, MATERIAL)
    pairs = rank_one.dependent(layout, direction, observed, model)
    separate = _weights(state, pairs)
    explained = rank_one.explained(layout, observed, model, pairs, state.n)
    doubts = rank_one.doubts(state, model, balance)
    if explained < EXPLAINED and layout.n_classes == 2:
        doubts.append(f"explains only {max(explained, 0):.0%} of the correlations between functions")
    if doubts:
        copies_mask = rank_one.near_copies(layout, observed, direction, COPIES)
        unexplained = replace(model, residual=np.where(copies_mask, observed.values, model.residual))
        pairs = rank_one.dependent(layout, direction, observed, unexplained)
    strength = model.strength if layout.n_classes == 2 else None
    opposed = opposition.opposed(state, direction, observed) if layout.n_classes == 2 else 0.0
    return Dependencies(pairs, _weights(state, pairs), separate, strength, explained, doubts, opposed)


def _weights(state: VoteState, pairs: list[rank_one.FunctionPair]) -> Floats:
    """Weight 1 / (1 + r), where r is the sum of the shares of a function that others repeat, shape (functions,)."""
    repeated = np.zeros(len(state.layout.names))
    for pair in pairs:
        repeated[[pair.first, pair.second]] += pair.redundancy**2
    return 1 / (1 + repeated)


def independent(weights: Floats, pairs: list[rank_one.FunctionPair]) -> int:
    """Number of functions with a positive weight, where copies of one another count as one."""
    group = list(range(len(weights)))

    def root(j: int) -> int:
        while group[j] != j:
            j = group[j]
        return j

    for pair in pairs:
        if pair.redundancy >= COPIES:
            group[root(pair.first)] = root(pair.second)
    return len({root(int(j)) for j in np.flatnonzero(weights > 0)})


def _one_sided(state: VoteState) -> float:
    """Share of the votes that come from functions which only ever give one vote."""
    layout, starts = state.layout, state.layout.offsets[:-1]
    most = np.maximum.reduceat(np.where(layout.code_of >= 0, state.counts, 0), starts)
    return float(state.cast[most == state.cast].sum() / max(state.cast.sum(), 1))


def dealt_out(state: VoteState) -> bool:
    """Whether each document was assigned to the same number of functions, so that abstaining is not informative.

    If functions abstain because of the document's content, the number of votes varies among documents: for independent
    functions with coverages c its variance is the sum of c (1 - c). This function returns True if the interquartile
    range is at most `DEALT` of the range that this variance implies, and functions vote both ways.
    """
    if not state.layout.voting.all() or not state.n or _one_sided(state) > ONE_SIDED:
        return False
    cover = state.cast / np.maximum(state.asked, 1)
    spread = float(np.sqrt((cover * (1 - cover)).sum()))
    low, high = np.quantile((state.sample.votes >= 0).sum(axis=1), [0.25, 0.75])
    return spread >= 1 and high - low <= DEALT * QUARTILES * spread


def like_workers(state: VoteState, weights: Floats) -> bool:
    """Whether the functions are like human workers, so that EM may run to convergence.

    Workers answer when asked: at most `SILENT` of the answers are abstentions. They give different answers: at most
    `ONE_SIDED` of the votes come from functions that only ever give one. They do not repeat one another: their mean
    weight is at least `SEPARATE`.
    """
    layout, voting = state.layout, state.cast > 0
    if not layout.voting.all() or voting.sum() < INDEPENDENT or weights[voting].mean() < SEPARATE:
        return False
    silent = state.counts[layout.offsets[:-1]].sum() / max(state.asked.sum(), 1)
    return bool(silent <= SILENT and _one_sided(state) <= ONE_SIDED)


def against(state: VoteState, direction: Floats, strength: Floats | None) -> NDArray[np.bool_]:
    """Functions that are right less often than chance, both by the other functions' votes and by the rank-one fit."""
    by_others = _against_others(state)
    return by_others if strength is None else by_others & _against_class(state, direction, strength)


def _against_class(state: VoteState, direction: Floats, strength: Floats) -> NDArray[np.bool_]:
    """Whether each function's votes correlate negatively with the class, by at least `AGAINST` standard errors."""
    layout, starts = state.layout, state.layout.offsets[:-1]
    asked = np.maximum(state.asked, 1).astype(np.float64)
    rate = state.counts / asked[layout.function_of]
    mean = np.add.reduceat(direction * rate, starts)
    spread = np.sqrt(np.maximum(np.add.reduceat(direction**2 * rate, starts) - mean**2, 1e-12))
    signed = np.add.reduceat(direction * strength * np.sqrt(rate * (1 - rate)), starts) / spread
    others = float((strength**2).sum()) - np.add.reduceat(strength**2, starts)
    return signed < -AGAINST / np.sqrt(asked * np.clip(others, 1e-6, 1.0))


def _against_others(state: VoteState) -> NDArray[np.bool_]:
    """Whether the other functions vote for a class less often where a function votes for it than they do elsewhere.

    A bucket of an ordered function counts as a vote for keep in the upper half and for drop in the lower half.
    """
    layout, moments, counts = state.layout, state.moments.astype(np.float64), state.counts.astype(np.float64)
    for_class = np.equal.outer(side(state), np.arange(layout.n_classes)).astype(np.float64)  # (outcomes, classes)
    with_votes, all_votes = moments @ for_class, counts @ for_class
    out = np.zeros(len(layout.names), bool)
    for j, (start, end) in enumerate(zip(layout.offsets[:-1], layout.offsets[1:], strict=True)):
        function_votes = for_class[start:end]
        # Rows: the class that function j votes for; columns: the class that the others vote for.
        votes = function_votes.T @ (with_votes[start:end] - moments[start:end, start:end] @ function_votes)
        base = all_votes - counts[start:end] @ function_votes
        share = base / max(float(base.sum()), 1.0)
        expected = votes.sum(axis=1) * share
        variance = float((expected * (1 - share)).sum())
        out[j] = float(np.trace(votes) - expected.sum()) < -AGAINST * np.sqrt(max(variance, 1e-12))
    return out


def side(state: VoteState) -> NDArray[np.int64]:
    """The class that each outcome is a vote for, -1 for none, shape (outcomes,)."""
    return outcome_tables.sides(state.layout, rank_one.directions(state))


def _by_em(state: VoteState, base: Fit, balance: Floats | None) -> Fit:
    equal = np.full(state.layout.n_classes, 1 / state.layout.n_classes)
    start = outcome_tables.only_share(state, base.direction, np.ones_like(base.weights), equal)
    converged = outcome_tables.until_still(state, start, balance)
    posterior = outcome_tables.plain(state.layout, converged.table, np.log(converged.balance))
    source = base.balance_from if balance is not None else "EM"
    return replace(
        base,
        posterior=posterior,
        method="EM",
        balance=converged.balance,
        balance_from=source,
        likelihood=np.exp(converged.table),
    )


def _by_share(state: VoteState, base: Fit, balance: Floats | None) -> Fit:
    posterior = base.posterior
    if balance is not None:
        posterior = shifted(state, posterior, balance)
    return replace(base, posterior=posterior, likelihood=_likelihood(state, posterior))


def _by_mean(state: VoteState, base: Fit) -> Fit:
    """Mean of the vote share, one EM step and, if its factor may be the class, the rank-one fit.

    The rank-one fit has twice the weight of each of the others. It has the same weight if functions agree so strongly
    that they may share a source.
    """
    layout, dependence = state.layout, base.dependencies
    table = outcome_tables.one_step(state, base.posterior, base.weights, base.balance, base.direction)
    part, likelihood, method = 0.5, np.exp(table), "mean of vote share and one-step EM"
    identical = _nearly_identical(state, dependence)
    warnings = [*base.warnings, *identical]
    if dependence.strength is not None and not dependence.doubts:
        rank_one_table = outcome_tables.from_strength(state, dependence.strength, base.direction, base.balance)
        trust = 1 if identical else 2
        part, table = 1 / (2 + trust), (table + trust * rank_one_table) / (1 + trust)
        likelihood = outcome_tables.rates(state) * np.exp(rank_one_table)
        method = "mean of vote share, one-step EM and rank-one"
    elif dependence.strength is not None:
        warnings.append(f"the main factor of the votes {' and '.join(dependence.doubts)}: {LEFT_OUT}")
    weights = base.weights[layout.function_of][:, None]
    posterior = replace(base.posterior, additive=(1 - part) * weights * table, share=part)
    totals = np.add.reduceat(likelihood, layout.offsets[:-1], axis=0)[layout.function_of]
    return replace(
        base,
        posterior=shifted(state, posterior, base.balance),
        method=method,
        likelihood=likelihood / totals,
        warnings=warnings,
    )


def shifted(state: VoteState, posterior: Posterior, balance: Floats) -> Posterior:
    """Shift the intercepts so that the mean posterior over the sample is the balance.

    The bound for documents whose votes are all for one class moves with the intercepts, so the shift is repeated.
    """
    for _ in range(SHIFTS):
        by = shift_to(posterior.scores(state.sample.votes), balance)
        posterior = posterior.shifted(by)
        if np.abs(by).max() < 1e-6:
            break
    return posterior


def _likelihood(state: VoteState, posterior: Posterior) -> Floats:
    """Estimate P(outcome | class) from the posterior over the sample."""
    return outcome_tables.likelihood(state, posterior.probabilities(state.sample.votes))


@dataclass(frozen=True)
class Fitted:
    """Everything that a fitted model needs to score a document.

    Parameters
    ----------
    layout
        The outcomes.
    posterior
        The posterior, corrected by gold labels.
    majority
        The unweighted vote share.
    curve
        Isotonic calibration of the probability of class 1, None without one.
    """

    layout: Layout
    posterior: Posterior
    majority: Posterior
    curve: dict[str, Any] | None
