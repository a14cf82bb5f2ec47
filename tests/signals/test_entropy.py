"""Entropies against closed forms and a count of every value; compressed sizes against one-shot compression."""

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from curate.signals.entropy import byte_entropy, compressed_sizes, word_entropy


def reference(values: Sequence[int]) -> float:
    """Plug-in entropy in bits as the papers write it: minus the sum of p log2 p."""
    return -sum(c / len(values) * math.log2(c / len(values)) for c in Counter(values).values()) if values else math.nan


def offsets(parts: Sequence[Sequence[int]]) -> np.ndarray:
    return np.cumsum([0, *map(len, parts)])


def of_bytes(*texts: bytes) -> list[float]:
    return byte_entropy(np.frombuffer(b"".join(texts), np.uint8), offsets(texts)).tolist()


def of_words(*documents: Sequence[int]) -> tuple[list[float], list[int]]:
    hashes = np.array([word for document in documents for word in document], np.uint64)
    entropy, distinct = word_entropy(hashes, offsets(documents))
    return entropy.tolist(), distinct.tolist()


@pytest.mark.parametrize(
    ("text", "bits"),
    [
        (b"a", 0.0),
        (b"a" * 1001, 0.0),
        (b"ab" * 7, 1.0),
        (b"aaab", 2 - 0.75 * math.log2(3)),
        (bytes(range(256)), 8.0),
        (bytes(range(256)) * 5, 8.0),
        (bytes(range(128)) * 3, 7.0),
    ],
)
def test_byte_entropy_has_the_closed_form(text: bytes, bits: float) -> None:
    assert of_bytes(text)[0] == pytest.approx(bits, abs=1e-14)


def test_constant_and_uniform_bytes_are_exact() -> None:
    assert of_bytes(b"x" * 999, bytes(range(256)) * 3) == [0.0, 8.0]


@given(st.lists(st.one_of(st.binary(max_size=300), st.text(max_size=60).map(str.encode)), max_size=5))
def test_byte_entropy_of_any_documents(texts: list[bytes]) -> None:
    found = of_bytes(*texts)
    assert found == pytest.approx([reference(text) for text in texts], abs=1e-12, nan_ok=True)
    assert found == pytest.approx([of_bytes(text)[0] for text in texts], abs=0, nan_ok=True)


# Hashes that share their low bits fall on one slot of every table.
words = st.one_of(st.integers(0, 2**64 - 1), st.integers(0, 5), st.integers(0, 9).map(lambda i: i << 60))


@given(st.lists(st.lists(words, max_size=60), max_size=5))
def test_word_entropy_of_any_documents(documents: list[list[int]]) -> None:
    entropy, distinct = of_words(*documents)
    assert distinct == [len(set(document)) for document in documents]
    assert entropy == pytest.approx([reference(document) for document in documents], abs=1e-12, nan_ok=True)
    alone = [of_words(document)[0][0] for document in documents]
    assert entropy == pytest.approx(alone, abs=0, nan_ok=True)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7, 8, 9, 1000])
def test_distinct_words_have_log2_of_their_number(size: int) -> None:
    entropy, distinct = of_words([word << 54 | word for word in range(size)])
    assert entropy == pytest.approx([math.log2(size)], abs=1e-12)
    assert distinct == [size]


def test_a_document_without_words_has_no_word_entropy() -> None:
    entropy, distinct = of_words([], [7, 7], [])
    assert [math.isnan(bits) for bits in entropy] == [True, False, True]
    assert distinct == [0, 1, 0]


@given(st.lists(st.binary(max_size=400), max_size=6), st.integers(1, 6))
def test_compressed_sizes_are_those_of_documents_compressed_alone(texts: list[bytes], level: int) -> None:
    data = np.frombuffer(b"".join(texts), np.uint8)
    expected = [len(zstandard.compress(text, level)) for text in texts]
    assert compressed_sizes(data, offsets(texts), level).tolist() == expected


def test_repetition_compresses_and_noise_does_not() -> None:
    noise = np.random.default_rng(0).integers(0, 256, 10_000).astype(np.uint8).tobytes()
    texts = [b"all the same " * 1000, noise, b"short"]
    data = np.frombuffer(b"".join(texts), np.uint8)
    ratios = compressed_sizes(data, offsets(texts), 3) / [len(text) for text in texts]
    assert ratios[0] < 0.01
    assert 1 < ratios[1] < 1.01
    assert ratios[2] > 2  # the frame alone has more bytes than the text


def test_a_part_of_a_batch_is_measured_where_it_lies() -> None:
    data = np.frombuffer(b"xxxxabababcd", np.uint8)
    assert byte_entropy(data, np.array([4, 8, 12])).tolist() == [1.0, 2.0]
    assert compressed_sizes(data, np.array([4, 8]), 3).tolist() == [len(zstandard.compress(b"abab", 3))]
