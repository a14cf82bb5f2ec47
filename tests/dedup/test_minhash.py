import csv
import io
from itertools import chain
from pathlib import Path

import datasketch
import numpy as np
import orjson
import pytest
import zstandard
from datasketch.hashfunc import sha1_hash32
from datasketch.lsh import _optimal_param
from hypothesis import given
from hypothesis import strategies as st

from curate.dedup.minhash import (
    band_keys,
    choose_bands,
    collision_probability,
    datasketch_signatures,
    estimate_jaccard,
    exact_jaccard,
    signatures,
)
from curate.text.hashing import normalized_hash
from curate.text.words import Words, segment

MASK = (1 << 64) - 1
STEP = 0x9E3779B97F4A7C15
MIXES = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))


def mix(x: int) -> int:
    for shift, factor in MIXES:
        x = ((x ^ (x >> shift)) * factor) & MASK
    return x ^ (x >> 31)


def reference_shingles(words: list[int], ngram: int, fallback: int, key: int) -> list[int]:
    def polynomial(values: list[int]) -> int:
        total = 0
        for value in values:
            total = (total * 0x2545F4914F6CDD1D + value) & MASK
        return total

    if len(words) < ngram:
        whole = polynomial(words) if words else fallback
        return [mix((mix(whole ^ key) + STEP * (len(words) + 1)) & MASK)]
    return [mix(polynomial(words[i : i + ngram]) ^ key) for i in range(len(words) - ngram + 1)]


def reference_signature(words: list[int], ngram: int, permutations: int, seed: int, fallback: int) -> list[int]:
    key = mix(seed)
    shingles = reference_shingles(words, ngram, fallback, key)
    multipliers = [mix((key + STEP * (p + 1)) & MASK) >> 32 for p in range(permutations)]
    return [min((a * (h & 0xFFFFFFFF) + (h >> 32)) & 0xFFFFFFFF for h in shingles) for a in multipliers]


def join(documents: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    offsets = np.concatenate(([0], np.cumsum([len(document) for document in documents]))).astype(np.int64)
    return np.array(list(chain.from_iterable(documents)), np.uint64), offsets


def segment_texts(texts: list[str]) -> tuple[Words, np.ndarray]:
    """Words and fallback hashes."""
    encoded = [text.encode() for text in texts]
    data = np.frombuffer(b"".join(encoded), np.uint8)
    offsets = np.concatenate(([0], np.cumsum([len(text) for text in encoded]))).astype(np.int64)
    words = segment(data, offsets)
    return words, normalized_hash(data, offsets, words)[:, 0]


def sign_texts(texts: list[str], ngram: int = 5, permutations: int = 112, seed: int = 1) -> np.ndarray:
    words, fallback = segment_texts(texts)
    return signatures(words.hashes, words.offsets, ngram, permutations, seed, fallback)


word_lists = st.lists(st.lists(st.integers(0, MASK), max_size=12), min_size=1, max_size=4)
few_words = st.lists(st.lists(st.integers(0, 3), max_size=10), min_size=2, max_size=5)


@given(word_lists, st.integers(1, 6), st.integers(1, 20), st.integers(0, MASK))
def test_signatures_follow_their_formula(documents: list[list[int]], ngram: int, permutations: int, seed: int):
    fallback = np.arange(len(documents), dtype=np.uint64)
    signature = signatures(*join(documents), ngram, permutations, seed, fallback)
    expected = [reference_signature(words, ngram, permutations, seed, i) for i, words in enumerate(documents)]
    assert signature.tolist() == expected


def simulate(jaccard: float, pairs: int, size: int, permutations: int) -> tuple[float, np.ndarray, np.ndarray]:
    """True similarity and signatures of pairs of documents with `size` distinct words in their union."""
    rng = np.random.default_rng(round(1000 * jaccard) + size)
    shared = round(size * jaccard)
    only_a = (size - shared) // 2
    words = rng.integers(0, 1 << 64, (pairs, size), dtype=np.uint64)
    sides = []
    for part in (words[:, : shared + only_a], np.delete(words, np.s_[shared : shared + only_a], axis=1)):
        offsets = np.arange(pairs + 1, dtype=np.int64) * part.shape[1]
        fallback = np.zeros(pairs, np.uint64)
        sides.append(signatures(np.ascontiguousarray(part).ravel(), offsets, 1, permutations, 3, fallback))
    return shared / size, *sides


@pytest.mark.parametrize("jaccard", [0.2, 0.5, 0.8, 0.9])
@pytest.mark.parametrize(("size", "pairs"), [(20, 6000), (200, 5000)])
def test_estimates_are_unbiased_with_the_variance_of_independent_permutations(jaccard: float, size: int, pairs: int):
    truth, a, b = simulate(jaccard, pairs, size, permutations=112)
    error = estimate_jaccard(a, b) - truth
    assert abs(error.mean()) < 0.002
    assert np.sqrt(np.mean(error**2)) == pytest.approx(np.sqrt(truth * (1 - truth) / 112), rel=0.1)


@pytest.mark.parametrize(("bands", "rows"), [(14, 8), (8, 13), (28, 4)])
@pytest.mark.parametrize("jaccard", [0.4, 0.6, 0.7, 0.75, 0.8, 0.85])
def test_recall_of_bands_follows_the_formula(bands: int, rows: int, jaccard: float):
    truth, a, b = simulate(jaccard, pairs=4000, size=100, permutations=bands * rows)
    share = (band_keys(a, bands, rows) == band_keys(b, bands, rows)).any(axis=1).mean()
    assert share == pytest.approx(float(collision_probability(truth, bands, rows)), abs=0.03)


def test_estimates_agree_with_exact_similarity_on_edited_text():
    rng = np.random.default_rng(5)
    texts = []
    for edits in (0, 2, 5, 10, 20, 40) * 20:
        words = rng.integers(0, 5000, 300)
        edited = words.copy()
        edited[rng.choice(300, edits, replace=False)] = rng.integers(5000, 9000, edits)
        texts += [" ".join(map(str, words)), ", ".join(map(str, edited))]
    words, fallback = segment_texts(texts)
    pairs = np.arange(len(texts)).reshape(-1, 2)
    exact = exact_jaccard(words.hashes, words.offsets, pairs, 5, fallback)
    signature = sign_texts(texts, permutations=256)
    error = estimate_jaccard(signature[::2], signature[1::2]) - exact
    assert exact[0] == 1
    assert exact.min() < 0.4
    assert np.abs(error / np.maximum(np.sqrt(exact * (1 - exact) / 256), 1e-9)).max() < 4.5


def test_a_longer_signature_begins_with_the_shorter():
    texts = ["the quick brown fox jumps over the lazy dog", "short"]
    assert np.array_equal(sign_texts(texts, permutations=64), sign_texts(texts, permutations=200)[:, :64])


def test_seeds_choose_unrelated_families():
    texts = [f"word {i} and more words to come" for i in range(50)]
    assert (sign_texts(texts, seed=1) == sign_texts(texts, seed=2)).mean() < 0.001


def test_the_order_of_words_in_a_shingle_counts():
    texts = ["a b", "b a", "a b a b", "b a b a", "x a b a b", "x b a b a"]
    for ngram in (2, 4, 5):
        a, b = sign_texts(texts, ngram)[4:]
        assert (a == b).mean() < 1


def test_documents_shorter_than_a_shingle_match_only_their_equals():
    texts = ["to be or", "To be, or?", "to be", "be to or", "or", "to be or not", "to be or not to"]
    signature = sign_texts(texts)
    same = (signature[:, None] == signature[None]).mean(axis=2)
    assert same[0, 1] == 1
    assert (np.delete(same, 1, axis=1)[0, 1:] < 0.05).all()


def test_documents_without_words_are_not_all_equal():
    stars, stars_again, dashes, empty = sign_texts(["***", "* * *", "---", ""])
    assert np.array_equal(stars, stars_again)
    assert (stars == dashes).mean() < 0.05
    assert (stars == empty).mean() < 0.05


@pytest.mark.parametrize(
    ("ngram", "permutations", "fallbacks", "message"),
    [
        (0, 8, 1, "ngram must be at least 1"),
        (5, 0, 1, "permutations must be at least 1"),
        (5, 8, 2, "one hash per document, not 2 for 1"),
    ],
)
def test_impossible_signatures_are_refused(ngram: int, permutations: int, fallbacks: int, message: str):
    with pytest.raises(ValueError, match=message):
        signatures(*join([[1, 2]]), ngram, permutations, 0, np.zeros(fallbacks, np.uint64))


@given(few_words, st.integers(1, 4))
def test_exact_jaccard_is_that_of_sets(documents: list[list[int]], ngram: int):
    fallback = np.arange(len(documents), dtype=np.uint64) // np.uint64(2)
    sets = []
    for i, words in enumerate(documents):
        if len(words) < ngram:
            sets.append({tuple(words) if words else ("fallback", i // 2)})
        else:
            sets.append({tuple(words[j : j + ngram]) for j in range(len(words) - ngram + 1)})
    pairs = [(i, j) for i in range(len(sets)) for j in range(len(sets))]
    expected = [len(sets[i] & sets[j]) / len(sets[i] | sets[j]) for i, j in pairs]
    assert exact_jaccard(*join(documents), np.array(pairs), ngram, fallback).tolist() == expected


def test_exact_jaccard_of_no_pairs():
    assert len(exact_jaccard(*join([[1]]), np.empty((0, 2), np.int64), 5, np.zeros(1, np.uint64))) == 0


@pytest.mark.parametrize("scheme", ["affine32", "legacy"])
@pytest.mark.parametrize("seed", [1, 42])
def test_datasketch_signatures_are_those_of_datasketch(scheme, seed: int):
    documents = [[f"token {i}" for i in range(start, start + size)] for start, size in ((0, 50), (30, 7), (0, 0))]
    expected = []
    for document in documents:
        sketch = datasketch.MinHash(num_perm=96, seed=seed, scheme=scheme)
        sketch.update_batch([token.encode() for token in document])
        expected.append(sketch.hashvalues)
    tokens, offsets = join([[sha1_hash32(token.encode()) for token in document] for document in documents])
    signature = datasketch_signatures(tokens.astype(np.uint32), offsets, 96, seed, scheme)
    assert signature.dtype == expected[0].dtype
    assert np.array_equal(signature, np.array(expected))


def test_an_unknown_datasketch_scheme_is_refused():
    with pytest.raises(ValueError, match="affine32"):
        datasketch_signatures(np.empty(0, np.uint32), np.array([0]), 8, 1, "affine64")  # pyright: ignore[reportArgumentType]


@given(st.lists(st.lists(st.integers(0, 2), min_size=7, max_size=7), min_size=1, max_size=8))
def test_band_keys_are_equal_for_equal_bands_only(rows: list[list[int]]):
    keys = band_keys(np.array(rows, np.uint32), bands=3, rows=2)
    bands = [[(band, *row[2 * band : 2 * band + 2]) for band in range(3)] for row in rows]
    flat = list(zip(keys.ravel().tolist(), chain.from_iterable(bands), strict=True))
    assert len(set(flat)) == len({key for key, _ in flat}) == len({band for _, band in flat})


def test_bands_longer_than_the_signature_are_refused():
    with pytest.raises(ValueError, match="14 bands of 8 rows do not fit a signature of 100 permutations; "):
        band_keys(np.zeros((1, 100), np.uint32), 14, 8)


def test_collision_probability_of_published_settings():
    # FineWeb (arXiv 2406.17557, section 3.4) states 56 %, 77 %, 92 % and 98.8 % for 14 bands of 8 rows.
    probability = collision_probability([0.7, 0.75, 0.8, 0.85], 14, 8)
    assert probability == pytest.approx([0.56, 0.77, 0.92, 0.988], abs=0.006)


def false_candidates(threshold: float, bands: int, rows: int) -> float:
    similarity = np.linspace(0, threshold, 4001)
    return float(np.mean(collision_probability(similarity, bands, rows)))


@pytest.mark.parametrize("permutations", [16, 112])
@pytest.mark.parametrize(("threshold", "recall"), [(0.5, 0.9), (0.7, 0.8), (0.8, 0.95), (0.9, 0.99)])
def test_choose_bands_is_the_best_of_all(permutations: int, threshold: float, recall: float):
    chosen = choose_bands(permutations, threshold, recall)
    assert chosen.bands * chosen.rows <= permutations
    assert collision_probability(threshold, *chosen) >= recall
    least = min(
        false_candidates(threshold, bands, rows)
        for rows in range(1, permutations + 1)
        for bands in range(1, permutations // rows + 1)
        if collision_probability(threshold, bands, rows) >= recall
    )
    assert false_candidates(threshold, *chosen) == pytest.approx(least, rel=1e-3)


@pytest.mark.parametrize("threshold", [0.5, 0.8, 0.9])
def test_choose_bands_has_no_more_false_candidates_than_datasketch_at_equal_recall(threshold: float):
    bands, rows = _optimal_param(threshold, 64, 0.5, 0.5)
    recall = float(collision_probability(threshold, bands, rows))
    chosen = choose_bands(64, threshold, recall - 1e-9)
    assert false_candidates(threshold, *chosen) <= false_candidates(threshold, bands, rows) * (1 + 1e-9)


def test_a_recall_out_of_reach_is_refused():
    with pytest.raises(
        ValueError,
        match=r"10 permutations find a pair of Jaccard similarity 0.2 with a recall of at most 0.8926, not 0.95",
    ):
        choose_bands(10, 0.2, 0.95)


@pytest.mark.parametrize(("threshold", "recall"), [(0, 0.9), (1, 0.9), (0.8, 0), (0.8, 1)])
def test_thresholds_outside_of_the_unit_interval_are_refused(threshold: float, recall: float):
    with pytest.raises(ValueError, match="between 0 and 1"):
        choose_bands(112, threshold, recall)


def test_near_duplicates_of_a_real_corpus(shared_data: Path):
    """`bbc_news.jaccard.tsv` lists every pair of Jaccard 0.3 or more, found by brute force with other code."""
    with zstandard.open(shared_data / "bbc_news.jsonl.zst", "rb") as file:
        rows = [orjson.loads(line) for line in io.BufferedReader(file)]
    number = {row["id"]: i for i, row in enumerate(rows)}
    with (shared_data / "bbc_news.jaccard.tsv").open() as file:
        gold = list(csv.DictReader(file, delimiter="\t"))
    pairs = np.array([(number[pair["id1"]], number[pair["id2"]]) for pair in gold])
    expected = np.array([float(pair["jaccard_word5"]) for pair in gold])

    words, fallback = segment_texts([row["text"] for row in rows])
    exact = exact_jaccard(words.hashes, words.offsets, pairs, 5, fallback)
    assert np.abs(exact - expected).max() < 0.01
    signature = signatures(words.hashes, words.offsets, 5, 112, 1, fallback)
    error = estimate_jaccard(signature[pairs[:, 0]], signature[pairs[:, 1]]) - exact
    assert abs(error.mean()) < 0.01
    keys = band_keys(signature, 14, 8)
    candidate = (keys[pairs[:, 0]] == keys[pairs[:, 1]]).any(axis=1)
    assert candidate[exact > 0.9].all()
    assert candidate.sum() == pytest.approx(collision_probability(exact, 14, 8).sum(), abs=8)
