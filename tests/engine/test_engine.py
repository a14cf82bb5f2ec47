"""One suite for all engines."""

import os
import signal
import socket
import subprocess
import sys
from collections import Counter
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from curate.artifact import Artifact, Shard
from curate.engine.base import ATTEMPTS, Done, Engine, Failed, windowed
from curate.engine.context import Context
from curate.engine.exchange import partition_count, partition_of, read_partition, write_partitions
from curate.errors import RunError
from curate.table import Table, read_part
from tests.corpus import make_table
from tests.engine.engines import Engines


def square(x: int) -> int:
    return x * x


def fail_on_three(x: int) -> int:
    if x == 3:
        raise ValueError("three is right out")
    return x


def die_once(marker: Path, x: int) -> int:
    if x == 1 and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return x


def storage_fails_twice(folder: Path, x: int) -> int:
    tries = len(list(folder.glob(f"{x}-*")))
    (folder / f"{x}-{tries}").touch()
    if tries < 2:
        raise OSError("the disk blinked")
    return x


def test_map_gives_one_outcome_per_item(engine: Engine) -> None:
    outcomes = list(engine.map(square, range(20)))
    assert sorted((o.index, o.result) for o in outcomes if isinstance(o, Done)) == [(i, i * i) for i in range(20)]


def test_map_of_nothing(engine: Engine) -> None:
    assert list(engine.map(square, [])) == []


def test_error_names_cause_and_keeps_the_others(engine: Engine) -> None:
    outcomes = list(engine.map(fail_on_three, range(5)))
    failed = [o for o in outcomes if isinstance(o, Failed)]
    assert len(outcomes) == 5
    assert [o.index for o in failed] == [3]
    assert failed[0].error == "ValueError: three is right out"
    assert "fail_on_three" in failed[0].trace


@pytest.mark.parametrize("engine", ["local", "ray"], indirect=True)
def test_storage_errors_are_tried_again(engine: Engine, tmp_path: Path) -> None:
    outcomes = list(engine.map(partial(storage_fails_twice, tmp_path), range(4)))
    assert sorted(o.result for o in outcomes if isinstance(o, Done)) == [0, 1, 2, 3]


@pytest.mark.parametrize("engine", ["local", "ray"], indirect=True)
def test_a_killed_worker_costs_a_retry_and_no_more(engine: Engine, tmp_path: Path) -> None:
    outcomes = list(engine.map(partial(die_once, tmp_path / "died"), range(8)))
    assert (tmp_path / "died").exists()
    assert sorted(o.result for o in outcomes if isinstance(o, Done)) == list(range(8))


def test_window_gives_up_on_what_never_passes() -> None:
    tries: Counter[int] = Counter()

    def submit(index: int) -> int:
        tries[index] += 1
        return index

    def wait(handles: list[int]) -> list[tuple[int, Failed]]:
        return [(h, Failed(h, "lost", "", transient=True)) for h in handles]

    outcomes = list(windowed(3, 2, submit, wait))  # type: ignore[arg-type]
    assert sorted(o.index for o in outcomes) == [0, 1, 2]
    assert set(tries.values()) == {ATTEMPTS}


def send_by_id(table: Table, partitions: int, shard: Shard, path: str) -> dict[str, int]:
    ids = table.read(shard, ["id"]).column("id").combine_chunks()
    keys = np.frombuffer(ids.buffers()[1], dtype=np.uint64)[::2].copy()
    rows = np.arange(shard.first_row, shard.first_row + shard.rows, dtype=np.uint64)
    sent = pa.table({"key": keys, "row": rows})
    write_partitions(path, sent, partition_of(keys, partitions), partitions)
    return {"rows": shard.rows}


def receive(folder: str, partition: int, received: pa.Table) -> dict[str, int]:
    from curate.table import ParquetWriter

    with ParquetWriter(f"{folder}/received-{partition:02d}.parquet", received.schema) as writer:
        writer.write(received.sort_by("key"))
    return {"rows": received.num_rows}


def exchange_all(engine: Engine, table: Table, path: Path) -> list[bytes]:
    ctx = Context(Artifact("x", str(path), ""), table, engine)
    results = ctx.exchange("ids", partial(send_by_id, table, 5), partial(receive, str(path)), 5)
    assert sum(result["rows"] for result in results) == table.rows
    assert not (path / "_exchange" / "ids").exists()
    return [(path / f"received-{p:02d}.parquet").read_bytes() for p in range(5)]


def test_exchange_brings_every_row_to_its_partition(engine: Engine, tmp_path: Path) -> None:
    table = make_table(tmp_path / "docs", {"a": [f"text {i}" for i in range(97)], "b": ["x", "y"]}, shard_rows=10)
    exchange_all(engine, table, tmp_path / "out")
    parts = [read_part(str(tmp_path / "out" / f"received-{p:02d}.parquet")) for p in range(5)]
    rows = [row for part in parts for row in part["row"].to_pylist()]
    assert sorted(rows) == list(range(99))
    for p, part in enumerate(parts):
        keys = part["key"].to_numpy()
        assert (partition_of(keys, 5) == p).all()
        assert (np.sort(keys) == keys).all()


def test_exchange_is_the_same_on_all_engines(tmp_path: Path, engines: Engines, ray_engine: Engine) -> None:
    table = make_table(tmp_path / "docs", {"a": [f"text {i}" for i in range(50)]}, shard_rows=7)
    inline = exchange_all(engines(0), table, tmp_path / "inline")
    assert inline == exchange_all(engines(2), table, tmp_path / "local")
    assert inline == exchange_all(ray_engine, table, tmp_path / "ray")


def test_map_resumes_from_receipts(engine: Engine, tmp_path: Path) -> None:
    ctx = Context(Artifact("x", str(tmp_path), ""), Table(Artifact("", "", "")), engine)
    keys = [str(i) for i in range(5)]
    with pytest.raises(RunError, match=r"x work, 3: ValueError: three is right out"):
        ctx.map(partial(counted, tmp_path, False), range(5), phase="work", keys=keys)
    # Other tasks may be writing theirs at this moment, under a temporary name that a glob would find too.
    done = {receipt.key for receipt in ctx.artifact.receipts("work")}
    assert "3" not in done
    results = ctx.map(partial(counted, tmp_path, True), range(5), phase="work", keys=keys)
    assert results == [{"x": i} for i in range(5)]
    for key in done:
        assert len(list(tmp_path.glob(f"ran-{key}-*"))) == 1, "a task with a receipt ran again"


def counted(folder: Path, mended: bool, x: int) -> dict[str, int]:
    if not mended:
        fail_on_three(x)
    (folder / f"ran-{x}-{len(list(folder.glob(f'ran-{x}-*')))}").touch()
    return {"x": x}


def test_partitions_hold_ranges_and_no_row_is_lost(tmp_path: Path) -> None:
    keys = np.random.default_rng(0).integers(0, 2**64, 1000, dtype=np.uint64)
    path = str(tmp_path / "x.arrow")
    write_partitions(path, pa.table({"key": keys}), partition_of(keys, 7), 7)
    parts = [read_partition([path], p)["key"].to_numpy() for p in range(7)]
    assert sorted(np.concatenate(parts)) == sorted(keys)
    for before, after in pairwise(parts):
        assert before.max() < after.min()


def test_partition_count_depends_on_rows_alone_and_is_bounded() -> None:
    assert partition_count(0) == 1
    assert partition_count(10**15) == 2048


def test_a_dead_cluster_address_is_said_so_in_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    from curate.engine import ray

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setattr(ray, "PATIENCE", 1.0)
    with pytest.raises(RunError, match=rf"no Ray cluster answers at 127.0.0.1:{port} after 1 s"):
        ray._await_answer(f"127.0.0.1:{port}")
    ray._await_answer("auto")


JOIN = """
import sys
from curate.engine.ray import RayEngine
engine = RayEngine(workers=1, address=sys.argv[1])
assert [done.result for done in engine.map(abs, [-1, -2])]
engine.close()
"""


def test_a_cluster_that_was_joined_is_left_running(ray_engine: Engine) -> None:
    import ray  # noqa: TID251

    address = ray.get_runtime_context().gcs_address
    for _ in range(2):
        joined = subprocess.run([sys.executable, "-c", JOIN, address], capture_output=True, text=True, timeout=120)
        assert joined.returncode == 0, joined.stderr
    assert list(ray_engine.map(square, [3])) == [Done(0, 9)]
