"""Items of a benchmark: records of JSON lines or Parquet, or lines of text, with some of their fields put together."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import orjson
from pydantic import BaseModel, Field

from curate.artifact import file_hash
from curate.errors import Problem, RunError
from curate.io.files import FORMATS, FileListing, InputFile, list_files
from curate.io.formats import parquet
from curate.io.records import sample
from curate.io.streams import BrokenFileError, LongLine, lines_of, opened

_LONGEST = 1 << 28  # bytes of a line
_SHOWN = 3  # names of files in a message
_ARRAY = "it is one JSON array, not one object per line; `jq -c '.[]'` makes lines of it"
_BOM = b"\xef\xbb\xbf"

Item = tuple[str, str]
"""The item's id, and its text."""


class Benchmark(BaseModel, extra="forbid", frozen=True):
    """The files of one benchmark, and what of a record makes an item."""

    path: str | tuple[str, ...] = Field(
        min_length=1, description="files, folders (read with all that is in them) or globs; local paths or fsspec URLs"
    )
    format: Literal["jsonl", "parquet", "text"] | None = Field(
        default=None, description="format of all files; unless given, their names tell. Each line of text is an item"
    )
    fields: tuple[str, ...] = Field(
        default=("text",),
        min_length=1,
        description="fields that make an item, in the order in which they are read; a.b is field b of the object a",
    )
    id: str = Field(default="id", min_length=1, description="field of the item's id; without it, file and number")

    @property
    def patterns(self) -> tuple[str, ...]:
        """Paths, folders and globs, as a tuple."""
        return (self.path,) if isinstance(self.path, str) else self.path

    def listing(self) -> FileListing:
        """The files."""
        return list_files(self.patterns, self.format)


class FieldNames:
    """Which fields a benchmark was seen to have; what is asked for and never seen is a mistake.

    Parameters
    ----------
    fields
        Those whose text makes an item.
    """

    def __init__(self, fields: Sequence[str]) -> None:
        self.missing = dict.fromkeys(fields)
        self.seen: dict[str, None] = {}

    def look(self, record: Mapping[str, Any]) -> None:
        """Learn from one record."""
        if self.missing:
            self.seen.update(dict.fromkeys(record))
            for field in [field for field in self.missing if _has(record, field)]:
                del self.missing[field]


def read_items(file: InputFile, fields: Sequence[str], id: str, names: FieldNames) -> Iterator[Item]:  # noqa: A002
    """Items of one file, in order.

    Parameters
    ----------
    file
        JSON lines or Parquet, whose records are items, or text, each line of which is one that is not blank.
    fields
        Names of the fields that make an item, in order; ``a.b`` is field b of the object a, or of each object in
        the list a. Of lists and objects, all values are taken. Each stands on a line of its own.
    id
        Field of the item's id; without it, the item is called ``FILE:NUMBER``.
    names
        Takes note of the fields that records have.

    Raises
    ------
    BrokenFileError
        The file cannot be read to its end, or a line of it cannot; a benchmark that is not whole protects nothing.
    """
    if file.format == "text":
        for number, line in _lines(file):
            yield f"{file.name}:{number}", _decoded(line, number)
        return
    numbered = _json(file) if file.format == "jsonl" else enumerate(parquet.records(file), 1)
    for number, record in numbered:
        names.look(record)
        own = record.get(id)
        name = f"{file.name}:{number}" if own is None else str(own)
        yield name, "\n".join(part for field in fields for part in _values(record, field.split(".")))


def file_problems(listing: FileListing, where: tuple[str, ...]) -> Iterator[Problem]:
    """What is wrong with the files of a benchmark, all of which must be read."""
    at = (*where, "path")
    for pattern, hint in listing.unmatched:
        yield Problem(at, f"{pattern!r} matches nothing", hint)
    for bad in listing.bad:
        yield Problem(at, f"{bad.name} cannot be read: {bad.detail}")
    if listing.unknown:
        names = ", ".join(map(repr, listing.unknown[:_SHOWN]))
        yield Problem(at, f"the format of {names} is not known", f"set `format` to one of {', '.join(FORMATS)}")
    elif not (listing.files or listing.bad or listing.unmatched):
        yield Problem(at, "no file to read", "files end in .jsonl, .parquet or .txt, or `format` is set")


def identity(benchmark: Benchmark, listing: FileListing) -> dict[str, Any]:
    """What a benchmark is, for a fingerprint: names and contents of files, and not where they lie."""
    contents = [[file.name, file_hash(file.path)] for file in listing.files]
    return benchmark.model_dump(mode="json", exclude={"path"}) | {"files": contents}


def items_of(benchmark: Benchmark, listing: FileListing, names: FieldNames) -> Iterator[Item]:
    """Items of all files of a benchmark.

    Raises
    ------
    RunError
        A file cannot be read to its end.
    """
    for file in listing.files:
        try:
            yield from read_items(file, benchmark.fields, benchmark.id, names)
        except BrokenFileError as error:
            raise RunError(f"{file.name} cannot be read: {error.reason}: {error.detail}") from error


def _lines(file: InputFile) -> Iterator[tuple[int, bytes]]:
    """Lines that are not blank, with their numbers."""
    number = 0
    with opened(file) as handle:
        for lines in lines_of(handle, file, 0, None, _LONGEST):
            if isinstance(lines, LongLine):
                raise BrokenFileError("line_too_long", f"line {number + 1}: {lines.length} bytes")
            for line in lines.lines:
                number += 1
                line = line.removeprefix(_BOM) if number == 1 else line
                if line.strip():
                    yield number, line


def _decoded(line: bytes, number: int) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        raise BrokenFileError("invalid_utf8", f"line {number}: {error.reason}") from error


def _json(file: InputFile) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in _lines(file):
        try:
            record = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            if number == 1 and line.lstrip().startswith(b"["):
                raise BrokenFileError("malformed_json", _ARRAY) from error
            raise BrokenFileError("malformed_json", f"line {number}: {error.msg}: {sample(line)}") from error
        if isinstance(record, list) and number == 1:
            raise BrokenFileError("malformed_json", _ARRAY)
        if not isinstance(record, dict):
            raise BrokenFileError("not_an_object", f"line {number}: {type(record).__name__}: {sample(line)}")
        yield number, record


def _has(value: Any, field: str) -> bool:
    first, _, rest = field.partition(".")
    if isinstance(value, list):
        return any(_has(inner, field) for inner in value)
    return isinstance(value, Mapping) and first in value and (not rest or _has(value[first], rest))


def _values(value: Any, steps: Sequence[str]) -> Iterator[str]:
    """Text of all values that the steps lead to."""
    if isinstance(value, list):
        for inner in value:
            yield from _values(inner, steps)
    elif isinstance(value, Mapping):
        chosen = [value.get(steps[0])] if steps else value.values()
        for inner in chosen:
            yield from _values(inner, steps[1:])
    elif value is not None and not steps:
        yield str(value)
