"""Repeated spans of at least N bytes, within and across documents: all copies but the first are cut out.

What ExactSubstr does with a suffix array over all text (Lee et al. 2022, "Deduplicating training data makes language
models better", arXiv 2107.06499, section 4.1), here without one: anchors bring equal windows together (see
`curate.dedup.substrings`), so that only hashes travel, and text only around anchors that repeat.
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
from curate.dedup.manifest import SubstringBody
from curate.dedup.repeats import RepeatCutting
from curate.dedup.survivors import ranking
from curate.engine.context import EXCHANGE
from curate.engine.exchange import partition_count, partition_of, read_partition, write_partitions
from curate.rewrite import Spans, account, write_without
from curate.stage import Stage
from curate.table import Table

if TYPE_CHECKING:
    import polars as pl

    from curate.engine.context import Context
    from curate.text.batch import TextBatch

BYTES_PER_ROW = 16  # of the rows that `partition_count` counts
ANCHOR = pa.schema(
    [("row", pa.int64()), ("position", pa.int64()), ("key", pa.uint64()), ("stride", pa.int64()), ("times", pa.int64())]
)
RANGE = pa.schema(
    [
        ("group", pa.int32()),
        ("before_from", pa.int64()),
        ("before_to", pa.int64()),
        ("first_id", pa.binary(16)),
        ("first_position", pa.int64()),
    ]
)


class Substring(RepeatCutting, Stage):
    """Cut out bytes that are covered by a window of `min_bytes` bytes that stood before, and make a new table.

    Before means in a document that comes first in the order of `priority`, `prefer` and the ids, or further up in the
    same document and not overlapping. Documents of which nothing is left are dropped. Characters are not cut in two,
    nor letters from their marks, so that text stays in NFC. What was cut is recorded in ``removed``, by document and
    byte.

    Examples
    --------
    >>> Substring(min_bytes=300, within="source").requires()[-2:]
    ('date', 'meta')
    """

    stage: Literal["substring"] = "substring"
    version: ClassVar[int] = 2
    makes_table: ClassVar[bool] = True

    min_bytes: int = Field(default=500, ge=8, le=100_000, description="length from which on a repeated span is cut")

    def run(self, ctx: "Context") -> SubstringBody:
        """Anchors that repeat, windows around them, and the cut."""
        from curate.dedup.substrings import reach

        shards = len(ctx.table.shards)
        folder = f"{ctx.path}/{EXCHANGE}"
        text_bytes = sum(shard.text_bytes for shard in ctx.table.shards)
        partitions = partition_count(4 * text_bytes // self.min_bytes)
        repeated = [f"{folder}/repeated/{partition:05d}.arrow" for partition in range(partitions)]
        send = partial(_send_anchors, self, ctx.table, folder, partitions)
        counted = ctx.exchange("anchors", send, partial(_repeated, repeated, shards), partitions)
        anchors = sum(result["anchors"] for result in counted)
        partitions = partition_count(anchors * (2 * reach(self.min_bytes) + 60) // BYTES_PER_ROW)
        ranges = [f"{folder}/ranges/{partition:05d}.arrow" for partition in range(partitions)]
        send = partial(_send_surroundings, self, ctx.table, folder, repeated, partitions)
        ctx.exchange("windows", send, partial(_windows, self, ranges, shards), partitions)
        written = ctx.map_shards(partial(_cut, self, ctx.table, ctx.artifact, folder, ranges))
        storage.remove_tree(folder)
        return {**account(ctx.table.shards, written), "repeated_anchors": anchors}


def _whole(table: Table, shard: Shard) -> "TextBatch":
    from curate.text.batch import TextBatch

    return TextBatch(table.read(shard, ["text"]).column(0).combine_chunks())


def _write_local(folder: str, kind: str, shard: Shard, table: pa.Table) -> None:
    """Keep a table for a later phase of the same shard."""
    write_partitions(f"{folder}/local/{kind}-{shard.name}.arrow", table, np.zeros(len(table), np.int64), 1)


def _read_local(folder: str, kind: str, shard: Shard) -> pa.Table:
    return read_partition([f"{folder}/local/{kind}-{shard.name}.arrow"], 0)


def _send_anchors(
    stage: Substring, table: Table, folder: str, partitions: int, shard: Shard, path: str
) -> dict[str, Any]:
    """Note the shard's anchors, and send their keys."""
    from curate.dedup.substrings import anchors
    from curate.text.batch import TextBatch
    from curate.text.words import mix64

    scopes = mix64(scope.scope_hashes(stage.within, table, shard))
    noted, first = [ANCHOR.empty_table()], 0
    for batch in table.batches(shard, ["text"]):
        text = TextBatch(batch.column(0))
        found = anchors(text.data, text.offsets, stage.min_bytes)
        # Anchors are those with the smallest mix64(key): mixed once only, nearly all would be in the first partition.
        keys = mix64(mix64(found.key) ^ scopes[first + found.document])
        columns = [first + found.document, found.position, keys, found.stride, found.times]
        noted.append(pa.table(columns, schema=ANCHOR))
        first += len(text)
    all_noted = pa.concat_tables(noted)
    _write_local(folder, "anchors", shard, all_noted)
    key = all_noted["key"].to_numpy()
    distinct, inverse = np.unique(key, return_inverse=True)
    counts = np.bincount(inverse, weights=all_noted["times"].to_numpy()).astype(np.int64)
    sent = pa.table({"key": distinct, "count": counts, "shard": np.full(len(distinct), table.shards.index(shard))})
    write_partitions(path, sent, partition_of(distinct, partitions), partitions)
    return {"anchors": len(key)}


def _repeated(paths: Sequence[str], shards: int, partition: int, received: pa.Table) -> dict[str, Any]:
    """Tell the shards which of their keys stand more than once."""
    key, count, shard = (received[name].to_numpy() for name in ("key", "count", "shard"))
    distinct, inverse = np.unique(key, return_inverse=True)
    again = np.bincount(inverse, weights=count, minlength=len(distinct))[inverse] > 1
    write_partitions(paths[partition], pa.table({"key": key[again]}), shard[again], shards)
    return {"anchors": int(count[again].sum())}


def _send_surroundings(
    stage: Substring, table: Table, folder: str, repeated: Sequence[str], partitions: int, shard: Shard, path: str
) -> dict[str, Any]:
    """Send the text around anchors that repeat: once for all in the shard that have the same."""
    import polars as pl

    from curate.dedup.substrings import gram_length, surroundings, text_around
    from curate.text.spans import merge

    window, gram, number = stage.min_bytes, gram_length(stage.min_bytes), table.shards.index(shard)
    noted = _read_local(folder, "anchors", shard)
    key = noted["key"].to_numpy()
    noted = noted.filter(pa.array(np.isin(key, read_partition(repeated, number)["key"].to_numpy())))
    row, at = noted["row"].to_numpy(), noted["position"].to_numpy()
    text = _whole(table, shard) if len(row) else None
    offsets = text.offsets if text else np.zeros(1, np.int64)
    data = text.data if text else np.zeros(0, np.uint8)
    before, after, content = surroundings(data, offsets, row, at, window)
    anchors = pl.concat(
        [
            pl.DataFrame(noted),
            pl.DataFrame({"content": content, "before": before, "after": after}),
            ranking(table, stage.policy, shard)[row],
        ],
        how="horizontal",
    )
    order = {"key": False, "content": False, **stage.policy.directions, "position": False}
    anchors = anchors.sort(list(order), descending=list(order.values()), nulls_last=True)
    group = anchors.select(pl.struct("key", "content").rle_id()).to_series().to_numpy().astype(np.int32)
    best = np.flatnonzero(np.diff(group, prepend=np.int32(-1)))
    anchors = anchors.with_columns(group=group)
    # What overlaps with the group's best may overlap with where its windows stood first; all others are copies whole.
    near = (pl.col("row") == pl.col("row").gather(best[group])) & (
        pl.col("position") < pl.col("position").gather(best[group]) + window
    )
    copies = anchors.filter(~near).select(
        "row",
        start=pl.col("position") - pl.col("before"),
        end=pl.col("position") + (pl.col("times") - 1) * pl.col("stride") + gram + pl.col("after"),
    )
    merged = merge(*(copies[name].to_numpy() for name in copies.columns))
    _write_local(folder, "copies", shard, pa.table(list(merged), names=copies.columns))
    near_best = anchors.filter(near).select("row", "position", "stride", "times", "group")
    _write_local(folder, "near", shard, near_best.to_arrow())
    sent = anchors[best].with_columns(shard=pl.lit(number, pl.Int32))
    start = offsets[sent["row"].to_numpy()] + sent["position"].to_numpy()
    around, bounds = text_around(data, start, sent["before"].to_numpy(), sent["after"].to_numpy(), window)
    column = pa.LargeBinaryArray.from_buffers(
        pa.large_binary(), len(sent), [None, *map(pa.py_buffer, (bounds, around))]
    )
    travelling = sent.drop("content", "row", "stride", "times").to_arrow().append_column("around", column)
    write_partitions(path, travelling, partition_of(sent["key"].to_numpy(), partitions), partitions)
    return {"anchors": len(row), "sent": len(best)}


def _windows(stage: Substring, paths: Sequence[str], shards: int, partition: int, received: pa.Table) -> dict[str, Any]:
    """Tell the shards which windows around their anchors stood where first."""
    import polars as pl

    from curate.dedup.substrings import first_windows

    order = {"key": False, **stage.policy.directions, "position": False}
    anchors = pl.DataFrame(received.drop_columns("around")).with_row_index("sent")
    anchors = anchors.sort(list(order), descending=list(order.values()), nulls_last=True)
    around = received["around"].combine_chunks().take(pa.array(anchors["sent"].to_numpy()))
    buffers = around.buffers()
    starts = np.frombuffer(buffers[1] or bytes(8), np.int64)[: len(around)]
    data = np.frombuffer(buffers[2] or b"", np.uint8)
    key = anchors["key"].to_numpy()
    key_starts = np.append(np.flatnonzero(np.diff(key, prepend=~key[:1])), len(key))
    found = first_windows(
        key_starts, data, starts, anchors["before"].to_numpy(), anchors["after"].to_numpy(), stage.min_bytes
    )
    first = anchors.select(first_id="id", first_position="position")[found.first]
    ranges = anchors.select("group", "shard")[found.anchor].with_columns(
        first, before_from=found.before_from, before_to=found.before_to
    )
    table = ranges.select(RANGE.names).to_arrow().cast(RANGE)
    write_partitions(paths[partition], table, ranges["shard"].to_numpy().astype(np.int64), shards)
    return {"ranges": len(ranges)}


def _cut(
    stage: Substring, table: Table, artifact: Artifact, folder: str, ranges: Sequence[str], shard: Shard
) -> dict[str, Any]:
    """Write the shard without what stood before."""
    return write_without(table, artifact, Spans(*_spans(stage, table, folder, ranges, shard)), shard)


def _spans(
    stage: Substring, table: Table, folder: str, ranges: Sequence[str], shard: Shard
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """The bytes that are covered by windows that stood before."""
    import polars as pl

    from curate.dedup.substrings import before_marks
    from curate.text.spans import merge, whole_characters

    copies = pl.DataFrame(_read_local(folder, "copies", shard))
    near = pl.DataFrame(_read_local(folder, "near", shard))
    if copies.is_empty() and near.is_empty():
        return merge(*np.zeros((3, 0), np.int64))
    ids = pl.DataFrame(table.read(shard, ["id"])).with_row_index("row").with_columns(pl.col("row").cast(pl.Int64))
    found = (
        near.join(pl.DataFrame(read_partition(ranges, table.shards.index(shard))), on="group", how="inner")
        .join(ids, on="row", how="left")
        .with_columns(apart=pl.col("position") - pl.col("first_position") - stage.min_bytes)
        # Of anchors at one distance, those that overlap with the first in the same document are passed over.
        .with_columns(passed=pl.when(pl.col("first_id") == pl.col("id")).then(_steps("apart", "stride")).otherwise(0))
        .filter(pl.col("passed") < pl.col("times"))
        .select(
            "row",
            start=pl.col("position") + pl.col("passed") * pl.col("stride") - pl.col("before_to"),
            end=pl.col("position") + (pl.col("times") - 1) * pl.col("stride") - pl.col("before_from") + stage.min_bytes,
        )
    )
    row, start, end = merge(*(pl.concat([copies, found])[name].to_numpy() for name in copies.columns))
    text = _whole(table, shard)
    base = text.offsets[row]
    start, end = whole_characters(text.data, base + start, base + end)
    end = before_marks(text.data, start, end, text.offsets[row + 1])
    return merge(row, start - base, end - base)


def _steps(lacking: str, stride: str) -> "pl.Expr":
    """Strides until a distance that is negative is 0 or more; one, if there is no stride."""
    import polars as pl

    lack = (-pl.col(lacking)).clip(lower_bound=0)
    step = pl.col(stride).clip(lower_bound=1)
    return pl.when(pl.col(stride) > 0).then((lack + step - 1) // step).otherwise((lack > 0).cast(pl.Int64))
