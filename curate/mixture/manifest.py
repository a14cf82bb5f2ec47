"""What the manifests of `tokens`, `mix` and `shards` hold."""

from typing import Literal, TypedDict

from curate.artifact import Body, SourceFlow


class Sizes(TypedDict):
    """How many documents, and their tokens and bytes."""

    documents: int
    tokens: int
    bytes: int


class CopySizes(Sizes):
    """Different documents and their copies; tokens and bytes are those of the copies."""

    copies: int


class TokenizerFacts(TypedDict):
    """The tokenizer that counted; `fast` is true if curate's own counter could be used for it."""

    sha256: str
    vocab_size: int
    trained: bool
    fast: bool


class TokensBody(Body):
    """Kept documents by source, and the tokenizer."""

    sources: dict[str, Sizes]
    tokenizer: TokenizerFacts


class MixedCounts(TypedDict):
    """Result of the last tasks of `mix`: what became of documents, sizes of those held out, and sizes by rung."""

    flow: SourceFlow
    validation: Sizes
    rungs: dict[str, CopySizes]


class MixtureRung(CopySizes):
    """A rung of the ladder, with its budget in the plan's unit."""

    name: str
    budget: int


class ReachEntry(TypedDict):
    """A `curate.mixture.budget.Reach` as JSON."""

    epochs: int
    cut: str


class RealisedShare(CopySizes):
    """What a source gives to a rung: its target, its share of the rung, and epochs of what is available."""

    target: int
    share: float
    epochs: float


class PlannedShare(RealisedShare):
    """The same, with how far the source goes."""

    reach: ReachEntry


class SourceLimits(TypedDict):
    """A source: its weight, epochs at most, what is available for rungs, and what is held out."""

    weight: float
    max_epochs: float
    available: Sizes
    validation: Sizes


class PlannedSource(SourceLimits):
    """A source, with what it gives to each rung."""

    rungs: list[PlannedShare]


class Plan(TypedDict):
    """A mixture: what was asked for, and what came of it."""

    unit: Literal["tokens", "bytes"]
    rungs: list[MixtureRung]
    validation: Sizes
    sources: dict[str, PlannedSource]


class MixBody(Body):
    """The plan."""

    plan: Plan


class WrittenRung(MixtureRung):
    """A rung with the number of files that make it up, counted from the first, and the hash chain over these."""

    files: int
    nesting: str


class OutputFile(TypedDict):
    """A file that `shards` wrote."""

    path: str
    rows: int
    tokens: int
    bytes: int
    sha256: str


class WrittenFile(OutputFile):
    """The same, with what it holds of each source, and tokens by language; result of the task that writes it."""

    sources: dict[str, CopySizes]
    languages: dict[str, int]


class OutputColumn(TypedDict):
    """A column of the output files."""

    name: str
    type: str


class TokenizerFile(TypedDict):
    """The tokenizer that lies beside the output files."""

    path: str
    sha256: str


class ShardsBody(Body):
    """Rungs, held-out documents, files (the increments of the ladder first) and columns."""

    rungs: list[WrittenRung]
    validation: Sizes
    files: list[OutputFile]
    schema: list[OutputColumn]
    tokenizer: TokenizerFile
