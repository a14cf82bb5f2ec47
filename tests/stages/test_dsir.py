"""DSIR's weights against the published algorithm in plain Python, hashed and without any hashing."""

import math
import re
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate import Pipeline
from curate.classifiers.dsir import add_counts, kinds, log_ratio, log_weights
from curate.classifiers.groups import Group
from curate.engine.base import Engine
from curate.errors import ConfigError
from curate.stages.dsir import Dsir
from curate.table import Table
from curate.text.batch import TextBatch
from tests.corpus import make_table, run_stage
from tests.engine.engines import Engines
from tests.examples import examples

MASK = (1 << 64) - 1
WIKI = ["The river runs, and the stone stays.", "Light on paper; light on stone!", "", "A river_bank 12"]
WEB = ["BUY now!!! buy cheap...", "the best deal: click, click", "*** ---", "and now the river", "\n"]
TEXT = st.text(st.sampled_from("aAbB éÉß_-.,!?12٣ \n\u00a0漢\u0301𝒳²"), max_size=30)


def lowered(text: str) -> str:
    """Simple case mapping: characters whose lower case is one character."""
    return "".join(char.lower() if len(char.lower()) == 1 else char for char in text)


def ngrams(text: str) -> list[tuple[str, ...]]:
    """NLTK's wordpunct tokens of the lower-cased text, alone and in pairs."""
    tokens = re.findall(r"\w+|[^\w\s]+", lowered(text))
    return [(token,) for token in tokens] + list(pairwise(tokens))


def mix(x: int) -> int:
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
    return x ^ (x >> 31)


def token_hash(token: str) -> int:
    state = 0x9E3779B97F4A7C15
    for char in token:
        state = ((state ^ ord(char)) * 0xD1342543DE82EF95) & MASK
    return mix(state)


def bucket(ngram: tuple[str, ...], buckets: int) -> int:
    hashes = [token_hash(token) for token in ngram]
    whole = hashes[0] if len(hashes) == 1 else mix((hashes[0] * 0x9E3779B97F4A7C15 & MASK) ^ hashes[1])
    return whole % buckets


def reference(text: str, target: list[str], raw: list[str], key: Any) -> float:
    """Section 3 of the paper with the smoothing of its code."""
    counts = [Counter(key(ngram) for text in corpus for ngram in ngrams(text)) for corpus in (target, raw)]
    shares = [(found, sum(found.values())) for found in counts]
    ratio = {k: [math.log(found[k] / total + 1e-8) for found, total in shares] for k in counts[0] | counts[1]}
    # What neither has is smoothed alike: log(1e-8) - log(1e-8).
    return sum(-float(np.diff(ratio.get(key(ngram), [0.0, 0.0]))[0]) for ngram in ngrams(text))


def batch(texts: list[str]) -> TextBatch:
    return TextBatch(pa.array(texts, pa.large_string()))


@given(st.lists(TEXT, max_size=5), st.sampled_from([2, 97, 10_000]))
@examples(150)
def test_counts_are_those_of_plain_python(texts: list[str], buckets: int) -> None:
    counts, text = np.zeros(buckets, np.int64), batch(texts)
    add_counts(text.data, text.offsets, counts)
    expected = Counter(bucket(ngram, buckets) for text in texts for ngram in ngrams(text))
    assert {int(place): int(counts[place]) for place in np.flatnonzero(counts)} == dict(expected)


def test_kinds_are_those_of_the_regular_expression() -> None:
    found = kinds()
    for code in (*range(0x3000), *range(0xFB00, 0x10500), *range(0x1D400, 0x1D800)):
        if 0xD800 <= code < 0xE000:
            continue
        char = chr(code)
        expected = 1 if re.match(r"\w", char) else 0 if re.match(r"\s", char) else 2
        assert found[code] == expected, hex(code)


@given(st.lists(TEXT, min_size=1, max_size=4), st.lists(TEXT, min_size=1, max_size=4))
@examples(60)
def test_weights_do_not_depend_on_the_hash_where_nothing_collides(target: list[str], raw: list[str]) -> None:
    buckets = 1 << 22
    all_texts = batch([*target, *raw])
    counts = np.zeros((2, buckets), np.int64)
    for row, texts in zip(counts, (target, raw), strict=True):
        add_counts(batch(texts).data, batch(texts).offsets, row)
    used = {ngram for text in (*target, *raw) for ngram in ngrams(text)}
    if not counts[0].sum() or not counts[1].sum() or len({bucket(n, buckets) for n in used}) < len(used):
        return
    weights, found = log_weights(all_texts.data, all_texts.offsets, log_ratio(*counts))
    for text, weight, number in zip([*target, *raw], weights, found, strict=True):
        assert weight == pytest.approx(reference(text, target, raw, lambda ngram: ngram), abs=1e-6)
        assert number == len(ngrams(text))


def scored(path: Path, engine: Engine | None = None, **fields: Any) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    table = make_table(path / "read", {"wiki": WIKI, "web": WEB}, 2)
    out = run_stage(Dsir(name="dsir", **fields), table, path, engine=engine)
    whole = Table(table.documents, (out,))
    names = ["text", "dsir_log_weight", "dsir_log_weight_per_token"]
    return [row for shard in whole.shards for row in whole.read(shard, names).to_pylist()], out.manifest


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("raw", [None, Group(where="source_id <> '1'")])
def test_the_stage_is_the_published_algorithm(
    engines: Engines, tmp_path: Path, workers: int, raw: Group | None
) -> None:
    rows, manifest = scored(tmp_path, engines(workers), target=Group(sources=("wiki",)), raw=raw, buckets=100)
    against = WEB if raw is None else [text for texts in (WIKI, WEB) for i, text in enumerate(texts) if i != 1]
    for row in rows:
        expected = reference(row["text"], WIKI, against, lambda ngram: bucket(ngram, 100)) if row["text"] else None
        tokens = len(re.findall(r"\w+|[^\w\s]+", row["text"]))
        if not tokens:
            assert row["dsir_log_weight"] is row["dsir_log_weight_per_token"] is None
            continue
        assert row["dsir_log_weight"] == pytest.approx(expected, abs=1e-9)
        assert row["dsir_log_weight_per_token"] == pytest.approx(expected / tokens, abs=1e-9)
    assert manifest["ngrams"]["target"] == sum(len(ngrams(text)) for text in WIKI)
    assert manifest["ngrams"]["divergence"] > 0


def test_without_a_target_there_are_no_weights(tmp_path: Path) -> None:
    rows, manifest = scored(tmp_path, target=Group(where="source_id = 'none'"))
    assert [row["dsir_log_weight"] for row in rows] == [None] * len(rows)
    assert manifest["ngrams"] == {"target": 0, "raw": sum(len(ngrams(t)) for t in WIKI + WEB), "divergence": None}


def test_an_unknown_source_is_found_before_any_data_is_read(tmp_path: Path) -> None:
    (tmp_path / "web.jsonl").write_text('{"id": 1, "text": "some"}\n')
    stages = {
        "read": {"sources": {"web": {"path": str(tmp_path / "web.jsonl")}}},
        "dsir": {"target": {"sources": ["wbe"]}},
    }
    with pytest.raises(ConfigError, match="no source 'wbe'"):
        Pipeline.from_mapping({"run": {"root": str(tmp_path / "run")}, "stages": stages}).run()
