"""Write the documents that are kept, shard by shard, as Parquet that any tool reads: no budgets and no mixture."""

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Literal

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from curate.artifact import Artifact, Flow, Shard
from curate.errors import Problem
from curate.io.manifest import KeptBody, KeptFile
from curate.io.plain import plain_columns, plain_type
from curate.stage import Known, Stage
from curate.table import DOCUMENT, ParquetWriter, Table

if TYPE_CHECKING:
    from curate.engine.context import Context


class Kept(Stage):
    """Write the documents for which a column is true, with all their own columns and those of other stages asked for.

    The file ``part-NAME.parquet`` holds what is kept of the shard of that name; a shard of which nothing is kept has a
    file without rows. Ids are hexadecimal, and ``source_id`` is the id that the document came with.

    Examples
    --------
    >>> Kept(where="minhash_keep", columns=("minhash_dup_count",)).requires()[-2:]
    ('minhash_keep', 'minhash_dup_count')
    """

    stage: Literal["kept"] = "kept"
    version: ClassVar[int] = 1

    where: str = Field(default="keep", description="column that is true for the documents to write")
    carry: tuple[str, ...] = Field(
        default=(), alias="columns", description="columns of other stages that go into the files too"
    )
    reason: str = Field(default="not_kept", description="what the others are counted as")

    def requires(self) -> tuple[str, ...]:
        """The documents, the column that decides, and those carried along."""
        return tuple(dict.fromkeys([*DOCUMENT.names, self.where, *self.carry]))

    def place(self, column: str) -> tuple[str | int, ...]:
        """Where `column` is named."""
        return ("columns", self.carry.index(column)) if column in self.carry else ("where",)

    def check(self, known: Known) -> Iterable[Problem]:
        """The column is true or false, and no column is there twice."""
        if self.where in known.columns.names and not pa.types.is_boolean(known.columns.field(self.where).type):
            kind = known.columns.field(self.where).type
            yield Problem(("where",), f"{self.where!r} holds {kind}, where a document is kept or not")
        for position, column in enumerate(self.carry):
            if column in DOCUMENT.names or column in self.carry[:position]:
                yield Problem(("columns", position), f"the files have a column {column!r} already")

    def run(self, ctx: "Context") -> KeptBody:
        """Write shard by shard, a row group at a time."""
        results = ctx.map_shards(partial(_write, ctx.table, ctx.artifact, self.where, (*DOCUMENT.names, *self.carry)))
        flow: Flow = {}
        files: list[KeptFile] = []
        for shard, result in zip(ctx.table.shards, results, strict=True):
            entry = flow.setdefault(shard.source, {"in": 0, "kept": 0, "dropped": {self.reason: 0}, "quarantined": {}})
            entry["in"] += shard.rows
            entry["kept"] += result["rows"]
            entry["dropped"][self.reason] += shard.rows - result["rows"]
            files.append(
                {"path": f"part-{shard.name}.parquet", "rows": result["rows"], "text_bytes": result["text_bytes"]}
            )
        return {"flow": flow, "files": files}


def _write(table: Table, artifact: Artifact, where: str, columns: tuple[str, ...], shard: Shard) -> dict[str, int]:
    kinds = {field.name: field.type for field in DOCUMENT}
    kinds |= {field.name: field.type for field in table.read(shard, columns[len(DOCUMENT.names) :]).schema}
    schema = pa.schema([(name, plain_type(kinds[name])) for name in columns])
    text_bytes = 0
    with ParquetWriter(artifact.part(shard.name), schema) as writer:
        for batch in table.batches(shard, list(dict.fromkeys([*columns, where]))):
            mask = batch.column(where)
            chosen = batch if mask.true_count == len(mask) else batch.filter(mask)
            text_bytes += pc.sum(pc.binary_length(chosen.column("text"))).as_py() or 0  # type: ignore[attr-defined]
            writer.write(plain_columns(pa.table(chosen).select(columns)))
    return {"rows": writer.rows, "text_bytes": text_bytes}
