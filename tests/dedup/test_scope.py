"""Scopes: equal hashes exactly where documents may be compared."""

import json
from datetime import UTC, datetime

import pyarrow as pa
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from curate.artifact import Artifact
from curate.dedup.scope import Within, columns_of, field_values, problems, scope_hashes
from curate.stage import Known
from curate.table import ParquetWriter, Table
from tests.corpus import make_table, with_column

META = [
    '{"dump":"a","n":1}',
    '{"n":1,"dump":"a"}',
    '{"dump":"b","deep":{"x":3}}',
    "{}",
    None,
    '{"dump":null}',
    '{"dump":"A"}',
]


@pytest.fixture
def table(tmp_path) -> Table:
    plain = with_column(make_table(tmp_path / "read", {"web": ["text"] * len(META)}), "meta", META)
    side = Artifact("side", str(tmp_path / "side"), "1" * 32)
    columns = pa.table(
        {
            "lang": pa.array(["de", "de", "en", None, "en", "de", None]).dictionary_encode(),
            "number": pa.array([1, 1, 2, None, 2, 1, 0]),
        }
    )
    with ParquetWriter(side.part(plain.shards[0].name), columns.schema) as writer:
        writer.write(columns)
    side.commit({}, {"columns": columns.column_names, "shards": plain.documents.manifest["shards"]})
    return Table(plain.documents, (side,))


@pytest.mark.parametrize(
    ("within", "groups"),
    [
        ("all", [0, 0, 0, 0, 0, 0, 0]),
        ("source", [0, 0, 0, 0, 0, 0, 0]),
        ("lang", [0, 0, 1, 2, 1, 0, 2]),
        ("number", [0, 0, 1, 2, 1, 0, 3]),
        ("meta.dump", [0, 0, 1, 2, 2, 2, 3]),
        ("meta.n", [0, 0, 1, 1, 1, 1, 1]),
        ("meta.deep.x", [0, 0, 1, 0, 0, 0, 0]),
        ("meta.deep", [0, 0, 1, 0, 0, 0, 0]),
    ],
)
def test_documents_of_one_scope_have_one_hash(table: Table, within: str, groups: list[int]) -> None:
    hashes = scope_hashes(within, table, table.shards[0]).tolist()
    first = {value: hashes.index(value) for value in hashes}
    assert [first[value] for value in hashes] == [groups.index(group) for group in groups]


@pytest.mark.parametrize("shard_rows", [1, 3, 20])
def test_a_value_has_one_hash_in_whatever_company_it_is(tmp_path, shard_rows: int) -> None:
    dumps = [*(f"CC-MAIN-{number}" for number in range(12)), None, "", *(f"CC-MAIN-{number}" for number in range(5))]
    meta = [dump if dump is None else json.dumps({"dump": dump}) for dump in dumps]
    table = with_column(make_table(tmp_path, {"web": ["text"] * len(meta)}, shard_rows), "meta", meta)
    hashes = [int(value) for shard in table.shards for value in scope_hashes("meta.dump", table, shard)]
    assert hashes == [xxhash.xxh3_64_intdigest(b"" if dump is None else f"={dump}".encode()) for dump in dumps]


def test_days_are_scopes(tmp_path) -> None:
    first, second = datetime(2024, 5, 1, tzinfo=UTC), datetime(2024, 5, 2, tzinfo=UTC)
    dates = [first, second, None, first, None]
    table = with_column(make_table(tmp_path, {"web": ["text"] * 5}, 2), "date", dates)
    hashes = [int(value) for shard in table.shards for value in scope_hashes("date", table, shard)]
    assert [hashes.index(value) for value in hashes] == [0, 1, 2, 0, 2]


@given(st.text(st.characters(exclude_characters=".\\", exclude_categories=["Cs"]), min_size=1, max_size=5))
def test_a_field_may_have_any_name(name: str) -> None:
    within = TypeAdapter(Within).validate_python(f"meta.{name}")
    meta = pa.array([json.dumps({name: "value"}), json.dumps({f"{name}_": "value"}), json.dumps({"deep": {name: 1}})])
    assert field_values(meta, within.removeprefix("meta.")).to_pylist() == ["value", None, None]


def test_all_is_no_scope_and_sources_differ(tmp_path) -> None:
    table = make_table(tmp_path, {"web": ["a"], "books": ["a"]})
    web, books = (scope_hashes("source", table, shard)[0] for shard in table.shards)
    assert web != books
    assert [scope_hashes("all", table, shard)[0] for shard in table.shards] == [0, 0]


def test_what_has_no_groups_is_refused() -> None:
    known = Known(pa.schema([("score", pa.float32()), ("lang", pa.string())]), {}, {})
    assert "has type float" in next(problems("score", known)).message
    assert not list(problems("lang", known))
    assert columns_of("meta.a.b") == ("meta",)
    for bad in ("meta.", "a b", "", "x.y", "meta.a..b", "meta.a\\"):
        with pytest.raises(ValidationError, match="must be 'all'"):
            TypeAdapter(Within).validate_python(bad)
