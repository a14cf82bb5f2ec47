"""From JSONL files to a ladder of nested training sets, in Python instead of YAML.

Each argument ``NAME=PATTERN`` is a source. The rungs hold a tenth, a third and all of what one pass over the kept
documents gives; every rung is a prefix of the next and carries the same mixture::

    python -m pipelines.ladder runs/ladder wiki='data/wikipedia*.jsonl.zst' books='data/novels*.jsonl.zst'
"""

import logging
import sys
from typing import Any

from curate import Pipeline
from curate.report.build import build


def ladder(root: str, sources: dict[str, str], budgets: list[str]) -> dict[str, Any]:
    """The configuration of a run that cleans `sources` and cuts `budgets` out of what is left."""
    return {
        "run": {"root": root, "seed": 7},
        "stages": {
            "read": {"sources": {name: {"path": pattern} for name, pattern in sources.items()}},
            "heuristics": {},
            "exact": {},
            "minhash": {"bands": 14, "rows": 8, "ngram": 5},
            "select": {
                "drop": {
                    "short": "gopher_words < 50",
                    "copy": "NOT exact_keep",
                    "near_copy": "NOT minhash_keep",
                }
            },
            "tokens": {},
            "mix": {"weights": "proportional", "budgets": budgets, "validation": 0.005},
            "shards": {},
        },
    }


def main() -> None:
    """Run the ladder over the sources named on the command line."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    root, *pairs = sys.argv[1:]
    sources = dict(pair.split("=", 1) for pair in pairs)
    pipeline = Pipeline.from_mapping(ladder(root, sources, ["1M", "3M", "max"]))
    pipeline.run()
    build(root)


if __name__ == "__main__":
    main()
