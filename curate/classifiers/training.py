"""Training a classifier in a stage: its settings, choosing them, fitting, calibrating, measuring."""

import tempfile
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from curate import storage
from curate.artifact import file_hash
from curate.classifiers.autotune import Autotune
from curate.errors import Problem

if TYPE_CHECKING:
    from curate.classifiers.classifier import Reading
    from curate.engine.context import Context

RATES = {"fasttext": 0.5, "linear": 0.03}  # learning rates
SAMPLE = "_sample"
GATHERED = "_gathered.parquet"
SETTINGS = "classifier.json"  # how the model is served: what it is shown, and its calibration

Measure = Callable[[NDArray[np.float64], NDArray[np.float64]], dict[str, Any]]
"""Scores and targets of documents in, what they say about the model out."""


class Training(BaseModel):
    """Fields of a stage that trains a classifier, which `quality` then serves.

    Examples
    --------
    >>> Training(quantize=True).file
    'model.ftz'
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: Literal["fasttext", "linear"] = Field(
        default="fasttext",
        description="fastText's, or a logistic regression on the same words and n-grams, which needs no library and "
        "takes soft targets as they are",
    )
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
    lr: float | None = Field(
        default=None, gt=0, le=5, description="learning rate at the start; 0.5 unless given, for a linear model 0.03"
    )
    epoch: int = Field(default=5, ge=1, le=1000, description="passes over the documents")
    bucket: int = Field(default=200_000, ge=1, le=100_000_000, description="hash buckets of word n-grams")
    min_count: int = Field(default=2, ge=1, description="rarer words are no features of their own")
    quantize: bool = Field(default=False, description="compress the model by product quantization (model.ftz)")
    autotune: Autotune | None = Field(
        default=None, description="search for better settings of training, over a number of trials; off unless given"
    )

    @property
    def file(self) -> str:
        """Name of the model file."""
        if self.model == "linear":
            return "model.npz"
        return "model.ftz" if self.quantize else "model.bin"

    @property
    def reading(self) -> "Reading":
        """What of a document the model is shown."""
        from curate.classifiers.classifier import Reading

        return Reading(max_chars=self.max_chars, windows=self.windows)

    def settings(self) -> dict[str, float | int]:
        """The settings that `autotune` may search."""
        found = {name: getattr(self, name) for name in ("dim", "lr", "epoch", "word_ngrams", "bucket", "min_count")}
        return found if self.lr else found | {"lr": RATES[self.model]}

    def problems(self) -> Iterable[Problem]:
        """What does not fit together."""
        if self.model == "linear":
            for field in ("quantize", "autotune"):
                if getattr(self, field):
                    yield Problem((field,), "is for fastText's models: this one is `linear`")
            return
        if self.quantize and self.dim % 2:
            yield Problem(("dim",), "must be even for a quantized model")


def train(
    ctx: "Context", training: Training, sample: Callable[..., Any], measure: Measure, *, each_class: bool = True
) -> dict[str, Any]:
    """Draw, choose settings if the stage says so, train, calibrate and measure; model and settings lie in ``ctx.path``.

    Parameters
    ----------
    ctx, training
        Of the stage.
    sample
        Writes the sample of a shard, called with a folder and the shard; see `curate.classifiers.sample`.
    measure
        How good scores are, on documents that neither the model nor its calibration has seen.
    each_class
        Whether `max_documents` is of each class, or of both together.

    Returns
    -------
    dict
        For the manifest: documents of each part, parameters, hash of the model, calibration, and what `measure` says
        of the scores as they are (``raw``) and ``calibrated``; with autotune, ``tuning``.
    """
    from curate.classifiers import autotune
    from curate.classifiers.sample import gather

    folder = f"{ctx.path}/{SAMPLE}"
    gathered, name = f"{folder}/{GATHERED}", ctx.artifact.name
    ctx.map_shards(partial(sample, folder), phase="sample")
    parts = [f"{folder}/{shard.name}.parquet" for shard in ctx.table.shards]
    task = partial(gather, name, gathered, training.max_documents, each_class=each_class)
    (counts,) = ctx.map(task, [parts], phase="gather", keys=["gather"])
    settings, tuning = training.settings(), None
    if training.autotune:
        total, calibrated = sum(counts["train"].values()), training.calibration is not None
        tuning = autotune.search(ctx, training.autotune, settings, gathered, total, calibrated=calibrated)
        settings = tuning["parameters"]
    (made,) = ctx.map(partial(_fit, training, ctx.path, gathered, measure), [settings], phase="train", keys=["train"])
    ctx.map(partial(_speed, training, ctx.path), [gathered], phase="speed", keys=["speed"])
    storage.remove_tree(folder)
    return {"documents": counts, **made, **({"tuning": tuning} if tuning else {})}


def _fit(
    training: Training, path: str, gathered: str, measure: Measure, settings: dict[str, float | int]
) -> dict[str, Any]:
    from curate.classifiers import fasttext
    from curate.classifiers.autotune import fasttext_names
    from curate.classifiers.classifier import POSITIVE
    from curate.classifiers.sample import TRAIN, write_lines
    from curate.table import read_part

    sample = read_part(gathered)
    fitted = sample.filter((pc.field("part") == TRAIN) & pc.field("taken"))
    parameters = _linear_settings(settings) if training.model == "linear" else fasttext_names(settings)
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder, training.file)
        if training.model == "linear":
            _fit_linear(fitted, parameters, str(model))
        else:
            lines = Path(folder, "lines.txt")
            write_lines(lines, fitted)
            fasttext.train(lines, model, parameters, quantize=training.quantize)
        found = _judge(training, str(model), sample.filter(pc.field("part") != TRAIN), measure)
        with storage.replacing(f"{path}/{training.file}") as file:
            file.write(model.read_bytes())
    served = {
        "model": training.file,
        "reading": {"normalize": True, "max_chars": training.max_chars, "windows": training.windows},
        "label": POSITIVE,
        "calibration": found["calibration"],
    }
    storage.write_json(f"{path}/{SETTINGS}", served)
    return {"parameters": parameters, "sha256": file_hash(f"{path}/{training.file}"), **found}


def _linear_settings(settings: dict[str, float | int]) -> dict[str, float | int]:
    return {name: value for name, value in settings.items() if name != "dim"}


def _fit_linear(fitted: pa.Table, settings: dict[str, float | int], path: str) -> None:
    from curate.classifiers import logistic

    goal, weight = (fitted.column(name).to_numpy() for name in ("goal", "weight"))
    how = logistic.LogisticSettings(**settings)  # type: ignore[arg-type]
    logistic.save(logistic.train(fitted.column("line").combine_chunks(), goal, weight, how), path)


def _judge(training: Training, model: str, held: pa.Table, measure: Measure) -> dict[str, Any]:
    """The calibration, and how good the model is with it and without."""
    from curate.classifiers import sample
    from curate.stats import calibration

    scores, target = sample.scores(model, held), held.column("target").to_numpy()
    test = held.column("part").to_numpy() == sample.TEST
    found: dict[str, Any] = {"raw": measure(scores[test], target[test]), "calibration": None}
    if training.calibration:
        found["calibration"] = calibration.fit(training.calibration, scores[~test], target[~test])
        calibrated = calibration.apply(found["calibration"], scores[test])
        found["calibrated"] = measure(calibrated, target[test])
    return found


def _speed(training: Training, path: str, gathered: str) -> dict[str, Any]:
    """Score the held-out documents again, with the clock; the answer goes into the receipt, never into the manifest."""
    from curate.classifiers.classifier import POSITIVE, Classifier
    from curate.classifiers.sample import TRAIN
    from curate.table import read_part
    from curate.text.batch import TextBatch

    held = read_part(gathered, ["part", "line"]).filter(pc.field("part") != TRAIN)
    lines = held.column("line").combine_chunks()
    batches = [TextBatch(lines.slice(start, BATCH)) for start in range(0, len(lines), BATCH)]
    model = Classifier(f"{path}/{training.file}", training.reading)
    size = sum(int(batch.offsets[-1] - batch.offsets[0]) for batch in batches)
    model.probabilities(batches[0].data, batches[0].offsets, [POSITIVE])  # loads the kernels
    start, done, passes = time.process_time(), 0.0, 0
    while done < CLOCKED and passes < PASSES:
        for batch in batches:
            model.probabilities(batch.data, batch.offsets, [POSITIVE])
        done, passes = time.process_time() - start, passes + 1
    return {"bytes": size * passes, "cpu_seconds": done}


BATCH = 1024  # documents scored at a time, as in a pass over a table
CLOCKED, PASSES = 0.2, 100  # processor seconds that are enough to tell a speed, and passes that are not exceeded
