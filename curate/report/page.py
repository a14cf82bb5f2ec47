"""What a page is made of."""

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
    >>> made = table("Lengths", ["a", "bcd"], {"word": str.upper}, {"letters": lambda word: str(len(word))})
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
