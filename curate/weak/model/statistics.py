"""What a label model has to know of the votes of any number of documents: integer sums that add up in any order.

The sums are how often each two outcomes of two functions meet; an outcome is a class, a bucket of an ordered function,
or that the function abstained. Beside them stand a sample of rows, those with the lowest keys, and the rows with gold.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from curate.weak.model import bit_columns
from curate.weak.model.rows import GoldRows, SampleRows

NOT_ASKED, ABSTAIN = -2, -1
SAMPLE = 1 << 16  # rows: the standard error of a mean posterior over them is below 0.002
SCHEMA = 1

Counts = NDArray[np.int64]
Votes = NDArray[np.int8]


@dataclass(frozen=True)
class Layout:
    """Which outcomes there are: for each function abstaining first, then its classes or buckets.

    Parameters
    ----------
    n_classes
        How many classes, at least 2.
    names
        One per function.
    ordered
        Per function its number of buckets, 0 for one that votes for classes.

    Examples
    --------
    >>> layout = Layout(2, ("rule", "perplexity"), (0, 4))
    >>> layout.offsets.tolist(), layout.function_of.tolist()
    ([0, 3, 8], [0, 0, 0, 1, 1, 1, 1, 1])
    """

    n_classes: int
    names: tuple[str, ...]
    ordered: tuple[int, ...]

    @cached_property
    def sizes(self) -> Counts:
        """Shape (functions,): outcomes of each, abstaining included."""
        return np.array([(buckets or self.n_classes) + 1 for buckets in self.ordered], np.int64)

    @cached_property
    def offsets(self) -> Counts:
        """Shape (functions + 1,): where the outcomes of each begin."""
        return np.concatenate([[0], np.cumsum(self.sizes)]).astype(np.int64)

    @cached_property
    def function_of(self) -> Counts:
        """Shape (outcomes,): whose an outcome is."""
        return np.repeat(np.arange(len(self.names)), self.sizes)

    @cached_property
    def code_of(self) -> Counts:
        """Shape (outcomes,): the code in a vote matrix, -1 for abstaining."""
        return np.arange(self.offsets[-1]) - self.offsets[self.function_of] - 1

    @cached_property
    def voting(self) -> NDArray[np.bool_]:
        """Shape (functions,): whether a function votes for classes."""
        return np.array(self.ordered, np.int64) == 0

    def without(self, function: int) -> "Layout":
        """The layout of the other functions."""
        names, ordered = list(self.names), list(self.ordered)
        del names[function], ordered[function]
        return Layout(self.n_classes, tuple(names), tuple(ordered))


@dataclass(frozen=True)
class SliceCounts:
    """Counts of a part of the documents, for the report.

    Parameters
    ----------
    documents
        How many.
    outcomes
        Shape (outcomes,): how many documents have each.
    overlapped, conflicted
        Shape (functions,): documents on which a function and another one voted, and on which votes differ.
    """

    documents: int
    outcomes: Counts
    overlapped: Counts
    conflicted: Counts

    def __add__(self, other: "SliceCounts") -> "SliceCounts":
        return SliceCounts(
            self.documents + other.documents,
            self.outcomes + other.outcomes,
            self.overlapped + other.overlapped,
            self.conflicted + other.conflicted,
        )


@dataclass(frozen=True)
class VoteState:
    """Sums over documents; ``a + b`` is that of the documents of both, the same to the bit for any order and grouping.

    Parameters
    ----------
    layout
        Which outcomes there are.
    n
        How many documents.
    moments
        Shape (outcomes, outcomes): on how many documents two outcomes meet; the diagonal counts outcomes. A function
        that was not asked has no outcome, so that the sum of a block counts the documents for which both were asked.
    overlapped, conflicted
        Shape (functions,): documents on which a function and another one voted, and on which votes differ.
    unanimous
        Shape (classes + 1,): documents whose votes are all for one class, and at the end those without a vote.
    sample
        The rows with the lowest keys, at most `capacity`.
    gold
        All rows with gold.
    slices
        By name, the counts of parts of the documents.
    capacity
        Size of the sample.
    """

    layout: Layout
    n: int
    moments: Counts
    overlapped: Counts
    conflicted: Counts
    unanimous: Counts
    sample: SampleRows
    gold: GoldRows
    slices: dict[str, SliceCounts] = field(default_factory=dict)
    capacity: int = SAMPLE

    @classmethod
    def empty(
        cls,
        functions: int,
        *,
        n_classes: int = 2,
        ordered: Sequence[int] | None = None,
        names: Sequence[str] | None = None,
        capacity: int = SAMPLE,
    ) -> "VoteState":
        """The state of no documents, to which others are added."""
        return cls.count(
            np.empty((0, functions), np.int8), n_classes=n_classes, ordered=ordered, names=names, capacity=capacity
        )

    @classmethod
    def count(
        cls,
        votes: ArrayLike,
        *,
        n_classes: int,
        ordered: Sequence[int] | None = None,
        keys: ArrayLike | None = None,
        gold: ArrayLike | None = None,
        gold_weights: ArrayLike | None = None,
        names: Sequence[str] | None = None,
        slices: Mapping[str, ArrayLike] | None = None,
        capacity: int = SAMPLE,
        seed: int = 0,
    ) -> "VoteState":
        """The state of some documents.

        Parameters
        ----------
        votes
            Integers of shape (documents, functions): -2 not asked, -1 abstain, else a class or a bucket.
        n_classes
            How many classes.
        ordered
            Per function its number of buckets, 0 for one that votes for classes; a higher bucket speaks for class 1.
        keys
            Shape (documents,), unsigned: hashes of the documents' ids, which choose the sample. The row number's
            hash unless given: then another cut into shards chooses other rows.
        gold
            Shape (documents,): the true class, -1 where it is not known.
        gold_weights
            Shape (documents,): the inverse of the probability with which a document was drawn for gold; 1 unless given.
        names
            One per function.
        slices
            By name, a mask of the documents that belong to it; slices may overlap.
        capacity
            Rows of the sample.
        seed
            Of the hash of row numbers.

        Raises
        ------
        ValueError
            With all that is wrong, a line each.

        Examples
        --------
        >>> one = VoteState.count([[1, -1], [0, 0]], n_classes=2, keys=[5, 3])
        >>> two = VoteState.count([[1, 1]], n_classes=2, keys=[4])
        >>> both = one + two
        >>> both.n, both.counts.tolist(), both.sample.votes.tolist()
        (3, [0, 1, 2, 1, 1, 1], [[0, 0], [1, 1], [1, -1]])
        """
        from curate.weak.model.vote_checks import checked

        given = checked(votes, n_classes, ordered, keys, gold, gold_weights, names, slices, seed)
        layout = Layout(n_classes, given.names, given.ordered)
        moments, overlapped, conflicted, unanimous = _count(given.votes, layout)
        return cls(
            layout=layout,
            n=len(given.votes),
            moments=moments,
            overlapped=overlapped,
            conflicted=conflicted,
            unanimous=unanimous,
            sample=SampleRows.lowest(given.keys, given.votes, capacity),
            gold=GoldRows.known(given.keys, given.votes, given.gold, given.gold_weights),
            slices={name: _slice(given.votes[mask], layout) for name, mask in sorted(given.slices.items())},
            capacity=capacity,
        )

    @property
    def counts(self) -> Counts:
        """Shape (outcomes,): how many documents have each."""
        return np.diag(self.moments).copy()

    @cached_property
    def asked(self) -> Counts:
        """Shape (functions,): how many documents each was asked for."""
        return np.add.reduceat(self.counts, self.layout.offsets[:-1])

    @property
    def cast(self) -> Counts:
        """Shape (functions,): on how many documents each did not abstain."""
        return self.asked - self.counts[self.layout.offsets[:-1]]

    def __add__(self, other: "VoteState") -> "VoteState":
        if self.layout != other.layout or self.capacity != other.capacity:
            raise ValueError(f"states of other functions cannot be added: {self.layout} and {other.layout}")
        slices = dict(self.slices)
        for name, counts in other.slices.items():
            slices[name] = slices[name] + counts if name in slices else counts
        return VoteState(
            layout=self.layout,
            n=self.n + other.n,
            moments=self.moments + other.moments,
            overlapped=self.overlapped + other.overlapped,
            conflicted=self.conflicted + other.conflicted,
            unanimous=self.unanimous + other.unanimous,
            sample=self.sample.merged(other.sample, self.capacity),
            gold=self.gold.merged(other.gold),
            slices=dict(sorted(slices.items())),
            capacity=self.capacity,
        )

    def without(self, function: int, rows: int) -> "VoteState":
        """The state without a function and with the first `rows` of the sample, to ask what the function is worth.

        What needs all votes of a document (overlaps, conflicts, unanimity, slices) is left as it was or out.
        """
        keep = self.layout.function_of != function
        return replace(
            self,
            layout=self.layout.without(function),
            moments=self.moments[np.ix_(keep, keep)],
            overlapped=np.delete(self.overlapped, function),
            conflicted=np.delete(self.conflicted, function),
            sample=SampleRows(self.sample.keys[:rows], np.delete(self.sample.votes[:rows], function, axis=1)),
            gold=replace(self.gold, votes=np.delete(self.gold.votes, function, axis=1)),
            slices={},
        )

    def unasked(self) -> "VoteState":
        """The state as if functions had not been asked wherever they abstained."""
        silent = self.layout.code_of < 0
        return replace(
            self,
            moments=np.where(silent[:, None] | silent, 0, self.moments),
            sample=SampleRows(self.sample.keys, _unasked(self.sample.votes)),
            gold=replace(self.gold, votes=_unasked(self.gold.votes)),
        )

    def save(self, path: str | PathLike[str]) -> None:
        """Write one npz file; the same state gives the same bytes."""
        from curate.weak.model.rows import write_npz

        write_npz(path, self._arrays())

    @classmethod
    def load(cls, path: str | PathLike[str]) -> "VoteState":
        """Read what `save` wrote; ValueError when it is of another schema."""
        with np.load(path, allow_pickle=False) as arrays:
            return cls._from_arrays({name: arrays[name] for name in arrays.files})

    def _arrays(self) -> dict[str, NDArray[Any]]:
        k = self.layout
        names = list(self.slices)
        parts = [self.slices[name] for name in names]
        return {
            "schema": np.array([SCHEMA, k.n_classes, self.n, self.capacity], np.int64),
            "names": np.array(k.names, np.str_),
            "ordered": np.array(k.ordered, np.int64),
            "moments": self.moments,
            "overlapped": self.overlapped,
            "conflicted": self.conflicted,
            "unanimous": self.unanimous,
            "sample_keys": self.sample.keys,
            "sample_votes": self.sample.votes,
            "gold_keys": self.gold.keys,
            "gold_votes": self.gold.votes,
            "gold_labels": self.gold.labels,
            "gold_weights": self.gold.weights,
            "slice_names": np.array(names, np.str_),
            "slice_documents": np.array([part.documents for part in parts], np.int64),
            "slice_outcomes": np.array([p.outcomes for p in parts], np.int64).reshape(len(parts), int(k.offsets[-1])),
            "slice_overlapped": np.array([p.overlapped for p in parts], np.int64).reshape(len(parts), len(k.names)),
            "slice_conflicted": np.array([p.conflicted for p in parts], np.int64).reshape(len(parts), len(k.names)),
        }

    @classmethod
    def _from_arrays(cls, a: dict[str, NDArray[Any]]) -> "VoteState":
        schema, n_classes, n, capacity = a["schema"].tolist()
        if schema != SCHEMA:
            raise ValueError(f"a vote state of schema {schema}, where {SCHEMA} is known: count the votes again")
        rows = zip(a["slice_documents"], a["slice_outcomes"], a["slice_overlapped"], a["slice_conflicted"], strict=True)
        return cls(
            layout=Layout(n_classes, tuple(a["names"].tolist()), tuple(a["ordered"].tolist())),
            n=n,
            moments=a["moments"],
            overlapped=a["overlapped"],
            conflicted=a["conflicted"],
            unanimous=a["unanimous"],
            sample=SampleRows(a["sample_keys"], a["sample_votes"]),
            gold=GoldRows(a["gold_keys"], a["gold_votes"], a["gold_labels"], a["gold_weights"]),
            slices={
                name: SliceCounts(int(row[0]), *row[1:])
                for name, row in zip(a["slice_names"].tolist(), rows, strict=True)
            },
            capacity=capacity,
        )


def _unasked(votes: Votes) -> Votes:
    return np.where(votes == ABSTAIN, np.int8(NOT_ASKED), votes)


def _count(votes: Votes, layout: Layout) -> tuple[Counts, Counts, Counts, Counts]:
    return bit_columns.count(votes, layout.offsets, layout.function_of, layout.voting, layout.n_classes)


def _slice(votes: Votes, layout: Layout) -> SliceCounts:
    moments, overlapped, conflicted, _ = _count(votes, layout)
    return SliceCounts(len(votes), np.diag(moments).copy(), overlapped, conflicted)
