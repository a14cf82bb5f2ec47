"""Stages that find duplicates, run with the annotators that they bring with them."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from curate.artifact import Artifact
from curate.engine.base import Engine
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
