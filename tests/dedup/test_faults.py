"""Deduplication comes to the same bytes when a worker is killed in any of its phases, on either engine."""

import random
from pathlib import Path

import pytest

from curate.engine.base import Engine
from curate.stage import Stage
from curate.stages.exact import Exact
from curate.stages.minhash import MinHash
from curate.stages.paragraphs import Paragraphs
from curate.stages.substring import Substring
from curate.table import Table
from tests.corpus import make_table, run_stage
from tests.duplicates import annotated, digests
from tests.engine.engines import Engines, KillingEngine

STAGES = {
    "minhash": (MinHash(verify="jaccard"), 8),
    "minhash by signature": (MinHash(verify="signature", closure=True), 8),
    "exact": (Exact(), 3),
    "paragraphs": (Paragraphs(name="paragraphs"), 3),
    "substring": (Substring(name="substring", min_bytes=60), 5),
}
"""Stages, and the number of maps that each asks for."""


def corpus(path: Path) -> Table:
    rng = random.Random(1)
    texts = [" ".join(f"w{rng.randrange(900)}" for _ in range(60)) for _ in range(12)]
    texts += [text + "\n\nand the same notice under all of them, whoever wrote what is above" for text in texts]
    return make_table(path / "read", {"web": texts, "books": texts[::3]}, 7)


@pytest.mark.parametrize("engine", ["local", "ray"], indirect=True)
@pytest.mark.parametrize("name", STAGES)
def test_a_worker_killed_in_any_phase_changes_nothing(engine: Engine, name: str, tmp_path: Path) -> None:
    stage, maps = STAGES[name]
    table = corpus(tmp_path)
    full: Table = annotated(stage, table, tmp_path)
    whole = digests(run_stage(stage, full, tmp_path / "whole"))
    for number in range(maps):
        mark = tmp_path / f"killed-{number}"
        killing = KillingEngine(engine, number, mark)
        assert digests(run_stage(stage, full, tmp_path / str(number), engine=killing)) == whole
        assert mark.exists(), f"{name} has no map number {number}"
    last = KillingEngine(engine, maps, tmp_path / "none")
    run_stage(stage, full, tmp_path / "last", engine=last)
    assert not (tmp_path / "none").exists(), f"{name} has more maps than {maps}"


def survivors(stage: Stage, table: Table, path: Path, engine: Engine) -> set[tuple[bytes, bool]]:
    artifact = run_stage(stage, annotated(stage, table, path), path, engine=engine)
    full = Table(table.documents, (artifact,))
    rows = [full.read(shard, ["id", f"{artifact.name}_keep"]) for shard in full.shards]
    return {pair for row in rows for pair in zip(row["id"].to_pylist(), row[1].to_pylist(), strict=True)}


def test_survivors_are_the_same_for_any_number_of_workers(engines: Engines, tmp_path: Path) -> None:
    kept_by_workers = [
        survivors(MinHash(), corpus(tmp_path / str(workers)), tmp_path / str(workers), engines(workers))
        for workers in (1, 2, 4)
    ]
    engines(4).end()
    assert kept_by_workers[0] == kept_by_workers[1] == kept_by_workers[2]
    assert {keep for _, keep in kept_by_workers[0]} == {True, False}
