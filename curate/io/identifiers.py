"""Unique ids: documents whose source id occurs earlier get a new id.

An exchange brings equal ids of all shards together by their high bits (16 bytes and a row number each, no text). A new
id depends on the number of equal ids before it in row order, and not on the current content of the shard. So rewriting
a shard twice gives the same result as rewriting it once.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from curate import storage
from curate.artifact import Shard
from curate.engine.context import EXCHANGE, Context
from curate.engine.exchange import partition_count, partition_of, read_partition, write_partitions
from curate.io.records import document_id
from curate.table import DOCUMENT, ParquetWriter, id_checksum, read_part

_IDS, _REPEATS = f"{EXCHANGE}/ids", f"{EXCHANGE}/repeats"


def unique_ids(ctx: Context, shards: Sequence[Shard]) -> tuple[list[Shard], int]:
    """Give a new, unique id to each document whose id occurs earlier. Only shards with such documents are rewritten.

    Parameters
    ----------
    ctx
        Context of the stage that wrote the shards.
    shards
        The shards, in row order.

    Returns
    -------
    tuple
        The shards with their final checksums of ids, and the number of documents with a new id.
    """
    if not shards:
        return [], 0
    first_rows = np.array([shard.first_row for shard in shards], np.int64)
    partitions = partition_count(sum(shard.rows for shard in shards))
    keys = [f"{partition:05d}" for partition in range(partitions)]
    names = [shard.name for shard in shards]
    ctx.map(partial(_send_ids, ctx.path, partitions), shards, phase="ids")
    task = partial(_find_repeats, ctx.path, names, first_rows)
    results = ctx.map(task, range(partitions), phase="repeats", keys=keys)
    affected = sorted({index for result in results for index in result["shards"]})
    repeating = [key for key, result in zip(keys, results, strict=True) if result["repeats"]]
    sent = [f"{ctx.path}/{_REPEATS}/{key}.arrow" for key in repeating]
    items = [(index, names[index]) for index in affected]
    checksums = ctx.map(partial(_rewrite_ids, ctx.path, sent), items, phase="unique", keys=[name for _, name in items])
    storage.remove_tree(f"{ctx.path}/{EXCHANGE}")
    unique = list(shards)
    for index, result in zip(affected, checksums, strict=True):
        unique[index] = replace(unique[index], id_checksum=result["id_checksum"])
    return unique, sum(result["repeats"] for result in results)


def _send_ids(path: str, partitions: int, shard: Shard) -> dict[str, Any]:
    ids = read_part(f"{path}/part-{shard.name}.parquet", ["id"]).column("id").combine_chunks()
    halves = np.frombuffer(ids.buffers()[1], ">u8").reshape(-1, 2).astype(np.uint64)
    rows = np.arange(shard.first_row, shard.first_row + shard.rows)
    table = pa.table({"high": halves[:, 0], "low": halves[:, 1], "row": rows})
    write_partitions(f"{path}/{_IDS}/{shard.name}.arrow", table, partition_of(halves[:, 0], partitions), partitions)
    return {"rows": shard.rows}


def _find_repeats(path: str, names: Sequence[str], first_rows: NDArray[np.int64], partition: int) -> dict[str, Any]:
    """Find the rows whose id occurs earlier, count how often it does, and send both to the shards of these rows."""
    table = read_partition([f"{path}/{_IDS}/{name}.arrow" for name in names], partition)
    high, low, row = (table.column(name).to_numpy() for name in ("high", "low", "row"))
    order = np.lexsort((low, high))  # stable, so equal ids stay in row order
    high, low, row = high[order], low[order], row[order]
    position = np.arange(len(row))
    begins = np.ones(len(row), bool)
    begins[1:] = (high[1:] != high[:-1]) | (low[1:] != low[:-1])
    occurrence = position - np.maximum.accumulate(np.where(begins, position, 0))
    row, occurrence = row[occurrence > 0], occurrence[occurrence > 0]
    shard = np.searchsorted(first_rows, row, side="right") - 1
    if len(row):
        repeats = pa.table({"index": row - first_rows[shard], "occurrence": occurrence})
        write_partitions(f"{path}/{_REPEATS}/{partition:05d}.arrow", repeats, shard, len(names))
    return {"repeats": len(row), "shards": np.unique(shard).tolist()}


def _rewrite_ids(path: str, sent: Sequence[str], item: tuple[int, str]) -> dict[str, Any]:
    """Replace the ids of repeats in one shard."""
    position, name = item
    repeats = read_partition(sent, position)
    occurrence = dict(zip(repeats.column("index").to_pylist(), repeats.column("occurrence").to_pylist(), strict=True))
    part = f"{path}/part-{name}.parquet"
    ids, row = [], 0
    with pq.ParquetFile(storage.open_input(part)) as file, ParquetWriter(part, DOCUMENT) as writer:
        for group in range(file.num_row_groups):
            table = file.read_row_group(group, use_threads=False)
            keys = table.select(["id", "source", "source_id"]).to_pylist()
            for index, key in enumerate(keys):
                if row + index in occurrence:
                    key["id"] = document_id(key["source"], key["source_id"], occurrence[row + index])
            ids.append(pa.array([key["id"] for key in keys], pa.binary(16)))
            writer.write(table.set_column(0, DOCUMENT.field("id"), ids[-1]))
            row += len(keys)
    return {"id_checksum": id_checksum(pa.chunked_array(ids))}
