"""Plain text: each file is one document."""

from collections.abc import Iterator

from curate.io.files import InputFile
from curate.io.records import Batch, BatchBuilder, sample
from curate.io.streams import content, opened


def read(file: InputFile, start: int, end: int | None, builder: BatchBuilder) -> Iterator[Batch]:
    """Read one file; a longer text than allowed is not held in memory.

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
        The compressed file is damaged, and with it the document.
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
    """Content of a file that is one document.

    Parameters
    ----------
    file
        Compressed or not.
    builder
        Counts the record, and is told why there is none.
    most
        Bytes, beyond which it is too long.

    Returns
    -------
    bytes
        Empty if the file is empty or too long.
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
        builder.reject_file("empty_file", "no content", file.name)
        return data
    builder.records += 1
    if size > most:
        said = f"more than max_text_bytes ({builder.max_text_bytes}): {sample(data)}"
        builder.reject("text_too_long", said, file.name, 0)
        return b""
    return data
