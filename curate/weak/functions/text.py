"""What labeling functions find in the text: occurrences of words and patterns, and the votes of Python functions.

Counts and not votes, so that another threshold, source or slice does not read the text again.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from curate import storage
from curate.weak.functions.config import Function
from curate.weak.functions.python import ask, resource_paths

if TYPE_CHECKING:
    from curate.text.batch import TextBatch

Finder = Callable[["TextBatch", pa.RecordBatch], list[pa.Array]]


def found_columns(functions: Mapping[str, Function], prefix: str) -> pa.Schema:
    """Columns of what is found: ``_hits_`` counts occurrences; ``_said_`` are votes, ``_fault_`` why there are none.

    Examples
    --------
    >>> functions = {"click": Function(regex="click here", vote="drop")}
    >>> found_columns(functions, "weak")
    weak_hits_click: int32 not null
    """
    fields = []
    for key, function in functions.items():
        if function.python is None:
            fields.append(pa.field(f"{prefix}_hits_{key}", pa.int32(), nullable=False))
        else:
            fields.append(pa.field(f"{prefix}_said_{key}", pa.int8(), nullable=False))
            fields.append(pa.field(f"{prefix}_fault_{key}", pa.string()))
    return pa.schema(fields)


def found_names(key: str, function: Function, prefix: str) -> tuple[str, ...]:
    """Names of the columns of one function."""
    return tuple(found_columns({key: function}, prefix).names)


def searched(function: Function) -> Function:
    """What of a function counts for what is found in the text: all but how it votes on that, and on which documents."""
    if function.python is not None:
        return Function(python=function.python, function=function.function, parameters=function.parameters)
    return Function(words=function.words, regex=function.regex, vote="drop")


def finders(functions: Mapping[str, Function]) -> list[Finder]:
    """Functions of a batch's text and columns, one for each labeling function; loads lists and Python files."""
    return [_finder(key, function) for key, function in functions.items()]


def _finder(key: str, function: Function) -> Finder:
    if function.words is not None:
        return _words(storage.read_bytes(function.words).decode("utf-8"))
    return _python(key, function) if function.python is not None else _regex(function.regex or "")


def _words(listed: str) -> Finder:
    from curate.text.wordlists import compile_list, count_entries, read_entries

    entries = compile_list(read_entries(listed))

    def find(text: "TextBatch", _: pa.RecordBatch) -> list[pa.Array]:
        return [pa.array(count_entries(text.words, entries).hits.astype("int32"))]

    return find


def _regex(pattern: str) -> Finder:
    import polars as pl

    def find(text: "TextBatch", _: pa.RecordBatch) -> list[pa.Array]:
        counts = pl.Series(text.text, dtype=pl.String).str.count_matches(pattern)
        return [counts.cast(pl.Int32).to_arrow()]

    return find


def _python(key: str, function: Function) -> Finder:
    own = function.python_function(key)
    arguments = python_arguments(key, function)

    def find(text: "TextBatch", columns: pa.RecordBatch) -> list[pa.Array]:
        given = [text.text if name == "text" else columns[name] for name in own.columns]
        votes, fault = ask(own, pa.RecordBatch.from_arrays(given, list(own.columns)), arguments)
        return [pa.array(votes), pa.array([fault or None] * len(text), pa.string())]

    return find


def python_arguments(key: str, function: Function) -> dict[str, Any]:
    """Parameters of a Python function, and the content of its resources."""
    resources = resource_paths(function.python_function(key), function.python or "")
    return dict(function.parameters) | {name: storage.read_bytes(path) for name, path in resources.items()}


def pattern_complaint(pattern: str) -> str:
    """Why a regular expression cannot be looked for; empty if it can.

    Examples
    --------
    >>> pattern_complaint("(?i)click here"), pattern_complaint("(a")
    ('', 'unclosed group')
    """
    import polars as pl

    try:
        pl.Series([""]).str.count_matches(pattern)
    except pl.exceptions.PolarsError as error:
        lines = [line.removeprefix("error: ") for line in str(error).splitlines() if line.startswith("error: ")]
        return lines[0] if lines else str(error).splitlines()[0]
    return ""
