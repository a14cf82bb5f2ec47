"""Separation of a good and a bad corpus by a signal, and the choice of thresholds.

FineWeb (Penedo et al. 2024, arXiv 2406.17557, section 3.6) chose its filters by comparing the histograms of statistics
of a good and a bad corpus, with thresholds where the bad corpus has more mass. This module uses the values instead of
histograms. The best cut has the largest difference between the share of bad documents and the share of good documents
beyond it, which is the one-sided Kolmogorov-Smirnov distance. All results are exact and depend only on the values.
"""

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
Side = Literal["<", ">"]

ALPHA = 0.01  # probability that at least one cut is proposed although the corpora do not differ
MAX_RULES = 12  # maximum number of rules that `choose` combines


class ScoreCut(NamedTuple):
    """A rule ``value side threshold``, and the numbers of bad and good documents that it removes."""

    side: Side
    threshold: float
    bad: int
    good: int


class Separation(NamedTuple):
    """Separation of two samples.

    Attributes
    ----------
    auc
        Probability that a bad document has a larger value than a good one; ties count half. 0.5 means no separation.
    ks
        Maximum distance between the two distribution functions, 0 to 1.
    """

    auc: float
    ks: float


class Signal(NamedTuple):
    """Comparison of one signal between the corpora.

    Attributes
    ----------
    name
        Name of the signal.
    separation
        Separation of the corpora, None if one has no values.
    cut
        Best cut, None if its gain could be due to chance or if every cut removes too many good documents.
    good_null, bad_null
        Numbers of nulls in the good and in the bad corpus.
    """

    name: str
    separation: Separation | None
    cut: ScoreCut | None
    good_null: int
    bad_null: int


class Chosen(NamedTuple):
    """One of several rules that are applied together. Its cut counts the documents that no earlier rule removes."""

    name: str
    cut: ScoreCut


def separation(good: Values, bad: Values) -> Separation | None:
    """Return the separation of two samples, or None if one is empty.

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
    """Return the cut with the largest gain, or None if no cut has a positive gain.

    The gain is the share of bad documents that the cut removes minus the share of good documents that it removes.

    Parameters
    ----------
    good, bad
        Values of the documents that can be removed, without nulls.
    totals
        Sizes of the good and of the bad corpus, the denominators of the shares.
    max_good
        Maximum number of good documents that the cut may remove.

    Examples
    --------
    >>> best_cut(np.array([5.0, 6.0, 7.0]), np.array([1.0, 2.0, 6.0]), (3, 3), 0)
    ScoreCut(side='<', threshold=5.0, bad=2, good=0)
    """
    values = np.union1d(good, bad)
    if len(values) < 2:
        return None
    good, bad = np.sort(good), np.sort(bad)
    # Numbers of documents below and above each gap between neighbouring values.
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
    """Return the threshold between two values with the fewest digits.

    For ``<``, it is above `low` and at most `high`. For ``>``, it is at least `low` and below `high`.

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
    if size > 1e300:  # infinite, or too large to be rounded
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
    """Return the gain that one of `comparisons` cuts exceeds by chance with probability `ALPHA`.

    The bound is Smirnov's (1939), one-sided.

    Examples
    --------
    >>> round(chance(1000, 1000, 50), 3)
    0.092
    """
    return math.sqrt(math.log(comparisons / ALPHA) / 2 * (good + bad) / (good * bad)) if good and bad else math.inf


Read = Callable[[str], tuple[Values, Values]]
"""Maps the name of a signal to its values of good and of bad documents, shape (documents,) each, NaN for null."""


def compare(names: Sequence[str], read: Read, max_good_loss: float) -> list[Signal]:
    """Compare each signal separately between the corpora, and sort the signals by decreasing gain.

    Parameters
    ----------
    names
        Names of the signals.
    read
        Reads the values of a signal.
    max_good_loss
        Maximum share of the good documents that a cut may remove.
    """
    signals, gains = [], {}
    for name in names:
        good, bad = read(name)
        totals = len(good), len(bad)
        valid = good[~np.isnan(good)], bad[~np.isnan(bad)]
        cut = best_cut(*valid, totals, _allowed(max_good_loss, totals[0]))
        gain = _gain(cut, totals) if cut else 0.0
        if cut and gain <= chance(*totals, 2 * len(names)):
            cut = None
        gains[name] = gain if cut else 0.0
        nulls = totals[0] - len(valid[0]), totals[1] - len(valid[1])
        signals.append(Signal(name, separation(*valid), cut, *nulls))
    return sorted(signals, key=lambda signal: (-gains[signal.name], -_distance(signal), signal.name))


def choose(names: Sequence[str], read: Read, max_good_loss: float, comparisons: int) -> list[Chosen]:
    """Choose rules to apply together: repeatedly the rule with the largest gain on the remaining documents.

    A rule may remove at most half of the good documents that the rules may still remove, so that the first rule does
    not use them all. Its gain must exceed the gain that is possible by chance. If a signal and side are chosen again,
    the new, stricter cut replaces the earlier one.

    Parameters
    ----------
    names
        Names of the signals.
    read
        Reads the values of a signal.
    max_good_loss
        Maximum share of the good documents that all rules together may remove.
    comparisons
        Number of cuts that were compared, two for each signal.
    """
    chosen: dict[tuple[str, Side], Chosen] = {}
    remaining: tuple[NDArray[np.bool_], NDArray[np.bool_]] | None = None
    for _ in range(MAX_RULES):
        best: tuple[float, str, ScoreCut] | None = None
        for name in names:
            good, bad = read(name)
            totals = len(good), len(bad)
            if remaining is None:
                remaining = np.ones(totals[0], bool), np.ones(totals[1], bool)
            budget = -(-(_allowed(max_good_loss, totals[0]) - int((~remaining[0]).sum())) // 2)
            cut = best_cut(good[remaining[0] & ~np.isnan(good)], bad[remaining[1] & ~np.isnan(bad)], totals, budget)
            if cut is None or _gain(cut, totals) <= chance(*totals, comparisons):
                continue
            if best is None or _gain(cut, totals) > best[0]:
                best = _gain(cut, totals), name, cut
        if best is None or remaining is None:
            break
        _, name, cut = best
        earlier_cut = chosen.pop((name, cut.side), Chosen(name, ScoreCut(cut.side, cut.threshold, 0, 0))).cut
        chosen[name, cut.side] = Chosen(
            name, cut._replace(bad=cut.bad + earlier_cut.bad, good=cut.good + earlier_cut.good)
        )
        good, bad = read(name)
        remaining = remaining[0] & ~_beyond(good, cut), remaining[1] & ~_beyond(bad, cut)
    return list(chosen.values())


def _beyond(values: Values, cut: ScoreCut) -> NDArray[np.bool_]:
    """Return which documents a cut removes. Nulls (NaN) are not removed."""
    return values < cut.threshold if cut.side == "<" else values > cut.threshold


def _gain(cut: ScoreCut, totals: tuple[int, int]) -> float:
    """Return the share of the bad documents minus the share of the good documents that a cut removes."""
    return cut.bad / totals[1] - cut.good / totals[0]


def _allowed(share: float, good: int) -> int:
    return math.floor(share * good + 1e-9)


def _distance(signal: Signal) -> float:
    return signal.separation.ks if signal.separation else 0.0
