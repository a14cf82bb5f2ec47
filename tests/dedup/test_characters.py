"""Characters against a reference that knows Python's strings and `unicodedata` alone."""

import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.dedup.characters import characters
from curate.dedup.minhash import exact_jaccard
from curate.text.words import mix64, segment
from tests.examples import examples

LATIN, GREEK, CHINESE, THAI = "aZ09éÉßÇǅİſﬁ", "ΣσςΩ", "東京漢字はカﾊ々〇", "กีที่นไ"
ARABIC, HINDI, KOREAN, CODE = "عَربي١", "हिन्दी२", "한글", "_{}()=+;\t\n"
REST = " ,.\n'—。、\u00ad\u200d\u0301\u20e3🙂\U0001f1e9②Ⅷ"
TEXTS = st.lists(
    st.text(st.sampled_from(LATIN + GREEK + CHINESE + THAI + ARABIC + HINDI + KOREAN + CODE + REST), max_size=30),
    max_size=6,
)
UNSPACED_NAMES = ("CJK", "HIRAGANA", "KATAKANA", "HALFWIDTH KATAKANA", "IDEOGRAPHIC", "THAI")


def is_unspaced(character: str) -> bool:
    return unicodedata.name(character, "").startswith(UNSPACED_NAMES)


def spelled(text: str) -> str:
    """The letters, digits and marks of a text in lower case, with one space wherever a word ends and another begins."""
    result = ""
    before = last = (
        ""  # kinds of the word that the character before belongs to, if it does to one, and of the last word
    )
    for character in text:
        kind = unicodedata.category(character)[0]
        low = character.lower() if len(character.lower()) == 1 else character
        if kind in "LN":
            now = "unspaced" if is_unspaced(character) else "spaced"
            same_word = before == now == "spaced"
            written_together = now == last == "unspaced"
            result += low if same_word or written_together or not result else " " + low
            before = last = now
        elif kind == "M" and before:
            result += low
        else:
            before = ""
    return result


def found_in(texts: list[str]) -> list[list[int]]:
    encoded = [text.encode() for text in texts]
    offsets = np.concatenate(([0], np.cumsum([len(data) for data in encoded]))).astype(np.int64)
    data = np.frombuffer(b"".join(encoded), np.uint8)
    hashes, bounds = characters(data, segment(data, offsets))
    return [hashes[bounds[i] : bounds[i + 1]].tolist() for i in range(len(texts))]


def hashed(text: str) -> list[int]:
    return [int(mix64(np.uint64(ord(character)))) for character in text]


@examples(500)
@given(TEXTS)
def test_characters_are_those_of_the_reference(texts: list[str]) -> None:
    assert found_in(texts) == [hashed(spelled(text)) for text in texts]


@pytest.mark.parametrize(
    ("text", "sequence"),
    [
        ("Don't  panic!\n", "don t panic"),
        ("snake_case(x)", "snake case x"),
        ("東京。は", "東京は"),
        ("東 京\n漢字", "東京漢字"),
        ("東京Tower2号", "東京 tower2 号"),
        ("ที่ นี่", "ที่นี่"),
        ("हिन्दी है", "हिन्दी है"),
        ("한 글", "한 글"),
        ("ΣΑΣ", "σασ"),
        (" \n", ""),
        ("*** 🙂", ""),
    ],
)
def test_examples(text: str, sequence: str) -> None:
    assert found_in([text]) == [hashed(sequence)]


@examples(100)
@given(st.text(st.sampled_from(CHINESE + " 。"), max_size=20), st.text(st.sampled_from(CHINESE + " 。"), max_size=20))
def test_ngrams_of_chinese_characters_are_those_of_its_words(first: str, second: str) -> None:
    encoded = [first.encode(), second.encode()]
    data = np.frombuffer(b"".join(encoded), np.uint8)
    words = segment(data, np.array([0, len(encoded[0]), len(data)]))
    tokens = characters(data, words)
    fallback = np.arange(2, dtype=np.uint64)
    pair = np.array([[0, 1]])
    by_word = exact_jaccard(words.hashes, words.offsets, pair, 3, fallback)
    assert by_word.tolist() == exact_jaccard(*tokens, pair, 3, fallback).tolist()


def test_no_documents() -> None:
    data = np.zeros(0, np.uint8)
    assert characters(data, segment(data, np.zeros(1, np.int64))).offsets.tolist() == [0]
