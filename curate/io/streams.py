"""Bytes of input files: whole lines of a byte range, decompressed on the way, in bounded memory.

A file that ends in the middle of a compressed stream, or whose stream is damaged, gives all content before the break
and then raises `BrokenFileError`. gzip files may have several members (RFC 1952, section 2.2) and zero padding behind
them; zstd files may have several frames and skippable ones (RFC 8878, section 3.1).
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

BLOCK = 1 << 20  # bytes that are split into lines at a time
# Compressed bytes given to a decoder at a time. zstd expands by 32768 at most: a hostile file costs 256 MB, not more.
_FEED = 1 << 13
_WINDOW = 1 << 31  # the largest zstd window (--long=31); memory is taken only when a frame asks for it
_SCAN = 1 << 16


@dataclass
class BrokenFileError(Exception):
    """A file that cannot be read from here on.

    Parameters
    ----------
    reason
        ``unreadable``, ``truncated``, ``corrupt``, ...
    detail
        What was found.
    offset
        Bytes of decompressed content (for Parquet: rows) before the break, where that makes sense.
    """

    reason: str
    detail: str
    offset: int | None = None


@dataclass(frozen=True)
class LineBlock:
    """Lines of a file, without their line feeds, and the offset of the first one."""

    offset: int
    lines: list[bytes]


@dataclass(frozen=True)
class LongLine:
    """A line that is longer than allowed: where it begins, its length, and its first bytes."""

    offset: int
    length: int
    start: bytes


@contextmanager
def opened(file: InputFile) -> Iterator[BinaryIO]:
    """An input file, open for reading bytes.

    Raises
    ------
    BrokenFileError
        It is not there, not a file, or may not be read.
    RunError
        Its size is not what it was when the files were listed.
    """
    try:
        handle = cast(BinaryIO, _open(file.path))
    except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
        raise BrokenFileError("unreadable", error.strerror or type(error).__name__) from error
    with handle:
        size = handle.seek(0, 2)
        if file.size and size != file.size:
            raise RunError(f"{file.path} changed while it was read: {file.size} bytes when listed, {size} now")
        handle.seek(0)
        yield handle


def _open(path: str) -> Any:
    if storage.is_local(path):
        return open(path.removeprefix("file://"), "rb", buffering=0)
    fs, inner = storage.filesystem(path)
    return fs.open(inner, "rb")


def content(handle: BinaryIO, compression: str) -> Iterator[bytes]:
    """Content of an open file from its current position, decompressed, a block at a time.

    Raises
    ------
    BrokenFileError
        The stream ends too early (``truncated``) or is damaged (``corrupt``); all before that has been yielded.
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
        for start in range(0, len(data), _FEED):
            rest = data[start : start + _FEED]
            while rest:
                if decoder is None and compression == "gzip":
                    rest = rest.lstrip(b"\0")  # padding between and after members
                    if not rest:
                        break
                decoder = decoder or _decoder(compression)
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
        raise BrokenFileError("truncated", f"the {compression} stream ends after {produced} bytes of content", produced)


def _decoder(compression: str) -> Any:
    if compression == "gzip":
        return zlib.decompressobj(wbits=31)
    return zstandard.ZstdDecompressor(max_window_size=_WINDOW).decompressobj()


def line_start(handle: BinaryIO, at: int, size: int) -> int:
    """Offset of the first line that starts at byte `at` or later, or `size` where there is none.

    The lines of ``[start, end)`` are the bytes from ``line_start(start)`` to ``line_start(end)``: ranges that cover a
    file give each line to exactly one of them.
    """
    if at <= 0:
        return 0
    if at >= size:
        return size
    position = handle.seek(at - 1)
    while block := handle.read(_SCAN):
        found = block.find(b"\n")
        if found >= 0:
            return position + found + 1
        position += len(block)
    return size


def lines_of(
    handle: BinaryIO, file: InputFile, start: int, end: int | None, limit: int
) -> Iterator[LineBlock | LongLine]:
    """Lines that start in ``[start, end)``, a block at a time; those longer than `limit` are passed by, not held.

    Parameters
    ----------
    handle
        The open file.
    file
        What it is; a compressed file is read whole.
    start, end
        Byte range; None is the end of the file.
    limit
        Bytes of the longest line wanted.

    Raises
    ------
    BrokenFileError
        See `content`; the incomplete line before the break is not yielded.
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
    """Cut blocks into lines; what is left of a block waits, in pieces, for the line feed that ends it."""
    pending: list[bytes] = []
    waiting = 0  # bytes of the line that has begun, of which those in `pending` are held
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
    """Lines of a run of bytes that ends with a line feed."""
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
