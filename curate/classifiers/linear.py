"""Scores of a fastText classifier of whole words and word n-grams, without the library.

Such a model is linear up to its softmax: the score of a label is the mean over the features of a line of (input row of
the feature) · (output row of the label). These products are known beforehand, so a feature of a model with two labels
costs one number, and not as many as there are dimensions. The features are those of the library: words of its
dictionary, the mark ``</s>`` at the end of a line, and n-grams in hash buckets, by its 32-bit FNV-1a hash of a word
(with signed bytes) and its mixing of the hashes of neighbours.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

_BASIS, _PRIME = np.uint32(2166136261), np.uint32(16777619)
_NGRAM = np.uint64(116049371)
_END = np.frombuffer(b"</s>", np.uint8)  # the mark at the end of a line
LABEL = "__label__"  # what the labels of fastText begin with


class LinearModel(NamedTuple):
    """A model.

    Attributes
    ----------
    weights
        Score of each label but the last, above that of the last, for each feature, shape (words + buckets, labels - 1).
    slots
        Open-addressing table: hash of a word in the high half, its number plus one in the low one; 0 where free.
    text, offsets
        Word i of the dictionary is ``text[offsets[i]:offsets[i + 1]]``.
    prefix
        What labels begin with: such words of a line count for nothing.
    ngrams, buckets
        Longest n-grams, and how many buckets they have.
    bias, root
        Added to the score of each label but the last; whether a score is the sum over the features divided by the root
        of their number, and not by the number. fastText has neither.
    """

    weights: NDArray[np.float32]
    slots: NDArray[np.uint64]
    text: NDArray[np.uint8]
    offsets: NDArray[np.int64]
    prefix: NDArray[np.uint8]
    ngrams: int
    buckets: int
    bias: float = 0.0
    root: bool = False


def linear(weights: NDArray[np.float32], words: Sequence[str], prefix: str, ngrams: int, buckets: int) -> LinearModel:
    """Prepare a model.

    Parameters
    ----------
    weights
        Score of each label for each feature, shape (words + buckets, labels): first those of `words`, in their order.
    words, prefix, ngrams, buckets
        The dictionary, what labels begin with, the longest n-grams and their buckets.
    """
    encoded = [word.encode() for word in words]
    text = np.frombuffer(b"".join(encoded), np.uint8)
    offsets = np.concatenate(([0], np.cumsum([len(word) for word in encoded]))).astype(np.int64)
    slots = np.zeros(1 << max(2 * len(words), 2).bit_length(), np.uint64)
    _fill(text, offsets, slots)
    # Adding the same to all scores changes no probability, so that the last label needs no column.
    weights = np.ascontiguousarray(weights[:, :-1] - weights[:, -1:])
    return LinearModel(weights, slots, text, offsets, np.frombuffer(prefix.encode(), np.uint8), ngrams, buckets)


def scores(model: LinearModel, data: NDArray[np.uint8], bounds: NDArray[np.int64]) -> NDArray[np.float64]:
    """Probability of each label for each line; NaN where the line has no feature.

    Parameters
    ----------
    model
        From `linear`.
    data, bounds
        Line i is ``data[bounds[i]:bounds[i + 1]]``, without control characters.

    Returns
    -------
    NDArray[np.float64]
        Shape (lines, labels).

    Examples
    --------
    >>> model = linear(np.array([[2, 0], [0, 2]], np.float32), ["yes", "no"], "__label__", 1, 0)
    >>> scores(model, np.frombuffer(b"yes no", np.uint8), np.array([0, 4, 6])).round(2).tolist()
    [[0.88, 0.12], [0.12, 0.88]]
    """
    out = np.full((len(bounds) - 1, model.weights.shape[1] + 1), np.nan)
    _score(data, bounds, model, feature_room(model, bounds), out)
    top = out - out.max(axis=1, keepdims=True)
    return np.exp(top) / np.exp(top).sum(axis=1, keepdims=True)


def feature_room(model: LinearModel, bounds: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Return an array with room for the features of the longest line."""
    # A word and its space have at least two bytes. The mark at the end of the line is a word, too.
    words = int(np.diff(bounds).max(initial=0)) // 2 + 2
    return np.empty(words * max(model.ngrams, 1), np.uint64)


@numba.njit(cache=True, nogil=True)
def _hash(data, start, end):
    state = _BASIS
    for at in range(start, end):
        state = np.uint32((state ^ np.uint32(np.int8(data[at]))) * _PRIME)
    return state


@numba.njit(cache=True, nogil=True, inline="always")
def _same(data, start, end, other, first, last):
    if end - start != last - first:
        return False
    for at in range(end - start):  # noqa: SIM110 - numba has no generators
        if data[np.uint64(start + at)] != other[np.uint64(first + at)]:
            return False
    return True


@numba.njit(cache=True, nogil=True)
def _fill(text, offsets, slots):
    mask = np.uint64(len(slots) - 1)
    for word in range(len(offsets) - 1):
        state = np.uint64(_hash(text, offsets[word], offsets[word + 1]))
        slot = state & mask
        while slots[slot]:
            slot = (slot + np.uint64(1)) & mask
        slots[slot] = (state << np.uint64(32)) | np.uint64(word + 1)


@numba.njit(cache=True, nogil=True)
def _find(data, start, end, state, slots, text, offsets):
    """Number of a word, or -1."""
    mask = np.uint64(len(slots) - 1)
    slot = np.uint64(state) & mask
    while True:
        entry = slots[slot]
        if not entry:
            return -1
        if np.uint32(entry >> np.uint64(32)) == state:
            word = np.int64(entry & np.uint64(0xFFFFFFFF)) - 1
            if _same(data, start, end, text, offsets[word], offsets[word + 1]):
                return word
        slot = (slot + np.uint64(1)) & mask


@numba.njit(cache=True, nogil=True, inline="always")
def _add(weights, row, total):
    for column in range(len(total)):
        total[column] += weights[np.uint64(row), np.uint64(column)]


@numba.njit(cache=True, nogil=True)
def _remember(recent, state):
    """Put the hash of a word before those of the words that it follows."""
    for place in range(len(recent) - 1, 0, -1):
        recent[place] = recent[place - 1]
    recent[0] = np.uint64(np.int64(np.int32(state)))


@numba.njit(cache=True, nogil=True)
def _mixed(recent, size):
    """Hash of the n-gram of the last `size` words, mixed from its first word on."""
    mixed = recent[size - 1]
    for place in range(size - 2, -1, -1):
        mixed = mixed * _NGRAM + recent[place]
    return mixed


@numba.njit(cache=True, nogil=True)
def _score(data, bounds, model, features, out):
    total = np.zeros(model.weights.shape[1])
    for line in range(len(bounds) - 1):
        count = line_features(data, bounds[line], bounds[line + 1], model, features)
        if not count:
            continue
        total[:] = 0.0
        for i in range(count):
            _add(model.weights, features[i], total)
        share = np.sqrt(count) if model.root else np.float64(count)
        for column in range(len(total)):
            out[line, column] = total[column] / share + model.bias
        out[line, len(total)] = 0.0


@numba.njit(cache=True, nogil=True)
def line_features(data, at, end, model, features):
    """Write the numbers of the features of a line to `features`, and return how many there are."""
    words, count, tokens, open_line = np.uint64(len(model.offsets) - 1), 0, 0, True
    recent = np.zeros(max(model.ngrams, 1), np.uint64)  # hashes of the last words, the latest first
    end_hash = _hash(_END, 0, len(_END))
    end_word = _find(_END, 0, len(_END), end_hash, model.slots, model.text, model.offsets)
    while open_line:
        while at < end and data[np.uint64(at)] <= 32:
            at += 1
        start = at
        state = _BASIS
        while at < end:
            byte = data[np.uint64(at)]
            if byte <= 32:
                break
            state = np.uint32((state ^ np.uint32(np.int8(byte))) * _PRIME)
            at += 1
        if start == at:  # the end of the line counts as a word
            state, word, open_line = end_hash, end_word, False
        else:
            word = _find(data, start, at, state, model.slots, model.text, model.offsets)
            if word < 0 and _same(data, start, min(at, start + len(model.prefix)), model.prefix, 0, len(model.prefix)):
                continue
            if state == end_hash and word == end_word:
                open_line = not _same(data, start, at, _END, 0, len(_END))
        if word >= 0:
            features[count] = word
            count += 1
        _remember(recent, state)
        tokens += 1
        # All n-grams that end here, from the shortest.
        for size in range(2, min(model.ngrams, tokens) + 1):
            features[count] = words + _mixed(recent, size) % np.uint64(model.buckets)
            count += 1
    return count
