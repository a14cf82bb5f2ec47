"""Classifiers of documents, trained here or given: what a model is shown of a document, and what it says of it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate.classifiers import fasttext, logistic
from curate.classifiers.linear import LABEL, scores
from curate.classifiers.lines import line_of_words
from curate.text.excerpts import excerpts

POSITIVE, NEGATIVE = "positive", "negative"
LINEAR = ".npz"  # ends the name of a file of `curate.classifiers.logistic`


@dataclass(frozen=True)
class Reading:
    """What of a document a model is shown.

    Parameters
    ----------
    normalize
        The line of `curate.classifiers.lines`; if not, control characters become spaces and nothing else changes.
    max_chars, windows
        As of `curate.text.excerpts`; the whole text where `max_chars` is None.
    """

    normalize: bool = True
    max_chars: int | None = None
    windows: int = 8

    def lines(self, data: NDArray[np.uint8], bounds: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """The line of each text, as bytes and offsets."""
        if self.max_chars is not None or not self.normalize:
            data, bounds = excerpts(data, bounds, self.max_chars or 1 << 40, self.windows if self.max_chars else 1)
        return line_of_words(data, bounds) if self.normalize else (data, bounds)


class Classifier:
    """A fastText model, or one of `curate.classifiers.logistic`, and what to show it.

    Models of whole words with a plain softmax, such as those trained here and DCLM's, are asked by the kernel of
    `curate.classifiers.linear`; all others (quantized, character n-grams, other losses, many labels) by the library.

    Parameters
    ----------
    path
        Of the model file, local or an fsspec URL.
    reading
        What of a document it is shown.
    """

    def __init__(self, path: str, reading: Reading) -> None:
        self._reading = reading
        if path.endswith(LINEAR):
            self.labels, self._linear, self._model = (POSITIVE, NEGATIVE), logistic.load(path), None
            return
        model = fasttext.load(path)
        self.labels = tuple(label.removeprefix(LABEL) for label in model.get_labels())
        self._linear = fasttext.as_linear(model)
        self._model = None if self._linear else model

    @property
    def fast(self) -> bool:
        """Whether the kernel knows this model."""
        return self._linear is not None

    def probabilities(
        self, data: NDArray[np.uint8], bounds: NDArray[np.int64], labels: Sequence[str]
    ) -> NDArray[np.float64]:
        """The model's probability of some labels for each text; NaN where the text has nothing to show.

        Parameters
        ----------
        data, bounds
            Text i is ``data[bounds[i]:bounds[i + 1]]``.
        labels
            Labels of the model.

        Returns
        -------
        NDArray[np.float64]
            Shape (texts, labels).
        """
        lines, offsets = self._reading.lines(data, bounds)
        # A normalized line begins with a word.
        words = np.diff(offsets) > 0 if self._reading.normalize else _has_words(lines, offsets)
        if self._linear:
            found = scores(self._linear, lines, offsets)
            found[~words] = np.nan
            return found[:, [self.labels.index(label) for label in labels]]
        array = pa.LargeStringArray.from_buffers(len(offsets) - 1, pa.py_buffer(offsets), pa.py_buffer(lines))
        return self._ask(array.filter(pa.array(words)).to_pylist(), np.flatnonzero(words), len(words), labels)

    def _ask(self, lines: list[str], rows: NDArray[np.int64], count: int, labels: Sequence[str]) -> NDArray[np.float64]:
        """Answers of the library for some of `count` lines."""
        out = np.full((count, len(labels)), np.nan)
        if self._model is None:
            return out
        found, values = self._model.predict(lines, k=len(self.labels))
        counts = np.array([len(row) for row in found], np.int64)
        out[rows[counts > 0]] = 0.0
        place = {LABEL + label: column for column, label in enumerate(labels)}
        column = np.array([place.get(label, -1) for row in found for label in row], np.int64)
        flat = np.concatenate([np.zeros(0, np.float32), *values]).astype(np.float64)
        wanted = column >= 0
        # The library adds 1e-5 to a probability before it takes the logarithm that it sorts by.
        out[np.repeat(rows, counts)[wanted], column[wanted]] = np.clip(flat[wanted] - 1e-5, 0.0, 1.0)
        return out


def _has_words(lines: NDArray[np.uint8], offsets: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which lines have a byte that is no ASCII white space."""
    seen = np.concatenate(([0], np.cumsum(lines > ord(" "))))
    return seen[offsets[1:]] > seen[offsets[:-1]]
