"""Exact and fast token counts.

The reference is a ``tokenizer.json`` of Hugging Face `tokenizers`: the count of a text is the length of the result of
``Tokenizer.encode(text, add_special_tokens=False)``. Counting needs no ids, offsets or strings. So for the usual
byte-level tokenizers (GPT-2, Llama 3, Qwen 2 and those that curate trains), the kernel of `curate.mixture.bpe` counts
directly on the UTF-8 of a batch. The counts are equal by construction: the kernel uses the pattern and the merges of
the tokenizer, and the character classes come from the tokenizer's own regular-expression engine. The tokenizer itself
counts everything that the kernel does not support: other patterns, normalizers or models, documents that contain added
tokens, and very long pieces.

Special tokens in a text, such as ``<|endoftext|>``, are part of the corpus. They are counted as ordinary characters.
"""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from tokenizers import Regex, pre_tokenizers

from curate.mixture.bpe import LETTER, NUMBER, SPACE, Bpe, bpe, count, remember
from curate.text.batch import TextBatch
from curate.text.tokenizer import GPT2_PATTERN, LLAMA3_PATTERN, QWEN2_PATTERN, parse

_DIGITS = {LLAMA3_PATTERN: 3, QWEN2_PATTERN: 1, GPT2_PATTERN: 0}
"""Patterns that the kernel supports, with the maximum digits of a piece; 0 means the rules of GPT-2."""

_PLANES = 0x40000  # higher code points are unassigned, tags or private use: neither letters, numbers nor spaces
_SURROGATES = range(0xD800, 0xE000)

_CALL_CHARS = 1 << 20  # characters per call of the tokenizer, whose encodings take 120 times the memory of the text

# Planes with characters whose canonical compositions are newer than Python's Unicode tables, so NFC may differ.
_RARE_PLANES = "[\U00010000-\U0001efff]"


class TokenCounter:
    """Counts exactly the tokens that a tokenizer produces.

    Parameters
    ----------
    serialized
        Text of a ``tokenizer.json``.

    Raises
    ------
    ValueError
        If `serialized` is not a ``tokenizer.json``.

    Examples
    --------
    >>> from curate.text.tokenizer import train
    >>> TokenCounter(train(["low lower lowest"] * 8, vocab_size=261)).count(pa.array(["low", " lower", "xyz"])).tolist()
    [1, 2, 3]
    """

    def __init__(self, serialized: str) -> None:
        self._tokenizer = parse(serialized)
        config = orjson.loads(serialized)
        self._kernel = _byte_bpe(config)
        self._exceptions = _exceptions(config)

    @property
    def fast(self) -> bool:
        """Whether the kernel supports this tokenizer. Otherwise, the tokenizer itself counts, about 20 times slower."""
        return self._kernel is not None

    @property
    def vocab_size(self) -> int:
        """Size of the vocabulary, including added tokens."""
        return self._tokenizer.get_vocab_size()

    def count(self, text: pa.Array) -> NDArray[np.int32]:
        """Count the tokens of each text.

        Parameters
        ----------
        text
            Texts without nulls. They must be in NFC if the tokenizer normalizes to NFC.

        Returns
        -------
        NDArray[np.int32]
            Number of tokens of each text, shape (documents,).
        """
        batch = TextBatch(text)
        if self._kernel is None or len(batch) == 0:
            return self._by_tokenizer(batch.text.to_pylist())
        counts, deferred = count(self._kernel, batch.data, batch.offsets)
        pieces = [batch.data[start:stop].tobytes().decode() for _, start, stop in deferred.tolist()]
        np.add.at(counts, deferred[:, 0], self._by_tokenizer(pieces))
        if self._exceptions:
            options = pc.MatchSubstringOptions(self._exceptions)
            exceptional = np.flatnonzero(pc.call_function("match_substring_regex", [batch.text], options))
            counts[exceptional] = self._by_tokenizer(batch.text.take(pa.array(exceptional)).to_pylist())
        return counts.astype(np.int32)

    def _by_tokenizer(self, texts: Sequence[str]) -> NDArray[np.int32]:
        counts = np.empty(len(texts), np.int32)
        ends = np.cumsum([len(text) for text in texts], dtype=np.int64)
        cuts = np.flatnonzero(np.diff(ends // _CALL_CHARS)) + 1
        for first, last in pairwise([0, *cuts.tolist(), len(texts)]):
            encodings = self._tokenizer.encode_batch_fast(list(texts[first:last]), add_special_tokens=False)
            counts[first:last] = [len(encoding) for encoding in encodings]
        return counts


# -- conversion of a tokenizer for the kernel --------------------------------------------------------------------------


def _byte_bpe(config: Mapping[str, Any]) -> Bpe | None:
    """Convert a tokenizer for the kernel. Return None if equal counts are not guaranteed."""
    digits, model = _digits(config["pre_tokenizer"]), config["model"]
    plain = model["type"] == "BPE" and not any(
        model.get(option) for option in ("dropout", "continuing_subword_prefix", "end_of_word_suffix")
    )
    normalizer = config["normalizer"]
    if digits is None or not plain or not (normalizer is None or normalizer["type"] == "NFC"):
        return None
    vocabulary, alphabet = model["vocab"], _alphabet()
    if any(char not in vocabulary for char in alphabet):
        return None
    symbols = np.array([vocabulary[char] for char in alphabet], np.int32)
    ranks = {}
    for rank, merge in enumerate(model["merges"]):
        left, right = merge.split(" ") if isinstance(merge, str) else merge
        ranks[vocabulary[left], vocabulary[right]] = (rank, vocabulary[left + right])
    tokenizer = bpe(digits, _classes(), symbols, ranks)
    if model.get("ignore_merges"):  # a piece that is a token counts as one, whatever its merges
        byte_of = {char: byte for byte, char in enumerate(alphabet)}
        tokens = [bytes(byte_of[c] for c in token) for token in vocabulary if all(c in byte_of for c in token)]
        return tokenizer if remember(tokenizer, tokens) else None
    return tokenizer


def _digits(config: Mapping[str, Any] | None) -> int | None:
    """Return the entry of `_DIGITS` for a pre-tokenizer, or None if the kernel does not support it."""
    steps = [] if config is None else config["pretokenizers"] if config["type"] == "Sequence" else [config]
    match steps:
        case [{"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}]:
            return _DIGITS[GPT2_PATTERN]
        case [
            {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False},
            {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False},
        ]:
            return _DIGITS.get(pattern)
    return None


def _exceptions(config: Mapping[str, Any]) -> str:
    """Return a pattern for documents that the tokenizer must count: added tokens, and scripts where NFC may differ."""
    patterns = [re.escape(token["content"]) for token in config["added_tokens"] if not token["special"]]
    return "|".join(patterns + ([] if config["normalizer"] is None else [_RARE_PLANES]))


def _alphabet() -> list[str]:
    """Return the printable character of each byte in a byte-level vocabulary (GPT-2's ``bytes_to_unicode``)."""
    shown = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = iter(range(0x100, 0x200))
    return [chr(byte if byte in shown else next(others)) for byte in range(256)]


@cache
def _classes() -> NDArray[np.uint8]:
    """Return the class of each code point by the tokenizers' regular-expression engine, shape (0x40000,)."""
    codes = [code for code in range(_PLANES) if code not in _SURROGATES]
    every = "".join(map(chr, codes))
    spans = pre_tokenizers.Split(Regex(r"\p{L}+|\p{N}+|\s+"), "isolated").pre_tokenize_str(every)
    heads = "".join(every[start] for _, (start, _) in spans)
    classes = np.zeros(_PLANES, np.uint8)
    for kind, pattern in ((LETTER, r"\p{L}"), (NUMBER, r"\p{N}"), (SPACE, r"\s")):
        others = pre_tokenizers.Split(Regex(pattern), "removed").pre_tokenize_str(heads)
        chosen = set(range(len(heads))).difference(*(range(start, stop) for _, (start, stop) in others))
        for position in chosen:
            start, stop = spans[position][1]
            classes[codes[start:stop]] = kind
    return classes
