"""Items of a benchmark: records of JSON lines or Parquet, or lines of text, with some of their fields put together."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson

from curate.io import jsonl, parquet
from curate.io.files import InputFile
from curate.io.records import sample
from curate.io.streams import BrokenFileError, LongLine, lines_of, opened

_LONGEST = 1 << 28  # bytes of a line
_BOM = b"\xef\xbb\xbf"

Item = tuple[str, str]
"""The item's id, and its text."""


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
            _, otherwise = jsonl.peek(file) if number == 1 else ([], "")
            said = (
                f"it is {otherwise}; `jq -c '.[]'` makes lines of it" if otherwise else f"{error.msg}: {sample(line)}"
            )
            raise BrokenFileError("malformed_json", f"line {number}: {said}") from error
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
