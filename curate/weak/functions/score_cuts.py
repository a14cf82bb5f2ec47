"""Cuts of scores: exact quantiles over the corpus, found in two passes over small columns."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from curate.artifact import Shard
from curate.stats.quantiles import add, counted, exact_quantiles, rows_by_group
from curate.table import Table
from curate.weak.functions.config import Voter
from curate.weak.functions.votes import frame_of, members, scores

if TYPE_CHECKING:
    from curate.engine.context import Context

Key = tuple[str, str]
"""A function, and a group of its `by`."""


def score_cuts(
    ctx: "Context", voters: Sequence[Voter], sources: Sequence[str] | None = None
) -> dict[str, dict[str, list[float]]]:
    """Cuts that make the buckets of scores equally full, by function and group; equal scores make equal cuts.

    Parameters
    ----------
    ctx
        Of the stage.
    voters
        Functions, those that look at scores among them.
    sources
        Sources whose documents count; all unless given.
    """
    ordered = {voter.name: voter for voter in voters if voter.kind == "score"}
    if not ordered:
        return {}
    shards = [shard for shard in ctx.table.shards if sources is None or shard.source in sources]

    def counting(bins: Mapping[Key, Sequence[int]] | None) -> dict[Key, dict[str, int]]:
        task = partial(_count, ctx.table, list(ordered.values()), bins)
        total: dict[Key, dict[str, int]] = {}
        for result in ctx.map(task, shards, phase="upper" if bins is None else "lower"):
            for name, groups in result["counts"].items():
                for group, counts in groups.items():
                    add(total.setdefault((name, group), {}), counts)
        return total

    def ranks(key: Key, n: int) -> list[int]:
        buckets = ordered[key[0]].function.ordered
        # Fewer documents than buckets tell nothing of where one of them stands.
        return [bucket * n // buckets for bucket in range(1, buckets)] if n >= buckets else []

    cuts: dict[str, dict[str, list[float]]] = {}
    for (name, group), found in sorted(exact_quantiles(counting, ranks).items()):
        cuts.setdefault(name, {})[group] = found.tolist()
    return cuts


def _count(
    table: Table, voters: Sequence[Voter], bins: Mapping[Key, Sequence[int]] | None, shard: Shard
) -> dict[str, Any]:
    """Count the scores of a shard, by function and group, within each function's sources and ``where``."""
    frame = frame_of(table.read(shard, list(dict.fromkeys(name for voter in voters for name in voter.columns()))))
    found: dict[str, dict[str, dict[str, int]]] = {}
    for voter in voters:
        values, groups = scores(voter, frame)
        values = np.where(members(voter, frame, shard.source)[0], values, np.float32(np.nan))
        for group, rows in rows_by_group(values, groups).items():
            own = None if bins is None else bins.get((voter.name, group), ())
            found.setdefault(voter.name, {})[group] = counted(values[rows], own)
    return {"counts": found}
