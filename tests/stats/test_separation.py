"""Cuts between two samples, against every cut there is."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.stats.separation import ALPHA, ScoreCut, best_cut, chance, choose, compare, round_cut, separation

NUMBERS = st.one_of(st.integers(-5, 5).map(float), st.floats(-1e6, 1e6), st.sampled_from([0.1, 0.2, 0.3, 1e-9]))
SAMPLES = st.lists(NUMBERS, max_size=12)


def gain_of(removed: int, lost: int, totals: tuple[int, int]) -> Fraction:
    return Fraction(removed, totals[1]) - Fraction(lost, totals[0])


def every_cut(good: list[float], bad: list[float], totals: tuple[int, int], max_good: int) -> Fraction:
    """Largest gain of any cut beyond a gap between two values, one document at a time; 0 where none gains."""
    best = Fraction(0)
    for value in {*good, *bad}:
        for beyond in (lambda v, at=value: v < at, lambda v, at=value: v > at):
            lost, removed = sum(map(beyond, good)), sum(map(beyond, bad))
            if lost <= max_good:
                best = max(best, gain_of(removed, lost, totals))
    return best


@given(good=SAMPLES, bad=SAMPLES, extra=st.tuples(st.integers(0, 4), st.integers(0, 4)), max_good=st.integers(0, 12))
def test_no_cut_is_better(good: list[float], bad: list[float], extra: tuple[int, int], max_good: int) -> None:
    totals = max(len(good) + extra[0], 1), max(len(bad) + extra[1], 1)
    cut = best_cut(np.array(good), np.array(bad), totals, max_good)
    best = every_cut(good, bad, totals, max_good)
    if cut is None:
        assert best == 0
        return
    beyond = (lambda v: v < cut.threshold) if cut.side == "<" else (lambda v: v > cut.threshold)
    assert (cut.bad, cut.good) == (sum(map(beyond, bad)), sum(map(beyond, good)))
    assert cut.good <= max_good
    assert gain_of(cut.bad, cut.good, totals) == best > 0


@given(good=st.lists(NUMBERS, min_size=1, max_size=12), bad=st.lists(NUMBERS, min_size=1, max_size=12))
def test_auc_and_distance(good: list[float], bad: list[float]) -> None:
    found = separation(np.array(good), np.array(bad))
    wins = sum((b > g) + (b == g) / 2 for g in good for b in bad)
    distances = (
        abs(sum(g <= v for g in good) / len(good) - sum(b <= v for b in bad) / len(bad)) for v in {*good, *bad}
    )
    assert found is not None
    assert found.auc == pytest.approx(wins / (len(good) * len(bad)), abs=1e-12)
    assert found.ks == pytest.approx(max(distances), abs=1e-12)


@given(pair=st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=2, max_size=2, unique=True))
def test_a_round_threshold_cuts_the_same_gap(pair: list[float]) -> None:
    low, high = sorted(pair)
    assert low < round_cut(low, high, "<") <= high
    assert low <= round_cut(low, high, ">") < high


def test_round_thresholds() -> None:
    assert round_cut(47.0, 103.0, "<") == 100.0
    assert round_cut(47.0, 103.0, ">") == 100.0
    assert round_cut(0.11999, 0.12001, "<") == 0.12
    assert round_cut(-0.5, 0.25, "<") == 0.0
    assert round_cut(math.nextafter(0.1, 0), 0.1, "<") == 0.1


def test_constants_ties_and_empty_samples() -> None:
    same = np.full(5, 3.0)
    assert best_cut(same, same, (5, 5), 5) is None
    assert best_cut(same, same + 1, (5, 5), 0) == ScoreCut(">", 3.0, 5, 0)
    assert best_cut(same, np.array([]), (5, 1), 5) is None
    assert best_cut(np.array([]), np.array([]), (1, 1), 1) is None
    assert separation(np.array([]), same) is None
    tied = np.array([0.0, 1.0])
    assert best_cut(tied, tied, (2, 2), 2) is None


def test_the_budget_of_good_documents_is_kept_to_the_document() -> None:
    good, bad = np.arange(100.0), np.concatenate([np.full(50, 1.5), np.full(50, 3.5)])
    assert best_cut(good, bad, (100, 100), 4) == ScoreCut("<", 4.0, 100, 4)
    cut = best_cut(good, bad, (100, 100), 3)
    assert cut is not None
    assert (cut.bad, cut.good) == (50, 2)


# -- many signals ------------------------------------------------------------------------------------------------------


def corpus(seed: int, shift: float, size: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    values = {"noise": rng.normal(size=size), "shifted": rng.normal(shift, size=size), "same": np.zeros(size)}
    values["sparse"] = np.where(rng.random(size) < 0.5, np.nan, rng.normal(2 * shift, size=size))
    return values


def test_signals_by_themselves() -> None:
    good, bad = corpus(1, 0.0, 2000), corpus(2, 3.0, 1000)
    signals = {s.name: s for s in compare(list(good), lambda name: (good[name], bad[name]), 0.02)}
    assert signals["noise"].cut is None
    assert signals["same"].cut is None
    assert signals["same"].separation is not None
    assert signals["same"].separation.auc == 0.5
    shifted, sparse = signals["shifted"].cut, signals["sparse"].cut
    assert shifted is not None
    assert shifted.side == ">"
    assert shifted.good <= 40
    assert sparse is not None
    assert sparse.bad <= 1000 - signals["sparse"].bad_null
    assert 400 < signals["sparse"].bad_null < 600
    assert next(iter(signals)) == "shifted"


def test_nothing_is_found_in_tiny_or_equal_corpora() -> None:
    good, bad = np.arange(3.0), np.arange(3.0) + 100
    assert compare(["a"], lambda _: (good, bad), 0.5)[0].cut is None
    rng = np.random.default_rng(3)
    values = {f"s{i}": (rng.normal(size=500), rng.normal(size=500)) for i in range(60)}
    assert all(signal.cut is None for signal in compare(list(values), values.__getitem__, 1.0))


def test_what_chance_gives_falls_with_size_and_rises_with_comparisons() -> None:
    assert chance(100, 100, 10) > chance(1000, 1000, 10) > chance(10_000, 10_000, 10)
    assert chance(100, 100, 1000) > chance(100, 100, 10)
    assert chance(0, 5, 1) == math.inf
    assert chance(200, 200, 1) == pytest.approx(math.sqrt(math.log(1 / ALPHA) / 200))


def test_rules_that_go_together() -> None:
    """Two kinds of bad documents need two rules; a copy of a signal adds nothing; the budget is for all of them."""
    rng = np.random.default_rng(4)
    good = {"a": rng.normal(size=4000), "b": rng.normal(size=4000)}
    bad = {"a": rng.normal(size=2000), "b": rng.normal(size=2000)}
    bad["a"][:1000] += 6
    bad["b"][1000:] -= 6
    for values in (good, bad):
        values["copy"] = values["a"] * 2

    def read(name: str) -> tuple[np.ndarray, np.ndarray]:
        return good[name], bad[name]

    chosen = choose(["a", "b", "copy"], read, 0.02, 6)
    assert {(rule.name, rule.cut.side) for rule in chosen} == {("a", ">"), ("b", "<")}
    fired = [
        np.any([side(values[r.name], r.cut) for r in chosen], axis=0)
        for values in (good, bad)
        for side in [lambda v, cut: v < cut.threshold if cut.side == "<" else v > cut.threshold]
    ]
    assert int(fired[0].sum()) == sum(rule.cut.good for rule in chosen) <= 80
    assert int(fired[1].sum()) == sum(rule.cut.bad for rule in chosen) > 1900
    assert choose(["a", "b"], read, 0.0, 4)[0].cut.good == 0
