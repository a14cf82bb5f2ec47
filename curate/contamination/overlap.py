"""What documents and benchmark items have in common, from the n-grams of items that stand in documents."""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from curate.contamination.ngrams import Hits, NgramIndex
from curate.text.spans import merge
from curate.text.words import Words

_PAIRS = 1 << 21  # n-grams with their items that are held at once, at about 100 bytes each


class Matches(NamedTuple):
    """Items found in documents, by document and item.

    Attributes
    ----------
    documents, items
        Which, int64, shape (matches,).
    ngrams
        Different n-grams of the item that stand in the document, int64.
    ratio
        Their share of the item's own n-grams, float64, above 0 and at most 1.
    longest
        Words of the longest run: consecutive words of the document all of whose n-grams stand in the item, int64.
    starts, ends
        The bytes of that run in the batch's data; of equally long ones the first, int64.
    """

    documents: NDArray[np.int64]
    items: NDArray[np.int64]
    ngrams: NDArray[np.int64]
    ratio: NDArray[np.float64]
    longest: NDArray[np.int64]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]


class Runs(NamedTuple):
    """Runs of words of a document all of whose n-grams stand in one item, by document, item and place.

    Attributes
    ----------
    documents
        int64, shape (runs,).
    first, last
        First word and the one after the last, as numbers in the batch, int64.
    ratio
        Share of the item's own n-grams that the document has, in this run and others, float64.
    """

    documents: NDArray[np.int64]
    first: NDArray[np.int64]
    last: NDArray[np.int64]
    ratio: NDArray[np.float64]


class Overlap(NamedTuple):
    """All that a batch has in common with benchmarks.

    Attributes
    ----------
    matches, runs
        By document.
    hits
        Words at which an n-gram begins that names items, per document, int64, shape (documents,).
    shared
        Words at which an n-gram begins that is shared by too many items to name one, and none that names items.
    covered
        Words that lie in a run, per document.
    """

    matches: Matches
    runs: Runs
    hits: NDArray[np.int64]
    shared: NDArray[np.int64]
    covered: NDArray[np.int64]


def overlap(index: NgramIndex, own: NDArray[np.int64], words: Words, hits: Hits) -> Overlap:
    """Gather the n-grams that were found by document and item.

    Parameters
    ----------
    index
        Where the n-grams were looked up.
    own
        Number of n-grams that each item has of its own: those that name it, shape (items,).
    words
        Of the batch.
    hits
        From `curate.contamination.ngrams.find`.
    """
    count = len(words.offsets) - 1
    documents = np.searchsorted(words.offsets, hits.positions, side="right") - 1
    postings = np.diff(index.first)[hits.grams].astype(np.int64)
    starts = _parts(documents, postings)
    parts = [
        _gather(index, own, words, Hits(*(array[low:high] for array in hits)), documents[low:high])
        for low, high in pairwise(starts)
    ] or [_gather(index, own, words, hits, documents)]
    runs = Runs(*(np.concatenate(arrays) for arrays in zip(*(part[1] for part in parts), strict=True)))
    naming = np.unique(hits.positions[postings > 0])
    shared = np.setdiff1d(hits.positions[postings == 0], naming)
    rows, first, last = merge(runs.documents, runs.first, runs.last)
    return Overlap(
        Matches(*(np.concatenate(arrays) for arrays in zip(*(part[0] for part in parts), strict=True))),
        runs,
        _counts(words.offsets, naming),
        _counts(words.offsets, shared),
        np.bincount(rows, last - first, count).astype(np.int64),
    )


def _counts(offsets: NDArray[np.int64], positions: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number of positions in each document."""
    return np.diff(np.searchsorted(positions, offsets))


def _parts(documents: NDArray[np.int64], postings: NDArray[np.int64]) -> NDArray[np.int64]:
    """Bounds of parts of about `_PAIRS` postings that hold whole documents."""
    if len(documents) == 0:
        return np.zeros(1, np.int64)
    begins = np.flatnonzero(np.diff(documents, prepend=-1))
    before = np.concatenate([[0], np.cumsum(postings)])[begins]
    chosen = begins[np.flatnonzero(np.diff(before // _PAIRS, prepend=-1))]
    return np.append(chosen, len(documents))


def _gather(
    index: NgramIndex, own: NDArray[np.int64], words: Words, hits: Hits, documents: NDArray[np.int64]
) -> tuple[Matches, Runs]:
    """Matches and runs of some documents."""
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
    ratio = ngrams / own[item[begins]]
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
    """True where a value differs from the one before it."""
    return np.diff(values, prepend=values[:1] - 1) != 0
