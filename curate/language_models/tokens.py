"""Tokens of language models: words and punctuation marks, strings between white space, or characters.

- ``words``: a run of letters, digits and marks as in `curate.text.words`, or any other single character that is not
  white space. So a punctuation mark is a token, and so is a character of a script that is written without spaces.
- ``spaces``: a string between white space.
- ``characters``: every character; white space becomes the token ``▁``.

Control characters separate tokens like white space. Tokens with the spelling of a special token (``<s>``, ``</s>`` and
``<unk>``) are left out, as lmplz does with ``--skip_symbols``. The hash of a token depends only on its bytes.
"""

from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from curate.language_models.ccnet import Sentences
from curate.language_models.memory import eight_bytes
from curate.text.unicode import DIGIT, LETTER, MARK, SPACE, UNSPACED, WORD, decode, tables
from curate.text.words import GOLDEN, MULTIPLIER, mix64

UNITS = ("words", "spaces", "characters")
BLANK = "▁"
"""Token that represents white space if tokens are characters."""

_WORDS, _SPACES, _CHARACTERS = range(3)
_STEP = 16  # bytes that are tested together
_SPECIAL = ("<s>", "</s>", "<unk>")


class LineTokens(NamedTuple):
    """Tokens of lines, concatenated.

    Attributes
    ----------
    hashes
        64-bit hash of each token, uint64, shape (tokens,).
    offsets
        Line i has the tokens ``offsets[i]`` up to ``offsets[i + 1]``, int64, shape (lines + 1,).
    starts, ends
        Byte positions of each token in the data of the lines, int64, shape (tokens,).
    """

    hashes: NDArray[np.uint64]
    offsets: NDArray[np.int64]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]


def hash_of(token: str) -> np.uint64:
    """Hash the bytes of one token."""
    data = np.frombuffer(token.encode(), np.uint8)
    return np.uint64(hash_bytes(data, 0, len(data)))


def tokenize(lines: Sentences, unit: str) -> LineTokens:
    r"""Split lines into tokens.

    Parameters
    ----------
    lines
        Lines from `curate.language_models.ccnet.normalize`.
    unit
        What a token is, one of `UNITS`.

    Examples
    --------
    >>> import pyarrow as pa
    >>> from curate.text.batch import TextBatch
    >>> from curate.language_models.ccnet import normalize
    >>> lines = normalize(TextBatch(pa.array(["It's 9 a.m.\nin Osaka (大阪)"])), ccnet=False)
    >>> def split(unit):
    ...     tokens = tokenize(lines, unit)
    ...     return " ".join(bytes(lines.data[s:e]).decode() for s, e in zip(tokens.starts, tokens.ends))
    >>> split("words")
    "It ' s 9 a . m . in Osaka ( 大 阪 )"
    >>> split("spaces")
    "It's 9 a.m. in Osaka (大阪)"
    """
    capacity = len(lines.data) + 1
    starts, ends = np.empty(capacity, np.int64), np.empty(capacity, np.int64)
    hashes, offsets = np.empty(capacity, np.uint64), np.zeros(len(lines.offsets), np.int64)
    special = np.array([hash_of(token) for token in _SPECIAL])
    kinds = _ascii_kinds()
    _tokenize(
        lines.data, lines.offsets, UNITS.index(unit), tables().classes, kinds, special, hash_of(BLANK),
        hashes, offsets, starts, ends,
    )  # fmt: skip
    count = int(offsets[-1])
    return LineTokens(hashes[:count], offsets, starts[:count], ends[:count])


def _ascii_kinds() -> NDArray[np.uint8]:
    """Classify bytes: 1 for an ASCII letter or digit, 2 for a separator, 3 for other ASCII, 0 for a non-ASCII byte."""
    kinds = np.zeros(256, np.uint8)
    for byte in range(128):
        character = chr(byte)
        separates = byte < 32 or byte == 127 or character.isspace()
        kinds[byte] = 1 if character.isalnum() else 2 if separates else 3
    return kinds


@numba.njit(cache=True, nogil=True, inline="always")
def hash_bytes(data, start, end):
    """Hash the token ``data[start:end]``, eight bytes per step.

    There are at least two steps, so that for most tokens no branch depends on the length.
    """
    near = start + 16 > len(data)
    state = (GOLDEN + np.uint64(end - start) * MULTIPLIER) ^ _part(data, start, end, near)
    state *= MULTIPLIER
    state = (state ^ (state >> np.uint64(32)) ^ _part(data, start + 8, end, near)) * MULTIPLIER
    while end - start > 16:
        start += 8
        near = start + 16 > len(data)
        state = (state ^ (state >> np.uint64(32)) ^ _part(data, start + 8, end, near)) * MULTIPLIER
    return mix64(state)


@numba.njit(cache=True, nogil=True, inline="always")
def _part(data, position, end, near):
    """Read up to eight bytes as one number; byte by byte `near` the end of the data."""
    if near:
        word = np.uint64(0)
        for i in range(min(end - position, 8)):
            word |= np.uint64(data[position + i]) << np.uint64(8 * i)
        return word
    half = np.uint64(4 * (8 - max(min(end - position, 8), 0)))
    return eight_bytes(data, position) & (~np.uint64(0) >> half >> half)


@numba.njit(cache=True, nogil=True, inline="always")
def _separates(kind, code):
    return kind & SPACE or code < 32 or 127 <= code < 160


@numba.njit(cache=True, nogil=True, inline="always")
def _is_ascii(data, start):
    bits = 0
    for i in range(_STEP):
        bits |= data[np.uint64(start + i)]
    return bits < 128


@numba.njit(cache=True, nogil=True)
def _end_of_ascii(data, position, end):
    while position + _STEP <= end and _is_ascii(data, position):
        position += _STEP
    while position < end and data[np.uint64(position)] < 128:
        position += 1
    return position


@numba.njit(cache=True, nogil=True)
def _ascii_words(data, position, end, kinds, starts, ends):
    """Find the bounds of the words and other characters in a run of ASCII, and return their number.

    Every byte is written as a start and as an end, but is counted only if it is one. The branches of an ordinary loop
    could not be predicted, and one misprediction costs as much as ten bytes.
    """
    started = np.uint64(0)
    ended = np.uint64(0)
    previous = np.uint8(2)
    for i in range(position, end):
        kind = kinds[data[np.uint64(i)]]
        continues = (kind == 1) & (previous == 1)
        starts[started] = i
        started += np.uint64((kind != 2) & (not continues))
        ends[ended] = i
        ended += np.uint64((previous != 2) & (not continues))
        previous = kind
    ends[ended] = end
    return np.int64(started)


@numba.njit(cache=True, nogil=True)
def _hash_all(data, starts, ends, hashes):
    for token in range(len(hashes)):
        hashes[token] = hash_bytes(data, starts[token], ends[token])


@numba.njit(cache=True, nogil=True)
def _tokenize(  # noqa: C901 - one pass over the bytes
    data, lines, unit, classes, kinds, special, blank, hashes, offsets, starts, ends
):
    count = 0
    for line in range(len(lines) - 1):
        position = lines[line]
        end = lines[line + 1]
        plain_from = position
        while position < end:
            if unit == _WORDS and position >= plain_from and position + _STEP <= end and _is_ascii(data, position):
                plain_from = _end_of_ascii(data, position + _STEP, end)
                added = _ascii_words(data, position, plain_from, kinds, starts[count:], ends[count:])
                position = plain_from
                if position < end and kinds[data[np.uint64(position - 1)]] == 1:  # the last word may continue
                    added -= 1
                    position = starts[count + added]
                _hash_all(data, starts[count:], ends[count:], hashes[count : count + added])
                count += added
                continue
            start = position
            first = kinds[data[np.uint64(position)]]
            if first:
                separates = first == 2
                runs = first == 1
                unspaced = False
                position += 1
            else:
                code, position = decode(data, position)
                kind = classes[code]
                separates = _separates(kind, code)
                runs = kind & (LETTER | DIGIT)
                unspaced = kind & UNSPACED
            if separates and unit != _CHARACTERS:
                continue
            if (unit == _WORDS and runs) or unit == _SPACES:
                while position < end:
                    following = kinds[data[np.uint64(position)]]
                    if unit == _SPACES:
                        if following == 2:
                            break
                        if following == 0:
                            code, after = decode(data, position)
                            if _separates(classes[code], code):
                                break
                            position = after
                        else:
                            position += 1
                    elif following == 1 and not unspaced:
                        position += 1
                    elif following == 0:
                        code, after = decode(data, position)
                        kind = classes[code]
                        if kind & UNSPACED or not kind & (MARK if unspaced else WORD):
                            break
                        position = after
                    else:
                        break
            key = blank if separates else hash_bytes(data, start, position)
            if unit == _SPACES and (key == special[0] or key == special[1] or key == special[2]):
                continue
            hashes[count] = key
            starts[count] = start
            ends[count] = position
            count += 1
        offsets[line + 1] = count
