"""Labeling functions as a stanza writes them, and the voters that they become: one for each rule of a preset."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from curate.artifact import file_hash
from curate.rules.presets import PresetName, rules_of
from curate.rules.sql import columns_of
from curate.storage import InputPath
from curate.weak.functions.python import DROP, KEEP, LabelingFunction, load_functions, resource_paths

Vote = Literal["keep", "drop"]
Named = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
Kind = Literal["when", "score", "words", "regex", "python", "preset", "column"]
CODES: dict[str, int] = {"drop": DROP, "keep": KEEP}

_VOTES = ("vote", "otherwise")
_WITH: dict[Kind, tuple[str, ...]] = {
    "when": _VOTES,
    "score": ("buckets", "higher", "by"),
    "words": (*_VOTES, "at_least"),
    "regex": (*_VOTES, "at_least"),
    "python": ("function", "parameters"),
    "preset": ("thresholds",),
    "column": (),
}
"""Kinds of functions by the field that says what is looked at, and the fields that go with each."""


class Function(BaseModel):
    """A labeling function: what it looks at, and how it votes.

    Examples
    --------
    >>> Function(when="words < 50", vote="drop").kind, Function(score="quality_raw").ordered
    ('when', 10)
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    when: str | None = Field(
        default=None, min_length=1, description="SQL expression over columns; where it is null, the function abstains"
    )
    score: str | None = Field(
        default=None, min_length=1, description="column of numbers: its quantiles over the corpus are the votes"
    )
    words: InputPath | None = Field(
        default=None, description="file of words and phrases, one a line, that are looked for in the text"
    )
    regex: str | None = Field(
        default=None, min_length=1, description="regular expression that is looked for in the text"
    )
    python: InputPath | None = Field(default=None, description="Python file with a function under @labeling_function")
    preset: PresetName | None = Field(
        default=None, description="published rule set: each rule is a function by its own name and votes drop"
    )
    column: str | None = Field(
        default=None,
        min_length=1,
        description="column of the words keep, drop and abstain, such as a judge's; null is a document not asked about",
    )
    vote: Vote | None = Field(default=None, description="the vote where the expression is true or enough is found")
    otherwise: Vote | None = Field(default=None, description="the vote elsewhere; abstains unless given")
    at_least: int | None = Field(
        default=None, ge=1, description="occurrences in the text that it takes; 1 unless given"
    )
    buckets: int | None = Field(
        default=None, ge=2, le=64, description="equally full buckets that a score is cut into; 10 unless given"
    )
    higher: Vote | None = Field(default=None, description="what a high score speaks for; keep unless given")
    by: str | None = Field(
        default=None,
        min_length=1,
        description="column such as lang_code: each of its values has buckets of its own, documents without one none",
    )
    function: str | None = Field(
        default=None, min_length=1, description="name of the function in the file; that of the key unless given"
    )
    parameters: dict[str, Any] = Field(default={}, description="arguments of the function in Python")
    thresholds: dict[str, bool | int | float | str | None] = Field(
        default={}, description="other thresholds for rules of the preset, by rule; null leaves a rule out"
    )
    sources: tuple[str, ...] | None = Field(
        default=None, min_length=1, description="sources that it votes on; all unless given"
    )
    where: str | None = Field(
        default=None,
        min_length=1,
        description="SQL expression, true of the documents that it votes on, such as lang_code = 'en'",
    )

    @model_validator(mode="after")
    def _one_kind(self) -> "Function":
        kinds: list[Kind] = [kind for kind in _WITH if getattr(self, kind) is not None]
        if len(kinds) != 1:
            said = f"says {' and '.join(f'`{kind}`' for kind in kinds)}" if kinds else "looks at nothing"
            raise ValueError(f"{said}: give one of {', '.join(f'`{kind}`' for kind in _WITH)}")
        companions = dict.fromkeys(field for fields in _WITH.values() for field in fields)
        for field in companions:
            if getattr(self, field) not in (None, {}) and field not in _WITH[kinds[0]]:
                takes = [kind for kind, fields in _WITH.items() if field in fields]
                raise ValueError(f"`{field}` goes with {' or '.join(f'`{kind}`' for kind in takes)}, not `{kinds[0]}`")
        if "vote" in _WITH[kinds[0]] and self.vote is None:
            raise ValueError(f"`{kinds[0]}` needs `vote: keep` or `vote: drop`")
        if self.vote is not None and self.vote == self.otherwise:
            raise ValueError(f"votes {self.vote} on every document: `otherwise` is the other vote, or left out")
        return self

    @property
    def kind(self) -> Kind:
        """The field that says what it looks at."""
        return next(kind for kind in _WITH if getattr(self, kind) is not None)

    @property
    def ordered(self) -> int:
        """Number of buckets, 0 for a function that votes keep, drop or abstain."""
        return (self.buckets or 10) if self.score is not None else 0

    def identity(self, key: str) -> dict[str, Any]:
        """What it says, files by their content: a Python function is its file, its resources and its parameters."""
        said = self.model_dump(mode="json", exclude_none=True)
        said = {field: value for field, value in said.items() if value != {}}
        if self.words is not None:
            said["words"] = file_hash(self.words)
        if self.python is not None:
            function = self.python_function(key)
            resources = resource_paths(function, self.python)
            said |= {"python": file_hash(self.python), "function": function.name}
            said["resources"] = {name: file_hash(path) for name, path in sorted(resources.items())}
        return said

    def python_function(self, key: str) -> LabelingFunction:
        """The function of a Python file.

        Raises
        ------
        ValueError
            The file cannot be run, or has no such function.
        FileNotFoundError
            There is no such file.
        """
        return load_functions(self.python or "")[self.function or key]


@dataclass(frozen=True)
class Voter:
    """One column of votes.

    Parameters
    ----------
    name
        Name of the function.
    key
        Key of the stanza that it is from.
    function
        What the stanza says.
    when
        For a rule, the expression that is true where it votes.
    language
        For a rule about one language, the expression that is true of documents in it; empty for any.
    """

    name: str
    key: str
    function: Function
    when: str = ""
    language: str = ""

    @property
    def kind(self) -> Kind:
        """``when`` for a rule of a preset, else the function's own."""
        return "when" if self.function.kind == "preset" else self.function.kind

    @property
    def vote(self) -> int:
        """Code of the vote of a rule, word list or expression."""
        return CODES[self.function.vote or "drop"]

    @property
    def where(self) -> tuple[str, ...]:
        """Expressions that must be true of the documents that it votes on."""
        return tuple(sql for sql in (self.function.where, self.language) if sql)

    def columns(self) -> tuple[str, ...]:
        """Columns that it needs, the text aside."""
        own = self.function
        named = [*columns_of(self.when), *(column for column in (own.score, own.by, own.column) if column)]
        if self.kind == "python":
            named += [column for column in self.asks() if column != "text"]
        return tuple(dict.fromkeys([*named, *(column for sql in self.where for column in columns_of(sql))]))

    def asks(self) -> tuple[str, ...]:
        """Columns that a Python function is given; none for one that cannot be loaded, which is reported elsewhere."""
        try:
            return self.function.python_function(self.key).columns
        except (ValueError, KeyError, OSError):
            return ()

    @property
    def reads_text(self) -> bool:
        """Whether it looks at the text."""
        return self.kind in ("words", "regex") or (self.kind == "python" and "text" in self.asks())

    def place(self, column: str) -> tuple[str | int, ...]:
        """Where in the stanza `column` is named."""
        own = self.function
        fields = {"score": own.score, "by": own.by, "column": own.column}
        named = next((field for field, value in fields.items() if value == column), "")
        if not named:
            named = "where" if column in columns_of(own.where or "") else own.kind
        return ("functions", self.key, named)


def voters(functions: Mapping[str, Function], language: str | None = None) -> tuple[Voter, ...]:
    """The voters of a stanza, in its order; a rule that several presets have in common is there once.

    Parameters
    ----------
    functions
        Functions by their key, which is the name but for presets.
    language
        Column with a document's language, by which rules of presets for one language spare all others.

    Examples
    --------
    >>> functions = {"short": Function(when="words < 50", vote="drop"), "rules": Function(preset="mt5")}
    >>> [voter.name for voter in voters(functions)]
    ['short', 'mt5_long_lines_min']
    """
    made: dict[str, Voter] = {}
    for voter in _all_voters(functions, language):
        made.setdefault(voter.name, voter)
    return tuple(made.values())


def _all_voters(functions: Mapping[str, Function], language: str | None) -> Iterator[Voter]:
    for key, function in functions.items():
        if function.preset is None:
            yield Voter(key, key, function, function.when or "")
        else:
            for rule in rules_of(function.preset, function.thresholds):
                own = f"{language} = '{rule.language}'" if language and rule.language else ""
                yield Voter(rule.name, key, function, rule.when(), own)


def twice(functions: Mapping[str, Function], language: str | None) -> Iterator[tuple[Voter, Voter]]:
    """Voters of one name that do not say the same: the one that counts, and the other."""
    first: dict[str, Voter] = {}
    for voter in _all_voters(functions, language):
        kept = first.setdefault(voter.name, voter)
        same = (kept.when, kept.function.sources, kept.function.where, kept.function.kind)
        if same != (voter.when, voter.function.sources, voter.function.where, voter.function.kind):
            yield kept, voter
