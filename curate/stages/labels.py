"""What labeling functions find in the text, which `weak` turns into votes."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import pyarrow as pa
from pydantic import Field

from curate.errors import Problem
from curate.stage import Annotate, Annotator, Known
from curate.weak.functions.checks import file_problems
from curate.weak.functions.config import Function, Named, voters
from curate.weak.functions.text import finders, found_columns

if TYPE_CHECKING:
    from curate.text.batch import TextBatch


class Labels(Annotator):
    """What labeling functions find in the text; `weak` brings this stage itself.

    Examples
    --------
    >>> Labels(functions={"click": Function(regex="click here", vote="drop")}, prefix="weak").columns().names
    ['weak_hits_click']
    """

    stage: Literal["labels"] = "labels"
    version: ClassVar[int] = 1

    functions: dict[Named, Function] = Field(default={}, description="functions that look at the text, by name")
    prefix: Named = Field(default="labels", description="beginning of the columns' names")

    def identity(self) -> dict[str, Any]:
        """Functions by what they say, files by their content."""
        return super().identity() | {"functions": {key: own.identity(key) for key, own in self.functions.items()}}

    def packages(self) -> tuple[str, ...]:
        """What looks for patterns; a Python function answers for what it imports itself."""
        return ("polars",)

    def requires(self) -> tuple[str, ...]:
        """The text, and what Python functions ask for."""
        named = [column for voter in voters(self.functions) for column in voter.columns()]
        return tuple(dict.fromkeys(["text", *named]))

    def place(self, column: str) -> tuple[str | int, ...]:
        """The function that names the column."""
        return next(voter.place(column) for voter in voters(self.functions) if column in voter.columns())

    def columns(self) -> pa.Schema:
        """Occurrences for each list and pattern; votes and faults for each Python function."""
        return found_columns(self.functions, self.prefix)

    def check(self, known: Known) -> Iterable[Problem]:
        """Files, patterns and functions can be used."""
        yield from file_problems(self.functions)

    def load(self) -> Annotate:
        """Load lists, patterns and Python files."""
        schema, found = self.columns(), finders(self.functions)

        def annotate(text: "TextBatch", columns: pa.RecordBatch) -> pa.RecordBatch:
            arrays = [array for find in found for array in find(text, columns)]
            return pa.RecordBatch.from_arrays(arrays, schema=schema)

        return annotate
