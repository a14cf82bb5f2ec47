"""Every n-gram of the index is found, however the n-grams are split into parts for sorting and grouping."""

import numpy as np
import pyarrow as pa
import pytest

from curate.contamination import ngrams, overlap
from curate.contamination.ngrams import build_index, find, ngram_hashes
from curate.text.batch import TextBatch

RNG = np.random.default_rng(5)
WORDS = RNG.integers(0, 2**64, 5000, np.uint64)
OFFSETS = np.sort(np.append(RNG.integers(0, 5000, 99), [0, 5000]))
LENGTHS = RNG.integers(0, 4, 100) * 2


def index_of(most: int = 3) -> ngrams.NgramIndex:
    keys, items = ngram_hashes(WORDS, OFFSETS, LENGTHS)
    return build_index(keys, items, np.arange(100) // 50, np.unique(LENGTHS[LENGTHS > 0]), most)


def test_every_ngram_of_an_item_is_found_and_no_other() -> None:
    index = index_of()
    counts = np.where(LENGTHS > 0, np.maximum(np.diff(OFFSETS) - LENGTHS + 1, 0), 0)
    hits = find(index, WORDS, OFFSETS)
    inside = {
        (position, n)
        for start, n, count in zip(OFFSETS, LENGTHS, counts, strict=False)
        for position in range(start, start + count)
    }
    assert set(zip(hits.positions.tolist(), hits.lengths.tolist(), strict=True)) == inside
    whole = find(index, WORDS, np.array([0, len(WORDS)]))  # longer than a block of look-ups
    assert set(zip(whole.positions.tolist(), whole.lengths.tolist(), strict=True)) >= inside
    assert len(whole.positions) > ngrams._BLOCK
    assert find(index, RNG.integers(0, 2**64, 200_000, np.uint64), np.array([0, 200_000])).positions.tolist() == []


def test_the_filter_lets_little_pass_that_is_absent() -> None:
    index = index_of()
    absent = RNG.integers(0, 2**64, 100_000, np.uint64)
    words = index.filter[((absent >> np.uint64(32)) * np.uint64(len(index.filter))) >> np.uint64(32)]
    bits = (np.uint64(1) << (absent & np.uint64(63))) | (np.uint64(1) << ((absent >> np.uint64(6)) & np.uint64(63)))
    assert 0.005 < float((words & bits == bits).mean()) < 0.03


@pytest.mark.parametrize("part", [1, 7, 1000])
def test_the_index_does_not_depend_on_the_parts_it_is_sorted_in(part: int, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = index_of()
    monkeypatch.setattr(ngrams, "_PART", part)
    for one, other in zip(whole, index_of(), strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("pairs", [1, 5, 64])
def test_matches_do_not_depend_on_the_parts_they_are_gathered_in(pairs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [" ".join(RNG.choice(list("abc"), size)) for size in (30, 0, 12, 50, 3)]
    words = TextBatch(pa.array(texts, pa.large_string())).words
    keys, items = ngram_hashes(words.hashes, words.offsets, np.full(5, 3))
    index = build_index(keys, items, np.zeros(5, np.int64), np.array([3]), most=4)
    item_ngrams = np.bincount(index.items, minlength=5)
    hits = find(index, words.hashes, words.offsets)
    whole = overlap.overlap(index, item_ngrams, words, hits)
    monkeypatch.setattr(overlap, "_PAIRS", pairs)
    parts = overlap.overlap(index, item_ngrams, words, hits)
    assert len(whole.matches.items) > 5
    for one, other in zip(
        (*whole.matches, *whole.runs, *whole[2:]), (*parts.matches, *parts.runs, *parts[2:]), strict=True
    ):
        np.testing.assert_array_equal(one, other)
