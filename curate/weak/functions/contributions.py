"""Which labeling functions weighed most in the decision on a document."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

TOP = 3  # contributions of a document that are kept
CONTRIBUTION = pa.struct([pa.field("function", pa.int8(), nullable=False), pa.field("log_odds", pa.float32())])


def top_contributions(log_odds: NDArray[np.float64], asked: NDArray[np.bool_]) -> pa.Array:
    """The largest contributions of each document, by their size; of equal ones, the first function's.

    Parameters
    ----------
    log_odds
        Contributions of functions for keep, shape (documents, functions).
    asked
        Which of them there are.

    Returns
    -------
    pa.Array
        Lists of function and log-odds, at most `TOP`, without those that are 0.

    Examples
    --------
    >>> top_contributions(np.array([[0.5, -2.0, 0.0]]), np.ones((1, 3), bool)).to_pylist()
    [[{'function': 1, 'log_odds': -2.0}, {'function': 0, 'log_odds': 0.5}]]
    """
    values = np.where(asked, log_odds, 0).astype(np.float32)
    size, rows = np.abs(values), np.arange(len(values))
    chosen, there = [], []
    for _ in range(min(TOP, values.shape[1])):
        best = size.argmax(axis=1) if len(size) else np.zeros(0, np.int64)
        chosen.append(best)
        there.append(size[rows, best] > 0)
        size[rows, best] = 0
    which, present = np.column_stack(chosen), np.column_stack(there)
    offsets = np.concatenate([[0], np.cumsum(present.sum(axis=1))]).astype(np.int32)
    items = [pa.array(which[present].astype(np.int8)), pa.array(values[rows[:, None], which][present])]
    return pa.ListArray.from_arrays(offsets, pa.StructArray.from_arrays(items, fields=list(CONTRIBUTION)))
