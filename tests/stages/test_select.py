"""Rules: first reason, all reasons, nulls, sources; mistakes are seen before any data is read."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.artifact import Artifact
from curate.stage import Known
from curate.stages.select import Select
from curate.table import ParquetWriter, Table, read_part
from tests.corpus import make_table, run_stage

KNOWN = Known(
    pa.schema([("words", pa.int32()), ("score", pa.float64()), ("keep_me", pa.bool_()), ("lang", pa.string())]),
    {"web": 100, "books": 100},
    {},
)


def table_with(path: Path, columns: dict[str, pa.Array], sources: dict[str, int]) -> Table:
    """Documents with a sidecar of the given columns, and their lengths."""
    table = make_table(path / "read", {name: [f"text {i}" for i in range(n)] for name, n in sources.items()})
    sidecar = Artifact("measured", str(path / "measured"), "1" * 32)
    everything = pa.table({**columns, "text_bytes": pa.array(range(table.rows), pa.int64())})
    for shard in table.shards:
        with ParquetWriter(sidecar.part(shard.name), everything.schema) as writer:
            writer.write(everything.slice(shard.first_row, shard.rows))
    sidecar.commit({}, {"columns": everything.column_names, "shards": table.documents.manifest["shards"]})
    return Table(table.documents, (sidecar,))


def decisions(artifact: Artifact, table: Table) -> pa.Table:
    return pa.concat_tables([read_part(artifact.part(shard.name)) for shard in table.shards])


def test_first_reason_and_mask(tmp_path: Path) -> None:
    table = table_with(tmp_path, {"words": pa.array([1, 10, 100, None], pa.int32())}, {"web": 4})
    stage = Select(name="select", drop={"short": "words < 50", "tiny": "words < 5", "even": "words % 2 = 0"})
    artifact = run_stage(stage, table, tmp_path)
    found = decisions(artifact, table)
    assert found["keep"].to_pylist() == [False, False, False, True]
    assert found["drop_reason"].to_pylist() == ["short", "short", "even", None]
    assert found["drop_mask"].to_pylist() == [0b011, 0b101, 0b100, 0]
    manifest = artifact.manifest
    assert manifest["flow"]["web"]["dropped"] == {"short": 2, "tiny": 0, "even": 1}
    assert manifest["fired"]["web"] == {"short": 2, "tiny": 1, "even": 2}
    assert manifest["alone"]["web"] == {"short": 0, "tiny": 0, "even": 1}
    assert manifest["bytes"]["web"] == {"in": 6, "kept": 3, "dropped": {"short": 1, "tiny": 0, "even": 2}}


def test_a_rule_for_some_sources(tmp_path: Path) -> None:
    table = table_with(tmp_path, {"words": pa.array([1] * 4, pa.int32())}, {"web": 2, "books": 2})
    stage = Select(name="select", drop={"short": {"when": "words < 5", "sources": ["web"]}})  # type: ignore[arg-type]
    found = decisions(run_stage(stage, table, tmp_path), table)
    assert found["keep"].to_pylist() == [False, False, True, True]


def test_no_rules_keep_everything(tmp_path: Path) -> None:
    table = table_with(tmp_path, {"words": pa.array([1, 2], pa.int32())}, {"web": 2})
    found = decisions(run_stage(Select(name="select"), table, tmp_path), table)
    assert found["keep"].to_pylist() == [True, True]
    assert found["drop_mask"].to_pylist() == [0, 0]


@given(values=st.lists(st.integers(0, 20), min_size=1, max_size=30), cuts=st.lists(st.integers(0, 20), max_size=64))
def test_mask_is_every_rule_that_is_true(tmp_path_factory, values: list[int], cuts: list[int]) -> None:
    path = tmp_path_factory.mktemp("select")
    table = table_with(path, {"words": pa.array(values, pa.int32())}, {"web": len(values)})
    stage = Select(name="select", drop={f"r{i}": f"words < {cut}" for i, cut in enumerate(cuts)})
    found = decisions(run_stage(stage, table, path), table)
    expected = [sum(1 << i for i, cut in enumerate(cuts) if value < cut) for value in values]
    assert found["drop_mask"].to_pylist() == expected
    assert found["keep"].to_pylist() == [mask == 0 for mask in expected]
    firsts = [f"r{int(np.log2(mask & -mask))}" if mask else None for mask in expected]
    assert found["drop_reason"].to_pylist() == firsts


def complaints(**drop: object) -> list[str]:
    return [f"{'.'.join(map(str, p.where))}: {p.message}" for p in Select(name="select", drop=drop).check(KNOWN)]  # type: ignore[arg-type]


def test_good_rules_raise_no_complaint() -> None:
    assert complaints(a="words < 5 OR score > 0.5", b="NOT keep_me", c="lang IN ('en', 'de')", d="lang IS NULL") == []


def test_what_is_no_rule() -> None:
    assert "has the type Int32" in complaints(a="words + 1")[0]
    assert complaints(a="words <")[0].startswith("drop.a: 'words <'")
    assert complaints(a="lang < 5")[0].startswith("drop.a")
    assert complaints(a={"when": "words < 1", "sources": ["wep"]}) == ["drop.a: there is no source 'wep'"]
    assert "at most 64" in complaints(**{f"r{i}": "words < 1" for i in range(65)})[0]


@pytest.mark.parametrize(
    "rule",
    [
        "words < AVG(words)",
        "words > COUNT(*)",
        "words > MEDIAN(words)",
        "words > QUANTILE_CONT(words, 0.9)",
        "CORR(words, score) > 0.5",
        "ROW_NUMBER() OVER (ORDER BY words) < 3",
        "RANK() OVER (ORDER BY words) > 3",
        "LAG(words) OVER (ORDER BY words) > 1",
        "SUM(words) OVER (PARTITION BY lang) > 3",
    ],
)
def test_a_rule_looks_at_one_document_at_a_time(rule: str) -> None:
    """What it says of a document may not depend on which others lie in its shard."""
    assert "must not use aggregates or windows over several documents" in complaints(a=rule)[0]


def test_unknown_columns_are_required_so_that_the_pipeline_points_at_them() -> None:
    stage = Select(name="select", drop={"a": "words < 5", "b": "wrods > 9"})
    assert "wrods" in stage.requires()
    assert stage.place("wrods") == ("drop", "b")
