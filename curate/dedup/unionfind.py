"""Connected components of duplicate edges.

The structure is a union-find with union by minimum and path halving. The label of a component is its smallest node, so
the result depends only on the set of edges: not on their order, on threads, or on how the edges were split. Union by
minimum gives up the inverse-Ackermann bound of union by rank, but with path halving an operation still costs O(log n)
amortized (Tarjan and van Leeuwen, "Worst-case analysis of set union algorithms", JACM 31, 1984).
"""

import numba
import numpy as np
from numpy.typing import NDArray


def components(n: int, a: NDArray[np.integer], b: NDArray[np.integer]) -> NDArray[np.int64]:
    """Label each node with the smallest node of its component.

    Parameters
    ----------
    n
        Number of nodes. The nodes are 0 to n - 1.
    a, b
        Edge i joins ``a[i]`` and ``b[i]``.

    Returns
    -------
    NDArray[np.int64]
        Label of each node, shape (n,): ``label[i] <= i``, and ``label[i] == i`` for one node per component.

    Raises
    ------
    ValueError
        If an edge contains a node outside 0 to n - 1.

    Examples
    --------
    >>> components(5, np.array([3, 4]), np.array([1, 3])).tolist()
    [0, 1, 2, 1, 1]
    """
    for end in (a, b):
        if len(end) and (end.min() < 0 or end.max() >= n):
            raise ValueError(f"edges contain nodes from {end.min()} to {end.max()}; nodes must lie in 0 to {n - 1}")
    parent = np.arange(n)
    _unite(parent, a.astype(np.int64, copy=False), b.astype(np.int64, copy=False), np.empty(len(a), np.bool_))
    _flatten(parent)
    return parent


def spanning_forest(a: NDArray[np.uint64], b: NDArray[np.uint64]) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Reduce edges to a spanning forest: the fewest edges that connect the same nodes.

    The edges are processed in ascending order, smaller node first, so the forest is a function of the set of edges.

    Parameters
    ----------
    a, b
        Edge i joins ``a[i]`` and ``b[i]``, any 64-bit numbers. Order, direction, repeats and loops have no effect.

    Returns
    -------
    tuple
        Smaller and larger node of each kept edge, ascending. A component of n nodes keeps n - 1 edges.

    Examples
    --------
    >>> edges = np.array([7, 7, 9, 9], np.uint64), np.array([5, 9, 5, 9], np.uint64)
    >>> [nodes.tolist() for nodes in spanning_forest(*edges)]
    [[5, 5], [7, 9]]
    """
    nodes, positions = np.unique(np.stack((a, b)), return_inverse=True)
    positions = positions.reshape(2, -1)
    # Below 3e9 nodes a pair of positions fits one integer, and the integers sort as the pairs do. Repeats and loops
    # join nothing.
    edges = np.sort(positions.min(axis=0) * len(nodes) + positions.max(axis=0))
    low, high = np.divmod(edges, max(len(nodes), 1))
    joined = np.empty(len(edges), np.bool_)
    _unite(np.arange(len(nodes)), low, high, joined)
    return nodes[low[joined]], nodes[high[joined]]


@numba.njit(cache=True, nogil=True)
def _find(parent, node):
    while parent[node] != node:
        parent[node] = parent[parent[node]]
        node = parent[node]
    return node


@numba.njit(cache=True, nogil=True)
def _unite(parent, a, b, joined):
    for i in range(len(a)):
        left = _find(parent, a[i])
        right = _find(parent, b[i])
        joined[i] = left != right
        parent[max(left, right)] = min(left, right)


@numba.njit(cache=True, nogil=True)
def _flatten(parent):
    for node in range(len(parent)):  # a parent is smaller than its children, so its label is final before it is read
        parent[node] = parent[parent[node]]
