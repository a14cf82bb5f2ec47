"""Processor time of each stage over a corpus, and how it compares with merely reading the documents' Parquet files.

    python scripts/bench/run.py [JSONL ...]

Without files, the text that `curate demo` gathers serves. One worker; times are those of the tasks' receipts, after a
small run that compiles the kernels. Ratios are of one sitting; absolute figures depend on the machine and its load.
"""

import logging
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from curate import Pipeline
from curate.artifact import Artifact
from curate.commands.demo import gather

RULES = {"short": "gopher_words < 50", "copy": "NOT exact_keep", "near_copy": "NOT minhash_keep"}


def configuration(root: Path, sources: dict[str, Any]) -> dict[str, Any]:
    return {
        "run": {"root": str(root), "seed": 1},
        "engine": {"workers": 1},
        "stages": {
            "read": {"sources": sources},
            "heuristics": {},
            "langid": {},
            "information": {},
            "exact": {},
            "minhash": {},
            "select": {"drop": RULES},
            "tokens": {},
            "mix": {"weights": "proportional", "budgets": ["max"]},
            "shards": {},
        },
    }


def processor_time(artifact: Artifact) -> float:
    """Seconds over all tasks of all phases."""
    phases = ["", *(path.name for path in Path(artifact.path, "_receipts").iterdir() if path.is_dir())]
    return sum(receipt.cpu_seconds for phase in phases for receipt in artifact.receipts(phase))


def reading(documents: Artifact) -> float:
    """Processor seconds to read the documents once."""
    start = time.process_time()
    for shard in documents.shards():
        pq.read_table(documents.part(shard.name), columns=["text"], use_threads=False)
    return time.process_time() - start


def main() -> None:
    logging.basicConfig(level=logging.WARNING)
    with tempfile.TemporaryDirectory() as place:
        if sys.argv[1:]:
            sources = {Path(file).name.partition(".")[0]: {"path": file} for file in sys.argv[1:]}
        else:
            sources = {name: {"path": str(found.path)} for name, found in gather(Path(place, "data")).items()}
        small = {name: {"path": str(found.path)} for name, found in gather(Path(place, "warm"), 50_000).items()}
        Pipeline.from_mapping(configuration(Path(place, "warm-run"), small)).run()
        pipeline = Pipeline.from_mapping(configuration(Path(place, "run"), sources))
        start = time.perf_counter()
        pipeline.run()
        wall = time.perf_counter() - start
        documents = pipeline.nodes["read"].artifact
        megabytes = sum(shard.text_bytes for shard in documents.shards()) / 1e6
        bare = reading(documents)
        print(f"{megabytes:.1f} MB of text, {wall:.1f} s wall with one worker")
        print(f"{'stage':<20} {'CPU s':>8} {'MB per core-second':>20} {'times reading':>14}")
        print(f"{'(reading Parquet)':<20} {bare:>8.2f} {megabytes / bare:>20.0f} {1:>14.1f}")
        total = 0.0
        for name, node in pipeline.nodes.items():
            seconds = processor_time(node.artifact)
            total += seconds
            print(f"{name:<20} {seconds:>8.2f} {megabytes / max(seconds, 1e-9):>20.0f} {seconds / bare:>14.1f}")
        print(f"{'all':<20} {total:>8.2f} {megabytes / total:>20.1f} {total / bare:>14.1f}")


if __name__ == "__main__":
    main()
