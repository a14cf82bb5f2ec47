"""The search for settings: which are tried, in which rounds, and who goes on."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.classifiers.autotune import ETA, SPANS, Autotune, _ranked, _survivors, candidates, cost, rungs

GIVEN: dict[str, float | int] = {
    "dim": 32,
    "lr": 0.1,
    "epoch": 5,
    "word_ngrams": 2,
    "bucket": 200_000,
    "min_count": 2,
}


@given(st.integers(2, 60), st.integers(0, 3), st.sets(st.sampled_from(sorted(SPANS)), min_size=1))
def test_candidates_lie_in_their_ranges_and_fill_them(trials: int, seed: int, over: set[str]) -> None:
    tune = Autotune(trials=trials, over=tuple(sorted(over)))  # type: ignore[arg-type]
    found = candidates(GIVEN, tune, seed)
    assert found == candidates(GIVEN, tune, seed)
    assert found[0] == GIVEN
    assert len(found) == trials
    for name, span in SPANS.items():
        values = [point[name] for point in found[1:]]
        if name not in over:
            assert set(values) <= {GIVEN[name]}
            continue
        assert all(span.low <= value <= span.high for value in values)
        assert not span.step or all(value % span.step == 0 or span.step == 1 for value in values)
    if "lr" in over and trials > 2:  # one in each equal part of the logarithm
        lr = np.sort([point["lr"] for point in found[1:]]).astype(float)
        places = np.log(lr / SPANS["lr"].low) / np.log(SPANS["lr"].high / SPANS["lr"].low) * (trials - 1)
        assert (np.abs(places - np.arange(trials - 1) - 0.5) < 0.6).all()


def test_another_seed_tries_other_settings() -> None:
    assert candidates(GIVEN, Autotune(), 1)[1:] != candidates(GIVEN, Autotune(), 2)[1:]


@given(st.integers(2, 200), st.integers(0, 1_000_000))
def test_rounds_end_on_all_documents_and_save_work(trials: int, documents: int) -> None:
    found = rungs(trials, documents)
    assert found[0].trials == trials
    assert found[-1].share == 1
    for place, rung in enumerate(found):
        assert rung.trials == -(-trials // ETA**place)
        assert rung.trials >= 2  # the settings given, and another
        assert rung.share == pytest.approx(1 / ETA ** (len(found) - 1 - place))
    if len(found) > 1:
        assert documents * found[0].share >= 1000 - 1e-6
    assert sum(rung.trials * rung.share for rung in found) <= trials


def test_too_few_documents_for_rounds() -> None:
    assert len(rungs(20, 2999)) == 1
    assert len(rungs(20, 3000)) == 2
    assert len(rungs(20, 9000)) == 3
    assert len(rungs(3, 9000)) == 1
    assert len(rungs(4, 9000)) == 2


def test_the_best_go_on_with_the_settings_given_among_them() -> None:
    values: list[list[float | None]] = [[0.5], [0.2], [None], [0.1], [0.2]]
    loss, auc = Autotune(metric="log_loss"), Autotune(metric="auc")
    assert _ranked(loss, range(5), values) == [3, 1, 4, 0, 2]
    assert _ranked(auc, range(5), values) == [0, 1, 4, 3, 2]
    assert _survivors(loss, range(5), values, 2) == [0, 3]
    assert _survivors(loss, range(5), values, 4) == [0, 1, 3, 4]
    assert _survivors(auc, range(5), values, 2) == [0, 1]


def test_cost_is_of_passes_features_and_dimensions() -> None:
    assert cost(GIVEN | {"epoch": 11}) == 2 * cost(GIVEN)
    assert cost(GIVEN | {"dim": 64}) < 2 * cost(GIVEN)
