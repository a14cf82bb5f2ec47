"""How text becomes input of a language model: normalization, sentences, tokens.

The same settings apply to training and scoring. They are stored with the model.
"""

import re
from collections.abc import Callable
from functools import lru_cache
from itertools import chain
from typing import Any, Literal, NamedTuple
from urllib.parse import quote

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from curate.errors import RunError
from curate.extras import missing
from curate.language_models.ccnet import Sentences, normalize
from curate.language_models.tokens import hash_of, tokenize
from curate.text.batch import TextBatch, string_array

ALL = "model"
"""Name of the model of a stage that trains a single model, not one per group."""
UNKNOWN = "<unk>"
SPECIAL = (UNKNOWN, "<s>", "</s>")
_CALL_BYTES = 1 << 20  # bytes of text per call of a tokenizer, whose encodings take 120 times as much memory


def file_name(group: str) -> str:
    """Return the file name of a group's model, with all special characters of the group's name escaped.

    Examples
    --------
    >>> file_name("en"), file_name("a/b")
    ('en', 'a%2Fb')
    """
    return quote(group, safe="")


class TextForm(BaseModel):
    """Normalization, tokens and sentences of a model's text."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    normalization: Literal["ccnet", "none"] = Field(
        default="ccnet",
        description="`ccnet`: lower case, no accents, digits as 0, punctuation as ASCII; `none`: text as it is",
    )
    tokens: Literal["words", "spaces", "characters", "bpe"] = Field(
        default="words",
        description="`words` and punctuation marks, strings between white `spaces`, `characters`, or byte-level `bpe`",
    )
    sentences: Literal["lines", "document"] = Field(
        default="lines",
        description="a sentence is one of the `lines`, or the whole `document` without line breaks, as in CCNet",
    )


class TokenizedSentences(NamedTuple):
    """Sentences of a batch of documents, with their tokens.

    Attributes
    ----------
    sentences
        The normalized sentences.
    hashes
        Hashes of the tokens of all sentences, uint64, shape (tokens,).
    offsets
        Sentence i has the tokens ``offsets[i]`` up to ``offsets[i + 1]``, int64, shape (sentences + 1,).
    texts
        Function that returns the texts of tokens, given their indices.
    """

    sentences: Sentences
    hashes: NDArray[np.uint64]
    offsets: NDArray[np.int64]
    texts: Callable[[NDArray[np.int64]], list[str]]


def cut(batch: TextBatch, form: TextForm, tokenizer: "Subwords | None" = None) -> TokenizedSentences:
    r"""Split a batch of documents into sentences and tokens.

    Parameters
    ----------
    batch
        Documents in NFC.
    form
        Normalization, sentences and kind of tokens.
    tokenizer
        Subword tokenizer; None for other kinds of tokens.

    Examples
    --------
    >>> tokenized = cut(TextBatch(pa.array(["A café.", "", "Two\nlines"])), TextForm())
    >>> tokenized.texts(np.arange(len(tokenized.hashes))), tokenized.offsets.tolist()
    (['a', 'cafe', '.', 'two', 'lines'], [0, 3, 4, 5])
    >>> tokenized.sentences.documents.tolist()
    [0, 1, 1, 3]
    """
    sentences = normalize(batch, ccnet=form.normalization == "ccnet", whole=form.sentences == "document")
    if tokenizer is not None:
        return tokenizer.cut(sentences)
    tokens = tokenize(sentences, form.tokens)

    def texts(chosen: NDArray[np.int64]) -> list[str]:
        bounds = zip(tokens.starts[chosen].tolist(), tokens.ends[chosen].tolist(), strict=True)
        words = [sentences.data[start:end].tobytes().decode() for start, end in bounds]
        return ["▁" if word.isspace() else word for word in words]

    return TokenizedSentences(sentences, tokens.hashes, tokens.offsets, texts)


class Subwords:
    """Subword tokens of a Hugging Face tokenizer or of a SentencePiece model.

    Parameters
    ----------
    pieces
        Text of every token, by id.
    encode
        Function that returns the token ids of each of several texts.
    unknown
        Id that stands for text that the tokenizer cannot represent. Without `spell`, the language model treats it as
        an unknown word. With `spell`, the text itself is the token, as in CCNet.
    spell
        Function that returns the tokens of a text as texts.
    """

    def __init__(
        self,
        pieces: list[str],
        encode: Callable[[list[str]], list[list[int]]],
        unknown: int | None = None,
        spell: Callable[[str], list[str]] | None = None,
    ) -> None:
        self._encode, self._unknown, self._spell = encode, unknown, spell
        self._pieces = list(map(_written, pieces))
        self._hashes = np.array([hash_of(piece) for piece in self._pieces], np.uint64)
        self._special = np.array([piece in SPECIAL for piece in self._pieces])
        if unknown is not None:
            self._pieces[unknown], self._hashes[unknown], self._special[unknown] = UNKNOWN, hash_of(UNKNOWN), False

    @classmethod
    def from_tokenizer(cls, serialized: str) -> "Subwords":
        """Create from the content of a ``tokenizer.json``; raise ``ValueError`` if it is not one."""
        from curate.text.tokenizer import parse

        tokenizer = parse(serialized)
        pieces = [tokenizer.id_to_token(i) or "" for i in range(tokenizer.get_vocab_size())]

        def encode(texts: list[str]) -> list[list[int]]:
            return [encoding.ids for encoding in tokenizer.encode_batch_fast(texts, add_special_tokens=False)]

        unknown = getattr(tokenizer.model, "unk_token", None)
        return cls(pieces, encode, tokenizer.token_to_id(unknown) if unknown else None)

    @classmethod
    def from_sentencepiece(cls, path: str) -> "Subwords":
        """Create from the file of a SentencePiece model; raise ``RunError`` if the library or the model is missing."""
        if absent := missing("sentencepiece", "sentencepiece"):
            raise RunError(f"{path} is a SentencePiece model: {absent}")
        import sentencepiece  # type: ignore[import-not-found]

        try:
            processor = sentencepiece.SentencePieceProcessor(model_file=path)
        except (OSError, RuntimeError) as error:
            raise RunError(f"{path} is not a SentencePiece model: {error}") from None
        pieces: Any = processor.id_to_piece(list(range(processor.get_piece_size())))

        def spell(text: str) -> list[str]:
            return processor.encode(text, out_type=str)

        return cls(pieces, lambda texts: processor.encode(texts, out_type=int), processor.unk_id(), spell)

    def cut(self, sentences: Sentences) -> TokenizedSentences:
        """Tokenize sentences, in calls of about `_CALL_BYTES` each."""
        text = string_array(sentences.data, sentences.offsets)
        ids: list[list[int]] = []
        start = 0
        while start < len(text):
            stop = int(np.searchsorted(sentences.offsets, sentences.offsets[start] + _CALL_BYTES))
            stop = min(max(stop, start + 1), len(text))
            ids += self._encode(text[start:stop].to_pylist())
            start = stop
        lengths = np.fromiter(map(len, ids), np.int64, len(ids))
        flat = np.fromiter(chain.from_iterable(ids), np.int64, int(lengths.sum()))
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        unknown_texts = self._number_unknown(text, flat, offsets)
        pieces = self._pieces + unknown_texts
        hashes = np.concatenate([self._hashes, np.array([hash_of(piece) for piece in unknown_texts], np.uint64)])
        plain = np.append(~self._special, np.ones(len(unknown_texts), bool))[flat]
        offsets = np.concatenate([[0], np.cumsum(plain)])[offsets]
        flat = flat[plain]
        return TokenizedSentences(
            sentences, hashes[flat], offsets, lambda chosen: [pieces[i] for i in flat[chosen].tolist()]
        )

    def _number_unknown(self, text: pa.Array, flat: NDArray[np.int64], offsets: NDArray[np.int64]) -> list[str]:
        """Replace each unknown id in `flat` by a new id for its text, above all others; return the texts by new id."""
        if self._unknown is None or self._spell is None:
            return []
        new_ids: dict[str, int] = {}
        places = np.flatnonzero(flat == self._unknown)
        for row in np.unique(np.searchsorted(offsets, places, "right") - 1).tolist():
            ids = flat[offsets[row] : offsets[row + 1]]
            spelling = self._spell(text[row].as_py())
            for i in np.flatnonzero(ids == self._unknown).tolist():
                ids[i] = new_ids.setdefault(_written(spelling[i]), len(self._pieces) + len(new_ids))
        return list(new_ids)


def _written(piece: str) -> str:
    """Replace the characters at which lmplz would split a token."""
    return re.sub(r"[\0\t\n\r ]", "▁", piece)


@lru_cache(maxsize=8)
def subwords(serialized: str) -> Subwords:
    """Open the tokenizer of a ``tokenizer.json``, once per worker process."""
    return Subwords.from_tokenizer(serialized)
