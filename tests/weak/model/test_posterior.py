"""The posterior's form against a plain loop; log-odds that add up; the shift to a balance."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.weak.model.posterior import SMOOTH, Posterior, shift_to


def random_posterior(rng: np.random.Generator, functions: int, classes: int, share: float) -> Posterior:
    offsets = np.arange(functions + 1) * (classes + 1)
    outcomes = int(offsets[-1])
    side = np.tile(np.arange(-1, classes), functions)
    mass = np.zeros((outcomes, classes))
    mass[side >= 0, side[side >= 0]] = rng.random((side >= 0).sum())
    balance = rng.dirichlet(np.ones(classes))
    return Posterior(
        offsets,
        rng.normal(size=classes),
        rng.normal(size=(outcomes, classes)),
        mass,
        share,
        side,
        np.log(balance) - np.log1p(-balance),
    )


def by_hand(p: Posterior, row: list[int]) -> list[float]:
    """Probabilities of a document."""
    scores = p.intercept.tolist()
    totals = [SMOOTH] * len(scores)
    cast = set()
    for j, code in enumerate(row):
        if code == -2:
            continue
        u = int(p.offsets[j]) + code + 1
        scores = [s + a for s, a in zip(scores, p.additive[u], strict=True)]
        totals = [t + m for t, m in zip(totals, p.mass[u], strict=True)]
        if code >= 0:
            cast.add(code)
    scores = [s + p.share * math.log(t) for s, t in zip(scores, totals, strict=True)]
    if len(cast) == 1:
        only = cast.pop()
        others = math.log(sum(math.exp(s) for c, s in enumerate(scores) if c != only))
        scores[only] = max(scores[only], others + p.floor[only])
    total = sum(map(math.exp, scores))
    return [math.exp(s) / total for s in scores]


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("share", [0.0, 0.4])
def test_probabilities_are_those_of_the_formula(classes: int, share: float) -> None:
    rng = np.random.default_rng(classes)
    posterior = random_posterior(rng, 5, classes, share)
    votes = rng.integers(-2, classes, (300, 5)).astype(np.int8)
    votes[:100][rng.random((100, 5)) < 0.7] = -1  # so that some have votes for one class alone
    found = posterior.probabilities(votes)
    assert found == pytest.approx(np.array([by_hand(posterior, row) for row in votes.tolist()]))
    parts = [posterior.probabilities(votes[i : i + 7]) for i in range(0, 300, 7)]
    assert (np.concatenate(parts) == found).all()


@pytest.mark.parametrize("share", [0.0, 0.4])
def test_log_odds_and_the_intercept_sum_to_the_logit(share: float) -> None:
    rng = np.random.default_rng(7)
    posterior = random_posterior(rng, 4, 2, share)
    votes = rng.integers(-2, 2, (500, 4)).astype(np.int8)
    q = posterior.probabilities(votes)
    logit = posterior.log_odds(votes).sum(axis=1) + posterior.intercept[1] - posterior.intercept[0]
    assert logit == pytest.approx(np.log(q[:, 1] / q[:, 0]))
    assert (posterior.log_odds(votes)[votes == -2] == 0).all()


@given(st.integers(0, 2**32), st.integers(2, 5), st.floats(0.1, 30))
def test_the_mean_posterior_after_the_shift_is_the_balance(seed: int, classes: int, spread: float) -> None:
    rng = np.random.default_rng(seed)
    scores, balance = (
        spread * rng.normal(size=(200, classes)),
        rng.dirichlet(np.full(classes, 3.0)) * 0.9 + 0.1 / classes,
    )
    shifted = scores + shift_to(scores, balance)
    q = np.exp(shifted - shifted.max(axis=1, keepdims=True))
    q /= q.sum(axis=1, keepdims=True)
    assert q.mean(axis=0) == pytest.approx(balance, abs=1e-6)
