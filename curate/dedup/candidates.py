"""Candidates for near-duplicates: documents that agree in all rows of a band, and their connected components.

The method is that of Leskovec, Rajaraman and Ullman, "Mining of Massive Datasets", section 3.4. The documents that
share a band key form a bucket. Edges join each of them to the document with the smallest row number, never pair by
pair, so a bucket of n documents costs n edges. Two candidates always lie in the same connected component, so the next
step can process each component by itself.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate import storage
from curate.artifact import Shard
from curate.dedup.manifest import ComponentCounts
from curate.dedup.scope import scope_hashes
from curate.engine.context import EXCHANGE
from curate.engine.exchange import partition_count, partition_of, read_partition, write_partitions
from curate.table import ParquetWriter, Table, read_part

if TYPE_CHECKING:
    from curate.engine.context import Context

HOT_BUCKET = 100_000  # documents; larger buckets are boilerplate or an accident, and the report counts them
KEYS_PER_EXCHANGE = 1 << 31  # keys of the bands that are exchanged together, at 20 bytes each: 43 GB of disk
KEYS_PER_TASK = 1 << 21  # keys that one task sends, at 180 bytes of memory each: 0.4 GB
EDGES_PER_BATCH = 1 << 22  # edges that the union-find holds at once, at 70 bytes of memory each: 0.3 GB

EDGE = pa.schema([("low", pa.uint64()), ("high", pa.uint64())])
LABEL = pa.schema([("label", pa.int64())])


@dataclass(frozen=True)
class BandLayout:
    """Which column holds the signatures, how they are divided into bands, and which documents are compared.

    Parameters
    ----------
    column
        Column that holds the signatures.
    permutations, bands, rows
        Length of a signature, and the number of bands of `rows` minima into which it is divided.
    within
        Scope of the comparison (see `curate.dedup.scope`).
    """

    column: str
    permutations: int
    bands: int
    rows: int
    within: str


@dataclass(frozen=True)
class Part:
    """A shard whose documents are compared. It belongs to the table that is deduplicated, or to an index.

    Parameters
    ----------
    name
        Name of the part, unique among all parts.
    table, shard
        The shard, and the table from which its columns are read.
    first_row
        Number of documents in all earlier parts.
    settled
        Column of an index that is true for the documents that the earlier run kept. Only these are compared, and they
        stay kept. Empty for a shard of the table.
    """

    name: str
    table: Table
    shard: Shard
    first_row: int
    settled: str = ""

    @property
    def rows(self) -> int:
        """Number of documents, compared or not."""
        return self.shard.rows

    def compared_rows(self) -> NDArray[np.int64]:
        """Row numbers, within the shard, of the documents that are compared."""
        if not self.settled:
            return np.arange(self.rows)
        return np.flatnonzero(self.table.read(self.shard, [self.settled])[self.settled].to_numpy())

    def signatures(self, banding: BandLayout) -> NDArray[np.uint32]:
        """Read the signatures, shape (documents, permutations)."""
        column = self.table.read(self.shard, [banding.column]).column(banding.column).combine_chunks()
        width = banding.permutations
        minima = np.frombuffer(column.buffers()[1] or b"", "<u4", len(column) * width, column.offset * width * 4)
        return minima.reshape(-1, width)


class Components(NamedTuple):
    """Result of `connect`.

    Attributes
    ----------
    path
        File that `labels_of` reads.
    members
        Number of documents that have candidates.
    oversized
        Labels of the components that have more documents than the limit.
    counts
        The manifest's ``hot_buckets``, ``largest_bucket`` and ``largest_component``.
    """

    path: str
    members: int
    oversized: list[int]
    counts: ComponentCounts


def parts_of(table: Table, settled: Sequence[tuple[Table, str]] = ()) -> tuple[Part, ...]:
    """Return the shards of a table, followed by the shards of indexes, each with its column of kept documents."""
    parts = [Part(shard.name, table, shard, shard.first_row) for shard in table.shards]
    row = table.rows
    for number, (index, column) in enumerate(settled):
        for shard in index.shards:
            parts.append(Part(f"index-{number:03d}-{shard.name}", index, shard, row, column))
            row += shard.rows
    return tuple(parts)


def connect(ctx: "Context", parts: Sequence[Part], banding: BandLayout, component_limit: int) -> Components:
    """Find the connected components of the documents that share band keys.

    Parameters
    ----------
    ctx
        Context of the stage.
    parts
        The shards to compare, from `parts_of`.
    banding
        Shape of the bands, and the scope.
    component_limit
        The result lists the components that have more documents than this.
    """
    bucket_counts, edges = [], []
    rows = sum(part.rows for part in parts)
    for bands in _band_groups(banding.bands, parts):
        name = f"bands-{bands.start:04d}"
        folder = f"{ctx.path}/{EXCHANGE}/edges/{name}"
        partitions = partition_count(rows * len(bands))
        mapper = partial(_send_bands, banding, bands, partitions, folder)
        bucket_counts += ctx.exchange(name, mapper, partial(_join_buckets, folder), partitions, parts)
        edges += [_edge_file(folder, "shard", part.name) for part in parts]
        edges += [_edge_file(folder, "partition", partition) for partition in range(partitions)]
    path = f"{ctx.path}/{EXCHANGE}/labels.arrow"
    task = partial(_label_components, parts, edges, component_limit)
    labelled = ctx.map(task, [path], phase="components", keys=["components"])[0]
    counts: ComponentCounts = {
        "hot_buckets": sum(result["hot_buckets"] for result in bucket_counts),
        "largest_bucket": max((result["largest_bucket"] for result in bucket_counts), default=0),
        "largest_component": labelled["largest"],
    }
    return Components(path, labelled["members"], labelled["oversized"], counts)


def labels_of(path: str, position: int) -> pa.Array:
    """Read the label of each document of part number `position`.

    The label is the smallest row number of the document's component, null for a document without candidates.
    """
    return read_partition([path], position)["label"].combine_chunks()


def scoped_keys(banding: BandLayout, part: Part, signatures: NDArray[np.uint32]) -> NDArray[np.uint64]:
    """Compute band keys, shape (documents, bands), that differ between scopes."""
    from curate.dedup.minhash import band_keys

    return band_keys(signatures, banding.bands, banding.rows) ^ _scope(banding.within, part)[:, None]


def _scope(within: str, part: Part) -> NDArray[np.uint64]:
    return scope_hashes(within, part.table, part.shard)


class _Buckets(NamedTuple):
    """Buckets of documents that share a band key.

    Attributes
    ----------
    keys, centers, sizes
        Key, smallest row number and number of documents of each bucket, by ascending key.
    edges
        Smaller and larger row of each edge of a forest that connects the rows of every bucket.
    """

    keys: NDArray[np.uint64]
    centers: NDArray[np.uint64]
    sizes: NDArray[np.uint64]
    edges: tuple[NDArray[np.uint64], NDArray[np.uint64]]


def _buckets(keys: NDArray[np.uint64], rows: NDArray[np.uint64], sizes: NDArray[np.uint32]) -> _Buckets:
    """Join rows with equal keys to the smallest of these rows. Row i stands for ``sizes[i]`` documents."""
    from curate.dedup.unionfind import spanning_forest

    order = np.argsort(keys)
    keys, rows, sizes = keys[order], rows[order], sizes[order]
    starts = np.flatnonzero(np.append(True, keys[1:] != keys[:-1])[: len(keys)])
    centers = np.minimum.reduceat(rows, starts) if len(keys) else rows
    center = np.repeat(centers, np.diff(starts, append=len(keys)))
    spokes = rows != center
    # Without rows, the type must still be that of a sum: a reducer concatenates the batches of all shards.
    counts = np.add.reduceat(sizes, starts) if len(keys) else sizes.astype(np.uint64)
    return _Buckets(keys[starts], centers, counts, spanning_forest(center[spokes], rows[spokes]))


def _band_groups(bands: int, parts: Sequence[Part]) -> Iterator[range]:
    """Split the bands into groups that are exchanged together: as large as the limits allow, at least one band."""
    rows = [part.rows for part in parts if part.rows]
    size = min(KEYS_PER_EXCHANGE // sum(rows), KEYS_PER_TASK // max(rows), bands) if rows else bands
    for start in range(0, bands, max(size, 1)):
        yield range(start, min(start + max(size, 1), bands))


def _send_bands(
    banding: BandLayout, bands: range, partitions: int, folder: str, part: Part, path: str
) -> dict[str, Any]:
    """Join the buckets of a shard, and send one row per key, so that a reducer receives no more than that."""
    keys = scoped_keys(banding, part, part.signatures(banding))[:, bands.start : bands.stop]
    compared = part.compared_rows()
    keys, rows = keys[compared], (compared + part.first_row).astype(np.uint64)
    buckets = _buckets(keys.ravel(), np.repeat(rows, len(bands)), np.ones(keys.size, np.uint32))
    _write_edges(_edge_file(folder, "shard", part.name), buckets.edges)
    sent = pa.table({"key": buckets.keys, "row": buckets.centers, "size": buckets.sizes})
    write_partitions(path, sent, partition_of(buckets.keys, partitions), partitions)
    return {"keys": len(buckets.keys)}


def _join_buckets(folder: str, partition: int, received: pa.Table) -> dict[str, Any]:
    """Join the buckets that span several shards."""
    buckets = _buckets(*(received[name].to_numpy() for name in ("key", "row", "size")))
    _write_edges(_edge_file(folder, "partition", partition), buckets.edges)
    largest = int(buckets.sizes.max(initial=0))
    return {"hot_buckets": int((buckets.sizes > HOT_BUCKET).sum()), "largest_bucket": largest}


def _edge_file(folder: str, kind: str, key: str | int) -> str:
    return f"{folder}/{kind}-{key}.parquet"


def _write_edges(path: str, edges: tuple[NDArray[np.uint64], NDArray[np.uint64]]) -> None:
    with ParquetWriter(path, EDGE) as writer:
        writer.write(pa.table(list(edges), schema=EDGE))


def _label_components(parts: Sequence[Part], edge_files: Sequence[str], limit: int, path: str) -> dict[str, Any]:
    """Write the label of each document, one batch per part (see `labels_of`)."""
    rows = sum(part.rows for part in parts)
    labels = _labels(rows, edge_files)
    isolated = labels == np.arange(rows)
    isolated[labels[~isolated]] = False
    options = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)
    with storage.replacing(path) as file, pa.ipc.new_file(file, LABEL, options=options) as writer:
        for part in parts:
            part_rows = slice(part.first_row, part.first_row + part.rows)
            column = pa.array(labels[part_rows], mask=isolated[part_rows])
            writer.write_batch(pa.record_batch([column], schema=LABEL))
    components, sizes = np.unique(labels[~isolated], return_counts=True)
    return {
        "members": int(sizes.sum()),
        "largest": int(sizes.max(initial=0)),
        "oversized": components[sizes > limit].tolist(),
    }


def _labels(rows: int, edge_files: Sequence[str]) -> NDArray[np.int64]:
    """Label each row with the smallest row of its component.

    Edges are read in batches. Each batch joins the components of the batches before it.
    """
    from curate.dedup.unionfind import components

    labels = np.arange(rows)
    for low, high in _edge_batches(edge_files, max(EDGES_PER_BATCH, rows // 8)):
        labels = components(rows, labels[low], labels[high])[labels]
    return labels


def _edge_batches(edge_files: Sequence[str], size: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    batch, edge_count = [], 0
    for number, path in enumerate(edge_files, start=1):
        batch.append(read_part(path))
        edge_count += len(batch[-1])
        if edge_count >= size or number == len(edge_files):
            edges = pa.concat_tables(batch)
            yield edges["low"].to_numpy().astype(np.int64), edges["high"].to_numpy().astype(np.int64)
            batch, edge_count = [], 0
