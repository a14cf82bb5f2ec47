"""Web archives: every record is a document, skipped by name or quarantined, however the file is cut."""

import gzip
import io
import json
import random
import tracemalloc
import zlib
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import brotli
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from warcio.archiveiterator import ArchiveIterator

from curate.io.archives import compression_of, records
from curate.io.files import InputFile, list_files
from curate.io.pieces import plan_units
from curate.io.streams import BrokenFileError
from tests.examples import examples
from tests.io.archives import ARC_HEAD, PAGE, arc, chunked, http, packed, record
from tests.io.reading import read, reasons, write

SUFFIX = {"": "", "gzip": ".gz", "zstd": ".zst"}


def one(tmp_path: Path, data: bytes, name: str = "a.warc", **options: Any) -> tuple[list[Any], list[Any], Any]:
    return read(write(tmp_path, name, data), **options)


def skipped(tmp_path: Path, data: bytes, name: str = "a.warc") -> dict[str, int]:
    documents, rejects, builder = one(tmp_path, data, name)
    assert not documents
    assert not rejects
    return dict(builder.skipped)


# -- documents ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compression", SUFFIX)
def test_a_page_becomes_a_document(tmp_path: Path, compression: str) -> None:
    answer = http(PAGE, "Content-Language: de-AT", media="text/html; charset=utf-8")
    data = packed([record("warcinfo", b"software: x"), record(body=answer, number=7)], compression)
    (document,), rejects, builder = one(tmp_path, data, f"a.warc{SUFFIX[compression]}")
    assert document["text"] == PAGE.decode()
    assert (document["source_id"], document["url"]) == ("urn:uuid:7", "http://example.org/7")
    assert document["date"].isoformat() == "2024-02-29T12:00:00+00:00"
    offset = len(packed([record("warcinfo", b"software: x")], compression))
    assert json.loads(document["meta"]) == {
        "charset": "utf-8",
        "charset_from": "header",
        "content_language": "de-AT",
        "content_type": "text/html",
        "file": f"a.warc{SUFFIX[compression]}",
        "offset": offset,
        "record_type": "response",
        "status": 200,
    }
    assert not rejects
    assert (builder.records, builder.skipped) == (2, {"type_warcinfo": 1})


def test_resources_and_conversions(tmp_path: Path) -> None:
    data = packed(
        [
            record("resource", PAGE, 1, Content_Type="text/html"),
            record("conversion", "Ein Text — ganz ohne Zeichensatz.".encode(), 2, Content_Type="text/plain"),
            record("conversion", b"From a crawl of texts", 3, WARC_Identified_Content_Language="eng,deu"),
        ],
        "",
    )
    documents, rejects, _ = one(tmp_path, data, "a.warc.wet")
    assert [d["text"] for d in documents] == [
        PAGE.decode(),
        "Ein Text — ganz ohne Zeichensatz.",
        "From a crawl of texts",
    ]
    assert [json.loads(d["meta"])["content_type"] for d in documents] == ["text/html", "text/plain", "text/plain"]
    assert json.loads(documents[2]["meta"])["languages"] == "eng,deu"
    assert not rejects


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (record("request", b"GET / HTTP/1.1\r\n\r\n"), "type_request"),
        (record("metadata", b"a: b"), "type_metadata"),
        (record("revisit", http(b"")), "type_revisit"),
        (record("continuation", b"x"), "type_continuation"),
        (record("invented", b"x"), "type_other"),
        (record(body=http(status="404 Not Found")), "status_4xx"),
        (record(body=http(status="301 Moved")), "status_3xx"),
        (record(body=http(status="999 Denied")), "status_other"),
        (record(body=http(status="206 Partial Content")), "status_2xx"),
        (record(body=http(b"\x89PNG\r\n", media="image/png")), "media_image"),
        (record(body=http(b"%PDF-1.4", media="application/pdf")), "media_pdf"),
        (record(body=http(b"%PDF-1.4", media="text/html")), "media_mislabelled"),
        (record(body=http(b"a {}", media="text/css; charset=utf-8")), "media_css"),
        (record(body=http(b"{}", media="application/json")), "media_json"),
        (record(body=http(b"x", media="text/x-invented")), "media_other"),
        (record(body=http(b"no tag, no type", media=None)), "media_unknown"),
        (record(body=http(b"no tag, no type", media="unk")), "media_unknown"),
        (record(body=http(b" \r\n")), "empty_page"),
        (record(body=b"example.org. A", Content_Type="text/dns"), "not_http"),
        (
            record("resource", b"wget -r", WARC_Target_URI="metadata://gnu.org/software/wget/arguments.txt"),
            "not_a_page",
        ),
        (record(body=http(b"User-agent: *"), WARC_Target_URI="https://example.org/robots.txt"), "not_a_page"),
    ],
)
def test_what_is_no_page_is_counted_by_what_it_is(tmp_path: Path, made: bytes, reason: str) -> None:
    assert skipped(tmp_path, made) == {reason: 1}


def test_html_is_recognized_without_its_type(tmp_path: Path) -> None:
    (document,), _, _ = one(tmp_path, record(body=http(b"\n <!DOCTYPE html><p>Text", media=None)))
    assert json.loads(document["meta"])["content_type"] == "text/html"


RAW = zlib.compress(PAGE)[2:-4]


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (gzip.compress(PAGE), ["Content-Encoding: gzip"]),
        (gzip.compress(PAGE), ["content-encoding: GZIP"]),
        (zlib.compress(PAGE), ["Content-Encoding: deflate"]),
        (RAW, ["Content-Encoding: deflate"]),  # as some servers send it
        (brotli.compress(PAGE), ["Content-Encoding: br"]),
        (zstandard.compress(PAGE), ["Content-Encoding: zstd"]),
        (gzip.compress(gzip.compress(PAGE)), ["Content-Encoding: gzip, gzip"]),
        (chunked(PAGE), ["Transfer-Encoding: chunked"]),
        (chunked(gzip.compress(PAGE)), ["Transfer-Encoding: chunked", "Content-Encoding: gzip"]),
        (PAGE, ["Transfer-Encoding: chunked", "Content-Encoding: br"]),  # crawlers that decode and keep the headers
        (gzip.compress(PAGE), ["Transfer-Encoding: chunked", "Content-Encoding: gzip"]),
        (PAGE, ["Content-Encoding: utf-8"]),
        (PAGE, ["Content-Encoding: x-unheard-of"]),
    ],
)
def test_bodies_are_decoded(tmp_path: Path, body: bytes, headers: list[str]) -> None:
    (document,), rejects, _ = one(tmp_path, record(body=http(body, *headers)))
    assert document["text"] == PAGE.decode()
    assert not rejects


def test_nul_is_replaced_as_in_html(tmp_path: Path) -> None:
    (document,), _, builder = one(tmp_path, record(body=http(b"<p>a\0b")))
    assert document["text"] == "<p>a\ufffdb"
    assert builder.counts["nul_replaced"] == 1


# -- broken records ----------------------------------------------------------------------------------------------------

GOOD = [record(number=i) for i in range(1, 4)]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (record(body=http(chunked(PAGE)[:30], "Transfer-Encoding: chunked")), "broken_chunks"),
        (record(body=http(b"5\r\nhello\r\nzz\r\nworld", "Transfer-Encoding: chunked")), "broken_chunks"),
        (record(body=http(gzip.compress(PAGE)[:20] + b"\0\0\0\0" * 9, "Content-Encoding: gzip")), "broken_encoding"),
        (record(body=http(b"\x00\x01\x02\x03\x04" * 9, "Content-Encoding: br")), "broken_encoding"),
        (record(body=b"nonsense"), "malformed_http"),
        (record(body=http(status="two hundred")), "malformed_http"),
        (record(length=len(http()) - 5), "wrong_length"),
        (record(body=http(b"x" * 3_000_000)), "text_too_long"),
        (record(body=http(gzip.compress(b"x" * 3_000_000), "Content-Encoding: gzip")), "text_too_long"),
    ],
)
def test_a_broken_record_costs_one_row(tmp_path: Path, bad: bytes, reason: str) -> None:
    documents, rejects, builder = one(tmp_path, packed([GOOD[0], bad, *GOOD[1:]], ""))
    assert [d["source_id"] for d in documents] == ["urn:uuid:1", "urn:uuid:2", "urn:uuid:3"]
    assert reasons(rejects) == [(reason, None, len(GOOD[0]))]
    assert builder.records == 4


def test_a_longer_length_than_there_is_eats_the_next_record(tmp_path: Path) -> None:
    """The wrong length covers part of the next record, so that record is lost. The records after it are read."""
    long = record(length=len(http()) + 4 + len(GOOD[0]) - 50)
    documents, rejects, builder = one(tmp_path, packed([long, *GOOD], ""))
    assert [d["source_id"] for d in documents] == ["urn:uuid:2", "urn:uuid:3"]
    assert reasons(rejects) == [("wrong_length", None, 0)]
    assert builder.records == 3


def test_length_within_the_header_is_not_believed(tmp_path: Path) -> None:
    data = packed([*GOOD[:1], b"WARC/1.0\r\nWARC-Type: response\r\nContent-Length: many\r\n\r\nx\r\n\r\n", GOOD[1]], "")
    documents, rejects, _ = one(tmp_path, data)
    assert len(documents) == 1
    assert [(r.scope, r.reason, r.offset) for r in rejects] == [("file", "corrupt", len(GOOD[0]))]


@pytest.mark.parametrize("compression", SUFFIX)
def test_a_file_that_ends_too_early_keeps_what_comes_before(tmp_path: Path, compression: str) -> None:
    whole = [packed([each], compression) for each in GOOD]
    third = len(whole[0]) + len(whole[1])
    for cut in range(1, len(whole[2]) - (4 if not compression else 0), 7):
        data = b"".join(whole)[: third + cut]
        documents, rejects, builder = one(tmp_path, data, f"a.warc{SUFFIX[compression]}")
        assert [d["source_id"] for d in documents][:2] == ["urn:uuid:1", "urn:uuid:2"]
        assert [(r.offset, r.reason in ("truncated", "corrupt")) for r in rejects if r.scope == "file"] == [
            (third, True)
        ]
        assert builder.records == len(documents) + builder.rejected.total()


def test_damage_in_a_member_is_placed_there(tmp_path: Path) -> None:
    whole = [gzip.compress(each) for each in GOOD]
    broken = bytearray(whole[1])
    broken[40:60] = bytes(20)
    documents, rejects, _ = one(tmp_path, whole[0] + bytes(broken) + whole[2], "a.warc.gz")
    assert [d["source_id"] for d in documents] == ["urn:uuid:1"]
    assert [(r.reason, r.offset) for r in rejects if r.scope == "file"] == [("corrupt", len(whole[0]))]


def test_one_gzip_stream_for_all_records(tmp_path: Path) -> None:
    bad = record(body=b"nonsense")
    documents, (reject,), _ = one(tmp_path, gzip.compress(packed([GOOD[0], bad, GOOD[1]], "")), "a.warc.gz")
    assert [d["source_id"] for d in documents] == ["urn:uuid:1", "urn:uuid:2"]
    assert reject.offset == 0
    assert reject.detail.startswith(f"at 0+{len(GOOD[0])}: the response has no status line")


def test_large_records_are_not_held(tmp_path: Path) -> None:
    noise = random.Random(1).randbytes(8_000_000)
    video = record(body=http(noise, media="video/mp4"), number=1)
    page = record(body=http(b"<p>" + noise.hex().encode()), number=2)
    file = write(tmp_path, "a.warc.gz", packed([video, page, GOOD[0]], "gzip"))
    del noise, video, page
    tracemalloc.start()
    documents, rejects, builder = read(file, max_text_bytes=100_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(documents) == 1
    assert builder.skipped == {"media_video": 1}
    assert [r.reason for r in rejects] == ["text_too_long"]
    assert peak < 6_000_000


# -- ARC ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compression", SUFFIX)
def test_arc(tmp_path: Path, compression: str) -> None:
    parts = [
        ARC_HEAD,
        arc("http://example.org/a b", http()),
        arc("http://example.org/old", b"<html>without headers"),
        b"http://example.org/v2 192.0.2.1 20080430204825 text/html 200 - - 0 a.arc 9\n<p>text 2\n",
        arc("http://example.org/i", http(b"GIF89a", media="image/gif"), "image/gif"),
        arc("dns:example.org", b"example.org A 192.0.2.1", "text/dns"),
        arc("http://example.org/gone", http(status="404 Gone")),
    ]
    data = packed(parts, compression)
    documents, rejects, builder = one(tmp_path, data, f"a.arc{SUFFIX[compression]}")
    assert [d["url"] for d in documents] == [f"http://example.org/{path}" for path in ("a%20b", "old", "v2")]
    assert [d["text"] for d in documents] == [PAGE.decode(), "<html>without headers", "<p>text 2"]
    assert documents[0]["source_id"] == f"a.arc{SUFFIX[compression]}#{len(packed(parts[:1], compression))}"
    assert documents[0]["date"].isoformat() == "2008-04-30T20:48:25+00:00"
    assert builder.skipped == {"type_warcinfo": 1, "media_image": 1, "not_a_page": 1, "status_4xx": 1}
    assert not rejects


def test_arc_with_bad_lengths(tmp_path: Path) -> None:
    data = ARC_HEAD + arc("http://a.org/1", http(), length=-1) + arc("http://a.org/2", http(), length="abc")
    documents, rejects, builder = one(
        tmp_path, data + arc("http://a.org/3", http(), length=9) + arc("http://a.org/4", http()), "a.arc"
    )
    assert [d["url"] for d in documents] == ["http://a.org/4"]
    assert [r.reason for r in rejects] == ["wrong_length"] * 3
    assert builder.records == 5


def test_what_is_no_archive(tmp_path: Path) -> None:
    for name in ("a.warc", "a.arc", "a.warc.gz"):
        documents, (reject,), _ = one(tmp_path, b"Once upon a time", name)
        assert not documents
        assert (reject.scope, reject.reason, reject.offset) == ("file", "corrupt", 0)


# -- ranges ------------------------------------------------------------------------------------------------------------

BODIES = st.sampled_from(
    [
        http(),
        http(b"<p>WARC/1.0\r\nWARC-Type: response\r\n\r\n"),
        http(b"<p>" + b"x" * 3000),
        http(b"\r\n\r\n<p>\r\n\r\n"),
        http(status="500 Sorry"),
        http(b"\x1f\x8b\x08 bytes", media="image/x"),
        b"nonsense",
    ]
)
KINDS = st.sampled_from(["response", "response", "request", "revisit", "metadata"])


@examples(60)
@given(
    made=st.lists(st.tuples(KINDS, BODIES, st.sampled_from([0, 0, 0, -2])), min_size=1, max_size=12),
    compression=st.sampled_from(list(SUFFIX)),
    cuts=st.lists(st.floats(0, 1), max_size=6),
    members=st.integers(1, 3),
)
def test_ranges_share_the_records(
    made: list[tuple[str, bytes, int]],
    compression: str,
    cuts: list[float],
    members: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Whatever the ranges and the records in a member: each record is read once, and as from the whole file."""
    each = [record(kind, body, n, length=len(body) + off) for n, (kind, body, off) in enumerate(made)]
    grouped = [b"".join(each[i : i + members]) for i in range(0, len(each), members)]
    file = write(tmp_path_factory.mktemp("w"), f"a.warc{SUFFIX[compression]}", packed(grouped, compression))
    documents, rejects, builder = read(file)
    assert builder.records == len(made)
    bounds = sorted({0, file.size, *(int(file.size * cut) for cut in cuts)})
    parts = [read(file, low, high) for low, high in pairwise(bounds)]
    assert [d for part in parts for d in part[0]] == documents
    assert [r for part in parts for r in part[1]] == rejects
    assert sum((Counter(part[2].skipped) for part in parts), Counter()) == builder.skipped


def test_units_of_large_files(tmp_path: Path) -> None:
    each = [record(body=http(b"<p>" + bytes([97 + i % 26]) * 2000), number=i) for i in range(50)]
    for name, compression, units in (("a.warc", "", 11), ("a.warc.gz", "gzip", 3), ("b.arc", "", 1)):
        file = write(tmp_path, name, packed(each, compression))
        planned = plan_units("s", [file], "text", 10_000)
        pieces = [piece for unit in planned for piece in unit.pieces]
        assert (len(planned) >= units, len(planned) == 1) == (True, units == 1)
        assert pieces[0].start == 0
        assert pieces[-1].end in (None, file.size)


# -- another reader ----------------------------------------------------------------------------------------------------


def by_warcio(file: InputFile) -> list[tuple[str, bytes]]:
    """Type and block of each record."""
    with open(file.path, "rb") as handle:
        return [(each.rec_type, each.raw_stream.read()) for each in ArchiveIterator(handle, no_record_parse=True)]


@pytest.mark.parametrize(
    "name", ["aut__example.warc.gz", "aut__issue-493.warc", "pywb__iana.warc.gz", "dolma__sample-0000.warc.gz"]
)
def test_records_are_those_that_warcio_finds(shared_data: Path, name: str) -> None:
    (file,) = list_files([str(shared_data / "warc" / name)]).files
    with open(file.path, "rb") as handle:
        framed = list(records(handle, "warc", compression_of(handle), 0, None, 1 << 30))
    kinds = [each.head.lower().partition(b"warc-type:")[2].split()[0].decode() for each in framed]
    assert list(zip(kinds, (each.body for each in framed), strict=True)) == by_warcio(file)


def test_a_stream_without_end_of_line(tmp_path: Path) -> None:
    data = io.BytesIO(packed(GOOD, "")[:-4])
    assert [each.missing for each in records(data, "warc", "", 0, None, 1 << 20)] == [0, 0, 0]


@pytest.mark.parametrize("stray", [b"a" * 2_000_000, b" " * 2_000_000 + b"x", b"a:b " * 500_000 + b"!"])
def test_what_lies_between_arc_records_is_read_once(tmp_path: Path, stray: bytes) -> None:
    """Two million bytes behind a record that gives a wrong length; read from each byte on, they would take years."""
    wrong, good = arc("http://a.org/1", http(), length=len(http()) - 1), arc("http://a.org/2", http())
    data = ARC_HEAD + wrong.rstrip() + stray + b"\n" + good
    documents, (reject,), _ = one(tmp_path, data, "a.arc")
    assert [d["url"] for d in documents] == ["http://a.org/2"]
    assert reject.reason == "wrong_length"
    documents, (reject,), _ = one(tmp_path, ARC_HEAD + good + wrong.rstrip() + stray, "a.arc")
    assert [d["url"] for d in documents] == ["http://a.org/2"]
    assert reject.reason == "wrong_length"


def test_a_header_of_carriage_returns_is_read_once() -> None:
    data = io.BytesIO(b"WARC/1.0\r\nX: " + b"\r" * 1_000_000 + b"x")
    with pytest.raises(BrokenFileError, match="has a header without an end"):
        list(records(data, "warc", "", 0, None, 1 << 20))


def test_places_of_many_small_members_behind_a_wrong_length() -> None:
    """Looking for the next record reads a megabyte ahead, which holds thousands of members."""
    small = gzip.compress(record("request", b"GET / HTTP/1.1"))
    wrong = gzip.compress(record(length=len(http()) - 1))
    framed = list(records(io.BytesIO(wrong + small * 5000), "warc", "gzip", 0, None, 1 << 20))
    assert framed[0].stray == 1
    assert [(each.place.offset, each.place.inner) for each in framed[1:]] == [
        (len(wrong) + number * len(small), 0) for number in range(5000)
    ]
