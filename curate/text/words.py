"""Word segmentation and word hashes, by the definition of a word that all stages share (see ``docs/words.md``).

A word starts at a letter or digit and extends over letters, digits and combining marks. In scripts that are written
without spaces (Han, kana, Thai, ...) each character, with the marks that follow it, is a word. So word n-grams are
character n-grams there. Case does not distinguish words. Punctuation, symbols and white space belong to no word. The
definition needs no dictionary and no language code. So counts of documents in all languages are comparable, and one
pass over the UTF-8 bytes of a batch finds and hashes its words.

The hash of a word with lower-cased code points ``c[0], ..., c[m - 1]`` is ``mix64(s[m])`` with ``s[0]`` the 64-bit
golden ratio and ``s[i + 1] = (s[i] ^ c[i]) * K mod 2^64``. Every step is a bijection of the state; `K` is the
multiplier of the generator L64X128Mix (Steele and Vigna, "LXM: better splittable pseudorandom number generators",
2021); the finalizer spreads the state over all 64 bits. The hash depends only on the code points, so it is the same on
every platform and in every run.
"""

from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from curate.text.unicode import DIGIT, LETTER, MARK, UNSPACED, WORD, decode, tables

GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2^64 divided by the golden ratio: its multiples are spread evenly
MULTIPLIER = np.uint64(0xD1342543DE82EF95)  # of L64X128Mix
_BREAK = 0  # in the ASCII table: not a word character
_WIDE = 0x80  # in the ASCII table: a byte of a non-ASCII character
_ASCII = 0x7F


class Words(NamedTuple):
    """Words of a batch of documents, concatenated.

    Attributes
    ----------
    starts, ends
        Byte positions of each word in the batch's data, int64, shape (words,).
    offsets
        Document i has the words ``offsets[i]`` up to ``offsets[i + 1]``, int64, shape (documents + 1,).
    hashes
        64-bit hash of each lower-cased word, uint64, shape (words,).
    """

    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    offsets: NDArray[np.int64]
    hashes: NDArray[np.uint64]


def segment(data: NDArray[np.uint8], offsets: NDArray[np.int64]) -> Words:
    """Find and hash the words of a batch of documents.

    Parameters
    ----------
    data
        Valid UTF-8 of all documents, shape (bytes,).
    offsets
        Document i is ``data[offsets[i]:offsets[i + 1]]``, shape (documents + 1,).

    Returns
    -------
    Words
        Words of all documents. Positions are relative to the start of `data`.

    Examples
    --------
    >>> text = "Don't panic! 東京 DON'T".encode()
    >>> words = segment(np.frombuffer(text, np.uint8), np.array([0, len(text)]))
    >>> [text[start:end].decode() for start, end in zip(words.starts, words.ends)]
    ['Don', 't', 'panic', '東', '京', 'DON', 'T']
    >>> bool(words.hashes[0] == words.hashes[5])
    True
    """
    # Of two neighbouring words, one has three bytes, or a byte separates them. Unwritten pages take no memory.
    capacity = int(((np.diff(offsets) + 1) // 2).sum())
    starts = np.empty(capacity, np.int64)
    ends = np.empty(capacity, np.int64)
    hashes = np.empty(capacity, np.uint64)
    word_offsets = np.zeros(len(offsets), np.int64)
    classes, lower = tables()
    _segment(data, offsets, _ascii_table(classes, lower), classes, lower, starts, ends, hashes, word_offsets)
    count = int(word_offsets[-1])
    return Words(starts[:count], ends[:count], word_offsets, hashes[:count])


def _ascii_table(classes: NDArray[np.uint8], lower: NDArray[np.uint32]) -> NDArray[np.uint8]:
    """Return, for each byte, the lower-case ASCII word character, `_BREAK` or `_WIDE`, shape (256,)."""
    table = np.full(256, _WIDE, np.uint8)
    table[:0x80] = np.where(classes[:0x80] & WORD, lower[:0x80], _BREAK)
    return table


@numba.njit(cache=True, nogil=True)
def mix64(x):
    """Mix a 64-bit number by a bijection that spreads every bit over all 64 (Stafford's variant 13, as in SplitMix64).

    Parameters
    ----------
    x
        A uint64 number or array.

    Examples
    --------
    >>> hex(mix64(np.uint64(1)))
    '0x5692161d100b05e5'
    """
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@numba.njit(cache=True, nogil=True)
def _segment(  # noqa: C901 - one function, because two functions run at half the speed
    data, offsets, ascii_table, classes, lower, starts, ends, hashes, word_offsets
):
    # Indices are cast to uint64, because numba checks signed ones for negative indexing, which costs about 15 % here.
    count = 0
    for document in range(len(offsets) - 1):
        position = offsets[document]
        end = offsets[document + 1]
        while position < end:
            start = position
            folded = ascii_table[data[np.uint64(position)]]
            if folded == _BREAK:
                position += 1
                continue
            state = GOLDEN
            continues = WORD
            if folded == _WIDE:
                code, position = decode(data, position)
                kind = classes[code]
                if not kind & (LETTER | DIGIT):
                    continue
                if kind & UNSPACED:
                    continues = MARK
                state = (state ^ np.uint64(lower[code])) * MULTIPLIER
            while position < end:
                while continues == WORD and position < end:
                    folded = ascii_table[data[np.uint64(position)]]
                    if not folded & _ASCII:
                        break
                    position += 1
                    state = (state ^ np.uint64(folded)) * MULTIPLIER
                if position == end or data[np.uint64(position)] < _WIDE:
                    break
                code, after = decode(data, position)
                kind = classes[code]
                if kind & UNSPACED or not kind & continues:
                    break
                position = after
                state = (state ^ np.uint64(lower[code])) * MULTIPLIER
            starts[count] = start
            ends[count] = position
            hashes[count] = mix64(state)
            count += 1
        word_offsets[document + 1] = count
