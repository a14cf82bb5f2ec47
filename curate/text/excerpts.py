"""Excerpts of documents for readers who are shown only so much.

`excerpts` gives a batch of documents one line each, for models that read a line. `excerpt` keeps line breaks and marks
where text is left out: a chat model sees menus and lists by their lines, and would take a seam for a fault of the
document. `passages` says where an excerpt lies, for people.
"""

from collections.abc import Sequence

import numba
import numpy as np
from numpy.typing import NDArray

PLACES = ("head", "middle", "tail")
GAP = "[...]"

_SPACE = np.uint8(32)
_SEEK = 64  # bytes, or characters of a string: how far a cut moves to fall between words


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


def excerpt(text: str, max_chars: int, places: Sequence[str] = PLACES) -> str:
    r"""At most `max_chars` characters of a text; where some are left out stands ``[...]``, which comes on top.

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
    """Where to read a text if at most `max_chars` characters are shown: all of it, or equal parts from some places.

    A cut inside a word moves back, so that the passage lacks that word, where the word is short.

    Parameters
    ----------
    text
        The document.
    max_chars
        Most characters of all passages together.
    places
        Those of `PLACES` that passages of a longer text are taken from, in order.

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
    """Start and end of a part without the pieces of words that the cuts left, where words are short."""
    first, last = start, end
    if start > 0 and not text[start - 1].isspace():
        first = next((at for at in range(start, min(start + _SEEK, end)) if text[at].isspace()), start)
    if end < len(text) and not text[end].isspace():
        last = next((at for at in range(end, max(end - _SEEK, first), -1) if text[at - 1].isspace()), end)
    return first, last


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
