"""New text by a Python function of the user's own, without a class: it is given Arrow batches, and returns strings."""

from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypedDict

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.artifact import Artifact, Shard, TableBody, by_source
from curate.errors import RunError
from curate.rewrite import DROPPED_FOLDER, LOST, QUARANTINE_FOLDER, new_table
from curate.table import DOCUMENT, DocumentWriter, ParquetWriter, Table
from curate.user_function import Fault, UserFunction, as_array, by_halves, function_of

if TYPE_CHECKING:
    from curate.engine.context import Context

NO_TEXT, EMPTIED = "no_text", "emptied"
_WHY = {NO_TEXT: "the function returned null", EMPTIED: "the function returned an empty text"}


class RewrittenCounts(TypedDict):
    """Documents of a source, bytes of their text before and after, and documents whose text changed."""

    documents_in: int
    bytes_in: int
    bytes_out: int
    touched: int


class RewrittenBody(TableBody):
    """Body of the manifest: what the function changed, by source."""

    rewritten: dict[str, RewrittenCounts]


class Rewrite(UserFunction):
    """Call a Python function on batches of documents, and make a new table with the texts that it returns.

    The function takes a `pyarrow.RecordBatch` with the column ``text`` and those that `requires` names, and the
    `parameters` by name. It returns an array, a list or a series with one string for each document; null drops the
    document. Texts are brought to Unicode normalization form C, as those that are read. A document that the function
    fails on is listed in ``quarantine``, and one that it drops or leaves empty in ``dropped``.

    Examples
    --------
    >>> Rewrite(python="my.py:shorten", requires=("url",)).inputs
    ('text', 'url')
    """

    stage: Literal["rewrite"] = "rewrite"
    version: ClassVar[int] = 1
    makes_table: ClassVar[bool] = True

    def requires(self) -> tuple[str, ...]:
        """The documents, and what the function is given."""
        return tuple(dict.fromkeys([*DOCUMENT.names, *self.inputs]))

    def run(self, ctx: "Context") -> RewrittenBody:
        """Rewrite each shard; stop if the function has failed on too many documents."""
        shards = ctx.table.shards
        module = self.code.module().__name__  # holds a hash of the files, so that all workers run the same content
        results = ctx.map_shards(partial(_rewrite_shard, self, module, ctx.table, ctx.artifact))
        failed = sum(count for result in results for count in result["quarantined"].values())
        if failed > self.tolerated(ctx.table.rows):
            example = next(result["example"] for result in results if result["example"])
            raise RunError(f"{ctx.artifact.name}: {self.too_many(failed, ctx.table.rows, example)}")
        rewritten = (
            {"documents_in": shard.rows, "bytes_in": shard.text_bytes, "bytes_out": result["text_bytes"]}
            | {"touched": result["touched"]}
            for shard, result in zip(shards, results, strict=True)
        )
        dropped, quarantined = ([result[name] for result in results] for name in ("dropped", "quarantined"))
        return {**new_table(shards, results, dropped, quarantined), "rewritten": by_source(shards, rewritten)}


def _rewrite_shard(stage: Rewrite, module: str, table: Table, artifact: Artifact, shard: Shard) -> dict[str, Any]:
    """Write the shard with the function's texts, and beside it what was dropped and what the function failed on."""
    function = function_of(module, stage.function_name, stage.parameters)
    counts = {DROPPED_FOLDER: Counter[str](), QUARANTINE_FOLDER: Counter[str]()}
    paths = {folder: f"{artifact.path}/{folder}/part-{shard.name}.parquet" for folder in counts}
    touched, example, tolerated = 0, "", stage.tolerated(table.rows)

    def call(batch: pa.RecordBatch) -> pa.Array:
        return as_array(function(batch), pa.large_string(), batch.num_rows, "text")

    with (
        DocumentWriter(artifact.part(shard.name)) as writer,
        ParquetWriter(paths[DROPPED_FOLDER], LOST) as dropped,
        ParquetWriter(paths[QUARANTINE_FOLDER], LOST) as quarantine,
    ):
        for batch in table.batches(shard, stage.requires()):
            documents, old = batch.select(DOCUMENT.names), batch["text"]
            answers = list(by_halves(call, batch.select(list(stage.inputs))))
            texts, faults = _texts(answers)
            lost = _dropped(texts, old, faults)
            for record, folder, reasons in ((dropped, DROPPED_FOLDER, lost), (quarantine, QUARANTINE_FOLDER, faults)):
                record.write(_listed(documents["id"], reasons))
                counts[folder].update(fault.reason for fault in reasons.values())
            if faults and not example:
                example = f"{documents['id'][min(faults)].as_py().hex()}: {faults[min(faults)]}"
            if counts[QUARANTINE_FOLDER].total() > tolerated:
                raise RunError(stage.too_many(counts[QUARANTINE_FOLDER].total(), table.rows, example))
            kept = np.setdiff1d(np.arange(len(texts)), [*lost, *faults])
            fresh = documents.set_column(DOCUMENT.names.index("text"), DOCUMENT.field("text"), texts.fill_null(""))
            writer.write(fresh.take(pa.array(kept)))
            touched += len(texts) - len(faults) - pc.equal(texts, old).true_count  # type: ignore[attr-defined]
    return writer.entry() | {
        "dropped": dict(sorted(counts[DROPPED_FOLDER].items())),
        "quarantined": dict(sorted(counts[QUARANTINE_FOLDER].items())),
        "touched": touched,
        "example": example,
    }


def _texts(answers: list[tuple[int, pa.Array | Fault]]) -> tuple[pa.Array, dict[int, Fault]]:
    """Texts of a batch in normalization form C, null where there is none; and faults by row."""
    arrays, faults, row = [pa.array([], pa.large_string())], {}, 0
    for rows, answer in answers:
        if isinstance(answer, Fault):
            faults[row] = answer
        arrays.append(pa.nulls(1, pa.large_string()) if isinstance(answer, Fault) else answer)
        row += rows
    return pc.utf8_normalize(pa.concat_arrays(arrays), form="NFC"), faults  # type: ignore[attr-defined]


def _dropped(texts: pa.Array, old: pa.Array, faults: dict[int, Fault]) -> dict[int, Fault]:
    """Rows that the function drops, or leaves without any text that they had."""
    sizes, old_sizes = (
        pc.binary_length(array).fill_null(-1).to_numpy(zero_copy_only=False)  # type: ignore[attr-defined]
        for array in (texts, old)
    )
    without = [row for row in np.flatnonzero(sizes < 0).tolist() if row not in faults]
    emptied = np.flatnonzero((sizes == 0) & (old_sizes > 0)).tolist()
    reasons = dict.fromkeys(without, NO_TEXT) | dict.fromkeys(emptied, EMPTIED)
    return {row: Fault(reason, _WHY[reason]) for row, reason in reasons.items()}


def _listed(ids: pa.Array, reasons: dict[int, Fault]) -> pa.RecordBatch:
    """Documents with reasons, by their rows."""
    rows = sorted(reasons)
    return pa.RecordBatch.from_arrays(
        [
            ids.take(pa.array(rows, pa.int64())),
            pa.array([reasons[row].reason for row in rows], pa.string()),
            pa.array([reasons[row].detail for row in rows], pa.string()),
        ],
        schema=LOST,
    )
