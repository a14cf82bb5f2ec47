"""Normalization against CCNet's rules in plain Python, tokens against plain Python."""

import re
import unicodedata

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from curate.language_models.ccnet import PUNCTUATION, Sentences, normalize
from curate.language_models.segmentation import Subwords, TextForm, cut
from curate.language_models.tokens import hash_of, tokenize
from curate.text.batch import TextBatch
from curate.text.tokenizer import train

TRICKY = "İIıßΣςσ가각힣éÅÅΩﬁ١９²½①１。—…．\u0301\u0345\u00ad\u200b\u00a0\u2028\x1c\x7f\x85\t\r\n  .aZ7,漢字ไทย𝟘𐐀"
TEXTS = st.lists(
    st.text(st.one_of(st.sampled_from(TRICKY), st.characters(exclude_categories=["Cs"]))).map(
        lambda text: unicodedata.normalize("NFC", text)
    ),
    max_size=6,
)


def ccnet(line: str) -> str:
    """Its rules in order; accents are dropped from every line, as its code does (see
    `curate.language_models.ccnet`)."""
    line = line.strip().lower()
    line = "".join(c for c in unicodedata.normalize("NFD", line) if unicodedata.category(c) != "Mn")
    line = re.sub(r"\d", "0", line)
    line = "".join(PUNCTUATION.get(c, c) for c in line)
    return re.sub("[\x00-\x1f\x7f-\x9f]", "", line)


def lines_of(sentences: Sentences) -> list[list[str]]:
    lines = [
        sentences.data[start:end].tobytes().decode()
        for start, end in zip(sentences.offsets, sentences.offsets[1:], strict=False)
    ]
    return [lines[start:end] for start, end in zip(sentences.documents, sentences.documents[1:], strict=False)]


@given(TEXTS, st.booleans())
def test_normalization_is_ccnets(texts: list[str], whole: bool) -> None:
    sentences = normalize(TextBatch(pa.array(texts, pa.large_string())), whole=whole)
    expected = [[ccnet(line) for line in ([text] if whole else text.split("\n"))] for text in texts]
    assert lines_of(sentences) == [[line for line in lines if line] for lines in expected]


@given(TEXTS)
def test_without_normalization_lines_are_stripped_only(texts: list[str]) -> None:
    sentences = normalize(TextBatch(pa.array(texts, pa.large_string())), ccnet=False)
    assert lines_of(sentences) == [[line.strip() for line in text.split("\n") if line.strip()] for text in texts]
    assert sentences.sizes.tolist() == [
        len(line.strip().encode()) for t in texts for line in t.split("\n") if line.strip()
    ]


def test_every_character_has_the_image_of_its_rules() -> None:
    characters = [chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000 and chr(c) not in "Σ\n"]
    lines = [f"x{character}x" for character in characters]
    sentences = normalize(TextBatch(pa.array(["\n".join(lines)], pa.large_string())))
    assert lines_of(sentences)[0] == [ccnet(line) for line in lines]


def is_space(character: str) -> bool:
    return character.isspace() or unicodedata.category(character) == "Cc"


@given(TEXTS)
def test_tokens_between_spaces_and_characters(texts: list[str]) -> None:
    sentences = normalize(TextBatch(pa.array(texts, pa.large_string())), ccnet=False)
    lines = [line for document in lines_of(sentences) for line in document]
    for unit in ("spaces", "characters"):
        tokens = tokenize(sentences, unit)
        spelled = [sentences.data[s:e].tobytes().decode() for s, e in zip(tokens.starts, tokens.ends, strict=True)]
        by_line = [spelled[s:e] for s, e in zip(tokens.offsets, tokens.offsets[1:], strict=False)]
        if unit == "spaces":
            apart = ["".join(" " if is_space(c) else c for c in line).split(" ") for line in lines]
            assert by_line == [[word for word in words if word] for words in apart]
        else:
            assert by_line == [list(line) for line in lines]


PARTS = st.sampled_from(
    ["word", "A", "12", " ", "  ", ".", "\t", "\x01", "é", "大", "it's", "<s>", "internationalization"]
)
LONG = st.lists(st.one_of(PARTS, st.just("plain text, "), st.just("\n")), max_size=60).map("".join)


@given(st.lists(LONG, max_size=3), st.booleans())
def test_runs_of_ascii_are_handled_like_any_text(texts: list[str], whole: bool) -> None:
    texts = [unicodedata.normalize("NFC", text) for text in texts]
    sentences = normalize(TextBatch(pa.array(texts, pa.large_string())), whole=whole)
    lines = [ccnet(line) for text in texts for line in ([text] if whole else text.split("\n"))]
    lines = [line for line in lines if line]
    assert [line for document in lines_of(sentences) for line in document] == lines
    tokens = tokenize(sentences, "words")
    spelled = [sentences.data[s:e].tobytes().decode() for s, e in zip(tokens.starts, tokens.ends, strict=True)]
    # CCNet leaves control characters and accents out, so that what is left is ASCII and Han, each a word.
    assert spelled == [word for line in lines for word in re.findall(r"[a-z0-9]+|[^\sa-z0-9]", line)]
    assert tokens.hashes.tolist() == [int(hash_of(word)) for word in spelled]
    counts = [len(re.findall(r"[a-z0-9]+|[^\sa-z0-9]", line)) for line in lines]
    assert np.diff(tokens.offsets).tolist() == counts


def test_a_tokens_hash_is_of_all_its_bytes_and_of_its_length() -> None:
    texts = [letter * size for size in range(1, 41) for letter in "ab"]
    texts += [f"{'a' * (size - 1)}b" for size in range(2, 41)] + ["a\0", "a\0\0"]
    assert len({int(hash_of(text)) for text in texts}) == len(texts)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("It's 9 a.m.", ["It", "'", "s", "9", "a", ".", "m", "."]),
        ("naïve x̂² 3/4 €5", ["naïve", "x̂²", "3", "/", "4", "€", "5"]),
        ("東京is大", ["東", "京", "is", "大"]),
        ("<s> a </s>", ["<", "s", ">", "a", "<", "/", "s", ">"]),
        ("a\u00a0b\x07c", ["a", "b", "c"]),
    ],
)
def test_words_and_marks_are_tokens(text: str, words: list[str]) -> None:
    tokenized = cut(TextBatch(pa.array([text])), TextForm(normalization="none"))
    assert tokenized.texts(np.arange(len(tokenized.hashes))) == words


def test_special_words_are_left_out() -> None:
    form = TextForm(normalization="none", tokens="spaces")
    tokenized = cut(TextBatch(pa.array(["<s> a <unk> </s> b", "</s>"])), form)
    assert tokenized.texts(np.arange(2)) == ["a", "b"]
    assert tokenized.offsets.tolist() == [0, 2, 2]


def test_subwords_are_those_of_the_tokenizer() -> None:
    serialized = train(["the lower the lowest", "a newer newest"] * 9, 300)
    tokenizer = Tokenizer.from_str(serialized)
    texts = ["the newest lower", "", "low ☃\nnew"]
    tokenized = cut(TextBatch(pa.array(texts)), TextForm(), Subwords.from_tokenizer(serialized))
    lines = ["the newest lower", "low ☃", "new"]
    expected = [tokenizer.encode(line).tokens for line in lines]
    assert tokenized.texts(np.arange(len(tokenized.hashes))) == [token for line in expected for token in line]
    assert np.diff(tokenized.offsets).tolist() == list(map(len, expected))
