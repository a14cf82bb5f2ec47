"""Who is compared with whom: duplicates are looked for among the documents of one scope."""

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
_COLUMN = re.compile(r"\w+|meta(\.[^.\\]+)+")  # a backslash would quote what follows it in a JSON path


def _within(text: str) -> str:
    if not _COLUMN.fullmatch(text):
        raise ValueError("must be 'all', 'source', a column, or 'meta.' and the name of a field of the input")
    return text


Within = Annotated[
    str,
    AfterValidator(_within),
    Field(
        description="who is compared: `all` documents with one another, or only those of one `source`, or with one "
        "value of a column (`lang_code`) or of a field of the input (`meta.dump`)"
    ),
]


def columns_of(within: str) -> tuple[str, ...]:
    """Columns that must be at hand.

    Examples
    --------
    >>> columns_of("source"), columns_of("lang_code"), columns_of("meta.dump")
    ((), ('lang_code',), ('meta',))
    """
    if within in (ALL, SOURCE):
        return ()
    return ("meta",) if within.startswith(META) else (within,)


def problems(within: str, known: Known) -> Iterator[Problem]:
    """Columns that give no scope: numbers with a fraction, and nested values."""
    for column in columns_of(within):
        kind = known.columns.field(column).type if column in known.columns.names else pa.null()
        if pa.types.is_floating(kind) or pa.types.is_nested(kind):
            yield Problem(("within",), f"{column!r} holds {kind}, whose values are no groups")


def scope_hashes(within: str, table: Table, shard: Shard) -> NDArray[np.uint64]:
    """Hash of the scope of each document of a shard; documents without a value have one scope together.

    Values are compared as text: 1 and "1" are one scope, 1 and 1.0 are two. A field that is null has no
    value.

    Parameters
    ----------
    within
        ``all``, ``source``, a column, or a field of the input.
    table, shard
        Where the column is read.

    Returns
    -------
    NDArray[np.uint64]
        Shape (documents,); 0 throughout if all documents are compared.
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
    """The values of a field of JSON objects, as they would be printed; null where there is none.

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
    """XXH3-64 of each value; each distinct value is hashed once."""
    encoded = values.dictionary_encode()
    distinct = [value if isinstance(value, bytes) else value.encode() for value in encoded.dictionary.to_pylist()]
    none = xxhash.xxh3_64_intdigest(b"")
    # Without a type, NumPy makes floats of integers on both sides of 2^63, and floats lose 11 of the 64 bits.
    hashes = np.array([*(xxhash.xxh3_64_intdigest(b"=" + value) for value in distinct), none], np.uint64)
    return hashes[pc.fill_null(encoded.indices, len(distinct)).to_numpy()]
