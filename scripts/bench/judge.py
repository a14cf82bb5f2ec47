"""Five noisy prompts, two of them dependent, behind a real HTTP server: each alone, majority vote, and the label model.

``PYTHONPATH=. python scripts/bench/judge.py --documents 1000 --seeds 5`` runs the stage `judge` over HTTP against the
simulated model of tests/weak/judge/server.py (delays, 429 and 5xx answers, malformed bodies, hang-ups, refusals,
truncated
and senseless answers), fits the label model on the votes, and prints the accuracy of each over all documents that were
asked about. An abstention counts as half right, and so does a tied majority.
"""

import argparse
import logging
import resource
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tests.weak.judge.ensemble import accuracies, judged


def line(label: object, row: Mapping[str, float]) -> str:
    return f"{label!s:>6}  " + "  ".join(f"{value:>{max(len(name), 6)}.3f}" for name, value in row.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--concurrency", type=int, default=16)
    given = parser.parse_args()
    logging.getLogger("curate").setLevel(logging.ERROR)
    found = []
    for seed in range(given.seeds):
        start = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            votes, truth, took = judged(seed, given.documents, Path(folder), given.concurrency)
        seconds = time.perf_counter() - start
        accuracy, pairs = accuracies(votes, truth)
        found.append(accuracy)
        if seed == 0:
            print("  seed  " + "  ".join(f"{name:>6}" for name in found[0]))
        named = "; ".join(map(" = ".join, pairs))
        print(line(seed, accuracy) + f"   {took['sent']} requests, {took['failed']} failed, {seconds:.1f} s; {named}")
    for label, reduce in (("mean", np.mean), ("least", np.min)):
        print(line(label, {name: float(reduce([row[name] for row in found])) for name in found[0]}))
    gain = [row["label model"] - row["best prompt"] for row in found]
    print(f"label model above the best prompt: {min(gain):.3f} to {max(gain):.3f}")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


if __name__ == "__main__":
    main()
