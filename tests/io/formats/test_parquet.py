"""Parquet: rows as documents, row groups, types, and files that are not what they should be."""

import datetime as dt
import io
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.io.formats import parquet
from curate.io.pieces import plan_units
from curate.io.records import Fields
from tests.io.reading import read, write


def packed(table: pa.Table, **options: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, **options)
    return sink.getvalue()


def test_rows_in_row_groups(tmp_path: Path) -> None:
    table = pa.table({"text": [f"text {i}" for i in range(2500)], "id": range(2500), "n": [i % 3 for i in range(2500)]})
    file = write(tmp_path, "a.parquet", packed(table, row_group_size=700))
    whole, rejects, _ = read(file)
    assert [(d["text"], d["source_id"], d["meta"]) for d in whole] == [
        (f"text {i}", str(i), f'{{"n":{i % 3}}}') for i in range(2500)
    ]
    assert not rejects
    for split in range(5):
        assert read(file, 0, split)[0] + read(file, split, None)[0] == whole


def test_positions_count_rows_of_the_file(tmp_path: Path) -> None:
    file = write(tmp_path, "a.parquet", packed(pa.table({"text": ["a", None, "c", "", "e"]}), row_group_size=2))
    documents, rejects, _ = read(file, 1)
    assert [(d["text"], d["source_id"]) for d in documents] == [("c", "a.parquet#2"), ("e", "a.parquet#4")]
    assert [(r.reason, r.offset, r.line) for r in rejects] == [("empty_text", 3, None)]
    assert [(r.reason, r.offset) for r in read(file, 0, 1)[1]] == [("null_text", 1)]


@pytest.mark.parametrize(
    "kind",
    [
        pa.string(),
        pa.large_string(),
        pa.string_view(),
        pa.binary(),
        pa.large_binary(),
        pa.dictionary(pa.int8(), pa.string()),
    ],
    ids=str,
)
def test_every_type_that_holds_text(tmp_path: Path, kind: pa.DataType) -> None:
    text = pa.array(["a", "é", None, "a"]).cast(kind)
    documents, rejects, _ = read(write(tmp_path, "a.parquet", packed(pa.table({"text": text}))))
    assert [d["text"] for d in documents] == ["a", "é", "a"]
    assert [r.reason for r in rejects] == ["null_text"]


def test_invalid_utf8_costs_its_row(tmp_path: Path) -> None:
    good = pa.array([b"a", b"caf\xe9", b"c"])
    for column in (good, good.view(pa.string())):
        documents, rejects, _ = read(write(tmp_path, "a.parquet", packed(pa.table({"text": column, "n": [1, 2, 3]}))))
        assert [(d["text"], d["meta"]) for d in documents] == [("a", '{"n":1}'), ("c", '{"n":3}')]
        assert [(r.reason, r.offset) for r in rejects] == [("invalid_utf8", 1)]


def test_values_that_json_has_no_form_for(tmp_path: Path) -> None:
    table = pa.table(
        {
            "text": ["a", "b"],
            "date": pa.array([1_700_000_000_123_456_789, None], pa.timestamp("ns", "UTC")),
            "far": pa.array([10**18, 1], pa.timestamp("ms")),
            "day": [dt.date(2020, 1, 2), None],
            "times": pa.array([[1], None], pa.list_(pa.timestamp("ns"))),
            "span": pa.array([5, None], pa.duration("ns")),
            "price": [Decimal("1.50"), None],
            "raw": [b"\xff\x00", None],
            "nan": [float("nan"), 1.0],
            "map": pa.array([[("k", 1)], None], pa.map_(pa.string(), pa.int64())),
            "inner": [{"t": dt.datetime(2020, 1, 1), "x": 1}, None],
        }
    )
    documents, rejects, _ = read(write(tmp_path, "a.parquet", packed(table)))
    assert not rejects
    assert documents[0]["date"] == dt.datetime(2023, 11, 14, 22, 13, 20, 123456, tzinfo=dt.UTC)
    meta = json.loads(documents[0]["meta"])
    assert meta.pop("far").startswith("<value out of range")
    assert meta == {
        "day": "2020-01-02",
        "times": ["1970-01-01 00:00:00.000000001"],
        "span": "5",
        "price": "1.50",
        "raw": "ff00",
        "nan": None,
        "map": [["k", 1]],
        "inner": {"t": "2020-01-01 00:00:00.000000", "x": 1},
    }
    assert json.loads(documents[1]["meta"])["day"] is None


def test_struct_fields(tmp_path: Path) -> None:
    table = pa.table({"doc": [{"body": "a", "key": b"\x01\xff"}, {"body": None, "key": b""}]})
    fields = Fields(text="doc.body", id="doc.key")
    documents, rejects, _ = read(write(tmp_path, "a.parquet", packed(table)), fields=fields)
    assert [(d["text"], d["source_id"], d["meta"]) for d in documents] == [("a", "01ff", None)]
    assert [r.reason for r in rejects] == ["null_text"]


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        (pa.table({"body": ["a"]}), "missing_column"),
        (pa.table({"text": [1, 2]}), "wrong_type"),
        (pa.table({"text": [["a"]]}), "wrong_type"),
        (pa.table({"text": pa.array([], pa.string())}), "empty_file"),
    ],
)
def test_a_table_without_text_costs_the_file(tmp_path: Path, table: pa.Table, reason: str) -> None:
    documents, rejects, builder = read(write(tmp_path, "a.parquet", packed(table)))
    assert not documents
    assert [(r.scope, r.reason) for r in rejects] == [("file", reason)]
    assert builder.bad_files == {"a.parquet": reason}


@pytest.mark.parametrize("data", [b"not parquet at all, but some other bytes", b"PAR1", b"PAR1" + bytes(100) + b"PAR1"])
def test_what_is_no_parquet_file(tmp_path: Path, data: bytes) -> None:
    documents, rejects, _ = read(write(tmp_path, "a.parquet", data))
    assert not documents
    assert [(r.scope, r.reason) for r in rejects] == [("file", "corrupt")]


def test_truncated_file(tmp_path: Path) -> None:
    data = packed(pa.table({"text": ["a"] * 1000}))
    _, rejects, _ = read(write(tmp_path, "a.parquet", data[: len(data) // 2]))
    assert [r.reason for r in rejects] == ["corrupt"]


def test_damaged_row_group_keeps_the_rows_before_it(tmp_path: Path) -> None:
    table = pa.table({"text": [f"text number {i} " * 20 for i in range(3000)]})
    data = bytearray(packed(table, row_group_size=1000, compression="zstd", use_dictionary=False))
    column = pq.ParquetFile(io.BytesIO(bytes(data))).metadata.row_group(1).column(0)
    begin = column.data_page_offset
    data[begin + 40 : begin + column.total_compressed_size] = bytes(column.total_compressed_size - 40)
    documents, rejects, _ = read(write(tmp_path, "a.parquet", bytes(data)))
    assert [d["source_id"] for d in documents] == [f"a.parquet#{i}" for i in range(1000)]
    assert [(r.scope, r.reason, r.offset) for r in rejects] == [("file", "corrupt", 1000)]


def test_text_problem_looks_into_structs() -> None:
    schema = pa.schema([("doc", pa.struct([("body", pa.string()), ("n", pa.int64())])), ("a.b", pa.string())])
    assert parquet.text_problem(schema, "doc.body") == ("", "")
    assert parquet.text_problem(schema, "a.b") == ("", "")
    assert parquet.text_problem(schema, "doc.n")[0] == "wrong_type"
    assert parquet.text_problem(schema, "doc")[0] == "wrong_type"
    assert parquet.text_problem(schema, "doc.title")[0] == "missing_column"
    assert parquet.text_problem(schema, "a.c")[0] == "missing_column"


def test_a_large_file_is_read_by_many_tasks_and_the_same(request: pytest.FixtureRequest) -> None:
    """Over a remote file system, where chunks are not read through a local buffer."""
    table = pa.table({"text": [f"{i} " * 50 for i in range(4000)], "other": ["x" * 100] * 4000})
    file = write(f"memory://{request.node.name}", "a.parquet", packed(table, row_group_size=250))
    whole, _, _ = read(file)
    units = plan_units("s", [file], "text", 100_000)
    assert len(units) > 4
    ranges = [(piece.start, piece.end) for unit in units for piece in unit.pieces]
    assert ranges[0][0] == 0
    assert [end for _, end in ranges[:-1]] == [start for start, _ in ranges[1:]]
    assert ranges[-1][1] == 16
    assert [d for start, end in ranges for d in read(file, start, end)[0]] == whole
