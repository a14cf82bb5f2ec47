"""How well a number tells two corpora apart, and where to cut it.

FineWeb (Penedo et al. 2024, arXiv 2406.17557, section 3.6) chose its filters so: statistics of a good and a bad corpus,
histograms side by side, a cut where the bad one has more mass. With the values themselves in the place of histograms
that is the cut with the largest difference between the share of bad documents and the share of good ones beyond it, the
one-sided distance of Kolmogorov and Smirnov. Everything here is exact and depends on the values alone.
"""

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
Side = Literal["<", ">"]

ALPHA = 0.01  # chance that any one of the cuts would be found where the corpora do not differ
MAX_RULES = 12  # chosen together: each has to remove what those before it leave


class ScoreCut(NamedTuple):
    """A rule ``value side threshold``, and how many documents it removes."""

    side: Side
    threshold: float
    bad: int
    good: int


class Separation(NamedTuple):
    """How far two samples are apart.

    Attributes
    ----------
    auc
        Probability that a bad document has the larger value, ties counted half: 0.5 where the signal says nothing.
    ks
        Largest distance between the two distributions, 0 to 1.
    """

    auc: float
    ks: float


class Signal(NamedTuple):
    """One signal's comparison; a cut of None is one that chance could have made, or that costs too much good."""

    name: str
    separation: Separation | None
    cut: ScoreCut | None
    good_null: int
    bad_null: int


class Chosen(NamedTuple):
    """One of several rules that go together, with what it removes beyond those before it."""

    name: str
    cut: ScoreCut


def separation(good: Values, bad: Values) -> Separation | None:
    """How far two samples are apart; None where one is empty.

    Examples
    --------
    >>> separation(np.array([1.0, 2.0]), np.array([2.0, 3.0]))
    Separation(auc=0.875, ks=0.5)
    """
    if not len(good) or not len(bad):
        return None
    good, bad = np.sort(good), np.sort(bad)
    below, up_to = np.searchsorted(good, bad, "left"), np.searchsorted(good, bad, "right")
    auc = int(below.sum() + up_to.sum()) / (2 * len(good) * len(bad))
    values = np.union1d(good, bad)
    distance = np.searchsorted(good, values, "right") / len(good) - np.searchsorted(bad, values, "right") / len(bad)
    return Separation(auc, float(np.abs(distance).max()))


def best_cut(good: Values, bad: Values, totals: tuple[int, int], max_good: int) -> ScoreCut | None:
    """The cut with the largest share of bad documents less the share of good ones beyond it; None where none gains.

    Parameters
    ----------
    good, bad
        Values of the documents that can be removed, without nulls.
    totals
        Documents of the good and of the bad corpus, of which shares are counted.
    max_good
        Good documents that may be removed.

    Examples
    --------
    >>> best_cut(np.array([5.0, 6.0, 7.0]), np.array([1.0, 2.0, 6.0]), (3, 3), 0)
    ScoreCut(side='<', threshold=5.0, bad=2, good=0)
    """
    values = np.union1d(good, bad)
    if len(values) < 2:
        return None
    good, bad = np.sort(good), np.sort(bad)
    # Beyond the gap between two neighbouring values, below it and above it.
    good_below, bad_below = np.searchsorted(good, values[1:]), np.searchsorted(bad, values[1:])
    sides: tuple[tuple[Side, NDArray[np.int64], NDArray[np.int64]], ...] = (
        ("<", good_below, bad_below),
        (">", len(good) - good_below, len(bad) - bad_below),
    )
    best, least = None, 0
    for side, lost, removed in sides:
        gain = np.where(lost <= max_good, removed * totals[0] - lost * totals[1], 0)
        gap = int(gain.argmax())
        if gain[gap] > least:
            least = int(gain[gap])
            threshold = round_cut(float(values[gap]), float(values[gap + 1]), side)
            best = ScoreCut(side, threshold, int(removed[gap]), int(lost[gap]))
    return best


def round_cut(low: float, high: float, side: Side) -> float:
    """The roundest threshold that cuts between two values: above `low`, or equal to it for ``>``; likewise for `high`.

    Examples
    --------
    >>> round_cut(0.2931, 0.3127, "<"), round_cut(37.0, 38.0, ">"), round_cut(48.0, 103.0, "<")
    (0.3, 37.0, 100.0)
    """
    exact = high if side == "<" else low
    if side == ">" and low <= 0 < high:
        return 0.0
    if side == "<" and low < 0 <= high:
        return 0.0
    size = max(abs(low), abs(high))
    if size > 1e300:  # infinite, or without room to be rounded
        return exact
    largest = math.floor(math.log10(size)) + 1
    for power in range(largest, largest - 18, -1):
        step = Fraction(10) ** power
        multiple = math.floor(Fraction(high) / step) if side == "<" else math.ceil(Fraction(low) / step)
        rounded = float(multiple * step)
        if low < rounded <= high if side == "<" else low <= rounded < high:
            return rounded
    return exact


def chance(good: int, bad: int, comparisons: int) -> float:
    """Gain that chance alone would pass in one of `comparisons` with probability `ALPHA` (Smirnov 1939, one-sided).

    Examples
    --------
    >>> round(chance(1000, 1000, 50), 3)
    0.092
    """
    return math.sqrt(math.log(comparisons / ALPHA) / 2 * (good + bad) / (good * bad)) if good and bad else math.inf


Read = Callable[[str], tuple[Values, Values]]
"""Values of a signal of the good and of the bad documents, shape (documents,) each, NaN for null."""


def compare(names: Sequence[str], read: Read, max_good_loss: float) -> list[Signal]:
    """Each signal by itself, the one that gains most first.

    Parameters
    ----------
    names
        Names of the signals.
    read
        Reads the values of one.
    max_good_loss
        Share of the good documents that a cut may remove.
    """
    signals, gains = [], {}
    for name in names:
        good, bad = read(name)
        totals = len(good), len(bad)
        known = good[~np.isnan(good)], bad[~np.isnan(bad)]
        cut = best_cut(*known, totals, _allowed(max_good_loss, totals[0]))
        gain = _gain(cut, totals) if cut else 0.0
        if cut and gain <= chance(*totals, 2 * len(names)):
            cut = None
        gains[name] = gain if cut else 0.0
        nulls = totals[0] - len(known[0]), totals[1] - len(known[1])
        signals.append(Signal(name, separation(*known), cut, *nulls))
    return sorted(signals, key=lambda signal: (-gains[signal.name], -_distance(signal), signal.name))


def choose(names: Sequence[str], read: Read, max_good_loss: float, comparisons: int) -> list[Chosen]:
    """Rules that go together: each time the one that gains most on what is left.

    A rule may lose half of the good documents that may still be lost, so that the first one does not lose them all, and
    is chosen only where it gains more than chance would. One that is chosen again with a cut further on takes the place
    of the earlier one.

    Parameters
    ----------
    names
        Names of the signals.
    read
        Reads the values of one.
    max_good_loss
        Share of the good documents that all rules together may remove.
    comparisons
        Cuts that have been looked at, two for each signal that was compared.
    """
    chosen: dict[tuple[str, Side], Chosen] = {}
    left: tuple[NDArray[np.bool_], NDArray[np.bool_]] | None = None
    for _ in range(MAX_RULES):
        best: tuple[float, str, ScoreCut] | None = None
        for name in names:
            good, bad = read(name)
            totals = len(good), len(bad)
            if left is None:
                left = np.ones(totals[0], bool), np.ones(totals[1], bool)
            budget = -(-(_allowed(max_good_loss, totals[0]) - int((~left[0]).sum())) // 2)
            cut = best_cut(good[left[0] & ~np.isnan(good)], bad[left[1] & ~np.isnan(bad)], totals, budget)
            if cut is None or _gain(cut, totals) <= chance(*totals, comparisons):
                continue
            if best is None or _gain(cut, totals) > best[0]:
                best = _gain(cut, totals), name, cut
        if best is None or left is None:
            break
        _, name, cut = best
        before = chosen.pop((name, cut.side), Chosen(name, ScoreCut(cut.side, cut.threshold, 0, 0))).cut
        chosen[name, cut.side] = Chosen(name, cut._replace(bad=cut.bad + before.bad, good=cut.good + before.good))
        good, bad = read(name)
        left = left[0] & ~_beyond(good, cut), left[1] & ~_beyond(bad, cut)
    return list(chosen.values())


def _beyond(values: Values, cut: ScoreCut) -> NDArray[np.bool_]:
    """Which documents a cut removes; a null is on no side."""
    return values < cut.threshold if cut.side == "<" else values > cut.threshold


def _gain(cut: ScoreCut, totals: tuple[int, int]) -> float:
    return cut.bad / totals[1] - cut.good / totals[0]


def _allowed(share: float, good: int) -> int:
    return math.floor(share * good + 1e-9)


def _distance(signal: Signal) -> float:
    return signal.separation.ks if signal.separation else 0.0
