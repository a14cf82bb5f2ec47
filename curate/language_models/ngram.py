"""N-gram models with backoff that are asked on hashes of tokens: one file, mapped into memory, shared by processes.

The n-grams of all orders from 2 on lie in one hash table with linear probing, 16 bytes a cell. An n-gram's key is the
cell of the same n-gram without its first word, and that first word: 32 bits each, so that different n-grams have
different keys and nothing is found by chance (kenlm's probing tables compare 64-bit hashes). Words are found by the
64-bit hash of their bytes, as in kenlm.

A query walks from a word to the left, as long as the n-gram is known. It does so order by order for some thousand
tokens at once, not token by token: the loads of one order do not depend on each other. Some hundred buckets are asked
for before the first is looked at, and no branch depends on what is in one, so that the processor has many cache misses
under way instead of one. A token has the probability of the longest n-gram found, times the backoffs of
the known contexts that are as long or longer.
"""

import mmap
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, BinaryIO, NamedTuple

import numba
import numpy as np
import orjson
from numpy.typing import NDArray

from curate import storage
from curate.language_models.kneser_ney import BOS, EOS, UNK
from curate.language_models.memory import prefetch
from curate.text.words import mix64

MAGIC = b"curate n-gram model 2\n"
WIDTH = 4  # cells of a bucket: 64 bytes, a line of the cache
LOAD = 2.0  # cells per n-gram
BLOCK = 1 << 11  # tokens scored at once; their working arrays stay in the cache of a core
AHEAD = 1 << 8  # n-grams whose buckets are loaded before the first of them is looked at; they fit the fastest cache

_EMPTY = np.uint64(2**64 - 1)


class NgramTable(NamedTuple):
    """N-grams of one order as they go into a model.

    Attributes
    ----------
    first
        Id of the first word, int32, shape (n-grams,).
    parents
        Index in the order below of the n-gram without its first word, int32, shape (n-grams,).
    log10_prob, log10_backoff
        float32, shape (n-grams,).
    """

    first: NDArray[np.int32]
    parents: NDArray[np.int32]
    log10_prob: NDArray[np.float32]
    log10_backoff: NDArray[np.float32]


class Scores(NamedTuple):
    """What is measured of each line.

    Attributes
    ----------
    log10_prob
        Of all tokens and ``</s>`` given ``<s>``, float64, shape (lines,).
    unknown
        Tokens that the vocabulary does not have, int64, shape (lines,).
    """

    log10_prob: NDArray[np.float64]
    unknown: NDArray[np.int64]


class NgramModel:
    """A model, built or mapped from a file.

    Parameters
    ----------
    meta
        What else is known of it: JSON values. `order` must be among them.
    arrays
        See `build`.
    """

    def __init__(self, meta: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
        self.meta = dict(meta)
        self.order = int(self.meta["order"])
        self._arrays = dict(arrays)

    @property
    def vocabulary(self) -> int:
        """Number of words, the special ones included."""
        return len(self._arrays["unigrams"])

    def words(self) -> list[str]:
        """The vocabulary by id."""
        offsets, text = self._arrays["word_offsets"].tolist(), self._arrays["word_text"].tobytes()
        return [text[start:end].decode() for start, end in pairwise(offsets)]

    def ids(self, hashes: NDArray[np.uint64]) -> NDArray[np.int32]:
        """Ids of words by the hash of their bytes, `UNK` for others, shape (tokens,)."""
        found = np.empty(len(hashes), np.int32)
        _look_up(hashes, self._arrays["word_cells"], found)
        return found

    def score(self, hashes: NDArray[np.uint64], offsets: NDArray[np.int64]) -> Scores:
        """Score lines of tokens.

        Parameters
        ----------
        hashes
            Of tokens, end to end, shape (tokens,).
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
        """Write the model; the same model gives the same bytes."""
        with storage.replacing(path) as file:
            _write(file, self.meta, self._arrays)


def build(
    meta: Mapping[str, Any], words: Sequence[str], hashes: NDArray[np.uint64], tables: Sequence[NgramTable]
) -> NgramModel:
    """A model of n-grams that know what they are without their first word.

    Parameters
    ----------
    meta
        JSON values that the model keeps.
    words, hashes
        The vocabulary by id, and hashes of its words; the first three are `curate.language_models.kneser_ney.SPECIAL`.
    tables
        Orders from 1 on; the index of a unigram is its word's id.
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
    """A model of n-grams that are given as word ids, shape (n-grams, n), with log10 probabilities and backoffs.

    Raises
    ------
    ValueError
        An n-gram without its first word is not in the model.
    """
    cells = _empty_cells(sum(map(len, ids[1:])), len(words))
    for grams, numbers in zip(ids[1:], values[1:], strict=True):
        failed = _insert_whole(grams, numbers, len(words), cells, _floats(cells))
        if failed >= 0:
            gram: list[str] = [str(words[i]) for i in grams[failed].tolist()]
            raise ValueError(f"the model has {' '.join(gram)!r} but not {' '.join(gram[1:])!r}")
    return _model({**meta, "order": len(ids)}, words, hashes, values[0], cells)


def _empty_cells(ngrams: int, vocabulary: int) -> NDArray[np.uint64]:
    size = (int(ngrams * LOAD) // WIDTH + 4) * WIDTH
    if size + vocabulary >= 2**32 - 1:
        raise ValueError(f"{size} cells are more than fit (2^32); prune the model, or train on a sample")
    # At a multiple of 64 bytes, as in the file, so that a bucket is one line of the cache.
    room = np.full(2 * size + 8, _EMPTY, np.uint64)
    start = -(room.ctypes.data // 8) % 8
    return room[start : start + 2 * size].reshape(size, 2)


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
    """Map the model at a local `path` into memory; raises ``ValueError`` when it is none."""
    with open(path, "rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise ValueError(f"{path} is not an n-gram model of this program")
        size = int.from_bytes(file.read(8), "little")
        header = orjson.loads(file.read(size))
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    arrays = {}
    for name, (dtype, shape, start) in header["arrays"].items():
        count = int(np.prod(shape))
        arrays[name] = np.frombuffer(mapped, dtype, count, start).reshape(shape)
    return NgramModel(header["meta"], arrays)


def _write(file: BinaryIO, meta: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Magic, length of the header, header, arrays at multiples of 64 bytes."""
    places: dict[str, Any] = {}
    for room in (0, 1):  # offsets make the header longer, so it gets room for them
        start = _aligned(len(MAGIC) + 8 + (len(_header(meta, places)) + 20 * len(arrays) if room else 0))
        for name, array in arrays.items():
            places[name] = (array.dtype.str, array.shape, start)
            start = _aligned(start + array.nbytes)
    header = _header(meta, places)
    first = min(place[2] for place in places.values())
    header += b" " * (first - len(MAGIC) - 8 - len(header))
    file.write(MAGIC + len(header).to_bytes(8, "little") + header)
    for array in arrays.values():
        file.write(np.ascontiguousarray(array).data)
        file.write(bytes(_aligned(array.nbytes) - array.nbytes))


def _header(meta: Mapping[str, Any], places: Mapping[str, Any]) -> bytes:
    return orjson.dumps({"meta": meta, "arrays": places}, option=orjson.OPT_SORT_KEYS)


def _aligned(size: int) -> int:
    return (size + 63) // 64 * 64


def _floats(cells: NDArray[np.uint64]) -> NDArray[np.float32]:
    """The same memory as numbers: of a cell, columns 2 and 3 are probability and backoff."""
    return cells.view(np.float32)


def _word_cells(hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Hash table of words: hashes and ids, shape (cells, 2)."""
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
def _look_up(hashes, cells, found):
    mask = np.uint64(len(cells) - 1)
    for i in range(len(hashes)):
        slot = hashes[i] & mask
        while cells[slot, 0] != hashes[i] and cells[slot, 0] != _EMPTY:
            slot = (slot + np.uint64(1)) & mask
        found[i] = cells[slot, 1] if cells[slot, 0] == hashes[i] else UNK


@numba.njit(cache=True, nogil=True, inline="always")
def _bucket(key, buckets):
    """First cell of the bucket in which a key's search begins: its mixed upper half, scaled to their number."""
    return (((mix64(key) >> np.uint64(32)) * buckets) >> np.uint64(32)) * np.uint64(WIDTH)


@numba.njit(cache=True, nogil=True, inline="always")
def _find(cells, bucket, key):
    """The cell of `key`; if it has none, the first free cell, which lies in the bucket or after full ones."""
    while True:
        first = cells[bucket, 0]
        second = cells[bucket + np.uint64(1), 0]
        third = cells[bucket + np.uint64(2), 0]
        fourth = cells[bucket + np.uint64(3), 0]
        # Cells of a bucket are filled in order, so that those before the wanted one hold other keys.
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
    """Insert n-grams by their words; returns the row of the first whose end is not in the table, or -1."""
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
            known = backoff_bits[n - 1]
            going = _extend(
                n, going, cells, cell_bits, len(unigrams), tokens, active, late, nodes, bits, length, known
            )  # fmt: skip
        _add(offsets, line, after, order, prob, length, backoff, log10_prob)
        line = after


@numba.njit(cache=True, nogil=True)
def _fill(hashes, offsets, line, words, capacity, heads, tokens, unknown):
    """Find the words of as many lines as fit; returns the line after them and the number of tokens."""
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
    """Key of the n-gram that is one word longer to the left than the one found for token `i`."""
    return (nodes[i] << np.uint64(32)) | np.uint64(tokens[i - back])


@numba.njit(cache=True, nogil=True)
def _extend(n, going, cells, values, vocabulary, tokens, active, late, nodes, prob, length, backoff):
    """Ask for the n-grams of order `n` that end at active tokens; returns how many are active in the next order.

    Probabilities and backoffs are handled as bits, so that they can be chosen by a mask.
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
        # No branch waits for a load: one guessed wrong would hold up all loads behind it until its own has come.
        for a in range(count):
            i = np.uint64(active[np.uint64(start + a)])
            key, bucket = keys[np.uint64(a)], places[np.uint64(a)]
            fourth = cells[bucket + np.uint64(3), 0]
            in_second = cells[bucket + np.uint64(1), 0] == key
            in_third = cells[bucket + np.uint64(2), 0] == key
            hit = (cells[bucket, 0] == key) | in_second | in_third | (fourth == key)
            cell = bucket + np.uint64(in_second) + np.uint64(2) * np.uint64(in_third)
            cell += np.uint64(3) * np.uint64(fourth == key)
            old = np.uint64(hit) - np.uint64(1)  # all ones if not found; compilers would make a branch of a choice
            nodes[i] = (nodes[i] & old) | ((first_node + cell) & ~old)
            prob[i] = (prob[i] & old) | (values[cell, 2] & ~old)
            length[i] = (length[i] & old) | (np.uint64(n) & ~old)
            backoff[i] = values[cell, 3]
            late[np.uint64(waiting)] = np.uint32(i)
            waiting += (not hit) & (fourth != _EMPTY)
    # What a full bucket does not have may be in the next ones: a tenth of the n-grams.
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
    still = 0
    for a in range(going):
        i = np.uint64(active[np.uint64(a)])
        active[np.uint64(still)] = np.uint32(i)
        # A longer n-gram is known only if what it is without its last word is known too.
        still += (length[i] == n) & (tokens[i - back] != BOS) & (length[i - np.uint64(1)] >= n)
    return still


@numba.njit(cache=True, nogil=True)
def _add(offsets, first, after, order, prob, length, backoff, log10_prob):
    """Sum up lines: a token's longest n-gram, and the backoffs of known contexts that are as long or longer."""
    i = np.uint64(0)
    for line in range(first, after):
        total = 0.0
        i += np.uint64(1)
        for _ in range(offsets[line + 1] - offsets[line] + 1):
            total += prob[i]
            before = i - np.uint64(1)
            own, context = length[i], length[before]
            for known in range(1, order):
                weight = backoff[np.uint64(known - 1), before]
                # Nothing is added where there is none: a branch would often be guessed wrong.
                total += weight if (known >= own) & (known <= context) else np.float32(0)
            i += np.uint64(1)
        log10_prob[line] = total
