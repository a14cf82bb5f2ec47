"""Scoring documents with an n-gram model: our own file, one in the ARPA format, or kenlm's binary file."""

from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate import storage
from curate.errors import RunError
from curate.language_models import arpa, ngram
from curate.language_models.segmentation import SENTENCEPIECE_MISSING, SegmentedText, Subwords, TextForm, cut, subwords
from curate.text.batch import TextBatch

BITS = float(np.log2(10.0))
"""Bits of a unit of log10."""


class Model(Protocol):
    """What scores sentences of tokens, as `curate.language_models.ngram.NgramModel` does."""

    def score(self, hashes: NDArray[np.uint64], offsets: NDArray[np.int64]) -> ngram.Scores:
        """Log10 probability and number of unknown tokens of each sentence."""
        ...


class Sums(NamedTuple):
    """What is measured of each document, and of each of its sentences.

    Attributes
    ----------
    log10_prob
        float64, shape (documents,).
    tokens, unknown, sentences
        int64, shape (documents,); tokens without ``</s>``; sentences that have tokens.
    line_log10_prob, line_sizes
        Of every sentence, its probability and its bytes, shape (sentences,).
    lines
        Document i has the sentences ``lines[i]`` up to ``lines[i + 1]``.
    """

    log10_prob: NDArray[np.float64]
    tokens: NDArray[np.int64]
    unknown: NDArray[np.int64]
    sentences: NDArray[np.int64]
    line_log10_prob: NDArray[np.float64]
    line_sizes: NDArray[np.int64]
    lines: NDArray[np.int64]


class Scorer:
    """A model, with what its text is made of.

    Parameters
    ----------
    model
        Scores sentences.
    form, tokenizer
        How text becomes sentences of tokens.
    """

    def __init__(self, model: Any, form: TextForm, tokenizer: Subwords | None) -> None:
        self._model, self._form, self._tokenizer = model, form, tokenizer

    def score(self, batch: TextBatch) -> Sums:
        """Score documents; a sentence without tokens counts for nothing."""
        seen = cut(batch, self._form, self._tokenizer)
        scores = self._scores(seen)
        lengths = np.diff(seen.offsets)
        has = lengths > 0
        lines = seen.sentences.documents
        prob = np.where(has, scores.log10_prob, 0.0)

        def by_document(values: NDArray[Any]) -> NDArray[Any]:
            total = np.concatenate([np.zeros(1, values.dtype), np.cumsum(values)])
            return total[lines[1:]] - total[lines[:-1]]

        document = np.repeat(np.arange(len(batch)), np.diff(lines))
        return Sums(
            # Added up document by document: a sum must not depend on what stands before it in the batch.
            np.bincount(document, prob, len(batch)).astype(np.float64),
            by_document(lengths),
            by_document(scores.unknown),
            by_document(has.astype(np.int64)),
            prob,
            seen.sentences.sizes,
            lines,
        )

    def _scores(self, seen: SegmentedText) -> ngram.Scores:
        if isinstance(self._model, ngram.NgramModel):
            return self._model.score(seen.hashes, seen.offsets)
        return _kenlm_scores(self._model, seen)


def _kenlm_scores(model: Any, seen: SegmentedText) -> ngram.Scores:
    """Scores by kenlm's module, a call per sentence; each different word is spelled and looked up once."""
    found = pa.array(seen.hashes).dictionary_encode()
    number = found.indices.to_numpy()
    first = np.empty(len(found.dictionary), np.int64)
    first[number[::-1]] = np.arange(len(number))[::-1]  # of the places of a word the first is written last
    words = seen.texts(first)
    unknown = np.concatenate([[0], np.cumsum(np.array([word not in model for word in words], bool)[number])])
    spelled = [words[i] for i in number.tolist()]
    sentences = (" ".join(spelled[start:end]) for start, end in pairwise(seen.offsets.tolist()))
    scores = (model.score(sentence, bos=True, eos=True) for sentence in sentences)
    prob = np.fromiter(scores, np.float64, len(seen.offsets) - 1)
    return ngram.Scores(prob, unknown[seen.offsets[1:]] - unknown[seen.offsets[:-1]])


@lru_cache(maxsize=64)
def open_scorer(path: str, form: str = "{}", tokenizer: str | None = None) -> Scorer:
    """Open a model, once per process and path.

    Parameters
    ----------
    path
        A model of `train_lm`, one in the ARPA format, or kenlm's binary file.
    form
        For the latter two, the `TextForm` of their text as JSON; a model of `train_lm` knows.
    tokenizer
        For the latter two, the path of a SentencePiece model or of a ``tokenizer.json``.

    Raises
    ------
    RunError
        The file is not there or not a model, or kenlm's module is missing and needed.
    """
    if not storage.exists(path):
        raise RunError(f"there is no model file {path!r}")
    path = _local(path)
    kind = kind_of(path)
    try:
        if kind == "own":
            model = ngram.load(path)
            if "text" in model.meta:  # else it is one in the ARPA format, converted
                known = model.meta.get("tokenizer")
                return Scorer(model, TextForm(**model.meta["text"]), subwords(known) if known else None)
        else:
            model = arpa.read(path) if kind == "arpa" else _kenlm(path)
        found = open_tokenizer(None if tokenizer is None else _local(tokenizer))
        return Scorer(model, TextForm.model_validate_json(form), found)
    except ValueError as error:
        raise RunError(str(error)) from None


def kind_of(path: str) -> str:
    """``own`` for a model of `train_lm`, ``arpa``, or ``kenlm`` for its binary files, by the first bytes."""
    with open(path, "rb") as file:
        head = file.read(max(64, len(ngram.MAGIC)))
    if head.startswith(ngram.MAGIC):
        return "own"
    if head.lstrip().startswith(b"\\data\\"):
        return "arpa"
    if head.startswith(b"mmap lm "):
        return "kenlm"
    raise ValueError(f"{path} is not a model of train_lm, not in the ARPA format and not a binary file of kenlm")


def kenlm_missing() -> str | None:
    """What to do if kenlm's module is not there; None if it is."""
    from importlib.util import find_spec

    if find_spec("kenlm"):
        return None
    return "install it: pip install 'curate[kenlm]' (it compiles with a C++ compiler such as g++ in about a minute)"


def sentencepiece_missing() -> str | None:
    """What to do if SentencePiece's library is not there; None if it is."""
    from importlib.util import find_spec

    return None if find_spec("sentencepiece") else SENTENCEPIECE_MISSING


def _kenlm(path: str) -> Any:
    hint = kenlm_missing()
    if hint:
        raise RunError(f"{path} is a binary file of kenlm, whose module is not there; {hint}")
    import kenlm  # type: ignore[import-not-found]

    try:
        return kenlm.Model(path)  # mapped into memory
    except OSError as error:
        raise RunError(f"{path}: {error}") from None


def open_tokenizer(path: str | None) -> Subwords | None:
    """What cuts text into subwords, from a ``tokenizer.json`` or a SentencePiece model; None for None.

    Raises
    ------
    RunError, ValueError
        The file is neither, or the library of SentencePiece is missing.
    """
    if path is None:
        return None
    if path.endswith(".json"):
        return subwords(Path(path).read_text())
    return Subwords.from_sentencepiece(path)


def _local(path: str) -> str:
    """A local path with the same bytes: models are mapped into memory, which object storage does not do."""
    if storage.is_local(path):
        return path
    import atexit
    import shutil
    import tempfile

    folder = tempfile.mkdtemp(prefix="curate-lm-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    fs, inner = storage.filesystem(path)
    copy = f"{folder}/{inner.rpartition('/')[2]}"  # the name tells what kind of tokenizer it is
    fs.get_file(inner, copy)
    return copy
