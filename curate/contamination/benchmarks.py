"""Read benchmark items: records of JSON Lines or Parquet, whose fields are joined, or lines of text."""

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

_LONGEST = 1 << 28  # maximum bytes of a line
_SHOWN = 3  # maximum number of file names in a message
_ARRAY = "it is one JSON array, not one object per line; convert it with `jq -c '.[]'`"
_BOM = b"\xef\xbb\xbf"

Item = tuple[str, str]
"""Id and text of an item."""


class Benchmark(BaseModel, extra="forbid", frozen=True):
    """Files of one benchmark, and the fields of a record that make up an item."""

    path: str | tuple[str, ...] = Field(
        min_length=1, description="files, folders (read recursively) or globs; local paths or fsspec URLs"
    )
    format: Literal["jsonl", "parquet", "text"] | None = Field(
        default=None, description="format of all files, by default from their names; each line of `text` is an item"
    )
    fields: tuple[str, ...] = Field(
        default=("text",),
        min_length=1,
        description="fields whose text makes up an item, in this order; a.b is field b of the object a",
    )
    id: str = Field(default="id", min_length=1, description="field with the item's id; by default, FILE:NUMBER")

    @property
    def patterns(self) -> tuple[str, ...]:
        """The files, folders and globs of `path` as a tuple."""
        return (self.path,) if isinstance(self.path, str) else self.path

    def listing(self) -> FileListing:
        """List the files."""
        return list_files(self.patterns, self.format)


class FieldNames:
    """Fields that occur in a benchmark's records, and requested fields that do not.

    Parameters
    ----------
    fields
        Requested fields, whose text makes up an item.

    Attributes
    ----------
    missing
        Requested fields that have not occurred yet.
    present
        Fields that have occurred, collected while some requested field is missing.
    """

    def __init__(self, fields: Sequence[str]) -> None:
        self.missing = dict.fromkeys(fields)
        self.present: dict[str, None] = {}

    def look(self, record: Mapping[str, Any]) -> None:
        """Record the fields of one record."""
        if self.missing:
            self.present.update(dict.fromkeys(record))
            for field in [field for field in self.missing if _has(record, field)]:
                del self.missing[field]


def read_items(file: InputFile, fields: Sequence[str], id: str, names: FieldNames) -> Iterator[Item]:  # noqa: A002
    """Read the items of one file, in order.

    Parameters
    ----------
    file
        JSON Lines or Parquet, where each record is an item, or text, where each line that is not blank is an item.
    fields
        Fields that make up an item, in order. ``a.b`` is field b of the object a, or of each object in the list a. Of
        lists and objects, all values are used. Each value is a line of the item's text.
    id
        Field with the item's id. Without it, the id is ``FILE:NUMBER``.
    names
        Records the fields that occur.

    Raises
    ------
    BrokenFileError
        If the file or one of its lines cannot be read. An incomplete benchmark would leave contamination undetected.
    """
    if file.format == "text":
        for number, line in _lines(file):
            yield f"{file.name}:{number}", _decoded(line, number)
        return
    numbered = _json(file) if file.format == "jsonl" else enumerate(parquet.records(file), 1)
    for number, record in numbered:
        names.look(record)
        id_value = record.get(id)
        name = f"{file.name}:{number}" if id_value is None else str(id_value)
        yield name, "\n".join(part for field in fields for part in _values(record, field.split(".")))


def file_problems(listing: FileListing, where: tuple[str, ...]) -> Iterator[Problem]:
    """Report the problems of a benchmark's files, all of which must be readable."""
    place = (*where, "path")
    for pattern, hint in listing.unmatched:
        yield Problem(place, f"{pattern!r} matches nothing", hint)
    for bad in listing.bad:
        yield Problem(place, f"{bad.name} cannot be read: {bad.detail}")
    if listing.unknown:
        names = ", ".join(map(repr, listing.unknown[:_SHOWN]))
        yield Problem(place, f"the format of {names} is not known", f"set `format` to one of {', '.join(FORMATS)}")
    elif not (listing.files or listing.bad or listing.unmatched):
        yield Problem(place, "there is no file to read", "files must end in .jsonl, .parquet or .txt, or set `format`")


def identity(benchmark: Benchmark, listing: FileListing) -> dict[str, Any]:
    """Describe a benchmark for a fingerprint: by the names and contents of its files, not their locations."""
    contents = [[file.name, file_hash(file.path)] for file in listing.files]
    return benchmark.model_dump(mode="json", exclude={"path"}) | {"files": contents}


def items_of(benchmark: Benchmark, listing: FileListing, names: FieldNames) -> Iterator[Item]:
    """Read the items of all files of a benchmark.

    Raises
    ------
    RunError
        If a file cannot be read to its end.
    """
    for file in listing.files:
        try:
            yield from read_items(file, benchmark.fields, benchmark.id, names)
        except BrokenFileError as error:
            raise RunError(f"{file.name} cannot be read: {error.reason}: {error.detail}") from error


def _lines(file: InputFile) -> Iterator[tuple[int, bytes]]:
    """Yield the lines that are not blank, with their numbers."""
    number = 0
    with opened(file) as handle:
        for lines in lines_of(handle, file, 0, None, _LONGEST):
            if isinstance(lines, LongLine):
                detail = f"line {number + 1} has {lines.length} bytes, more than {_LONGEST}"
                raise BrokenFileError("line_too_long", detail)
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
    """Yield the text of all values at the end of a path of field names."""
    if isinstance(value, list):
        for inner in value:
            yield from _values(inner, steps)
    elif isinstance(value, Mapping):
        chosen = [value.get(steps[0])] if steps else value.values()
        for inner in chosen:
            yield from _values(inner, steps[1:])
    elif value is not None and not steps:
        yield str(value)
