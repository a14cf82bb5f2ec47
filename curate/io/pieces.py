"""Cutting the input into units of work: large files into pieces, small files into groups.

Units, and with them shards and row order, follow from names and sizes of the files alone.
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
SHARDS_WANTED = 64  # so that inputs from half a gigabyte on keep as many workers busy
_FOOTERS_AT_ONCE = 16


@dataclass(frozen=True)
class Piece:
    """A part of one file.

    Parameters
    ----------
    file
        The file.
    start, end
        Bytes (JSON lines and records of web archives that start there, of compressed archives too) or row groups
        (Parquet); an end of None is the end of the file.
    content_bytes
        Estimated bytes of decompressed content.
    """

    file: InputFile
    start: int
    end: int | None
    content_bytes: int


@dataclass(frozen=True)
class Unit:
    """What one task reads: pieces of one source, in order."""

    source: str
    pieces: tuple[Piece, ...]


def shard_size(content_bytes: int) -> int:
    """Bytes of text per shard for an input of `content_bytes`: a 64th of it, but at least 8 MB and at most 256 MB.

    Examples
    --------
    >>> shard_size(1_000_000), shard_size(6_400_000_000), shard_size(10**12)
    (8000000, 100000000, 256000000)
    """
    return min(max(content_bytes // SHARDS_WANTED, MIN_SHARD_BYTES), MAX_SHARD_BYTES)


def plan_units(source: str, files: Sequence[InputFile], text: str, shard_bytes: int) -> list[Unit]:
    """Units of about `shard_bytes` of content each.

    Parameters
    ----------
    source
        Name of the source.
    files
        Its files, in order.
    text
        Field of the text, whose share of each Parquet row group is read from the footers of large files.
    shard_bytes
        Size wanted. Compressed files other than web archives are not split, nor is a row group: such a unit may be
        larger and fill several shards.
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
    """Add a piece; one that goes on where the last one ends is joined to it."""
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
    """Whether parts of the file can be read without what comes before them."""
    if file.format == "jsonl":
        return not file.compression
    return file.format == "warc" or (file.format == "arc" and bool(file.compression))


def _row_groups(file: InputFile, text: str) -> list[Piece]:
    try:
        sizes = parquet.row_group_sizes(file, text)
    except BrokenFileError:  # the task that reads it finds out as well, and sets the file aside
        sizes = []
    pieces = [Piece(file, index, index + 1, size) for index, size in enumerate(sizes)]
    return pieces or [Piece(file, 0, None, file.content_bytes)]
