"""What the manifests of `exact`, `minhash`, `paragraphs` and `substring` hold."""

from typing import Literal, NotRequired, TypedDict

from curate.artifact import Body
from curate.rewrite import RewriteBody


class CopyCounts(TypedDict):
    """Documents that have a better copy, and bytes of their text.

    `jaccard` counts them by similarity to the document that is kept, in steps of 0.05; only `minhash` has it.
    """

    documents: int
    bytes: int
    jaccard: NotRequired[dict[str, int]]


class DuplicatesBody(Body):
    """Copies by source, and clusters by the power of two at or below their size."""

    duplicates: dict[str, CopyCounts]
    cluster_sizes: dict[str, int]


class ComponentCounts(TypedDict):
    """Sizes of the largest bucket and component, and buckets of more than 100,000 documents."""

    hot_buckets: int
    largest_bucket: int
    largest_component: int


class ClusterCounts(TypedDict):
    """Clusters by size, overflows of a key's memory, and components that were too large to compare at once."""

    cluster_sizes: dict[str, int]
    crowded: int
    cut_components: int


class PlantedCopies(TypedDict):
    """Copies with a share `rate` of their tokens edited: how many were found, beside what theory expects.

    `low` and `high` bound the share found (95 %), `reached` counts the copies that are similar enough.
    """

    rate: float
    documents: int
    mean_jaccard: float
    reached: int
    found: int
    low: float
    high: float
    expected: float


class AuditedPairs(TypedDict, total=False):
    """Pairs that were compared again exactly, with the share that is similar enough (95 %); empty without pairs."""

    pairs: int
    reached: int
    low: float
    high: float
    mean_jaccard: float
    least_jaccard: float


class RecallFacts(TypedDict):
    """How well near-duplicates are found; `curve` pairs similarities with the chance that such a pair is found."""

    curve: list[list[float]]
    planted: list[PlantedCopies]
    audited: AuditedPairs


class MinHashBody(DuplicatesBody, ComponentCounts):
    """Copies, sizes, how candidates were verified, and how well that went."""

    crowded: int
    cut_components: int
    verify: Literal["signature", "jaccard", "off"]
    threshold: float
    quality: RecallFacts


class UnitCounts(TypedDict):
    """Different paragraphs or lines, and those that repeat."""

    distinct: int
    repeated: int


class ParagraphsBody(RewriteBody):
    """What was cut out, and the units that were compared."""

    units: UnitCounts


class SubstringBody(RewriteBody):
    """What was cut out, and the anchors that repeat."""

    repeated_anchors: int
