"""HTML to text by both extractors."""

import unicodedata

import pytest

from curate.cleaning.html import extract_text, hints, is_html

OPTIONS = {
    "extractor": "resiliparse",
    "main_content": True,
    "comments": False,
    "tables": True,
    "links": False,
    "favor": "balanced",
}
SENTENCE = "The harbour was quiet that morning, and the boats lay side by side as if they had agreed to wait."
PAGE = f"""<!DOCTYPE html><html lang="en-GB"><head><title> The
 harbour &amp; the boats</title><script>var hidden = 1;</script><style>p {{}}</style></head><body>
<nav><ul><li><a href="/">Home</a></li><li><a href="/about">About us</a></li></ul></nav>
<article><h1>The harbour</h1><p>{SENTENCE} First.</p>
<p>{SENTENCE} Second,<br>on two lines, with a <a href="/x">link</a>.</p>
<table><tr><td>Boats</td><td>Seventeen</td></tr></table><p>{SENTENCE} Cafe\u0301 &nbsp;last.</p></article>
<footer>Copyright 2024. All rights reserved.</footer></body></html>"""


@pytest.mark.parametrize("extractor", ["resiliparse", "trafilatura"])
def test_the_article_is_kept_and_the_rest_is_not(extractor: str) -> None:
    text = extract_text(PAGE, **OPTIONS | {"extractor": extractor})
    lines = [line for line in text.split("\n") if line]
    assert f"{SENTENCE} First." in lines
    assert f"{SENTENCE} Second," in lines
    assert "on two lines, with a link." in lines
    assert unicodedata.normalize("NFC", "Cafe\u0301") in text
    assert unicodedata.is_normalized("NFC", text)
    assert "Seventeen" in text
    assert not any(word in text for word in ("hidden", "About us", "<", "&amp;"))
    assert "Seventeen" not in extract_text(PAGE, **OPTIONS | {"extractor": extractor, "tables": False})


def test_the_whole_page() -> None:
    text = extract_text(PAGE, **OPTIONS | {"main_content": False})
    assert "About us" in text
    assert "All rights reserved" in text
    assert "hidden" not in text


@pytest.mark.parametrize("extractor", ["resiliparse", "trafilatura"])
@pytest.mark.parametrize("page", ["", "<", "<p>", "<html></html>", "<script>x</script>", "\0", "<!--"])
def test_pages_without_text(extractor: str, page: str) -> None:
    assert extract_text(page, **OPTIONS | {"extractor": extractor}).replace("\ufffd", "").strip("<") == ""


def test_hints() -> None:
    assert hints(PAGE) == {"title": "The harbour & the boats", "html_lang": "en-GB"}
    assert hints('<html xml:lang="pt"><body><svg><title>An icon</title></svg>') in (
        {"html_lang": "pt"},
        {"html_lang": "pt", "title": "An icon"},
    )
    assert hints("text alone") == {}
    assert len(hints(f"<title>{'long ' * 1000}")["title"]) == 300


@pytest.mark.parametrize(
    "text",
    ["<!DOCTYPE html>", "<html>", "\ufeff\n <HTML lang=x>", "<p class=a>b", "<!-- a -->", '<?xml version="1.0"?>'],
)
def test_html_is_recognized(text: str) -> None:
    assert is_html(text)


@pytest.mark.parametrize("text", ["", "a <p>b", "<pre>x", "<price>", "< p>", "1 < 2", "<stdio.h>", "&lt;p&gt;"])
def test_text_is_not_taken_for_html(text: str) -> None:
    assert not is_html(text)


@pytest.mark.parametrize("extractor", ["resiliparse", "trafilatura"])
def test_white_space_within_a_line(extractor: str) -> None:
    """A million blanks, which would take hours if each of them looked for the end of the run."""
    page = (
        f"<html><body><article><p>{SENTENCE}</p><pre>one{' ' * 1_000_000}two \t \nthree</pre></article></body></html>"
    )
    text = extract_text(page, **OPTIONS | {"extractor": extractor})
    assert SENTENCE in text
    assert "two\nthree" in text
