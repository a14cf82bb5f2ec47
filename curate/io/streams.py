"""Read the bytes of input files: whole lines of a byte range, decompressed, in bounded memory.

If a file ends inside a compressed stream, or the stream is damaged, all content before the break is returned and then
`BrokenFileError` is raised. gzip files may have several members (RFC 1952, section 2.2), with zero padding after them.
zstd files may have several frames, skippable ones included (RFC 8878, section 3.1).
"""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

import zstandard

from curate import storage
from curate.errors import RunError
from curate.io.files import InputFile

BLOCK = 1 << 20  # bytes that are split into lines together
# Compressed bytes per call of a decoder. zstd expands at most 32768 times, so a hostile file costs at most 256 MB.
FEED = 1 << 13
_WINDOW = 1 << 31  # maximum zstd window (--long=31); memory is allocated only if a frame asks for it
_SCAN = 1 << 16


@dataclass
class BrokenFileError(Exception):
    """A file that cannot be read beyond some position.

    Parameters
    ----------
    reason
        Key of the reason: ``unreadable``, ``truncated``, ``corrupt``, ...
    detail
        Description of the problem.
    offset
        Bytes of decompressed content (rows of Parquet) before the break, where that makes sense.
    """

    reason: str
    detail: str
    offset: int | None = None


@dataclass(frozen=True)
class LineBlock:
    """Consecutive lines of a file, without their line feeds, and the byte offset of the first line."""

    offset: int
    lines: list[bytes]


@dataclass(frozen=True)
class LongLine:
    """A line that is longer than allowed: its byte offset, its length in bytes, and its first bytes."""

    offset: int
    length: int
    start: bytes


@contextmanager
def opened(file: InputFile) -> Iterator[BinaryIO]:
    """Open an input file to read bytes.

    Raises
    ------
    BrokenFileError
        If it does not exist, is not a file, or may not be read.
    RunError
        If its size has changed since the files were listed.
    """
    try:
        handle = cast(BinaryIO, _open(file.path))
    except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
        raise BrokenFileError("unreadable", error.strerror or type(error).__name__) from error
    with handle:
        size = handle.seek(0, 2)
        if file.size and size != file.size:
            raise RunError(
                f"{file.path} changed during the run: it had {file.size} bytes when it was listed and has {size} now; "
                "run again when it no longer changes"
            )
        handle.seek(0)
        yield handle


def _open(path: str) -> Any:
    if storage.is_local(path):
        return open(path.removeprefix("file://"), "rb", buffering=0)
    fs, inner = storage.filesystem(path)
    return fs.open(inner, "rb")


def content(handle: BinaryIO, compression: str) -> Iterator[bytes]:
    """Yield the content of an open file from its current position, decompressed, in blocks.

    Raises
    ------
    BrokenFileError
        If the stream ends too early (``truncated``) or is damaged (``corrupt``), after all content before the break.
    """
    if not compression:
        while block := handle.read(BLOCK):
            yield block
        return
    pending: list[bytes] = []
    size = 0
    try:
        for piece in _decompressed(handle, compression):
            pending.append(piece)
            size += len(piece)
            if size >= BLOCK:
                yield b"".join(pending)
                pending, size = [], 0
    except BrokenFileError:
        yield b"".join(pending)
        raise
    yield b"".join(pending)


def _decompressed(handle: BinaryIO, compression: str) -> Iterator[bytes]:
    decoder, produced = None, 0
    while data := handle.read(_SCAN):
        for start in range(0, len(data), FEED):
            rest = data[start : start + FEED]
            while rest:
                if decoder is None and compression == "gzip":
                    rest = rest.lstrip(b"\0")  # padding between and after members
                    if not rest:
                        break
                decoder = decoder or decoder_of(compression)
                try:
                    out = decoder.decompress(rest)
                except (zlib.error, zstandard.ZstdError) as error:
                    raise BrokenFileError("corrupt", f"{compression}: {error}", produced) from error
                produced += len(out)
                yield out
                rest = b""
                if decoder.eof:
                    rest, decoder = decoder.unused_data, None
    if decoder is not None:
        detail = f"the {compression} stream ends too early, after {produced} bytes of content"
        raise BrokenFileError("truncated", detail, produced)


def decoder_of(compression: str) -> Any:
    """Return a decompressor for one stream of gzip or zstd."""
    if compression == "gzip":
        return zlib.decompressobj(wbits=31)
    return zstandard.ZstdDecompressor(max_window_size=_WINDOW).decompressobj()


def line_start(handle: BinaryIO, offset: int, size: int) -> int:
    """Return the position of the first line that starts at `offset` or later, or `size` if there is none.

    The lines of a range ``[start, end)`` are the bytes from ``line_start(start)`` to ``line_start(end)``. If ranges
    cover a file, each line belongs to exactly one of them.
    """
    if offset <= 0:
        return 0
    if offset >= size:
        return size
    position = handle.seek(offset - 1)
    while block := handle.read(_SCAN):
        line_feed = block.find(b"\n")
        if line_feed >= 0:
            return position + line_feed + 1
        position += len(block)
    return size


def lines_of(
    handle: BinaryIO, file: InputFile, start: int, end: int | None, limit: int
) -> Iterator[LineBlock | LongLine]:
    """Yield the lines that start in ``[start, end)``, in blocks. Lines longer than `limit` are not held in memory.

    Parameters
    ----------
    handle
        The open file.
    file
        Description of the file. A compressed file is always read whole.
    start, end
        Byte range. An end of None is the end of the file.
    limit
        Maximum length of a line in bytes.

    Raises
    ------
    BrokenFileError
        See `content`. The incomplete line before the break is not yielded.
    """
    if file.compression:
        yield from _lines(content(handle, file.compression), 0, limit)
        return
    size = handle.seek(0, 2)
    last = size if end is None else line_start(handle, end, size)
    first = line_start(handle, start, size)
    handle.seek(first)
    yield from _lines(_blocks(handle, last - first), first, limit)


def _blocks(handle: BinaryIO, count: int) -> Iterator[bytes]:
    while count > 0 and (block := handle.read(min(BLOCK, count))):
        count -= len(block)
        yield block


def _lines(blocks: Iterator[bytes], offset: int, limit: int) -> Iterator[LineBlock | LongLine]:
    """Split blocks into lines. The incomplete line at the end of a block is kept, in pieces, until its line feed."""
    pending: list[bytes] = []
    waiting = 0  # bytes of the incomplete line; `pending` holds all of them unless they exceed the limit
    for block in blocks:
        cut = block.find(b"\n") + 1 if waiting > limit else block.rfind(b"\n") + 1
        if cut and waiting > limit:
            length = waiting + cut - 1
            yield LongLine(offset, length, pending[0])
            offset += length + 1
            pending, waiting = [], 0
            block = block[cut:]
            cut = block.rfind(b"\n") + 1
        if cut:
            whole = b"".join([*pending, block[:cut]])
            yield from _within(whole, offset, limit)
            offset += len(whole)
            pending, waiting = [], 0
        rest = block[cut:]
        if rest:
            waiting += len(rest)
            pending = [*pending, rest] if waiting <= limit or not pending else pending[:1]
    if waiting > limit:
        yield LongLine(offset, waiting, pending[0])
    elif waiting:
        yield LineBlock(offset, [b"".join(pending)])


def _within(whole: bytes, offset: int, limit: int) -> Iterator[LineBlock | LongLine]:
    """Yield the lines of a byte string that ends with a line feed."""
    lines = whole.split(b"\n")
    lines.pop()
    if len(whole) <= limit:
        yield LineBlock(offset, lines)
        return
    start, position = 0, offset
    for index, line in enumerate(lines):
        if len(line) > limit:
            if start < index:
                yield LineBlock(offset, lines[start:index])
            yield LongLine(position, len(line), line[:_SCAN])
            start, offset = index + 1, position + len(line) + 1
        position += len(line) + 1
    if start < len(lines):
        yield LineBlock(offset, lines[start:])
