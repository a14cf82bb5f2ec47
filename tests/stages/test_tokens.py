"""The stage `tokens`: counts of what is kept, and a tokenizer trained on it alone."""

import random
from pathlib import Path

import pyarrow as pa
import pytest
from tokenizers import Tokenizer

from curate.artifact import Artifact
from curate.stage import Known
from curate.stages.tokens import Tokens
from curate.table import Table
from tests.corpus import make_table, run_stage
from tests.engine.engines import Engines
from tests.mixtures import SELECT, check_resumes, decided, rows, sidecar, texts
from tests.tokenizers import SAMPLE, made

KNOWN = Known(pa.schema([]), {}, {})


@pytest.fixture
def table(tmp_path: Path) -> Table:
    documents = make_table(tmp_path / "read", {"web": texts(300, 1), "books": [*SAMPLE, "", *texts(40, 2, 400)]}, 70)
    return Table(documents.documents, (sidecar(documents, tmp_path, "select", SELECT, decided),))


def with_counts(table: Table, artifact: Artifact) -> Table:
    return Table(table.documents, (*table.sidecars, artifact))


def counted_by(serialized: str, text: str) -> int:
    tokenizer = Tokenizer.from_str(serialized)
    tokenizer.encode_special_tokens = True
    return len(tokenizer.encode(text, add_special_tokens=False))


def test_kept_documents_are_counted_and_others_are_null(table: Table, tmp_path: Path) -> None:
    artifact = run_stage(Tokens(vocab_size=400), table, tmp_path)
    serialized = Path(artifact.path, "tokenizer.json").read_text()
    found = rows(with_counts(table, artifact), ["text", "keep", "tokens", "kept_bytes"])
    assert 0 < sum(not row["keep"] for row in found) < len(found)
    for row in found:
        expected = (counted_by(serialized, row["text"]), len(row["text"].encode())) if row["keep"] else (None, None)
        assert (row["tokens"], row["kept_bytes"]) == expected
    sources = artifact.manifest["sources"]
    assert sum(entry["tokens"] for entry in sources.values()) == sum(row["tokens"] or 0 for row in found)
    assert sum(entry["bytes"] for entry in sources.values()) == sum(row["kept_bytes"] or 0 for row in found)
    assert sum(entry["documents"] for entry in sources.values()) == sum(row["keep"] for row in found)
    assert artifact.manifest["flow"]["web"] == {"in": 300, "kept": 300, "dropped": {}, "quarantined": {}}
    assert artifact.manifest["tokenizer"]["trained"]


def test_given_tokenizer_is_used_and_kept(table: Table, tmp_path: Path) -> None:
    path = tmp_path / "given.json"
    path.write_text(made("gpt2"))
    stage = Tokens(tokenizer=str(path))
    artifact = run_stage(stage, table, tmp_path)
    assert Path(artifact.path, "tokenizer.json").read_text() == made("gpt2")
    for row in rows(with_counts(table, artifact), ["text", "keep", "tokens"]):
        assert row["tokens"] == (counted_by(made("gpt2"), row["text"]) if row["keep"] else None)
    before = stage.payload(0, {})
    path.write_text(made("llama3"))
    assert stage.payload(0, {}) != before
    assert str(path) not in str(before)


def test_files_are_the_same_for_any_number_of_workers(engines: Engines, table: Table, tmp_path: Path) -> None:
    found = []
    for workers in (0, 2):
        artifact = run_stage(Tokens(vocab_size=500), table, tmp_path / str(workers), engine=engines(workers))
        files = [path for path in Path(artifact.path).rglob("*") if path.is_file() and "_receipts" not in path.parts]
        found.append({path.name: path.read_bytes() for path in files})
    assert found[0] == found[1]
    assert set(found[0]) == {"tokenizer.json", "_manifest.json", *(f"part-{s.name}.parquet" for s in table.shards)}


def test_goes_on_where_it_was_stopped(table: Table, tmp_path: Path) -> None:
    check_resumes(tmp_path, lambda path, engine: run_stage(Tokens(vocab_size=300), table, path, engine=engine))


def test_dropped_documents_do_not_train_the_tokenizer(tmp_path: Path) -> None:
    documents = make_table(tmp_path / "read", {"web": ["zqzq zqzq zqzq", "ab ab ab"] * 50})
    keep = {"keep": [i % 2 == 1 for i in range(100)], "lang_code": ["en"] * 100}
    table = Table(documents.documents, (sidecar(documents, tmp_path, "select", SELECT, lambda _: keep),))
    artifact = run_stage(Tokens(vocab_size=300), table, tmp_path)
    vocabulary = Tokenizer.from_file(f"{artifact.path}/tokenizer.json").get_vocab()
    assert "Ġab" in vocabulary
    assert not any("zq" in token for token in vocabulary)


def test_no_kept_documents_leave_a_tokenizer_of_bytes(tmp_path: Path) -> None:
    documents = make_table(tmp_path / "read", {"web": ["gone", "too"]})
    nothing = {"keep": [False, False], "lang_code": [None, None]}
    table = Table(documents.documents, (sidecar(documents, tmp_path, "select", SELECT, lambda _: nothing),))
    artifact = run_stage(Tokens(), table, tmp_path)
    assert artifact.manifest["sources"] == {"web": {"documents": 0, "tokens": 0, "bytes": 0}}
    assert artifact.manifest["tokenizer"]["vocab_size"] == 257


@pytest.mark.parametrize("budget", [60_000, 200_000, 10**9])
def test_sample_is_proportional_to_text(tmp_path: Path, budget: int) -> None:
    """Few long documents and many short ones give their share of the sample, whatever part of the text it is."""
    rng = random.Random(0)
    long = ["".join(rng.choices("abcdef ghij\n", k=100_000)) for _ in range(8)]
    short = ["".join(rng.choices("klmnop qrst\n", k=400)) for _ in range(1_000)]
    documents = make_table(tmp_path / "read", {"long": long, "short": short, "dropped": ["x" * 10_000] * 100})

    def kept(rows: pa.Table) -> dict[str, list]:
        return {"keep": [s != "dropped" for s in rows.column("source").to_pylist()], "lang_code": [None] * len(rows)}

    table = Table(documents.documents, (sidecar(documents, tmp_path, "select", SELECT, kept),))
    seen: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("curate.stages.tokens.WINDOW", 4096)
        patch.setattr("curate.text.tokenizer.train", lambda texts, _: seen.extend(texts) or made("gpt2"))
        run_stage(Tokens(sample_bytes=budget), table, tmp_path)
    by_source = {"long": 0, "short": 0}
    for text in seen:
        by_source["long" if text[0] in "abcdefghij" else "short"] += len(text)
    assert sum(by_source.values()) == pytest.approx(min(budget, 1_200_000), rel=0.3)
    assert by_source["long"] / sum(by_source.values()) == pytest.approx(8 / 12, abs=0.12)


def test_check_names_a_file_that_is_no_tokenizer(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text('{"vocab": {}}')
    (problem,) = Tokens(tokenizer=str(path)).check(KNOWN)
    assert problem.where == ("tokenizer",)
    assert "not a tokenizer.json" in problem.message
    assert list(Tokens(tokenizer=str(tmp_path / "missing.json")).check(KNOWN)) == []  # the pipeline reports this
    assert list(Tokens().check(KNOWN)) == []
