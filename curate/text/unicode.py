"""Character classes and lower-case mappings as flat tables that numba kernels index by code point.

The source is Python's ``unicodedata``, so the classes agree with ``str.isalpha`` and similar methods. The tables are
built once per process, which takes about 0.1 s. Kernels receive them as arguments, because numba would copy a global
array into the compiled code.
"""

import unicodedata
from functools import cache
from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

LETTER = 1  # general category L*
DIGIT = 2  # N*: decimal digits, letter numbers, other numbers
MARK = 4  # M*: combining marks, which continue a word
SPACE = 8  # str.isspace
PUNCTUATION = 16  # P*
UPPER = 32  # Lu, Lt
UNSPACED = 64  # scripts written without spaces between words: each character is a word of its own
SYMBOL = 128  # S*

WORD = LETTER | DIGIT | MARK

REPLACEMENT = 0xFFFD
_LAST_ASSIGNED = 0x323B0  # end of CJK extension H; above it only tags, variation selectors and private use
_CODE_POINTS = 0x110000

# Han, Hiragana, Katakana, Bopomofo, Thai, Lao, Myanmar, Khmer, Tibetan, Yi, Tai scripts. Korean has spaces.
_UNSPACED_RANGES = (
    (0x0E00, 0x0EFF),
    (0x0F00, 0x0FFF),
    (0x1000, 0x109F),
    (0x1780, 0x17FF),
    (0x1950, 0x19DF),
    (0x19E0, 0x19FF),
    (0x1A20, 0x1AAF),
    (0x2E80, 0x2FDF),
    (0x3005, 0x3007),
    (0x3021, 0x312F),
    (0x31A0, 0x31BF),
    (0x31F0, 0x31FF),
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xA000, 0xA4CF),
    (0xA9E0, 0xA9FF),
    (0xAA60, 0xAADF),
    (0xF900, 0xFAFF),
    (0xFF66, 0xFF9F),
    (0x1B000, 0x1B16F),
    (0x20000, _LAST_ASSIGNED),
)


class Tables(NamedTuple):
    """Class bits (uint8) and simple lower-case mapping (uint32) of each code point, shape (0x110000,) each."""

    classes: NDArray[np.uint8]
    lower: NDArray[np.uint32]


_CLASSES = {"L": LETTER, "N": DIGIT, "M": MARK, "P": PUNCTUATION, "S": SYMBOL}


@cache
def tables() -> Tables:
    """Return the tables, which are built once per process.

    Examples
    --------
    >>> classes, lower = tables()
    >>> bool(classes[ord("é")] & LETTER), chr(lower[ord("É")])
    (True, 'é')
    """
    classes = np.zeros(_CODE_POINTS, dtype=np.uint8)
    lower = np.arange(_CODE_POINTS, dtype=np.uint32)
    codes = [*range(_LAST_ASSIGNED), *range(0xE0000, 0xE01F0)]
    characters = list(map(chr, codes))
    bits_of = {category: _CLASSES.get(category[0], 0) for category in set(map(unicodedata.category, characters))}
    bits_of["Lu"] |= UPPER
    bits_of["Lt"] |= UPPER
    classes[codes] = [bits_of[category] for category in map(unicodedata.category, characters)]
    classes[[ord(character) for character in characters if character.isspace()]] |= SPACE
    folded = map(str.lower, characters)
    mapped = {
        code: ord(low)
        for code, char, low in zip(codes, characters, folded, strict=True)
        if low != char and len(low) == 1
    }
    lower[list(mapped)] = list(mapped.values())
    for first, last in _UNSPACED_RANGES:
        block = classes[first : last + 1]
        block[(block & (LETTER | DIGIT)) != 0] |= UNSPACED
    return Tables(classes, lower)


@numba.njit(cache=True, inline="always")
def decode(data: NDArray[np.uint8], position: int) -> tuple[np.int64, int]:
    """Return the code point at byte `position` of `data`, which must be valid UTF-8, and the start of the next one."""
    first = data[position]
    if first < 0x80:
        return np.int64(first), position + 1
    if first < 0xE0:
        return ((np.int64(first) & 0x1F) << 6) | (np.int64(data[position + 1]) & 0x3F), position + 2
    if first < 0xF0:
        code = ((np.int64(first) & 0x0F) << 12) | ((np.int64(data[position + 1]) & 0x3F) << 6)
        return code | (np.int64(data[position + 2]) & 0x3F), position + 3
    code = ((np.int64(first) & 0x07) << 18) | ((np.int64(data[position + 1]) & 0x3F) << 12)
    return code | ((np.int64(data[position + 2]) & 0x3F) << 6) | (np.int64(data[position + 3]) & 0x3F), position + 4
