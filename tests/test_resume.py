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

from tests.runs import configuration, curate, digests, write_config, write_corpus

KILLS = 10


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    write_corpus(folder)
    return folder


@pytest.fixture(scope="module")
def clean(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], float]:
    """Checksums of an undisturbed run, and the seconds that it took."""
    root = tmp_path_factory.mktemp("clean")
    config = write_config(root / "config.yaml", configuration(data, root / "run"))
    start = time.monotonic()
    finished = curate("run", config)
    assert finished.returncode == 0, finished.stderr
    return digests(root / "run"), time.monotonic() - start


def disturb(config: Path, delay: float, victim: str) -> None:
    """Start a run and SIGKILL its driver, or one of its workers, after `delay` seconds."""
    process = subprocess.Popen(
        [sys.executable, "-m", "curate", "run", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        process.wait(delay)
    except subprocess.TimeoutExpired:
        workers = [p for p in psutil.Process(process.pid).children(recursive=True) if is_worker(p)]
        if victim == "worker" and workers:
            random.Random(delay).choice(workers).kill()
            process.wait(200)
        else:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()


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
    for kill in range(KILLS // 2):
        root = tmp_path / f"run-{kill}"
        config = write_config(tmp_path / f"{kill}.yaml", configuration(data, root))
        disturb(config, rng.uniform(0.2, 1.0) * seconds, victim)
        finished = curate("run", config)
        assert finished.returncode == 0, finished.stderr
        assert digests(root) == expected


@pytest.mark.timeout(600)
def test_ray_run_killed_again_and_again(data: Path, clean: tuple[dict[str, str], float], tmp_path: Path) -> None:
    """Ten kills of one run, each later than the last; in turn the driver and a worker."""
    expected, seconds = clean
    rng = random.Random(1)
    config = write_config(tmp_path / "ray.yaml", configuration(data, tmp_path / "run", kind="ray"))
    for kill in range(KILLS):
        disturb(config, rng.uniform(4, 6 + seconds), ["driver", "worker"][kill % 2])
    finished = curate("run", config)
    assert finished.returncode == 0, finished.stderr
    assert digests(tmp_path / "run") == expected
