"""Groups of documents, such as the training documents of a model, selected by source, by a rule, or by both."""

from collections.abc import Iterable, Mapping

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from curate.errors import Problem, nearest
from curate.rules.sql import columns_of, complaint, holds


class Group(BaseModel):
    """Documents from one of the sources for which the rule is true.

    Examples
    --------
    >>> group = Group(where="stars >= 4")
    >>> group.columns(), group.mask("shop", pa.table({"stars": [5, 3, None]})).tolist()
    (('stars',), [True, False, False])
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    sources: tuple[str, ...] | None = Field(default=None, min_length=1, description="sources; all by default")
    where: str | None = Field(default=None, description="SQL expression over columns, true for a document of the group")

    @model_validator(mode="after")
    def _is_not_empty(self) -> "Group":
        if self.sources is None and self.where is None:
            raise ValueError("name `sources`, a rule (`where`), or both")
        return self

    def columns(self) -> tuple[str, ...]:
        """Return the columns that the rule uses; none if the rule does not parse, which `problems` reports."""
        return tuple(columns_of(self.where)) if self.where is not None else ()

    def mask(self, source: str, columns: pa.Table) -> NDArray[np.bool_]:
        """Return which documents of a shard belong to the group. If the rule is null, a document does not belong.

        Parameters
        ----------
        source
            Source of the shard.
        columns
            Table with at least the columns that the rule uses.
        """
        import polars as pl

        if self.sources is not None and source not in self.sources:
            return np.zeros(columns.num_rows, bool)
        if self.where is None:
            return np.ones(columns.num_rows, bool)
        named = list(self.columns()) or columns.column_names[:1]  # a rule without columns needs the number of rows
        return holds(self.where, pl.DataFrame(columns.select(named)))

    def problems(self, field: str, known_sources: Mapping[str, int], columns: pa.Schema) -> Iterable[Problem]:
        """Yield problems of the group: unknown sources and an invalid rule.

        Parameters
        ----------
        field
            Field of the stage that holds the group; empty if `sources` and `where` are fields of the stage.
        known_sources, columns
            Sources and columns of the input.
        """
        parent = (field,) if field else ()
        for position, source in enumerate(self.sources or ()):
            if known_sources and source not in known_sources:
                yield Problem(
                    (*parent, "sources", position), f"there is no source {source!r}", nearest(source, known_sources)
                )
        message = complaint(self.where, columns) if self.where is not None else ""
        if message:
            yield Problem((*parent, "where"), f"{self.where!r}: {message}")
