"""Repeated spans of bytes: windows of N bytes that stand elsewhere before, found exactly through anchors.

Two equal windows choose the same byte in them as their anchor, because the choice looks at the window alone: it is the
first of the k-grams in the window with the smallest hash, k = N // 2 (a minimizer; winnowing of Schleimer, Wilkerson
and Aiken, "Winnowing: local algorithms for document fingerprinting", 2003). So equal windows lie alike around anchors
with equal k-grams. It is enough to bring those together, one in about N / 4 bytes, and to compare what surrounds them.

Hashes are polynomials over the prime 2^61 - 1 (Karp and Rabin 1987) at a base that `seed` chooses: two different
strings of n bytes are taken for one with a chance of n / 2^61, and of windows both sides of the anchor must agree.
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
        Document, and byte in it at which the k-gram starts, int64, shape (anchors,), ascending.
    key
        Hash of the k-gram, uint64.
    stride, times
        Anchors with one key and one surrounding are one row: `times` of them, `stride` bytes apart. So text that
        repeats itself at short distance (a line of dashes) costs no more than other text.
    """

    document: NDArray[np.int64]
    position: NDArray[np.int64]
    key: NDArray[np.uint64]
    stride: NDArray[np.int64]
    times: NDArray[np.int64]


class Firsts(NamedTuple):
    """Windows and the first anchor around which each stood, as ranges.

    Attributes
    ----------
    anchor
        Number of the anchor, int64, shape (ranges,).
    before_from, before_to
        The windows that begin so many bytes before the anchor: from, and up to, int64.
    first
        Number of the first anchor with the same windows around it, which is the anchor's own if there is none before.
    """

    anchor: NDArray[np.int64]
    before_from: NDArray[np.int64]
    before_to: NDArray[np.int64]
    first: NDArray[np.int64]


def gram_length(window: int) -> int:
    """Bytes of the k-gram at an anchor."""
    return window // 2


def reach(window: int) -> int:
    """Bytes before an anchor, and after its k-gram, that a window with this anchor may hold at most."""
    return window - gram_length(window)


def anchors(data: NDArray[np.uint8], offsets: NDArray[np.int64], window: int) -> Anchors:
    """Choose the anchors of all windows.

    Parameters
    ----------
    data, offsets
        Document i is ``data[offsets[i]:offsets[i + 1]]``; those shorter than a window have no anchor.
    window
        Bytes, at least 2.

    Examples
    --------
    >>> data = np.frombuffer(b"--abcdefgh++abcdefgh", np.uint8)
    >>> found = anchors(data, np.array([0, 10, 20]), window=8)
    >>> len(set(found.key[found.document == 0].tolist()) & set(found.key[found.document == 1].tolist())) > 0
    True
    """
    gram = gram_length(window)
    room = int(np.maximum(np.diff(offsets) - window + 1, 0).sum())
    columns = np.empty((4, room), np.int64)
    key = np.empty(room, np.uint64)
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
    """How far the text around each anchor goes, up to what a window can hold, and a hash of it.

    Parameters
    ----------
    data, offsets
        As in `anchors`.
    document, position
        Of each anchor, documents ascending.
    window
        As in `anchors`.

    Returns
    -------
    tuple
        Bytes before the anchor and after its k-gram, and the hash of all of them, each of shape (anchors,).
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
    """The bytes before each anchor and those after its k-gram, end to end.

    Parameters
    ----------
    data, start
        Anchor i is the k-gram at ``data[start[i]]``.
    before, after
        From `surroundings`.
    window
        As in `anchors`.

    Returns
    -------
    tuple
        Bytes, and the offsets that cut them into anchors, shape (anchors + 1,).

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
    """For each window around anchors with one key, the first anchor that has the same window around it.

    Linear in the number of anchors times the bytes of a window, however many have one key.

    Parameters
    ----------
    key_starts
        Anchors from ``key_starts[i]`` up to ``key_starts[i + 1]`` have key number i; those of one key in order.
    data
        Text around the anchors, without the k-grams.
    starts
        Where in `data` the text around each anchor starts: `before` bytes, and then `after`.
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
    r"""Ends of spans, moved back until what follows does not join the character before it.

    Marks join what they follow, and so do vowels and final consonants of conjoining Hangul. A cut that ends before a
    character that does neither leaves NFC text in NFC, and no mark on another letter than its own.

    Parameters
    ----------
    data
        UTF-8.
    starts, ends
        Absolute positions, both between characters.
    limits
        Where the document of each span ends.

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
    """Windows around each anchor."""
    return np.maximum(before - np.maximum(most - after, 0) + 1, 0)


def _base() -> np.uint64:
    return np.uint64(mix64(_SEED)) % (_PRIME - np.uint64(512)) + np.uint64(256)


@numba.njit(cache=True, nogil=True)
def _product(a, b):
    """A * b modulo 2^61 - 1, for factors below it, in 64-bit arithmetic."""
    a_high, a_low, b_high, b_low = a >> np.uint64(32), a & _LOW_32, b >> np.uint64(32), b & _LOW_32
    middle = a_high * b_low + a_low * b_high
    low = a_low * b_low
    # 2^64 is 8 modulo the prime, and 2^32 times the upper bits of the middle is a multiple of 2^61, which is 1.
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
    grams = reach + 1  # k-grams of a window, whose first starts with it and whose last ends with it
    leading = _power(base, gram - 1)
    # Candidates for the minimum, oldest first, with ascending hashes: a ring.
    ring_at, ring_order, ring_key = np.empty(grams, np.int64), np.empty(grams, np.uint64), np.empty(grams, np.uint64)
    count = 0
    for number in range(len(offsets) - 1):
        first, end = offsets[number], offsets[number + 1]
        if end - first < gram + reach:
            continue
        rolling = np.uint64(0)
        for i in range(first, first + gram - 1):
            rolling = _sum(_product(rolling, base), np.uint64(data[i]) + np.uint64(1))
        head, size, last = 0, 0, -1
        # Anchors with one k-gram at one distance, which are written when the next one is another.
        run, run_key, stride, times = 0, np.uint64(0), 0, 0
        for at in range(end - first - gram + 1):
            rolling = _sum(_product(rolling, base), np.uint64(data[first + at + gram - 1]) + np.uint64(1))
            order = mix64(rolling)
            if size and ring_at[head] <= at - grams:
                head = (head + 1) % grams
                size -= 1
            while size and ring_order[(head + size - 1) % grams] > order:
                size -= 1
            tail = (head + size) % grams
            ring_at[tail], ring_order[tail], ring_key[tail] = at, order, rolling
            size += 1
            if at >= grams - 1 and ring_at[head] != last:
                distance = ring_at[head] - last
                same = times > 0 and ring_key[head] == run_key and distance <= gram
                if same and (times == 1 or distance == stride):
                    stride = distance
                    times += 1
                else:
                    count = _write_run(number, run, run_key, stride, times, reach, columns, key, count)
                    run, run_key, stride, times = ring_at[head], ring_key[head], 0, 1
                last = ring_at[head]
            gone = np.uint64(data[first + at]) + np.uint64(1)
            rolling = _sum(rolling, _PRIME - _product(gone, leading))
        count = _write_run(number, run, run_key, stride, times, reach, columns, key, count)
    return count


@numba.njit(cache=True, nogil=True)
def _write_run(document, position, run_key, stride, times, reach, columns, key, count):
    """Write equal k-grams at one distance; those in the middle, which have the same text around them, as one row.

    K-grams that overlap or touch make the text between the first and the last periodic. What is around one of them is
    the same as around the next if both reach into periodic text alone.
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
        at = starts[i]
        while at < ends[i]:
            word = np.uint64(0)
            for byte in range(min(8, ends[i] - at)):
                word |= np.uint64(data[at + byte]) << np.uint64(8 * byte)
            state = mix64(state ^ word)
            at += 8
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
        at = ends[i]
        while starts[i] < at < limits[i]:
            code, _ = decode(data, at)
            if not classes[code] & MARK and not _FIRST_JAMO <= code <= _LAST_JAMO:
                break
            at -= 1
            while data[at] & 0xC0 == 0x80:
                at -= 1
        ends[i] = at


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
    found, stamp = 0, 0
    for group in range(len(key_starts) - 1):
        members = range(key_starts[group], key_starts[group + 1])
        for i in members:
            left[i], right[i], current[i] = 0, 0, -1
            after_start = starts[i] + before[i]
            for at in range(after[i]):
                right[i] = _sum(right[i], _product(np.uint64(data[after_start + at]) + np.uint64(1), powers[at]))
        for back in range(most + 1):
            # The window holds `back` bytes before the anchor and `most - back` after the k-gram.
            stamp += 1
            for i in members:
                forth = most - back
                if back:
                    if back <= before[i]:
                        byte = data[starts[i] + before[i] - back]
                        left[i] = _sum(_product(left[i], base), np.uint64(byte) + np.uint64(1))
                    if forth < after[i]:
                        gone = np.uint64(data[starts[i] + before[i] + forth]) + np.uint64(1)
                        right[i] = _sum(right[i], _PRIME - _product(gone, powers[forth]))
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
                        columns[0, found], columns[1, found] = i, since[i]
                        columns[2, found], columns[3, found] = back - 1, current[i]
                        found += 1
                    current[i], since[i] = first, back
        for i in members:
            if current[i] >= 0:
                columns[0, found], columns[1, found] = i, since[i]
                columns[2, found], columns[3, found] = most, current[i]
                found += 1
    return found
