"""Score documents with an n-gram model: a model of `train_lm`, one in the ARPA format, or a binary file of kenlm."""

from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate import storage
from curate.errors import RunError
from curate.extras import missing
from curate.language_models import arpa, model_file, ngram
from curate.language_models.segmentation import (
    Subwords,
    TextForm,
    TokenizedSentences,
    cut,
    subwords,
)
from curate.text.batch import TextBatch

BITS = float(np.log2(10.0))
"""Bits per unit of log10."""


class Model(Protocol):
    """A model that scores sentences of tokens, such as `curate.language_models.ngram.NgramModel`."""

    def score(self, hashes: NDArray[np.uint64], offsets: NDArray[np.int64]) -> ngram.Scores:
        """Return the log10 probability and the number of unknown tokens of each sentence."""
        ...


class Sums(NamedTuple):
    """Scores of documents and of their sentences.

    A sentence ends with ``</s>``, which counts for the probability but not as a token.

    Attributes
    ----------
    log10_prob
        log10 probability of each document, float64, shape (documents,).
    tokens, unknown, sentences
        Number of tokens, of unknown tokens, and of sentences with tokens, int64, shape (documents,).
    line_log10_prob, line_sizes
        log10 probability of each sentence, float64, and its size in bytes, int64, shape (sentences,).
    lines
        Document i has the sentences ``lines[i]`` up to ``lines[i + 1]``, int64, shape (documents + 1,).
    """

    log10_prob: NDArray[np.float64]
    tokens: NDArray[np.int64]
    unknown: NDArray[np.int64]
    sentences: NDArray[np.int64]
    line_log10_prob: NDArray[np.float64]
    line_sizes: NDArray[np.int64]
    lines: NDArray[np.int64]


class Scorer:
    """A model together with the normalization and tokens of its text.

    Parameters
    ----------
    model
        Model that scores sentences: an `NgramModel`, or a ``kenlm.Model``.
    form, tokenizer
        How text is split into sentences and tokens.
    """

    def __init__(self, model: Any, form: TextForm, tokenizer: Subwords | None) -> None:
        self._model, self._form, self._tokenizer = model, form, tokenizer

    def score(self, batch: TextBatch) -> Sums:
        """Score documents. A sentence without tokens contributes nothing."""
        tokenized = cut(batch, self._form, self._tokenizer)
        scores = self._scores(tokenized)
        lengths = np.diff(tokenized.offsets)
        has_tokens = lengths > 0
        lines = tokenized.sentences.documents
        prob = np.where(has_tokens, scores.log10_prob, 0.0)

        def by_document(values: NDArray[Any]) -> NDArray[Any]:
            total = np.concatenate([np.zeros(1, values.dtype), np.cumsum(values)])
            return total[lines[1:]] - total[lines[:-1]]

        document = np.repeat(np.arange(len(batch)), np.diff(lines))
        return Sums(
            # Each document is summed by itself: its sum must not depend on the documents before it in the batch.
            np.bincount(document, prob, len(batch)).astype(np.float64),
            by_document(lengths),
            by_document(scores.unknown),
            by_document(has_tokens.astype(np.int64)),
            prob,
            tokenized.sentences.sizes,
            lines,
        )

    def _scores(self, tokenized: TokenizedSentences) -> ngram.Scores:
        if isinstance(self._model, ngram.NgramModel):
            return self._model.score(tokenized.hashes, tokenized.offsets)
        return _kenlm_scores(self._model, tokenized)


def _kenlm_scores(model: Any, tokenized: TokenizedSentences) -> ngram.Scores:
    """Score with kenlm's module, one call per sentence. Each distinct word is decoded and looked up once."""
    distinct = pa.array(tokenized.hashes).dictionary_encode()
    number = distinct.indices.to_numpy()
    first = np.empty(len(distinct.dictionary), np.int64)
    first[number[::-1]] = np.arange(len(number))[::-1]  # the first occurrence of a word is written last
    words = tokenized.texts(first)
    unknown = np.concatenate([[0], np.cumsum(np.array([word not in model for word in words], bool)[number])])
    spellings = [words[i] for i in number.tolist()]
    sentences = (" ".join(spellings[start:end]) for start, end in pairwise(tokenized.offsets.tolist()))
    scores = (model.score(sentence, bos=True, eos=True) for sentence in sentences)
    prob = np.fromiter(scores, np.float64, len(tokenized.offsets) - 1)
    return ngram.Scores(prob, unknown[tokenized.offsets[1:]] - unknown[tokenized.offsets[:-1]])


@lru_cache(maxsize=64)
def open_scorer(path: str, form: str = "{}", tokenizer: str | None = None) -> Scorer:
    """Open a model, once per process and set of arguments.

    Parameters
    ----------
    path
        Path of a model of `train_lm`, one in the ARPA format, or a binary file of kenlm.
    form
        `TextForm` of the model's text as JSON. A model of `train_lm` contains its own.
    tokenizer
        Path of a SentencePiece model or of a ``tokenizer.json``. A model of `train_lm` contains its own.

    Raises
    ------
    RunError
        If the file does not exist or is not a model, or kenlm's module is needed but not installed.
    """
    if not storage.exists(path):
        raise RunError(f"there is no model file {path!r}")
    path = _local(path)
    kind = kind_of(path)
    try:
        if kind == "own":
            model = ngram.load(path)
            if "text" in model.meta:  # otherwise the model was converted from the ARPA format
                trained_with = model.meta.get("tokenizer")
                return Scorer(model, TextForm(**model.meta["text"]), subwords(trained_with) if trained_with else None)
        else:
            model = arpa.read(path) if kind == "arpa" else _kenlm(path)
        opened = open_tokenizer(None if tokenizer is None else _local(tokenizer))
        return Scorer(model, TextForm.model_validate_json(form), opened)
    except ValueError as error:
        raise RunError(str(error)) from None


def kind_of(path: str) -> str:
    """Detect the format of a model by its first bytes.

    Returns
    -------
    str
        ``own`` for a model of `train_lm`, ``arpa`` for the ARPA format, or ``kenlm`` for a binary file of kenlm.

    Raises
    ------
    ValueError
        If the file has none of these formats.
    """
    with open(path, "rb") as file:
        head = file.read(max(64, len(model_file.MAGIC)))
    if head.startswith(model_file.MAGIC):
        return "own"
    if head.lstrip().startswith(b"\\data\\"):
        return "arpa"
    if head.startswith(b"mmap lm "):
        return "kenlm"
    raise ValueError(f"{path} is not a model of train_lm, nor in the ARPA format, nor a binary file of kenlm")


def _kenlm(path: str) -> Any:
    if absent := missing("kenlm", "kenlm"):
        raise RunError(f"{path} is a binary file of kenlm: {absent}")
    import kenlm  # type: ignore[import-not-found]

    try:
        return kenlm.Model(path)  # mapped into memory
    except OSError as error:
        raise RunError(f"kenlm cannot read {path}: {error}") from None


def open_tokenizer(path: str | None) -> Subwords | None:
    """Open a subword tokenizer from a ``tokenizer.json`` or a SentencePiece model; return None for None.

    Raises
    ------
    RunError, ValueError
        If the file is neither, or SentencePiece is needed but not installed.
    """
    if path is None:
        return None
    if path.endswith(".json"):
        return subwords(Path(path).read_text())
    return Subwords.from_sentencepiece(path)


def _local(path: str) -> str:
    """Return a local path with the same bytes. Models are mapped into memory, which needs a local file."""
    if storage.is_local(path):
        return path
    import atexit
    import shutil
    import tempfile

    folder = tempfile.mkdtemp(prefix="curate-lm-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    fs, inner = storage.filesystem(path)
    copy = f"{folder}/{inner.rpartition('/')[2]}"  # `open_tokenizer` needs the suffix of the name
    fs.get_file(inner, copy)
    return copy
