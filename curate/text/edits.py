"""Documents with some spans of bytes replaced."""

from collections.abc import Sequence
from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray


class Edits(NamedTuple):
    """Spans of a batch's data and what takes their place; in order, and no two overlap.

    Attributes
    ----------
    starts, ends
        Absolute positions, int64, shape (edits,); no span reaches over the end of a document.
    new
        What stands there afterwards, UTF-8.
    """

    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    new: Sequence[bytes]


def replace(
    data: NDArray[np.uint8], offsets: NDArray[np.int64], edits: Edits
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Apply `edits` to documents.

    Parameters
    ----------
    data, offsets
        Document i is ``data[offsets[i]:offsets[i + 1]]``.
    edits
        At the end of a document an empty span belongs to the document before.

    Examples
    --------
    >>> data, offsets = np.frombuffer(b"one twothree", np.uint8), np.array([0, 7, 12])
    >>> data, offsets = replace(data, offsets, Edits(np.array([0, 7]), np.array([3, 12]), [b"1", b""]))
    >>> bytes(data), offsets.tolist()
    (b'1 two', [0, 5, 5])
    """
    lengths = np.fromiter(map(len, edits.new), np.int64, len(edits.new))
    grown = np.concatenate([[0], np.cumsum(lengths - (edits.ends - edits.starts))])
    fresh = offsets - offsets[0] + grown[np.searchsorted(edits.ends, offsets, side="right")]
    fresh[0] = 0
    out = np.empty(fresh[-1], np.uint8)
    new = np.frombuffer(b"".join(edits.new), np.uint8)
    _replace(data, offsets[0], offsets[-1], edits.starts, edits.ends, new, lengths, out)
    return out, fresh


def merged(starts: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which of some spans to use so that none overlap: each that begins at or behind the end of those before it.

    Examples
    --------
    >>> merged(np.array([0, 2, 5]), np.array([4, 6, 7])).tolist()
    [True, False, True]
    """
    kept = np.zeros(len(starts), np.bool_)
    _choose(starts, ends, kept)
    return kept


@numba.njit(cache=True, nogil=True)
def _replace(data, first, last, starts, ends, new, lengths, out):
    at, written, taken = first, 0, 0
    for i in range(len(starts)):
        size = starts[i] - at
        out[written : written + size] = data[at : starts[i]]
        written += size
        out[written : written + lengths[i]] = new[taken : taken + lengths[i]]
        written += lengths[i]
        taken += lengths[i]
        at = ends[i]
    out[written : written + last - at] = data[at:last]


@numba.njit(cache=True, nogil=True)
def _choose(starts, ends, kept):
    reach = -1
    for i in range(len(starts)):
        if starts[i] >= reach:
            kept[i] = True
            reach = ends[i]
