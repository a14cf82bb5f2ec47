"""The fused pass: one reading of the text, one sidecar and one receipt per annotator and shard."""

from pathlib import Path
from typing import ClassVar, Literal

import pyarrow as pa
import pytest

from curate.artifact import Artifact, fingerprint, receipts_folder
from curate.engine.fused import annotate
from curate.engine.local import LocalEngine
from curate.errors import RunError
from curate.stage import DEFINED, Annotate, Annotator
from curate.stages.heuristics import Heuristics
from curate.stages.size import Size
from curate.table import read_part
from tests.corpus import make_table


class Liar(Annotator):
    """Promises a column and gives another."""

    stage: Literal["liar"] = "liar"
    version: ClassVar[int] = 1

    def requires(self) -> tuple[str, ...]:
        return ("text",)

    def columns(self) -> pa.Schema:
        return pa.schema([("truth", pa.int64())])

    def load(self) -> Annotate:
        return lambda text, columns: pa.RecordBatch.from_pydict({"lie": [0] * len(text)})


DEFINED.pop("liar")


def test_sizes_of_every_shard_and_row(tmp_path: Path) -> None:
    texts = ["a", "é", "", "漢字", "x" * 1000]
    table = make_table(tmp_path / "docs", {"s": texts * 3}, shard_rows=4)
    artifact = Artifact("size", str(tmp_path / "size"), "")
    (body,) = annotate([(Size(), artifact)], table, LocalEngine(workers=0))
    columns = pa.concat_tables([read_part(artifact.part(shard.name)) for shard in table.shards])
    assert columns["text_bytes"].to_pylist() == [len(t.encode()) for t in texts] * 3
    assert columns["text_chars"].to_pylist() == [len(t) for t in texts] * 3
    assert body["flow"] == {"s": {"in": 15, "kept": 15, "dropped": {}, "quarantined": {}}}


def test_only_shards_without_a_receipt_run(tmp_path: Path) -> None:
    table = make_table(tmp_path / "docs", {"s": ["a", "b", "c"]}, shard_rows=1)
    artifact = Artifact("size", str(tmp_path / "size"), "")
    annotate([(Size(), artifact)], table, LocalEngine(workers=0))
    first, second, third = (Path(artifact.part(shard.name)) for shard in table.shards)
    Path(receipts_folder(artifact.path), f"{table.shards[1].name}.json").unlink()
    stamps = [path.stat().st_mtime_ns for path in (first, second, third)]
    annotate([(Size(), artifact)], table, LocalEngine(workers=0))
    again = [path.stat().st_mtime_ns for path in (first, second, third)]
    assert [a == b for a, b in zip(stamps, again, strict=True)] == [True, False, True]


def test_a_broken_promise_stops_the_run_and_leaves_no_part(tmp_path: Path) -> None:
    table = make_table(tmp_path / "docs", {"s": ["a"]})
    artifact = Artifact("liar", str(tmp_path / "liar"), "")
    with pytest.raises(RunError, match="promised 1 rows of truth: int64, but returned 1 rows of lie: int64"):
        annotate([(Liar(), artifact)], table, LocalEngine(workers=0))
    assert not list(Path(artifact.path).rglob("*"))


def test_a_list_that_changes_between_two_runs_of_a_process(tmp_path: Path) -> None:
    table = make_table(tmp_path / "docs", {"s": ["red green red blue"]})
    counts = []
    for word in ("red", "blue"):
        (tmp_path / "words.txt").write_text(word)
        stage = Heuristics(bad_words=str(tmp_path / "words.txt"))
        artifact = Artifact("heuristics", str(tmp_path / word), fingerprint(stage.payload(0, {})))
        annotate([(stage, artifact)], table, LocalEngine(workers=0))
        counts += read_part(artifact.part(table.shards[0].name), ["c4_bad_words"]).column(0).to_pylist()
    assert counts == [2, 1]
