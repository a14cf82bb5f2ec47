"""Hashes that identify or sample documents: 128-bit hashes of bytes and of words, and 64-bit keyed hashes of ids.

With 128 bits, equal hashes mean equal documents: the probability of any collision among 10^12 documents is about
10^24 / 2^129, or 1.5e-15. A hash depends only on its input, never on the platform, process or batch.
"""

from itertools import pairwise

import numba
import numpy as np
import pyarrow as pa
import xxhash
from numpy.typing import NDArray

from curate.text.words import GOLDEN, Words, mix64, segment


def raw_hash(data: NDArray[np.uint8], offsets: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Return the XXH3-128 hash of the exact bytes of each document.

    The library is called for each document, which takes 0.2 us plus 0.05 us per kB.

    Parameters
    ----------
    data, offsets
        Document i is ``data[offsets[i]:offsets[i + 1]]``.

    Returns
    -------
    NDArray[np.uint64]
        High and low half of each hash, shape (documents, 2).

    Examples
    --------
    >>> high, low = raw_hash(np.frombuffer(b"to be", np.uint8), np.array([0, 5]))[0]
    >>> (int(high) << 64 | int(low)) == xxhash.xxh3_128_intdigest(b"to be")
    True
    """
    view = np.ascontiguousarray(data).data
    digest = xxhash.xxh3_128_digest
    return _as_words([digest(view[start:end]) for start, end in pairwise(offsets.tolist())])


def normalized_hash(
    data: NDArray[np.uint8], offsets: NDArray[np.int64], words: Words | None = None
) -> NDArray[np.uint64]:
    """Return the hash of each document's sequence of lower-cased words.

    The hash ignores white space, punctuation and case. A document without words gets the hash of its bytes without
    white space. So two pages of symbols have equal hashes only if their symbols are equal.

    Parameters
    ----------
    data, offsets
        Document i is ``data[offsets[i]:offsets[i + 1]]``: UTF-8 of NFC text.
    words
        ``segment(data, offsets)``, if already computed.

    Returns
    -------
    NDArray[np.uint64]
        High and low half of each hash, shape (documents, 2).

    Examples
    --------
    >>> def hashed(text: str) -> list[int]:
    ...     data = np.frombuffer(text.encode(), np.uint8)
    ...     return normalized_hash(data, np.array([0, len(data)]))[0].tolist()
    >>> hashed("To be, or not to be") == hashed("to be -- OR NOT TO BE!"), hashed("to be") == hashed("be to")
    (True, False)
    >>> hashed("***") == hashed("---")
    False
    """
    words = segment(data, offsets) if words is None else words
    hashes = words_hash(words)
    wordless = np.flatnonzero(np.diff(words.offsets) == 0)
    hashes[wordless] = symbols_hash(data, offsets, wordless)
    return hashes


def words_hash(words: Words) -> NDArray[np.uint64]:
    """Return the hash of each document's sequence of words. All documents without words have the same hash.

    Parameters
    ----------
    words
        Words of the documents.

    Returns
    -------
    NDArray[np.uint64]
        High and low half of each hash, shape (documents, 2).

    Examples
    --------
    >>> data, offsets = np.frombuffer(b"To be! to be*--", np.uint8), np.array([0, 6, 12, 13, 15])
    >>> to_be, again, star, dashes = words_hash(segment(data, offsets)).tolist()
    >>> to_be == again, star == dashes, to_be == star
    (True, True, False)
    """
    hashes = np.empty((len(words.offsets) - 1, 2), np.uint64)
    _hash_sequences(words.hashes, words.offsets, hashes)
    return hashes


def symbols_hash(
    data: NDArray[np.uint8], offsets: NDArray[np.int64], documents: NDArray[np.int64]
) -> NDArray[np.uint64]:
    """Return the XXH3-128 hash of the bytes without white space, which identifies documents without words.

    Parameters
    ----------
    data, offsets
        Document i is ``data[offsets[i]:offsets[i + 1]]``.
    documents
        Indices of the documents to hash.

    Returns
    -------
    NDArray[np.uint64]
        High and low half of each hash, shape (len(documents), 2).

    Examples
    --------
    >>> data = np.frombuffer(b"* ***--", np.uint8)
    >>> spaced_stars, stars, dashes = symbols_hash(data, np.array([0, 3, 5, 7]), np.arange(3)).tolist()
    >>> spaced_stars == stars, stars == dashes
    (True, False)
    """
    symbols = ("".join(data[offsets[i] : offsets[i + 1]].tobytes().decode().split()) for i in documents)
    return _as_words([xxhash.xxh3_128_digest(text.encode()) for text in symbols])


def id_bytes(ids: pa.Array | pa.ChunkedArray) -> NDArray[np.uint8]:
    """Return an ``id`` column as bytes, shape (documents, 16)."""
    whole = ids.combine_chunks() if isinstance(ids, pa.ChunkedArray) else ids
    buffer = whole.buffers()[1]
    if buffer is None:
        return np.empty((0, 16), np.uint8)
    return np.frombuffer(buffer, np.uint8)[whole.offset * 16 : (whole.offset + len(whole)) * 16].reshape(-1, 16)


def hash64(seed: int, salt: str | int, ids: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Return a keyed hash of document ids, which is the only source of randomness in sampling and ordering.

    The hashes are uniform over 64 bits, and independent for different seeds or salts. A document is in a sample of rate
    `p` if its hash is below ``p * 2**64``. So a sample contains every sample of a lower rate.

    Parameters
    ----------
    seed, salt
        The key. Salts ``1`` and ``"1"`` differ.
    ids
        128-bit ids, shape (documents, 16).

    Returns
    -------
    NDArray[np.uint64]
        Hashes, shape (documents,).

    Raises
    ------
    ValueError
        If `ids` has another type or shape.

    Examples
    --------
    >>> ids = np.arange(32, dtype=np.uint8).reshape(2, 16)
    >>> bool((hash64(0, "mix", ids) == hash64(1, "mix", ids)).any())
    False
    """
    if ids.ndim != 2 or ids.shape[1] != 16 or ids.dtype != np.uint8:
        raise ValueError(f"ids must be uint8 of shape (documents, 16), not {ids.dtype} of shape {ids.shape}")
    first_key, second_key = _as_words([xxhash.xxh3_128_digest(f"{seed}/{salt!r}".encode())])[0]
    halves = np.ascontiguousarray(ids).view("<u8").astype(np.uint64, copy=False)
    return mix64(mix64(halves[:, 0] ^ first_key) ^ mix64(halves[:, 1] + second_key))


def order_keys(seed: int, salt: str, ids: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Return sort keys for a random order of documents: hash, high and low half of the id, shape (documents, 3).

    Parameters
    ----------
    seed, salt
        Key of the hash, which determines the order; see `hash64`.
    ids
        128-bit ids, shape (documents, 16).

    Examples
    --------
    >>> order_keys(0, "mix", np.eye(2, 16, dtype=np.uint8))[:, 1].tolist() == [1 << 56, 1 << 48]
    True
    """
    halves = np.ascontiguousarray(ids).view(">u8").astype(np.uint64)
    return np.column_stack([hash64(seed, salt, ids), halves]) if len(ids) else np.empty((0, 3), np.uint64)


def _as_words(digests: list[bytes]) -> NDArray[np.uint64]:
    """Return 128-bit big-endian digests as high and low halves, shape (digests, 2)."""
    return np.frombuffer(b"".join(digests), ">u8").astype(np.uint64).reshape(-1, 2)


@numba.njit(cache=True, nogil=True)
def _hash_sequences(word_hashes, word_offsets, out):
    # Two chains that mix in each word differently (xor, and addition of a multiple) are independent of each other.
    for document in range(len(out)):
        first = np.uint64(1)
        second = np.uint64(2)
        for i in range(word_offsets[document], word_offsets[document + 1]):
            first = mix64(first ^ word_hashes[i])
            second = mix64(second + word_hashes[i] * GOLDEN)
        out[document, 0] = first
        out[document, 1] = second
