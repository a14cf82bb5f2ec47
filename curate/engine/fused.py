"""One pass over the text for all annotators that are ready: the text is read, cut into words and hashed once."""

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import Any

import pyarrow as pa

from curate.artifact import Artifact, Shard, all_kept, receipts_folder, write_receipt
from curate.engine.base import Engine, Failed
from curate.engine.context import Clock, Context, finished, task_error
from curate.errors import RunError
from curate.progress import track
from curate.stage import Annotate, Annotator
from curate.table import ParquetWriter, Table, as_batch

Member = tuple[Annotator, Artifact]
"""An annotator and the artifact that it fills."""

_LOADED: dict[tuple[str, str, str], tuple[str, Annotate]] = {}


def annotate(
    members: Sequence[Member], table: Table, engine: Engine, inputs: Mapping[str, Artifact] | None = None
) -> list[dict[str, Any]]:
    """Run all `members` in one pass over each shard of `table`, skipping what has a receipt.

    Parameters
    ----------
    members
        Annotators and where they write.
    table
        The documents, with the columns that the members require.
    engine
        Runs tasks.
    inputs
        Artifacts of the stages that members reference, by name; what `Annotator.prepare` finds in its context.

    Returns
    -------
    list of dict
        The manifest body of each member: its flow per source, and what it concludes.

    Raises
    ------
    RunError
        A shard failed, or an annotator broke its promise (columns, types or rows).
    """
    contexts = [
        Context(artifact, table, engine, {name: (inputs or {})[name] for name in stage.references()})
        for stage, artifact in members
    ]
    for (stage, _), context in zip(members, contexts, strict=True):
        stage.prepare(context)
    keys = [shard.name for shard in table.shards]
    done = [dict(finished(receipts_folder(artifact.path), keys)) for _, artifact in members]
    items = []
    for shard in table.shards:
        lacking = tuple(position for position in range(len(members)) if shard.name not in done[position])
        if lacking:
            items.append((shard, lacking))
    label = " + ".join(artifact.name for _, artifact in members)
    outcomes = engine.map(partial(_annotate_shard, tuple(members), table), items)
    for outcome in track(outcomes, len(table.shards), label, done=len(table.shards) - len(items)):
        if isinstance(outcome, Failed):
            raise task_error(label, items[outcome.index][0].name, outcome)
    flow = all_kept(table.shards)
    return [{"flow": flow, **stage.conclude(context)} for (stage, _), context in zip(members, contexts, strict=True)]


def _loaded(stage: Annotator, artifact: Artifact) -> Annotate:
    """The annotator's function, loaded once per worker process; per artifact, if something was prepared for it.

    It is loaded again for another fingerprint: what a file of its holds may have changed since, and inline tasks run in
    a process that outlives the run.
    """
    prepared = type(stage).load_prepared is not Annotator.load_prepared
    key = (stage.stage, stage.model_dump_json(), artifact.path if prepared else "")
    fingerprint, function = _LOADED.get(key, ("", None))
    if function is None or fingerprint != artifact.fingerprint:
        function = stage.load_prepared(artifact.path)
        _LOADED[key] = artifact.fingerprint, function
    return function


def _annotate_shard(members: Sequence[Member], table: Table, item: tuple[Shard, tuple[int, ...]]) -> dict[str, Any]:
    """Annotate one shard with those of `members` that lack it; each gets a part and then a receipt."""
    from curate.text.batch import TextBatch

    shard, lacking = item
    chosen = [members[position] for position in lacking]
    functions = [_loaded(stage, artifact) for stage, artifact in chosen]
    needed = [name for name in dict.fromkeys(n for stage, _ in chosen for n in stage.requires()) if name != "text"]
    clocks = [Clock() for _ in chosen]
    spent = [(0.0, 0.0)] * len(chosen)  # wall and processor seconds
    with ExitStack() as stack:
        writers = [
            stack.enter_context(ParquetWriter(artifact.part(shard.name), stage.columns())) for stage, artifact in chosen
        ]
        for batch in table.batches(shard, ["text", *needed]):
            text = TextBatch(batch.column("text"))
            for position, ((stage, artifact), function) in enumerate(zip(chosen, functions, strict=True)):
                start = time.perf_counter(), time.process_time()
                columns = as_batch(pa.table(batch).select([n for n in stage.requires() if n != "text"]))
                out = function(text, columns)
                if out.schema != stage.columns() or out.num_rows != len(text):
                    raise RunError(
                        f"{artifact.name} promised {stage.columns()} for {len(text)} rows, gave {out.schema}"
                    )
                writers[position].write(out)
                wall, cpu = spent[position]
                spent[position] = wall + time.perf_counter() - start[0], cpu + time.process_time() - start[1]
    if any(writer.rows != shard.rows for writer in writers):
        raise RunError(f"{table.documents.part(shard.name)} does not have the {shard.rows} rows that its manifest says")
    for (_, artifact), clock, (wall, cpu) in zip(chosen, clocks, spent, strict=True):
        receipt = clock.receipt(shard.name, {"rows": shard.rows})
        # A member's own time; what the pass spent on reading and on the shared segmentation falls to who asked first.
        receipt = replace(receipt, seconds=round(wall, 3), cpu_seconds=round(cpu, 3))
        write_receipt(receipts_folder(artifact.path), receipt)
    return {"rows": shard.rows}
