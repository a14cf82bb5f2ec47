"""Gold: the ridge regression against scipy, when a correction is taken and when not, weights, and what is warned of."""

import numpy as np
import pytest
from scipy.optimize import minimize

from curate.weak.model import gold_correction
from curate.weak.model.gold_correction import RIDGE
from curate.weak.model.model import LabelModel
from curate.weak.model.posterior import softmax
from curate.weak.model.statistics import VoteState
from tests.weak.model.votes import accuracy, both_ways

HALF = [0.5, 0.5]


@pytest.mark.parametrize("classes", [2, 3])
def test_the_ridge_regression_is_at_its_minimum(classes: int) -> None:
    rng = np.random.default_rng(classes)
    scores = rng.normal(size=(80, classes))
    scores -= scores.mean(axis=1, keepdims=True)
    columns = np.column_stack([np.ones(80), rng.integers(0, 2, (80, 4))]).astype(float)
    labels, weights = rng.integers(0, classes, 80).astype(np.int8), rng.uniform(0.5, 2, 80)
    scale, table = gold_correction._ridge(scores, columns, labels, weights)

    def loss(values: np.ndarray) -> float:
        q = softmax(values[0] * scores + columns @ values[1:].reshape(table.shape))
        fit = -(weights * np.log(q[np.arange(80), labels])).sum()
        return float(fit + 0.5 * RIDGE * (values[1:] ** 2).sum() + 0.25 * RIDGE * (values[0] - 1) ** 2)

    found = np.concatenate([[scale], table.ravel()])
    best = minimize(loss, np.concatenate([[1.0], np.zeros(table.size)]), method="BFGS")
    assert loss(found) == pytest.approx(best.fun, abs=1e-6)
    assert found == pytest.approx(best.x, abs=1e-3)


def votes_of(n: int = 4000, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Votes, truth, and gold of the first 300 documents."""
    rng = np.random.default_rng(seed)
    truth = (rng.random(n) < 0.4).astype(np.int64)
    votes = both_ways(rng, truth, [0.85, 0.7, 0.65, 0.75, 0.6, 0.8], [0.5, 0.7, 0.6, 0.3, 0.9, 0.4])
    return votes, truth, np.where(np.arange(n) < 300, truth, -1)


def test_gold_mends_what_votes_alone_get_wrong() -> None:
    rng = np.random.default_rng(3)
    truth, spam = (rng.random(5000) < 0.5).astype(np.int64), rng.random(5000) < 0.3
    truth[spam] = 0
    agreeing = [np.where(rng.random(5000) < np.where(spam, 0.9, 0.3), 1, -1) for _ in range(3)]  # and are wrong on spam
    votes = np.column_stack([*agreeing, both_ways(rng, truth, [0.75, 0.8, 0.7], [0.6] * 3)]).astype(np.int8)
    gold = np.where(np.arange(5000) < 300, truth, -1)
    balance = [float((truth == c).mean()) for c in (0, 1)]
    plain, mended = LabelModel().fit(votes, balance), LabelModel().fit(votes, balance, gold=gold)
    losses = [-np.log(m.predict_proba(votes)[np.arange(300, 5000), truth[300:]]).mean() for m in (plain, mended)]
    assert losses[1] < losses[0] - 0.05
    found = mended.summary()["gold"]
    assert found["correction"]["kind"] == "full"
    assert found["left_out"]["log_loss"] < found["before"]["log_loss"]
    assert found["left_out"]["accuracy"] > found["majority"]["accuracy"]


def test_a_correction_that_helps_nothing_is_not_taken() -> None:
    votes, _, _ = votes_of()
    noise = np.random.default_rng(9)
    model = LabelModel().fit(votes, [0.6, 0.4])
    drawn = (noise.random(len(votes)) < model.predict_proba(votes)[:, 1]).astype(np.int8)  # the model is right
    gold = np.where(np.arange(len(votes)) < 200, drawn, -1)
    again = LabelModel().fit(votes, [0.6, 0.4], gold=gold)
    assert again.summary()["gold"]["correction"]["kind"] == "none"
    assert again.predict_proba(votes) == pytest.approx(model.predict_proba(votes))


def test_gold_that_contradicts_all_votes_turns_nothing_round() -> None:
    votes, truth, gold = votes_of()
    contrary = np.where(gold < 0, -1, 1 - gold)
    model = LabelModel().fit(votes, [0.6, 0.4], gold=contrary)
    assert accuracy(model.predict_proba(votes), truth) > 0.6
    warnings = " / ".join(model.summary()["warnings"])
    assert "but gold labels estimate" in warnings
    correction = model._correction
    assert correction is not None
    assert correction.linear.scale > 0
    steady = both_ways(np.random.default_rng(1), truth, [0.9] * 4, [1.0] * 4)
    turned = LabelModel().fit(steady, [0.6, 0.4], gold=np.where(np.arange(4000) < 2000, 1 - truth, -1))
    assert (
        "the gold labels contradict the votes: a correction would reverse the scores, so none is applied"
        in turned.summary()["warnings"]
    )


def test_little_gold_informs_the_balance_alone() -> None:
    votes, truth, _ = votes_of()
    gold = np.where(np.arange(len(truth)) < 29, truth, -1)
    summary = LabelModel().fit(votes, gold=gold).summary()
    keep = (truth[:29].sum() + 1) / 31
    assert summary["class_balance"] == pytest.approx([1 - keep, keep])
    assert (summary["class_balance_from"], summary["ranks_only"]) == ("gold", False)
    assert summary["gold"]["correction"] is None
    assert "29 gold labels are too few to correct the model: at least 30 are needed" in summary["warnings"]
    more = np.where(np.arange(len(truth)) < 30, truth, -1)
    assert LabelModel().fit(votes, gold=more).summary()["gold"]["correction"] is not None


def test_gold_of_one_class_corrects_nothing() -> None:
    votes, truth, _ = votes_of()
    gold = np.where((np.arange(len(truth)) < 100) & (truth == 1), 1, -1)
    summary = LabelModel().fit(votes, [0.6, 0.4], gold=gold).summary()
    assert summary["gold"]["correction"] is None
    assert any("are of class 1: they cannot correct the model" in warning for warning in summary["warnings"])


def test_weights_undo_a_draw_by_strata() -> None:
    votes, truth, _ = votes_of(20_000)
    rng = np.random.default_rng(5)
    keeps = (votes == 1).sum(axis=1) > (votes == 0).sum(axis=1)
    chance = np.where(keeps, 0.1, 0.02)
    gold = np.where(rng.random(20_000) < chance, truth, -1)
    weighted = LabelModel().fit(votes, gold=gold, gold_weights=1 / chance).summary()["class_balance"][1]
    plain = LabelModel().fit(votes, gold=gold).summary()["class_balance"][1]
    assert weighted == pytest.approx(0.4, abs=0.04)
    assert plain > 0.5


def test_an_isotonic_curve_needs_much_gold_and_a_reason() -> None:
    rng = np.random.default_rng(2)
    truth = (rng.random(8000) < 0.5).astype(np.int64)
    votes = both_ways(rng, truth, [0.8] * 8, [0.8] * 8)
    q = LabelModel().fit(votes, HALF).predict_proba(votes)[:, 1]
    steps = (rng.random(8000) < np.where(q < 0.02, 0.02, np.where(q < 0.98, 0.5, 0.98))).astype(np.int64)  # no logistic
    found = {}
    for documents in (999, 4000):
        model = LabelModel().fit(votes, HALF, gold=np.where(np.arange(8000) < documents, steps, -1))
        assert model._correction is not None
        found[documents] = model._correction
        assert model.predict_proba(votes).sum(axis=1) == pytest.approx(np.ones(8000))
    assert "isotonic" not in found[999].losses
    assert found[4000].losses["isotonic"] < found[4000].losses[found[4000].kind]
    assert found[4000].curve is not None
    middle = (q > 0.05) & (q < 0.95)
    assert model.predict_proba(votes)[middle, 1].mean() == pytest.approx(0.5, abs=0.05)
    assert model.predict_proba(votes)[middle, 1].std() < 0.1


def test_folds_are_those_of_the_keys_whatever_the_order() -> None:
    votes, _, gold = votes_of(1000)
    keys = np.random.default_rng(1).permutation(1000).astype(np.uint64)
    order = np.random.default_rng(2).permutation(1000)
    states = [
        VoteState.count(votes[rows], n_classes=2, keys=keys[rows], gold=gold[rows]) for rows in (np.arange(1000), order)
    ]
    one, two = (LabelModel().fit_state(state, [0.6, 0.4]).summary()["gold"] for state in states)
    assert one == two
