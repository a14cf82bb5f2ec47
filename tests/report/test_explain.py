"""`explain` tells of a document what the run's files hold, and says how to find one when there is none."""

from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from curate import storage
from curate.artifact import Artifact
from curate.errors import RunError
from curate.report.difference import difference
from curate.report.explain import explain
from curate.report.explanation import Explanation, QuarantinedRow
from curate.table import DOCUMENT, ParquetWriter
from tests.corpus import document_id


def columns(root: Path) -> pl.DataFrame:
    """Documents and what the deduplicating and mixing stages wrote beside them."""
    paths = {stage["name"]: root / stage["path"] for stage in storage.read_json(f"{root}/run.json")["stages"]}
    frames = [
        pl.concat([pl.read_parquet(path) for path in sorted(paths[stage].glob("part-*.parquet"))])
        for stage in ("read", "exact", "minhash", "select", "mix", "heuristics")
    ]
    strings = pl.col("source", "drop_reason", "mix_split").cast(pl.String)
    return pl.concat(frames, how="horizontal").with_columns(strings)


@pytest.fixture(scope="module")
def rows(run_root: Path) -> pl.DataFrame:
    return columns(run_root)


def explained(root: Path, row: dict) -> Explanation:
    found = explain(str(root), row["id"].hex())
    assert isinstance(found, Explanation)
    return found


def test_dropped_copy(run_root: Path, rows: pl.DataFrame) -> None:
    row = rows.filter(~pl.col("exact_keep")).row(0, named=True)
    found = explained(run_root, row)
    assert (found.id, found.source, found.source_id) == (row["id"].hex(), row["source"], row["source_id"])
    assert found.keep is False
    assert [rule.name for rule in found.rules] == ["copy", "near_copy"]
    assert found.rules[0].when == "NOT exact_keep"
    exact = found.clusters[0]
    assert (exact.stage, exact.size, exact.keeper) == ("exact", row["exact_count"], row["exact_keeper"].hex())
    same = rows.filter(exact_keeper=row["exact_keeper"])
    assert {member for member, _, _ in exact.members} == {member.hex() for member in same["id"]}
    assert found.annotations["exact"]["exact_count"] == row["exact_count"]
    assert found.annotations["heuristics"]["gopher_words"] == row["gopher_words"]
    assert found.destination is not None
    assert found.destination.split is None
    text = found.render()
    assert "dropped for 'copy'" in text
    assert f"of which it keeps {exact.keeper}" in text
    assert "in no rung" in text


def test_difference_from_the_keeper(run_root: Path, rows: pl.DataFrame) -> None:
    row = rows.filter(pl.col("exact_keep") & ~pl.col("minhash_keep")).row(0, named=True)
    found = explained(run_root, row)
    assert [rule.name for rule in found.rules] == ["near_copy"]
    kept = rows.filter(id=row["minhash_keeper"]).row(0, named=True)
    assert found.difference == difference(row["text"], kept["text"])
    assert len(found.difference) == 1
    assert any(change in found.difference[0] for change in ("[-the-] {+a+}", "[-a-] {+the+}"))
    keeper = explained(run_root, kept)
    assert keeper.difference == ()
    assert "of which it keeps this one" in keeper.render()


def test_where_every_copy_landed(run_root: Path, rows: pl.DataFrame) -> None:
    for row in rows.filter(pl.col("mix_split").is_not_null()).sort("mix_epochs", descending=True).head(3).to_dicts():
        to = explained(run_root, row).destination
        assert to is not None
        assert (to.split, to.epochs) == (row["mix_split"], row["mix_epochs"])
        assert len(to.landings) == (row["mix_epochs"] or 1)
        for landing in to.landings:
            written = pl.read_parquet(run_root / landing.file).row(landing.row, named=True)
            assert (written["id"], written["text"], written["epoch"]) == (row["id"].hex(), row["text"], landing.epoch)


def test_validation_and_over_budget(run_root: Path, rows: pl.DataFrame) -> None:
    held_out = explained(run_root, rows.filter(mix_split="validation").row(0, named=True))
    assert held_out.destination is not None
    assert [landing.file.split("/")[1] for landing in held_out.destination.landings] == ["validation"]
    left = rows.filter(pl.col("keep") & pl.col("mix_split").is_null())
    assert "over the budget of its source" in explained(run_root, left.row(0, named=True)).render()


@pytest.mark.parametrize("digits", [6, 11, 32])
def test_beginning_of_an_id(run_root: Path, rows: pl.DataFrame, digits: int) -> None:
    row = rows.row(123, named=True)
    found = explain(str(run_root), row["id"].hex()[:digits].upper())
    assert isinstance(found, Explanation)
    assert found.source_id == row["source_id"]


def test_own_id_of_the_source(run_root: Path) -> None:
    found = explain(str(run_root), "notes/n7")
    assert isinstance(found, Explanation)
    assert found.id == document_id("notes", "n7").hex()


def test_snippet_is_short(run_root: Path, rows: pl.DataFrame) -> None:
    row = rows.sort(pl.col("text").str.len_chars()).row(-1, named=True)
    assert len(explained(run_root, row).snippet) == 300


def test_quarantined_record(run_root: Path) -> None:
    tables = (run_root / _path(run_root, "read") / "quarantine").glob("*.parquet")
    row = pl.concat([pl.read_parquet(path) for path in tables]).filter(reason="null_text").row(0, named=True)
    found = explain(str(run_root), f"prose/{row['file']}#{row['offset']}")
    assert isinstance(found, QuarantinedRow)
    assert (found.line, found.reason) == (18, "null_text")
    assert "line 18" in found.render()


def _path(root: Path, stage: str) -> str:
    return next(s["path"] for s in storage.read_json(f"{root}/run.json")["stages"] if s["name"] == stage)


def test_unknown_documents(run_root: Path) -> None:
    with pytest.raises(RunError, match="there is no document 'ffffff'") as said:
        explain(str(run_root), "ffffff")
    assert ".scan(table='read')" in str(said.value)
    with pytest.raises(RunError, match="there is no source 'nots'; did you mean 'notes'"):
        explain(str(run_root), "nots/n7")
    with pytest.raises(RunError, match="2 records of prose were quarantined"):
        explain(str(run_root), "prose/none")
    with pytest.raises(RunError, match="at least the first 6 of them"):
        explain(str(run_root), "abc")


@pytest.fixture
def twins(tmp_path: Path) -> Path:
    """A run that has only read two documents, whose ids differ in the last digit and whose own ids are equal."""
    artifact = Artifact("read", f"{tmp_path}/read-00000000", "0" * 32)
    ids = [bytes(15) + bytes([last]) for last in (1, 2)]
    columns = {"id": ids, "source": ["web"] * 2, "source_id": ["same"] * 2, "text": ["one", "two"]}
    table = pa.table({**{name: [None] * 2 for name in DOCUMENT.names}, **columns}, schema=DOCUMENT)
    with ParquetWriter(artifact.part("00000-000"), DOCUMENT) as writer:
        writer.write(table)
    shard = {"name": "00000-000", "rows": 2, "text_bytes": 6, "source": "web", "first_row": 0, "id_checksum": ""}
    flow = {"web": {"in": 2, "kept": 2, "dropped": {}, "quarantined": {}}}
    artifact.commit({}, {"columns": DOCUMENT.names, "shards": [shard], "flow": flow})
    stage = {
        "name": "read",
        "stage": "read",
        "table": None,
        "path": "read-00000000",
        "fingerprint": artifact.fingerprint,
    }
    storage.write_json(f"{tmp_path}/run.json", {"stages": [stage]})
    return tmp_path


@pytest.mark.parametrize("document", ["0000000", "web/same"])
def test_ambiguous(twins: Path, document: str) -> None:
    with pytest.raises(RunError, match="fits 2 documents") as said:
        explain(str(twins), document)
    assert f"{'0' * 31}2  web/same" in str(said.value)


def test_run_that_has_only_read(twins: Path) -> None:
    found = explain(str(twins), "0" * 31 + "2")
    assert isinstance(found, Explanation)
    assert (found.snippet, found.keep, found.destination, found.clusters) == ("two", None, None, ())
    assert "kept" not in found.render()


def test_run_that_has_not_read(twins: Path) -> None:
    (twins / "read-00000000" / "_manifest.json").unlink()
    with pytest.raises(RunError, match="has made documents yet"):
        explain(str(twins), "0" * 32)


def test_differences_are_cut_short() -> None:
    other = " ".join(f"new{n}" if n % 5 == 0 else f"w{n}" for n in range(100))
    lines = difference(" ".join(f"w{n}" for n in range(100)), other)
    assert lines[0] == "[-w0-] {+new0+} w1 w2 w3"
    assert lines[-1] == "and 12 more"
    assert difference("", " ".join(map(str, range(50)))) == ("{+0 1 2 3 4 5 6 7 8 9 10 11 ... 38 more words+}",)
