"""`curate dedup` as a person uses it: files in, the four results out, mistakes named by option."""

import gzip
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.runs import curate, curate_inline


def text(seed: int, edits: int = 0) -> str:
    rng = random.Random(seed)
    tokens = [f"w{rng.randrange(3000)}" for _ in range(150)]
    for at in random.Random(f"{seed}/{edits}").sample(range(150), edits):
        tokens[at] = f"edit{edits}"
    return " ".join(tokens)


def write(path: Path, records: list[dict]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


@pytest.fixture
def web(tmp_path: Path) -> Path:
    """Twelve documents; 0 to 3 with a longer near copy each, 4 with an exact one; one row is broken."""
    records = [{"id": f"w{i}", "text": text(i), "dump": "old" if i % 2 else "new"} for i in range(12)]
    records += [{"id": f"near{i}", "text": text(i, 1) + " more", "dump": "old"} for i in range(4)]
    records += [{"id": "same4", "text": text(4).upper(), "dump": "new"}, {"id": "none", "text": None}]
    return write(tmp_path / "web.jsonl", records)


def dedup(*arguments: object) -> subprocess.CompletedProcess:
    return curate_inline("dedup", *map(str, arguments), "--workers", "0")


def kept_of(out: Path) -> pl.DataFrame:
    return pl.concat([pl.read_parquet(path) for path in sorted((out / "kept").iterdir())])


def test_four_results_that_agree(web: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = curate("dedup", web, "--out", out, "--workers", "0")
    assert done.returncode == 0, done.stderr
    assert "18 in, 12 kept, 5 dropped as near-duplicates, 1 quarantined (null_text 1)" in done.stdout
    kept, pairs, clusters = (
        kept_of(out),
        pl.read_parquet(out / "pairs.parquet"),
        pl.read_parquet(out / "clusters.parquet"),
    )
    assert kept.columns == ["id", "source", "source_id", "text", "url", "date", "meta", "minhash_dup_count"]
    names = set(kept["source_id"])
    assert names >= {f"near{i}" for i in range(4)} | {f"w{i}" for i in range(5, 12)}
    assert len(names & {"w4", "same4"}) == 1
    assert kept["minhash_dup_count"].sum() == 17
    assert sorted(pairs["keeper_source_id"])[:4] == ["near0", "near1", "near2", "near3"]
    assert not set(pairs["source_id"]) & names
    assert set(pairs["keeper"]) <= set(kept["id"])
    assert (pairs["jaccard"] > 0.49).all()
    assert clusters.group_by("cluster").len()["len"].to_list() == [2] * 5
    assert clusters.filter("keep")["source_id"].is_in(list(names)).all()
    report = json.loads((out / "report.json").read_text())
    assert report["sources"]["web"]["documents"] == {
        "in": 18, "kept": 12, "dropped": {"near_duplicate": 5}, "quarantined": {"null_text": 1},
    }  # fmt: skip
    assert report["sources"]["web"]["text_bytes"]["kept"] == sum(len(text.encode()) for text in kept["text"])
    assert report["cluster_sizes"] == {"2": 5}
    assert report["settings"]["bands"] == 14


def test_again_is_nothing_to_do_and_other_options_replace_the_results(web: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    dedup(web, "--out", out)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.parquet")}
    again = dedup(web, "--out", out)
    assert "nothing to do" in again.stdout
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.parquet")} == before
    changed = dedup(web, "--out", out, "--keep", "id asc", "--within", "dump")
    assert changed.returncode == 0, changed.stderr
    assert "finished before: read" in changed.stderr
    assert kept_of(out).height == 12 + 2  # of the near copies, those of w0 and w2 are of another dump
    assert {path.name for path in out.iterdir()} == {"kept", "pairs.parquet", "clusters.parquet", "report.json", "run"}


def test_a_field_of_the_input_says_which_is_best(tmp_path: Path) -> None:
    records = [
        {"id": f"v{i}", "text": text(0, i), "score": score}
        for i, score in enumerate([9, 10.5, None, "high", "10", {"a": 99}])
    ]
    path = write(tmp_path / "web.jsonl", records)
    done = dedup(path, "--out", tmp_path / "out", "--keep", "score desc")
    assert done.returncode == 0, done.stderr
    assert kept_of(tmp_path / "out")["source_id"].to_list() == ["v1"]
    typo = dedup(path, "--out", tmp_path / "other", "--keep", "scroe desc")
    assert (typo.returncode, "did you mean 'score'?" in typo.stderr) == (2, True)


def test_a_threshold_chooses_bands_and_rows(web: Path, tmp_path: Path) -> None:
    done = dedup(web, "--out", tmp_path / "out", "--threshold", "0.7", "--recall", "0.999", "--verify", "signature")
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    bands, rows = report["settings"]["bands"], report["settings"]["rows"]
    assert 1 - (1 - 0.7**rows) ** bands >= 0.999
    assert bands * rows <= 256
    assert report["settings"]["threshold"] == 0.7


def test_inputs_of_several_kinds_are_sources_and_priority_decides(web: Path, tmp_path: Path) -> None:
    books = pa.table({"key": ["b0", "b1"], "body": [text(0), "something else entirely"]})
    pq.write_table(books, tmp_path / "books.parquet")
    renamed = write(tmp_path / "x.jsonl", [{"key": "x0", "body": text(0, 2)}])
    first = ("--text", "body", "--id", "key", "--priority", "books")
    done = dedup(tmp_path / "books.parquet", f"late={renamed}", "--out", tmp_path / "out", *first)
    assert done.returncode == 0, done.stderr
    kept = kept_of(tmp_path / "out")
    assert dict(zip(kept["source_id"], kept["source"], strict=True)) == {"b0": "books", "b1": "books"}


def test_an_index_keeps_what_it_kept(web: Path, tmp_path: Path) -> None:
    dedup(web, "--out", tmp_path / "old", "--verify", "signature")
    dump = write(tmp_path / "dump.jsonl", [{"id": f"d{i}", "text": text(i, 2) + " much more text"} for i in (0, 5, 40)])
    done = dedup(dump, "--out", tmp_path / "new", "--index", tmp_path / "old", "--verify", "signature")
    assert done.returncode == 0, done.stderr
    assert kept_of(tmp_path / "new")["source_id"].to_list() == ["d40"]
    pairs = pl.read_parquet(tmp_path / "new" / "pairs.parquet")
    assert dict(zip(pairs["source_id"], pairs["keeper_source_id"], strict=True)) == {"d0": "near0", "d5": "w5"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--keep", "longst"], "--keep: must be 'longest', or a column"),
        (["--bands", "0"], "--bands: must be at least 1, got 0"),
        (["--verify", "jacard"], "--verify: "),
        (["--unit", "words"], "--unit: "),
        (["--within", "dmp"], "--within: the first records have no field 'dmp'\n    did you mean 'dump'?"),
        (["--priority", "wbe"], "--priority: there is no source 'wbe'\n    did you mean 'web'?"),
        (["--recall", "0.9"], "--recall: is the chance of finding a pair at the threshold"),
        (["--threshold", "0.8", "--bands", "9", "--recall", "0.9"], "--recall: chooses bands and rows, but --bands"),
        (["--threshold", "0.01", "--recall", "0.9999"], "--recall: 256 permutations find a pair"),
        (["--index", "nowhere"], "--index: there is no run in"),
        (["--text", "txt"], "--text: web.jsonl: no field 'txt'"),
        (["--closure", "--threshold", "0.8", "--verify", "off"], "--threshold: has no effect without verification"),
    ],
)  # fmt: skip
def test_mistakes_are_named_by_option_and_nothing_is_run(
    web: Path, tmp_path: Path, arguments: list[str], said: str
) -> None:
    done = dedup(web, "--out", tmp_path / "out", *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out" / "run").exists()


def test_the_help_tells_the_defaults() -> None:
    # Rich takes a word in brackets for markup, and prints nothing of it.
    said = " ".join(curate_inline("dedup", "--help").stdout.replace("\u2502", " ").split())
    for default in (
        "word (the default) or char",
        "jaccard (the default), signature",
        "own id; id unless given",
        "[14]",
    ):
        assert default in said


def test_a_file_that_breaks_half_way_is_told_of(web: Path, tmp_path: Path) -> None:
    whole = gzip.compress(web.read_bytes())
    (tmp_path / "half.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    done = dedup(web, tmp_path / "half.jsonl.gz", "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "warning: 1 of 1 files of half in quarantine: truncated" in done.stderr
    assert "files of web" not in done.stderr
    files = {
        name: of["files"] for name, of in json.loads((tmp_path / "out" / "report.json").read_text())["sources"].items()
    }
    assert (files["half"]["in"], files["half"]["kept"], files["half"]["quarantined"]) == (1, 0, {"truncated": 1})
    assert (files["web"]["in"], files["web"]["kept"], files["web"]["quarantined"]) == (1, 1, {})
    again = dedup(web, tmp_path / "half.jsonl.gz", "--out", tmp_path / "out")
    assert "nothing to do" in again.stdout
    assert "files of half in quarantine: truncated" in again.stderr
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    del report["sources"]["half"]["files"]  # as versions before wrote it
    (tmp_path / "out" / "report.json").write_text(json.dumps(report))
    assert (
        "files of half in quarantine: truncated"
        in dedup(web, tmp_path / "half.jsonl.gz", "--out", tmp_path / "out").stderr
    )


def test_results_are_not_written_over_their_own_index(web: Path, tmp_path: Path) -> None:
    old = tmp_path / "old"
    dedup(web, "--out", old)
    before = (old / "report.json").read_bytes()
    for index in (old, f"{old}/", old / "run"):
        done = dedup(web, "--out", old, "--index", index)
        assert done.returncode == 2
        assert "is where --out would write" in done.stderr
    assert (old / "report.json").read_bytes() == before


def test_a_field_inside_of_meta_is_found_by_the_hint(tmp_path: Path) -> None:
    records = [{"id": i, "text": text(i // 2), "meta": {"dump": i % 2}} for i in range(8)]
    path = write(tmp_path / "web.jsonl", records)
    wrong = dedup(path, "--out", tmp_path / "out", "--within", "meta.dump")
    assert wrong.returncode == 2
    assert "no field 'dump'\n    of the field 'meta' of the input, that is 'meta.meta.dump'" in wrong.stderr
    right = dedup(path, "--out", tmp_path / "out", "--within", "meta.meta.dump")
    assert right.returncode == 0, right.stderr
    assert len(kept_of(tmp_path / "out")) == 8


def test_missing_input_and_foreign_folders_are_mistakes(web: Path, tmp_path: Path) -> None:
    missing = dedup(tmp_path / "wbe.jsonl", "--out", tmp_path / "out")
    assert missing.returncode == 2
    assert "INPUT wbe: " in missing.stderr
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("")
    foreign = dedup(web, "--out", tmp_path / "mine")
    assert foreign.returncode == 2
    assert "holds something else, such as 'thesis.tex'" in foreign.stderr
    nowhere = dedup(web, "--out", "")
    assert nowhere.returncode == 2
    assert nowhere.stderr.startswith("--out: names no folder")
    file = dedup(web, "--out", web)
    assert file.returncode == 2
    assert "is a file" in file.stderr


def test_an_interrupted_run_goes_on(tmp_path: Path) -> None:
    path = write(tmp_path / "web.jsonl", [{"id": str(i), "text": text(i % 4000, i % 3)} for i in range(12_000)])
    command = [sys.executable, "-m", "curate", "dedup", str(path), "--out", str(tmp_path / "out"), "--workers", "1"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not list((tmp_path / "out").glob("run/read-*/_manifest.json")) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "To go on, run the same command again" in said
    assert not (tmp_path / "out" / "report.json").exists()
    again = curate("dedup", str(path), "--out", str(tmp_path / "out"), "--workers", "1")
    whole = curate("dedup", str(path), "--out", str(tmp_path / "whole"), "--workers", "1")
    assert again.returncode == whole.returncode == 0
    assert kept_of(tmp_path / "out").equals(kept_of(tmp_path / "whole"))
