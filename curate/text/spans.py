"""Spans of bytes in documents: merged, cut out, or replaced by other bytes."""

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


def merge(
    documents: NDArray[np.int64], starts: NDArray[np.int64], ends: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """The same bytes as disjoint spans that do not touch, in order.

    Parameters
    ----------
    documents, starts, ends
        Span i covers bytes ``starts[i]`` up to ``ends[i]`` of document ``documents[i]``; in any order.

    Examples
    --------
    >>> [column.tolist() for column in merge(*np.array([[1, 0, 0, 0], [5, 4, 0, 9], [6, 8, 5, 9]]))]
    [[0, 1], [0, 5], [8, 6]]
    """
    full = ends > starts
    documents, starts, ends = documents[full], starts[full], ends[full]
    order = np.lexsort((ends, starts, documents))
    documents, starts, ends = documents[order], starts[order], ends[order]
    kept = np.empty(len(documents), np.bool_)
    reach = np.empty(len(documents), np.int64)
    count = _merge(documents, starts, ends, kept, reach)
    return documents[kept], starts[kept], reach[:count]


def disjoint(starts: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which of some spans to use so that none overlap: each that begins at or behind the end of those before it.

    Examples
    --------
    >>> disjoint(np.array([0, 2, 5]), np.array([4, 6, 7])).tolist()
    [True, False, True]
    """
    kept = np.zeros(len(starts), np.bool_)
    _choose(starts, ends, kept)
    return kept


def whole_characters(
    data: NDArray[np.uint8], starts: NDArray[np.int64], ends: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Spans without the characters that they hold only in part.

    Parameters
    ----------
    data
        UTF-8.
    starts, ends
        Absolute positions; a span that ends where `data` does ends with a character.

    Examples
    --------
    >>> data = np.frombuffer("aéb".encode(), np.uint8)
    >>> [column.tolist() for column in whole_characters(data, np.array([0, 2]), np.array([2, 4]))]
    [[0, 3], [1, 4]]
    """
    starts, ends = starts.copy(), ends.copy()
    for _ in range(3):
        starts += (starts < ends) & _continues(data, starts)
        ends -= (starts < ends) & _continues(data, ends)
    return starts, ends


def cut(
    data: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    documents: NDArray[np.int64],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    r"""Documents without some spans; white space that a cut leaves at the end of a document goes too.

    Parameters
    ----------
    data, offsets
        Document i is ``data[offsets[i]:offsets[i + 1]]``.
    documents, starts, ends
        From `merge`; positions count from the document's start.

    Returns
    -------
    tuple
        New data and offsets.

    Examples
    --------
    >>> data, offsets = np.frombuffer(b"one two\n\nthree", np.uint8), np.array([0, 7, 14])
    >>> data, offsets = cut(data, offsets, *np.array([[0, 1], [3, 2], [7, 7]]))
    >>> bytes(data), offsets.tolist()
    (b'one', [0, 3, 3])
    """
    out = np.empty(offsets[-1] - offsets[0], np.uint8)
    bounds = np.zeros(len(offsets), np.int64)
    _cut(data, offsets, documents, starts, ends, out, bounds)
    return out[: bounds[-1]], bounds


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


def _continues(data: NDArray[np.uint8], at: NDArray[np.int64]) -> NDArray[np.bool_]:
    inside = at < len(data)
    return inside & ((data[np.where(inside, at, 0)] & 0xC0) == 0x80 if len(data) else False)


@numba.njit(cache=True, nogil=True)
def _merge(documents, starts, ends, kept, reach):
    count = 0
    for i in range(len(documents)):
        if count and documents[i] == documents[i - 1] and starts[i] <= reach[count - 1]:
            kept[i] = False
            reach[count - 1] = max(reach[count - 1], ends[i])
        else:
            kept[i] = True
            reach[count] = ends[i]
            count += 1
    return count


@numba.njit(cache=True, nogil=True)
def _cut(data, offsets, documents, starts, ends, out, bounds):
    span, written = 0, 0
    for document in range(len(offsets) - 1):
        at, touched = offsets[document], False
        while span < len(documents) and documents[span] == document:
            stop = offsets[document] + starts[span]
            out[written : written + stop - at] = data[at:stop]
            written += stop - at
            at = offsets[document] + ends[span]
            span += 1
            touched = True
        rest = offsets[document + 1] - at
        out[written : written + rest] = data[at : at + rest]
        written += rest
        # Space, tab, line feed, carriage return and their like, as bytes.
        while touched and written > bounds[document] and (out[written - 1] == 32 or 9 <= out[written - 1] <= 13):
            written -= 1
        bounds[document + 1] = written


@numba.njit(cache=True, nogil=True)
def _choose(starts, ends, kept):
    reach = -1
    for i in range(len(starts)):
        if starts[i] >= reach:
            kept[i] = True
            reach = ends[i]


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
