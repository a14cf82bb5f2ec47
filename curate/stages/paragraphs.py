"""Duplicated paragraphs or lines: all copies but one are cut out of the documents that they stand in.

As CCNet does within groups of shards (Wenzek et al. 2020, arXiv 1911.00359, section 3.1), but over the whole corpus,
with a count from which on something is a repeat, and with the copy that stays chosen by an order and not by chance.
"""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from curate import storage
from curate.artifact import Artifact, Shard
from curate.dedup import scope
from curate.dedup.manifest import ParagraphsBody
from curate.dedup.repeats import RepeatCutting
from curate.dedup.survivors import KEY, Policy, ranking
from curate.engine.context import EXCHANGE
from curate.engine.exchange import partition_count, partition_of, read_partition, write_partitions
from curate.rewrite import Spans, account, write_without
from curate.stage import Stage
from curate.table import Table

if TYPE_CHECKING:
    import polars as pl

    from curate.engine.context import Context

BYTES_PER_UNIT = 100  # of text, about: for the number of partitions alone


class Paragraphs(RepeatCutting, Stage):
    """Cut out paragraphs or lines that stand elsewhere, and make a new table of what is left.

    Two are equal if they have the same words (see `curate.text.words`); those without words are left alone. Documents
    of which nothing is left are dropped. What was cut is recorded in ``removed``, by document and byte.

    Examples
    --------
    >>> Paragraphs(unit="line", min_count=6, priority=("wiki",)).requires()[:2]
    ('id', 'source')
    """

    stage: Literal["paragraphs"] = "paragraphs"
    version: ClassVar[int] = 1
    makes_table: ClassVar[bool] = True

    unit: Literal["paragraph", "line"] = Field(
        default="paragraph", description="what is compared: lines, or paragraphs, which end with a blank line"
    )
    min_count: int = Field(default=2, ge=2, description="it is a repeat if it stands so often in the corpus")
    min_words: int = Field(default=1, ge=1, description="shorter ones are left alone")
    same_digits: bool = Field(
        default=False,
        description="take the digits 0 to 9 for one another, so that texts are equal that differ in a number or a date",
    )
    keep: Literal["first", "none"] = Field(
        default="first", description="whether the first copy stays, in the order of `priority`, `prefer` and the ids"
    )

    def run(self, ctx: "Context") -> ParagraphsBody:
        """Count and rank what stands where, then cut."""
        text_bytes = sum(shard.text_bytes for shard in ctx.table.shards)
        partitions = partition_count(text_bytes // BYTES_PER_UNIT)
        paths = [f"{ctx.path}/{EXCHANGE}/repeats/{partition:05d}.arrow" for partition in range(partitions)]
        results = ctx.exchange(
            "units",
            partial(_send_units, self, ctx.table, partitions),
            partial(_decide, self, paths, len(ctx.table.shards)),
            partitions,
        )
        written = ctx.map_shards(partial(_cut, self, ctx.table, ctx.artifact, paths))
        storage.remove_tree(f"{ctx.path}/{EXCHANGE}")
        distinct, repeated = (sum(result[name] for result in results) for name in ("distinct", "repeated"))
        return {**account(ctx.table.shards, written), "units": {"distinct": distinct, "repeated": repeated}}


def _units(stage: Paragraphs, table: Table, shard: Shard) -> "tuple[pl.DataFrame, NDArray[np.int64]]":
    """The units of a shard that are long enough: their key, row and place; and the bounds of all, by document."""
    import polars as pl

    from curate.dedup.paragraphs import unit_hashes, units
    from curate.text.batch import TextBatch
    from curate.text.words import mix64, segment

    scopes = scope.scope_hashes(stage.within, table, shard)
    frames, spans, first, before = [], [], 0, 0
    for batch in table.batches(shard, ["text"]):
        text = TextBatch(batch.column(0))
        bounds = units(text.data, text.offsets, paragraphs=stage.unit == "paragraph")
        hashes, lengths = unit_hashes(
            bounds, segment(_zeros(text.data), text.offsets) if stage.same_digits else text.words
        )
        row = np.searchsorted(text.offsets, bounds[:-1], side="right") - 1
        place = np.arange(before, before + len(row))
        scoped = scopes[first + row]
        fit = lengths >= stage.min_words
        columns = {
            KEY[0]: (hashes[:, 0] ^ mix64(scoped))[fit],
            KEY[1]: (hashes[:, 1] ^ scoped)[fit],
            "row": (first + row)[fit],
            "place": place[fit],
        }
        frames.append(pl.DataFrame(columns))
        spans.append(np.stack((first + row, bounds[:-1] - text.offsets[row], bounds[1:] - text.offsets[row])))
        first, before = first + len(text), before + len(row)
    empty = pl.DataFrame(schema={KEY[0]: pl.UInt64, KEY[1]: pl.UInt64, "row": pl.Int64, "place": pl.Int64})
    return pl.concat([empty, *frames]), np.concatenate([np.zeros((3, 0), np.int64), *spans], axis=1)


def _zeros(data: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Text with 0 for every digit from 0 to 9.

    Examples
    --------
    >>> _zeros(np.frombuffer(b"May 9, 2024", np.uint8)).tobytes()
    b'May 0, 0000'
    """
    return np.where((data >= ord("0")) & (data <= ord("9")), np.uint8(ord("0")), data)


def _send_units(stage: Paragraphs, table: Table, partitions: int, shard: Shard, path: str) -> dict[str, Any]:
    """Send the first copy of the shard, and how many there are."""
    import polars as pl

    found, _ = _units(stage, table, shard)
    order = ranking(table, stage.policy, shard).with_columns(
        pl.lit(table.shards.index(shard), pl.Int32).alias("shard"), pl.lit(1, pl.Int64).alias("count")
    )
    best = _first(pl.concat([found, order[found["row"]]], how="horizontal"), stage.policy)
    write_partitions(path, best.to_arrow(), partition_of(best[KEY[0]].to_numpy(), partitions), partitions)
    return {"units": found.height, "distinct": best.height}


def _decide(stage: Paragraphs, paths: Sequence[str], shards: int, partition: int, received: pa.Table) -> dict[str, Any]:
    """Tell the shards which of their units are repeats, and which copy stays."""
    import polars as pl

    sent = pl.DataFrame(received)
    first = _first(sent, stage.policy)
    repeated = first.filter(pl.col("count") >= stage.min_count).select(*KEY, keeper="shard", stays="place")
    answers = sent.select(*KEY, "shard").join(repeated, on=KEY, how="inner", maintain_order="left")
    write_partitions(paths[partition], answers.drop("shard").to_arrow(), answers["shard"].to_numpy(), shards)
    return {"distinct": first.height, "repeated": repeated.height}


def _first(units: "pl.DataFrame", policy: Policy) -> "pl.DataFrame":
    """The first of equal units by document and place, with the number of all of them."""
    import polars as pl

    directions = {**dict.fromkeys(KEY, False), **policy.directions, "place": False}
    ordered = units.sort(list(directions), descending=list(directions.values()), nulls_last=True)
    rest = [name for name in units.columns if name not in (*KEY, "count")]
    return ordered.group_by(KEY, maintain_order=True).agg(pl.col("count").sum(), pl.col(rest).first())


def _cut(stage: Paragraphs, table: Table, artifact: Artifact, paths: Sequence[str], shard: Shard) -> dict[str, Any]:
    """Write the shard without the repeats."""
    import polars as pl

    from curate.text.spans import merge

    found, spans = _units(stage, table, shard)
    position = table.shards.index(shard)
    repeats = found.join(pl.DataFrame(read_partition(paths, position)), on=KEY, how="inner", maintain_order="left")
    stays = (pl.col("keeper") == position) & (pl.col("stays") == pl.col("place")) & (stage.keep == "first")
    gone = repeats.filter(~stays)["place"].to_numpy()
    return write_without(table, artifact, Spans(*merge(*spans[:, gone])), shard) | {"units": len(gone)}
