"""Extraction of text from HTML with resiliparse or trafilatura."""

import re
import unicodedata
from typing import Any

import orjson

EXTRACTORS = {"resiliparse": ("resiliparse",), "trafilatura": ("trafilatura", "resiliparse")}
"""Packages that each extractor needs. Titles and languages always come from resiliparse."""

_TITLE = 300  # maximum number of characters of a title; the rest is cut off
# Tags at the start of an HTML page (MIME Sniffing Standard, section 7.1, and XML).
_HTML = re.compile(
    r"[\ufeff\s]*<(?:!doctype html|html|head|script|iframe|h1|div|font|table|a|style|title|b|body|br|p|!--|\?xml)[\s>]",
    re.IGNORECASE,
)
# The match starts at the first blank of a run and is possessive. Otherwise, a run within a line takes quadratic time.
_MARGIN = re.compile(r"(?<![ \t\r\f\v])[ \t\r\f\v]++(?=\n|$)")
_BLANKS = re.compile(r"\n{3,}")


def is_html(text: str) -> bool:
    """Return whether a text starts with an HTML tag, by the rules that browsers use.

    Examples
    --------
    >>> is_html("  <!DOCTYPE html><p>a"), is_html("<p>a"), is_html("a <p>"), is_html("<pre-release>")
    (True, True, False, False)
    """
    return bool(_HTML.match(text))


def extract_page(data: bytes, options: dict[str, Any]) -> bytes:
    """Return the text, title and language of a page. `curate.engine.guarded` calls this function.

    Parameters
    ----------
    data
        The page, UTF-8.
    options
        Keyword arguments of `extract_text`.

    Returns
    -------
    bytes
        JSON object with ``text`` and the entries of `hints`.
    """
    page = data.decode()
    text = extract_text(page, **options)
    return orjson.dumps({"text": text, **hints(page)})


def extract_text(
    page: str, *, extractor: str, main_content: bool, comments: bool, tables: bool, links: bool, favor: str
) -> str:
    """Return the text of a page in NFC, with the paragraphs and lines that the extractor makes.

    Parameters
    ----------
    page
        HTML.
    extractor
        A key of `EXTRACTORS`.
    main_content
        Whether to drop navigation and other boilerplate (for resiliparse; trafilatura always drops it).
    comments, tables, links
        Whether to keep readers' comments, tables and the URLs of links.
    favor
        ``balanced``, ``precision`` or ``recall`` (for trafilatura).
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
    r"""Return the ``title`` and the declared language (``html_lang``) of a page, without those that it lacks.

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
