"""`curate thresholds`: files or runs in, a table, a JSON file and rules for `select` out."""

import json
import random
from pathlib import Path

import polars as pl
import pytest

from curate.commands.thresholds import SHOWN, Comparison, compare, lines, measured, request_of
from curate.engine.local import LocalEngine
from curate.errors import ConfigError, RunError
from curate.pipeline import Pipeline
from curate.stages.select import Select, evaluate
from tests.runs import curate, curate_inline, document

GOOD, BAD = 300, 200


def write_corpora(folder: Path) -> tuple[Path, Path]:
    """Prose; and the same prose as shouting, with lists of links."""
    rng = random.Random(11)
    folder.mkdir(parents=True, exist_ok=True)
    good, bad = folder / "good.jsonl", folder / "bad.jsonl"
    good.write_text("\n".join(json.dumps({"text": document(rng, rng.randint(6, 30))}) for _ in range(GOOD)))
    links = "\n".join(f"- https://example.com/{n} {{x}}" for n in range(8))
    texts = [document(rng, rng.randint(6, 30)).upper() if n % 2 else links for n in range(BAD)]
    bad.write_text("\n".join(json.dumps({"text": text}) for text in texts))
    return good, bad


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_corpora(tmp_path_factory.mktemp("corpora"))


@pytest.fixture(scope="module")
def finished(corpora: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Runs of both corpora."""
    request = request_of(*map(str, corpora), str(tmp_path_factory.mktemp("runs")))
    for pipeline in request.pipelines.values():
        pipeline.run(LocalEngine(workers=0))
    return request.pipelines["good"].root, request.pipelines["bad"].root


def compared(good: str, bad: str, loss: float = 0.02, ignore: tuple[str, ...] = ()) -> Comparison:
    return compare(request_of(good, bad, "unused"), loss, ignore)


def test_rules_do_what_the_account_says(finished: tuple[str, str]) -> None:
    """The rules go through `select`, on the columns of both runs, and drop as many as were counted."""
    others = ("madlad_*", "rps_[b-z]*", "refinedweb_*", "rep_*", "nemo_*", "fineweb_*", "info_*", "text_*")
    found = compared(*finished, ignore=others)
    assert len(found.rules()) >= 2
    rules = Select(name="select", drop=dict(found.rules())).rules()
    together = found.account()["together"]
    assert together["bad_removed"] > 0.9
    assert 0 <= together["good_lost"] <= 0.02
    for root, share in zip(finished, (together["good_lost"], together["bad_removed"]), strict=True):
        corpus = measured(root, root)
        frame = pl.DataFrame({name: corpus.read(name) for name in corpus.types}).fill_nan(None)
        assert evaluate(rules, frame, "any").any(axis=0).mean() == pytest.approx(share)


def test_each_signal_keeps_to_the_budget(finished: tuple[str, str]) -> None:
    for loss in (0.0, 0.05, 1.0):
        signals = compared(*finished, loss=loss).signals
        assert all(signal.cut.good <= loss * GOOD for signal in signals if signal.cut)
        assert any(signal.cut for signal in signals)


def test_truth_values_are_signals(tmp_path: Path) -> None:
    for side, filler in (("good", "words"), ("bad", "Lorem ipsum")):
        text = f"{filler} and more of these.\n" * 3
        (tmp_path / f"{side}.jsonl").write_text("\n".join([json.dumps({"text": text})] * 60))
    request = request_of(str(tmp_path / "good.jsonl"), str(tmp_path / "bad.jsonl"), str(tmp_path / "out"))
    for pipeline in request.pipelines.values():
        pipeline.run(LocalEngine(workers=0))
    found = compare(request, 0.0, ["info_*", "text_*", "gopher_*", "rps_*", "rep_*"])
    signal = next(signal for signal in found.signals if signal.name == "c4_lorem_ipsum")
    assert signal.cut is not None
    assert (signal.cut.bad, signal.cut.good) == (60, 0)
    assert found.condition("c4_lorem_ipsum", signal.cut) == "c4_lorem_ipsum = TRUE"
    assert not any(each.name.startswith(("info_", "text_")) for each in found.signals)


def test_the_same_corpus_has_no_rules(finished: tuple[str, str]) -> None:
    found = compared(finished[0], finished[0])
    assert found.rules() == {}
    assert all(signal.separation is None or signal.separation.auc == 0.5 for signal in found.signals)
    assert any("No rule is proposed" in line for line in lines(found))


def test_settings_must_be_the_same(finished: tuple[str, str], corpora: tuple[Path, Path], tmp_path: Path) -> None:
    stages = {
        "read": {"sources": {"bad": {"path": str(corpora[1])}}},
        "heuristics": {"c4_min_line_words": 3},
        "information": {},
    }
    pipeline = Pipeline.from_mapping({"run": {"root": str(tmp_path / "run")}, "stages": stages})
    pipeline.run(LocalEngine(workers=0))
    found = compared(finished[0], pipeline.root)
    assert found.left_out["gopher_words"] == "measured with other settings or by another version"
    assert found.left_out["text_bytes"] == "only GOOD has it"
    assert {signal.name for signal in found.signals} == {name for name in found.good.types if name.startswith("info_")}


def test_mistakes(finished: tuple[str, str], tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        request_of(str(tmp_path / "no.jsonl"), str(tmp_path / "nope.jsonl"), str(tmp_path / "out"))
    assert [problem.where for problem in caught.value.problems] == [("GOOD",), ("BAD",)]
    with pytest.raises(ConfigError, match="there is no signal 'gopher_wrds'"):
        compared(*finished, ignore=("gopher_wrds",))
    stages = {"read": {"sources": {"a": {"path": str(finished[0])}}}}
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n')
    stages["read"]["sources"]["a"]["path"] = str(tmp_path / "a.jsonl")
    pipeline = Pipeline.from_mapping({"run": {"root": str(tmp_path / "bare")}, "stages": stages})
    pipeline.run(LocalEngine(workers=0))
    with pytest.raises(RunError, match="has been measured"):
        compared(finished[0], pipeline.root)


def test_from_the_command_line(corpora: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = curate("thresholds", *corpora, "--out", out, "--max-good-loss", "0.01", "--workers", "0")
    assert done.returncode == 0, done.stderr
    assert f"GOOD {corpora[0]}: {GOOD} documents" in done.stdout
    stanza = (out / "thresholds.yaml").read_text()
    assert stanza.rstrip() in done.stdout
    account = json.loads((out / "thresholds.json").read_text())
    assert account["max_good_loss"] == 0.01
    assert account["bad"] == {"name": str(corpora[1]), "documents": BAD}
    html = (out / "thresholds.html").read_text()
    rules = [signal for signal in account["signals"] if signal["when"]]
    assert html.count("<figure>") == min(len(rules), SHOWN) > 0
    assert rules[0]["when"].partition(" ")[0] in html
    again = curate_inline("thresholds", out / "good", out / "bad", "--max-good-loss", "0.01", "--ignore", "gopher_*")
    assert again.returncode == 0, again.stderr
    assert "gopher_" not in again.stdout


def test_mistakes_on_the_command_line(corpora: tuple[Path, Path], tmp_path: Path) -> None:
    done = curate_inline("thresholds", corpora[0], tmp_path / "missing.jsonl", "--text", "body")
    assert done.returncode == 2
    assert "--text of GOOD: good.jsonl: no field 'body'" in done.stderr
    assert "BAD:" in done.stderr
    assert "Traceback" not in done.stderr
