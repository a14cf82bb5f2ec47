"""Counts against the tokenizers themselves."""

import io
import json
import random
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

from curate.mixture.counting import TokenCounter
from curate.text.tokenizer import train
from tests.examples import examples
from tests.tokenizers import PATTERNS, SAMPLE, made

SPACE = [" ", "  ", "\n", "\n\n", "\r\n", "\t", "\u3000", "\xa0", "\u2028", "\x85", "\x1c", "\x0b", "\u180e", "\u200b"]
PIECES = [
    *SPACE,
    *"aZéß中字，。０１٣9.,!?-_()'’😀\u0301\u0e01\u0e31א한\U00020000\U00031400\U000e0100\U000f0000\x00",
    *("'s", "'S", "'RE", "'ve", "'ll", "'lL", "'ſ", "'", "don't", "12345", "³½", "hello", " hello", "<|endoftext|>"),
]
TEXT = st.lists(st.sampled_from(PIECES), max_size=30).map("".join)


@cache
def variant(pattern: str, kind: str) -> str:
    """A tokenizer.json with one thing changed."""
    config = json.loads(made(pattern))
    vocabulary = config["model"]["vocab"]
    if kind == "ignore_merges":  # with tokens that no merges lead to, shorter than what is remembered
        config["model"]["ignore_merges"] = True
        for token in ("Ġhello", "12345", "xyz"):
            vocabulary.setdefault(token, len(vocabulary))
    elif kind == "cut_off":
        config["truncation"] = {"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0}
        config["padding"] = {
            "strategy": {"Fixed": 20}, "direction": "Right", "pad_to_multiple_of": None,
            "pad_id": 0, "pad_type_id": 0, "pad_token": "<|endoftext|>",
        }  # fmt: skip
    elif kind == "added":
        tokenizer = Tokenizer.from_str(made(pattern))
        tokenizer.add_tokens(["<tool_call>", "    ", "中字"])
        return tokenizer.to_str()
    elif kind == "nfc":
        config["normalizer"] = {"type": "NFC"}
    return json.dumps(config)


def reference(serialized: str) -> Callable[[list[str]], list[int]]:
    tokenizer = Tokenizer.from_str(serialized)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = True
    return lambda texts: [len(e) for e in tokenizer.encode_batch_fast(texts, add_special_tokens=False)]


@cache
def pair(serialized: str) -> tuple[TokenCounter, Callable[[list[str]], list[int]]]:
    return TokenCounter(serialized), reference(serialized)


def counts(counter: TokenCounter, texts: list[str]) -> list[int]:
    return counter.count(pa.array(texts, pa.large_string())).tolist()


@examples(150)
@pytest.mark.parametrize("kind", ["plain", "ignore_merges", "added", "cut_off"])
@pytest.mark.parametrize("pattern", list(PATTERNS))
@given(texts=st.lists(TEXT, max_size=8))
def test_counts_equal_the_tokenizers(pattern: str, kind: str, texts: list[str]) -> None:
    counter, expected = pair(variant(pattern, kind))
    assert counter.fast
    assert counts(counter, texts) == expected(texts)


@examples(150)
@given(texts=st.lists(TEXT, max_size=8))
def test_counts_of_nfc_text_under_an_nfc_normalizer(texts: list[str]) -> None:
    counter, expected = pair(variant("qwen2", "nfc"))
    normal = [normalizers.NFC().normalize_str(text) for text in texts]
    assert counter.fast
    assert counts(counter, normal) == expected(normal)


@examples(50)
@pytest.mark.parametrize("pattern", list(PATTERNS))
@given(text=st.text(max_size=60))
def test_counts_of_any_text(pattern: str, text: str) -> None:
    counter, expected = pair(made(pattern))
    assert counts(counter, [text]) == expected([text])


@pytest.mark.parametrize("pattern", list(PATTERNS))
def test_counts_of_very_long_pieces(pattern: str) -> None:
    counter, expected = pair(made(pattern))
    texts = [char * size for char in "a中 \n-7" for size in (15, 16, 511, 512, 513, 3000)]
    texts += [f"x {'b' * 700} {'c' * 900}\n{'-' * 600}", "q" * 2_000_000]
    assert counts(counter, texts) == expected(texts)


def test_what_is_remembered_does_not_run_over() -> None:
    counter, expected = pair(made("llama3"))
    texts = [f"{number:x}" for number in random.Random(0).sample(range(2**50), 60_000)]
    many = [" ".join(texts[start : start + 100]) for start in range(0, len(texts), 100)]
    counter._kernel.free[0] = min(int(counter._kernel.free[0]), 1000)  # as after half a million distinct pieces
    assert counts(counter, many) == expected(many)
    assert counter._kernel.free[0] == 0


def test_slices_of_arrays_and_no_documents() -> None:
    counter, expected = pair(made("gpt2"))
    texts = pa.array(["left out", *SAMPLE, "left out"], pa.large_string())
    assert counter.count(texts.slice(1, len(SAMPLE))).tolist() == expected(SAMPLE)
    assert counts(counter, []) == []
    assert counts(counter, [""]) == [0]


def test_special_tokens_in_text_are_ordinary_characters() -> None:
    counter, _ = pair(made("llama3"))
    assert Tokenizer.from_str(made("llama3")).encode("<|endoftext|>").ids == [0]
    assert counts(counter, ["<|endoftext|>"])[0] > 1


def other_tokenizers() -> dict[str, str]:
    """Tokenizers that the kernel must leave alone."""
    pieces = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    pieces.pre_tokenizer = pre_tokenizers.Whitespace()
    pieces.train_from_iterator(SAMPLE, trainers.WordPieceTrainer(special_tokens=["[UNK]"], show_progress=False))
    sentence = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True))
    sentence.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=["<unk>"], show_progress=False)
    sentence.train_from_iterator(SAMPLE, trainer)
    config = json.loads(made("gpt2"))
    unreachable = json.loads(made("gpt2"))  # a whole piece, too long to be remembered, that merges do not lead to
    unreachable["model"]["ignore_merges"] = True
    unreachable["model"]["vocab"]["abcdefghijklmnopqrstuvwxyz"] = len(unreachable["model"]["vocab"])
    level = config["pre_tokenizer"]
    return {
        "wordpiece": pieces.to_str(),
        "sentencepiece": sentence.to_str(),
        "prefix": json.dumps(config | {"pre_tokenizer": level | {"add_prefix_space": True}}),
        "lower": json.dumps(config | {"normalizer": {"type": "Lowercase"}}),
        "no_pattern": json.dumps(config | {"pre_tokenizer": level | {"use_regex": False}}),
        "unreachable": json.dumps(unreachable),
    }


@pytest.mark.parametrize("kind", ["wordpiece", "sentencepiece", "prefix", "lower", "no_pattern", "unreachable"])
def test_other_tokenizers_count_for_themselves(kind: str) -> None:
    serialized = other_tokenizers()[kind]
    counter, texts = TokenCounter(serialized), [*SAMPLE, "", "abcdefghijklmnopqrstuvwxyz", "Das IST ein <|endoftext|>."]
    assert not counter.fast
    assert counts(counter, texts) == reference(serialized)(texts)


def test_dropout_is_not_fast() -> None:
    config = json.loads(made("gpt2"))
    config["model"]["dropout"] = 0.1
    assert not TokenCounter(json.dumps(config)).fast


def test_the_kernel_knows_tokenizers_trained_here() -> None:
    assert TokenCounter(train(SAMPLE, 600)).fast
    assert TokenCounter(train([], 600)).vocab_size == 257


def head(path: Path, size: int) -> list[str]:
    """Texts from the start of a corpus."""
    texts, total = [], 0
    with open(path, "rb") as file:
        for line in io.BufferedReader(zstandard.ZstdDecompressor().stream_reader(file)):
            texts.append(orjson.loads(line)["text"])
            total += len(texts[-1])
            if total > size:
                break
    return texts


@pytest.mark.parametrize("pattern", list(PATTERNS))
def test_counts_of_real_text(shared_data: Path, pattern: str) -> None:
    names = ("wikipedia_en", "wikipedia_zh", "german_law", "reddit_selfposts", "code_functions", "acl_papers")
    texts = [text for name in names for text in head(shared_data / f"{name}.jsonl.zst", 120_000)]
    sentences = head(shared_data / "langid_sentences.jsonl.zst", 10_000_000)[::40]  # 75 languages
    counter, expected = pair(made(pattern))
    assert np.array_equal(counts(counter, texts + sentences), expected(texts + sentences))
