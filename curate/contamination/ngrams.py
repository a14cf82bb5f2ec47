"""Word n-grams of benchmark items, and a search for them in documents: an index of hashes behind a filter.

The hash of the n words ``w[0], ..., w[n - 1]`` (64-bit hashes of `curate.text.words`) is ``mix64(s ^ n * G)`` with
``s = sum(w[i] * B^(n - 1 - i)) mod 2^64``. It rolls from one word to the next (Karp and Rabin 1987, "Efficient
randomized pattern-matching algorithms"). `B` is odd, so no word's term loses bits. An n-gram that is not in the index
has the hash of one that is with a probability of (number of n-grams) / 2^64: with 10 million n-grams, 1 in 1.8e12.

A look-up reads one 64-bit word of a Bloom filter (Bloom 1970; blocked as in Putze, Sanders and Singler 2007, so that
both bits of an n-gram lie in one word). The filter has 16 bits per n-gram and lets about 2 % of the absent n-grams
pass. The n-grams that pass are looked up in an array of sorted hashes.
"""

from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from curate.text.words import GOLDEN, mix64

_BASE = np.uint64(0x9E6C63D0676A9A99)
_FILTER_BITS = 16  # bits of the filter per n-gram
_PART = 1 << 22  # n-grams that are sorted together
_BLOCK = 256  # n-grams that are looked up in one loop
_BUCKET = 4  # mean number of n-grams per bucket


class NgramIndex(NamedTuple):
    """Index of the n-grams of items.

    Attributes
    ----------
    lengths
        Lengths of the n-grams in words, ascending, int64, shape (lengths,).
    filter
        Bloom filter with two bits per n-gram, uint64, shape (words of the filter,).
    buckets
        Position in `keys` at which each range of hashes begins, uint32, shape (buckets + 1,).
    keys
        Hashes of the n-grams, ascending, uint64, shape (n-grams,).
    first
        N-gram g identifies the items ``items[first[g]:first[g + 1]]``, none if too many items share it. uint32, shape
        (n-grams + 1,).
    items
        Numbers of items, uint32, shape (postings,).
    """

    lengths: NDArray[np.int64]
    filter: NDArray[np.uint64]
    buckets: NDArray[np.uint32]
    keys: NDArray[np.uint64]
    first: NDArray[np.uint32]
    items: NDArray[np.uint32]

    @property
    def nbytes(self) -> int:
        """Size of all arrays in bytes."""
        return sum(array.nbytes for array in self)


class Hits(NamedTuple):
    """Occurrences in documents of n-grams of the index.

    Attributes
    ----------
    positions
        Number in the batch of the first word of each occurrence, int64, shape (hits,).
    lengths
        Length of the n-gram in words, int64, shape (hits,).
    grams
        Number of the n-gram in the index, int64, shape (hits,).
    """

    positions: NDArray[np.int64]
    lengths: NDArray[np.int64]
    grams: NDArray[np.int64]


def ngram_hashes(
    hashes: NDArray[np.uint64], offsets: NDArray[np.int64], lengths: NDArray[np.int64]
) -> tuple[NDArray[np.uint64], NDArray[np.uint32]]:
    """Hash all n-grams of items, where n may differ from item to item.

    Parameters
    ----------
    hashes, offsets
        Item i has the words ``hashes[offsets[i]:offsets[i + 1]]``.
    lengths
        n of each item, shape (items,); 0 for an item without n-grams.

    Returns
    -------
    tuple
        Hash of each n-gram, uint64, and the number of its item, uint32, both of shape (n-grams,).

    Examples
    --------
    >>> words = np.array([1, 2, 3, 1, 2], np.uint64)
    >>> keys, items = ngram_hashes(words, np.array([0, 3, 5]), np.array([2, 2]))
    >>> items.tolist(), bool(keys[0] == keys[2]), bool(keys[0] == keys[1])
    ([0, 0, 1], True, False)
    """
    counts = np.where(lengths > 0, np.maximum(np.diff(offsets) - lengths + 1, 0), 0)
    keys = np.empty(int(counts.sum()), np.uint64)
    _ngram_hashes(hashes, offsets, np.where(counts > 0, lengths, 0), keys)
    return keys, np.repeat(np.arange(len(lengths), dtype=np.uint32), counts)


def build_index(
    keys: NDArray[np.uint64],
    items: NDArray[np.uint32],
    groups: NDArray[np.int64],
    lengths: NDArray[np.int64],
    most: int,
) -> NgramIndex:
    """Build the index of n-grams.

    Parameters
    ----------
    keys, items
        N-gram hashes and their items, from `ngram_hashes`.
    groups
        Number of each item's benchmark, ascending, shape (all items,).
    lengths
        Lengths n that occur, ascending.
    most
        Maximum number of items of a benchmark that an n-gram may identify. An n-gram in more items identifies none.

    Examples
    --------
    >>> keys, items = np.array([7, 8, 7, 9], np.uint64), np.array([0, 0, 1, 2], np.uint32)
    >>> index = build_index(keys, items, np.array([0, 0, 0]), np.array([2]), most=1)
    >>> index.keys.tolist(), index.first.tolist(), index.items.tolist()
    ([7, 8, 9], [0, 0, 1, 2], [0, 2])
    """
    parts = len(keys) // _PART + 1
    part = _bucket_of(keys, np.uint64(parts)).astype(np.uint16)  # ascending in the key, so parts can be concatenated
    gathered = [_gathered(keys[part == p], items[part == p], groups, most) for p in range(parts)]
    columns = [list(arrays) for arrays in zip(*gathered, strict=True)]
    del part, gathered
    distinct, counts, identified = (_joined(arrays) for arrays in columns)
    first = np.zeros(len(counts) + 1, np.uint32)
    np.cumsum(counts, out=first[1:])
    table = np.zeros(max(-(-len(distinct) * _FILTER_BITS // 64), 1), np.uint64)
    _fill_filter(distinct, table)
    bounds = np.zeros(len(distinct) // _BUCKET + 2, np.uint32)
    _count_buckets(distinct, bounds[1:])
    np.cumsum(bounds, out=bounds)
    return NgramIndex(lengths, table, bounds, distinct, first, identified)


def _joined(arrays: list[NDArray]) -> NDArray:
    """Concatenate arrays, and clear the list to free their memory."""
    whole = np.concatenate(arrays)
    arrays.clear()
    return whole


def _gathered(
    keys: NDArray[np.uint64], items: NDArray[np.uint32], groups: NDArray[np.int64], most: int
) -> tuple[NDArray[np.uint64], NDArray[np.uint32], NDArray[np.uint32]]:
    """Return the distinct n-grams in order, how many items each identifies, and these items, concatenated."""
    order = np.argsort(keys, kind="stable")  # keeps the items of an n-gram in order
    keys, items = keys[order], items[order]
    fresh = _changes(keys) | _changes(items)  # an n-gram counts once per item
    keys, items = keys[fresh], items[fresh]
    begins = np.flatnonzero(_changes(keys))
    together = np.flatnonzero(_changes(keys) | _changes(groups[items]))
    sizes = np.diff(np.append(together, len(keys)))
    identifies = np.repeat(sizes <= most, sizes)
    before = np.concatenate([[0], np.cumsum(identifies)])[np.append(begins, len(keys))]
    return keys[begins], np.diff(before).astype(np.uint32), items[identifies]


def find(index: NgramIndex, hashes: NDArray[np.uint64], offsets: NDArray[np.int64]) -> Hits:
    """Find the n-grams of the index in documents. The result is sorted by document, length and position.

    Parameters
    ----------
    index
        Index from `build_index`.
    hashes, offsets
        Document i has the words ``hashes[offsets[i]:offsets[i + 1]]``.

    Examples
    --------
    >>> words, offsets = np.array([1, 2, 3], np.uint64), np.array([0, 3])
    >>> keys, items = ngram_hashes(words, offsets, np.array([2]))
    >>> index = build_index(keys, items, np.array([0]), np.array([2]), most=1)
    >>> find(index, np.array([2, 3, 9, 1, 2, 3], np.uint64), np.array([0, 4, 6])).positions.tolist()
    [0, 4]
    """
    capacity = len(hashes) * len(index.lengths)  # pages that are never written take no memory
    positions, lengths, grams = (np.empty(capacity, np.int64) for _ in range(3))
    count = _find(hashes, offsets, *index[:4], positions, lengths, grams)
    return Hits(positions[:count].copy(), lengths[:count].copy(), grams[:count].copy())


def _changes(values: NDArray) -> NDArray[np.bool_]:
    """Mark the values that differ from the value before them."""
    changes = np.ones(len(values), np.bool_)
    np.not_equal(values[1:], values[:-1], out=changes[1:])
    return changes


@numba.njit(cache=True, nogil=True)
def _bucket_of(key, count):
    """Map the high 32 bits of a hash to one of `count` equal ranges, ascending (Lemire 2019, arXiv 1805.10941)."""
    return ((key >> np.uint64(32)) * count) >> np.uint64(32)


@numba.njit(cache=True, nogil=True)
def _bits(key):
    return (np.uint64(1) << (key & np.uint64(63))) | (np.uint64(1) << ((key >> np.uint64(6)) & np.uint64(63)))


@numba.njit(cache=True, nogil=True)
def _fill_filter(keys, table):
    for key in keys:
        table[_bucket_of(key, np.uint64(len(table)))] |= _bits(key)


@numba.njit(cache=True, nogil=True)
def _count_buckets(keys, counts):
    for key in keys:
        counts[_bucket_of(key, np.uint64(len(counts)))] += np.uint32(1)


@numba.njit(cache=True, nogil=True)
def _power(n):
    power = np.uint64(1)
    for _ in range(n - 1):
        power *= _BASE
    return power


@numba.njit(cache=True, nogil=True)
def _ngram_hashes(hashes, offsets, lengths, keys):
    count = 0
    for item in range(len(offsets) - 1):
        n = lengths[item]
        if n == 0:
            continue
        power, salt, state = _power(n), np.uint64(n) * GOLDEN, np.uint64(0)
        for word in range(offsets[item], offsets[item + 1]):
            state = state * _BASE + hashes[word]
            if word >= offsets[item] + n - 1:
                keys[count] = mix64(state ^ salt)
                count += 1
                state -= hashes[word - n + 1] * power


@numba.njit(cache=True, nogil=True)
def _hash_block(hashes, low, count, n, state, block):
    """Hash the `count` n-grams that end at word `low` and after it; `state` is the sum of the n - 1 words before."""
    power, salt = _power(n), np.uint64(n) * GOLDEN
    for i in range(count):
        word = low + i
        state = state * _BASE + hashes[np.uint64(word)]
        block[i] = mix64(state ^ salt)
        state -= hashes[np.uint64(word - n + 1)] * power
    return state


@numba.njit(cache=True, nogil=True)
def _pass_filter(block, count, table, passed):
    """Find the n-grams of a block that pass the filter. There is no branch, so that many loads run at once."""
    passed_count, size = 0, np.uint64(len(table))
    for i in range(count):
        bits = _bits(block[i])
        passed[passed_count] = i
        passed_count += table[_bucket_of(block[i], size)] & bits == bits
    return passed_count


@numba.njit(cache=True, nogil=True)
def _gram(key, buckets, keys):
    """Position of a hash in the index, or -1 if it is not there."""
    bucket = _bucket_of(key, np.uint64(len(buckets) - 1))
    for gram in range(buckets[bucket], buckets[bucket + np.uint64(1)]):
        if keys[gram] == key:
            return np.int64(gram)
    return np.int64(-1)


@numba.njit(cache=True, nogil=True)
def _find(hashes, offsets, all_lengths, table, buckets, keys, positions, lengths, grams):
    hit = 0
    block, passed = np.empty(_BLOCK, np.uint64), np.empty(_BLOCK + 1, np.int64)
    for document in range(len(offsets) - 1):
        begin, end = offsets[document], offsets[document + 1]
        for n in all_lengths:
            state = np.uint64(0)
            for word in range(begin, min(begin + n - 1, end)):
                state = state * _BASE + hashes[np.uint64(word)]
            for low in range(begin + n - 1, end, _BLOCK):
                count = min(_BLOCK, end - low)
                state = _hash_block(hashes, low, count, n, state, block)
                for i in passed[: _pass_filter(block, count, table, passed)]:
                    gram = _gram(block[i], buckets, keys)
                    if gram >= 0:
                        positions[hit] = low + i - n + 1
                        lengths[hit] = n
                        grams[hit] = gram
                        hit += 1
    return hit
