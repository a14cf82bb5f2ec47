"""The stage `shards`: what is on disk against what the mixture says."""

import hashlib
import json
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.artifact import Artifact
from curate.errors import ConfigError, RunError
from curate.stage import Known
from curate.stages import shards
from curate.stages.mix import Mix
from curate.stages.shards import ROW, Shards
from curate.stages.tokens import Tokens
from curate.table import ROW_GROUP, Table
from curate.text.hashing import hash64
from tests.engine.engines import Engines
from tests.mixtures import check_resumes, mixed, ready, reordered, rows, rung_rows, texts, validation_rows, written

SOURCES = {"web": texts(1500, 1), "books & more/old": texts(80, 2, 400), "notes": texts(300, 3, 10)}
STAGE = Shards(shard_size="20kB", columns=["lang_code"])


def mixture(**fields: Any) -> Mix:
    weights = {"web": 0.6, "books & more/old": 0.35, "notes": 0.05}
    epochs = {"books & more/old": 3, "notes": 2.5}
    return Mix(
        **{"budgets": ["4K", "12K", "max"], "weights": weights, "max_epochs": epochs, "validation": 0.02} | fields
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shards")


@pytest.fixture(scope="module")
def table(folder: Path) -> Table:
    return mixed(mixture(), ready(folder, SOURCES), folder)


@pytest.fixture(scope="module")
def artifact(table: Table, folder: Path) -> Artifact:
    return written(STAGE, table, folder)


def plan_of(table: Table) -> dict[str, Any]:
    return table.sidecars[-1].manifest["plan"]


def test_the_mixture_of_these_tests_repeats_documents(table: Table) -> None:
    epochs = {source: entry["rungs"][-1]["epochs"] for source, entry in plan_of(table)["sources"].items()}
    assert epochs["books & more/old"] > 1.5
    assert plan_of(table)["sources"]["books & more/old"]["rungs"][0]["epochs"] < 1


def test_each_document_is_there_as_often_as_its_epochs_say(table: Table, artifact: Artifact) -> None:
    columns = ["id", "source", "source_id", "text", "tokens", "mix_split", "mix_epochs", "mix_rung"]
    documents = rows(table, columns)
    largest = rung_rows(artifact, 2)
    found = Counter(row["id"] for row in largest)
    assert found == {d["id"].hex(): d["mix_epochs"] for d in documents if d["mix_split"] == "train"}
    assert {(row["id"], row["epoch"]) for row in largest} == {
        (d["id"].hex(), epoch) for d in documents if d["mix_split"] == "train" for epoch in range(d["mix_epochs"])
    }
    by_id = {document["id"].hex(): document for document in documents}
    for row in largest:
        document = by_id[row["id"]]
        assert all(row[key] == document[key] for key in ("source", "source_id", "text", "tokens"))
    for rung in range(3):
        first = {row["id"] for row in rung_rows(artifact, rung)}
        assert first == {d["id"].hex() for d in documents if d["mix_rung"] is not None and d["mix_rung"] <= rung}


def test_rungs_are_row_for_row_prefixes_of_each_other(artifact: Artifact) -> None:
    rungs = [rung_rows(artifact, rung) for rung in range(3)]
    for smaller, larger in pairwise(rungs):
        assert 0 < len(smaller) < len(larger)
        assert larger[: len(smaller)] == smaller


def test_rungs_hold_what_was_planned(table: Table, artifact: Artifact) -> None:
    for position, rung in enumerate(artifact.manifest["rungs"]):
        found = rung_rows(artifact, position)
        assert len(found) == rung["copies"]
        for source, entry in plan_of(table)["sources"].items():
            mine = [row for row in found if row["source"] == source]
            planned = entry["rungs"][position]
            assert len(mine) == planned["copies"]
            assert sum(row["tokens"] for row in mine) == planned["tokens"]
            assert sum(len(row["text"].encode()) for row in mine) == planned["bytes"]


def test_validation_is_in_no_rung(table: Table, artifact: Artifact) -> None:
    held_out = validation_rows(artifact)
    expected = {d["id"].hex() for d in rows(table, ["id", "mix_split"]) if d["mix_split"] == "validation"}
    assert {row["id"] for row in held_out} == expected
    assert len(held_out) == len(expected)
    assert not expected & {row["id"] for row in rung_rows(artifact, 2)}
    assert all(row["epoch"] == 0 for row in held_out)
    folders = {path.name for path in Path(artifact.path, "validation").iterdir()}
    assert folders == {"web", "notes", "books%20%26%20more%2Fold"}


def test_every_prefix_carries_the_mixture(artifact: Artifact, table: Table) -> None:
    """Of any first rows of an increment, a source has its share up to five standard deviations of drawing at random."""
    before = 0
    for rung in range(3):
        increment = rung_rows(artifact, rung)[before:]
        before += len(increment)
        for source in SOURCES:
            mine = np.array([row["source"] == source for row in increment])
            taken = np.arange(1, len(mine) + 1)
            share = mine.mean()
            left = (len(mine) - taken) / max(len(mine) - 1, 1)
            deviation = np.abs(np.cumsum(mine) - share * taken) / np.sqrt(taken * share * (1 - share) * left + 1)
            assert deviation.max() < 5


def test_rows_are_ordered_by_hash_within_increments(artifact: Artifact) -> None:
    files = artifact.manifest["files"]
    for first, rung in pairwise([0, *(entry["files"] for entry in artifact.manifest["rungs"])]):
        stream = [
            row for file in files[first:rung] for row in pq.read_table(f"{artifact.path}/{file['path']}").to_pylist()
        ]
        keys = []
        for row in stream:
            ids = np.frombuffer(bytes.fromhex(row["id"]), np.uint8).reshape(1, 16)
            keys.append((int(hash64(0, f"order/{row['epoch']}", ids)[0]), row["id"], row["epoch"]))
        assert keys == sorted(keys)


def test_files_are_as_the_manifest_says(artifact: Artifact) -> None:
    manifest = artifact.manifest
    on_disk = {str(path.relative_to(artifact.path)) for path in Path(artifact.path).rglob("*.parquet")}
    assert on_disk == {file["path"] for file in manifest["files"]}
    for file in manifest["files"]:
        path = Path(artifact.path, file["path"])
        found = pq.read_table(path)
        assert hashlib.sha256(path.read_bytes()).hexdigest() == file["sha256"]
        assert found.num_rows == file["rows"]
        assert sum(found.column("tokens").to_pylist()) == file["tokens"]
        assert sum(len(text.encode()) for text in found.column("text").to_pylist()) == file["bytes"]
        assert found.schema.equals(pa.schema([*ROW, ("lang_code", pa.string())]))
        assert file["bytes"] < 40_000  # twice the size asked for
    chain = ""
    for first, rung in pairwise([0, *(entry["files"] for entry in manifest["rungs"])]):
        digests = [file["sha256"] for file in manifest["files"][first:rung]]
        chain = hashlib.sha256("".join([chain, *digests]).encode()).hexdigest()
        assert next(entry for entry in manifest["rungs"] if entry["files"] == rung)["nesting"] == chain
    assert {"train/rung-00/part-00000.parquet", "train/rung-02/part-00001.parquet"} <= on_disk


def test_row_groups_are_bounded_by_rows_and_bytes(
    table: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = written(Shards(shard_size="1GB"), table, tmp_path / "rows")
    metadata = pq.ParquetFile(f"{whole.path}/train/rung-02/part-00000.parquet").metadata
    groups = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
    assert groups[:-1] == [ROW_GROUP] * (len(groups) - 1)
    assert groups[-1] <= ROW_GROUP
    monkeypatch.setattr(shards, "ROW_GROUP_BYTES", 10_000)
    small = written(Shards(shard_size="1GB"), table, tmp_path / "bytes")
    path = f"{small.path}/train/rung-02/part-00000.parquet"
    file = pq.ParquetFile(path)
    sizes = [
        sum(len(text.encode()) for text in file.read_row_group(group, ["text"]).column("text").to_pylist())
        for group in range(file.num_row_groups)
    ]
    assert len(sizes) > 5
    assert max(sizes) < 10_000 + 400 * 12
    assert pq.read_table(path).equals(pq.read_table(f"{whole.path}/train/rung-02/part-00000.parquet"))


def test_same_bytes_for_any_number_of_workers_and_any_shards(
    engines: Engines, table: Table, artifact: Artifact, tmp_path: Path
) -> None:
    expected = artifact.manifest["files"]
    parallel = written(STAGE, table, tmp_path / "workers", engines(2))
    assert parallel.manifest == artifact.manifest
    plain = Table(table.documents, table.sidecars[:2])
    for variant in (ready(tmp_path / "larger", SOURCES, shard_rows=450), reordered(plain, tmp_path)):
        other = mixed(mixture(), variant, tmp_path / variant.documents.fingerprint)
        assert written(STAGE, other, tmp_path / variant.documents.fingerprint).manifest["files"] == expected


def test_more_files_than_one_exchange_takes(table: Table, artifact: Artifact, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "MAX_PARTITIONS", 4)
        waves = written(STAGE, table, tmp_path)
    assert len(artifact.manifest["files"]) > 8
    assert waves.manifest == artifact.manifest
    assert not Path(waves.path, "_exchange", "text-00000").exists()


def test_shards_sized_in_tokens(table: Table, tmp_path: Path) -> None:
    stage = Shards(shard_size="2K", shard_unit="tokens")
    files = written(stage, table, tmp_path).manifest["files"]
    train = [file for file in files if file["path"].startswith("train/rung-01")]
    totals = [rung["tokens"] for rung in plan_of(table)["rungs"]]
    assert len(train) == -(-(totals[1] - totals[0]) // 2000)
    assert all(600 < file["tokens"] < 3000 for file in train)  # documents have up to 400


def test_a_rung_that_takes_no_document_is_refused(tmp_path: Path) -> None:
    """Readers such as `datasets` cannot load an empty split."""
    plain = ready(tmp_path / "ready", {"web": ["a b c d e f"] * 6})
    with pytest.raises(ConfigError, match=r"budgets\.0: 1 tokens take no document"):
        mixed(mixture(budgets=["1", "max"], weights="proportional"), plain, tmp_path)


def test_flow(table: Table, artifact: Artifact) -> None:
    before = table.sidecars[-1].manifest["flow"]
    for source, counts in artifact.manifest["flow"].items():
        assert (counts["in"], counts["kept"]) == (before[source]["in"], before[source]["kept"])


def test_what_differs_from_the_plan_is_an_error(table: Table, tmp_path: Path) -> None:
    path = Path(table.sidecars[-1].path)
    changed = Artifact("mix", str(tmp_path / "changed"), "3" * 32)
    for part in path.glob("*.parquet"):
        target = Path(changed.path, part.name)
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(part.read_bytes())
    manifest = json.loads((path / "_manifest.json").read_text())
    manifest["plan"]["sources"]["web"]["rungs"][1]["tokens"] += 1
    changed.commit({}, manifest)
    other = Table(table.documents, (*table.sidecars[:2], changed))
    with pytest.raises(RunError, match=r"train/rung-01 should hold .* of web, but holds"):
        written(STAGE, other, tmp_path)


def test_tokenizer_and_card_go_with_the_files(table: Table, artifact: Artifact) -> None:
    path = Path(artifact.path)
    assert (path / "tokenizer.json").read_bytes() == Path(table.sidecars[1].path, "tokenizer.json").read_bytes()
    card = (path / "README.md").read_text()
    assert (path / "dataset_card.md").read_text() == card
    for rung in artifact.manifest["rungs"]:
        assert f"| {rung['name']} | {rung['budget']:,} | {rung['tokens']:,} | {rung['bytes']:,} |" in card
    assert 'language:\n- "de"\n- "en"\n' in card
    assert 'size_categories: ["1K<n<10K"]' in card
    assert "license" not in card


def test_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    plain = ready(tmp_path, {"web": texts(60, 1), "books": texts(20, 2)}, 40)
    table = mixed(Mix(budgets=["200", "max"]), plain, tmp_path)
    check_resumes(tmp_path, lambda path, engine: written(Shards(shard_size="2kB"), table, path, engine))


# -- before any data is read -------------------------------------------------------------------------------------------


def test_check_names_mistakes() -> None:
    stages = {"mix": Mix(name="mix", budgets=[1]), "tokens": Tokens(name="tokens")}
    known = Known(pa.schema([]), {}, stages)
    assert list(STAGE.check(known)) == []
    wrong = Shards(mix="tokens", columns=["lang_code", "text", "lang_code"])
    assert [(p.where, p.message) for p in wrong.check(known)] == [
        (("mix",), "'tokens' is a `tokens` stage, not a `mix` stage"),
        (("columns", 1), "the files have a column 'text' already"),
        (("columns", 2), "the files have a column 'lang_code' already"),
    ]
    assert STAGE.place("lang_code") == ("columns", 0)
    assert "lang_code" in STAGE.requires()
    assert STAGE.model_dump()["columns"] == ("lang_code",)


def test_sizes_have_the_units_of_what_they_count() -> None:
    assert Shards(shard_size="256MB").shard_size == 256_000_000
    assert Shards(shard_unit="tokens", shard_size="64M").shard_size == 64_000_000
    for fields in ({"shard_size": "64M"}, {"shard_unit": "tokens", "shard_size": "256MB"}, {"shard_size": 0}):
        with pytest.raises(ValueError, match="shard_size"):
            Shards(**fields)
