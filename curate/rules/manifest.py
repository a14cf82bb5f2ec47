"""What the manifest of `select` holds."""

from collections.abc import Sequence
from typing import TypedDict

from curate.artifact import Body


class RuleEntry(TypedDict):
    """A rule in its place; `sources` is None for a rule that applies to all of them."""

    name: str
    when: str
    sources: Sequence[str] | None


SelectedBytes = TypedDict("SelectedBytes", {"in": int, "kept": int, "dropped": dict[str, int]})
"""Bytes of text of one source; dropped ones by the first rule that is true."""


class SelectBody(Body):
    """Rules in their order, and counts by source and rule.

    `fired` counts the documents for which a rule is true, `alone` those for which no other rule is.
    """

    rules: list[RuleEntry]
    bytes: dict[str, SelectedBytes]
    fired: dict[str, dict[str, int]]
    alone: dict[str, dict[str, int]]
