"""Count documents by two measurements at a time: the joint densities that the report draws."""

from collections.abc import Iterable, Mapping
from functools import partial
from itertools import combinations
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from curate.artifact import Shard, all_kept
from curate.errors import Problem
from curate.stage import Known, Stage
from curate.stats.manifest import Axis, CellCounts, DensityBody, MeasuredPair
from curate.stats.quantiles import add, coarse, coarse_quantile
from curate.table import Table

if TYPE_CHECKING:
    from curate.engine.context import Context

TAIL = 0.002  # share of documents beyond the bins at either end, which the outer bins take in
LOG = 50.0  # times that the upper end is the lower one, from which on an axis is logarithmic: perplexities, not bits


class Density(Stage):
    """Two-dimensional histograms of every pair of some measurements, by source.

    The pipeline adds one where two stages measure the same documents (`curate.stats.joint.Measuring`); a stanza of its
    own chooses other columns. Bins are equal between the quantiles `TAIL` and 1 - `TAIL` of all documents, or have
    equal ratios where the lower end is 1 or more, so not for probabilities, and the upper one more than `LOG` times
    that. Counts are exact, so that any sharding gives the same; a document for which either measurement is null is
    counted apart.

    Examples
    --------
    >>> Density(of=("wiki_bits_per_byte", "web_bits_per_byte")).requires()
    ('wiki_bits_per_byte', 'web_bits_per_byte')
    """

    stage: Literal["density"] = "density"
    version: ClassVar[int] = 1

    of: tuple[str, ...] = Field(min_length=2, max_length=4, description="measurements; every pair is counted")
    bins: int = Field(default=40, ge=2, le=200, description="bins of each axis")

    def requires(self) -> tuple[str, ...]:
        """The measurements."""
        return self.of

    def place(self, column: str) -> tuple[str | int, ...]:
        """Where `column` is named."""
        return ("of", self.of.index(column))

    def check(self, known: Known) -> Iterable[Problem]:
        """The measurements are numbers, and none is there twice."""
        for position, column in enumerate(self.of):
            if column in self.of[:position]:
                yield Problem(("of", position), f"{column!r} is here twice")
            if column in known.columns.names:
                kind = known.columns.field(column).type
                if not (pa.types.is_floating(kind) or pa.types.is_integer(kind)):
                    yield Problem(("of", position), f"{column!r} holds {kind}, not numbers")

    def run(self, ctx: "Context") -> DensityBody:
        """Find the ends of the axes in one pass over the columns, count in a second one."""
        ranges: dict[str, dict[str, int]] = {column: {} for column in self.of}
        for found in ctx.map_shards(partial(_range, self, ctx.table), phase="range"):
            for column, counts in found.items():
                add(ranges[column], counts)
        axes = {column: axis(counts, self.bins) for column, counts in ranges.items()}
        sums: dict[str, NDArray[np.int64]] = {}
        counted = ctx.map_shards(partial(_count, self, ctx.table, axes), phase="count")
        for shard, found in zip(ctx.table.shards, counted, strict=True):
            own = sums.setdefault(shard.source, np.zeros((len(found["pairs"]), self.bins**2), np.int64))
            for total, pair in zip(own, found["pairs"], strict=True):
                total[pair["cells"]] += np.array(pair["counts"], np.int64)
        flow = all_kept(ctx.table.shards)
        pairs: list[MeasuredPair] = [
            {"x": x, "y": y, "sources": {source: _sparse(sums[source][pair], flow[source]["in"]) for source in sums}}
            for pair, (x, y) in enumerate(combinations(self.of, 2))
        ]
        return {"flow": flow, "bins": self.bins, "axes": axes, "pairs": pairs}


def axis(counts: Mapping[str, int], bins: int) -> Axis:
    """Scale and edges of an axis, from the upper 16 bits of its values; the outer bins are open.

    Examples
    --------
    >>> axis(coarse(np.arange(1, 11, dtype=np.float32)), 2)
    {'scale': 'linear', 'low': 1.00390625, 'high': 10.03125}
    """
    if not counts:
        return {"scale": "linear", "low": 0.0, "high": 1.0}
    low, high = coarse_quantile(counts, TAIL), coarse_quantile(counts, 1 - TAIL)
    if high <= low:
        return {"scale": "linear", "low": low - 0.5, "high": low + 0.5}
    return {"scale": "log" if low >= 1 and high > LOG * low else "linear", "low": low, "high": high}


def _measured(table: Table, shard: Shard, columns: tuple[str, ...]) -> dict[str, NDArray[np.float32]]:
    """Values in single precision, NaN for null and for what is not finite."""
    found = {}
    for name, column in zip(columns, table.read(shard, columns).columns, strict=True):
        values = column.cast(pa.float64()).to_numpy()
        with np.errstate(over="ignore"):
            single = values.astype(np.float32)
        found[name] = np.where(np.isfinite(single), single, np.float32(np.nan))
    return found


def _range(stage: Density, table: Table, shard: Shard) -> dict[str, Any]:
    measured = _measured(table, shard, stage.of)
    return {name: coarse(values[~np.isnan(values)]) for name, values in measured.items()}


def _count(stage: Density, table: Table, axes: Mapping[str, Axis], shard: Shard) -> dict[str, Any]:
    """Counts of each pair's cells, row by row of y, without the empty ones."""
    measured = _measured(table, shard, stage.of)
    places = {name: _bins(values, axes[name], stage.bins) for name, values in measured.items()}
    pairs = []
    for x, y in combinations(stage.of, 2):
        both = (places[x] >= 0) & (places[y] >= 0)
        cells = places[y][both] * stage.bins + places[x][both]
        pairs.append(_sparse(np.bincount(cells, minlength=stage.bins**2), shard.rows))
    return {"pairs": pairs}


def _bins(values: NDArray[np.float32], scale: Axis, bins: int) -> NDArray[np.int64]:
    """Bin of each value, -1 for null."""
    low, high = scale["low"], scale["high"]
    known = ~np.isnan(values)
    taken = values[known].astype(np.float64)
    if scale["scale"] == "log":
        low, high, taken = np.log(low), np.log(high), np.log(np.maximum(taken, low))
    places = np.full(len(values), -1, np.int64)
    places[known] = np.clip((taken - low) / (high - low) * bins, 0, bins - 1).astype(np.int64)
    return places


def _sparse(counts: NDArray[np.int64], documents: int) -> CellCounts:
    """Cells that have documents, with how many; a cell's number is y times the bins plus x."""
    cells = np.flatnonzero(counts)
    both = int(counts.sum())
    return {"documents": both, "null": documents - both, "cells": cells.tolist(), "counts": counts[cells].tolist()}
