"""Places in a text that may hold personal data: at-signs, dotted quads, runs of colons, of digits, account numbers.

A superset, found in one pass over the bytes; `curate.cleaning.pii` looks closer.
"""

from collections.abc import Iterator, Sequence

import numba
import numpy as np
from numpy.typing import NDArray

PLACES = 5
AT, QUAD, COLONS, DIGITS, COUNTRY = range(PLACES)
"""Around an at-sign; four numbers with dots; hexadecimal digits with colons; digits; two capitals and two digits."""

_LOCAL, _DOMAIN, _HEX, _DIGIT, _UPPER, _MARK = 1, 2, 4, 8, 16, 32
_CLASSES = np.zeros(256, np.uint8)
for _code in range(0x80):
    _char = chr(_code)
    _CLASSES[_code] = (
        _LOCAL * (_char.isalnum() or _char in "._%+'&=-")
        | _DOMAIN * (_char.isalnum() or _char in ".-")
        | _HEX * (_char in "0123456789abcdefABCDEF:.")
        | _DIGIT * _char.isdecimal()
        | _UPPER * _char.isupper()
        | _MARK * (_char in " .-/()")
    )


def candidates(
    data: NDArray[np.uint8], offsets: NDArray[np.int64], places: Sequence[int]
) -> Iterator[tuple[int, int, int, int, int]]:
    """Start, end and place of each candidate, and where its document starts and ends.

    Parameters
    ----------
    data, offsets
        Document i is ``data[offsets[i]:offsets[i + 1]]``.
    places
        What to look for: some of `AT`, `QUAD`, `COLONS`, `DIGITS`, `COUNTRY`.

    Examples
    --------
    >>> text = b"jo@example.org, or 8.8.8.8"
    >>> list(candidates(np.frombuffer(text, np.uint8), np.array([0, len(text)]), [AT, QUAD]))
    [(0, 14, 0, 0, 26), (19, 26, 1, 0, 26)]
    """
    wanted = np.isin(np.arange(PLACES), places)
    room = 4096
    while True:
        columns = tuple(np.empty(room, np.int64) for _ in range(4))
        count = _scan(data, offsets, _CLASSES, wanted, *columns)
        if count <= room:
            break
        room = count
    starts, ends, kind, documents = (column[:count].tolist() for column in columns)
    for start, end, place, document in zip(starts, ends, kind, documents, strict=True):
        yield start, end, place, int(offsets[document]), int(offsets[document + 1])


@numba.njit(cache=True, nogil=True)
def _scan(data, offsets, classes, places, starts, ends, kinds, documents):  # noqa: C901 - one pass over the bytes
    count = 0
    for document in range(len(offsets) - 1):
        first, last = offsets[document], offsets[document + 1]
        at = first
        numbers = quads = first  # where the last run of its kind ended
        colons = first
        while at < last:
            byte = data[np.uint64(at)]
            kind = -1
            start = end = at
            if byte == 64:
                if places[AT]:
                    while start > first and classes[data[start - 1]] & _LOCAL and at - start <= 64:
                        start -= 1
                    end = at + 1
                    while end < last and classes[data[end]] & _DOMAIN and end - at < 254:
                        end += 1
                    if start < at and end > at + 3:
                        kind = AT
            elif byte == 58:
                if places[COLONS] and at >= colons:
                    start, end, found, colons = _hex_run(data, at, first, last, classes)
                    if found >= 2 and end - start >= 4 and end - start <= 45:
                        kind = COLONS
            elif classes[byte] & _DIGIT:
                previous = data[at - 1] if at > first else np.uint8(32)
                if classes[previous] & _DIGIT:
                    at += 1
                    continue
                if places[QUAD] and at >= quads and previous != 46:
                    end, dots = _dotted(data, at, last, classes)
                    quads = end
                    if dots == 3 and end - at <= 15:
                        if count < len(starts):
                            starts[count], ends[count], kinds[count], documents[count] = at, end, QUAD, document
                        count += 1
                if places[COUNTRY] and _opens_account(data, at, first, last, classes):
                    end, size = _account(data, at - 2, last, classes)
                    if size >= 15:
                        if count < len(starts):
                            starts[count], ends[count], kinds[count], documents[count] = at - 2, end, COUNTRY, document
                        count += 1
                if places[DIGITS] and at >= numbers:
                    while start > first and at - start < 2 and (data[start - 1] == 40 or data[start - 1] == 43):
                        start -= 1
                    end, digits = _number(data, at, last, classes)
                    numbers = end
                    if digits >= 7:
                        kind = DIGITS
            if kind >= 0:
                if count < len(starts):
                    starts[count], ends[count], kinds[count], documents[count] = start, end, kind, document
                count += 1
            at += 1
    return count


@numba.njit(cache=True, inline="always")
def _hex_run(data, at, first, last, classes):
    """Start, end without the dots and single colons at it, number of colons, and where the whole run ends.

    What a later colon of the run could begin ends in a dot or a single colon, and so is no address: each run is read
    once, or dots and colons by turns would be read again from each colon on.
    """
    start, end, colons = at, at, 0
    while start > first and classes[data[start - 1]] & _HEX and at - start < 5:
        start -= 1
    while end < last and classes[data[end]] & _HEX:
        colons += data[end] == 58
        end += 1
    behind = end
    while end > at + 1 and (data[end - 1] == 46 or (data[end - 1] == 58 and data[end - 2] != 58)):
        end -= 1
    return start, end, colons, behind


@numba.njit(cache=True, inline="always")
def _dotted(data, at, last, classes):
    end, dots = at, 0
    while end < last and (classes[data[end]] & _DIGIT or (data[end] == 46 and data[end - 1] != 46)):
        dots += data[end] == 46
        end += 1
    if data[end - 1] == 46:
        return end - 1, dots - 1
    return end, dots


@numba.njit(cache=True, inline="always")
def _opens_account(data, at, first, last, classes):
    """Whether two capitals stand before two digits."""
    if at < first + 2 or at + 2 >= last:
        return False
    letters = classes[data[at - 2]] & classes[data[at - 1]] & _UPPER
    return letters != 0 and classes[data[at + 1]] & _DIGIT != 0


@numba.njit(cache=True, inline="always")
def _account(data, at, last, classes):
    end, size = at, 0
    while end < last and size < 34:
        kind = classes[data[end]]
        if kind & (_DIGIT | _UPPER):
            size += 1
        elif not (data[end] == 32 and data[end - 1] != 32):
            break
        end += 1
    while data[end - 1] == 32:
        end -= 1
    return end, size


@numba.njit(cache=True, inline="always")
def _number(data, at, last, classes):
    """Digits with at most two marks between them: where they end, and how many there are."""
    end, digits, marks = at, 0, 0
    behind = at
    while end < last and marks <= 2:
        kind = classes[data[end]]
        if kind & _DIGIT:
            digits += 1
            marks = 0
            behind = end + 1
        elif kind & _MARK or data[end] == 43:
            marks += 1
        else:
            break
        end += 1
    return behind, digits
