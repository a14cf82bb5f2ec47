"""The label model against references, its properties, its fallbacks, and what it must reach on real and made votes."""

import csv
import json
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.weak.model.model import LabelModel
from curate.weak.model.statistics import VoteState
from tests.examples import examples
from tests.weak.model.votes import accuracy, both_ways, copies, in_sample_bayes, one_way

HALF = [0.5, 0.5]


def truth_of(seed: int, n: int, keep: float = 0.5) -> np.ndarray:
    return (np.random.default_rng(seed).random(n) < keep).astype(np.int64)


def made(kind: str, seed: int = 0, n: int = 6000) -> tuple[np.ndarray, np.ndarray]:
    """Votes and truth."""
    rng = np.random.default_rng(100 + seed)
    truth = truth_of(seed, n, 0.2 if kind == "one way" else 0.5)
    if kind == "both ways":
        votes = both_ways(rng, truth, rng.uniform(0.55, 0.85, 10).tolist(), rng.uniform(0.3, 0.9, 10).tolist())
    elif kind == "one way":
        hits = rng.uniform(0.2, 0.6, 10)
        votes = one_way(rng, truth, hits.tolist(), (hits * rng.uniform(0.1, 0.4, 10)).tolist())
    else:
        votes = copies(rng, truth, [0.7, 0.72, 0.75, 0.68, 0.8], bad=0.55, times=4)
    return votes, truth


def balance_of(truth: np.ndarray, classes: int = 2) -> list[float]:
    return (np.bincount(truth, minlength=classes) / len(truth)).tolist()


@pytest.mark.parametrize(("kind", "below"), [("both ways", 0.005), ("one way", 0.005), ("copies", 0.005)])
@pytest.mark.parametrize("seed", range(3))
def test_as_right_as_naive_bayes_that_knows_the_truth(kind: str, below: float, seed: int) -> None:
    votes, truth = made(kind, seed)
    model = LabelModel().fit(votes, class_balance=balance_of(truth))
    assert accuracy(model.predict_proba(votes), truth) >= in_sample_bayes(votes, truth) - below


def test_copies_of_a_bad_function_are_named_and_do_no_harm() -> None:
    votes, truth = made("copies")
    model = LabelModel().fit(votes, HALF, names=[*"abcde", "bad", "bad 2", "bad 3", "bad 4"])
    summary = model.summary()
    named = {frozenset((pair["first"], pair["second"])) for pair in summary["pairs"]}
    bad = ["bad", "bad 2", "bad 3", "bad 4"]
    assert named == {frozenset((a, b)) for a in bad for b in bad if a < b}
    assert all(pair["copies"] and pair["agreement"] > 0.8 for pair in summary["pairs"])
    assert accuracy(model.predict_proba(votes), truth) > accuracy(model.majority(votes), truth) + 0.05


@examples(15)
@given(st.integers(1, 64), st.randoms(use_true_random=False), st.sampled_from(["both ways", "copies", "one way"]))
def test_any_shards_in_any_order_give_the_same_model(shards: int, random: Random, kind: str) -> None:
    votes, truth = made(kind, n=1500)
    keys = np.random.default_rng(3).integers(0, 700, len(votes)).astype(np.uint64)  # with ties
    gold = np.where(np.arange(len(votes)) % 20 == 0, truth, -1)
    shard = np.random.default_rng(random.randrange(2**32)).integers(0, shards, len(votes))
    states = [
        VoteState.count(votes[shard == s], n_classes=2, keys=keys[shard == s], gold=gold[shard == s], capacity=1000)
        for s in range(shards)
    ]
    random.shuffle(states)
    total = states[0]
    for state in states[1:]:
        total = state + total
    whole = VoteState.count(votes, n_classes=2, keys=keys, gold=gold, capacity=1000)
    one, many = (LabelModel().fit_state(state, HALF) for state in (whole, total))
    assert (one.predict_proba(votes) == many.predict_proba(votes)).all()
    assert (one.log_odds(votes[:50]) == many.log_odds(votes[:50])).all()


def test_order_of_functions_and_documents_is_no_matter() -> None:
    votes, _ = made("both ways", n=3000)
    keys = np.arange(3000, dtype=np.uint64)
    model = LabelModel().fit(votes, HALF, keys=keys)
    turned = LabelModel().fit(votes[:, ::-1], HALF, keys=keys)
    assert turned.predict_proba(votes[:, ::-1]) == pytest.approx(model.predict_proba(votes))
    assert turned.log_odds(votes[:, ::-1])[:, ::-1] == pytest.approx(model.log_odds(votes))
    rows = np.random.default_rng(1).permutation(3000)
    again = LabelModel().fit(votes[rows], HALF, keys=keys[rows])
    assert (again.predict_proba(votes) == model.predict_proba(votes)).all()


def test_turning_the_classes_round_turns_the_posterior_round() -> None:
    votes, truth = made("one way", n=3000)
    balance, keys = balance_of(truth), np.arange(3000, dtype=np.uint64)
    turned = np.where(votes < 0, votes, 1 - votes).astype(np.int8)
    one = LabelModel().fit(votes, balance, keys=keys).predict_proba(votes)
    two = LabelModel().fit(turned, balance[::-1], keys=keys).predict_proba(turned)
    assert one == pytest.approx(two[:, ::-1], abs=1e-6)


@examples(25)
@given(st.integers(0, 2**32), st.floats(0.02, 0.98), st.booleans())
def test_votes_for_one_class_alone_never_count_against_it(seed: int, keep: float, use_gold: bool) -> None:
    rng = np.random.default_rng(seed)
    truth = (rng.random(400) < keep).astype(np.int64)
    votes = rng.integers(-1, 2, (400, 6)).astype(np.int8)  # many of these functions are worse than nothing
    votes[:, :3] = both_ways(rng, truth, [0.8, 0.3, 0.7], [0.6, 0.5, 0.2])
    gold = np.where(rng.random(400) < 0.3, truth, -1) if use_gold else None
    q = LabelModel().fit(votes, [1 - keep, keep], gold=gold).predict_proba(votes)[:, 1]
    keeps, drops = (votes == 1).any(axis=1), (votes == 0).any(axis=1)
    assert (q[drops & ~keeps] <= keep + 1e-9).all()
    assert (q[keeps & ~drops] >= keep - 1e-9).all()


@examples(25)
@given(st.integers(0, 2**32), st.integers(0, 4))
def test_more_votes_to_keep_never_make_keeping_less_likely(seed: int, at: int) -> None:
    rng = np.random.default_rng(seed)
    truth = (rng.random(500) < 0.4).astype(np.int64)
    votes = both_ways(rng, truth, rng.uniform(0.2, 0.9, 5).tolist(), rng.uniform(0.2, 1, 5).tolist())
    model = LabelModel().fit(votes, [0.6, 0.4])
    drop, keep = votes.copy(), votes.copy()
    drop[:, at], keep[:, at] = 0, 1
    assert (model.predict_proba(keep)[:, 1] >= model.predict_proba(drop)[:, 1] - 1e-9).all()


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.7])
def test_the_mean_posterior_is_the_balance(keep: float) -> None:
    votes, _ = made("one way")
    model = LabelModel().fit(votes, [1 - keep, keep])
    assert model.predict_proba(votes)[:, 1].mean() == pytest.approx(keep, abs=1e-5)
    assert model.summary()["class_balance_from"] == "stated"


def test_log_odds_sum_to_the_logit_with_and_without_gold() -> None:
    votes, truth = made("one way")
    gold = np.where(np.arange(len(truth)) % 10 == 0, truth, -1)
    for labels in (None, gold):
        model = LabelModel().fit(votes, balance_of(truth), gold=labels)
        q = model.predict_proba(votes)
        logit = model.log_odds(votes).sum(axis=1) + model.intercept
        assert logit == pytest.approx(np.log(q[:, 1] / q[:, 0]), abs=1e-6)


def test_a_score_in_buckets_tells_more_than_its_thresholds() -> None:
    rng = np.random.default_rng(4)
    truth = truth_of(4, 8000, 0.4)
    score = truth * 1.2 + rng.standard_normal(8000)
    buckets = np.searchsorted(np.quantile(score, np.arange(1, 8) / 8), score).astype(np.int8)
    buckets[rng.random(8000) < 0.1] = -1
    rules = both_ways(rng, truth, [0.7, 0.65, 0.75, 0.7], [0.5, 0.6, 0.4, 0.8])
    votes = np.column_stack([rules, buckets]).astype(np.int8)
    model = LabelModel().fit(votes, balance_of(truth), names=[*"abcd", "score"], ordered=[0, 0, 0, 0, 8])
    row = model.summary()["functions"][4]
    odds = [row["log_odds"][str(code)] for code in range(8)]
    assert odds == sorted(odds)
    assert odds[0] < -1
    assert odds[-1] > 1
    thresholds = np.where(buckets < 0, -1, np.where(buckets >= 5, 1, np.where(buckets <= 2, 0, -1)))
    cut = np.column_stack([rules, thresholds]).astype(np.int8)
    plain = LabelModel().fit(cut, balance_of(truth))
    loss = [-np.log(m.predict_proba(v)[np.arange(8000), truth]).mean() for m, v in ((model, votes), (plain, cut))]
    assert loss[0] < loss[1]


def test_not_asked_is_no_abstention() -> None:
    votes, truth = made("both ways", n=8000)
    asked = np.random.default_rng(1).random(8000) < 0.2
    votes[:, 3] = np.where(truth == 1, 1, -1)  # tells all, by silence too
    votes[~asked, 3] = -2
    model = LabelModel().fit(votes, HALF)
    row = model.summary()["functions"][3]
    assert row["asked"] == asked.sum()
    assert row["coverage"] == pytest.approx((votes[asked, 3] == 1).mean())
    assert (model.log_odds(votes)[~asked, 3] == 0).all()
    assert (model.log_odds(votes)[asked & (votes[:, 3] == -1), 3] < -1).all()


def test_columns_of_the_summary_are_those_of_their_definitions() -> None:
    votes, truth = made("both ways", n=500)
    gold = np.where(np.arange(500) % 5 == 0, truth, -1)
    summary = LabelModel().fit(votes, HALF, gold=gold).summary()
    for j, row in enumerate(summary["functions"]):
        cast = others = differ = 0
        for line in votes.tolist():
            rest = [vote for i, vote in enumerate(line) if i != j and vote >= 0]
            cast += line[j] >= 0
            others += line[j] >= 0 and bool(rest)
            differ += line[j] >= 0 and any(vote != line[j] for vote in rest)
        assert (row["voted"], row["coverage"]) == (cast, cast / 500)
        assert (row["overlaps"], row["conflicts"]) == (others / 500, differ / 500)
        assert row["polarity"] == sorted(set(votes[:, j].tolist()) - {-1})
        right = [
            vote == label for vote, label in zip(votes[:, j].tolist(), gold.tolist(), strict=True) if vote >= 0 <= label
        ]
        assert row["empirical"]["documents"] == len(right)
        assert row["empirical"]["accuracy"] == pytest.approx(sum(right) / len(right))
        assert row["empirical"]["low"] < sum(right) / len(right) < row["empirical"]["high"]
        assert sum(row["likelihood"][code][1] for code in row["likelihood"]) == pytest.approx(1)
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary


def test_learned_accuracies_are_near_the_true_ones() -> None:
    rng = np.random.default_rng(2)
    truth = truth_of(2, 20_000)
    right = [0.9, 0.8, 0.7, 0.6, 0.75]
    votes = both_ways(rng, truth, right, [0.9, 0.5, 0.7, 0.8, 0.3])
    summary = LabelModel().fit(votes, HALF).summary()
    assert [row["accuracy"] for row in summary["functions"]] == pytest.approx(right, abs=0.05)


def test_marginal_value_of_what_tells_nothing_is_least() -> None:
    votes, truth = made("both ways")
    votes[:, 0] = np.random.default_rng(1).integers(0, 2, len(votes))
    gold = np.where(np.arange(len(truth)) % 10 == 0, truth, -1)
    summary = LabelModel().fit(votes, HALF, gold=gold, names=list("abcdefghij")).summary()
    worth = {row["name"]: row["marginal"] for row in summary["functions"]}
    assert min(worth, key=lambda name: worth[name]["divergence"]) == "a"
    assert worth["a"]["divergence"] < 0.1 * max(value["divergence"] for value in worth.values())
    best = max(worth, key=lambda name: worth[name]["divergence"])
    assert worth[best]["gold_log_loss"] > 0.002
    assert 0 <= worth["a"]["flipped"] < worth[best]["flipped"] < 0.5


@pytest.mark.parametrize(("functions", "worth"), [(1, False), (4, True), (5, False)])
def test_marginal_values_are_for_so_many_functions_only(
    monkeypatch: pytest.MonkeyPatch, functions: int, worth: bool
) -> None:
    monkeypatch.setattr("curate.weak.model.summary.MARGINAL_FUNCTIONS", 4)
    votes = np.random.default_rng(1).integers(0, 2, (20, functions)).astype(np.int8)
    rows = LabelModel().fit(votes, HALF).summary()["functions"]
    assert [row["marginal"]["divergence"] is not None for row in rows] == [worth] * functions


def test_a_function_worse_than_nothing_gets_no_weight_and_is_told_of() -> None:
    votes, truth = made("both ways")
    votes[:, 4] = np.where(np.random.default_rng(1).random(len(truth)) < 0.25, truth, 1 - truth)
    model = LabelModel().fit(votes, HALF, names=list("abcdefghij"))
    summary = model.summary()
    assert [row["name"] for row in summary["functions"] if row["weight"] == 0] == ["e"]
    assert "e is right less often than chance: it gets weight 0" in summary["warnings"]
    assert np.abs(model.log_odds(votes)[:, 4]).max() < 1e-9


def test_without_a_balance_there_are_ranks_only() -> None:
    votes, _ = made("both ways")
    model = LabelModel().fit(votes)
    summary = model.summary()
    assert summary["ranks_only"]
    assert summary["method"] == "vote share"
    assert any("ranks documents but is not a calibrated probability" in warning for warning in summary["warnings"])
    assert model.predict_proba(votes) == pytest.approx(model.majority(votes))
    assert model.majority([[1] + [-1] * 9])[0].tolist() == pytest.approx([0.25, 0.75])


@pytest.mark.parametrize("functions", [1, 2])
def test_fewer_than_three_functions_are_a_vote_share(functions: int) -> None:
    votes, _ = made("both ways")
    model = LabelModel().fit(votes[:, :functions], [0.7, 0.3])
    assert model.summary()["method"] == "vote share"
    assert model.predict_proba(votes[:, :functions])[:, 1].mean() == pytest.approx(0.3, abs=1e-5)
    assert any(f"only {functions} functions vote" in warning for warning in model.summary()["warnings"])


def test_three_copies_are_fewer_than_three_functions() -> None:
    votes, _ = made("both ways")
    model = LabelModel().fit(np.column_stack([votes[:, :2], votes[:, :1], votes[:, :1]]), HALF)
    assert model.summary()["method"] == "vote share"


def test_when_all_abstain_the_posterior_is_the_balance() -> None:
    model = LabelModel().fit(np.full((50, 4), -1, np.int8), [0.3, 0.7])
    assert model.predict_proba(np.full((2, 4), -1)) == pytest.approx(np.array([[0.3, 0.7]] * 2))
    assert [w for w in model.summary()["warnings"] if "never votes" in w] == [f"f{j} never votes" for j in range(4)]


def test_when_all_vote_for_one_class_nothing_breaks() -> None:
    votes = np.where(np.random.default_rng(1).random((300, 4)) < 0.4, 1, -1).astype(np.int8)
    q = LabelModel().fit(votes, [0.9, 0.1]).predict_proba(votes)
    assert np.isfinite(q).all()
    assert q[:, 1].mean() == pytest.approx(0.1, abs=0.02)
    assert (q[(votes == 1).any(axis=1), 1] >= 0.1 - 1e-9).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"class_balance": [0.5, 0.6]}, "class_balance sums to 1.1: it must sum to 1"),
        ({"class_balance": [1.0, 0.0]}, "class_balance has 1.0, 0.0: each share must be above 0 and below 1"),
        ({"class_balance": [0.5, float("nan")]}, "each share must be above 0 and below 1"),
        ({"class_balance": [1.0]}, r"class_balance has shape \(1,\): it must be \(2,\)"),
        ({"votes": np.empty((0, 3), np.int8)}, "there are no documents to learn from"),
        ({"votes": [[2, 0, 0]]}, "function 'f0' has codes from 2 to 2"),
    ],
)
def test_what_is_wrong_is_told(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LabelModel().fit(**{"votes": [[0, 1, 1]], **arguments})  # type: ignore[arg-type]


def test_using_it_wrongly_is_told() -> None:
    with pytest.raises(ValueError, match="not fitted"):
        LabelModel().predict_proba([[0]])
    with pytest.raises(ValueError, match="the vote state has 3 classes, but the model has 2"):
        LabelModel().fit_state(VoteState.empty(3, n_classes=3))
    model = LabelModel().fit([[0, 1, 1], [1, 1, 0]], HALF)
    with pytest.raises(ValueError, match=r"votes have type int64 and shape \(1, 2\): .*\(documents, 3\)"):
        model.predict_proba([[0, 1]])
    with pytest.raises(ValueError, match="function 'f1' has codes from 7 to 7"):
        model.predict_proba([[0, 7, 0]])
    with pytest.raises(ValueError, match="votes have type float64"):
        model.log_odds([[0.0, 1.0, 1.0]])
    with pytest.raises(ValueError, match="log-odds need two classes"):
        LabelModel(3).fit([[0, 1, 2]]).log_odds([[0, 1, 2]])


@pytest.mark.parametrize("classes", [2, 3])
def test_what_is_saved_comes_back_in_the_same_bytes(tmp_path: Path, classes: int) -> None:
    rng = np.random.default_rng(1)
    truth = rng.integers(0, classes, 2200)
    votes = np.where(rng.random((2200, 4)) < 0.6, truth[:, None], rng.integers(-1, classes, (2200, 4))).astype(np.int8)
    gold = np.where(np.arange(2200) % 2 == 0, truth, -1)
    model = LabelModel(classes).fit(votes, [1 / classes] * classes, gold=gold)
    model.save(tmp_path / "one")
    again = LabelModel.load(tmp_path / "one")
    again.save(tmp_path / "two")
    LabelModel(classes).fit(votes, [1 / classes] * classes, gold=gold).save(tmp_path / "three")
    for name in ("label_model.json", "label_model.npz"):
        assert len({(tmp_path / folder / name).read_bytes() for folder in ("one", "two", "three")}) == 1
    assert (again.predict_proba(votes) == model.predict_proba(votes)).all()
    assert (again.majority(votes) == model.majority(votes)).all()
    assert again.summary() == model.summary()


def test_a_model_of_another_schema_is_refused(tmp_path: Path) -> None:
    LabelModel().fit([[0, 1, 1], [1, 1, 0]], HALF).save(tmp_path)
    path = tmp_path / "label_model.json"
    path.write_text(path.read_text().replace('"schema": 1', '"schema": 99'))
    with pytest.raises(ValueError, match="has schema 99, but this version reads schema 1"):
        LabelModel.load(tmp_path)


def test_more_classes_are_learned() -> None:
    rng = np.random.default_rng(1)
    truth = rng.choice(4, 6000, p=[0.5, 0.25, 0.15, 0.1])
    sides = np.arange(12) % 4
    rate = np.where(truth[:, None] == sides, rng.uniform(0.3, 0.7, 12), rng.uniform(0.01, 0.15, 12))
    votes = np.where(rng.random((6000, 12)) < rate, sides, -1).astype(np.int8)
    model = LabelModel(4).fit(votes, balance_of(truth, 4))
    assert model.summary()["method"] == "mean of vote share and one-step EM"
    assert accuracy(model.predict_proba(votes), truth) > accuracy(model.majority(votes), truth) + 0.02
    assert model.predict_proba(votes).mean(axis=0) == pytest.approx(balance_of(truth, 4), abs=1e-5)


def dawid_skene(votes: np.ndarray, classes: int, rounds: int = 30) -> np.ndarray:
    """The algorithm of 1979 by plain loops: posteriors of the items."""
    items = [[(j, v) for j, v in enumerate(row) if v >= 0] for row in votes.tolist()]
    q = [[sum(v == c for _, v in item) / max(len(item), 1) for c in range(classes)] for item in items]
    for _ in range(rounds):
        prior = [sum(row[c] for row in q) / len(q) for c in range(classes)]
        error = {j: [[1e-12] * classes for _ in range(classes)] for j in range(votes.shape[1])}
        for item, row in zip(items, q, strict=True):
            for j, v in item:
                for c in range(classes):
                    error[j][c][v] += row[c]
        for item, row in zip(items, q, strict=True):
            for c in range(classes):
                row[c] = prior[c]
                for j, v in item:
                    row[c] *= error[j][c][v] / sum(error[j][c])
            total = sum(row) or 1.0
            row[:] = [value / total for value in row]
    return np.array(q)


def workers(name: str, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Votes and truth of a crowd set; -2 where a worker was not given an item."""
    labels, truth = (
        np.array([[int(field) for field in line] for line in list(csv.reader(path.open()))[1:]])
        for path in (folder / f"{name}.label.csv", folder / f"{name}.truth.csv")
    )
    votes = np.full((labels[:, 0].max() + 1, labels[:, 1].max() + 1), -2, np.int8)
    votes[labels[:, 0], labels[:, 1]] = labels[:, 2]
    known = np.full(len(votes), -1)
    known[truth[:, 0]] = truth[:, 1]
    return votes, known


@pytest.mark.parametrize("name", ["bluebird", "rte", "web"])
def test_workers_are_told_apart_as_by_dawid_and_skene(shared_data: Path, name: str) -> None:
    votes, truth = workers(name, shared_data / "weak_supervision" / "crowd")
    classes, known = max(int(votes.max()) + 1, 2), truth >= 0
    reference = accuracy(dawid_skene(votes, classes)[known], truth[known])
    for silence in (-2, -1):
        given = np.where(votes == -2, np.int8(silence), votes)
        model = LabelModel(classes).fit(given)
        assert model._fit is not None
        assert (model._fit.method, model._fit.balance_from) == ("EM", "EM")
        found, share = (accuracy(q[known], truth[known]) for q in (model.predict_proba(given), model.majority(given)))
        assert found >= reference - 0.01
        assert found > share


# The best accuracy of Snorkel 0.10 and FlyingSquid, given the true balance, and of majority vote:
# scripts/bench/label_model.py runs them.
PEERS = {"sst2_keywords": 0.672, "yelp": 0.711, "tennis_rally": 0.893}


@pytest.mark.parametrize(("name", "peer"), PEERS.items())
def test_real_votes_with_the_true_balance(shared_data: Path, name: str, peer: float) -> None:
    with np.load(shared_data / "weak_supervision" / f"{name}.npz") as file:
        votes, truth = file["L"], file["Y"].astype(np.int64)
    known = truth >= 0
    model = LabelModel().fit(votes, balance_of(truth[known]))
    assert accuracy(model.predict_proba(votes[known]), truth[known]) >= peer - 0.015
    keys = np.random.default_rng(1).integers(0, 2**62, len(votes)).astype(np.uint64)
    whole = LabelModel().fit(votes, HALF, keys=keys).predict_proba(votes)
    for shards in (7, 64):
        total = sum(
            (VoteState.count(votes[s::shards], n_classes=2, keys=keys[s::shards]) for s in range(shards - 1, -1, -1)),
            start=VoteState.empty(votes.shape[1]),
        )
        assert (LabelModel().fit_state(total, HALF).predict_proba(votes) == whole).all()
