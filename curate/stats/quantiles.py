"""Exact quantiles of a column over any number of shards, for float32 values and in bounded memory.

The bits of a float32 can be mapped to an unsigned integer with the same order (`ordered_bits`). A first pass over the
shards counts the upper 16 bits of all values. A second pass counts the values in the bins that contain the wanted
ranks.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Group = TypeVar("Group", bound=Hashable)
Counts = Mapping[str, int]
"""Number of values by their ordered bits. The keys are decimal strings, because JSON keys are strings."""


def ordered_bits(values: NDArray[np.float32]) -> NDArray[np.uint32]:
    """Return unsigned integers with the same order as the values, which must not be NaN.

    Examples
    --------
    >>> bits = ordered_bits(np.array([-2, -1, 0, 1.5], np.float32))
    >>> bool((np.diff(bits.astype(np.int64)) > 0).all()), values_of(bits).tolist()
    (True, [-2.0, -1.0, 0.0, 1.5])
    """
    bits = (values + np.float32(0)).view(np.uint32)  # maps -0 to 0
    return np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31)).astype(np.uint32)


def values_of(bits: NDArray[np.uint32]) -> NDArray[np.float32]:
    """Return the values with the given ordered bits: the inverse of `ordered_bits`."""
    return np.where(bits >> 31, bits & np.uint32((1 << 31) - 1), ~bits).astype(np.uint32).view(np.float32)


def count(keys: NDArray[np.uint32]) -> dict[str, int]:
    """Return the number of occurrences of each key."""
    distinct_keys, counts = np.unique(keys, return_counts=True)
    return {str(key): n for key, n in zip(distinct_keys.tolist(), counts.tolist(), strict=True)}


def add(totals: dict[str, int], counts: Counts) -> None:
    """Add counts to `totals`, in place."""
    for key, n in counts.items():
        totals[key] = totals.get(key, 0) + n


def locate(counts: Counts, ranks: Sequence[int]) -> list[tuple[int, int]]:
    """Return, for each rank, the key of the value with this rank, and its rank among the values with this key.

    Ranks count from 0.

    Examples
    --------
    >>> locate({"7": 2, "3": 2}, [0, 2, 3])
    [(3, 0), (7, 0), (7, 1)]
    """
    keys = sorted(map(int, counts))
    ends = np.cumsum([counts[str(key)] for key in keys])
    places = np.searchsorted(ends, ranks, side="right").tolist()
    starts = np.concatenate([[0], ends]).tolist()
    return [(keys[place], rank - starts[place]) for place, rank in zip(places, ranks, strict=True)]


def coarse(values: NDArray[np.float32]) -> dict[str, int]:
    """Count the values by their upper 16 bits. Values must not be NaN."""
    return count(ordered_bits(values) >> np.uint32(16))


def coarse_quantile(counts: Counts, share: float) -> float:
    """Return the value at the rank floor(share n), to 0.4 %: the middle of all values with the same upper 16 bits.

    Examples
    --------
    >>> counts = coarse(np.arange(1, 101, dtype=np.float32))
    >>> coarse_quantile(counts, 0.5), coarse_quantile(counts, 1.0)
    (51.125, 100.25)
    """
    rank = min(int(share * sum(counts.values()) + 1e-9), sum(counts.values()) - 1)
    key = locate(counts, [rank])[0][0]
    return float(values_of(np.array([key << 16 | 1 << 15], np.uint32))[0])


def counted(values: NDArray[np.float32], bins: Sequence[int] | None) -> dict[str, int]:
    """Count values by the upper 16 of their ordered bits or, within `bins`, by all bits. NaN is not counted.

    Parameters
    ----------
    values
        Shape (documents,).
    bins
        Upper 16 bits of the values to count; None counts all values by their upper 16 bits.
    """
    keys = ordered_bits(values[~np.isnan(values)])
    return count(keys >> np.uint32(16)) if bins is None else count(keys[np.isin(keys >> 16, bins)])


def exact_quantiles(
    counting: Callable[[Mapping[Group, Sequence[int]] | None], Mapping[Group, Counts]],
    ranks: Callable[[Group, int], Sequence[int]],
) -> dict[Group, NDArray[np.float32]]:
    """Return the values of each group at the wanted ranks, in two passes.

    Parameters
    ----------
    counting
        Function that makes one pass over all shards and returns the result of `counted` by group. The first call gets
        None, the second call the bins to count by group.
    ranks
        Function that returns the wanted ranks, counted from 0, for the name and the number of values of a group. A
        group without ranks is left out of the result.

    Returns
    -------
    dict
        Values at the wanted ranks, in the order of the ranks, by group.

    Examples
    --------
    >>> values = np.arange(100, dtype=np.float32)
    >>> result = exact_quantiles(lambda bins: {"a": counted(values, bins and bins["a"])}, lambda _, n: [n // 2, n - 1])
    >>> result["a"].tolist()
    [50.0, 99.0]
    """
    located_by_group: dict[Group, list[tuple[int, int]]] = {}
    for group, counts in counting(None).items():
        wanted = ranks(group, sum(counts.values()))
        if wanted:
            located_by_group[group] = locate(counts, wanted)
    if not located_by_group:
        return {}
    lower_counts = counting({group: sorted({key for key, _ in located}) for group, located in located_by_group.items()})
    quantiles = {}
    for group, located in located_by_group.items():
        counts_by_bin: dict[int, dict[str, int]] = {}
        for key, n in lower_counts[group].items():
            counts_by_bin.setdefault(int(key) >> 16, {})[key] = n
        keys = [locate(counts_by_bin[key], [rank])[0][0] for key, rank in located]
        quantiles[group] = values_of(np.array(keys, np.uint32))
    return quantiles


def rows_by_group(values: NDArray[np.float32], groups: NDArray[np.object_]) -> dict[str, NDArray[np.int64]]:
    """Return the rows of each group whose value is not NaN. Rows without a group (None) are left out.

    One sort serves any number of groups.

    Parameters
    ----------
    values, groups
        Value and group of each row, shape (rows,) each.

    Examples
    --------
    >>> by_group = rows_by_group(np.array([1, 2, np.nan, 3], np.float32), np.array(["b", "a", "a", "b"], object))
    >>> {group: rows.tolist() for group, rows in by_group.items()}
    {'a': [1], 'b': [0, 3]}
    """
    valid_rows = np.flatnonzero(~np.isnan(values) & np.not_equal(groups, np.array(None, object)))
    names, group_index = np.unique(groups[valid_rows].astype(str), return_inverse=True)
    ends = np.cumsum(np.bincount(group_index, minlength=len(names)))
    parts = np.split(valid_rows[np.argsort(group_index, kind="stable")], ends[:-1])
    return dict(zip(names.tolist(), parts, strict=False))
