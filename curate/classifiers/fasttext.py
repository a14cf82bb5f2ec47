"""fastText classifiers (Joulin et al. 2016, arXiv 1607.01759): trained to the same bytes each time, and asked.

The library fills the first tenth of its input matrix with seeded random numbers when it has one thread, and leaves the
rest as the memory allocator hands it out: garbage from earlier use of the process, now and then NaN. Training runs
therefore in a process of its own whose allocator (glibc's, by ``MALLOC_PERTURB_``) hands out zeros.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

from curate import storage
from curate.classifiers.linear import Linear, linear, scores
from curate.classifiers.lines import line_of_words
from curate.errors import RunError
from curate.io import pretrained
from curate.text.excerpts import excerpts

LABEL = "__label__"
POSITIVE, NEGATIVE = "positive", "negative"
SETTINGS = "classifier.json"
LINEAR = ".npz"  # ends the name of a file of `curate.classifiers.logistic`
MOST_LABELS = 16  # of a model that the kernel is asked for: its weights have a column for each
ROWS = 1 << 16  # multiplied at a time
ZEROS = "255"  # glibc fills fresh memory with the complement of this byte

_TRAIN = """
import json, sys
import fasttext
fasttext.FastText.eprint = lambda *_: None
given = json.load(sys.stdin)
model = fasttext.train_supervised(input=given["lines"], thread=1, verbose=0, **given["parameters"])
if given["quantize"]:
    model.quantize(input=given["lines"], thread=1, verbose=0)
model.save_model(given["model"])
"""


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


class DivergedError(RunError):
    """Training ran into numbers that are none; with these settings it always does."""


def train(lines: Path, model: Path, parameters: dict[str, Any], *, quantize: bool) -> None:
    """Train on a file with a label and a line per document; the same file and parameters give the same bytes.

    Raises
    ------
    RunError
        fastText failed; the message says with what. `DivergedError` if the weights grew beyond all bounds.
    """
    given = {"lines": str(lines), "model": str(model), "parameters": parameters, "quantize": quantize}
    done = subprocess.run(
        [sys.executable, "-c", _TRAIN],
        input=orjson.dumps(given),
        env={**os.environ, "MALLOC_PERTURB_": ZEROS},
        capture_output=True,
        check=False,
    )
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines() or [f"exit status {done.returncode}"]
        if "NaN" in said[-1]:
            raise DivergedError(f"fastText could not train: {said[-1]}; a lower `lr` may help")
        raise RunError(f"fastText could not train: {said[-1]}")


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
            from curate.classifiers import logistic

            self.labels, self._linear, self._model = (POSITIVE, NEGATIVE), logistic.load(path), None
            return
        model = _open(path)
        self.labels = tuple(label.removeprefix(LABEL) for label in model.get_labels())
        self._linear = _linear(model)
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


def _linear(model: Any) -> Linear | None:
    """The model for the kernel, where it is one that the kernel knows."""
    given, labels = model.f.getArgs(), model.get_labels()
    plain = given.maxn == 0 and given.loss.name == "softmax" and len(labels) <= MOST_LABELS
    if model.is_quantized() or not plain:
        return None
    rows, output = np.asarray(model.f.getInputMatrix()), np.asarray(model.f.getOutputMatrix())
    weights = np.empty((len(rows), len(labels)), np.float32)
    for start in range(0, len(rows), ROWS):
        weights[start : start + ROWS] = rows[start : start + ROWS].astype(np.float64) @ output.T.astype(np.float64)
    return linear(weights, model.get_words(), LABEL, given.wordNgrams, given.bucket)


def _has_words(lines: NDArray[np.uint8], offsets: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which lines have a byte that is no ASCII white space."""
    seen = np.concatenate(([0], np.cumsum(lines > ord(" "))))
    return seen[offsets[1:]] > seen[offsets[:-1]]


def _open(path: str) -> Any:
    """The model at `path`; fastText reads local files alone, so one from elsewhere is copied first."""
    if storage.is_local(path):
        return pretrained.load_fasttext(path)
    fs, inner = storage.filesystem(path)
    with tempfile.TemporaryDirectory() as folder:
        copy = f"{folder}/{hashlib.sha256(path.encode()).hexdigest()[:8]}.bin"
        fs.get_file(inner, copy)
        return pretrained.load_fasttext(copy)
