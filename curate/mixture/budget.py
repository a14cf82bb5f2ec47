"""Mixtures to exact budgets: which copy of which document is in which rung of a ladder.

A document's copy of epoch ``e`` has the key ``(hash64(seed, "mix/e", id), id)``, and a source that gives ``T`` of its
``A`` available tokens gives ``T // A`` whole epochs and, of the next one, the documents whose keys lie under a *cut*:
the prefix of that epoch, in the order of the keys, whose size is nearest to what is left. A growing ``T`` only ever
moves cuts up, so rungs nest, source by source; no state, no order of reading and no number of workers plays a part.
An epoch may be repeated (Muennighoff et al. 2023, arXiv 2305.16264) up to a limit per source.

Keys are totally ordered 192-bit numbers (64 bits of hash, then 128 of id, against collisions). A cut is found in two
steps that need no sort of the corpus: a histogram of sizes over the top bits of the hash finds the bin in which the cut
lies, and sorting that one bin finds the cut.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from curate.text.hashing import order_keys

BIN_BITS = 12  # a bin of a source of 10^9 documents has 244,000 of them: 10 MB to sort
BINS = 1 << BIN_BITS
ID_BITS = 128
KEY_BITS = 64 + ID_BITS

START, END = 0, 1 << KEY_BITS  # cuts below and above all keys


@dataclass(frozen=True)
class Reach:
    """How far a source goes in one rung: whole epochs, and then keys of the next epoch under a cut.

    Parameters
    ----------
    epochs
        Copies that every document of the source has.
    cut
        Documents of epoch number `epochs` (from 0) whose keys are below it have one copy more.
    """

    epochs: int
    cut: int

    def to_json(self) -> dict[str, int | str]:
        """JSON object; the cut has 49 hexadecimal digits."""
        return {"epochs": self.epochs, "cut": f"{self.cut:049x}"}

    @classmethod
    def from_json(cls, value: Mapping[str, int | str]) -> "Reach":
        """The inverse of `to_json`.

        Examples
        --------
        >>> Reach.from_json(Reach(2, END).to_json()) == Reach(2, END)
        True
        """
        return cls(int(value["epochs"]), int(str(value["cut"]), 16))


def rung_name(rung: int) -> str:
    """Name of a rung by its index.

    Examples
    --------
    >>> rung_name(3)
    'rung-03'
    """
    return f"rung-{rung:02d}"


# -- sizes -------------------------------------------------------------------------------------------------------------


def normalized(weights: Mapping[str, float]) -> dict[str, float]:
    """Weights that sum to one.

    Examples
    --------
    >>> normalized({"web": 3, "books": 1})
    {'web': 0.75, 'books': 0.25}
    """
    total = sum(weights.values())
    return {source: weight / total for source, weight in weights.items()}


def capacity(available: int, max_epochs: float) -> int:
    """The most that a source gives.

    Examples
    --------
    >>> capacity(1000, 2.5), capacity(10, 1.1)
    (2500, 11)
    """
    return int(available * _exact(max_epochs))


def largest_budget(shares: Mapping[str, float], capacities: Mapping[str, int]) -> int:
    """The largest total whose parts by `shares` (summing to one) lie within `capacities`; sources of share 0 are free.

    Examples
    --------
    >>> largest_budget({"web": 0.75, "books": 0.25}, {"web": 900, "books": 200})
    800
    """
    return min(int(capacities[source] / _exact(share)) for source, share in shares.items() if share)


def _exact(number: float) -> Fraction:
    """The simple fraction that `number` stands for, so that 10 x 1.1 is 11 and 3 x (1 / 3) is 1."""
    return Fraction(number).limit_denominator(10**12)


def target(share: float, budget: int) -> int:
    """What a source of `share` gives to a `budget`; never falls as the budget grows.

    Examples
    --------
    >>> target(0.3, 1001)
    300
    """
    return round(share * budget)


def whole_epochs(wanted: int, available: int) -> tuple[int, int]:
    """Whole epochs of a source, and what is left for the next one.

    Examples
    --------
    >>> whole_epochs(2500, 1000), whole_epochs(0, 0)
    ((2, 500), (0, 0))
    """
    return divmod(wanted, available) if available else (0, 0)


# -- keys and cuts -----------------------------------------------------------------------------------------------------


def epoch_salt(epoch: int) -> str:
    """Salt of the keys of one epoch."""
    return f"mix/{epoch}"


def bins(key: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Histogram bin of each key, shape (documents,)."""
    return (key[:, 0] >> np.uint64(64 - BIN_BITS)).astype(np.int64)


def histogram(key: NDArray[np.uint64], sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Sum of sizes per bin, shape (BINS,)."""
    totals = np.zeros(BINS, np.int64)
    np.add.at(totals, bins(key), sizes)
    return totals


def boundary(totals: NDArray[np.int64], wanted: int) -> tuple[int, int]:
    """The bin in which a prefix of size `wanted` ends, and the size of all bins before it.

    Examples
    --------
    >>> boundary(np.array([3, 0, 5]), 3), boundary(np.array([3, 0, 5]), 8)
    ((2, 3), (3, 8))
    """
    ends = np.concatenate([[0], np.cumsum(totals)])
    found = int(np.searchsorted(ends[1:], wanted, side="right"))
    return found, int(ends[found])


def nearest_cut(key: NDArray[np.uint64], sizes: NDArray[np.int64], wanted: int) -> int:
    """The cut of the prefix, in the order of the keys, whose size is nearest to `wanted`; the shorter of two as near.

    Parameters
    ----------
    key, sizes
        Documents in any order, shapes (documents, 3) and (documents,); sizes are not negative.
    wanted
        At most half of the size of one document away from the prefix's size, unless all documents are less.

    Examples
    --------
    >>> key = np.array([[5, 0, 1], [2, 0, 9], [5, 0, 0]], np.uint64)
    >>> cut = nearest_cut(key, np.array([10, 10, 10]), wanted=14)
    >>> below(key, cut).tolist()
    [False, True, False]
    """
    order = np.lexsort((key[:, 2], key[:, 1], key[:, 0]))
    ends = np.concatenate([[0], np.cumsum(sizes[order])])
    taken = int(np.argmin(np.abs(ends - wanted)))
    if taken == len(order):
        return number(key[order[-1]]) + 1 if taken else START
    return number(key[order[taken]])


def number(key: NDArray[np.uint64]) -> int:
    """A key of shape (3,) as one integer."""
    first, high, low = (int(part) for part in key)
    return first << ID_BITS | high << 64 | low


def extremes(key: NDArray[np.uint64]) -> list[int]:
    """The smallest and the largest of some keys, of shape (documents, 3); none of none."""
    order = np.lexsort((key[:, 2], key[:, 1], key[:, 0]))
    return [number(key[order[0]]), number(key[order[-1]])] if len(key) else []


def below(key: NDArray[np.uint64], cut: int) -> NDArray[np.bool_]:
    """Which keys are below `cut`, shape (documents,)."""
    if cut >= END:
        return np.ones(len(key), bool)
    first, high, low = (np.uint64(cut >> shift & (1 << 64) - 1) for shift in (ID_BITS, 64, 0))
    under_id = (key[:, 1] < high) | ((key[:, 1] == high) & (key[:, 2] < low))
    return (key[:, 0] < first) | ((key[:, 0] == first) & under_id)


def copies(seed: int, ids: NDArray[np.uint8], reaches: Sequence[Reach]) -> NDArray[np.int32]:
    """How many copies of each document each rung holds: those of epochs 0, 1, ...

    Parameters
    ----------
    seed
        The run's seed.
    ids
        Documents of one source, without those held out for validation, shape (documents, 16).
    reaches
        The source's reach by rung, not falling.

    Returns
    -------
    NDArray[np.int32]
        Shape (documents, rungs), not falling along a row.
    """
    result = np.empty((len(ids), len(reaches)), np.int32)
    by_epoch = {found.epochs: order_keys(seed, epoch_salt(found.epochs), ids) for found in reaches}
    for rung, found in enumerate(reaches):
        result[:, rung] = found.epochs + below(by_epoch[found.epochs], found.cut)
    return result
