"""Parquet: rows of a table, in whole files or some of their row groups.

Rows are handled like JSON objects, so that the same mapping of fields applies to every format. Structs become objects.
Times, dates and durations become text (ISO 8601 where possible), which keeps nanoseconds and needs no other library.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from curate import storage
from curate.io.files import InputFile
from curate.io.records import Batch, BatchBuilder
from curate.io.streams import BrokenFileError, opened
from curate.table import ROW_GROUP, ROW_GROUP_BYTES

_BUFFER = 1 << 20  # bytes of a column chunk that are read together
_TEXT = (pa.string(), pa.large_string(), pa.string_view(), pa.null())
_BINARY = {pa.binary(): pa.string(), pa.large_binary(): pa.large_string()}  # types in which some writers store text


@contextmanager
def _table(file: InputFile) -> Iterator[pq.ParquetFile]:
    with opened(file) as handle:
        # A local file is read through one buffer per column chunk; a remote one in few large requests per row group.
        local = storage.is_local(file.path)
        try:
            table = pq.ParquetFile(handle, buffer_size=_BUFFER if local else 0, pre_buffer=not local)
        except (pa.ArrowException, OSError) as error:
            if not _is_damage(error):
                raise
            raise BrokenFileError("corrupt", f"the file is not a Parquet file: {_first_line(error)}") from error
        with table:
            yield table


def schema(file: InputFile) -> pa.Schema:
    """Return the columns of a file; raise `BrokenFileError` if they cannot be read."""
    with _table(file) as table:
        return table.schema_arrow


def row_group_sizes(file: InputFile, text: str) -> list[int]:
    """Return the uncompressed bytes of the text column in each row group, or of all columns if there is none.

    Parameters
    ----------
    file
        Parquet file, of which only the footer is read.
    text
        Name or dotted path of the text column.

    Raises
    ------
    BrokenFileError
        If the footer cannot be read.
    """
    with _table(file) as table:
        groups = [table.metadata.row_group(index) for index in range(table.num_row_groups)]
        return [_text_bytes(group, text) or group.total_byte_size for group in groups]


def _text_bytes(group: pq.RowGroupMetaData, text: str) -> int:
    chunks = (group.column(index) for index in range(group.num_columns))
    return sum(chunk.total_uncompressed_size for chunk in chunks if chunk.path_in_schema == text)


def text_problem(columns: pa.Schema, text: str) -> tuple[str, str]:
    """Return the reason and detail why `text` cannot be read from a table with these columns; empty if it can.

    Examples
    --------
    >>> text_problem(pa.schema([("body", pa.string())]), "text")
    ('missing_column', "no column 'text' among body")
    >>> text_problem(pa.schema([("text", pa.int64())]), "text")
    ('wrong_type', "column 'text' has type int64, not text")
    """
    column_type = _type_of(columns, text)
    if column_type is None:
        return "missing_column", f"no column {text!r} among {', '.join(columns.names[:10])}"
    if _plain(column_type) in _TEXT or (_plain(column_type) in _BINARY and text in columns.names):
        return "", ""
    return "wrong_type", f"column {text!r} has type {column_type}, not text"


def _type_of(columns: pa.Schema, name: str) -> pa.DataType | None:
    if name in columns.names:
        return columns.field(columns.names.index(name)).type
    first, *inner = name.split(".")
    inner_type = columns.field(first).type if columns.names.count(first) == 1 else None
    for step in inner:
        index = inner_type.get_field_index(step) if inner_type is not None and pa.types.is_struct(inner_type) else -1
        inner_type = inner_type.field(index).type if inner_type is not None and index >= 0 else None
    return inner_type


def read(file: InputFile, start: int, end: int | None, builder: BatchBuilder) -> Iterator[Batch]:
    """Read the row groups in ``[start, end)``. An end of None is the end of the file.

    Raises
    ------
    BrokenFileError
        If the table lacks the text column or is damaged. Rows before the damage are read.
    """
    with _table(file) as table:
        reason, detail = text_problem(table.schema_arrow, builder.fields.text)
        if reason:
            raise BrokenFileError(reason, detail)
        if table.metadata.num_rows == 0:
            raise BrokenFileError("empty_file", "the table has no rows")
        row = sum(table.metadata.row_group(index).num_rows for index in range(start))
        for index in range(start, table.num_row_groups if end is None else end):
            for batch in _batches(table, index, row):
                for position, record in enumerate(_records(_as_text(batch, builder.fields.text))):
                    builder.records += 1
                    if isinstance(record, dict):
                        builder.add(record, file.name, row + position)
                    else:
                        builder.reject(*record, file.name, row + position)
                    if builder.full:
                        yield builder.take()
                row += batch.num_rows


def records(file: InputFile) -> Iterator[dict[str, Any]]:
    """Yield the rows of a whole file as Python values, for files of moderate size.

    Raises
    ------
    BrokenFileError
        If the file is damaged, or a row holds text that is not UTF-8.
    """
    with _table(file) as table:
        row = 0
        for index in range(table.num_row_groups):
            for batch in _batches(table, index, row):
                for position, record in enumerate(_records(_as_text(batch, ""))):
                    if not isinstance(record, dict):
                        raise BrokenFileError(*record, row + position)
                    yield record
                row += batch.num_rows


def _batches(table: pq.ParquetFile, index: int, row: int) -> Iterator[pa.RecordBatch]:
    group = table.metadata.row_group(index)
    rows = max(1, min(ROW_GROUP, ROW_GROUP_BYTES * group.num_rows // max(group.total_byte_size, 1)))
    batches = table.iter_batches(rows, [index], use_threads=False)
    while True:
        try:
            batch = next(batches, None)
        except (pa.ArrowException, OSError) as error:
            if not _is_damage(error):
                raise
            rows_expected = group.num_rows
            detail = f"row group {index} of {rows_expected} rows: {_first_line(error)}"
            raise BrokenFileError("corrupt", detail, row) from error
        if batch is None:
            return
        row += batch.num_rows
        yield batch


def _as_text(batch: pa.RecordBatch, text: str) -> pa.RecordBatch:
    """Cast columns to types that Python values and JSON can represent; view a binary text column as strings."""
    columns = []
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        plain = _plain(column.type)
        column = column if column.type == plain else column.cast(plain)
        columns.append(column.view(_BINARY[plain]) if name == text and plain in _BINARY else column)
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _records(batch: pa.RecordBatch) -> Sequence[dict[str, Any] | tuple[str, str]]:
    """Convert rows to Python values. A row that cannot be converted becomes a reason and a detail."""
    try:
        return batch.to_pylist()
    except UnicodeDecodeError as error:
        if batch.num_rows == 1:
            return [("invalid_utf8", str(error))]
        return [record for row in range(batch.num_rows) for record in _records(batch.slice(row, 1))]


def _plain(kind: pa.DataType) -> pa.DataType:
    """Return the type with text for all temporal types in it, and without dictionaries."""
    if pa.types.is_dictionary(kind):
        return _plain(kind.value_type)
    if pa.types.is_temporal(kind):
        return pa.string()
    if pa.types.is_list(kind):
        return pa.list_(kind.value_field.with_type(_plain(kind.value_type)))
    if pa.types.is_large_list(kind):
        return pa.large_list(kind.value_field.with_type(_plain(kind.value_type)))
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_plain(field.type)) for field in kind])
    if pa.types.is_map(kind):
        return pa.map_(_plain(kind.key_type), _plain(kind.item_type))
    return kind


def _is_damage(error: BaseException) -> bool:
    """Return whether Arrow blames the content of the file. Errors of a disk or network have a number and may pass."""
    return isinstance(error, pa.ArrowException) or (type(error) is OSError and error.errno is None)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
