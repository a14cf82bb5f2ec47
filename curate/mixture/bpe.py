"""Token counts of byte-level BPE (Sennrich et al. 2016, arXiv 1508.07909, in the form of GPT-2) on UTF-8.

The pattern of the tokenizer splits a text into pieces. In each piece, the leftmost pair with the lowest rank is merged
until no pair has a rank. Only the number of tokens matters, so no ids are returned. A cache stores the counts of pieces
of up to 15 bytes. Such a piece and its length fill two 64-bit words, which are compared in full, so the cache is exact.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from curate.text.unicode import decode
from curate.text.words import GOLDEN, MULTIPLIER

OTHER, LETTER, NUMBER, SPACE = 0, 1, 2, 3
"""Classes of characters that the patterns distinguish."""

SHORT = 15  # maximum bytes of a cached piece; the piece and its length fill two words
LONG = 512  # maximum bytes of a piece for the kernel; quadratic merging takes 0.1 ms at this size
_MEMORY = 1 << 20  # slots of the cache, 17 MB; at most half of them are filled

_LOW = np.uint64(2**32 - 1)
_EMPTY = np.uint64(2**64 - 1)
_UNRANKED = np.uint64(2**31 - 1) << np.uint64(32)
_NONE = np.int32(2**31 - 1)


class Bpe(NamedTuple):
    """A tokenizer, and a cache of the pieces counted so far.

    Attributes
    ----------
    digits
        0 for the pattern of GPT-2. For the pattern of Llama 3 (3) and Qwen 2 (1), the maximum digits of a piece.
    classes
        `OTHER`, `LETTER`, `NUMBER` or `SPACE` by code point; code points beyond the table are `OTHER`.
    symbols
        Token id of each byte, shape (256,).
    pairs
        Hash table of the pairs that merge: pair of ids, and rank with merged id, shape (slots, 2).
    memory, sizes, free
        Cached pieces as two words, shape (slots, 2); their numbers of tokens, 0 for a free slot, shape (slots,); number
        of pieces that may still be cached, shape (1,).
    """

    digits: int
    classes: NDArray[np.uint8]
    symbols: NDArray[np.int32]
    pairs: NDArray[np.uint64]
    memory: NDArray[np.uint64]
    sizes: NDArray[np.uint8]
    free: NDArray[np.int64]


def bpe(
    digits: int,
    classes: NDArray[np.uint8],
    symbols: NDArray[np.int32],
    ranks: Mapping[tuple[int, int], tuple[int, int]],
) -> Bpe:
    """Return a tokenizer with an empty cache.

    Parameters
    ----------
    digits, classes, symbols
        See `Bpe`.
    ranks
        Rank and merged id by pair of ids that merges; ids are below 2^31.
    """
    pairs = np.full((1 << (2 * len(ranks)).bit_length(), 2), _EMPTY)
    pairs[:, 1] = _UNRANKED
    keys = np.array([left << 32 | right for left, right in ranks], np.uint64)
    values = np.array([rank << 32 | merged for rank, merged in ranks.values()], np.uint64)
    _fill_pairs(keys, values, pairs)
    memory, sizes = np.zeros((_MEMORY, 2), np.uint64), np.zeros(_MEMORY, np.uint8)
    return Bpe(digits, classes, symbols, pairs, memory, sizes, np.array([_MEMORY // 2]))


def count(
    tokenizer: Bpe, data: NDArray[np.uint8], offsets: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Count the tokens of each document. Pieces over `LONG` bytes are not counted but returned.

    Parameters
    ----------
    tokenizer
        The tokenizer.
    data, offsets
        Document i is ``data[offsets[i]:offsets[i + 1]]``, valid UTF-8.

    Returns
    -------
    counts
        Number of tokens of each document, shape (documents,).
    deferred
        Document, start and end in `data` of each long piece, shape (pieces, 3).

    Examples
    --------
    >>> ranks = {(ord("a"), ord("b")): (0, 256), (256, ord("c")): (1, 257)}
    >>> tokenizer = bpe(0, np.full(128, LETTER, np.uint8), np.arange(256, dtype=np.int32), ranks)
    >>> count(tokenizer, np.frombuffer(b"abcab" + b"cab", np.uint8), np.array([0, 5, 8]))[0].tolist()
    [2, 2]
    """
    counts = np.zeros(len(offsets) - 1, np.int64)
    deferred = np.empty((int((np.diff(offsets) // LONG).sum()), 3), np.int64)
    deferred_count = _count(data, offsets, *tokenizer, counts, deferred)
    return counts, deferred[:deferred_count]


def remember(tokenizer: Bpe, tokens: list[bytes]) -> bool:
    """Make each of `tokens` count as one token if it is a whole piece. Return False if this cannot be guaranteed.

    Tokens of up to `SHORT` bytes enter the cache. Longer ones must merge to one token by their ranks.
    """
    short = [np.frombuffer(token, np.uint8) for token in tokens if len(token) <= SHORT]
    if len(short) > tokenizer.free[0]:
        return False
    for data in short:
        _remember(data, tokenizer.memory, tokenizer.sizes, tokenizer.free)
    work = np.empty((3, LONG), np.int32)
    for token in tokens:
        if len(token) > SHORT and _is_utf8(token):
            data = np.frombuffer(token, np.uint8)
            whole = _piece_end(data, 0, len(data), tokenizer.classes, tokenizer.digits) == len(data)
            if whole and (
                len(data) > LONG or _merge(data, 0, len(data), tokenizer.symbols, tokenizer.pairs, work) != 1
            ):
                return False
    return True


def _is_utf8(token: bytes) -> bool:
    try:
        token.decode()
    except UnicodeDecodeError:
        return False
    return True


@numba.njit(cache=True, nogil=True)
def _slot(key, slots):
    """Return the first slot of a key by multiplicative hashing. The number of slots must be a power of two."""
    return (key * GOLDEN >> np.uint64(32)) & np.uint64(slots - 1)


@numba.njit(cache=True, nogil=True)
def _fill_pairs(keys, values, pairs):
    for i in range(len(keys)):
        slot = _slot(keys[i], len(pairs))
        while pairs[slot, 0] != _EMPTY:
            slot = (slot + np.uint64(1)) & np.uint64(len(pairs) - 1)
        pairs[slot, 0] = keys[i]
        pairs[slot, 1] = values[i]


@numba.njit(cache=True, nogil=True)
def _merging(left, right, pairs):
    """Return the rank and the merged id of a pair of tokens. The rank is `_NONE` if the pair does not merge."""
    key = np.uint64(left) << np.uint64(32) | np.uint64(right)
    slot = _slot(key, len(pairs))
    while pairs[slot, 0] != key and pairs[slot, 0] != _EMPTY:
        slot = (slot + np.uint64(1)) & np.uint64(len(pairs) - 1)
    return np.int32(pairs[slot, 1] >> np.uint64(32)), np.int32(pairs[slot, 1] & _LOW)


@numba.njit(cache=True, nogil=True)
def _merge(data, start, stop, symbols, pairs, work):  # noqa: C901 - one loop over scratch arrays
    """Return the number of tokens of a piece: merge the leftmost pair of the lowest rank until no pair merges.

    `work` is a scratch array.
    """
    size = stop - start
    tokens, ranks, ids = work[0], work[1], work[2]  # ranks[i] and ids[i] belong to the pair of tokens i and i + 1
    tokens[0] = symbols[data[start]]
    for i in range(1, size):
        tokens[i] = symbols[data[start + i]]
        ranks[i - 1], ids[i - 1] = _merging(tokens[i - 1], tokens[i], pairs)
    while size > 1:
        lowest = ranks[0]
        for i in range(1, size - 1):
            lowest = min(lowest, ranks[i])
        if lowest == _NONE:
            break
        best = 0
        while ranks[best] != lowest:
            best += 1
        tokens[best] = ids[best]
        size -= 1
        for i in range(best + 1, size):
            tokens[i] = tokens[i + 1]
        for i in range(best + 1, size):
            ranks[i - 1] = ranks[i]
        for i in range(best + 1, size):
            ids[i - 1] = ids[i]
        if best > 0:
            ranks[best - 1], ids[best - 1] = _merging(tokens[best - 1], tokens[best], pairs)
        if best < size - 1:
            ranks[best], ids[best] = _merging(tokens[best], tokens[best + 1], pairs)
    return size


@numba.njit(cache=True, nogil=True)
def _class_at(data, position, classes):
    """Return the class of the character at byte `position`, and the start of the next character."""
    if data[position] < 0x80:
        return classes[data[position]], position + 1
    code, after = decode(data, position)
    return (classes[code] if code < len(classes) else np.uint8(OTHER)), after


@numba.njit(cache=True, nogil=True)
def _run_end(data, position, end, classes, kind):
    """Return the end of the run of characters of one class that starts at `position`."""
    while position < end:
        character_class, after = _class_at(data, position, classes)
        if character_class != kind:
            break
        position = after
    return position


@numba.njit(cache=True, nogil=True)
def _contraction_end(data, position, end, any_case):
    """Return the end of ``'s``, ``'t``, ``'re``, ``'ve``, ``'m``, ``'ll`` or ``'d`` at `position`, else `position`."""
    if position + 1 >= end:
        return position
    fold = np.uint8(0x20 if any_case else 0)
    first = data[position + 1] | fold
    if first == ord("s") or first == ord("t") or first == ord("m") or first == ord("d"):
        return position + 2
    if position + 2 < end:
        second = data[position + 2] | fold
        if first == second == ord("l") or ((first == ord("r") or first == ord("v")) and second == ord("e")):
            return position + 3
        if any_case and data[position + 1] == 0xC5 and data[position + 2] == 0xBF:  # U+017F, the long s, folds to s
            return position + 3
    return position


@numba.njit(cache=True, nogil=True)
def _space_end(data, position, end, classes):
    r"""Return the end of ``\s+(?!\S)|\s+``: white space, without a last character that belongs to the next word."""
    stop = _run_end(data, position, end, classes, SPACE)
    if stop == end:
        return stop
    last = stop - 1
    while data[last] & 0xC0 == 0x80:
        last -= 1
    return last if last > position else stop


@numba.njit(cache=True, nogil=True)
def _is_newline(byte):
    return byte == 0x0A or byte == 0x0D


@numba.njit(cache=True, nogil=True)
def _piece_end(data, position, end, classes, digits):  # noqa: C901 - the alternatives of one pattern, in their order
    """Return the end of the piece that the tokenizer's pattern matches at `position`."""
    if data[position] == ord("'"):
        stop = _contraction_end(data, position, end, digits > 0)
        if stop > position:
            return stop
    kind, after = _class_at(data, position, classes)
    if kind == LETTER:
        return _run_end(data, after, end, classes, LETTER)
    if digits and kind == NUMBER:
        for _ in range(1, digits):
            if after < end:
                kind, further = _class_at(data, after, classes)
                if kind != NUMBER:
                    break
                after = further
        return after
    following = _class_at(data, after, classes)[0] if after < end else np.uint8(SPACE)
    if digits and following == LETTER and not _is_newline(data[position]):
        return _run_end(data, after, end, classes, LETTER)
    if data[position] == ord(" ") and following != SPACE and not (digits and following == NUMBER):
        kind = following
    if kind != SPACE:
        stop = _run_end(data, after, end, classes, kind)
        while digits and stop < end and _is_newline(data[stop]):
            stop += 1
        return stop
    if digits:
        stop = _run_end(data, position, end, classes, SPACE)
        while stop > position:
            stop -= 1
            if _is_newline(data[stop]):
                return stop + 1
    return _space_end(data, position, end, classes)


@numba.njit(cache=True, nogil=True)
def _recall(data, start, stop, memory, sizes):
    """Return the slot of a piece of up to 15 bytes in the cache, and its two words. A free slot has size 0."""
    low = np.uint64(0)
    high = np.uint64(stop - start)
    for i in range(min(stop - start, 8)):
        low = low << np.uint64(8) | np.uint64(data[start + i])
    for i in range(8, stop - start):
        high = high << np.uint64(8) | np.uint64(data[start + i])
    slot = _slot(low ^ high * MULTIPLIER, len(sizes))
    while sizes[slot] and (memory[slot, 0] != low or memory[slot, 1] != high):
        slot = (slot + np.uint64(1)) & np.uint64(len(sizes) - 1)
    return slot, low, high


@numba.njit(cache=True, nogil=True)
def _remember(data, memory, sizes, free):
    """Store a piece in the cache as one token."""
    slot, low, high = _recall(data, 0, len(data), memory, sizes)
    if sizes[slot] == 0:
        free[0] -= 1
    sizes[slot] = 1
    memory[slot, 0] = low
    memory[slot, 1] = high


@numba.njit(cache=True, nogil=True)
def _count(data, offsets, digits, classes, symbols, pairs, memory, sizes, free, counts, deferred):
    """Count the tokens of each document. List pieces over `LONG` bytes in `deferred`, and return their number."""
    deferred_count = 0
    work = np.empty((3, LONG), np.int32)
    for document in range(len(offsets) - 1):
        position = offsets[document]
        end = offsets[document + 1]
        total = 0
        while position < end:
            stop = _piece_end(data, position, end, classes, digits)
            if stop - position <= SHORT:
                slot, low, high = _recall(data, position, stop, memory, sizes)
                size = np.int64(sizes[slot])
                if size == 0:
                    size = _merge(data, position, stop, symbols, pairs, work)
                    if free[0] > 0:
                        free[0] -= 1
                        sizes[slot] = size
                        memory[slot, 0] = low
                        memory[slot, 1] = high
                total += size
            elif stop - position <= LONG:
                total += _merge(data, position, stop, symbols, pairs, work)
            else:
                deferred[deferred_count, 0] = document
                deferred[deferred_count, 1] = position
                deferred[deferred_count, 2] = stop
                deferred_count += 1
            position = stop
        counts[document] = total
    return deferred_count
