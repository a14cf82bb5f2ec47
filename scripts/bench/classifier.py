"""The fastText classifier on real text: how well it tells corpora apart, and MB of text per second of processor time.

usage: python scripts/bench/classifier.py ../shared/data [--only auc corrupted tuned speed] [--peer PYTHON]

`auc` trains on Wikipedia against forum posts and scores documents of both that it has not seen, with DSIR's weights
beside. `corrupted` trains on Wikipedia against damaged copies and scores other documents and their copies. `tuned`
trains with the settings of the stage and with those that `autotune` finds, on samples of both tasks. `speed` times the
stage beside a bare loop of the library, and names what the time goes to; with `--peer`, a Python that has datatrove,
also datatrove's filter on the same model and texts. Prints Markdown tables, and no text of the corpora.
"""

import argparse
import io
import json
import random
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard
from support.damage import DAMAGE

from curate import Pipeline
from curate.classifiers.classifier import Classifier, Reading
from curate.classifiers.linear import scores
from curate.classifiers.lines import line_of_words
from curate.classifiers.manifest import ClassifierBody
from curate.io import pretrained
from curate.report.build import build
from curate.stats.separation import separation
from curate.text.batch import TextBatch

BATCH = 1024
PEER = """
import json, sys, time
from datatrove.data import Document
from datatrove.pipeline.filters.fasttext_filter import FastTextClassifierFilter
texts = json.load(open(sys.argv[1]))
scorer = FastTextClassifierFilter(sys.argv[2], keep_labels=[("positive", 0.5)], newline_replacement=" ")
scorer.model
documents = [Document(text=text, id="") for text in texts]
start = time.process_time()
for document in documents:
    scorer.filter(document)
print(time.process_time() - start)
"""


def rows_of(path: Path, limit: int = 10**9) -> Iterator[dict]:
    with open(path, "rb") as file:
        for position, line in enumerate(io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(file), "utf-8")):
            if position == limit:
                return
            yield json.loads(line)


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    print(f"\n| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for row in rows:
        print(f"| {' | '.join(map(str, row))} |")


# -- how well ----------------------------------------------------------------------------------------------------------


def run(folder: Path, sources: dict[str, Path], stages: dict[str, Any]) -> tuple[Pipeline, dict[str, dict]]:
    """Run a pipeline; columns of the quality stage and of DSIR by source."""
    read = {"read": {"sources": {name: {"path": str(path)} for name, path in sources.items()}}}
    config = {"run": {"root": str(folder / "run"), "seed": 1}, "engine": {"workers": 2}, "stages": read | stages}
    pipeline = Pipeline.from_mapping(config)
    pipeline.run()
    build(str(folder / "run"))
    columns: dict[str, dict] = {name: {} for name in sources}
    documents = pipeline.nodes["read"].artifact
    for node in pipeline.nodes.values():
        if node.stage.stage in ("quality", "dsir"):
            for shard in documents.shards():
                part = pq.read_table(node.artifact.part(shard.name))
                for name in part.column_names:
                    columns[shard.source].setdefault(name, []).extend(part.column(name).to_pylist())
    return pipeline, columns


def apart(good: Sequence[float | None], bad: Sequence[float | None]) -> str:
    values = [np.array([value for value in side if value is not None]) for side in (bad, good)]
    found = separation(*values)
    return f"{found.auc:.4f}" if found else "-"


def auc(data: Path) -> None:
    with tempfile.TemporaryDirectory() as name:
        sources = {"wiki": data / "wikipedia_en.jsonl.zst", "forum": data / "reddit_selfposts.jsonl.zst"}
        classes = {"positive": {"sources": ["wiki"]}, "negative": {"sources": ["forum"]}}
        stages = {
            "train_classifier": classes,
            "first": {"stage": "train_classifier", **classes, "max_chars": 1024},
            "small": {"stage": "train_classifier", **classes, "quantize": True},
            "isotonic": {"stage": "train_classifier", **classes, "calibration": "isotonic"},
            "dsir": {"target": {"sources": ["wiki"]}, "raw": {"sources": ["forum"]}},
        }
        pipeline, columns = run(Path(name), sources, stages)
        rows = []
        for stage, what in zip(list(stages)[:4], ("defaults", "max_chars: 1024", "quantized", "isotonic"), strict=True):
            artifact = pipeline.nodes[stage].artifact
            told = artifact.body(ClassifierBody)["classifier"]
            assert "calibrated" in told
            file = next(Path(artifact.path).glob("model.*"))
            raw, mended = told["raw"], told["calibrated"]
            rows.append(
                [
                    what,
                    raw["documents"],
                    f"{raw['auc']:.5f}",
                    f"{raw['precision']:.4f}",
                    f"{raw['recall']:.4f}",
                    f"{raw['log_loss']:.4f}",
                    f"{mended['log_loss']:.4f}",
                    f"{raw['calibration_error']:.4f}",
                    f"{mended['calibration_error']:.4f}",
                    f"{file.stat().st_size / 1e6:.1f} MB",
                    f"{next(artifact.receipts('train')).seconds:.0f} s",
                ]
            )
        head = [
            "model",
            "unseen documents",
            "AUC",
            "precision",
            "recall",
            "log loss",
            "calibrated",
            "error",
            "calibrated",
        ]
        table([*head, "size", "training"], rows)
        bins = pipeline.nodes["train_classifier"].artifact.body(ClassifierBody)["classifier"]
        assert "calibrated" in bins
        table(
            ["from", "documents, raw", "mean score", "positive", "documents, calibrated", "mean score", "positive"],
            [
                [
                    a["from"],
                    *[f"{x:.3g}" for b in (a, c) for x in (b["documents"], b["mean"], b["positive"])],
                ]
                for a, c in zip(bins["raw"]["reliability"], bins["calibrated"]["reliability"], strict=True)
            ],
        )
        weights = [
            [kind, apart(columns["wiki"][f"dsir_{kind}"], columns["forum"][f"dsir_{kind}"])]
            for kind in ("log_weight", "log_weight_per_token")
        ]
        table(["DSIR", "AUC (documents counted in the weights)"], weights)


def corrupted(data: Path) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder, rng = Path(name), random.Random(7)
        sources: dict[str, Path] = {}

        def write(source: str, texts: Sequence[str]) -> None:
            sources[source] = folder / f"{source}.jsonl"
            rows = [json.dumps({"id": f"{source}{i}", "text": text}) for i, text in enumerate(texts)]
            sources[source].write_text("\n".join(rows) + "\n")

        texts = [row["text"] for row in rows_of(data / "wikipedia_en.jsonl.zst", 12_000) if len(row["text"]) > 400]
        half = len(texts) // 2
        write("clean", texts[:half])
        write("unseen", texts[half:])
        for place, damage in enumerate(DAMAGE.values()):
            write(f"bad{place}", [damage(text, rng) for text in texts[:half]])
            write(f"unseen{place}", [damage(text, rng) for text in texts[half:]])
        stages: dict[str, Any] = {}
        every = [f"bad{place}" for place in range(len(DAMAGE))]
        for label, bad in (("all", every), *((kind, [f"bad{place}"]) for place, kind in enumerate(DAMAGE))):
            key = label.replace(" ", "_").replace("-", "_").lower()
            stages[f"train_{key}"] = {
                "stage": "train_classifier",
                "positive": {"sources": ["clean"]},
                "negative": {"sources": bad},
                "min_count": 1,
                "epoch": 10,
            }
            stages[key] = {"stage": "quality", "classifier": f"train_{key}"}
        _, columns = run(folder, sources, stages)
        rows = []
        for place, kind in enumerate(DAMAGE):
            key = kind.replace(" ", "_").replace("-", "_").lower()
            found = [apart(columns["unseen"][f"{k}_raw"], columns[f"unseen{place}"][f"{k}_raw"]) for k in ("all", key)]
            rows.append([kind, len(columns["unseen"]["all_raw"]), *found])
        table(["damage", "unseen documents", "AUC, trained on all kinds", "AUC, trained on this kind"], rows)


def tuned(data: Path, trials: int) -> None:
    """10,000 documents of Wikipedia and of the forum; pages of Wikipedia and damaged copies of other pages."""
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder, rng = Path(name), random.Random(7)
        corpora = {"wiki": data / "wikipedia_en.jsonl.zst", "forum": data / "reddit_selfposts.jsonl.zst"}
        texts = [row["text"] for row in rows_of(corpora["wiki"], 12_000) if len(row["text"]) > 400]
        half, damages = len(texts) // 2, list(DAMAGE.values())
        damaged = [damages[i % len(damages)](text, rng) for i, text in enumerate(texts[half:])]
        pages: dict[str, Path] = {}
        for source, chosen in (("clean", texts[:half]), ("damaged", damaged)):
            pages[source] = folder / f"{source}.jsonl"
            pages[source].write_text(
                "\n".join(json.dumps({"id": i, "text": text}) for i, text in enumerate(chosen)) + "\n"
            )
        for sources in (corpora, pages):
            good, bad = sources
            given = {"stage": "train_classifier", "max_documents": 10_000}
            given |= {"positive": {"sources": [good]}, "negative": {"sources": [bad]}}
            stages = {"given": given, "tuned": {**given, "autotune": {"trials": trials}}}
            pipeline, _ = run(folder / good, sources, stages)
            for stage in stages:
                artifact = pipeline.nodes[stage].artifact
                told = artifact.body(ClassifierBody)["classifier"]
                assert "calibrated" in told
                search = sum(receipt.seconds for place in range(3) for receipt in artifact.receipts(f"tune-{place}"))
                work = told.get("tuning", {}).get("predicted_trainings", {"search": 0, "final": 1})
                documents = [sum(told["documents"][part].values()) for part in ("train", "test")]
                figures = [told["raw"]["auc"], told["raw"]["log_loss"], told["calibrated"]["log_loss"]]
                rows.append(
                    [
                        f"{good}, {bad}",
                        stage,
                        *documents,
                        *(f"{figure:.4f}" for figure in figures),
                        " ".join(f"{key} {value:g}" for key, value in told["parameters"].items()),
                        f"{work['search']:.1f} + {work['final']:.1f}",
                        f"{search:.0f} + {next(artifact.receipts('train')).seconds:.0f} s",
                    ]
                )
    head = ["task", "settings", "trained on", "unseen", "AUC", "log loss", "calibrated", "settings of training"]
    table([*head, "predicted trainings, search + final", "seconds of tasks"], rows)


# -- how fast ----------------------------------------------------------------------------------------------------------


def seconds(work: Callable[[], object]) -> float:
    best = np.inf
    for _ in range(3):
        start = time.process_time()
        work()
        best = min(best, time.process_time() - start)
    return best


def speed(data: Path, peer: str | None) -> None:
    with tempfile.TemporaryDirectory() as name:
        sources = {"wiki": data / "wikipedia_en.jsonl.zst", "forum": data / "reddit_selfposts.jsonl.zst"}
        classes = {"positive": {"sources": ["wiki"]}, "negative": {"sources": ["forum"]}}
        pipeline, _ = run(Path(name), sources, {"train_classifier": classes | {"max_documents": 5000}})
        path = f"{pipeline.nodes['train_classifier'].artifact.path}/model.bin"
        texts = [row["text"] for row in rows_of(sources["wiki"], 8000)]
        size = sum(len(text.encode()) for text in texts) / 1e6
        batches = [TextBatch(pa.array(texts[at : at + BATCH], pa.large_string())) for at in range(0, len(texts), BATCH)]
        model = Classifier(path, Reading())
        library = pretrained.load_fasttext(path)
        model.probabilities(batches[0].data, batches[0].offsets, ["positive"])
        normalized = [line_of_words(batch.data, batch.offsets) for batch in batches]
        lines = [
            pa.LargeStringArray.from_buffers(len(at) - 1, pa.py_buffer(at), pa.py_buffer(line)).to_pylist()
            for line, at in normalized
        ]
        plain = [text.replace("\n", " ") for text in texts]
        cut = Classifier(path, Reading(max_chars=1024))
        kernel = model._linear
        assert kernel is not None

        def stage(asked: Classifier) -> Callable[[], object]:
            return lambda: [asked.probabilities(b.data, b.offsets, ["positive"]) for b in batches]

        work: dict[str, Callable[[], object]] = {
            "stage `quality`": stage(model),
            "stage, `max_chars: 1024`": stage(cut),
            "of the stage: normalization": lambda: [line_of_words(batch.data, batch.offsets) for batch in batches],
            "of the stage: scores of the normalized lines": lambda: [scores(kernel, *part) for part in normalized],
            "the library on the normalized lines, a call per batch": lambda: [
                library.predict(part, k=2) for part in lines
            ],
            "the library, a call per normalized line": lambda: [
                library.predict(line, k=2) for part in lines for line in part
            ],
            "the library, a call per document as it is": lambda: [library.predict(line, k=2) for line in plain],
        }
        found = {what: seconds(call) for what, call in work.items()}
        if peer:
            Path(name, "texts.json").write_text(json.dumps(texts))
            command = [peer, "-c", PEER, f"{name}/texts.json", path]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            found["datatrove's fastText filter"] = float(done.stdout.split()[-1])
        table(["what", "MB/s of a core"], [[what, f"{size / taken:.1f}"] for what, taken in found.items()])
        print(f"\n{len(texts):,} documents, {size:.1f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument(
        "--only",
        nargs="+",
        choices=("auc", "corrupted", "tuned", "speed"),
        default=("auc", "corrupted", "tuned", "speed"),
    )
    parser.add_argument("--trials", type=int, default=20, help="of `tuned`")
    parser.add_argument("--peer")
    given = parser.parse_args()
    if "auc" in given.only:
        auc(given.data)
    if "corrupted" in given.only:
        corrupted(given.data)
    if "tuned" in given.only:
        tuned(given.data, given.trials)
    if "speed" in given.only:
        speed(given.data, given.peer)


if __name__ == "__main__":
    main()
