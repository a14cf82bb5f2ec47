"""The shuffle: rows that belong together meet in one task, through files alone.

Each mapper writes one Arrow IPC file whose record batch p is its share of partition p; reducer p reads batch p of
every mapper. The files' footers give random access, so M mappers and R reducers need M files, not M x R. Only keys and
row numbers travel, never text.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate import storage

ROWS_PER_PARTITION = 1 << 20  # 16 MB of (key, row) pairs: a reducer's memory
MAX_PARTITIONS = 2048


def partition_count(rows: int) -> int:
    """Number of partitions for `rows` rows; it depends on the data alone, so that any worker count gives equal files.

    Examples
    --------
    >>> partition_count(1000), partition_count(100_000_000), partition_count(10**12)
    (1, 96, 2048)
    """
    return int(min(max(-(-rows // ROWS_PER_PARTITION), 1), MAX_PARTITIONS))


def partition_of(keys: NDArray[np.uint64], partitions: int) -> NDArray[np.int64]:
    """Partition of each 64-bit key by its high bits: partition p holds a range of keys, below those of p + 1.

    Examples
    --------
    >>> partition_of(np.array([0, 2**63, 2**64 - 1], np.uint64), 4).tolist()
    [0, 2, 3]
    """
    return (((keys >> np.uint64(32)) * np.uint64(partitions)) >> np.uint64(32)).astype(np.int64)


def write_partitions(path: str, table: pa.Table, partition: NDArray[np.int64], partitions: int) -> None:
    """Write `table` so that record batch p of the file holds the rows whose `partition` is p, in their given order.

    Parameters
    ----------
    path
        Arrow IPC file to write; it appears whole or not at all.
    table
        Rows to send.
    partition
        Partition of each row, shape (rows,).
    partitions
        Number of partitions; empty ones are written as empty batches.
    """
    order = np.argsort(partition, kind="stable")
    bounds = np.searchsorted(partition[order], np.arange(partitions + 1))
    options = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)
    with storage.replacing(path) as file, pa.ipc.new_file(file, table.schema, options=options) as writer:
        for first, last in pairwise(bounds.tolist()):
            # One partition at a time: a second copy of the whole table would double a mapper's memory.
            batches = table.take(pa.array(order[first:last])).combine_chunks().to_batches()
            writer.write_batch(batches[0] if batches else _empty(table.schema))


def read_partition(paths: Sequence[str], partition: int) -> pa.Table:
    """Partition `partition` of every mapper's file, in the order of `paths`."""
    batches = []
    for path in paths:
        source = pa.memory_map(path) if storage.is_local(path) else storage.open_input(path)
        with source, pa.ipc.open_file(source) as reader:
            batches.append(reader.get_batch(partition))
    return pa.Table.from_batches(batches)


def _empty(schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array([], f.type) for f in schema], schema=schema)
