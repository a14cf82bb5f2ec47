from itertools import chain

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.dedup.unionfind import components, spanning_forest

NODES = 12
edge_lists = st.lists(st.tuples(st.integers(0, NODES - 1), st.integers(0, NODES - 1)), max_size=20)


def smallest_reachable(n: int, edges: list[tuple[int, int]]) -> list[int]:
    """Spread the smallest label along edges until nothing changes."""
    label = list(range(n))
    changed = True
    while changed:
        changed = False
        for a, b in edges:
            low = min(label[a], label[b])
            changed |= label[a] != low or label[b] != low
            label[a] = label[b] = low
    return label


def ends(edges: list[tuple[int, int]], dtype: type = np.int64) -> tuple[np.ndarray, np.ndarray]:
    array = np.array(edges, dtype).reshape(-1, 2)
    return array[:, 0], array[:, 1]


@given(edge_lists)
def test_components_are_labelled_with_their_smallest_node(edges: list[tuple[int, int]]):
    assert components(NODES, *ends(edges)).tolist() == smallest_reachable(NODES, edges)


@given(edge_lists, st.randoms(use_true_random=False))
def test_order_and_direction_do_not_matter(edges: list[tuple[int, int]], random):
    shuffled = [(b, a) if random.random() < 0.5 else (a, b) for a, b in edges + edges[:2]]
    random.shuffle(shuffled)
    assert np.array_equal(components(NODES, *ends(edges)), components(NODES, *ends(shuffled)))
    for expected, forest in zip(
        spanning_forest(*ends(edges, np.uint64)), spanning_forest(*ends(shuffled, np.uint64)), strict=True
    ):
        assert np.array_equal(expected, forest)


@given(edge_lists)
def test_a_spanning_forest_is_a_least_subset_with_the_same_components(edges: list[tuple[int, int]]):
    low, high = spanning_forest(*ends(edges, np.uint64))
    assert set(zip(low.tolist(), high.tolist(), strict=True)) <= {(min(edge), max(edge)) for edge in edges}
    labels = components(NODES, low, high)
    assert labels.tolist() == smallest_reachable(NODES, edges)
    assert len(low) == NODES - len(set(labels.tolist()))


@given(st.lists(edge_lists, max_size=4))
def test_forests_of_parts_join_to_the_components_of_the_whole(parts: list[list[tuple[int, int]]]):
    forests = [spanning_forest(*ends(part, np.uint64)) for part in parts]
    low = np.concatenate([np.empty(0, np.uint64), *(forest[0] for forest in forests)])
    high = np.concatenate([np.empty(0, np.uint64), *(forest[1] for forest in forests)])
    assert components(NODES, low, high).tolist() == smallest_reachable(NODES, list(chain.from_iterable(parts)))


def test_spanning_forest_takes_any_64_bit_ids():
    top = (1 << 64) - 1
    low, high = spanning_forest(*ends([(top, 0), (top, top - 1), (top - 1, 0)], np.uint64))
    assert low.tolist() == [0, 0]
    assert high.tolist() == [top - 1, top]


def test_a_long_chain_is_one_component():
    nodes = np.random.default_rng(0).permutation(200_000)
    assert not components(200_000, nodes[:-1], nodes[1:]).any()


def test_no_edges():
    assert components(3, *ends([])).tolist() == [0, 1, 2]
    assert [len(part) for part in spanning_forest(*ends([], np.uint64))] == [0, 0]


@pytest.mark.parametrize("edge", [(0, 3), (-1, 0)])
def test_nodes_outside_the_graph_are_refused(edge: tuple[int, int]):
    with pytest.raises(ValueError, match="nodes must lie in 0 to 2"):
        components(3, *ends([edge]))
