"""Lines and paragraphs of documents, and hashes of what they say."""

import numba
import numpy as np
from numpy.typing import NDArray

from curate.text.hashing import words_hash
from curate.text.words import Words

_LINE_FEED = 10


def units(data: NDArray[np.uint8], offsets: NDArray[np.int64], *, paragraphs: bool) -> NDArray[np.int64]:
    r"""Where lines or paragraphs begin: they cover all bytes, so each ends where the next begins.

    A line ends with its line feed. A paragraph ends with the blank lines after it, which are lines of ASCII white
    space alone; blank lines at the start of a document belong to its first paragraph.

    Parameters
    ----------
    data, offsets
        Document i is ``data[offsets[i]:offsets[i + 1]]``.
    paragraphs
        Paragraphs, and not lines.

    Returns
    -------
    NDArray[np.int64]
        Positions in `data`, the end of the last document included; a document without bytes has no unit.

    Examples
    --------
    >>> data = np.frombuffer(b"a\nb\n \nc", np.uint8)
    >>> [units(data, np.array([0, 7]), paragraphs=kind).tolist() for kind in (True, False)]
    [[0, 6, 7], [0, 2, 4, 6, 7]]
    """
    feeds = int(np.count_nonzero(data[offsets[0] : offsets[-1]] == _LINE_FEED))
    bounds = np.empty(feeds + len(offsets) + 1, np.int64)
    count = _bounds(data, offsets, paragraphs, bounds)
    return bounds[:count]


def unit_hashes(bounds: NDArray[np.int64], words: Words) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    r"""What each unit says, as 128 bits (see `curate.text.hashing.words_hash`), and its number of words.

    Units without words, of which there is one for every other line where blank lines part paragraphs, all have the
    same hash.

    Parameters
    ----------
    bounds
        From `units`.
    words
        Of the documents.

    Examples
    --------
    >>> from curate.text.words import segment
    >>> data = np.frombuffer(b"To be!\nto be\n***\n", np.uint8)
    >>> offsets = np.array([0, len(data)])
    >>> hashes, lengths = unit_hashes(units(data, offsets, paragraphs=False), segment(data, offsets))
    >>> bool((hashes[0] == hashes[1]).all()), lengths.tolist()
    (True, [2, 2, 0])
    """
    inside = np.searchsorted(words.starts, bounds)
    return words_hash(Words(words.starts, words.ends, inside, words.hashes)), np.diff(inside)


@numba.njit(cache=True, nogil=True)
def _bounds(data, offsets, paragraphs, bounds):
    count = 0
    for document in range(len(offsets) - 1):
        at, end = offsets[document], offsets[document + 1]
        if at == end:
            continue
        bounds[count] = at
        count += 1
        blank_before, any_before = False, False
        while at < end:
            start, blank = at, True
            while at < end and data[at] != _LINE_FEED:
                blank &= data[at] == 32 or 9 <= data[at] <= 13
                at += 1
            at += at < end
            begins = any_before and (not paragraphs or (blank_before and not blank))
            if begins and start > bounds[count - 1]:
                bounds[count] = start
                count += 1
            blank_before = blank
            any_before = any_before or not paragraphs or not blank
    bounds[count] = offsets[-1]
    return count + 1
