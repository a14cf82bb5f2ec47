"""Script that a document is written in, by its letters (Unicode Standard Annex 24, property Script)."""

from functools import cache

import numba
import numpy as np
from numpy.typing import NDArray

from curate.text.unicode import LETTER, decode, tables

MIXED = "Jpan"  # ISO 15924: Han + Hiragana + Katakana
KANA = 20  # Japanese: of its letters, at least one in so many is kana
SHARED = {"Zyyy", "Zinh", "Zzzz"}  # common, inherited, unknown: letters of these are of no script
_NONE = 0
_WIDE = 0x80


@cache
def script_table() -> tuple[tuple[str, ...], NDArray[np.uint8]]:
    """ISO 15924 codes, of which the first stands for none, and the index of each code point's among them.

    Code points that are no letters (general category ``L*``) have none.
    """
    from fontTools.unicodedata import script

    classes, _ = tables()
    letters = np.flatnonzero(classes & LETTER)
    found = [script(chr(code)) for code in letters]
    codes = ("", *sorted({*found, MIXED} - SHARED))
    index = {code: position for position, code in enumerate(codes)} | dict.fromkeys(SHARED, _NONE)
    table = np.zeros(len(classes), np.uint8)
    table[letters] = [index[code] for code in found]
    return codes, table


def scripts(
    data: NDArray[np.uint8], offsets: NDArray[np.int64]
) -> tuple[NDArray[np.uint8], NDArray[np.float64], NDArray[np.int64]]:
    """Most frequent script of each document.

    Han, Hiragana and Katakana count as one, ``Jpan``, where at least one letter in 20 of them is kana: Japanese has
    more than that, and Chinese has none but in names and quotations. Of scripts with as many letters, the one that is
    first in the alphabet of their codes wins.

    Parameters
    ----------
    data
        Valid UTF-8 of all documents, shape (bytes,).
    offsets
        Document i is ``data[offsets[i]:offsets[i + 1]]``, shape (documents + 1,).

    Returns
    -------
    script
        Index into the codes of `script_table`, 0 where there is no letter of a script, shape (documents,).
    share
        Letters in this script among the letters that are of a script, NaN where there is none.
    letters
        Number of letters, those of no script included.

    Examples
    --------
    >>> texts = [part.encode() for part in ("über", "да da да", "東京の", "1 ª")]
    >>> offsets = np.cumsum([0, *map(len, texts)])
    >>> script, share, letters = scripts(np.frombuffer(b"".join(texts), np.uint8), offsets)
    >>> [script_table()[0][i] for i in script], share.round(2).tolist(), letters.tolist()
    (['Latn', 'Cyrl', 'Jpan', 'Latn'], [1.0, 0.67, 1.0, 1.0], [4, 6, 3, 1])
    """
    codes, table = script_table()
    classes, _ = tables()
    special = np.array([codes.index(code) for code in (MIXED, "Hani", "Hira", "Kana")])
    return _scripts(data, offsets, classes, table, special, codes.index("Latn"), len(codes))


@numba.njit(cache=True, nogil=True)
def _scripts(data, offsets, classes, table, special, latin, known):
    documents = len(offsets) - 1
    best = np.zeros(documents, np.uint8)
    share = np.full(documents, np.nan)
    letters = np.zeros(documents, np.int64)
    counts = np.zeros(256, np.int64)
    mixed, han, hiragana, katakana = special
    for document in range(documents):
        counts[:] = 0
        at, end = offsets[document], offsets[document + 1]
        while at < end:
            byte = data[np.uint64(at)]
            if byte < _WIDE:
                folded = byte | np.uint8(0x20)
                counts[latin] += np.int64((folded >= np.uint8(97)) & (folded <= np.uint8(122)))
                at += 1
                continue
            code, at = decode(data, at)
            counts[table[code]] += 1
            letters[document] += np.int64(table[code] == 0) & np.int64((classes[code] & LETTER) != 0)
        counts[_NONE] = 0
        kana = counts[hiragana] + counts[katakana]
        if kana > 0 and kana * KANA >= kana + counts[han]:
            counts[mixed] = kana + counts[han]
            counts[han] = counts[hiragana] = counts[katakana] = 0
        total = counts[:known].sum()
        letters[document] += total
        if total > 0:
            best[document] = np.argmax(counts[:known])
            share[document] = counts[best[document]] / total
    return best, share, letters
