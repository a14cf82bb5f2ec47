"""Train a fastText classifier of good against other documents, and calibrate it on documents that it has not seen."""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from curate.artifact import Shard, Totals, all_kept
from curate.classifiers.groups import Group
from curate.classifiers.manifest import ClassifierBody
from curate.classifiers.training import Training
from curate.errors import Problem, RunError
from curate.stage import Known, Stage
from curate.stats.manifest import Measures
from curate.table import Table

if TYPE_CHECKING:
    from curate.engine.context import Context


class TrainClassifier(Training, Stage):
    """Learn to tell documents of one group from those of another; `quality` scores with what comes out.

    Keeps ``model.bin`` (or ``model.ftz``, ``model.npz``) and ``classifier.json``: how text is shown to the model, and
    its calibration. The manifest says how good both are on documents that neither has seen. A document of both groups
    is left out.

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

    def packages(self) -> tuple[str, ...]:
        """The library that trains and predicts."""
        return ("fasttext-numpy2",) if self.model == "fasttext" else ()

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
        yield from self.problems()

    def run(self, ctx: "Context") -> ClassifierBody:
        """Count the classes, draw a sample, train on it."""
        from curate.classifiers.training import train

        total = Totals({"positive": 0, "negative": 0, "both": 0})
        for counts in ctx.map_shards(partial(_count_shard, self, ctx.table), phase="count"):
            total.add(counts)
        for kind in ("positive", "negative"):
            if not total.counts[kind]:
                raise RunError(f"{self.name or self.stage}: no document is {kind}")
        # Six standard deviations over what is wanted, so that the cut to the exact number has enough to cut.
        wanted = self.max_documents + 6 * self.max_documents**0.5
        rates = [min(1.0, wanted / total.counts[kind]) for kind in ("negative", "positive")]
        made = train(ctx, self, partial(_sample_shard, self, ctx.table, ctx.seed, rates), _measures)
        return {"flow": all_kept(ctx.table.shards), "classes": total.counts, "classifier": made}


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
    stage: TrainClassifier, table: Table, seed: int, rates: Sequence[float], folder: str, shard: Shard
) -> dict[str, Any]:
    """Write the lines of the documents whose hash is below the rate of their class."""
    from curate.classifiers.sample import write_sample

    def choose(batch: pa.RecordBatch, place: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        positive, negative = _groups(stage, shard.source, pa.table(batch))
        rows = np.flatnonzero((positive != negative) & (place <= np.where(positive, rates[1], rates[0])))
        return rows, positive[rows].astype(np.float64)

    batches = table.batches(shard, list(stage.requires()))
    path = f"{folder}/{shard.name}.parquet"
    return {"documents": write_sample(path, batches, seed, stage.held_out, stage.reading, choose)}


def _measures(scores: NDArray[np.float64], target: NDArray[np.float64]) -> Measures:
    from curate.stats import calibration

    return calibration.measures(scores, target == 1)
