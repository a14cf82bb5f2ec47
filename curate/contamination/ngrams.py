"""Word n-grams of benchmark items, and where they stand in documents: an index of hashes with a filter in front.

The hash of the n words ``w[0], ..., w[n - 1]`` (64-bit hashes of `curate.text.words`) is ``mix64(s ^ n * G)`` with
``s = sum(w[i] * B^(n - 1 - i)) mod 2^64``, which rolls from one word to the next (Karp and Rabin 1987, "Efficient
randomized pattern-matching algorithms"); `B` is odd, so that no word's share of the sum loses bits. An n-gram that is
not in the index is taken for one that is with probability grams / 2^64: with 10 million n-grams, for one in 1.8e12.

A look-up reads one 64-bit word of a filter (Bloom 1970, blocked as in Putze, Sanders and Singler 2007: both bits of an
n-gram lie in one word), 16 bits per n-gram; about 2 % of what is absent passes on to the sorted hashes behind it.
"""

from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from curate.text.words import mix64

_BASE = np.uint64(0x9E6C63D0676A9A99)
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FILTER_BITS = 16  # per n-gram
_PART = 1 << 22  # n-grams that are sorted at a time
_BLOCK = 256  # n-grams that are looked up in one loop
_BUCKET = 4  # n-grams that share an entry of the table of buckets, on average


class NgramIndex(NamedTuple):
    """N-grams of items, ready to be looked up.

    Attributes
    ----------
    lengths
        Words of the n-grams, ascending, int64, shape (lengths,).
    filter
        Two bits per n-gram, uint64, shape (words of the filter,).
    buckets
        Where the hashes of each range begin in `keys`, uint32, shape (buckets + 1,).
    keys
        Hashes, ascending, uint64, shape (n-grams,).
    first
        N-gram g stands in the items ``items[first[g]:first[g + 1]]``; in none, if it is shared by too many to name
        one. uint32, shape (n-grams + 1,).
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
        """Bytes of all arrays."""
        return sum(array.nbytes for array in self)


class Hits(NamedTuple):
    """N-grams of the index in documents.

    Attributes
    ----------
    positions
        Number of the first word in the batch, int64, shape (hits,).
    lengths
        Words, int64, shape (hits,).
    grams
        Which n-gram of the index, int64, shape (hits,).
    """

    positions: NDArray[np.int64]
    lengths: NDArray[np.int64]
    grams: NDArray[np.int64]


def ngram_hashes(
    hashes: NDArray[np.uint64], offsets: NDArray[np.int64], lengths: NDArray[np.int64]
) -> tuple[NDArray[np.uint64], NDArray[np.uint32]]:
    """All n-grams of items, each with the n of its item.

    Parameters
    ----------
    hashes, offsets
        Words of item i are ``hashes[offsets[i]:offsets[i + 1]]``.
    lengths
        n of each item, shape (items,); 0 for an item that has none.

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
    """Index of n-grams by hash.

    Parameters
    ----------
    keys, items
        From `ngram_hashes`.
    groups
        Benchmark of each item, ascending, shape (all items,).
    lengths
        The different n, ascending.
    most
        An n-gram that stands in more items of a benchmark names none of them.

    Examples
    --------
    >>> keys, items = np.array([7, 8, 7, 9], np.uint64), np.array([0, 0, 1, 2], np.uint32)
    >>> index = build_index(keys, items, np.array([0, 0, 0]), np.array([2]), most=1)
    >>> index.keys.tolist(), index.first.tolist(), index.items.tolist()
    ([7, 8, 9], [0, 0, 1, 2], [0, 2])
    """
    parts = len(keys) // _PART + 1
    part = _bucket_of(keys, np.uint64(parts)).astype(np.uint16)  # ascending in the key: parts follow one another
    made = [_gathered(keys[part == p], items[part == p], groups, most) for p in range(parts)]
    columns = [list(arrays) for arrays in zip(*made, strict=True)]
    del part, made
    distinct, counts, named = (_joined(arrays) for arrays in columns)
    first = np.zeros(len(counts) + 1, np.uint32)
    np.cumsum(counts, out=first[1:])
    table = np.zeros(max(-(-len(distinct) * _FILTER_BITS // 64), 1), np.uint64)
    _fill_filter(distinct, table)
    bounds = np.zeros(len(distinct) // _BUCKET + 2, np.uint32)
    _count_buckets(distinct, bounds[1:])
    np.cumsum(bounds, out=bounds)
    return NgramIndex(lengths, table, bounds, distinct, first, named)


def _joined(arrays: list[NDArray]) -> NDArray:
    """All of them as one, which takes their memory over."""
    whole = np.concatenate(arrays)
    arrays.clear()
    return whole


def _gathered(
    keys: NDArray[np.uint64], items: NDArray[np.uint32], groups: NDArray[np.int64], most: int
) -> tuple[NDArray[np.uint64], NDArray[np.uint32], NDArray[np.uint32]]:
    """Different n-grams in order, how many items each names, and which, one after another."""
    order = np.argsort(keys, kind="stable")  # leaves the items of an n-gram in order
    keys, items = keys[order], items[order]
    fresh = _changes(keys) | _changes(items)  # an n-gram counts once per item
    keys, items = keys[fresh], items[fresh]
    begins = np.flatnonzero(_changes(keys))
    together = np.flatnonzero(_changes(keys) | _changes(groups[items]))
    sizes = np.diff(np.append(together, len(keys)))
    naming = np.repeat(sizes <= most, sizes)
    before = np.concatenate([[0], np.cumsum(naming)])[np.append(begins, len(keys))]
    return keys[begins], np.diff(before).astype(np.uint32), items[naming]


def find(index: NgramIndex, hashes: NDArray[np.uint64], offsets: NDArray[np.int64]) -> Hits:
    """Where n-grams of the index stand in documents, by document, length and place.

    Parameters
    ----------
    index
        From `build_index`.
    hashes, offsets
        Words of document i are ``hashes[offsets[i]:offsets[i + 1]]``.

    Examples
    --------
    >>> words, offsets = np.array([1, 2, 3], np.uint64), np.array([0, 3])
    >>> keys, items = ngram_hashes(words, offsets, np.array([2]))
    >>> index = build_index(keys, items, np.array([0]), np.array([2]), most=1)
    >>> find(index, np.array([2, 3, 9, 1, 2, 3], np.uint64), np.array([0, 4, 6])).positions.tolist()
    [0, 4]
    """
    room = len(hashes) * len(index.lengths)  # unwritten pages take no memory
    positions, lengths, grams = (np.empty(room, np.int64) for _ in range(3))
    found = _find(hashes, offsets, *index[:4], positions, lengths, grams)
    return Hits(positions[:found].copy(), lengths[:found].copy(), grams[:found].copy())


def _changes(values: NDArray) -> NDArray[np.bool_]:
    """True where a value differs from the one before it."""
    changes = np.ones(len(values), np.bool_)
    np.not_equal(values[1:], values[:-1], out=changes[1:])
    return changes


@numba.njit(cache=True, nogil=True)
def _bucket_of(key, count):
    """Which of `count` equal ranges of the high 32 bits; ascending in `key` (Lemire 2019, arXiv 1805.10941)."""
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
        power, salt, state = _power(n), np.uint64(n) * _GOLDEN, np.uint64(0)
        for at in range(offsets[item], offsets[item + 1]):
            state = state * _BASE + hashes[at]
            if at >= offsets[item] + n - 1:
                keys[count] = mix64(state ^ salt)
                count += 1
                state -= hashes[at - n + 1] * power


@numba.njit(cache=True, nogil=True)
def _hash_block(hashes, low, count, n, state, block):
    """Hashes of the `count` n-grams that end at `low` and after it; `state` is of the n - 1 words before."""
    power, salt = _power(n), np.uint64(n) * _GOLDEN
    for i in range(count):
        at = low + i
        state = state * _BASE + hashes[np.uint64(at)]
        block[i] = mix64(state ^ salt)
        state -= hashes[np.uint64(at - n + 1)] * power
    return state


@numba.njit(cache=True, nogil=True)
def _pass_filter(block, count, table, passed):
    """Places in the block that the filter lets pass; without a branch, so that many loads are under way at once."""
    found, size = 0, np.uint64(len(table))
    for i in range(count):
        bits = _bits(block[i])
        passed[found] = i
        found += table[_bucket_of(block[i], size)] & bits == bits
    return found


@numba.njit(cache=True, nogil=True)
def _gram(key, buckets, keys):
    """Place of a hash in the index, -1 if it is not there."""
    bucket = _bucket_of(key, np.uint64(len(buckets) - 1))
    for gram in range(buckets[bucket], buckets[bucket + np.uint64(1)]):
        if keys[gram] == key:
            return np.int64(gram)
    return np.int64(-1)


@numba.njit(cache=True, nogil=True)
def _find(hashes, offsets, all_lengths, table, buckets, keys, positions, lengths, grams):
    found = 0
    block, passed = np.empty(_BLOCK, np.uint64), np.empty(_BLOCK + 1, np.int64)
    for document in range(len(offsets) - 1):
        begin, end = offsets[document], offsets[document + 1]
        for n in all_lengths:
            state = np.uint64(0)
            for at in range(begin, min(begin + n - 1, end)):
                state = state * _BASE + hashes[np.uint64(at)]
            for low in range(begin + n - 1, end, _BLOCK):
                count = min(_BLOCK, end - low)
                state = _hash_block(hashes, low, count, n, state, block)
                for i in passed[: _pass_filter(block, count, table, passed)]:
                    gram = _gram(block[i], buckets, keys)
                    if gram >= 0:
                        positions[found] = low + i - n + 1
                        lengths[found] = n
                        grams[found] = gram
                        found += 1
    return found
