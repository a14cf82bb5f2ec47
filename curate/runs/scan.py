"""Lazy frames over Parquet files that lie side by side: documents and the columns beside them, shard by shard.

Polars can place several scans side by side itself, but then no filter reaches the files below, and the rows that a
filter keeps hold on to the text of all others (of 1 GB of text, a filter that kept 12 MB took 952 MB of memory; here
217 MB). Here one shard is read at a time: first the columns that the filter names, and the others only where it keeps a
row of the shard.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from curate import storage

if TYPE_CHECKING:
    import polars as pl

Place = tuple[int, str]
"""Which of a shard's files holds a column, and the column's name in that file."""

_KEPT = "\0kept"  # a name that no column has


def scan(shards: Sequence[Sequence[str]], columns: Mapping[str, Place]) -> "pl.LazyFrame":
    """A lazy frame over shards, each made of files with the same rows in the same order.

    Only the columns that a query uses are read, and of a shard in which its filter keeps nothing only those that the
    filter names. One shard is in memory at a time. Types are those of `plain_frame`.

    Parameters
    ----------
    shards
        Paths of the files of each shard, at least one shard; every shard has its files in the same order.
    columns
        Where to find each column of the frame.

    Examples
    --------
    >>> import tempfile
    >>> import polars as pl
    >>> folder = tempfile.mkdtemp()
    >>> pl.DataFrame({"words": [3, 5]}).write_parquet(f"{folder}/words.parquet")
    >>> pl.DataFrame({"keep": [True, False]}).write_parquet(f"{folder}/keep.parquet")
    >>> frame = scan([[f"{folder}/words.parquet", f"{folder}/keep.parquet"]], {"n": (0, "words"), "keep": (1, "keep")})
    >>> frame.filter("keep").select("n").collect().to_series().to_list()
    [3]
    """
    from polars.io.plugins import register_io_source

    return register_io_source(
        partial(_frames, shards, columns), schema=_read(shards[0], columns, 0).schema, validate_schema=True
    )


def read_columns(path: str, columns: Sequence[str], rows: int | None = None) -> "pl.DataFrame":
    """Some columns of a Parquet file, or of its first `rows`, with the types of `plain_frame`."""
    return _lazy_columns(path, columns, rows).collect()


def _lazy_columns(path: str, columns: Sequence[str], rows: int | None) -> "pl.LazyFrame":
    import polars as pl

    if storage.is_local(path):
        frame = pl.scan_parquet(path, n_rows=rows, glob=False, hive_partitioning=False).select(columns)
    else:
        frame = pl.DataFrame(_remote_part(path, columns, rows)).lazy()
    return plain_frame(frame)


def _remote_part(path: str, columns: Sequence[str], rows: int | None) -> pa.Table:
    """Columns of a file on remote storage; no more of its row groups than it takes to have the first `rows`."""
    with pq.ParquetFile(storage.open_input(path)) as file:
        groups, count = 0, 0
        while groups < file.num_row_groups and (rows is None or count < rows):
            count += file.metadata.row_group(groups).num_rows
            groups += 1
        return file.read_row_groups(list(range(groups)), list(columns)).slice(0, rows)


def plain_frame(frame: "pl.LazyFrame") -> "pl.LazyFrame":
    """The frame with the types that `Run` gives.

    Ids and hashes become hexadecimal digits, and dictionaries strings, as in the files of `shards`. Integers of 32 bits
    become 64 bits wide, because polars sums 32 bits in 32 bits, where 2^31 tokens come out negative.

    Examples
    --------
    >>> import polars as pl
    >>> frame = pl.LazyFrame({"id": [bytes([1, 171])], "tokens": pl.Series([5], dtype=pl.Int32)})
    >>> plain_frame(frame).collect().to_dict(as_series=False), plain_frame(frame).collect_schema()["tokens"]
    ({'id': ['01ab'], 'tokens': [5]}, Int64)
    """
    import polars as pl
    from polars import selectors

    return frame.with_columns(
        selectors.binary().bin.encode("hex"),
        selectors.categorical().cast(pl.String),
        selectors.by_dtype(pl.Int32).cast(pl.Int64),
        selectors.by_dtype(pl.UInt32).cast(pl.UInt64),
    )


def _frames(
    shards: Sequence[Sequence[str]],
    columns: Mapping[str, Place],
    with_columns: list[str] | None,
    predicate: "pl.Expr | None",
    n_rows: int | None,
    batch_size: int | None,
) -> Iterator["pl.DataFrame"]:
    """Frames for polars, one for each shard of which any row is kept; `n_rows` counts rows before the filter."""
    del batch_size
    wanted = {name: columns[name] for name in (columns if with_columns is None else with_columns)}
    left = n_rows
    for files in shards:
        if left is not None and left <= 0:
            return
        frame, rows = _filtered(files, columns, wanted, predicate, left)
        if left is not None:
            left -= rows
        if frame.height:
            yield frame


def _filtered(
    files: Sequence[str],
    columns: Mapping[str, Place],
    wanted: Mapping[str, Place],
    predicate: "pl.Expr | None",
    rows: int | None,
) -> tuple["pl.DataFrame", int]:
    """The rows of a shard for which `predicate` is true, and how many were looked at."""
    if predicate is None:
        frame = _read(files, wanted, rows)
        return frame, frame.height
    named = predicate.meta.root_names() or [*wanted][:1]
    tested = _read(files, {name: columns[name] for name in named}, rows)
    kept = tested.with_columns(predicate.alias(_KEPT)).get_column(_KEPT)
    if not kept.any():
        return tested.clear(), tested.height
    others = {name: place for name, place in wanted.items() if name not in named}
    frame = tested.hstack(_read(files, others, rows)) if others else tested
    return _compact(frame.select(list(wanted)).filter(kept)), tested.height


def _read(files: Sequence[str], places: Mapping[str, Place], rows: int | None) -> "pl.DataFrame":
    """Columns of a shard, or of its first `rows`, in the order of `places`."""
    import polars as pl

    frames = []
    for position in dict.fromkeys(position for position, _ in places.values()):
        names = {name: column for name, (file, column) in places.items() if file == position}
        frame = _lazy_columns(files[position], list(dict.fromkeys(names.values())), rows)
        frames.append(frame.select(pl.col(column).alias(name) for name, column in names.items()))
    return pl.concat(frames, how="horizontal").select(list(places)).collect()


def _compact(frame: "pl.DataFrame") -> "pl.DataFrame":
    """The frame with strings of its own: those that polars filters are views, which keep the text of all rows alive."""
    import polars as pl

    return pl.DataFrame(frame.to_arrow(compat_level=pl.CompatLevel.oldest()))
