"""N-gram models with backoff, queried with hashes of tokens. A model is one file, mapped into memory and shared.

The n-grams of all orders from 2 on are in one hash table with linear probing, 16 bytes per cell. The key of an n-gram
consists of two 32-bit numbers: the cell of the same n-gram without its first word, and the first word. So different
n-grams always have different keys, and there are no false matches (kenlm's probing tables compare 64-bit hashes). Words
are looked up by the 64-bit hash of their bytes, as in kenlm.

A query extends an n-gram to the left, word by word, as long as the n-gram is in the model. Several thousand tokens are
processed together, order by order, because the loads of one order do not depend on each other. Some hundred buckets are
prefetched before the first of them is read, and no branch depends on their content, so that the processor handles many
cache misses at once. The probability of a token is that of the longest n-gram in the model, times the backoff weights
of the contexts in the model that are at least as long.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from curate import storage
from curate.language_models.kneser_ney import BOS, EOS, UNK
from curate.language_models.memory import prefetch
from curate.language_models.model_file import map_arrays, write_arrays
from curate.text.words import mix64

WIDTH = 4  # cells of a bucket: 64 bytes, one cache line
LOAD = 2.0  # cells per n-gram
BLOCK = 1 << 11  # tokens that are scored together; their working arrays fit the cache of a core
AHEAD = 1 << 8  # n-grams whose buckets are prefetched before the first one is read; they fit the fastest cache

_EMPTY = np.uint64(2**64 - 1)


class NgramTable(NamedTuple):
    """N-grams of one order, the input of `build`.

    Attributes
    ----------
    first
        Id of the first word of each n-gram, int32, shape (n-grams,).
    parents
        Index, among the n-grams of the order below, of the n-gram without its first word, int32, shape (n-grams,).
    log10_prob, log10_backoff
        log10 probability and log10 backoff weight, float32, shape (n-grams,).
    """

    first: NDArray[np.int32]
    parents: NDArray[np.int32]
    log10_prob: NDArray[np.float32]
    log10_backoff: NDArray[np.float32]


class Scores(NamedTuple):
    """Scores of lines.

    Attributes
    ----------
    log10_prob
        log10 probability of all tokens of a line and ``</s>``, given ``<s>``, float64, shape (lines,).
    unknown
        Number of tokens that are not in the vocabulary, int64, shape (lines,).
    """

    log10_prob: NDArray[np.float64]
    unknown: NDArray[np.int64]


class NgramModel:
    """A backoff model, built in memory or mapped from a file.

    Parameters
    ----------
    meta
        Metadata: JSON values, `order` among them.
    arrays
        Arrays as made by `build`.
    """

    def __init__(self, meta: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
        self.meta = dict(meta)
        self.order = int(self.meta["order"])
        self._arrays = dict(arrays)

    @property
    def vocabulary(self) -> int:
        """Number of words, special words included."""
        return len(self._arrays["unigrams"])

    def words(self) -> list[str]:
        """Return the words of the vocabulary, by id."""
        offsets, text = self._arrays["word_offsets"].tolist(), self._arrays["word_text"].tobytes()
        return [text[start:end].decode() for start, end in pairwise(offsets)]

    def ids(self, hashes: NDArray[np.uint64]) -> NDArray[np.int32]:
        """Return the ids of words given as hashes of their bytes, `UNK` for unknown words, shape (tokens,)."""
        ids = np.empty(len(hashes), np.int32)
        _look_up(hashes, self._arrays["word_cells"], ids)
        return ids

    def score(self, hashes: NDArray[np.uint64], offsets: NDArray[np.int64]) -> Scores:
        """Score lines of tokens.

        Parameters
        ----------
        hashes
            Hashes of the tokens of all lines, concatenated, shape (tokens,).
        offsets
            Line i has the tokens ``offsets[i]`` up to ``offsets[i + 1]``, shape (lines + 1,).

        Examples
        --------
        >>> from curate.language_models.kneser_ney import SPECIAL
        >>> from curate.language_models.tokens import hash_of
        >>> hashes = np.array([hash_of(word) for word in (*SPECIAL, "to", "be")])
        >>> ids = [np.arange(5, dtype=np.int32)[:, None], np.array([[3, 4]], np.int32)]
        >>> values = [np.full((5, 2), (-1, -0.5), np.float32), np.array([[-0.25, 0]], np.float32)]
        >>> model = build_from_ids({}, [*SPECIAL, "to", "be"], hashes, ids, values)
        >>> scores = model.score(hashes[[3, 4, 0]], np.array([0, 2, 3]))
        >>> scores.log10_prob.tolist(), scores.unknown.tolist()
        ([-3.25, -3.0], [0, 1])
        """
        lines = len(offsets) - 1
        scores = Scores(np.zeros(lines), np.zeros(lines, np.int64))
        longest = int(np.diff(offsets).max(initial=0)) + 2
        a = self._arrays
        _score(
            hashes, offsets, a["word_cells"], a["unigrams"], a["cells"], _floats(a["cells"]),
            self.order, max(BLOCK, longest), *scores,
        )  # fmt: skip
        return scores

    def save(self, path: str) -> None:
        """Write the model to a file. The same model always gives the same bytes."""
        with storage.replacing(path) as file:
            write_arrays(file, self.meta, self._arrays)


def build(
    meta: Mapping[str, Any], words: Sequence[str], hashes: NDArray[np.uint64], tables: Sequence[NgramTable]
) -> NgramModel:
    """Build a model from n-grams that refer to the n-grams of the order below.

    Parameters
    ----------
    meta
        Metadata that the model stores, as JSON values.
    words, hashes
        Words of the vocabulary by id, and their hashes. `curate.language_models.kneser_ney.SPECIAL` come first.
    tables
        N-grams of each order, from 1 on. The index of a unigram is the id of its word.
    """
    cells = _empty_cells(sum(len(table.first) for table in tables[1:]), len(words))
    nodes = np.arange(len(words), dtype=np.uint32)
    for table in tables[1:]:
        below, nodes = nodes, np.empty(len(table.first), np.uint32)
        _insert(*table, below, len(words), nodes, cells, _floats(cells))
    unigrams = np.stack([tables[0].log10_prob, tables[0].log10_backoff], axis=1)
    return _model({**meta, "order": len(tables)}, words, hashes, unigrams, cells)


def build_from_ids(
    meta: Mapping[str, Any],
    words: Sequence[str],
    hashes: NDArray[np.uint64],
    ids: Sequence[NDArray[np.int32]],
    values: Sequence[NDArray[np.float32]],
) -> NgramModel:
    """Build a model from n-grams given as word ids.

    Parameters
    ----------
    meta, words, hashes
        As in `build`.
    ids
        Word ids of the n-grams of each order n, shape (n-grams, n).
    values
        log10 probabilities and backoff weights of the n-grams of each order, shape (n-grams, 2).

    Raises
    ------
    ValueError
        If the model lacks the n-gram that remains when the first word of one of its n-grams is removed.
    """
    cells = _empty_cells(sum(map(len, ids[1:])), len(words))
    for grams, numbers in zip(ids[1:], values[1:], strict=True):
        failed = _insert_whole(grams, numbers, len(words), cells, _floats(cells))
        if failed >= 0:
            gram: list[str] = [str(words[i]) for i in grams[failed].tolist()]
            raise ValueError(
                f"the model contains {' '.join(gram)!r} but not {' '.join(gram[1:])!r}, without which it cannot be "
                "queried; convert it with kenlm's build_binary, which adds such n-grams"
            )
    return _model({**meta, "order": len(ids)}, words, hashes, values[0], cells)


def _empty_cells(ngrams: int, vocabulary: int) -> NDArray[np.uint64]:
    size = (int(ngrams * LOAD) // WIDTH + 4) * WIDTH
    if size + vocabulary >= 2**32 - 1:
        raise ValueError(f"the model needs {size} cells, more than 2^32; prune it, or train it on a sample")
    # The start is a multiple of 64 bytes, as in the file, so that a bucket is one cache line.
    memory = np.full(2 * size + 8, _EMPTY, np.uint64)
    start = -(memory.ctypes.data // 8) % 8
    return memory[start : start + 2 * size].reshape(size, 2)


def _model(
    meta: Mapping[str, Any],
    words: Sequence[str],
    hashes: NDArray[np.uint64],
    unigrams: NDArray[np.float32],
    cells: NDArray[np.uint64],
) -> NgramModel:
    encoded = [word.encode() for word in words]
    arrays = {
        "word_offsets": np.cumsum([0, *map(len, encoded)], dtype=np.int64),
        "word_text": np.frombuffer(b"".join(encoded), np.uint8),
        "word_cells": _word_cells(hashes),
        "unigrams": unigrams,
        "cells": cells,
    }
    return NgramModel(meta, arrays)


def load(path: str) -> NgramModel:
    """Map the model in a local file into memory; raise ``ValueError`` if the file is not such a model."""
    return NgramModel(*map_arrays(path))


def _floats(cells: NDArray[np.uint64]) -> NDArray[np.float32]:
    """View the cells as float32: in a row, column 2 is the probability and column 3 the backoff weight."""
    return cells.view(np.float32)


def _word_cells(hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Build the hash table of words, with the columns hash and id, shape (cells, 2)."""
    cells = np.full((1 << max(4, int(len(hashes) * 2 - 1).bit_length()), 2), _EMPTY, np.uint64)
    _insert_words(hashes, cells)
    return cells


@numba.njit(cache=True, nogil=True)
def _insert_words(hashes, cells):
    mask = np.uint64(len(cells) - 1)
    for i in range(len(hashes)):
        slot = hashes[i] & mask
        while cells[slot, 0] != _EMPTY:
            slot = (slot + np.uint64(1)) & mask
        cells[slot, 0] = hashes[i]
        cells[slot, 1] = i


@numba.njit(cache=True, nogil=True)
def _look_up(hashes, cells, ids):
    mask = np.uint64(len(cells) - 1)
    for i in range(len(hashes)):
        slot = hashes[i] & mask
        while cells[slot, 0] != hashes[i] and cells[slot, 0] != _EMPTY:
            slot = (slot + np.uint64(1)) & mask
        ids[i] = cells[slot, 1] if cells[slot, 0] == hashes[i] else UNK


@numba.njit(cache=True, nogil=True, inline="always")
def _bucket(key, buckets):
    """Return the first cell of the bucket where the search for a key begins.

    The upper half of the mixed key is scaled to the number of buckets.
    """
    return (((mix64(key) >> np.uint64(32)) * buckets) >> np.uint64(32)) * np.uint64(WIDTH)


@numba.njit(cache=True, nogil=True, inline="always")
def _find(cells, bucket, key):
    """Return the cell of `key`, or the free cell where it belongs, in its bucket or in the next one with room."""
    while True:
        first = cells[bucket, 0]
        second = cells[bucket + np.uint64(1), 0]
        third = cells[bucket + np.uint64(2), 0]
        fourth = cells[bucket + np.uint64(3), 0]
        # The cells of a bucket are filled in order, so the cells before the right one hold other keys.
        pass_first = np.uint64((first != key) & (first != _EMPTY))
        pass_second = np.uint64((second != key) & (second != _EMPTY)) & pass_first
        pass_third = np.uint64((third != key) & (third != _EMPTY)) & pass_second
        if not pass_third or (fourth == key) | (fourth == _EMPTY):
            return bucket + pass_first + pass_second + pass_third
        bucket += np.uint64(WIDTH)
        if bucket == np.uint64(len(cells)):
            bucket = np.uint64(0)


@numba.njit(cache=True, nogil=True)
def _insert(first, parents, prob, backoff, below, vocabulary, nodes, cells, values):
    buckets = np.uint64(len(cells) // WIDTH)
    for i in range(len(first)):
        key = (np.uint64(below[parents[i]]) << np.uint64(32)) | np.uint64(first[i])
        cell = _find(cells, _bucket(key, buckets), key)
        cells[cell, 0] = key
        values[cell, 2] = prob[i]
        values[cell, 3] = backoff[i]
        nodes[i] = np.uint32(cell + np.uint64(vocabulary))


@numba.njit(cache=True, nogil=True)
def _insert_whole(ids, numbers, vocabulary, cells, values):
    """Insert n-grams by their words. Return the row of the first one whose suffix is not in the table, or -1."""
    buckets = np.uint64(len(cells) // WIDTH)
    order = ids.shape[1]
    for i in range(len(ids)):
        node = np.uint64(ids[i, order - 1])
        for back in range(order - 2, -1, -1):
            key = (node << np.uint64(32)) | np.uint64(ids[i, back])
            cell = _find(cells, _bucket(key, buckets), key)
            if cells[cell, 0] == _EMPTY:
                if back > 0:
                    return i
                cells[cell, 0] = key
                values[cell, 2] = numbers[i, 0]
                values[cell, 3] = numbers[i, 1]
            node = cell + np.uint64(vocabulary)
    return -1


@numba.njit(cache=True, nogil=True)
def _score(hashes, offsets, words, unigrams, cells, values, order, capacity, log10_prob, unknown):
    tokens = np.empty(capacity, np.int32)
    nodes = np.empty(capacity, np.uint64)
    prob = np.empty(capacity, np.float32)
    length = np.empty(capacity, np.uint8)
    backoff = np.empty((max(order, 2), capacity), np.float32)
    active = np.empty(capacity, np.uint32)
    late = np.empty(capacity, np.uint32)
    bits, backoff_bits, cell_bits = prob.view(np.uint32), backoff.view(np.uint32), values.view(np.uint32)
    line = 0
    while line < len(offsets) - 1:
        after, filled = _fill(hashes, offsets, line, words, capacity, nodes, tokens, unknown)
        going = 0
        for i in range(filled):
            word = np.uint64(tokens[i])
            prob[i] = unigrams[word, 0]
            backoff[0, i] = unigrams[word, 1]
            nodes[i] = word
            length[i] = 1
            active[going] = i
            going += word != BOS
        for n in range(2, order + 1):
            backoff_row = backoff_bits[n - 1]
            going = _extend(
                n, going, cells, cell_bits, len(unigrams), tokens, active, late, nodes, bits, length, backoff_row
            )  # fmt: skip
        _add(offsets, line, after, order, prob, length, backoff, log10_prob)
        line = after


@numba.njit(cache=True, nogil=True)
def _fill(hashes, offsets, line, words, capacity, heads, tokens, unknown):
    """Look up the words of as many lines as fit. Return the line after them, and the number of tokens."""
    mask = np.uint64(len(words) - 1)
    filled = 0
    while line < len(offsets) - 1 and filled + offsets[line + 1] - offsets[line] + 2 <= capacity:
        tokens[filled] = BOS
        filled += 1
        count = offsets[line + 1] - offsets[line]
        for i in range(count):
            heads[np.uint64(i)] = words[hashes[np.uint64(i + offsets[line])] & mask, 0]
        for i in range(count):
            key = hashes[np.uint64(i + offsets[line])]
            slot = key & mask
            head = heads[np.uint64(i)]
            while head != key and head != _EMPTY:
                slot = (slot + np.uint64(1)) & mask
                head = words[slot, 0]
            word = np.int32(words[slot, 1]) if head == key else UNK
            unknown[line] += word == UNK
            tokens[np.uint64(filled)] = word
            filled += 1
        tokens[filled] = EOS
        filled += 1
        line += 1
    return line, filled


@numba.njit(cache=True, nogil=True, inline="always")
def _key(i, back, nodes, tokens):
    """Return the key of the n-gram that extends the longest match of token `i` by one word to the left."""
    return (nodes[i] << np.uint64(32)) | np.uint64(tokens[i - back])


@numba.njit(cache=True, nogil=True)
def _extend(n, going, cells, values, vocabulary, tokens, active, late, nodes, prob, length, backoff):
    """Look up the n-grams of order `n` that end at active tokens. Return how many are active in the next order.

    Probabilities and backoff weights are handled as bits, so that a mask can select between them.
    """
    buckets = np.uint64(len(cells) // WIDTH)
    keys, places = np.empty(AHEAD, np.uint64), np.empty(AHEAD, np.uint64)
    first_node = np.uint64(vocabulary)
    back = np.uint64(n - 1)
    waiting = 0
    for start in range(0, going, AHEAD):
        count = min(AHEAD, going - start)
        for a in range(count):
            key = _key(np.uint64(active[np.uint64(start + a)]), back, nodes, tokens)
            keys[np.uint64(a)] = key
            places[np.uint64(a)] = _bucket(key, buckets)
            prefetch(cells, places[np.uint64(a)])
        # No branch depends on a load: a misprediction would stall all later loads until this one arrives.
        for a in range(count):
            i = np.uint64(active[np.uint64(start + a)])
            key, bucket = keys[np.uint64(a)], places[np.uint64(a)]
            fourth = cells[bucket + np.uint64(3), 0]
            in_second = cells[bucket + np.uint64(1), 0] == key
            in_third = cells[bucket + np.uint64(2), 0] == key
            hit = (cells[bucket, 0] == key) | in_second | in_third | (fourth == key)
            cell = bucket + np.uint64(in_second) + np.uint64(2) * np.uint64(in_third)
            cell += np.uint64(3) * np.uint64(fourth == key)
            old = np.uint64(hit) - np.uint64(1)  # all ones for a miss; as a conditional it would compile to a branch
            nodes[i] = (nodes[i] & old) | ((first_node + cell) & ~old)
            prob[i] = (prob[i] & old) | (values[cell, 2] & ~old)
            length[i] = (length[i] & old) | (np.uint64(n) & ~old)
            backoff[i] = values[cell, 3]
            late[np.uint64(waiting)] = np.uint32(i)
            waiting += (not hit) & (fourth != _EMPTY)
    # A key that is not in its full bucket may be in the next buckets. This concerns a tenth of the n-grams.
    for a in range(waiting):
        bucket = _bucket(_key(np.uint64(late[np.uint64(a)]), back, nodes, tokens), buckets)
        prefetch(cells, bucket + np.uint64(WIDTH))
    for a in range(waiting):
        i = np.uint64(late[np.uint64(a)])
        key = _key(i, back, nodes, tokens)
        cell = _find(cells, _bucket(key, buckets), key)
        if cells[cell, 0] == key:
            nodes[i] = first_node + cell
            prob[i] = values[cell, 2]
            length[i] = n
            backoff[i] = values[cell, 3]
    remaining = 0
    for a in range(going):
        i = np.uint64(active[np.uint64(a)])
        active[np.uint64(remaining)] = np.uint32(i)
        # A longer n-gram can be in the model only if the n-gram without its last word is.
        remaining += (length[i] == n) & (tokens[i - back] != BOS) & (length[i - np.uint64(1)] >= n)
    return remaining


@numba.njit(cache=True, nogil=True)
def _add(offsets, first, after, order, prob, length, backoff, log10_prob):
    """Sum the scores of lines: each token's longest n-gram, plus the backoffs of contexts that are at least as long."""
    i = np.uint64(0)
    for line in range(first, after):
        total = 0.0
        i += np.uint64(1)
        for _ in range(offsets[line + 1] - offsets[line] + 1):
            total += prob[i]
            before = i - np.uint64(1)
            match, context = length[i], length[before]
            for n in range(1, order):
                weight = backoff[np.uint64(n - 1), before]
                # Adding 0 is faster than a branch, which would often be mispredicted.
                total += weight if (n >= match) & (n <= context) else np.float32(0)
            i += np.uint64(1)
        log10_prob[line] = total
