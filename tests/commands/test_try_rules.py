"""`curate plan` tries the rules of `select` on a few documents, and says what looks like a mistake."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from curate.commands.try_rules import DOCUMENTS, MOST, Sampled, Trial, try_rules
from curate.pipeline import Pipeline
from curate.stages.read import Read
from curate.stages.select import Select
from tests.runs import curate_inline, document, write_config

SOURCES = {"prose": 60, "short": 60, "mixed": 60}


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prose that no rule minds; documents of three words; and one of ten that is prose."""
    folder = tmp_path_factory.mktemp("texts")
    rng = random.Random(2)
    for source, count in SOURCES.items():
        short = {"prose": 0, "short": count, "mixed": count * 9 // 10}[source]
        rows = ["too few words"] * short + [document(rng, 24) for _ in range(count - short)]
        (folder / f"{source}.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in rows))
    return folder


def pipeline(texts: Path, tmp_path: Path, select: dict[str, Any], **stages: Any) -> Pipeline:
    sources = {source: {"path": f"{texts}/{source}.jsonl"} for source in SOURCES}
    before = {"read": {"sources": sources}, "heuristics": {}, "exact": {}, **stages}
    return Pipeline.from_mapping({"run": {"root": f"{tmp_path}/run"}, "stages": before | {"select": select}})


def test_a_preset_that_drops_nearly_all_or_nothing(texts: Path, tmp_path: Path) -> None:
    (tried,) = try_rules(pipeline(texts, tmp_path, {"presets": ["gopher"], "thresholds": {"gopher_words_min": 10}}))
    assert {trial.source: (trial.documents, trial.dropped["gopher"]) for trial in tried.trials} == {
        "prose": (60, 0),
        "short": (60, 60),
        "mixed": (60, 54),
    }
    assert list(tried.warnings()) == [
        "gopher drops 60 of 60 documents of short, gopher_words_min alone 60",
        "gopher drops nothing of prose",
    ]
    assert not Path(f"{tmp_path}/run").exists()


def trial(dropped: dict[str, int], together: int, documents: int = 100, source: str = "web") -> Trial:
    return Trial(source, documents, dropped, {group: (group, count) for group, count in dropped.items()}, together)


def said(*trials: Trial) -> list[str]:
    return list(Sampled(Select(name="select"), trials, ()).warnings())


def test_the_limits_from_both_sides() -> None:
    at = round(MOST * 100)
    assert said(trial({"c4": at}, at)) == []
    assert said(trial({"c4": at + 1}, at + 1)) == ["c4 drops 91 of 100 documents of web"]
    assert said(trial({"c4": 1}, 1)) == []
    assert said(trial({"c4": 0}, 0)) == ["c4 drops nothing of web"]
    assert said(trial({"a": 60, "b": 60}, at + 1)) == ["all rules together drop 91 of 100 documents of web"]


def test_a_rule_of_ones_own_may_drop_nothing_of_some_sources() -> None:
    """Presets are meant for all that they are given; a rule such as a longest length often has nothing to do."""
    some, other = trial({"own": 0, "c4": 0}, 0), trial({"own": 3, "c4": 3}, 3, source="books")
    assert said(some, other) == ["c4 drops nothing of web"]
    assert said(some, trial({"own": 0, "c4": 1}, 1, source="books")) == [
        "own drops nothing of any source",
        "c4 drops nothing of web",
    ]


def test_what_is_not_meant_for_a_source_is_not_missed_there(texts: Path, tmp_path: Path) -> None:
    drop = {"tiny": {"when": "text_bytes < 5", "sources": ["prose"]}}
    presets = [{"preset": "gopher", "sources": ["short", "mixed"]}, {"preset": "refinedweb", "sources": ["mixed"]}]
    (tried,) = try_rules(pipeline(texts, tmp_path, {"presets": presets, "drop": drop}))
    assert [set(trial.dropped) for trial in tried.trials] == [{"tiny"}, {"gopher"}, {"gopher", "refinedweb"}]
    assert "tiny drops nothing of prose" in list(tried.warnings())


def test_rules_for_english_say_so(texts: Path, tmp_path: Path) -> None:
    folder = tmp_path / "german"
    folder.mkdir()
    for source in SOURCES:
        rows = [json.dumps({"text": " ".join(["Wort für Wort und Satz für Satz steht hier."] * 9)})] * 30
        (folder / f"{source}.jsonl").write_text("\n".join(rows))
    (tried,) = try_rules(pipeline(folder, tmp_path, {"presets": ["gopher"]}))
    warning = next(iter(tried.warnings()))
    assert "gopher_stop_words_min alone 30" in warning
    assert "`language: lang_code`" in warning


def test_rules_that_need_all_documents_are_left_out(texts: Path, tmp_path: Path) -> None:
    drop = {"copy": "NOT exact_keep", "both": "NOT exact_keep AND gopher_words < 9", "tiny": "text_bytes < 5"}
    (tried,) = try_rules(pipeline(texts, tmp_path, {"drop": drop}))
    assert tried.left_out == ("copy", "both")
    assert [set(trial.dropped) for trial in tried.trials] == [{"tiny"}] * 3


def test_a_select_without_rules_or_that_has_run_is_not_tried(texts: Path, tmp_path: Path) -> None:
    from curate.engine.local import LocalEngine

    assert try_rules(pipeline(texts, tmp_path, {})) == []
    made = pipeline(texts, tmp_path, {"drop": {"tiny": "text_bytes < 5"}})
    assert len(try_rules(made)) == 1
    made.run(LocalEngine(workers=0))
    assert try_rules(made) == []


def test_a_sample_is_small_and_always_the_same(tmp_path: Path) -> None:
    for number in range(9):
        rows = [json.dumps({"id": f"{number}-{row}", "text": f"document {row} of {number}"}) for row in range(300)]
        (tmp_path / f"{number}.jsonl").write_text("\n".join(rows))
    stage = Read(name="read", sources={"web": {"path": str(tmp_path)}}, shard_bytes=12_000)  # type: ignore[arg-type]
    first, again = stage.sample(DOCUMENTS, 10**6)["web"], stage.sample(DOCUMENTS, 10**6)["web"]
    assert first.equals(again)
    assert first.num_rows == DOCUMENTS
    ids = first["source_id"].to_pylist()
    assert {name.partition("-")[0] for name in ids} == {"0", "2", "4", "6"}
    assert ids[:2] == ["0-0", "0-1"]
    little = stage.sample(DOCUMENTS, 4000)["web"]
    assert 0 < little.num_rows < DOCUMENTS


def test_broken_input_does_not_stop_a_plan(texts: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    for source in SOURCES:
        (broken / f"{source}.jsonl").write_text('{"text": "some words here"}\n{"text": 3}\nnot json\n')
    (tried,) = try_rules(pipeline(broken, tmp_path, {"presets": ["c4"]}))
    assert [trial.documents for trial in tried.trials] == [1, 1, 1]


def test_plan_on_the_command_line(texts: Path, tmp_path: Path) -> None:
    stages = {
        "read": {"sources": {source: {"path": f"{texts}/{source}.jsonl"} for source in SOURCES}},
        "heuristics": {},
        "select": {"presets": ["gopher"], "thresholds": {"gopher_words_min": 10}},
    }
    config = write_config(tmp_path / "c.yaml", {"run": {"root": f"{tmp_path}/run"}, "stages": stages})
    done = curate_inline("plan", config)
    assert done.returncode == 0, done.stderr
    assert "select on 180 documents" in done.stdout
    assert "warning: gopher drops 60 of 60 documents of short" in done.stdout
    assert "warning: gopher drops nothing of prose" in done.stdout
    assert "mixed" not in done.stdout.partition("select on")[2]
    assert "warning" not in curate_inline("plan", config, "--no-sample").stdout
