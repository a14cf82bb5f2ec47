"""JSON lines: what becomes a document, what is set aside and with which place, and byte ranges."""

import gzip
import json
import random
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from curate.io import streams
from curate.io.formats import jsonl
from curate.io.records import BatchBuilder, Fields
from curate.io.streams import LineBlock, lines_of, opened
from tests.io.reading import read, reasons, write


def lines(*records: Any) -> bytes:
    return b"".join(json.dumps(record, ensure_ascii=False).encode() + b"\n" for record in records)


def texts(documents: list[dict[str, Any]]) -> list[str]:
    return [document["text"] for document in documents]


BAD_LINES = {
    b'{"text": "cut': "malformed_json",
    b"nonsense": "malformed_json",
    b'{"text": NaN}': "malformed_json",
    b'{"text": "a"} {"text": "b"}': "malformed_json",
    b'{"text": "raw \x00 zero"}': "malformed_json",
    b"[" * 100_000 + b"]" * 100_000: "malformed_json",
    b'{"a":' * 5000 + b"1" + b"}" * 5000: "malformed_json",
    b'{"text": "deep meta", "a": ' + b"[" * 500 + b"]" * 500 + b"}": "unusable_meta",
    b'["a"]': "not_an_object",
    b'"text"': "not_an_object",
    b"17": "not_an_object",
    b"null": "not_an_object",
    b"{}": "missing_text",
    b'{"id": 1, "body": "x"}': "missing_text",
    b'{"text": null}': "null_text",
    b'{"text": 17}': "not_a_string",
    b'{"text": true}': "not_a_string",
    b'{"text": {"a": 1}}': "not_a_string",
    b'{"text": ["a"]}': "not_a_string",
    b'{"text": ""}': "empty_text",
    b'{"text": " \\t\\n\xe2\x80\x83"}': "empty_text",
    b'{"text": "zero \\u0000 inside"}': "nul_character",
    b'{"text": "half \\ud83d a pair"}': "undecodable",
    b'{"text": "other \\udc00 half"}': "undecodable",
    b'{"text": "' + b"x" * 3000 + b'"}': "text_too_long",
}


@pytest.mark.parametrize(("line", "reason"), BAD_LINES.items(), ids=lambda value: str(value)[:24])
def test_one_bad_line_costs_one_line(tmp_path: Path, line: bytes, reason: str) -> None:
    good = lines({"text": "first"})
    file = write(tmp_path, "a.jsonl", good + line + b"\n" + lines({"text": "last"}))
    documents, rejects, builder = read(file, max_text_bytes=2000)
    assert texts(documents) == ["first", "last"]
    assert reasons(rejects) == [(reason, 2, len(good))]
    assert builder.rejected == {reason: 1}
    assert rejects[0].file == "a.jsonl"
    assert rejects[0].detail.isprintable()
    assert len(rejects[0].detail) < 200


def test_invalid_utf8_is_placed_at_its_byte(tmp_path: Path) -> None:
    good = lines({"text": "é"})
    bad = b'{"text": "caf\xe9 au lait"}\n'
    documents, rejects, _ = read(write(tmp_path, "a.jsonl", good + bad))
    assert texts(documents) == ["é"]
    assert reasons(rejects) == [("invalid_utf8", 2, len(good) + bad.index(b"\xe9"))]
    assert "caf\\xe9 au lait" in rejects[0].detail


def test_carriage_returns_blank_lines_and_no_last_line_feed(tmp_path: Path) -> None:
    data = b'{"text": "a"}\r\n\r\n  \n{"text": "b\\r\\n"}\r\n\n{"text": "c"}'
    documents, rejects, builder = read(write(tmp_path, "a.jsonl", data))
    assert texts(documents) == ["a", "b\r\n", "c"]
    assert not rejects
    assert builder.records == 3
    assert builder.counts["blank_lines"] == 3


@pytest.mark.parametrize("first", [b'{"text": "a"}', b'{"text": null}', b'{"text": "a', b'{"text": "\xff"}', b""])
def test_byte_order_mark_is_no_part_of_the_first_line(tmp_path: Path, first: bytes) -> None:
    data = first + b'\n{"text": "b"}\n'
    plain, plain_rejects, _ = read(write(tmp_path, "plain.jsonl", data))
    marked, marked_rejects, _ = read(write(tmp_path, "marked.jsonl", b"\xef\xbb\xbf" + data))
    assert texts(marked) == texts(plain)
    assert [r.reason for r in marked_rejects] == [r.reason for r in plain_rejects]
    assert [r.line for r in marked_rejects] == [r.line for r in plain_rejects]


def test_a_line_of_50_megabytes(tmp_path: Path) -> None:
    """Longer than the limit of lines: passed by, and the lines around it are read."""
    long = b'{"text": "' + b"x" * 50_000_000 + b'"}\n'
    file = write(tmp_path, "a.jsonl", lines({"text": "a"}) + long + lines({"text": "b"}))
    documents, rejects, _ = read(file, max_text_bytes=1_000_000)
    assert texts(documents) == ["a", "b"]
    assert reasons(rejects) == [("line_too_long", 2, len(lines({"text": "a"})))]
    assert rejects[0].detail.startswith(f"{len(long) - 1} bytes")
    documents, rejects, _ = read(file, max_text_bytes=60_000_000)
    assert [len(text) for text in texts(documents)] == [1, 50_000_000, 1]
    assert not rejects


def test_a_text_within_the_limit_fits_however_it_is_escaped(tmp_path: Path) -> None:
    text = "ж" * 500_000
    file = write(tmp_path, "a.jsonl", json.dumps({"text": text}).encode())
    documents, rejects, _ = read(file, max_text_bytes=1_000_000)
    assert texts(documents) == [text]
    assert not rejects


# -- fields ------------------------------------------------------------------------------------------------------------


def test_fields_ids_dates_and_meta(tmp_path: Path) -> None:
    records = [
        {
            "id": "x",
            "text": "a",
            "url": "http://a",
            "date": "2024-02-29T12:00:00+02:00",
            "z": 1,
            "b": {"d": 1, "c": [2]},
        },
        {"id": 7, "text": "b", "url": None, "date": 1_700_000_000},
        {"id": "", "text": "c", "url": 5, "date": "yesterday"},
        {"id": [1], "text": "d", "date": None},
        {"id": 1.5, "text": "e"},
        {"id": 10**30, "text": "f"},
        {"id": True, "text": "g"},
    ]
    data = lines(*records)
    offsets = [0, *(i + 1 for i, byte in enumerate(data) if byte == ord("\n"))]
    documents, rejects, builder = read(write(tmp_path, "a.jsonl", data))
    assert not rejects
    assert [d["source_id"] for d in documents] == [
        *("x", "7", f"a.jsonl#{offsets[2]}", f"a.jsonl#{offsets[3]}", "1.5"),
        *(f"a.jsonl#{offsets[5]}", f"a.jsonl#{offsets[6]}"),
    ]
    assert [d["url"] for d in documents] == ["http://a", *[None] * 6]
    assert [d["date"] and d["date"].isoformat() for d in documents[:4]] == [
        "2024-02-29T10:00:00+00:00",
        "2023-11-14T22:13:20+00:00",
        None,
        None,
    ]
    assert [d["meta"] for d in documents] == [
        '{"b":{"c":[2],"d":1},"z":1}',
        None,
        '{"date":"yesterday","url":5}',
        '{"id":[1]}',
        None,
        '{"id":1e+30}',
        '{"id":true}',
    ]
    assert builder.counts == {
        "documents": 7,
        "positional_ids": 4,
        "unusable id": 3,
        "unusable url": 1,
        "unusable date": 1,
    }
    assert len({d["id"] for d in documents}) == 7
    assert {d["source"] for d in documents} == {"s"}


def test_dotted_fields(tmp_path: Path) -> None:
    fields = Fields(text="doc.body.raw", id="doc.key", url="web.address", date="when")
    data = lines(
        {"doc": {"body": {"raw": "a"}, "key": 1}, "web": {"address": "u"}},
        {"doc": {"body": {"raw": "b", "html": "<b>"}, "key": 2}, "web": "not an object"},
        {"doc.body.raw": "c", "doc": {"body": 3}},
        {"doc": {"body": "d"}},
    )
    documents, rejects, _ = read(write(tmp_path, "a.jsonl", data), fields=fields)
    assert [(d["text"], d["url"], d["meta"]) for d in documents] == [
        ("a", "u", None),
        ("b", None, '{"doc":{"body":{"html":"<b>"}},"web":"not an object"}'),
        ("c", None, '{"doc":{"body":3}}'),
    ]
    assert [d["source_id"] for d in documents[:2]] == ["1", "2"]
    assert [r.reason for r in rejects] == ["missing_text"]


def test_text_is_brought_to_nfc(tmp_path: Path) -> None:
    documents, _, builder = read(write(tmp_path, "a.jsonl", lines({"text": "cafe\u0301"}, {"text": "café"})))
    assert texts(documents) == ["café", "café"]
    assert builder.counts["normalized"] == 1


def test_batches_hold_1024_rows_or_a_limit_of_bytes(tmp_path: Path) -> None:
    file = write(tmp_path, "a.jsonl", lines(*({"text": f"text {i}"} for i in range(2500))))
    builder = BatchBuilder("s", Fields(), 1000)
    sizes = [batch.documents.num_rows for batch in jsonl.read(file, 0, None, builder)]
    assert [*sizes, builder.take().documents.num_rows] == [1024, 1024, 452]
    builder = BatchBuilder("s", Fields(), 1000, batch_bytes=100)
    batches = [*jsonl.read(file, 0, None, builder), builder.take()]
    assert sum(batch.documents.num_rows for batch in batches) == 2500
    assert max(batch.text_bytes for batch in batches) < 100 + len("text 2500")


def test_many_bad_rows_are_handed_on_in_batches(tmp_path: Path) -> None:
    builder = BatchBuilder("s", Fields(), 1000)
    file = write(tmp_path, "a.jsonl", b"x\n" * 5000)
    assert max(len(batch.rejects) for batch in jsonl.read(file, 0, None, builder)) == 1024
    assert builder.rejected == {"malformed_json": 5000}


# -- byte ranges -------------------------------------------------------------------------------------------------------

SMALL = b'\xef\xbb\xbf{"text":"a"}\r\n\n{"text":"\xc3\xa9b"}\n{"text":null}\nbad\n\n{"text":"c"}\r\n{"text":"d"}'


def test_every_split_of_a_small_file_gives_the_whole(tmp_path: Path) -> None:
    file = write(tmp_path, "a.jsonl", SMALL)
    whole, whole_rejects, _ = read(file)
    assert texts(whole) == ["a", "éb", "c", "d"]
    for split in range(len(SMALL) + 1):
        left, left_rejects, _ = read(file, 0, split)
        right, right_rejects, _ = read(file, split, len(SMALL))
        assert left + right == whole
        rejects = left_rejects + right_rejects
        assert [(r.reason, r.offset) for r in rejects] == [(r.reason, r.offset) for r in whole_rejects]
        assert all(r.line is None for r in right_rejects) or split == 0


@given(st.binary(max_size=60), st.lists(st.integers(0, 80), max_size=6))
def test_ranges_give_each_line_to_one_of_them(
    tmp_path_factory: pytest.TempPathFactory, raw: bytes, cuts: list[int]
) -> None:
    """The lines are those of ``bytes.split``, for any bytes and any bounds of the ranges."""
    data = raw.replace(b"\x01", b"\n").replace(b"\x02", b"\n") + b"\n"
    file = write(tmp_path_factory.mktemp("ranges"), "a.jsonl", data)
    bounds = sorted({0, len(data), *(min(cut, len(data)) for cut in cuts)})
    read_lines: list[tuple[int, bytes]] = []
    for start, end in pairwise(bounds):
        with opened(file) as handle:
            for block in lines_of(handle, file, start, end, 1000):
                assert isinstance(block, LineBlock)
                offset = block.offset
                for line in block.lines:
                    assert start <= offset < end
                    read_lines.append((offset, line))
                    offset += len(line) + 1
    assert [line for _, line in read_lines] == data.split(b"\n")[:-1]
    assert all(data[offset:].startswith(line) for offset, line in read_lines)


def test_blocks_and_long_lines_do_not_depend_on_where_reads_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With blocks of a few bytes every line crosses many of them. Of a long line, length and start are returned."""
    data = (
        b"\n".join(b"%d" % i * length for i, length in enumerate([3, 40, 0, 41, 5, 200, 1, 39, 90, 2]))
        + b"\n"
        + b"z" * 77
    )
    file = write(tmp_path, "a.jsonl", data)
    expected = data.split(b"\n")
    for size in range(1, 70):
        monkeypatch.setattr(streams, "BLOCK", size)
        read_lines: list[bytes | int] = []
        with streams.opened(file) as handle:
            for block in streams.lines_of(handle, file, 0, None, 40):
                if isinstance(block, streams.LongLine):
                    assert data[block.offset :].startswith(block.start)
                    read_lines.append(block.length)
                else:
                    assert block.lines
                    read_lines += block.lines
        assert read_lines == [line if len(line) <= 40 else len(line) for line in expected]


# -- compression -------------------------------------------------------------------------------------------------------


def compressed(kind: str, data: bytes) -> bytes:
    return gzip.compress(data) if kind == "gz" else zstandard.compress(data)


SKIPPABLE = b"\x50\x2a\x4d\x18" + (5).to_bytes(4, "little") + b"hello"


@pytest.mark.parametrize("kind", ["gz", "zst"])
def test_several_members_and_padding(tmp_path: Path, kind: str) -> None:
    records = [{"text": f"text {i}"} for i in range(100)]
    data = lines(*records)
    cut = len(data) // 2
    packed = compressed(kind, data[:cut]) + compressed(kind, data[cut:])
    packed = packed + b"\0" * 512 if kind == "gz" else SKIPPABLE + packed + SKIPPABLE
    documents, rejects, _ = read(write(tmp_path, f"a.jsonl.{kind}", packed))
    assert texts(documents) == [record["text"] for record in records]
    assert [d["source_id"] for d in documents] == [
        f"a.jsonl.{kind}#{data.index(t.encode()) - 10}" for t in texts(documents)
    ]
    assert not rejects


@pytest.mark.parametrize("kind", ["gz", "zst"])
@pytest.mark.parametrize("kept", [0.02, 0.5, 0.999])
def test_truncated_stream_keeps_the_rows_before_the_break(tmp_path: Path, kind: str, kept: float) -> None:
    rng = random.Random(1)
    records = [{"text": rng.randbytes(2000).hex()} for _ in range(300)]
    data = lines(*records)
    packed = compressed(kind, data)
    documents, rejects, builder = read(write(tmp_path, f"a.jsonl.{kind}", packed[: int(len(packed) * kept)]))
    assert texts(documents) == [record["text"] for record in records[: len(documents)]]
    (reject,) = rejects
    assert (reject.scope, reject.reason) == ("file", "truncated")
    assert reject.offset is not None
    line = len(data) // 300
    assert len(documents) == reject.offset // line
    # zstd gives content by blocks of 128 KiB, deflate byte by byte.
    assert abs(reject.offset - kept * len(data)) < (300_000 if kind == "zst" else 0.05 * len(data))
    assert builder.bad_files == {f"a.jsonl.{kind}": "truncated"}


@pytest.mark.parametrize("kind", ["gz", "zst"])
def test_damaged_stream_keeps_the_rows_before_the_damage(tmp_path: Path, kind: str) -> None:
    rng = random.Random(1)
    records = [{"text": rng.randbytes(2000).hex()} for _ in range(300)]
    good = compressed(kind, lines(*records[:200]))
    documents, rejects, _ = read(write(tmp_path, f"a.jsonl.{kind}", good + b"this is no compressed member"))
    assert texts(documents) == [record["text"] for record in records[:200]]
    assert [(r.scope, r.reason) for r in rejects] == [("file", "corrupt")]


@pytest.mark.parametrize("kind", ["gz", "zst"])
def test_compressed_nothing_is_an_empty_file(tmp_path: Path, kind: str) -> None:
    for content in (b"", b"\n\n \n"):
        documents, rejects, _ = read(write(tmp_path, f"a.jsonl.{kind}", compressed(kind, content)))
        assert not documents
        assert [(r.scope, r.reason) for r in rejects] == [("file", "empty_file")]


def test_a_wide_zstd_window_is_accepted(tmp_path: Path) -> None:
    parameters = zstandard.ZstdCompressionParameters.from_level(1, window_log=28, enable_ldm=True)
    packed = zstandard.ZstdCompressor(compression_params=parameters).compressobj().compress(b"")
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    packed = compressor.compress(lines({"text": "a"})) + compressor.flush()
    documents, rejects, _ = read(write(tmp_path, "a.jsonl.zst", packed))
    assert texts(documents) == ["a"]
    assert not rejects


# -- checks ------------------------------------------------------------------------------------------------------------


def test_peek(tmp_path: Path) -> None:
    assert jsonl.peek(write(tmp_path, "a.jsonl", b'\xef\xbb\xbf{"a": 1}\nbad\n[2]\n{"b": 2}\n')) == (
        [{"a": 1}, {"b": 2}],
        "",
    )
    assert (
        jsonl.peek(write(tmp_path, "b.json", b'[\n {"text": "a"}\n]'))[1] == "one JSON array, not one object per line"
    )
    assert jsonl.peek(write(tmp_path, "c.jsonl", b"x" * 2_000_000)) == ([], "")


def test_memory_file_system(request: pytest.FixtureRequest) -> None:
    folder = f"memory://{request.node.name}"
    data = lines(*({"text": f"text {i}"} for i in range(50)))
    file = write(folder, "a.jsonl", data)
    whole, _, _ = read(file)
    left, _, _ = read(file, 0, 333)
    right, _, _ = read(file, 333, None)
    assert left + right == whole
    assert len(whole) == 50
