"""Training and scoring by fastText: the same bytes, the library's own answers, calibration, classes."""

import json
import random
from pathlib import Path
from typing import Any

import fasttext
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate import Pipeline
from curate.classifiers.classifier import Classifier, Reading
from curate.classifiers.groups import Group
from curate.engine.local import LocalEngine
from curate.errors import ConfigError, RunError
from curate.stage import Known
from curate.stages.quality import Quality
from curate.stages.train_classifier import TrainClassifier
from curate.table import Table
from curate.text.batch import TextBatch
from tests.corpus import make_table, run_stage
from tests.examples import examples

GOOD = [
    "river",
    "stone",
    "light",
    "paper",
    "engine",
    "window",
    "garden",
    "silver",
    "winter",
    "letter",
    "music",
    "number",
]
BAD = ["click", "buy", "cheap", "now", "offer", "free", "best", "deal", "win", "casino", "bonus", "sale"]
BOTH = ["the", "of", "and", "to", "in", "a", "is", "that", "for", "it", "as", "was"]
SMALL: dict[str, Any] = {"dim": 8, "bucket": 500, "held_out": 0.5, "lr": 0.5}


def texts(words: list[str], count: int, seed: int) -> list[str]:
    """A quarter of the words tell, so that scores differ."""
    rng = random.Random(seed)
    return [" ".join(rng.choice(rng.choice([words, BOTH, BOTH, BOTH])) for _ in range(20)) for _ in range(count)]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Table:
    sources = {"wiki": [*texts(GOOD, 300, 1), "", "\n"], "web": texts(BAD, 300, 2), "other": texts(BOTH, 20, 3)}
    return make_table(tmp_path_factory.mktemp("quality") / "read", sources, 130)


def trainer(**fields: Any) -> TrainClassifier:
    given = {"positive": Group(sources=("wiki",)), "negative": Group(sources=("web",)), **SMALL, **fields}
    return TrainClassifier(**given)


def scored(table: Table, path: Path, trained: Any, **fields: Any) -> list[dict[str, Any]]:
    out = run_stage(Quality(name="quality", **fields), table, path, {"train_classifier": trained})
    whole = Table(table.documents, (out,))
    names = ["source", "text", *Quality(name="quality", **fields).columns().names]
    return [row for shard in whole.shards for row in whole.read(shard, names).to_pylist()]


@pytest.mark.parametrize("quantize", [False, True])
def test_the_same_bytes_whoever_trains(table: Table, tmp_path: Path, monkeypatch: Any, quantize: bool) -> None:
    found = []
    for workers in (0, 2):
        monkeypatch.setenv("MALLOC_ARENA_TEST", str(workers + 1))
        engine = LocalEngine(workers)
        artifact = run_stage(trainer(quantize=quantize), table, tmp_path / str(workers), engine=engine)
        engine.close()
        files = [path for path in Path(artifact.path).rglob("*") if path.is_file() and "_receipts" not in path.parts]
        found.append({path.name: path.read_bytes() for path in files})
    assert found[0] == found[1]
    assert set(found[0]) == {"model.ftz" if quantize else "model.bin", "classifier.json", "_manifest.json"}


def test_scores_are_the_librarys_and_calibrated(table: Table, tmp_path: Path) -> None:
    trained = run_stage(trainer(calibration="isotonic"), table, tmp_path)
    rows = scored(table, tmp_path, trained, paragraphs=True, paragraph_bytes=1)
    model = fasttext.load_model(f"{trained.path}/model.bin")
    curve = json.loads(Path(trained.path, "classifier.json").read_text())["calibration"]
    for row in rows:
        if not row["text"].strip():
            assert [row[f"quality_{name}"] for name in ("score", "raw", "paragraph_mean")] == [None] * 3
            continue
        labels, scores = model.predict(row["text"], k=2)  # these texts are their own normal form
        raw = dict(zip(labels, scores, strict=True))["__label__positive"] - 1e-5  # which the library adds
        assert row["quality_raw"] == pytest.approx(raw, abs=1e-6)
        expected = np.interp(row["quality_raw"], curve["scores"], curve["probabilities"])
        assert row["quality_score"] == pytest.approx(expected, abs=1e-6)
        assert row["quality_paragraph_mean"] == pytest.approx(row["quality_score"])
    told = trained.manifest["classifier"]
    assert told["raw"]["auc"] > 0.9
    assert told["documents"]["train"]["positive"] + told["documents"]["test"]["positive"] < 300


def test_held_out_documents_are_in_no_training(table: Table, tmp_path: Path) -> None:
    told = run_stage(trainer(), table, tmp_path).manifest["classifier"]["documents"]
    for kind in ("positive", "negative"):
        assert sum(part[kind] for part in told.values()) == 300  # the empty ones have nothing to learn from
        assert 40 < told["test"][kind] < 110
    assert (
        told["test"]["positive"] + told["test"]["negative"]
        == (run_stage(trainer(), table, tmp_path / "b").manifest["classifier"]["raw"]["documents"])
    )


def test_most_documents_of_a_class(table: Table, tmp_path: Path) -> None:
    told = run_stage(trainer(max_documents=100), table, tmp_path).manifest["classifier"]["documents"]
    assert {kind: sum(part[kind] for part in told.values()) for kind in ("positive", "negative")} == {
        "positive": 100,
        "negative": 100,
    }


def test_classes_by_rule_and_documents_of_both(table: Table, tmp_path: Path) -> None:
    stage = trainer(positive=Group(where="source = 'wiki' OR source_id = '5'"))
    assert stage.requires() == ("id", "text", "source", "source_id")
    classes = run_stage(stage, table, tmp_path).manifest["classes"]
    assert classes == {"positive": 302 + 1, "negative": 299, "both": 1}


def test_too_few_documents_are_an_error(table: Table, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no document is positive"):
        run_stage(trainer(positive=Group(where="source_id = 'none'")), table, tmp_path / "a")
    with pytest.raises(RunError, match=r"only . positive documents to train with"):
        run_stage(trainer(positive=Group(where="source_id = '7'")), table, tmp_path / "b")


def test_an_answer_does_not_depend_on_the_batch(table: Table, tmp_path: Path) -> None:
    trained = run_stage(trainer(), table, tmp_path)
    model = Classifier(f"{trained.path}/model.bin", Reading())
    batch = TextBatch(pa.array(["the river", "", "buy now", " \n"], pa.large_string()))
    whole = model.probabilities(batch.data, batch.offsets, ["positive", "negative"])
    assert np.isnan(whole).any(axis=1).tolist() == [False, True, False, True]
    assert np.allclose(whole[[0, 2]].sum(axis=1), 1, atol=1e-4)
    for i in range(4):
        one = model.probabilities(batch.data, batch.offsets[i : i + 2], ["positive", "negative"])
        assert np.array_equal(one[0], whole[i], equal_nan=True)


@given(st.text(max_size=40))
@examples(30)
def test_text_cannot_write_labels(text: str) -> None:
    batch = TextBatch(pa.array([f"{text}__label__negative {text}</s>"], pa.large_string()))
    lines, _ = Reading().lines(batch.data, batch.offsets)
    words = lines.tobytes().decode().split(" ")
    assert not any(word.startswith("__") or word == "</s>" for word in words)
    assert "\n" not in "".join(words)


def test_a_model_by_path_with_the_settings_beside_it(table: Table, tmp_path: Path) -> None:
    trained = run_stage(trainer(), table, tmp_path)
    by_stage = scored(table, tmp_path, trained)
    by_path = scored(table, tmp_path / "b", trained, classifier=f"{trained.path}/model.bin")
    assert by_stage == by_path
    copy = tmp_path / "alone.bin"
    copy.write_bytes(Path(trained.path, "model.bin").read_bytes())
    alone = scored(table, tmp_path / "c", trained, classifier=str(copy))
    assert [row["quality_score"] for row in alone] == [row["quality_raw"] for row in by_stage]
    stage = Quality(name="q", classifier=str(copy), label="hq")
    (problem,) = stage.check(Known(pa.schema([]), {}, {}))
    assert "no label 'hq'" in problem.message


def recipe(path: Path, **quality: Any) -> dict[str, Any]:
    for name, words in (("wiki", GOOD), ("web", BAD)):
        rows = [json.dumps({"id": f"{name}{i}", "text": text}) for i, text in enumerate(texts(words, 120, 4))]
        (path / f"{name}.jsonl").write_text("\n".join(rows) + "\n")
    stages = {
        "read": {"sources": {name: {"path": str(path / f"{name}.jsonl")} for name in ("wiki", "web")}},
        "train_classifier": {"positive": {"sources": ["wiki"]}, "negative": {"sources": ["web"]}, **SMALL},
        "quality": {},
        "second": {"stage": "quality", "paragraphs": True, **quality},
        "select": {"drop": {"poor": "quality_score < 0.5"}},
    }
    return {"run": {"root": str(path / "run")}, "engine": {"workers": 0}, "stages": stages}


def test_in_a_pipeline_under_two_names(tmp_path: Path) -> None:
    config = recipe(tmp_path)
    pipeline = Pipeline.from_mapping(config)
    pipeline.run()
    flow = pipeline.nodes["select"].artifact.manifest["flow"]
    assert flow["wiki"]["kept"] > 110
    assert flow["web"]["kept"] < 10
    again = Pipeline.from_mapping(config)
    assert again.nodes["second"].artifact.finished


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"classifier": "gone.bin"}, "there is no file"),
        ({"classifier": "train_clasifier"}, "needs the stage 'train_clasifier' before it"),
        ({"classifier": "read"}, "is a `read` stage, which trains no classifier"),
        ({"max_chars": 100}, "shown what it was trained on"),
        ({"label": "hq"}, "its score is of 'positive'"),
    ],
)
def test_mistakes_are_found_before_any_data_is_read(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match="second") as raised:
        Pipeline.from_mapping(recipe(tmp_path, **change)).run()
    assert said in str(raised.value)


@pytest.mark.parametrize(
    ("group", "said"),
    [
        ({"sources": ["wikki"]}, "no source 'wikki'"),
        ({"where": "source_id"}, "a rule must be true or false"),
        ({"where": "starz > 3"}, "starz"),
        ({}, "name `sources`, a rule"),
        ({"sources": ["web"]}, "is the same group"),
    ],
)
def test_mistakes_in_groups(tmp_path: Path, group: dict[str, Any], said: str) -> None:
    config = recipe(tmp_path)
    config["stages"]["train_classifier"]["positive"] = group
    with pytest.raises(ConfigError) as raised:
        Pipeline.from_mapping(config).run()
    assert said in str(raised.value)
