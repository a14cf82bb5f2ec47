"""Train a fastText classifier of good against other documents, and calibrate it on documents that it has not seen."""

import tempfile
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import Field

from curate import storage
from curate.artifact import Shard, Totals, file_hash
from curate.errors import Problem, RunError
from curate.models.groups import Group
from curate.stage import Known, Stage
from curate.table import ParquetWriter, Table, read_part

if TYPE_CHECKING:
    from curate.engine.context import Context

SAMPLE = "_sample"
SAMPLED = pa.schema(
    [("priority", pa.uint64()), ("part", pa.int8()), ("positive", pa.bool_()), ("line", pa.large_string())]
)
TRAIN, CALIBRATE, TEST = range(3)
LEAST = 2  # documents of each class that each part needs


class TrainClassifier(Stage):
    """Learn to tell documents of one group from those of another; `quality` scores with what comes out.

    Keeps ``model.bin`` (or ``model.ftz``) and ``classifier.json``: how text is shown to the model, and its calibration.
    The manifest says how good both are on documents that neither has seen. A document of both groups is left out.

    Examples
    --------
    >>> stage = TrainClassifier(positive=Group(sources=("wiki",)), negative=Group(where="stars < 3"))
    >>> stage.requires()
    ('id', 'text', 'stars')
    """

    stage: Literal["train_classifier"] = "train_classifier"
    version: ClassVar[int] = 1
    seeded: ClassVar[bool] = True

    positive: Group = Field(description="documents that the classifier is to call positive")
    negative: Group = Field(description="documents that it is to tell them from")
    max_documents: int = Field(default=100_000, ge=10, description="documents of each class, drawn by a hash of the id")
    held_out: float = Field(
        default=0.2, gt=0, lt=1, description="share kept back: half calibrates the model, half measures both"
    )
    calibration: Literal["isotonic", "platt"] | None = Field(
        default="platt", description="curve from scores to probabilities; null: the model's own probabilities"
    )
    max_chars: int | None = Field(
        default=None, ge=32, description="characters of a document that are looked at; all unless given"
    )
    windows: int = Field(default=8, ge=1, le=32, description="places that these are taken from, spread evenly")
    word_ngrams: int = Field(default=2, ge=1, le=6, description="longest word n-grams that are features")
    dim: int = Field(default=32, ge=1, le=1024, description="dimensions of the vector of a feature")
    lr: float = Field(default=0.1, gt=0, le=5, description="learning rate at the start")
    epoch: int = Field(default=5, ge=1, le=1000, description="passes over the documents")
    bucket: int = Field(default=200_000, ge=1, le=100_000_000, description="hash buckets of word n-grams")
    min_count: int = Field(default=2, ge=1, description="rarer words are no features of their own")
    quantize: bool = Field(default=False, description="compress the model by product quantization (model.ftz)")

    @property
    def file(self) -> str:
        """Name of the model file."""
        return "model.ftz" if self.quantize else "model.bin"

    def packages(self) -> tuple[str, ...]:
        """The library that trains and predicts."""
        return ("fasttext-numpy2",)

    def requires(self) -> tuple[str, ...]:
        """The text, and what the rules name."""
        return tuple(dict.fromkeys(["id", "text", *self.positive.columns(), *self.negative.columns()]))

    def place(self, column: str) -> tuple[str | int, ...]:
        """The rule that names the column."""
        return ("positive" if column in self.positive.columns() else "negative", "where")

    def check(self, known: Known) -> Iterable[Problem]:
        """Sources and rules are there; the groups differ; the library is installed; memory of the model is sane."""
        for field, group in (("positive", self.positive), ("negative", self.negative)):
            yield from group.problems(field, known.sources, known.columns)
        if self.positive == self.negative:
            yield Problem(("negative",), "is the same group as `positive`")
        if self.quantize and self.dim % 2:
            yield Problem(("dim",), "must be even for a quantized model")
        try:
            import fasttext  # noqa: F401
        except ImportError:
            yield Problem((), "fastText is not installed", "pip install 'curate[langid]'")

    def run(self, ctx: "Context") -> dict[str, Any]:
        """Count the classes, draw a sample, train on it in one task."""
        folder, shards = f"{ctx.path}/{SAMPLE}", ctx.table.shards
        counted = ctx.map_shards(partial(_count_shard, self, ctx.table), phase="count")
        total = Totals({"positive": 0, "negative": 0, "both": 0})
        for counts in counted:
            total.add(counts)
        for kind in ("positive", "negative"):
            if not total.counts[kind]:
                raise RunError(f"{self.name or self.stage}: no document is {kind}")
        # Six standard deviations over what is wanted, so that the cut to the exact number has enough to cut.
        wanted = self.max_documents + 6 * self.max_documents**0.5
        rates = [min(1.0, wanted / total.counts[kind]) for kind in ("negative", "positive")]
        ctx.map_shards(partial(_sample_shard, self, ctx.table, folder, ctx.seed, rates), phase="sample")
        parts = [f"{folder}/{shard.name}.parquet" for shard in shards]
        (made,) = ctx.map(partial(_train, self, ctx.path), [parts], phase="train", keys=["train"])
        storage.remove_tree(folder)
        flow: dict[str, Any] = {}
        for shard in shards:
            entry = flow.setdefault(shard.source, {"in": 0, "kept": 0, "dropped": {}, "quarantined": {}})
            entry["in"], entry["kept"] = entry["in"] + shard.rows, entry["kept"] + shard.rows
        return {"flow": flow, "classes": total.counts, "classifier": made}


def _groups(stage: TrainClassifier, source: str, columns: pa.Table) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    return stage.positive.mask(source, columns), stage.negative.mask(source, columns)


def _count_shard(stage: TrainClassifier, table: Table, shard: Shard) -> dict[str, Any]:
    names = [name for name in stage.requires() if name != "text"]
    positive, negative = _groups(stage, shard.source, table.read(shard, names))
    both = positive & negative
    return {
        "positive": int((positive & ~both).sum()),
        "negative": int((negative & ~both).sum()),
        "both": int(both.sum()),
    }


def _sample_shard(
    stage: TrainClassifier, table: Table, folder: str, seed: int, rates: Sequence[float], shard: Shard
) -> dict[str, Any]:
    """Write the normalized lines of the documents whose hash is below the rate of their class."""
    from curate.models.budget import id_bytes
    from curate.models.classifier import Reading
    from curate.text.batch import TextBatch
    from curate.text.hashing import hash64

    reading = Reading(max_chars=stage.max_chars, windows=stage.windows)
    with ParquetWriter(f"{folder}/{shard.name}.parquet", SAMPLED) as writer:
        for batch in table.batches(shard, list(stage.requires())):
            positive, negative = _groups(stage, shard.source, pa.table(batch))
            ids = id_bytes(batch.column("id"))
            priority = hash64(seed, "classifier", ids)
            rate = np.where(positive, rates[1], rates[0])
            chosen = np.flatnonzero((positive != negative) & (priority / 2.0**64 <= rate))
            text = TextBatch(batch.column("text").take(pa.array(chosen)))
            lines, offsets = reading.lines(text.data, text.offsets)
            line = pa.LargeStringArray.from_buffers(len(chosen), pa.py_buffer(offsets), pa.py_buffer(lines))
            share = hash64(seed, "classifier/held_out", ids)[chosen] / 2.0**64
            part = np.where(share >= stage.held_out, TRAIN, np.where(share >= stage.held_out / 2, CALIBRATE, TEST))
            columns = [priority[chosen], part.astype(np.int8), positive[chosen], line]
            writer.write(pa.table([pa.array(column) for column in columns], schema=SAMPLED))
    return {"documents": writer.rows}


def _train(stage: TrainClassifier, path: str, parts: Sequence[str]) -> dict[str, Any]:
    """Train on the drawn documents, calibrate and measure on those held out, write model and settings."""
    from curate.models import classifier

    sample = pa.concat_tables([SAMPLED.empty_table(), *(read_part(part) for part in parts)])
    sample = sample.filter(pc.field("line") != "")
    sample = _exact(sample, stage.max_documents)
    counts = _part_counts(stage, sample)
    parameters = {
        **{field: getattr(stage, field) for field in ("dim", "lr", "epoch", "bucket")},
        "wordNgrams": stage.word_ngrams,
        "minCount": stage.min_count,
    }
    with tempfile.TemporaryDirectory() as folder:
        lines, model = Path(folder, "lines.txt"), Path(folder, stage.file)
        _write_lines(lines, sample.filter(pc.field("part") == TRAIN))
        classifier.train(lines, model, parameters, quantize=stage.quantize)
        found = _judge(stage, str(model), sample)
        with storage.replacing(f"{path}/{stage.file}") as file:
            file.write(model.read_bytes())
    settings = {
        "model": stage.file,
        "reading": {"normalize": True, "max_chars": stage.max_chars, "windows": stage.windows},
        "label": classifier.POSITIVE,
        "calibration": found["calibration"],
    }
    storage.write_json(f"{path}/{classifier.SETTINGS}", settings)
    return {
        "documents": counts,
        "parameters": parameters,
        "sha256": file_hash(f"{path}/{stage.file}"),
        **found,
    }


def _exact(sample: pa.Table, most: int) -> pa.Table:
    """At most so many documents of each class, those of the lowest hash, in the order of the hash."""
    sample = sample.take(np.argsort(sample.column("priority").to_numpy(), kind="stable"))
    positive = sample.column("positive").to_numpy()
    rank = np.where(positive, np.cumsum(positive), np.cumsum(~positive))
    return sample.filter(pa.array(rank <= most))


def _part_counts(stage: TrainClassifier, sample: pa.Table) -> dict[str, dict[str, int]]:
    """Documents of each part by class; too few of any is an error."""
    part, positive = sample.column("part").to_numpy(), sample.column("positive").to_numpy()
    counts = {
        name: {kind: int(((part == number) & (positive == sign)).sum()) for kind, sign in _SIGNS}
        for name, number in (("train", TRAIN), ("calibrate", CALIBRATE), ("test", TEST))
    }
    for name, found in counts.items():
        for kind, number in found.items():
            if number < LEAST:
                raise RunError(
                    f"{stage.name or stage.stage}: only {number} {kind} documents to {name} with, at least {LEAST} are "
                    "needed; widen the groups, or change `held_out`"
                )
    return counts


_SIGNS = (("positive", True), ("negative", False))


def _write_lines(path: Path, sample: pa.Table) -> None:
    from curate.models.classifier import LABEL, NEGATIVE, POSITIVE

    with open(path, "wb") as file:
        for batch in sample.to_batches(max_chunksize=1024):
            labels = pa.array([f"{LABEL}{NEGATIVE} ", f"{LABEL}{POSITIVE} "], pa.large_string())
            label = labels.take(batch.column("positive").cast(pa.int8()))
            end, nothing = (pa.scalar(text, pa.large_string()) for text in ("\n", ""))
            lines = pc.call_function("binary_join_element_wise", [label, batch.column("line"), end, nothing])
            file.write("".join(lines.to_pylist()).encode())


def _judge(stage: TrainClassifier, model: str, sample: pa.Table) -> dict[str, Any]:
    """The calibration, and how good the model is with it and without."""
    from curate.models import calibration
    from curate.models.classifier import POSITIVE, Classifier, Reading
    from curate.text.batch import TextBatch

    held = sample.filter(pc.field("part") != TRAIN)
    text = TextBatch(held.column("line").combine_chunks())
    # The lines are normalized already.
    asked = Classifier(model, Reading(normalize=False))
    scores = asked.probabilities(text.data, text.offsets, [POSITIVE])[:, 0]
    scores = np.nan_to_num(scores, nan=0.5).astype(np.float32).astype(np.float64)
    positive, test = held.column("positive").to_numpy(), held.column("part").to_numpy() == TEST
    found: dict[str, Any] = {"raw": calibration.measures(scores[test], positive[test]), "calibration": None}
    if stage.calibration:
        found["calibration"] = calibration.fit(stage.calibration, scores[~test], positive[~test])
        calibrated = calibration.apply(found["calibration"], scores[test])
        found["calibrated"] = calibration.measures(calibrated, positive[test])
    return found
