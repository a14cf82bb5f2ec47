"""Pages to text as a stage: what is kept, passed and dropped, and the same bytes however it is run."""

import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest

from curate import Pipeline
from curate.artifact import Artifact
from curate.report.explain import explain
from curate.stage import Known
from curate.stages.extract import Extract
from curate.table import DOCUMENT, Table, read_part
from tests.corpus import make_table, run_stage, with_column
from tests.engine.engines import Engines

SENTENCE = "The harbour was quiet that morning, and the boats lay side by side as if they had agreed to wait."
NOTHING = Known(pa.schema([]), {}, {})


def page(number: int, sentences: int = 3) -> str:
    body = "".join(f"<p>{SENTENCE} It was morning {number}.{i}.</p>" for i in range(sentences))
    return f"<!DOCTYPE html><html lang=en><title>Page {number}</title><body><article>{body}</article></body></html>"


def extract(texts: list[str], path: Path, metas: list[Any] | None = None, **fields: Any) -> Table:
    table = make_table(path, {"web": texts}, shard_rows=fields.pop("shard_rows", 4))
    if metas:
        table = with_column(table, "meta", [None if meta is None else json.dumps(meta) for meta in metas])
    return Table(run_stage(Extract(**fields), table, path))


def digests(artifact: Artifact) -> dict[str, str]:
    root = Path(artifact.path)
    files = [path for path in sorted(root.rglob("*")) if path.is_file() and "_receipts" not in path.parts]
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def rows(table: Table) -> list[dict[str, Any]]:
    return [row for shard in table.shards for row in table.read(shard, DOCUMENT.names).to_pylist()]


def dropped(table: Table) -> list[tuple[str, str]]:
    parts = [read_part(f"{table.documents.path}/dropped/part-{shard.name}.parquet") for shard in table.shards]
    return [(row["reason"], row["detail"]) for part in parts for row in part.to_pylist()]


@pytest.mark.parametrize("extractor", ["resiliparse", "trafilatura"])
def test_pages_become_text_and_all_else_stays(tmp_path: Path, extractor: str) -> None:
    texts = [page(0), "plain text <p> with a tag", page(2), "<p>kept as it is"]
    metas = [{"status": 200, "title": "Its own"}, None, None, {"content_type": "text/plain"}]
    table = extract(texts, tmp_path, metas, extractor=extractor)
    found = rows(table)
    assert [row["text"] for row in found[1::2]] == texts[1::2]
    assert [f"It was morning 0.{i}." in found[0]["text"] for i in range(3)] == [True] * 3
    assert "<" not in found[0]["text"] + found[2]["text"]
    assert [row["meta"] and json.loads(row["meta"]) for row in found] == [
        {"html_lang": "en", "status": 200, "title": "Its own"},
        None,
        {"html_lang": "en", "title": "Page 2"},
        {"content_type": "text/plain"},
    ]
    manifest = table.documents.manifest
    assert manifest["flow"] == {"web": {"in": 4, "kept": 4, "dropped": {}, "quarantined": {}}}
    size = sum(len(text) for text in (found[0]["text"], found[2]["text"]))
    html = len(texts[0]) + len(texts[2])
    assert manifest["extracted"] == {"web": {"pages": 2, "passed": 2, "html_bytes": html, "text_bytes": size}}


def test_all_documents_can_be_taken_for_html(tmp_path: Path) -> None:
    texts = ["text before a tag<p>and after", "<p>a"]
    assert [row["text"] for row in rows(extract(texts, tmp_path / "a", main_content=False))] == [texts[0], "a"]
    always = rows(extract(texts, tmp_path / "b", main_content=False, html="always"))
    assert [row["text"].split() for row in always] == [["text", "before", "a", "tag", "and", "after"], ["a"]]
    said = [{"content_type": "text/html"}, {"content_type": "no media type"}]
    told = rows(extract(texts, tmp_path / "c", said, main_content=False))
    assert "<p>" not in told[0]["text"] + told[1]["text"]


SLOW = "<p>a" * 300_000  # quadratic in trafilatura: minutes


def test_a_bad_page_costs_itself_alone(tmp_path: Path) -> None:
    texts = [page(0), SLOW, page(1), "<html><body></body></html>", page(2, 99), page(3)]
    table = extract(texts, tmp_path, extractor="trafilatura", timeout=1.5, max_html_bytes=len(SLOW), shard_rows=3)
    assert [row["source_id"] for row in rows(table)] == ["0", "2", "4", "5"]
    assert dropped(table) == [("timeout", "1200000 bytes took more than 1.5 s"), ("no_text", "26 bytes")]
    flow = table.documents.manifest["flow"]["web"]
    assert flow == {"in": 6, "kept": 4, "dropped": {"timeout": 1, "no_text": 1}, "quarantined": {}}
    assert [shard.rows for shard in table.shards] == [2, 2]
    table.check()


def test_size_limit(tmp_path: Path) -> None:
    small, large = page(1), page(1) + " "
    table = extract([small, large], tmp_path, max_html_bytes=len(small))
    assert [row["source_id"] for row in rows(table)] == ["0"]
    assert dropped(table) == [("too_large", f"{len(large)} bytes")]


def test_explain_tells_why_a_page_was_dropped(tmp_path: Path) -> None:
    (tmp_path / "large.html").write_text("<html><body>" + "<div>" * 400 + "text</body></html>")
    (tmp_path / "none.html").write_text("<html><body></body></html>")
    (tmp_path / "page.html").write_text(page(1))
    stages = {"read": {"sources": {"web": {"path": str(tmp_path / "*.html")}}}, "extract": {"max_html_bytes": 2000}}
    root = str(tmp_path / "run")
    Pipeline.from_mapping({"run": {"root": root}, "engine": {"workers": 0}, "stages": stages}).run()
    assert "dropped by 'extract': too_large (2030 bytes)" in explain(root, "web/large.html").render()
    assert "dropped by 'extract': no_text (26 bytes)" in explain(root, "web/none.html").render()
    assert "dropped" not in explain(root, "web/page.html").render()


def test_what_the_extractor_cannot_do_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from curate.engine.guarded import CallError, Guarded

    call = Guarded.call

    def fails(self: Guarded, data: bytes) -> bytes:
        if b"morning 1." in data:
            raise CallError("its process died (SIGSEGV)")
        return call(self, data)

    monkeypatch.setattr(Guarded, "call", fails)
    table = extract([page(0), page(1), page(2)], tmp_path)
    assert [row["source_id"] for row in rows(table)] == ["0", "2"]
    assert dropped(table) == [("extractor_failed", "its process died (SIGSEGV)")]


def test_a_shard_without_text(tmp_path: Path) -> None:
    table = extract(["<html></html>", "<p>", page(1)], tmp_path, shard_rows=2)
    assert [(shard.rows, shard.first_row) for shard in table.shards] == [(0, 0), (1, 0)]
    assert Counter(reason for reason, _ in dropped(table)) == {"no_text": 2}


def test_row_groups_are_of_the_usual_size(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    texts = [f"text {i}" for i in range(2500)]
    table = extract(texts, tmp_path, shard_rows=2500)
    file = pq.ParquetFile(table.documents.part(table.shards[0].name))
    assert [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)] == [1024, 1024, 452]
    assert [row["text"] for row in rows(table)] == texts


def test_the_same_bytes_for_any_number_of_workers(engines: Engines, tmp_path: Path) -> None:
    texts = [page(i) for i in range(20)] + ["plain", "<p>"]
    table = make_table(tmp_path, {"a": texts, "b": texts[:5]}, shard_rows=6)
    found = [
        digests(run_stage(Extract(), table, tmp_path / f"w{workers}", engine=engines(workers))) for workers in (0, 1, 2)
    ]
    assert found[0] == found[1] == found[2]
    assert len(found[0]) == 2 * 5 + 1


def test_mistakes_are_told_before_a_run() -> None:
    assert list(Extract().check(NOTHING)) == []
    assert [p.where for p in Extract(extractor="trafilatura", main_content=False).check(NOTHING)] == [("main_content",)]
    assert [p.where for p in Extract(favor="recall").check(NOTHING)] == [("favor",)]


def test_versions_of_packages_count(monkeypatch: pytest.MonkeyPatch) -> None:
    before = Extract().identity()
    assert before["packages"]["resiliparse"]
    monkeypatch.setattr("curate.artifact.metadata.version", lambda _: "0")
    assert Extract().identity() != before


@pytest.mark.parametrize(("extractor", "floor"), [("resiliparse", 0.9), ("trafilatura", 0.93)])
def test_real_pages_against_their_gold(shared_data: Path, extractor: str, floor: float) -> None:
    """Mean F1 of token bags on the first articles; see scripts/bench/extract.py for all of them."""
    import re

    from curate.cleaning.html import extract_text

    articles = pl.read_ndjson(shared_data / "html_gold_articles.jsonl.zst", n_rows=20)
    options: dict[str, Any] = Extract(extractor=extractor).options()  # type: ignore[arg-type]
    scores = []
    for html, gold in articles.select("html", "text").iter_rows():
        want, have = (Counter(re.findall(r"\w+", text)) for text in (gold, extract_text(html, **options)))
        scores.append(2 * (want & have).total() / (want.total() + have.total()))
    assert sum(scores) / len(scores) > floor
