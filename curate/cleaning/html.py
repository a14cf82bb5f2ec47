"""HTML to text, by resiliparse or trafilatura."""

import re
import unicodedata
from typing import Any

import orjson

EXTRACTORS = {"resiliparse": ("resiliparse",), "trafilatura": ("trafilatura", "resiliparse")}
"""The packages that each extractor needs; titles and languages are always found by resiliparse."""

_TITLE = 300  # characters of a title that are kept
# Tags with which HTML begins (MIME Sniffing Standard, section 7.1, and XML).
_HTML = re.compile(
    r"[\ufeff\s]*<(?:!doctype html|html|head|script|iframe|h1|div|font|table|a|style|title|b|body|br|p|!--|\?xml)[\s>]",
    re.IGNORECASE,
)
# From the first of a run on and without giving back: else a run within a line takes time with the square of its length.
_MARGIN = re.compile(r"(?<![ \t\r\f\v])[ \t\r\f\v]++(?=\n|$)")
_BLANKS = re.compile(r"\n{3,}")


def is_html(text: str) -> bool:
    """Whether a text begins with a tag of HTML, as browsers look at it.

    Examples
    --------
    >>> is_html("  <!DOCTYPE html><p>a"), is_html("<p>a"), is_html("a <p>"), is_html("<pre-release>")
    (True, True, False, False)
    """
    return bool(_HTML.match(text))


def extract_page(data: bytes, options: dict[str, Any]) -> bytes:
    """Text, title and language of a page: UTF-8 in, JSON out; what `curate.engine.guarded` calls.

    Parameters
    ----------
    data
        The page.
    options
        ``extractor`` and the arguments of `extract_text`.
    """
    page = data.decode()
    text = extract_text(page, **options)
    return orjson.dumps({"text": text, **hints(page)})


def extract_text(
    page: str, *, extractor: str, main_content: bool, comments: bool, tables: bool, links: bool, favor: str
) -> str:
    """Text of a page in NFC, its paragraphs and lines as the extractor gives them.

    Parameters
    ----------
    page
        HTML.
    extractor
        A key of `EXTRACTORS`.
    main_content
        Whether navigation and the like are left out (resiliparse; trafilatura always leaves them out).
    comments, tables, links
        Whether comments of readers, tables and the addresses of links are in the text.
    favor
        ``balanced``, ``precision`` or ``recall`` (trafilatura).
    """
    if extractor == "resiliparse":
        from resiliparse.extract.html2text import extract_plain_text

        text = extract_plain_text(
            page,
            main_content=main_content,
            comments=comments,
            links=links,
            alt_texts=False,
            skip_elements=None if tables else ["table"],
        )
    else:
        from trafilatura import extract

        text = extract(
            page,
            include_comments=comments,
            include_tables=tables,
            include_links=links,
            favor_precision=favor == "precision",
            favor_recall=favor == "recall",
        )
    text = _BLANKS.sub("\n\n", _MARGIN.sub("", text or "")).strip()
    return unicodedata.normalize("NFC", text.replace("\0", "\ufffd"))


def hints(page: str) -> dict[str, str]:
    r"""What a page says of itself: ``title`` and ``html_lang``, where it says it.

    Examples
    --------
    >>> hints("<html lang=de-AT><title> Neues\n aus Wien </title>")
    {'title': 'Neues aus Wien', 'html_lang': 'de-AT'}
    """
    from resiliparse.parse.html import HTMLTree

    tree = HTMLTree.parse(page)
    root = tree.document.document_element if tree.document is not None else None
    title = " ".join((tree.title or "").split())[:_TITLE]
    language = ((root.getattr("lang") or root.getattr("xml:lang") or "") if root is not None else "").strip()[:35]
    return {name: value for name, value in (("title", title), ("html_lang", language)) if value}
