"""Calibration against scipy, brute force and closed forms; measures against their definitions."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import isotonic_regression, minimize

from curate.stats.calibration import apply, fit, isotonic, measures

PAIRS = st.lists(st.tuples(st.integers(0, 20), st.booleans()), min_size=1, max_size=40)


@given(st.lists(st.tuples(st.floats(-5, 5), st.floats(0.1, 9)), min_size=1, max_size=40))
def test_isotonic_is_that_of_scipy(points: list[tuple[float, float]]) -> None:
    values, weights = np.array(points).T
    assert isotonic(values, weights) == pytest.approx(isotonic_regression(values, weights=weights).x, abs=1e-9)


@given(PAIRS)
def test_the_curve_goes_through_the_steps_and_rises(pairs: list[tuple[int, bool]]) -> None:
    scores, positive = np.array([s / 20 for s, _ in pairs]), np.array([p for _, p in pairs])
    found = apply(fit("isotonic", scores, positive), scores)
    values, inverse = np.unique(scores, return_inverse=True)
    share = [positive[inverse == i].mean() for i in range(len(values))]
    steps = isotonic_regression(share, weights=np.bincount(inverse)).x
    assert found == pytest.approx(steps[inverse], abs=1e-9)
    grid = apply(fit("isotonic", scores, positive), np.linspace(0, 1, 50))
    assert (np.diff(grid) >= 0).all()
    assert ((grid >= 0) & (grid <= 1)).all()


@given(PAIRS)
def test_platt_has_the_least_loss(pairs: list[tuple[int, bool]]) -> None:
    scores, positive = np.array([(s + 1) / 22 for s, _ in pairs]), np.array([p for _, p in pairs])
    found = fit("platt", scores, positive)
    yes, x = positive.sum(), np.log(scores / (1 - scores))
    target = np.where(positive, (yes + 1) / (yes + 2), 1 / (len(x) - yes + 2))

    def loss(curve: np.ndarray) -> float:
        z = curve[0] * x + curve[1]
        return float((np.logaddexp(0, z) - target * z).sum())

    best = minimize(loss, [1.0, 0.0], method="BFGS")
    assert loss(np.array([found["slope"], found["intercept"]])) <= best.fun + 1e-4
    expected = 1 / (1 + np.exp(-(found["slope"] * x + found["intercept"])))
    assert apply(found, scores) == pytest.approx(expected)


def test_calibration_mends_scores_that_are_too_sure() -> None:
    rng = np.random.default_rng(1)
    true = rng.random(20_000)
    positive = rng.random(20_000) < true
    logit = np.log(true / (1 - true))
    scores = 1 / (1 + np.exp(-3 * logit))
    before = measures(scores[::2], positive[::2])
    assert before["calibration_error"] > 0.1
    for kind in ("isotonic", "platt"):
        after = measures(apply(fit(kind, scores[1::2], positive[1::2]), scores[::2]), positive[::2])
        assert after["calibration_error"] < 0.02
        assert after["log_loss"] < before["log_loss"]
        assert after["auc"] == pytest.approx(before["auc"], abs=2e-3)
    assert fit("platt", scores, positive)["slope"] == pytest.approx(1 / 3, abs=0.02)


@given(PAIRS)
def test_measures_are_their_definitions(pairs: list[tuple[int, bool]]) -> None:
    scores, positive = np.array([s / 20 for s, _ in pairs]), np.array([p for _, p in pairs])
    found = measures(scores, positive)
    good, bad = scores[positive], scores[~positive]
    both = [(g > b) + (g == b) / 2 for g in good for b in bad]
    assert found["auc"] == (pytest.approx(np.mean(both)) if both else None)
    told = scores >= 0.5
    assert found["precision"] == (pytest.approx(positive[told].mean()) if told.any() else None)
    assert found["recall"] == (pytest.approx(told[positive].mean()) if positive.any() else None)
    p = np.clip(scores, 1e-6, 1 - 1e-6)
    loss = np.mean([-math.log(q if yes else 1 - q) for q, yes in zip(p, positive, strict=True)])
    assert found["log_loss"] == pytest.approx(loss)
    error = 0.0
    for b, row in enumerate(found["reliability"]):
        inside = (scores >= row["from"]) & ((scores < (b + 1) / 10) | (b == 9))
        assert row["documents"] == inside.sum()
        if inside.any():
            assert row["mean"] == pytest.approx(scores[inside].mean())
            assert row["positive"] == pytest.approx(positive[inside].mean())
            error += abs(row["mean"] - row["positive"]) * inside.mean()
    assert found["calibration_error"] == pytest.approx(error)
