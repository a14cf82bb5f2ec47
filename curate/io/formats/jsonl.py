"""JSON Lines: one object per line, plain or compressed, in whole files or byte ranges.

Lines are parsed by orjson, which is strict (RFC 8259: no NaN, no lone surrogates) and keeps numbers in 64 bits: larger
integers in ``meta`` lose digits.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

import orjson

from curate.io.files import InputFile
from curate.io.records import Batch, BatchBuilder, sample
from curate.io.streams import LongLine, lines_of, opened

_BOM = b"\xef\xbb\xbf"
_SURROGATE = re.compile(rb"\\u[dD][89abAB]|\\u[dD][c-fC-F]")
# Maximum bytes of a line per byte of text: \uXXXX takes six bytes for a Greek or Cyrillic letter of two bytes.
_ESCAPED = 3
_SLACK = 1 << 20  # bytes that a line may have in addition to a text of maximum length
_PEEK = 20  # lines that `peek` reads


def read(file: InputFile, start: int, end: int | None, builder: BatchBuilder) -> Iterator[Batch]:
    """Read the lines that start in ``[start, end)``.

    Parameters
    ----------
    file
        A JSON Lines file.
    start, end
        Byte range. A compressed file is read whole.
    builder
        Takes the records. Full batches are yielded; the last documents stay in the builder.

    Raises
    ------
    BrokenFileError
        If the file breaks, after all lines before the break.
    """
    limit = _ESCAPED * builder.max_text_bytes + _SLACK
    number, before = 0, builder.records
    with opened(file) as handle:
        for lines in lines_of(handle, file, start, end, limit):
            if isinstance(lines, LongLine):
                number += 1
                builder.records += 1
                detail = f"{lines.length} bytes exceed the maximum of {limit}: {sample(lines.start)}"
                builder.reject("line_too_long", detail, file.name, lines.offset, number if start == 0 else None)
                continue
            offset = lines.offset
            builder.records += len(lines.lines)
            for line in lines.lines:
                number += 1
                try:
                    record = orjson.loads(line)
                except orjson.JSONDecodeError as error:
                    record = _repaired(line, error, builder, file.name, offset, number if start == 0 else None)
                if type(record) is dict:
                    builder.add(record, file.name, offset, number if start == 0 else None)
                elif record is not _QUARANTINED:
                    place = (file.name, offset, number if start == 0 else None)
                    builder.reject("not_an_object", f"{type(record).__name__}: {sample(line)}", *place)
                offset += len(line) + 1
                if builder.full:
                    yield builder.take()
    if start == 0 and end is None and builder.records == before:
        builder.reject_file("empty_file", "the file has no lines", file.name)


_QUARANTINED = object()


def _repaired(
    line: bytes, error: orjson.JSONDecodeError, builder: BatchBuilder, file: str, offset: int, number: int | None
) -> Any:
    """Parse a line again without a byte order mark. If that fails too, count a blank line or quarantine the line."""
    if offset == 0 and line.startswith(_BOM):
        line, offset = line[len(_BOM) :], len(_BOM)
        try:
            return orjson.loads(line)
        except orjson.JSONDecodeError as inner:
            error = inner
    if not line.strip():
        builder.records -= 1
        builder.counts["blank_lines"] += 1
        return _QUARANTINED
    try:
        line.decode()
    except UnicodeDecodeError as invalid:
        shown = sample(line[max(invalid.start - 20, 0) :])
        builder.reject("invalid_utf8", f"{invalid.reason}: {shown}", file, offset + invalid.start, number)
        return _QUARANTINED
    reason = "undecodable" if _has_lone_surrogate(line) else "malformed_json"
    builder.reject(reason, f"{error.msg} at byte {error.pos}: {sample(line)}", file, offset, number)
    return _QUARANTINED


def _has_lone_surrogate(line: bytes) -> bool:
    """Return whether lone surrogates are the only error of a line."""
    if not _SURROGATE.search(line):
        return False
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def peek(file: InputFile) -> tuple[list[dict[str, Any]], str]:
    """Read the first records of a file, for checks before a run.

    Returns
    -------
    tuple
        The records, and a description of the file if it does not contain JSON Lines.

    Raises
    ------
    BrokenFileError
        If the file cannot be read.
    """
    records: list[dict[str, Any]] = []
    with opened(file) as handle:
        for lines in lines_of(handle, file, 0, None, _SLACK):
            if isinstance(lines, LongLine):
                return records, ""
            for line in lines.lines[:_PEEK]:
                try:
                    record = orjson.loads(line.removeprefix(_BOM))
                except orjson.JSONDecodeError:
                    continue
                if isinstance(record, dict):
                    records.append(record)
            first = lines.lines[0].removeprefix(_BOM).strip()
            array = first == b"[" or (not records and first.startswith(b"["))
            return records, "one JSON array, not one object per line" if array else ""
    return records, ""
