"""`curate label`: a finished run in, a gold file out, killed and resumed or not."""

import json
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from curate.commands.label import conclusion, introduction, keep_rate, subject_of
from curate.engine.local import LocalEngine
from curate.errors import ConfigError, RunError
from curate.pipeline import Pipeline
from curate.weak.gold.file import GoldAnswer, read_answers, read_gold
from curate.weak.gold.journal import Journal
from tests.runs import curate_inline, document
from tests.weak.gold.corpora import made_up_run


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A run with the column of `weak`."""
    root = tmp_path_factory.mktemp("scored")
    made_up_run(root, {"web": [n / 40 for n in range(40)], "books": [0.5] * 10})
    return str(root)


def run_of(folder: Path, workers: int) -> str:
    rng = random.Random(2)
    folder.mkdir()
    for source in ("prose", "notes"):
        rows = (json.dumps({"text": document(rng, rng.randint(3, 30))}) for _ in range(60))
        (folder / f"{source}.jsonl").write_text("\n".join(rows))
    sources = {source: {"path": str(folder / f"{source}.jsonl")} for source in ("prose", "notes")}
    stages = {"read": {"shard_bytes": "20kB", "sources": sources}, "size": {}}
    pipeline = Pipeline.from_mapping({"run": {"root": str(folder / "run")}, "stages": stages})
    pipeline.run(LocalEngine(workers=workers))
    return pipeline.root


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> str:
    return run_of(tmp_path_factory.mktemp("finished") / "it", 0)


def test_the_score_of_weak_divides_unless_told_otherwise(scored: str, finished: str) -> None:
    subject = subject_of(scored, 20)
    assert subject.strata.score == "weak_quality"
    assert set(subject.sample.strata) == {f"web, weak_quality {n}/5" for n in range(1, 6)} | {"books, weak_quality 5/5"}
    assert set(subject_of(scored, 20, by="weak_lang", groups=1).sample.strata) == {
        f"{lang}, weak_quality 1/1" for lang in ("en", "de", "null")
    }
    assert set(subject_of(finished, 20).sample.strata) == {"prose", "notes"}
    assert len(subject_of(finished, 20, score="text_bytes", groups=3).sample.strata) == 6


def test_the_sample_does_not_depend_on_workers(finished: str, tmp_path: Path) -> None:
    """Nor on where the run is: ids and columns decide, and those are of the input."""
    other = run_of(tmp_path / "it", 2)
    one, two = (subject_of(root, 30, score="text_bytes").sample for root in (finished, other))
    assert [(each.id, each.weight, each.stratum) for each in one.drawn] == [
        (each.id, each.weight, each.stratum) for each in two.drawn
    ]
    assert one.draw == two.draw


def test_mistakes(scored: str, finished: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        subject_of(finished, 20, by="sourc", score="text_byte", show_scores=True)
    assert [each.where[0] for each in caught.value.problems] == ["--by", "--score"]
    assert "did you mean 'source'?" in str(caught.value)
    with pytest.raises(ConfigError, match="--show-scores: there is no score"):
        subject_of(finished, 20, show_scores=True)
    with pytest.raises(ConfigError, match="--n: 5 documents are fewer than the strata"):
        subject_of(scored, 5)
    with pytest.raises(RunError, match="there is no run"):
        subject_of(str(tmp_path), 20)
    description = json.loads((Path(scored) / "run.json").read_text())
    description["stages"].append(
        {"name": "mix", "stage": "mix", "table": "read", "path": "mix-1", "fingerprint": "2" * 32}
    )
    made_up_run(tmp_path / "run", {"web": [0.5]})
    (tmp_path / "run" / "run.json").write_text(json.dumps(description))
    with pytest.raises(RunError, match=r"has not finished \(mix\)"):
        subject_of(str(tmp_path / "run"), 1)


def test_what_is_said(scored: str, tmp_path: Path) -> None:
    subject = subject_of(scored, 12)
    path = tmp_path / "gold.jsonl"
    with Journal(str(path)) as journal:
        questions = subject.questions(journal, 1000, show_scores=True)
        assert questions.read(subject.sample.drawn[0]).scores[0][0] == "weak_quality"
        for each in subject.sample.drawn[:4]:
            questions.answer(each, "keep" if each.source == "web" else "skip")
        said = "\n".join(conclusion(subject, journal))
        assert "4 of the 12 in this sample have one" in said
        assert "share of the corpus to keep, by this sample: 100 %" in said
        assert "of 6 strata" in said
        assert f"weak: {{gold: {path}}}" in said
        assert "4 have an answer already" in "\n".join(introduction(subject, journal, web=False))
        other = subject_of(scored, 50, seed=5)
        assert "4 have one from another draw" in "\n".join(introduction(other, journal, web=True))


def test_the_share_to_keep(scored: str, tmp_path: Path) -> None:
    """All documents asked about: the share itself. Corrections count, in whichever draw they were made."""
    subject = subject_of(scored, 50)
    with Journal(str(tmp_path / "gold.jsonl")) as journal:
        questions = subject.questions(journal, 1000, show_scores=False)
        for each in subject.sample.drawn:
            questions.answer(each, "keep" if each.source == "books" else "drop")
        estimate = keep_rate(journal.answers)
        assert estimate is not None
        assert estimate[0] == pytest.approx(0.2)
        assert estimate[1] < 0.2 < estimate[2]
        journal.append(GoldAnswer(subject.sample.drawn[0].id, "keep"))
        changed = 0.22 if subject.sample.drawn[0].source == "web" else 0.2
        assert f"by this sample: {100 * changed:.0f} %" in "\n".join(conclusion(subject, journal))
    assert keep_rate([GoldAnswer(bytes(16), "skip")]) is None


@pytest.mark.parametrize("shares", [(0.5, 0.5, 0.5), (0.9, 0.1, 0.4), (0.02, 0.05, 0.6)])
def test_the_interval_holds_the_share_as_often_as_it_says(shares: tuple[float, ...]) -> None:
    """Three strata of 2,000, 700 and 30 documents, of which 40, 14 and 6 are asked about."""
    rng = random.Random(6)
    sizes, asked = (2000, 700, 30), (40, 14, 6)
    labels = [["keep"] * round(size * share) for size, share in zip(sizes, shares, strict=True)]
    truth = sum(map(len, labels)) / sum(sizes)
    corpora = [kept + ["drop"] * (size - len(kept)) for kept, size in zip(labels, sizes, strict=True)]
    held = 0
    for _ in range(400):
        answers = [
            GoldAnswer(bytes([stratum]) + n.to_bytes(15, "big"), label, stratum=str(stratum), documents=size, draw="x")
            for stratum, (corpus, size, take) in enumerate(zip(corpora, sizes, asked, strict=True))
            for n, label in enumerate(rng.sample(corpus, take))
        ]
        estimate = keep_rate(answers)
        assert estimate is not None
        held += estimate[1] <= truth <= estimate[2]
    assert held >= 0.93 * 400


# -- the command -------------------------------------------------------------------------------------------------------


def test_killed_and_resumed(finished: str, tmp_path: Path) -> None:
    """What was answered stays; the rest is asked about, each document once, with the same file as if never killed."""
    options = ["label", finished, "--n", "12", "--score", "text_bytes", "--groups", "2", "--out"]
    path, whole = tmp_path / "gold.jsonl", tmp_path / "whole.jsonl"
    command = [sys.executable, "-m", "curate", *options, str(path)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    assert process.stdin is not None
    process.stdin.write("k\nd\ns\n")
    process.stdin.flush()
    end = time.monotonic() + 60
    while not path.exists() or path.read_bytes().count(b"\n") < 3:
        assert time.monotonic() < end
        time.sleep(0.02)
    process.kill()
    process.communicate()
    with path.open("ab") as file:
        file.write(b'{"id":"00')
    again = curate_inline(*options, path, typed="k\n" * 20)
    assert again.returncode == 0, again.stderr
    assert "was half written (9 bytes) and is cut off" in again.stdout
    assert "3 have an answer already" in again.stdout
    assert again.stdout.count("[k]eep") == 9
    assert "12 of the 12 in this sample have one" in again.stdout
    once = curate_inline(*options, whole, typed="k\nd\ns\n" + "k\n" * 9)
    assert path.read_bytes() == whole.read_bytes()
    assert "quality" not in once.stdout.partition("answers go to")[2].replace("weak: {gold", "")
    gold = read_gold(str(path))
    assert gold.weights.sum() == pytest.approx(120)
    assert len(gold.labels) == 11


def test_mistakes_on_the_command_line(finished: str, tmp_path: Path) -> None:
    out = tmp_path / "gold.jsonl"
    wrong = curate_inline("label", finished, "--out", out, typed="k\nyes\nd\n")
    assert wrong.returncode == 1
    assert "line 2 of the answers is 'yes'; valid: drop, keep, quit, skip, undo" in wrong.stderr
    assert len(read_answers(str(out))) == 1
    out.write_text("no\n")
    bad = curate_inline("label", finished, "--out", out, typed="k\n")
    assert bad.returncode == 2
    assert f"{out}:1: is not JSON" in bad.stderr
    assert "Traceback" not in wrong.stderr + bad.stderr
