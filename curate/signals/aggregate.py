"""Aggregation: sums over the lines of a document, and ratios of counts."""

import numpy as np
from numpy.typing import NDArray

from curate.text.scan import Lines


def per_document(values: NDArray[np.bool_] | NDArray[np.int32], lines: Lines) -> NDArray[np.int64]:
    """Return the sum of a number or flag over the lines of each document, int64, shape (documents,)."""
    totals = np.concatenate([[0], np.cumsum(values, dtype=np.int64)])
    return totals[lines.offsets[1:]] - totals[lines.offsets[:-1]]


def ratio(part: NDArray[np.int64], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return ``part / whole`` in double precision; NaN where `whole` is 0."""
    return np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)
