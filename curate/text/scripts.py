"""Detection of the script of documents from their letters (Unicode Standard Annex 24, property Script)."""

from functools import cache

import numba
import numpy as np
from numpy.typing import NDArray

from curate.text.unicode import LETTER, decode, tables

MIXED = "Jpan"  # ISO 15924: Han + Hiragana + Katakana
KANA = 20  # text is Japanese if at least one in 20 of its letters is kana
SHARED = {"Zyyy", "Zinh", "Zzzz"}  # common, inherited, unknown: their letters belong to no script
_NONE = 0
_WIDE = 0x80


@cache
def script_table() -> tuple[tuple[str, ...], NDArray[np.uint8]]:
    """Return the ISO 15924 codes of all scripts, and the index of each code point's script among them.

    The first code is empty, for code points without a script. These include all that are not letters (general category
    ``L*``).
    """
    from fontTools.unicodedata import script

    classes, _ = tables()
    letters = np.flatnonzero(classes & LETTER)
    letter_scripts = [script(chr(code)) for code in letters]
    codes = ("", *sorted({*letter_scripts, MIXED} - SHARED))
    index = {code: position for position, code in enumerate(codes)} | dict.fromkeys(SHARED, _NONE)
    table = np.zeros(len(classes), np.uint8)
    table[letters] = [index[code] for code in letter_scripts]
    return codes, table


def scripts(
    data: NDArray[np.uint8], offsets: NDArray[np.int64]
) -> tuple[NDArray[np.uint8], NDArray[np.float64], NDArray[np.int64]]:
    """Return the most frequent script of each document.

    Han, Hiragana and Katakana count together as ``Jpan`` if at least one in 20 of their letters is kana. Japanese text
    has more kana, and Chinese text has kana only in names and quotations. If several scripts are equally frequent, the
    first in the alphabetical order of their codes is returned.

    Parameters
    ----------
    data
        Valid UTF-8 of all documents, shape (bytes,).
    offsets
        Document i is ``data[offsets[i]:offsets[i + 1]]``, shape (documents + 1,).

    Returns
    -------
    script
        Index into the codes of `script_table`, 0 if no letter has a script, shape (documents,).
    share
        Share of this script among the letters that have a script, NaN if there are none, shape (documents,).
    letters
        Number of letters, including those without a script, shape (documents,).

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
def _scripts(data, offsets, classes, table, special, latin, script_count):
    documents = len(offsets) - 1
    best = np.zeros(documents, np.uint8)
    share = np.full(documents, np.nan)
    letters = np.zeros(documents, np.int64)
    counts = np.zeros(256, np.int64)
    mixed, han, hiragana, katakana = special
    for document in range(documents):
        counts[:] = 0
        position, end = offsets[document], offsets[document + 1]
        while position < end:
            byte = data[np.uint64(position)]
            if byte < _WIDE:
                folded = byte | np.uint8(0x20)
                counts[latin] += np.int64((folded >= np.uint8(97)) & (folded <= np.uint8(122)))
                position += 1
                continue
            code, position = decode(data, position)
            counts[table[code]] += 1
            letters[document] += np.int64(table[code] == 0) & np.int64((classes[code] & LETTER) != 0)
        counts[_NONE] = 0
        kana = counts[hiragana] + counts[katakana]
        if kana > 0 and kana * KANA >= kana + counts[han]:
            counts[mixed] = kana + counts[han]
            counts[han] = counts[hiragana] = counts[katakana] = 0
        total = counts[:script_count].sum()
        letters[document] += total
        if total > 0:
            best[document] = np.argmax(counts[:script_count])
            share[document] = counts[best[document]] / total
    return best, share, letters
