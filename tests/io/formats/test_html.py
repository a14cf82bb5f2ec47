"""HTML files: one page each, in any encoding."""

import gzip
import json
from pathlib import Path

import pytest

from tests.io.reading import read, reasons, write


@pytest.mark.parametrize("name", ["a.html", "a.HTM", "a.xhtml", "a.html.gz"])
def test_a_file_is_a_page_under_its_name(tmp_path: Path, name: str) -> None:
    page = '<meta charset="windows-1252"><p>Grüße – “here”'
    data = page.encode("cp1252")
    file = write(tmp_path, name, gzip.compress(data) if name.endswith("gz") else data)
    (document,), rejects, _ = read(file)
    assert (document["text"], document["source_id"]) == (page, name)
    assert json.loads(document["meta"]) == {"charset": "cp1252", "charset_from": "meta", "content_type": "text/html"}
    assert not rejects


def test_bad_pages_cost_a_row(tmp_path: Path) -> None:
    for data, reason in ((b" \n", "empty_text"), (b"<p>" + b"x" * 98, "text_too_long"), (b"x" * 900, "text_too_long")):
        documents, rejects, _ = read(write(tmp_path, "a.html", data), max_text_bytes=100)
        assert not documents
        assert reasons(rejects) == [(reason, None, 0)]
    assert len(read(write(tmp_path, "a.html", b"<p>" + b"x" * 97), max_text_bytes=100)[0]) == 1


def test_nul_is_replaced_as_in_html(tmp_path: Path) -> None:
    (document,), _, _ = read(write(tmp_path, "a.html", b"<p>a\0b"))
    assert document["text"] == "<p>a\ufffdb"
