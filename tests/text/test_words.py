import unicodedata
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.text.unicode import UNSPACED, tables
from curate.text.words import Words, mix64, segment

MASK = (1 << 64) - 1

# Characters that meet at the borders of the rules: cases, marks, digits, unspaced scripts, astral planes, emoji.
BORDERS = "aZ0_ -'\n\u0301\u00ad\u200d\ufe0féÉßẞİıΣςДд٣Ⅷ²ªʰ東京々〇ーカｶｱﾞที่กำမြកຂ한글हिन्दी𠮷𝒜😀❤€\U000e0100"
texts = st.text(st.one_of(st.sampled_from(BORDERS), st.characters(exclude_categories=["Cs"])), max_size=40)


def segment_texts(texts: list[str]) -> Words:
    encoded = [text.encode() for text in texts]
    offsets = np.concatenate(([0], np.cumsum([len(text) for text in encoded]))).astype(np.int64)
    return segment(np.frombuffer(b"".join(encoded), np.uint8), offsets)


def words_of(text: str) -> list[str]:
    data = text.encode()
    words = segment_texts([text])
    return [data[start:end].decode() for start, end in zip(words.starts, words.ends, strict=True)]


def reference_words(text: str) -> list[str]:
    """The rules of docs/words.md, character by character."""
    words: list[str] = []
    open_word = False
    only_marks = False
    for char in text:
        category = unicodedata.category(char)[0]
        alone = bool(tables().classes[ord(char)] & UNSPACED)
        if category in "LN" and (alone or not open_word or only_marks):
            words.append(char)
            open_word, only_marks = True, alone
        elif open_word and (category == "M" or (category in "LN" and not only_marks)):
            words[-1] += char
        else:
            open_word = False
    return words


def reference_hash(word: str) -> int:
    state = 0x9E3779B97F4A7C15
    for char in word:
        low = char.lower()
        state = ((state ^ ord(low if len(low) == 1 else char)) * 0xD1342543DE82EF95) & MASK
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        state = ((state ^ (state >> shift)) * factor) & MASK
    return state ^ (state >> 31)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Don't panic!", ["Don", "t", "panic"]),
        ("snake_case, e-mail, 3.14", ["snake", "case", "e", "mail", "3", "14"]),
        ("Über-Größe", ["Über", "Größe"]),
        ("東京 Tower 2号", ["東", "京", "Tower", "2", "号"]),
        ("ที่นี่", ["ที่", "นี่"]),
        ("हिन्दी", ["हिन्दी"]),
        ("한국어 문서", ["한국어", "문서"]),
        ("か\u3099a\u0301b", ["か\u3099", "a\u0301b"]),
        ("❤️ *** — \u0301", []),
        ("", []),
    ],
)
def test_documented_examples(text: str, expected: list[str]):
    assert words_of(text) == expected


@given(texts)
def test_words_and_hashes_follow_the_definition(text: str):
    expected = reference_words(text)
    assert words_of(text) == expected
    assert segment_texts([text]).hashes.tolist() == [reference_hash(word) for word in expected]


@given(st.lists(texts, max_size=6))
def test_a_batch_equals_its_documents(batch: list[str]):
    words = segment_texts(batch)
    assert len(words.offsets) == len(batch) + 1
    for text, (start, end) in zip(batch, pairwise(words.offsets), strict=True):
        assert words.hashes[start:end].tolist() == segment_texts([text]).hashes.tolist()


def test_positions_are_absolute_in_a_slice_of_a_batch():
    data = np.frombuffer("one twö three".encode(), np.uint8)
    words = segment(data, np.array([4, 8, 14]))
    assert [bytes(data[start:end]).decode() for start, end in zip(words.starts, words.ends, strict=True)] == [
        "twö",
        "three",
    ]
    assert words.offsets.tolist() == [0, 1, 2]


@pytest.mark.parametrize("batch", [["a"] * 7, ["a b c d e"] * 3, ["a東b京c"] * 3, ["東京"], []])
def test_the_densest_words_fit(batch: list[str]):
    assert len(segment_texts(batch).starts) == sum(len(reference_words(text)) for text in batch)


def test_hashes_are_fixed_for_ever():
    """Stored signatures depend on these values."""
    hashes = segment_texts(["the Größe 東 42"]).hashes.tolist()
    assert hashes == [0x01218D5A1A830F5C, 0x4ABAF94206D9839E, 0x5356A05DB5897B30, 0x63745590846AB1BA]


def test_mix64_is_the_finalizer_of_splitmix64():
    # First outputs of SplitMix64 from state 0, published with its reference implementation.
    states = np.arange(1, 4, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    assert mix64(states).tolist() == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]


def test_similar_words_have_unrelated_hashes():
    letters = "abcdefghijklmnopqrstuvwxyz"
    short = ["".join(word) for size in (1, 2, 3) for word in product(letters, repeat=size)]
    hashes = segment_texts([" ".join(short + [str(n) for n in range(100_000)])]).hashes
    assert len(np.unique(hashes)) == len(short) + 100_000
    bits = (hashes[:, None] >> np.arange(64, dtype=np.uint64)) & np.uint64(1)
    error = 0.5 / np.sqrt(len(hashes))
    assert np.abs(bits.mean(axis=0) - 0.5).max() < 4.5 * error
    flipped = np.unpackbits((hashes[:-1] ^ hashes[1:]).view(np.uint8))  # neighbours differ in their last characters
    assert abs(flipped.mean() - 0.5) < 4.5 * 0.5 / np.sqrt(len(flipped))
