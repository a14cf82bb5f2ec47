"""Words and phrases of lists, and where they stand in documents.

Lists and documents are cut into the same words (`curate.text.words`): upper or lower case and punctuation do not
matter, an entry may have several words, and in scripts without spaces an entry is a sequence of characters. An entry is
found wherever its words follow one another, entries inside of others included.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from curate.text.words import Words, mix64, segment

_ABSENT, _PREFIX, _ENTRY = 0, 1, 2
_FACTOR = np.uint64(0x9E3779B97F4A7C15)


class WordList(NamedTuple):
    """A hash table of the entries and of their beginnings: keys, uint64, and which of the two they are, uint8."""

    keys: NDArray[np.uint64]
    kinds: NDArray[np.uint8]


def read_entries(text: str) -> list[str]:
    r"""Entries of a list file: one per line, blank lines and lines that start with ``#`` aside.

    Examples
    --------
    >>> read_entries("# a list\none\n\n two words \n")
    ['one', 'two words']
    """
    lines = (line.strip() for line in text.replace("\ufeff", "").splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def compile_list(entries: Iterable[str]) -> WordList:
    """Make a list to look up; an entry without a letter or digit is in no text and leaves no trace.

    Examples
    --------
    >>> int((compile_list(["bad word", "worse", "!"]).kinds == 2).sum())
    2
    """
    encoded = [entry.encode() for entry in entries]
    data = np.frombuffer(b"".join(encoded), np.uint8)
    words = segment(data, np.cumsum([0, *map(len, encoded)]))
    slots = 1 << (4 * len(words.hashes) + 1).bit_length()
    made = WordList(np.zeros(slots, np.uint64), np.zeros(slots, np.uint8))
    _compile(words.hashes, words.offsets, *made)
    return made


def count_entries(words: Words, listed: WordList) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Occurrences of entries in each document, and how many of its words are in one, shape (documents,) each.

    Examples
    --------
    >>> data = np.frombuffer(b"A Bad, bad word", np.uint8)
    >>> words = segment(data, np.array([0, len(data)]))
    >>> [column.tolist() for column in count_entries(words, compile_list(["bad", "bad word"]))]
    [[3], [3]]
    """
    hits, covered = np.zeros((2, len(words.offsets) - 1), np.int64)
    _count_entries(words.hashes, words.offsets, *listed, hits, covered)
    return hits, covered


@numba.njit(cache=True, inline="always")
def _slot(key, keys, kinds):
    """Where a key is, or would be."""
    mask = np.uint64(len(keys) - 1)
    slot = key & mask
    while kinds[slot] != _ABSENT and keys[slot] != key:
        slot = (slot + np.uint64(1)) & mask
    return slot


@numba.njit(cache=True, inline="always")
def _follow(state, word):
    """Key of a sequence of words with one more behind it; the multiplication keeps two equal words from cancelling."""
    return mix64(state * _FACTOR + word)


@numba.njit(cache=True, nogil=True)
def _compile(hashes, offsets, keys, kinds):
    for entry in range(len(offsets) - 1):
        state = np.uint64(0)
        for word in range(offsets[entry], offsets[entry + 1]):
            state = hashes[word] if word == offsets[entry] else _follow(state, hashes[word])
            slot = _slot(state, keys, kinds)
            keys[slot] = state
            kinds[slot] = max(kinds[slot], _ENTRY if word == offsets[entry + 1] - 1 else _PREFIX)


@numba.njit(cache=True, nogil=True)
def _count_entries(hashes, offsets, keys, kinds, hits, covered):
    for document in range(len(offsets) - 1):
        reach = offsets[document]
        for start in range(offsets[document], offsets[document + 1]):
            state = hashes[start]
            word = start
            while True:
                kind = kinds[_slot(state, keys, kinds)]
                if kind == _ABSENT:
                    break
                word += 1
                if kind == _ENTRY:
                    hits[document] += 1
                    covered[document] += max(word - max(start, reach), 0)
                    reach = max(reach, word)
                if word == offsets[document + 1]:
                    break
                state = _follow(state, hashes[word])
