"""SQL expressions over columns, as rules and labeling functions use them: what they name, and what is wrong."""

from typing import TYPE_CHECKING, Any

import orjson
import pyarrow as pa

if TYPE_CHECKING:
    import polars as pl

CROSSING = {"Agg", "Over", "Len", "Rank", "Quantile", "Correlation"}  # what polars calls aggregates and windows


def expression(sql: str) -> "pl.Expr":
    """The expression that polars evaluates."""
    import polars as pl

    return pl.sql_expr(sql)


def columns_of(sql: str) -> list[str]:
    """Columns that an expression names, in order; none when it does not parse, which `complaint` reports.

    Examples
    --------
    >>> columns_of("words < 50 OR words > 10 * lines"), columns_of("words <")
    (['words', 'lines'], [])
    """
    import polars as pl

    try:
        return list(dict.fromkeys(expression(sql).meta.root_names()))
    except pl.exceptions.PolarsError:
        return []


def complaint(sql: str, columns: pa.Schema) -> str:
    """What is wrong with an expression as a yes-or-no question about one document, or nothing.

    Parameters
    ----------
    sql
        The expression.
    columns
        Columns that there are, with their types; unknown ones are for the caller to report.

    Examples
    --------
    >>> columns = pa.schema([("words", pa.int64())])
    >>> complaint("words < 50", columns), complaint("words + 1", columns)
    ('', 'gives Int64, where a rule is true or false')
    """
    import polars as pl

    try:
        parsed = expression(sql)
        if any(name not in columns.names for name in parsed.meta.root_names()):
            return ""
        if _crosses_rows(orjson.loads(parsed.meta.serialize(format="json"))):
            return "looks at more than one document at a time, so its answer would depend on how they are sharded"
        schema = pl.DataFrame(columns.empty_table()).lazy().select(rule=parsed).collect().schema
    except pl.exceptions.PolarsError as error:
        return str(error).splitlines()[0]
    return "" if schema["rule"] == pl.Boolean else f"gives {schema['rule']}, where a rule is true or false"


def _crosses_rows(tree: Any) -> bool:
    """Whether a serialized expression has an aggregate or a window in it."""
    if isinstance(tree, dict):
        inside = (_crosses_rows(value) for name, value in tree.items() if name not in ("Column", "Literal"))
        return not CROSSING.isdisjoint(tree) or any(inside)
    return any(map(_crosses_rows, tree)) if isinstance(tree, list) else tree in CROSSING
