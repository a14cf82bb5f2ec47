"""A batch of documents in the form that kernels read: concatenated UTF-8 bytes, and the offset of each document."""

from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate.text.words import Words, segment


class TextBatch:
    """Documents of one record batch. Results that several annotators share are computed at most once.

    Parameters
    ----------
    text
        Texts of the documents, without nulls; ``string`` arrays are cast to ``large_string``.

    Raises
    ------
    ValueError
        If a text is null.

    Examples
    --------
    >>> batch = TextBatch(pa.array(["to be", "or not"], pa.large_string()))
    >>> len(batch), batch.offsets.tolist(), bytes(batch.data[:5])
    (2, [0, 5, 11], b'to be')
    """

    def __init__(self, text: pa.Array) -> None:
        if text.null_count:
            raise ValueError(f"{text.null_count} of {len(text)} texts are null; a text batch must not contain nulls")
        self.text = text.cast(pa.large_string())

    def __len__(self) -> int:
        return len(self.text)

    @cached_property
    def offsets(self) -> NDArray[np.int64]:
        """Byte offsets into `data`, shape (documents + 1,): document i is ``data[offsets[i]:offsets[i + 1]]``."""
        buffer = self.text.buffers()[1]
        if buffer is None or len(self.text) == 0:
            return _read_only(pa.py_buffer(bytes(8)), np.int64)
        return _read_only(buffer, np.int64)[self.text.offset : self.text.offset + len(self.text) + 1]

    @cached_property
    def data(self) -> NDArray[np.uint8]:
        """UTF-8 of all documents, concatenated; `offsets` are positions in this array."""
        buffer = self.text.buffers()[2]
        return _read_only(buffer or pa.py_buffer(b""), np.uint8)

    @cached_property
    def words(self) -> Words:
        """Words of the documents (see `curate.text.words`)."""
        return segment(self.data, self.offsets)


def string_array(data: NDArray[np.uint8], offsets: NDArray[np.int64]) -> pa.LargeStringArray:
    """Return an Arrow array of texts, without a copy.

    Parameters
    ----------
    data, offsets
        Text i is ``data[offsets[i]:offsets[i + 1]]``, valid UTF-8.

    Examples
    --------
    >>> string_array(np.frombuffer(b"to be", np.uint8), np.array([0, 2, 5])).to_pylist()
    ['to', ' be']
    """
    return pa.LargeStringArray.from_buffers(len(offsets) - 1, pa.py_buffer(offsets), pa.py_buffer(data))


def _read_only(buffer: pa.Buffer, dtype: type) -> NDArray[Any]:
    """Return a read-only view, whatever the buffer: so numba compiles kernels for read-only arrays alone."""
    array = np.frombuffer(buffer, dtype=dtype)
    array.flags.writeable = False
    return array
