"""Scopes: equal hashes exactly where documents may be compared."""

import pyarrow as pa
import pytest
from pydantic import TypeAdapter, ValidationError

from curate.artifact import Artifact
from curate.dedup.scope import Within, columns_of, problems, scope_hashes
from curate.stage import Known
from curate.table import ParquetWriter, Table
from tests.corpus import make_table

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
    plain = make_table(tmp_path / "read", {"web": ["text"] * len(META)})
    part = plain.documents.part(plain.shards[0].name)
    rows = plain.read(plain.shards[0], ["id", "source", "source_id", "text", "url", "date", "meta"])
    rows = rows.set_column(6, "meta", pa.array(META, pa.string()))
    with ParquetWriter(part, rows.schema) as writer:
        writer.write(rows)
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
    ],
)
def test_documents_of_one_scope_have_one_hash(table: Table, within: str, groups: list[int]) -> None:
    hashes = scope_hashes(within, table, table.shards[0]).tolist()
    first = {value: hashes.index(value) for value in hashes}
    assert [first[value] for value in hashes] == [groups.index(group) for group in groups]


def test_all_is_no_scope_and_sources_differ(tmp_path) -> None:
    table = make_table(tmp_path, {"web": ["a"], "books": ["a"]})
    web, books = (scope_hashes("source", table, shard)[0] for shard in table.shards)
    assert web != books
    assert [scope_hashes("all", table, shard)[0] for shard in table.shards] == [0, 0]


def test_what_has_no_groups_is_refused() -> None:
    known = Known(pa.schema([("score", pa.float32()), ("lang", pa.string())]), {}, {})
    assert "holds float" in next(problems("score", known)).message
    assert not list(problems("lang", known))
    assert columns_of("meta.a.b") == ("meta",)
    for bad in ("meta.", "a b", "", "x.y"):
        with pytest.raises(ValidationError, match="must be 'all'"):
            TypeAdapter(Within).validate_python(bad)
