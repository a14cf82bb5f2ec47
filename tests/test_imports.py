"""``import curate`` and ``curate --help`` stay light: what takes long to import waits until it is used."""

import subprocess
import sys

import pytest

HEAVY = {
    *("fasttext", "fsspec", "huggingface_hub", "matplotlib", "numba", "numpy"),
    *("polars", "pyarrow", "pydantic", "ray", "tokenizers", "torch"),
}
ENTRIES = {
    "import curate": "import curate",
    "curate --help": "from curate.cli import app\napp(['--help'], standalone_mode=False)",
}
REPORT = "\nimport sys, time\nprint(f'{time.perf_counter() - start:.2f} s')\nprint(*sys.modules)"


@pytest.mark.parametrize("entry", ENTRIES)
def test_nothing_heavy_is_imported(entry: str):
    code = f"import time\nstart = time.perf_counter()\n{ENTRIES[entry]}{REPORT}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    *said, seconds, modules = done.stdout.splitlines()
    sys.stdout.write(f"{entry}: {seconds}\n")
    if entry == "curate --help":
        assert any("Usage" in line for line in said)
    assert "curate" in modules.split()
    assert HEAVY & set(modules.split()) == set()


def test_curate_runs_as_a_module():
    done = subprocess.run([sys.executable, "-m", "curate", "--help"], capture_output=True, text=True, check=True)
    verbs = ("run", "dedup", "label", "thresholds", "plan", "status", "report", "explain", "schema", "demo", "models")
    for verb in verbs:
        assert verb in done.stdout
