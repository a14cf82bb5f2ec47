"""Probability that a document is of the good kind, by a fastText classifier: trained in the pipeline, or given.

What the model is shown, and what every column means, is in ``docs/quality.md``.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from curate import storage
from curate.artifact import file_hash
from curate.classifiers.training import SETTINGS, Training
from curate.errors import Problem, RunError, nearest
from curate.registry import stage_types
from curate.stage import Annotate, Annotator, Known
from curate.stats.joint import Measuring

if TYPE_CHECKING:
    from curate.engine.context import Context
    from curate.text.batch import TextBatch

LINK = "classifier_at.json"
TRAINED = "train_classifier"
POSITIVE = "positive"
SHOWN = {"normalize", "max_chars", "windows"}  # fields that say what a model is shown
_FILE = re.compile(r"[/\\]|\.(bin|ftz|npz)$")


class Quality(Measuring, Annotator):
    """Score documents by a classifier.

    Examples
    --------
    >>> Quality(name="quality", classifier="train_classifier").columns().names
    ['quality_score', 'quality_raw']
    >>> Quality(name="dclm", classifier="openhermes.bin", label="hq", paragraphs=True).columns().names
    ['dclm_score', 'dclm_raw', 'dclm_paragraph_mean']
    """

    stage: Literal["quality"] = "quality"
    version: ClassVar[int] = 1

    classifier: Annotated[str, storage.path_unless(lambda name: not _FILE.search(name))] = Field(
        default=TRAINED,
        description="a `train_classifier` or `distill` stage above, by name, or the path of a fastText model",
    )
    label: str = Field(default=POSITIVE, description="label, without __label__, whose probability is the score")
    normalize: bool | None = Field(
        default=None,
        description="lower case, symbols as words of their own; a model given by path is shown the text as it is "
        "unless this says so, one trained here what it was trained on",
    )
    max_chars: int | None = Field(
        default=None,
        ge=32,
        description="characters of a document that a model given by path looks at; all unless given",
    )
    windows: int = Field(default=8, ge=1, le=32, description="places that these are taken from, spread evenly")
    paragraphs: bool = Field(default=False, description="score paragraphs as well, and give their mean")
    paragraph_bytes: int = Field(default=100, ge=1, description="shorter paragraphs are left out (bytes)")

    @property
    def given(self) -> bool:
        """Whether the model is a file, and not the output of a stage."""
        return bool(_FILE.search(self.classifier))

    def references(self) -> tuple[str, ...]:
        """The stage that trains the model."""
        return () if self.given else (self.classifier,)

    def files(self) -> dict[str, str]:
        """The model, when it is given."""
        return {"classifier": self.classifier} if self.given else {}

    def where_to_get(self, field: str) -> str:
        """What can be given."""
        return (
            "give the path of a fastText model (.bin or .ftz), or the name of a `train_classifier` or `distill` stage "
            "above; DCLM's is published as mlfoundations/fasttext-oh-eli5 on the Hugging Face Hub (labels __label__hq, "
            "__label__cc)"
        )

    def identity(self) -> dict[str, Any]:
        """The configuration, with the content of the model and of the settings beside it in the place of paths."""
        settings = _beside(self.classifier)
        beside = {"settings": file_hash(settings)} if self.given and storage.exists(settings) else {}
        return super().identity() | beside

    def check(self, known: Known) -> Iterable[Problem]:
        """The stage trains classifiers, or the file is a model that has the label."""
        stage = known.stages.get(self.classifier)
        if not self.given and stage is not None and not isinstance(stage, Training):
            kinds = " or ".join(f"`{kind}`" for kind, model in stage_types().items() if issubclass(model, Training))
            kind = f"{self.classifier!r} is a `{stage.stage}` stage, which trains no classifier"
            yield Problem(("classifier",), kind, f"name a stage of the kind {kinds}")
        if not self.given or storage.exists(_beside(self.classifier)):
            for field in sorted(SHOWN & self.model_fields_set):
                yield Problem((field,), "is for other models: this one is shown what it was trained on")
        if not self.given and self.label != POSITIVE:
            yield Problem(
                ("label",), f"the model has the labels 'positive' and 'negative', its score is of {POSITIVE!r}"
            )
        if self.given and Path(self.classifier).is_file():
            yield from self._model_problems()

    def _model_problems(self) -> Iterable[Problem]:
        from curate.classifiers.classifier import LINEAR, Classifier, Reading
        from curate.io import pretrained

        try:
            if self.classifier.endswith(LINEAR):
                labels = list(Classifier(self.classifier, Reading()).labels)
            else:
                found = pretrained.load_fasttext(self.classifier).get_labels()
                labels = [label.removeprefix("__label__") for label in found]
        except (RunError, ValueError) as error:
            yield Problem(("classifier",), f"{self.classifier!r} cannot be opened: {error}")
            return
        if self.label not in labels:
            yield Problem(("label",), f"the model has no label {self.label!r}", nearest(self.label, labels))

    def packages(self) -> tuple[str, ...]:
        """The library that predicts."""
        return ("fasttext-numpy2",)

    def requires(self) -> tuple[str, ...]:
        """The text."""
        return ("text",)

    def columns(self) -> pa.Schema:
        """Probabilities in 0 to 1, null where there is nothing to score: calibrated, the model's own, of paragraphs."""
        name = self.name or self.stage
        names = [f"{name}_score", f"{name}_raw", *([f"{name}_paragraph_mean"] if self.paragraphs else [])]
        return pa.schema([(name, pa.float32()) for name in names])

    def measures(self) -> tuple[str, ...]:
        """The score."""
        return (f"{self.name or self.stage}_score",)

    def prepare(self, ctx: "Context") -> None:
        """Note where the trained model lies, relative to this artifact."""
        if not self.given:
            storage.write_json(f"{ctx.path}/{LINK}", ctx.inputs[self.classifier].path.rpartition("/")[2])

    def load_prepared(self, path: str) -> Annotate:
        """Open the model; lines go to it in one call per batch."""
        from curate.classifiers.classifier import Classifier, Reading
        from curate.dedup.paragraphs import units
        from curate.stats import calibration

        if self.given:
            settings = _beside(self.classifier)
            found = storage.read_json(settings) if storage.exists(settings) else {}
            model = self.classifier
        else:
            folder = f"{path.rpartition('/')[0]}/{storage.read_json(f'{path}/{LINK}')}"
            found = storage.read_json(f"{folder}/{SETTINGS}")
            model = f"{folder}/{found['model']}"
        reading = Reading(**found["reading"]) if found else Reading(bool(self.normalize), self.max_chars, self.windows)
        curve = found.get("calibration") if found.get("label", self.label) == self.label else None
        classifier = Classifier(model, reading)
        schema = self.columns()

        def score(data: NDArray[np.uint8], bounds: NDArray[np.int64]) -> tuple[NDArray[np.float64], ...]:
            raw = classifier.probabilities(data, bounds, [self.label])[:, 0].astype(np.float32).astype(np.float64)
            return (calibration.apply(curve, raw) if curve else raw), raw

        def annotate(text: "TextBatch", _: pa.RecordBatch) -> pa.RecordBatch:
            columns = list(score(text.data, text.offsets))
            if self.paragraphs:
                bounds = units(text.data, text.offsets, paragraphs=True)
                columns.append(self._mean(text.offsets, bounds, score(text.data, bounds)[0]))
            arrays = [pa.array(column.astype(np.float32), mask=np.isnan(column)) for column in columns]
            return pa.RecordBatch.from_arrays(arrays, schema=schema)

        return annotate

    def _mean(
        self, offsets: NDArray[np.int64], bounds: NDArray[np.int64], scores: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Mean over each document's paragraphs that are long enough, by bytes; NaN where there are none."""
        size = np.diff(bounds)
        owner = np.searchsorted(offsets, bounds[:-1], side="right") - 1
        judged = (size >= self.paragraph_bytes) & ~np.isnan(scores)
        total, weight = (
            np.bincount(owner[judged], weights=values[judged], minlength=len(offsets) - 1)
            for values in (scores * size, size)
        )
        return np.divide(total, weight, out=np.full(len(weight), np.nan), where=weight > 0)


def _beside(model: str) -> str:
    """Settings of a model that an earlier run trained, if it is one: they lie beside it."""
    return f"{model.rpartition('/')[0]}/{SETTINGS}"
