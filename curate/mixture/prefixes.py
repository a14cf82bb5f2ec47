"""Computation of cuts (see `curate.mixture.budget`) in a table of any size.

A first pass over the shards makes histograms. A second pass collects the documents in the bins that contain the cuts.
Only ids and sizes are read. Tasks exchange 32 kB per shard and order, and 40 bytes per document in a boundary bin.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate import storage
from curate.artifact import Shard
from curate.engine.context import Context
from curate.mixture.budget import BINS, END, below, bins, boundary, histogram, nearest_cut
from curate.table import Table
from curate.text.hashing import id_bytes, order_keys

VALIDATION = "validation"
"""Salt of the order whose first documents are held out for validation."""

SIZES = {"tokens": "tokens", "bytes": "kept_bytes"}
"""Columns with the sizes of documents, by unit."""


@dataclass(frozen=True)
class Prefix:
    """The first documents in the order of the keys of a salt, up to a total size."""

    salt: str
    size: int


@dataclass(frozen=True)
class Pool:
    """The kept documents of a table, without those held out for validation.

    Parameters
    ----------
    table
        Table with the columns ``id``, ``keep`` and those of `SIZES`.
    seed
        Seed of the run.
    held_out
        Validation cut by source. Documents below it are not in the pool.
    """

    table: Table
    seed: int
    held_out: Mapping[str, int] = field(default_factory=dict)

    def read(self, shard: Shard) -> tuple[NDArray[np.uint8], dict[str, NDArray[np.int64]]]:
        """Read the ids, shape (documents, 16), and sizes by unit, shape (documents,), of one shard."""
        columns = self.table.read(shard, ("id", "keep", *SIZES.values()))
        columns = columns.filter(columns.column("keep"))
        ids, sizes = id_bytes(columns.column("id")), sizes_of(columns)
        if shard.source in self.held_out:
            chosen = ~below(self.keys(VALIDATION, ids), self.held_out[shard.source])
            return ids[chosen], {unit: size[chosen] for unit, size in sizes.items()}
        return ids, sizes

    def keys(self, salt: str, ids: NDArray[np.uint8]) -> NDArray[np.uint64]:
        """Return the keys of documents in the order of `salt`, shape (documents, 3)."""
        return order_keys(self.seed, salt, ids)


def sizes_of(columns: pa.Table) -> dict[str, NDArray[np.int64]]:
    """Return the sizes of documents by unit, 0 for null."""
    return {unit: columns.column(name).fill_null(0).to_numpy().astype(np.int64) for unit, name in SIZES.items()}


def find_cuts(
    ctx: Context, name: str, pool: Pool, unit: str, wanted: Mapping[str, Sequence[Prefix]]
) -> dict[tuple[str, Prefix], int]:
    """Compute the cut of each prefix.

    The passes write files to the folder ``_cuts`` of the stage. The stage should remove the folder afterwards.

    Parameters
    ----------
    ctx
        Context of the stage.
    name
        Name of this search, unique within the stage.
    pool
        Documents to cut.
    unit
        Unit of the sizes, a key of `SIZES`.
    wanted
        Prefixes by source.

    Returns
    -------
    dict
        Cut by source and prefix.
    """
    search = _Search(f"{ctx.path}/_cuts/{name}", pool, unit, {s: tuple(each) for s, each in wanted.items() if each})
    ctx.map_shards(search.histogram, phase=f"{name}-histogram")
    sources = sorted(search.wanted)
    keys = [f"{position:05d}" for position in range(len(sources))]
    ends = ctx.map(search.ends, sources, phase=f"{name}-ends", keys=keys)
    boundary_of = {source: [tuple(end) for end in result["ends"]] for source, result in zip(sources, ends, strict=True)}
    ctx.map_shards(partial(search.boundary, boundary_of), phase=f"{name}-boundary")
    cuts = ctx.map(partial(search.cuts, boundary_of), sources, phase=f"{name}-cuts", keys=keys)
    return {
        (source, prefix): int(cut, 16)
        for source, result in zip(sources, cuts, strict=True)
        for prefix, cut in zip(search.wanted[source], result["cuts"], strict=True)
    }


@dataclass(frozen=True)
class _Search:
    """The tasks of `find_cuts`.

    Parameters
    ----------
    folder
        Folder for the files of the passes, one per shard and pass.
    pool, unit, wanted
        See `find_cuts`.
    """

    folder: str
    pool: Pool
    unit: str
    wanted: Mapping[str, tuple[Prefix, ...]]

    def salts(self, source: str) -> list[str]:
        """Return the salts of the orders in which a source is cut."""
        return sorted({prefix.salt for prefix in self.wanted[source]})

    def histogram(self, shard: Shard) -> dict[str, Any]:
        """Write the total sizes by bin, with a row for each order."""
        if shard.source in self.wanted:
            ids, sizes = self.pool.read(shard)
            rows = [histogram(self.pool.keys(salt, ids), sizes[self.unit]) for salt in self.salts(shard.source)]
            storage.write_array(f"{self.folder}/{shard.name}.histogram.npy", np.stack(rows))
        return {}

    def ends(self, source: str) -> dict[str, Any]:
        """Return the bin in which each prefix of a source ends, and the total size of the bins before it."""
        salts = self.salts(source)
        totals = np.zeros((len(salts), BINS), np.int64)
        for part in self._parts(source, "histogram"):
            totals += part
        return {"ends": [boundary(totals[salts.index(prefix.salt)], prefix.size) for prefix in self.wanted[source]]}

    def boundary(self, ends: Mapping[str, Sequence[tuple[int, int]]], shard: Shard) -> dict[str, Any]:
        """Write the number of the prefix, the key (3 words) and the size of each document in the bins of `ends`."""
        if shard.source in self.wanted:
            ids, sizes = self.pool.read(shard)
            rows = [np.empty((0, 5), np.uint64)]
            for position, (prefix, (end, _)) in enumerate(
                zip(self.wanted[shard.source], ends[shard.source], strict=True)
            ):
                key = self.pool.keys(prefix.salt, ids)
                inside = bins(key) == end
                number = np.full(int(inside.sum()), position, np.uint64)
                rows.append(np.column_stack([number, key[inside], sizes[self.unit][inside].astype(np.uint64)]))
            storage.write_array(f"{self.folder}/{shard.name}.boundary.npy", np.concatenate(rows))
        return {}

    def cuts(self, ends: Mapping[str, Sequence[tuple[int, int]]], source: str) -> dict[str, Any]:
        """Return the cuts of a source, in hexadecimal."""
        rows = np.concatenate([np.empty((0, 5), np.uint64), *self._parts(source, "boundary")])
        cuts = []
        for position, (prefix, (end, base)) in enumerate(zip(self.wanted[source], ends[source], strict=True)):
            inside = rows[rows[:, 0] == position]
            size = inside[:, 4].astype(np.int64)
            cuts.append(END if end == BINS else nearest_cut(inside[:, 1:4], size, prefix.size - base))
        return {"cuts": [f"{cut:x}" for cut in cuts]}

    def _parts(self, source: str, kind: str) -> Iterator[NDArray[Any]]:
        for shard in self.pool.table.shards:
            if shard.source == source:
                yield storage.read_array(f"{self.folder}/{shard.name}.{kind}.npy")
