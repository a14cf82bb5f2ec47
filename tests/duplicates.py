"""Stages that find duplicates, run with the annotators that they bring with them."""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from curate.artifact import Artifact
from curate.engine.base import Done, Engine, Failed
from curate.engine.local import LocalEngine
from curate.stage import Stage
from curate.table import Table
from tests.corpus import run_stage


def annotated(stage: Stage, table: Table, path: Path) -> Table:
    """`table` with the sidecars of the annotators that `stage` brings with it."""
    return Table(table.documents, (*table.sidecars, *(run_stage(helper, table, path) for helper in stage.upstream())))


def find(stage: Stage, table: Table, path: Path, engine: Engine | None = None) -> tuple[Artifact, pl.DataFrame]:
    """Run `stage` and its annotators; its artifact, and its columns beside row, id, source and text."""
    artifact = run_stage(stage, annotated(stage, table, path), path, engine=engine)
    return artifact, frame(Table(table.documents, (artifact,)), ["id", "source", "text", *stage.columns().names])


def frame(table: Table, columns: Sequence[str]) -> pl.DataFrame:
    """Columns of all shards."""
    shards = [pl.DataFrame(table.read(shard, columns)) for shard in table.shards]
    return pl.concat(shards, how="vertical_relaxed").with_row_index("row")


def digests(artifact: Artifact) -> dict[str, str]:
    """SHA-256 of the files that must not differ between equal runs, and the names of all others but receipts."""
    files = [path for path in sorted(Path(artifact.path).rglob("*")) if path.is_file()]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files if "_receipts" not in path.parts}


class FailingEngine:
    """Runs tasks inline, and fails for good in the `limit`-th."""

    slots = 1

    def __init__(self, limit: int) -> None:
        self._left, self._inline = limit, LocalEngine(workers=0)

    def map(self, fn: Any, items: Sequence[Any]) -> Iterator[Done | Failed]:
        for index, item in enumerate(items):
            self._left -= 1
            if self._left < 0:
                yield Failed(index, "the power went", "")
                return
            for outcome in self._inline.map(fn, [item]):
                yield Done(index, outcome.result) if isinstance(outcome, Done) else outcome

    def close(self) -> None:
        pass
