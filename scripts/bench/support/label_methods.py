"""One label model on one vote matrix, in a process of its own; the peers run in their own environment, without curate.

    PYTHON scripts/bench/support/label_methods.py METHOD IN.npz OUT.npz [IN.npz OUT.npz ...]

IN has ``votes`` int8 (n, m) with -1 for an abstain, ``k``, and where given ``balance`` float64 (k,) and ``gold`` int8
(n,). OUT has ``proba`` float64 (n, k), wall seconds and processor seconds of fit and of predict, those of a first call
on a few rows, and memory in MB: resident after that call, and at the peak since. `curate` also writes its summary as
JSON where IN has ``summary``. With several pairs the memory is the peak so far. Exit status 3 says that the package is
not installed.
"""

# pyright: reportMissingImports=false
import json
import sys
import time

import numpy as np

MISSING = 3  # exit status


def resident(field):
    """MB from the kernel's account of this process: VmRSS now, VmHWM at its peak; NaN where none is kept."""
    try:
        with open("/proc/self/status") as file:
            return next(float(line.split()[1]) / 1024 for line in file if line.startswith(field))
    except OSError:
        return float("nan")


def reset_peak():
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
    except OSError:
        pass


def curate(share=False):
    from curate.weak.model.model import LabelModel

    def fit(votes, k, balance, gold):
        model = LabelModel(n_classes=k).fit(votes, class_balance=balance, gold=gold)
        return model.majority if share else model.predict_proba, model.summary

    return fit


def curate_share():
    """The vote share that our model shows beside itself."""
    return curate(share=True)


def snorkel():
    from snorkel.labeling.model import LabelModel

    def fit(votes, k, balance, gold):
        model = LabelModel(cardinality=k, verbose=False)
        model.fit(votes, class_balance=None if balance is None else list(balance), seed=0, progress_bar=False)
        return model.predict_proba, None

    return fit


def snorkel_majority():
    from snorkel.labeling.model import MajorityLabelVoter

    def fit(votes, k, balance, gold):
        return MajorityLabelVoter(cardinality=k).predict_proba, None

    return fit


def dawid_skene():
    """Of crowd-kit; documents without a vote, which it does not know, get its class shares."""
    from crowdkit.aggregation import DawidSkene
    from pandas import DataFrame

    def fit(votes, k, balance, gold):
        document, function = np.nonzero(votes >= 0)
        frame = DataFrame({"task": document, "worker": function, "label": votes[document, function]})
        model = DawidSkene(n_iter=100).fit(frame)

        def predict(votes):
            found, shares = model.probas_, model.priors_
            out = np.zeros((len(votes), k))
            out[:, shares.index.to_numpy(int)] = shares.to_numpy()
            out[found.index.to_numpy(int)[:, None], found.columns.to_numpy(int)] = found.to_numpy()
            return out

        return predict, None

    return fit


def flyingsquid():
    """Triplets, for two classes; it has 0 for an abstain."""
    from flyingsquid.label_model import LabelModel

    def signed(votes):
        return np.where(votes < 0, 0, 2 * votes - 1)

    def fit(votes, k, balance, gold):
        model = LabelModel(votes.shape[1])
        model.fit(signed(votes), class_balance=balance)
        return lambda votes: model.predict_proba(signed(votes)), None

    return fit


METHODS = {
    "curate": curate,
    "curate-share": curate_share,
    "snorkel": snorkel,
    "snorkel-majority": snorkel_majority,
    "dawid-skene": dawid_skene,
    "flyingsquid": flyingsquid,
}


def main():
    try:
        fit = METHODS[sys.argv[1]]()
    except ModuleNotFoundError as error:
        print(error, file=sys.stderr)
        sys.exit(MISSING)
    start = time.perf_counter()
    few = np.random.default_rng(0).integers(-1, 2, (200, 5)).astype(np.int8)
    fit(few, 2, None, None)[0](few)  # libraries compile and load on the first call
    first, base = time.perf_counter() - start, resident("VmRSS")
    reset_peak()
    for source, target in zip(sys.argv[2::2], sys.argv[3::2]):  # noqa: B905 (an interpreter of a peer may be old)
        given = np.load(source)
        votes, k = given["votes"], int(given["k"])
        balance, gold = (given.get(name) for name in ("balance", "gold"))
        clocks = [(time.perf_counter(), time.process_time())]
        predict, summary = fit(votes, k, balance, gold)
        clocks.append((time.perf_counter(), time.process_time()))
        proba = predict(votes)
        clocks.append((time.perf_counter(), time.process_time()))
        out = {"proba": proba, "clocks": np.diff(clocks, axis=0), "memory": np.array([base, resident("VmHWM")])}
        out["first"] = np.array(first)
        if summary and given.get("summary") is not None:
            out["summary"] = np.array(json.dumps(summary()))
        np.savez(target, **out)


if __name__ == "__main__":
    main()
