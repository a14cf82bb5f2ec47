"""Overlap of documents with benchmark items, computed from the n-grams that both contain.

An n-gram identifies the items that contain it, unless too many items of a benchmark do (see
`curate.contamination.ngrams.NgramIndex`). The share of an item's n-grams that a document contains counts only the
n-grams that identify the item.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from curate.contamination.ngrams import Hits, NgramIndex
from curate.text.spans import merge
from curate.text.words import Words

_PAIRS = 1 << 21  # pairs of an n-gram and an item that are in memory at once, at about 100 bytes each


class Matches(NamedTuple):
    """Items that occur in documents, sorted by document and item.

    Attributes
    ----------
    documents, items
        Row of the document in the batch and number of the item, int64, shape (matches,).
    ngrams
        Number of distinct n-grams of the item that occur in the document, int64.
    ratio
        Share of the item's n-grams that occur in the document, float64, above 0 and at most 1.
    longest
        Words in the longest run: consecutive words of the document whose n-grams all occur in the item, int64.
    starts, ends
        Byte range of the longest run in the data of the batch, int64. If several runs are longest, the first counts.
    """

    documents: NDArray[np.int64]
    items: NDArray[np.int64]
    ngrams: NDArray[np.int64]
    ratio: NDArray[np.float64]
    longest: NDArray[np.int64]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]


class Runs(NamedTuple):
    """Runs of consecutive words of a document whose n-grams all occur in one item, by document, item and position.

    Attributes
    ----------
    documents
        Row of the document in the batch, int64, shape (runs,).
    first, last
        Number in the batch of the run's first word, and of the word after its last, int64.
    ratio
        Share of the item's n-grams that occur in the document, in this run or elsewhere, float64.
    """

    documents: NDArray[np.int64]
    first: NDArray[np.int64]
    last: NDArray[np.int64]
    ratio: NDArray[np.float64]


class Overlap(NamedTuple):
    """Overlap of a batch of documents with all benchmarks.

    Attributes
    ----------
    matches, runs
        Items that occur in the documents, and the runs of their words.
    hits
        Number of words at which an n-gram begins that identifies items, by document, int64, shape (documents,).
    shared
        Number of words at which only n-grams begin that too many items share, by document, int64.
    covered
        Number of words that lie in a run, by document, int64.
    """

    matches: Matches
    runs: Runs
    hits: NDArray[np.int64]
    shared: NDArray[np.int64]
    covered: NDArray[np.int64]


def overlap(index: NgramIndex, item_ngrams: NDArray[np.int64], words: Words, hits: Hits) -> Overlap:
    """Group the n-grams found in a batch by document and item.

    Parameters
    ----------
    index
        Index in which the n-grams were looked up.
    item_ngrams
        Number of n-grams that identify each item, shape (items,).
    words
        Words of the batch.
    hits
        N-grams found in the batch, from `curate.contamination.ngrams.find`.
    """
    count = len(words.offsets) - 1
    documents = np.searchsorted(words.offsets, hits.positions, side="right") - 1
    postings = np.diff(index.first)[hits.grams].astype(np.int64)
    starts = _parts(documents, postings)
    parts = [
        _gather(index, item_ngrams, words, Hits(*(array[low:high] for array in hits)), documents[low:high])
        for low, high in pairwise(starts)
    ] or [_gather(index, item_ngrams, words, hits, documents)]
    runs = Runs(*(np.concatenate(arrays) for arrays in zip(*(part[1] for part in parts), strict=True)))
    identifying = np.unique(hits.positions[postings > 0])
    shared = np.setdiff1d(hits.positions[postings == 0], identifying)
    rows, first, last = merge(runs.documents, runs.first, runs.last)
    return Overlap(
        Matches(*(np.concatenate(arrays) for arrays in zip(*(part[0] for part in parts), strict=True))),
        runs,
        _counts(words.offsets, identifying),
        _counts(words.offsets, shared),
        np.bincount(rows, last - first, count).astype(np.int64),
    )


def _counts(offsets: NDArray[np.int64], positions: NDArray[np.int64]) -> NDArray[np.int64]:
    """Count the positions in each document."""
    return np.diff(np.searchsorted(positions, offsets))


def _parts(documents: NDArray[np.int64], postings: NDArray[np.int64]) -> NDArray[np.int64]:
    """Split the hits into parts of about `_PAIRS` postings, without splitting a document; return the bounds."""
    if len(documents) == 0:
        return np.zeros(1, np.int64)
    begins = np.flatnonzero(np.diff(documents, prepend=-1))
    before = np.concatenate([[0], np.cumsum(postings)])[begins]
    chosen = begins[np.flatnonzero(np.diff(before // _PAIRS, prepend=-1))]
    return np.append(chosen, len(documents))


def _gather(
    index: NgramIndex, item_ngrams: NDArray[np.int64], words: Words, hits: Hits, documents: NDArray[np.int64]
) -> tuple[Matches, Runs]:
    """Compute the matches and runs of some documents."""
    begin, count = index.first[hits.grams].astype(np.int64), np.diff(index.first)[hits.grams].astype(np.int64)
    hit = np.repeat(np.arange(len(count)), count)
    within = np.arange(len(hit)) - np.repeat(np.cumsum(count) - count, count)
    item = index.items[begin[hit] + within].astype(np.int64)
    order = np.lexsort((hits.positions[hit], item, documents[hit]))
    hit, item = hit[order], item[order]
    document, place, length = documents[hit], hits.positions[hit], hits.lengths[hit]
    fresh = _differ(document) | _differ(item)
    match = np.cumsum(fresh) - 1
    begins = np.flatnonzero(fresh)
    by_gram = np.lexsort((hits.grams[hit], match))
    distinct = _differ(match[by_gram]) | _differ(hits.grams[hit][by_gram])
    ngrams = np.bincount(match[by_gram][distinct], minlength=len(begins))
    ratio = ngrams / item_ngrams[item[begins]]
    run_begins = np.flatnonzero(fresh | (np.diff(place, prepend=-1) != 1))
    run_ends = np.append(run_begins, len(place))[1:] - 1
    first, last, run_match = place[run_begins], (place + length)[run_ends], match[run_begins]
    longest_first = np.lexsort((first, first - last, run_match))
    best = longest_first[_differ(run_match[longest_first])] if len(run_match) else longest_first
    matches = Matches(
        document[begins],
        item[begins],
        ngrams,
        ratio,
        (last - first)[best],
        words.starts[first[best]],
        words.ends[last[best] - 1],
    )
    return matches, Runs(document[run_begins], first, last, ratio[run_match])


def _differ(values: NDArray) -> NDArray[np.bool_]:
    """Mark the values that differ from the value before them."""
    return np.diff(values, prepend=values[:1] - 1) != 0
