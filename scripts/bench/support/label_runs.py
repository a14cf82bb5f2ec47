"""Runs label models on vote matrices, each in a fresh process, and shows tables."""

import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from support.label_methods import MISSING

PEERS = {
    "snorkel": "Snorkel",
    "snorkel-majority": "majority vote (Snorkel)",
    "dawid-skene": "Dawid-Skene (crowd-kit)",
    "flyingsquid": "FlyingSquid",
}


@dataclass(frozen=True)
class Case:
    """What a method gets."""

    votes: np.ndarray
    k: int
    balance: np.ndarray | None = None
    gold: np.ndarray | None = None
    summary: bool = False  # whether to ask for one, which takes a fit per function


@dataclass(frozen=True)
class Found:
    """What a method said, and what it cost: seconds of wall and of processor, of a first call, MB beyond that call."""

    proba: np.ndarray
    seconds: float
    processor: float
    first: float
    memory: float
    summary: dict[str, Any]


@dataclass
class Bench:
    """The interpreters, the results of this run by set and method, and the targets."""

    peers: list[str]
    data: Path
    absent: dict[str, str] = field(default_factory=dict)
    scores: dict[str, dict[str, list[float]]] = field(default_factory=lambda: defaultdict(dict))
    targets: list[tuple[str, str, bool]] = field(default_factory=list)  # what, its figures, whether it is met

    def run(self, method: str, cases: Sequence[Case]) -> list[Found] | None:
        """Run a method on cases, in one fresh process; None where no interpreter has its package."""
        if method in self.absent:
            return None
        with tempfile.TemporaryDirectory() as folder:
            paths = []
            for place, case in enumerate(cases):
                paths += [f"{folder}/{place}.npz", f"{folder}/{place}.out.npz"]
                given = {"votes": case.votes, "k": np.array(case.k), "balance": case.balance, "gold": case.gold}
                given |= {"summary": np.array(1) if case.summary else None}
                np.savez(paths[-2], allow_pickle=False, **{n: v for n, v in given.items() if v is not None})
            for python in self.peers if method in PEERS else [sys.executable]:
                command = [python, str(Path(__file__).with_name("label_methods.py")), method, *paths]
                done = subprocess.run(command, capture_output=True, text=True)
                if done.returncode == MISSING:
                    self.absent[method] = done.stderr.strip().splitlines()[-1]
                    continue
                self.absent.pop(method, None)
                if done.returncode:
                    sys.exit(f"{method} failed:\n{done.stderr}")
                return [_found(Path(path)) for path in paths[1::2]]
            return None


def _found(path: Path) -> Found:
    with np.load(path) as given:
        wall, processor = given["clocks"].sum(axis=0)
        base, peak = given["memory"]
        summary = json.loads(str(given["summary"])) if "summary" in given else {}
        return Found(given["proba"], float(wall), float(processor), float(given["first"]), float(peak - base), summary)


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a Markdown table whose columns are aligned."""
    cells = [[str(cell) for cell in row] for row in [head, *rows]]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    cells.insert(1, ["-" * width for width in widths])
    print()
    for row in cells:
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |")


def shown(value: float | None, digits: int = 3) -> str:
    return "-" if value is None or np.isnan(value) else f"{value:.{digits}f}"


def ratio(value: float, ours: float) -> str:
    return "-" if not ours > 0 or np.isnan(value) else f"{value / ours:.1f}x"
