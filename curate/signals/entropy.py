"""Information content of a single document: entropy of its bytes and words, and its compressed size.

The entropies are plug-in estimates: ``H = sum of (c / n) log2(n / c)`` over the counts c of n observations. This is
Shannon's entropy (1948, section 6) with observed frequencies as probabilities. The estimates are biased downwards, by
about (k - 1) / (2 n ln 2) bits for k possible values (Miller 1955). So a short document has a low word entropy because
it is short. The compressed size also reflects the order of words: a repeated phrase adds little to the compressed size,
but does not lower the entropy.
"""

from itertools import pairwise

import numba
import numpy as np
import zstandard
from numpy.typing import NDArray


def byte_entropy(data: NDArray[np.uint8], offsets: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the entropy of the byte histogram of each document, in bits per byte.

    Parameters
    ----------
    data
        Bytes of all documents, shape (bytes,).
    offsets
        Document i is ``data[offsets[i]:offsets[i + 1]]``, shape (documents + 1,).

    Returns
    -------
    ndarray of float64
        Values from 0 to 8, shape (documents,); NaN for an empty document.

    Examples
    --------
    >>> byte_entropy(np.frombuffer(b"aaaaabcd", np.uint8), np.array([0, 4, 8])).tolist()
    [0.0, 2.0]
    """
    return _byte_entropy(data, offsets)


def word_entropy(
    hashes: NDArray[np.uint64], offsets: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the entropy of each document's word frequencies, in bits per word, and its number of distinct words.

    Parameters
    ----------
    hashes
        Hashes of the words of all documents, with all bits well mixed, shape (words,).
    offsets
        Document i has the words ``offsets[i]`` up to ``offsets[i + 1]``, shape (documents + 1,).

    Returns
    -------
    entropy : ndarray of float64
        Values from 0 to log2 of the number of distinct words, shape (documents,); NaN for a document without words.
    distinct : ndarray of int64
        Number of distinct words, shape (documents,).

    Examples
    --------
    >>> entropy, distinct = word_entropy(np.array([5, 5, 5, 6, 7, 8, 9], np.uint64), np.array([0, 3, 7]))
    >>> entropy.tolist(), distinct.tolist()
    ([0.0, 2.0], [1, 4])
    """
    # The number of slots is a power of two, and at least twice the number of words of the longest document.
    slots = 2 << int(np.diff(offsets).max(initial=0)).bit_length()
    return _word_entropy(hashes, offsets, np.empty(slots, np.uint64), np.empty(slots, np.int64))


def compressed_sizes(data: NDArray[np.uint8], offsets: NDArray[np.int64], level: int) -> NDArray[np.int64]:
    """Return the size in bytes of each document as a separate zstd frame (with content size, without checksum).

    One version of the library gives the same sizes on every machine. Another version may give other sizes.

    Parameters
    ----------
    data
        Bytes of all documents, shape (bytes,).
    offsets
        Document i is ``data[offsets[i]:offsets[i + 1]]``, shape (documents + 1,).
    level
        zstd's compression level.

    Examples
    --------
    >>> noise, zeros = np.arange(1000, dtype=np.uint32) * 2654435761, np.zeros(1000, np.uint32)
    >>> data = np.concatenate([noise, zeros]).view(np.uint8)
    >>> (compressed_sizes(data, np.array([0, 4000, 8000]), level=3) < 100).tolist()
    [False, True]
    """
    compress = zstandard.ZstdCompressor(level=level).compress
    view = data.data
    return np.array([len(compress(view[start:end])) for start, end in pairwise(offsets.tolist())], np.int64)


@numba.njit(cache=True, nogil=True)
def _byte_entropy(data, offsets):
    entropy = np.full(len(offsets) - 1, np.nan)
    # The bytes alternate between four histograms, because an addition to the count just written waits for that write.
    histograms = np.empty((4, 256), np.int64)
    for document in range(len(entropy)):
        start = offsets[document]
        size = offsets[document + 1] - start
        if size == 0:
            continue
        histograms[:] = 0
        for i in range(size):
            histograms[i & 3, data[start + i]] += 1
        bits = 0.0
        for value in range(256):
            count = 0
            for turn in range(4):
                count += histograms[turn, value]
            if count:
                bits += count * np.log2(size / count)
        entropy[document] = bits / size
    return entropy


@numba.njit(cache=True, nogil=True)
def _word_entropy(hashes, offsets, keys, counts):
    documents = len(offsets) - 1
    entropy = np.full(documents, np.nan)
    distinct = np.zeros(documents, np.int64)
    order = np.empty(len(keys) // 2, np.int64)  # used slots by first occurrence, which is the order of summation
    for document in range(documents):
        start = offsets[document]
        end = offsets[document + 1]
        slots = 2
        while slots < 2 * (end - start):
            slots *= 2
        counts[:slots] = 0
        distinct_words = 0
        for word in range(start, end):
            slot = np.int64(hashes[word] & np.uint64(slots - 1))
            while counts[slot] and keys[slot] != hashes[word]:
                slot = (slot + 1) & (slots - 1)
            if counts[slot] == 0:
                keys[slot] = hashes[word]
                order[distinct_words] = slot
                distinct_words += 1
            counts[slot] += 1
        distinct[document] = distinct_words
        if distinct_words:
            words = end - start
            bits = 0.0
            for slot in order[:distinct_words]:
                bits += counts[slot] * np.log2(words / counts[slot])
            entropy[document] = bits / words
    return entropy, distinct
