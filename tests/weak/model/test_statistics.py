"""The vote state against counting by dictionaries; sums of any shards in any order; what is wrong with arguments."""

import re
from collections import Counter
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.weak.model import bit_columns
from curate.weak.model.rows import hashed
from curate.weak.model.statistics import Layout, VoteState

LAYOUT = Layout(3, ("a", "b", "c"), (0, 0, 0))
ORDERED = Layout(2, ("rule", "score", "other"), (0, 4, 0))


@st.composite
def tables(draw: st.DrawFn) -> tuple[Layout, np.ndarray, np.ndarray, np.ndarray]:
    """A layout, votes, keys (with ties) and gold."""
    layout = draw(st.sampled_from([LAYOUT, ORDERED]))
    codes = [st.integers(-2, (buckets or layout.n_classes) - 1) for buckets in layout.ordered]
    rows = draw(st.lists(st.tuples(*codes, st.integers(0, 6), st.integers(-1, layout.n_classes - 1)), max_size=40))
    whole = np.array(rows, np.int64).reshape(len(rows), 5)
    return layout, whole[:, :3].astype(np.int8), whole[:, 3].astype(np.uint64), whole[:, 4].astype(np.int8)


def state_of(layout: Layout, votes: np.ndarray, keys: np.ndarray, gold: np.ndarray, capacity: int = 8) -> VoteState:
    return VoteState.count(
        votes,
        n_classes=layout.n_classes,
        ordered=layout.ordered,
        keys=keys,
        gold=gold,
        gold_weights=1.0 + votes[:, 0] % 2,
        names=layout.names,
        slices={"even": keys % 2 == 0, f"first {votes[0, 0] if len(votes) else ''}": keys < 3},
        capacity=capacity,
    )


def column(layout: Layout, j: int, code: int) -> int:
    return int(layout.offsets[j]) + code + 1


@given(tables())
def test_the_sums_are_those_of_counting_by_hand(table: tuple[Layout, np.ndarray, np.ndarray, np.ndarray]) -> None:
    layout, votes, keys, gold = table
    state = state_of(layout, votes, keys, gold)
    meet: Counter[tuple[int, int]] = Counter()
    overlapped, conflicted, unanimous = Counter[int](), Counter[int](), Counter[int]()
    for row in votes.tolist():
        seen = [column(layout, j, code) for j, code in enumerate(row) if code >= -1]
        meet.update((u, v) for u in seen for v in seen)
        cast = {j: code for j, code in enumerate(row) if code >= 0 and not layout.ordered[j]}
        for j, code in enumerate(row):
            overlapped[j] += code >= 0 and bool(set(cast) - {j})
            conflicted[j] += j in cast and any(other != code for other in cast.values())
        if len(set(cast.values())) == 1:
            unanimous[next(iter(cast.values()))] += 1
        unanimous[layout.n_classes] += not cast
    size = int(layout.offsets[-1])
    assert state.moments.tolist() == [[meet[u, v] for v in range(size)] for u in range(size)]
    assert state.overlapped.tolist() == [overlapped[j] for j in range(3)]
    assert state.conflicted.tolist() == [conflicted[j] for j in range(3)]
    assert state.unanimous.tolist() == [unanimous[c] for c in range(layout.n_classes + 1)]
    assert state.asked.tolist() == (votes >= -1).sum(axis=0).tolist()
    assert state.cast.tolist() == (votes >= 0).sum(axis=0).tolist()
    assert state.n == len(votes)


@given(tables())
def test_sample_gold_and_slices_are_those_of_their_definitions(
    table: tuple[Layout, np.ndarray, np.ndarray, np.ndarray],
) -> None:
    layout, votes, keys, gold = table
    state = state_of(layout, votes, keys, gold)
    rows = sorted(zip(keys.tolist(), map(tuple, votes.tolist()), strict=True))[:8]
    assert list(zip(state.sample.keys.tolist(), map(tuple, state.sample.votes.tolist()), strict=True)) == rows
    known = [
        (key, tuple(row), label, 1.0 + row[0] % 2)
        for key, row, label in zip(keys.tolist(), votes.tolist(), gold.tolist(), strict=True)
        if label >= 0
    ]
    found = (state.gold.keys, map(tuple, state.gold.votes.tolist()), state.gold.labels, state.gold.weights)
    assert list(zip(*found, strict=True)) == sorted(known)
    even = state.slices["even"]
    inside = votes[keys % 2 == 0]
    assert even.documents == len(inside)
    expected = VoteState.count(inside, n_classes=layout.n_classes, ordered=layout.ordered)
    assert (even.outcomes == expected.counts).all()
    assert (even.overlapped == expected.overlapped).all()
    assert (even.conflicted == expected.conflicted).all()


@given(tables(), st.data())
def test_shards_add_up_to_the_same_bytes(
    tmp_path_factory: pytest.TempPathFactory,
    table: tuple[Layout, np.ndarray, np.ndarray, np.ndarray],
    data: st.DataObject,
) -> None:
    layout, votes, keys, gold = table
    folder = tmp_path_factory.mktemp("states")
    shard = np.array(data.draw(st.lists(st.integers(0, 4), min_size=len(votes), max_size=len(votes))), np.int64)

    def part(rows: np.ndarray) -> VoteState:
        return VoteState.count(
            votes[rows],
            n_classes=layout.n_classes,
            ordered=layout.ordered,
            keys=keys[rows],
            gold=gold[rows],
            names=layout.names,
            slices={"even": keys[rows] % 2 == 0},
            capacity=8,
        )

    parts = data.draw(st.permutations([part(shard == s) for s in range(5)]))
    while len(parts) > 1:
        at = data.draw(st.integers(0, len(parts) - 2))
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
    parts[0].save(folder / "parts.npz")
    part(np.ones(len(votes), bool)).save(folder / "whole.npz")
    assert (folder / "parts.npz").read_bytes() == (folder / "whole.npz").read_bytes()
    VoteState.load(folder / "whole.npz").save(folder / "again.npz")
    assert (folder / "again.npz").read_bytes() == (folder / "whole.npz").read_bytes()


def test_blocks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    votes = np.random.default_rng(1).integers(-2, 3, (1000, 6)).astype(np.int8)
    whole = VoteState.count(votes, n_classes=3)
    monkeypatch.setattr(bit_columns, "BLOCK", 192)
    again = VoteState.count(votes, n_classes=3)
    assert (whole.moments == again.moments).all()
    assert (whole.conflicted == again.conflicted).all()


def test_without_a_function_nothing_else_changes() -> None:
    votes = np.random.default_rng(1).integers(-2, 2, (200, 4)).astype(np.int8)
    state = VoteState.count(votes, n_classes=2, gold=votes[:, 0].clip(-1), names=list("abcd"))
    part, direct = state.without(1, 50), VoteState.count(np.delete(votes, 1, axis=1), n_classes=2, names=list("acd"))
    assert part.layout == direct.layout
    assert (part.moments == direct.moments).all()
    assert (part.sample.votes == direct.sample.votes[:50]).all()
    assert part.gold.votes.shape == (len(state.gold.labels), 3)


def test_the_sample_is_no_matter_of_row_order() -> None:
    votes = np.random.default_rng(1).integers(-1, 2, (5000, 3)).astype(np.int8)
    keys = hashed(np.arange(5000, dtype=np.uint64))
    order = np.random.default_rng(2).permutation(5000)
    one = VoteState.count(votes, n_classes=2, keys=keys, capacity=100)
    two = VoteState.count(votes[order], n_classes=2, keys=keys[order], capacity=100)
    assert (one.sample.keys == np.sort(keys)[:100]).all()
    assert (one.sample.votes == two.sample.votes).all()


def test_row_numbers_are_hashed_so_that_the_sample_is_from_everywhere() -> None:
    votes = (np.arange(10_000) < 5000).astype(np.int8)[:, None]
    assert 30 < VoteState.count(votes, n_classes=2, capacity=100).sample.votes.sum() < 70
    one, two = (VoteState.count(votes, n_classes=2, capacity=100, seed=seed).sample.keys for seed in (0, 1))
    assert set(one.tolist()) != set(two.tolist())


def test_the_empty_state_adds_nothing() -> None:
    votes = np.array([[0, 1], [1, -1]], np.int8)
    state = VoteState.count(votes, n_classes=2, keys=[2, 1])
    both = VoteState.empty(2) + state
    assert (both.n, both.moments.tolist(), both.sample.votes.tolist()) == (2, state.moments.tolist(), [[1, -1], [0, 1]])


@pytest.mark.parametrize(
    ("arguments", "lines"),
    [
        ({"votes": [[0.0, np.nan]]}, ["votes have type float64: give integers, with -1 where a function abstains"]),
        ({"votes": [0, 1]}, ["votes have shape (2,): it must be (documents, functions)"]),
        ({"votes": np.empty((3, 0), np.int8)}, ["votes have no column"]),
        ({"votes": [[0, 2], [-3, 0]]}, ["function 'f0' has codes from -3 to 0", "function 'f1' has codes from 0 to 2"]),
        ({"votes": [[0, 300]]}, ["function 'f1' has codes from 300 to 300"]),
        ({"names": ["a", "a"]}, ["the function name 'a' occurs more than once"]),
        ({"names": ["a"], "ordered": [1]}, ["names has 1 values for 2 functions", "ordered has 1 values", "1 buckets"]),
        ({"n_classes": 1}, ["n_classes is 1: it must be 2 to "]),
        (
            {"votes": [[3, 0]], "ordered": [4, 0], "n_classes": 3},
            ["ordered functions need 2 classes, but n_classes is 3"],
        ),
        ({"gold": [0, 1]}, ["gold has shape (2,): it must be (1,)"]),
        ({"gold": [2]}, ["gold has values from 2 to 2: they must be -1 to 1"]),
        ({"gold": [0.5]}, ["gold has type float64: give integers"]),
        ({"gold": [1], "gold_weights": [0.0]}, ["gold_weights must be finite and above 0"]),
        ({"gold": [1], "gold_weights": [np.nan]}, ["gold_weights must be finite and above 0"]),
        ({"gold_weights": [1.0, 1.0]}, ["gold_weights has shape (2,): it must be (1,)"]),
        ({"keys": [0.5]}, ["keys have type float64 and shape (1,)"]),
        ({"keys": [1, 2]}, ["keys have type int64 and shape (2,)"]),
        ({"slices": {"web": [1]}}, ["slice 'web' has type int64 and shape (1,): it must be a bool mask of shape (1,)"]),
        (
            {"votes": [[0, 5]], "gold": [7], "keys": [1, 2]},
            ["has codes from 5", "gold has values", "keys have type int64"],
        ),
    ],
)
def test_all_that_is_wrong_is_told(arguments: dict[str, object], lines: list[str]) -> None:
    with pytest.raises(ValueError, match=re.escape(lines[0])) as error:
        VoteState.count(**{"votes": [[0, 1]], "n_classes": 2, **arguments})  # type: ignore[arg-type]
    found = str(error.value).splitlines()
    assert len(found) == len(lines)
    assert all(line in where for line, where in zip(lines, found, strict=True))


def test_states_of_other_functions_do_not_add_up() -> None:
    one, two = (VoteState.empty(2, names=names) for names in (["a", "b"], ["a", "c"]))
    with pytest.raises(ValueError, match="vote states of different functions cannot be added"):
        _ = one + two


def test_a_state_of_another_schema_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curate.weak.model.statistics.SCHEMA", 99)
    VoteState.empty(2).save(tmp_path / "state.npz")
    monkeypatch.undo()
    with pytest.raises(ValueError, match="has schema 99, but this version reads schema 1"):
        VoteState.load(tmp_path / "state.npz")


def test_pairs_of_outcomes_within_a_function_never_meet() -> None:
    votes = np.random.default_rng(1).integers(-1, 2, (100, 3)).astype(np.int8)
    moments = VoteState.count(votes, n_classes=2).moments
    for start in (0, 3, 6):
        assert all(moments[start + a, start + b] == 0 for a, b in combinations(range(3), 2))
