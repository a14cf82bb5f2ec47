"""Rows of votes sorted by key; rows with equal keys are sorted by their content.

Only identical rows tie in this order. The rows with the lowest keys are therefore the same however the documents were
cut into shards and in whatever order the shards were merged.
"""

import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curate.text.words import GOLDEN

Keys = NDArray[np.uint64]
Votes = NDArray[np.int8]

EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip file can hold


def hashed(numbers: NDArray[np.uint64], seed: int = 0) -> Keys:
    """A bijective mix of 64-bit numbers (the finalizer of SplitMix64; Steele, Lea and Flood 2014).

    Examples
    --------
    >>> hashed(np.array([0, 1], np.uint64)).tolist()
    [16294208416658607535, 10451216379200822465]
    """
    with np.errstate(over="ignore"):
        z = numbers + GOLDEN * np.uint64(seed + 1)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def order(keys: Keys, *columns: NDArray[Any]) -> NDArray[np.int64]:
    """Positions that sort rows by key and, where keys are equal, by the columns from the first to the last.

    Parameters
    ----------
    keys
        Shape (rows,).
    columns
        Shape (rows,) or (rows, any).
    """
    by_key = np.argsort(keys, kind="stable")
    same = keys[by_key][1:] == keys[by_key][:-1]
    if not same.any():
        return by_key
    tied = np.concatenate([same, [False]]) | np.concatenate([[False], same])
    places, rows = np.flatnonzero(tied), by_key[tied]
    flat = [part for column in columns for part in np.atleast_2d(column[rows].T)]
    by_key[places] = rows[np.lexsort([*flat[::-1], keys[rows]])]
    return by_key


@dataclass(frozen=True)
class SampleRows:
    """A sample of rows, sorted by key.

    Parameters
    ----------
    keys
        Shape (rows,).
    votes
        Shape (rows, functions).
    """

    keys: Keys
    votes: Votes

    @classmethod
    def lowest(cls, keys: Keys, votes: Votes, capacity: int) -> "SampleRows":
        """The `capacity` rows that sort first."""
        if len(keys) > capacity:
            last = np.partition(keys, capacity)[capacity]
            candidates = np.flatnonzero(keys <= last)
            keys, votes = keys[candidates], votes[candidates]
        first = order(keys, votes)[:capacity]
        return cls(keys[first], votes[first])

    def merged(self, other: "SampleRows", capacity: int) -> "SampleRows":
        """The `capacity` rows of both samples that sort first."""
        keys, votes = np.concatenate([self.keys, other.keys]), np.concatenate([self.votes, other.votes])
        return SampleRows.lowest(keys, votes, capacity)


@dataclass(frozen=True)
class GoldRows:
    """Rows with a gold label, sorted by key.

    Parameters
    ----------
    keys, votes
        As in `SampleRows`.
    labels
        Shape (rows,): the true classes.
    weights
        Shape (rows,): inverse of the probability that the row was drawn.
    """

    keys: Keys
    votes: Votes
    labels: NDArray[np.int8]
    weights: NDArray[np.float64]

    @classmethod
    def labeled(
        cls, keys: Keys, votes: Votes, labels: NDArray[np.int8] | None, weights: NDArray[np.float64] | None
    ) -> "GoldRows":
        """The rows with a label of at least 0."""
        rows = np.flatnonzero(labels >= 0) if labels is not None else np.empty(0, np.int64)
        gold_labels = labels[rows] if labels is not None else np.empty(0, np.int8)
        return cls(
            keys[rows], votes[rows], gold_labels, np.ones(len(rows)) if weights is None else weights[rows]
        )._ordered()

    def merged(self, other: "GoldRows") -> "GoldRows":
        """All rows of both."""
        return GoldRows(
            np.concatenate([self.keys, other.keys]),
            np.concatenate([self.votes, other.votes]),
            np.concatenate([self.labels, other.labels]),
            np.concatenate([self.weights, other.weights]),
        )._ordered()

    def _ordered(self) -> "GoldRows":
        rows = order(self.keys, self.votes, self.labels, self.weights)
        return GoldRows(self.keys[rows], self.votes[rows], self.labels[rows], self.weights[rows])


def write_npz(path: str | PathLike[str], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays as `numpy.savez` does, but with a fixed timestamp: the same arrays always give the same bytes."""
    with zipfile.ZipFile(Path(path), "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
        for name, array in arrays.items():
            content = io.BytesIO()
            np.lib.format.write_array(content, np.ascontiguousarray(array), allow_pickle=False)
            file.writestr(zipfile.ZipInfo(f"{name}.npy", EPOCH), content.getvalue(), zipfile.ZIP_DEFLATED, 1)
