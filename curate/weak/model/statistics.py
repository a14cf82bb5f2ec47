"""Sufficient statistics of the votes for a label model: integer sums over documents, which add up in any order.

The sums count the documents on which two outcomes occur together. An outcome is a vote for a class, a bucket of an
ordered function, or an abstention. The state also holds a sample of rows (those with the lowest keys) and all rows with
a gold label.
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
SAMPLE = 1 << 16  # rows; the standard error of the mean posterior over them is below 0.002
SCHEMA = 1

Counts = NDArray[np.int64]
Votes = NDArray[np.int8]


@dataclass(frozen=True)
class Layout:
    """The list of outcomes: for each function its abstention first, then its classes or buckets.

    Parameters
    ----------
    n_classes
        Number of classes, at least 2.
    names
        Name of each function.
    ordered
        Number of buckets of each function, 0 for a function that votes for classes.

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
        """Number of outcomes of each function, with the abstention, shape (functions,)."""
        return np.array([(buckets or self.n_classes) + 1 for buckets in self.ordered], np.int64)

    @cached_property
    def offsets(self) -> Counts:
        """Position of each function's first outcome, and the total, shape (functions + 1,)."""
        return np.concatenate([[0], np.cumsum(self.sizes)]).astype(np.int64)

    @cached_property
    def function_of(self) -> Counts:
        """Position of the function that each outcome belongs to, shape (outcomes,)."""
        return np.repeat(np.arange(len(self.names)), self.sizes)

    @cached_property
    def code_of(self) -> Counts:
        """Code of each outcome in a vote matrix, -1 for abstaining, shape (outcomes,)."""
        return np.arange(self.offsets[-1]) - self.offsets[self.function_of] - 1

    @cached_property
    def voting(self) -> NDArray[np.bool_]:
        """Whether each function votes for classes, shape (functions,)."""
        return np.array(self.ordered, np.int64) == 0

    def without(self, function: int) -> "Layout":
        """The layout of the other functions."""
        names, ordered = list(self.names), list(self.ordered)
        del names[function], ordered[function]
        return Layout(self.n_classes, tuple(names), tuple(ordered))


@dataclass(frozen=True)
class SliceCounts:
    """Counts of a subset of the documents, for the report.

    Parameters
    ----------
    documents
        Number of documents.
    outcomes
        Shape (outcomes,): number of documents with each outcome.
    overlapped, conflicted
        Shape (functions,): documents on which the function and another one voted, and on which votes differ.
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
    """Sums over documents. ``a + b`` is the state of all documents of both, equal to the bit in any order and grouping.

    Parameters
    ----------
    layout
        The outcomes.
    n
        Number of documents.
    moments
        Shape (outcomes, outcomes): documents on which two outcomes occur together; the diagonal counts each outcome.
        A function that was not asked has no outcome, so the sum over the block of two functions is the number of
        documents for which both were asked.
    overlapped, conflicted
        Shape (functions,): documents on which the function and another one voted, and on which votes differ.
    unanimous
        Shape (classes + 1,): documents whose votes are all for one class; the last entry counts those without a vote.
    sample
        The rows with the lowest keys, at most `capacity` of them.
    gold
        All rows with a gold label.
    slices
        Counts of subsets of the documents, by name.
    capacity
        Maximum number of rows in the sample.
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
        """The state of no documents, the neutral element of the sum."""
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
        """Count the votes of some documents.

        Parameters
        ----------
        votes
            Integers of shape (documents, functions): -2 not asked, -1 abstain, otherwise a class or a bucket.
        n_classes
            Number of classes.
        ordered
            Number of buckets of each function, 0 for a function that votes for classes. Higher buckets favor class 1.
        keys
            Shape (documents,), unsigned: hashes of the documents' ids, which choose the sample. Without keys, hashes
            of the row numbers choose it; then another cut into shards chooses other rows.
        gold
            Shape (documents,): the true class, -1 where it is unknown.
        gold_weights
            Shape (documents,): inverse of the probability that the document was drawn for gold. By default 1.
        names
            Name of each function.
        slices
            Mask of the documents of each slice, by name. Slices may overlap.
        capacity
            Maximum number of rows in the sample.
        seed
            Seed of the hash of row numbers.

        Raises
        ------
        ValueError
            Some arguments are invalid. The message lists all problems, one per line.

        Examples
        --------
        >>> one = VoteState.count([[1, -1], [0, 0]], n_classes=2, keys=[5, 3])
        >>> two = VoteState.count([[1, 1]], n_classes=2, keys=[4])
        >>> both = one + two
        >>> both.n, both.counts.tolist(), both.sample.votes.tolist()
        (3, [0, 1, 2, 1, 1, 1], [[0, 0], [1, 1], [1, -1]])
        """
        from curate.weak.model.vote_checks import checked

        arguments = checked(votes, n_classes, ordered, keys, gold, gold_weights, names, slices, seed)
        layout = Layout(n_classes, arguments.names, arguments.ordered)
        moments, overlapped, conflicted, unanimous = _count(arguments.votes, layout)
        return cls(
            layout=layout,
            n=len(arguments.votes),
            moments=moments,
            overlapped=overlapped,
            conflicted=conflicted,
            unanimous=unanimous,
            sample=SampleRows.lowest(arguments.keys, arguments.votes, capacity),
            gold=GoldRows.labeled(arguments.keys, arguments.votes, arguments.gold, arguments.gold_weights),
            slices={name: _slice(arguments.votes[mask], layout) for name, mask in sorted(arguments.slices.items())},
            capacity=capacity,
        )

    @property
    def counts(self) -> Counts:
        """Number of documents with each outcome, shape (outcomes,)."""
        return np.diag(self.moments).copy()

    @cached_property
    def asked(self) -> Counts:
        """Number of documents for which each function was asked, shape (functions,)."""
        return np.add.reduceat(self.counts, self.layout.offsets[:-1])

    @property
    def cast(self) -> Counts:
        """Number of documents on which each function voted, shape (functions,)."""
        return self.asked - self.counts[self.layout.offsets[:-1]]

    def __add__(self, other: "VoteState") -> "VoteState":
        if self.layout != other.layout or self.capacity != other.capacity:
            raise ValueError(f"vote states of different functions cannot be added: {self.layout} and {other.layout}")
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
        """The state without one function and with the first `rows` rows of the sample, to measure the function's value.

        Overlaps, conflicts and unanimity depend on all votes of a document: they are not recomputed. Slices are empty.
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
        """The state with every abstention replaced by "not asked"."""
        silent = self.layout.code_of < 0
        return replace(
            self,
            moments=np.where(silent[:, None] | silent, 0, self.moments),
            sample=SampleRows(self.sample.keys, _unasked(self.sample.votes)),
            gold=replace(self.gold, votes=_unasked(self.gold.votes)),
        )

    def save(self, path: str | PathLike[str]) -> None:
        """Write one npz file. The same state always gives the same bytes."""
        from curate.weak.model.rows import write_npz

        write_npz(path, self._arrays())

    @classmethod
    def load(cls, path: str | PathLike[str]) -> "VoteState":
        """Read a state that `save` wrote.

        Raises
        ------
        ValueError
            The state was saved with another schema.
        """
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
            raise ValueError(
                f"the vote state has schema {schema}, but this version reads schema {SCHEMA}: count the votes again"
            )
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
