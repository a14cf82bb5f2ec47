"""Columns in types that all readers of Parquet handle: no dictionaries, and no fixed-size binary."""

import numpy as np
import pyarrow as pa

_DIGITS = np.frombuffer("".join(f"{byte:02x}" for byte in range(256)).encode(), np.uint8).reshape(256, 2)


def plain_type(kind: pa.DataType) -> pa.DataType:
    """Return the type to which `plain_columns` converts a type.

    Examples
    --------
    >>> plain_type(pa.binary(16)), plain_type(pa.dictionary(pa.int32(), pa.string())), plain_type(pa.int64())
    (DataType(string), DataType(string), DataType(int64))
    """
    if pa.types.is_fixed_size_binary(kind):
        return pa.string()
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def plain_columns(table: pa.Table) -> pa.Table:
    """Convert ids to hexadecimal digits and dictionaries to their values.

    Examples
    --------
    >>> plain_columns(pa.table({"id": pa.array([bytes(15) + b"!", None], pa.binary(16))}))["id"].to_pylist()
    ['00000000000000000000000000000021', None]
    """
    for position, field in enumerate(table.schema):
        if pa.types.is_fixed_size_binary(field.type):
            table = table.set_column(position, field.name, _hexadecimal(table.column(position)))
        elif pa.types.is_dictionary(field.type):
            table = table.set_column(position, field.name, table.column(position).cast(field.type.value_type))
    return table


def _hexadecimal(column: pa.ChunkedArray) -> pa.Array:
    width = column.type.byte_width
    present = column.drop_null().combine_chunks()
    values = np.frombuffer(present.buffers()[1] or b"", np.uint8, len(present) * width, present.offset * width)
    offsets = np.arange(len(present) + 1, dtype=np.int32) * 2 * width
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(_DIGITS[values].tobytes())]
    digits = pa.Array.from_buffers(pa.string(), len(present), buffers)
    if len(present) == len(column):
        return digits
    missing = column.is_null().to_numpy()
    return digits.take(pa.array(np.cumsum(~missing) - 1, mask=missing))
