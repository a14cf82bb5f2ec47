"""Plain text: each file is one document."""

from collections.abc import Iterator

from curate.io.files import InputFile
from curate.io.records import Batch, BatchBuilder, sample
from curate.io.streams import content, opened


def read(file: InputFile, start: int, end: int | None, builder: BatchBuilder) -> Iterator[Batch]:
    """Read one file. A text that is longer than allowed is not held in memory.

    Parameters
    ----------
    file
        UTF-8 text, with or without a byte order mark.
    start, end
        Not used: a document is never split.
    builder
        Takes the document.

    Raises
    ------
    BrokenFileError
        If the compressed file is damaged.
    """
    data = whole(file, builder, builder.max_text_bytes + 3)  # a byte order mark
    if not data:
        return
    try:
        record = {builder.fields.text: data.decode("utf-8-sig"), builder.fields.id: file.name}
    except UnicodeDecodeError as error:
        mark = len(data) - len(error.object)
        shown = sample(data[max(error.start + mark - 20, 0) :])
        builder.reject("invalid_utf8", f"{error.reason}: {shown}", file.name, error.start + mark)
        return
    builder.add(record, file.name, 0)
    if builder.full:
        yield builder.take()


def whole(file: InputFile, builder: BatchBuilder, most: int) -> bytes:
    """Read the content of a file that is one document.

    Parameters
    ----------
    file
        File, compressed or not.
    builder
        Counts the record, and quarantines a file that cannot be read.
    most
        Maximum size in bytes.

    Returns
    -------
    bytes
        The content; empty if the file is empty or too long.
    """
    pieces: list[bytes] = []
    size = 0
    with opened(file) as handle:
        for piece in content(handle, file.compression):
            pieces.append(piece)
            size += len(piece)
            if size > most:
                break
    data = b"".join(pieces)
    if not data:
        builder.reject_file("empty_file", "the file is empty", file.name)
        return data
    builder.records += 1
    if size > most:
        detail = f"more bytes than max_text_bytes ({builder.max_text_bytes}): {sample(data)}"
        builder.reject("text_too_long", detail, file.name, 0)
        return b""
    return data
