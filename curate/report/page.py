"""What a page is made of, and how it writes numbers."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from markupsafe import Markup


@dataclass(frozen=True)
class Tile:
    """A number at the head of the page; `exact` is what `value` rounds, `status` is ``pass``, ``fail`` or nothing."""

    name: str
    value: str
    detail: str = ""
    exact: str = ""
    status: str = ""


@dataclass(frozen=True)
class Column:
    """A table's column: its head, and how its cells are set."""

    name: str
    kind: Literal["text", "number", "status"] = "text"


@dataclass(frozen=True)
class Table:
    """Cells are strings, or booleans in a column of kind ``status``.

    A folded table stands behind its caption until it is opened; `total` sets the first row apart.
    """

    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[str | bool]]
    folded: bool = True
    total: bool = False


@dataclass(frozen=True)
class Chart:
    """A drawing, with a caption that says what it shows."""

    caption: str
    svg: Markup


@dataclass(frozen=True)
class Listing:
    """Text that is shown as it stands."""

    caption: str
    body: str


@dataclass(frozen=True)
class Section:
    """A part of the page, under the sentence that states its finding."""

    id: str
    name: str
    finding: str
    lead: str = ""
    alarms: Sequence[str] = ()
    charts: Sequence[Chart] = ()
    tables: Sequence[Table] = ()
    listings: Sequence[Listing] = ()


Cell = Callable[[Any], str]


def table(
    caption: str,
    items: Iterable[Any],
    text: Mapping[str, Cell],
    numbers: Mapping[str, Cell],
    status: Mapping[str, Callable[[Any], bool]] | None = None,
    *,
    folded: bool = True,
    total: bool = False,
) -> Table:
    """A table with one row per item; each column is given as what makes its cell of an item.

    Examples
    --------
    >>> made = table("Lengths", ["a", "bcd"], {"word": str.upper}, {"letters": lambda word: number(len(word))})
    >>> made.rows
    [['A', '1'], ['BCD', '3']]
    """
    cells = [*text.values(), *numbers.values(), *(status or {}).values()]
    columns = [
        *(Column(name) for name in text),
        *(Column(name, "number") for name in numbers),
        *(Column(name, "status") for name in status or ()),
    ]
    return Table(caption, columns, [[cell(item) for cell in cells] for item in items], folded, total)


def number(value: float) -> str:
    """A whole number with its thousands set apart.

    Examples
    --------
    >>> number(1234567)
    '1,234,567'
    """
    return f"{value:,.0f}"


def percent(part: float, whole: float = 1.0) -> str:
    """A share; one that would round to 0 or 100 % without being it says so.

    Examples
    --------
    >>> percent(1, 8), percent(1, 10**6), percent(999_999, 10**6), percent(0, 0)
    ('12.5 %', '<0.1 %', '>99.9 %', '0 %')
    """
    share = part / whole if whole else 0.0
    if 0 < share < 0.0005:
        return "<0.1 %"
    if 0.9995 < share < 1:
        return ">99.9 %"
    return f"{100 * share:.1f}".removesuffix(".0") + " %"


def duration(seconds: float) -> str:
    """A time in its two largest units.

    Examples
    --------
    >>> duration(0.034), duration(3.42), duration(64.2), duration(5400), duration(200_000)
    ('0.034 s', '3.4 s', '1 min 4 s', '1 h 30 min', '55 h 33 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds:.2g} s"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def plural(count: int, noun: str) -> str:
    """A count and what it counts.

    Examples
    --------
    >>> plural(1, "record"), plural(2400, "copy")
    ('1 record', '2,400 copies')
    """
    many = noun[:-1] + "ies" if noun.endswith("y") else noun + "s"
    return f"{number(count)} {noun if count == 1 else many}"
