"""What the manifests of `train_lm` and `perplexity` hold."""

from typing import NotRequired, TypedDict

from curate.artifact import Body


class EstimationFacts(TypedDict):
    """Text that a model was estimated from, and its n-grams and discounts by length.

    A model estimated by lmplz does not say its discounts, nor the lengths whose discounts had to be replaced.
    """

    sentences: int
    tokens: int
    vocabulary: int
    order: int
    prune: list[int]
    ngrams: list[int]
    ngrams_before_pruning: NotRequired[list[int]]
    discounts: NotRequired[list[list[float]]]
    fallback_discounts: NotRequired[list[int]]


class ModelCard(EstimationFacts):
    """A model with the documents and bytes that were chosen for it; below a rate of 1 a sample was trained on."""

    documents: int
    bytes: int
    rate: float
    sha256: str


class TrainLmBody(Body):
    """The column with a model for each of its values (None for one model), models by group, documents used by source.

    `too_little_text` holds the bytes of groups without a model.
    """

    by: str | None
    models: dict[str, ModelCard]
    documents: dict[str, int]
    too_little_text: dict[str, int]


class BitsHistogram(TypedDict):
    """Documents by bits per byte, in bars of `width`; the last bar is open."""

    width: float
    counts: list[int]


class SourceScores(TypedDict):
    """Documents of a source, those with a score and without; quantiles of bits per byte by share."""

    documents: int
    scored: int
    null: int
    tokens: int
    oov_share: float | None
    mean_bits_per_byte: float | None
    quantiles: dict[str, float]
    histogram: BitsHistogram


class PerplexityBody(TypedDict):
    """Scores by source."""

    scores: dict[str, SourceScores]
