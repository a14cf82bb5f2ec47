"""What the manifests of `extract` and `clean` hold."""

from typing import TypedDict

from curate.artifact import TableBody


class PageCounts(TypedDict, total=False):
    """Documents that are HTML, those passed on as they are, and bytes of HTML and of text; a missing count is 0."""

    pages: int
    passed: int
    html_bytes: int
    text_bytes: int


class ExtractBody(TableBody):
    """Pages by source."""

    extracted: dict[str, PageCounts]


class ChangeCounts(TypedDict):
    """Changes of one kind: documents that have them, places in these, bytes removed or replaced."""

    documents: int
    places: int
    bytes: int


class SourceChanges(TypedDict):
    """Documents and bytes of a source before and after, documents that were changed, and changes by kind."""

    documents_in: int
    bytes_in: int
    bytes_out: int
    touched: int
    kinds: dict[str, ChangeCounts]


class CleanBody(TableBody):
    """Changes by source."""

    changes: dict[str, SourceChanges]
