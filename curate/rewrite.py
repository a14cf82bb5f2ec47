"""A new table without some spans of text, and an account of what went."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate.artifact import Artifact, Shard, Totals
from curate.table import DOCUMENT, ParquetWriter, Table, id_checksum

REMOVED = pa.schema(
    [
        pa.field("id", pa.binary(16), nullable=False),
        pa.field("start", pa.int64(), nullable=False),
        pa.field("end", pa.int64(), nullable=False),
    ]
)
"""Spans of bytes of the old text that the new one lacks."""


class Spans:
    """Spans to cut out of the documents of a shard.

    Parameters
    ----------
    rows, starts, ends
        From `curate.text.spans.merge`: rows of the shard, and bytes of the document.
    """

    def __init__(self, rows: NDArray[np.int64], starts: NDArray[np.int64], ends: NDArray[np.int64]) -> None:
        self.rows, self.starts, self.ends = rows, starts, ends

    def of(self, first: int, count: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Those of `count` rows from `first` on, whose rows count from there."""
        inside = slice(*np.searchsorted(self.rows, [first, first + count]))
        return self.rows[inside] - first, self.starts[inside], self.ends[inside]


def write_without(table: Table, artifact: Artifact, spans: Spans, shard: Shard) -> dict[str, Any]:
    """Write a shard without `spans`, and beside it, in ``removed``, which they were.

    A document that is left without anything but white space is dropped.

    Returns
    -------
    dict
        ``rows``, ``text_bytes`` and ``id_checksum`` of the new shard; ``spans``, ``bytes`` (what went of documents
        that are kept and dropped), ``touched`` and ``emptied`` documents.
    """
    from curate.text.batch import TextBatch
    from curate.text.spans import cut

    ids, counts, first = [], {"spans": 0, "bytes": 0, "touched": 0, "emptied": 0, "text_bytes": 0}, 0
    part, removed = artifact.part(shard.name), f"{artifact.path}/removed/part-{shard.name}.parquet"
    with ParquetWriter(part, DOCUMENT) as writer, ParquetWriter(removed, REMOVED) as record:
        for batch in table.batches(shard, DOCUMENT.names):
            rows, starts, ends = spans.of(first, batch.num_rows)
            first += batch.num_rows
            if len(rows):
                record.write(pa.table([batch.column("id").take(pa.array(rows)), starts, ends], schema=REMOVED))
                text = TextBatch(batch.column("text"))
                data, offsets = cut(text.data, text.offsets, rows, starts, ends)
                fresh = pa.LargeStringArray.from_buffers(len(text), pa.py_buffer(offsets), pa.py_buffer(data))
                batch = batch.set_column(DOCUMENT.names.index("text"), DOCUMENT.field("text"), fresh)
                touched = np.unique(rows)
                emptied = touched[np.diff(offsets)[touched] == 0]
                counts["spans"] += len(rows)
                counts["bytes"] += int(text.offsets[-1] - text.offsets[0] - offsets[-1])
                counts["touched"] += len(touched)
                counts["emptied"] += len(emptied)
                batch = batch.take(pa.array(np.setdiff1d(np.arange(len(text)), emptied)))
            writer.write(batch)
            ids.append(batch.column("id"))
            text = TextBatch(batch.column("text"))
            counts["text_bytes"] += int(text.offsets[-1] - text.offsets[0])
    return {"rows": writer.rows, "id_checksum": id_checksum(pa.chunked_array(ids, pa.binary(16))), **counts}


def account(shards: Sequence[Shard], results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The manifest of a table made by `write_without`: shards, ``flow``, and what was removed per source."""
    flow, removed = Totals(), Totals()
    fresh, row = [], 0
    for shard, result in zip(shards, results, strict=True):
        emptied = result["emptied"]
        flow.add(
            {
                shard.source: {
                    "in": shard.rows,
                    "kept": result["rows"],
                    "dropped": {"emptied": emptied},
                    "quarantined": {},
                }
            }
        )
        counts = {name: result[name] for name in ("spans", "bytes", "touched", "emptied")}
        removed.add({shard.source: counts | {"bytes_in": shard.text_bytes, "documents_in": shard.rows}})
        kept = {name: result[name] for name in ("rows", "text_bytes", "id_checksum")}
        fresh.append(asdict(shard) | kept | {"first_row": row})
        row += result["rows"]
    return {"shards": fresh, "flow": flow.counts, "removed": removed.counts}
