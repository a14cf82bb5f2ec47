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
    limit = builder.max_text_bytes
    pieces: list[bytes] = []
    size = 0
    with opened(file) as handle:
        for piece in content(handle, file.compression):
            pieces.append(piece)
            size += len(piece)
            if size > limit + 3:  # a byte order mark
                break
    data = b"".join(pieces)
    if not data:
        builder.reject_file("empty_file", "no content", file.name)
        return
    builder.records += 1
    if size > limit + 3:
        builder.reject("text_too_long", f"more than max_text_bytes ({limit}): {sample(data)}", file.name, 0)
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
