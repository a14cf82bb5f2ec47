"""Counts of characters by class in documents and lines, and a hash of each line.

Two 64-bit numbers hold the counts of up to eight classes, in lanes of 16 bits. So an ASCII byte costs two table lookups
and two additions, and no branch depends on it.
"""

from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from curate.text.scan import Lines
from curate.text.unicode import DIGIT, SPACE, UPPER, WORD, decode, tables
from curate.text.words import GOLDEN, MULTIPLIER, mix64

_LANE = 16
_FLUSH = 1 << (_LANE - 1)  # number of characters after which the lanes are emptied, before one could overflow
_CHARS, _UPPER, _DIGITS, _SPACES = range(4)  # lanes of the first number
_PLAIN, _BRACKETS, _CURLY = range(4, 7)  # lanes of the second number
_CLASSES = 7
_PLAIN_MARKS, _BRACKET_MARKS, _CURLY_MARKS = b"\n?!,.", b"()[]{}", b"{}"
_ANGLES = (0x27E8, 0x27E9)  # mathematical angle brackets, which NeMo Curator counts too


class Composition(NamedTuple):
    """Counts of characters in documents and lines.

    Attributes
    ----------
    chars, upper, digits, spaces, plain, brackets, curly
        Counts in each document, int64, shape (documents,): all code points; upper-case letters; digits (``N*``); white
        space; letters, digits, marks and ``LF ? ! , .``; brackets; curly brackets.
    line_chars, line_upper, line_digits
        Counts in each line, from its first to its last visible character, int64, shape (lines,).
    line_hashes
        64-bit hash of the same part of each line, uint64, shape (lines,).
    """

    chars: NDArray[np.int64]
    upper: NDArray[np.int64]
    digits: NDArray[np.int64]
    spaces: NDArray[np.int64]
    plain: NDArray[np.int64]
    brackets: NDArray[np.int64]
    curly: NDArray[np.int64]
    line_chars: NDArray[np.int64]
    line_upper: NDArray[np.int64]
    line_digits: NDArray[np.int64]
    line_hashes: NDArray[np.uint64]


def compose(data: NDArray[np.uint8], offsets: NDArray[np.int64], lines: Lines) -> Composition:
    r"""Count the characters of a batch and hash its lines.

    Parameters
    ----------
    data, offsets, lines
        Arguments of `curate.text.scan.scan`, and the lines that it returned.

    Examples
    --------
    >>> from curate.text.scan import scan
    >>> data = np.frombuffer("Né: 1\n (A)".encode(), np.uint8)
    >>> counts = compose(data, np.array([0, len(data)]), scan(data, np.array([0, len(data)]))[1])
    >>> counts.chars.tolist(), counts.upper.tolist(), counts.spaces.tolist(), counts.brackets.tolist()
    ([10], [2], [3], [2])
    >>> counts.line_chars.tolist(), counts.line_digits.tolist()
    ([5, 3], [1, 0])
    """
    classes = tables().classes
    first, second = _ascii_lanes(classes)
    document_counts = np.zeros((_CLASSES, len(offsets) - 1), np.int64)
    line_counts = np.zeros((3, len(lines.starts)), np.int64)
    hashes = np.empty(len(lines.starts), np.uint64)
    bounds = offsets, lines.offsets, lines.starts, lines.ends
    _compose(data, *bounds, first, second, classes, document_counts, line_counts, hashes)
    return Composition._make([*document_counts, *line_counts, hashes])


def _ascii_lanes(classes: NDArray[np.uint8]) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Return, for each ASCII byte, the summands for the first and for the second number, shape (128,) each."""
    ascii_classes = classes[:0x80]
    members = np.zeros((8, 0x80), np.uint64)
    members[_CHARS] = 1
    members[_UPPER] = ascii_classes & UPPER != 0
    members[_DIGITS] = ascii_classes & DIGIT != 0
    members[_SPACES] = ascii_classes & SPACE != 0
    members[_PLAIN] = ascii_classes & WORD != 0
    for lane, marks in ((_PLAIN, _PLAIN_MARKS), (_BRACKETS, _BRACKET_MARKS), (_CURLY, _CURLY_MARKS)):
        members[lane, list(marks)] = 1
    shifts = (np.arange(4, dtype=np.uint64) * np.uint64(_LANE))[:, None]
    return (members[:4] << shifts).sum(axis=0, dtype=np.uint64), (members[4:] << shifts).sum(axis=0, dtype=np.uint64)


@numba.njit(cache=True, nogil=True)
def _compose(data, offsets, line_offsets, starts, ends, first, second, classes, document_counts, line_counts, hashes):
    counts = np.zeros(_CLASSES, np.int64)
    for document in range(len(offsets) - 1):
        counts[:] = 0
        position = offsets[document]
        for line in range(line_offsets[document], line_offsets[document + 1]):
            _tally(data, position, starts[line], first, second, classes, counts)
            chars, upper, digits = counts[_CHARS], counts[_UPPER], counts[_DIGITS]
            _tally(data, starts[line], ends[line], first, second, classes, counts)
            line_counts[0, line] = counts[_CHARS] - chars
            line_counts[1, line] = counts[_UPPER] - upper
            line_counts[2, line] = counts[_DIGITS] - digits
            hashes[line] = _hash(data, starts[line], ends[line])
            position = ends[line]
        _tally(data, position, offsets[document + 1], first, second, classes, counts)
        document_counts[:, document] = counts


@numba.njit(cache=True, nogil=True)
def _tally(data, position, end, first, second, classes, counts):
    """Add the counts of the characters from byte `position` to byte `end` to `counts`."""
    while position < end:
        stop = min(end, position + _FLUSH)
        one = two = np.uint64(0)
        while position < stop:
            byte = data[np.uint64(position)]
            if byte < 0x80:
                one += first[byte]
                two += second[byte]
                position += 1
            else:
                code, position = decode(data, position)
                kind = classes[code]
                counts[_CHARS] += 1
                counts[_UPPER] += kind & UPPER != 0
                counts[_DIGITS] += kind & DIGIT != 0
                counts[_SPACES] += kind & SPACE != 0
                counts[_PLAIN] += kind & WORD != 0
                counts[_BRACKETS] += code in _ANGLES
        for lane in range(4):
            counts[lane] += np.int64((one >> np.uint64(_LANE * lane)) & np.uint64(0xFFFF))
        for lane in range(3):
            counts[4 + lane] += np.int64((two >> np.uint64(_LANE * lane)) & np.uint64(0xFFFF))


@numba.njit(cache=True, nogil=True)
def _hash(data, position, end):
    state = GOLDEN ^ np.uint64(end - position)
    while position + 8 <= end:
        chunk = np.uint64(0)
        for i in range(8):  # compiled to one load
            chunk |= np.uint64(data[np.uint64(position + i)]) << np.uint64(8 * i)
        state = (state ^ chunk) * MULTIPLIER
        state ^= state >> np.uint64(32)
        position += 8
    while position < end:
        state = (state ^ np.uint64(data[np.uint64(position)])) * MULTIPLIER
        position += 1
    return mix64(state)
