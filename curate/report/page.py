"""What a page is made of."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from markupsafe import Markup

TEMPLATE = "template.html"


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
class PageTable:
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
class Verbatim:
    """Text that is shown as it stands."""

    caption: str
    body: str


@dataclass(frozen=True)
class PageSection:
    """A part of the page, under the sentence that states its finding."""

    id: str
    name: str
    finding: str
    lead: str = ""
    alarms: Sequence[str] = ()
    charts: Sequence[Chart] = ()
    tables: Sequence[PageTable] = ()
    listings: Sequence[Verbatim] = ()


Item = TypeVar("Item")


def table(
    caption: str,
    items: Iterable[Item],
    text: Mapping[str, Callable[[Item], str]],
    numbers: Mapping[str, Callable[[Item], str]],
    status: Mapping[str, Callable[[Item], bool]] | None = None,
    *,
    folded: bool = True,
    total: bool = False,
) -> PageTable:
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
    return PageTable(caption, columns, [[cell(item) for cell in cells] for item in items], folded, total)


def compose(
    title: str, about: str, verdict: str, tiles: Sequence[Tile], sections: Sequence[PageSection], colophon: str
) -> str:
    """A page of the given parts, as HTML that needs nothing else."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template(TEMPLATE).render(
        title=title, about=about, verdict=verdict, tiles=tiles, sections=sections, colophon=colophon
    )
