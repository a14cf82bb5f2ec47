"""Near-duplicates: MinHash signatures, bands that bring similar documents together, connected components, one survivor.

The method of Broder (1997) and of Leskovec, Rajaraman and Ullman, "Mining of Massive Datasets", chapter 3; the default
shape, 14 bands of 8 rows over word 5-grams, is FineWeb's (Penedo et al. 2024, arXiv 2406.17557, section 3.4). Documents
that agree in all rows of a band are joined by edges to the one with the smallest row number, never pair by pair, so a
bucket of n documents costs n edges; what the bands connect is a cluster. See ``docs/dedup.md``.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import xxhash
from numpy.typing import NDArray
from pydantic import Field

from curate import storage
from curate.artifact import Artifact, Shard
from curate.dedup import survivors
from curate.dedup.survivors import KEY, Keep, Policy, Priority, Within
from curate.engine.context import EXCHANGE
from curate.engine.exchange import partition_count, partition_of, read_partition, write_partitions
from curate.errors import Problem
from curate.stage import STAGES, Annotate, Annotator, Known, Stage
from curate.table import ParquetWriter, Table, read_part

if TYPE_CHECKING:
    from curate.engine.context import Context

HOT_BUCKET = 100_000  # documents; a bucket beyond it is boilerplate or an accident, and is reported
KEYS_PER_EXCHANGE = 1 << 31  # bands are exchanged in groups of at most so many keys, 20 bytes each: 43 GB of disk,
KEYS_PER_TASK = 1 << 21  # and so many from one shard, at 180 bytes of a task's memory: 0.4 GB
EDGES_PER_BATCH = 1 << 22  # edges that the union-find holds at a time, at 70 bytes of memory: 0.3 GB

EDGE = pa.schema([("low", pa.uint64()), ("high", pa.uint64())])
LABEL = pa.schema([("label", pa.int64())])

Ngram = Annotated[int, Field(ge=1, description="words per shingle")]
Seed = Annotated[int, Field(ge=0, description="chooses the hash functions; signatures of two seeds cannot be compared")]


class Signatures(Annotator):
    """MinHash signature of each document's set of word n-grams.

    The seed is a field and not the run's, so that another sample of the same corpus does not read the text again, and
    that signatures of several runs can be compared.

    Examples
    --------
    >>> Signatures(permutations=112).columns()
    signature_5_112_0: fixed_size_binary[448] not null
    """

    stage: Literal["signatures"] = "signatures"
    version: ClassVar[int] = 1

    ngram: Ngram = 5
    permutations: int = Field(default=112, ge=1, description="length of a signature")
    seed: Seed = 0

    @property
    def column(self) -> str:
        """Name of the column, in which the words per shingle, the length and the seed stand."""
        return f"signature_{self.ngram}_{self.permutations}_{self.seed}"

    def minima(self, table: Table, shard: Shard) -> NDArray[np.uint32]:
        """The signatures of a shard, shape (documents, permutations)."""
        column = table.read(shard, [self.column]).column(self.column).combine_chunks()
        width = self.permutations
        minima = np.frombuffer(column.buffers()[1] or b"", "<u4", len(column) * width, column.offset * width * 4)
        return minima.reshape(-1, width)

    def requires(self) -> tuple[str, ...]:
        """The text."""
        return ("text",)

    def columns(self) -> pa.Schema:
        """Minima of the permutations, uint32 and little-endian.

        They are bytes and not a list because Parquet keeps two levels per item of a list: reading takes a fifth of the
        time and half the memory.
        """
        return pa.schema([pa.field(self.column, pa.binary(4 * self.permutations), nullable=False)])

    def load(self) -> Annotate:
        """Signatures of the words that the pass over the text has found."""
        from curate.text.hashing import normalized_hash
        from curate.text.minhash import signatures

        schema, shape = self.columns(), (self.ngram, self.permutations, self.seed)

        def annotate(text, columns):
            wordless = normalized_hash(text.data, text.offsets, text.words)[:, 0]
            minima = signatures(text.words.hashes, text.words.offsets, *shape, wordless)
            buffers = [None, pa.py_buffer(minima.astype("<u4", copy=False))]
            column = pa.Array.from_buffers(schema.field(0).type, len(text), buffers)
            return pa.RecordBatch.from_arrays([column], schema=schema)

        return annotate


class MinHash(Stage):
    """Find documents that share most of their word n-grams, and keep one of each cluster.

    Writes, under the stage's name, ``minhash_cluster``, the smallest row number of the cluster; ``minhash_size``, its
    number of documents; ``minhash_keeper``, the id of the one that is kept; ``minhash_keep``. A document without
    near-duplicates has size 1 and neither cluster nor keeper. Nothing is dropped: `select` does that, with a rule such
    as ``NOT minhash_keep``.

    Examples
    --------
    >>> stage = MinHash(bands=20, rows=5)
    >>> stage.requires()
    ('signature_5_100_0', 'text_bytes', 'id')
    >>> stage.columns().names
    ['minhash_cluster', 'minhash_size', 'minhash_keeper', 'minhash_keep']
    """

    stage: Literal["minhash"] = "minhash"
    name: str = "minhash"
    version: ClassVar[int] = 1

    bands: int = Field(default=14, ge=1, description="documents are near-duplicates if they agree in one of the bands")
    rows: int = Field(default=8, ge=1, description="minima per band, all of which must agree")
    ngram: Ngram = 5
    seed: Seed = 0
    within: Within = "all"
    keep: Keep = ("longest",)
    priority: Priority = ()

    @property
    def policy(self) -> Policy:
        """Who survives."""
        return Policy(self.keep, self.priority)

    @property
    def signatures(self) -> Signatures:
        """The annotator whose column is banded."""
        return Signatures(ngram=self.ngram, permutations=self.bands * self.rows, seed=self.seed)

    def upstream(self) -> tuple[Stage, ...]:
        """The signatures, and lengths for counts in bytes."""
        return (self.signatures, STAGES["size"]())

    def requires(self) -> tuple[str, ...]:
        """The signature, the length, and what `keep` names."""
        return tuple(dict.fromkeys([self.signatures.column, "text_bytes", *self.policy.columns]))

    def place(self, column: str) -> tuple[str | int, ...]:
        """The preference that names `column`."""
        return self.policy.place(column)

    def columns(self) -> pa.Schema:
        """``_cluster``, ``_size``, ``_keeper`` and ``_keep`` after the stage's name."""
        return pa.schema(
            [
                pa.field(f"{self.name}_cluster", pa.int64()),
                pa.field(f"{self.name}_size", pa.int32(), nullable=False),
                pa.field(f"{self.name}_keeper", pa.binary(16)),
                pa.field(f"{self.name}_keep", pa.bool_(), nullable=False),
            ]
        )

    def check(self, known: Known) -> Iterable[Problem]:
        """The policy fits the columns, the sources and the policies of earlier stages."""
        return self.policy.problems(known)

    def run(self, ctx: "Context") -> dict[str, Any]:
        """Edges by groups of bands, components, survivors, and what became of each document."""
        buckets, edges = self._join(ctx)
        labels = f"{ctx.path}/{EXCHANGE}/labels.arrow"
        task = partial(_label_components, ctx.table, edges)
        members = ctx.map(task, [labels], phase="components", keys=["components"])[0]["members"]
        groups = partial(_by_label, labels)
        election = survivors.elect(ctx, self.policy, groups, members)
        task = partial(_write, ctx.table, ctx.artifact, self.columns(), groups, labels, election.paths)
        tallies = ctx.map_shards(task)
        storage.remove_tree(f"{ctx.path}/{EXCHANGE}")
        return survivors.account(ctx.table.shards, tallies) | {"cluster_sizes": election.sizes, **buckets}

    def _join(self, ctx: "Context") -> tuple[dict[str, Any], list[str]]:
        """Exchange the bands group by group; the manifest's counts of buckets, and the files with edges."""
        found, edges = [], []
        for bands in _band_groups(self.bands, ctx.table.shards):
            name = f"bands-{bands.start:04d}"
            folder = f"{ctx.path}/{EXCHANGE}/edges/{name}"
            partitions = partition_count(ctx.table.rows * len(bands))
            mapper = partial(_send_bands, self, ctx.table, bands, partitions, folder)
            found += ctx.exchange(name, mapper, partial(_join_buckets, folder), partitions)
            edges += [_edge_file(folder, "shard", shard.name) for shard in ctx.table.shards]
            edges += [_edge_file(folder, "partition", partition) for partition in range(partitions)]
        largest = max((result["largest_bucket"] for result in found), default=0)
        return {"hot_buckets": sum(result["hot_buckets"] for result in found), "largest_bucket": largest}, edges


class _Buckets(NamedTuple):
    """Documents by band key.

    Attributes
    ----------
    keys, centers, sizes
        Key, smallest row and number of documents of each bucket, by ascending key.
    edges
        Smaller and larger rows of a forest that spans all buckets.
    """

    keys: NDArray[np.uint64]
    centers: NDArray[np.uint64]
    sizes: NDArray[np.uint32]
    edges: tuple[NDArray[np.uint64], NDArray[np.uint64]]


def _buckets(keys: NDArray[np.uint64], rows: NDArray[np.uint64], sizes: NDArray[np.uint32]) -> _Buckets:
    """Join rows with equal keys to the smallest of them; row i stands for ``sizes[i]`` documents."""
    from curate.text.unionfind import spanning_forest

    order = np.argsort(keys)
    keys, rows, sizes = keys[order], rows[order], sizes[order]
    starts = np.flatnonzero(np.append(True, keys[1:] != keys[:-1])[: len(keys)])
    centers = np.minimum.reduceat(rows, starts)
    center = np.repeat(centers, np.diff(starts, append=len(keys)))
    spokes = rows != center
    return _Buckets(
        keys[starts], centers, np.add.reduceat(sizes, starts), spanning_forest(center[spokes], rows[spokes])
    )


def _band_groups(bands: int, shards: Sequence[Shard]) -> Iterator[range]:
    """Bands that are exchanged together: as many as the limits allow, and one at least."""
    rows = [shard.rows for shard in shards if shard.rows]
    size = min(KEYS_PER_EXCHANGE // sum(rows), KEYS_PER_TASK // max(rows), bands) if rows else bands
    for start in range(0, bands, max(size, 1)):
        yield range(start, min(start + max(size, 1), bands))


def _send_bands(
    stage: MinHash, table: Table, bands: range, partitions: int, folder: str, shard: Shard, path: str
) -> dict[str, Any]:
    """Join what meets within the shard; send one row per key, so that a reducer gets no more than that."""
    from curate.text.minhash import band_keys

    keys = band_keys(stage.signatures.minima(table, shard), stage.bands, stage.rows)[:, bands.start : bands.stop]
    if stage.within == "source":
        keys = keys ^ np.uint64(xxhash.xxh3_64_intdigest(shard.source.encode()))
    rows = np.arange(shard.first_row, shard.first_row + shard.rows, dtype=np.uint64)
    buckets = _buckets(keys.ravel(), np.repeat(rows, len(bands)), np.ones(keys.size, np.uint32))
    _write_edges(_edge_file(folder, "shard", shard.name), buckets.edges)
    sent = pa.table({"key": buckets.keys, "row": buckets.centers, "size": buckets.sizes})
    write_partitions(path, sent, partition_of(buckets.keys, partitions), partitions)
    return {"keys": len(buckets.keys)}


def _join_buckets(folder: str, partition: int, received: pa.Table) -> dict[str, Any]:
    """Join what meets across shards."""
    buckets = _buckets(*(received[name].to_numpy() for name in ("key", "row", "size")))
    _write_edges(_edge_file(folder, "partition", partition), buckets.edges)
    largest = int(buckets.sizes.max(initial=0))
    return {"hot_buckets": int((buckets.sizes > HOT_BUCKET).sum()), "largest_bucket": largest}


def _edge_file(folder: str, kind: str, key: str | int) -> str:
    return f"{folder}/{kind}-{key}.parquet"


def _write_edges(path: str, edges: tuple[NDArray[np.uint64], NDArray[np.uint64]]) -> None:
    with ParquetWriter(path, EDGE) as writer:
        writer.write(pa.table(list(edges), schema=EDGE))


def _label_components(table: Table, edge_files: Sequence[str], path: str) -> dict[str, Any]:
    """Write the smallest row of each document's cluster, null for one without near-duplicates; a batch per shard."""
    labels = _labels(table.rows, edge_files)
    alone = labels == np.arange(table.rows)
    alone[labels[~alone]] = False
    options = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)
    with storage.replacing(path) as file, pa.ipc.new_file(file, LABEL, options=options) as writer:
        for shard in table.shards:
            rows = slice(shard.first_row, shard.first_row + shard.rows)
            writer.write_batch(pa.record_batch([pa.array(labels[rows], mask=alone[rows])], schema=LABEL))
    return {"members": int((~alone).sum())}


def _labels(rows: int, edge_files: Sequence[str]) -> NDArray[np.int64]:
    """Smallest row of each row's component; edges are read in batches and drawn between components found before."""
    from curate.text.unionfind import components

    labels = np.arange(rows)
    for low, high in _edge_batches(edge_files, max(EDGES_PER_BATCH, rows // 8)):
        labels = components(rows, labels[low], labels[high])[labels]
    return labels


def _edge_batches(edge_files: Sequence[str], size: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    batch, held = [], 0
    for number, path in enumerate(edge_files, start=1):
        batch.append(read_part(path))
        held += len(batch[-1])
        if held >= size or number == len(edge_files):
            edges = pa.concat_tables(batch)
            yield edges["low"].to_numpy().astype(np.int64), edges["high"].to_numpy().astype(np.int64)
            batch, held = [], 0


def _labels_of(path: str, table: Table, shard: Shard) -> pa.Array:
    return read_partition([path], table.shards.index(shard))["label"].combine_chunks()


def _by_label(path: str, table: Table, shard: Shard) -> pa.Table:
    """The cluster as a key."""
    from curate.text.words import mix64

    labels = _labels_of(path, table, shard)
    key = labels.fill_null(0).to_numpy().astype(np.uint64)
    alone = labels.is_null().to_numpy(zero_copy_only=False)
    return pa.table([pa.array(mix64(key), mask=alone), pa.array(key, mask=alone)], names=KEY)


def _write(
    table: Table,
    artifact: Artifact,
    schema: pa.Schema,
    groups: survivors.Groups,
    labels: str,
    verdict_files: Sequence[str],
    shard: Shard,
) -> dict[str, int]:
    verdict = survivors.verdicts(table, groups, verdict_files, shard)
    columns = [_labels_of(labels, table, shard), *(verdict[name] for name in ("size", "keeper", "keep"))]
    with ParquetWriter(artifact.part(shard.name), schema) as writer:
        writer.write(pa.table(columns, names=schema.names))
    return survivors.tally(table, shard, verdict)
