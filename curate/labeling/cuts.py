"""Cuts of scores: exact quantiles over the corpus, found in two passes over small columns."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from curate.artifact import Shard
from curate.labeling.config import Voter
from curate.labeling.votes import frame_of, members, scores
from curate.models.quantiles import add, counted, exact_quantiles, rows_by_group
from curate.table import Table

if TYPE_CHECKING:
    from curate.engine.context import Context

Counts = dict[str, dict[str, dict[str, int]]]
"""By function and group: how many values have some bits."""


def quantile_cuts(
    counting: Callable[[Mapping[str, Mapping[str, Sequence[int]]]], Sequence[Counts]],
    shares: Mapping[str, Sequence[float]],
) -> dict[str, dict[str, list[float]]]:
    """Cuts at some shares of the documents: that of share q of n values has the rank floor(q n), counted from 0.

    Parameters
    ----------
    counting
        Makes one pass over all shards: counts the upper halves of the values, or, given the upper halves by name and
        group, the values that have one of these.
    shares
        Shares by name.

    Returns
    -------
    dict
        Cuts by name and group; equal values make equal cuts.
    """

    def ranks(key: tuple[str, str], n: int) -> list[int]:
        wanted = shares[key[0]]
        if n <= len(wanted):  # fewer documents than buckets tell nothing of where one of them stands
            return []
        return [min(int(q * n + 1e-9), n - 1) for q in wanted]

    def counted_flat(bins: Mapping[tuple[str, str], Sequence[int]] | None) -> dict[tuple[str, str], dict[str, int]]:
        nested: dict[str, dict[str, Sequence[int]]] = {}
        for (name, group), keys in (bins or {}).items():
            nested.setdefault(name, {})[group] = keys
        total = _total(counting(nested))
        return {(name, group): counts for name, groups in total.items() for group, counts in groups.items()}

    cuts: dict[str, dict[str, list[float]]] = {}
    for (name, group), found in sorted(exact_quantiles(counted_flat, ranks).items()):
        cuts.setdefault(name, {})[group] = found.tolist()
    return cuts


def _total(results: Sequence[Counts]) -> Counts:
    total: Counts = {}
    for result in results:
        for name, groups in result.items():
            for group, counts in groups.items():
                add(total.setdefault(name, {}).setdefault(group, {}), counts)
    return total


def count_scores(
    table: Table, voters: Sequence[Voter], bins: Mapping[str, Mapping[str, Sequence[int]]], shard: Shard
) -> dict[str, Any]:
    """Count the scores of a shard, by function and group, within each function's sources and ``where``."""
    frame = frame_of(table.read(shard, list(dict.fromkeys(name for voter in voters for name in voter.columns()))))
    found: Counts = {}
    for voter in voters:
        values, groups = scores(voter, frame)
        values = np.where(members(voter, frame, shard.source)[0], values, np.float32(np.nan))
        for group, rows in rows_by_group(values, groups).items():
            own = bins.get(voter.name, {}).get(group, ()) if bins else None
            found.setdefault(voter.name, {})[group] = counted(values[rows], own)
    return {"counts": found}


def score_cuts(
    ctx: "Context", voters: Sequence[Voter], sources: Sequence[str] | None = None
) -> dict[str, dict[str, list[float]]]:
    """Cuts that make the buckets of scores equally full, by function and group.

    Parameters
    ----------
    ctx
        Of the stage.
    voters
        Functions, those that look at scores among them.
    sources
        Sources whose documents count; all unless given.
    """
    ordered = [voter for voter in voters if voter.kind == "score"]
    if not ordered:
        return {}
    shards = [shard for shard in ctx.table.shards if sources is None or shard.source in sources]

    def counting(bins: Mapping[str, Mapping[str, Sequence[int]]]) -> list[Counts]:
        task = partial(count_scores, ctx.table, ordered, bins)
        return [result["counts"] for result in ctx.map(task, shards, phase="lower" if bins else "upper")]

    shares = {v.name: [b / v.function.ordered for b in range(1, v.function.ordered)] for v in ordered}
    return quantile_cuts(counting, shares)
