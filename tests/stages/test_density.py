"""Two-dimensional histograms against a plain loop; which measurements a pipeline sets against one another."""

import json
import math
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate import Pipeline
from curate.errors import ConfigError
from curate.stages.density import LOG, Density, axis
from curate.stats.quantiles import coarse, coarse_quantile
from tests.corpus import run_stage
from tests.examples import examples
from tests.runs import write_config
from tests.stages.test_select import table_with

NUMBERS = st.none() | st.floats(-1e6, 1e6, width=32) | st.just(float("inf"))
ROWS = st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS), min_size=1, max_size=30)


def bin_of(value: float, scale: dict[str, Any], bins: int) -> int:
    low, high = scale["low"], scale["high"]
    if scale["scale"] == "log":
        low, high, value = math.log(low), math.log(high), math.log(max(value, low))
    return min(max(math.floor((value - low) / (high - low) * bins), 0), bins - 1)


@examples(30)
@given(ROWS, st.integers(2, 9))
def test_counts_are_those_of_a_loop(rows: list[tuple], bins: int) -> None:
    columns = {name: pa.array([row[i] for row in rows], pa.float64()) for i, name in enumerate("abc")}
    with TemporaryDirectory() as folder:
        half = len(rows) // 2
        sizes = {"one": half, "two": len(rows) - half} if half else {"two": len(rows)}
        table = table_with(Path(folder), columns, sizes)
        manifest = run_stage(Density(of=("a", "b", "c"), bins=bins), table, Path(folder)).manifest
    assert [(pair["x"], pair["y"]) for pair in manifest["pairs"]] == [("a", "b"), ("a", "c"), ("b", "c")]
    for pair, (x, y) in zip(manifest["pairs"], ((0, 1), (0, 2), (1, 2)), strict=True):
        for source, part in (("one", rows[:half]), ("two", rows[half:])):
            if not part:
                continue
            known = [row for row in part if all(row[i] is not None and math.isfinite(row[i]) for i in (x, y))]
            expected: dict[int, int] = {}
            for row in known:
                place = [bin_of(row[i], manifest["axes"]["abc"[i]], bins) for i in (x, y)]
                expected[place[1] * bins + place[0]] = expected.get(place[1] * bins + place[0], 0) + 1
            found = pair["sources"][source]
            assert dict(zip(found["cells"], found["counts"], strict=True)) == expected
            assert (found["documents"], found["null"]) == (len(known), len(part) - len(known))


def test_an_axis_is_logarithmic_from_a_ratio_of_its_ends_on() -> None:
    below, above = (coarse(np.array([2, 2 * high], np.float32)) for high in (LOG * 0.98, LOG * 1.02))
    assert axis(below, 4)["scale"] == "linear"
    assert axis(above, 4)["scale"] == "log"
    for low in (-1, 0.99):
        assert axis(coarse(np.array([low, 1000], np.float32)), 4)["scale"] == "linear"
    assert axis({}, 4) == {"scale": "linear", "low": 0.0, "high": 1.0}
    flat = axis(coarse(np.full(5, 3, np.float32)), 4)
    assert flat["low"] < 3 < flat["high"]


@given(st.lists(st.floats(2**-10, 1e6, width=32), min_size=1, max_size=60), st.floats(0, 1))
def test_coarse_quantiles_are_near_the_exact_ones(values: list[float], share: float) -> None:
    exact = sorted(values)[min(int(share * len(values) + 1e-9), len(values) - 1)]
    assert coarse_quantile(coarse(np.array(values, np.float32)), share) == pytest.approx(exact, rel=0.004)


def pipeline(folder: Path, stages: dict[str, Any]) -> Pipeline:
    lines = [json.dumps({"text": f"Line {i} says that {'the river is cold ' * (i % 5 + 2)}."}) for i in range(40)]
    (folder / "a.jsonl").write_text("\n".join(lines) + "\n")
    read = {"read": {"shard_bytes": "2kB", "sources": {"a": {"path": f"{folder}/a.jsonl"}}}}
    config = {"run": {"root": f"{folder}/run"}, "engine": {"workers": 0}, "stages": read | stages}
    return Pipeline.from_yaml(str(write_config(folder / "config.json", config)))


LM = {"lm": {"stage": "train_lm", "order": 2, "where": "text_bytes > 60"}}
ONE = {"one": {"stage": "perplexity", "model": "lm", "prefix": "one"}}
TWO = {"two": {"stage": "perplexity", "model": "lm", "prefix": "two", "min_tokens": 15}}


def chosen(made: Pipeline) -> list[tuple[str, tuple[str, ...]]]:
    found = [node.stage for node in made.nodes.values() if isinstance(node.stage, Density)]
    return [(stage.name, stage.of) for stage in found]


def test_two_stages_that_measure_the_same_documents_are_compared(tmp_path: Path) -> None:
    bits = ("one_bits_per_byte", "two_bits_per_byte")
    assert chosen(pipeline(tmp_path, LM | ONE)) == []
    assert chosen(pipeline(tmp_path, LM | ONE | TWO)) == [("density", bits)]
    cut = {"buckets": {"column": "two_perplexity"}}
    assert chosen(pipeline(tmp_path, LM | ONE | TWO | cut)) == [("density", (bits[0], "two_perplexity"))]
    own = {"mine": {"stage": "density", "of": ["one_tokens", "two_tokens"]}}
    assert chosen(pipeline(tmp_path, LM | ONE | TWO | own)) == [("mine", ("one_tokens", "two_tokens"))]
    apart = LM | ONE | {"clean": {}} | {"lm2": LM["lm"], "two": {**TWO["two"], "model": "lm2"}}
    assert chosen(pipeline(tmp_path, apart)) == []
    after = {"clean": {}, "three": {**ONE["one"], "prefix": "three"}, "four": {**ONE["one"], "prefix": "four"}}
    both = [("density", bits), ("clean_density", ("three_bits_per_byte", "four_bits_per_byte"))]
    assert chosen(pipeline(tmp_path, LM | ONE | TWO | after)) == both


def test_documents_without_a_value_are_counted_apart(tmp_path: Path) -> None:
    made = pipeline(tmp_path, LM | ONE | {"other": LM["lm"]} | {"two": {**TWO["two"], "model": "other"}})
    made.run()
    events = map(json.loads, (tmp_path / "run" / "events.jsonl").read_text().splitlines())
    started = [event["stages"] for event in events if event["event"] == "start"]
    assert ["one", "two"] in started  # both models are there before the pass that asks them
    (pair,) = made.nodes["density"].artifact.manifest["pairs"]
    assert pair["sources"]["a"]["documents"] + pair["sources"]["a"]["null"] == 40
    assert 0 < pair["sources"]["a"]["null"] < 40


@pytest.mark.parametrize(
    ("of", "message"),
    [
        (["one_tokens", "one_tokens"], "is here twice"),
        (["one_tokens", "text"], "not numbers"),
        (["one_tokens", "one_token"], "did you mean"),
        (["one_tokens"], "at least 2"),
    ],
)
def test_mistakes_are_found_before_data_is_read(tmp_path: Path, of: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        pipeline(tmp_path, LM | ONE | {"density": {"of": of}})
