"""Corpora that break deduplicators: cost at one size and at twice that, and what must be kept, beside what was.

usage: python scripts/bench/adversarial.py [--scale 1.0] [--only NAME] [--workers 1]

One million identical documents; 200,000 that share a paragraph, which is a fifth, two thirds or nine tenths of each;
a document of 100 MB among small ones; 500,000 of one word each. A ratio of processor time of about 2 between the sizes
is linear, 4 is quadratic; memory is that of the largest process.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

BOILERPLATE = " ".join(f"notice{i}" for i in range(120))


class Case(NamedTuple):
    """A corpus, by its number of documents, and how many of them must be kept at least and at most."""

    documents: int
    texts: Callable[[int], Iterator[str]]
    kept: Callable[[int], tuple[int, int]]


def words(rng: random.Random, count: int) -> str:
    """Words that no other document has."""
    return " ".join(f"{rng.getrandbits(60):x}" for _ in range(count))


def sharing(own: int) -> Callable[[int], Iterator[str]]:
    """Documents of one paragraph that all share and of `own` words that none does."""

    def texts(count: int) -> Iterator[str]:
        rng = random.Random(own)
        for _ in range(count):
            yield f"{BOILERPLATE}\n\n{words(rng, own)}"

    return texts


def one_large(count: int) -> Iterator[str]:
    """A document of 100 MB that holds all the small ones."""
    rng = random.Random(3)
    small = [words(rng, 200) for _ in range(2000)]
    yield " ".join(words(rng, 1000) for _ in range(count * 100_000_000 // 2001 // 15_300))[: 50_000 * count]
    yield from small


def vocabulary(size: int) -> Callable[[int], Iterator[str]]:
    """One word each."""

    def texts(count: int) -> Iterator[str]:
        rng = random.Random(size)
        for _ in range(count):
            yield f"w{rng.randrange(size)}"

    return texts


def distinct(size: int) -> Callable[[int], tuple[int, int]]:
    """How many distinct words `vocabulary` draws."""

    def kept(count: int) -> tuple[int, int]:
        number = len(set(vocabulary(size)(count)))
        return number, number

    return kept


CASES = {
    "identical": Case(1_000_000, lambda count: iter([BOILERPLATE] * count), lambda _: (1, 1)),
    "a fifth shared": Case(200_000, sharing(480), lambda count: (count, count)),
    "two thirds shared": Case(200_000, sharing(60), lambda count: (0, count)),
    "nine tenths shared": Case(200_000, sharing(13), lambda count: (1, count)),
    "100 MB": Case(2001, one_large, lambda _: (2001, 2001)),
    "one word of 50,000": Case(500_000, vocabulary(50_000), distinct(50_000)),
    "one word of 500,000": Case(500_000, vocabulary(500_000), distinct(500_000)),
}


def measure(path: Path, out: Path, workers: int) -> tuple[float, float, float, int]:
    """Processor seconds of `curate dedup` and its workers, wall seconds, MB of the largest, and documents kept."""
    command = [sys.executable, "-m", "curate", "dedup", str(path), "--out", str(out), "--workers", str(workers)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    started = os.times().elapsed
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)} failed:\n{said}")
    report = json.loads((out / "report.json").read_text())
    kept = sum(source["documents"]["kept"] for source in report["sources"].values())
    return usage.ru_utime + usage.ru_stime, os.times().elapsed - started, usage.ru_maxrss / 1024, kept


def main() -> None:
    """Print a row per corpus and size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0, help="of the numbers of documents")
    parser.add_argument("--only", default="", help="part of the name of a case")
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    columns = ["corpus", "documents", "MB", "CPU s", "ratio", "wall s", "peak MB", "kept", "expected"]
    print("|", " | ".join(columns), "|")
    print("|---" * len(columns) + "|")
    for name, case in CASES.items():
        if options.only not in name:
            continue
        before = 0.0
        for size in (0.5, 1.0):
            count = max(int(case.documents * options.scale * size), 2)
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "corpus.jsonl"
                with path.open("w") as file:
                    for number, text in enumerate(case.texts(count)):
                        file.write(json.dumps({"id": str(number), "text": text}) + "\n")
                cpu, wall, peak, kept = measure(path, Path(folder) / "out", options.workers)
                size_mb = path.stat().st_size / 1e6
            low, high = case.kept(count)
            expected = f"{low:,}" if low == high else f"{low:,} to {high:,}"
            ratio = f"{cpu / before:.2f}" if before else ""
            figures = [f"{count:,}", f"{size_mb:.0f}", f"{cpu:.1f}", ratio, f"{wall:.1f}", f"{peak:.0f}", f"{kept:,}"]
            print("|", " | ".join([name, *figures, expected]), "|", flush=True)
            before = cpu


if __name__ == "__main__":
    main()
