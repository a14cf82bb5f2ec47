"""Vote matrices with known truth for tests of the label model."""

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.int8]


def both_ways(rng: np.random.Generator, truth: NDArray[np.int64], right: list[float], cover: list[float]) -> Matrix:
    """Functions that vote for either of two classes, each right and covering as stated, independent given the class."""
    n, m = len(truth), len(right)
    vote = np.where(rng.random((n, m)) < right, truth[:, None], 1 - truth[:, None])
    return np.where(rng.random((n, m)) < cover, vote, -1).astype(np.int8)


def one_way(rng: np.random.Generator, truth: NDArray[np.int64], hits: list[float], false: list[float]) -> Matrix:
    """Functions that abstain or vote for one class: even ones for 0, odd ones for 1."""
    side = np.arange(len(hits)) % 2
    rate = np.where(truth[:, None] == side, hits, false)
    return np.where(rng.random(rate.shape) < rate, side, -1).astype(np.int8)


def copies(rng: np.random.Generator, truth: NDArray[np.int64], right: list[float], bad: float, times: int) -> Matrix:
    """Independent functions that always vote, then `times` near-copies of one that is right `bad` of the time."""
    own = both_ways(rng, truth, [*right, bad], [1.0] * (len(right) + 1))
    more = [np.where(rng.random(len(truth)) < 0.05, 1 - own[:, -1], own[:, -1]) for _ in range(times - 1)]
    return np.column_stack([own, *more]).astype(np.int8)


def in_sample_bayes(votes: Matrix, truth: NDArray[np.int64]) -> float:
    """Accuracy of naive Bayes with the true P(outcome | class), on the documents that it was counted on."""
    scores = np.log(np.bincount(truth) / len(truth))[None, :].repeat(len(truth), axis=0)
    for column in votes.T:
        for code in np.unique(column):
            rate = [((column == code) & (truth == c)).sum() / (truth == c).sum() for c in (0, 1)]
            scores[column == code] += np.log(np.maximum(rate, 1e-9))
    return float((scores.argmax(axis=1) == truth).mean())


def accuracy(q: NDArray[np.float64], truth: NDArray[np.int64]) -> float:
    """Share of documents with the true class on top; classes with equal probability share a document."""
    best = q == q.max(axis=1, keepdims=True)
    return float((best[np.arange(len(q)), truth] / best.sum(axis=1)).mean())
