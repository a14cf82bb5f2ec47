"""The exchange (shuffle): rows with the same key meet in one task. All communication is through files.

Each mapper writes one Arrow IPC file, in which record batch p holds its rows of partition p. Reducer p reads batch p of
every mapper. The footer of a file gives random access, so M mappers and R reducers need M files instead of M x R. Only
keys and small columns are exchanged, not whole texts.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate import storage

ROWS_PER_PARTITION = 1 << 20  # 16 MB of (key, row) pairs, which bounds the memory of a reducer
MAX_PARTITIONS = 2048


def partition_count(rows: int) -> int:
    """Choose the number of partitions. It depends only on the number of rows, so output does not depend on workers.

    Examples
    --------
    >>> partition_count(1000), partition_count(100_000_000), partition_count(10**12)
    (1, 96, 2048)
    """
    return int(min(max(-(-rows // ROWS_PER_PARTITION), 1), MAX_PARTITIONS))


def partition_of(keys: NDArray[np.uint64], partitions: int) -> NDArray[np.int64]:
    """Return the partition of each 64-bit key. Partition p holds a range of keys, all below those of partition p + 1.

    Examples
    --------
    >>> partition_of(np.array([0, 2**63, 2**64 - 1], np.uint64), 4).tolist()
    [0, 2, 3]
    """
    return (((keys >> np.uint64(32)) * np.uint64(partitions)) >> np.uint64(32)).astype(np.int64)


def write_partitions(path: str, table: pa.Table, partition: NDArray[np.int64], partitions: int) -> None:
    """Write rows by partition: record batch p of the file holds the rows of partition p, in their given order.

    Parameters
    ----------
    path
        Arrow IPC file to write. It appears when it is complete.
    table
        Rows to write.
    partition
        Partition of each row, shape (rows,).
    partitions
        Number of partitions. An empty partition is written as an empty batch.
    """
    order = np.argsort(partition, kind="stable")
    bounds = np.searchsorted(partition[order], np.arange(partitions + 1))
    options = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)
    with storage.replacing(path) as file, pa.ipc.new_file(file, table.schema, options=options) as writer:
        for first, last in pairwise(bounds.tolist()):
            # Taking one partition at a time avoids a second copy of the table, which would double a mapper's memory.
            batches = table.take(pa.array(order[first:last])).combine_chunks().to_batches()
            writer.write_batch(batches[0] if batches else _empty(table.schema))


def read_partition(paths: Sequence[str], partition: int) -> pa.Table:
    """Read partition `partition` of every mapper's file, in the order of `paths`."""
    batches = []
    for path in paths:
        source = pa.memory_map(path) if storage.is_local(path) else storage.open_input(path)
        with source, pa.ipc.open_file(source) as reader:
            batches.append(reader.get_batch(partition))
    return pa.Table.from_batches(batches)


def _empty(schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array([], f.type) for f in schema], schema=schema)
