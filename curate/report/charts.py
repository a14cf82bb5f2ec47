"""Charts as inline SVG: drawn by matplotlib, once for wide and once for narrow pages, coloured by the page's CSS.

Bytes are stable (salted ids, no date), text stays text, and every colour is a CSS variable with a fallback from the
palette of Okabe and Ito (Color Universal Design, 2008), so that one drawing serves light, dark and print.
"""

import io
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

from curate.config.units import format_count, percent
from curate.report.page import Chart

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDE, NARROW = 760, 380  # widths in CSS pixels at scale 1; the page shows one of the two
FONT = 12  # pixels
ROW = 24  # pixels per bar
LINE = 20  # pixels per line of a title, ticks, axis label or legend
LABEL_CHARS = {WIDE: 28, NARROW: 16}  # longer names are cut in the middle; the tables have them whole
LEGEND_CHARS = 40

BLUE, SKY, GREEN, YELLOW, ORANGE, RED, PURPLE, GREY, INK = PALETTE = (
    *("#0072b2", "#56b4e9", "#009e73", "#f0e442", "#e69f00", "#d55e00", "#cc79a7"),
    *("#999999", "#010203"),
)
LOSSES = (ORANGE, SKY, PURPLE, GREEN, YELLOW)  # of drop reasons, the largest first; kept is blue, quarantined red
SOURCES = (BLUE, ORANGE, GREEN, PURPLE, RED, SKY)
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 2)))
"""Of curves, one for each source, the largest first; dashes tell those apart whose colours a reader cannot."""
_VARIABLES = dict(
    zip(PALETTE, ("blue", "sky", "green", "yellow", "orange", "red", "purple", "grey", "ink"), strict=True)
)

_STYLE: dict[Any, Any] = {
    "figure.dpi": 72,
    "svg.fonttype": "none",
    "font.family": "DejaVu Sans",
    "font.size": FONT,
    "text.parse_math": False,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.axisbelow": True,
    "axes.titlesize": FONT,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "grid.color": INK,
    "grid.alpha": 0.15,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.handlelength": 1,
    "legend.handleheight": 1,
    "legend.columnspacing": 1.2,
}


@dataclass(frozen=True)
class Series:
    """Values of one colour, one per row: a name for the legend, a colour of `PALETTE`, values of shape (rows,)."""

    name: str
    color: str
    values: Sequence[float]


@dataclass(frozen=True)
class Panel:
    """One set of horizontal bars.

    Parameters
    ----------
    title
        Over the panel.
    unit
        What the axis counts.
    rows
        One label per row, from top to bottom.
    series
        Drawn in this order.
    notes
        Short text at the end of each row; empty for none.
    targets
        Where a line marks each row's target; empty for none.
    """

    title: str
    unit: str
    rows: Sequence[str]
    series: Sequence[Series]
    notes: Sequence[str] = ()
    targets: Sequence[float] = ()


def share_panel(title: str, unit: str, name: str, color: str, shares: Mapping[str, float]) -> Panel:
    """A bar for each row as long as its share, which stands at its end."""
    values = list(shares.values())
    return Panel(title, unit, list(shares), [Series(name, color, values)], list(map(percent, values)))


def draw(name: str, caption: str, finding: str, plot: Callable[[int], "Figure"]) -> Chart:
    """A chart in two drawings, one for wide and one for narrow pages.

    Parameters
    ----------
    name
        Unique on the page; prefixes every id in the drawings.
    caption
        What the chart shows.
    finding
        What it says, for those who do not see it.
    plot
        Makes the figure for a width in pixels.
    """
    return Chart(caption, Markup("\n").join(_svg(name, kind, caption, finding, plot) for kind in ("wide", "narrow")))


def stacked(panels: Sequence[Panel], width: int) -> "Figure":
    """Shares of a whole: bars from 0 to 1 made of the panel's series, one after the other."""
    figure, axes = _grid(panels, width, columns=len(panels))
    for axis, panel in zip(axes, panels, strict=True):
        left = [0.0] * len(panel.rows)
        for series in panel.series:
            axis.barh(range(len(left)), series.values, left=left, color=series.color, height=0.72, label=series.name)
            left = [start + value for start, value in zip(left, series.values, strict=True)]
        for row, note in enumerate(panel.notes):
            axis.text(1.02, row, note, va="center", ha="left")
        axis.set_xlim(0, 1)
        axis.xaxis.set_ticks([0, 0.5, 1], ["0", "50 %", "100 %"])
        _finish(axis, panel, width)
    legend(figure, axes[0], width)
    return figure


def overlaid(
    panels: Sequence[Panel], width: int, *, columns: int = 1, format_value: Callable[[float], str]
) -> "Figure":
    """Bars of each series over one another, the first the thickest; targets are lines across the bars.

    Parameters
    ----------
    panels
        At least one; those side by side share their rows.
    width
        In pixels.
    columns
        Panels side by side on a wide page.
    format_value
        How the axis writes a value.
    """
    from matplotlib.ticker import MaxNLocator

    figure, axes = _grid(panels, width, columns)
    for axis, panel in zip(axes, panels, strict=True):
        places = range(len(panel.rows))
        for position, series in enumerate(panel.series):
            axis.barh(places, series.values, color=series.color, height=0.72 - 0.24 * position, label=series.name)
        if panel.targets:
            axis.errorbar(
                panel.targets, places, yerr=0.44, fmt="none", ecolor=INK, elinewidth=2, label="target", clip_on=False
            )
        columns_drawn = [series.values for series in panel.series] + ([panel.targets] if panel.targets else [])
        ends = [max(values) for values in zip(*columns_drawn, strict=True)]
        most = max(ends, default=0) or 1
        for row, note in enumerate(panel.notes):
            axis.text(ends[row] + most * 0.02, row, note, va="center", ha="left")
        axis.set_xlim(0, most)
        counts = all(float(end).is_integer() for end in ends)
        axis.xaxis.set_major_locator(MaxNLocator(3 if width == NARROW or columns > 1 else 5, integer=counts))
        axis.xaxis.set_major_formatter(lambda value, _: format_value(value))
        _finish(axis, panel, width)
    if len(panels[0].series) > 1 or panels[0].targets:
        legend(figure, axes[0], width)
    return figure


@dataclass(frozen=True)
class Curve:
    """Points of one colour, joined in their order: a name for the legend, a colour of `PALETTE`, x and y."""

    name: str
    color: str
    points: Sequence[tuple[float, float]]


def against_diagonal(panels: Mapping[str, Sequence[Curve]], axes: tuple[str, str], width: int) -> "Figure":
    """Curves over the unit square with its diagonal, on which both coordinates agree.

    Parameters
    ----------
    panels
        Curves by the title of their panel; at least one. All panels have curves of the same names.
    axes
        What x and y are.
    width
        In pixels.
    """
    from matplotlib.figure import Figure

    columns = min(2, len(panels)) if width == WIDE else 1
    lines = -(-len(panels) // columns)
    figure = Figure(figsize=(width / 72, lines * NARROW * 0.8 / 72), layout="constrained")
    grid = list(figure.subplots(lines, columns, squeeze=False).flat)
    for axis, (title, curves) in zip(grid, panels.items(), strict=False):
        axis.plot([0, 1], [0, 1], color=GREY, linewidth=1)
        for curve in curves:
            x, y = zip(*curve.points, strict=True) if curve.points else ((), ())
            axis.plot(x, y, color=curve.color, marker="o", markersize=4, linewidth=1.5, label=curve.name)
        axis.set_title(title)
        axis.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel=axes[0], ylabel=axes[1], aspect="equal")
        axis.grid()
    for axis in grid[len(panels) :]:
        axis.set_visible(False)
    legend(figure, grid[0], width)
    return figure


def whole(value: float) -> str:
    """A count on an axis."""
    return format_count(round(value))


def shorten(label: str, limit: int) -> str:
    """`label` cut in its middle to `limit` characters, where long names differ least.

    Examples
    --------
    >>> shorten("common_crawl_2024_10_en", 12)
    'common…10_en'
    """
    if len(label) <= limit:
        return label
    head = limit // 2
    return f"{label[:head]}…{label[len(label) - (limit - head - 1) :]}"


def _grid(panels: Sequence[Panel], width: int, columns: int) -> tuple["Figure", list["Axes"]]:
    """A figure with one axis per panel: `columns` side by side on a wide page, all in one column on a narrow one."""
    from matplotlib.figure import Figure

    columns = min(columns, len(panels)) if width == WIDE else 1
    lines = [panels[start : start + columns] for start in range(0, len(panels), columns)]
    heights = [max(ROW * len(panel.rows) + LINE * (3 if panel.title else 2) for panel in line) for line in lines]
    figure = Figure(figsize=(width / 72, sum(heights) / 72), layout="constrained")
    grid = figure.subplots(len(lines), columns, squeeze=False, height_ratios=heights)
    axes = list(grid.flat)
    for axis in axes[len(panels) :]:
        axis.set_visible(False)
    return figure, axes[: len(panels)]


def _finish(axis: "Axes", panel: Panel, width: int) -> None:
    """Labels, grid and title; the first row on top."""
    axis.set_title(panel.title)
    axis.set_xlabel(panel.unit)
    names = [shorten(row, LABEL_CHARS[width]) for row in panel.rows]
    place = axis.get_subplotspec()
    first = place is None or place.is_first_col()  # the panels beside it have the same rows
    axis.set_yticks(range(len(names)), names if first else [""] * len(names))
    axis.set_ylim(len(panel.rows) - 0.4, -0.6)
    axis.grid(axis="x")


def legend(figure: "Figure", axis: "Axes", width: int, *, length: float = 1) -> None:
    """A legend of what an axis draws, over the figure, which grows by it.

    Parameters
    ----------
    figure, axis
        The figure, and one of its axes.
    width
        In pixels.
    length
        Of what stands for a curve, in letters' heights; dashes need more than 1.
    """
    handles, labels = axis.get_legend_handles_labels()
    names = [shorten(label, LEGEND_CHARS) for label in labels]
    letters = [len(name) + 3 + 2 * length for name in names]  # with what stands before and after a name
    room = width / FONT / 0.6  # letters in a line, a letter being 0.6 of its height wide
    columns = len(names) if sum(letters) <= room else max(int(room / max(letters)), 1)
    lines = -(-len(names) // columns)
    figure.set_figheight(figure.get_figheight() + lines * LINE / 72)
    figure.legend(handles, names, loc="outside upper left", ncols=columns, handlelength=length)


def _svg(name: str, kind: str, caption: str, finding: str, plot: Callable[[int], "Figure"]) -> Markup:
    import matplotlib

    name, width = f"{name}-{kind}", WIDE if kind == "wide" else NARROW
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    file = io.StringIO()
    with matplotlib.rc_context({**_STYLE, "svg.hashsalt": name}), warnings.catch_warnings():
        # The browser, not matplotlib's own font, draws the letters: a glyph that DejaVu lacks costs nothing.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font", category=UserWarning)
        plot(width).savefig(file, format="svg", transparent=True, metadata=nothing)
    head, _, body = file.getvalue().partition("</defs>")  # the first definitions are a style sheet of one rule
    box = re.search(r'viewBox="[^"]*"', head)
    assert box is not None
    body = re.sub(r"<[^>]+>", lambda tag: _adapted(tag[0], name), body)
    opening = f'<svg class="{kind}" {box[0]} role="img" aria-labelledby="{name}-t {name}-d">'
    return Markup(
        f'{opening}<title id="{name}-t">{escape(caption)}</title><desc id="{name}-d">{escape(finding)}</desc>{body}'
    )


def _adapted(tag: str, name: str) -> str:
    """One tag of matplotlib's for this page: ids of its own, colours and font of the page, two decimals, one line."""
    tag = tag.replace(' id="', f' id="{name}-').replace('"#', f'"#{name}-').replace("url(#", f"url(#{name}-")
    tag = re.sub(r"font-family: [^;\"]*;? ?", "", tag)
    tag = re.sub(r"(\.\d\d)\d+", r"\1", re.sub(r"\s+", " ", tag))
    return re.sub(r"#[0-9a-f]{6}\b", lambda color: f"var(--{_VARIABLES[color[0]]}, {color[0]})", tag)
