"""Candidates for personal data: the text around at-signs, dotted quads, runs of colons or digits, account numbers.

One pass over the bytes finds a superset of all personal data. `curate.cleaning.pii` tests the candidates.
"""

from collections.abc import Iterator, Sequence

import numba
import numpy as np
from numpy.typing import NDArray

PLACES = 5
AT, QUAD, COLONS, DIGITS, COUNTRY = range(PLACES)
"""Text around an at-sign; four numbers with dots; hexadecimal digits with colons; digits; text that starts with two
capital letters and two digits."""

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
    """Yield the start, end and kind of each candidate, and the start and end of its document.

    Parameters
    ----------
    data, offsets
        Document i is ``data[offsets[i]:offsets[i + 1]]``.
    places
        Kinds of candidates to find, a subset of `AT`, `QUAD`, `COLONS`, `DIGITS`, `COUNTRY`.

    Examples
    --------
    >>> text = b"jo@example.org, or 8.8.8.8"
    >>> list(candidates(np.frombuffer(text, np.uint8), np.array([0, len(text)]), [AT, QUAD]))
    [(0, 14, 0, 0, 26), (19, 26, 1, 0, 26)]
    """
    wanted = np.isin(np.arange(PLACES), places)
    capacity = 4096
    while True:
        columns = tuple(np.empty(capacity, np.int64) for _ in range(4))
        count = _scan(data, offsets, _CLASSES, wanted, *columns)
        if count <= capacity:
            break
        capacity = count
    starts, ends, kind, documents = (column[:count].tolist() for column in columns)
    for start, end, place, document in zip(starts, ends, kind, documents, strict=True):
        yield start, end, place, int(offsets[document]), int(offsets[document + 1])


@numba.njit(cache=True, nogil=True)
def _scan(data, offsets, classes, places, starts, ends, kinds, documents):  # noqa: C901 - one pass over the bytes
    count = 0
    for document in range(len(offsets) - 1):
        first, last = offsets[document], offsets[document + 1]
        position = first
        numbers = quads = first  # end of the last run of this kind
        colons = first
        while position < last:
            byte = data[np.uint64(position)]
            kind = -1
            start = end = position
            if byte == 64:
                if places[AT]:
                    while start > first and classes[data[start - 1]] & _LOCAL and position - start <= 64:
                        start -= 1
                    end = position + 1
                    while end < last and classes[data[end]] & _DOMAIN and end - position < 254:
                        end += 1
                    if start < position and end > position + 3:
                        kind = AT
            elif byte == 58:
                if places[COLONS] and position >= colons:
                    start, end, colon_count, colons = _hex_run(data, position, first, last, classes)
                    if colon_count >= 2 and end - start >= 4 and end - start <= 45:
                        kind = COLONS
            elif classes[byte] & _DIGIT:
                previous = data[position - 1] if position > first else np.uint8(32)
                if classes[previous] & _DIGIT:
                    position += 1
                    continue
                if places[QUAD] and position >= quads and previous != 46:
                    end, dots = _dotted(data, position, last, classes)
                    quads = end
                    if dots == 3 and end - position <= 15:
                        if count < len(starts):
                            starts[count], ends[count], kinds[count], documents[count] = position, end, QUAD, document
                        count += 1
                if places[COUNTRY] and _opens_account(data, position, first, last, classes):
                    end, size = _account(data, position - 2, last, classes)
                    if size >= 15:
                        if count < len(starts):
                            starts[count], ends[count], kinds[count] = position - 2, end, COUNTRY
                            documents[count] = document
                        count += 1
                if places[DIGITS] and position >= numbers:
                    while start > first and position - start < 2 and (data[start - 1] == 40 or data[start - 1] == 43):
                        start -= 1
                    end, digits = _number(data, position, last, classes)
                    numbers = end
                    if digits >= 7:
                        kind = DIGITS
            if kind >= 0:
                if count < len(starts):
                    starts[count], ends[count], kinds[count], documents[count] = start, end, kind, document
                count += 1
            position += 1
    return count


@numba.njit(cache=True, inline="always")
def _hex_run(data, position, first, last, classes):
    """Return the start, the end without trailing dots and single colons, the number of colons, and the run's end.

    A candidate that starts at a later colon of the run would end with a dot or a single colon, so it would not be an
    address. So each run is read once; reading it from each of its colons would take quadratic time.
    """
    start, end, colons = position, position, 0
    while start > first and classes[data[start - 1]] & _HEX and position - start < 5:
        start -= 1
    while end < last and classes[data[end]] & _HEX:
        colons += data[end] == 58
        end += 1
    run_end = end
    while end > position + 1 and (data[end - 1] == 46 or (data[end - 1] == 58 and data[end - 2] != 58)):
        end -= 1
    return start, end, colons, run_end


@numba.njit(cache=True, inline="always")
def _dotted(data, position, last, classes):
    """Return the end of a run of digits and single dots, and the number of dots in it."""
    end, dots = position, 0
    while end < last and (classes[data[end]] & _DIGIT or (data[end] == 46 and data[end - 1] != 46)):
        dots += data[end] == 46
        end += 1
    if data[end - 1] == 46:
        return end - 1, dots - 1
    return end, dots


@numba.njit(cache=True, inline="always")
def _opens_account(data, position, first, last, classes):
    """Return whether two capital letters precede two digits."""
    if position < first + 2 or position + 2 >= last:
        return False
    letters = classes[data[position - 2]] & classes[data[position - 1]] & _UPPER
    return letters != 0 and classes[data[position + 1]] & _DIGIT != 0


@numba.njit(cache=True, inline="always")
def _account(data, position, last, classes):
    """Return the end of a run of digits, capital letters and single spaces, and its length without spaces."""
    end, size = position, 0
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
def _number(data, position, last, classes):
    """Return the end of a run of digits with at most two marks between them, and the number of digits."""
    end, digits, marks = position, 0, 0
    number_end = position
    while end < last and marks <= 2:
        kind = classes[data[end]]
        if kind & _DIGIT:
            digits += 1
            marks = 0
            number_end = end + 1
        elif kind & _MARK or data[end] == 43:
            marks += 1
        else:
            break
        end += 1
    return number_end, digits
