r"""One line per document for models that read words between spaces: lower case, every symbol a word of its own.

This is the only text normalization of the classifiers trained here, and scoring uses the same. Upper-case letters
become lower-case ones (the simple mapping of one code point, as in `curate.text.words`); white space, control and
format characters become one space; every symbol, and every character of a script that is written without spaces,
stands between spaces together with the marks that follow it. So "end." and "end" share a word, and no text can write
one of fastText's own marks, such as ``__label__``, as one word.
"""

import numba
import numpy as np
from numpy.typing import NDArray

from curate.text.unicode import MARK, SPACE, UNSPACED, WORD, decode, tables

_SPACE = np.uint8(32)
_GROWTH = 3  # bytes out per byte in: a symbol of one byte between two spaces


def line_of_words(data: NDArray[np.uint8], offsets: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    r"""The normalized line of each document.

    Parameters
    ----------
    data, offsets
        Document i is ``data[offsets[i]:offsets[i + 1]]``, valid UTF-8.

    Returns
    -------
    data, offsets
        The lines, end to end, and where each begins, shape (documents + 1,); without words a line is empty.

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
def _encode(code, out, at):
    """Write a code point as UTF-8; the place behind it."""
    if code < 0x80:
        out[at] = code
        return at + 1
    if code < 0x800:
        out[at] = 0xC0 | (code >> 6)
        out[at + 1] = 0x80 | (code & 0x3F)
        return at + 2
    if code < 0x10000:
        out[at] = 0xE0 | (code >> 12)
        out[at + 1] = 0x80 | ((code >> 6) & 0x3F)
        out[at + 2] = 0x80 | (code & 0x3F)
        return at + 3
    out[at] = 0xF0 | (code >> 18)
    out[at + 1] = 0x80 | ((code >> 12) & 0x3F)
    out[at + 2] = 0x80 | ((code >> 6) & 0x3F)
    out[at + 3] = 0x80 | (code & 0x3F)
    return at + 4


@numba.njit(cache=True, nogil=True)
def _lines(data, offsets, classes, lower, out, bounds):
    put = 0
    for document in range(len(offsets) - 1):
        at, end, first = offsets[document], offsets[document + 1], put
        apart = False  # a space is due before the next character
        while at < end:
            code, at = decode(data, at)
            kind = classes[code]
            if kind & WORD and not kind & UNSPACED:
                if apart and put > first:
                    out[put] = _SPACE
                    put += 1
                apart = False
                put = _encode(np.int64(lower[code]), out, put)
            elif kind == 0 or kind & SPACE:
                apart = True
            else:  # a symbol, or a character of a script without spaces, with the marks that follow it
                if put > first:
                    out[put] = _SPACE
                    put += 1
                put = _encode(np.int64(lower[code]), out, put)
                while at < end:
                    following, after = decode(data, at)
                    if not classes[following] & MARK:
                        break
                    put = _encode(following, out, put)
                    at = after
                apart = True
        bounds[document + 1] = put
