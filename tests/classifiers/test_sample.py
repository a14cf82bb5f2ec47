"""Labels drawn from targets: right on average, certain where the target is, and the same whatever is around them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from curate.classifiers.sample import by_class, by_target, unit
from curate.stats.calibration import fit

IDS = np.random.default_rng(3).integers(0, 256, (40_000, 16), np.uint8)


@pytest.mark.parametrize("target", [0.0, 0.03, 0.35, 0.5, 0.8, 1.0])
@pytest.mark.parametrize("likelier", [False, True])
def test_labels_and_certainty_are_unbiased(target: float, likelier: bool) -> None:
    """The shares of labels and of documents taken lie within what their binomial distribution allows (1 in 10^6)."""
    count = len(IDS)
    positive, taken, goal, weight = by_target(np.full(count, target), IDS, 7, likelier=likelier, certainty=True)
    assert (set(goal), set(weight)) == ({expected_goal(target, likelier)}, {abs(2 * target - 1)})
    expected = float(target >= 0.5) if likelier else target
    for found, share in ((positive, expected), (taken, abs(2 * target - 1))):
        low, high = binom.interval(1 - 1e-6, count, share)
        assert low <= found.sum() <= high
    both = positive & taken  # the two draws are independent
    low, high = binom.interval(1 - 1e-6, count, expected * abs(2 * target - 1))
    assert low <= both.sum() <= high
    everything = by_target(np.full(count, target), IDS, 7, likelier=likelier)
    assert everything.taken.all()
    assert (everything.weight == 1).all()
    weighted = by_target(np.full(count, target), IDS, 7, likelier=likelier, certainty=True, weighted=True)
    assert weighted.taken.all() == (target != 0.5)


def expected_goal(target: float, likelier: bool) -> float:
    return float(target >= 0.5) if likelier else target


def test_the_signed_weight_of_both_ways_is_that_of_the_target() -> None:
    """Drawn labels, and likelier labels of documents taken by certainty, both pull by 2 target - 1 on average."""
    target = np.random.default_rng(4).random(len(IDS))
    drawn = by_target(target, IDS, 1).positive
    likelier, taken, _, weight = by_target(target, IDS, 1, likelier=True, certainty=True)
    assert np.allclose((2.0 * likelier - 1) * weight, 2 * target - 1)  # of a model that knows weights: always
    for pull in (2.0 * drawn - 1, (2.0 * likelier - 1) * taken):
        for low in (0.0, 0.25, 0.5, 0.75):
            inside = (target >= low) & (target < low + 0.25)
            error = (pull - (2 * target - 1))[inside]
            assert abs(error.mean()) < 5 * error.std() / len(error) ** 0.5


def test_certain_targets_are_labelled_by_their_class_and_always_taken() -> None:
    target = (np.arange(len(IDS)) % 2).astype(float)
    hard = by_class(target, IDS)
    for likelier in (False, True):
        for certainty in (False, True):
            found = by_target(target, IDS, 0, likelier=likelier, certainty=certainty)
            for a, b in zip(found, hard, strict=True):
                assert np.array_equal(a, b)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20), st.integers(0, 5))
def test_a_label_depends_on_target_id_and_seed_alone(targets: list[float], seed: int) -> None:
    ids = IDS[: len(targets)]
    positive, taken, *_ = by_target(np.array(targets), ids, seed, certainty=True)
    for i, target in enumerate(targets):
        one = by_target(np.array([target]), ids[i : i + 1], seed, certainty=True)
        assert (one[0][0], one[1][0]) == (positive[i], taken[i])
    rising = by_target(np.clip(np.array(targets) + 0.1, 0, 1), ids, seed)[0]
    assert not (positive & ~rising).any()  # a higher target never loses a positive label


def test_places_are_below_one() -> None:
    places = unit(0, "x", IDS)
    assert places.min() >= 0
    assert places.max() < 1
    assert abs(places.mean() - 0.5) < 0.01


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 4)), min_size=2, max_size=30))
def test_calibration_on_probabilities_is_that_on_copies(pairs: list[tuple[int, int]]) -> None:
    """A target of a quarter is as good as one positive and three negative documents of the same score."""
    scores, quarters = np.array([s / 21 + 0.01 for s, _ in pairs]), [q for _, q in pairs]
    copies = np.repeat(scores, 4)
    labels = np.array([place < q for q in quarters for place in range(4)])
    soft, hard = (fit("isotonic", *given) for given in ((scores, np.array(quarters) / 4), (copies, labels)))
    assert np.interp(scores, soft["scores"], soft["probabilities"]) == pytest.approx(
        np.interp(scores, hard["scores"], hard["probabilities"])
    )
    plain = np.array([q >= 2 for q in quarters])
    assert fit("platt", scores, plain) == fit("platt", scores, plain.astype(float))
