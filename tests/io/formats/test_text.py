"""Plain text files: one document each."""

import gzip
import tracemalloc
from pathlib import Path

import pytest
import zstandard

from curate.io.pieces import plan_units
from tests.io.reading import read, reasons, write


def test_a_file_is_a_document_under_its_name(tmp_path: Path) -> None:
    (document,), rejects, builder = read(write(tmp_path, "a.txt", "erste Zeile\r\nzweite — Zeile\n".encode()))
    assert (document["text"], document["source_id"]) == ("erste Zeile\r\nzweite — Zeile\n", "a.txt")
    assert (document["url"], document["date"], document["meta"]) == (None, None, None)
    assert not rejects
    assert builder.counts == {"documents": 1}


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.txt", b"\xef\xbb\xbftext"),
        ("a.txt.gz", gzip.compress(b"te") + gzip.compress(b"xt")),
        ("a.txt.zst", zstandard.compress(b"te") + zstandard.compress(b"xt")),
    ],
)
def test_byte_order_mark_and_compression(tmp_path: Path, name: str, data: bytes) -> None:
    (document,), _, _ = read(write(tmp_path, name, data))
    assert document["text"] == "text"


@pytest.mark.parametrize(
    ("data", "reason", "offset"),
    [
        (b"   \n\t ", "empty_text", 0),
        (b"zero \x00 inside", "nul_character", 0),
        (b"caf\xe9 au lait", "invalid_utf8", 3),
        (b"\xef\xbb\xbfcaf\xe9 au lait", "invalid_utf8", 6),
        ("ÿþ wide".encode("utf-16"), "invalid_utf8", 0),
        (b"x" * 101, "text_too_long", 0),
        (b"x" * 5_000_000, "text_too_long", 0),
    ],
)
def test_bad_text_costs_its_file_as_a_row(tmp_path: Path, data: bytes, reason: str, offset: int) -> None:
    documents, rejects, _ = read(write(tmp_path, "a.txt", data), max_text_bytes=100)
    assert not documents
    assert [(r.scope, r.reason, r.offset) for r in rejects] == [("row", reason, offset)]


def test_limit_counts_bytes_without_the_mark(tmp_path: Path) -> None:
    data = b"\xef\xbb\xbf" + b"x" * 100
    assert len(read(write(tmp_path, "a.txt", data), max_text_bytes=100)[0]) == 1
    assert reasons(read(write(tmp_path, "a.txt", data + b"x"), max_text_bytes=100)[1]) == [("text_too_long", None, 0)]


@pytest.mark.parametrize("name", ["a.txt.gz", "a.txt.zst"])
def test_a_broken_stream_costs_the_document(tmp_path: Path, name: str) -> None:
    text = b"".join(b"%d " % i for i in range(50_000))
    packed = gzip.compress(text) if name.endswith("gz") else zstandard.compress(text)
    documents, rejects, builder = read(write(tmp_path, name, packed[:-9]))
    assert not documents
    assert [(r.scope, r.reason) for r in rejects] == [("file", "truncated")]
    assert builder.records == 0


@pytest.mark.parametrize("name", ["a.txt.gz", "a.txt.zst"])
def test_compressed_nothing_is_an_empty_file(tmp_path: Path, name: str) -> None:
    packed = gzip.compress(b"") if name.endswith("gz") else zstandard.compress(b"")
    _, rejects, _ = read(write(tmp_path, name, packed))
    assert [(r.scope, r.reason) for r in rejects] == [("file", "empty_file")]


def test_a_hostile_archive_is_not_held_in_memory(tmp_path: Path) -> None:
    """256 MB of zeros in 8 kB: reading stops at the limit."""
    compressor = zstandard.ZstdCompressor(level=1).compressobj()
    block = bytes(1 << 20)
    packed = b"".join(compressor.compress(block) for _ in range(256)) + compressor.flush()
    assert len(packed) < 30_000
    file = write(tmp_path, "a.txt.zst", packed)
    tracemalloc.start()
    _, rejects, _ = read(file, max_text_bytes=1_000_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert reasons(rejects) == [("text_too_long", None, 0)]
    assert peak < 300_000_000


def test_many_small_files_share_a_unit_and_large_ones_do_not(tmp_path: Path) -> None:
    files = [write(tmp_path, f"{i:03d}.txt", b"x" * 1000) for i in range(100)]
    units = plan_units("s", files, "text", 10_000)
    assert [len(unit.pieces) for unit in units] == [10] * 10
    assert [piece.file for unit in units for piece in unit.pieces] == files
    assert [len(unit.pieces) for unit in plan_units("s", files, "text", 500)] == [1] * 100
