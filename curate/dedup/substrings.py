"""Repeated spans of bytes: find, exactly, all windows of N bytes that occur earlier in the corpus.

Each window has an anchor: of the k-grams in the window, k = N // 2, the first one with the smallest hash (a minimizer;
Schleimer, Wilkerson and Aiken, "Winnowing: local algorithms for document fingerprinting", 2003). The choice depends
only on the bytes of the window, so equal windows have equal anchors at the same position. Hence it is enough to compare
the text around anchors with equal k-grams. There is about one anchor per N / 4 bytes.

Hashes are polynomials modulo the prime 2^61 - 1 (Karp and Rabin 1987) at a base derived from `_SEED`. Two different
strings of n bytes have the same hash with a probability of n / 2^61. For windows to match, the hashes on both sides of
the anchor must agree.
"""

from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from curate.text.unicode import MARK, decode, tables
from curate.text.words import mix64

_PRIME = np.uint64((1 << 61) - 1)
_LOW_32 = np.uint64(0xFFFFFFFF)
_LOW_29 = np.uint64((1 << 29) - 1)
_SEED = np.uint64(0x5EED)
_FIRST_JAMO, _LAST_JAMO = 0x1160, 0x11FF  # conjoining vowels and final consonants


class Anchors(NamedTuple):
    """Anchors of a batch of documents.

    Attributes
    ----------
    document, position
        Number of the document and byte position of the k-gram in it, int64, shape (anchors,), ascending.
    key
        Hash of the k-gram, uint64.
    stride, times
        Anchors with equal k-grams and equal surroundings are stored as one row: `times` anchors, `stride` bytes apart.
        So text with a short period (a line of dashes) costs no more than other text.
    """

    document: NDArray[np.int64]
    position: NDArray[np.int64]
    key: NDArray[np.uint64]
    stride: NDArray[np.int64]
    times: NDArray[np.int64]


class Firsts(NamedTuple):
    """Windows, as ranges, and the first anchor that has the same windows around it.

    Attributes
    ----------
    anchor
        Number of the anchor, int64, shape (ranges,).
    before_from, before_to
        A range of windows of the anchor: those that begin `before_from` to `before_to` bytes before it, int64.
    first
        Number of the first anchor with the same windows around it; the anchor's own number if no earlier one has them.
    """

    anchor: NDArray[np.int64]
    before_from: NDArray[np.int64]
    before_to: NDArray[np.int64]
    first: NDArray[np.int64]


def gram_length(window: int) -> int:
    """Length in bytes of the k-gram at an anchor."""
    return window // 2


def reach(window: int) -> int:
    """Maximum number of bytes that a window can hold before its anchor, and after the anchor's k-gram."""
    return window - gram_length(window)


def anchors(data: NDArray[np.uint8], offsets: NDArray[np.int64], window: int) -> Anchors:
    """Find the anchors of all windows of a batch of documents.

    Parameters
    ----------
    data, offsets
        Document i is ``data[offsets[i]:offsets[i + 1]]``. Documents shorter than a window have no anchor.
    window
        Length of a window in bytes, at least 2.

    Examples
    --------
    >>> data = np.frombuffer(b"--abcdefgh++abcdefgh", np.uint8)
    >>> document, _, key, _, _ = anchors(data, np.array([0, 10, 20]), window=8)
    >>> len(set(key[document == 0].tolist()) & set(key[document == 1].tolist())) > 0
    True
    """
    gram = gram_length(window)
    capacity = int(np.maximum(np.diff(offsets) - window + 1, 0).sum())
    columns = np.empty((4, capacity), np.int64)
    key = np.empty(capacity, np.uint64)
    count = _anchors(data, offsets, gram, reach(window), _base(), columns, key)
    document, position, stride, times = columns[:, :count].copy()
    return Anchors(document, position, key[:count].copy(), stride, times)


def surroundings(
    data: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    document: NDArray[np.int64],
    position: NDArray[np.int64],
    window: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint64]]:
    """Measure and hash the text around each anchor, as far as a window can reach.

    Parameters
    ----------
    data, offsets
        As in `anchors`.
    document, position
        Document and position of each anchor, documents ascending.
    window
        As in `anchors`.

    Returns
    -------
    tuple
        Number of bytes before the anchor, number of bytes after its k-gram, and a hash of the k-gram with these bytes,
        each of shape (anchors,).
    """
    gram = gram_length(window)
    before = np.minimum(position, reach(window))
    after = np.minimum(np.diff(offsets)[document] - position - gram, reach(window))
    start = offsets[document] + position
    content = _content(data, start - before, start + gram + after, before)
    return before, after, content


def text_around(
    data: NDArray[np.uint8],
    start: NDArray[np.int64],
    before: NDArray[np.int64],
    after: NDArray[np.int64],
    window: int,
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Copy the bytes before each anchor and those after its k-gram, concatenated.

    Parameters
    ----------
    data, start
        The k-gram of anchor i starts at ``data[start[i]]``.
    before, after
        From `surroundings`.
    window
        As in `anchors`.

    Returns
    -------
    tuple
        The bytes, and the offsets at which each anchor's bytes start, shape (anchors + 1,).

    Examples
    --------
    >>> text, bounds = text_around(np.frombuffer(b"abGRAMcd", np.uint8), *np.array([[2], [2], [1]]), window=8)
    >>> bytes(text), bounds.tolist()
    (b'abc', [0, 3])
    """
    bounds = np.concatenate((np.zeros(1, np.int64), np.cumsum(before + after)))
    around = np.empty(bounds[-1], np.uint8)
    _text_around(data, start, before, start + gram_length(window), bounds, around)
    return around, bounds


def first_windows(
    key_starts: NDArray[np.int64],
    data: NDArray[np.uint8],
    starts: NDArray[np.int64],
    before: NDArray[np.int64],
    after: NDArray[np.int64],
    window: int,
) -> Firsts:
    """Find, for each window around anchors with equal k-grams, the first anchor that has the same window around it.

    The time is proportional to the number of anchors times the bytes of a window, however many anchors share a key.

    Parameters
    ----------
    key_starts
        Anchors ``key_starts[i]`` up to ``key_starts[i + 1]`` have the same k-gram. They are in the order of preference.
    data
        Text around the anchors, without the k-grams, from `text_around`.
    starts
        Position in `data` where each anchor's text starts: `before` bytes, followed by `after` bytes.
    before, after
        From `surroundings`.
    window
        As in `anchors`.

    Examples
    --------
    >>> around = np.frombuffer(b"xyabcdzyabcd", np.uint8)  # k-grams of 4 bytes after xy and zy, windows of 8
    >>> columns = np.array([0, 6]), np.array([2, 2]), np.array([4, 4])
    >>> [column.tolist() for column in first_windows(np.array([0, 2]), around, *columns, window=8)]
    [[1, 0, 1], [0, 0, 2], [1, 2, 2], [0, 0, 1]]
    """
    largest = int(np.diff(key_starts).max(initial=0))
    slots = np.full(1 << max(2 * largest - 1, 1).bit_length(), -1, np.int64)
    stamps = np.full(len(slots), -1, np.int64)
    total = int(_count(before, after, reach(window)).sum())
    columns = np.empty((4, max(total, 1)), np.int64)
    count = _first_windows(key_starts, data, starts, before, after, reach(window), _base(), slots, stamps, columns)
    return Firsts(*columns[:, :count].copy())


def before_marks(
    data: NDArray[np.uint8], starts: NDArray[np.int64], ends: NDArray[np.int64], limits: NDArray[np.int64]
) -> NDArray[np.int64]:
    r"""Move the ends of spans back until the next character does not combine with the character before it.

    Combining marks, and the vowels and final consonants of conjoining Hangul, combine with the character before them.
    A span that ends before any other character can be cut out of NFC text: the rest stays in NFC, and no mark moves
    to another letter.

    Parameters
    ----------
    data
        Valid UTF-8.
    starts, ends
        Positions in `data` at which spans start and end, both at character boundaries.
    limits
        Position in `data` at which each span's document ends.

    Examples
    --------
    >>> data = np.frombuffer("exx\u0301".encode(), np.uint8)
    >>> before_marks(data, np.array([1]), np.array([3]), np.array([5])).tolist()
    [2]
    """
    ends = ends.copy()
    _before_marks(data, starts, ends, limits, tables().classes)
    return ends


def _count(before: NDArray[np.int64], after: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """Number of windows around each anchor."""
    return np.maximum(before - np.maximum(most - after, 0) + 1, 0)


def _base() -> np.uint64:
    return np.uint64(mix64(_SEED)) % (_PRIME - np.uint64(512)) + np.uint64(256)


@numba.njit(cache=True, nogil=True)
def _product(a, b):
    """Compute a * b modulo 2^61 - 1, for factors below this prime, in 64-bit arithmetic."""
    a_high, a_low, b_high, b_low = a >> np.uint64(32), a & _LOW_32, b >> np.uint64(32), b & _LOW_32
    middle = a_high * b_low + a_low * b_high
    low = a_low * b_low
    # Modulo the prime, 2^61 is 1 and 2^64 is 8. `middle` has the weight 2^32, so its bits from bit 29 on have 2^61.
    total = (a_high * b_high << np.uint64(3)) + (middle >> np.uint64(29)) + ((middle & _LOW_29) << np.uint64(32))
    total += (low & _PRIME) + (low >> np.uint64(61))
    total = (total & _PRIME) + (total >> np.uint64(61))
    return total - _PRIME if total >= _PRIME else total


@numba.njit(cache=True, nogil=True)
def _sum(a, b):
    total = a + b
    return total - _PRIME if total >= _PRIME else total


@numba.njit(cache=True, nogil=True)
def _power(base, exponent):
    result = np.uint64(1)
    for _ in range(exponent):
        result = _product(result, base)
    return result


@numba.njit(cache=True, nogil=True)
def _anchors(data, offsets, gram, reach, base, columns, key):
    grams = reach + 1  # number of k-grams in a window
    leading = _power(base, gram - 1)
    # Ring buffer of the candidates for the minimum, oldest first, with ascending hashes.
    ring_position, ring_order, ring_key = (
        np.empty(grams, np.int64),
        np.empty(grams, np.uint64),
        np.empty(grams, np.uint64),
    )
    count = 0
    for number in range(len(offsets) - 1):
        first, end = offsets[number], offsets[number + 1]
        if end - first < gram + reach:
            continue
        rolling = np.uint64(0)
        for i in range(first, first + gram - 1):
            rolling = _sum(_product(rolling, base), np.uint64(data[i]) + np.uint64(1))
        head, size, last = 0, 0, -1
        # Run of anchors with equal k-grams at equal distances. It is written when a different anchor follows.
        run, run_key, stride, times = 0, np.uint64(0), 0, 0
        for position in range(end - first - gram + 1):
            rolling = _sum(_product(rolling, base), np.uint64(data[first + position + gram - 1]) + np.uint64(1))
            order = mix64(rolling)
            if size and ring_position[head] <= position - grams:
                head = (head + 1) % grams
                size -= 1
            while size and ring_order[(head + size - 1) % grams] > order:
                size -= 1
            tail = (head + size) % grams
            ring_position[tail], ring_order[tail], ring_key[tail] = position, order, rolling
            size += 1
            if position >= grams - 1 and ring_position[head] != last:
                distance = ring_position[head] - last
                same = times > 0 and ring_key[head] == run_key and distance <= gram
                if same and (times == 1 or distance == stride):
                    stride = distance
                    times += 1
                else:
                    count = _write_run(number, run, run_key, stride, times, reach, columns, key, count)
                    run, run_key, stride, times = ring_position[head], ring_key[head], 0, 1
                last = ring_position[head]
            removed = np.uint64(data[first + position]) + np.uint64(1)
            rolling = _sum(rolling, _PRIME - _product(removed, leading))
        count = _write_run(number, run, run_key, stride, times, reach, columns, key, count)
    return count


@numba.njit(cache=True, nogil=True)
def _write_run(document, position, run_key, stride, times, reach, columns, key, count):
    """Write a run of equal k-grams at equal distances. Those in the middle have equal surroundings and become one row.

    K-grams that overlap or touch make the text between the first and the last periodic. Two neighbouring k-grams have
    the same surroundings if these lie wholly in the periodic text.
    """
    edge = -(-reach // stride) if times > 1 else times
    inner = times - 2 * edge
    for i in range(times):
        middle = inner > 1 and edge <= i < times - edge
        if middle and i > edge:
            continue
        columns[0, count], columns[1, count] = document, position + i * stride
        columns[2, count], columns[3, count] = (stride, inner) if middle else (0, 1)
        key[count] = run_key
        count += 1
    return count


@numba.njit(cache=True, nogil=True)
def _content(data, starts, ends, before):
    content = np.empty(len(starts), np.uint64)
    for i in range(len(starts)):
        state = mix64(np.uint64(before[i]) << np.uint64(32) | np.uint64(ends[i] - starts[i]))
        position = starts[i]
        while position < ends[i]:
            word = np.uint64(0)
            for byte in range(min(8, ends[i] - position)):
                word |= np.uint64(data[position + byte]) << np.uint64(8 * byte)
            state = mix64(state ^ word)
            position += 8
        content[i] = state
    return content


@numba.njit(cache=True, nogil=True)
def _text_around(data, start, before, follows, bounds, around):
    for i in range(len(start)):
        middle = bounds[i] + before[i]
        around[bounds[i] : middle] = data[start[i] - before[i] : start[i]]
        around[middle : bounds[i + 1]] = data[follows[i] : follows[i] + bounds[i + 1] - middle]


@numba.njit(cache=True, nogil=True)
def _before_marks(data, starts, ends, limits, classes):
    for i in range(len(starts)):
        end = ends[i]
        while starts[i] < end < limits[i]:
            code, _ = decode(data, end)
            if not classes[code] & MARK and not _FIRST_JAMO <= code <= _LAST_JAMO:
                break
            end -= 1
            while data[end] & 0xC0 == 0x80:
                end -= 1
        ends[i] = end


@numba.njit(cache=True, nogil=True)
def _first_windows(key_starts, data, starts, before, after, most, base, slots, stamps, columns):  # noqa: C901
    powers = np.empty(most + 1, np.uint64)
    powers[0] = 1
    for i in range(most):
        powers[i + 1] = _product(powers[i], base)
    anchors = len(starts)
    left, right = np.empty(anchors, np.uint64), np.empty(anchors, np.uint64)
    current, since = np.empty(anchors, np.int64), np.empty(anchors, np.int64)
    mask = np.uint64(len(slots) - 1)
    count, stamp = 0, 0
    for group in range(len(key_starts) - 1):
        members = range(key_starts[group], key_starts[group + 1])
        for i in members:
            left[i], right[i], current[i] = 0, 0, -1
            after_start = starts[i] + before[i]
            for j in range(after[i]):
                right[i] = _sum(right[i], _product(np.uint64(data[after_start + j]) + np.uint64(1), powers[j]))
        for back in range(most + 1):
            # The window holds `back` bytes before the anchor and `forth` bytes after the k-gram.
            stamp += 1
            for i in members:
                forth = most - back
                if back:
                    if back <= before[i]:
                        byte = data[starts[i] + before[i] - back]
                        left[i] = _sum(_product(left[i], base), np.uint64(byte) + np.uint64(1))
                    if forth < after[i]:
                        removed = np.uint64(data[starts[i] + before[i] + forth]) + np.uint64(1)
                        right[i] = _sum(right[i], _PRIME - _product(removed, powers[forth]))
                first = -1
                if back <= before[i] and forth <= after[i]:
                    slot = mix64(left[i] ^ mix64(right[i])) & mask
                    while stamps[slot] == stamp and (left[slots[slot]] != left[i] or right[slots[slot]] != right[i]):
                        slot = (slot + np.uint64(1)) & mask
                    if stamps[slot] != stamp:
                        stamps[slot], slots[slot] = stamp, i
                    first = slots[slot]
                if first != current[i]:
                    if current[i] >= 0:
                        columns[0, count], columns[1, count] = i, since[i]
                        columns[2, count], columns[3, count] = back - 1, current[i]
                        count += 1
                    current[i], since[i] = first, back
        for i in members:
            if current[i] >= 0:
                columns[0, count], columns[1, count] = i, since[i]
                columns[2, count], columns[3, count] = most, current[i]
                count += 1
    return count
