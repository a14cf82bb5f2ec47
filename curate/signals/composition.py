"""What documents and lines are made of, a character at a time: lengths, character classes, and a hash of each line.

Counts of up to eight classes are kept in two 64-bit numbers, 16 bits each, so that a byte of ASCII costs two table
look-ups and two additions and no branch depends on it.
"""

from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from curate.text.scan import Lines
from curate.text.unicode import DIGIT, SPACE, UPPER, WORD, decode, tables
from curate.text.words import mix64

_LANE = 16
_FLUSH = 1 << (_LANE - 1)  # characters before a lane could overflow
_CHARS, _UPPER, _DIGITS, _SPACES = range(4)  # lanes of the first number
_PLAIN, _BRACKETS, _CURLY = range(4, 7)  # lanes of the second
_CLASSES = 7
_PLAIN_MARKS, _BRACKET_MARKS, _CURLY_MARKS = b"\n?!,.", b"()[]{}", b"{}"
_ANGLES = (0x27E8, 0x27E9)  # mathematical angle brackets, which NeMo Curator counts too

_START = np.uint64(0x9E3779B97F4A7C15)
_MULTIPLIER = np.uint64(0xD1342543DE82EF95)


class Composition(NamedTuple):
    """Characters of documents and lines.

    Attributes
    ----------
    chars, upper, digits, spaces, plain, brackets, curly
        Code points of each document; among them upper-case letters, digits (``N*``), white space, letters with
        digits, marks and ``LF ? ! , .``, brackets, curly brackets. int64, shape (documents,).
    line_chars, line_upper, line_digits
        The same of each line, from its first to its last visible character, int64, shape (lines,).
    line_hashes
        64-bit hash of that text, uint64, shape (lines,).
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
        What `curate.text.scan.scan` was given and the lines that it found.

    Examples
    --------
    >>> from curate.text.scan import scan
    >>> data = np.frombuffer("Né: 1\n (A)".encode(), np.uint8)
    >>> found = compose(data, np.array([0, len(data)]), scan(data, np.array([0, len(data)]))[1])
    >>> found.chars.tolist(), found.upper.tolist(), found.spaces.tolist(), found.brackets.tolist()
    ([10], [2], [3], [2])
    >>> found.line_chars.tolist(), found.line_digits.tolist()
    ([5, 3], [1, 0])
    """
    classes = tables().classes
    first, second = _ascii_lanes(classes)
    documents = np.zeros((_CLASSES, len(offsets) - 1), np.int64)
    of_lines = np.zeros((3, len(lines.starts)), np.int64)
    hashes = np.empty(len(lines.starts), np.uint64)
    where = offsets, lines.offsets, lines.starts, lines.ends
    _compose(data, *where, first, second, classes, documents, of_lines, hashes)
    return Composition._make([*documents, *of_lines, hashes])


def _ascii_lanes(classes: NDArray[np.uint8]) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Per ASCII byte: what it adds to the first and to the second number."""
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
def _compose(data, offsets, line_offsets, starts, ends, first, second, classes, documents, of_lines, hashes):
    counts = np.zeros(_CLASSES, np.int64)
    for document in range(len(offsets) - 1):
        counts[:] = 0
        at = offsets[document]
        for line in range(line_offsets[document], line_offsets[document + 1]):
            _tally(data, at, starts[line], first, second, classes, counts)
            chars, upper, digits = counts[_CHARS], counts[_UPPER], counts[_DIGITS]
            _tally(data, starts[line], ends[line], first, second, classes, counts)
            of_lines[0, line] = counts[_CHARS] - chars
            of_lines[1, line] = counts[_UPPER] - upper
            of_lines[2, line] = counts[_DIGITS] - digits
            hashes[line] = _hash(data, starts[line], ends[line])
            at = ends[line]
        _tally(data, at, offsets[document + 1], first, second, classes, counts)
        documents[:, document] = counts


@numba.njit(cache=True, nogil=True)
def _tally(data, at, end, first, second, classes, counts):
    """Add the characters from byte `at` to byte `end` to `counts`."""
    while at < end:
        stop = min(end, at + _FLUSH)
        one = two = np.uint64(0)
        while at < stop:
            byte = data[np.uint64(at)]
            if byte < 0x80:
                one += first[byte]
                two += second[byte]
                at += 1
            else:
                code, at = decode(data, at)
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
def _hash(data, at, end):
    state = _START ^ np.uint64(end - at)
    while at + 8 <= end:
        chunk = np.uint64(0)
        for i in range(8):  # one load, as compiled
            chunk |= np.uint64(data[np.uint64(at + i)]) << np.uint64(8 * i)
        state = (state ^ chunk) * _MULTIPLIER
        state ^= state >> np.uint64(32)
        at += 8
    while at < end:
        state = (state ^ np.uint64(data[np.uint64(at)])) * _MULTIPLIER
        at += 1
    return mix64(state)
