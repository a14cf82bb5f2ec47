"""Spans of bytes in documents: merge them, cut them out, or replace them."""

from collections.abc import Sequence
from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray


class Edits(NamedTuple):
    """Replacements of spans in the data of a batch. The spans are sorted and do not overlap.

    Attributes
    ----------
    starts, ends
        Byte positions in the data, int64, shape (edits,) each. A span lies within one document.
    new
        New content of each span, UTF-8.
    """

    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    new: Sequence[bytes]


def merge(
    documents: NDArray[np.int64], starts: NDArray[np.int64], ends: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Merge spans that overlap or touch. Return the documents, starts and ends of the merged spans, sorted.

    Parameters
    ----------
    documents, starts, ends
        Span i covers bytes ``starts[i]`` up to ``ends[i]`` of document ``documents[i]``, in any order.

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
    """Select spans that do not overlap: each span that starts at or after the end of all spans selected before it.

    Parameters
    ----------
    starts, ends
        Spans in the order in which they are considered, shape (spans,) each.

    Returns
    -------
    NDArray[np.bool_]
        Whether each span is selected, shape (spans,).

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
    """Shrink spans to exclude the characters that they contain only in part.

    Parameters
    ----------
    data
        UTF-8.
    starts, ends
        Byte positions in `data`. The end of `data` counts as the end of a character.

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
    r"""Remove spans from documents, and the white space that this leaves at the end of a document.

    Parameters
    ----------
    data, offsets
        Document i is ``data[offsets[i]:offsets[i + 1]]``.
    documents, starts, ends
        Result of `merge`. Positions count from the start of the document.

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
        Edits to apply. An empty span on the boundary between two documents belongs to the first.

    Examples
    --------
    >>> data, offsets = np.frombuffer(b"one twothree", np.uint8), np.array([0, 7, 12])
    >>> data, offsets = replace(data, offsets, Edits(np.array([0, 7]), np.array([3, 12]), [b"1", b""]))
    >>> bytes(data), offsets.tolist()
    (b'1 two', [0, 5, 5])
    """
    lengths = np.fromiter(map(len, edits.new), np.int64, len(edits.new))
    shifts = np.concatenate([[0], np.cumsum(lengths - (edits.ends - edits.starts))])
    new_offsets = offsets - offsets[0] + shifts[np.searchsorted(edits.ends, offsets, side="right")]
    new_offsets[0] = 0
    out = np.empty(new_offsets[-1], np.uint8)
    new = np.frombuffer(b"".join(edits.new), np.uint8)
    _replace(data, offsets[0], offsets[-1], edits.starts, edits.ends, new, lengths, out)
    return out, new_offsets


def _continues(data: NDArray[np.uint8], positions: NDArray[np.int64]) -> NDArray[np.bool_]:
    inside = positions < len(data)
    return inside & ((data[np.where(inside, positions, 0)] & 0xC0) == 0x80 if len(data) else False)


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
        position, was_cut = offsets[document], False
        while span < len(documents) and documents[span] == document:
            stop = offsets[document] + starts[span]
            out[written : written + stop - position] = data[position:stop]
            written += stop - position
            position = offsets[document] + ends[span]
            span += 1
            was_cut = True
        rest = offsets[document + 1] - position
        out[written : written + rest] = data[position : position + rest]
        written += rest
        # ASCII white space: space, tab, line feed, vertical tab, form feed, carriage return.
        while was_cut and written > bounds[document] and (out[written - 1] == 32 or 9 <= out[written - 1] <= 13):
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
    position, written, consumed = first, 0, 0
    for i in range(len(starts)):
        size = starts[i] - position
        out[written : written + size] = data[position : starts[i]]
        written += size
        out[written : written + lengths[i]] = new[consumed : consumed + lengths[i]]
        written += lengths[i]
        consumed += lengths[i]
        position = ends[i]
    out[written : written + last - position] = data[position:last]
