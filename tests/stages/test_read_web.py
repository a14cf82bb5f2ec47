"""Web archives through `read`: whole files and ranges, accounts of every record, and what lies in ../shared."""

import hashlib
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from curate import storage
from curate.artifact import Artifact
from curate.engine.base import Engine
from curate.errors import RunError
from curate.stages.extract import Extract
from curate.stages.read import Read, Source
from curate.table import DOCUMENT, Table, read_part
from tests.corpus import run_stage
from tests.engine.engines import Engines
from tests.io.archives import ARC_HEAD, arc, http, packed, record

NO_TABLE = Table(Artifact("", "", ""))


def make(path: Path, engine: Engine | None = None, **fields: Any) -> Table:
    return Table(run_stage(Read(name="read", **fields), NO_TABLE, path, engine=engine))


def folder(table: Table, name: str) -> list[dict[str, Any]]:
    path = f"{table.documents.path}/{name}"
    return [row for part in sorted(storage.names_in(path)) for row in read_part(f"{path}/{part}").to_pylist()]


def digests(table: Table) -> dict[str, str]:
    root = Path(table.documents.path)
    files = [path for path in sorted(root.rglob("*")) if path.is_file() and "_receipts" not in path.parts]
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def page(number: int) -> bytes:
    return f"<html><title>Page {number}</title><p>{'A sentence of the page. ' * 60} {number}</p></html>".encode()


def records() -> list[bytes]:
    """60 pages, each with its request; one is broken."""
    made = [(record("request", b"GET /", n), record(body=http(page(n)), number=n)) for n in range(60)]
    made[10] = (made[10][0], record(body=b"nonsense", number=10))
    return [each for pair in made for each in pair]


@pytest.fixture
def crawl(tmp_path: Path) -> Path:
    """Archives of every kind beside JSON lines with HTML and HTML files, with broken records and files."""
    root = tmp_path / "crawl"
    root.mkdir()
    made = records()
    for name, compression in (("a.warc", ""), ("b.warc.gz", "gzip"), ("c.warc.zst", "zstd")):
        (root / name).write_bytes(packed(made, compression))
    (root / "d.warc.gz").write_bytes(packed(made[:9], "gzip")[:-30])
    arcs = [ARC_HEAD, *(arc(f"http://example.org/{i}", http(page(i))) for i in range(100, 120))]
    (root / "e.arc.gz").write_bytes(packed(arcs, "gzip"))
    (root / "f.html").write_bytes(page(200))
    (root / "g.jsonl").write_text(json.dumps({"id": "j", "html": page(300).decode(), "url": "http://example.org/j"}))
    wet = record("conversion", "Nur Text – ohne Auszeichnung.".encode(), 400)
    (root / "h.warc.wet").write_bytes(record("warcinfo", b"") + wet)
    return root


def test_one_stanza_takes_everything(crawl: Path, tmp_path: Path) -> None:
    source = Source(path=str(crawl), text="html")
    table = make(tmp_path / "out", sources={"web": source}, max_bad_files=0.2, shard_bytes=40_000)
    manifest = table.documents.manifest
    flow = manifest["flow"]["web"]
    assert flow == {
        "in": 3 * 120 + 8 + 21 + 1 + 1 + 2,
        "kept": 3 * 59 + 4 + 20 + 1 + 1 + 1,
        "dropped": {"type_request": 3 * 60 + 4, "type_warcinfo": 2},
        "quarantined": {"malformed_http": 3},
    }
    assert manifest["files"]["web"]["quarantined"] == {"truncated": 1}
    accounts = folder(table, "archives")
    assert {row["file"] for row in accounts} == {path.name for path in crawl.iterdir()} - {"f.html", "g.jsonl"}
    per_file = Counter[str]()
    for row in accounts:
        per_file[row["file"]] += row["records"]
    assert per_file["a.warc"] == per_file["b.warc.gz"] == per_file["c.warc.zst"] == 120
    assert len({row["start"] for row in accounts if row["file"] == "b.warc.gz"}) > 1, "it was read in ranges"
    bad = [row for row in folder(table, "quarantine") if row["scope"] == "file"]
    offset = len(packed(records()[:8], "gzip"))
    assert [(row["file"], row["reason"], row["offset"]) for row in bad] == [("d.warc.gz", "truncated", offset)]
    texts = Table(run_stage(Extract(), table, tmp_path / "out"))
    rows = [row for shard in texts.shards for row in texts.read(shard, ["text", "meta"]).to_pylist()]
    assert len(rows) == flow["kept"]
    assert not [row for row in rows if "<" in row["text"]]
    assert json.loads(rows[0]["meta"])["title"] == "Page 0"


def test_ranges_and_workers_make_no_difference(engines: Engines, crawl: Path, tmp_path: Path) -> None:
    fields: dict[str, Any] = {"sources": {"web": Source(path=str(crawl), text="html")}, "max_bad_files": 0.2}
    small = [make(tmp_path / f"w{w}", engines(w), shard_bytes=30_000, **fields) for w in (0, 1, 2)]
    assert digests(small[0]) == digests(small[1]) == digests(small[2])
    whole = make(tmp_path / "whole", **fields)

    def rows(table: Table) -> list[dict[str, Any]]:
        return [row for shard in table.shards for row in table.read(shard, DOCUMENT.names).to_pylist()]

    assert len(small[0].shards) > 8 * len(whole.shards)
    assert rows(whole) == rows(small[0])
    assert folder(whole, "quarantine") == folder(small[0], "quarantine")


def test_a_source_of_metadata_alone_is_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "a.warc.wat").write_bytes(record("metadata", b"{}"))
    with pytest.raises(RunError, match="'web' has no documents"):
        make(tmp_path / "out", sources={"web": Source(path=str(tmp_path / "a.warc.wat"))})


# What the manifest's counts, made with warcio, lack: warcio stops where a gzip member holds several records or a part
# of one, and so finds these files broken. All their records can be read, but for what really is missing.
TYPES = ("warcinfo", "request", "metadata", "revisit")
MORE = {
    "aut__badexample.arc.gz": {"page": 3},
    "pywb__example-bad.warc.gz.bad": {"page": 2, "request": 2, "revisit": 1},
    "warcio__example-bad.warc.gz.bad": {"page": 2, "request": 2, "revisit": 1},
    "warcio__example-bad-non-chunked.warc.gz": {"warcinfo": 1, "page": 1, "request": 2, "revisit": 1},
    "warcio__example-wrong-chunks.warc.gz": {"request": 1},
}
BROKEN = [("aut__badexample.arc.gz", "truncated", 0), ("warcio__example-space-in-url.arc", "truncated", 151)]
BAD_ROWS = [
    ("aut__badexample.arc.gz", "truncated", 0),
    *((f"{who}__bad.arc", "wrong_length", offset) for who in ("pywb", "warcio") for offset in (134, 262)),
    ("pywb__example-extra.warc", "malformed_http", 3207),
    ("pywb__missing-status-text.warc", "malformed_http", 0),
    ("warcio__example-space-in-url.arc", "truncated", 151),
    ("warcio__example-trunc.warc", "wrong_length", 1197),
]


def test_every_record_of_the_real_archives(shared_data: Path, tmp_path: Path) -> None:
    """Counts per file and type as the manifest has them, or as the tables above explain."""
    rows = re.findall(r"\| `warc/(\S+)` \|.*record types: (.*?) \|", (shared_data / "MANIFEST.md").read_text())
    expected: dict[str, Counter[str]] = {}
    for name, counts in rows:
        named = re.findall(r"(\w+) (\d+)", counts)
        types = Counter({kind: int(number) for kind, number in named if kind in TYPES})
        pages = sum(int(number) for kind, number in named if kind in ("response", "resource", "conversion"))
        expected[name] = types + Counter({"page": pages}) + Counter(MORE.get(name, {}))
    assert len(expected) == 50
    names = sorted(expected)
    kinds = {"arc": [n for n in names if ".arc" in n and ".warc" not in n]}
    kinds["warc"] = [n for n in names if n not in kinds["arc"]]
    sources = {
        kind: Source(path=tuple(str(shared_data / "warc" / n) for n in chosen), format=kind)  # type: ignore[arg-type]
        for kind, chosen in kinds.items()
    }
    table = make(tmp_path / "out", sources=sources, max_bad_files=1, max_bad_rows=1, shard_bytes=2_000_000)
    found = {name: Counter[str]() for name in names}
    for row in folder(table, "archives"):
        kind = (row["reason"] or "").removeprefix("type_")
        found[row["file"]][kind if kind in TYPES else "page"] += row["records"]
    assert {name: +counts for name, counts in found.items()} == expected
    bad = sorted((r["scope"], r["file"], r["reason"], r["offset"]) for r in folder(table, "quarantine"))
    assert [row[1:] for row in bad if row[0] == "file"] == BROKEN
    assert [row[1:] for row in bad if row[0] == "row"] == sorted(BAD_ROWS)
    flow = table.documents.manifest["flow"]
    assert sum(counts["in"] for counts in flow.values()) == sum(counts.total() for counts in expected.values())
    assert {source: counts["kept"] for source, counts in flow.items()} == {"arc": 101, "warc": 178}


def test_versions_of_packages_count_for_web_formats_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.warc").write_bytes(packed([record()], ""))
    (tmp_path / "a.txt").write_text("plain")
    stages = [Read(name="read", sources={"s": Source(path=str(tmp_path / name))}) for name in ("a.warc", "a.txt")]
    before = [stage.identity() for stage in stages]
    assert all(before[0]["packages"].values())
    monkeypatch.setattr("curate.artifact.metadata.version", lambda _: "0")
    assert [stage.identity() != old for stage, old in zip(stages, before, strict=True)] == [True, False]
