"""Web archives written by hand, byte by byte."""

import gzip
from collections.abc import Iterable

import zstandard

PAGE = b"<html><title>t</title><p>A page with some text.</p></html>"


def http(body: bytes = PAGE, *headers: str, status: str = "200 OK", media: str | None = "text/html") -> bytes:
    """An answer of HTTP."""
    lines = [f"HTTP/1.1 {status}", "Server: x", *([f"Content-Type: {media}"] if media else []), *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def record(kind: str = "response", body: bytes | None = None, number: int = 0, length: int | None = None, **named: str):
    """A WARC record; underscores in the names of headers stand for hyphens."""
    body = http() if body is None else body
    headers = {
        "WARC-Type": kind,
        "WARC-Record-ID": f"<urn:uuid:{number}>",
        "WARC-Target-URI": f"http://example.org/{number}",
        "WARC-Date": "2024-02-29T12:00:00Z",
        "Content-Type": "application/http; msgtype=response" if kind == "response" else "text/plain",
        "Content-Length": str(len(body) if length is None else length),
    } | {name.replace("_", "-"): value for name, value in named.items()}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items() if value)
    return f"WARC/1.0\r\n{lines}\r\n".encode() + body + b"\r\n\r\n"


def arc(url: str, body: bytes, media: str = "text/html", length: int | str | None = None) -> bytes:
    """An ARC record of version 1."""
    return f"{url} 192.0.2.1 20080430204825 {media} {len(body) if length is None else length}\n".encode() + body + b"\n"


ARC_HEAD = arc(
    "filedesc://a.arc", b"1 0 Crawler\nURL IP-address Archive-date Content-type Archive-length\n", "text/plain"
)


def packed(records: Iterable[bytes], compression: str) -> bytes:
    """Records one after the other, each a member of its own if they are compressed."""
    compress = {"": bytes, "gzip": gzip.compress, "zstd": zstandard.compress}[compression]
    return b"".join(map(compress, records))


def chunked(body: bytes, size: int = 20) -> bytes:
    """A body as HTTP/1.1 transfers it in chunks."""
    parts = [body[i : i + size] for i in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
