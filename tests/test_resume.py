"""A run that is killed, at any moment and in any process, and started again equals the run that was not."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.runs import configuration, curate, digests, write_config

KILLS = 10


@pytest.fixture(scope="module")
def clean(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], float]:
    """Checksums of an undisturbed run, and the seconds that it took."""
    root = tmp_path_factory.mktemp("clean")
    config = write_config(root / "config.yaml", configuration(data, root / "run"))
    start = time.monotonic()
    finished = curate("run", config)
    assert finished.returncode == 0, finished.stderr
    return digests(root / "run"), time.monotonic() - start


def disturb(config: Path, delay: float, victim: str) -> bool:
    """Start a run and SIGKILL its driver, or a worker, after `delay` seconds; whether there was one to kill."""
    process = subprocess.Popen(
        [sys.executable, "-m", "curate", "run", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        process.wait(delay)
    except subprocess.TimeoutExpired:
        if victim == "driver":
            os.kill(process.pid, signal.SIGKILL)
            process.wait(200)
            return True
        while process.poll() is None:
            if workers := workers_of(process.pid):
                random.Random(delay).choice(workers).kill()
                process.wait(200)
                return True
            time.sleep(0.02)
    return False


def workers_of(driver: int) -> list[psutil.Process]:
    try:
        return [process for process in psutil.Process(driver).children(recursive=True) if is_worker(process)]
    except psutil.Error:
        return []


def is_worker(process: psutil.Process) -> bool:
    try:
        line = " ".join(process.cmdline())
    except psutil.Error:
        return False
    return "spawn_main" in line or line.startswith("ray::")


@pytest.mark.timeout(600)
@pytest.mark.parametrize("victim", ["driver", "worker"])
def test_local_run_killed_at_random_moments(
    data: Path, clean: tuple[dict[str, str], float], tmp_path: Path, victim: str
) -> None:
    expected, seconds = clean
    rng = random.Random(victim)
    killed = 0
    for kill in range(KILLS // 2):
        root = tmp_path / f"run-{kill}"
        config = write_config(tmp_path / f"{kill}.yaml", configuration(data, root))
        killed += disturb(config, rng.uniform(0.1, 0.6) * seconds, victim)
        finished = curate("run", config)
        assert finished.returncode == 0, finished.stderr
        assert digests(root) == expected
    assert killed >= KILLS // 2 - 1


@pytest.mark.timeout(600)
def test_ray_run_killed_again_and_again(data: Path, clean: tuple[dict[str, str], float], tmp_path: Path) -> None:
    """Ten kills, in turn of the driver and of a worker; a run that got to its end is followed by another."""
    expected, seconds = clean
    rng = random.Random(1)
    killed, runs = 0, 0
    while killed < KILLS:
        root = tmp_path / f"run-{runs}"
        config = write_config(tmp_path / f"{runs}.yaml", configuration(data, root, kind="ray"))
        done = False
        while killed < KILLS and not done:
            hit = disturb(config, rng.uniform(5, 6 + seconds / 2), ["driver", "worker"][killed % 2])
            killed += hit
            done = bool(list(root.glob("shards-*/_manifest.json")))
            assert hit or done, "a run ended before its end, undisturbed"
        finished = curate("run", config)
        assert finished.returncode == 0, finished.stderr
        assert digests(root) == expected
        runs += 1
