"""Leader clustering: each document joins the first leader that it is similar to, or becomes a leader itself.

This is the leader algorithm (Hartigan, "Clustering Algorithms", 1975, chapter 3), with the documents in a given order.
A document is compared with the leaders that share a band with it. It joins the first leader that is similar enough; if
there is none, it becomes a leader. So no two leaders that share a band are similar, every other document is similar to
its leader, and there are no chains. With `closure`, a document is compared with all earlier documents and similarity is
transitive: the clusters are the connected components of the similar pairs (single linkage).

Each band key stores at most `LEADERS_PER_KEY` documents, the first in the order. So a document is compared with at most
``keys * LEADERS_PER_KEY`` others, however many documents share its keys.
"""

import math
from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from curate.dedup.minhash import Sets, sorted_jaccard

LEADERS_PER_KEY = 32
NO_DOCUMENT = -1
_DEVIATIONS = 5.0  # sets are not compared if the estimate is so many standard deviations below the threshold; p = 3e-7


class Leaders(NamedTuple):
    """Outcome of `lead`.

    Attributes
    ----------
    leader
        Number of each document's leader, its own number for a leader, int64, shape (documents,).
    similarity
        Similarity of each document to its leader, 1 for a leader, float32, shape (documents,).
    crowded
        Number of times that a key did not store a document because it held `LEADERS_PER_KEY` already.
    """

    leader: NDArray[np.int64]
    similarity: NDArray[np.float32]
    crowded: int


def lead(
    keys: NDArray[np.uint64],
    signatures: NDArray[np.uint32],
    settled: NDArray[np.bool_],
    threshold: float,
    sets: Sets | None = None,
    *,
    closure: bool = False,
) -> Leaders:
    """Cluster documents, which are given in the order of preference.

    Parameters
    ----------
    keys
        Band keys, shape (documents, keys). Two documents are compared if they share a key.
    signatures
        MinHash signatures, shape (documents, permutations).
    settled
        Documents that are always leaders, whatever precedes them, such as those of an index; shape (documents,).
    threshold
        Minimum similarity to a leader.
    sets
        Shingle sets, for exact similarity. Without them, or where one of the two sets is empty, the similarity is the
        share of equal minima. If the signatures of a pair put it more than 5 standard deviations below the threshold,
        its sets are not compared.
    closure
        Whether similarity is transitive.

    Returns
    -------
    Leaders
        With `closure`, the leader is the first document of the cluster, and its similarity to another document of the
        cluster may be below the threshold.

    Examples
    --------
    >>> signatures = np.array([[1, 2, 3, 4], [1, 2, 3, 0], [1, 2, 0, 0], [9, 9, 9, 9]], np.uint32)
    >>> keys, settled = signatures[:, :1].astype(np.uint64), np.zeros(4, bool)
    >>> lead(keys, signatures, settled, threshold=0.75).leader.tolist()
    [0, 0, 2, 3]
    >>> lead(keys, signatures, settled, threshold=0.75, closure=True).leader.tolist()
    [0, 0, 0, 3]
    """
    count, permutations = signatures.shape
    deviation = math.sqrt(max(threshold * (1 - threshold), 0.0) / permutations)
    # Least number of agreeing minima: if signatures decide, and below which sets are not even compared.
    least = math.ceil(threshold * permutations - 1e-9)
    hopeless = least if sets is None else max(math.floor((threshold - _DEVIATIONS * deviation) * permutations), 0)
    sets = Sets(np.empty(0, np.uint32), np.zeros(count + 1, np.int64)) if sets is None else sets
    leader = np.arange(count)
    similarity = np.ones(count, np.float32)
    slots = np.full(1 << max(2 * keys.size - 1, 1).bit_length(), NO_DOCUMENT, np.int32)
    limits = (hopeless, least, threshold)
    crowded = _lead(keys, signatures, settled, limits, *sets, closure, slots, leader, similarity)
    return Leaders(leader, similarity, int(crowded))


@numba.njit(cache=True, nogil=True)
def _lead(keys, signatures, settled, limits, shingles, offsets, closure, slots, leader, similarity):  # noqa: C901
    documents, bands = keys.shape
    mask = np.uint64(len(slots) - 1)
    # A slot holds the first entry of a key's chain. Entry e stores the document entries[e]; following[e] comes next.
    entries = np.empty(documents * bands, np.int64)
    following = np.empty(documents * bands, np.int64)
    chain_keys = np.empty(documents * bands, np.uint64)
    lengths = np.empty(documents * bands, np.int64)  # length of the chain, stored at its first entry
    used = 0
    crowded = 0
    compared = np.full(documents, NO_DOCUMENT, np.int64)
    for document in range(documents):
        first_similar, similar, twin = documents, np.float32(0.0), False
        if not settled[document]:
            for band in range(bands):
                entry = slots[_slot(slots, chain_keys, keys[document, band], mask)]
                while entry != NO_DOCUMENT:
                    other = entries[entry]
                    entry = following[entry]
                    if compared[other] == document or (other > first_similar and not closure):
                        continue
                    compared[other] = document
                    close = _similarity(signatures, document, other, limits, shingles, offsets)
                    if close < 0:
                        continue
                    if closure:
                        _join(leader, document, other)
                    twin |= close == 1.0
                    if other < first_similar:
                        first_similar, similar = other, close
        if first_similar < documents and not closure:
            leader[document], similarity[document] = first_similar, similar
            continue
        if twin:
            continue  # a document with the same keys is stored already
        for band in range(bands):
            slot = _slot(slots, chain_keys, keys[document, band], mask)
            first = slots[slot]
            if first == NO_DOCUMENT:
                slots[slot] = used
                following[used] = NO_DOCUMENT
                lengths[used] = 1
                chain_keys[used] = keys[document, band]
            elif lengths[first] >= LEADERS_PER_KEY:
                crowded += 1
                continue
            else:
                following[used] = following[first]
                following[first] = used
                lengths[first] += 1
            entries[used] = document
            used += 1
    if closure:
        for document in range(documents):  # the root of a component is its first document in the order
            leader[document] = leader[leader[document]]
            if leader[document] != document:
                root = leader[document]
                similarity[document] = _similarity(signatures, document, root, (0, 0, 0.0), shingles, offsets)
    return crowded


@numba.njit(cache=True, nogil=True)
def _slot(slots, chain_keys, key, mask):
    """Slot that holds the first entry of a key's chain, or the empty slot for a new chain."""
    slot = key & mask
    while slots[slot] != NO_DOCUMENT and chain_keys[slots[slot]] != key:
        slot = (slot + np.uint64(1)) & mask
    return slot


@numba.njit(cache=True, nogil=True)
def _join(leader, a, b):
    while leader[a] != a:
        leader[a] = leader[leader[a]]
        a = leader[a]
    while leader[b] != b:
        leader[b] = leader[leader[b]]
        b = leader[b]
    leader[max(a, b)] = min(a, b)


@numba.njit(cache=True, nogil=True)
def _similarity(signatures, a, b, limits, shingles, offsets):
    """Similarity of two documents, or -1 if it is below the threshold."""
    hopeless, least, threshold = limits
    permutations = signatures.shape[1]
    agreeing = 0
    for p in range(permutations):
        agreeing += signatures[a, p] == signatures[b, p]
    if agreeing < hopeless:
        return np.float32(-1.0)
    i, i_end = offsets[a], offsets[a + 1]
    j, j_end = offsets[b], offsets[b + 1]
    if i == i_end or j == j_end:
        return np.float32(agreeing / permutations) if agreeing >= least else np.float32(-1.0)
    close = sorted_jaccard(shingles, i, i_end, j, j_end)
    return np.float32(close) if close >= threshold - 1e-9 else np.float32(-1.0)
