"""A small corpus of good and spoiled documents, and labeling functions for it."""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from curate.errors import ConfigError
from curate.pipeline import Pipeline
from tests.runs import document

FUNCTIONS = """
import numpy as np
import pyarrow.compute as pc
from curate.weak.functions import ABSTAIN, DROP, KEEP, labeling_function

@labeling_function(columns=["text"])
def few_marks(batch, least=4):
    return np.where(pc.count_substring(batch["text"], ".").to_numpy() < least, DROP, ABSTAIN)

@labeling_function(columns=["rep_dup_lines"])
def fresh(batch):
    return pc.if_else(pc.greater(batch["rep_dup_lines"], 0.5), DROP, KEEP)

@labeling_function(columns=["text_bytes"])
def broken(batch):
    raise KeyError("nothing here")
"""


def texts(count: int, seed: int) -> Iterator[tuple[str, bool]]:
    """Documents, and whether they are as they were written."""
    rng = random.Random(seed)
    for _ in range(count):
        text = document(rng, rng.randint(8, 24))
        good = rng.random() < 0.6
        if not good:
            kind = rng.randrange(3)
            cut = " ".join(text.split()[: rng.randint(5, 40)]).replace(".", "")
            text = [cut, text + "\nClick here, buy cheap casino now!" * 3, "\n".join(text.splitlines()[:1] * 6)][kind]
        yield text, good


def write_files(folder: Path, count: int = 240) -> dict[str, bool]:
    """Two sources, a word list and Python functions; gives which documents are good, by ``source/id``."""
    truth = {}
    for source, seed in (("web", 1), ("books", 2)):
        rows = []
        for number, (text, good) in enumerate(texts(count // 2, seed)):
            rows.append({"id": str(number), "text": text})
            truth[f"{source}/{number}"] = good
        (folder / f"{source}.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    (folder / "bad.txt").write_text("casino\nbuy cheap\n")
    (folder / "functions.py").write_text(FUNCTIONS)
    return truth


def functions(folder: Path) -> dict[str, Any]:
    python = {"python": f"{folder}/functions.py"}
    return {
        "short": {"when": "gopher_words < 45", "vote": "drop"},
        "repeated": {"when": "rep_dup_lines > 0.3", "vote": "drop", "otherwise": "keep"},
        "long": {"score": "gopher_words", "buckets": 4, "by": "source"},
        "bad": {"words": f"{folder}/bad.txt", "at_least": 2, "vote": "drop"},
        "click": {"regex": "(?i)click here", "vote": "drop", "sources": ["web"]},
        "few_marks": python | {"parameters": {"least": 5}},
        "fresh": python,
        "broken": python | {"where": "gopher_words < 45"},
        "rules": {"preset": "c4"},
    }


def recipe(folder: Path, **fields: Any) -> dict[str, Any]:
    """A configuration with `weak`, in shards small enough that there are several."""
    sources = {name: {"path": f"{folder}/{name}.jsonl"} for name in ("web", "books")}
    stanza = {"keep_rate": 0.6, "functions": functions(folder), **fields}
    return {
        "run": {"root": f"{folder}/run"},
        "engine": {"workers": 0},
        "stages": {
            "read": {"sources": sources, "shard_bytes": "20kB"},
            "size": {},
            "heuristics": {},
            "weak": {name: value for name, value in stanza.items() if value is not None},
        },
    }


def mistakes(folder: Path, **fields: Any) -> list[str]:
    """What is said of a configuration that cannot run."""
    path = folder / "recipe.yaml"
    path.write_text(json.dumps(recipe(folder, **fields), indent=1))
    try:
        Pipeline.from_yaml(str(path))
    except ConfigError as error:
        return [str(problem).replace(str(folder), "FOLDER") for problem in error.problems]
    return []
