"""Students of a column of probabilities, and the search for settings: the same bytes, hard labels, nulls, serving."""

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from curate import Pipeline
from curate.artifact import Artifact
from curate.classifiers.autotune import Autotune
from curate.classifiers.groups import Group
from curate.errors import ConfigError, RunError
from curate.report.build import build
from curate.stage import Known
from curate.stages.distill import Distill
from curate.stages.quality import Quality
from curate.stages.train_classifier import TrainClassifier
from curate.table import ParquetWriter, Table
from tests.corpus import make_table, run_stage
from tests.engine.engines import Engines
from tests.stages.test_quality import BAD, BOTH, GOOD, SMALL, texts

SEARCH = {"trials": 4, "over": ("lr", "epoch", "min_count")}


def mixed(count: int, seed: int) -> tuple[list[str], list[float]]:
    """Texts whose share of good words is their target."""
    rng = random.Random(seed)
    found, targets = [], []
    for _ in range(count):
        share = rng.random()
        words = [
            rng.choice(GOOD if rng.random() < share else BAD) if rng.random() < 0.5 else rng.choice(BOTH)
            for _ in range(40)
        ]
        found.append(" ".join(words))
        targets.append(share)
    return found, targets


def beside(table: Table, path: Path, targets: list[float | None] | list[bool], kind: pa.DataType) -> Table:
    """The table with a column ``teacher``."""
    side = Artifact("teacher", str(path / "teacher"), "1" * 32)
    schema = pa.schema([("teacher", kind)])
    for shard in table.shards:
        values = pa.array(targets[shard.first_row : shard.first_row + shard.rows], kind)
        with ParquetWriter(side.part(shard.name), schema) as writer:
            writer.write(pa.table([values], schema=schema))
    side.commit({}, {"columns": ["teacher"], "shards": table.documents.manifest["shards"]})
    return Table(table.documents, (side,))


def student(**fields: Any) -> Distill:
    given = {"target": "teacher", **SMALL, **fields}
    return Distill(**{name: value for name, value in given.items() if value is not None})


@pytest.fixture(scope="module")
def soft(tmp_path_factory: pytest.TempPathFactory) -> Table:
    path = tmp_path_factory.mktemp("soft")
    found, targets = mixed(700, 1)
    nulls: list[float | None] = [None if i % 7 == 0 else target for i, target in enumerate(targets)]
    table = make_table(path / "read", {"a": found[:400], "b": found[400:], "c": [""]}, 150)
    return beside(table, path, [*nulls, 0.5], pa.float32())


def content(artifact: Artifact) -> dict[str, bytes]:
    files = [path for path in Path(artifact.path).rglob("*") if path.is_file() and "_receipts" not in path.parts]
    return {path.name: path.read_bytes() for path in files}


@pytest.mark.parametrize("fields", [{"autotune": Autotune(**SEARCH, metric="auc")}, {"model": "linear"}])
def test_the_same_bytes_for_any_number_of_workers(
    engines: Engines, soft: Table, tmp_path: Path, fields: dict[str, Any]
) -> None:
    """With a search, whose trials run at the same time."""
    stage = student(**fields)
    found = [content(run_stage(stage, soft, tmp_path / str(workers), engine=engines(workers))) for workers in (0, 2)]
    assert found[0] == found[1]
    assert set(found[0]) == {stage.file, "classifier.json", "_manifest.json"}


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (pa.float64(), {"label": "drawn", "certainty": False}),
        (pa.bool_(), {"label": "likelier", "certainty": True}),
        (pa.float32(), {"model": "linear", "label": "drawn", "certainty": True}),
    ],
)
def test_certain_targets_are_learned_as_classes_are(tmp_path: Path, kind: pa.DataType, fields: dict[str, Any]) -> None:
    table = make_table(tmp_path / "read", {"wiki": texts(GOOD, 150, 1), "web": texts(BAD, 150, 2)}, 100)
    targets = beside(table, tmp_path, [row < 150 for row in range(300)], kind)
    groups = {"positive": Group(sources=("wiki",)), "negative": Group(sources=("web",))}
    model = {"model": fields.get("model", "fasttext")}
    trained = run_stage(TrainClassifier(**{**groups, **SMALL, **model}), table, tmp_path)
    taught = run_stage(student(**fields), targets, tmp_path)
    for name in (student(**model).file, "classifier.json"):
        assert Path(trained.path, name).read_bytes() == Path(taught.path, name).read_bytes()
    known, found = trained.manifest["classifier"], taught.manifest["student"]
    assert known["documents"] == found["documents"]
    for key in ("auc", "log_loss", "calibration_error"):
        assert found["calibrated"][key] == pytest.approx(known["calibrated"][key])
    assert found["raw"]["reliability"] == known["raw"]["reliability"]


@pytest.mark.parametrize("fields", [{"dim": 4, "lr": 0.1, "epoch": 20}, {"model": "linear", "lr": None}])
def test_the_student_follows_its_teacher(soft: Table, tmp_path: Path, fields: dict[str, Any]) -> None:
    artifact = run_stage(student(keep_rate=0.3, held_out=0.4, **fields), soft, tmp_path)
    told, targets = artifact.manifest["student"], artifact.manifest["targets"]
    assert (targets["learned_from"], targets["null"], targets["not_chosen"]) == (601, 100, 0)
    assert targets["mean"] == pytest.approx(0.5, abs=0.05)
    assert sum(sum(part.values()) for part in told["documents"].values()) == 600  # the empty one has nothing to show
    calibrated = told["calibrated"]
    assert calibrated["spearman"] > 0.88
    assert calibrated["auc"] > 0.93
    assert calibrated["mean_absolute_error"] < 0.12
    assert calibrated["least_log_loss"] < calibrated["log_loss"] < calibrated["least_log_loss"] + 0.05
    assert calibrated["kept"] == round(0.3 * calibrated["documents"])
    (speed,) = artifact.receipts("speed")
    assert speed.result["bytes"] > 0
    assert "seconds" not in json.dumps(artifact.manifest)


def test_documents_in_doubt_are_left_out_of_training_alone(soft: Table, tmp_path: Path) -> None:
    every = run_stage(student(certainty=False), soft, tmp_path / "a").manifest["student"]["documents"]
    sure = run_stage(student(certainty=True), soft, tmp_path / "b").manifest["student"]["documents"]
    assert every["test"] == sure["test"]
    assert every["calibrate"] == sure["calibrate"]
    share = sum(sure["train"].values()) / sum(every["train"].values())
    assert 0.35 < share < 0.65  # targets are even over 0 to 1, so the mean of |2 target - 1| is a half


def test_only_documents_of_the_group(soft: Table, tmp_path: Path) -> None:
    stage = student(documents=Group(sources=("a",), where="source_id != '3'"))
    assert stage.requires() == ("id", "text", "teacher", "source_id")
    found = run_stage(stage, soft, tmp_path).manifest["targets"]
    assert (found["learned_from"] + found["null"], found["not_chosen"]) == (399, 302)


def test_at_most_so_many_documents(soft: Table, tmp_path: Path) -> None:
    found = run_stage(student(max_documents=200), soft, tmp_path).manifest["student"]["documents"]
    assert sum(sum(part.values()) for part in found.values()) == 200


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([0.2, 1.5], "1 documents of a .* not within 0 to 1, such as 1.5"),
        ([-0.25, 1.5], "2 documents of a .* such as -0.25"),
        ([0.2, float("nan")], "such as nan"),
        ([None, None], "no document has a target"),
        ([1.0, 1.0], "only . .* documents to train with"),
    ],
)
def test_columns_that_are_no_probabilities(tmp_path: Path, values: list[float | None], said: str) -> None:
    table = make_table(tmp_path / "read", {"a": ["one two", "three four"]})
    with pytest.raises(RunError, match=said):
        run_stage(student(), beside(table, tmp_path, values, pa.float64()), tmp_path)


def test_a_column_that_cannot_be_a_probability() -> None:
    columns = pa.schema([("words", pa.int32()), ("score", pa.float32())])
    (problem,) = student(target="words").check(Known(columns, {}, {}))
    assert "'words' is of type int32, and no probability" in problem.message
    assert problem.hint.endswith(": score")
    assert not list(student(target="score").check(Known(columns, {}, {})))


def test_a_search_is_never_worse_than_the_settings_given(soft: Table, tmp_path: Path) -> None:
    given = {"dim": 4, "epoch": 2, "lr": 0.02}
    artifact = run_stage(student(**given, autotune=Autotune(**SEARCH)), soft, tmp_path / "a")
    found = artifact.manifest["student"]["tuning"]
    assert [rung["trials"] for rung in found["rungs"]] == [4]
    assert found["trials"][0]["parameters"] == {"bucket": 500, "word_ngrams": 2, "min_count": 2, **given}
    values = [trial["values"][-1] for trial in found["trials"]]
    assert values[found["chosen"]] == min(values)
    assert values[0] > min(values)  # the settings given are poor
    assert found["parameters"] == found["trials"][found["chosen"]]["parameters"]
    # What the search found and did not see: the same settings, given, make the same model.
    again = run_stage(student(**found["parameters"]), soft, tmp_path / "b")
    assert content(again)["model.bin"] == content(artifact)["model.bin"]
    assert len(list(artifact.receipts("tune-0"))) == 4


def test_a_search_survives_settings_that_diverge(soft: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from curate.classifiers import fasttext

    plain = fasttext.train

    def failing(lines: Path, model: Path, parameters: dict[str, Any], *, quantize: bool) -> None:
        if parameters["lr"] > 0.1:
            raise fasttext.DivergedError("fastText could not train: Encountered NaN.")
        plain(lines, model, parameters, quantize=quantize)

    monkeypatch.setattr(fasttext, "train", failing)
    fields = {**SMALL, "lr": 0.05, "autotune": Autotune(trials=5, over=("lr",))}
    found = run_stage(student(**fields), soft, tmp_path / "a").manifest["student"]["tuning"]
    values = {trial["parameters"]["lr"]: trial["values"] for trial in found["trials"]}
    assert {lr > 0.1 for lr in values} == {True, False}
    assert all((found == [None]) == (lr > 0.1) for lr, found in values.items())
    assert found["parameters"]["lr"] <= 0.1


def recipe(path: Path, **distill: Any) -> dict[str, Any]:
    """A classifier gives the column that the student learns."""
    for name, words in (("wiki", GOOD), ("web", BAD)):
        rows = [json.dumps({"id": f"{name}{i}", "text": text}) for i, text in enumerate(texts(words, 120, 4))]
        (path / f"{name}.jsonl").write_text("\n".join(rows) + "\n")
    stages = {
        "read": {"sources": {name: {"path": str(path / f"{name}.jsonl")} for name in ("wiki", "web")}},
        "train_classifier": {"positive": {"sources": ["wiki"]}, "negative": {"sources": ["web"]}, **SMALL},
        "quality": {},
        "distill": {"target": "quality_score", **SMALL, **distill},
        "taught": {"stage": "quality", "classifier": "distill"},
    }
    return {"run": {"root": str(path / "run")}, "engine": {"workers": 0}, "stages": stages}


@pytest.mark.parametrize("model", ["fasttext", "linear"])
def test_served_in_the_run_and_in_another(tmp_path: Path, model: str) -> None:
    config = recipe(tmp_path, keep_rate=0.5, calibration="isotonic", model=model)
    pipeline = Pipeline.from_mapping(config)
    pipeline.run()
    trained = pipeline.nodes["distill"].artifact
    other = {
        "run": {"root": str(tmp_path / "other")},
        "engine": {"workers": 0},
        "stages": {
            "read": config["stages"]["read"],
            "taught": {"stage": "quality", "classifier": f"{trained.path}/{pipeline.nodes['distill'].stage.file}"},
        },
    }
    second = Pipeline.from_mapping(other)
    second.run()
    found = []
    for run in (pipeline, second):
        table = Table(run.nodes["read"].artifact, (run.nodes["taught"].artifact,))
        found.append([table.read(shard, ["id", "taught_score", "taught_raw"]).to_pydict() for shard in table.shards])
    assert found[0] == found[1]
    scores = np.concatenate([part["taught_score"] for part in found[0]])
    assert scores.std() > 0.1
    build(str(tmp_path / "run"))
    facts = json.loads((tmp_path / "run" / "report.json").read_text())
    (told,) = facts["students"]
    manifest = trained.manifest["student"]
    assert told["raw"] == manifest["raw"]
    assert told["speed"] > 0
    page = (tmp_path / "run" / "report.html").read_text()
    assert f"distill follows quality_score with a rank correlation of {manifest['calibrated']['spearman']:.4f}" in page


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"target": "quality_scor"}, "quality_scor"),
        ({"target": "source_id"}, "'source_id' is of type string, and no probability"),
        ({"keep_rate": 1.5}, "keep_rate"),
        ({"label": "drown"}, "drawn"),
        ({"documents": {"sources": ["wikki"]}}, "no source 'wikki'"),
        ({"autotune": {"trials": 1}}, "trials"),
        ({"model": "linear", "autotune": {}}, "is for fastText's models"),
        ({"model": "linear", "quantize": True}, "is for fastText's models"),
        ({"autotune": {"over": ["lrr"]}}, "lr"),
    ],
)
def test_mistakes_are_found_before_any_data_is_read(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match="distill") as raised:
        Pipeline.from_mapping(recipe(tmp_path, **change)).run()
    assert said in str(raised.value)


def test_quality_names_what_trains() -> None:
    known = Known(pa.schema([]), {}, {"distill": Distill(), "heuristics": Quality()})
    assert not list(Quality(classifier="distill").check(known))
    (problem,) = Quality(classifier="heuristics").check(known)
    assert "`distill` or `train_classifier`" in problem.hint
