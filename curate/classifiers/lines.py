r"""Normalization of documents to lines of words separated by spaces, the input of the classifiers.

Training and scoring use the same normalization, and no other. Letters become lower case (by the simple mapping of code
points, as in `curate.text.words`). White space, control and format characters become one space. Every symbol, and every
character of a script without spaces, becomes a word, together with the marks that follow it. So "end." and "end" share
a word, and no text can contain one of fastText's marks, such as ``__label__``, as a word.
"""

import numba
import numpy as np
from numpy.typing import NDArray

from curate.text.unicode import MARK, SPACE, UNSPACED, WORD, decode, tables

_SPACE = np.uint8(32)
_GROWTH = 3  # maximum output bytes per input byte: a symbol of one byte between two spaces


def line_of_words(data: NDArray[np.uint8], offsets: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    r"""Return the normalized line of each document.

    Parameters
    ----------
    data, offsets
        Document i is ``data[offsets[i]:offsets[i + 1]]``, valid UTF-8.

    Returns
    -------
    data, offsets
        The lines, concatenated, and the offset of each, shape (documents + 1,). The line of a document without words
        and symbols is empty.

    Examples
    --------
    >>> text = "Don't\n\n  PANIC! Élan 東京".encode()
    >>> lines, offsets = line_of_words(np.frombuffer(text, np.uint8), np.array([0, len(text)]))
    >>> lines.tobytes().decode()
    "don ' t panic ! élan 東 京"
    """
    classes, lower = tables()
    out = np.empty(_GROWTH * int(offsets[-1] - offsets[0]) + 4, np.uint8)
    bounds = np.zeros(len(offsets), np.int64)
    _lines(data, offsets, classes, lower, out, bounds)
    return out[: bounds[-1]], bounds


@numba.njit(cache=True, nogil=True, inline="always")
def _encode(code, out, position):
    """Write a code point as UTF-8, and return the position after it."""
    if code < 0x80:
        out[position] = code
        return position + 1
    if code < 0x800:
        out[position] = 0xC0 | (code >> 6)
        out[position + 1] = 0x80 | (code & 0x3F)
        return position + 2
    if code < 0x10000:
        out[position] = 0xE0 | (code >> 12)
        out[position + 1] = 0x80 | ((code >> 6) & 0x3F)
        out[position + 2] = 0x80 | (code & 0x3F)
        return position + 3
    out[position] = 0xF0 | (code >> 18)
    out[position + 1] = 0x80 | ((code >> 12) & 0x3F)
    out[position + 2] = 0x80 | ((code >> 6) & 0x3F)
    out[position + 3] = 0x80 | (code & 0x3F)
    return position + 4


@numba.njit(cache=True, nogil=True)
def _lines(data, offsets, classes, lower, out, bounds):
    written = 0
    for document in range(len(offsets) - 1):
        position, end, first = offsets[document], offsets[document + 1], written
        space_due = False  # a space is due before the next character
        while position < end:
            code, position = decode(data, position)
            kind = classes[code]
            if kind & WORD and not kind & UNSPACED:
                if space_due and written > first:
                    out[written] = _SPACE
                    written += 1
                space_due = False
                written = _encode(np.int64(lower[code]), out, written)
            elif kind == 0 or kind & SPACE:
                space_due = True
            else:  # a symbol, or a character of a script without spaces, with the marks that follow it
                if written > first:
                    out[written] = _SPACE
                    written += 1
                written = _encode(np.int64(lower[code]), out, written)
                while position < end:
                    following, after = decode(data, position)
                    if not classes[following] & MARK:
                        break
                    written = _encode(following, out, written)
                    position = after
                space_due = True
        bounds[document + 1] = written
