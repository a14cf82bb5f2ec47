"""Documents and their annotation sidecars: sharded Parquet, same basenames, same row order, joined by position."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import xxhash

from curate import storage
from curate.artifact import Artifact, Shard

ROW_GROUP = 1024  # rows; what data loaders downstream like (nanochat ships this size)
ROW_GROUP_BYTES = 32_000_000  # text of a row group, so that 1024 novels do not make one of 2 GB
COMPRESSION = "zstd"
COMPRESSION_LEVEL = 1  # of zstd: writes twice as fast as 3, for files that are an eighth larger

DOCUMENT = pa.schema(
    [
        pa.field("id", pa.binary(16), nullable=False),
        pa.field("source", pa.dictionary(pa.int32(), pa.string()), nullable=False),
        pa.field("source_id", pa.string(), nullable=False),
        pa.field("text", pa.large_string(), nullable=False),
        pa.field("url", pa.string()),
        pa.field("date", pa.timestamp("us", tz="UTC")),
        pa.field("meta", pa.string()),
    ]
)


class ParquetWriter:
    """One Parquet file that appears whole or not at all, its row groups equal to the batches written.

    Use as a context manager; on an exception nothing is left behind.

    Parameters
    ----------
    path
        Where the file goes, local or an fsspec URL.
    schema
        Every batch must have exactly this schema.
    compression_level
        Of zstd.
    """

    def __init__(self, path: str, schema: pa.Schema, compression_level: int = COMPRESSION_LEVEL) -> None:
        self._replacing = storage.replacing(path)
        self._schema = schema
        self._level = compression_level
        self.rows = 0

    def __enter__(self) -> Self:
        file = self._replacing.__enter__()
        self._writer = pq.ParquetWriter(
            file,
            self._schema,
            # Ids, hashes and signatures are random bytes, which no compressor makes smaller.
            compression={  # type: ignore[arg-type]
                f.name: "none" if pa.types.is_fixed_size_binary(f.type) else COMPRESSION for f in self._schema
            },
            compression_level={f.name: self._level for f in self._schema if not pa.types.is_fixed_size_binary(f.type)},
            use_dictionary=[f.name for f in self._schema if pa.types.is_dictionary(f.type)],  # type: ignore[arg-type]
            write_statistics=False,
        )
        return self

    def write(self, batch: pa.RecordBatch | pa.Table) -> None:
        """Append `batch` as one row group; an empty batch writes nothing."""
        table = pa.Table.from_batches([batch]) if isinstance(batch, pa.RecordBatch) else batch
        if table.num_rows:
            self._writer.write_table(table.cast(self._schema), row_group_size=table.num_rows)
            self.rows += table.num_rows

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._writer.close()
        except BaseException:
            self._replacing.__exit__(*sys.exc_info())
            raise
        self._replacing.__exit__(kind, error, trace)


def id_checksum(ids: pa.ChunkedArray | pa.Array) -> str:
    """Hash of an ``id`` column, equal for any chunking.

    Examples
    --------
    >>> whole = pa.array([bytes(16), bytes(range(16))], pa.binary(16))
    >>> id_checksum(whole) == id_checksum(pa.chunked_array([whole[:1], whole[1:]]))
    True
    """
    digest = xxhash.xxh3_64()
    for chunk in ids.chunks if isinstance(ids, pa.ChunkedArray) else [ids]:
        buffer = chunk.buffers()[1]
        if buffer is not None:
            digest.update(memoryview(buffer)[chunk.offset * 16 : (chunk.offset + len(chunk)) * 16])
    return digest.hexdigest()


class DocumentWriter(ParquetWriter):
    """A shard of a table of documents, and what the table's manifest says of it.

    Parameters
    ----------
    path
        Where the file goes, local or an fsspec URL.
    """

    def __init__(self, path: str) -> None:
        super().__init__(path, DOCUMENT)
        self.text_bytes = 0
        self._ids: list[pa.Array] = []

    def write(self, batch: pa.RecordBatch | pa.Table) -> None:
        """Append documents as one row group."""
        super().write(batch)
        self.text_bytes += pc.sum(pc.binary_length(batch.column("text"))).as_py() or 0  # type: ignore[attr-defined]
        ids = batch.column("id")
        self._ids += ids.chunks if isinstance(ids, pa.ChunkedArray) else [ids]

    def entry(self) -> dict[str, Any]:
        """Number of documents, bytes of their text, and hash of their ids, as a `Shard` has them."""
        checksum = id_checksum(pa.chunked_array(self._ids, pa.binary(16)))
        return {"rows": self.rows, "text_bytes": self.text_bytes, "id_checksum": checksum}


@dataclass(frozen=True)
class Table:
    """A documents artifact and the sidecars that are read beside it.

    Small enough to travel to every task: it holds paths; manifests are read where they are used.

    Parameters
    ----------
    documents
        Artifact that fixed shards and row order.
    sidecars
        Artifacts whose columns join by position.
    """

    documents: Artifact
    sidecars: tuple[Artifact, ...] = ()

    @property
    def shards(self) -> tuple[Shard, ...]:
        """Shards in row order."""
        return self.documents.shards()

    @property
    def rows(self) -> int:
        """Number of documents."""
        return sum(shard.rows for shard in self.shards)

    def check(self) -> None:
        """Raise ``ValueError`` when a sidecar does not belong to these documents (rows or id checksums differ)."""
        expected = [(shard.name, shard.rows, shard.id_checksum) for shard in self.shards]
        for sidecar in self.sidecars:
            if [(shard.name, shard.rows, shard.id_checksum) for shard in sidecar.shards()] != expected:
                raise ValueError(f"{sidecar.path} does not annotate {self.documents.path}: shards differ")

    @cached_property
    def _owner(self) -> dict[str, Artifact]:
        owner = dict.fromkeys(DOCUMENT.names, self.documents)
        for sidecar in self.sidecars:
            owner.update(dict.fromkeys(sidecar.manifest["columns"], sidecar))
        return owner

    def read(self, shard: Shard, columns: Sequence[str]) -> pa.Table:
        """Some columns of one shard, whole.

        Parameters
        ----------
        shard
            A shard of this table.
        columns
            Names of document or sidecar columns, in the order wanted.
        """
        wanted: dict[Artifact, list[str]] = {}
        for name in columns:
            wanted.setdefault(self._owner[name], []).append(name)
        arrays: dict[str, Any] = {}
        for artifact, names in wanted.items():
            part = read_part(artifact.part(shard.name), names)
            if part.num_rows != shard.rows:
                raise ValueError(f"{artifact.part(shard.name)} has {part.num_rows} rows, not {shard.rows}")
            arrays.update(zip(part.column_names, part.columns, strict=True))
        return pa.table({name: arrays[name] for name in columns})

    def batches(self, shard: Shard, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """One shard a row group at a time: document columns are streamed, sidecar columns sliced beside them."""
        streamed = [name for name in columns if self._owner[name] == self.documents]
        beside = [name for name in columns if self._owner[name] != self.documents]
        side = self.read(shard, beside).combine_chunks() if beside else None
        with pq.ParquetFile(storage.open_input(self.documents.part(shard.name))) as file:
            start = 0
            for group in range(file.num_row_groups):
                table = file.read_row_group(group, columns=streamed, use_threads=False).combine_chunks()
                count = file.metadata.row_group(group).num_rows
                if side is not None:
                    for name in beside:
                        table = table.append_column(name, side.column(name).slice(start, count))
                start += count
                yield as_batch(table.select(list(columns)))


def as_batch(table: pa.Table) -> pa.RecordBatch:
    """`table` as one record batch, also when it has no rows."""
    if table.num_rows == 0:
        return pa.RecordBatch.from_arrays([pa.array([], f.type) for f in table.schema], schema=table.schema)
    return table.combine_chunks().to_batches()[0]


def read_part(path: str, columns: Sequence[str] | None = None) -> pa.Table:
    """A part file, or some of its columns, on the calling thread alone."""
    with pq.ParquetFile(storage.open_input(path)) as file:
        return file.read(columns=None if columns is None else list(columns), use_threads=False)


def read_row(path: str, row: int, columns: Sequence[str] | None = None) -> dict[str, Any]:
    """One row of a part file, or some of its columns, as Python values; reads no more than its row group."""
    with pq.ParquetFile(storage.open_input(path)) as file:
        group = 0
        while row >= file.metadata.row_group(group).num_rows:
            row -= file.metadata.row_group(group).num_rows
            group += 1
        wanted = None if columns is None else list(columns)
        return file.read_row_group(group, columns=wanted, use_threads=False).slice(row, 1).to_pylist()[0]
