"""Fields that the stages share which cut repeated text out of documents."""

from collections.abc import Iterable
from dataclasses import replace

from pydantic import BaseModel, ConfigDict, Field

from curate.dedup import scope
from curate.dedup.scope import Within
from curate.dedup.survivors import LONGEST, Policy, Preference, Priority
from curate.errors import Problem
from curate.registry import stage_type
from curate.stage import Known, Stage
from curate.table import DOCUMENT


class RepeatCutting(BaseModel):
    """Which documents are compared, and whose copy of a repeated text stays.

    Examples
    --------
    >>> RepeatCutting(prefer=("stars desc",), within="lang_code").requires()[-2:]
    ('stars', 'lang_code')
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    prefer: tuple[Preference, ...] = Field(
        default=(), description="documents whose copy stays: `longest`, or columns with `asc` or `desc`"
    )
    priority: Priority = ()
    within: Within = "all"

    @property
    def policy(self) -> Policy:
        """Whose copy stays."""
        return Policy(self.prefer, self.priority)

    def upstream(self) -> tuple[Stage, ...]:
        """Lengths, if the longest is preferred."""
        return (stage_type("size")(),) if LONGEST in self.prefer else ()

    def requires(self) -> tuple[str, ...]:
        """The documents, and what `prefer` and `within` name."""
        return tuple(dict.fromkeys([*DOCUMENT.names, *self.policy.columns, *scope.columns_of(self.within)]))

    def place(self, column: str) -> tuple[str | int, ...]:
        """Where `column` is named."""
        place = self.policy.place(column)
        return ("prefer", *place[1:]) if place else ("within",)

    def check(self, known: Known) -> Iterable[Problem]:
        """Sources and columns exist and have an order."""
        for problem in self.policy.problems(known):
            yield replace(problem, where=tuple("prefer" if step == "keep" else step for step in problem.where))
        yield from scope.problems(self.within, known)
