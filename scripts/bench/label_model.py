"""Our label model beside Snorkel's, majority vote, FlyingSquid and Dawid-Skene, on votes whose truth is known.

    python scripts/bench/label_model.py [SECTION ...] [--data ../shared/data/weak_supervision] [--peers PYTHON ...]

Sections, all but `random` when none is named: `real`, `synthetic`, `scale`, `crowd`, `shards`, `random`. PYTHON are
interpreters that have the peers, in environments of their own: `snorkel==0.10.*` and `crowd-kit>=1.4,<2`, which bring
torch; `flyingsquid==0.0.0a0` with `pgmpy==0.1.14 numpy<2 pandas<2.2 networkx<3`. What none has is named, and left out.
Every method runs in a fresh process on each set. Accuracy counts ties by parts, log loss is clipped at 0.001, the
calibration error is of ten bins; seconds and MB come after a first call on 200 rows, which loads and compiles what a
library needs, and MB are of the peak beyond it. Prints tables, and last what became of the targets. `random` draws
--sets sets of any kind, with seeds from --first, and tells where ours loses.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from support.label_runs import PEERS, Bench, Case, Found, ratio, shown, table
from support.vote_matrices import (
    Votes,
    accuracy,
    auc,
    calibration_error,
    four_copies,
    independent,
    log_loss,
    many,
    naive_bayes,
    random_set,
    read,
    read_crowd,
    smoothed_share,
    unipolar,
)

VENVS = [f"~/.cache/curate-peers/{name}/bin/python" for name in ("labelmodel", "flyingsquid")]
SECTIONS = ("real", "synthetic", "scale", "crowd", "shards", "random")
METRICS = (accuracy, auc, log_loss, calibration_error)
GOLD, DRAWS = 200, 5
REPEATS = 3  # at 10^6 documents, of which the quickest counts
OURS, OURS_FREE, OURS_GOLD = "ours, true balance", "ours, no balance", f"ours, {GOLD} gold"
SNORKEL, SNORKEL_FREE = "Snorkel, true balance", "Snorkel"
BAYES, BAYES_GOLD = "naive Bayes on all gold, in-sample", f"naive Bayes on {GOLD} gold"
SHARE = "smoothed vote share"
SQUID, SQUID_FREE = "FlyingSquid, true balance", "FlyingSquid"
PEER_ROWS = (PEERS["snorkel-majority"], SNORKEL_FREE, SNORKEL, SQUID_FREE, SQUID, PEERS["dawid-skene"])


def scores(proba: np.ndarray, data: Votes, rows: np.ndarray | None = None) -> list[float]:
    rows = data.known if rows is None else rows
    return [metric(proba[rows], data.truth[rows].astype(int)) for metric in METRICS]


# -- quality on a set --------------------------------------------------------------------------------------------------


def draws(data: Votes) -> list[np.ndarray]:
    """Gold of `GOLD` rows, or of half of those known, drawn at random with several seeds; int8 (n,)."""
    found = []
    known = np.flatnonzero(data.known)
    for seed in range(DRAWS):
        rows = np.random.default_rng(seed).choice(known, min(GOLD, len(known) // 2), replace=False)
        gold = np.full(len(data.truth), -1, np.int8)
        gold[rows] = data.truth[rows]
        found.append(gold)
    return found


def compare(bench: Bench, sets: Sequence[Votes]) -> None:
    """Every method on every set, a table for each, then the means."""
    for data in sets:
        rows = quality(bench, data)
        ours = rows.get(OURS, (None, [], None))[2]
        lines = []
        for method, (_, figures, cost) in rows.items():
            bench.scores[data.name][method] = figures
            costs = ["-"] * 4
            if cost:
                costs = [shown(cost.seconds), f"{cost.memory:.1f}"]
                costs += [ratio(cost.seconds, ours.seconds), ratio(cost.memory, ours.memory)] if ours else ["-", "-"]
            lines.append([method, *map(shown, figures), *costs])
        n, m = data.votes.shape
        print(f"\n### {data.name}: {n} x {m}, k = {data.k}, balance {np.round(data.balance, 3).tolist()}", end="")
        print(f", {int(data.known.sum())} with a truth, {(data.votes >= 0).mean():.0%} of the votes cast")
        head = ["method", "accuracy", "AUC", "log loss", "calibration", "seconds", "MB", "time / ours", "MB / ours"]
        table(head, lines)
    if len(sets) > 1:
        means(bench, [data.name for data in sets])


Row = tuple[str, list[float], Found | None]


def quality(bench: Bench, data: Votes) -> dict[str, Row]:
    """Scores and cost by method on one set."""
    plain = Case(data.votes, data.k)
    stated = replace(plain, balance=data.balance)
    rows: dict[str, Row] = {}

    def add(name: str, method: str, case: Case) -> Found | None:
        found = bench.run(method, [case])
        if found:
            rows[name] = (method, scores(found[0].proba, data), found[0])
        return found[0] if found else None

    add(PEERS["snorkel-majority"], "snorkel-majority", plain)
    rows[SHARE] = ("", scores(smoothed_share(data.votes, data.k), data), None)
    add(SNORKEL_FREE, "snorkel", plain)
    add(SNORKEL, "snorkel", stated)
    if data.k == 2:
        add(SQUID_FREE, "flyingsquid", plain)
        add(SQUID, "flyingsquid", stated)
    add(PEERS["dawid-skene"], "dawid-skene", plain)
    add(OURS_FREE, "curate", plain)
    ours = add(OURS, "curate", replace(stated, summary=True))
    with_gold(bench, data, rows)
    rows[BAYES] = ("", scores(naive_bayes(data.votes, data.truth, data.k), data), None)
    if ours:
        dependent(bench, data, ours)
    return rows


def with_gold(bench: Bench, data: Votes, rows: dict[str, Row]) -> None:
    """Means over draws of gold; the documents drawn are not scored."""
    golds = draws(data)
    found = bench.run("curate", [Case(data.votes, data.k, gold=gold) for gold in golds])
    bayes = [naive_bayes(data.votes, gold, data.k) for gold in golds]
    for name, probas in ((OURS_GOLD, [one.proba for one in found or ()]), (BAYES_GOLD, bayes)):
        if probas:
            each = [scores(p, data, data.known & (gold < 0)) for p, gold in zip(probas, golds, strict=True)]
            rows[name] = ("", np.mean(each, axis=0).tolist(), None)


def means(bench: Bench, names: Sequence[str]) -> None:
    """Mean of each metric over sets, for the methods that ran on all of them."""
    every = [bench.scores[name] for name in names]
    methods = [method for method in every[0] if all(method in one for one in every)]
    rows = [[method, *map(shown, np.mean([one[method] for one in every], axis=0))] for method in methods]
    print(f"\n### means over {', '.join(names)}")
    table(["method", "accuracy", "AUC", "log loss", "calibration"], rows)


def named_pairs(summary: dict[str, Any]) -> list[tuple[int, int]]:
    """Places of the dependent pairs that our summary names."""
    place = {row["name"]: place for place, row in enumerate(summary["functions"])}
    both = [(place[pair["first"]], place[pair["second"]]) for pair in summary["pairs"]]
    return sorted((min(pair), max(pair)) for pair in both)


def dependent(bench: Bench, data: Votes, ours: Found) -> None:
    named = named_pairs(ours.summary)
    print(f"\n{data.name}: {len(named)} dependent pairs named{': ' + str(named[:12]) if named else ''}")
    if data.name == "synth_dup":
        bench.targets.append(
            (
                "synth_dup: exactly the copied pairs are named",
                f"{len(set(named) & data.pairs)} of {len(data.pairs)} named, {len(set(named) - data.pairs)} others",
                set(named) == data.pairs,
            )
        )


def real(bench: Bench) -> None:
    compare(bench, read(bench.data))


def synthetic(bench: Bench) -> None:
    compare(bench, [independent(), four_copies(), unipolar()])


# -- cost --------------------------------------------------------------------------------------------------------------


def scale(bench: Bench) -> None:
    """Fit and predict at 10^6 x 40."""
    data = many()
    stated = Case(data.votes, data.k, data.balance)
    found: dict[str, Found] = {}
    for name, method in ((OURS, "curate"), (SNORKEL, "snorkel"), (PEERS["snorkel-majority"], "snorkel-majority")):
        if ran := bench.run(method, [stated] * REPEATS):
            quickest = min(ran, key=lambda one: one.seconds)
            found[name] = replace(quickest, memory=ran[0].memory, processor=min(one.processor for one in ran))
    ours = found.get(OURS)
    rows = []
    for name, one in found.items():
        ratios = [ratio(one.processor, ours.processor), ratio(one.memory, ours.memory)] if ours else ["-", "-"]
        figures = scores(one.proba, data)
        rows.append([name, *map(shown, figures), shown(one.seconds, 2), shown(one.processor, 2)])
        rows[-1] += [shown(one.first, 2), f"{one.memory:.0f}"]
        rows[-1] += [ratio(one.seconds, ours.seconds) if ours else "-", *ratios]
    n, m = data.votes.shape
    print(f"\n### {n} x {m}: the votes are {data.votes.nbytes / 2**20:.0f} MB; quickest of {REPEATS} runs. Left out:")
    print(
        "Dawid-Skene of crowd-kit, whose frame of a row per vote takes several GB, FlyingSquid, which loops over rows"
    )
    head = ["method", "accuracy", "AUC", "log loss", "calibration", "seconds", "processor seconds", "first call", "MB"]
    table([*head, "time / ours", "processor / ours", "MB / ours"], rows)
    if ours and (theirs := found.get(SNORKEL)):
        faster, smaller = theirs.seconds / ours.seconds, theirs.memory / ours.memory
        bench.targets.append(("10^6 x 40: at least 20 times faster than Snorkel", f"{faster:.1f} times", faster >= 20))
        bench.targets.append(("10^6 x 40: in a tenth of Snorkel's memory", f"a {smaller:.1f}th", smaller >= 10))


# -- crowds ------------------------------------------------------------------------------------------------------------


def crowd(bench: Bench) -> None:
    """Workers as functions: a worker who was not asked as an abstain, and as not asked (-2)."""
    asked = {data.name: data for data in read_crowd(bench.data / "crowd", absent=-2)}
    for data in read_crowd(bench.data / "crowd"):
        sparse = asked[data.name].votes
        cases = {
            PEERS["snorkel-majority"]: ("snorkel-majority", Case(data.votes, data.k)),
            PEERS["dawid-skene"]: ("dawid-skene", Case(data.votes, data.k)),
            "ours, no balance, absent = abstain": ("curate", Case(data.votes, data.k)),
            "ours, no balance, absent = not asked": ("curate", Case(sparse, data.k)),
            "ours, true balance, absent = abstain": ("curate", Case(data.votes, data.k, data.balance)),
            "ours, true balance, absent = not asked": ("curate", Case(sparse, data.k, data.balance)),
        }
        rows, right = [], {}
        for name, (method, case) in cases.items():
            if found := bench.run(method, [case]):
                figures = scores(found[0].proba, data)
                right[name] = figures[0]
                rows.append([name, *map(shown, figures), shown(found[0].seconds), f"{found[0].memory:.1f}"])
        n, m = data.votes.shape
        print(f"\n### {data.name}: {n} items x {m} workers, k = {data.k}, {(data.votes >= 0).mean():.1%} of the votes")
        table(["method", "accuracy", "AUC", "log loss", "calibration", "seconds", "MB"], rows)
        theirs = right.get(PEERS["dawid-skene"], np.nan)
        for name in (name for name in right if name.startswith("ours") and theirs >= 0):
            met = right[name] >= theirs - 0.01
            what = f"{data.name}: within 0.01 of Dawid-Skene ({name.removeprefix('ours, ')})"
            bench.targets.append((what, f"{right[name]:.3f} against {theirs:.3f}", met))


# -- shards ------------------------------------------------------------------------------------------------------------


def shards(bench: Bench) -> None:
    """Bytes of the saved model when the votes come in 1, 7 and 64 shards, merged in several orders."""
    from curate.weak.model.model import LabelModel, VoteState

    data = many()
    balance = data.balance.tolist()
    keys = np.random.default_rng(9).permutation(len(data.votes)).astype(np.uint64)
    rng = np.random.default_rng(10)
    rows, seen = [], set()
    for count, order in ((1, "as they come"), (7, "as they come"), (7, "shuffled"), (64, "shuffled"), (64, "a tree")):
        cuts = np.sort(rng.choice(np.arange(1, len(keys)), count - 1, replace=False))
        documents = rng.permutation(len(keys)) if count > 1 else np.arange(len(keys))
        start = time.perf_counter()
        states = [VoteState.count(data.votes[part], n_classes=2, keys=keys[part]) for part in np.split(documents, cuts)]
        counted = time.perf_counter()
        merged = _merged(states, order, rng)
        model = LabelModel().fit_state(merged, class_balance=balance)
        fitted = time.perf_counter()
        digest = _digest(model.save)
        seen.add(digest)
        rows.append([count, order, digest[:16], shown(counted - start, 2), shown(fitted - counted, 2)])
    whole = _digest(LabelModel().fit(data.votes, class_balance=balance, keys=keys).save)
    rows.append(["-", "`fit` on all votes", whole[:16], "-", "-"])
    print(f"\n### the model of {len(keys)} documents by shards, their documents drawn at random")
    table(["shards", "merged", "digest of the saved model", "seconds to count", "to merge and fit"], rows)
    bench.targets.append(
        ("the model is the same for 1, 7, 64 shards in any order", f"{len(seen)} digests", len(seen) == 1)
    )


def _merged(states: list[Any], order: str, rng: np.random.Generator) -> Any:
    if order == "shuffled":
        states = [states[place] for place in rng.permutation(len(states))]
    if order == "a tree":
        while len(states) > 1:
            states = [sum(states[at + 1 : at + 4], start=states[at]) for at in range(0, len(states), 4)]
    return sum(states[1:], start=states[0])


def _digest(save: Callable[[Any], object]) -> str:
    import hashlib

    with tempfile.TemporaryDirectory() as name:
        save(Path(name) / "model")
        found = hashlib.sha256()
        for path in sorted(Path(name).rglob("*")):
            if path.is_file():
                found.update(path.name.encode() + path.read_bytes())
        return found.hexdigest()


# -- sets of any kind --------------------------------------------------------------------------------------------------


def any_kind(bench: Bench, count: int, first: int) -> None:
    """How often, and where, ours is more than 0.015 below majority vote or Snorkel."""
    sets = [random_set(first + seed) for seed in range(count)]
    stated = [Case(data.votes, data.k, data.balance) for data in sets]
    plain = [replace(case, balance=None) for case in stated]
    probas = {SHARE: [smoothed_share(data.votes, data.k) for data in sets]}
    asked = {
        OURS: ("curate", stated),
        SNORKEL: ("snorkel", stated),
        PEERS["snorkel-majority"]: ("snorkel-majority", plain),
    }
    for name, (method, cases) in asked.items():
        if found := bench.run(method, cases):
            probas[name] = [one.proba for one in found]
    probas[BAYES] = [naive_bayes(data.votes, data.truth, data.k) for data in sets]
    figures = {name: np.array([scores(p, s) for p, s in zip(ps, sets, strict=True)]) for name, ps in probas.items()}
    print(f"\n### {count} random sets, seeds from {first}")
    rows = [[name, *map(shown, np.nanmean(found, axis=0).tolist())] for name, found in figures.items()]
    table(["method", "accuracy", "AUC", "log loss", "calibration"], rows)
    if OURS in figures:
        losses(sets, {name: found[:, 0] for name, found in figures.items()})


def losses(sets: Sequence[Votes], right: dict[str, np.ndarray]) -> None:
    """Where ours loses, by each property of the sets, and the worst sets."""
    peers = [name for name in (PEERS["snorkel-majority"], SNORKEL) if name in right] or [SHARE]
    behind = np.max([right[name] for name in peers], axis=0) - right[OURS]
    for name in peers:
        gap = right[name] - right[OURS]
        print(
            f"\nbelow {name} by more than 0.015: {(gap > 0.015).sum()} of {len(sets)}, worst {gap.max():.3f};", end=" "
        )
        print(f"above it by more than 0.015: {(gap < -0.015).sum()}")
    rows = []
    for key in ("k", "n", "m", "keep", "one_sided", "cover", "skill", "length", "wrong", "families", "groups"):
        values = np.array([float(str(data.made[key])) for data in sets])
        steps = np.unique(values) if len(np.unique(values)) < 6 else np.quantile(values, [0, 0.25, 0.5, 0.75])
        for low, high in zip(steps, [*steps[1:], np.inf], strict=True):
            part = behind[(values >= low) & (values < high)]
            rows.append(
                [
                    key,
                    f"{low:g} ..",
                    len(part),
                    (part > 0.015).sum(),
                    shown(float(part.mean())),
                    shown(float(part.max())),
                ]
            )
    table(["property", "from", "sets", "behind > 0.015", "mean behind", "worst"], rows)
    lines = []
    for place in np.argsort(-behind)[:15]:
        found = (shown(float(each[place])) for each in right.values())
        lines.append([sets[place].name, *sets[place].made.values(), *found])
    table(["set", *sets[0].made, *right], lines)


# -- targets -----------------------------------------------------------------------------------------------------------


def judge(bench: Bench, kinds: dict[str, list[str]]) -> None:
    """Targets on the sets that ran."""
    found = bench.scores
    for kind, names in kinds.items():
        if len(names) and all(OURS in found[name] for name in names):
            _means_targets(bench, kind, names)
    for name in found:
        _set_targets(bench, name)


def _means_targets(bench: Bench, kind: str, names: Sequence[str]) -> None:
    mean = {row: np.mean([bench.scores[n][row] for n in names], axis=0) for row in (OURS, OURS_GOLD)}
    if all(SNORKEL in bench.scores[name] for name in names):
        theirs = np.mean([bench.scores[name][SNORKEL] for name in names], axis=0)
        gain = mean[OURS][0] - theirs[0]
        figures = f"{mean[OURS][0]:.4f} against {theirs[0]:.4f}: {gain:+.4f}"
        bench.targets.append(
            (f"mean accuracy, {kind} sets, at least Snorkel's + 0.015 (true balance)", figures, gain >= 0.015)
        )
    loss = mean[OURS_GOLD][2]
    bench.targets.append((f"mean log loss, {kind} sets, {GOLD} gold, at most 0.57", f"{loss:.4f}", loss <= 0.57))


def _set_targets(bench: Bench, name: str) -> None:
    rows = bench.scores[name]
    if OURS not in rows:
        return
    ours = rows[OURS][0]
    peers = {row: rows[row][0] for row in PEER_ROWS if row in rows}
    if peers:
        best = max(peers, key=lambda row: peers[row])
        figures = f"{ours:.4f} against {peers[best]:.4f} ({best})"
        bench.targets.append((f"{name}: not more than 0.015 below the best peer", figures, ours >= peers[best] - 0.015))
    if name == "synth_dup":
        bench.targets.append(("synth_dup: accuracy at least 0.85", f"{ours:.4f}", ours >= 0.85))
    if name in ("synth_ci", "synth_uni"):
        figures = f"{ours:.4f} against {rows[BAYES][0]:.4f}"
        bench.targets.append(
            (f"{name}: within 0.005 of the in-sample reference", figures, ours >= rows[BAYES][0] - 0.005)
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shared = Path(__file__).resolve().parents[3] / "shared"
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=", ".join(SECTIONS))
    parser.add_argument("--data", type=Path, default=shared / "data" / "weak_supervision")
    parser.add_argument("--peers", nargs="*", default=VENVS, help="interpreters")
    parser.add_argument("--sets", type=int, default=100, help="random sets")
    parser.add_argument("--first", type=int, default=1000, help="seed of the first random set")
    given = parser.parse_args()
    if unknown := set(given.sections) - set(SECTIONS):
        parser.error(f"no section {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}")
    peers = [str(Path(path).expanduser()) for path in given.peers]
    bench = Bench([path for path in peers if Path(path).exists()], given.data)
    work: dict[str, Callable[[], None]] = {
        "real": lambda: real(bench),
        "synthetic": lambda: synthetic(bench),
        "scale": lambda: scale(bench),
        "crowd": lambda: crowd(bench),
        "shards": lambda: shards(bench),
        "random": lambda: any_kind(bench, given.sets, given.first),
    }
    for path in set(peers) - set(bench.peers):
        print(f"there is no interpreter {path}")
    if not bench.peers:
        bench.absent = dict.fromkeys(PEERS, "no interpreter of --peers exists")
    kinds: dict[str, list[str]] = {}
    for section in given.sections or SECTIONS[:-1]:
        print(f"\n## {section}")
        before = set(bench.scores)
        work[section]()
        if section in ("real", "synthetic"):
            kinds[section] = [name for name in bench.scores if name not in before]
    if len(kinds) == 2:
        kinds["all"] = [name for names in kinds.values() for name in names]
    judge(bench, kinds)
    for method, why in bench.absent.items():
        print(f"\nnot compared: {PEERS.get(method, method)}: {why}")
    if bench.targets:
        print("\n## targets")
        table(["target", "measured", "met"], [[what, how, "yes" if met else "NO"] for what, how, met in bench.targets])


if __name__ == "__main__":
    main()
