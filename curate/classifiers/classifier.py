"""Classifiers of documents, trained by curate or elsewhere: the text that a model reads, and its probabilities."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate.classifiers import fasttext, logistic
from curate.classifiers.linear import LABEL, scores
from curate.classifiers.lines import line_of_words
from curate.text.batch import string_array
from curate.text.excerpts import excerpts

POSITIVE, NEGATIVE = "positive", "negative"
LINEAR = ".npz"  # suffix of the model files of `curate.classifiers.logistic`


@dataclass(frozen=True)
class Reading:
    """The part of a document that a model reads, and its normalization.

    Parameters
    ----------
    normalize
        Whether to normalize the text to the line of `curate.classifiers.lines`. If false, only control characters
        become spaces.
    max_chars, windows
        Excerpt to read, see `curate.text.excerpts.excerpts`. The model reads the whole text if `max_chars` is None.
    """

    normalize: bool = True
    max_chars: int | None = None
    windows: int = 8

    def lines(self, data: NDArray[np.uint8], bounds: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Return the line of each text, as bytes and offsets."""
        if self.max_chars is not None or not self.normalize:
            data, bounds = excerpts(data, bounds, self.max_chars or 1 << 40, self.windows if self.max_chars else 1)
        return line_of_words(data, bounds) if self.normalize else (data, bounds)


class Classifier:
    """A fastText model or a model of `curate.classifiers.logistic`, with the text that it reads.

    The kernel of `curate.classifiers.linear` evaluates models of whole words with a plain softmax, such as those
    trained by curate and DCLM's. fastText evaluates all others (quantized, character n-grams, other losses, many
    labels).

    Parameters
    ----------
    path
        Model file, local or an fsspec URL.
    reading
        Part of a document that the model reads.
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
        """Whether the kernel supports this model."""
        return self._linear is not None

    def probabilities(
        self, data: NDArray[np.uint8], bounds: NDArray[np.int64], labels: Sequence[str]
    ) -> NDArray[np.float64]:
        """Return the probabilities of labels for each text; NaN for texts without words.

        Parameters
        ----------
        data, bounds
            Text i is ``data[bounds[i]:bounds[i + 1]]``.
        labels
            Labels to return, a subset of the labels of the model.

        Returns
        -------
        NDArray[np.float64]
            Shape (texts, labels).
        """
        lines, offsets = self._reading.lines(data, bounds)
        # A normalized line begins with a word.
        words = np.diff(offsets) > 0 if self._reading.normalize else _has_words(lines, offsets)
        if self._linear:
            values = scores(self._linear, lines, offsets)
            values[~words] = np.nan
            return values[:, [self.labels.index(label) for label in labels]]
        shown = string_array(lines, offsets).filter(pa.array(words)).to_pylist()
        return self._predict(shown, np.flatnonzero(words), len(words), labels)

    def _predict(
        self, lines: list[str], rows: NDArray[np.int64], count: int, labels: Sequence[str]
    ) -> NDArray[np.float64]:
        """Return fastText's probabilities of `lines` in their `rows` of an array of `count` rows; NaN elsewhere."""
        out = np.full((count, len(labels)), np.nan)
        if self._model is None:
            return out
        predicted_labels, values = self._model.predict(lines, k=len(self.labels))
        counts = np.array([len(row) for row in predicted_labels], np.int64)
        out[rows[counts > 0]] = 0.0
        column_of = {LABEL + label: column for column, label in enumerate(labels)}
        column = np.array([column_of.get(label, -1) for row in predicted_labels for label in row], np.int64)
        flat = np.concatenate([np.zeros(0, np.float32), *values]).astype(np.float64)
        wanted = column >= 0
        # fastText adds 1e-5 to each probability before it takes the logarithm.
        out[np.repeat(rows, counts)[wanted], column[wanted]] = np.clip(flat[wanted] - 1e-5, 0.0, 1.0)
        return out


def _has_words(lines: NDArray[np.uint8], offsets: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which lines contain a byte other than ASCII white space."""
    visible_before = np.concatenate(([0], np.cumsum(lines > ord(" "))))
    return visible_before[offsets[1:]] > visible_before[offsets[:-1]]
