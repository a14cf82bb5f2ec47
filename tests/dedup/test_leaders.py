"""The leader kernel against a plain loop over all pairs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.dedup.leaders import LEADERS_PER_KEY, lead
from curate.dedup.minhash import Sets
from tests.examples import examples


def reference(keys, similar, settled, threshold, closure):
    """Leader of each document by definition: every pair that shares a key is compared."""
    leader = list(range(len(keys)))
    for document in range(len(keys)):
        if settled[document]:
            continue
        earlier = [other for other in range(document) if closure or leader[other] == other]
        close = [
            other
            for other in earlier
            if set(keys[other]) & set(keys[document]) and similar(document, other) >= threshold
        ]
        if closure:
            for other in close:
                old, new = sorted((leader[other], leader[document]), reverse=True)
                leader = [new if root == old else root for root in leader]
        elif close:
            leader[document] = min(close)
    return leader


CASES = st.tuples(st.lists(st.sets(st.integers(0, 7), min_size=1), max_size=12), st.integers(0, 12))


@examples(200)
@given(CASES, st.integers(0, 99), st.sampled_from([0.0, 0.3, 0.5, 5 / 6, 1.0]), st.booleans(), st.booleans())
def test_leaders_are_those_of_a_plain_loop(case, seed: int, threshold: float, exact: bool, closure: bool) -> None:
    members, first_new = case
    orders = np.array([np.random.default_rng([seed, p]).permutation(8) for p in range(6)])
    minima = [orders[:, sorted(member)].min(axis=1) for member in members]
    signatures = np.array(minima, np.uint32).reshape(len(members), 6)
    keys = np.concatenate((signatures[:, :2].astype(np.uint64), signatures[:, 2:4].astype(np.uint64) + 10), axis=1)
    settled = np.arange(len(members)) < first_new
    sizes = [len(member) for member in members]
    shingles = np.array([s for member in members for s in sorted(member)], np.uint32)
    sets = Sets(shingles, np.concatenate(([0], np.cumsum(sizes))).astype(np.int64)) if exact else None

    def similar(a: int, b: int) -> float:
        if exact:
            return len(members[a] & members[b]) / len(members[a] | members[b])
        return float((signatures[a] == signatures[b]).mean())

    leaders = lead(keys, signatures, settled, threshold, sets, closure=closure)
    wanted = reference(keys.tolist(), similar, settled.tolist(), threshold, closure)
    assert leaders.leader.tolist() == wanted
    assert leaders.crowded == 0
    assert leaders.similarity.tolist() == pytest.approx(
        [1.0 if a == leader else similar(a, leader) for a, leader in enumerate(wanted)]
    )


def test_a_crowded_key_costs_recall_and_says_so_but_equals_still_meet() -> None:
    count = 10 * LEADERS_PER_KEY
    signatures = np.arange(count, dtype=np.uint32)[:, None] * np.ones((1, 8), np.uint32)
    signatures = np.concatenate((signatures, signatures))
    shared = np.zeros((2 * count, 1), np.uint64)
    keys = np.concatenate((shared, signatures[:, :1].astype(np.uint64) + 1), axis=1)
    leaders = lead(keys, signatures, np.zeros(2 * count, bool), 0.5)
    assert leaders.leader.tolist() == list(range(count)) * 2
    assert leaders.crowded == count - LEADERS_PER_KEY


def test_documents_without_a_set_are_compared_by_signature() -> None:
    signatures = np.array([[1, 1, 1, 1], [1, 1, 1, 2], [1, 1, 1, 3]], np.uint32)
    sets = Sets(np.array([1, 2, 3, 4], np.uint32), np.array([0, 0, 2, 4]))
    leaders = lead(signatures[:, :1].astype(np.uint64), signatures, np.array([True, False, False]), 0.7, sets)
    assert leaders.leader.tolist() == [0, 0, 0]
    assert leaders.similarity.tolist() == [1.0, 0.75, 0.75]
