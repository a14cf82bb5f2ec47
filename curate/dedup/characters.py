"""Characters of documents as tokens, for n-grams of characters.

A document is the sequence of the lower-cased code points of its words (see `curate.text.words`), with one separator
between two words unless both are characters of scripts that are written without spaces: between these a space is
layout, as a line break is. Punctuation, case and layout do not count, as with words; and where each word is one code
point, n-grams of words and of characters are the same.
"""

from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from curate.text.unicode import UNSPACED, decode, tables
from curate.text.words import Words, mix64

_SEPARATOR = np.uint64(ord(" "))


class Characters(NamedTuple):
    """Characters of a batch of documents, end to end.

    Attributes
    ----------
    hashes
        64-bit hash of each character or separator, uint64, shape (characters,).
    offsets
        Document i has the characters ``offsets[i]`` up to ``offsets[i + 1]``, int64, shape (documents + 1,).
    """

    hashes: NDArray[np.uint64]
    offsets: NDArray[np.int64]


def characters(data: NDArray[np.uint8], words: Words) -> Characters:
    """Hash the characters of a batch of documents.

    Parameters
    ----------
    data
        Valid UTF-8 of all documents, shape (bytes,).
    words
        ``segment(data, offsets)``.

    Returns
    -------
    Characters
        The hash of a code point is `mix64` of it; that of the separator is the hash of a space, which no word has.

    Examples
    --------
    >>> from curate.text.words import segment
    >>> def of(text: str) -> list[int]:
    ...     data = np.frombuffer(text.encode(), np.uint8)
    ...     return characters(data, segment(data, np.array([0, len(data)]))).hashes.tolist()
    >>> of("To be!") == of("to, BE"), of("to be") == of("tobe"), len(of("to be")), len(of("東京 は"))
    (True, False, 5, 3)
    """
    classes, lower = tables()
    room = int((words.ends - words.starts).sum()) + len(words.starts)
    hashes = np.empty(room, np.uint64)
    offsets = np.zeros(len(words.offsets), np.int64)
    _characters(data, words.starts, words.ends, words.offsets, classes, lower, hashes, offsets)
    return Characters(hashes[: offsets[-1]], offsets)


@numba.njit(cache=True, nogil=True)
def _characters(data, starts, ends, word_offsets, classes, lower, hashes, offsets):
    separator = mix64(_SEPARATOR)
    found = 0
    for document in range(len(word_offsets) - 1):
        spaced = True
        for word in range(word_offsets[document], word_offsets[document + 1]):
            at = starts[word]
            code, _ = decode(data, at)
            unspaced = classes[code] & UNSPACED != 0
            if word > word_offsets[document] and (spaced or not unspaced):
                hashes[found] = separator
                found += 1
            spaced = not unspaced
            while at < ends[word]:
                code, at = decode(data, at)
                hashes[found] = mix64(np.uint64(lower[code]))
                found += 1
        offsets[document + 1] = found
