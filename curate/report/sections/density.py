"""Documents by two measurements at a time: where sources lie apart that either measurement confuses."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import combinations
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Literal, TypedDict

import numpy as np
from numpy.typing import NDArray

from curate.config.units import number, percent, plural
from curate.report.charts import DASHES, GREY, INK, LINE, SOURCES, WIDE, draw, legend, shorten
from curate.report.page import Chart, PageSection, PageTable, table
from curate.report.record import RunRecord
from curate.report.section import Report, Section
from curate.report.sections.perplexity import model_of
from curate.stats.manifest import Axis, BucketsBody, CellCounts, DensityBody

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Counts = NDArray[np.float64]
PAIRS = 2  # pairs of measurements that are drawn, of up to 330 kB each; the tables have all
PANELS = 5  # sources that have a panel of their own
LEVELS = (
    1,
    3,
    10,
    30,
    100,
    300,
    1000,
    3000,
    10_000,
    100_000,
    1_000_000,
)  # documents of a cell for a stronger colour
INSIDE = (0.9, 0.5)  # shares of a source's documents that its outlines hold
MARGIN = 0.16  # of an axis: where the histogram over one measurement alone stands
SIDE = 330  # pixels of a panel
SMALL = 10  # pixels of the letters of buckets' names
LETTER = 0.024  # of an axis: what one of them takes
MEASURES = {"bits_per_byte": "bits per byte", "perplexity": "perplexity", "score": "probability"}
"""What columns measure, by the end of their names, as an axis says it."""
GROUPS = 2  # values of `by` whose cuts are shown, those with the most documents


class CutFacts(TypedDict):
    """Cuts that a `buckets` stage has on a measurement, for one group of documents."""

    stage: str
    group: str
    names: list[str]
    values: list[float]


class AxisFacts(Axis):
    """A measurement: what it is, which model it asks, its scale and its cuts."""

    column: str
    measure: str
    of: str
    cuts: list[CutFacts]


class PairFacts(TypedDict):
    """Documents by two measurements."""

    stage: str
    bins: int
    x: AxisFacts
    y: AxisFacts
    sources: dict[str, CellCounts]


Side = Literal["x", "y"]


def facts(run: RunRecord) -> list[PairFacts] | None:
    """Joint densities of two measurements each, with the cuts that buckets have on either."""
    pairs: list[PairFacts] = []
    for stage in run.of("density"):
        body = stage.body(DensityBody)
        for pair in body["pairs"]:
            x, y = (_axis(run, column, body["axes"][column]) for column in (pair["x"], pair["y"]))
            pairs.append({"stage": stage.name, "bins": body["bins"], "x": x, "y": y, "sources": pair["sources"]})
    return pairs or None


def _axis(run: RunRecord, column: str, axis: Axis) -> AxisFacts:
    measure, asked = _described(run, column)
    return {**axis, "column": column, "measure": measure, "of": asked, "cuts": list(_cuts(run, column))}


def _described(run: RunRecord, column: str) -> tuple[str, str]:
    """What a column measures, and which model it asks, as far as the stage that wrote it tells."""
    for stage in run.of("perplexity", "quality"):
        if column in stage.manifest["columns"]:
            measure = next((name for end, name in MEASURES.items() if column.endswith(f"_{end}")), column)
            return measure, model_of(stage) if stage.kind == "perplexity" else stage.name
    return column, ""


def _cuts(run: RunRecord, column: str) -> Iterator[CutFacts]:
    """Cuts on a column, of the groups with the most documents."""
    for stage in run.of("buckets"):
        config, body = stage.config, stage.body(BucketsBody)
        if config["column"] == column:
            sizes = body["groups"]
            for group in sorted(body["cuts"], key=lambda g: (-sizes.get(g, 0), g))[:GROUPS]:
                named = group if config["by"] else ""
                values = body["cuts"][group]
                yield {"stage": stage.name, "group": named, "names": config["names"], "values": values}


# -- page --------------------------------------------------------------------------------------------------------------


def page(facts: Sequence[PairFacts], _: Report) -> PageSection:
    """Joint densities of pairs of measurements, with the cuts of buckets."""
    drawn = [pair for pair in facts if _sources(pair)][:PAIRS]
    charts = [_chart(f"density-{position}", pair) for position, pair in enumerate(drawn)]
    tables = [_agreement(facts), _overlaps(facts)]
    finding = _finding(drawn[0]) if drawn else "No document has both measurements"
    lead = (
        "Each source has a panel, stronger in colour where it has more documents, with the histograms of either "
        "measurement alone at its edges; the first panel has the outlines that hold "
        f"{' and '.join(percent(share) for share in INSIDE)} of each source. Documents beyond the ends of an axis "
        "(0.2 % on either side) count at its ends."
    )
    left = len([pair for pair in facts if _sources(pair)]) - len(drawn)
    lead += f" The tables have {plural(left, 'more pair')} of measurements." if left else ""
    return PageSection("density", "Joint density", finding, lead, charts=charts, tables=tables)


def _sources(pair: PairFacts) -> dict[str, Counts]:
    """Counts of sources with documents, shape (bins of y, bins of x) each; those with the most documents first."""
    found: dict[str, Counts] = {}
    for name, counted in sorted(pair["sources"].items(), key=lambda item: -item[1]["documents"]):
        if counted["documents"]:
            cells = np.zeros(pair["bins"] ** 2)
            cells[counted["cells"]] = counted["counts"]
            found[name] = cells.reshape(pair["bins"], pair["bins"])
    return found


def _finding(pair: PairFacts) -> str:
    """How far two sources overlap by both measurements and by either, or how the measurements of one agree.

    Of the largest sources, those two are named that both measurements together tell apart best beyond either alone.
    """
    found = list(_sources(pair).items())[:PANELS]
    x, y = (pair[side]["column"] for side in ("x", "y"))
    if len(found) == 1:
        (one, counts), *_ = found
        correlation = _rank_correlation(counts)
        if np.isnan(correlation):
            return f"{x} or {y} is about the same for all documents of {one}"
        return f"{x} and {y} put the documents of {one} in orders that correlate by {correlation:.2f}"
    shared = {(one, other): overlaps(first, second) for (one, first), (other, second) in combinations(found, 2)}
    one, other = max(shared, key=lambda names: min(shared[names][1:]) - shared[names][0])
    both, alone_x, alone_y = (percent(round(share, 2)) for share in shared[one, other])
    return f"{one} and {other} overlap by {both} in {x} and {y} together, by {alone_x} and {alone_y} in either alone"


def overlaps(one: Counts, other: Counts) -> tuple[float, float, float]:
    """Share that two sources' densities have in common: of both measurements, of x alone, of y alone.

    The sum of the smaller of the two shares over all bins; 1 for equal densities, 0 for separate ones. Counts are
    smoothed first, as `_smooth` does, for which all three are a little too large.

    Examples
    --------
    >>> one, other = np.zeros((2, 9, 9))
    >>> one[1, 1], one[7, 7], other[1, 7], other[7, 1] = 1, 1, 1, 1
    >>> [round(share, 6) for share in overlaps(one, other)]
    [0.0, 1.0, 1.0]
    """
    shares = [_smooth(counts) / counts.sum() for counts in (one, other)]

    def common(over: tuple[int, ...]) -> float:
        first, second = (share.sum(axis=over) for share in shares)
        return float(np.minimum(first, second).sum())

    return common(()), common((0,)), common((1,))


def _smooth(counts: Counts) -> Counts:
    """Counts spread over the neighbouring cells with the weights 1, 2, 1 in both directions; what leaves comes back."""
    padded = np.pad(counts, 1, mode="edge")
    rows = padded[:-2] + 2 * padded[1:-1] + padded[2:]
    return (rows[:, :-2] + 2 * rows[:, 1:-1] + rows[:, 2:]) / 16


def _rank_correlation(counts: Counts) -> float:
    """Spearman's, of measurements known to their bins; documents of one bin share its middle rank."""
    ranks = []
    for over in (0, 1):
        sums = counts.sum(axis=over)
        middle = np.cumsum(sums) - sums / 2
        ranks.append((middle - np.average(middle, weights=sums), sums))
    (x, of_x), (y, of_y) = ranks
    spread = np.sqrt((x**2 * of_x).sum() * (y**2 * of_y).sum())
    return float((counts * np.outer(y, x)).sum() / spread) if spread else float("nan")


# --- drawing ----------------------------------------------------------------------------------------------------------


def _chart(name: str, pair: PairFacts) -> Chart:
    x, y = (pair[side]["column"] for side in ("x", "y"))
    found = _sources(pair)
    caption = f"Documents by {x} and {y}."
    caption += _cuts_shown([cut for side in ("x", "y") for cut in pair[side]["cuts"]])
    caption += " On the slanted line both are equal." if pair["x"]["measure"] == pair["y"]["measure"] else ""
    if len(found) > PANELS:
        caption += f" The {PANELS} largest of {len(found)} sources."
    return draw(name, caption, _finding(pair), partial(_panels, pair, dict(list(found.items())[:PANELS])))


def _cuts_shown(cuts: Sequence[CutFacts]) -> str:
    """Sentence on the lines at cuts, with the groups that they are of."""
    groups = list(dict.fromkeys(cut["group"] for cut in cuts if cut["group"]))
    of = f" of {groups[0]}" if len(groups) == 1 else ""
    of = f", solid those of {groups[0]}, dotted those of {', '.join(groups[1:])}" if len(groups) > 1 else of
    return f" Lines across are the cuts of buckets{of}." if cuts else ""


def _panels(pair: PairFacts, sources: Mapping[str, Counts], width: int) -> "Figure":
    from matplotlib.figure import Figure

    several = len(sources) > 1
    count = len(sources) + several
    columns = min(2, count) if width == WIDE else 1
    lines = -(-count // columns)
    figure = Figure(figsize=(width / 72, lines * SIDE / 72), layout="constrained")
    grid = list(figure.subplots(lines, columns, squeeze=False).flat)
    levels = len(_levels(max(counts.max() for counts in sources.values())))
    styles = list(zip(sources.items(), SOURCES, DASHES, strict=False))
    if several:
        _frame(grid[0], pair, "All sources, outlined", width)
        for (name, counts), color, dash in styles:
            _outline(grid[0], counts, color, dash)
            grid[0].plot([], [], color=color, linestyle=dash, label=name)
    for axis, ((name, counts), color, _) in zip(grid[several:], styles, strict=False):
        _frame(axis, pair, f"{name}, {plural(int(counts.sum()), 'document')}", width)
        _heat(axis, counts, color, levels)
        _margins(axis, counts, color)
    for axis in grid[count:]:
        axis.set_visible(False)
    if several:
        legend(figure, grid[0], width, length=2.5)
    _level_legend(figure, max(counts.max() for counts in sources.values()), width)
    return figure


def _level_legend(figure: "Figure", most: float, width: int) -> None:
    """What each shade stands for, below the panels, which are the higher for it."""
    from matplotlib.patches import Patch

    used = _levels(most)
    names = [f"{number(low)} to {number(high - 1)}" if high - low > 1 else number(low) for low, high in used]
    shades = [Patch(facecolor=INK, alpha=_alpha(position, len(used))) for position in range(len(used))]
    columns = min(len(used), 6 if width == WIDE else 3)
    figure.set_figheight(figure.get_figheight() + LINE * (1 - -len(used) // columns) / 72)
    title = "documents in a cell"
    figure.legend(shades, names, loc="outside lower left", ncols=columns, title=title, alignment="left")


def _levels(most: float) -> list[tuple[int, int]]:
    """Bounds of the levels up to the fullest cell, the last one ending with it.

    Examples
    --------
    >>> _levels(12.0), _levels(1.0)
    ([(1, 3), (3, 10), (10, 13)], [(1, 2)])
    """
    starts = [level for level in LEVELS if level <= most]
    return list(zip(starts, [*starts[1:], int(most) + 1], strict=True))


def _alpha(level: int, levels: int) -> float:
    return 0.15 + 0.85 * (level + 1) / levels if levels > 1 else 1.0


def _frame(axis: "Axes", pair: PairFacts, title: str, width: int) -> None:
    """Scales, labels, the diagonal where both axes have the same unit, and the cuts."""
    bins = pair["bins"]
    room = bins * (1 + MARGIN)
    axis.set_title(shorten(title, 44), pad=18)
    axis.set(xlim=(0, room), ylim=(0, room), aspect="equal")
    for side, along in (("x", axis.xaxis), ("y", axis.yaxis)):
        scale = pair[side]
        ticks = _ticks(scale)
        decimals = max((len(f"{tick:.6g}".partition(".")[2]) for tick in ticks if tick < 1000), default=0)
        said = [f"{tick:,.0f}" if scale["scale"] == "log" and tick >= 1 else f"{tick:,.{decimals}f}" for tick in ticks]
        along.set_ticks([_place(scale, bins, tick) for tick in ticks], said)
        along.set_label_text(_label(scale))
    axis.grid()
    axis.plot([bins, bins, 0], [0, bins, bins], color=INK, linewidth=0.6, alpha=0.5)
    if pair["x"]["measure"] == pair["y"]["measure"]:
        ends = [max(pair[side]["low"] for side in "xy"), min(pair[side]["high"] for side in "xy")]
        if ends[0] < ends[1]:
            steps = np.geomspace(ends[0], ends[1]) if ends[0] > 0 else np.linspace(ends[0], ends[1])
            axis.plot(*([_place(pair[side], bins, step) for step in steps] for side in "xy"), color=GREY, linewidth=1)
    for side in ("x", "y"):
        _draw_cuts(axis, pair[side], bins, side)


def _label(scale: AxisFacts) -> str:
    """What an axis measures, with its unit."""
    of = f" by {scale['of']}" if scale["of"] and scale["measure"] != scale["column"] else ""
    return shorten(f"{scale['measure']}{of}", 34) + (", log scale" if scale["scale"] == "log" else "")


def _place(scale: AxisFacts, bins: int, value: float) -> float:
    """Where a value lies, counted in bins."""
    low, high = scale["low"], scale["high"]
    if scale["scale"] == "log":
        low, high, value = np.log(low), np.log(high), np.log(max(value, low))
    return float(np.clip((value - low) / (high - low), 0, 1) * bins)


def _ticks(scale: AxisFacts) -> list[float]:
    """Round values inside an axis, about five.

    Examples
    --------
    >>> _ticks({"scale": "log", "low": 30.0, "high": 20000.0}), _ticks({"scale": "linear", "low": 0.4, "high": 3.1})
    ([100.0, 1000.0, 10000.0], [0.5, 1.0, 1.5, 2.0, 2.5, 3.0])
    """
    from matplotlib.ticker import MaxNLocator

    low, high = scale["low"], scale["high"]
    if scale["scale"] == "log":
        tens = 10.0 ** np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
        found = tens if len(tens) > 4 else np.sort(np.concatenate([tens, 3 * tens]))
    else:
        found = MaxNLocator(6).tick_values(low, high)
    return [round(float(tick), 9) for tick in found if low <= tick <= high]


def _draw_cuts(axis: "Axes", scale: AxisFacts, bins: int, side: Side) -> None:
    """Lines at the cuts of buckets, with the buckets' names between those of the largest group."""
    room = bins * (1 + MARGIN)
    for position, cut in enumerate(scale["cuts"]):
        places = [_place(scale, bins, value) for value in cut["values"]]
        for place in places:
            line = axis.axvline if side == "x" else axis.axhline
            line(place, color=INK, linewidth=1, linestyle="-" if not position else ":", alpha=0.8)
        if position:
            continue
        bounds = [0.0, *places, float(bins)]
        spans = sorted(zip(cut["names"], bounds[:-1], bounds[1:], strict=True), key=lambda span: span[1] - span[2])
        taken: list[tuple[float, float]] = []
        for name, low, high in spans:  # the widest first
            said = shorten(name, 12)
            middle, half = (low + high) / 2, LETTER * bins * len(said) / 2
            if any(abs(middle - other) < half + other_half for other, other_half in taken):
                continue
            taken.append((middle, half))
            if side == "x":
                axis.text(middle, room * 1.012, said, ha="center", va="bottom", fontsize=SMALL)
            else:
                axis.text(room * 1.012, middle, said, ha="left", va="center", fontsize=SMALL, rotation=270)


def _heat(axis: "Axes", counts: Counts, color: str, levels: int) -> None:
    """Cells by level, of which all panels have `levels`: runs of a row as one rectangle, all of a level as one path."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    level_of = np.searchsorted(LEVELS, counts, side="right")
    for level in range(1, levels + 1):
        is_level = np.pad(level_of == level, ((0, 0), (1, 1)))
        rows, starts = np.nonzero(is_level[:, 1:] & ~is_level[:, :-1])
        ends = np.nonzero(is_level[:, :-1] & ~is_level[:, 1:])[1]
        if not len(rows):
            continue
        corners = [
            [(x0, y), (x1, y), (x1, y + 1), (x0, y + 1), (x0, y)]
            for y, x0, x1 in zip(rows.tolist(), starts.tolist(), ends.tolist(), strict=True)
        ]
        codes = [Path.MOVETO, Path.LINETO, Path.LINETO, Path.LINETO, Path.CLOSEPOLY] * len(corners)
        path = Path(np.array(corners).reshape(-1, 2), codes)
        axis.add_patch(PathPatch(path, facecolor=color, edgecolor="none", alpha=_alpha(level - 1, levels)))


def _margins(axis: "Axes", counts: Counts, color: str) -> None:
    """Histograms of either measurement alone, beyond the bins."""
    bins = len(counts)
    edges = np.arange(bins + 1)
    directions: tuple[Literal["vertical", "horizontal"], ...] = ("vertical", "horizontal")
    for over, direction in enumerate(directions):
        sums = counts.sum(axis=over)
        heights = bins + sums / sums.max() * bins * MARGIN * 0.95
        axis.stairs(heights, edges, baseline=bins, orientation=direction, fill=True, color=color, alpha=0.6)


def _outline(axis: "Axes", counts: Counts, color: str, dash: Any) -> None:
    """Lines around the densest cells that hold the shares `INSIDE`."""
    smooth = np.pad(_smooth(counts), 1)
    falling = np.sort(smooth.ravel())[::-1]
    held = np.cumsum(falling) / falling.sum()
    levels = [float(falling[np.searchsorted(held, share)]) for share in INSIDE]
    middles = np.arange(-1, len(counts) + 1) + 0.5
    for level, line in zip(levels, (1.0, 2.2), strict=True):
        if 0 < level < smooth.max():
            axis.contour(middles, middles, smooth, levels=[level], colors=[color], linestyles=[dash], linewidths=[line])


# --- tables -----------------------------------------------------------------------------------------------------------


def _agreement(facts: Sequence[PairFacts]) -> PageTable:
    rows = [(pair, name, pair["sources"][name], _sources(pair).get(name)) for pair in facts for name in pair["sources"]]
    text = {"measurements": lambda row: _both(row[0]), "source": itemgetter(1)}
    figures = {
        "documents": lambda row: number(row[2]["documents"]),
        "without a value": lambda row: number(row[2]["null"]),
        "rank correlation": lambda row: _said(row[3]),
    }
    return table("How the measurements agree, by source", rows, text, figures)


def _said(counts: Counts | None) -> str:
    correlation = np.nan if counts is None else _rank_correlation(counts)
    return "none" if np.isnan(correlation) else f"{correlation:.2f}"


def _overlaps(facts: Sequence[PairFacts]) -> PageTable:
    rows = []
    for pair in facts:
        found = list(_sources(pair).items())[:PANELS]
        rows += [
            (pair, one, other, overlaps(first, second)) for (one, first), (other, second) in combinations(found, 2)
        ]
    text = {"measurements": lambda row: _both(row[0]), "source": itemgetter(1), "other source": itemgetter(2)}
    figures = {
        "overlap by both": lambda row: percent(row[3][0]),
        "by the first": lambda row: percent(row[3][1]),
        "by the second": lambda row: percent(row[3][2]),
    }
    return table("How far sources overlap", rows, text, figures)


def _both(pair: PairFacts) -> str:
    return f"{pair['x']['column']}, {pair['y']['column']}"


SECTION = Section("densities", 80, facts, page, needs=("density",))
