"""Mixtures with exact budgets: the copies of documents that each rung of a ladder contains.

The copy of a document in epoch ``e`` has the key ``(hash64(seed, "mix/e", id), id)``. A source with ``A`` available
tokens that contributes ``T`` tokens contributes ``T // A`` whole epochs, and a prefix of the next epoch in the order of
the keys. The prefix contains the documents whose keys are below a *cut*; it is the prefix whose size is nearest to the
rest of ``T``. A larger ``T`` never lowers a cut, so rungs are nested for every source. The result does not depend on
any state, on the order of reading or on the number of workers. Epochs may be repeated (Muennighoff et al. 2023, arXiv
2305.16264) up to a limit per source.

Keys are totally ordered 192-bit numbers: 64 bits of hash, then 128 bits of id, in case hashes collide. A cut is
computed in two steps without sorting the corpus. A histogram of sizes over the top bits of the hash determines the bin
that contains the cut, and sorting this bin determines the cut.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from curate.mixture.manifest import ReachEntry
from curate.text.hashing import order_keys

BIN_BITS = 12  # a bin of a source of 10^9 documents has 244,000 of them: 10 MB to sort
BINS = 1 << BIN_BITS
ID_BITS = 128
KEY_BITS = 64 + ID_BITS

START, END = 0, 1 << KEY_BITS  # cuts below and above all keys


@dataclass(frozen=True)
class Reach:
    """Part of a source that a rung contains: whole epochs, and the keys of the next epoch below a cut.

    Parameters
    ----------
    epochs
        Number of copies of every document of the source.
    cut
        Documents whose keys in epoch number `epochs` (counted from 0) are below the cut have one more copy.
    """

    epochs: int
    cut: int

    def to_json(self) -> ReachEntry:
        """Return a JSON object. The cut has 49 hexadecimal digits."""
        return {"epochs": self.epochs, "cut": f"{self.cut:049x}"}

    @classmethod
    def from_json(cls, value: ReachEntry) -> "Reach":
        """Read the result of `to_json`.

        Examples
        --------
        >>> Reach.from_json(Reach(2, END).to_json()) == Reach(2, END)
        True
        """
        return cls(value["epochs"], int(value["cut"], 16))


def rung_name(rung: int) -> str:
    """Return the name of a rung.

    Examples
    --------
    >>> rung_name(3)
    'rung-03'
    """
    return f"rung-{rung:02d}"


# -- sizes -------------------------------------------------------------------------------------------------------------


def normalized(weights: Mapping[str, float]) -> dict[str, float]:
    """Scale weights so that they sum to one.

    Examples
    --------
    >>> normalized({"web": 3, "books": 1})
    {'web': 0.75, 'books': 0.25}
    """
    total = sum(weights.values())
    return {source: weight / total for source, weight in weights.items()}


def capacity(available: int, max_epochs: float) -> int:
    """Return the maximum size that a source can contribute, for its available size and maximum number of epochs.

    Examples
    --------
    >>> capacity(1000, 2.5), capacity(10, 1.1)
    (2500, 11)
    """
    return int(available * _exact(max_epochs))


def largest_budget(shares: Mapping[str, float], capacities: Mapping[str, int]) -> int:
    """Return the largest budget for which no source exceeds its capacity. Sources with share 0 impose no limit.

    Parameters
    ----------
    shares
        Shares of the budget by source, which sum to one.
    capacities
        Maximum contribution by source.

    Examples
    --------
    >>> largest_budget({"web": 0.75, "books": 0.25}, {"web": 900, "books": 200})
    800
    """
    return min(int(capacities[source] / _exact(share)) for source, share in shares.items() if share)


def _exact(number: float) -> Fraction:
    """Return the simple fraction that is nearest to `number`, so that 10 x 1.1 is 11 and 3 x (1 / 3) is 1."""
    return Fraction(number).limit_denominator(10**12)


def target(share: float, budget: int) -> int:
    """Return the contribution of a source with `share` to a `budget`. It never decreases when the budget grows.

    Examples
    --------
    >>> target(0.3, 1001)
    300
    """
    return round(share * budget)


def whole_epochs(wanted: int, available: int) -> tuple[int, int]:
    """Return the number of whole epochs of a source, and the size that remains for the next epoch.

    Examples
    --------
    >>> whole_epochs(2500, 1000), whole_epochs(0, 0)
    ((2, 500), (0, 0))
    """
    return divmod(wanted, available) if available else (0, 0)


# -- keys and cuts -----------------------------------------------------------------------------------------------------


def epoch_salt(epoch: int) -> str:
    """Return the salt of the keys of an epoch."""
    return f"mix/{epoch}"


def bins(key: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Return the histogram bin of each key, shape (documents,)."""
    return (key[:, 0] >> np.uint64(64 - BIN_BITS)).astype(np.int64)


def histogram(key: NDArray[np.uint64], sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the sum of sizes in each bin, shape (BINS,)."""
    totals = np.zeros(BINS, np.int64)
    np.add.at(totals, bins(key), sizes)
    return totals


def boundary(totals: NDArray[np.int64], wanted: int) -> tuple[int, int]:
    """Return the bin in which a prefix of size `wanted` ends, and the total size of the bins before it.

    Examples
    --------
    >>> boundary(np.array([3, 0, 5]), 3), boundary(np.array([3, 0, 5]), 8)
    ((2, 3), (3, 8))
    """
    ends = np.concatenate([[0], np.cumsum(totals)])
    bin_index = int(np.searchsorted(ends[1:], wanted, side="right"))
    return bin_index, int(ends[bin_index])


def nearest_cut(key: NDArray[np.uint64], sizes: NDArray[np.int64], wanted: int) -> int:
    """Return the cut of the prefix, in the order of the keys, whose size is nearest to `wanted`.

    If two prefixes are equally near, the shorter one is used. The size of the prefix differs from `wanted` by at most
    half of the size of one document, unless all documents together are smaller.

    Parameters
    ----------
    key, sizes
        Keys and sizes of documents in any order, shapes (documents, 3) and (documents,). Sizes must not be negative.
    wanted
        Wanted size of the prefix.

    Examples
    --------
    >>> key = np.array([[5, 0, 1], [2, 0, 9], [5, 0, 0]], np.uint64)
    >>> cut = nearest_cut(key, np.array([10, 10, 10]), wanted=14)
    >>> below(key, cut).tolist()
    [False, True, False]
    """
    order = np.lexsort((key[:, 2], key[:, 1], key[:, 0]))
    ends = np.concatenate([[0], np.cumsum(sizes[order])])
    prefix_length = int(np.argmin(np.abs(ends - wanted)))
    if prefix_length == len(order):
        return number(key[order[-1]]) + 1 if prefix_length else START
    return number(key[order[prefix_length]])


def number(key: NDArray[np.uint64]) -> int:
    """Return a key of shape (3,) as one integer."""
    first, high, low = (int(part) for part in key)
    return first << ID_BITS | high << 64 | low


def extremes(key: NDArray[np.uint64]) -> list[int]:
    """Return the smallest and the largest of keys of shape (documents, 3); an empty list if there are no keys."""
    order = np.lexsort((key[:, 2], key[:, 1], key[:, 0]))
    return [number(key[order[0]]), number(key[order[-1]])] if len(key) else []


def below(key: NDArray[np.uint64], cut: int) -> NDArray[np.bool_]:
    """Return which keys are below `cut`, shape (documents,)."""
    if cut >= END:
        return np.ones(len(key), bool)
    first, high, low = (np.uint64(cut >> shift & (1 << 64) - 1) for shift in (ID_BITS, 64, 0))
    under_id = (key[:, 1] < high) | ((key[:, 1] == high) & (key[:, 2] < low))
    return (key[:, 0] < first) | ((key[:, 0] == first) & under_id)


def copies(seed: int, ids: NDArray[np.uint8], reaches: Sequence[Reach]) -> NDArray[np.int32]:
    """Return the number of copies of each document in each rung. Copies belong to the epochs 0, 1, ...

    Parameters
    ----------
    seed
        Seed of the run.
    ids
        Ids of documents of one source, without those held out for validation, shape (documents, 16).
    reaches
        Reach of the source in each rung, non-decreasing.

    Returns
    -------
    NDArray[np.int32]
        Shape (documents, rungs), non-decreasing along a row.
    """
    result = np.empty((len(ids), len(reaches)), np.int32)
    by_epoch = {reach.epochs: order_keys(seed, epoch_salt(reach.epochs), ids) for reach in reaches}
    for rung, reach in enumerate(reaches):
        result[:, rung] = reach.epochs + below(by_epoch[reach.epochs], reach.cut)
    return result
