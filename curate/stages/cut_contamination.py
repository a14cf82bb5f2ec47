"""Cut out of documents what they have in common with benchmark items, instead of dropping them whole."""

from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import pyarrow.compute as pc
from pydantic import Field

from curate.artifact import Artifact, Shard
from curate.rewrite import RewriteBody, Spans, account, write_without
from curate.stage import Stage
from curate.table import DOCUMENT, Table

if TYPE_CHECKING:
    from curate.engine.context import Context

SPANS = "decon_spans"


class CutContamination(Stage):
    """Make a new table without the runs of words that stand in benchmark items, as `decontaminate` found them.

    Documents of which nothing is left are dropped. What was cut is recorded in ``removed``, by document and byte.

    Examples
    --------
    >>> CutContamination(min_ratio=0.3).requires()[-1]
    'decon_spans'
    """

    stage: Literal["cut_contamination"] = "cut_contamination"
    version: ClassVar[int] = 1
    makes_table: ClassVar[bool] = True

    min_ratio: float = Field(
        default=0.5, ge=0, le=1, description="share of an item's n-grams that a document must have for a run to be cut"
    )
    min_words: int = Field(default=1, ge=1, description="words of a run that is cut (words)")

    def requires(self) -> tuple[str, ...]:
        """The documents, and where the runs are."""
        return (*DOCUMENT.names, SPANS)

    def run(self, ctx: "Context") -> RewriteBody:
        """Cut every shard."""
        written = ctx.map_shards(partial(_cut, self, ctx.table, ctx.artifact))
        return account(ctx.table.shards, written)


def _cut(stage: CutContamination, table: Table, artifact: Artifact, shard: Shard) -> dict[str, Any]:
    """Write the shard without the runs."""
    from curate.text.spans import merge

    lists = table.read(shard, [SPANS]).column(SPANS).combine_chunks()
    rows = pc.list_parent_indices(lists).to_numpy().astype(np.int64)  # type: ignore[attr-defined]
    start, end, words, ratio = (column.to_numpy() for column in lists.flatten().flatten())
    gone = (ratio >= stage.min_ratio) & (words >= stage.min_words)
    return write_without(table, artifact, Spans(*merge(rows[gone], start[gone], end[gone])), shard)
