"""Students on real text: what they learn from noisy targets, by each way of showing soft targets to fastText.

usage: python scripts/bench/distill.py ../shared/data [--rows 12000] [--search]

Wikipedia against damaged copies of other pages of it (five kinds of damage). The teacher knows no text: it is the exact
posterior of five votes, each right with probability 0.7 and cast for half of the documents; a document without a vote
has no target. Students see text and targets alone; the hidden classes serve to measure teacher and students, on
documents that no student has seen. Prints a Markdown table, and no text of the corpora.
"""

import argparse
import json
import random
import tempfile
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from classifier import DAMAGE, rows_of, table

from curate import Pipeline
from curate.classifiers.sample import unit
from curate.report.build import build
from curate.stage import Annotate, Annotator
from curate.stats.separation import separation
from curate.text.hashing import hash64, id_bytes

RIGHT, CAST, VOTES = 0.7, 0.5, 5
KEPT = 0.2  # as of the stages: such documents are in no training


class BenchVotes(Annotator):
    """The posterior of votes that are drawn for each document by its id and its hidden class."""

    stage: Literal["bench_votes"] = "bench_votes"
    version: ClassVar[int] = 1

    def requires(self) -> tuple[str, ...]:
        """Id and source, which tells the class."""
        return ("id", "source")

    def columns(self) -> pa.Schema:
        """Null without a vote."""
        return pa.schema([("votes_quality", pa.float32())])

    def load(self) -> Annotate:
        """Draw by hashes."""
        schema = self.columns()

        def annotate(_: Any, columns: pa.RecordBatch) -> pa.RecordBatch:
            ids, good = id_bytes(columns["id"]), np.array([s == "clean" for s in columns["source"].to_pylist()])
            logit, cast = np.zeros(len(ids)), np.zeros(len(ids), int)
            for vote in range(VOTES):
                casts = unit(5, f"cast{vote}", ids) < CAST
                keep = np.where(unit(5, f"right{vote}", ids) < RIGHT, good, ~good)
                logit += np.where(casts, np.where(keep, 1, -1) * np.log(RIGHT / (1 - RIGHT)), 0)
                cast += casts
            value = 1 / (1 + np.exp(-logit))
            return pa.RecordBatch.from_arrays([pa.array(value.astype(np.float32), mask=cast == 0)], schema=schema)

        return annotate


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--rows", type=int, default=12_000, help="of Wikipedia; those of 400 characters and more count")
    parser.add_argument("--search", action="store_true", help="a student with `autotune` as well")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder, rng = Path(name), random.Random(7)
        rows = rows_of(given.data / "wikipedia_en.jsonl.zst", given.rows)
        texts = [row["text"] for row in rows if len(row["text"]) > 400]
        half, damages = len(texts) // 2, list(DAMAGE.values())
        damaged = [damages[i % len(damages)](text, rng) for i, text in enumerate(texts[half:])]
        sources = {}
        for source, chosen in (("clean", texts[:half]), ("damaged", damaged)):
            sources[source] = {"path": str(folder / f"{source}.jsonl")}
            lines = [json.dumps({"id": str(i), "text": text}) for i, text in enumerate(chosen)]
            (folder / f"{source}.jsonl").write_text("\n".join(lines) + "\n")
        run(folder, sources, search=given.search)


def run(folder: Path, sources: dict[str, Any], *, search: bool) -> None:
    classes = {"stage": "train_classifier", "positive": {"sources": ["clean"]}, "negative": {"sources": ["damaged"]}}
    ways: dict[str, dict[str, Any]] = {
        "classes": classes,
        "classes_linear": classes | {"model": "linear"},
        "drawn": {"label": "drawn", "certainty": False},
        "drawn_sure": {"label": "drawn", "certainty": True},
        "likelier": {},
        "likelier_sure": {"certainty": True},
        "linear_drawn": {"model": "linear", "label": "drawn", "certainty": False},
        "linear_drawn_sure": {"model": "linear", "label": "drawn", "certainty": True},
        "linear_likelier": {"model": "linear"},
        "linear_likelier_sure": {"model": "linear", "certainty": True},
    }
    if search:
        ways["searched"] = {"autotune": {}}
    stages: dict[str, Any] = {"read": {"sources": sources}, "bench_votes": {}}
    for way, fields in ways.items():
        stages[way] = {"stage": "distill", "target": "votes_quality", "keep_rate": 0.5} | fields
        if "stage" in fields:
            stages[way] = fields
        stages[f"by_{way}"] = {"stage": "quality", "classifier": way}
    config = {"run": {"root": str(folder / "run"), "seed": 1}, "engine": {"workers": 0}, "stages": stages}
    pipeline = Pipeline.from_mapping(config)
    pipeline.run()
    build(str(folder / "run"))
    facts = {stage["stage"]: stage for stage in json.loads((folder / "run" / "report.json").read_text())["students"]}
    documents = pipeline.nodes["read"].artifact

    def column(node: str, name: str) -> np.ndarray:
        parts = [
            pq.read_table(pipeline.nodes[node].artifact.part(shard.name), columns=[name])
            for shard in documents.shards()
        ]
        return pa.concat_tables(parts).column(name).to_numpy().astype(float)

    good = np.concatenate([np.full(shard.rows, shard.source == "clean") for shard in documents.shards()])
    ids = np.concatenate(
        [id_bytes(pq.read_table(documents.part(s.name), columns=["id"]).column("id")) for s in documents.shards()]
    )
    unseen = hash64(1, "classifier/held_out", ids) / 2.0**64 < KEPT

    def auc(values: np.ndarray) -> str:
        chosen = unseen & ~np.isnan(values)
        found = separation(values[chosen & ~good], values[chosen & good])
        return f"{found.auc:.4f}" if found else "-"

    teacher = column("bench_votes", "votes_quality")
    rows = [["teacher", auc(teacher), *["-"] * 7]]
    for way in ways:
        figures = ["-"] * 6
        if way in facts:
            told = facts[way]["calibrated"]
            measures = ("spearman", "auc", "mean_absolute_error", "log_loss", "least_log_loss")
            figures = [*(f"{told[key]:.4f}" for key in measures), f"{facts[way]['speed'] / 1e6:.0f} MB/s"]
        seconds = next(pipeline.nodes[way].artifact.receipts("train")).seconds
        rows.append([way, auc(column(f"by_{way}", f"by_{way}_score")), *figures, f"{seconds:.1f} s"])
    head = [
        "student",
        "AUC, hidden classes",
        "rank correlation",
        "AUC, teacher's decision",
        "mean distance",
        "log loss",
    ]
    print(f"{len(good):,} documents, {int(unseen.sum()):,} unseen, {int(np.isnan(teacher).sum()):,} without a vote")
    table([*head, "least", "speed", "training"], rows)


if __name__ == "__main__":
    main()
