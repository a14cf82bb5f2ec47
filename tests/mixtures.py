"""Small tables that are ready to be mixed: documents with decisions and sizes, without a tokenizer."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from curate.artifact import Artifact, Shard
from curate.engine.base import Engine
from curate.stages.mix import Mix
from curate.stages.shards import Shards
from curate.table import DOCUMENT, ParquetWriter, Table, read_part
from tests.corpus import make_table, run_stage
from tests.engine.engines import StoppingEngine

SELECT = pa.schema(
    [pa.field("keep", pa.bool_(), nullable=False), pa.field("lang_code", pa.dictionary(pa.int32(), pa.string()))]
)
TOKENS = pa.schema([("tokens", pa.int32()), ("kept_bytes", pa.int64())])
WORDS = ("the", "of", "river", "stone", "light", "paper", "engine", "Wörter", "窗口", "окно")


def texts(count: int, seed: int = 0, longest: int = 60) -> list[str]:
    """Documents of 1 to `longest` words; one word is one token."""
    rng = random.Random(seed)
    return [" ".join(rng.choices(WORDS, k=rng.randint(1, longest))) for _ in range(count)]


def sidecar(
    table: Table, path: Path, name: str, schema: pa.Schema, values: Callable[[pa.Table], Mapping[str, Sequence[Any]]]
) -> Artifact:
    """An artifact beside `table` whose columns are made from the documents of a shard."""
    artifact = Artifact(name, str(path / name), "1" * 32)
    for shard in table.shards:
        columns = values(table.read(shard, DOCUMENT.names))
        with ParquetWriter(artifact.part(shard.name), schema) as writer:
            writer.write(pa.table({f.name: pa.array(columns[f.name], f.type) for f in schema}, schema=schema))
    artifact.commit({}, {"columns": schema.names, "shards": table.documents.manifest["shards"]})
    return artifact


def decided(documents: pa.Table, dropped: int = 10) -> dict[str, list[Any]]:
    """One document in `dropped` is not kept."""
    ids = documents.column("id").to_pylist()
    return {"keep": [i[0] % dropped != 0 for i in ids], "lang_code": ["en" if i[1] % 2 else "de" for i in ids]}


def counted(documents: pa.Table) -> dict[str, list[Any]]:
    """One token per word, and bytes; null where `decided` drops."""
    keep = decided(documents)["keep"]
    found = documents.column("text").to_pylist()
    return {
        "tokens": [len(text.split()) if kept else None for text, kept in zip(found, keep, strict=True)],
        "kept_bytes": [len(text.encode()) if kept else None for text, kept in zip(found, keep, strict=True)],
    }


def ready(path: Path, sources: Mapping[str, Sequence[str]], shard_rows: int = 100) -> Table:
    """Documents with the sidecars that `Mix` needs."""
    return beside(make_table(path / "read", sources, shard_rows), path)


def beside(documents: Table, path: Path) -> Table:
    """`documents` with the sidecars that `Mix` needs; the stage `tokens` keeps a tokenizer that nobody reads."""
    select = sidecar(documents, path, "select", SELECT, decided)
    tokens = sidecar(documents, path, "tokens", TOKENS, counted)
    Path(tokens.path, "tokenizer.json").write_text("{}")
    return Table(documents.documents, (select, tokens))


def reordered(table: Table, path: Path) -> Table:
    """The same documents, with the shards in reverse order and the rows of each in reverse order."""
    artifact = Artifact("read", str(path / "reordered"), "2" * 32)
    shards, first_row = [], 0
    for shard in reversed(table.shards):
        rows = read_part(table.documents.part(shard.name))
        rows = rows.take(list(range(rows.num_rows))[::-1])
        name = f"z{shard.name}"
        with ParquetWriter(artifact.part(name), DOCUMENT) as writer:
            writer.write(rows.combine_chunks())
        shards.append(replace(shard, name=name, first_row=first_row).__dict__)
        first_row += shard.rows
    artifact.commit({}, {"columns": DOCUMENT.names, "shards": shards})
    return beside(Table(artifact), path / "reordered")


def mixed(stage: Mix, table: Table, path: Path, engine: Engine | None = None, seed: int = 0) -> Table:
    """`table` with the mixture's sidecar, the last one."""
    artifact = run_stage(stage, table, path, engine=engine, seed=seed)
    return Table(table.documents, (*table.sidecars, artifact))


def written(stage: Shards, table: Table, path: Path, engine: Engine | None = None, seed: int = 0) -> Artifact:
    """The files of a mixture made by `mixed`."""
    inputs = {"tokens": table.sidecars[1], "mix": table.sidecars[-1]}
    return run_stage(stage, table, path, inputs, engine, seed)


def check_resumes(path: Path, run: Callable[[Path, Engine], Artifact]) -> None:
    """Stopped after any number of tasks, or when all is done but the manifest, a run goes on to the same files."""

    def files(artifact: Artifact) -> dict[str, bytes]:
        found = [file for file in Path(artifact.path).rglob("*") if file.is_file() and "_receipts" not in file.parts]
        return {str(file.relative_to(artifact.path)): file.read_bytes() for file in found}

    whole = StoppingEngine(10**6)
    expected = files(run(path / "whole", whole))
    tasks = 10**6 - whole.left
    assert tasks > 5
    for after in range(tasks):
        folder = path / f"stopped-{after}"
        with pytest.raises(KeyboardInterrupt):
            run(folder, StoppingEngine(after))
        assert files(run(folder, StoppingEngine(tasks))) == expected
    finished = run(path / "whole", StoppingEngine(0))
    Path(finished.path, "_manifest.json").unlink()
    assert files(run(path / "whole", StoppingEngine(0))) == expected


def rows(table: Table, columns: Sequence[str]) -> list[dict[str, Any]]:
    """Rows of all shards, in order."""
    return [row for shard in table.shards for row in table.read(shard, columns).to_pylist()]


def rung_rows(artifact: Artifact, rung: int) -> list[dict[str, Any]]:
    """Rows of a rung in the order of its files."""
    files = artifact.manifest["files"][: artifact.manifest["rungs"][rung]["files"]]
    return [row for file in files for row in read_part(f"{artifact.path}/{file['path']}").to_pylist()]


def validation_rows(artifact: Artifact) -> list[dict[str, Any]]:
    """Held-out rows."""
    files = artifact.manifest["files"][artifact.manifest["rungs"][-1]["files"] :]
    return [row for file in files for row in read_part(f"{artifact.path}/{file['path']}").to_pylist()]


def shard_of(table: Table, source: str) -> Shard:
    """First shard of a source."""
    return next(shard for shard in table.shards if shard.source == source)
