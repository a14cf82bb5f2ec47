"""Labeling functions in Python: how one is declared, loaded from its file by path, and asked, faults included."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate import storage
from curate.user_code import UserCode, call_problem, fault_text

NOT_ASKED, ABSTAIN, DROP, KEEP = -2, -1, 0, 1
"""Votes: missing by design, abstained, and the two classes; an ordered function gives its bucket, 0 to B - 1."""


@dataclass(frozen=True)
class LabelingFunction:
    """A Python function that votes on batches of documents.

    Parameters
    ----------
    name
        What a stanza calls it.
    columns
        Columns that it is given, in this order; documents' own columns included.
    resources
        Paths of files by the name of the parameter that takes their content (bytes); relative to the function's file.
    function
        Takes a `pyarrow.RecordBatch` of the columns, and resources and parameters by name; gives one integer per row.
    """

    name: str
    columns: tuple[str, ...]
    resources: Mapping[str, str]
    function: Callable[..., Any] = field(repr=False)

    def __call__(self, batch: pa.RecordBatch, *arguments: Any, **named: Any) -> Any:
        """Call the function as it is, without any check of what it gives."""
        return self.function(batch, *arguments, **named)


def labeling_function(
    *, columns: Sequence[str], name: str = "", resources: Mapping[str, str] | None = None
) -> Callable[[Callable[..., Any]], LabelingFunction]:
    """Declare a labeling function.

    Parameters
    ----------
    columns
        Columns that it is given.
    name
        What a stanza calls it; the function's own name unless given.
    resources
        Files by the name of the parameter that takes their content (bytes); relative paths start at the function's
        file. What they hold is part of the function's identity, as the file with the function is.

    Examples
    --------
    >>> import pyarrow.compute as pc
    >>> @labeling_function(columns=["words"])
    ... def short(batch, least=50):
    ...     return pc.if_else(pc.less(batch["words"], least), DROP, ABSTAIN)
    >>> short.name, ask(short, pa.record_batch({"words": [3, 90, None]}), {"least": 4})[0].tolist()
    ('short', [0, -1, -1])
    """
    if isinstance(columns, str) or not all(isinstance(column, str) for column in columns):
        raise TypeError(f"columns are a list of names, not {columns!r}")

    def declare(function: Callable[..., Any]) -> LabelingFunction:
        return LabelingFunction(name or function.__name__, tuple(columns), dict(resources or {}), function)

    return declare


def ask(
    function: LabelingFunction, batch: pa.RecordBatch, arguments: Mapping[str, Any]
) -> tuple[NDArray[np.int8], str]:
    """Votes of a function on a batch; a fault makes abstains of all of them.

    Parameters
    ----------
    function
        The function.
    batch
        The columns that it asks for.
    arguments
        Resources and parameters by name.

    Returns
    -------
    votes, fault
        Shape (documents,), `ABSTAIN`, `DROP` or `KEEP`; and what went wrong, empty if nothing did: an exception, or an
        answer that is not one integer for each document, null or -1, 0 or 1.

    Examples
    --------
    >>> batch = pa.record_batch({"words": [3, 90]})
    >>> ask(LabelingFunction("short", ("words",), {}, lambda batch: [0]), batch, {})
    (array([-1, -1], dtype=int8), 'gave 1 vote for 2 documents')
    """
    try:
        votes, fault = _codes(function.function(batch, **arguments), batch.num_rows)
    except MemoryError:
        raise
    except (Exception, SystemExit) as error:  # a function that calls sys.exit is no reason to stop
        votes, fault = None, fault_text(error)
    if votes is None:
        return np.full(batch.num_rows, ABSTAIN, np.int8), fault
    return votes, ""


def _codes(answer: Any, documents: int) -> tuple[NDArray[np.int8] | None, str]:
    """An answer as votes, or what is wrong with it."""
    array = answer if isinstance(answer, pa.Array | pa.ChunkedArray) else pa.array(answer)
    if pa.types.is_null(array.type):
        array = array.cast(pa.int8())
    if not pa.types.is_integer(array.type):
        return None, f"gave {array.type}, where votes are integers"
    if len(array) != documents:
        return None, f"gave {len(array)} vote{'s' if len(array) != 1 else ''} for {documents} documents"
    codes = array.cast(pa.int64()).fill_null(ABSTAIN).to_numpy(zero_copy_only=False)
    wrong = codes[(codes < ABSTAIN) | (codes > KEEP)]
    if len(wrong):
        return None, f"gave the vote {wrong[0]}, where -1 abstains, 0 drops and 1 keeps"
    return codes.astype(np.int8), ""


def load_functions(path: str) -> dict[str, LabelingFunction]:
    """Labeling functions of a Python file, by name; the file is run once per process and content.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        The file cannot be run, or two of its functions have one name.
    """
    functions: dict[str, LabelingFunction] = {}
    for value in vars(UserCode(path=path).module()).values():
        if isinstance(value, LabelingFunction) and functions.setdefault(value.name, value) is not value:
            raise ValueError(f"has two functions called {value.name!r}")
    return functions


def resource_paths(function: LabelingFunction, path: str) -> dict[str, str]:
    """Paths of a function's resources; relative ones start at the folder of the function's file."""
    folder = path.rpartition("/")[0]
    whole = {
        name: file if "://" in file or file.startswith("/") else f"{folder}/{file}"
        for name, file in function.resources.items()
    }
    return {name: storage.absolute(file) for name, file in whole.items()}


def accepts(function: LabelingFunction, parameters: Mapping[str, Any]) -> str:
    """Why a function cannot be called with its resources and these parameters; empty if it can.

    Examples
    --------
    >>> accepts(LabelingFunction("short", (), {}, lambda batch, least=1: []), {"most": 3})
    "got an unexpected keyword argument 'most'"
    """
    both = sorted(set(parameters) & set(function.resources))
    if both:
        return f"the parameter {both[0]!r} is a resource already"
    return call_problem(function.function, [*function.resources, *parameters])
