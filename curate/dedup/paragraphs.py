"""Boundaries of the lines or paragraphs of documents, and hashes of their words."""

import numba
import numpy as np
from numpy.typing import NDArray

from curate.text.hashing import words_hash
from curate.text.words import Words

_LINE_FEED = 10


def units(data: NDArray[np.uint8], offsets: NDArray[np.int64], *, paragraphs: bool) -> NDArray[np.int64]:
    r"""Find where lines or paragraphs begin. The units cover all bytes: each ends where the next begins.

    A line ends with its line feed. A paragraph ends with the blank lines after it (lines of ASCII white space only).
    Blank lines at the start of a document belong to its first paragraph.

    Parameters
    ----------
    data, offsets
        Document i is ``data[offsets[i]:offsets[i + 1]]``.
    paragraphs
        True for paragraphs, false for lines.

    Returns
    -------
    NDArray[np.int64]
        Byte positions in `data` where units begin, followed by the end of the last document. An empty document has no
        unit.

    Examples
    --------
    >>> data = np.frombuffer(b"a\nb\n \nc", np.uint8)
    >>> [units(data, np.array([0, 7]), paragraphs=paragraphs).tolist() for paragraphs in (True, False)]
    [[0, 6, 7], [0, 2, 4, 6, 7]]
    """
    feeds = int(np.count_nonzero(data[offsets[0] : offsets[-1]] == _LINE_FEED))
    bounds = np.empty(feeds + len(offsets) + 1, np.int64)
    count = _bounds(data, offsets, paragraphs, bounds)
    return bounds[:count]


def unit_hashes(bounds: NDArray[np.int64], words: Words) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    r"""Hash the words of each unit and count them.

    All units without words have the same hash. Where blank lines separate paragraphs, every other line is such a unit.

    Parameters
    ----------
    bounds
        Boundaries of the units, from `units`.
    words
        Words of the documents.

    Returns
    -------
    tuple
        128-bit hashes (see `curate.text.hashing.words_hash`), uint64, shape (units, 2), and numbers of words, int64,
        shape (units,).

    Examples
    --------
    >>> from curate.text.words import segment
    >>> data = np.frombuffer(b"To be!\nto be\n***\n", np.uint8)
    >>> offsets = np.array([0, len(data)])
    >>> hashes, lengths = unit_hashes(units(data, offsets, paragraphs=False), segment(data, offsets))
    >>> bool((hashes[0] == hashes[1]).all()), lengths.tolist()
    (True, [2, 2, 0])
    """
    first_words = np.searchsorted(words.starts, bounds)
    return words_hash(Words(words.starts, words.ends, first_words, words.hashes)), np.diff(first_words)


@numba.njit(cache=True, nogil=True)
def _bounds(data, offsets, paragraphs, bounds):
    count = 0
    for document in range(len(offsets) - 1):
        position, end = offsets[document], offsets[document + 1]
        if position == end:
            continue
        bounds[count] = position
        count += 1
        blank_before, any_before = False, False
        while position < end:
            start, blank = position, True
            while position < end and data[position] != _LINE_FEED:
                blank &= data[position] == 32 or 9 <= data[position] <= 13
                position += 1
            position += position < end
            begins = any_before and (not paragraphs or (blank_before and not blank))
            if begins and start > bounds[count - 1]:
                bounds[count] = start
                count += 1
            blank_before = blank
            any_before = any_before or not paragraphs or not blank
    bounds[count] = offsets[-1]
    return count + 1
