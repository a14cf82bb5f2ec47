"""Leader clustering: one document after another joins the first leader that it is similar to, or leads.

The leader algorithm (Hartigan, "Clustering Algorithms", 1975, chapter 3) in a given order: a document is compared with
the leaders that share a band with it, joins the first of those that are similar enough, and leads if none is. So no
two leaders that share a band are similar, and every other document is similar to its leader: there are no chains. With
`closure`, documents are compared with all that came before, and similarity is passed on: the clusters are the connected
components of the similar pairs (single linkage).

A band key remembers at most `LEADERS_PER_KEY` documents, the first in the order, which bounds the comparisons of a
document by ``keys * LEADERS_PER_KEY`` however many documents share a key.
"""

import math
from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from curate.dedup.minhash import Sets

LEADERS_PER_KEY = 32
NO_DOCUMENT = -1
_DEVIATIONS = 5.0  # of the estimate below the threshold, beyond which sets are not compared: a chance of 3e-7


class Leaders(NamedTuple):
    """Outcome of `lead`.

    Attributes
    ----------
    leader
        Leader of each document, its own number for a leader, int64, shape (documents,).
    similarity
        To the leader, 1 for a leader, float32, shape (documents,).
    crowded
        Documents that a key did not remember because it held `LEADERS_PER_KEY` others, summed over keys.
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
    """Cluster documents that are given in the order of preference.

    Parameters
    ----------
    keys
        Band keys, shape (documents, keys); documents are compared if they share one.
    signatures
        Shape (documents, permutations).
    settled
        Documents that lead whatever comes before them, such as those of an index, shape (documents,).
    threshold
        Least similarity to a leader.
    sets
        Shingle sets, by which similarity is exact; without them, or where one of the two is empty, it is the share of
        equal minima. A pair whose signatures put it more than 5 standard deviations below the threshold is not
        compared by its sets.
    closure
        Whether similarity is passed on.

    Returns
    -------
    Leaders
        With `closure`, the leader is the first document of the cluster, and the similarity to it may be below the
        threshold.

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
    least = math.ceil(threshold * permutations - 1e-9)  # minima that agree at least, if the signatures decide
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
    # A slot leads to the chain of documents that a key remembers: entries[e] and the entry after it.
    entries = np.empty(documents * bands, np.int64)
    following = np.empty(documents * bands, np.int64)
    chain_keys = np.empty(documents * bands, np.uint64)
    lengths = np.empty(documents * bands, np.int64)  # of the chain, at its first entry
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
            continue  # what shares all its keys is remembered
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
        for document in range(documents):  # the root of a component is its first document
            leader[document] = leader[leader[document]]
            if leader[document] != document:
                root = leader[document]
                similarity[document] = _similarity(signatures, document, root, (0, 0, 0.0), shingles, offsets)
    return crowded


@numba.njit(cache=True, nogil=True)
def _slot(slots, chain_keys, key, mask):
    """Where the chain of a key begins, or the empty slot where it would."""
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
    union = i_end - i + j_end - j
    shared = 0
    while i < i_end and j < j_end:
        left, right = shingles[i], shingles[j]
        shared += left == right
        i += left <= right
        j += right <= left
    close = shared / (union - shared)
    return np.float32(close) if close >= threshold - 1e-9 else np.float32(-1.0)
