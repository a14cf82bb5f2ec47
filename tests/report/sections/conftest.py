"""A run that several sections tell of."""

import json
import random
from typing import Any

import pytest

from curate import Pipeline
from curate.report.build import build
from tests.runs import document, write_config

STAGES = {
    "lm": {"stage": "train_lm", "sources": ["plain"], "order": 2},
    "other_lm": {"stage": "train_lm", "sources": ["mixed"], "order": 2},
    "one": {"stage": "perplexity", "model": "lm", "prefix": "one"},
    "two": {"stage": "perplexity", "model": "other_lm", "prefix": "two"},
    "buckets": {"column": "one_bits_per_byte", "into": "one_bucket"},
    "halves": {"stage": "buckets", "column": "one_tokens", "names": ["low", "high"], "cuts": [60], "into": "half"},
}


@pytest.fixture(scope="session")
def two_models(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], str, Pipeline]:
    """Facts, page and pipeline of a run with two language models, whose scores are cut into buckets."""
    folder = tmp_path_factory.mktemp("two_models")
    rng = random.Random(8)
    plain = [document(rng, rng.randint(3, 12)) for _ in range(50)]
    mixed = [" ".join(rng.sample(text.split(), len(text.split()))) for text in plain]
    for name, texts in {"plain": [*plain, "too short"], "mixed": mixed}.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    sources = {name: {"path": f"{folder}/{name}.jsonl"} for name in ("plain", "mixed")}
    config = {
        "run": {"root": f"{folder}/run"},
        "engine": {"workers": 0},
        "stages": {"read": {"sources": sources}} | STAGES,
    }
    pipeline = Pipeline.from_yaml(str(write_config(folder / "config.json", config)))
    pipeline.run()
    build(f"{folder}/run")
    page = (folder / "run" / "report.html").read_text()
    return json.loads((folder / "run" / "report.json").read_text()), page, pipeline
