"""A student beside its teacher: measures against scipy, brute force and their definitions."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import pearsonr, spearmanr

from curate.classifiers.fidelity import cross_entropy, fidelity, soft_auc

PAIRS = st.lists(st.tuples(st.integers(0, 20), st.integers(0, 8)), min_size=1, max_size=40)


def arrays(pairs: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([s / 20 for s, _ in pairs]), np.array([t / 8 for _, t in pairs])


@given(PAIRS)
def test_correlations_are_those_of_scipy(pairs: list[tuple[int, int]]) -> None:
    scores, target = arrays(pairs)
    found = fidelity(scores, target)
    if len(set(scores)) > 1 and len(set(target)) > 1:
        assert found["pearson"] == pytest.approx(pearsonr(scores, target).statistic, abs=1e-9)
        assert found["spearman"] == pytest.approx(spearmanr(scores, target).statistic, abs=1e-9)
    else:
        assert found["pearson"] is None or abs(found["pearson"]) <= 1


@given(PAIRS, st.one_of(st.none(), st.integers(1, 9)))
def test_measures_are_their_definitions(pairs: list[tuple[int, int]], tenths: int | None) -> None:
    scores, target = arrays(pairs)
    found = fidelity(scores, target, None if tenths is None else tenths / 10)
    if tenths is None:
        kept = [t >= 0.5 for t in target]
        told = [s >= 0.5 for s in scores]
    else:
        count = round(tenths / 10 * len(pairs))
        last = sorted(target, reverse=True)[count - 1] if count else math.inf
        kept = [t >= last for t in target]
        least = sorted(scores, reverse=True)[sum(kept) - 1] if any(kept) else math.inf
        told = [s >= least for s in scores]
    assert found["kept"] == sum(kept)
    assert found["agreement"] == pytest.approx(np.mean([a == b for a, b in zip(kept, told, strict=True)]))
    good = [s for s, k in zip(scores, kept, strict=True) if k]
    bad = [s for s, k in zip(scores, kept, strict=True) if not k]
    both = [(g > b) + (g == b) / 2 for g in good for b in bad]
    assert found["auc"] == (pytest.approx(np.mean(both)) if both else None)
    assert found["mean_absolute_error"] == pytest.approx(
        np.mean([abs(s - t) for s, t in zip(scores, target, strict=True)])
    )
    p = [min(max(s, 1e-6), 1 - 1e-6) for s in scores]
    losses = [-(t * math.log(q) + (1 - t) * math.log(1 - q)) for q, t in zip(p, target, strict=True)]
    assert found["log_loss"] == pytest.approx(np.mean(losses))
    assert found["least_log_loss"] <= found["log_loss"] + 1e-9
    assert sum(row["documents"] for row in found["reliability"]) == len(pairs)


@given(PAIRS)
def test_soft_auc_is_over_all_pairs_by_weight(pairs: list[tuple[int, int]]) -> None:
    scores, target = arrays(pairs)
    weights = [
        (t * (1 - u), (s > r) + (s == r) / 2)
        for s, t in zip(scores, target, strict=True)
        for r, u in zip(scores, target, strict=True)
    ]
    total = sum(weight for weight, _ in weights)
    found = soft_auc(scores, target)
    if total:
        assert found == pytest.approx(sum(weight * won for weight, won in weights) / total)
    else:
        assert found is None


def test_nothing_to_measure() -> None:
    none = np.zeros(0)
    found = fidelity(none, none)
    assert (found["pearson"], found["log_loss"], found["auc"], found["agreement"]) == (None, None, None, None)
    assert cross_entropy(none, none) is None


def test_the_best_student_is_the_teacher() -> None:
    target = np.random.default_rng(1).random(500)
    found = fidelity(target, target, 0.3)
    assert (found["kept"], found["auc"], found["agreement"], found["mean_absolute_error"]) == (150, 1.0, 1.0, 0.0)
    assert found["log_loss"] == found["least_log_loss"]
    # The same order, but not the same probabilities.
    squared = fidelity(target**2, target, 0.3)
    assert (squared["spearman"], squared["auc"], squared["agreement"]) == (pytest.approx(1.0), 1.0, 1.0)
    assert squared["log_loss"] > found["log_loss"] + 0.01
