"""Find the records of web archives: WARC (ISO 28500), the derived formats WET and WAT, and ARC.

fastwarc parses the records, but it does not report where a file breaks, does not notice a truncated record and does not
read ARC. So this module finds the bounds of records: a version line, a header with ``Content-Length``, and that many
bytes. Every offset is exact.

The place of a record is that of a CDX index: the byte of the file at which the record starts or, in a compressed file,
at which its gzip member or zstd frame starts. If the member contains several records, the position of the record in its
content is added: ``4096+310``.

Large files are read in byte ranges. A range contains the records that start in it or, in a compressed file, whose
member starts in it. A position is accepted as the start of a member if the decompressed content starts like a record.
In a plain WARC a record starts with a version line (such as ``WARC/1.0``) after two line ends, followed by a header
with type and length. If a plain WARC was itself archived in a plain WARC that is large enough to be split, its records
could be mistaken for records of the outer file.
"""

import re
import zlib
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from typing import BinaryIO, NamedTuple

import zstandard

from curate.io.streams import FEED, BrokenFileError, decoder_of

MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
_STARTS = {"gzip": b"\x1f\x8b\x08", "zstd": b"\x28\xb5\x2f\xfd"}
_SCAN = 1 << 20
_PROBE = 256  # bytes of content that show whether a record starts
_MAX_HEADER = 1 << 20  # maximum bytes of a header

_WARC_START = re.compile(rb"\s*WARC/\d")
# http://example.org/ 192.0.2.1 20080430204825 text/html 1300; version 2 has five more fields before the length
_ARC_LINE = re.compile(rb"\s*([A-Za-z][\w+.-]*:\S[^\n]*?) (\S+) (\d{8,20}) (\S+)(?: [^\n]*)? (-?\w+)[ \r]*(?:\n|$)")
_MAX_ARC_LINE = 1 << 14
_ARC_START = re.compile(rb"\s*[A-Za-z][\w+.-]*:\S[^\n]* \d{8,20} [^\n]*\n")
STARTS = {"warc": _WARC_START, "arc": _ARC_START}
_PLAIN_START = re.compile(rb"(?:\r?\n){2}(?=WARC/\d\.\d+\r?\n)")
_LENGTH = re.compile(rb"^content-length[ \t]*:[ \t]*(\d{1,15})[ \t]*\r*$", re.IGNORECASE | re.MULTILINE)
_TYPE = re.compile(rb"^warc-type[ \t]*:", re.IGNORECASE | re.MULTILINE)


class Place(NamedTuple):
    """Start of a record: the offset of its member in the file, and of the record in the content of the member."""

    offset: int
    inner: int = 0

    def __str__(self) -> str:
        return f"{self.offset}+{self.inner}" if self.inner else str(self.offset)


@dataclass(frozen=True)
class Framed:
    """One record as it is stored in the file.

    Parameters
    ----------
    place
        Start of the record.
    head
        Version line and headers; in ARC the line that describes the document.
    body
        Content of the record, cut at the maximum size.
    length
        Size of the whole body in bytes.
    stray
        Number of bytes after the body that belong to no record, because the length in the header is wrong.
    missing
        Number of bytes of the body that are missing because the file ends.
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
    """Yield the records that start in ``[start, end)``.

    Parameters
    ----------
    handle
        The open file.
    kind
        ``warc`` or ``arc``.
    compression
        ``gzip``, ``zstd`` or empty.
    start, end
        Byte range of the file. An end of None is the end of the file.
    max_bytes
        Maximum number of bytes of a body that are kept in memory.

    Raises
    ------
    BrokenFileError
        If the file breaks, after all records before the break.
    """
    size = handle.seek(0, 2)
    last = size if end is None else end
    first = _first(handle, kind, compression, start, last)
    if first is None:
        return
    handle.seek(first)
    stream = _Stream(handle, compression, STARTS[kind], first, last)
    yield from (_warc if kind == "warc" else _arc)(stream, last, max_bytes)


def compression_of(handle: BinaryIO) -> str:
    """Detect the compression by the first bytes of a file, whatever its name."""
    handle.seek(0)
    begin = handle.read(4)
    handle.seek(0)
    return next((name for magic, name in MAGIC.items() if begin.startswith(magic)), "")


# -- content -----------------------------------------------------------------------------------------------------------


class _Stream:
    """Decompressed content, with the place of each byte.

    The stream ends before the first member that starts at `last` or later and begins a record.
    """

    def __init__(self, handle: BinaryIO, compression: str, begins: re.Pattern[bytes], first: int, last: int) -> None:
        plain = not compression
        self._handle = handle
        self._pieces = _plain(handle, first) if plain else _members(handle, compression, begins, first, last)
        self._buffer = bytearray()
        self._position = 0  # in the buffer
        self._before = first if plain else 0  # bytes of content before the buffer
        self._starts: list[tuple[int, int]] = [(0, 0)] if plain else []  # of members: position in content and in file
        self._broken: BrokenFileError | None = None
        self.plain = plain

    @property
    def position(self) -> int:
        """Position in the content; in a plain file, the byte of the file."""
        return self._before + self._position

    def begins(self, offset: int) -> bool:
        """Return whether the next range begins at a byte of a plain file."""
        here = self._handle.tell()
        begins = _begins(self._handle, "warc", "", offset)
        self._handle.seek(here)
        return begins

    def place(self, position: int) -> Place:
        """Return the place of a recent byte of the content."""
        if self.plain:
            return Place(position)
        content, offset = next((s for s in reversed(self._starts) if s[0] <= position), (0, 0))
        return Place(offset, position - content)

    def _fill(self) -> bool:
        """Read one more piece into the buffer. Return false at the end or at a break."""
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
            if self._starts and self._starts[-1][0] == start:  # the member before is empty
                self._starts.pop()
            self._starts.append((start, offset))
        if self._position >= _SCAN:
            del self._buffer[: self._position]
            self._before += self._position
            self._position = 0
            del self._starts[: max(bisect_right(self._starts, self._before, key=itemgetter(0)) - 1, 0)]
        self._buffer += piece
        return True

    def broken(self) -> None:
        """Raise the error that ended the stream, if there is one."""
        if self._broken:
            raise self._broken

    def peek(self, size: int) -> bytes:
        """Return the next bytes without consuming them; fewer at the end."""
        while len(self._buffer) - self._position < size and self._fill():
            pass
        return bytes(memoryview(self._buffer)[self._position : self._position + size])

    def find(self, pattern: re.Pattern[bytes], limit: int) -> re.Match[bytes] | None:
        """Find the first match within the next `limit` bytes. Its positions are relative to the current position."""
        size = 1 << 12
        while True:
            match = pattern.search(self.peek(min(size, limit)))
            if match and (match.end() < size or size > limit):
                return match
            if size > limit or len(self._buffer) - self._position < size:
                return match
            size *= 4

    def take(self, size: int) -> bytes:
        """Consume and return bytes; fewer at the end."""
        taken = self.peek(size)
        self._position += len(taken)
        return taken

    def skip(self, size: int) -> int:
        """Consume bytes without keeping them in memory. Return their number."""
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
    """Yield decompressed pieces. The first piece of each member comes with the member's offset in the file."""
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
    """Yield pieces of content: the offset of their member, their bytes, and whether the member ends with them."""
    offset, start, decoder = first, first, None
    for data in iter(partial(handle.read, FEED), b""):
        offset += len(data)
        rest = data
        while rest:
            if decoder is None:
                rest = rest.lstrip(b"\0") if compression == "gzip" else rest  # padding
                if not rest:
                    break
                start, decoder = offset - len(rest), decoder_of(compression)
            try:
                out = decoder.decompress(rest)
            except (zlib.error, zstandard.ZstdError) as error:
                raise BrokenFileError("corrupt", f"{compression}: {error}", start) from error
            yield start, out, decoder.eof
            rest, decoder = (decoder.unused_data, None) if decoder.eof else (b"", decoder)
    if decoder is not None:
        detail = f"the file ends inside the {compression} stream that starts at byte {start}"
        raise BrokenFileError("truncated", detail, start)


# -- start of a range --------------------------------------------------------------------------------------------------


def _first(handle: BinaryIO, kind: str, compression: str, start: int, last: int) -> int | None:
    """Return the offset of the first record that starts in ``[start, last)``, or None if there is none."""
    if start <= 0:
        return 0
    pattern = re.compile(re.escape(_STARTS[compression])) if compression else _PLAIN_START
    overlap = 0 if compression else 4  # the line ends before the record may precede the range
    position = max(start - overlap, 0)
    while position < last:
        handle.seek(position)
        window = handle.read(_SCAN + 64)
        for match in pattern.finditer(window):
            record_start = position + match.end() if not compression else position + match.start()
            if record_start < start:
                continue
            if record_start >= last:
                return None
            if _begins(handle, kind, compression, record_start):
                return record_start
        if len(window) < _SCAN + 64:
            return None
        position += _SCAN
    return None


def _begins(handle: BinaryIO, kind: str, compression: str, offset: int) -> bool:
    """Return whether a record starts at an offset."""
    handle.seek(offset)
    if compression:
        decoder = decoder_of(compression)
        try:
            content = decoder.decompress(handle.read(FEED))
        except (zlib.error, zstandard.ZstdError):
            return False
        return bool(STARTS[kind].match(content[:_PROBE]))
    head = handle.read(_MAX_HEADER)
    blank = re.search(rb"\r?\n\r?\n", head)
    return bool(blank and all(field.search(head, 0, blank.end()) for field in (_LENGTH, _TYPE)))


# -- bounds of records -------------------------------------------------------------------------------------------------

# Each pattern starts with a byte that fixes its position. Otherwise the search would rescan the rest of a run of
# blanks, letters or carriage returns from each byte of the run.
_BLANK = re.compile(rb"\n\r*\n")
_NEXT_WARC = re.compile(rb"WARC/\d\.\d+\r*\n")
_NEXT_ARC = re.compile(rb"(?<=\n)[A-Za-z][\w+.-]*:\S")
_ARC_END = re.compile(rb" -?\w+[ \r]*\n?\Z")
_LINE = re.compile(rb"\n")
_VERSION = 16  # maximum bytes of a version line
_LAST_FIELD = 64  # bytes of the length at the end of an ARC record's line, with the blanks around it


def _pass_space(stream: _Stream) -> None:
    """Skip the line ends between records."""
    while (window := stream.peek(64)) and (width := len(window) - len(window.lstrip())):
        stream.skip(width)


def _next_place(stream: _Stream, last: int) -> Place | None:
    """Return the start of the next record, or None at the end of the file or of the range."""
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
            raise BrokenFileError("corrupt", f"there is no WARC record at {place} but {begin!r}", place.offset)
        blank = stream.find(_BLANK, _MAX_HEADER)
        length = _LENGTH.search(stream.peek(blank.end())) if blank else None
        if not blank or not length:
            stream.broken()
            defect = "has no Content-Length" if blank else "has a header without an end"
            raise BrokenFileError("corrupt", f"the WARC record at {place} {defect}", place.offset)
        head = stream.take(blank.end())
        yield from _whole(stream, _body(stream, place, head, int(length[1]), max_bytes, _NEXT_WARC))


def _body(
    stream: _Stream, place: Place, head: bytes, length: int, max_bytes: int, following: re.Pattern[bytes]
) -> Framed:
    """Read the body of a record whose head has been read, up to the next record or the end."""
    body = stream.take(min(length, max_bytes))
    size = len(body) + (stream.skip(length - len(body)) if length > len(body) else 0)
    if size < length:
        return Framed(place, head, body, length, missing=length - size)
    return Framed(place, head, body, length, _stray(stream, following))


def _whole(stream: _Stream, record: Framed) -> Iterator[Framed]:
    """Yield a record. Raise an error afterwards if the file ends in it."""
    yield record
    if record.missing:
        stream.broken()
        present = record.length - record.missing
        detail = f"the record at {record.place} ends after {present} of {record.length} bytes"
        raise BrokenFileError("truncated", detail, record.place.offset)


def _stray(stream: _Stream, following: re.Pattern[bytes]) -> int:
    """Skip the bytes between the end of a record and the next one. Return their number without line ends."""
    _pass_space(stream)
    stray = 0
    while begin := stream.peek(_MAX_ARC_LINE if following is _ARC_LINE else 32):
        if following.match(begin) or (len(begin) < _VERSION and b"WARC/".startswith(begin[:5])):
            return stray  # the next record, or what the file contains of it
        # This may skip the whole rest of the file, a megabyte at a time.
        window = stream.peek(_SCAN)
        next_start = _next(window, following)
        rest = _MAX_ARC_LINE if len(window) == _SCAN else _VERSION  # this many bytes may be the start of a record
        step = next_start if next_start else max(len(window) - rest, 1)
        stray += len(window[:step].strip())
        stream.skip(step)
    return stray


def _next(window: bytes, following: re.Pattern[bytes]) -> int:
    """Return the start of the next record after the first byte of the window, or 0 if there is none.

    An ARC record starts with a line. Only lines that end like such a line are tested with the full expression, because
    its time grows with the square of the length of other lines.
    """
    if following is not _ARC_LINE:
        match = following.search(window, 1)
        return match.start() if match else 0
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
            detail = f"there is no ARC record at {place} but {stream.peek(16)!r}"
            raise BrokenFileError("corrupt", detail, place.offset)
        head = stream.take(end.end())
        length = int(line[5]) if line[5].isdigit() else 0
        yield from _whole(stream, _body(stream, place, head, length, max_bytes, _ARC_LINE))


def arc_fields(head: bytes) -> dict[str, str]:
    """Return the URL, IP address, date, media type and length of an ARC record from its first line.

    Examples
    --------
    >>> arc_fields(b"http://example.org/ 192.0.2.1 20080430204825 text/html 1300")["date"]
    '20080430204825'
    """
    line = _ARC_LINE.match(head)
    names = ("url", "ip", "date", "type", "length")
    return dict(zip(names, (field.decode("utf-8", "replace") for field in line.groups()), strict=True)) if line else {}
