"""Exact quantiles of a column over any number of shards, in the single precision of its values and bounded memory.

The bits of a float32, with the sign turned over, order as the numbers do. One pass counts the upper 16 bits of every
value, a second one the lower 16 bits of the values in the bins in which the wanted ranks lie.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Group = TypeVar("Group", bound=Hashable)
Counts = Mapping[str, int]
"""How many values have some bits; keys are decimal numbers, as JSON has no others."""


def ordered_bits(values: NDArray[np.float32]) -> NDArray[np.uint32]:
    """Unsigned numbers in the order of the values, which must not be NaN.

    Examples
    --------
    >>> bits = ordered_bits(np.array([-2, -1, 0, 1.5], np.float32))
    >>> bool((np.diff(bits.astype(np.int64)) > 0).all()), values_of(bits).tolist()
    (True, [-2.0, -1.0, 0.0, 1.5])
    """
    bits = (values + np.float32(0)).view(np.uint32)  # one zero, not two
    return np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31)).astype(np.uint32)


def values_of(bits: NDArray[np.uint32]) -> NDArray[np.float32]:
    """The inverse of `ordered_bits`."""
    return np.where(bits >> 31, bits & np.uint32((1 << 31) - 1), ~bits).astype(np.uint32).view(np.float32)


def count(keys: NDArray[np.uint32]) -> dict[str, int]:
    """How often each key is there."""
    found, counts = np.unique(keys, return_counts=True)
    return {str(key): n for key, n in zip(found.tolist(), counts.tolist(), strict=True)}


def add(into: dict[str, int], more: Counts) -> None:
    """Add counts."""
    for key, n in more.items():
        into[key] = into.get(key, 0) + n


def locate(counts: Counts, ranks: Sequence[int]) -> list[tuple[int, int]]:
    """For each rank, counted from 0, the key of the value there and the rank among those of that key.

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
    """How many values have which upper 16 bits; values must not be NaN."""
    return count(ordered_bits(values) >> np.uint32(16))


def coarse_quantile(counts: Counts, share: float) -> float:
    """The value at the rank floor(share n), to 0.4 %: the middle of those that have its upper 16 bits.

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
    """Upper halves of values, or the values whose upper half is in `bins`; NaN is none."""
    keys = ordered_bits(values[~np.isnan(values)])
    return count(keys >> np.uint32(16)) if bins is None else count(keys[np.isin(keys >> 16, bins)])


def exact_quantiles(
    counting: Callable[[Mapping[Group, Sequence[int]] | None], Mapping[Group, Counts]],
    ranks: Callable[[Group, int], Sequence[int]],
) -> dict[Group, NDArray[np.float32]]:
    """The values of each group at some ranks, counted from 0, in two passes.

    Parameters
    ----------
    counting
        Makes one pass over all shards and gives what `counted` found in each group: the upper halves, and then, given
        those that matter by group, the values that have one of these.
    ranks
        Of a group, by its name and number of values; none for a group of which nothing is wanted.

    Examples
    --------
    >>> values = np.arange(100, dtype=np.float32)
    >>> found = exact_quantiles(lambda bins: {"a": counted(values, bins and bins["a"])}, lambda _, n: [n // 2, n - 1])
    >>> found["a"].tolist()
    [50.0, 99.0]
    """
    places: dict[Group, list[tuple[int, int]]] = {}
    for group, counts in counting(None).items():
        wanted = ranks(group, sum(counts.values()))
        if wanted:
            places[group] = locate(counts, wanted)
    if not places:
        return {}
    lower = counting({group: sorted({key for key, _ in found}) for group, found in places.items()})
    quantiles = {}
    for group, found in places.items():
        within: dict[int, dict[str, int]] = {}
        for key, n in lower[group].items():
            within.setdefault(int(key) >> 16, {})[key] = n
        keys = [locate(within[key], [rank])[0][0] for key, rank in found]
        quantiles[group] = values_of(np.array(keys, np.uint32))
    return quantiles


def rows_by_group(values: NDArray[np.float32], groups: NDArray[np.object_]) -> dict[str, NDArray[np.int64]]:
    """Rows that have a value, by their group, in one sort however many groups there are; those of None are left out.

    Examples
    --------
    >>> found = rows_by_group(np.array([1, 2, np.nan, 3], np.float32), np.array(["b", "a", "a", "b"], object))
    >>> {group: rows.tolist() for group, rows in found.items()}
    {'a': [1], 'b': [0, 3]}
    """
    known = np.flatnonzero(~np.isnan(values) & np.not_equal(groups, np.array(None, object)))
    names, place = np.unique(groups[known].astype(str), return_inverse=True)
    ends = np.cumsum(np.bincount(place, minlength=len(names)))
    parts = np.split(known[np.argsort(place, kind="stable")], ends[:-1])
    return dict(zip(names.tolist(), parts, strict=False))
