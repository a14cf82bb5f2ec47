"""Exact quantiles of a column over any number of shards, in the single precision of its values and bounded memory.

The bits of a float32, with the sign turned over, order as the numbers do. One pass counts the upper 16 bits of every
value, a second one the lower 16 bits of the values in the bins in which the wanted ranks lie.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

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
