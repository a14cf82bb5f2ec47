"""MinHash signatures, locality-sensitive hashing and exact Jaccard similarity of documents as sets of word n-grams.

Sources: Broder, "On the resemblance and containment of documents" (1997) for signatures; Leskovec, Rajaraman and
Ullman, "Mining of Massive Datasets", chapter 3, for bands and rows.

**Hash family.** A shingle has one 64-bit hash with halves ``x`` (low) and ``y`` (high). Its value under permutation p
is ``(a[p] * x + y) mod 2^32``. The signature holds, for each permutation, the minimum of the values of all shingles.
For uniform ``(x, y)``, the values of a shingle under permutations p and q are uniform. They are also independent,
except for the lowest t bits, where 2^t is the largest power of two that divides ``a[p] - a[q]``. Therefore the estimate
of the Jaccard similarity J is unbiased. Its variance depends only on pairs of permutations, so it is
``J (1 - J) / permutations``, as for independent permutations. Bands depend on more than pairs; the tests compare their
recall with the formula. The arithmetic is one 32-bit multiplication, addition and minimum per permutation and shingle,
in vector lanes. Signatures are uint32: half the size of uint64 and twice the lanes. Two minima agree by accident with a
probability of about shingles / 2^32, far below the sampling error.

A document with fewer words than `ngram` is one shingle. A document without words is represented by its fallback hash.
So short or empty documents match only if they are equal.
"""

import math
from typing import Literal, NamedTuple

import numba
import numpy as np
from numpy.typing import ArrayLike, NDArray

from curate.text.words import GOLDEN, mix64

_BASE = np.uint64(0x2545F4914F6CDD1D)  # 5 mod 8: then _BASE^d - 1, the effect of swapping words, has few factors of 2
_MERSENNE_61 = np.uint64((1 << 61) - 1)
_MAX_32 = 0xFFFFFFFF


class BandShape(NamedTuple):
    """Shape of locality-sensitive hashing: documents are candidates if all `rows` of any of the `bands` agree."""

    bands: int
    rows: int


class Sets(NamedTuple):
    """Shingle sets of documents.

    Attributes
    ----------
    shingles
        Shingles of all documents, concatenated, uint32. Those of each document are sorted and distinct.
    offsets
        Document i has the shingles ``shingles[offsets[i]:offsets[i + 1]]``, int64, shape (documents + 1,).
    """

    shingles: NDArray[np.uint32]
    offsets: NDArray[np.int64]


def signatures(
    word_hashes: NDArray[np.uint64],
    word_offsets: NDArray[np.int64],
    ngram: int,
    permutations: int,
    seed: int,
    fallback: NDArray[np.uint64],
) -> NDArray[np.uint32]:
    """Compute the MinHash signature of each document's set of word n-grams.

    Parameters
    ----------
    word_hashes, word_offsets
        The fields `hashes` and `offsets` of `curate.text.words.Words`.
    ngram
        Words per shingle, at least 1.
    permutations
        Length of a signature. A longer signature with the same seed begins with the shorter one.
    seed
        Seed of the hash family. Signatures with different seeds cannot be compared.
    fallback
        Hash that represents each document if it has no words, shape (documents,): for instance one half of
        `curate.text.hashing.normalized_hash`.

    Returns
    -------
    NDArray[np.uint32]
        Signatures, shape (documents, permutations).

    Raises
    ------
    ValueError
        If `ngram` or `permutations` is below 1, or `fallback` does not have one hash per document.

    Examples
    --------
    >>> words = np.arange(40, dtype=np.uint64), np.array([0, 20, 40])
    >>> signatures(*words, ngram=5, permutations=112, seed=1, fallback=np.arange(2, dtype=np.uint64)).shape
    (2, 112)
    """
    if permutations < 1:
        raise ValueError(f"permutations must be at least 1, not {permutations}")
    _check_shingling(word_offsets, ngram, fallback)
    key = np.uint64(mix64(np.uint64(seed)))
    draws = mix64(key + GOLDEN * np.arange(1, permutations + 1, dtype=np.uint64))
    multipliers = (draws >> np.uint64(32)).astype(np.uint32)
    signature = np.full((len(word_offsets) - 1, permutations), _MAX_32, np.uint32)
    _signatures(word_hashes, word_offsets, fallback, ngram, key, multipliers, signature)
    return signature


def datasketch_signatures(
    token_hashes: NDArray[np.uint32],
    offsets: NDArray[np.int64],
    permutations: int,
    seed: int,
    scheme: Literal["affine32", "legacy"] = "affine32",
) -> NDArray[np.uint32] | NDArray[np.uint64]:
    """Compute the same signatures as ``datasketch.MinHash(num_perm=permutations, seed=seed, scheme=scheme)``.

    Use them to compare with existing signatures, or to add to them. The documentation of datasketch 2.0 defines the
    schemes: ``affine32`` is ``(a * fmix32(x) + b) mod 2^32`` with odd a; ``legacy``, the only scheme before 2.0, is
    ``((a * x + b) mod 2^64 mod (2^61 - 1)) mod 2^32``.

    Parameters
    ----------
    token_hashes
        32-bit hash of each token, for instance `datasketch.hashfunc.sha1_hash32`.
    offsets
        Document i has the tokens ``offsets[i]`` up to ``offsets[i + 1]``.
    permutations, seed
        As in datasketch.
    scheme
        As in datasketch.

    Returns
    -------
    NDArray[np.uint32] or NDArray[np.uint64]
        Signatures, shape (documents, permutations); uint64 for ``legacy``, as in datasketch.

    Raises
    ------
    ValueError
        If `scheme` is neither ``affine32`` nor ``legacy``.

    Examples
    --------
    >>> datasketch_signatures(np.array([1, 2], np.uint32), np.array([0, 2]), permutations=2, seed=1).dtype
    dtype('uint32')
    """
    random = np.random.RandomState(seed)  # the generator of datasketch
    if scheme == "legacy":
        prime = int(_MERSENNE_61)
        draws = [
            (random.randint(1, prime, dtype=np.uint64), random.randint(0, prime, dtype=np.uint64))
            for _ in range(permutations)
        ]
        a, b = np.array(draws, np.uint64).T
        signature = np.full((len(offsets) - 1, permutations), _MAX_32, np.uint64)
        _legacy_minima(token_hashes.astype(np.uint64), offsets, a.copy(), b.copy(), signature)
    elif scheme == "affine32":
        a = random.randint(0, 1 << 31, permutations, dtype=np.uint32) * np.uint32(2) + np.uint32(1)
        b = random.randint(0, 1 << 32, permutations, dtype=np.uint32)
        signature = np.full((len(offsets) - 1, permutations), _MAX_32, np.uint32)
        _affine_minima(_fmix32(token_hashes.astype(np.uint32)), offsets, a, b, signature)
    else:
        raise ValueError(f"scheme must be 'affine32' or 'legacy', not {scheme!r}")
    return signature


def band_keys(signature: NDArray[np.unsignedinteger], bands: int, rows: int) -> NDArray[np.uint64]:
    """Compute the 64-bit key of each band of each signature. Documents with equal keys are candidates.

    The number of the band is part of its key, so the keys of all bands can share one table.

    Parameters
    ----------
    signature
        Signatures, shape (documents, permutations), of which the first ``bands * rows`` columns are used.
    bands, rows
        See `BandShape`.

    Returns
    -------
    NDArray[np.uint64]
        Keys, shape (documents, bands).

    Raises
    ------
    ValueError
        If `bands` or `rows` is below 1, or the signature is shorter than ``bands * rows``.

    Examples
    --------
    >>> keys = band_keys(np.array([[1, 2, 1, 2]], np.uint32), bands=2, rows=2)
    >>> keys.shape, bool(keys[0, 0] == keys[0, 1])
    ((1, 2), False)
    """
    if bands < 1 or rows < 1 or bands * rows > signature.shape[1]:
        raise ValueError(
            f"{bands} bands of {rows} rows do not fit a signature of {signature.shape[1]} permutations; "
            "bands and rows must be at least 1, and bands x rows at most the number of permutations"
        )
    keys = np.empty((len(signature), bands), np.uint64)
    _band_keys(signature, rows, keys)
    return keys


def estimate_jaccard(a: NDArray[np.unsignedinteger], b: NDArray[np.unsignedinteger]) -> NDArray[np.float64]:
    """Estimate the Jaccard similarity of pairs of documents as the share of equal minima in their signatures.

    Parameters
    ----------
    a, b
        Signatures of the documents of each pair, shape (pairs, permutations).

    Returns
    -------
    NDArray[np.float64]
        Estimates, shape (pairs,), with a standard error of ``sqrt(J * (1 - J) / permutations)``.

    Examples
    --------
    >>> estimate_jaccard(np.array([[1, 2, 3, 4]]), np.array([[1, 2, 0, 4]])).tolist()
    [0.75]
    """
    return np.mean(a == b, axis=-1)


def collision_probability(jaccard: ArrayLike, bands: int, rows: int) -> NDArray[np.float64]:
    """Probability that two documents of a given similarity become candidates: ``1 - (1 - J^rows)^bands``.

    Examples
    --------
    >>> collision_probability([0.7, 0.75, 0.8, 0.85], bands=14, rows=8).round(3).tolist()
    [0.565, 0.772, 0.924, 0.988]
    """
    return 1 - (1 - np.asarray(jaccard, np.float64) ** rows) ** bands


def choose_bands(permutations: int, threshold: float, recall: float) -> BandShape:
    """Choose the bands and rows that reach a recall at the threshold with the fewest candidates below it.

    For each number of rows, the smallest number of bands that reaches the recall gives the fewest false candidates.
    Among these shapes, the result minimizes the integral of `collision_probability` from 0 to the threshold.

    Parameters
    ----------
    permutations
        Maximum number of permutations.
    threshold
        Jaccard similarity, between 0 and 1 exclusive.
    recall
        Minimum probability that a pair at the threshold becomes a candidate, between 0 and 1 exclusive.

    Returns
    -------
    BandShape
        Shape with ``bands * rows <= permutations``.

    Raises
    ------
    ValueError
        If no shape with so many permutations reaches the recall.

    Examples
    --------
    >>> choose_bands(permutations=112, threshold=0.8, recall=0.9)
    BandShape(bands=13, rows=8)
    """
    if not (0 < threshold < 1 and 0 < recall < 1):
        raise ValueError(f"threshold and recall must lie between 0 and 1, not be {threshold} and {recall}")
    similarity = np.linspace(0, threshold, 1001)
    best, fewest = None, math.inf
    for rows in range(1, permutations + 1):
        missed = math.log1p(-(threshold**rows))  # logarithm of the probability that one band misses a pair
        if math.log1p(-recall) < permutations * missed:
            break  # this needs more bands than there are permutations, and so does every larger number of rows
        bands = max(1, math.ceil(math.log1p(-recall) / missed - 1e-9))
        false_candidates = float(np.mean(collision_probability(similarity, bands, rows)))
        if bands * rows <= permutations and false_candidates < fewest:
            best, fewest = BandShape(bands, rows), false_candidates
    if best is None:
        reached = float(collision_probability(threshold, permutations, 1))
        raise ValueError(
            f"{permutations} permutations find a pair of Jaccard similarity {threshold} with a recall of at most "
            f"{reached:.4g}, not {recall}; allow more permutations or ask for less recall"
        )
    return best


def exact_jaccard(
    word_hashes: NDArray[np.uint64],
    word_offsets: NDArray[np.int64],
    pairs: NDArray[np.int64],
    ngram: int,
    fallback: NDArray[np.uint64],
) -> NDArray[np.float64]:
    """Compute the exact Jaccard similarity of the shingle sets of pairs of documents.

    Parameters
    ----------
    word_hashes, word_offsets, ngram, fallback
        As in `signatures`, with the same shingles.
    pairs
        Document numbers of each pair, shape (pairs, 2).

    Returns
    -------
    NDArray[np.float64]
        Similarities, shape (pairs,).

    Raises
    ------
    ValueError
        As in `signatures`.

    Examples
    --------
    >>> words = np.array([1, 2, 3, 4, 2, 3, 4, 5], np.uint64), np.array([0, 4, 8])
    >>> exact_jaccard(*words, np.array([[0, 1]]), ngram=2, fallback=np.zeros(2, np.uint64)).tolist()
    [0.5]
    """
    _check_shingling(word_offsets, ngram, fallback)
    documents, positions = np.unique(pairs, return_inverse=True)
    lengths = np.maximum(np.diff(word_offsets)[documents] - ngram + 1, 1)
    starts = np.concatenate(([0], np.cumsum(lengths)))
    shingles = np.empty(starts[-1], np.uint64)
    sizes = np.empty(len(documents), np.int64)
    _shingle_sets(word_hashes, word_offsets, fallback, documents, ngram, starts, shingles, sizes)
    similarity = np.empty(len(pairs), np.float64)
    _set_jaccard(shingles, starts, sizes, positions.reshape(-1, 2), similarity)
    return similarity


def shingle_sets(
    word_hashes: NDArray[np.uint64], word_offsets: NDArray[np.int64], ngram: int, fallback: NDArray[np.uint64]
) -> Sets:
    """Compute the sets of shingles as 32-bit hashes, which are small enough to send between tasks.

    The hashes are the upper halves of the 64-bit hashes of `exact_jaccard`. In a pair of documents of n shingles, two
    different shingles have the same hash with a probability of about ``n^2 / 2^32``, which changes the similarity of
    the pair by about 1 / n.

    Parameters
    ----------
    word_hashes, word_offsets, ngram, fallback
        As in `signatures`.

    Raises
    ------
    ValueError
        As in `signatures`.

    Examples
    --------
    >>> words = np.array([1, 2, 1, 2, 1], np.uint64), np.array([0, 5])
    >>> shingle_sets(*words, ngram=2, fallback=np.zeros(1, np.uint64)).offsets.tolist()
    [0, 2]
    """
    _check_shingling(word_offsets, ngram, fallback)
    documents = np.arange(len(fallback))
    starts = np.concatenate(([0], np.cumsum(np.maximum(np.diff(word_offsets) - ngram + 1, 1))))
    shingles = np.empty(starts[-1], np.uint64)
    sizes = np.empty(len(documents), np.int64)
    _shingle_sets(word_hashes, word_offsets, fallback, documents, ngram, starts, shingles, sizes)
    offsets = np.concatenate(([0], np.cumsum(sizes)))
    inside = np.arange(offsets[-1]) + np.repeat(starts[:-1] - offsets[:-1], sizes)
    return Sets((shingles[inside] >> np.uint64(32)).astype(np.uint32), offsets)


def _check_shingling(word_offsets: NDArray[np.int64], ngram: int, fallback: NDArray[np.uint64]) -> None:
    if ngram < 1:
        raise ValueError(f"ngram must be at least 1, not {ngram}")
    if len(fallback) != len(word_offsets) - 1:
        raise ValueError(f"fallback must have one hash per document, not {len(fallback)} for {len(word_offsets) - 1}")


@numba.njit(cache=True, nogil=True)
def _shingles(word_hashes, start, end, fallback, ngram, key, out):
    """Write the shingle hashes of the document with the words start to end, and return their number, at least 1."""
    words = end - start
    rolling = np.uint64(0)  # sum of hash * _BASE^(number of later words in the n-gram), modulo 2^64
    if words < ngram:
        for i in range(start, end):
            rolling = rolling * _BASE + word_hashes[i]
        if words == 0:
            rolling = fallback
        out[0] = mix64(mix64(rolling ^ key) + GOLDEN * np.uint64(words + 1))
        return 1
    leading = np.uint64(1)
    for _ in range(ngram - 1):
        leading *= _BASE
    for i in range(start, start + ngram - 1):
        rolling = rolling * _BASE + word_hashes[i]
    for i in range(words - ngram + 1):
        rolling = rolling * _BASE + word_hashes[start + i + ngram - 1]
        out[i] = mix64(rolling ^ key)
        rolling -= leading * word_hashes[start + i]
    return words - ngram + 1


@numba.njit(cache=True, nogil=True)
def _signatures(word_hashes, word_offsets, fallback, ngram, key, multipliers, signature):
    longest = 1
    for document in range(len(signature)):
        longest = max(longest, word_offsets[document + 1] - word_offsets[document])
    shingles = np.empty(longest + 1, np.uint64)
    low = np.empty(longest + 1, np.uint32)
    high = np.empty(longest + 1, np.uint32)
    for document in range(len(signature)):
        start, end = word_offsets[document], word_offsets[document + 1]
        count = _shingles(word_hashes, start, end, fallback[document], ngram, key, shingles)
        shingles[count] = shingles[count - 1]  # shingles are processed in pairs; a repeated one changes no minimum
        for i in range(count + 1):
            low[i] = np.uint32(shingles[i])
            high[i] = np.uint32(shingles[i] >> np.uint64(32))
        minima = signature[document]
        for i in range(0, count, 2):
            # The halves come from 32-bit arrays, and each product is truncated to 32 bits at once. Without either, LLVM
            # uses 64-bit lanes, at half the speed. Two shingles at a time save a third of the memory traffic.
            low_0, high_0, low_1, high_1 = low[i], high[i], low[i + 1], high[i + 1]
            for p in range(len(multipliers)):
                value_0 = np.uint32(np.uint32(low_0 * multipliers[p]) + high_0)
                value_1 = np.uint32(np.uint32(low_1 * multipliers[p]) + high_1)
                minima[p] = min(minima[p], min(value_0, value_1))


@numba.njit(cache=True, nogil=True)
def _legacy_minima(tokens, offsets, a, b, signature):
    for document in range(len(signature)):
        minima = signature[document]
        for i in range(offsets[document], offsets[document + 1]):
            for p in range(len(a)):
                minima[p] = min(minima[p], (a[p] * tokens[i] + b[p]) % _MERSENNE_61 & np.uint64(_MAX_32))


@numba.njit(cache=True, nogil=True)
def _affine_minima(tokens, offsets, a, b, signature):
    for document in range(len(signature)):
        minima = signature[document]
        for i in range(offsets[document], offsets[document + 1]):
            for p in range(len(a)):
                minima[p] = min(minima[p], np.uint32(np.uint32(a[p] * tokens[i]) + b[p]))


def _fmix32(x: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Finalizer of MurmurHash3, 32 bits."""
    x = (x ^ (x >> np.uint32(16))) * np.uint32(0x85EBCA6B)
    x = (x ^ (x >> np.uint32(13))) * np.uint32(0xC2B2AE35)
    return x ^ (x >> np.uint32(16))


@numba.njit(cache=True, nogil=True)
def _band_keys(signature, rows, keys):
    for document in range(keys.shape[0]):
        for band in range(keys.shape[1]):
            key = mix64(np.uint64(band + 1))
            for row in range(band * rows, (band + 1) * rows):
                key = mix64(key ^ np.uint64(signature[document, row]))
            keys[document, band] = key


@numba.njit(cache=True, nogil=True)
def _shingle_sets(word_hashes, word_offsets, fallback, documents, ngram, starts, shingles, sizes):
    """Write the sorted distinct shingles of document i, `sizes[i]` of them, from `shingles[starts[i]]` on."""
    for i in range(len(documents)):
        document = documents[i]
        part = shingles[starts[i] : starts[i + 1]]
        start, end = word_offsets[document], word_offsets[document + 1]
        _shingles(word_hashes, start, end, fallback[document], ngram, np.uint64(0), part)
        part.sort()
        size = 1
        for j in range(1, len(part)):
            if part[j] != part[j - 1]:
                part[size] = part[j]
                size += 1
        sizes[i] = size


@numba.njit(cache=True, nogil=True)
def _set_jaccard(shingles, starts, sizes, pairs, similarity):
    for i in range(len(pairs)):
        a, b = pairs[i, 0], pairs[i, 1]
        similarity[i] = sorted_jaccard(shingles, starts[a], starts[a] + sizes[a], starts[b], starts[b] + sizes[b])


@numba.njit(cache=True, inline="always")
def sorted_jaccard(shingles, a, a_end, b, b_end):
    """Jaccard similarity of two sets of shingles, ``shingles[a:a_end]`` and ``shingles[b:b_end]``, both ascending."""
    union = a_end - a + b_end - b
    shared = 0
    while a < a_end and b < b_end:
        left, right = shingles[a], shingles[b]
        shared += left == right
        a += left <= right
        b += right <= left
    return shared / (union - shared)
