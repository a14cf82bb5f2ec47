"""New tables of documents: shards and flow of any, and those that lack some spans of text."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, TypedDict

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate.artifact import Artifact, Shard, TableBody, by_source
from curate.table import DOCUMENT, DocumentWriter, ParquetWriter, Table

REMOVED = pa.schema(
    [
        pa.field("id", pa.binary(16), nullable=False),
        pa.field("start", pa.int64(), nullable=False),
        pa.field("end", pa.int64(), nullable=False),
    ]
)
"""Spans of bytes of the old text that the new one lacks."""


LOST = pa.schema(
    [
        pa.field("id", pa.binary(16), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("detail", pa.string(), nullable=False),
    ]
)
"""Documents that a new table lacks, and why: those of the folders ``dropped`` and ``quarantine`` beside its parts."""
DROPPED_FOLDER, QUARANTINE_FOLDER = "dropped", "quarantine"


class RemovedCounts(TypedDict):
    """Documents and bytes of a source before; spans and bytes cut out, documents touched, and those left empty."""

    documents_in: int
    bytes_in: int
    spans: int
    bytes: int
    touched: int
    emptied: int


class RewriteBody(TableBody):
    """Body of a stage that cuts text out: what was removed, by source."""

    removed: dict[str, RemovedCounts]


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


def new_table(
    shards: Sequence[Shard],
    entries: Sequence[Mapping[str, Any]],
    dropped: Sequence[Mapping[str, int]],
    quarantined: Sequence[Mapping[str, int]] | None = None,
) -> TableBody:
    """``shards`` and ``flow`` of a table whose shards are rewritten ones of another table.

    Parameters
    ----------
    shards
        The old ones.
    entries
        Of each, what `curate.table.DocumentWriter.entry` says of the new one, other counts aside.
    dropped
        Of each, how many documents were left out, by reason.
    quarantined
        Of each, how many documents were set aside because of an error, by reason; none unless given.

    Examples
    --------
    >>> old = Shard("a", 3, 90, "web", 0, "6b")
    >>> made = new_table([old], [{"rows": 2, "text_bytes": 70, "id_checksum": "1f"}], [{"emptied": 1}])
    >>> made["flow"], made["shards"][0]["text_bytes"]
    ({'web': {'in': 3, 'kept': 2, 'dropped': {'emptied': 1}, 'quarantined': {}}}, 70)
    """
    fresh, row = [], 0
    for shard, entry in zip(shards, entries, strict=True):
        new = {name: entry[name] for name in ("rows", "text_bytes", "id_checksum")}
        fresh.append(asdict(shard) | new | {"first_row": row})
        row += new["rows"]
    flow = (
        {"in": shard.rows, "kept": entry["rows"], "dropped": lost, "quarantined": failed}
        for shard, entry, lost, failed in zip(shards, entries, dropped, quarantined or [{}] * len(shards), strict=True)
    )
    return {"shards": fresh, "flow": by_source(shards, flow)}


def write_without(table: Table, artifact: Artifact, spans: Spans, shard: Shard) -> dict[str, Any]:
    """Write a shard without `spans`, and beside it, in ``removed``, which they were.

    A document that is left without anything but white space is dropped.

    Returns
    -------
    dict
        The new shard's entry; ``spans``, ``bytes`` (what went of documents that are kept and dropped), ``touched`` and
        ``emptied`` documents.
    """
    from curate.text.batch import TextBatch, string_array
    from curate.text.spans import cut

    counts, first = {"spans": 0, "bytes": 0, "touched": 0, "emptied": 0}, 0
    part, removed = artifact.part(shard.name), f"{artifact.path}/removed/part-{shard.name}.parquet"
    with DocumentWriter(part) as writer, ParquetWriter(removed, REMOVED) as record:
        for batch in table.batches(shard, DOCUMENT.names):
            rows, starts, ends = spans.of(first, batch.num_rows)
            first += batch.num_rows
            if len(rows):
                record.write(pa.table([batch.column("id").take(pa.array(rows)), starts, ends], schema=REMOVED))
                text = TextBatch(batch.column("text"))
                data, offsets = cut(text.data, text.offsets, rows, starts, ends)
                fresh = string_array(data, offsets)
                batch = batch.set_column(DOCUMENT.names.index("text"), DOCUMENT.field("text"), fresh)
                touched = np.unique(rows)
                emptied = touched[np.diff(offsets)[touched] == 0]
                counts["spans"] += len(rows)
                counts["bytes"] += int(text.offsets[-1] - text.offsets[0] - offsets[-1])
                counts["touched"] += len(touched)
                counts["emptied"] += len(emptied)
                batch = batch.take(pa.array(np.setdiff1d(np.arange(len(text)), emptied)))
            writer.write(batch)
    return writer.entry() | counts


def account(shards: Sequence[Shard], results: Sequence[dict[str, Any]]) -> RewriteBody:
    """The manifest of a table made by `write_without`: shards, ``flow``, and what was removed per source."""
    removed = (
        {name: result[name] for name in ("spans", "bytes", "touched", "emptied")}
        | {"bytes_in": shard.text_bytes, "documents_in": shard.rows}
        for shard, result in zip(shards, results, strict=True)
    )
    dropped = [{"emptied": result["emptied"]} for result in results]
    return {**new_table(shards, results, dropped), "removed": by_source(shards, removed)}
