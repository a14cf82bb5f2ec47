"""Rules: SQL expressions over columns that are true or false of each document by itself."""

from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

if TYPE_CHECKING:
    import polars as pl

CROSSING = {"Agg", "Over", "Len", "Rank", "Quantile", "Correlation"}  # what polars calls aggregates and windows


def columns_of(sql: str) -> list[str]:
    """Columns that a rule names, in order; none when it does not parse, which `complaint` reports.

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
    """Of which documents a rule is true; one that is null is not.

    Examples
    --------
    >>> import polars as pl
    >>> holds("stars >= 4", pl.DataFrame({"stars": [5, 3, None]})).tolist()
    [True, False, False]
    """
    return frame.with_columns(_rule=expression(sql).fill_null(value=False))["_rule"].to_numpy()


def complaint(sql: str, columns: pa.Schema) -> str:
    """What is wrong with a rule over `columns`, or nothing; unknown columns are the pipeline's to report.

    Examples
    --------
    >>> stars = pa.schema([("stars", pa.int32())])
    >>> complaint("stars >= 4", stars), complaint("stars + 1", stars)
    ('', 'gives Int32, where a rule is true or false')
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


def expression(sql: str) -> "pl.Expr":
    """What polars evaluates."""
    import polars as pl

    return pl.sql_expr(sql)


def _crosses_rows(tree: Any) -> bool:
    """Whether a serialized expression has an aggregate or a window in it."""
    if isinstance(tree, dict):
        inside = (_crosses_rows(value) for name, value in tree.items() if name not in ("Column", "Literal"))
        return not CROSSING.isdisjoint(tree) or any(inside)
    return any(map(_crosses_rows, tree)) if isinstance(tree, list) else tree in CROSSING
