"""Small corpora and single stages for tests, without a configuration file."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import xxhash

from curate.artifact import Artifact
from curate.engine.base import Engine
from curate.engine.context import Context
from curate.engine.local import LocalEngine
from curate.stage import Stage
from curate.table import DOCUMENT, ParquetWriter, Table, id_checksum


def document_id(source: str, source_id: str) -> bytes:
    return xxhash.xxh3_128_digest(f"{source}\0{source_id}".encode())


def make_table(path: Path, sources: Mapping[str, Sequence[str]], shard_rows: int = 1000) -> Table:
    """A documents artifact with the given texts; source ids are "0", "1", ..."""
    artifact = Artifact("read", str(path), "0" * 32)
    shards, first_row = [], 0
    for unit, (source, texts) in enumerate(sources.items()):
        for part, start in enumerate(range(0, len(texts), shard_rows)):
            chosen = list(texts[start : start + shard_rows])
            numbers = [str(start + i) for i in range(len(chosen))]
            ids = pa.array([document_id(source, n) for n in numbers], pa.binary(16))
            columns = {
                "id": ids,
                "source": pa.array([source] * len(chosen)).dictionary_encode(),
                "source_id": pa.array(numbers, pa.string()),
                "text": pa.array(chosen, pa.large_string()),
                "url": pa.nulls(len(chosen), pa.string()),
                "date": pa.nulls(len(chosen), DOCUMENT.field("date").type),
                "meta": pa.nulls(len(chosen), pa.string()),
            }
            name = f"{unit:05d}-{part:03d}"
            with ParquetWriter(artifact.part(name), DOCUMENT) as writer:
                writer.write(pa.table(columns, schema=DOCUMENT))
            shards.append(
                {
                    "name": name,
                    "rows": len(chosen),
                    "text_bytes": sum(len(text.encode()) for text in chosen),
                    "source": source,
                    "first_row": first_row,
                    "id_checksum": id_checksum(ids),
                }
            )
            first_row += len(chosen)
    artifact.commit({}, {"columns": DOCUMENT.names, "shards": shards})
    return Table(artifact)


def with_column(table: Table, name: str, values: list) -> Table:
    """The table with other values in a column of the documents, shard after shard."""
    field = DOCUMENT.field(name)
    for shard in table.shards:
        rows = table.read(shard, DOCUMENT.names)
        chosen = pa.array(values[shard.first_row : shard.first_row + shard.rows], field.type)
        with ParquetWriter(table.documents.part(shard.name), DOCUMENT) as writer:
            writer.write(rows.set_column(DOCUMENT.get_field_index(name), field, chosen))
    return table


def run_stage(
    stage: Stage,
    table: Table,
    path: Path,
    inputs: Mapping[str, Artifact] | None = None,
    engine: Engine | None = None,
    seed: int = 0,
) -> Artifact:
    """Run one stage on `table` and commit its artifact under `path`."""
    from curate.pipeline import execute

    artifact = Artifact(stage.name or stage.stage, str(path / (stage.name or stage.stage)), "0" * 32)
    execute(stage, Context(artifact, table, engine or LocalEngine(workers=0), dict(inputs or {}), seed), {})
    return artifact
