"""What the manifest of `decontaminate` holds."""

from typing import TypedDict


class IndexFacts(TypedDict):
    """N-grams of the index, its bytes, and how many words they have."""

    ngrams: int
    bytes: int
    lengths: list[int]


class ItemCounts(TypedDict):
    """Items of a benchmark by what can be looked for, and n-grams that belong to one item."""

    items: int
    checkable: int
    short: int
    shared: int
    copy: int
    ngrams: int


class MadeIndex(TypedDict):
    """Result of the task that makes the index."""

    benchmarks: dict[str, ItemCounts]
    index: IndexFacts


class MatchCounts(TypedDict):
    """Documents with an n-gram of a benchmark, those with half of an item or more, and n-grams found."""

    documents: int
    mostly: int
    ngrams: int


class TopItem(TypedDict):
    """An item that many documents have, and the largest share of it that one of them has."""

    item: str
    documents: int
    best: float


class BenchmarkFacts(ItemCounts):
    """Items, those found (`hit`) and those found by half or more, documents by source, the most frequent items."""

    hit: int
    mostly: int
    sources: dict[str, MatchCounts]
    top: list[TopItem]


DocumentCounts = TypedDict("DocumentCounts", {"in": int, "hit": int, "mostly": int, "shared_only": int})
"""Documents with a match, with half of an item or more, and with only what many items share."""


class DecontaminateBody(TypedDict):
    """The index, documents by source, and benchmarks by name."""

    index: IndexFacts
    documents: dict[str, DocumentCounts]
    benchmarks: dict[str, BenchmarkFacts]
