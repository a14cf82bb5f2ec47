"""Word lists, and the counts of their entries in documents.

Lists and documents are split into the words of `curate.text.words`. So case and punctuation do not matter, an entry may
have several words, and in scripts without spaces an entry is a sequence of characters. An entry matches wherever its
words occur in sequence, even within the match of another entry.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from curate.text.words import GOLDEN, Words, mix64, segment

_ABSENT, _PREFIX = -2, -1


class WordList(NamedTuple):
    """A hash table of the entries of a list and of their prefixes.

    Attributes
    ----------
    keys
        Hashes of entries and prefixes, uint64, shape (slots,).
    numbers
        Number of the entry in each slot, counted from 0; -1 for a prefix that is not an entry, -2 for a free slot,
        int64, shape (slots,).
    """

    keys: NDArray[np.uint64]
    numbers: NDArray[np.int64]


class EntryCounts(NamedTuple):
    """Counts per document, int64, shape (documents,) each.

    Attributes
    ----------
    hits
        Occurrences of entries.
    covered
        Words that belong to an occurrence.
    distinct
        Distinct entries.
    """

    hits: NDArray[np.int64]
    covered: NDArray[np.int64]
    distinct: NDArray[np.int64]


def read_entries(text: str) -> list[str]:
    r"""Return the entries of a list file: its lines, without blank lines and lines that start with ``#``.

    Examples
    --------
    >>> read_entries("# a list\none\n\n two words \n")
    ['one', 'two words']
    """
    lines = (line.strip() for line in text.replace("\ufeff", "").splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def compile_list(entries: Iterable[str]) -> WordList:
    """Compile a list for `count_entries`. Entries without a letter or digit and repeated entries are ignored.

    Examples
    --------
    >>> int(compile_list(["bad word", "worse", "Worse", "!"]).numbers.max()) + 1
    2
    """
    encoded = [entry.encode() for entry in entries]
    data = np.frombuffer(b"".join(encoded), np.uint8)
    words = segment(data, np.cumsum([0, *map(len, encoded)]))
    slots = 1 << (4 * len(words.hashes) + 1).bit_length()
    word_list = WordList(np.zeros(slots, np.uint64), np.full(slots, _ABSENT, np.int64))
    _compile(words.hashes, words.offsets, *word_list)
    return word_list


def count_entries(words: Words, word_list: WordList, documents: NDArray[np.int64] | None = None) -> EntryCounts:
    """Count the entries of a list in documents.

    Parameters
    ----------
    words
        Words of a batch.
    word_list
        Result of `compile_list`.
    documents
        Indices of the documents to count in; all by default.

    Examples
    --------
    >>> data = np.frombuffer(b"A Bad, bad word", np.uint8)
    >>> words = segment(data, np.array([0, len(data)]))
    >>> [column.tolist() for column in count_entries(words, compile_list(["bad", "bad word"]))]
    [[3], [3], [2]]
    """
    chosen = np.arange(len(words.offsets) - 1) if documents is None else documents
    counts = EntryCounts(*np.zeros((3, len(chosen)), np.int64))
    last = np.full(max(word_list.numbers.max(), -1) + 1, -1, np.int64)  # last document in which each entry occurred
    _count_entries(words.hashes, words.offsets, chosen, *word_list, last, *counts)
    return counts


@numba.njit(cache=True, inline="always")
def _slot(key, keys, numbers):
    """Return the slot of a key, or the free slot for it."""
    mask = np.uint64(len(keys) - 1)
    slot = key & mask
    while numbers[slot] != _ABSENT and keys[slot] != key:
        slot = (slot + np.uint64(1)) & mask
    return slot


@numba.njit(cache=True, inline="always")
def _follow(state, word):
    """Return the key of a sequence with one more word. The multiplication keeps two equal words from cancelling."""
    return mix64(state * GOLDEN + word)


@numba.njit(cache=True, nogil=True)
def _compile(hashes, offsets, keys, numbers):
    count = 0
    for entry in range(len(offsets) - 1):
        state = np.uint64(0)
        for word in range(offsets[entry], offsets[entry + 1]):
            state = hashes[word] if word == offsets[entry] else _follow(state, hashes[word])
            slot = _slot(state, keys, numbers)
            keys[slot] = state
            if word == offsets[entry + 1] - 1 and numbers[slot] < 0:
                numbers[slot] = count
                count += 1
            numbers[slot] = max(numbers[slot], _PREFIX)


@numba.njit(cache=True, nogil=True)
def _count_entries(hashes, offsets, documents, keys, numbers, last, hits, covered, distinct):
    for row in range(len(documents)):
        first, end = offsets[documents[row]], offsets[documents[row] + 1]
        reach = first  # the covered words before this position are already counted
        for start in range(first, end):
            state = hashes[start]
            word = start
            while True:
                number = numbers[_slot(state, keys, numbers)]
                if number == _ABSENT:
                    break
                word += 1
                if number >= 0:
                    hits[row] += 1
                    covered[row] += max(word - max(start, reach), 0)
                    reach = max(reach, word)
                    distinct[row] += last[number] != row
                    last[number] = row
                if word == end:
                    break
                state = _follow(state, hashes[word])
