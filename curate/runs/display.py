"""What a pipeline and a run show of themselves in a console and a notebook: small tables as text and as HTML."""

import os
from collections.abc import Sequence
from html import escape

from curate import storage


class Link(str):
    """The path of a file for people, which a notebook shows as a link."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        folder = os.getcwd()
        if not storage.is_local(self):
            link = str(self)
        else:
            link = os.path.relpath(self) if self.startswith(f"{folder}/") else f"file://{self}"
        return f'<a href="{escape(link)}" target="_blank">{escape(link)}</a>'


class Overview:
    """Shown as a title and a table, in a console as text and in a notebook as HTML."""

    def __repr__(self) -> str:
        title, header, rows = self._overview()
        return f"{title}\n{text_table(header, rows)}"

    def _repr_html_(self) -> str:
        return html_table(*self._overview())

    def _overview(self) -> tuple[str, list[str], list[list[object]]]:
        """Title, header and rows."""
        raise NotImplementedError


def short_path(path: str) -> str:
    """The last two parts of a path.

    Examples
    --------
    >>> short_path("/home/me/runs/web")
    'runs/web'
    """
    return "/".join(path.split("/")[-2:])


def labelled(name: str, kind: str) -> str:
    """A stage's name, and its kind where that is another.

    Examples
    --------
    >>> labelled("minhash", "minhash"), labelled("near", "minhash")
    ('minhash', 'near (minhash)')
    """
    return name if name == kind else f"{name} ({kind})"


def text_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Aligned columns; whole numbers are aligned at the right and have separators, and None is left empty.

    Examples
    --------
    >>> print(text_table(["stage", "rows"], [["read", 1200], ["train_lm", None]]))
    stage      rows
    read      1,200
    train_lm
    """
    lines = [list(header), *([_shown(value) for value in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    right = [_is_number([row[column] for row in rows]) for column in range(len(header))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if at_right else cell.ljust(width)
            for cell, width, at_right in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in lines
    )


def html_table(title: str, header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """The same as an HTML table below its title.

    Examples
    --------
    >>> html_table("a < b", ["rows"], [[1200]])  # doctest: +ELLIPSIS
    '<div><p>a &lt; b</p><table>...<td style="text-align: right">1,200</td></tr></tbody></table></div>'
    """
    right = [_is_number([row[column] for row in rows]) for column in range(len(header))]
    styles = ["text-align: right" if at_right else "text-align: left" for at_right in right]

    def line(tag: str, cells: Sequence[str]) -> str:
        return "".join(
            f'<{tag} style="{style}">{escape(cell)}</{tag}>' for cell, style in zip(cells, styles, strict=True)
        )

    body = "".join(f"<tr>{line('td', [_shown(value) for value in row])}</tr>" for row in rows)
    head = f"<thead><tr>{line('th', header)}</tr></thead>"
    return f"<div><p>{escape(title)}</p><table>{head}<tbody>{body}</tbody></table></div>"


def _is_number(values: Sequence[object]) -> bool:
    return all(value is None or isinstance(value, int) for value in values)


def _shown(value: object) -> str:
    return "" if value is None else f"{value:,}" if isinstance(value, int) else str(value)
