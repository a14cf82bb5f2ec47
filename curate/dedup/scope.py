"""Scopes of a comparison: duplicates are searched only among the documents of one scope."""

import re
from collections.abc import Iterator
from typing import Annotated

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash
from numpy.typing import NDArray
from pydantic import AfterValidator, Field

from curate.artifact import Shard
from curate.errors import Problem
from curate.stage import Known
from curate.table import Table

ALL, SOURCE, META = "all", "source", "meta."
_COLUMN = re.compile(r"\w+|meta(\.[^.\\]+)+")  # a backslash would escape the next character of a JSON path


def _within(text: str) -> str:
    if not _COLUMN.fullmatch(text):
        raise ValueError("must be 'all', 'source', a column, or 'meta.' followed by the name of an input field")
    return text


Within = Annotated[
    str,
    AfterValidator(_within),
    Field(
        description="which documents are compared: `all` of them, those of one `source`, or those with the same value "
        "of a column (`lang_code`) or of an input field (`meta.dump`)"
    ),
]


def columns_of(within: str) -> tuple[str, ...]:
    """Return the columns from which the scope is computed.

    Examples
    --------
    >>> columns_of("source"), columns_of("lang_code"), columns_of("meta.dump")
    ((), ('lang_code',), ('meta',))
    """
    if within in (ALL, SOURCE):
        return ()
    return ("meta",) if within.startswith(META) else (within,)


def problems(within: str, known: Known) -> Iterator[Problem]:
    """Report a scope column of floating-point or nested type: its values do not form groups."""
    for column in columns_of(within):
        column_type = known.columns.field(column).type if column in known.columns.names else pa.null()
        if pa.types.is_floating(column_type) or pa.types.is_nested(column_type):
            message = f"column {column!r} has type {column_type}, whose values do not form groups"
            yield Problem(("within",), message, "choose a column of text, whole numbers, booleans or dates")


def scope_hashes(within: str, table: Table, shard: Shard) -> NDArray[np.uint64]:
    """Hash the scope of each document of a shard.

    Values are compared as text: 1 and "1" are the same scope, 1 and 1.0 are two scopes. Documents without a value (the
    column or the field is null or missing) form one scope together.

    Parameters
    ----------
    within
        ``all``, ``source``, a column, or an input field as ``meta.FIELD``.
    table, shard
        The shard whose scopes are hashed, and the table that contains it.

    Returns
    -------
    NDArray[np.uint64]
        Shape (documents,). All hashes are 0 if `within` is ``all``.
    """
    if within == ALL:
        return np.zeros(shard.rows, np.uint64)
    if within == SOURCE:
        return np.full(shard.rows, xxhash.xxh3_64_intdigest(shard.source.encode()), np.uint64)
    (column,) = columns_of(within)
    values = table.read(shard, [column]).column(column).combine_chunks()
    if within.startswith(META):
        values = field_values(values, within.removeprefix(META))
    elif pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    return _hashed(values if pa.types.is_binary(values.type) or _is_text(values) else values.cast(pa.string()))


def _is_text(values: pa.Array) -> bool:
    return pa.types.is_string(values.type) or pa.types.is_fixed_size_binary(values.type)


def field_values(meta: pa.Array, name: str) -> pa.Array:
    """Return the values of a field of JSON objects as text, or null where the field is missing.

    Examples
    --------
    >>> field_values(pa.array(['{"dump": "2024-10", "votes": {"up": 3}}', None]), "votes.up").to_pylist()
    ['3', None]
    """
    import polars as pl

    steps = (step.replace("'", "\\'") for step in name.split("."))
    path = "$" + "".join(f"['{step}']" for step in steps)
    return pl.Series(meta).str.json_path_match(path).to_arrow().cast(pa.string())


def _hashed(values: pa.Array) -> NDArray[np.uint64]:
    """Hash each value with XXH3-64. Each distinct value is hashed once."""
    encoded = values.dictionary_encode()
    distinct = [value if isinstance(value, bytes) else value.encode() for value in encoded.dictionary.to_pylist()]
    null_hash = xxhash.xxh3_64_intdigest(b"")
    # Without a dtype, NumPy turns integers below and above 2^63 into floats, which lose 11 of the 64 bits.
    hashes = np.array([*(xxhash.xxh3_64_intdigest(b"=" + value) for value in distinct), null_hash], np.uint64)
    return hashes[pc.fill_null(encoded.indices, len(distinct)).to_numpy()]
