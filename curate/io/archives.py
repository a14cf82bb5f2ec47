"""Records of web archives: where they start and end in WARC (ISO 28500), its kin WET and WAT, and ARC files.

fastwarc, which parses the records, gives no place where a file breaks, does not notice that a record is cut short and
does not read ARC. So records are framed here, which takes a version line, ``Content-Length`` and that many bytes, and
every offset is exact.

A place is that of a CDX index: the byte of the file at which the record starts, or in a compressed file the gzip member
or zstd frame. Where that holds several records, the bytes of its content before the record are added: ``4096+310``.

Large files are read in ranges of bytes. A range has the records that start in it; in a compressed file, those whose
member does. A member is a start if its content begins like a record. In a plain WARC a start is a version line (such as
``WARC/1.0``) after two line ends, with a header block after it that gives type and length. A plain WARC that was itself
archived in a plain WARC large enough to be split could be taken for a part of the outer one.
"""

import re
import zlib
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from typing import Any, BinaryIO, NamedTuple

import zstandard

from curate.io.streams import BrokenFileError

MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
_STARTS = {"gzip": b"\x1f\x8b\x08", "zstd": b"\x28\xb5\x2f\xfd"}
_FEED = 1 << 13  # compressed bytes given to a decoder at a time; see `curate.io.streams`
_SCAN = 1 << 20
_PROBE = 256  # bytes of content that tell whether a record starts
_MAX_HEADER = 1 << 20  # bytes of a header block
_WINDOW = 1 << 31

_WARC_START = re.compile(rb"\s*WARC/\d")
# http://example.org/ 192.0.2.1 20080430204825 text/html 1300, in version 2 with five more fields before the length
_ARC_LINE = re.compile(rb"\s*([A-Za-z][\w+.-]*:\S[^\n]*?) (\S+) (\d{8,20}) (\S+)(?: [^\n]*)? (-?\w+)[ \r]*(?:\n|$)")
_MAX_ARC_LINE = 1 << 14
_ARC_START = re.compile(rb"\s*[A-Za-z][\w+.-]*:\S[^\n]* \d{8,20} [^\n]*\n")
STARTS = {"warc": _WARC_START, "arc": _ARC_START}
_PLAIN_START = re.compile(rb"(?:\r?\n){2}(?=WARC/\d\.\d+\r?\n)")
_LENGTH = re.compile(rb"^content-length[ \t]*:[ \t]*(\d{1,15})[ \t]*\r*$", re.IGNORECASE | re.MULTILINE)
_TYPE = re.compile(rb"^warc-type[ \t]*:", re.IGNORECASE | re.MULTILINE)


class Place(NamedTuple):
    """Where a record starts: in the file, and how far into the content of the member that starts there."""

    offset: int
    inner: int = 0

    def __str__(self) -> str:
        return f"{self.offset}+{self.inner}" if self.inner else str(self.offset)


@dataclass(frozen=True)
class Framed:
    """One record as it lies in the file.

    Parameters
    ----------
    place
        Where it starts.
    head
        Version line and headers, in ARC the line that describes the document.
    body
        What follows; of a longer body than wanted only the beginning.
    length
        Bytes of the whole body.
    stray
        Bytes behind the body that belong to no record: the length given was wrong.
    missing
        Bytes that the body lacks because the file ends.
    """

    place: Place
    head: bytes
    body: bytes
    length: int
    stray: int = 0
    missing: int = 0


def records(
    handle: BinaryIO, kind: str, compression: str, start: int, end: int | None, max_bytes: int
) -> Iterator[Framed]:
    """Records that start in ``[start, end)``.

    Parameters
    ----------
    handle
        The open file.
    kind
        ``warc`` or ``arc``.
    compression
        ``gzip``, ``zstd`` or empty.
    start, end
        Bytes of the file; None is its end.
    max_bytes
        Bytes of a body that are held at most.

    Raises
    ------
    BrokenFileError
        The file breaks; all records before the break have been yielded.
    """
    size = handle.seek(0, 2)
    last = size if end is None else end
    first = _first(handle, kind, compression, start, last, size)
    if first is None:
        return
    handle.seek(first)
    stream = _Stream(handle, compression, STARTS[kind], first, last)
    yield from (_warc if kind == "warc" else _arc)(stream, last, max_bytes)


def compression_of(handle: BinaryIO) -> str:
    """Compression by the first bytes of a file, whatever its name says."""
    handle.seek(0)
    begin = handle.read(4)
    handle.seek(0)
    return next((name for magic, name in MAGIC.items() if begin.startswith(magic)), "")


# -- content -----------------------------------------------------------------------------------------------------------


class _Stream:
    """Decompressed content with a place for every byte of it.

    It ends where a member that starts at `last` or later begins a record.
    """

    def __init__(self, handle: BinaryIO, compression: str, begins: re.Pattern[bytes], first: int, last: int) -> None:
        plain = not compression
        self._handle = handle
        self._pieces = _plain(handle, first) if plain else _members(handle, compression, begins, first, last)
        self._buffer = bytearray()
        self._at = 0  # in the buffer
        self._before = first if plain else 0  # content before the buffer
        self._starts: list[tuple[int, int]] = [(0, 0)] if plain else []  # of members: in the content, in the file
        self._broken: BrokenFileError | None = None
        self.plain = plain

    @property
    def position(self) -> int:
        """Bytes of content before this one; in a plain file, the byte of the file."""
        return self._before + self._at

    def begins(self, offset: int) -> bool:
        """Whether the range behind this one begins at a byte of a plain file."""
        here = self._handle.tell()
        begins = _begins(self._handle, "warc", "", offset, self._handle.seek(0, 2))
        self._handle.seek(here)
        return begins

    def place(self, position: int) -> Place:
        """Place of a byte of the content that is not far behind."""
        if self.plain:
            return Place(position)
        content, offset = next((s for s in reversed(self._starts) if s[0] <= position), (0, 0))
        return Place(offset, position - content)

    def _fill(self) -> bool:
        """Take one more piece into the buffer; False at the end, or at a break."""
        if self._broken:
            return False
        try:
            offset, piece = next(self._pieces)
        except StopIteration:
            return False
        except BrokenFileError as broken:
            self._broken = broken
            return False
        if offset is not None:
            start = self._before + len(self._buffer)
            if self._starts and self._starts[-1][0] == start:  # of an empty member nothing is asked
                self._starts.pop()
            self._starts.append((start, offset))
        if self._at >= _SCAN:
            del self._buffer[: self._at]
            self._before += self._at
            self._at = 0
            del self._starts[: max(bisect_right(self._starts, self._before, key=itemgetter(0)) - 1, 0)]
        self._buffer += piece
        return True

    def broken(self) -> None:
        """Raise what broke the stream, if that is why it ended."""
        if self._broken:
            raise self._broken

    def peek(self, size: int) -> bytes:
        """The next bytes, fewer at the end."""
        while len(self._buffer) - self._at < size and self._fill():
            pass
        return bytes(memoryview(self._buffer)[self._at : self._at + size])

    def find(self, pattern: re.Pattern[bytes], limit: int) -> re.Match[bytes] | None:
        """First match within `limit` bytes from here; its positions count from here."""
        size = 1 << 12
        while True:
            found = pattern.search(self.peek(min(size, limit)))
            if found and (found.end() < size or size > limit):
                return found
            if size > limit or len(self._buffer) - self._at < size:
                return found
            size *= 4

    def take(self, size: int) -> bytes:
        """Read bytes, fewer at the end."""
        taken = self.peek(size)
        self._at += len(taken)
        return taken

    def skip(self, size: int) -> int:
        """Pass over bytes without holding them; how many there were."""
        left = size
        while left > 0:
            step = len(self.take(min(left, _SCAN)))
            if not step:
                break
            left -= step
        return size - left


def _plain(handle: BinaryIO, first: int) -> Iterator[tuple[int | None, bytes]]:
    while block := handle.read(_SCAN):
        yield None, block


def _members(
    handle: BinaryIO, compression: str, begins: re.Pattern[bytes], first: int, last: int
) -> Iterator[tuple[int | None, bytes]]:
    """Decompressed pieces; the first one of each member comes with the offset at which the member starts."""
    member, probe = -1, b""
    try:
        for start, piece, ends in _decompressed(handle, compression, first):
            if start == member and probe is None:
                yield None, piece
                continue
            member, probe = start, (probe if start == member and probe else b"") + piece
            if len(probe) >= _PROBE or ends:
                if start >= last and begins.match(probe):
                    return
                whole, probe = probe, None
                yield start, whole
    except BrokenFileError:
        if probe:
            yield member, probe
        raise


def _decompressed(handle: BinaryIO, compression: str, first: int) -> Iterator[tuple[int, bytes, bool]]:
    """Pieces of content: the offset of their member, their bytes, and whether the member ends with them."""
    offset, start, decoder = first, first, None
    for data in iter(partial(handle.read, _FEED), b""):
        offset += len(data)
        rest = data
        while rest:
            if decoder is None:
                rest = rest.lstrip(b"\0") if compression == "gzip" else rest  # padding
                if not rest:
                    break
                start, decoder = offset - len(rest), _decoder(compression)
            try:
                out = decoder.decompress(rest)
            except (zlib.error, zstandard.ZstdError) as error:
                raise BrokenFileError("corrupt", f"{compression}: {error}", start) from error
            yield start, out, decoder.eof
            rest, decoder = (decoder.unused_data, None) if decoder.eof else (b"", decoder)
    if decoder is not None:
        raise BrokenFileError("truncated", f"the file ends in the {compression} stream from {start} on", start)


def _decoder(compression: str) -> Any:
    if compression == "gzip":
        return zlib.decompressobj(wbits=31)
    return zstandard.ZstdDecompressor(max_window_size=_WINDOW).decompressobj()


# -- where a range begins ----------------------------------------------------------------------------------------------


def _first(handle: BinaryIO, kind: str, compression: str, start: int, last: int, size: int) -> int | None:
    """Offset of the first record that starts in ``[start, last)``, None if there is none."""
    if start <= 0:
        return 0
    pattern = re.compile(re.escape(_STARTS[compression])) if compression else _PLAIN_START
    overlap = 0 if compression else 4  # the line ends before the record may lie before the range
    position = start - overlap
    while position < last:
        handle.seek(position)
        window = handle.read(_SCAN + 64)
        for match in pattern.finditer(window):
            found = position + match.end() if not compression else position + match.start()
            if found < start:
                continue
            if found >= last:
                return None
            if _begins(handle, kind, compression, found, size):
                return found
        if len(window) < _SCAN + 64:
            return None
        position += _SCAN
    return None


def _begins(handle: BinaryIO, kind: str, compression: str, offset: int, size: int) -> bool:
    """Whether a record starts at an offset."""
    handle.seek(offset)
    if compression:
        decoder = _decoder(compression)
        try:
            content = decoder.decompress(handle.read(_FEED))
        except (zlib.error, zstandard.ZstdError):
            return False
        return bool(STARTS[kind].match(content[:_PROBE]))
    head = handle.read(_MAX_HEADER)
    blank = re.search(rb"\r?\n\r?\n", head)
    return bool(blank and all(named.search(head, 0, blank.end()) for named in (_LENGTH, _TYPE)))


# -- framing -----------------------------------------------------------------------------------------------------------

# What is searched for begins with a byte that fixes its place: from each of a run of blanks, letters or carriage
# returns on, the rest of the run would be read again.
_BLANK = re.compile(rb"\n\r*\n")
_NEXT_WARC = re.compile(rb"WARC/\d\.\d+\r*\n")
_NEXT_ARC = re.compile(rb"(?<=\n)[A-Za-z][\w+.-]*:\S")
_ARC_END = re.compile(rb" -?\w+[ \r]*\n?\Z")
_LINE = re.compile(rb"\n")
_VERSION = 16  # bytes of the longest version line
_LAST_FIELD = 64  # bytes of the length that ends the line of an ARC record, and of the blanks around it


def _pass_space(stream: _Stream) -> None:
    """Pass over the line ends between records."""
    while (found := stream.peek(64)) and (width := len(found) - len(found.lstrip())):
        stream.skip(width)


def _next_place(stream: _Stream, last: int) -> Place | None:
    """Where the next record starts; None at the end of the file, or of the range that is read."""
    _pass_space(stream)
    start = stream.position
    if not stream.peek(1):
        return stream.broken()
    return None if stream.plain and start >= last and stream.begins(start) else stream.place(start)


def _warc(stream: _Stream, last: int, max_bytes: int) -> Iterator[Framed]:
    while (place := _next_place(stream, last)) is not None:
        begin = stream.peek(16)
        if not _WARC_START.match(begin):
            stream.broken()
            raise BrokenFileError("corrupt", f"no WARC record at {place}: {begin!r}", place.offset)
        blank = stream.find(_BLANK, _MAX_HEADER)
        length = _LENGTH.search(stream.peek(blank.end())) if blank else None
        if not blank or not length:
            stream.broken()
            what = "has no length" if blank else "has no end of its header"
            raise BrokenFileError("corrupt", f"the WARC record at {place} {what}", place.offset)
        head = stream.take(blank.end())
        yield from _whole(stream, _body(stream, place, head, int(length[1]), max_bytes, _NEXT_WARC))


def _body(
    stream: _Stream, place: Place, head: bytes, length: int, max_bytes: int, following: re.Pattern[bytes]
) -> Framed:
    """The record whose head has been read, up to the next record or the end."""
    body = stream.take(min(length, max_bytes))
    passed = len(body) + (stream.skip(length - len(body)) if length > len(body) else 0)
    if passed < length:
        return Framed(place, head, body, length, missing=length - passed)
    return Framed(place, head, body, length, _stray(stream, following))


def _whole(stream: _Stream, record: Framed) -> Iterator[Framed]:
    """Yield the record; if the file ends in it, raise."""
    yield record
    if record.missing:
        stream.broken()
        there = record.length - record.missing
        detail = f"the record at {record.place} ends after {there} of {record.length} bytes"
        raise BrokenFileError("truncated", detail, record.place.offset)


def _stray(stream: _Stream, following: re.Pattern[bytes]) -> int:
    """Pass over what lies between the end of a record and the start of the next one; bytes, but for line ends."""
    _pass_space(stream)
    stray = 0
    while begin := stream.peek(_MAX_ARC_LINE if following is _ARC_LINE else 32):
        if following.match(begin) or (len(begin) < _VERSION and b"WARC/".startswith(begin[:5])):
            return stray  # a record, or as much of it as the file has
        # The whole rest of the file if need be, a megabyte at a time.
        window = stream.peek(_SCAN)
        found = _next(window, following)
        rest = _MAX_ARC_LINE if len(window) == _SCAN else _VERSION  # may hold the beginning of a record
        step = found if found else max(len(window) - rest, 1)
        stray += len(window[:step].strip())
        stream.skip(step)
    return stray


def _next(window: bytes, following: re.Pattern[bytes]) -> int:
    """Where the next record starts, behind the first byte; 0 for nowhere.

    In ARC that is at the start of a line, and only lines that end like one of a record are looked at: the expression
    takes time with the square of the length of others.
    """
    if following is not _ARC_LINE:
        found = following.search(window, 1)
        return found.start() if found else 0
    for begin in _NEXT_ARC.finditer(window, 1):
        line = window[begin.start() : begin.start() + _MAX_ARC_LINE]
        line = line[: line.find(b"\n") + 1] or line
        if _ARC_END.search(line[-_LAST_FIELD:]) and _ARC_LINE.match(line):
            return begin.start()
    return 0


def _arc(stream: _Stream, last: int, max_bytes: int) -> Iterator[Framed]:
    while (place := _next_place(stream, last)) is not None:
        end = stream.find(_LINE, _MAX_ARC_LINE)
        line = _ARC_LINE.match(stream.peek(end.end())) if end else None
        if not end or not line:
            stream.broken()
            raise BrokenFileError("corrupt", f"no ARC record at {place}: {stream.peek(16)!r}", place.offset)
        head = stream.take(end.end())
        length = int(line[5]) if line[5].isdigit() else 0
        yield from _whole(stream, _body(stream, place, head, length, max_bytes, _ARC_LINE))


def arc_fields(head: bytes) -> dict[str, str]:
    """URL, IP address, date, media type and length that the line of an ARC record gives.

    Examples
    --------
    >>> arc_fields(b"http://example.org/ 192.0.2.1 20080430204825 text/html 1300")["date"]
    '20080430204825'
    """
    line = _ARC_LINE.match(head)
    names = ("url", "ip", "date", "type", "length")
    return dict(zip(names, (field.decode("utf-8", "replace") for field in line.groups()), strict=True)) if line else {}
