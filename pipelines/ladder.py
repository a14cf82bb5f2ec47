"""From JSONL files to a ladder of nested training sets, in Python instead of YAML.

Each argument ``NAME=PATTERN`` is a source. The rungs hold 1 M tokens, 3 M tokens, and all that one pass over the kept
documents gives; every rung is a prefix of the next and carries the same mixture::

    python -m pipelines.ladder runs/ladder wiki='data/wikipedia*.jsonl.zst' books='data/novels*.jsonl.zst'
"""

import logging
import sys

import polars as pl

from curate import Pipeline
from curate.stages import Exact, Heuristics, MinHash, Mix, Read, Select, Shards, Source, Tokens


def ladder(root: str, sources: dict[str, str]) -> Pipeline:
    """A pipeline that cleans `sources` (patterns of files by name) and cuts three rungs out of what is left."""
    stages = [
        Read(sources={name: Source(path=pattern) for name, pattern in sources.items()}),
        Heuristics(),
        Exact(),
        MinHash(bands=14, rows=8, ngram=5),
        Select(drop={"short": "gopher_words < 50", "copy": "NOT exact_keep", "near_copy": "NOT minhash_keep"}),
        Tokens(),
        Mix(weights="proportional", budgets=(1_000_000, 3_000_000, "max"), validation=0.005),
        Shards(),
    ]
    return Pipeline(stages, root=root, seed=7)


def main() -> None:
    """Run the ladder over the sources named on the command line, and show the mixture of each rung."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    root, *pairs = sys.argv[1:]
    run = ladder(root, dict(pair.split("=", 1) for pair in pairs)).run()
    for name in run.rungs["name"]:
        by_source = run.rung(name).group_by("source").agg(pl.col("tokens").sum()).sort("source").collect()
        print(f"{name}: {dict(by_source.iter_rows())}")
    print(run.report())


if __name__ == "__main__":
    main()
