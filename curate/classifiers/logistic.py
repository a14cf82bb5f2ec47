"""Logistic regression on words and hashed word n-grams, with a solver that supports soft targets and weights.

The features are those of a fastText model (`curate.classifiers.linear`, which also computes the scores). Each feature
has the value ``1 / sqrt(n)``, where n is the number of features in the line. The loss is the cross-entropy against the
targets, weighted by document. AdaGrad (Duchi, Hazan and Singer 2011) processes the documents in their order, on one
thread, so the same lines give the same model. No library is needed.
"""

import io
from itertools import pairwise
from typing import NamedTuple

import numba
import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from curate import storage
from curate.classifiers.linear import LABEL, LinearModel, feature_room, line_features, linear
from curate.text.batch import TextBatch

Values = NDArray[np.float64]
ROWS = 8192  # lines whose words are counted together


class LogisticSettings(NamedTuple):
    """Settings of the training; see the fields of `curate.classifiers.training.Training`."""

    lr: float
    epoch: int
    word_ngrams: int
    bucket: int
    min_count: int


def train(lines: pa.LargeStringArray, target: Values, weight: Values, settings: LogisticSettings) -> LinearModel:
    """Fit a model to lines.

    Parameters
    ----------
    lines
        Lines normalized by `curate.classifiers.lines`.
    target, weight
        Probability that each line is positive, and its weight in the loss, shape (lines,) each.
    settings
        See `LogisticSettings`.

    Examples
    --------
    >>> from curate.classifiers.linear import scores
    >>> lines = pa.array(["river stone", "buy now"] * 20, pa.large_string())
    >>> model = train(lines, np.tile([0.9, 0.1], 20), np.ones(40), LogisticSettings(0.2, 20, 2, 100, 1))
    >>> float(scores(model, np.frombuffer(b"river", np.uint8), np.array([0, 5]))[0, 0]) > 0.5
    True
    """
    words = vocabulary(lines, settings.min_count)
    feature_count = len(words) + settings.bucket
    model = linear(np.zeros((feature_count, 2), np.float32), words, LABEL, settings.word_ngrams, settings.bucket)
    batch = TextBatch(lines)
    weights, squares = np.zeros(feature_count), np.full(feature_count, 1e-8)
    room = feature_room(model, batch.offsets)
    bias = _adagrad(
        batch.data, batch.offsets, model, target, weight, settings.lr, settings.epoch, weights, squares, room
    )
    return model._replace(weights=weights.astype(np.float32)[:, None], bias=float(np.float32(bias)), root=True)


def vocabulary(lines: pa.LargeStringArray, least: int) -> list[str]:
    """Return the words that occur at least `least` times, sorted by decreasing frequency, then alphabetically.

    Examples
    --------
    >>> vocabulary(pa.array(["b a b", "a c"], pa.large_string()), 2)
    ['a', 'b']
    """
    counts = pl.DataFrame(schema={"word": pl.String, "count": pl.UInt32})
    for start in range(0, len(lines), ROWS):
        words = pl.Series("word", lines.slice(start, ROWS)).str.split(" ").explode()
        batch_counts = words.value_counts(name="count").cast({"count": pl.UInt32})
        counts = pl.concat([counts, batch_counts]).group_by("word").agg(pl.col("count").sum())
    kept = counts.filter((pl.col("count") >= least) & (pl.col("word") != ""))
    return kept.sort(["count", "word"], descending=[True, False])["word"].to_list()


def save(model: LinearModel, path: str) -> None:
    """Write a model as ``npz``. Equal models give equal bytes."""
    with storage.replacing(path) as file:
        np.savez(
            file,
            weights=model.weights[:, 0],
            text=model.text,
            offsets=model.offsets,
            shape=np.array([model.ngrams, model.buckets]),
            bias=np.array(model.bias),
        )


def load(path: str) -> LinearModel:
    """Load a model that `save` wrote, from a local path or an fsspec URL.

    Raises
    ------
    ValueError
        If the file is not such a model.
    """
    try:
        with np.load(io.BytesIO(storage.read_bytes(path))) as arrays:
            text, offsets, weights = arrays["text"], arrays["offsets"].tolist(), arrays["weights"]
            ngrams, buckets = arrays["shape"].tolist()
            bias = float(arrays["bias"])
    except (OSError, KeyError, ValueError) as error:
        raise ValueError(f"it is not a linear model of curate ({type(error).__name__})") from None
    words = [text[start:end].tobytes().decode() for start, end in pairwise(offsets)]
    columns = np.stack([weights, np.zeros_like(weights)], axis=1)
    return linear(columns, words, LABEL, ngrams, buckets)._replace(bias=bias, root=True)


@numba.njit(cache=True, nogil=True)
def _adagrad(data, bounds, model, target, weight, lr, epochs, weights, squares, features):
    bias, square = 0.0, 1e-8
    for _ in range(epochs):
        for line in range(len(bounds) - 1):
            if weight[line] == 0.0:
                continue
            count = line_features(data, bounds[line], bounds[line + 1], model, features)
            if count == 0:
                continue
            scale = 1.0 / np.sqrt(count)
            z = bias
            for i in range(count):
                z += weights[features[i]] * scale
            error = (1.0 / (1.0 + np.exp(-z)) - target[line]) * weight[line]
            square += error * error
            bias -= lr * error / np.sqrt(square)
            gradient = error * scale
            for i in range(count):
                feature = features[i]
                squares[feature] += gradient * gradient
                weights[feature] -= lr * gradient / np.sqrt(squares[feature])
    return bias
