"""Rules over columns decide what is kept; nothing is removed, so a threshold can change without reading text again."""

from collections.abc import Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import orjson
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field

from curate.artifact import Artifact, Shard, Totals
from curate.errors import Problem, nearest
from curate.stage import STAGES, Known, Stage
from curate.table import ParquetWriter, Table

if TYPE_CHECKING:
    import polars as pl

    from curate.engine.context import Context

MAX_RULES = 64  # bits of drop_mask
CROSSING = {"Agg", "Over", "Len", "Rank", "Quantile", "Correlation"}  # what polars calls aggregates and windows


class Rule(BaseModel):
    """A condition under which documents are dropped."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    when: str = Field(description="SQL expression over columns, true for a document to drop; null does not drop")
    sources: tuple[str, ...] | None = Field(default=None, description="sources that the rule is for; all unless given")


class Select(Stage):
    """Decide what is kept: a document is dropped when any rule is true of it.

    Writes ``keep``, ``drop_reason`` (the first rule that is true) and ``drop_mask`` (bit i set where rule i is true).

    Examples
    --------
    >>> stage = Select(name="select", drop={"short": "gopher_words < 50", "twin": "NOT minhash_keep"})
    >>> stage.requires()
    ('source', 'text_bytes', 'gopher_words', 'minhash_keep')
    """

    stage: Literal["select"] = "select"
    version: ClassVar[int] = 1

    drop: dict[str, str | Rule] = Field(
        default={}, description="rules by the reason they give: an SQL expression over columns, true for what to drop"
    )

    def rules(self) -> dict[str, Rule]:
        """The rules in order, each in its long form."""
        return {name: Rule(when=rule) if isinstance(rule, str) else rule for name, rule in self.drop.items()}

    def upstream(self) -> tuple[Stage, ...]:
        """Lengths, for a funnel in bytes."""
        return (STAGES["size"](),)

    def requires(self) -> tuple[str, ...]:
        """Columns that the rules name."""
        named = [column for rule in self.rules().values() for column in _columns_of(rule.when)]
        return tuple(dict.fromkeys(["source", "text_bytes", *named]))

    def place(self, column: str) -> tuple[str | int, ...]:
        """The first rule that names `column`."""
        return next((("drop", name) for name, rule in self.rules().items() if column in _columns_of(rule.when)), ())

    def columns(self) -> pa.Schema:
        """``keep``, ``drop_reason``, ``drop_mask``."""
        return pa.schema(
            [
                pa.field("keep", pa.bool_(), nullable=False),
                pa.field("drop_reason", pa.dictionary(pa.int32(), pa.string())),
                pa.field("drop_mask", pa.uint64(), nullable=False),
            ]
        )

    def check(self, known: Known) -> Iterable[Problem]:
        """Every rule parses, is a yes-or-no expression over the promised types, and names known sources."""
        if len(self.drop) > MAX_RULES:
            yield Problem(("drop",), f"{len(self.drop)} rules, but at most {MAX_RULES} fit into drop_mask")
        for name, rule in self.rules().items():
            complaint = _complaint(rule.when, known.columns)
            if complaint:
                yield Problem(("drop", name), f"{rule.when!r}: {complaint}")
            for source in rule.sources or ():
                if source not in known.sources:
                    yield Problem(("drop", name), f"there is no source {source!r}", nearest(source, known.sources))

    def run(self, ctx: "Context") -> dict[str, Any]:
        """Evaluate the rules shard by shard."""
        results = ctx.map_shards(partial(_select_shard, ctx.table, ctx.artifact, self.rules(), self.requires()))
        totals = Totals()
        for shard, result in zip(ctx.table.shards, results, strict=True):
            totals.add({key: {shard.source: value} for key, value in result.items()})
        rules = [{"name": name} | rule.model_dump(mode="json") for name, rule in self.rules().items()]
        return {"rules": rules, **totals.counts}


def _select_shard(
    table: Table, artifact: Artifact, rules: Mapping[str, Rule], columns: tuple[str, ...], shard: Shard
) -> dict[str, Any]:
    import numpy as np
    import polars as pl

    frame = pl.DataFrame(table.read(shard, columns))
    names = list(rules)
    fired = np.zeros((len(names), shard.rows), dtype=bool)
    for position, rule in enumerate(rules.values()):
        if rule.sources is None or shard.source in rule.sources:
            fired[position] = frame.with_columns(fired=_expression(rule.when).fill_null(value=False))[
                "fired"
            ].to_numpy()
    dropped = fired.any(axis=0)
    first = np.argmax(fired, axis=0) if names else np.zeros(shard.rows, np.int64)
    bits = np.uint64(1) << np.arange(len(names), dtype=np.uint64)
    mask = (fired * bits[:, None]).sum(axis=0, dtype=np.uint64)
    reason = pa.DictionaryArray.from_arrays(
        pa.array(first.astype(np.int32), mask=~dropped), pa.array(names, pa.string())
    )
    with ParquetWriter(artifact.part(shard.name), Select().columns()) as writer:
        writer.write(
            pa.RecordBatch.from_arrays([pa.array(~dropped), reason, pa.array(mask)], schema=Select().columns())
        )
    size = frame["text_bytes"].to_numpy()
    alone = fired.sum(axis=0) == 1
    by_first = {name: dropped & (first == position) for position, name in enumerate(names)}
    return {
        "flow": {
            "in": shard.rows,
            "kept": int((~dropped).sum()),
            "dropped": {name: int(rows.sum()) for name, rows in by_first.items()},
            "quarantined": {},
        },
        "bytes": {
            "in": int(size.sum()),
            "kept": int(size[~dropped].sum()),
            "dropped": {name: int(size[rows].sum()) for name, rows in by_first.items()},
        },
        "fired": {name: int(fired[position].sum()) for position, name in enumerate(names)},
        "alone": {name: int((fired[position] & alone).sum()) for position, name in enumerate(names)},
    }


def _expression(sql: str) -> "pl.Expr":
    import polars as pl

    return pl.sql_expr(sql)


def _columns_of(sql: str) -> list[str]:
    """Columns that an expression names, in order; none when it does not parse, which `check` reports."""
    import polars as pl

    try:
        return list(dict.fromkeys(_expression(sql).meta.root_names()))
    except pl.exceptions.PolarsError:
        return []


def _crosses_rows(tree: Any) -> bool:
    """Whether a serialized expression has an aggregate or a window in it."""
    if isinstance(tree, dict):
        inside = (_crosses_rows(value) for name, value in tree.items() if name not in ("Column", "Literal"))
        return not CROSSING.isdisjoint(tree) or any(inside)
    return any(map(_crosses_rows, tree)) if isinstance(tree, list) else tree in CROSSING


def _complaint(sql: str, columns: pa.Schema) -> str:
    """What is wrong with an expression over `columns`, or nothing; unknown columns are the pipeline's to report."""
    import polars as pl

    try:
        expression = _expression(sql)
        if any(name not in columns.names for name in expression.meta.root_names()):
            return ""
        if _crosses_rows(orjson.loads(expression.meta.serialize(format="json"))):
            return "looks at more than one document at a time, so its answer would depend on how they are sharded"
        schema = pl.DataFrame(columns.empty_table()).lazy().select(rule=expression).collect().schema
    except pl.exceptions.PolarsError as error:
        return str(error).splitlines()[0]
    return "" if schema["rule"] == pl.Boolean else f"gives {schema['rule']}, where a rule is true or false"
