"""Training of a classifier in a stage: settings, search for settings, fit, calibration and measurement."""

import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
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
from curate.classifiers.manifest import Clocked, FittedModel, JudgedModel, Measured, TrainedModel
from curate.errors import Problem

if TYPE_CHECKING:
    from curate.classifiers.classifier import Reading
    from curate.engine.context import Context

RATES = {"fasttext": 0.5, "linear": 0.03}  # default learning rates
SAMPLE = "_sample"
GATHERED = "_gathered.parquet"
SETTINGS = "classifier.json"  # settings of scoring: the text that the model reads, and its calibration

Measure = Callable[[NDArray[np.float64], NDArray[np.float64]], Measured]
"""Maps scores and targets of documents to measures of the model's quality."""


class Training(BaseModel):
    """Fields of a stage that trains a classifier for the stage `quality`.

    Examples
    --------
    >>> Training(quantize=True).file
    'model.ftz'
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: Literal["fasttext", "linear"] = Field(
        default="fasttext",
        description="a fastText model, or a logistic regression on the same words and n-grams, which needs no library "
        "and trains on soft targets directly",
    )
    max_documents: int = Field(
        default=100_000, ge=10, description="maximum documents of each class, drawn by a hash of the id"
    )
    held_out: float = Field(
        default=0.2,
        gt=0,
        lt=1,
        description="share of documents that is not trained on: half calibrates the model, half measures it",
    )
    calibration: Literal["isotonic", "platt"] | None = Field(
        default="platt", description="curve from scores to probabilities; null uses the model's probabilities unchanged"
    )
    max_chars: int | None = Field(
        default=None, ge=32, description="maximum characters of a document that the model reads; all by default"
    )
    windows: int = Field(default=8, ge=1, le=32, description="number of evenly spaced windows for `max_chars`")
    word_ngrams: int = Field(default=2, ge=1, le=6, description="maximum length of word n-grams")
    dim: int = Field(default=32, ge=1, le=1024, description="dimensions of feature vectors")
    lr: float | None = Field(
        default=None, gt=0, le=5, description="initial learning rate; 0.5 by default, 0.03 for a linear model"
    )
    epoch: int = Field(default=5, ge=1, le=1000, description="passes over the documents")
    bucket: int = Field(default=200_000, ge=1, le=100_000_000, description="hash buckets of word n-grams")
    min_count: int = Field(default=2, ge=1, description="minimum occurrences of a word that is a feature")
    quantize: bool = Field(default=False, description="compress the model by product quantization (model.ftz)")
    autotune: Autotune | None = Field(
        default=None, description="search for better settings with a number of trials; off by default"
    )

    @property
    def file(self) -> str:
        """Name of the model file."""
        if self.model == "linear":
            return "model.npz"
        return "model.ftz" if self.quantize else "model.bin"

    @property
    def reading(self) -> "Reading":
        """Part of a document that the model reads."""
        from curate.classifiers.classifier import Reading

        return Reading(max_chars=self.max_chars, windows=self.windows)

    def settings(self) -> dict[str, float | int]:
        """Return the settings that `autotune` may search."""
        searchable = {
            name: getattr(self, name) for name in ("dim", "lr", "epoch", "word_ngrams", "bucket", "min_count")
        }
        return searchable if self.lr else searchable | {"lr": RATES[self.model]}

    def problems(self) -> Iterable[Problem]:
        """Yield problems: settings that conflict."""
        if self.model == "linear":
            for field in ("quantize", "autotune"):
                if getattr(self, field):
                    yield Problem((field,), "is for fastText's models, but `model` is `linear`")
            return
        if self.quantize and self.dim % 2:
            yield Problem(("dim",), f"must be even for a quantized model, not {self.dim}")


def train(
    ctx: "Context",
    training: Training,
    sample: Callable[..., Mapping[str, Any]],
    measure: Measure[Measured],
    *,
    each_class: bool = True,
) -> TrainedModel[Measured]:
    """Draw a sample, search for settings if requested, train, calibrate and measure.

    The model and its settings are written to ``ctx.path``.

    Parameters
    ----------
    ctx, training
        Context of the stage, and its settings.
    sample
        Function of a folder and a shard that writes the sample of the shard; see `curate.classifiers.sample`.
    measure
        Function that measures scores on documents used neither for training nor for calibration.
    each_class
        Whether `max_documents` applies to each class, not to the total.

    Returns
    -------
    dict
        Entries for the manifest: documents of each part, parameters, hash of the model, calibration, the results of
        `measure` for ``raw`` and ``calibrated`` scores and, with autotune, ``tuning``.
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
    (fitted,) = ctx.map(partial(_fit, training, ctx.path, gathered, measure), [settings], phase="train", keys=["train"])
    ctx.map(partial(_speed, training, ctx.path), [gathered], phase="speed", keys=["speed"])
    storage.remove_tree(folder)
    trained: TrainedModel[Measured] = {"documents": counts, **fitted}
    if tuning:
        trained["tuning"] = tuning
    return trained


def _fit(
    training: Training, path: str, gathered: str, measure: Measure[Measured], settings: dict[str, float | int]
) -> FittedModel[Measured]:
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
        quality = _judge(training, str(model), sample.filter(pc.field("part") != TRAIN), measure)
        with storage.replacing(f"{path}/{training.file}") as file:
            file.write(model.read_bytes())
    served = {
        "model": training.file,
        "reading": {"normalize": True, "max_chars": training.max_chars, "windows": training.windows},
        "label": POSITIVE,
        "calibration": quality["calibration"],
    }
    storage.write_json(f"{path}/{SETTINGS}", served)
    return {"parameters": parameters, "sha256": file_hash(f"{path}/{training.file}"), **quality}


def _linear_settings(settings: dict[str, float | int]) -> dict[str, float | int]:
    return {name: value for name, value in settings.items() if name != "dim"}


def _fit_linear(fitted: pa.Table, settings: dict[str, float | int], path: str) -> None:
    from curate.classifiers import logistic

    goal, weight = (fitted.column(name).to_numpy() for name in ("goal", "weight"))
    logistic_settings = logistic.LogisticSettings(**settings)  # type: ignore[arg-type]
    logistic.save(logistic.train(fitted.column("line").combine_chunks(), goal, weight, logistic_settings), path)


def _judge(training: Training, model: str, held: pa.Table, measure: Measure[Measured]) -> JudgedModel[Measured]:
    """Fit the calibration, and measure the model with and without it."""
    from curate.classifiers import sample
    from curate.stats import calibration

    scores, target = sample.scores(model, held), held.column("target").to_numpy()
    test = held.column("part").to_numpy() == sample.TEST
    quality: JudgedModel[Measured] = {"raw": measure(scores[test], target[test]), "calibration": None}
    if training.calibration:
        curve = calibration.fit(training.calibration, scores[~test], target[~test])
        quality["calibration"] = curve
        quality["calibrated"] = measure(calibration.apply(curve, scores[test]), target[test])
    return quality


def _speed(training: Training, path: str, gathered: str) -> Clocked:
    """Measure the time to score the held-out documents. The result goes into the receipt, never into the manifest."""
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
    start, seconds, passes = time.process_time(), 0.0, 0
    while seconds < CLOCKED and passes < PASSES:
        for batch in batches:
            model.probabilities(batch.data, batch.offsets, [POSITIVE])
        seconds, passes = time.process_time() - start, passes + 1
    return {"bytes": size * passes, "cpu_seconds": seconds}


BATCH = 1024  # documents scored together, as in a pass over a table
CLOCKED, PASSES = 0.2, 100  # processor seconds after which timing stops, and maximum number of passes
