"""HTML files: each file is one page."""

from collections.abc import Iterator

from curate.errors import RunError
from curate.extras import missing
from curate.io.charsets import decode
from curate.io.files import InputFile
from curate.io.formats.text import whole
from curate.io.formats.warc import PACKAGES
from curate.io.records import Batch, BatchBuilder

_WIDEST = 2  # bytes of a page per byte of its text in UTF-8


def read(file: InputFile, start: int, end: int | None, builder: BatchBuilder) -> Iterator[Batch]:
    """Read one page. A page that is longer than allowed is not held in memory.

    Parameters
    ----------
    file
        HTML in any encoding; see `curate.io.charsets`.
    start, end
        Not used: a page is never split.
    builder
        Takes the document.

    Raises
    ------
    BrokenFileError
        If the compressed file is damaged.
    """
    if absent := missing("web", *PACKAGES):
        raise RunError(str(absent))
    data = whole(file, builder, _WIDEST * builder.max_text_bytes)
    if not data:
        return
    text = decode(data)
    if "\0" in text.text:
        builder.counts["nul_replaced"] += 1
    page = {
        "text": text.text.replace("\0", "\ufffd"),
        "id": file.name,
        "content_type": "text/html",
        "charset": text.charset,
        "charset_from": text.origin,
        "charset_errors": text.replaced or None,
    }
    builder.add_page(page, file.name, 0)
    if builder.full:
        yield builder.take()
