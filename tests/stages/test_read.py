"""The stage as a whole: shards, quarantine, limits, identifiers, and the same bytes however it is run."""

import gzip
import hashlib
import json
import unicodedata
from collections import Counter
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from curate import storage
from curate.artifact import Artifact, fingerprint
from curate.config.load import from_mapping
from curate.engine.base import Engine
from curate.engine.context import Context
from curate.engine.local import LocalEngine
from curate.errors import ConfigError, Problem, RunError
from curate.io import identifiers
from curate.io.records import QUARANTINE, document_id
from curate.pipeline import execute
from curate.stage import Known
from curate.stages.read import Read, Source
from curate.table import DOCUMENT, Table, id_checksum, read_part
from tests.corpus import run_stage
from tests.engine.engines import Engines
from tests.examples import examples

NOTHING = Known(pa.schema([]), {}, {})
NO_TABLE = Table(Artifact("", "", ""))


def jsonl(*records: Any) -> bytes:
    return b"".join((r if isinstance(r, bytes) else json.dumps(r).encode()) + b"\n" for r in records)


def make(path: Path, engine: Engine | None = None, **fields: Any) -> Table:
    fields["sources"] = {
        name: source if isinstance(source, Source) else Source(path=str(source))
        for name, source in fields["sources"].items()
    }
    stage = Read(name="read", **fields)
    assert list(stage.check(NOTHING)) == []
    return Table(run_stage(stage, NO_TABLE, path, engine=engine))


def documents(table: Table) -> list[dict[str, Any]]:
    return [row for shard in table.shards for row in table.read(shard, DOCUMENT.names).to_pylist()]


def quarantine(table: Table) -> list[dict[str, Any]]:
    folder = f"{table.documents.path}/quarantine"
    return [row for name in sorted(storage.names_in(folder)) for row in read_part(f"{folder}/{name}").to_pylist()]


def digests(path: Path) -> dict[str, str]:
    files = [file for file in sorted(path.rglob("*")) if file.is_file() and "_receipts" not in file.parts]
    return {str(file.relative_to(path)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Every format and compression, split files, grouped files, repeated ids and bad rows."""
    folder = tmp_path / "corpus"
    for name in ("web", "books", "tables", "notes"):
        (folder / name).mkdir(parents=True)
    web = [{"id": i % 900, "text": f"web page number {i} " * 8, "url": f"http://{i}"} for i in range(1000)]
    web_lines = [json.dumps(record).encode() for record in web]
    web_lines[500:500] = [b'{"text": "cut', b'{"text": null}', b""]
    (folder / "web/large.jsonl").write_bytes(b"\n".join(web_lines))
    (folder / "web/small.jsonl.gz").write_bytes(gzip.compress(jsonl({"id": 5, "text": "again"}, {"text": "no id"})))
    (folder / "web/packed.jsonl.zst").write_bytes(
        zstandard.compress(jsonl(*({"text": f"z {i} " * 30} for i in range(900))))
    )
    (folder / "web/readme.md").write_text("not a corpus")
    table = pa.table({"text": [f"row {i} " * 20 for i in range(600)], "id": [f"r{i // 2}" for i in range(600)]})
    pq.write_table(table, folder / "tables/t.parquet", row_group_size=50)
    for i in range(40):
        (folder / f"notes/{i:02d}.txt").write_text(f"note {i}\n" * 30)
    (folder / "books/book.txt").write_text("a long book\n" * 5000)
    return folder


def sources(folder: Path) -> dict[str, Path]:
    return {name: folder / name for name in ("web", "tables", "notes", "books")}


# -- documents ---------------------------------------------------------------------------------------------------------


def test_every_record_arrives_once_and_in_order(corpus: Path, tmp_path: Path) -> None:
    table = make(tmp_path / "out", sources=sources(corpus), shard_bytes="20kB")
    rows = documents(table)
    expected = [f"web page number {i} " * 8 for i in range(1000)] + [f"z {i} " * 30 for i in range(900)]
    expected += ["again", "no id"] + [f"row {i} " * 20 for i in range(600)]
    expected += [f"note {i}\n" * 30 for i in range(40)] + ["a long book\n" * 5000]
    assert [row["text"] for row in rows] == expected
    assert table.rows == len(expected)
    manifest = table.documents.manifest
    assert manifest["flow"]["web"] == {
        "in": 1904,
        "kept": 1902,
        "dropped": {},
        "quarantined": {"malformed_json": 1, "null_text": 1},
    }
    assert manifest["files"]["web"] == {
        "in": 3,
        "kept": 3,
        "quarantined": {},
        "ignored": 1,
        "ignored_names": ["readme.md"],
    }
    assert manifest["counts"]["web"] == {"blank_lines": 1, "documents": 1902, "positional_ids": 901}
    assert [(q["reason"], q["file"], q["scope"]) for q in quarantine(table)] == [
        ("malformed_json", "large.jsonl", "row"),
        ("null_text", "large.jsonl", "row"),
    ]
    data = (corpus / "web/large.jsonl").read_bytes()
    assert [data[q["offset"] :].split(b"\n")[0] for q in quarantine(table)] == [b'{"text": "cut', b'{"text": null}']


def test_shards(corpus: Path, tmp_path: Path) -> None:
    table = make(tmp_path / "out", sources=sources(corpus), shard_bytes="20kB")
    row, units = 0, Counter(shard.name[:5] for shard in table.shards)
    assert max(units.values()) > 1, "a compressed file fills several shards"
    for shard in table.shards:
        part = pq.ParquetFile(table.documents.part(shard.name))
        assert part.schema_arrow.equals(DOCUMENT)
        assert part.metadata.row_group(0).column(DOCUMENT.names.index("text")).compression == "ZSTD"
        rows = part.read().to_pylist()
        assert (shard.rows, shard.first_row) == (len(rows), row)
        assert {r["source"] for r in rows} == {shard.source}
        assert shard.text_bytes == sum(len(r["text"].encode()) for r in rows)
        assert shard.id_checksum == id_checksum(pa.array([r["id"] for r in rows], pa.binary(16)))
        row += len(rows)
    large = [shard for shard in table.shards if shard.source == "web"]
    assert all(10_000 < shard.text_bytes < 50_000 for shard in large[:-2])
    assert [shard.name for shard in table.shards] == sorted(shard.name for shard in table.shards)


def test_same_bytes_for_any_workers_and_any_place(engines: Engines, corpus: Path, tmp_path: Path) -> None:
    fields: dict[str, Any] = {"shard_bytes": "20kB"}
    make(tmp_path / "inline", sources=sources(corpus), **fields)
    expected = digests(tmp_path / "inline/read")
    assert sum(name.startswith("part-") for name in expected) > 10
    make(tmp_path / "two", engines(2), sources=sources(corpus), **fields)
    assert digests(tmp_path / "two/read") == expected
    corpus.rename(tmp_path / "elsewhere")
    make(tmp_path / "moved", sources=sources(tmp_path / "elsewhere"), **fields)
    assert digests(tmp_path / "moved/read") == expected


def test_no_quarantine_folder_without_bad_rows(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(jsonl({"text": "a"}))
    table = make(tmp_path / "out", sources={"s": tmp_path / "a.jsonl"})
    assert not storage.exists(f"{table.documents.path}/quarantine")


def test_object_storage(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    root = f"memory://{request.node.name}"
    fsspec.filesystem("memory").pipe(
        f"{root}/in/a.jsonl", jsonl(*({"text": f"text {i}", "id": i % 8} for i in range(10)))
    )
    stage = Read(name="read", sources={"s": Source(path=f"{root}/in")}, shard_bytes=100)
    assert list(stage.check(NOTHING)) == []
    artifact = Artifact("read", f"{root}/out", "0" * 32)
    execute(stage, Context(artifact, NO_TABLE, LocalEngine(workers=0)), {})
    rows = documents(Table(artifact))
    assert [row["text"] for row in rows] == [f"text {i}" for i in range(10)]
    assert len({row["id"] for row in rows}) == 10


# -- identifiers -------------------------------------------------------------------------------------------------------


@given(st.lists(st.lists(st.sampled_from(["a", "b", "c", None]), min_size=1, max_size=8), min_size=1, max_size=6))
@examples(8)
def test_repeated_ids_are_told_apart_by_their_order(
    tmp_path_factory: pytest.TempPathFactory, files: list[list[str | None]]
) -> None:
    folder = tmp_path_factory.mktemp("ids")
    for number, ids in enumerate(files):
        (folder / f"{number}.jsonl").write_bytes(jsonl(*({"id": own, "text": "t"} for own in ids)))
    table = make(folder / "out", sources={"s": f"{folder}/*.jsonl", "t": f"{folder}/0.jsonl"}, shard_bytes=1)
    seen: Counter[tuple[str, str]] = Counter()
    for row in documents(table):
        key = (row["source"], row["source_id"])
        assert row["id"] == document_id(*key, seen[key])
        seen[key] += 1
    assert len({row["id"] for row in documents(table)}) == table.rows
    assert table.documents.manifest["repeated_ids"] == table.rows - len(seen)
    for shard in table.shards:
        assert id_checksum(table.read(shard, ["id"]).column("id")) == shard.id_checksum


class KilledError(BaseException):
    """Stands in for SIGKILL: nothing catches it."""


def test_killed_at_any_write_and_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run dies at its n-th write, for every n there is, and is started again."""
    (tmp_path / "a.jsonl").write_bytes(jsonl({"id": 1, "text": "a"}, {"id": 1, "text": "b"}, {"text": None}))
    (tmp_path / "b.jsonl").write_bytes(jsonl({"id": 2, "text": "c"}, {"id": 1, "text": "d"}))
    fields: dict[str, Any] = {"sources": {"s": f"{tmp_path}/[ab].jsonl"}, "shard_bytes": 100}
    real = storage.replacing
    left = 10**9

    def counted(path: str) -> Any:
        nonlocal left
        left -= 1
        if left < 0:
            raise KilledError
        return real(path)

    monkeypatch.setattr(storage, "replacing", counted)
    clean = make(tmp_path / "clean", **fields)
    writes = 10**9 - left
    assert clean.documents.manifest["repeated_ids"] == 2
    assert writes >= 15, "parts, quarantine, identifiers, repeats, rewritten parts, and their receipts"
    expected = digests(tmp_path / "clean/read")
    for kill in range(writes):
        left = kill
        with pytest.raises(KilledError):
            make(tmp_path / str(kill), **fields)
        left = 10**9
        make(tmp_path / str(kill), **fields)
        assert digests(tmp_path / str(kill) / "read") == expected


def test_rewriting_twice_is_rewriting_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.jsonl").write_bytes(jsonl(*({"id": 1, "text": f"t{i}"} for i in range(5))))
    fields: dict[str, Any] = {"sources": {"s": tmp_path / "a.jsonl"}}
    make(tmp_path / "once", **fields)
    real = identifiers._rewrite_ids

    def twice(*arguments: Any) -> dict[str, Any]:
        real(*arguments)
        return real(*arguments)

    monkeypatch.setattr(identifiers, "_rewrite_ids", twice)
    make(tmp_path / "twice", **fields)
    assert digests(tmp_path / "twice/read") == digests(tmp_path / "once/read")


# -- limits ------------------------------------------------------------------------------------------------------------


def bad_corpus(folder: Path, good: int, bad: int) -> Path:
    folder.mkdir(exist_ok=True)
    lines = [{"text": f"text {i}"} for i in range(good)] + [{"text": None}] * (bad - 1) + [b"<not json>"] * (bad > 0)
    (folder / "a.jsonl").write_bytes(jsonl(*lines))
    return folder


@pytest.mark.parametrize(
    ("good", "bad", "limit", "stops"),
    [
        (100, 10, 0.01, False),  # ten are always tolerated
        (100, 11, 0.01, True),
        (100, 11, 0.1, False),
        (2000, 20, 0.01, False),
        (1000, 11, 0.01, True),
        (100, 1, 0, True),
        (100, 0, 0, False),
        (1, 500, 1, False),
    ],
)
def test_limit_of_bad_rows(tmp_path: Path, good: int, bad: int, limit: float, stops: bool) -> None:
    fields: dict[str, Any] = {"sources": {"web": bad_corpus(tmp_path / "in", good, bad)}, "max_bad_rows": limit}
    if not stops:
        flow = make(tmp_path / "out", **fields).documents.manifest["flow"]["web"]
        assert (flow["kept"], sum(flow["quarantined"].values())) == (good, bad)
        return
    with pytest.raises(RunError) as error:
        make(tmp_path / "out", **fields)
    said = str(error.value)
    assert f"{bad} of {good + bad} rows of the source 'web' cannot be used (max_bad_rows: {limit:g})" in said
    assert f"malformed_json: 1, such as a.jsonl, line {good + bad}: " in said
    if bad > 1:
        assert f"null_text: {bad - 1}, such as a.jsonl, line {good + 1}: 'text' is null" in said
    assert "<not json>" in said


def test_a_run_that_stopped_goes_on_under_a_higher_limit(tmp_path: Path) -> None:
    source = {"s": Source(path=str(bad_corpus(tmp_path / "in", 20, 20)))}
    low, high = (
        Read(name="read", sources=source),
        Read(name="read", sources=source, max_bad_rows=0.6, max_bad_files=0.5),
    )
    assert fingerprint(low.payload(0, {})) == fingerprint(high.payload(0, {}))


@pytest.mark.parametrize(("limit", "stops"), [(0.01, True), (0.6, False), (1, False), (0, True)])
def test_limit_of_bad_files(tmp_path: Path, limit: float, stops: bool) -> None:
    folder = bad_corpus(tmp_path / "in", 10, 0)
    (folder / "empty.jsonl").touch()
    (folder / "cut.jsonl.gz").write_bytes(gzip.compress(jsonl({"text": "before the break"}, {"text": "x" * 9000}))[:-9])
    (folder / "table.jsonl").mkdir()
    (folder / "good.txt").write_text("text")
    fields: dict[str, Any] = {"sources": {"web": f"{folder}/*"}, "max_bad_files": limit}
    if stops:
        with pytest.raises(RunError) as error:
            make(tmp_path / "out", **fields)
        assert "3 of 5 files of the source 'web' are bad" in str(error.value)
        assert "is_a_directory: 1, such as table.jsonl: a folder" in str(error.value)
        return
    table = make(tmp_path / "out", **fields)
    assert table.documents.manifest["files"]["web"]["quarantined"] == {
        "empty_file": 1,
        "is_a_directory": 1,
        "truncated": 1,
    }
    assert [(q["file"], q["scope"], q["reason"]) for q in quarantine(table)] == [
        ("cut.jsonl.gz", "file", "truncated"),
        ("empty.jsonl", "file", "empty_file"),
        ("table.jsonl", "file", "is_a_directory"),
    ]
    assert read_part(f"{table.documents.path}/quarantine/listing.parquet").schema.equals(QUARANTINE)


def test_one_bad_file_is_tolerated_but_not_a_source_without_documents(tmp_path: Path) -> None:
    folder = bad_corpus(tmp_path / "in", 10, 0)
    (folder / "empty.jsonl").touch()
    assert make(tmp_path / "out", sources={"s": folder}).rows == 10
    (tmp_path / "none.jsonl").write_bytes(jsonl({"text": ""}))
    with pytest.raises(
        RunError, match=r"the source 'n' has no documents\n    empty_text: 1, such as none.jsonl, line 1"
    ):
        make(tmp_path / "no", sources={"s": folder, "n": tmp_path / "none.jsonl"})
    free = {"max_bad_rows": 1, "max_bad_files": 1}
    assert make(tmp_path / "free", sources={"n": tmp_path / "none.jsonl"}, **free).rows == 0


# -- checks ------------------------------------------------------------------------------------------------------------


def problems(**source: Any) -> list[Problem]:
    return list(Read(name="read", sources={"web": Source(**source)}).check(NOTHING))


def test_problems_are_found_before_data_is_read(tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus/a.jsonl").write_bytes(jsonl({"content": "x", "meta": {"a": 1}}))
    (tmp_path / "corpus/b.md").write_text("x")
    pq.write_table(pa.table({"content": ["a"], "n": [1]}), tmp_path / "t.parquet")
    (tmp_path / "array.json").write_text('[{"text": "a"}]')
    (tmp_path / "void").mkdir()

    def said(**source: Any) -> tuple[tuple[str | int, ...], str, str]:
        (problem,) = problems(**source)
        return problem.where, problem.message, problem.hint

    where, message, hint = said(path=(str(tmp_path / "corpus"), str(tmp_path / "corpsu/*.jsonl")), text="content")
    assert where == ("sources", "web", "path")
    assert "corpsu/*.jsonl' matches nothing" in message
    assert "did you mean 'corpus'?" in hint
    assert said(path=str(tmp_path / "corpus/*.md"))[1:] == (
        "the format of 'b.md' is not known",
        "set `format` to one of jsonl, parquet, text, html, warc, arc",
    )
    assert said(path=str(tmp_path / "void"))[1] == "no file to read"
    where, message, hint = said(path=str(tmp_path / "corpus"), text="contents")
    assert where == ("sources", "web", "text")
    assert (message, hint) == ("a.jsonl: no field 'contents' in its first 1 records", "did you mean 'content'?")
    where, message, hint = said(path=str(tmp_path / "t.parquet"), text="contents")
    assert where == ("sources", "web", "text")
    assert (message, hint) == ("t.parquet: no column 'contents' among content, n", "did you mean 'content'?")
    assert "has type int64" in said(path=str(tmp_path / "t.parquet"), text="n")[1]
    assert said(path=str(tmp_path / "array.json"))[1] == "array.json is one JSON array, not one object per line"
    assert problems(path=str(tmp_path / "corpus"), text="meta.a") == []


def test_fields_are_checked() -> None:
    stanza = {
        "sources": {"a b": {"path": "x"}, "web": {"path": [], "format": "csv", "txt": "body"}},
        "shard_bytes": "8 megs",
        "max_bad_rows": 2,
    }
    with pytest.raises(ConfigError) as error:
        from_mapping({"run": {"root": "r"}, "stages": {"read": stanza}})
    said = str(error.value)
    for part in ("read.sources.web.txt: unknown key 'txt'", "did you mean 'text'?", "'csv' is not one of", "'256MB'"):
        assert part in said, said
    assert "max_bad_rows" in said
    assert "a b" in said


def test_estimate(corpus: Path) -> None:
    stage = Read(
        name="read", sources={"notes": Source(path=str(corpus / "notes")), "web": Source(path=str(corpus / "web"))}
    )
    estimate = stage.estimate()
    assert estimate.shards == 2
    assert estimate.sources["notes"] == sum(len(f"note {i}\n") * 30 for i in range(40))
    large, small, packed = (corpus / "web" / n for n in ("large.jsonl", "small.jsonl.gz", "packed.jsonl.zst"))
    assert estimate.sources["web"] == large.stat().st_size + 3 * small.stat().st_size + 3 * packed.stat().st_size


def test_payload_follows_content_settings_and_order(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(jsonl({"text": "a"}))
    source = Source(path=str(tmp_path / "*.jsonl"))

    def payload(**fields: Any) -> dict[str, Any]:
        return Read(name="read", **{"sources": {"a": source, "b": source}, **fields}).payload(0, {})

    first = payload()
    assert str(tmp_path) not in json.dumps(first)
    assert payload() == first
    assert payload(sources={"b": source, "a": source}) != first
    assert payload(sources={"a": source.model_copy(update={"text": "body"}), "b": source}) != first
    (tmp_path / "b.jsonl").write_bytes(jsonl({"text": "b"}))
    assert payload() != first


def test_real_corpora(shared_data: Path, tmp_path: Path) -> None:
    """Counted against a plain reading with other libraries."""
    chosen = {name: shared_data / f"{name}.jsonl.zst" for name in ("ag_news", "wikipedia_zh", "python_peps")}
    table = make(tmp_path / "out", sources=chosen)
    flow = table.documents.manifest["flow"]
    for name, path in chosen.items():
        with zstandard.open(path, "rt", encoding="utf-8") as file:
            records = [json.loads(line) for line in file.read().split("\n") if line.strip()]
        assert flow[name]["in"] == len(records)
        found = {row["source_id"]: row["text"] for row in documents(table) if row["source"] == name}
        assert len(found) == flow[name]["kept"]
        good = [r for r in records if r["text"].strip()]
        assert len(good) == flow[name]["kept"]
        assert all(found[str(r["id"])] == unicodedata.normalize("NFC", r["text"]) for r in good)
