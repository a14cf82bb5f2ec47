"""Convert records (JSON objects, table rows, text files) to batches of documents, and quarantine unusable records.

Every record becomes either a document or a quarantined row. Text is normalized to Unicode normalization form C (UAX
15). Fields that are not mapped are kept in the document's ``meta``. So is the raw value of a mapped field if it cannot
be used, such as a date that does not parse or a URL that is not a string.
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
"""Table of the rows and files (see ``scope``) that could not be read.

``line`` counts from 1; it is null if the file was not read from its beginning. ``offset`` counts from 0. It is the byte
of the decompressed content at which the line starts, the text is invalid or the file breaks. In Parquet it is the row.
In web archives it is the byte of the file as stored, as in a CDX index (see `curate.io.archives`).
"""

_MISSING = object()
_SAMPLE = 80  # characters of a bad row that messages show
_META = orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# A number is a time if it lies between March 1973 and January 2100 in seconds, milliseconds, microseconds or
# nanoseconds since 1970. These four ranges do not overlap. Other numbers are more likely years, days (20190131) or the
# digits of a date and time.
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
    """Names of the fields of a record. A name with dots is looked up literally first, then as a path."""

    text: str = "text"
    id: str = "id"
    url: str = "url"
    date: str = "date"


@dataclass(frozen=True)
class Batch:
    """Documents for one row group, and the rows and files quarantined while they were read."""

    documents: pa.RecordBatch
    rejects: list[Reject]
    text_bytes: int


def document_id(source: str, source_id: str, occurrence: int = 0) -> bytes:
    """Compute the id of a document: the 128-bit XXH3 of the source, a zero byte and the document's id in the source.

    Parameters
    ----------
    source, source_id
        Name of the source (without zero bytes), and the document's id in the source.
    occurrence
        Number of earlier documents with the same source and id, which seeds the hash.

    Examples
    --------
    >>> document_id("web", "17").hex()
    '4d1037600f3a9e21d135b287ec7c5ab6'
    """
    return xxhash.xxh3_128_digest(f"{source}\0{source_id}".encode(), seed=occurrence)


def parse_date(value: object) -> datetime | None:
    """Parse a time: ISO 8601 (UTC by default), or seconds, milli-, micro- or nanoseconds since 1970.

    Returns
    -------
    datetime or None
        Time in UTC, or None if the value is none. A number is a time only if it lies between 1973 and 2100.

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
    r"""Show the first characters of a bad row on one line, with control characters and invalid bytes escaped.

    Examples
    --------
    >>> print(sample(b'{"text": "a\xff\n'))
    {"text": "a\xff\n
    """
    text = data[: 4 * _SAMPLE].decode("utf-8", "backslashreplace") if isinstance(data, bytes) else data
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[:_SAMPLE])
    return shown + ("…" if len(text) > _SAMPLE else "")


class BatchBuilder:
    """Collects documents of one source into batches of one row group each.

    Parameters
    ----------
    source
        Name of the source.
    fields
        Names of the fields of a record.
    max_text_bytes
        Maximum size of a text in bytes of UTF-8. Longer texts are quarantined.
    batch_bytes
        A batch is full when it has so many bytes of text and ``meta``, or 1024 rows.

    Attributes
    ----------
    source, fields, max_text_bytes
        As given.
    full
        Whether the batch is full, so that `take` should be called.
    records
        Number of records read, which the readers count, whatever becomes of a record.
    counts
        ``documents``: documents taken. ``positional_ids``: documents without an id, which are named by their position.
        ``normalized``: texts that were not in NFC. ``blank_lines``. ``unusable <field>``: values that could not be
        used and are kept in ``meta``.
    rejected
        Number of quarantined rows by reason.
    skipped
        Number of records of web archives that are not documents, by their type.
    bad_files
        Reason of each file that could not be read, by file name.
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
        """Convert a record to a document, or quarantine it. The record is modified.

        Parameters
        ----------
        record
            Field values by name.
        file, offset, line
            Position of the record. A document without an id gets the id ``file#offset``.
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
        """Convert a page, whose fields have fixed names, to a document, or quarantine it. The page is modified.

        Parameters
        ----------
        page
            ``text`` and, if available, ``id``, ``url`` and ``date``. All other fields that are not None become
            ``meta``.
        file, offset, place
            Position of the page. A document without an id gets the id ``file#place``.
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
        """Add a document and the remaining fields of its record."""
        meta = None
        if record:
            try:
                meta = orjson.dumps(record, _plain, _META).decode()
            except orjson.JSONEncodeError as error:  # orjson parses four times deeper nesting than it serializes
                self.reject("unusable_meta", str(error), file, offset, line)
                return
            self._bytes += len(meta)
        self._rows.append((*document, meta))
        self._bytes += len(document[0])
        self.full = len(self._rows) >= ROW_GROUP or self._bytes >= self._batch_bytes

    def skip(self, reason: str) -> None:
        """Count a record that is of another type than documents."""
        self.skipped[reason] += 1

    def reject(self, reason: str, detail: str, file: str, offset: int | None, line: int | None = None) -> None:
        """Quarantine a record."""
        self.rejected[reason] += 1
        self._reject(Reject(self.source, file, "row", line, offset, reason, detail))

    def reject_file(self, reason: str, detail: str, file: str, offset: int | None = None) -> None:
        """Quarantine a file, or the rest of a file, that could not be read."""
        self.bad_files[file] = reason
        self._reject(Reject(self.source, file, "file", None, offset, reason, detail))

    def _reject(self, reject: Reject) -> None:
        self._rejects.append(reject)
        self.full = self.full or len(self._rejects) >= ROW_GROUP

    def take(self) -> Batch:
        """Return the batch of the documents so far, and start a new one."""
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
        """Convert the value of a field. A value that cannot be used goes back into the record."""
        converted = convert(value)
        if converted is None and value != "":
            record[name] = value
            self.counts[f"unusable {name}"] += 1
        return converted

    def _text_of(self, record: dict[str, Any]) -> bytes | tuple[str, str]:
        """Return the text in UTF-8, or the reason and detail of its quarantine."""
        text = self._text(record)
        return self._checked(text) if type(text) is str else self._no_text(text, record)

    def _checked(self, text: str) -> bytes | tuple[str, str]:
        """Return a string in UTF-8, or the reason and detail why it cannot be a document's text."""
        if not text or text.isspace():
            return "empty_text", sample(text)
        if not text.isascii() and not unicodedata.is_normalized("NFC", text):
            text = unicodedata.normalize("NFC", text)
            self.counts["normalized"] += 1
        data = text.encode()
        if b"\0" in data:
            return "nul_character", sample(text)
        if len(data) > self.max_text_bytes:
            size = f"{len(data)} bytes exceed max_text_bytes ({self.max_text_bytes})"
            return "text_too_long", f"{size}: {sample(text)}"
        return data

    def _no_text(self, text: object, record: Mapping[str, Any]) -> tuple[str, str]:
        if text is _MISSING:
            names = ", ".join(sample(name) for name in list(record)[:10])
            fields = f"the fields are {names}" if names else "the record is empty"
            return "missing_text", f"no field {self.fields.text!r}; {fields}"
        if text is None:
            return "null_text", f"{self.fields.text!r} is null"
        return "not_a_string", f"{type(text).__name__}: {sample(str(text))}"


def _taker(name: str, missing: object) -> Callable[[dict[str, Any]], Any]:
    """Make a function that removes a field from a record and returns its value. It also removes emptied objects."""
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
    """Return a source's id as a string. A float that may have lost digits cannot be an id."""
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
    """Represent a value that JSON cannot: bytes as hexadecimal digits, others by ``str``."""
    return value.hex() if isinstance(value, bytes) else str(value)
