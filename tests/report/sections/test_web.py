"""What the report and `explain` say of web archives and of the text that was made of pages."""

import json
from pathlib import Path
from typing import Any

import pytest

from curate import Pipeline
from curate.report.build import build
from curate.report.explain import explain
from curate.report.explanation import Explanation
from tests.io.archives import http, packed, record

SENTENCE = b"The harbour was quiet that morning, and the boats lay side by side as if they had agreed to wait. "
EMPTY = b"<html><title>Nothing</title><body></body></html>"


def page(number: int) -> bytes:
    return b"<html lang=en><title>Page %d</title><p>%s</p></html>" % (number, SENTENCE * (number + 1))


def run(root: Path, stages: dict[str, Any]) -> dict[str, Any]:
    """Three pages, one of them without text, among other records; beside them JSON lines with a page and plain text."""
    root.mkdir()
    records = [record("warcinfo", b"", 9)]
    for number, body in enumerate([page(0), page(1), EMPTY]):
        records += [record("request", b"GET /", number), record(body=http(body), number=number)]
    records += [record(body=http(b"\x89PNG\r\n\x1a\n", media="image/png"), number=5), record(body=b"junk", number=6)]
    (root / "a.warc.gz").write_bytes(packed(records, "gzip"))
    lines = [{"id": "page", "text": page(2).decode(), "tags": ["a", 1]}, {"id": "plain", "text": "Plain text."}]
    (root / "b.jsonl").write_text("\n".join(map(json.dumps, lines)))
    sources = {"crawl": {"path": str(root / "a.warc.gz")}, "dump": {"path": str(root / "b.jsonl")}}
    settings = {"run": {"root": str(root / "run")}, "engine": {"workers": 0}}
    Pipeline.from_mapping(settings | {"stages": {"read": {"sources": sources}, **stages}}).run()
    build(str(root / "run"))
    return json.loads((root / "run/report.json").read_text())


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    root = tmp_path_factory.mktemp("web") / "first"
    return run(root, {"extract": {"main_content": False}}), root / "run"


def test_records_and_pages_are_counted_by_source(told: tuple[dict[str, Any], Path]) -> None:
    (records,), (pages,) = told[0]["web"]["records"], told[0]["web"]["pages"]
    skipped = {"type_request": 3, "type_warcinfo": 1, "media_image": 1}
    of_crawl = {"records": 9, "documents": 3, "skipped": skipped, "quarantined": 1}
    assert records == {"stage": "read", "sources": {"crawl": of_crawl}}
    size = len(page(0)) + len(page(1))
    text = len("Page 0\n\nPage 1\n\n") + 3 * len(SENTENCE)  # with their titles
    assert pages["sources"]["crawl"]["html_bytes"] == size + len(EMPTY)
    assert 0 < pages["sources"]["crawl"]["text_bytes"] <= text
    assert {name: pages["sources"]["crawl"][name] for name in ("pages", "passed", "lost", "dropped")} == {
        "pages": 3,
        "passed": 0,
        "lost": 1,
        "dropped": {"no_text": 1},
    }
    assert pages["sources"]["dump"]["passed"] == pages["sources"]["dump"]["pages"] == 1


def test_text_kept_is_text_and_not_html(told: tuple[dict[str, Any], Path]) -> None:
    kept = told[0]["funnel"]["total"]["kept"]
    found = sum(counts["text_bytes"] for counts in told[0]["web"]["pages"][0]["sources"].values())
    assert kept == {"documents": 4, "bytes": found + len("Plain text.")}


def test_the_page_states_it(told: tuple[dict[str, Any], Path]) -> None:
    html = (told[1] / "report.html").read_text()
    assert "5 of 9 records of web archives are no pages, most often type_request; 3 of 4 pages gave text" in html
    assert "media_image" in html
    assert "no_text" in html


def test_a_run_without_web_pages_has_no_such_section(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"id": "a", "text": "<p>text"}')
    settings = {"run": {"root": str(tmp_path / "run")}, "engine": {"workers": 0}}
    read = {"sources": {"a": {"path": str(tmp_path / "a.jsonl")}}}
    Pipeline.from_mapping(settings | {"stages": {"read": read}}).run()
    build(str(tmp_path / "run"))
    assert "web" not in json.loads((tmp_path / "run/report.json").read_text())


def test_archives_without_extraction_and_no_html_at_all(tmp_path: Path) -> None:
    assert run(tmp_path / "a", {})["web"]["pages"] == []
    (tmp_path / "b.jsonl").write_text('{"id": "a", "text": "plain"}')
    settings = {"run": {"root": str(tmp_path / "run")}, "engine": {"workers": 0}}
    read = {"sources": {"a": {"path": str(tmp_path / "b.jsonl")}}}
    Pipeline.from_mapping(settings | {"stages": {"read": read, "extract": {}}}).run()
    build(str(tmp_path / "run"))
    assert "No document was HTML" in (tmp_path / "run/report.html").read_text()


def test_explain_shows_what_is_known_of_a_page(told: tuple[dict[str, Any], Path]) -> None:
    found = explain(str(told[1]), "crawl/urn:uuid:1")
    assert isinstance(found, Explanation)
    shown = dict(found.meta)
    assert (shown["title"], shown["content_type"], shown["status"]) == ("Page 1", "text/html", "200")
    lines = found.render().splitlines()
    assert "url        http://example.org/1" in lines
    assert "  content_type  text/html" in lines
    others = [explain(str(told[1]), f"dump/{name}") for name in ("page", "plain")]
    metas = [dict(other.meta) for other in others if isinstance(other, Explanation)]
    assert metas == [{"html_lang": "en", "tags": '["a",1]', "title": "Page 2"}, {}]
