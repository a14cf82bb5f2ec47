"""Cuts against a sort of all keys, with Python integers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.mixture import budget
from curate.mixture.budget import END, START, Reach
from curate.text.hashing import order_keys
from tests.examples import examples

# Hashes from few values, so that equal hashes (ordered by id) and crowded bins are common.
KEYS = st.tuples(
    st.sampled_from([0, 1, 2**52 - 1, 2**52, 2**63, 2**64 - 1]), st.integers(0, 3), st.sampled_from([0, 1, 2**64 - 1])
)
DOCUMENTS = st.lists(st.tuples(KEYS, st.integers(0, 50)), max_size=40, unique_by=lambda d: d[0])


def prefix_size(documents: list, cut: int) -> int:
    return sum(size for (first, high, low), size in documents if (first << 128 | high << 64 | low) < cut)


def arrays(documents: list) -> tuple[np.ndarray, np.ndarray]:
    key = np.array([key for key, _ in documents], np.uint64).reshape(-1, 3)
    return key, np.array([size for _, size in documents], np.int64)


def found_cut(documents: list, wanted: int) -> int:
    """As the stage finds it: a histogram, then the boundary bin alone."""
    key, sizes = arrays(documents)
    end, base = budget.boundary(budget.histogram(key, sizes), wanted)
    if end == budget.BINS:
        return END
    inside = budget.bins(key) == end
    return budget.nearest_cut(key[inside], sizes[inside], wanted - base)


@given(DOCUMENTS, st.integers(0, 2000))
def test_cut_is_the_prefix_nearest_to_the_size_wanted(documents: list, wanted: int) -> None:
    sizes = [size for _, size in sorted(documents)]
    prefixes = [sum(sizes[:taken]) for taken in range(len(sizes) + 1)]
    best = min(prefixes, key=lambda prefix: (abs(prefix - wanted), prefix))
    assert prefix_size(documents, found_cut(documents, wanted)) == best


@given(DOCUMENTS, st.integers(0, 2000))
def test_error_is_at_most_half_a_document(documents: list, wanted: int) -> None:
    wanted = min(wanted, sum(size for _, size in documents))
    largest = max((size for _, size in documents), default=0)
    assert 2 * abs(prefix_size(documents, found_cut(documents, wanted)) - wanted) <= largest


@given(DOCUMENTS, st.integers(0, 2000), st.integers(0, 2000))
def test_cuts_never_fall_as_the_size_grows(documents: list, one: int, other: int) -> None:
    low, high = sorted([one, other])
    key, _ = arrays(documents)
    assert not (budget.below(key, found_cut(documents, low)) & ~budget.below(key, found_cut(documents, high))).any()


@given(DOCUMENTS, KEYS, st.integers(-1, 1))
def test_below_compares_whole_keys(documents: list, at: tuple[int, int, int], step: int) -> None:
    cut = max((at[0] << 128 | at[1] << 64 | at[2]) + step, 0)
    key, _ = arrays(documents)
    expected = [(first << 128 | high << 64 | low) < cut for (first, high, low), _ in documents]
    assert budget.below(key, cut).tolist() == expected
    assert budget.extremes(key) == (
        [] if not documents else [budget.number(key[key.tolist().index(list(f(documents)[0]))]) for f in (min, max)]
    )


def test_start_takes_nothing_and_end_takes_all() -> None:
    key = np.array([[0, 0, 0], [2**64 - 1] * 3], np.uint64)
    assert not budget.below(key, START).any()
    assert budget.below(key, END).all()


@examples(50)
@given(st.integers(1, 60), st.lists(st.integers(0, 400), min_size=1, max_size=5), st.integers(0, 3))
def test_copies_are_whole_epochs_and_a_prefix_of_the_next(documents: int, wanted: list[int], seed: int) -> None:
    rng = np.random.default_rng(documents)
    ids = rng.integers(0, 256, (documents, 16), np.uint8)
    sizes = rng.integers(1, 9, documents)
    available = int(sizes.sum())
    reaches, expected = [], []
    for size in sorted(wanted):
        epochs, left = budget.whole_epochs(size, available)
        key = order_keys(seed, budget.epoch_salt(epochs), ids)
        reaches.append(Reach(epochs, budget.nearest_cut(key, sizes, left) if left else START))
        ordered = sorted(range(documents), key=lambda i: tuple(key[i].tolist()))
        taken = min(range(documents + 1), key=lambda k: (abs(sum(sizes[ordered[:k]]) - left), k))
        expected.append([epochs + (i in ordered[:taken]) for i in range(documents)])
    held = budget.copies(seed, ids, reaches)
    assert held.T.tolist() == expected
    assert (np.diff(held, axis=1) >= 0).all()
    assert [Reach.from_json(reach.to_json()) for reach in reaches] == reaches


@given(
    st.lists(
        st.tuples(st.integers(1, 10), st.integers(1, 10**9), st.sampled_from([0.5, 1.0, 1.1, 4.0])),
        min_size=1,
        max_size=5,
    )
)
def test_largest_budget_is_feasible_and_one_more_is_not(sources: list[tuple[int, int, float]]) -> None:
    shares = budget.normalized({str(i): float(weight) for i, (weight, _, _) in enumerate(sources)})
    most = {str(i): budget.capacity(size, epochs) for i, (_, size, epochs) in enumerate(sources)}
    largest = budget.largest_budget(shares, most)
    assert all(budget.target(shares[source], largest) <= most[source] + 1 for source in shares)
    assert any(shares[source] * (largest + 1) > most[source] - 1e-3 for source in shares)


@pytest.mark.parametrize(("size", "epochs", "most"), [(10, 1.1, 11), (30, 0.7, 21), (3, 1 / 3, 1), (7, 0.5, 3)])
def test_capacity_is_not_cut_by_a_rounding_error(size: int, epochs: float, most: int) -> None:
    assert budget.capacity(size, epochs) == most


def test_epochs_are_independent_orders() -> None:
    ids = np.random.default_rng(0).integers(0, 256, (4000, 16), np.uint8)
    half = [budget.below(order_keys(0, budget.epoch_salt(epoch), ids), END >> 1) for epoch in (0, 1)]
    assert abs(int((half[0] & half[1]).sum()) - 1000) < 5 * 27  # binomial(4000, 1/4)
