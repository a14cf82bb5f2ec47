"""Logistic regression on words and n-grams: its features and its descent against plain Python, its file."""

import math
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.classifiers import logistic
from curate.classifiers.linear import LinearModel, scores
from curate.classifiers.logistic import LogisticSettings, train, vocabulary
from tests.examples import examples

WORDS = st.lists(st.sampled_from(["a", "bb", "ccc", "d", "é", "."]), max_size=8)
LINES = st.lists(WORDS, min_size=1, max_size=8)


def arrow(lines: list[list[str]]) -> pa.LargeStringArray:
    return pa.array([" ".join(words) for words in lines], pa.large_string())


def asked(model: LinearModel, lines: list[list[str]]) -> np.ndarray:
    data = [" ".join(words).encode() for words in lines]
    bounds = np.concatenate(([0], np.cumsum([len(line) for line in data]))).astype(np.int64)
    return scores(model, np.frombuffer(b"".join(data), np.uint8), bounds)[:, 0]


def fnv(word: bytes) -> int:
    state = 2166136261
    for byte in word:
        state = ((state ^ (byte if byte < 128 else byte | 0xFFFFFF00)) * 16777619) & 0xFFFFFFFF
    return state


def features(words: list[str], vocabulary: list[str], ngrams: int, buckets: int) -> list[int]:
    """By the definition of fastText: words that are known, then n-grams mixed from their first word on."""
    tokens = [*words, "</s>"]
    found = [vocabulary.index(token) for token in tokens if token in vocabulary]
    hashes = [state - (1 << 32) if (state := fnv(token.encode())) >> 31 else state for token in tokens]
    for start in range(len(tokens)):
        mixed = hashes[start] % (1 << 64)
        for following in hashes[start + 1 : start + ngrams]:
            mixed = (mixed * 116049371 + following) % (1 << 64)
            found.append(len(vocabulary) + mixed % buckets)
    return found


def reference(
    lines: list[list[str]], target: list[float], weight: list[float], how: LogisticSettings
) -> tuple[dict, float]:
    """AdaGrad in plain Python."""
    counts = Counter(word for words in lines for word in words)
    known = sorted((w for w in counts if counts[w] >= how.min_count), key=lambda w: (-counts[w], w))
    rows = [features(words, known, how.word_ngrams, how.bucket) for words in lines]
    weights, squares, bias, square = Counter(), Counter(), 0.0, 1e-8
    for _ in range(how.epoch):
        for row, goal, heavy in zip(rows, target, weight, strict=True):
            if not row or not heavy:
                continue
            scale = 1 / math.sqrt(len(row))
            z = bias + scale * sum(weights[f] for f in row)
            error = (1 / (1 + math.exp(-z)) - goal) * heavy
            square += error**2
            bias -= how.lr * error / math.sqrt(square)
            for feature in row:
                squares[feature] += (error * scale) ** 2
                weights[feature] -= how.lr * error * scale / math.sqrt(1e-8 + squares[feature])
    return dict(weights), bias


@given(LINES, st.integers(1, 3), st.integers(1, 2), st.randoms(use_true_random=False))
@examples(40)
def test_training_and_scores_are_those_of_plain_python(lines: list[list[str]], ngrams: int, least: int, rng) -> None:
    target, weight = [rng.random() for _ in lines], [rng.choice([0.0, 0.5, 1.0]) for _ in lines]
    how = LogisticSettings(0.3, 3, ngrams, 7, least)
    model = train(arrow(lines), np.array(target), np.array(weight), how)
    weights, bias = reference(lines, target, weight, how)
    assert model.bias == pytest.approx(bias, rel=1e-5, abs=1e-6)
    found = model.weights[:, 0]
    assert {place: value for place, value in enumerate(found) if value} == pytest.approx(
        {place: value for place, value in weights.items() if np.float32(value)}, rel=1e-4, abs=1e-6
    )
    known = vocabulary(arrow(lines), least)
    for words, score in zip(lines, asked(model, lines), strict=True):
        row = features(words, known, ngrams, 7)
        if row:
            z = bias + sum(weights.get(feature, 0.0) for feature in row) / math.sqrt(len(row))
            assert score == pytest.approx(1 / (1 + math.exp(-z)), abs=1e-5)


def test_a_soft_target_is_what_is_learned() -> None:
    """Where texts tell nothing more, the least loss is at the mean target, by weight."""
    lines = [["a"], ["b"]] * 300
    target, weight = np.tile([0.8, 0.3], 300), np.ones(600)
    target[::4], weight[::4] = 0.2, 2.0  # half of the documents "a", with twice the weight of the others
    model = train(arrow(lines), target, weight, LogisticSettings(0.3, 60, 1, 1, 1))
    a, b = asked(model, [["a"], ["b"]])
    assert a == pytest.approx((0.8 + 2 * 0.2) / 3, abs=0.05)
    assert b == pytest.approx(0.3, abs=0.03)


def test_a_file_holds_the_model(tmp_path: Path) -> None:
    lines = [["a", "bb"], ["ccc"], ["d", "é"]] * 5
    model = train(arrow(lines), np.tile([1.0, 0.0, 0.5], 5), np.ones(15), LogisticSettings(0.3, 3, 2, 50, 1))
    for name in ("one.npz", "two.npz"):
        logistic.save(model, str(tmp_path / name))
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    again = logistic.load(str(tmp_path / "one.npz"))
    assert np.array_equal(asked(again, lines), asked(model, lines))
    (tmp_path / "bad.npz").write_bytes(b"no archive")
    with pytest.raises(ValueError, match="not a linear model"):
        logistic.load(str(tmp_path / "bad.npz"))
