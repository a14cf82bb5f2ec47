"""A finished run with scores, made up: two files of columns and a run.json, no pipeline."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from curate.artifact import Artifact
from curate.table import ParquetWriter, Table
from tests.corpus import make_table, with_column


def made_up_run(
    root: Path,
    scores: Mapping[str, Sequence[float | None]],
    shard_rows: int = 1000,
    *,
    urls: bool = False,
    texts: Mapping[str, Sequence[str]] | None = None,
) -> Table:
    """A run of `read` and `weak` in `root`, with the given scores of the documents of each source."""
    sources = texts or {source: [f"{source} {i}" for i in range(len(given))] for source, given in scores.items()}
    table = make_table(root / "read", sources, shard_rows)
    if urls:
        with_column(table, "url", [f"https://example.org/{i}?<b>" for i in range(table.rows)])
    weak = Artifact("weak", str(root / "weak"), "1" * 32)
    schema = pa.schema([("weak_quality", pa.float32()), ("weak_lang", pa.string())])
    flat = [score for given in scores.values() for score in given]
    for shard in table.shards:
        rows = flat[shard.first_row : shard.first_row + shard.rows]
        columns = {"weak_quality": rows, "weak_lang": [["en", "de", None][i % 3] for i in range(len(rows))]}
        with ParquetWriter(weak.part(shard.name), schema) as writer:
            writer.write(pa.table(columns, schema=schema))
    weak.commit({}, {"columns": schema.names, "shards": table.documents.manifest["shards"]})
    stages = [
        {"name": name, "stage": name, "table": reads, "path": name, "fingerprint": digit * 32}
        for name, reads, digit in (("read", None, "0"), ("weak", "read", "1"))
    ]
    (root / "run.json").write_text(json.dumps({"stages": stages}))
    return Table(table.documents, (weak,))
