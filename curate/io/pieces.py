"""Split the input into units of work: large files into pieces, small files into groups.

The units, and therefore shards and row order, depend only on the names and sizes of the files.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import pairwise

from curate.io.files import InputFile
from curate.io.formats import parquet
from curate.io.streams import BrokenFileError

MIN_SHARD_BYTES = 8_000_000
MAX_SHARD_BYTES = 256_000_000
SHARDS_WANTED = 64  # shards of a large input, so that inputs of 0.5 GB or more can keep 64 workers busy
_FOOTERS_AT_ONCE = 16


@dataclass(frozen=True)
class Piece:
    """A range of one file.

    Parameters
    ----------
    file
        The file.
    start, end
        Range of bytes or, in Parquet, of row groups. In JSON Lines and web archives (compressed ones too) it contains
        the lines or records that start in the range. An end of None is the end of the file.
    content_bytes
        Estimated size of the decompressed content in bytes.
    """

    file: InputFile
    start: int
    end: int | None
    content_bytes: int


@dataclass(frozen=True)
class Unit:
    """Input of one task: pieces of one source, in order."""

    source: str
    pieces: tuple[Piece, ...]


def shard_size(content_bytes: int) -> int:
    """Choose the bytes of text per shard for an input of `content_bytes`: 1/64 of it, between 8 MB and 256 MB.

    Examples
    --------
    >>> shard_size(1_000_000), shard_size(6_400_000_000), shard_size(10**12)
    (8000000, 100000000, 256000000)
    """
    return min(max(content_bytes // SHARDS_WANTED, MIN_SHARD_BYTES), MAX_SHARD_BYTES)


def plan_units(source: str, files: Sequence[InputFile], text: str, shard_bytes: int) -> list[Unit]:
    """Split files into units of about `shard_bytes` of content each.

    Parameters
    ----------
    source
        Name of the source.
    files
        Files of the source, in order.
    text
        Name of the text field. The footers of large Parquet files give its size in each row group.
    shard_bytes
        Wanted size of a unit. Row groups, and compressed files other than web archives, are not split. A unit with a
        large one is larger and fills several shards.
    """
    units: list[list[Piece]] = []
    room = 0
    for piece in _pieces(files, text, shard_bytes):
        if not units or piece.content_bytes > room:
            units.append([])
            room = shard_bytes
        _append(units[-1], piece)
        room -= piece.content_bytes
    return [Unit(source, tuple(pieces)) for pieces in units]


def _append(pieces: list[Piece], piece: Piece) -> None:
    """Add a piece. If it continues the last piece, the two are merged."""
    last = pieces[-1] if pieces else None
    if last and last.file == piece.file and last.end == piece.start:
        pieces[-1] = replace(last, end=piece.end, content_bytes=last.content_bytes + piece.content_bytes)
    else:
        pieces.append(piece)


def _pieces(files: Sequence[InputFile], text: str, shard_bytes: int) -> Iterator[Piece]:
    tables = [file for file in files if file.format == "parquet" and file.content_bytes > shard_bytes]
    with ThreadPoolExecutor(_FOOTERS_AT_ONCE) as pool:
        row_groups = dict(zip(tables, pool.map(lambda file: _row_groups(file, text), tables), strict=True))
    for file in files:
        if file in row_groups:
            yield from row_groups[file]
        elif _has_ranges(file) and file.content_bytes > shard_bytes:
            count = -(-file.content_bytes // shard_bytes)
            bounds = [file.size * index // count for index in range(count + 1)]
            yield from (
                Piece(file, low, high, (high - low) * file.content_bytes // file.size) for low, high in pairwise(bounds)
            )
        else:
            yield Piece(file, 0, None, file.content_bytes)


def _has_ranges(file: InputFile) -> bool:
    """Return whether a range of the file can be read without the bytes before it."""
    if file.format == "jsonl":
        return not file.compression
    return file.format == "warc" or (file.format == "arc" and bool(file.compression))


def _row_groups(file: InputFile, text: str) -> list[Piece]:
    try:
        sizes = parquet.row_group_sizes(file, text)
    except BrokenFileError:  # the task that reads the file meets the same error, and quarantines the file
        sizes = []
    pieces = [Piece(file, index, index + 1, size) for index, size in enumerate(sizes)]
    return pieces or [Piece(file, 0, None, file.content_bytes)]
