"""Finding cuts (see `curate.models.budget`) in a table, whatever the size of the corpus.

One pass over the shards makes histograms, a second one collects the documents of the bins in which the cuts lie. Only
ids and sizes are read, and what travels is 32 kB per shard and order, and 40 bytes per document of a boundary bin.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate import storage
from curate.artifact import Shard
from curate.engine.context import Context
from curate.models.budget import BINS, END, below, bins, boundary, histogram, id_bytes, keys, nearest_cut
from curate.table import Table

VALIDATION = "validation"
"""Salt of the order whose first documents are held out."""

SIZES = {"tokens": "tokens", "bytes": "kept_bytes"}
"""Columns that hold the sizes of documents, by unit."""


@dataclass(frozen=True)
class Prefix:
    """The documents that come first in the order of the keys of one salt, up to a size."""

    salt: str
    size: int


@dataclass(frozen=True)
class Pool:
    """The kept documents of a table, without those that are held out.

    Parameters
    ----------
    table
        Has the columns ``id``, ``keep`` and those of `SIZES`.
    seed
        The run's seed.
    held_out
        Validation cut by source; documents below it are not in the pool.
    """

    table: Table
    seed: int
    held_out: Mapping[str, int] = field(default_factory=dict)

    def read(self, shard: Shard) -> tuple[NDArray[np.uint8], dict[str, NDArray[np.int64]]]:
        """Ids, shape (documents, 16), and sizes by unit, shape (documents,), of one shard."""
        columns = self.table.read(shard, ("id", "keep", *SIZES.values()))
        columns = columns.filter(columns.column("keep"))
        ids, sizes = id_bytes(columns.column("id")), sizes_of(columns)
        if shard.source in self.held_out:
            chosen = ~below(self.keys(VALIDATION, ids), self.held_out[shard.source])
            return ids[chosen], {unit: size[chosen] for unit, size in sizes.items()}
        return ids, sizes

    def keys(self, salt: str, ids: NDArray[np.uint8]) -> NDArray[np.uint64]:
        """Keys of documents in the order of `salt`, shape (documents, 3)."""
        return keys(self.seed, salt, ids)


def sizes_of(columns: pa.Table) -> dict[str, NDArray[np.int64]]:
    """Sizes of documents by unit, 0 where they are null."""
    return {unit: columns.column(name).fill_null(0).to_numpy().astype(np.int64) for unit, name in SIZES.items()}


def find_cuts(
    ctx: Context, name: str, pool: Pool, unit: str, wanted: Mapping[str, Sequence[Prefix]]
) -> dict[tuple[str, Prefix], int]:
    """The cut of each prefix.

    Parameters
    ----------
    ctx
        Of the stage; its folder ``_cuts`` is used.
    name
        Of this search within the stage.
    pool
        Where to cut.
    unit
        Which size counts.
    wanted
        Prefixes by source.
    """
    folder = f"{ctx.path}/_cuts/{name}"
    salts = {source: sorted({prefix.salt for prefix in each}) for source, each in wanted.items() if each}
    ctx.map_shards(partial(_histogram_shard, pool, unit, salts, folder), phase=f"{name}-histogram")
    ends: dict[str, dict[Prefix, tuple[int, int]]] = {}
    for source, orders in salts.items():
        totals = np.zeros((len(orders), BINS), np.int64)
        for part in _parts(ctx, source, folder, "histogram"):
            totals += part
        ends[source] = {p: boundary(totals[orders.index(p.salt)], p.size) for p in wanted[source]}
    sought = {
        source: sorted({(prefix.salt, end) for prefix, (end, _) in each.items() if end < BINS})
        for source, each in ends.items()
    }
    ctx.map_shards(partial(_boundary_shard, pool, unit, sought, folder), phase=f"{name}-boundary")
    cuts = {}
    for source, each in ends.items():
        entries = np.concatenate([np.empty((0, 5), np.uint64), *_parts(ctx, source, folder, "boundary")])
        for prefix, (end, base) in each.items():
            if end == BINS:
                cuts[source, prefix] = END
            else:
                inside = entries[entries[:, 0] == sought[source].index((prefix.salt, end))]
                cuts[source, prefix] = nearest_cut(inside[:, 1:4], inside[:, 4].astype(np.int64), prefix.size - base)
    return cuts


def _histogram_shard(
    pool: Pool, unit: str, salts: Mapping[str, Sequence[str]], folder: str, shard: Shard
) -> dict[str, Any]:
    if shard.source in salts:
        ids, sizes = pool.read(shard)
        rows = [histogram(pool.keys(salt, ids), sizes[unit]) for salt in salts[shard.source]]
        _save(f"{folder}/{shard.name}.histogram.npy", np.stack(rows))
    return {}


def _boundary_shard(
    pool: Pool, unit: str, sought: Mapping[str, Sequence[tuple[str, int]]], folder: str, shard: Shard
) -> dict[str, Any]:
    """Rows of position in `sought`, key (3 words) and size, for the documents that lie in a boundary bin."""
    if shard.source in sought:
        ids, sizes = pool.read(shard)
        found = [np.empty((0, 5), np.uint64)]
        for position, (salt, end) in enumerate(sought[shard.source]):
            key = pool.keys(salt, ids)
            inside = bins(key) == end
            place = np.full(int(inside.sum()), position, np.uint64)
            found.append(np.column_stack([place, key[inside], sizes[unit][inside].astype(np.uint64)]))
        _save(f"{folder}/{shard.name}.boundary.npy", np.concatenate(found))
    return {}


def _parts(ctx: Context, source: str, folder: str, kind: str) -> list[NDArray[Any]]:
    return [_load(f"{folder}/{shard.name}.{kind}.npy") for shard in ctx.table.shards if shard.source == source]


def _save(path: str, array: NDArray[Any]) -> None:
    with storage.replacing(path) as file:
        np.save(file, array)


def _load(path: str) -> NDArray[Any]:
    fs, inner = storage.filesystem(path)
    with fs.open(inner, "rb") as file:
        return np.load(file)  # type: ignore[arg-type]
