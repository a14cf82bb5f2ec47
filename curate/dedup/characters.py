"""Characters of documents as tokens, for character n-grams.

A document is the sequence of the lower-cased code points of its words (see `curate.text.words`). One separator stands
between two words, unless both neighbouring characters belong to scripts that are written without spaces. In these
scripts a space is layout, like a line break. Punctuation, case and layout are ignored, as they are for words. Where
every word is one code point, word n-grams and character n-grams are the same.
"""

from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from curate.text.unicode import UNSPACED, decode, tables
from curate.text.words import Words, mix64

_SEPARATOR = np.uint64(ord(" "))


class Characters(NamedTuple):
    """Hashes of the characters of a batch of documents, concatenated.

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
        The words of the documents, from ``segment(data, offsets)``.

    Returns
    -------
    Characters
        A character's hash is `mix64` of its code point. The separator has the hash of a space, which no word contains.

    Examples
    --------
    >>> from curate.text.words import segment
    >>> def hashes(text: str) -> list[int]:
    ...     data = np.frombuffer(text.encode(), np.uint8)
    ...     return characters(data, segment(data, np.array([0, len(data)]))).hashes.tolist()
    >>> hashes("To be!") == hashes("to, BE"), hashes("to be") == hashes("tobe")
    (True, False)
    >>> len(hashes("to be")), len(hashes("東京 は"))
    (5, 3)
    """
    classes, lower = tables()
    capacity = int((words.ends - words.starts).sum()) + len(words.starts)
    hashes = np.empty(capacity, np.uint64)
    offsets = np.zeros(len(words.offsets), np.int64)
    _characters(data, words.starts, words.ends, words.offsets, classes, lower, hashes, offsets)
    return Characters(hashes[: offsets[-1]], offsets)


@numba.njit(cache=True, nogil=True)
def _characters(data, starts, ends, word_offsets, classes, lower, hashes, offsets):
    separator = mix64(_SEPARATOR)
    count = 0
    for document in range(len(word_offsets) - 1):
        spaced = True
        for word in range(word_offsets[document], word_offsets[document + 1]):
            position = starts[word]
            code, _ = decode(data, position)
            unspaced = classes[code] & UNSPACED != 0
            if word > word_offsets[document] and (spaced or not unspaced):
                hashes[count] = separator
                count += 1
            spaced = not unspaced
            while position < ends[word]:
                code, position = decode(data, position)
                hashes[count] = mix64(np.uint64(lower[code]))
                count += 1
        offsets[document + 1] = count
