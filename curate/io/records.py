"""From records (JSON objects, table rows, text files) to batches of documents, with what cannot be one set aside.

A record becomes a document or a quarantined row, never nothing. Text is brought to Unicode normalization form C (UAX
15). Fields that are not mapped stay with the document in ``meta``, and so does the raw value of a mapped field that
cannot be used (a date that does not parse, a URL that is not a string).
"""

import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from operator import methodcaller
from typing import Any, NamedTuple

import numpy as np
import orjson
import pyarrow as pa
import xxhash

from curate.table import DOCUMENT, ROW_GROUP, ROW_GROUP_BYTES

QUARANTINE = pa.schema(
    [
        pa.field("source", pa.string(), nullable=False),
        pa.field("file", pa.string(), nullable=False),
        pa.field("scope", pa.string(), nullable=False),
        pa.field("line", pa.int64()),
        pa.field("offset", pa.int64()),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("detail", pa.string(), nullable=False),
    ]
)
"""Rows and files (``scope``) that could not be read.

``line`` counts from 1 and is known where the file was read from its beginning; ``offset`` is the byte of decompressed
content at which the line starts (or at which the text is invalid or the file breaks), in Parquet the row, both from 0;
in web archives it is the byte of the file, compressed or not, as in a CDX index (see `curate.io.archives`).
"""

_MISSING = object()
_SAMPLE = 80  # characters of a bad row that are shown
_META = orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Numbers are times between March 1973 and January 2100 in seconds, milli-, micro- or nanoseconds since 1970: four
# ranges that do not overlap. Others are more likely years, days (20190131) or the digits of a date and time.
_EPOCH_SECONDS = (1e8, 4_102_444_800)
_EPOCH_UNITS = (1, 1e3, 1e6, 1e9)


class Reject(NamedTuple):
    """One entry of the quarantine table, in the order of its columns."""

    source: str
    file: str
    scope: str
    line: int | None
    offset: int | None
    reason: str
    detail: str


@dataclass(frozen=True)
class Fields:
    """Names of the fields that hold a document's parts; a dotted name is looked up as it stands, then as a path."""

    text: str = "text"
    id: str = "id"
    url: str = "url"
    date: str = "date"


@dataclass(frozen=True)
class Batch:
    """Documents for one row group, and what was set aside while they were gathered."""

    documents: pa.RecordBatch
    rejects: list[Reject]
    text_bytes: int


def document_id(source: str, source_id: str, occurrence: int = 0) -> bytes:
    """Identifier of a document: 128-bit XXH3 of the source, a zero byte and the source's own id.

    Parameters
    ----------
    source, source_id
        Name of the source (without zero bytes), and the document's id in it.
    occurrence
        How many documents with the same source and id come before this one; the seed of the hash.

    Examples
    --------
    >>> document_id("web", "17").hex()
    '4d1037600f3a9e21d135b287ec7c5ab6'
    """
    return xxhash.xxh3_128_digest(f"{source}\0{source_id}".encode(), seed=occurrence)


def parse_date(value: object) -> datetime | None:
    """A point in time: ISO 8601 (UTC unless it says so), or seconds, milli-, micro- or nanoseconds since 1970.

    Returns
    -------
    datetime or None
        None for anything else; a number is a time only if that lies between 1973 and 2100.

    Examples
    --------
    >>> parse_date("2024-02-29T12:00:00+02:00").isoformat(), parse_date(1700000000000).isoformat()
    ('2024-02-29T10:00:00+00:00', '2023-11-14T22:13:20+00:00')
    >>> parse_date("yesterday"), parse_date(20240229)
    (None, None)
    """
    try:
        if isinstance(value, str):
            value = datetime.fromisoformat(value.strip())
        elif isinstance(value, int | float) and not isinstance(value, bool):
            low, high = _EPOCH_SECONDS
            unit = next((unit for unit in _EPOCH_UNITS if low <= value / unit < high), None)
            return None if unit is None else _EPOCH + timedelta(microseconds=round(value / unit * 1e6))
        if not isinstance(value, datetime):
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def sample(data: bytes | str) -> str:
    r"""The first characters of a bad row, safe to show: one line, control characters and invalid bytes escaped.

    Examples
    --------
    >>> print(sample(b'{"text": "a\xff\n'))
    {"text": "a\xff\n
    """
    text = data[: 4 * _SAMPLE].decode("utf-8", "backslashreplace") if isinstance(data, bytes) else data
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[:_SAMPLE])
    return shown + ("…" if len(text) > _SAMPLE else "")


class BatchBuilder:
    """Gathers documents of one source into batches for one row group each.

    Parameters
    ----------
    source
        Name of the source.
    fields
        Where a record's parts are.
    max_text_bytes
        Bytes of UTF-8 of the longest text that is kept.
    batch_bytes
        A batch is full with so many bytes of text and ``meta``, or with 1024 rows.

    Attributes
    ----------
    source, fields, max_text_bytes
        As given.
    full
        Whether `take` is due.
    records
        Records seen; the readers count them, whatever becomes of them.
    counts
        ``documents`` taken; ``positional_ids``, documents named by their place for want of an id; ``normalized``,
        texts that were not in NFC; ``blank_lines``; ``unusable <field>``, values that are kept in ``meta`` alone.
    rejected
        Quarantined rows by reason.
    skipped
        Records of web archives that are no documents, by what they are instead.
    bad_files
        Reason by name of a file.
    """

    def __init__(self, source: str, fields: Fields, max_text_bytes: int, batch_bytes: int = ROW_GROUP_BYTES) -> None:
        self.source = source
        self.fields = fields
        self.max_text_bytes = max_text_bytes
        self.records = 0
        self.counts: Counter[str] = Counter()
        self.rejected: Counter[str] = Counter()
        self.skipped: Counter[str] = Counter()
        self.bad_files: dict[str, str] = {}
        self._batch_bytes = batch_bytes
        self._text = _taker(fields.text, _MISSING)
        self._id, self._url, self._date = (_taker(name, None) for name in (fields.id, fields.url, fields.date))
        self._clear()

    def _clear(self) -> None:
        self._rows: list[tuple[bytes, str, str | None, datetime | None, str | None]] = []
        self._rejects: list[Reject] = []
        self._bytes = 0
        self.full = False

    def add(self, record: dict[str, Any], file: str, offset: int, line: int | None = None) -> None:
        """Make a document of `record`, which is used up, or set it aside.

        Parameters
        ----------
        record
            Field values by name.
        file, offset, line
            Where it is from; without an id of its own the document is called ``file#offset``.
        """
        data = self._text_of(record)
        if isinstance(data, tuple):
            self.reject(*data, file, offset, line)
            return
        source_id, url, moment = self._id(record), self._url(record), self._date(record)
        if type(source_id) is not str and source_id is not None:
            source_id = self._converted(record, self.fields.id, source_id, _as_id)
        if type(url) is not str and url is not None:
            url = self._converted(record, self.fields.url, url, _as_url)
        if moment is not None:
            moment = self._converted(record, self.fields.date, moment, parse_date)
        if not source_id:
            source_id = f"{file}#{offset}"
            self.counts["positional_ids"] += 1
        self._append((data, source_id, url or None, moment), record, file, offset, line)

    def add_page(self, page: dict[str, Any], file: str, offset: int, place: str | None = None) -> None:
        """Make a document of a page, whose parts have fixed names, or set it aside.

        Parameters
        ----------
        page
            ``text``, and where they are known ``id``, ``url`` and ``date``; what else is not None becomes ``meta``.
        file, offset, place
            Where it is from; without an id of its own the document is called ``file#place``.
        """
        data = self._checked(page.pop("text"))
        if isinstance(data, tuple):
            self.reject(*data, file, offset)
            return
        source_id, url, given = (page.pop(name, None) or None for name in ("id", "url", "date"))
        moment = None if given is None else self._converted(page, "date", given, parse_date)
        if source_id is None:
            source_id = f"{file}#{offset if place is None else place}"
            self.counts["positional_ids"] += 1
        meta = {name: value for name, value in page.items() if value is not None}
        self._append((data, source_id, url, moment), meta, file, offset, None)

    def _append(
        self,
        document: tuple[bytes, str, str | None, datetime | None],
        record: Mapping[str, Any],
        file: str,
        offset: int,
        line: int | None,
    ) -> None:
        """Take a document with what is left of its record."""
        meta = None
        if record:
            try:
                meta = orjson.dumps(record, _plain, _META).decode()
            except orjson.JSONEncodeError as error:  # orjson reads objects four times deeper than it writes
                self.reject("unusable_meta", str(error), file, offset, line)
                return
            self._bytes += len(meta)
        self._rows.append((*document, meta))
        self._bytes += len(document[0])
        self.full = len(self._rows) >= ROW_GROUP or self._bytes >= self._batch_bytes

    def skip(self, reason: str) -> None:
        """Pass over a record that is none of those that become documents; it counts as dropped."""
        self.skipped[reason] += 1

    def reject(self, reason: str, detail: str, file: str, offset: int | None, line: int | None = None) -> None:
        """Set a record aside."""
        self.rejected[reason] += 1
        self._reject(Reject(self.source, file, "row", line, offset, reason, detail))

    def reject_file(self, reason: str, detail: str, file: str, offset: int | None = None) -> None:
        """Note that a file, or what is left of it, could not be read."""
        self.bad_files[file] = reason
        self._reject(Reject(self.source, file, "file", None, offset, reason, detail))

    def _reject(self, reject: Reject) -> None:
        self._rejects.append(reject)
        self.full = self.full or len(self._rejects) >= ROW_GROUP

    def take(self) -> Batch:
        """The batch gathered so far; the builder begins a new one."""
        rows = len(self._rows)
        texts, source_ids, urls, dates, metas = zip(*self._rows, strict=True) if rows else ((),) * 5
        offsets = np.zeros(rows + 1, np.int64)
        np.cumsum(np.fromiter(map(len, texts), np.int64, rows), out=offsets[1:])
        ids = b"".join(document_id(self.source, source_id) for source_id in source_ids)
        columns = [
            pa.Array.from_buffers(pa.binary(16), rows, [None, pa.py_buffer(ids)]),
            pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array([self.source])),
            pa.array(source_ids, pa.string()),
            pa.LargeStringArray.from_buffers(rows, pa.py_buffer(offsets), pa.py_buffer(b"".join(texts))),
            pa.array(urls, pa.string()),
            pa.array(dates, DOCUMENT.field("date").type),
            pa.array(metas, pa.string()),
        ]
        batch = Batch(pa.RecordBatch.from_arrays(columns, schema=DOCUMENT), self._rejects, int(offsets[-1]))
        self.counts["documents"] += rows
        self._clear()
        return batch

    def _converted(self, record: dict[str, Any], name: str, value: Any, convert: Callable[[Any], Any]) -> Any:
        """The value of a field as it is wanted; one that cannot be used goes back into the record."""
        converted = convert(value)
        if converted is None and value != "":
            record[name] = value
            self.counts[f"unusable {name}"] += 1
        return converted

    def _text_of(self, record: dict[str, Any]) -> bytes | tuple[str, str]:
        """The text in UTF-8, or reason and detail why it cannot be a document."""
        text = self._text(record)
        return self._checked(text) if type(text) is str else self._no_text(text, record)

    def _checked(self, text: str) -> bytes | tuple[str, str]:
        """A string in UTF-8, or reason and detail why it cannot be a text."""
        if not text or text.isspace():
            return "empty_text", sample(text)
        if not text.isascii() and not unicodedata.is_normalized("NFC", text):
            text = unicodedata.normalize("NFC", text)
            self.counts["normalized"] += 1
        data = text.encode()
        if b"\0" in data:
            return "nul_character", sample(text)
        if len(data) > self.max_text_bytes:
            size = f"{len(data)} bytes, more than max_text_bytes ({self.max_text_bytes})"
            return "text_too_long", f"{size}: {sample(text)}"
        return data

    def _no_text(self, text: object, record: Mapping[str, Any]) -> tuple[str, str]:
        if text is _MISSING:
            names = ", ".join(sample(name) for name in list(record)[:10])
            return "missing_text", f"no field {self.fields.text!r} among {names}" if names else "an empty record"
        if text is None:
            return "null_text", f"{self.fields.text!r} is null"
        return "not_a_string", f"{type(text).__name__}: {sample(str(text))}"


def _taker(name: str, missing: object) -> Callable[[dict[str, Any]], Any]:
    """A function that takes the value of a field out of a record, and with it objects that it leaves empty."""
    *outer, leaf = name.split(".")
    if not outer:
        return methodcaller("pop", name, missing)

    def take(record: dict[str, Any]) -> Any:
        if name in record:
            return record.pop(name)
        objects = [record]
        for step in outer:
            inner = objects[-1].get(step)
            if not isinstance(inner, dict):
                return missing
            objects.append(inner)
        value = objects[-1].pop(leaf, missing)
        for step in reversed(outer):
            if objects.pop():
                break
            del objects[-1][step]
        return value

    return take


def _as_id(value: Any) -> str | None:
    """A source's own id as a string; numbers that a double does not hold exactly are no ids."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return None
    if isinstance(value, int | Decimal) or (isinstance(value, float) and abs(value) < 2**53):
        return str(value)
    return value.hex() if isinstance(value, bytes) else None


def _as_url(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _plain(value: Any) -> Any:
    """What JSON has no form for: bytes as hexadecimal digits, the rest as Python shows it."""
    return value.hex() if isinstance(value, bytes) else str(value)
