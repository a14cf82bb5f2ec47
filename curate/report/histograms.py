"""A page of histograms: the values of signals in a good and in a bad corpus, one over the other."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from curate.config.units import percent
from curate.report.charts import BLUE, ORANGE, Panel, Series, draw, overlaid
from curate.report.page import PageSection

BINS = 16
TAIL = 1.0  # per cent of a corpus beyond the bins on each side, which the outer bins take in


@dataclass(frozen=True)
class Compared:
    """One signal.

    Parameters
    ----------
    name, rule
        The signal, and the rule that is proposed for it.
    good, bad
        Its values, shape (documents,) each, NaN for null.
    lost, removed
        Shares of the good and of the bad documents of which the rule is true.
    """

    name: str
    rule: str
    good: NDArray[np.float64]
    bad: NDArray[np.float64]
    lost: float
    removed: float


def section(signal: Compared) -> PageSection:
    """The histogram of one signal, under what its rule does."""
    finding = f"{signal.rule} drops {percent(signal.removed)} of BAD and {percent(signal.lost)} of GOOD"
    edges = _edges(signal.good, signal.bad)
    series = [
        Series(name, color, _shares(values, edges))
        for name, color, values in (("GOOD", BLUE, signal.good), ("BAD", ORANGE, signal.bad))
    ]
    rows = [f"{low:.4g} to {high:.4g}" for low, high in pairwise(edges)]
    rows[0], rows[-1] = f"below {edges[1]:.4g}", f"from {edges[-2]:.4g}"
    panel = Panel("", "share of documents", rows, series)
    plot = partial(overlaid, [panel], format_value=percent)
    chart = draw(f"values-{signal.name}", f"Values of {signal.name}, of documents that have one.", finding, plot)
    return PageSection(signal.name, signal.name, finding, charts=[chart])


def _edges(good: NDArray[np.float64], bad: NDArray[np.float64]) -> NDArray[np.float64]:
    """Edges of equal bins over both corpora but for their tails, or over everything where that leaves one value.

    Examples
    --------
    >>> _edges(np.zeros(5), np.array([8.0, np.nan]))[[0, 1, -1]]
    array([0. , 0.5, 8. ])
    """
    ends = np.nanpercentile(good, [TAIL, 100 - TAIL]), np.nanpercentile(bad, [TAIL, 100 - TAIL])
    low, high = np.min(ends), np.max(ends)
    if low == high:
        low, high = min(np.nanmin(good), np.nanmin(bad)), max(np.nanmax(good), np.nanmax(bad))
    return np.linspace(low, high if high > low else low + 1, BINS + 1)


def _shares(values: NDArray[np.float64], edges: Sequence[float] | NDArray[np.float64]) -> list[float]:
    """Share of the values in each bin; the outer bins are open.

    Examples
    --------
    >>> _shares(np.array([-9.0, 0.0, 1.0, 2.0, np.nan]), np.array([0.0, 1.0, 2.0]))
    [0.5, 0.5]
    """
    known = values[~np.isnan(values)]
    bins = np.clip(np.searchsorted(edges, known, "right") - 1, 0, len(edges) - 2)
    return (np.bincount(bins, minlength=len(edges) - 1) / max(len(known), 1)).tolist()
