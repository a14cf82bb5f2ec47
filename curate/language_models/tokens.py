"""Tokens of language models: lines cut into words and marks, into what stands between spaces, or into characters.

- ``words``: a run of letters, digits and marks as in `curate.text.words` (a character of a script without spaces is
  one alone), or any other character that is not white space: punctuation marks are tokens.
- ``spaces``: what stands between white space.
- ``characters``: every character; white space is the token ``▁``.

Control characters separate like white space. Tokens that are written like the special ones, ``<s>``, ``</s>`` and
``<unk>``, are left out, as lmplz does with ``--skip_symbols``. A token's hash depends on its bytes alone.
"""

from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from curate.language_models.ccnet import Sentences
from curate.language_models.memory import eight_bytes
from curate.text.unicode import DIGIT, LETTER, MARK, SPACE, UNSPACED, WORD, decode, tables
from curate.text.words import mix64

UNITS = ("words", "spaces", "characters")
BLANK = "▁"
"""The token of white space among characters."""

_WORDS, _SPACES, _CHARACTERS = range(3)
_START = np.uint64(0x9E3779B97F4A7C15)
_MULTIPLIER = np.uint64(0xD1342543DE82EF95)
_STEP = 16  # bytes that are looked at together
_SPECIAL = ("<s>", "</s>", "<unk>")


class LineTokens(NamedTuple):
    """Tokens of lines, end to end.

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
    """Hash of one token."""
    data = np.frombuffer(token.encode(), np.uint8)
    return np.uint64(hash_bytes(data, 0, len(data)))


def tokenize(lines: Sentences, unit: str) -> LineTokens:
    r"""Cut lines into tokens.

    Parameters
    ----------
    lines
        From `curate.language_models.ccnet.normalize`.
    unit
        One of `UNITS`.

    Examples
    --------
    >>> import pyarrow as pa
    >>> from curate.text.batch import TextBatch
    >>> from curate.language_models.ccnet import normalize
    >>> lines = normalize(TextBatch(pa.array(["It's 9 a.m.\nin Osaka (大阪)"])), ccnet=False)
    >>> def of(unit):
    ...     tokens = tokenize(lines, unit)
    ...     return " ".join(bytes(lines.data[s:e]).decode() for s, e in zip(tokens.starts, tokens.ends))
    >>> of("words")
    "It ' s 9 a . m . in Osaka ( 大 阪 )"
    >>> of("spaces")
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
    found = int(offsets[-1])
    return LineTokens(hashes[:found], offsets, starts[:found], ends[:found])


def _ascii_kinds() -> NDArray[np.uint8]:
    """Of bytes: 1 for a letter or digit, 2 for a separator, 3 for another character, 0 for a byte of a longer one."""
    kinds = np.zeros(256, np.uint8)
    for byte in range(128):
        character = chr(byte)
        separates = byte < 32 or byte == 127 or character.isspace()
        kinds[byte] = 1 if character.isalnum() else 2 if separates else 3
    return kinds


@numba.njit(cache=True, nogil=True, inline="always")
def hash_bytes(data, start, end):
    """Hash of the token ``data[start:end]``, eight bytes a step.

    Two steps at least, so that for most tokens no branch depends on their length.
    """
    near = start + 16 > len(data)
    state = (_START + np.uint64(end - start) * _MULTIPLIER) ^ _part(data, start, end, near)
    state *= _MULTIPLIER
    state = (state ^ (state >> np.uint64(32)) ^ _part(data, start + 8, end, near)) * _MULTIPLIER
    while end - start > 16:
        start += 8
        near = start + 16 > len(data)
        state = (state ^ (state >> np.uint64(32)) ^ _part(data, start + 8, end, near)) * _MULTIPLIER
    return mix64(state)


@numba.njit(cache=True, nogil=True, inline="always")
def _part(data, at, end, near):
    """Up to eight bytes as a number, byte by byte `near` the end of the data."""
    if near:
        word = np.uint64(0)
        for i in range(min(end - at, 8)):
            word |= np.uint64(data[at + i]) << np.uint64(8 * i)
        return word
    half = np.uint64(4 * (8 - max(min(end - at, 8), 0)))
    return eight_bytes(data, at) & (~np.uint64(0) >> half >> half)


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
def _end_of_ascii(data, at, end):
    while at + _STEP <= end and _is_ascii(data, at):
        at += _STEP
    while at < end and data[np.uint64(at)] < 128:
        at += 1
    return at


@numba.njit(cache=True, nogil=True)
def _ascii_words(data, at, end, kinds, starts, ends):
    """Bounds of the words and marks of a run of ASCII; returns how many there are.

    Every byte is written down as a start and as an end, but counted only if it is one: where a word ends cannot be
    foreseen, and a wrong guess of the processor costs as much as ten bytes.
    """
    started = np.uint64(0)
    ended = np.uint64(0)
    before = np.uint8(2)
    for i in range(at, end):
        kind = kinds[data[np.uint64(i)]]
        goes_on = (kind == 1) & (before == 1)
        starts[started] = i
        started += np.uint64((kind != 2) & (not goes_on))
        ends[ended] = i
        ended += np.uint64((before != 2) & (not goes_on))
        before = kind
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
    found = 0
    for line in range(len(lines) - 1):
        at = lines[line]
        end = lines[line + 1]
        plain_from = at
        while at < end:
            if unit == _WORDS and at >= plain_from and at + _STEP <= end and _is_ascii(data, at):
                plain_from = _end_of_ascii(data, at + _STEP, end)
                more = _ascii_words(data, at, plain_from, kinds, starts[found:], ends[found:])
                at = plain_from
                if at < end and kinds[data[np.uint64(at - 1)]] == 1:  # the last word may go on
                    more -= 1
                    at = starts[found + more]
                _hash_all(data, starts[found:], ends[found:], hashes[found : found + more])
                found += more
                continue
            start = at
            first = kinds[data[np.uint64(at)]]
            if first:
                separates = first == 2
                runs = first == 1
                unspaced = False
                at += 1
            else:
                code, at = decode(data, at)
                kind = classes[code]
                separates = _separates(kind, code)
                runs = kind & (LETTER | DIGIT)
                unspaced = kind & UNSPACED
            if separates and unit != _CHARACTERS:
                continue
            if (unit == _WORDS and runs) or unit == _SPACES:
                while at < end:
                    following = kinds[data[np.uint64(at)]]
                    if unit == _SPACES:
                        if following == 2:
                            break
                        if following == 0:
                            code, after = decode(data, at)
                            if _separates(classes[code], code):
                                break
                            at = after
                        else:
                            at += 1
                    elif following == 1 and not unspaced:
                        at += 1
                    elif following == 0:
                        code, after = decode(data, at)
                        kind = classes[code]
                        if kind & UNSPACED or not kind & (MARK if unspaced else WORD):
                            break
                        at = after
                    else:
                        break
            key = blank if separates else hash_bytes(data, start, at)
            if unit == _SPACES and (key == special[0] or key == special[1] or key == special[2]):
                continue
            hashes[found] = key
            starts[found] = start
            ends[found] = at
            found += 1
        offsets[line + 1] = found
