"""How a language model sees text: what is normalized, what a sentence is, what a token is. The same for training and
scoring, and kept with the model.
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
from curate.language_models.ccnet import Sentences, normalize
from curate.language_models.tokens import hash_of, tokenize
from curate.text.batch import TextBatch

ALL = "model"
"""Name of the only model of a stage that does not train one for each of some groups."""
UNKNOWN = "<unk>"
SPECIAL = (UNKNOWN, "<s>", "</s>")
SENTENCEPIECE_MISSING = "install it: pip install 'curate[kenlm]', or pip install sentencepiece alone"
_CALL_BYTES = 1 << 20  # text per call of a tokenizer, whose encodings take 120 times the memory of the text


def file_name(group: str) -> str:
    """What the files of a group's model are called, whatever its name has in it.

    Examples
    --------
    >>> file_name("en"), file_name("a/b")
    ('en', 'a%2Fb')
    """
    return quote(group, safe="")


class TextForm(BaseModel):
    """What a model's text is made of."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    normalization: Literal["ccnet", "none"] = Field(
        default="ccnet",
        description="`ccnet`: lower case, accents dropped, digits to 0, punctuation to ASCII; `none`: text as it is",
    )
    tokens: Literal["words", "spaces", "characters", "bpe"] = Field(
        default="words",
        description="`words` and punctuation marks, what stands between `spaces`, `characters`, or byte-level `bpe`",
    )
    sentences: Literal["lines", "document"] = Field(
        default="lines",
        description="a sentence is a line, or the whole document without its line breaks, as in CCNet's own pipeline",
    )


class SegmentedText(NamedTuple):
    """Sentences of a batch, and the hashes of their tokens, which `texts` spells by index."""

    sentences: Sentences
    hashes: NDArray[np.uint64]
    offsets: NDArray[np.int64]
    texts: Callable[[NDArray[np.int64]], list[str]]


def cut(batch: TextBatch, form: TextForm, tokenizer: "Subwords | None" = None) -> SegmentedText:
    r"""Sentences and tokens of a batch of documents.

    Parameters
    ----------
    batch
        Documents in NFC.
    form
        How they are seen.
    tokenizer
        What cuts sentences into subwords; None for the other kinds of tokens.

    Examples
    --------
    >>> seen = cut(TextBatch(pa.array(["A café.", "", "Two\nlines"])), TextForm())
    >>> seen.texts(np.arange(len(seen.hashes))), seen.offsets.tolist(), seen.sentences.documents.tolist()
    (['a', 'cafe', '.', 'two', 'lines'], [0, 3, 4, 5], [0, 1, 1, 3])
    """
    sentences = normalize(batch, ccnet=form.normalization == "ccnet", whole=form.sentences == "document")
    if tokenizer is not None:
        return tokenizer.cut(sentences)
    tokens = tokenize(sentences, form.tokens)

    def texts(chosen: NDArray[np.int64]) -> list[str]:
        bounds = zip(tokens.starts[chosen].tolist(), tokens.ends[chosen].tolist(), strict=True)
        found = [sentences.data[start:end].tobytes().decode() for start, end in bounds]
        return ["▁" if text.isspace() else text for text in found]

    return SegmentedText(sentences, tokens.hashes, tokens.offsets, texts)


class Subwords:
    """Tokens of a Hugging Face tokenizer or of a SentencePiece model.

    Parameters
    ----------
    pieces
        Every token as text, by id.
    encode
        Ids of the tokens of each of some texts.
    unknown
        Id of text that no token spells. A language model is asked for an unknown word there, or for what `spell`
        says: as CCNet's pieces have it, that text itself is the token.
    spell
        Tokens of a text as text.
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
        """From the text of a ``tokenizer.json``; raises ``ValueError`` when it is not one."""
        from curate.text.tokenizer import parse

        tokenizer = parse(serialized)
        pieces = [tokenizer.id_to_token(i) or "" for i in range(tokenizer.get_vocab_size())]

        def encode(texts: list[str]) -> list[list[int]]:
            return [found.ids for found in tokenizer.encode_batch_fast(texts, add_special_tokens=False)]

        unknown = getattr(tokenizer.model, "unk_token", None)
        return cls(pieces, encode, tokenizer.token_to_id(unknown) if unknown else None)

    @classmethod
    def from_sentencepiece(cls, path: str) -> "Subwords":
        """From the file of a SentencePiece model; raises ``RunError`` when the library or the model is missing."""
        try:
            import sentencepiece  # type: ignore[import-not-found]
        except ImportError:
            raise RunError(f"{path} needs the library of SentencePiece; {SENTENCEPIECE_MISSING}") from None
        try:
            processor = sentencepiece.SentencePieceProcessor(model_file=path)
        except (OSError, RuntimeError) as error:
            raise RunError(f"{path} is no SentencePiece model: {error}") from None
        pieces: Any = processor.id_to_piece(list(range(processor.get_piece_size())))

        def spell(text: str) -> list[str]:
            return processor.encode(text, out_type=str)

        return cls(pieces, lambda texts: processor.encode(texts, out_type=int), processor.unk_id(), spell)

    def cut(self, sentences: Sentences) -> SegmentedText:
        """Tokens of sentences, in calls of about `_CALL_BYTES`."""
        text = pa.LargeStringArray.from_buffers(
            len(sentences.offsets) - 1, pa.py_buffer(sentences.offsets), pa.py_buffer(sentences.data)
        )
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
        foreign = self._foreign(text, flat, offsets)
        pieces = self._pieces + foreign
        hashes = np.concatenate([self._hashes, np.array([hash_of(piece) for piece in foreign], np.uint64)])
        plain = np.append(~self._special, np.ones(len(foreign), bool))[flat]
        offsets = np.concatenate([[0], np.cumsum(plain)])[offsets]
        flat = flat[plain]
        return SegmentedText(
            sentences, hashes[flat], offsets, lambda chosen: [pieces[i] for i in flat[chosen].tolist()]
        )

    def _foreign(self, text: pa.Array, flat: NDArray[np.int64], offsets: NDArray[np.int64]) -> list[str]:
        """Spell what is unknown: `flat` gets ids above those of the tokens, for the texts that are returned."""
        if self._unknown is None or self._spell is None:
            return []
        found: dict[str, int] = {}
        places = np.flatnonzero(flat == self._unknown)
        for row in np.unique(np.searchsorted(offsets, places, "right") - 1).tolist():
            ids = flat[offsets[row] : offsets[row + 1]]
            spelled = self._spell(text[row].as_py())
            for i in np.flatnonzero(ids == self._unknown).tolist():
                ids[i] = found.setdefault(_written(spelled[i]), len(self._pieces) + len(found))
        return list(found)


def _written(piece: str) -> str:
    """What lmplz would cut at or take for a special token is written otherwise, as it cannot be part of a token."""
    return re.sub(r"[\0\t\n\r ]", "▁", piece)


@lru_cache(maxsize=8)
def subwords(serialized: str) -> Subwords:
    """The tokenizer of a ``tokenizer.json``, made once per worker process."""
    return Subwords.from_tokenizer(serialized)
