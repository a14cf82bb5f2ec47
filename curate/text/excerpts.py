"""Excerpts of documents, for models and people that read only a limited number of characters.

`excerpts` returns a line for each document of a batch, for models that read lines. `excerpt` keeps line breaks and
marks omitted text, for chat models: they recognize menus and lists by their lines, and could mistake an unmarked cut
for a fault of the document. `passages` returns the positions of an excerpt, to show it to people.
"""

from collections.abc import Sequence

import numba
import numpy as np
from numpy.typing import NDArray

PLACES = ("head", "middle", "tail")
GAP = "[...]"

_SPACE = np.uint8(32)
_SEEK = 64  # maximum distance, in bytes or characters, that a cut moves to fall between words


def excerpts(
    data: NDArray[np.uint8], bounds: NDArray[np.int64], max_chars: int, windows: int
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    r"""Return an excerpt of at most `max_chars` characters of each text, as one line.

    A longer text is reduced to `windows` windows of at most ``max_chars // windows`` characters each. Their starts are
    spread evenly over the bytes of the text, and the first window starts with the text. Every other window starts after
    the first ASCII white space in its first 64 bytes, if there is any. A window ends at the latest where the next one
    starts. ASCII control characters, line breaks included, become spaces, and a space separates two windows.

    Parameters
    ----------
    data
        Valid UTF-8, shape (bytes,).
    bounds
        Text i is ``data[bounds[i]:bounds[i + 1]]``, shape (texts + 1,).
    max_chars
        Maximum number of characters (code points) of an excerpt.
    windows
        Number of windows.

    Returns
    -------
    data, offsets
        The lines, concatenated, and the offset of each, shape (texts + 1,).

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


def excerpt(text: str, max_chars: int, places: Sequence[str] = PLACES) -> str:
    r"""Return an excerpt of at most `max_chars` characters. ``[...]`` marks omitted text and does not count.

    Parameters
    ----------
    text, max_chars, places
        See `passages`.

    Examples
    --------
    >>> excerpt("one two three four five six seven", 12, ["head"])
    'one two\n[...]'
    >>> excerpt("one two three four five six seven", 12, ["tail"])
    '[...]\nsix seven'
    >>> excerpt("to be", 12)
    'to be'
    """
    spans = passages(text, max_chars, places)
    shown = f"\n{GAP}\n".join(text[start:end].strip() for start, end in spans)
    before = f"{GAP}\n" if spans[0][0] > 0 else ""
    return before + shown + (f"\n{GAP}" if spans[-1][1] < len(text) else "")


def passages(text: str, max_chars: int, places: Sequence[str] = PLACES) -> list[tuple[int, int]]:
    """Return the passages of an excerpt: the whole text, or parts of equal length if it is longer than `max_chars`.

    A passage that would start or end inside a word is shortened to exclude this word, unless the word is long.

    Parameters
    ----------
    text
        The document.
    max_chars
        Maximum number of characters of all passages together.
    places
        Places of the passages of a longer text: a subset of `PLACES`, in the same order.

    Returns
    -------
    list
        Start and end of each passage, in characters.

    Examples
    --------
    >>> text = "one two three four five six seven eight nine ten"
    >>> [text[start:end] for start, end in passages(text, 30)]
    ['one two ', 'five six ', ' nine ten']
    """
    if len(text) <= max_chars:
        return [(0, len(text))]
    size = max_chars // len(places)
    starts = {"head": 0, "middle": (len(text) - size) // 2, "tail": len(text) - size}
    return [_between_words(text, starts[place], starts[place] + size) for place in places]


def _between_words(text: str, start: int, end: int) -> tuple[int, int]:
    """Move the start and end of a passage to exclude words that they cut in two, unless these words are long."""
    first, last = start, end
    if start > 0 and not text[start - 1].isspace():
        first = next((i for i in range(start, min(start + _SEEK, end)) if text[i].isspace()), start)
    if end < len(text) and not text[end].isspace():
        last = next((i for i in range(end, max(end - _SEEK, first), -1) if text[i - 1].isspace()), end)
    return first, last


@numba.njit(cache=True, nogil=True)
def _continues(byte):
    return (byte & 0xC0) == 0x80


@numba.njit(cache=True, nogil=True)
def _whole(data, start, end, max_chars):
    """Return whether a text has at most `max_chars` characters."""
    if end - start <= max_chars:
        return True
    count = 0
    for position in range(start, end):
        count += not _continues(data[position])
        if count > max_chars:
            return False
    return True


@numba.njit(cache=True, nogil=True)
def _window_start(data, start, end):
    while start < end and _continues(data[start]):
        start += 1
    for position in range(start, min(start + _SEEK, end)):
        if data[position] <= _SPACE:
            return position + 1
    return start


@numba.njit(cache=True, nogil=True)
def _copy(data, start, end, max_chars, out, filled):
    """Copy up to `max_chars` characters to position `filled` of `out`, and return the position after them."""
    count = 0
    for position in range(start, end):
        byte = data[position]
        count += not _continues(byte)
        if count > max_chars:
            break
        out[filled] = _SPACE if byte < _SPACE or byte == 127 else byte
        filled += 1
    return filled


@numba.njit(cache=True, nogil=True)
def _excerpts(data, bounds, max_chars, windows, out, offsets):
    filled = 0
    for text in range(len(bounds) - 1):
        start, end = bounds[text], bounds[text + 1]
        if _whole(data, start, end, max_chars):
            filled = _copy(data, start, end, max_chars, out, filled)
        else:
            window_start = start
            for window in range(windows):
                stop = end
                if window + 1 < windows:
                    stop = _window_start(data, start + (end - start) * (window + 1) // windows, end)
                if window > 0:
                    out[filled] = _SPACE
                    filled += 1
                filled = _copy(data, window_start, stop, max_chars // windows, out, filled)
                window_start = stop
        offsets[text + 1] = filled
