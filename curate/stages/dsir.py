"""Importance weights of DSIR (Xie et al. 2023, arXiv 2302.03169): how much likelier a document is in a target corpus.

The features, their hash and the formula are in `curate.classifiers.dsir`.
"""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from curate import storage
from curate.artifact import Shard
from curate.classifiers.groups import Group
from curate.errors import Problem
from curate.stage import Annotate, Annotator, Known
from curate.table import Table

if TYPE_CHECKING:
    from curate.engine.context import Context
    from curate.text.batch import TextBatch

RATIO = "log_ratio.npy"
COUNTS = "_counts"


class Dsir(Annotator):
    """Weigh documents by hashed 1- and 2-grams of a target corpus against those of a raw one.

    Both distributions are counted in one pass before the documents are scored. Where a group has no n-gram at all, all
    weights are null; the manifest says how many n-grams each has.

    Examples
    --------
    >>> Dsir(name="dsir", target=Group(sources=("wiki",)), raw=Group(sources=("web",))).columns().names
    ['dsir_log_weight', 'dsir_log_weight_per_token']
    """

    stage: Literal["dsir"] = "dsir"
    version: ClassVar[int] = 1

    target: Group = Field(description="documents that others are to be like")
    raw: Group | None = Field(
        default=None, description="documents to select from; all that are not of the target unless given"
    )
    buckets: int = Field(default=10_000, ge=2, le=1 << 24, description="hash buckets of n-grams")

    def requires(self) -> tuple[str, ...]:
        """The text, and what the rules name."""
        return tuple(dict.fromkeys(["text", *self.target.columns(), *(self.raw.columns() if self.raw else ())]))

    def place(self, column: str) -> tuple[str | int, ...]:
        """The rule that names the column."""
        return ("target" if column in self.target.columns() else "raw", "where")

    def check(self, known: Known) -> Iterable[Problem]:
        """Sources and rules are there, and the groups differ."""
        yield from self.target.problems("target", known.sources, known.columns)
        if self.raw:
            yield from self.raw.problems("raw", known.sources, known.columns)
        if self.raw == self.target:
            yield Problem(("raw",), "is the same group as `target`")

    def columns(self) -> pa.Schema:
        """The log weight in nats, and divided by the number of tokens; null without tokens."""
        name = self.name or self.stage
        return pa.schema([(f"{name}_log_weight", pa.float64()), (f"{name}_log_weight_per_token", pa.float64())])

    def prepare(self, ctx: "Context") -> None:
        """Count both corpora and write the log ratio of each bucket."""
        folder, shards = f"{ctx.path}/{COUNTS}", ctx.table.shards
        ctx.map_shards(partial(_count_shard, self, ctx.table, folder), phase="count")
        parts = [f"{folder}/{shard.name}.npy" for shard in shards]
        ctx.map(partial(_write_ratio, self.buckets, ctx.path), [parts], phase="ratio", keys=["ratio"])
        storage.remove_tree(folder)

    def load_prepared(self, path: str) -> Annotate:
        """Read the ratios; weigh by them."""
        from curate.classifiers.dsir import log_weights

        ratio, schema = storage.read_array(f"{path}/{RATIO}"), self.columns()

        def annotate(text: "TextBatch", _: pa.RecordBatch) -> pa.RecordBatch:
            weight, ngrams = log_weights(text.data, text.offsets, ratio)
            nothing = (ngrams == 0) | np.isnan(weight)
            tokens = (ngrams + 1) / 2
            columns = [pa.array(weight, mask=nothing), pa.array(weight / tokens, mask=nothing)]
            return pa.RecordBatch.from_arrays(columns, schema=schema)

        return annotate

    def conclude(self, ctx: "Context") -> dict[str, Any]:
        """N-grams of both corpora, and how far apart they are."""
        (made,) = (receipt.result for receipt in ctx.artifact.receipts("ratio"))
        return {"ngrams": made}


def _count_shard(stage: Dsir, table: Table, folder: str, shard: Shard) -> dict[str, Any]:
    """Counts of target and raw, as rows of one array."""
    from curate.classifiers.dsir import add_counts
    from curate.text.batch import TextBatch

    counts = np.zeros((2, stage.buckets), np.int64)
    for batch in table.batches(shard, list(stage.requires())):
        columns = pa.table(batch)
        target = stage.target.mask(shard.source, columns)
        raw = stage.raw.mask(shard.source, columns) if stage.raw else ~target
        for row, chosen in zip(counts, (target, raw), strict=True):
            if chosen.any():
                text = TextBatch(batch.column("text").filter(pa.array(chosen)))
                add_counts(text.data, text.offsets, row)
    storage.write_array(f"{folder}/{shard.name}.npy", counts)
    return {"target": int(counts[0].sum()), "raw": int(counts[1].sum())}


def _write_ratio(buckets: int, path: str, parts: Sequence[str]) -> dict[str, Any]:
    """Log ratios of the buckets, NaN where either corpus is empty; the divergence of target from raw in nats."""
    from curate.classifiers.dsir import log_ratio

    target, raw = sum((storage.read_array(part) for part in parts), np.zeros((2, buckets), np.int64))
    ratio = log_ratio(target, raw)
    empty = not target.sum() or not raw.sum()
    storage.write_array(f"{path}/{RATIO}", np.full(buckets, np.nan) if empty else ratio)
    divergence = None if empty else float((target / target.sum() * ratio).sum())
    return {"target": int(target.sum()), "raw": int(raw.sum()), "divergence": divergence}
