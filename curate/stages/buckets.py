"""Cut the documents of each group into buckets by a measurement, as CCNet's head, middle and tail by perplexity."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field, model_validator

from curate.artifact import Artifact, Shard, all_kept
from curate.errors import Problem
from curate.rules.sql import columns_of, complaint, holds
from curate.stage import Known, Stage
from curate.stats.joint import Measuring
from curate.stats.manifest import BucketsBody
from curate.stats.quantiles import add, counted, exact_quantiles, rows_by_group
from curate.table import ParquetWriter, Table

if TYPE_CHECKING:
    from curate.engine.context import Context

ALL = "all"


class Buckets(Measuring, Stage):
    """Name the bucket of each document: that of the cuts which its value reaches.

    Cuts are quantiles of the corpus (Wenzek et al. 2020, section 3.3, take the 30th and 60th of each language), or
    given. The cut of a quantile q of n documents is the value with the rank floor(q n), counted from 0: with no ties,
    floor(q n) documents lie below it. Values are compared in single precision; null has no bucket.

    Examples
    --------
    >>> Buckets(column="kenlm_perplexity", by="lang_code", into="kenlm_bucket").requires()
    ('kenlm_perplexity', 'lang_code')
    """

    stage: Literal["buckets"] = "buckets"
    version: ClassVar[int] = 2

    column: str = Field(default="kenlm_perplexity", description="the measurement")
    by: str | None = Field(default=None, description="a column such as lang_code: each of its values has its own cuts")
    names: tuple[str, ...] = Field(
        default=("head", "middle", "tail"), min_length=2, description="buckets, from low values to high ones"
    )
    quantiles: tuple[float, ...] | None = Field(
        default=None, description="shares of documents below the cuts; 0.3 and 0.6 (CCNet's) unless given or `cuts` is"
    )
    cuts: tuple[float, ...] | dict[str, tuple[float, ...]] | None = Field(
        default=None, description="values to cut at instead, or a list of them for each value of `by`"
    )
    where: str | None = Field(
        default=None,
        description="SQL expression over columns, true for the documents that quantiles are taken of; all unless given",
    )
    into: str = Field(default="kenlm_bucket", pattern=r"^[a-z][a-z0-9_]*$", description="the column that is written")

    @model_validator(mode="after")
    def _fit(self) -> "Buckets":
        if self.cuts is not None and self.quantiles is not None:
            raise ValueError("give `cuts` or `quantiles`, not both")
        if self.cuts is not None and self.where is not None:
            raise ValueError("`where` goes with quantiles; `cuts` are given")
        if isinstance(self.cuts, Mapping) and self.by is None:
            raise ValueError("`cuts` by name go with `by`")
        given = self.cuts.values() if isinstance(self.cuts, Mapping) else [self.cuts or self.shares]
        for cuts in given:
            if len(cuts) != len(self.names) - 1:
                raise ValueError(f"{len(self.names)} buckets need {len(self.names) - 1} cuts, not {len(cuts)}")
            if any(low >= high for low, high in pairwise(cuts)):
                raise ValueError("cuts must rise")
        if self.cuts is None and not all(0 < share < 1 for share in self.shares):
            raise ValueError("quantiles lie between 0 and 1")
        return self

    @property
    def shares(self) -> tuple[float, ...]:
        """Quantiles to cut at."""
        return self.quantiles or (0.3, 0.6)

    def requires(self) -> tuple[str, ...]:
        """The measurement, the group and what the rule names."""
        named = columns_of(self.where) if self.where is not None else []
        return tuple(dict.fromkeys([self.column, *([self.by] if self.by else []), *named]))

    def measures(self) -> tuple[str, ...]:
        """The measurement that is cut."""
        return (self.column,)

    def place(self, column: str) -> tuple[str | int, ...]:
        """Where `column` is named."""
        return (next((field for field in ("column", "by") if getattr(self, field) == column), "where"),)

    def columns(self) -> pa.Schema:
        """The bucket; null where there is no value, no group or no cut for it."""
        return pa.schema([(self.into, pa.dictionary(pa.int32(), pa.string()))])

    def check(self, known: Known) -> Iterable[Problem]:
        """The measurement is a number, the group a text."""
        if self.column in known.columns.names:
            kind = known.columns.field(self.column).type
            if not (pa.types.is_floating(kind) or pa.types.is_integer(kind)):
                yield Problem(("column",), f"{self.column!r} holds {kind}, not numbers")
        wrong = complaint(self.where, known.columns) if self.where is not None else ""
        if wrong:
            yield Problem(("where",), f"{self.where!r}: {wrong}")

    def run(self, ctx: "Context") -> BucketsBody:
        """Find the cuts in two passes over the column, then name buckets."""
        cuts = self._cuts(ctx)
        results = ctx.map_shards(partial(_write, self, ctx.table, ctx.artifact, cuts))
        sizes: dict[str, dict[str, int]] = {}
        groups: dict[str, int] = {}
        for shard, result in zip(ctx.table.shards, results, strict=True):
            add(sizes.setdefault(shard.source, {}), result["buckets"])
            add(groups, result["groups"])
        return {"flow": all_kept(ctx.table.shards), "cuts": cuts, "groups": groups, "buckets": sizes}

    def _cuts(self, ctx: "Context") -> dict[str, list[float]]:
        """Cuts by group; those of `ALL` hold for every group that has none."""
        if isinstance(self.cuts, Mapping):
            return {group: list(cuts) for group, cuts in self.cuts.items()}
        if self.cuts is not None:
            return {ALL: list(self.cuts)}

        def counting(bins: Mapping[str, Sequence[int]] | None) -> dict[str, dict[str, int]]:
            phase = "upper" if bins is None else "lower"
            return _total(ctx.map_shards(partial(_count, self, ctx.table, bins), phase=phase))

        found = exact_quantiles(counting, lambda _, n: [int(q * n + 1e-9) for q in self.shares])
        return {group: cuts.tolist() for group, cuts in sorted(found.items())}


def _values(stage: Buckets, columns: pa.Table) -> tuple[NDArray[np.float32], NDArray[Any]]:
    """Measurements, NaN for null, and groups."""
    values = columns.column(stage.column).cast(pa.float64()).to_numpy().astype(np.float32)
    groups = np.full(len(values), ALL, object) if stage.by is None else None
    return values, np.array(columns.column(stage.by).to_pylist(), object) if groups is None else groups


def _count(stage: Buckets, table: Table, bins: Mapping[str, Sequence[int]] | None, shard: Shard) -> dict[str, Any]:
    """By group, upper halves of the values, or the values whose upper half is in `bins`."""
    import polars as pl

    columns = table.read(shard, stage.requires())
    values, groups = _values(stage, columns)
    known = ~np.isnan(values)
    if stage.where is not None:
        known &= holds(stage.where, pl.DataFrame(columns))
    values = np.where(known, values, np.float32(np.nan))
    rows = rows_by_group(values, groups)
    return {"counts": {g: counted(values[own], None if bins is None else bins.get(g, ())) for g, own in rows.items()}}


def _total(results: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, int]]:
    total: dict[str, dict[str, int]] = {}
    for result in results:
        for group, counts in result["counts"].items():
            add(total.setdefault(group, {}), counts)
    return total


def _write(
    stage: Buckets, table: Table, artifact: Artifact, cuts: Mapping[str, list[float]], shard: Shard
) -> dict[str, Any]:
    values, groups = _values(stage, table.read(shard, stage.requires()))
    sizes: dict[str, int] = {}
    place = np.full(len(values), -1, np.int32)
    for group, rows in rows_by_group(values, groups).items():
        own = cuts.get(group, cuts.get(ALL))
        if own is not None:
            place[rows] = np.searchsorted(np.array(own, np.float32), values[rows], side="right")
            sizes[group] = len(rows)
    indices = pa.array(place, mask=place < 0)
    column = pa.DictionaryArray.from_arrays(indices, pa.array(stage.names))
    with ParquetWriter(artifact.part(shard.name), stage.columns()) as writer:
        writer.write(pa.RecordBatch.from_arrays([column], schema=stage.columns()))
    found = np.bincount(place[place >= 0], minlength=len(stage.names)).tolist()
    buckets = dict(zip(stage.names, found, strict=True)) | {"none": int((place < 0).sum())}
    return {"buckets": buckets, "groups": sizes}
