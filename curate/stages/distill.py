"""Train one small fast model, the student, on a probability that many signals gave: it scores by text alone."""

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import Field

from curate.artifact import Shard, Totals, all_kept
from curate.classifiers.groups import Group
from curate.classifiers.manifest import StudentBody, Targets
from curate.classifiers.training import Training
from curate.errors import Problem, RunError
from curate.stage import Known, Stage
from curate.table import Table

if TYPE_CHECKING:
    from curate.engine.context import Context


class Distill(Training, Stage):
    """Learn a column of probabilities from the text; `quality` scores with what comes out.

    Keeps ``model.bin`` (or ``model.ftz``, ``model.npz``) and ``classifier.json``, as `train_classifier` does. The
    manifest says how closely the student follows its teacher on documents that it has not seen. A document without a
    target is left out.

    Examples
    --------
    >>> stage = Distill(target="weak_quality", documents=Group(where="lang_code = 'en'"))
    >>> stage.requires()
    ('id', 'text', 'weak_quality', 'lang_code')
    """

    stage: Literal["distill"] = "distill"
    version: ClassVar[int] = 1
    seeded: ClassVar[bool] = True

    target: str = Field(
        default="weak_quality", description="column of probabilities, 0 to 1, or of yes and no; null is left out"
    )
    documents: Group | None = Field(default=None, description="documents to learn from; all unless given")
    label: Literal["drawn", "likelier"] = Field(
        default="likelier",
        description="what is learned: the likelier label, or one drawn with the probability that the target is, in "
        "whose place a linear model has the probability",
    )
    certainty: bool = Field(
        default=False, description="let a document weigh |2 target - 1|: fastText trains on it with this probability"
    )
    keep_rate: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="the teacher keeps this share: whether the student keeps the same documents is measured by it; "
        "those of 0.5 and more unless given",
    )
    max_documents: int = Field(default=200_000, ge=10, description="documents, drawn by a hash of the id")

    def packages(self) -> tuple[str, ...]:
        """The library that trains and predicts."""
        return ("fasttext-numpy2",) if self.model == "fasttext" else ()

    def requires(self) -> tuple[str, ...]:
        """The text, the target, and what the rule names."""
        named = self.documents.columns() if self.documents else ()
        return tuple(dict.fromkeys(["id", "text", self.target, *named]))

    def place(self, column: str) -> tuple[str | int, ...]:
        """Where the column is named."""
        return ("target",) if column == self.target else ("documents", "where")

    def check(self, known: Known) -> Iterable[Problem]:
        """The target can be a probability; sources and rules are there; the library is installed."""
        if self.target in known.columns.names:
            kind = known.columns.field(self.target).type
            if not (pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
                yield Problem(("target",), f"{self.target!r} is of type {kind}, and no probability", _hint(known))
        if self.documents:
            yield from self.documents.problems("documents", known.sources, known.columns)
        yield from self.problems()

    def run(self, ctx: "Context") -> StudentBody:
        """Look at the targets, draw a sample, train on it."""
        from curate.classifiers.fidelity import fidelity
        from curate.classifiers.training import train

        total = Totals({"learned_from": 0, "null": 0, "not_chosen": 0})
        mean = 0.0
        for shard, found in zip(
            ctx.table.shards, ctx.map_shards(partial(_look, self, ctx.table), phase="look"), strict=True
        ):
            if found["wrong"]:
                raise RunError(
                    f"{ctx.artifact.name}: {self.target!r} is no column of probabilities: {found['wrong']} documents "
                    f"of {shard.source} (shard {shard.name}) have a value that is not within 0 to 1, such as "
                    f"{found['such_as']}"
                )
            total.add(found["documents"])
            mean += found["sum"]
        targets = total.counts["learned_from"]
        if not targets:
            raise RunError(f"{ctx.artifact.name}: no document has a target; {self.target!r} is null for all of them")
        rate = min(1.0, (self.max_documents + 6 * self.max_documents**0.5) / targets)
        sample = partial(_sample_shard, self, ctx.table, ctx.seed, rate)
        made = train(ctx, self, sample, partial(fidelity, keep_rate=self.keep_rate), each_class=False)
        teacher: Targets = {
            "column": self.target,
            "keep_rate": self.keep_rate,
            "learned_from": targets,
            "null": total.counts["null"],
            "not_chosen": total.counts["not_chosen"],
            "mean": mean / targets,
        }
        return {"flow": all_kept(ctx.table.shards), "targets": teacher, "student": made}


def _hint(known: Known) -> str:
    names = [field.name for field in known.columns if pa.types.is_floating(field.type)]
    return f"columns of numbers that may be one: {', '.join(names)}" if names else ""


def _targets(stage: Distill, source: str, columns: pa.Table) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Which documents are to be learned from if they have a target, and targets, NaN for null."""
    column = columns.column(stage.target).combine_chunks()
    column = column.cast(pa.int8()) if pa.types.is_boolean(column.type) else column
    chosen = np.ones(len(column), bool) if stage.documents is None else stage.documents.mask(source, columns)
    # A NaN that is no null is a fault of whoever made the column: 2 is as wrong, and told from null.
    known = pc.call_function("is_valid", [column]).to_numpy(zero_copy_only=False)
    values = np.nan_to_num(column.cast(pa.float64()).to_numpy(zero_copy_only=False), nan=2.0)
    return chosen, np.where(known, values, np.nan)


def _look(stage: Distill, table: Table, shard: Shard) -> dict[str, Any]:
    names = [name for name in stage.requires() if name not in ("id", "text")]
    columns = table.read(shard, names)
    chosen, target = _targets(stage, shard.source, columns)
    there = chosen & ~np.isnan(target)
    wrong = np.flatnonzero(there & ((target < 0) | (target > 1)))
    found = columns.column(stage.target).take(pa.array(wrong[:1])).to_pylist()
    return {
        "documents": {
            "learned_from": int(there.sum()),
            "null": int((chosen & np.isnan(target)).sum()),
            "not_chosen": int((~chosen).sum()),
        },
        "sum": float(target[there].sum()),
        "wrong": len(wrong),
        "such_as": str(found[0]) if found else "",
    }


def _sample_shard(stage: Distill, table: Table, seed: int, rate: float, folder: str, shard: Shard) -> dict[str, Any]:
    """Write the lines of the documents that are drawn and have a target."""
    from curate.classifiers.sample import by_target, write_sample

    def choose(batch: pa.RecordBatch, place: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        chosen, target = _targets(stage, shard.source, pa.table(batch))
        rows = np.flatnonzero(chosen & ~np.isnan(target) & (place <= rate))
        return rows, target[rows]

    label = partial(
        by_target,
        seed=seed,
        likelier=stage.label == "likelier",
        certainty=stage.certainty,
        weighted=stage.model == "linear",
    )
    batches = table.batches(shard, list(stage.requires()))
    path = f"{folder}/{shard.name}.parquet"
    return {"documents": write_sample(path, batches, seed, stage.held_out, stage.reading, choose, label)}
