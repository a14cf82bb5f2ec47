"""Reading single files in tests."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa

from curate.io.files import InputFile, list_files
from curate.io.formats import html, jsonl, parquet, text, warc
from curate.io.records import BatchBuilder, Fields, Reject
from curate.io.streams import BrokenFileError

READERS: dict[str, Callable[..., Any]] = {
    "jsonl": jsonl.read,
    "parquet": parquet.read,
    "text": text.read,
    "html": html.read,
    "warc": warc.read,
    "arc": warc.read,
}


def write(folder: Path | str, name: str, data: bytes) -> InputFile:
    """Write a file to a local folder or an fsspec URL, and list it."""
    path = f"{folder}/{name}"
    with fsspec.open(path, "wb") as file:
        file.write(data)  # type: ignore[attr-defined]
    (file,) = list_files([path]).files
    return file


def read(
    file: InputFile,
    start: int = 0,
    end: int | None = None,
    *,
    fields: Fields | None = None,
    max_text_bytes: int = 1 << 20,
    batch_bytes: int = 1 << 25,
) -> tuple[list[dict[str, Any]], list[Reject], BatchBuilder]:
    """Documents as dictionaries, quarantined rows, and the builder with its counts."""
    builder = BatchBuilder("s", fields or Fields(), max_text_bytes, batch_bytes)
    batches = []
    try:
        batches += list(READERS[file.format](file, start, end, builder))
    except BrokenFileError as broken:
        builder.reject_file(broken.reason, broken.detail, file.name, broken.offset)
    batches.append(builder.take())
    for batch in batches:
        batch.documents.validate(full=True)
    documents = pa.Table.from_batches([batch.documents for batch in batches]).to_pylist()
    rejects = [reject for batch in batches for reject in batch.rejects]
    assert builder.records == len(documents) + builder.rejected.total() + builder.skipped.total()
    return documents, rejects, builder


def reasons(rejects: list[Reject]) -> list[tuple[str, int | None, int | None]]:
    return [(reject.reason, reject.line, reject.offset) for reject in rejects]
