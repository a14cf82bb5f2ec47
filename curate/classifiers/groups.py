"""Groups of documents that a model learns from: by source, by a rule over columns, or both."""

from collections.abc import Iterable, Mapping

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from curate.errors import Problem, nearest
from curate.rules.sql import columns_of, complaint, holds


class Group(BaseModel):
    """Documents that are of one of the sources and of which the rule is true.

    Examples
    --------
    >>> group = Group(where="stars >= 4")
    >>> group.columns(), group.mask("shop", pa.table({"stars": [5, 3, None]})).tolist()
    (('stars',), [True, False, False])
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    sources: tuple[str, ...] | None = Field(default=None, min_length=1, description="sources; all unless given")
    where: str | None = Field(default=None, description="SQL expression over columns, true for a document of the group")

    @model_validator(mode="after")
    def _says_something(self) -> "Group":
        if self.sources is None and self.where is None:
            raise ValueError("name `sources`, a rule (`where`), or both")
        return self

    def columns(self) -> tuple[str, ...]:
        """Columns that the rule names; none when it does not parse, which `problems` reports."""
        return tuple(columns_of(self.where)) if self.where is not None else ()

    def mask(self, source: str, columns: pa.Table) -> NDArray[np.bool_]:
        """Which documents of a shard belong to the group; a rule that is null says no.

        Parameters
        ----------
        source
            Source of all of them.
        columns
            The columns that the rule names, and perhaps more.
        """
        import polars as pl

        if self.sources is not None and source not in self.sources:
            return np.zeros(columns.num_rows, bool)
        if self.where is None:
            return np.ones(columns.num_rows, bool)
        named = list(self.columns()) or columns.column_names[:1]  # a rule of no column needs the number of rows
        return holds(self.where, pl.DataFrame(columns.select(named)))

    def problems(self, field: str, known_sources: Mapping[str, int], columns: pa.Schema) -> Iterable[Problem]:
        """Sources that are not there, and rules that are none.

        Parameters
        ----------
        field
            The field of the stanza that names the group; empty where `sources` and `where` are fields themselves.
        known_sources, columns
            Sources and columns that there are.
        """
        above = (field,) if field else ()
        for position, source in enumerate(self.sources or ()):
            if known_sources and source not in known_sources:
                yield Problem((*above, "sources", position), f"no source {source!r}", nearest(source, known_sources))
        wrong = complaint(self.where, columns) if self.where is not None else ""
        if wrong:
            yield Problem((*above, "where"), f"{self.where!r}: {wrong}")
