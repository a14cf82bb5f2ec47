"""The files that come out open in what people train and look at data with; each reader sees the same rows."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest

from curate.artifact import Artifact
from curate.stages.mix import Mix
from curate.stages.shards import Shards
from curate.table import DOCUMENT, ParquetWriter, Table, read_part
from tests.corpus import make_table
from tests.mixtures import beside, mixed, rung_rows, texts, validation_rows, written

WHEN = datetime(2026, 11, 23, 12, 30, tzinfo=UTC)


def with_provenance(table: Table) -> Table:
    """Documents of which some have a URL, a date and meta."""
    for shard in table.shards:
        path = table.documents.part(shard.name)
        rows = read_part(path)
        some = [position % 3 == 0 for position in range(rows.num_rows)]
        for name, value in (("url", "https://example.org/ä?x=1"), ("date", WHEN), ("meta", '{"lang": "de"}')):
            column = pa.array([value if present else None for present in some], DOCUMENT.field(name).type)
            rows = rows.set_column(DOCUMENT.get_field_index(name), DOCUMENT.field(name), column)
        with ParquetWriter(path, DOCUMENT) as writer:
            writer.write(rows.combine_chunks())
    return table


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    path = tmp_path_factory.mktemp("outputs")
    sources = {"web": [*texts(400, 1), "", "nul \0 and \u2028 and 😀"], "books & more": texts(60, 2, 200)}
    table = beside(with_provenance(make_table(path / "read", sources, 100)), path)
    stage = Mix(
        budgets=["2K", "max"], weights={"web": 1, "books & more": 1}, max_epochs={"books & more": 2}, validation=0.05
    )
    return written(Shards(shard_size="15kB", columns=["lang_code"]), mixed(stage, table, path), path)


@pytest.fixture(scope="module")
def expected(artifact: Artifact) -> list[dict[str, Any]]:
    rows = rung_rows(artifact, 1)
    assert any(row["date"] == WHEN for row in rows)
    assert any(row["epoch"] == 1 for row in rows)
    return rows


def paths(artifact: Artifact, rung: int) -> list[str]:
    """Files of a rung, in order."""
    files = artifact.manifest["files"][: artifact.manifest["rungs"][rung]["files"]]
    return [f"{artifact.path}/{file['path']}" for file in files]


def test_pyarrow(artifact: Artifact, expected: list[dict[str, Any]]) -> None:
    found = pyarrow.dataset.dataset(paths(artifact, 1), format="parquet").to_table()
    assert found.to_pylist() == expected
    assert not any(pa.types.is_dictionary(field.type) or pa.types.is_nested(field.type) for field in found.schema)
    assert pc.min(pc.utf8_length(found.column("id"))).as_py() == 32
    one = pq.ParquetFile(paths(artifact, 1)[0])
    assert one.metadata.row_group(0).column(3).compression == "ZSTD"


def test_polars(artifact: Artifact, expected: list[dict[str, Any]]) -> None:
    import polars as pl

    found = pl.scan_parquet(paths(artifact, 1)).collect()
    assert found.to_dicts() == expected
    assert found.schema["date"] == pl.Datetime("us", "UTC")
    everything = pl.read_parquet(f"{artifact.path}/train/**/*.parquet")
    assert everything.height == len(expected)


def test_duckdb(artifact: Artifact, expected: list[dict[str, Any]]) -> None:
    import duckdb

    with duckdb.connect() as connection:
        query = "SELECT * REPLACE (epoch_us(date) AS date) FROM read_parquet(?) ORDER BY id, epoch"
        found = connection.execute(query, [paths(artifact, 1)]).fetchall()
        micros = {None: None, WHEN: int(WHEN.timestamp()) * 10**6}
        rows = [tuple((row | {"date": micros[row["date"]]}).values()) for row in expected]
        assert found == sorted(rows, key=lambda row: (row[0], row[5]))
        shares = connection.execute(
            "SELECT source, sum(tokens) FROM read_parquet(?) GROUP BY source ORDER BY source", [paths(artifact, 1)]
        ).fetchall()
    totals: dict[str, int] = {}
    for row in expected:
        totals[row["source"]] = totals.get(row["source"], 0) + row["tokens"]
    assert shares == sorted(totals.items())


@pytest.mark.parametrize("rung", [0, 1])
def test_hugging_face_datasets(artifact: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rung: int) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    found = datasets.load_dataset(artifact.path, f"rung-0{rung}", cache_dir=str(tmp_path))
    assert set(found) == {"train", "validation"}
    assert list(found["train"]) == rung_rows(artifact, rung)
    assert list(found["validation"]) == validation_rows(artifact)
    assert found["train"].features["text"].dtype == "large_string"


def test_hugging_face_datasets_streams_a_prefix(artifact: Artifact, expected: list[dict[str, Any]]) -> None:
    datasets = pytest.importorskip("datasets")
    stream = datasets.load_dataset("parquet", data_files=paths(artifact, 1), split="train", streaming=True)
    assert list(stream.take(50)) == expected[:50]


def test_hugging_face_default_is_the_largest_rung(artifact: Artifact, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    assert datasets.get_dataset_config_names(artifact.path) == ["rung-00", "rung-01"]
    assert datasets.get_dataset_default_config_name(artifact.path) == "rung-01"
    assert datasets.load_dataset(artifact.path, split="train", cache_dir=str(tmp_path)).num_rows == len(
        rung_rows(artifact, 1)
    )
