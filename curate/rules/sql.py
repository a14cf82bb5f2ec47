"""Rules: boolean SQL expressions over the columns of a single document."""

from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

if TYPE_CHECKING:
    import polars as pl

CROSSING = {"Agg", "Over", "Len", "Rank", "Quantile", "Correlation"}  # what polars calls aggregates and windows


def columns_of(sql: str) -> list[str]:
    """Return the columns that a rule uses, in order. The list is empty if the rule does not parse; see `complaint`.

    Examples
    --------
    >>> columns_of("stars >= 4 AND source <> 'shop' AND stars < 9"), columns_of("stars >=")
    (['stars', 'source'], [])
    """
    import polars as pl

    try:
        return list(dict.fromkeys(expression(sql).meta.root_names()))
    except pl.exceptions.PolarsError:
        return []


def holds(sql: str, frame: "pl.DataFrame") -> NDArray[np.bool_]:
    """Return for which documents a rule is true; null counts as false.

    Examples
    --------
    >>> import polars as pl
    >>> holds("stars >= 4", pl.DataFrame({"stars": [5, 3, None]})).tolist()
    [True, False, False]
    """
    return frame.with_columns(_rule=expression(sql).fill_null(value=False))["_rule"].to_numpy()


def complaint(sql: str, columns: pa.Schema) -> str:
    """Return a message about what is wrong with a rule over `columns`, empty if the rule is valid.

    The pipeline reports unknown columns, so a rule with an unknown column gives an empty message.

    Examples
    --------
    >>> stars = pa.schema([("stars", pa.int32())])
    >>> complaint("stars >= 4", stars), complaint("stars + 1", stars)
    ('', 'a rule must be true or false, but this one has the type Int32')
    """
    import polars as pl

    try:
        parsed = expression(sql)
        if any(name not in columns.names for name in parsed.meta.root_names()):
            return ""
        if _crosses_rows(orjson.loads(parsed.meta.serialize(format="json"))):
            return "a rule must not use aggregates or windows over several documents: the result depends on the shards"
        schema = pl.DataFrame(columns.empty_table()).lazy().select(rule=parsed).collect().schema
    except pl.exceptions.PolarsError as error:
        return str(error).splitlines()[0]
    return (
        ""
        if schema["rule"] == pl.Boolean
        else f"a rule must be true or false, but this one has the type {schema['rule']}"
    )


def expression(sql: str) -> "pl.Expr":
    """Parse a rule to a polars expression."""
    import polars as pl

    return pl.sql_expr(sql)


def _crosses_rows(tree: Any) -> bool:
    """Return whether a serialized expression contains an aggregate or a window function."""
    if isinstance(tree, dict):
        inside = (_crosses_rows(value) for name, value in tree.items() if name not in ("Column", "Literal"))
        return not CROSSING.isdisjoint(tree) or any(inside)
    return any(map(_crosses_rows, tree)) if isinstance(tree, list) else tree in CROSSING
