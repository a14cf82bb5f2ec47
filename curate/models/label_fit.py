"""From counts of votes to a posterior: which of the methods the votes call for, and what each of them gives."""

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from curate.models import outcome_tables, rank_one
from curate.models.posterior import Posterior, shift_to
from curate.models.vote_state import VoteState

COPIES = 0.5  # redundancy from which on two functions count as one
INDEPENDENT = 3  # functions that a model beyond the vote share needs: with two, nothing tells which is right
SILENT = 0.05  # share of abstentions up to which functions are said to answer
ONE_SIDED = 0.05  # share of answers of functions that only ever give one, up to which they are said to vote both ways
SHIFTS = 20  # rounds of shifting to the balance
SEPARATE = 0.9  # of their number is what functions that EM may be run on count for
AGAINST = 3.0  # standard errors by which a function must be worse than nothing to lose its weight

RANKS_ONLY = "no balance is stated and none known from gold: the posterior is the vote share, good for ranks only"

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Fit:
    """A posterior and how it came about.

    Parameters
    ----------
    posterior
        The model, before gold.
    method
        ``mean of vote share, one-step EM and rank-one``, ``mean of vote share and one-step EM``, ``EM`` or
        ``vote share``.
    balance
        Shape (classes,).
    balance_from
        ``stated``, ``gold``, ``EM`` or ``none``.
    says
        Shape (outcomes,): what outcomes say by themselves.
    weights
        Shape (functions,): 1 for a function that repeats no other, less for one that does, 0 for one left out.
    likelihood
        Shape (outcomes, classes): learned P(outcome | class).
    pairs
        Dependent functions.
    strength
        Shape (outcomes,): correlation with the class, None for more than two classes.
    warnings
        What a reader should know.
    """

    posterior: Posterior
    method: str
    balance: Floats
    balance_from: str
    says: Floats
    weights: Floats
    likelihood: Floats
    pairs: list[rank_one.Pair] = field(default_factory=list)
    strength: Floats | None = None
    warnings: list[str] = field(default_factory=list)


def fit(state: VoteState, stated: Floats | None) -> Fit:
    """The model that the votes call for.

    1. Functions that never vote, and those whose votes are right more seldom than the balance, get no weight.
    2. Functions that answer whenever they are asked, both ways, and repeat one another in no pair: EM to its end.
    3. Fewer than three that are no copies of one another, or no balance: the vote share.
    4. Else the mean of the scores of the vote share, of one step of EM and, for two classes, of the rank-one fit;
       shifted so that the mean posterior is the balance.
    """
    k, names = state.layout.n_classes, state.layout.names
    balance, balance_from = _balance(state, stated)
    known = balance if balance is not None else np.full(k, 1 / k)
    says = rank_one.directions(state) if k == 2 else np.zeros(int(state.layout.offsets[-1]))
    warnings = [f"{names[j]} never votes" for j in np.flatnonzero(state.cast == 0)]
    pairs, strength, weights = _dependencies(state, says)
    against = _against(state, says, strength, known)
    warnings += [f"{names[j]} is right more seldom than chance: it gets no weight" for j in np.flatnonzero(against)]
    weights = np.where((state.cast > 0) & ~against, weights, 0.0)
    share = outcome_tables.only_share(state, says, weights, known)
    base = Fit(share, "vote share", known, balance_from, says, weights, np.empty(0), pairs, strength, warnings)
    if answers_both_ways(state) and _separate(state, base) and (state.cast > 0).sum() >= INDEPENDENT:
        return _by_em(state, base, balance)
    if balance is None:
        warnings.append(RANKS_ONLY)
    groups = independent(weights, pairs)
    if groups < INDEPENDENT:
        warnings.append(f"{groups} functions that vote and are no copies of one another: the model is the vote share")
    if balance is None or groups < INDEPENDENT:
        return _by_share(state, base, balance)
    return _by_mean(state, base)


def _balance(state: VoteState, stated: Floats | None) -> tuple[Floats | None, str]:
    if stated is not None:
        return stated, "stated"
    gold = state.gold
    if not len(gold.labels):
        return None, "none"
    weights = gold.weights / gold.weights.mean()
    counts = np.bincount(gold.labels, weights=weights, minlength=state.layout.n_classes)
    return (counts + 1) / (counts + 1).sum(), "gold"


def _dependencies(state: VoteState, says: Floats) -> tuple[list[rank_one.Pair], Floats | None, Floats]:
    """Dependent pairs, strengths and each function's weight; for two classes, else none."""
    weights = np.ones(len(state.layout.names))
    if state.layout.n_classes != 2:
        return [], None, weights
    found = rank_one.correlations(state)
    model = rank_one.fit(state, found)
    pairs = rank_one.dependent(state.layout, says, found, model)
    repeats = np.zeros(len(weights))
    for pair in pairs:
        repeats[[pair.first, pair.second]] += pair.redundancy
    return pairs, model.strength, weights / (1 + repeats)


def independent(weights: Floats, pairs: list[rank_one.Pair]) -> int:
    """How many groups of functions with a weight there are when copies are taken as one."""
    group = list(range(len(weights)))

    def root(j: int) -> int:
        while group[j] != j:
            j = group[j]
        return j

    for pair in pairs:
        if pair.redundancy >= COPIES:
            group[root(pair.first)] = root(pair.second)
    return len({root(int(j)) for j in np.flatnonzero(weights > 0)})


def answers_both_ways(state: VoteState) -> bool:
    """Whether the functions are like workers: they answer when asked, and each of them gives different answers."""
    layout = state.layout
    if not layout.voting.all() or not state.asked.sum():
        return False
    starts = layout.offsets[:-1]
    silent = state.counts[starts].sum()
    most = np.maximum.reduceat(np.where(layout.code_of >= 0, state.counts, 0), starts)
    one_sided = state.cast[most == state.cast].sum()
    return bool(silent <= SILENT * state.asked.sum() and one_sided <= ONE_SIDED * state.cast.sum())


def _against(state: VoteState, says: Floats, strength: Floats | None, balance: Floats) -> NDArray[np.bool_]:
    """Functions whose votes are right more seldom than the balance, beyond chance."""
    layout = state.layout
    if strength is None:
        return _against_others(state, balance)
    counts, asked = state.counts.astype(np.float64), np.maximum(state.asked, 1).astype(np.float64)
    rate = counts / asked[layout.function_of]
    starts = layout.offsets[:-1]
    mean = np.add.reduceat(says * rate, starts)
    spread = np.sqrt(np.maximum(np.add.reduceat(says**2 * rate, starts) - mean**2, 1e-12))
    signed = np.add.reduceat(says * strength * np.sqrt(rate * (1 - rate)), starts) / spread
    others = float((strength**2).sum()) - np.add.reduceat(strength**2, starts)
    error = 1 / np.sqrt(asked * np.clip(others, 1e-6, 1.0))
    return signed < -AGAINST * error


def _against_others(state: VoteState, balance: Floats) -> NDArray[np.bool_]:
    """For more than two classes: whether others vote for a function's class more seldom where it votes for it."""
    layout, moments = state.layout, state.moments.astype(np.float64)
    out = np.zeros(len(layout.names), bool)
    for j, (start, end) in enumerate(zip(layout.offsets[:-1] + 1, layout.offsets[1:], strict=True)):
        agree = expected = variance = 0.0
        for c in range(end - start):
            others = (layout.function_of != j) & (layout.code_of >= 0)
            votes = moments[start + c, others]
            total, right = float(votes.sum()), float(votes[layout.code_of[others] == c].sum())
            agree, expected = agree + right, expected + total * balance[c]
            variance += total * balance[c] * (1 - balance[c])
        out[j] = agree < expected - AGAINST * np.sqrt(max(variance, 1e-12))
    return out


def _separate(state: VoteState, base: Fit) -> bool:
    """Whether the functions that vote count for at least `SEPARATE` of their number."""
    repeats = np.zeros(len(base.weights))
    for pair in base.pairs:
        repeats[[pair.first, pair.second]] += pair.redundancy
    return bool((1 / (1 + repeats))[state.cast > 0].mean() >= SEPARATE)


def _by_em(state: VoteState, base: Fit, balance: Floats | None) -> Fit:
    equal = np.full(state.layout.n_classes, 1 / state.layout.n_classes)
    start = outcome_tables.only_share(state, base.says, np.ones_like(base.weights), equal)
    found = outcome_tables.until_still(state, start, balance)
    posterior = outcome_tables.plain(state.layout, found.table, np.log(found.balance))
    source = base.balance_from if balance is not None else "EM"
    return replace(
        base,
        posterior=posterior,
        method="EM",
        balance=found.balance,
        balance_from=source,
        likelihood=np.exp(found.table),
    )


def _by_share(state: VoteState, base: Fit, balance: Floats | None) -> Fit:
    posterior = base.posterior
    if balance is not None:
        posterior = shifted(state, posterior, balance)
    return replace(base, posterior=posterior, likelihood=_likelihood(state, posterior))


def _by_mean(state: VoteState, base: Fit) -> Fit:
    tables = [outcome_tables.one_step(state, base.posterior, base.weights, base.balance, base.says)]
    method = "mean of vote share and one-step EM"
    if base.strength is not None:
        tables.append(outcome_tables.from_strength(state, base.strength, base.says, base.balance))
        method = "mean of vote share, one-step EM and rank-one"
    parts = len(tables) + 1
    weights = base.weights[state.layout.function_of][:, None]
    posterior = replace(base.posterior, additive=weights * sum(tables) / parts, share=1 / parts)
    posterior = shifted(state, posterior, base.balance)
    return replace(base, posterior=posterior, method=method, likelihood=_likelihood(state, posterior))


def shifted(state: VoteState, posterior: Posterior, balance: Floats) -> Posterior:
    """With the intercepts for which the mean posterior over the sample is the balance.

    The bound on documents whose votes are all for one class moves with the intercepts, hence the rounds.
    """
    for _ in range(SHIFTS):
        by = shift_to(posterior.scores(state.sample.votes), balance)
        posterior = posterior.shifted(by)
        if np.abs(by).max() < 1e-6:
            break
    return posterior


def _likelihood(state: VoteState, posterior: Posterior) -> Floats:
    """P(outcome | class) as the posterior of the sample has it."""
    return outcome_tables.likelihood(state, posterior.probabilities(state.sample.votes))
