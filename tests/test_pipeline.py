"""Whole runs: any engine and number of workers gives the same bytes; a change re-runs what it touches and no more."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from curate import Pipeline
from curate.artifact import fingerprint
from curate.cli import _say_what
from curate.commands.plan import plan
from curate.config.load import from_mapping
from curate.errors import ConfigError, RunError
from curate.pipeline import balance
from curate.registry import stage_type
from curate.stages import Exact, Heuristics, LangId, MinHash, Read, Select, Source
from tests.runs import configuration, curate, curate_inline, digests, write_config


@pytest.fixture(scope="module")
def finished(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, inline."""
    root = tmp_path_factory.mktemp("finished") / "run"
    Pipeline.from_mapping(configuration(data, root, workers=0)).run()
    return root


def running(config: dict[str, Any]) -> set[str]:
    """Names of the stages that would run."""
    return {step.name for step in plan(Pipeline.from_mapping(config)) if step.state != "cached"}


@pytest.mark.parametrize("engine", [{"workers": 1}, {"workers": 2}, {"kind": "ray", "workers": 2}], ids=str)
def test_same_bytes_on_any_engine(data: Path, finished: Path, tmp_path: Path, engine: dict[str, Any]) -> None:
    config = write_config(tmp_path / "config.yaml", configuration(data, tmp_path / "run", **engine))
    done = curate("run", config)
    assert done.returncode == 0, done.stderr
    assert digests(tmp_path / "run") == digests(finished)


def test_every_stage_accounts_for_every_document(finished: Path) -> None:
    stages = json.loads((finished / "run.json").read_text())["stages"]
    assert len(stages) == 13
    for stage in stages:
        manifest = json.loads((finished / stage["path"] / "_manifest.json").read_text())
        assert set(manifest["flow"]) == {"prose", "notes"}, stage["name"]
        balance(stage["name"], manifest["flow"])
    quarantined = json.loads(next(finished.glob("read-*/_manifest.json")).read_text())["flow"]["prose"]["quarantined"]
    assert sum(quarantined.values()) == 2


def test_a_lost_document_stops_the_run() -> None:
    with pytest.raises(RunError, match="lost count of web: 3 documents in"):
        balance("select", {"web": {"in": 3, "kept": 1, "dropped": {"short": 1}, "quarantined": {}}})


@pytest.mark.parametrize(
    ("stage", "field", "value", "touched"),
    [
        ("heuristics", "c4_min_line_words", 3, {"heuristics", "select", "tokens", "mix", "shards"}),
        ("select", "drop", {"short": "gopher_words < 25"}, {"select", "tokens", "mix", "shards"}),
        ("langid", "max_chars", 100, {"langid", "shards"}),
        ("information", "zstd_level", 5, {"information"}),
        ("shards", "shard_size", "50kB", {"shards"}),
        ("mix", "budgets", ["8k"], {"mix", "shards"}),
    ],
)
def test_a_change_runs_what_it_touches(
    data: Path, finished: Path, stage: str, field: str, value: object, touched: set[str]
) -> None:
    config = configuration(data, finished, workers=0)
    assert running(config) == set()
    config["stages"][stage][field] = value
    assert running(config) == touched


def test_engine_settings_and_the_place_of_the_data_change_nothing(data: Path, finished: Path, tmp_path: Path) -> None:
    config = configuration(data, finished, workers=7)
    assert running(config) == set()
    moved = tmp_path / "moved"
    moved.symlink_to(data)
    assert running(configuration(moved, finished)) == set()


def test_a_new_seed_touches_the_mixture_alone(data: Path, finished: Path) -> None:
    config = configuration(data, finished)
    config["run"]["seed"] = 4
    assert running(config) == {"mix", "shards"}


def test_the_order_of_rules_counts(data: Path, finished: Path) -> None:
    config = configuration(data, finished)
    config["stages"]["select"]["drop"] = dict(reversed(config["stages"]["select"]["drop"].items()))
    assert "select" in running(config)


def test_plan_says_why(data: Path, finished: Path) -> None:
    config = configuration(data, finished)
    config["stages"]["select"]["drop"]["short"] = "gopher_words < 21"
    steps = {step.name: step for step in plan(Pipeline.from_mapping(config))}
    assert "drop.short: gopher_words < 20 -> gopher_words < 21" in steps["select"].why
    assert steps["tokens"].why == "select runs"


def test_two_drivers_do_not_share_a_run(data: Path, tmp_path: Path) -> None:
    import fcntl

    root = tmp_path / "run"
    root.mkdir()
    with open(root / ".lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(RunError, match="another run is at work"):
            Pipeline.from_mapping(configuration(data, root, workers=0)).run()


def test_clashing_columns_and_missing_stages_are_found_before_data_is_read(data: Path, tmp_path: Path) -> None:
    config = configuration(data, tmp_path / "run")
    config["stages"]["again"] = {"stage": "langid", "max_chars": 64}
    with pytest.raises(ConfigError, match="'lang_code', which 'langid' promises already"):
        Pipeline.from_mapping(config)
    for stages in ({"langid": {}}, {"information": {}, "select": {}}):
        with pytest.raises(ConfigError, match="begin with a `read` stage"):
            Pipeline.from_mapping({"run": {"root": str(tmp_path)}, "stages": stages})
    read = config["stages"]["read"]
    clash = {"read": read, "one": {"stage": "langid"}, "two": {"stage": "langid", "max_chars": 99, "after": ["read"]}}
    rule = {"drop": {"foreign": "lang_code <> 'en'"}, "after": ["one", "two"]}
    for stages, said in (
        ({"read": read, "more": {**read, "stage": "read"}}, "those of 'read' would be lost"),
        ({"read": read, "size": {"stage": "information"}, "select": {}}, "promises already|choose another name"),
        ({**clash, "select": rule}, "promises the column 'lang_code', which 'one' promises already"),
    ):
        with pytest.raises(ConfigError, match=said):
            Pipeline.from_mapping({"run": {"root": str(tmp_path)}, "stages": stages})


def test_a_root_that_is_a_file(data: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    done = curate_inline("run", write_config(tmp_path / "c.yaml", configuration(data, tmp_path / "taken" / "run")))
    assert done.returncode == 1
    assert "run.root cannot be made" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_budget_that_the_kept_documents_cannot_give(data: Path, tmp_path: Path) -> None:
    config = configuration(data, tmp_path / "run", workers=0)
    config["stages"]["mix"]["budgets"] = ["180k"]
    done = curate_inline("run", write_config(tmp_path / "c.yaml", config))
    assert done.returncode == 2, done.stderr
    assert "stages.mix.budgets.0" in done.stderr
    assert "c.yaml:" in done.stderr
    assert "what is done is kept" in done.stderr


def test_a_model_that_is_none(data: Path, tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(b"no model")
    config = configuration(data, tmp_path / "run")
    config["stages"]["langid"]["model"] = str(tmp_path / "model.bin")
    with pytest.raises(ConfigError, match="cannot be opened"):
        Pipeline.from_mapping(config)
    config["stages"]["langid"]["model"] = str(tmp_path / "nowhere.bin")
    with pytest.raises(ConfigError, match="curate models fetch"):
        Pipeline.from_mapping(config)


def test_ctrl_c_ends_cleanly_and_says_how_to_go_on(data: Path, finished: Path, tmp_path: Path) -> None:
    config = write_config(tmp_path / "config.yaml", configuration(data, tmp_path / "run"))
    process = subprocess.Popen(
        [sys.executable, "-m", "curate", "run", str(config)], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 120
    while not list((tmp_path / "run").glob("read-*/_receipts/*.json")) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert "To go on, run the same command again" in said
    again = curate("run", config)
    assert again.returncode == 0, again.stderr
    assert digests(tmp_path / "run") == digests(finished)


def test_explain_and_report_of_a_finished_run(finished: Path) -> None:
    table = pq.read_table(next(finished.glob("read-*")).joinpath("part-00000-000.parquet"), columns=["id"])
    document = table["id"][0].as_py().hex()
    told = curate("explain", finished, document)
    assert told.returncode == 0, told.stderr
    for word in ("prose", "lang_code", "gopher_words"):
        assert word in told.stdout
    assert curate_inline("explain", finished, "ffffffffffffffff").returncode == 1
    built = curate_inline("report", finished)
    assert built.returncode == 0, built.stderr
    assert "report.html" in built.stdout
    assert curate_inline("status", finished / "nowhere").returncode == 1


def test_a_run_in_a_folder_of_its_own_name(data: Path, tmp_path: Path) -> None:
    """Relative roots are relative to where the command runs."""
    config = configuration(data, Path("runs/x"), workers=0)
    config["stages"] = {"read": config["stages"]["read"], "select": {}}
    done = curate("run", write_config(tmp_path / "c.yaml", config), cwd=tmp_path, env={**os.environ})
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "runs" / "x" / "report.html").is_file()


def test_the_command_says_what_every_stage_dropped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"id": "a", "text": "\u200b"}, {"id": "b", "text": "short"}, {"id": "c", "text": "a long enough line"}]
    (tmp_path / "web.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    stages = {
        "read": {"sources": {"web": {"path": str(tmp_path / "web.jsonl")}}},
        "clean": {},
        "size": {},
        "select": {"drop": {"short": "text_bytes < 10"}},
    }
    pipeline = Pipeline.from_mapping(
        {"run": {"root": str(tmp_path / "run")}, "engine": {"workers": 0}, "stages": stages}
    )
    pipeline.run()
    _say_what(pipeline)
    assert capsys.readouterr().out.splitlines() == [
        "read  3 in, 3 kept",
        "clean  3 in, 2 kept, 1 dropped (emptied 1)",
        "select  2 in, 1 kept, 1 dropped (short 1)",
    ]


@pytest.mark.parametrize("kind", ["langid", "stopwords", "urls"])
def test_another_version_of_a_package_is_another_fingerprint(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = stage_type(kind)(name=kind)
    before = fingerprint(stage.payload(0, {}))
    assert all(stage.identity()["packages"].values())
    monkeypatch.setattr("curate.artifact.metadata.version", lambda name: "0")
    assert fingerprint(stage.payload(0, {})) != before


def test_a_source_that_a_stage_leaves_empty_goes_on_empty(tmp_path: Path) -> None:
    lines = {"a": [f"Line {n} of the first source." for n in range(30)], "b": ["The same line."] * 30}
    for name, own in lines.items():
        rows = "".join(json.dumps({"text": line}) + "\n" for line in own)
        (tmp_path / f"{name}.jsonl").write_text(rows)
    stages = {
        "read": {"sources": {name: {"path": str(tmp_path / f"{name}.jsonl")} for name in lines}},
        "paragraphs": {"unit": "line", "keep": "none"},
        "heuristics": {},
    }
    config = {"run": {"root": str(tmp_path / "run")}, "engine": {"workers": 0}, "stages": stages}
    pipeline = Pipeline.from_mapping(config)
    pipeline.run()
    assert pipeline.nodes["paragraphs"].artifact.manifest["flow"]["b"]["kept"] == 0
    assert pipeline.nodes["heuristics"].artifact.manifest["flow"]["a"]["kept"] == 30


# -- in Python ---------------------------------------------------------------------------------------------------------


def test_stages_in_python_and_in_a_recipe_are_the_same_pipeline(data: Path, tmp_path: Path) -> None:
    drop = {"short": "gopher_words < 20", "copy": "NOT near_keep"}
    sources = {"prose": Source(path=f"{data}/prose.jsonl")}
    stages = [
        Read(sources=sources, shard_bytes=60_000),
        Heuristics(),
        MinHash(name="near", bands=20),
        Select(drop=drop),
    ]
    pipeline = Pipeline(stages, root=tmp_path / "run", seed=3, workers=2)
    recipe = {
        "run": {"root": str(tmp_path / "run"), "seed": 3},
        "engine": {"workers": 2},
        "stages": {
            "read": {"sources": {"prose": {"path": f"{data}/prose.jsonl"}}, "shard_bytes": "60kB"},
            "heuristics": {},
            "near": {"stage": "minhash", "bands": 20},
            "select": {"drop": drop},
        },
    }
    assert pipeline.config.to_yaml() == from_mapping(recipe).to_yaml()
    same = Pipeline.from_mapping(recipe)
    assert {name: node.artifact for name, node in pipeline.nodes.items()} == {
        name: node.artifact for name, node in same.nodes.items()
    }
    assert pipeline.run().finished
    assert running(recipe) == set()
    again = tmp_path / "run" / "run.yaml"
    assert all(node.artifact.finished for node in Pipeline.from_yaml(str(again)).nodes.values())


def test_mistakes_in_python_name_the_stage(data: Path, tmp_path: Path) -> None:
    read = Read(sources={"prose": Source(path=f"{data}/prose.jsonl")})
    root = tmp_path / "run"
    two = (
        "stages.langid: two stages are of the kind 'langid' and have no name of their own\n    give one of them another"
    )
    for stages, settings, message in (
        ([read, LangId(), LangId(max_chars=64)], {}, two),
        ([read, LangId(name="one"), LangId(name="one")], {}, "stages.one: two stages have this name"),
        ([read, LangId(name="Two Words")], {}, "stages.Two Words: 'Two Words' cannot name a stage"),
        (
            [read, Select(drop={"short": "gopher_word < 3"})],
            {},
            r"stages.select.drop.short: no stage before it promises",
        ),
        (
            [read, Exact(name="exact", after=("reed",))],
            {},
            "stages.exact.after: there is no stage 'reed'\n    did you mean",
        ),
        ([], {}, "stages: there are none"),
        ([read], {"seed": -1}, "run.seed: must be at least 0"),
        ([read], {"workers": -1}, "engine.workers: must be at least 0, got -1"),
        ([read], {"address": "auto"}, "engine: address is for kind 'ray'"),
        ([read], {"engine": "spark"}, "engine.kind: 'spark' is not one of 'local', 'ray'"),
        ([LangId()], {}, "stages.langid: no stage before it makes documents"),
    ):
        with pytest.raises(ConfigError) as error:
            Pipeline(stages, root=root, **settings)
        assert str(error.value).startswith(message), str(error.value)
    assert not root.exists()
