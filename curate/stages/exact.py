"""Exact duplicates: documents whose words, bytes or addresses are equal, found by an exchange of 128-bit hashes."""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from curate import storage
from curate.artifact import Artifact, Shard, all_kept, by_source
from curate.dedup import scope, survivors
from curate.dedup.manifest import DuplicatesBody
from curate.dedup.scope import Within
from curate.dedup.survivors import KEY, Keep, Policy, Priority
from curate.engine.context import EXCHANGE
from curate.errors import Problem
from curate.registry import stage_type
from curate.stage import Known, Stage
from curate.table import ParquetWriter, Table

if TYPE_CHECKING:
    from curate.engine.context import Context


class Exact(Stage):
    """Find documents with equal text or of equal address, and keep one of each group.

    Writes, under the stage's name, ``exact_keep``; ``exact_keeper``, the id of the copy that is kept, null for a
    document without copies; ``exact_count``, the number of copies, itself included; and ``exact_dup_count``, the number
    of documents that this one stands for, 0 for one that has a better copy. Nothing is dropped: `select` does
    that, with a rule such as ``NOT exact_keep``.

    Examples
    --------
    >>> stage = Exact(keep=("longest", "date asc"), priority=("books",))
    >>> stage.requires()
    ('text_hash', 'text_bytes', 'id', 'date')
    >>> stage.columns().names
    ['exact_keep', 'exact_keeper', 'exact_count', 'exact_dup_count']
    """

    stage: Literal["exact"] = "exact"
    name: str = "exact"
    version: ClassVar[int] = 3

    by: Literal["normalized", "raw", "url"] = Field(
        default="normalized",
        description="what is equal in equal documents: their lower-cased words (normalized), every byte (raw), or the "
        "canonical form of their addresses (url)",
    )
    within: Within = "all"
    keep: Keep = ("longest",)
    priority: Priority = ()

    @property
    def policy(self) -> Policy:
        """Who survives."""
        return Policy(self.keep, self.priority)

    @property
    def hashes(self) -> Stage:
        """The annotator whose column is compared."""
        return stage_type("url_hash")() if self.by == "url" else stage_type("text_hash").model_validate({"by": self.by})

    @property
    def hash_column(self) -> str:
        """Name of the column that is compared."""
        return self.hashes.columns().names[0]

    def upstream(self) -> tuple[Stage, ...]:
        """The hashes, and lengths for counts in bytes."""
        return (self.hashes, stage_type("size")())

    def requires(self) -> tuple[str, ...]:
        """The hash, the length, what `keep` names, and what `within` does."""
        needed = [self.hash_column, "text_bytes", *self.policy.columns, *scope.columns_of(self.within)]
        return tuple(dict.fromkeys(needed))

    def place(self, column: str) -> tuple[str | int, ...]:
        """Where `column` is named."""
        return self.policy.place(column) or (("within",) if column in scope.columns_of(self.within) else ())

    def columns(self) -> pa.Schema:
        """``_keep``, ``_keeper``, ``_count`` and ``_dup_count`` after the stage's name."""
        return pa.schema(
            [
                pa.field(f"{self.name}_keep", pa.bool_(), nullable=False),
                pa.field(f"{self.name}_keeper", pa.binary(16)),
                pa.field(f"{self.name}_count", pa.int32(), nullable=False),
                pa.field(f"{self.name}_dup_count", pa.int32(), nullable=False),
            ]
        )

    def check(self, known: Known) -> Iterable[Problem]:
        """The policy fits the columns, the sources and the policies of earlier stages; the scope exists."""
        yield from self.policy.problems(known)
        yield from self.policy.clashes(known)
        yield from scope.problems(self.within, known)

    def run(self, ctx: "Context") -> DuplicatesBody:
        """Bring equal hashes together, choose, and write what became of each document."""
        groups = partial(_by_hash, self.hash_column, self.within)
        election = survivors.elect(ctx, self.policy, groups, ctx.table.rows)
        tallies = ctx.map_shards(partial(_write, ctx.table, ctx.artifact, self.columns(), groups, election.paths))
        storage.remove_tree(f"{ctx.path}/{EXCHANGE}")
        return {
            "flow": all_kept(ctx.table.shards),
            "duplicates": by_source(ctx.table.shards, tallies),
            "cluster_sizes": election.sizes,
        }


def _by_hash(column: str, within: str, table: Table, shard: Shard) -> pa.Table:
    """Hashes as keys, each turned by the scope; null for a document without a hash."""
    from curate.text.words import mix64

    hashes = table.read(shard, [column]).column(column).combine_chunks()
    missing = hashes.is_null().to_numpy(zero_copy_only=False)
    halves = np.frombuffer(hashes.buffers()[1] or b"", ">u8", 2 * len(hashes), 16 * hashes.offset)
    halves = halves.astype(np.uint64).reshape(-1, 2)
    if within != scope.ALL:
        scopes = scope.scope_hashes(within, table, shard)
        halves = halves ^ np.stack((mix64(scopes), mix64(~scopes)), axis=1)
    return pa.table([pa.array(half, mask=missing) for half in halves.T], names=KEY)


def _write(
    table: Table, artifact: Artifact, schema: pa.Schema, groups: survivors.Groups, paths: Sequence[str], shard: Shard
) -> dict[str, int]:
    verdict = survivors.verdicts(table, groups, paths, shard)
    stands_for = np.where(verdict["keep"].to_numpy(), verdict["size"].to_numpy(), 0).astype(np.int32)
    columns = verdict.append_column("dup_count", pa.array(stands_for))
    with ParquetWriter(artifact.part(shard.name), schema) as writer:
        writer.write(columns.rename_columns(schema.names))
    return survivors.tally(table, shard, verdict)
