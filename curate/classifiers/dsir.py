r"""Hashed n-gram features of DSIR (Xie et al. 2023, arXiv 2302.03169): counts of 1- and 2-grams in hash buckets.

Tokens are those of the published code: the longest runs of word characters in the lower-cased text, and the longest
runs of characters that are neither word characters nor white space (``\w+|[^\w\s]+``, NLTK's wordpunct). Word
characters are letters, digits of every kind and the underscore, as in Python. Lower case is the simple mapping of code
points.

A token with code points ``c[0], ..., c[m - 1]`` has the hash ``mix64(s[m])`` with ``s[0]`` the 64-bit golden ratio and
``s[i + 1] = (s[i] ^ c[i]) * K mod 2^64``, like words in `curate.text.words`. A pair of tokens has the hash
``mix64(first * G ^ second)``, where ``G`` is the golden ratio. The bucket is the hash modulo the number of buckets. The
published code uses SHA-256 of the n-gram instead: the buckets differ, but the method is the same.
"""

from functools import cache

import numba
import numpy as np
from numpy.typing import NDArray

from curate.text.unicode import SPACE, decode, tables
from curate.text.words import GOLDEN, MULTIPLIER, mix64

_WORD, _PUNCTUATION, _BLANK = 1, 2, 0


@cache
def kinds() -> NDArray[np.uint8]:
    r"""Return the kind of each code point: 1 for ``\w``, 0 for white space, 2 for all others."""
    classes, _ = tables()
    kind = np.full(len(classes), _PUNCTUATION, np.uint8)
    characters = map(chr, range(0x40000))
    word = np.fromiter((char.isalnum() or char == "_" for char in characters), bool, 0x40000)
    kind[:0x40000][word] = _WORD
    kind[(classes & SPACE) != 0] = _BLANK
    return kind


def add_counts(data: NDArray[np.uint8], offsets: NDArray[np.int64], counts: NDArray[np.int64]) -> None:
    """Add the n-gram counts of all documents to `counts`, shape (buckets,), in place.

    Examples
    --------
    >>> counts = np.zeros(64, np.int64)
    >>> add_counts(np.frombuffer(b"To be, to be", np.uint8), np.array([0, 12]), counts)
    >>> int(counts.sum()), int(counts.max())
    (9, 2)
    """
    _scan(data, offsets, kinds(), tables().lower, counts, np.zeros(0), np.zeros(0), np.zeros(0, np.int64))


def log_weights(
    data: NDArray[np.uint8], offsets: NDArray[np.int64], ratio: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the log importance weight of each document: the sum of the log ratios of its n-grams' buckets.

    Parameters
    ----------
    data, offsets
        Document i is ``data[offsets[i]:offsets[i + 1]]``.
    ratio
        Log ratio of target to raw share, in nats, shape (buckets,); see `log_ratio`.

    Returns
    -------
    weights
        Log importance weights, in nats, shape (documents,).
    ngram_counts
        Number of n-grams, shape (documents,).
    """
    weights, ngram_counts = np.zeros(len(offsets) - 1), np.zeros(len(offsets) - 1, np.int64)
    _scan(data, offsets, kinds(), tables().lower, np.zeros(0, np.int64), ratio, weights, ngram_counts)
    return weights, ngram_counts


def log_ratio(target: NDArray[np.int64], raw: NDArray[np.int64], smoothing: float = 1e-8) -> NDArray[np.float64]:
    """Return the log of the target share over the raw share of each bucket, in nats, shape (buckets,).

    `smoothing` is added to both shares, as in the published code.
    """
    shares = [counts / max(counts.sum(), 1) + smoothing for counts in (target, raw)]
    return np.log(shares[0]) - np.log(shares[1])


@numba.njit(cache=True, nogil=True)
def _scan(  # noqa: C901 - one loop for both uses, see below
    data, offsets, kinds, lower, counts, ratio, weights, ngram_counts
):
    # Counts if `counts` has buckets, otherwise computes weights. One loop guarantees the same n-grams for both.
    counting = len(counts) > 0
    buckets = np.uint64(len(counts) if counting else len(ratio))
    for document in range(len(offsets) - 1):
        position, end = offsets[document], offsets[document + 1]
        previous, tokens, total = np.uint64(0), 0, 0.0
        while position < end:
            code, after = decode(data, position)
            kind = kinds[code]
            if kind == _BLANK:
                position = after
                continue
            state = GOLDEN
            while True:
                state = (state ^ np.uint64(lower[code])) * MULTIPLIER
                position = after
                if position >= end:
                    break
                code, after = decode(data, position)
                if kinds[code] != kind:
                    break
            token = mix64(state)
            one = token % buckets
            if counting:
                counts[one] += 1
            else:
                total += ratio[one]
            if tokens:
                two = mix64((previous * GOLDEN) ^ token) % buckets
                if counting:
                    counts[two] += 1
                else:
                    total += ratio[two]
            previous = token
            tokens += 1
        if not counting:
            weights[document] = total
            ngram_counts[document] = max(2 * tokens - 1, 0)
