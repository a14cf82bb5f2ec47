import importlib.util
import math
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

SCRIPT = Path(__file__).parents[2] / "scripts" / "bench" / "support" / "vote_matrices.py"


def _loaded() -> ModuleType:
    spec = importlib.util.spec_from_file_location("vote_matrices", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["vote_matrices"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


made = _loaded()
sixteenths = st.integers(0, 16).map(lambda value: value / 16)
rows = st.lists(st.tuples(sixteenths, st.integers(0, 1)), min_size=1, max_size=40)


def arrays(drawn):
    keep = np.array([share for share, _ in drawn])
    return np.column_stack([1 - keep, keep]), np.array([label for _, label in drawn])


@given(rows)
def test_metrics_are_those_counted_by_hand(drawn):
    proba, truth = arrays(drawn)
    credit = [0.5 if share == 0.5 else float((share > 0.5) == label) for share, label in drawn]
    assert made.accuracy(proba, truth) == pytest.approx(sum(credit) / len(drawn))
    chances = [share if label else 1 - share for share, label in drawn]
    losses = [-math.log(min(max(chance, 0.001), 0.999)) for chance in chances]
    assert made.log_loss(proba, truth) == pytest.approx(sum(losses) / len(drawn))
    good = [share for share, label in drawn if label]
    bad = [share for share, label in drawn if not label]
    if good and bad:
        won = sum((g > b) + (g == b) / 2 for g in good for b in bad) / (len(good) * len(bad))
        assert made.auc(proba, truth) == pytest.approx(won)
    else:
        assert math.isnan(made.auc(proba, truth))


@given(rows)
def test_calibration_error_is_that_of_ten_bins_counted_by_hand(drawn):
    total = 0.0
    for place in range(10):
        part = [(share, label) for share, label in drawn if min(int(share * 10), 9) == place]
        total += abs(sum(share - label for share, label in part))
    assert made.calibration_error(*arrays(drawn)) == pytest.approx(total / len(drawn))


def test_of_three_classes_a_tie_counts_by_its_part():
    proba = np.array([[0.4, 0.4, 0.2], [0.1, 0.2, 0.7], [1 / 3, 1 / 3, 1 / 3]])
    assert made.accuracy(proba, np.array([1, 2, 0])) == pytest.approx((0.5 + 1 + 1 / 3) / 3)


def test_votes_come_as_often_as_their_table_says():
    truth = made.draw_truth(60_000, np.array([0.3, 0.7]), np.random.default_rng(1))
    table = made.two_way(0.8, 0.5)
    assert table.sum(axis=1) == pytest.approx([1, 1])
    votes = made.outcomes(truth, table, np.random.default_rng(2))
    for label in range(2):
        seen = np.bincount(votes[truth == label] + 1, minlength=3) / (truth == label).sum()
        assert seen == pytest.approx(table[label], abs=0.015)


def test_copies_agree_and_the_others_do_not():
    data = made.four_copies()
    for i in range(10):
        for j in range(i):
            same = (data.votes[:, i] == data.votes[:, j]).mean()
            assert (same > 0.9) == ((j, i) in data.pairs)


@pytest.mark.parametrize("seed", range(12))
def test_a_random_set_is_whole_and_depends_on_its_seed_alone(seed):
    data, again = made.random_set(seed, n=400), made.random_set(seed, n=400)
    assert (data.votes == again.votes).all()
    assert data.votes.dtype == np.int8
    assert data.votes.min() >= -1
    assert data.votes.max() < data.k
    assert data.votes.shape == (400, data.made["m"])
    assert data.balance.sum() == pytest.approx(1)


def test_naive_bayes_on_independent_functions_is_calibrated():
    data = made.independent()
    proba = made.naive_bayes(data.votes, data.truth, 2)
    assert made.calibration_error(proba, data.truth) < 0.02
    assert made.accuracy(proba, data.truth) > made.accuracy(made.smoothed_share(data.votes, 2), data.truth) + 0.02


def test_crowd_files_become_a_matrix(tmp_path):
    (tmp_path / "x.label.csv").write_text("item,worker,label\n7,1,4\n7,3,2\n9,3,4\n")
    (tmp_path / "x.truth.csv").write_text("item,truth\n7,4\n8,2\n")
    (data,) = made.read_crowd(tmp_path, absent=-2)
    assert data.votes.tolist() == [[1, 0], [-2, -2], [-2, 1]]
    assert data.truth.tolist() == [1, 0, -1]
    assert (data.name, data.k) == ("x", 2)
