"""Functions of users that the stages `map` and `rewrite` call on batches of documents.

A fault of one document costs one document. Where a function raises an exception, or returns something else than it
promised, it is called again on each half of the batch, and so on down to the documents that it fails on alone. For k
such documents in a batch of n, that takes about 2 k log2(n) calls.
"""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import import_module
from typing import Any, NamedTuple, TypeVar

import pyarrow as pa
from pydantic import ConfigDict, Field, field_validator

from curate import storage
from curate.errors import Problem, nearest
from curate.stage import Known, Stage
from curate.storage import InputPath
from curate.user_code import UserCode, UserCodeError, call_problem, fault_text

Answer = TypeVar("Answer")

TOLERATED = 10  # documents that may fail in a run, however small it is, unless `max_faults` is 0
LISTED = 10  # faults that a manifest tells apart


class AnswerError(ValueError):
    """What a function returned is not what it promised."""


class Fault(NamedTuple):
    """Why there is no answer for a document: the type of the exception, and its message."""

    reason: str
    detail: str

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}" if self.detail else self.reason


class UserFunction(Stage):
    """Fields of a stage that calls a function of a user, and how it finds and checks the function.

    Examples
    --------
    >>> stage = UserFunction(python="/home/me/my.py:score", requires=("url",))
    >>> stage.code.path, stage.function_name, stage.inputs
    ('/home/me/my.py', 'score', ('text', 'url'))
    """

    # The keys `requires` and `columns` are what people write; as attributes these are methods of every stage.
    model_config = ConfigDict(serialize_by_alias=True)

    python: str = Field(description="Python file and the function in it that is called, as my.py:score")
    uses: tuple[InputPath, ...] = Field(
        default=(),
        description="other Python files that this one imports, by their names without .py; their content counts as its "
        "own",
    )
    required: tuple[str, ...] = Field(
        default=(), alias="requires", description="columns that the function is given beside the text"
    )
    parameters: dict[str, Any] = Field(default={}, description="further arguments of the function, by name")
    max_faults: float = Field(
        default=0.01,
        ge=0,
        le=1,
        description="share of the documents that the function may fail on before the run stops; unless it is 0, 10 may",
    )

    @field_validator("python")
    @classmethod
    def _absolute(cls, python: str) -> str:
        """A path that means the same in every worker's directory."""
        path, colon, name = python.rpartition(":")
        if not colon or not path.endswith(".py") or not name.isidentifier():
            raise ValueError("must be a Python file and a function in it, as my.py:score")
        return f"{storage.absolute(path)}:{name}"

    @property
    def code(self) -> UserCode:
        """The file of the function, with those that it uses."""
        return UserCode(path=self.python.rpartition(":")[0], uses=self.uses)

    @property
    def function_name(self) -> str:
        """Name of the function in its file."""
        return self.python.rpartition(":")[2]

    @property
    def inputs(self) -> tuple[str, ...]:
        """Columns of the batches that the function is given."""
        return tuple(dict.fromkeys(["text", *self.required]))

    def place(self, column: str) -> tuple[str | int, ...]:
        """Where `column` is named."""
        return ("requires", self.required.index(column)) if column in self.required else ()

    def identity(self) -> dict[str, Any]:
        """The configuration, with the content of the files in the place of their paths.

        The limit stays out: it decides whether a run goes on, not what it writes.
        """
        config = super().identity()
        del config["uses"], config["max_faults"]
        return config | {"python": self.function_name, "code": self.code.hashes()}

    def check(self, known: Known) -> Iterable[Problem]:
        """The files are there and can be run, and the function takes a batch and the parameters."""
        places = [("python",), *(("uses", position) for position in range(len(self.uses)))]
        missing = [
            (place, file) for place, file in zip(places, self.code.files, strict=True) if not storage.exists(file)
        ]
        yield from (Problem(place, f"there is no file {file!r}") for place, file in missing)
        if missing:
            return
        try:
            module = self.code.module()
        except UserCodeError as error:
            yield Problem(("python",), f"{self.code.path!r} {error}", error.hint)
            return
        function = getattr(module, self.function_name, None)
        if not callable(function):
            names = [name for name, value in vars(module).items() if inspect.isfunction(value)]
            hint = nearest(self.function_name, names) if names else ""
            yield Problem(("python",), f"{self.code.path!r} has no function {self.function_name!r}", hint)
        elif complaint := call_problem(function, self.parameters):
            place = "parameters" if self.parameters else "python"
            yield Problem((place,), f"{self.function_name!r} takes a batch and the parameters: {complaint}")

    def tolerated(self, documents: int) -> int:
        """How many of so many documents the function may fail on."""
        return int(max(TOLERATED if self.max_faults else 0, self.max_faults * documents))

    def too_many(self, faults: int, documents: int, example: str) -> str:
        """Why a run stops."""
        return (
            f"{self.function_name!r} failed on at least {faults} of {documents} documents; the limit is "
            f"{self.tolerated(documents)} (max_faults: {self.max_faults:g})\n"
            f"    for example: {example}\n"
            f"mend the function in {self.code.path}, or raise the limit"
        )


def function_of(module: str, name: str, parameters: Mapping[str, Any]) -> Callable[[pa.RecordBatch], Any]:
    """A function of a user's module with its parameters; in a worker this imports the file, which has not changed."""
    function = getattr(import_module(module), name)
    return lambda batch: function(batch, **parameters)


def by_halves(call: Callable[[pa.RecordBatch], Answer], batch: pa.RecordBatch) -> Iterator[tuple[int, Answer | Fault]]:
    """Answers of a function for consecutive rows, with the number of rows that each is for; faults are for one row.

    A lack of memory, and an error of the file system (an `OSError` with a number), is no document's fault and raised.

    Examples
    --------
    >>> def inverse(batch):
    ...     return [1 / value.as_py() for value in batch["x"]]
    >>> list(by_halves(inverse, pa.record_batch({"x": [1, 2, 0, 4]})))
    [(2, [1.0, 0.5]), (1, Fault(reason='ZeroDivisionError', detail='division by zero')), (1, [0.25])]
    """
    try:
        answer = call(batch)
    except MemoryError:
        raise
    except (Exception, SystemExit) as error:  # a function that calls sys.exit is no reason to stop
        if isinstance(error, OSError) and error.errno is not None:
            raise
        reason, _, detail = fault_text(error).partition(": ")
        answer = Fault(reason, detail)
    if isinstance(answer, Fault) and batch.num_rows > 1:
        half = batch.num_rows // 2
        yield from by_halves(call, batch.slice(0, half))
        yield from by_halves(call, batch.slice(half))
    elif batch.num_rows:
        yield batch.num_rows, answer


def as_array(values: Any, kind: pa.DataType, rows: int, name: str) -> pa.Array:
    """What a function returned for a column, in the column's type.

    Parameters
    ----------
    values
        An Arrow array, a numpy array, a polars series, or a list.
    kind
        Type of the column: numbers, truth values or strings.
    rows
        Number of documents.
    name
        Name of the column, for messages.

    Raises
    ------
    AnswerError
        There is another number of values, they are of another kind (numbers become other numbers only where none
        changes its value, doubles as single precision aside), or are not valid UTF-8.

    Examples
    --------
    >>> as_array([1, None, 3], pa.float32(), 3, "score").to_pylist()
    [1.0, None, 3.0]
    >>> as_array(["1", "2"], pa.float32(), 2, "score")
    Traceback (most recent call last):
    ...
    curate.user_function.AnswerError: 'score' holds string, where float is promised
    """
    array = values.to_arrow() if hasattr(values, "to_arrow") else values
    array = array if isinstance(array, pa.Array | pa.ChunkedArray) else pa.array(array)
    array = array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
    array = array.dictionary_decode() if isinstance(array, pa.DictionaryArray) else array
    if len(array) != rows:
        plural = "s" if len(array) != 1 else ""
        raise AnswerError(f"{name!r} has {len(array)} value{plural} for {rows} document{'s' if rows != 1 else ''}")
    if not pa.types.is_null(array.type) and _family(array.type) != _family(kind):
        raise AnswerError(f"{name!r} holds {array.type}, where {kind} is promised")
    try:
        array.validate(full=True)
        return array.cast(kind)
    except pa.ArrowInvalid as error:
        raise AnswerError(f"{name!r}: {error}") from None


def _family(kind: pa.DataType) -> str:
    """Types between which values are converted."""
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return "number"
    return "string" if pa.types.is_string(kind) or pa.types.is_large_string(kind) else str(kind)


def most_frequent(faults: Mapping[str, int]) -> dict[str, int]:
    """The most frequent faults, and how many others there are: messages may be as many as documents.

    Examples
    --------
    >>> most_frequent({"common": 3} | {f"rare {n:02d}": 1 for n in range(12)})["other faults"]
    3
    """
    ordered = sorted(faults.items(), key=lambda item: (-item[1], item[0]))
    rest = sum(count for _, count in ordered[LISTED:])
    return dict(ordered[:LISTED]) | ({"other faults": rest} if rest else {})
