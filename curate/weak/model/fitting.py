"""From counts of votes to a posterior: which of the methods the votes call for, and what each of them gives."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curate.weak.model import opposition, outcome_tables, rank_one
from curate.weak.model.posterior import Posterior, shift_to
from curate.weak.model.statistics import Layout, VoteState

COPIES = 0.5  # redundancy from which on two functions count as one
MATERIAL = 0.1  # more of what other pairs have in common must a fit without near-copies explain to be believed
INDEPENDENT = 3  # functions that a model beyond the vote share needs: with two, nothing tells which is right
DEALT = 0.5  # of the spread of the votes per document that independence gives, below which documents are dealt out
QUARTILES = 1.349  # standard deviations between the quartiles of a normal distribution
SILENT = 0.05  # share of abstentions up to which functions are said to answer
ONE_SIDED = 0.05  # share of answers of functions that only ever give one, up to which they are said to vote both ways
SHIFTS = 20  # rounds of shifting to the balance
SEPARATE = 0.9  # of their number is what functions that EM may be run on count for
EXPLAINED = 0.9  # of what functions have in common is what the rank-one fit must explain to take part
OPPOSED = 0.03  # share of related pairs that must be opposed for documents to be bad in ways that exclude one another
AGAINST = 3.0  # standard errors by which a function must be worse than nothing to lose its weight

DEALT_OUT = "documents have so equal numbers of votes that abstaining is taken for not asked: give -2 where that is so"
RANKS_ONLY = "no balance is stated and none known from gold: the posterior is the vote share, good for ranks only"

VERY_STRONG = 0.85  # correlation with the class that few functions have in truth
SEVERAL_WAYS = (
    "stay opposed whichever are turned round, as where documents are bad in ways that exclude one another: "
    "the model is the vote share"
)
LEFT_OUT = "the rank-one fit takes no part"

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Dependencies:
    """What the rank-one fit says of the functions.

    Parameters
    ----------
    pairs
        Functions that depend on one another.
    weights
        Shape (functions,): 1 over 1 and the sum of what others repeat of a function.
    separate
        Shape (functions,): the weights if the strengths explain all that they can.
    strength
        Shape (outcomes,): correlation with the class, for two classes.
    explained
        Share of what the other pairs have in common that the class explains.
    doubts
        Why the factor behind the strengths may not be the class.
    opposed
        Share of the related pairs of functions that no turning round brings into agreement (`opposition.opposed`).
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
    dependencies
        What the rank-one fit says of the functions.
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
    dependencies: Dependencies
    warnings: list[str] = field(default_factory=list)


def fit(state: VoteState, stated: Floats | None) -> Fit:
    """The model that the votes call for.

    1. Functions that never vote, and those whose votes are right more seldom than the balance, get no weight.
    2. Functions that are like workers (`like_workers`): EM to its end.
    3. Fewer than three that are no copies of one another, no balance, or documents that are bad in several ways
       (`several_ways`): the vote share; in the last case every function counts in full.
    4. Else the mean of the scores of the vote share, of one step of EM and, where one factor explains what functions
       have in common, of the rank-one fit; shifted so that the mean posterior is the balance.
    """
    k, names = state.layout.n_classes, state.layout.names
    dealt = dealt_out(state)
    state = state.unasked() if dealt else state
    balance, balance_from = _balance(state, stated)
    known = balance if balance is not None else np.full(k, 1 / k)
    says = rank_one.directions(state)
    found = dependencies(state, says, balance)
    wrong = against(state, says, found.strength)
    warnings = [f"{names[j]} never votes" for j in np.flatnonzero(state.cast == 0)]
    warnings += [DEALT_OUT] if dealt else []
    workers, several = like_workers(state, found.separate), several_ways(found)
    does = "EM takes it as it is" if workers else "it counts as it is" if several else "it gets no weight"
    warnings += [f"{names[j]} is right more seldom than chance: {does}" for j in np.flatnonzero(wrong)]
    weights = np.where(state.cast > 0, 1.0 if several else np.where(wrong, 0.0, found.weights), 0.0)
    share = outcome_tables.only_share(state, says, weights, known)
    base = Fit(share, "vote share", known, balance_from, says, weights, np.empty(0), found, warnings)
    if workers:
        return _by_em(state, base, balance)
    groups = independent(weights, found.pairs)
    if balance is None:
        warnings.append(RANKS_ONLY)
    if groups < INDEPENDENT:
        warnings.append(f"{groups} functions that vote and are no copies of one another: the model is the vote share")
    elif several:
        warnings.append(f"{found.opposed:.0%} of the functions that have to do with one another {SEVERAL_WAYS}")
    if balance is None or groups < INDEPENDENT or several:
        return _by_share(state, base, balance)
    return _by_mean(state, base)


def several_ways(found: Dependencies) -> bool:
    """Whether documents are bad in ways that exclude one another, which no model of two classes describes.

    The main factor cannot be the class, and pairs of functions are opposed whichever of them are turned round.
    """
    return bool(found.doubts) and found.opposed > OPPOSED


def _alike(state: VoteState, found: Dependencies) -> list[str]:
    """A warning where several functions go with the class so closely that they may have a common source instead."""
    if found.strength is None or found.doubts:
        return []
    per_function = np.maximum.reduceat(np.abs(found.strength), state.layout.offsets[:-1])
    names = [state.layout.names[j] for j in np.flatnonzero(per_function >= VERY_STRONG)]
    return [f"{', '.join(names)} agree nearly always: the model believes them, unless they are said to be one"][
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


def dependencies(state: VoteState, says: Floats, balance: Floats | None) -> Dependencies:
    """Dependent pairs, what they leave of each function, and strengths.

    Where the factor that the fit found cannot be the class, its strengths explain nothing, and functions that say much
    the same count as dependent for that alone.
    """
    layout = state.layout
    found = rank_one.correlations(state)
    model = rank_one.fit_twice(state, found, COPIES, MATERIAL)
    pairs = rank_one.dependent(layout, says, found, model)
    separate = _weights(state, pairs)
    explained = rank_one.explained(layout, found, model, pairs, state.n)
    doubts = rank_one.doubts(state, model, balance)
    if explained < EXPLAINED and layout.n_classes == 2:
        doubts.append(f"is behind {max(explained, 0):.0%} of what functions have in common")
    if doubts:
        near = rank_one.near_copies(layout, found, says, COPIES)
        unexplained = replace(model, residual=np.where(near, found.values, model.residual))
        pairs = rank_one.dependent(layout, says, found, unexplained)
    strength = model.strength if layout.n_classes == 2 else None
    opposed = opposition.opposed(state, says, found) if layout.n_classes == 2 else 0.0
    return Dependencies(pairs, _weights(state, pairs), separate, strength, explained, doubts, opposed)


def _weights(state: VoteState, pairs: list[rank_one.FunctionPair]) -> Floats:
    """Shape (functions,): 1 over 1 and the sum of what others repeat of a function."""
    repeated = np.zeros(len(state.layout.names))
    for pair in pairs:
        repeated[[pair.first, pair.second]] += pair.redundancy**2
    return 1 / (1 + repeated)


def independent(weights: Floats, pairs: list[rank_one.FunctionPair]) -> int:
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


def _one_sided(state: VoteState) -> float:
    """Share of the votes that are of functions which only ever give one."""
    layout, starts = state.layout, state.layout.offsets[:-1]
    most = np.maximum.reduceat(np.where(layout.code_of >= 0, state.counts, 0), starts)
    return float(state.cast[most == state.cast].sum() / max(state.cast.sum(), 1))


def dealt_out(state: VoteState) -> bool:
    """Whether somebody gave each document to as many functions as the next one, so that abstaining tells nothing.

    Where functions abstain by what they see, the number of votes differs from document to document: with coverages c
    and independent functions its variance is the sum of c (1 - c). Here the middle half of the documents is at most
    `DEALT` as wide as that, and functions vote both ways.
    """
    if not state.layout.voting.all() or not state.n or _one_sided(state) > ONE_SIDED:
        return False
    cover = state.cast / np.maximum(state.asked, 1)
    spread = float(np.sqrt((cover * (1 - cover)).sum()))
    low, high = np.quantile((state.sample.votes >= 0).sum(axis=1), [0.25, 0.75])
    return spread >= 1 and high - low <= DEALT * QUARTILES * spread


def like_workers(state: VoteState, weights: Floats) -> bool:
    """Whether the functions are like workers, so that EM may run to its end.

    They answer when asked (at most `SILENT` of the answers are abstentions), they give different answers (at most
    `ONE_SIDED` of the answers are of functions that only know one), and they do not repeat one another (they count for
    at least `SEPARATE` of their number, by the weights that the dependencies leave them).
    """
    layout, voting = state.layout, state.cast > 0
    if not layout.voting.all() or voting.sum() < INDEPENDENT or weights[voting].mean() < SEPARATE:
        return False
    silent = state.counts[layout.offsets[:-1]].sum() / max(state.asked.sum(), 1)
    return bool(silent <= SILENT and _one_sided(state) <= ONE_SIDED)


def against(state: VoteState, says: Floats, strength: Floats | None) -> NDArray[np.bool_]:
    """Functions whose votes are right more seldom than the balance: by the others' votes and by the rank-one fit."""
    by_others = _against_others(state)
    return by_others if strength is None else by_others & _against_class(state, says, strength)


def _against_class(state: VoteState, says: Floats, strength: Floats) -> NDArray[np.bool_]:
    """Whether the correlation of a function's vote with the class is below none, beyond chance."""
    layout, starts = state.layout, state.layout.offsets[:-1]
    asked = np.maximum(state.asked, 1).astype(np.float64)
    rate = state.counts / asked[layout.function_of]
    mean = np.add.reduceat(says * rate, starts)
    spread = np.sqrt(np.maximum(np.add.reduceat(says**2 * rate, starts) - mean**2, 1e-12))
    signed = np.add.reduceat(says * strength * np.sqrt(rate * (1 - rate)), starts) / spread
    others = float((strength**2).sum()) - np.add.reduceat(strength**2, starts)
    return signed < -AGAINST / np.sqrt(asked * np.clip(others, 1e-6, 1.0))


def _against_others(state: VoteState) -> NDArray[np.bool_]:
    """Whether others vote for a class more seldom where a function votes for it than they do on the whole.

    An ordered function's bucket counts as a vote by its half.
    """
    layout, moments, counts = state.layout, state.moments.astype(np.float64), state.counts.astype(np.float64)
    for_class = np.equal.outer(side(state), np.arange(layout.n_classes)).astype(np.float64)  # (outcomes, classes)
    with_votes, all_votes = moments @ for_class, counts @ for_class
    out = np.zeros(len(layout.names), bool)
    for j, (start, end) in enumerate(zip(layout.offsets[:-1], layout.offsets[1:], strict=True)):
        own = for_class[start:end]
        votes = own.T @ (
            with_votes[start:end] - moments[start:end, start:end] @ own
        )  # what j votes for, what others do
        base = all_votes - counts[start:end] @ own
        share = base / max(float(base.sum()), 1.0)
        expected = votes.sum(axis=1) * share
        variance = float((expected * (1 - share)).sum())
        out[j] = float(np.trace(votes) - expected.sum()) < -AGAINST * np.sqrt(max(variance, 1e-12))
    return out


def side(state: VoteState) -> NDArray[np.int64]:
    """Shape (outcomes,): the class that an outcome is a vote for, -1 for none."""
    return outcome_tables.sides(state.layout, rank_one.directions(state))


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
    """The mean of the vote share and one step of EM, and where it may be the class, of the rank-one fit.

    That counts as much as both others, or as one of them where functions agree so much that they may have one source.
    """
    layout, found = state.layout, base.dependencies
    table = outcome_tables.one_step(state, base.posterior, base.weights, base.balance, base.says)
    part, likelihood, method = 0.5, np.exp(table), "mean of vote share and one-step EM"
    alike = _alike(state, found)
    warnings = [*base.warnings, *alike]
    if found.strength is not None and not found.doubts:
        strong = outcome_tables.from_strength(state, found.strength, base.says, base.balance)
        trust = 1 if alike else 2
        part, table = 1 / (2 + trust), (table + trust * strong) / (1 + trust)
        likelihood = outcome_tables.rates(state) * np.exp(strong)
        method = "mean of vote share, one-step EM and rank-one"
    elif found.strength is not None:
        warnings.append(f"the main factor {' and '.join(found.doubts)}: {LEFT_OUT}")
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


@dataclass(frozen=True)
class Fitted:
    """All that a model needs for a document.

    Parameters
    ----------
    layout
        Which outcomes there are.
    posterior
        What votes say, corrected by gold.
    majority
        The unweighted vote share.
    curve
        Isotonic calibration of the probability of class 1, None without one.
    """

    layout: Layout
    posterior: Posterior
    majority: Posterior
    curve: dict[str, Any] | None
