"""Near-duplicates: MinHash signatures, bands that bring similar documents together, verified clusters, one survivor.

The method of Broder (1997) and of Leskovec, Rajaraman and Ullman, "Mining of Massive Datasets", chapter 3; the default
shape, 14 bands of 8 rows over word 5-grams, is FineWeb's (Penedo et al. 2024, arXiv 2406.17557, section 3.4).
Documents that agree in all rows of a band are candidates; of these, one is dropped if a document that is kept before it
is similar enough, so whatever is dropped is similar to what is kept in its place. See ``docs/dedup.md``.
"""

from collections.abc import Iterable, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from curate import storage
from curate.artifact import Artifact, all_kept, by_source
from curate.dedup import scope, survivors
from curate.dedup.candidates import BandLayout, Part, connect, parts_of
from curate.dedup.clusters import (
    COMPONENT_LIMIT,
    Clustering,
    Clusters,
    Ngram,
    Seed,
    Shingling,
    Unit,
    cluster,
    verdicts,
)
from curate.dedup.index import Index, open_index
from curate.dedup.manifest import MinHashBody
from curate.dedup.quality import DroppedPair, measure, sample
from curate.dedup.scope import Within
from curate.dedup.survivors import Keep, Policy, Priority
from curate.engine.context import EXCHANGE
from curate.errors import Problem, RunError
from curate.registry import stage_type
from curate.stage import Known, Stage
from curate.table import ParquetWriter

if TYPE_CHECKING:
    import polars as pl

    from curate.engine.context import Context

LEAST_CHANCE = 0.05  # of being found: less similar pairs would be dropped by luck, so unless asked for they are not
PAIRS = "pairs"

PAIR = pa.schema(
    [
        ("id", pa.binary(16)),
        ("source", pa.string()),
        ("source_id", pa.string()),
        ("keeper", pa.binary(16)),
        ("keeper_source", pa.string()),
        ("keeper_source_id", pa.string()),
        ("jaccard", pa.float32()),
        ("cluster", pa.int64()),
    ]
)
"""A dropped document and the one that is kept in its place."""


class MinHash(Stage):
    """Find documents that share most of their n-grams, and keep one of each cluster.

    Writes, under the stage's name, ``minhash_cluster``, the smallest row number of the cluster; ``minhash_size``, its
    number of documents; ``minhash_keeper``, the id of the one that is kept; ``minhash_jaccard``, the similarity to it;
    ``minhash_keep``; and ``minhash_dup_count``, the number of documents that this one stands for, 0 if it is dropped.
    A document without near-duplicates has size 1 and neither cluster nor keeper. Nothing is dropped: `select` does
    that, with a rule such as ``NOT minhash_keep``.

    Examples
    --------
    >>> stage = MinHash(bands=20, rows=5)
    >>> stage.requires()
    ('signature_word5_100_0', 'text_bytes', 'id')
    >>> stage.columns().names[:3]
    ['minhash_cluster', 'minhash_size', 'minhash_keeper']
    >>> round(stage.least_similarity, 2), MinHash(threshold=0.8).least_similarity
    (0.3, 0.8)
    """

    stage: Literal["minhash"] = "minhash"
    name: str = "minhash"
    version: ClassVar[int] = 3

    bands: int = Field(default=14, ge=1, description="documents are candidates if they agree in one of the bands")
    rows: int = Field(default=8, ge=1, description="minima per band, all of which must agree")
    ngram: Ngram = 5
    unit: Unit = "word"
    seed: Seed = 0
    threshold: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="least Jaccard similarity to the document that is kept; unless given, that of which the bands find "
        "one pair in twenty (0.50 for 14 x 8)",
    )
    verify: Literal["signature", "jaccard", "off"] = Field(
        default="jaccard",
        description="how candidates are compared: by their exact sets of n-grams (reads their text again), by their "
        "signatures, or not at all",
    )
    closure: bool = Field(
        default=False, description="whether a document may be dropped that is similar to the kept one only by a chain"
    )
    within: Within = "all"
    keep: Keep = ("longest",)
    priority: Priority = ()
    min_cluster_size: int = Field(default=2, ge=2, description="clusters of fewer documents are left alone")
    index: tuple[str, ...] = Field(
        default=(), description="finished runs whose kept documents stay kept: their near-duplicates are dropped here"
    )

    @property
    def policy(self) -> Policy:
        """Who survives."""
        return Policy(self.keep, self.priority)

    @property
    def signatures(self) -> Stage:
        """The annotator whose column is banded."""
        fields = {"ngram": self.ngram, "unit": self.unit, "permutations": self.bands * self.rows, "seed": self.seed}
        return stage_type("signatures").model_validate(fields)

    @property
    def signature_column(self) -> str:
        """Name of the column that is banded."""
        return self.signatures.columns().names[0]

    @property
    def least_similarity(self) -> float:
        """The threshold, or the similarity at which one pair in twenty is found."""
        if self.verify == "off":
            return 0.0
        return self.threshold or (1 - (1 - LEAST_CHANCE) ** (1 / self.bands)) ** (1 / self.rows)

    @property
    def clustering(self) -> Clustering:
        """How candidates become clusters."""
        banding = BandLayout(self.signature_column, self.bands * self.rows, self.bands, self.rows, self.within)
        shingling = Shingling(self.ngram, self.unit)
        return Clustering(
            banding,
            self.policy,
            shingling,
            self.verify,
            self.least_similarity,
            self.closure,
            self.min_cluster_size,
        )

    @cached_property
    def indexes(self) -> tuple[Index, ...]:
        """The runs that `index` names; raises ``RunError`` if one cannot serve."""
        return tuple(open_index(root, self.signature_column, scope.columns_of(self.within)) for root in self.index)

    def upstream(self) -> tuple[Stage, ...]:
        """The signatures, and lengths for counts in bytes."""
        return (self.signatures, stage_type("size")())

    def requires(self) -> tuple[str, ...]:
        """The signature, the length, what `keep` names, and what `within` does."""
        needed = [self.signature_column, "text_bytes", *self.policy.columns, *scope.columns_of(self.within)]
        return tuple(dict.fromkeys(needed))

    def place(self, column: str) -> tuple[str | int, ...]:
        """Where `column` is named."""
        return self.policy.place(column) or (("within",) if column in scope.columns_of(self.within) else ())

    def columns(self) -> pa.Schema:
        """``_cluster``, ``_size``, ``_keeper``, ``_jaccard``, ``_keep`` and ``_dup_count`` after the stage's name."""
        return pa.schema(
            [
                pa.field(f"{self.name}_cluster", pa.int64()),
                pa.field(f"{self.name}_size", pa.int32(), nullable=False),
                pa.field(f"{self.name}_keeper", pa.binary(16)),
                pa.field(f"{self.name}_jaccard", pa.float32()),
                pa.field(f"{self.name}_keep", pa.bool_(), nullable=False),
                pa.field(f"{self.name}_dup_count", pa.int32(), nullable=False),
            ]
        )

    def check(self, known: Known) -> Iterable[Problem]:
        """The policy fits the columns and earlier stages, the scope exists, and indexes are of the same kind."""
        yield from self.policy.problems(known)
        yield from self.policy.clashes(known)
        yield from scope.problems(self.within, known)
        if self.verify == "off" and self.threshold is not None:
            yield Problem(("threshold",), "has no effect without verification", "`verify: signature` or `jaccard`")
        for position, root in enumerate(self.index):
            try:
                open_index(root, self.signature_column, scope.columns_of(self.within))
            except RunError as error:
                yield Problem(("index", position), str(error))

    def identity(self) -> dict[str, Any]:
        """The configuration, with the fingerprints of the indexes in the place of their paths."""
        return super().identity() | {"index": [index.fingerprint for index in self.indexes]}

    def run(self, ctx: "Context") -> MinHashBody:
        """Candidates by groups of bands, clusters, what became of each document, and how well that went."""
        parts = parts_of(ctx.table, [(index.table, index.settled) for index in self.indexes])
        found = connect(ctx, parts, self.clustering.banding, COMPONENT_LIMIT)
        clusters = cluster(ctx, parts, found, self.clustering)
        write = partial(_write, ctx.artifact, self.columns(), clusters, parts)
        tallies = ctx.map_shards(write)
        pairs = [DroppedPair(*pair) for tally in tallies for pair in tally["sample"]]
        quality = measure(ctx, self.clustering, self.seed, pairs)
        storage.remove_tree(f"{ctx.path}/{EXCHANGE}")
        counted = [{key: tally[key] for key in ("documents", "bytes", "jaccard")} for tally in tallies]
        return {
            "flow": all_kept(ctx.table.shards),
            "duplicates": by_source(ctx.table.shards, counted),
            **found.counts,
            **clusters.counts,
            "verify": self.verify,
            "threshold": round(self.least_similarity, 4),
            "quality": quality,
        }


def _write(
    artifact: Artifact, schema: pa.Schema, clusters: Clusters, parts: Sequence[Part], shard: Any
) -> dict[str, Any]:
    """Write the columns of a shard and its pairs."""
    import polars as pl

    position, part = next((i, part) for i, part in enumerate(parts) if part.name == shard.name)
    found = verdicts(clusters, position, part)
    columns = found.select("cluster", "size", "keeper", "jaccard", "keep", "dup_count").to_arrow()
    dropped = np.flatnonzero(~found["keep"].to_numpy())
    names = pl.DataFrame(part.table.read(shard, ["id", "source_id"]))
    pairs = pl.concat([found, names], how="horizontal")[dropped].with_columns(source=pl.lit(shard.source))
    with ParquetWriter(f"{artifact.path}/{PAIRS}/part-{shard.name}.parquet", PAIR) as writer:
        writer.write(pairs.select(PAIR.names).to_arrow().cast(PAIR))
    with ParquetWriter(artifact.part(shard.name), schema) as writer:
        writer.write(columns.rename_columns(schema.names).cast(schema))
    keepers = pairs["keeper_row"].to_numpy()
    inside = keepers < sum(other.rows for other in parts if not other.settled)
    return {
        **survivors.tally(part.table, shard, columns),
        "jaccard": _histogram(pairs["jaccard"]),
        "sample": sample(dropped[inside] + part.first_row, keepers[inside]),
    }


def _histogram(similarities: "pl.Series") -> dict[str, int]:
    """Pairs by similarity, in steps of 0.05: "0.80" counts those from 0.80 to 0.85, "1.00" those of equal sets."""
    steps, counts = np.unique(np.floor(similarities.to_numpy() * 20 + 1e-6).astype(int), return_counts=True)
    return {f"{step / 20:.2f}": int(count) for step, count in zip(steps, counts, strict=True)}
