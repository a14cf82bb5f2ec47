"""Web archives: pages in WARC, WET and ARC files become documents. All other records are counted by type.

Documents are HTTP responses with status 200 (``response`` records), ``resource`` and ``conversion`` records, if their
media type is HTML or plain text. The text of a page is its HTML as served, decoded to Unicode; `extract` extracts the
text from it. fastwarc parses records and decodes HTTP's transfer encoding (chunked) and content encodings (gzip,
deflate, brotli, zstd).
"""

import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from curate.errors import RunError
from curate.extras import missing
from curate.io.archives import Framed, arc_fields, compression_of, records
from curate.io.charsets import decode
from curate.io.files import InputFile
from curate.io.records import Batch, BatchBuilder, sample
from curate.io.streams import opened

PAGES = ("text/html", "application/xhtml+xml", "text/plain")
"""Media types that become documents."""

PACKAGES = ("fastwarc", "resiliparse")
"""Packages of the extra `web` that reading web archives takes."""

_TYPES = ("warcinfo", "request", "metadata", "revisit", "continuation")
_MEDIA = {kind: kind for kind in ("image", "audio", "video", "font")}
_SUBTYPES = {
    **{name: name for name in ("css", "javascript", "xml", "json", "csv", "pdf", "zip")},
    **dict.fromkeys(("x-javascript", "ecmascript"), "javascript"),
    **dict.fromkeys(("rss+xml", "atom+xml", "rdf+xml"), "feed"),
    **dict.fromkeys(("octet-stream", "gzip", "x-gzip", "x-tar", "x-zip-compressed"), "binary"),
    "x-shockwave-flash": "flash",
    "ld+json": "json",
}
# First bytes of binary files, whatever their media type (MIME Sniffing Standard, section 6).
_BINARY = re.compile(
    rb"%PDF-|\x89PNG\r\n|GIF8[79]a|\xff\xd8\xff|PK\x03\x04|\x1f\x8b\x08|Rar!|BM.{4}\0\0\0\0|\0\0\x01\0"
    rb"|RIFF.{4}(?:WEBP|WAVE|AVI )|[FC]WS[\x01-\x08\x0e-\x1f]|\x7fELF|wOF[F2]\0|ID3[\x02-\x04]|OggS\0|\x1aE\xdf\xa3"
    rb"|\xd0\xcf\x11\xe0",
    re.DOTALL,
)
# Tags that identify HTML in a page without media type (MIME Sniffing Standard, section 7.1).
_HTML = re.compile(
    rb"\s*(?:\xef\xbb\xbf\s*)?"
    rb"<(?:!doctype html|html|head|script|iframe|h1|div|font|table|a|style|title|b|body|br|p|!--)[\s>]",
    re.IGNORECASE,
)
_CHUNK = re.compile(rb"[0-9a-fA-F]{1,16}[ \t]*(?:;[^\r\n]*)?\r?\n")
_CHARSET = re.compile(r"charset\s*=\s*[\"']?\s*([\w.:+-]+)", re.IGNORECASE)
# Bytes of a record that are read: the longest allowed text in its widest encoding, UTF-16, and HTTP headers.
_WIDEST = 2
_HEADERS = 1 << 16
# URLs of crawler logs, name look-ups and files that are written for crawlers.
_NOT_PAGE = re.compile(r"(?:metadata|urn|dns|whois|warcinfo):|https?://[^/]+/robots\.txt$", re.IGNORECASE)


@dataclass
class Skipped(Exception):  # noqa: N818
    """Raised for a record that is not a document; `reason` is the name under which it is counted."""

    reason: str


@dataclass
class Unusable(Exception):  # noqa: N818
    """Raised for a record that cannot become a document: reason and detail of its quarantine."""

    reason: str
    detail: str


def read(file: InputFile, start: int, end: int | None, builder: BatchBuilder) -> Iterator[Batch]:
    """Read the records that start in ``[start, end)`` (see `curate.io.archives`).

    Parameters
    ----------
    file
        WARC or ARC file. Its first bytes show whether it is compressed.
    start, end
        Byte range of the file. An end of None is the end of the file.
    builder
        Takes the documents. Full batches are yielded; the last documents stay in the builder.

    Raises
    ------
    BrokenFileError
        If the file breaks, after all records before the break.
    """
    if absent := missing("web", *PACKAGES):
        raise RunError(str(absent))
    limit = builder.max_text_bytes
    records_before = builder.records
    with opened(file) as handle:
        compression = compression_of(handle)
        for framed in records(handle, file.format, compression, start, end, _held(limit)):
            builder.records += 1
            place = framed.place
            try:
                record = (_page if file.format == "warc" else _arc_page)(framed, limit, builder)
            except Skipped as skipped:
                builder.skip(skipped.reason)
            except Unusable as unusable:
                builder.reject(unusable.reason, f"at {place}: {unusable.detail}", file.name, place.offset)
            else:
                record |= {"file": file.name, "offset": place.offset}
                builder.add_page(record, file.name, place.offset, str(place))
            if builder.full:
                yield builder.take()
    if start == 0 and end is None and builder.records == records_before:
        builder.reject_file("empty_file", "the file has no records", file.name)


# -- records -----------------------------------------------------------------------------------------------------------


def _page(framed: Framed, limit: int, builder: BatchBuilder) -> dict[str, Any]:
    """Convert a WARC record to the fields of a document."""
    from fastwarc.warc import WarcRecord

    try:
        record = WarcRecord.from_bytes(_whole(framed))
    except OSError as error:
        raise Unusable("malformed_record", f"{error}: {sample(framed.head)}") from None
    headers = {str(name).lower(): value for name, value in record.headers.items()}
    kind = headers.get("warc-type", "").lower()
    if kind not in ("response", "resource", "conversion"):
        raise Skipped(f"type_{kind}" if kind in _TYPES else "type_other")
    url = headers.get("warc-target-uri", "").strip("<> ").replace(" ", "%20")
    if _NOT_PAGE.match(url):
        raise Skipped("not_a_page")
    _refuse_truncated(framed)
    media = headers.get("content-type", "").lower()
    if kind == "response" and not media.startswith("application/http"):
        raise Skipped("not_http")
    fields = {
        "id": headers.get("warc-record-id", "").strip("<> ") or None,
        "url": url or None,
        "date": headers.get("warc-date"),
        "record_type": kind,
        "truncated": headers.get("warc-truncated"),
        "languages": headers.get("warc-identified-content-language"),
    }
    if kind == "response":
        return fields | _http(record, framed, limit, builder)
    return fields | _text(media, framed.body, framed, limit, builder, conversion=kind == "conversion")


def _arc_page(framed: Framed, limit: int, builder: BatchBuilder) -> dict[str, Any]:
    """Convert an ARC record, which is an HTTP response or a resource of another protocol, to a document's fields."""
    line = arc_fields(framed.head)
    if line["url"].startswith("filedesc:"):
        raise Skipped("type_warcinfo")
    if _NOT_PAGE.match(line["url"]):
        raise Skipped("not_a_page")
    fields = {"url": line["url"].replace(" ", "%20"), "date": _arc_date(line["date"]), "record_type": "arc"}
    _refuse_truncated(framed)
    if not line["length"].isdigit():
        detail = f"the length {line['length']!r} is not a number: {sample(framed.head)}"
        raise Unusable("wrong_length", detail)
    if not framed.body.startswith(b"HTTP/"):
        return fields | _text(line["type"].lower(), framed.body, framed, limit, builder)
    return fields | _http(_response(framed.body), framed, limit, builder)


def _whole(framed: Framed) -> bytes:
    """Return the bytes of a record. Its header is changed to the length of the body that was read."""
    if len(framed.body) == framed.length:
        return framed.head + framed.body
    length = str(len(framed.body)).encode()
    return re.sub(rb"(?im)^(content-length[ \t]*:[ \t]*)\d+", rb"\g<1>" + length, framed.head, count=1) + framed.body


def _http(record: Any, framed: Framed, limit: int, builder: BatchBuilder) -> dict[str, Any]:
    """Parse an HTTP response, and return the fields of its document."""
    try:
        record.parse_http(auto_decode="none", quirks_mode=True)
    except OSError as error:
        raise Unusable("malformed_http", f"{error}: {sample(framed.body)}") from None
    answer = record.http_headers
    status = answer and answer.status_code
    if not answer or status is None:
        _refuse_incomplete(framed)
        raise Unusable("malformed_http", f"the response has no status line: {sample(framed.body)}")
    if status != 200:
        raise Skipped(f"status_{status // 100}xx" if 100 <= status < 600 else "status_other")
    headers = {str(name).lower(): value for name, value in answer.items()}
    media = headers.get("content-type", "").lower()
    raw = record.reader.read()
    _refuse_media(media, raw, encoded=bool(headers.get("content-encoding")))
    _refuse_incomplete(framed)
    body = _decoded(raw, headers, _held(limit), builder)
    fields = _text(media, body, framed, limit, builder)
    return fields | {"status": status, "content_language": headers.get("content-language")}


def _held(limit: int) -> int:
    """Return the maximum number of bytes of a record that are read, for texts of at most `limit` bytes."""
    return _WIDEST * limit + _HEADERS


def _refuse_truncated(framed: Framed) -> None:
    """Refuse a record in which the file ends. Even its status may be cut."""
    if framed.missing:
        present = framed.length - framed.missing
        raise Unusable("truncated", f"the file ends after {present} of {framed.length} bytes: {sample(framed.head)}")


def _refuse_incomplete(framed: Framed) -> None:
    """Refuse a record that is too long, or whose header gives a wrong length."""
    if len(framed.body) < framed.length:
        raise Unusable("text_too_long", f"the record has {framed.length} bytes: {sample(framed.head)}")
    if framed.stray:
        detail = f"{framed.stray} bytes lie between the end of the record and the next: {sample(framed.head)}"
        raise Unusable("wrong_length", detail)


def _decoded(body: bytes, headers: Mapping[str, str], limit: int, builder: BatchBuilder) -> bytes:
    """Remove the transfer and content encodings of a body, and return at most one byte more than `limit`.

    Some crawlers store decoded bodies but keep the headers of the encodings. So an encoding is ignored if the body does
    not have it. A body whose encoding is broken is refused.
    """
    chunked = "chunked" in headers.get("transfer-encoding", "").lower()
    encodings = headers.get("content-encoding", "").lower().replace(" ", "").strip(",")
    encodings = "" if encodings in ("identity", "none", "utf-8", "text/html") else encodings
    is_chunked = chunked and bool(_CHUNK.match(body))
    if chunked != is_chunked:
        builder.counts["not_chunked"] += 1
    try:
        if is_chunked:
            body = _through({"Transfer-Encoding": "chunked"}, body, limit)
    except OSError as error:
        raise Unusable("broken_chunks", f"{error}"[:200]) from None
    if not encodings or not body:
        return body
    try:
        return _through({"Content-Encoding": encodings}, body, limit)
    except OSError as error:
        if encodings == "deflate":
            try:  # deflate without the header that RFC 9110, section 8.4.1.2, requires
                return zlib.decompressobj(-15).decompress(body, limit + 1)
            except zlib.error:
                pass
        if _is_binary(body):
            raise Unusable("broken_encoding", f"{encodings}: {error}"[:200]) from None
        builder.counts["not_encoded"] += 1
        return body


def _response(http: bytes) -> Any:
    """Wrap an HTTP response in a record of fastwarc."""
    from fastwarc.warc import WarcRecord

    kind = "WARC-Type: response\r\nContent-Type: application/http; msgtype=response"
    head = f"WARC/1.0\r\n{kind}\r\nContent-Length: {len(http)}\r\n\r\n"
    return WarcRecord.from_bytes(head.encode() + http)


def _through(headers: Mapping[str, str], body: bytes, limit: int) -> bytes:
    """Decode a body with fastwarc, as described by HTTP headers."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    http = f"HTTP/1.1 200 OK\r\n{lines}\r\n".encode() + body
    record = _response(http)
    record.parse_http(auto_decode="all")
    return record.reader.read(limit + 1)


# -- text --------------------------------------------------------------------------------------------------------------


def _refuse_media(media: str, body: bytes, *, encoded: bool) -> None:
    """Skip a body that is not a page according to its media type or, without one, its first bytes."""
    kind, _, subtype = media.partition(";")[0].strip().partition("/")
    if f"{kind}/{subtype}" in PAGES:
        if not encoded and _BINARY.match(body):
            raise Skipped("media_mislabelled")
    elif subtype and kind in (*_MEDIA, "text", "application", "multipart", "message", "model"):
        raise Skipped(f"media_{_MEDIA.get(kind) or _SUBTYPES.get(subtype, 'other')}")
    elif not encoded and not _HTML.match(body[:2000]):
        raise Skipped("media_unknown")


def _text(
    media: str,
    body: bytes,
    framed: Framed,
    limit: int,
    builder: BatchBuilder,
    *,
    conversion: bool = False,
) -> dict[str, Any]:
    """Decode the text of a page, and return it with the fields that describe it."""
    _refuse_media(media or ("text/plain" if conversion else ""), body, encoded=False)
    _refuse_incomplete(framed)
    if not body.strip():
        raise Skipped("empty_page")
    kind = media.partition(";")[0].strip()
    kind = kind if kind in PAGES else "text/plain" if conversion else "text/html"
    if len(body) > _held(limit):
        raise Unusable("text_too_long", f"the decoded page has more bytes than max_text_bytes ({limit}) allows")
    declared = _CHARSET.search(media)
    charset = "utf-8" if conversion and not declared else declared and declared[1]
    text = decode(body, charset or None, html=kind != "text/plain")
    if "\0" in text.text:  # replaced as in HTML; a zero byte has no meaning in plain text either
        builder.counts["nul_replaced"] += 1
    return {
        "text": text.text.replace("\0", "\ufffd"),
        "content_type": kind,
        "charset": text.charset,
        "charset_from": text.origin,
        "charset_errors": text.replaced or None,
    }


def _is_binary(body: bytes) -> bool:
    return bool(_BINARY.match(body)) or b"\0" in body[:1024] or (not _HTML.match(body[:2000]) and _odd(body[:1024]))


def _odd(begin: bytes) -> bool:
    """Return whether more than 1 in 20 bytes are control characters, which are rare in text."""
    odd = sum(byte < 32 and byte not in b"\t\n\r\f" for byte in begin)
    return odd * 20 > len(begin)


def _arc_date(digits: str) -> str | None:
    """Convert ``YYYYMMDDhhmmss``, which may be shorter or longer, to ISO 8601; None if there is no day.

    Examples
    --------
    >>> _arc_date("20080430204825"), _arc_date("20080430"), _arc_date("0000")
    ('2008-04-30T20:48:25', '2008-04-30T00:00:00', None)
    """
    if len(digits) < 8:
        return None
    full = f"{digits:0<14}"
    return f"{full[:4]}-{full[4:6]}-{full[6:8]}T{full[8:10]}:{full[10:12]}:{full[12:14]}"
