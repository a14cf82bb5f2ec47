"""A run that is killed, at any moment and in any process, and started again equals the run that was not."""

import random
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest

from curate import Pipeline
from curate.engine.base import Engine
from tests.engine.engines import Engines
from tests.runs import configuration, digests, write_config

KILLS = 10
RUN = "import sys; from curate import Pipeline; Pipeline.from_yaml(sys.argv[1]).run()"


def receipts(root: Path) -> int:
    """Number of tasks of a run that are finished."""
    return sum(1 for _ in root.glob("*/_receipts/**/*.json"))


@pytest.fixture(scope="module")
def clean(data: Path, engines: Engines, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], int]:
    """Checksums of an undisturbed run, and the number of its tasks."""
    root = tmp_path_factory.mktemp("clean") / "run"
    Pipeline.from_mapping(configuration(data, root)).run(engines(2))
    return digests(root), receipts(root)


def disturb(config: Mapping[str, Any], finished: int, victim: str) -> bool:
    """Run in a process of its own, and SIGKILL that or a worker of it once so many tasks are finished.

    Returns whether there was something to kill, when all processes of the run have ended.
    """
    root = Path(config["run"]["root"])
    path = write_config(root.with_suffix(".json"), config)
    command = [sys.executable, "-c", RUN, str(path)]
    driver = psutil.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    parent = psutil.Process() if "address" in config["engine"] else driver  # who started the cluster
    while driver.poll() is None:
        if receipts(root) >= finished and (workers := working(parent)):
            if victim == "driver":
                driver.kill()
                if config["engine"]["kind"] == "local":
                    psutil.wait_procs(workers)  # they end by themselves
            else:
                random.Random(finished).choice(workers).kill()
            driver.wait()
            return True
        time.sleep(0.02)
    return False


def working(parent: psutil.Process) -> list[psutil.Process]:
    """Worker processes that run a task, or may do so."""
    try:
        return [process for process in parent.children(recursive=True) if is_worker(process)]
    except psutil.Error:
        return []


def is_worker(process: psutil.Process) -> bool:
    try:
        line = " ".join(process.cmdline())
    except psutil.Error:
        return False
    return "spawn_main" in line or line.startswith("ray::attempt")


@pytest.mark.timeout(600)
@pytest.mark.parametrize("victim", ["driver", "worker"])
def test_local_run_killed_at_random_moments(
    data: Path, engines: Engines, clean: tuple[dict[str, str], int], tmp_path: Path, victim: str
) -> None:
    expected, tasks = clean
    rng = random.Random(victim)
    killed = 0
    for kill in range(KILLS // 2):
        config = configuration(data, tmp_path / f"run-{kill}")
        killed += disturb(config, rng.randrange(tasks), victim)
        Pipeline.from_mapping(config).run(engines(2))
        assert digests(tmp_path / f"run-{kill}") == expected
    assert killed >= KILLS // 2 - 1


@pytest.mark.timeout(600)
def test_ray_run_killed_again_and_again(
    data: Path, ray_engine: Engine, clean: tuple[dict[str, str], int], tmp_path: Path
) -> None:
    """Ten kills, in turn of the driver and of a worker; a run that got to its end is followed by another.

    The first run starts a cluster of its own each time, the others join one that is there.
    """
    import ray  # noqa: TID251

    expected, tasks = clean
    address = {"address": ray.get_runtime_context().gcs_address}
    rng = random.Random(1)
    killed, runs = 0, 0
    while killed < KILLS:
        root = tmp_path / f"run-{runs}"
        config = configuration(data, root, kind="ray", **(address if runs else {}))
        done = False
        while killed < KILLS and not done:
            hit = disturb(config, rng.randrange(receipts(root), tasks), ["driver", "worker"][killed % 2])
            killed += hit
            done = bool(list(root.glob("shards-*/_manifest.json")))
            assert hit or done, "a run ended before its end, undisturbed"
        Pipeline.from_mapping(config).run()  # on the cluster of this process
        assert digests(root) == expected
        runs += 1
