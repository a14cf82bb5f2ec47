"""Columns by a Python function of the user's own, without a class: it is given Arrow batches, and returns arrays."""

import logging
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import pyarrow as pa
from pydantic import Field, model_validator

from curate import storage
from curate.artifact import Artifact, Shard, by_source
from curate.errors import RunError
from curate.stage import Annotate, Annotator
from curate.table import DOCUMENT, read_part
from curate.user_function import AnswerError, Fault, UserFunction, as_array, by_halves, function_of, most_frequent

if TYPE_CHECKING:
    from curate.engine.context import Context
    from curate.text.batch import TextBatch

PREPARED = "_function.json"  # the function's module and the limit, for the workers
TYPES: dict[str, pa.DataType] = {
    "bool": pa.bool_(),
    **{
        name: getattr(pa, name)() for name in ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
    },
    "float32": pa.float32(),
    "float64": pa.float64(),
    "string": pa.string(),
}

ColumnName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
ColumnType = Literal[
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32", "float64", "string"
]

log = logging.getLogger("curate")


class Map(UserFunction, Annotator):
    """Call a Python function on batches of documents, and store what it returns as columns.

    The function takes a `pyarrow.RecordBatch` with the column ``text`` and those that `requires` names, and the
    `parameters` by name. It returns the promised columns: a mapping of names to arrays, lists or series, or a record
    batch, table or data frame. A document that it fails on has nulls there, and the reason in ``map_fault`` (after the
    stage's name), which is null for all others.

    Examples
    --------
    >>> stage = Map(python="my.py:score", columns={"my_score": "float64", "my_flag": "bool"}, requires=("url",))
    >>> stage.columns().names, stage.requires()
    (['my_score', 'my_flag', 'map_fault'], ('text', 'url', 'id'))
    """

    stage: Literal["map"] = "map"
    name: str = "map"
    version: ClassVar[int] = 1

    promised: dict[ColumnName, ColumnType] = Field(
        alias="columns", min_length=1, description="columns that the function returns, and their types"
    )

    @model_validator(mode="after")
    def _free_names(self) -> "Map":
        for name in self.promised:
            if name in DOCUMENT.names:
                raise ValueError(f"`columns`: {name!r} is a column of the documents themselves; choose another name")
            if name == self.fault_column:
                raise ValueError(f"`columns`: {name!r} takes the reasons of faults; choose another name")
        return self

    @property
    def fault_column(self) -> str:
        """Column that says why there is no answer for a document."""
        return f"{self.name}_fault"

    @property
    def answer_schema(self) -> pa.Schema:
        """The promised columns."""
        return pa.schema([(name, TYPES[kind]) for name, kind in self.promised.items()])

    def requires(self) -> tuple[str, ...]:
        """What the function is given, and the id, which messages name."""
        return tuple(dict.fromkeys([*self.inputs, "id"]))

    def columns(self) -> pa.Schema:
        """The promised columns, and the reasons of faults."""
        return self.answer_schema.append(pa.field(self.fault_column, pa.string()))

    def prepare(self, ctx: "Context") -> None:
        """Note the module, whose name holds a hash of the files, so that all workers run the same content."""
        rows = ctx.table.rows
        storage.write_json(f"{ctx.path}/{PREPARED}", {"module": self.code.module().__name__, "documents": rows})

    def load_prepared(self, path: str) -> Annotate:
        """Import the function; the pass stops as soon as it has failed on too many documents."""
        prepared = storage.read_json(f"{path}/{PREPARED}")
        return self._annotate(prepared["module"], prepared["documents"])

    def load(self) -> Annotate:
        """Import the function; it may fail on any number of documents."""
        return self._annotate(self.code.module().__name__, None)

    def _annotate(self, module: str, documents: int | None) -> Annotate:
        function = function_of(module, self.function_name, self.parameters)
        inputs, schema, answer_schema = self.inputs, self.columns(), self.answer_schema
        failed: dict[bytes, int] = {}  # documents by the first id of a batch, which a second attempt does not add to

        def call(batch: pa.RecordBatch) -> pa.RecordBatch:
            return _answer(function(batch), answer_schema, batch.num_rows)

        def annotate(text: "TextBatch", columns: pa.RecordBatch) -> pa.RecordBatch:
            arrays = [text.text if name == "text" else columns[name] for name in inputs]
            answers = list(by_halves(call, pa.RecordBatch.from_arrays(arrays, list(inputs))))
            batch = pa.concat_batches([_part(answer, rows, schema) for rows, answer in answers])
            faults = [answer for _, answer in answers if isinstance(answer, Fault)]
            if faults and documents is not None:
                failed[columns["id"][0].as_py()] = len(faults)
                if sum(failed.values()) > self.tolerated(documents):
                    raise RunError(self.too_many(sum(failed.values()), documents, str(faults[0])))
            return batch

        return annotate

    def conclude(self, ctx: "Context") -> dict[str, Any]:
        """The most frequent faults by source; raises ``RunError`` if they are too many."""
        counted = ctx.map_shards(partial(_count_faults, ctx.artifact, self.fault_column), phase="faults")
        sources = by_source(ctx.table.shards, counted)
        faults = {source: most_frequent(counts.get("faults", {})) for source, counts in sources.items()}
        failed = sum(count for counts in faults.values() for count in counts.values())
        example = next((fault for counts in faults.values() for fault in counts), "")
        if failed > self.tolerated(ctx.table.rows):
            raise RunError(f"{ctx.artifact.name}: {self.too_many(failed, ctx.table.rows, example)}")
        if failed:
            message = "%s: %r failed on %d documents, whose columns are null, such as: %s"
            log.warning(message, ctx.artifact.name, self.function_name, failed, example)
        storage.remove_tree(f"{ctx.path}/{PREPARED}")
        return {"faults": faults}


def _answer(answer: Any, schema: pa.Schema, rows: int) -> pa.RecordBatch:
    """What a function returned, with the promised columns in their types; raises `AnswerError`."""
    answer = answer.to_arrow() if hasattr(answer, "to_arrow") else answer
    if isinstance(answer, Mapping):
        names = [str(name) for name in answer]
    elif isinstance(answer, pa.RecordBatch | pa.Table):
        names = answer.column_names
    else:
        raise AnswerError(f"gave {type(answer).__name__}, where a mapping of column names to arrays is expected")
    if sorted(names) != sorted(schema.names):
        raise AnswerError(f"gave the columns {', '.join(names) or 'none'}, and promised {', '.join(schema.names)}")
    arrays = [as_array(answer[field.name], field.type, rows, field.name) for field in schema]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _part(answer: pa.RecordBatch | Fault, rows: int, schema: pa.Schema) -> pa.RecordBatch:
    """An answer for some rows with the reasons of faults; nulls for a document without an answer."""
    fault = str(answer) if isinstance(answer, Fault) else None
    arrays = [pa.nulls(rows, field.type) for field in schema][:-1] if isinstance(answer, Fault) else answer.columns
    return pa.RecordBatch.from_arrays([*arrays, pa.array([fault] * rows, pa.string())], schema=schema)


def _count_faults(artifact: Artifact, column: str, shard: Shard) -> dict[str, Any]:
    counts = read_part(artifact.part(shard.name), [column])[column].drop_null().value_counts().to_pylist()
    return {"faults": most_frequent({entry["values"]: entry["counts"] for entry in counts})}
