"""Quality of near-duplicate detection: expected recall, measured recall on planted copies, and audited pairs.

A rate of edits alone says little, because recall depends on the Jaccard similarity that the edits leave. So the exact
similarity of every planted copy is computed. The share of copies that are found is reported beside the share that the
formula of the bands predicts for exactly these similarities.
"""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate.artifact import Shard
from curate.dedup.clusters import Clustering, Shingling
from curate.dedup.manifest import AuditedPairs, PlantedCopies, RecallFacts
from curate.engine.context import EXCHANGE
from curate.engine.exchange import read_partition, write_partitions
from curate.stats.intervals import wilson_interval
from curate.table import Table
from curate.text.words import GOLDEN

if TYPE_CHECKING:
    from curate.engine.context import Context

RATES = (0.01, 0.03, 0.08, 0.2)  # shares of a planted copy's tokens that are edited
PLANTED = 256  # maximum number of documents of which copies are planted
PLANTED_SHARDS = 4  # number of shards from which these documents come
PLANTED_TOKENS = (50, 20_000)  # length of these documents: long enough to edit, shorter than a book
PAIRS_PER_SHARD = 64  # maximum number of audited pairs of a dropped document and its keeper, per shard
PAIRS = 200  # the same for all shards together
MOST_TOKENS = 100_000  # longer documents are not audited: both documents of a pair are in memory at once


class DroppedPair(NamedTuple):
    """Row numbers of a dropped document and its keeper. Pairs are sorted by a hash of the dropped document's row."""

    order: int
    dropped: int
    keeper: int


def measure(ctx: "Context", clustering: Clustering, seed: int, pairs: Sequence[DroppedPair]) -> RecallFacts:
    """Measure recall on planted copies and, unless `verify` is ``jaccard``, audit a sample of the dropped documents.

    Parameters
    ----------
    ctx
        Context of the stage.
    clustering
        How the stage clustered the documents.
    seed
        Seed of the signatures.
    pairs
        Pairs from `sample` of all shards, of which the first `PAIRS` are audited.

    Returns
    -------
    dict
        ``curve``: pairs of a similarity and the probability that two documents of this similarity become candidates.
        ``planted``: for each rate of edits, the copies, their mean similarity, and how many of them were found and were
        expected. ``audited``: the number of audited pairs, and how many of them reach the threshold; empty for exact
        similarities, which need no audit.
    """
    chosen = sorted(pairs)[:PAIRS] if clustering.verify != "jaccard" else []
    audited, planting = _by_shard(ctx.table, chosen), _planting(ctx.table)
    folder = f"{ctx.path}/{EXCHANGE}/sample"
    shards = [shard for shard in ctx.table.shards if shard.name in audited or shard.name in planting]
    ctx.map(partial(_fetch, ctx.table, clustering.shingling, audited, planting, folder), shards, phase="sample")
    task = partial(_measure, clustering, seed, chosen, [f"{folder}/{shard.name}.arrow" for shard in shards])
    return ctx.map(task, ["quality"], phase="quality", keys=["quality"])[0]


def sample(rows: NDArray[np.int64], keepers: NDArray[np.int64]) -> list[list[int]]:
    """Sample pairs of a shard by a hash of the dropped row. Each item holds the fields of a `DroppedPair`."""
    from curate.text.words import mix64

    order = mix64(rows.astype(np.uint64) + GOLDEN) >> np.uint64(11)  # below 2^53, which JSON represents exactly
    first = np.argsort(order, kind="stable")[:PAIRS_PER_SHARD]
    return [list(map(int, pair)) for pair in zip(order[first], rows[first], keepers[first], strict=True)]


def edited(tokens: NDArray[np.uint64], rate: float, draw: int) -> NDArray[np.uint64]:
    """Copy a document with some of its tokens replaced (60 %), deleted (20 %) or followed by a new token (20 %).

    Parameters
    ----------
    tokens
        Hashes of the tokens, shape (tokens,).
    rate
        Probability that a token is edited.
    draw
        Seed of the edits. New tokens differ from all other tokens.

    Examples
    --------
    >>> tokens = np.arange(10_000, dtype=np.uint64)
    >>> copy = edited(tokens, 0.1, draw=1)
    >>> bool(0.91 < np.isin(tokens, copy).mean() < 0.93)
    True
    """
    chance, kind = _uniform(len(tokens), 2 * draw), _uniform(len(tokens), 2 * draw + 1)
    hit = chance < rate
    times = 1 - (hit & (kind >= 0.6) & (kind < 0.8)) + (hit & (kind >= 0.8))
    origin = np.repeat(np.arange(len(tokens)), times)
    copy = np.where(hit & (kind < 0.6), ~tokens, tokens)[origin]
    inserted = np.append(False, origin[1:] == origin[:-1])[: len(copy)]
    copy[inserted] = np.flatnonzero(inserted).astype(np.uint64) * GOLDEN + np.uint64(draw)
    return copy


def _uniform(count: int, stream: int) -> NDArray[np.float64]:
    """Draw numbers in [0, 1) that are the same on every platform and in every version."""
    from curate.text.words import mix64

    base = mix64(np.uint64(stream + 1))
    return (mix64(base + GOLDEN * np.arange(1, count + 1, dtype=np.uint64)) >> np.uint64(11)) / float(1 << 53)


def _planting(table: Table) -> list[str]:
    """Choose the shards, spread over the table, whose first documents are copied."""
    shards = [shard for shard in table.shards if shard.rows]
    step = -(-len(shards) // PLANTED_SHARDS)
    return [shard.name for shard in shards[:: max(step, 1)]]


def _by_shard(table: Table, pairs: Sequence[DroppedPair]) -> dict[str, list[int]]:
    """Group the rows of the pairs' documents by their shard."""
    firsts = np.array([shard.first_row for shard in table.shards])
    rows_by_shard: dict[str, list[int]] = {}
    for row in sorted({row for pair in pairs for row in (pair.dropped, pair.keeper)}):
        shard = table.shards[int(np.searchsorted(firsts, row, side="right")) - 1]
        rows_by_shard.setdefault(shard.name, []).append(row)
    return rows_by_shard


def _fetch(
    table: Table, shingling: Shingling, rows: dict[str, list[int]], planting: Sequence[str], folder: str, shard: Shard
) -> dict[str, Any]:
    """Write the tokens of a shard's audited documents and, if it is chosen, of its first documents, to be copied."""
    audited = np.array(rows.get(shard.name, []), np.int64) - shard.first_row
    first, parts = 0, []
    for batch in table.batches(shard, ["text"]):
        inside = audited[(audited >= first) & (audited < first + batch.num_rows)] - first
        if first == 0 and shard.name in planting:
            parts.append(_tokens(shingling, batch.column(0), np.arange(batch.num_rows), -1))
        if len(inside):
            parts.append(_tokens(shingling, batch.column(0), inside, shard.first_row + first))
        first += batch.num_rows
        if first > audited.max(initial=-1):
            break
    write_partitions(f"{folder}/{shard.name}.arrow", pa.concat_tables(parts), np.zeros(sum(map(len, parts)), int), 1)
    return {"documents": sum(map(len, parts))}


def _tokens(shingling: Shingling, text: pa.Array, rows: NDArray[np.int64], first_row: int) -> pa.Table:
    """Return row numbers and tokens of documents. Documents to be copied have a `first_row` and row numbers of -1."""
    from curate.text.batch import TextBatch

    batch = TextBatch(text.take(pa.array(rows)))
    hashes, offsets, _ = shingling.tokens(batch)
    lengths = np.diff(offsets)
    low, high = PLANTED_TOKENS if first_row < 0 else (1, MOST_TOKENS)
    chosen = np.flatnonzero((lengths >= low) & (lengths <= high))
    chosen = chosen[:: max(len(chosen) * PLANTED_SHARDS // PLANTED, 1)] if first_row < 0 else chosen
    lists = pa.LargeListArray.from_arrays(pa.array(offsets), pa.array(hashes)).take(pa.array(chosen))
    numbers = np.full(len(chosen), -1) if first_row < 0 else rows[chosen] + first_row
    return pa.table({"row": numbers, "tokens": lists})


def _measure(
    clustering: Clustering, seed: int, pairs: Sequence[DroppedPair], paths: Sequence[str], _: str
) -> RecallFacts:
    from curate.dedup.minhash import collision_probability

    similarities = np.arange(30, 101, 5) / 100
    curve = collision_probability(similarities, clustering.banding.bands, clustering.banding.rows).round(4)
    fetched = pa.concat_tables([read_partition([path], 0) for path in paths])
    rows = fetched["row"].to_numpy()
    tokens = [list_.values.to_numpy() for list_ in fetched["tokens"]]
    originals = [tokens[i] for i in np.flatnonzero(rows < 0)[:PLANTED]]
    rates = enumerate(RATES) if originals else ()
    planted = [_planted(clustering, seed, originals, rate, number) for number, rate in rates]
    position = {int(row): i for i, row in enumerate(rows) if row >= 0}
    complete = [pair for pair in pairs if pair.dropped in position and pair.keeper in position]
    audited: AuditedPairs = {}
    if complete:
        similar = _jaccard(
            clustering, [tokens[position[p.dropped]] for p in complete], [tokens[position[p.keeper]] for p in complete]
        )
        reached = int((similar >= clustering.threshold).sum())
        low, high = wilson_interval(reached, len(complete))
        audited = {
            "pairs": len(complete),
            "reached": reached,
            "low": round(low, 4),
            "high": round(high, 4),
            "mean_jaccard": round(float(similar.mean()), 4),
            "least_jaccard": round(float(similar.min()), 4),
        }
    return {
        "curve": np.stack((similarities, curve), axis=1).tolist(),
        "planted": planted,
        "audited": audited,
    }


def _planted(
    clustering: Clustering, seed: int, originals: Sequence[NDArray[np.uint64]], rate: float, number: int
) -> PlantedCopies:
    """Plant an edited copy of each document, and count the copies that are found and that the curve predicts."""
    from curate.dedup.minhash import band_keys, collision_probability, estimate_jaccard, signatures

    bands, rows = clustering.banding.bands, clustering.banding.rows
    copies = [edited(tokens, rate, number * PLANTED + i) for i, tokens in enumerate(originals)]
    similar = _jaccard(clustering, originals, copies)
    minima = [
        signatures(*_joined(side), clustering.shingling.ngram, bands * rows, seed, np.zeros(len(side), np.uint64))
        for side in (originals, copies)
    ]
    met = (band_keys(minima[0], bands, rows) == band_keys(minima[1], bands, rows)).any(axis=1)
    judged = estimate_jaccard(*minima) if clustering.verify == "signature" else similar
    reached = similar >= clustering.threshold
    found_copies = int((met & (judged >= clustering.threshold)).sum())
    low, high = wilson_interval(found_copies, len(copies))
    return {
        "rate": rate,
        "documents": len(copies),
        "mean_jaccard": round(float(similar.mean()), 4),
        "reached": int(reached.sum()),
        "found": found_copies,
        "low": round(low, 4),
        "high": round(high, 4),
        "expected": round(float((collision_probability(similar, bands, rows) * reached).sum()), 2),
    }


def _joined(documents: Sequence[NDArray[np.uint64]]) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    offsets = np.concatenate(([0], np.cumsum([len(tokens) for tokens in documents]))).astype(np.int64)
    return np.concatenate(documents), offsets


def _jaccard(
    clustering: Clustering, left: Sequence[NDArray[np.uint64]], right: Sequence[NDArray[np.uint64]]
) -> NDArray[np.float64]:
    from curate.dedup.minhash import exact_jaccard

    pairs = np.arange(2 * len(left)).reshape(2, -1).T.copy()
    hashes, offsets = _joined([*left, *right])
    return exact_jaccard(hashes, offsets, pairs, clustering.shingling.ngram, np.zeros(len(offsets) - 1, np.uint64))
