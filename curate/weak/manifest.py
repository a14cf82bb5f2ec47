"""What the manifests of `weak` and `judge` hold."""

from collections.abc import Sequence
from typing import NotRequired, TypedDict

from curate.artifact import Body
from curate.stats.manifest import ReliabilityBin

# -- the label model ---------------------------------------------------------------------------------------------------


class Marginal(TypedDict):
    """What a function is worth: how a model without it differs; see `curate.weak.model.summary.marginal_values`."""

    divergence: float | None
    flipped: float | None
    gold_log_loss: float | None


class EmpiricalAccuracy(TypedDict):
    """Share of a function's votes that agree with gold, with its 95 % interval."""

    documents: int
    accuracy: float
    low: float
    high: float


class FunctionRow(TypedDict):
    """What a label model learned of one function.

    Outcomes, likelihoods and log-odds are by the code of the vote, -1 for abstaining. Shares are of the documents that
    the function was asked about.
    """

    name: str
    buckets: int
    asked: int
    voted: int
    polarity: list[int]
    coverage: float | None
    overlaps: float | None
    conflicts: float | None
    outcomes: dict[str, int]
    likelihood: dict[str, list[float]]
    accuracy: float | None
    weight: float
    log_odds: dict[str, float] | None
    marginal: Marginal
    empirical: EmpiricalAccuracy | None


class DependentPair(TypedDict):
    """Two functions that depend on one another given the class, and the outcomes that show it."""

    first: str
    second: str
    residual: float
    outcomes: list[int]
    redundancy: float
    voted_together: float | None
    agreement: float | None
    copies: bool


class SliceRow(TypedDict):
    """Counts of one function in one slice."""

    name: str
    asked: int
    coverage: float | None
    overlaps: float | None
    conflicts: float | None
    outcomes: dict[str, int]


class SliceFacts(TypedDict):
    """A part of the documents, with a row per function."""

    documents: int
    functions: list[SliceRow]


class GoldMeasures(TypedDict):
    """Weighted accuracy and log loss on gold; None without documents."""

    documents: int
    accuracy: float | None
    log_loss: float | None


class CorrectionFacts(TypedDict):
    """How gold corrects the model."""

    kind: str
    isotonic: bool
    scale: float
    log_loss_left_out: dict[str, float]


class GoldFacts(TypedDict):
    """How the model does on gold: before its correction, after it on documents left out, and what a majority does."""

    documents: int
    labels: list[int]
    majority: GoldMeasures
    before: GoldMeasures
    reliability_before: list[ReliabilityBin] | None
    correction: CorrectionFacts | None
    left_out: NotRequired[GoldMeasures]
    reliability_left_out: NotRequired[list[ReliabilityBin] | None]


class ModelSummary(TypedDict):
    """What a label model learned; docs/label_model.md describes each value."""

    documents: int
    classes: int
    method: str
    class_balance: list[float]
    class_balance_from: str
    ranks_only: bool
    functions: list[FunctionRow]
    pairs: list[DependentPair]
    explained: float | None
    effective_functions: float
    unanimous: list[int]
    silent: int
    slices: dict[str, SliceFacts]
    gold: GoldFacts | None
    warnings: list[str]


class FittedSummary(TypedDict):
    """Result of the task ``fit``; no keep rate where the quality ranks documents and is no probability."""

    summary: ModelSummary
    keep_rate: float | None


class FunctionFacts(TypedDict):
    """A labeling function as the recipe has it, its score cuts, and documents on which it failed, by reason."""

    name: str
    key: str
    kind: str
    when: str
    buckets: int
    cuts: dict[str, list[float]]
    faults: dict[str, int]


Decision = TypedDict("Decision", {"by": str, "from": float | None, "keep_rate": float | None})
"""How documents are decided on, the quality from which they are kept, and the share to keep."""


class GoldCounts(TypedDict):
    """Answers in the gold file, and those about documents of this run."""

    answers: int
    found: int


class QualityCounts(TypedDict):
    """Documents of a source with a quality and without, those kept, and a histogram by twentieths (``"07"``)."""

    documents: int
    not_asked: int
    keep: int
    histogram: dict[str, int]


class WeakFacts(TypedDict):
    """Functions, decisions, counts by source, and the model."""

    functions: list[FunctionFacts]
    judged: Sequence[str] | None
    decide: Decision
    gold: GoldCounts | None
    sources: dict[str, QualityCounts]
    slices: str | None
    model: ModelSummary


class WeakBody(Body):
    """What `weak` reports."""

    weak: WeakFacts


# -- chat models -------------------------------------------------------------------------------------------------------


class TokenCounts(TypedDict):
    """Tokens as the endpoint counts them."""

    prompt: int
    completion: int


class PromptCounts(TypedDict):
    """Votes of one prompt, answers without a vote by kind, and the requests that they took."""

    asked: int
    keep: int
    drop: int
    abstain: int
    unanswered: int
    kinds: dict[str, int]
    requests: int
    tokens: TokenCounts


class PromptAgreement(TypedDict):
    """Documents on which two prompts both voted, on how many alike, and Cohen's kappa."""

    one: str
    other: str
    both: int
    alike: int
    kappa: float | None


class Verdicts(TypedDict):
    """Votes by prompt, agreement of each pair, and warnings."""

    prompts: dict[str, PromptCounts]
    pairs: list[PromptAgreement]
    warnings: list[str]


class JudgedDocuments(TypedDict):
    """All documents, and those that were asked about."""

    all: int
    asked: int


class JudgeFacts(Verdicts):
    """The model, the sample, and what came of it."""

    model: str
    documents: JudgedDocuments


class JudgeBody(Body):
    """What `judge` reports."""

    judge: JudgeFacts


class PromptSpending(TypedDict):
    """Requests of one prompt that this run sent or found in the cache, and seconds of waiting."""

    answered: int
    cached: int
    seconds: float


class RequestCounts(TypedDict):
    """Requests that were sent, and those that failed, by reason."""

    requests: int
    failed: dict[str, int]


class Spending(RequestCounts):
    """What asking took in the last run."""

    prompts: dict[str, PromptSpending]


class AskResult(TypedDict):
    """Result of the task ``ask``."""

    judge: JudgeFacts
    spent: Spending
