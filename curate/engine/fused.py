"""One pass over the text for all annotators that are ready: it reads, segments and hashes the text once."""

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import Any, cast

import pyarrow as pa

from curate.artifact import Artifact, Body, Shard, all_kept, receipts_folder, write_receipt
from curate.engine.base import Engine, Failed
from curate.engine.context import Clock, Context, finished, task_error
from curate.errors import RunError
from curate.progress import track
from curate.stage import Annotate, Annotator
from curate.table import ParquetWriter, Table, as_batch

Member = tuple[Annotator, Artifact]
"""An annotator and the artifact to which it writes."""

_LOADED: dict[tuple[str, str, str], tuple[str, Annotate]] = {}


def annotate(
    members: Sequence[Member], table: Table, engine: Engine, inputs: Mapping[str, Artifact] | None = None
) -> list[Body]:
    """Run annotators in one pass over each shard of a table. Shards that have a receipt are skipped.

    Parameters
    ----------
    members
        Annotators and their artifacts.
    table
        Documents, with the columns that the annotators require.
    engine
        Engine that runs the tasks.
    inputs
        Artifacts of the stages that the annotators reference, by name; passed to `Annotator.prepare` in its context.

    Returns
    -------
    list of dict
        Manifest body of each annotator: its flow per source, and the result of `Annotator.conclude`.

    Raises
    ------
    RunError
        If a shard fails, or an annotator does not return the promised columns, types or rows.
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
        missing = tuple(position for position in range(len(members)) if shard.name not in done[position])
        if missing:
            items.append((shard, missing))
    label = " + ".join(artifact.name for _, artifact in members)
    outcomes = engine.map(partial(_annotate_shard, tuple(members), table), items)
    for outcome in track(outcomes, len(table.shards), label, done=len(table.shards) - len(items)):
        if isinstance(outcome, Failed):
            raise task_error(label, items[outcome.index][0].name, outcome)
    flow = all_kept(table.shards)
    concluded = (stage.conclude(context) for (stage, _), context in zip(members, contexts, strict=True))
    return [cast(Body, {"flow": flow, **body}) for body in concluded]


def _loaded(stage: Annotator, artifact: Artifact) -> Annotate:
    """Load the annotator's function, once per worker process, or once per artifact if the artifact holds prepared data.

    Another fingerprint loads it again: the files that the function depends on may have changed, and tasks that run
    inline live in a process that outlives the run.
    """
    prepared = type(stage).load_prepared is not Annotator.load_prepared
    key = (stage.stage, stage.model_dump_json(), artifact.path if prepared else "")
    fingerprint, function = _LOADED.get(key, ("", None))
    if function is None or fingerprint != artifact.fingerprint:
        function = stage.load_prepared(artifact.path)
        _LOADED[key] = artifact.fingerprint, function
    return function


def _annotate_shard(members: Sequence[Member], table: Table, item: tuple[Shard, tuple[int, ...]]) -> dict[str, Any]:
    """Annotate one shard with the members that have no receipt for it; write the part of each, then its receipt."""
    from curate.text.batch import TextBatch

    shard, missing = item
    chosen = [members[position] for position in missing]
    functions = [_loaded(stage, artifact) for stage, artifact in chosen]
    needed = [name for name in dict.fromkeys(n for stage, _ in chosen for n in stage.requires()) if name != "text"]
    clocks = [Clock() for _ in chosen]
    spent = [(0.0, 0.0)] * len(chosen)  # wall time and processor time of each member, in seconds
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
                    promised, returned = (str(schema).replace("\n", ", ") for schema in (stage.columns(), out.schema))
                    raise RunError(
                        f"stage {artifact.name!r} promised {len(text)} rows of {promised}, "
                        f"but returned {out.num_rows} rows of {returned}"
                    )
                writers[position].write(out)
                wall, cpu = spent[position]
                spent[position] = wall + time.perf_counter() - start[0], cpu + time.process_time() - start[1]
    if any(writer.rows != shard.rows for writer in writers):
        path = table.documents.part(shard.name)
        raise RunError(f"{path} does not have the {shard.rows} rows that its manifest lists; run its stage again")
    for (_, artifact), clock, (wall, cpu) in zip(chosen, clocks, spent, strict=True):
        receipt = clock.receipt(shard.name, {"rows": shard.rows})
        # The time of the member itself. Reading and shared segmentation count for the member that first needs them.
        receipt = replace(receipt, seconds=round(wall, 3), cpu_seconds=round(cpu, 3))
        write_receipt(receipts_folder(artifact.path), receipt)
    return {"rows": shard.rows}
