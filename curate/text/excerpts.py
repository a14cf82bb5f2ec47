"""Excerpts of documents, one line each: what models that read a line, and only so much of it, are given."""

import numba
import numpy as np
from numpy.typing import NDArray

_SPACE = np.uint8(32)
_SEEK = 64  # bytes: how far a window moves on to the start of a word


def excerpts(
    data: NDArray[np.uint8], bounds: NDArray[np.int64], max_chars: int, windows: int
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    r"""At most `max_chars` characters of each text, taken from `windows` places, as one line.

    A text that is longer gives ``max_chars // windows`` characters from each of as many places, evenly spread by bytes
    from its beginning on. A window after the first starts behind the first ASCII white space of its first 64 bytes,
    where there is one, and ends where the next begins. ASCII control characters, line breaks among them, become
    spaces, and a space parts two windows.

    Parameters
    ----------
    data
        Valid UTF-8, shape (bytes,).
    bounds
        Text i is ``data[bounds[i]:bounds[i + 1]]``, shape (texts + 1,).
    max_chars
        Most characters (code points) taken of a text.
    windows
        Number of places.

    Returns
    -------
    data, offsets
        The lines, end to end, and where each begins, shape (texts + 1,).

    Examples
    --------
    >>> text = b"to be\nor not to be"
    >>> lines, offsets = excerpts(np.frombuffer(text, np.uint8), np.array([0, 9, len(text)]), 6, 2)
    >>> [lines[start:end].tobytes() for start, end in zip(offsets, offsets[1:])]
    [b'to  or ', b'not be']
    """
    out = np.empty(int(bounds[-1] - bounds[0]) + windows * (len(bounds) - 1), np.uint8)
    offsets = np.zeros(len(bounds), np.int64)
    _excerpts(data, bounds, max_chars, windows, out, offsets)
    return out[: offsets[-1]], offsets


@numba.njit(cache=True, nogil=True)
def _continues(byte):
    return (byte & 0xC0) == 0x80


@numba.njit(cache=True, nogil=True)
def _whole(data, start, end, max_chars):
    """Whether a text has at most `max_chars` characters."""
    if end - start <= max_chars:
        return True
    count = 0
    for at in range(start, end):
        count += not _continues(data[at])
        if count > max_chars:
            return False
    return True


@numba.njit(cache=True, nogil=True)
def _window_start(data, start, end):
    while start < end and _continues(data[start]):
        start += 1
    for at in range(start, min(start + _SEEK, end)):
        if data[at] <= _SPACE:
            return at + 1
    return start


@numba.njit(cache=True, nogil=True)
def _copy(data, start, end, max_chars, out, at):
    """Copy up to `max_chars` characters; where the copy ends in `out`."""
    count = 0
    for position in range(start, end):
        byte = data[position]
        count += not _continues(byte)
        if count > max_chars:
            break
        out[at] = _SPACE if byte < _SPACE or byte == 127 else byte
        at += 1
    return at


@numba.njit(cache=True, nogil=True)
def _excerpts(data, bounds, max_chars, windows, out, offsets):
    at = 0
    for text in range(len(bounds) - 1):
        start, end = bounds[text], bounds[text + 1]
        if _whole(data, start, end, max_chars):
            at = _copy(data, start, end, max_chars, out, at)
        else:
            begin = start
            for window in range(windows):
                stop = end
                if window + 1 < windows:
                    stop = _window_start(data, start + (end - start) * (window + 1) // windows, end)
                if window > 0:
                    out[at] = _SPACE
                    at += 1
                at = _copy(data, begin, stop, max_chars // windows, out, at)
                begin = stop
        offsets[text + 1] = at
