"""Votes of labeling functions on the documents of a shard."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate.rules.sql import expression
from curate.stats.quantiles import rows_by_group
from curate.table import as_batch
from curate.user_code import fault_text
from curate.weak.functions.config import CODES, Voter
from curate.weak.functions.python import ABSTAIN, NOT_ASKED, ask
from curate.weak.functions.text import found_names, python_arguments

if TYPE_CHECKING:
    import polars as pl

ALL = "all"  # the group of a score whose buckets are the same for all documents
BATCH = 1024  # documents that a Python function without text is given at a time, so that a fault costs no more
ANSWERS = {**CODES, "abstain": ABSTAIN}
ANOTHER = f"another word than {', '.join(ANSWERS)}"

Cuts = Mapping[str, Mapping[str, Sequence[float]]]
"""Ascending cuts of each score, by the function's name and the group."""


@dataclass(frozen=True)
class Ballot:
    """Votes of a shard.

    Parameters
    ----------
    votes
        int8, shape (documents, voters).
    faults
        For each voter, documents by what went wrong.
    """

    votes: NDArray[np.int8]
    faults: Sequence[Mapping[str, int]]

    @classmethod
    def silent(cls, documents: int, voters: int) -> "Ballot":
        """That of documents which no voter was asked about."""
        return cls(np.full((documents, voters), NOT_ASKED, np.int8), [{}] * voters)


def evaluate(
    voters: Sequence[Voter], columns: pa.Table, source: str, cuts: Cuts, prefix: str, outside: int = ABSTAIN
) -> Ballot:
    """The votes of all `voters`.

    Null and NaN abstain; null in a ``column`` is a document not asked about.

    Parameters
    ----------
    voters
        Who votes.
    columns
        What they look at: `Voter.columns`, and what was found in the text.
    source
        Source of all documents.
    cuts
        Of the scores.
    prefix
        Of the columns of what was found in the text (`curate.weak.functions.text`).
    outside
        What a voter says outside of its sources and of what its ``where`` is true of.

    Examples
    --------
    >>> from curate.weak.functions.config import Function, voters
    >>> functions = {"short": Function(when="words < 50", vote="drop", otherwise="keep"), "high": Function(score="q")}
    >>> columns = pa.table({"words": [3, 90, None], "q": [0.1, 0.5, float("nan")]})
    >>> evaluate(voters(functions), columns, "web", {"high": {"all": [0.2, 0.3]}}, "weak").votes.tolist()
    [[0, 0], [1, 2], [-1, -1]]
    """
    frame = frame_of(columns)
    votes = np.full((columns.num_rows, len(voters)), outside, np.int8, order="F")
    faults: list[Mapping[str, int]] = []
    for position, voter in enumerate(voters):
        inside, fault = members(voter, frame, source)
        if fault:
            votes[:, position] = ABSTAIN
            faults.append({fault: frame.height})
            continue
        codes, wrong = _codes(voter, frame, columns, cuts, prefix)
        votes[inside, position] = codes[inside]
        faults.append({} if wrong is None else _counted(wrong.filter(pa.array(inside))))
    return Ballot(np.ascontiguousarray(votes), faults)


def _counted(wrong: pa.Array) -> dict[str, int]:
    """Documents by what went wrong."""
    counts = wrong.drop_null().value_counts().to_pylist()
    return {entry["values"]: entry["counts"] for entry in sorted(counts, key=lambda entry: entry["values"])}


def frame_of(columns: pa.Table) -> "pl.DataFrame":
    """Columns as expressions see them: NaN is null."""
    import polars as pl

    return pl.DataFrame(columns).with_columns(pl.selectors.float().fill_nan(None))


def members(voter: Voter, frame: "pl.DataFrame", source: str) -> tuple[NDArray[np.bool_], str]:
    """Which documents are of the voter's sources, ``where`` and language, shape (documents,).

    Also what went wrong, such as a cast that fails, empty if nothing did: nobody can tell the documents then.
    """
    import polars as pl

    own = voter.function
    inside = np.full(frame.height, own.sources is None or source in own.sources)
    try:
        for sql in voter.where if inside.any() else ():
            inside &= _true(sql, frame)[0]
    except pl.exceptions.PolarsError as error:
        return np.zeros(frame.height, bool), fault_text(error)
    return inside, ""


def scores(voter: Voter, frame: "pl.DataFrame") -> tuple[NDArray[np.float32], NDArray[np.object_]]:
    """Values of a score, NaN where there is none or no group, and groups, shape (documents,) each."""
    import polars as pl

    own = voter.function
    with np.errstate(over="ignore"):  # beyond single precision is the end of the scale
        values = frame[own.score or ""].cast(pl.Float64).fill_null(np.nan).to_numpy().astype(np.float32)
    if own.by is None:
        return values, np.full(frame.height, ALL, object)
    groups = frame[own.by].cast(pl.String)
    values[groups.is_null().to_numpy()] = np.nan
    return values, np.array(groups.to_list(), object)


def _true(sql: str, frame: "pl.DataFrame") -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Where an expression is true, and where it is false."""
    answer = frame.with_columns(_=expression(sql))["_"]
    return answer.fill_null(value=False).to_numpy(), (~answer).fill_null(value=False).to_numpy()


Codes = tuple[NDArray[np.int8], pa.Array | None]
"""Votes, and what went wrong with each document, null where nothing did; None where nothing can."""


def _codes(voter: Voter, frame: "pl.DataFrame", columns: pa.Table, cuts: Cuts, prefix: str) -> Codes:
    """Votes of one voter on all documents, whatever its slice."""
    own = voter.function
    if voter.kind == "score":
        return _buckets(voter, frame, cuts.get(voter.name, {})), None
    if voter.kind == "column":
        return _answers(columns.column(own.column or "").combine_chunks())
    if voter.kind == "python":
        return _said(voter, columns, prefix) if voter.reads_text else _asked(voter, columns)
    if voter.kind == "when":
        return _ruled(voter, frame)
    (name,) = found_names(voter.key, own, prefix)
    return _either(voter, frame[name].to_numpy() >= (own.at_least or 1)), None


def _either(voter: Voter, yes: NDArray[np.bool_], no: NDArray[np.bool_] | None = None) -> NDArray[np.int8]:
    """The vote where `yes`, that of ``otherwise`` where `no`."""
    otherwise = voter.function.otherwise
    rest = ABSTAIN if otherwise is None else CODES[otherwise]
    return np.where(yes, voter.vote, np.where(~yes if no is None else no, rest, ABSTAIN)).astype(np.int8)


def _ruled(voter: Voter, frame: "pl.DataFrame") -> Codes:
    import polars as pl

    try:
        return _either(voter, *_true(voter.when, frame)), None
    except pl.exceptions.PolarsError as error:  # a cast that fails, say: that is seen only where the values are
        why = fault_text(error)
        return np.full(frame.height, ABSTAIN, np.int8), pa.array([why] * frame.height, pa.string())


def _buckets(voter: Voter, frame: "pl.DataFrame", cuts: Mapping[str, Sequence[float]]) -> NDArray[np.int8]:
    """Buckets of a score; a higher code speaks for keep."""
    values, groups = scores(voter, frame)
    codes = np.full(frame.height, ABSTAIN, np.int8)
    for group, rows in rows_by_group(values, groups).items():
        own = cuts.get(group)
        if own is None:
            continue
        below, upto = (
            np.searchsorted(np.array(own, np.float32), values[rows], side=side) for side in ("left", "right")
        )
        place = (below + upto + 1) // 2  # of a value that is several cuts, the middle, so that others are told from it
        codes[rows] = len(own) - place if voter.function.higher == "drop" else place
    return codes


def _answers(column: pa.Array) -> Codes:
    """Votes of a column of words; another word than keep, drop and abstain is a fault."""
    words = column.cast(pa.string()) if not pa.types.is_string(column.type) else column
    codes = np.full(len(words), ABSTAIN, np.int8)
    known = np.zeros(len(words), bool)
    for word, code in ANSWERS.items():
        rows = pc.call_function("equal", [words, pa.scalar(word)]).fill_null(False).to_numpy(zero_copy_only=False)
        codes[rows], known[rows] = code, True
    missing = words.is_null().to_numpy(zero_copy_only=False)
    codes[missing] = NOT_ASKED
    unknown = pa.array(~known & ~missing)
    return codes, pc.call_function("if_else", [unknown, pa.scalar(ANOTHER), pa.scalar(None, pa.string())])


def _said(voter: Voter, columns: pa.Table, prefix: str) -> Codes:
    """What a Python function has said of the text in the pass over it."""
    said, fault = (columns.column(name).combine_chunks() for name in found_names(voter.key, voter.function, prefix))
    return said.to_numpy(), fault


def _asked(voter: Voter, columns: pa.Table) -> Codes:
    """Ask a Python function that does not look at the text."""
    function = voter.function.python_function(voter.key)
    arguments = python_arguments(voter.key, voter.function)
    given = columns.select(list(function.columns)).combine_chunks()
    codes, faults = np.full(columns.num_rows, ABSTAIN, np.int8), []
    for start in range(0, columns.num_rows, BATCH):
        batch = as_batch(given.slice(start, BATCH))
        codes[start : start + len(batch)], fault = ask(function, batch, arguments)
        faults += [fault or None] * len(batch)
    return codes, pa.array(faults, pa.string())
