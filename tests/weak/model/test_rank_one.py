"""The rank-one fit on moments whose answer is known in closed form, and what it names as dependent."""

import numpy as np
import pytest

from curate.weak.model import fitting, outcome_tables, rank_one
from curate.weak.model.statistics import Layout, VoteState
from tests.weak.model.votes import both_ways, copies, one_way


def population(rates: list[np.ndarray], p: float, n: int, ordered: tuple[int, ...]) -> VoteState:
    """The state that independent functions have on average: `rates` per function (outcomes, 2), P(outcome | class)."""
    columns = np.concatenate(rates)
    joint = n * ((1 - p) * np.outer(columns[:, 0], columns[:, 0]) + p * np.outer(columns[:, 1], columns[:, 1]))
    at = 0
    for rate in rates:
        end = at + len(rate)
        joint[at:end, at:end] = np.diag(n * ((1 - p) * rate[:, 0] + p * rate[:, 1]))
        at = end
    layout = Layout(2, tuple(f"f{j}" for j in range(len(rates))), ordered)
    empty = VoteState.empty(len(rates), ordered=ordered)
    m = len(rates)
    none = np.zeros(m, np.int64)
    return VoteState(layout, n, np.rint(joint).astype(np.int64), none, none, none, empty.sample, empty.gold)


@pytest.mark.parametrize("p", [0.5, 0.2, 0.05])
def test_probabilities_come_back_from_exact_moments(p: float) -> None:
    rng = np.random.default_rng(3)
    rates = []
    for j in range(7):
        if j % 3 == 0:  # votes for one class or abstains
            hit, false = rng.uniform(0.3, 0.6), rng.uniform(0.02, 0.2)
            votes = [[0, 0], [false, hit]] if j % 2 else [[hit, false], [0, 0]]
        else:
            right, cover = rng.uniform(0.6, 0.9), rng.uniform(0.3, 0.9)
            votes = [[cover * right, cover * (1 - right)], [cover * (1 - right), cover * right]]
        rates.append(np.array([[1 - votes[0][c] - votes[1][c] for c in (0, 1)], *votes]))
    rates.append(np.array([[0.0, 0.0], [0.5, 0.1], [0.3, 0.2], [0.15, 0.3], [0.05, 0.4]]))  # four buckets
    state = population(rates, p, 10**9, (0,) * 7 + (4,))
    found = rank_one.correlations(state)
    model = rank_one.fit(state, found)
    assert np.abs(model.residual).max() < 1e-3
    says = rank_one.directions(state)
    assert rank_one.dependent(state.layout, says, found, model) == []
    assert rank_one.explained(state.layout, found, model, [], state.n) > 0.999
    odds = outcome_tables.from_strength(state, model.strength, says, np.array([1 - p, p]))
    expected = np.concatenate(rates)
    used = expected.min(axis=1) > 0
    learned = odds[used, 1] - odds[used, 0]
    assert learned == pytest.approx(np.log(expected[used, 1] / expected[used, 0]), abs=0.02)


def test_functions_that_were_not_asked_for_all_are_measured_where_they_were() -> None:
    rng = np.random.default_rng(1)
    truth = (rng.random(40_000) < 0.5).astype(np.int64)
    votes = both_ways(rng, truth, [0.9, 0.8, 0.7, 0.75, 0.65], [1.0] * 5)
    whole = VoteState.count(votes, n_classes=2)
    votes[10_000:, 1] = -2
    votes[:20_000, 3] = -2
    part = VoteState.count(votes, n_classes=2)
    found = rank_one.correlations(part)
    assert found.documents[1].tolist() == [10_000, 10_000, 10_000, 0, 10_000]
    assert (found.weights[3:6, 9:12] == 0).all()
    strengths = [rank_one.fit(state, rank_one.correlations(state)).strength for state in (whole, part)]
    assert strengths[0] == pytest.approx(strengths[1], abs=0.03)


@pytest.mark.parametrize("seed", range(3))
def test_exactly_the_copied_pairs_are_named(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = (rng.random(10_000) < 0.5).astype(np.int64)
    state = VoteState.count(copies(rng, truth, [0.7, 0.72, 0.75, 0.68, 0.8], bad=0.55, times=4), n_classes=2)
    found = fitting.dependencies(state, rank_one.directions(state), None)
    assert {(pair.first, pair.second) for pair in found.pairs} == {(5, 6), (5, 7), (5, 8), (6, 7), (6, 8), (7, 8)}
    assert all(pair.redundancy > 0.7 for pair in found.pairs)
    assert (found.weights[:5] == 1).all()
    assert (found.weights[5:] < 0.5).all()
    assert found.explained > 0.95


@pytest.mark.parametrize("kind", ["both", "one"])
def test_independent_functions_are_not_called_dependent(kind: str) -> None:
    rng = np.random.default_rng(5)
    truth = (rng.random(3000) < 0.4).astype(np.int64)
    if kind == "both":
        votes = both_ways(rng, truth, rng.uniform(0.55, 0.85, 12).tolist(), rng.uniform(0.02, 0.9, 12).tolist())
    else:
        hits = rng.uniform(0.02, 0.5, 12)
        votes = one_way(rng, truth, hits.tolist(), (hits * rng.uniform(0.1, 0.6, 12)).tolist())
    state = VoteState.count(votes, n_classes=2)
    assert fitting.dependencies(state, rank_one.directions(state), None).pairs == []


def test_kinds_of_documents_besides_the_class_are_noticed() -> None:
    rng = np.random.default_rng(0)
    truth, kind = rng.integers(0, 2, 4000), rng.integers(0, 3, 4000)
    votes = np.full((4000, 9), -1, np.int8)
    for j in range(9):
        side = int(j >= 5)
        rate = np.where((truth == side) & (kind == j % 3), 0.6, 0.05)
        votes[:, j] = np.where(rng.random(4000) < rate, side, -1)
    state = VoteState.count(votes, n_classes=2)
    found = fitting.dependencies(state, rank_one.directions(state), None)
    assert found.explained < 0.9
    fit = fitting.fit(state, np.array([0.5, 0.5]))
    assert fit.method == "vote share"
    assert any("disagree whichever functions are reversed" in warning for warning in fit.warnings)
    assert (fit.weights == 1).all()


def test_direction_of_buckets_is_their_place_in_the_distribution() -> None:
    votes = np.array([0] * 5 + [1] * 3 + [3] * 2 + [-1] * 4, np.int8)[:, None]
    state = VoteState.count(votes, n_classes=2, ordered=[4])
    assert rank_one.directions(state) == pytest.approx([0, -0.5, 0.3, 0.6, 0.8])


def test_copies_are_found_among_votes_of_more_classes() -> None:
    rng = np.random.default_rng(2)
    truth = rng.choice(4, 8000, p=[0.4, 0.3, 0.2, 0.1])
    sides = np.arange(16) % 4
    rate = np.where(truth[:, None] == sides, 0.4, 0.08)
    votes = np.where(rng.random((8000, 16)) < rate, sides, -1).astype(np.int8)
    again = [np.where(rng.random(8000) < 0.05, -1, votes[:, 2]) for _ in range(3)]
    state = VoteState.count(np.column_stack([votes, *again]).astype(np.int8), n_classes=4)
    found = fitting.dependencies(state, rank_one.directions(state), np.array([0.4, 0.3, 0.2, 0.1]))
    copies = {2, 16, 17, 18}
    assert {(pair.first, pair.second) for pair in found.pairs} == {(a, b) for a in copies for b in copies if a < b}
    assert (found.weights[sorted(copies)] < 0.4).all()


@pytest.mark.parametrize("good", [3, 4, 6])
@pytest.mark.parametrize("noise", [0.0, 0.02, 0.05])
def test_copies_may_outnumber_the_rest(good: int, noise: float) -> None:
    rng = np.random.default_rng(good)
    truth = (rng.random(10_000) < 0.5).astype(np.int64)
    own = both_ways(rng, truth, [*rng.uniform(0.65, 0.8, good), 0.55], [1.0] * (good + 1))
    more = [np.where(rng.random(10_000) < noise, 1 - own[:, -1], own[:, -1]) for _ in range(3)]
    state = VoteState.count(np.column_stack([own, *more]).astype(np.int8), n_classes=2)
    found = fitting.dependencies(state, rank_one.directions(state), None)
    copies = range(good, good + 4)
    assert {(pair.first, pair.second) for pair in found.pairs} == {(a, b) for a in copies for b in copies if a < b}


def test_functions_that_are_right_nearly_always_are_no_copies() -> None:
    rng = np.random.default_rng(1)
    truth = (rng.random(5000) < 0.5).astype(np.int64)
    votes = both_ways(rng, truth, [0.93, 0.95, 0.9, 0.7, 0.75, 0.65], [0.95] * 6)
    state = VoteState.count(votes, n_classes=2)
    found = fitting.dependencies(state, rank_one.directions(state), np.array([0.5, 0.5]))
    assert (found.pairs, found.doubts) == ([], [])


def test_a_factor_that_no_class_of_the_balance_can_be_is_doubted() -> None:
    rng = np.random.default_rng(1)
    truth, kind = (rng.random(6000) < 0.5).astype(np.int64), rng.random(6000) < 0.2
    copies = [np.where(kind ^ (rng.random(6000) < 0.02), 0, -1) for _ in range(4)]  # about something else
    votes = np.column_stack([*copies, one_way(rng, truth, [0.3, 0.3], [0.25, 0.25])]).astype(np.int8)
    state = VoteState.count(votes, n_classes=2)
    found = fitting.dependencies(state, rank_one.directions(state), np.array([0.5, 0.5]))
    assert found.doubts == ["correlates more strongly with the votes than a class of this balance can"]
    assert (found.weights[:4] < 0.5).all()
    fit = fitting.fit(state, np.array([0.5, 0.5]))
    assert "rank-one" not in fit.method


def test_a_factor_that_makes_all_functions_fire_is_doubted() -> None:
    rng = np.random.default_rng(4)
    truth, long = (rng.random(4000) < 0.5).astype(np.int64), rng.random(4000) < 0.4
    votes = both_ways(rng, truth, [0.6] * 8, [1.0] * 8)
    votes[rng.random((4000, 8)) > np.where(long, 0.9, 0.2)[:, None]] = -1
    state = VoteState.count(votes, n_classes=2)
    found = fitting.dependencies(state, rank_one.directions(state), np.array([0.5, 0.5]))
    assert "raises votes for keep and for drop alike" in found.doubts
    assert fitting.fit(state, np.array([0.5, 0.5])).method == "mean of vote share and one-step EM"
