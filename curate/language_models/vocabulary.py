"""Vocabulary: number words in order of first appearance, by the hash of their bytes."""

from collections.abc import Callable, Sequence

import numba
import numpy as np
from numpy.typing import NDArray

from curate.language_models.kneser_ney import BOS, EOS, SPECIAL
from curate.language_models.tokens import hash_of

CHUNK = 1 << 18  # tokens that are numbered together

_EMPTY = np.uint64(2**64 - 1)


class Vocabulary:
    """Words by id: first the special words, then all others in order of first appearance.

    Examples
    --------
    >>> vocabulary = Vocabulary()
    >>> vocabulary.add_words(["to", "be", "to"]).tolist(), vocabulary.words
    ([3, 4, 3], ['<unk>', '<s>', '</s>', 'to', 'be'])
    """

    def __init__(self) -> None:
        self.words: list[str] = []
        self._hashes = np.empty(0, np.uint64)
        self._keys = np.full(16, _EMPTY, np.uint64)
        self._ids = np.zeros(16, np.int32)
        self.add_words(SPECIAL)

    def __len__(self) -> int:
        return len(self.words)

    @property
    def hashes(self) -> NDArray[np.uint64]:
        """Hashes of the words, by id, shape (words,)."""
        return self._hashes[: len(self.words)]

    def add_words(self, words: Sequence[str]) -> NDArray[np.int32]:
        """Return the ids of words given as text, and add the new words."""
        hashes = np.array([hash_of(word) for word in words], np.uint64)
        return self.add(hashes, lambda chosen: [str(words[i]) for i in chosen.tolist()])

    def add(self, hashes: NDArray[np.uint64], texts: Callable[[NDArray[np.int64]], list[str]]) -> NDArray[np.int32]:
        """Return the ids of tokens given as hashes, and add the new words.

        Parameters
        ----------
        hashes
            Hashes of the tokens, shape (tokens,).
        texts
            Function that returns the texts of some tokens, given their indices.

        Returns
        -------
        NDArray[np.int32]
            Ids, shape (tokens,).
        """
        ids = np.empty(len(hashes), np.int32)
        for start in range(0, len(hashes), CHUNK):
            chunk = hashes[start : start + CHUNK]
            self._reserve(len(self.words) + len(chunk))
            first_positions = np.empty(len(chunk), np.int64)
            count = _number(chunk, self._keys, self._ids, len(self.words), ids[start:], first_positions)
            new = first_positions[:count]
            self._hashes[len(self.words) : len(self.words) + count] = chunk[new]
            self.words += texts(new + start)
        return ids

    def _reserve(self, words: int) -> None:
        if len(self._hashes) < words:
            self._hashes = np.resize(self._hashes, 2 * words)
        if len(self._keys) < 2 * words:
            size = 1 << int(2 * words - 1).bit_length()
            self._keys, self._ids = np.full(size, _EMPTY, np.uint64), np.zeros(size, np.int32)
            hashes = self.hashes
            _number(hashes, self._keys, self._ids, 0, np.empty(len(hashes), np.int32), np.empty(len(hashes), np.int64))


def with_bounds(ids: NDArray[np.int32], offsets: NDArray[np.int64]) -> NDArray[np.int32]:
    """Concatenate sentences, each between ``<s>`` and ``</s>``. Empty sentences are left out.

    Examples
    --------
    >>> with_bounds(np.array([5, 6, 7], np.int32), np.array([0, 2, 2, 3])).tolist()
    [1, 5, 6, 2, 1, 7, 2]
    """
    sentences = int(np.count_nonzero(np.diff(offsets)))
    out = np.empty(int(offsets[-1] - offsets[0]) + 2 * sentences, np.int32)
    _bound(ids, offsets, out)
    return out


@numba.njit(cache=True, nogil=True)
def _number(hashes, keys, table, first_id, ids, first_positions):
    """Look up the ids of hashes. Number new ones from `first_id` on, and return how many there are."""
    mask = np.uint64(len(keys) - 1)
    count = 0
    for i in range(len(hashes)):
        slot = hashes[i] & mask
        while keys[slot] != hashes[i]:
            if keys[slot] == _EMPTY:
                keys[slot] = hashes[i]
                table[slot] = first_id + count
                first_positions[count] = i
                count += 1
                break
            slot = (slot + np.uint64(1)) & mask
        ids[i] = table[slot]
    return count


@numba.njit(cache=True, nogil=True)
def _bound(ids, offsets, out):
    filled = 0
    for line in range(len(offsets) - 1):
        if offsets[line] == offsets[line + 1]:
            continue
        out[filled] = BOS
        filled += 1
        for i in range(offsets[line], offsets[line + 1]):
            out[filled] = ids[i]
            filled += 1
        out[filled] = EOS
        filled += 1
