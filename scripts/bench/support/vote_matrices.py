"""Vote matrices whose truth is known, read and made, and how well a posterior fits the truth.

A set is votes int8 (n, m), -1 abstain, the truth int8 (n,), -1 unknown, and the number of classes. Made sets depend on
their seed alone. The metrics take a posterior float64 (n, k) and the truth of every row.
"""

import csv
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

import numpy as np

ABSTAIN = -1


@dataclass(frozen=True)
class Votes:
    """A vote matrix with its truth.

    `pairs` are the functions made to repeat each other, where the set was made.
    """

    name: str
    votes: np.ndarray
    truth: np.ndarray
    k: int
    pairs: frozenset[tuple[int, int]] = frozenset()
    made: dict[str, object] = field(default_factory=dict)

    @property
    def known(self) -> np.ndarray:
        """Which rows have a truth, bool (n,)."""
        return self.truth >= 0

    @property
    def balance(self) -> np.ndarray:
        """Share of each class among the rows with a truth, float64 (k,)."""
        counts = np.bincount(self.truth[self.known], minlength=self.k)
        return counts / counts.sum()


# -- read --------------------------------------------------------------------------------------------------------------


def read(folder: Path) -> list[Votes]:
    """Every npz file of a folder."""
    sets = []
    for path in sorted(folder.glob("*.npz")):
        given = np.load(path)
        sets.append(Votes(path.stem, given["L"].astype(np.int8), given["Y"].astype(np.int8), int(given["k"])))
    return sets


def read_crowd(folder: Path, absent: int = ABSTAIN) -> list[Votes]:
    """Every pair `X.label.csv`, `X.truth.csv`: workers as functions; `absent` where a worker did not see an item."""
    return [_crowd(path, absent) for path in sorted(folder.glob("*.label.csv"))]


def _crowd(path: Path, absent: int) -> Votes:
    answers = [tuple(map(int, row)) for row in _rows(path)]
    truth = {int(item): int(label) for item, label in _rows(path.with_name(path.name.replace("label", "truth")))}
    items = {item: place for place, item in enumerate(sorted({item for item, _, _ in answers} | truth.keys()))}
    workers = {worker: place for place, worker in enumerate(sorted({worker for _, worker, _ in answers}))}
    labels = {
        label: place for place, label in enumerate(sorted({label for _, _, label in answers} | set(truth.values())))
    }
    votes = np.full((len(items), len(workers)), absent, np.int8)
    for item, worker, label in answers:
        votes[items[item], workers[worker]] = labels[label]
    known = np.full(len(items), -1, np.int8)
    for item, label in truth.items():
        known[items[item]] = labels[label]
    return Votes(path.name.split(".")[0], votes, known, len(labels))


def _rows(path: Path) -> list[list[str]]:
    with open(path, newline="") as file:
        return list(csv.reader(file))[1:]


# -- made --------------------------------------------------------------------------------------------------------------


def outcomes(truth: np.ndarray, table: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Votes of one function, int8 (n,); `table` float64 (k, k + 1): chance of abstaining and of each vote."""
    edges = np.cumsum(table, axis=1)[:, :-1].astype(np.float32)
    drawn = rng.random(len(truth), dtype=np.float32)
    votes = np.full(len(truth), ABSTAIN, np.int8)
    for edge in edges.T:
        votes += drawn >= edge[truth]
    return votes


def two_way(accuracy: float, coverage: float, k: int = 2) -> np.ndarray:
    """Chances (k, k + 1) of a function that votes every class and is right with `accuracy` where it votes."""
    wrong = (1 - accuracy) / (k - 1)
    right = np.full((k, k), wrong) + np.eye(k) * (accuracy - wrong)
    return np.hstack([np.full((k, 1), 1 - coverage), coverage * right])


def one_way(vote: int, fires: np.ndarray) -> np.ndarray:
    """Chances (k, k + 1) of a function that votes one class only, with chance `fires[class]`."""
    k = len(fires)
    table = np.zeros((k, k + 1))
    table[:, 0], table[:, 1 + vote] = 1 - fires, fires
    return table


def draw_truth(n: int, balance: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return rng.choice(len(balance), n, p=balance).astype(np.int8)


def copied(votes: np.ndarray, rng: np.random.Generator, changed: float) -> np.ndarray:
    """A copy of a function's votes in which a share of the rows is another row's vote."""
    rows = rng.random(len(votes)) < changed
    out = votes.copy()
    out[rows] = rng.permutation(votes)[rows]
    return out


def independent(n: int = 5000, m: int = 10, seed: int = 1, coverage: float = 0.6, keep: float = 0.6) -> Votes:
    """Functions that vote both ways and depend on the class alone."""
    rng = np.random.default_rng(seed)
    truth = draw_truth(n, np.array([1 - keep, keep]), rng)
    votes = [outcomes(truth, two_way(accuracy, coverage), rng) for accuracy in np.linspace(0.55, 0.85, m)]
    return Votes("synth_ci", np.column_stack(votes), truth, 2)


def four_copies(n: int = 5000, seed: int = 2, changed: float = 0.05) -> Votes:
    """Six independent functions, and four that are one bad function, each changed in a share of the rows."""
    rng = np.random.default_rng(seed)
    truth = draw_truth(n, np.array([0.4, 0.6]), rng)
    good = [outcomes(truth, two_way(accuracy, 0.65), rng) for accuracy in np.linspace(0.65, 0.85, 6)]
    bad = outcomes(truth, two_way(0.6, 0.9), rng)
    copies = [copied(bad, rng, changed) for _ in range(4)]
    return Votes("synth_dup", np.column_stack([*good, *copies]), truth, 2, frozenset(combinations(range(6, 10), 2)))


def unipolar(n: int = 5000, seed: int = 3, keep: float = 0.2) -> Votes:
    """Ten functions that vote keep or abstain, or drop or abstain."""
    rng = np.random.default_rng(seed)
    truth = draw_truth(n, np.array([1 - keep, keep]), rng)
    votes = []
    for place in range(10):
        vote = place % 2
        often, seldom = rng.uniform(0.1, 0.4), rng.uniform(0.02, 0.15)
        votes.append(outcomes(truth, one_way(vote, np.where(np.arange(2) == vote, often, seldom)), rng))
    return Votes("synth_uni", np.column_stack(votes), truth, 2)


def many(n: int = 10**6, m: int = 40, seed: int = 4) -> Votes:
    """Functions of every coverage and accuracy, two ways and one way."""
    rng = np.random.default_rng(seed)
    truth = draw_truth(n, np.array([0.7, 0.3]), rng)
    votes = np.empty((n, m), np.int8)
    for place in range(m):
        coverage, accuracy = rng.uniform(0.05, 0.8), rng.uniform(0.55, 0.85)
        table = two_way(accuracy, coverage)
        if place % 2:
            vote = place // 2 % 2
            table = one_way(vote, coverage * np.where(np.arange(2) == vote, accuracy, 1 - accuracy))
        votes[:, place] = outcomes(truth, table, rng)
    return Votes("synth_1e6", votes, truth, 2)


def random_set(seed: int, n: int | None = None) -> Votes:
    """A set of any kind: classes, balance, number and kinds of functions, copies, wrong functions, all drawn.

    Beside copies there are two dependences that real functions have: long documents, on which every function fires
    more often, and several thresholds of one noisy score.
    """
    rng = np.random.default_rng(seed)
    k = 2 if rng.random() < 0.7 else int(rng.integers(3, 7))
    balance = np.array([1 - (keep := rng.uniform(0.05, 0.9)), keep]) if k == 2 else rng.dirichlet(np.full(k, 3.0))
    n = n or int(np.exp(rng.uniform(np.log(1000), np.log(12000))))
    m = int(np.exp(rng.uniform(np.log(5), np.log(60))))
    one_sided = float(rng.choice([0.0, 0.5, 1.0]))
    cover, skill = np.exp(rng.uniform(np.log(0.03), np.log(0.9))), rng.uniform(0.1, 0.6)
    length = float(rng.choice([0.0, 0.0, 0.7]))
    wrong = float(rng.choice([0.0, 0.0, 0.1, 0.2]))
    truth = draw_truth(n, balance, rng)
    long = np.exp(length * rng.standard_normal(n)) if length else None
    columns: list[np.ndarray] = []
    while len(columns) < m:
        table = _drawn_table(k, balance, rng, one_sided, cover, skill, wrong=rng.random() < wrong)
        votes = outcomes(truth, table, rng)
        if long is not None:  # a vote is lost on short documents
            votes[rng.random(n) > np.minimum(1, 0.7 * long)] = ABSTAIN
        columns.append(votes)
    families = int(rng.choice([0, 0, 1, 2])) if k == 2 else 0
    for _ in range(families):
        columns[-5:] = []
        columns += _thresholds(truth, rng, skill)
    votes = np.column_stack(columns)
    groups = int(rng.choice([0, 0, 1, 2]))
    pairs: set[tuple[int, int]] = set()
    order = rng.permutation(votes.shape[1])
    for _ in range(groups):
        size = min(int(rng.integers(2, 7)), len(order))
        group, order = order[:size], order[size:]
        changed = rng.uniform(0, 0.2)
        for place in group[1:]:
            votes[:, place] = copied(votes[:, group[0]], rng, changed)
        pairs |= set(combinations(sorted(map(int, group)), 2))
    made: dict[str, object] = {"k": k, "n": n, "m": votes.shape[1], "keep": round(float(balance[-1]), 2)}
    made |= {"one_sided": one_sided, "cover": round(float(cover), 2), "skill": round(float(skill), 2)}
    made |= {"length": length, "wrong": wrong, "families": families, "groups": groups}
    return Votes(f"random_{seed}", votes, truth, k, frozenset(pairs), made)


def _drawn_table(
    k: int,
    balance: np.ndarray,
    rng: np.random.Generator,
    one_sided: float,
    cover: float,
    skill: float,
    *,
    wrong: bool,
) -> np.ndarray:
    """Chances (k, k + 1) of a function drawn around a coverage and a skill."""
    coverage = float(np.clip(cover * np.exp(rng.normal(0, 0.5)), 0.005, 0.98))
    if rng.random() < one_sided:
        vote = int(rng.integers(k))
        lift = np.exp(skill * rng.uniform(0.5, 6)) ** (-1 if wrong else 1)  # chance where right over chance elsewhere
        fires = np.where(np.arange(k) == vote, lift, 1.0)
        return one_way(vote, np.minimum(fires * coverage / (fires @ balance), 0.98))
    sure = float(np.clip(skill * rng.uniform(0.3, 1.7), 0.02, 0.95))
    leaning = rng.dirichlet(np.full(k, 4.0))
    right = np.roll(np.eye(k), 1, axis=1) if wrong else np.eye(k)
    return np.hstack([np.full((k, 1), 1 - coverage), coverage * (sure * right + (1 - sure) * leaning)])


def _thresholds(truth: np.ndarray, rng: np.random.Generator, skill: float) -> list[np.ndarray]:
    """Five functions on one score: keep above a quantile, or drop below one."""
    score = truth * 2.5 * skill + rng.standard_normal(len(truth))
    found = []
    for place, share in enumerate(rng.uniform(0.05, 0.4, 5)):
        votes = np.full(len(truth), ABSTAIN, np.int8)
        votes[score > np.quantile(score, 1 - share) if place % 2 else score < np.quantile(score, share)] = place % 2
        found.append(votes)
    return found


# -- references --------------------------------------------------------------------------------------------------------


def smoothed_share(votes: np.ndarray, k: int) -> np.ndarray:
    """Votes for each class plus one, over all votes plus k."""
    counts = np.column_stack([(votes == label).sum(axis=1) for label in range(k)]) + 1.0
    return counts / counts.sum(axis=1, keepdims=True)


def naive_bayes(votes: np.ndarray, truth: np.ndarray, k: int, scored: np.ndarray | None = None) -> np.ndarray:
    """Posterior of naive Bayes over outcomes, an abstain among them, fitted on the rows with a truth.

    Scored on the rows it was fitted on too, as a reference for what independent functions allow.
    """
    scored = votes if scored is None else scored
    counts = np.bincount(truth[truth >= 0], minlength=k) + 1.0
    log = np.tile(np.log(counts / counts.sum()), (len(scored), 1))
    for place in range(votes.shape[1]):
        table = np.ones((k, k + 1))
        known = truth >= 0
        np.add.at(table, (truth[known], votes[known, place] + 1), 1)
        log += np.log(table / table.sum(axis=1, keepdims=True))[:, scored[:, place] + 1].T
    log -= log.max(axis=1, keepdims=True)
    found = np.exp(log)
    return found / found.sum(axis=1, keepdims=True)


# -- metrics -----------------------------------------------------------------------------------------------------------


def accuracy(proba: np.ndarray, truth: np.ndarray) -> float:
    """Share of rows decided rightly; of a tie between t classes, one of them right, 1 / t counts."""
    best = proba >= proba.max(axis=1, keepdims=True) - 1e-9
    return float((best[np.arange(len(truth)), truth] / best.sum(axis=1)).mean())


def auc(proba: np.ndarray, truth: np.ndarray) -> float:
    """Chance that a document of class 1 scores above one of class 0, ties half; NaN for more classes than two."""
    if proba.shape[1] != 2 or not 0 < (truth == 1).sum() < len(truth):
        return float("nan")
    _, inverse, counts = np.unique(proba[:, 1], return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    good = int((truth == 1).sum())
    return float((ranks[truth == 1].sum() - good * (good + 1) / 2) / (good * (len(truth) - good)))


def log_loss(proba: np.ndarray, truth: np.ndarray, least: float = 1e-3) -> float:
    """Mean of -log of the probability of the truth, clipped to `least` .. 1 - `least`."""
    return float(-np.log(np.clip(proba[np.arange(len(truth)), truth], least, 1 - least)).mean())


def calibration_error(proba: np.ndarray, truth: np.ndarray, bins: int = 10) -> float:
    """Expected calibration error in bins of equal width: of P(class 1), or with more classes of the largest."""
    if proba.shape[1] == 2:
        sure, right = proba[:, 1], truth == 1
    else:
        sure, right = proba.max(axis=1), proba.argmax(axis=1) == truth
    place = np.minimum((sure * bins).astype(int), bins - 1)
    gaps = np.bincount(place, weights=sure - right, minlength=bins)
    return float(np.abs(gaps).sum() / len(truth))
