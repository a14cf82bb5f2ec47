"""Summarize a label model as JSON values: functions, dependent pairs, class balance and performance on gold labels."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curate.stats.calibration import reliability
from curate.stats.intervals import wilson_interval
from curate.weak.manifest import (
    DependentPair,
    EmpiricalAccuracy,
    FunctionRow,
    GoldFacts,
    Marginal,
    ModelSummary,
    SliceFacts,
    SliceRow,
)
from curate.weak.model import fitting, gold_correction
from curate.weak.model.posterior import Posterior
from curate.weak.model.statistics import SliceCounts, VoteState

MARGINAL_FUNCTIONS = 100
MARGINAL_ROWS = 1 << 14  # rows of the sample on which a model without one function is compared with the full model

Floats = NDArray[np.float64]


def summarize(
    state: VoteState,
    fit: fitting.Fit,
    correction: gold_correction.Correction | None,
    fitted: fitting.Fitted,
) -> ModelSummary:
    """Compute the result of `LabelModel.summary`."""
    names = state.layout.names
    marginal = marginal_values(state, fit)
    odds = _mean_log_odds(state, fitted.posterior) if state.layout.n_classes == 2 else None
    rows = [_row(j, state, fit, odds, marginal[j]) for j in range(len(names))]
    return {
        "documents": state.n,
        "classes": state.layout.n_classes,
        "method": fit.method,
        "class_balance": fit.balance.tolist(),
        "class_balance_from": fit.balance_from,
        "ranks_only": fit.balance_from == "none",
        "functions": rows,
        "pairs": _pairs(state, fit),
        "explained": fit.dependencies.explained if state.layout.n_classes == 2 else None,
        "effective_functions": float(fit.weights.sum()),
        "unanimous": state.unanimous[:-1].tolist(),
        "silent": int(state.unanimous[-1]),
        "slices": {name: _slice(state, part) for name, part in state.slices.items()},
        "gold": _gold(state, fit, correction, fitted),
        "warnings": [*fit.warnings, *_concerns(state, fit, correction, fitted)],
    }


def _share(part: int | float, whole: int | float) -> float | None:
    return float(part / whole) if whole else None


def _row(j: int, state: VoteState, fit: fitting.Fit, odds: Floats | None, marginal: Marginal) -> FunctionRow:
    layout = state.layout
    start, end = int(layout.offsets[j]), int(layout.offsets[j + 1])
    counts, cast, asked = state.counts[start:end], int(state.cast[j]), int(state.asked[j])
    codes = [str(code) for code in range(-1, end - start - 1)]
    likelihood = fit.likelihood[start:end]
    return {
        "name": layout.names[j],
        "buckets": layout.ordered[j],
        "asked": asked,
        "voted": cast,
        "polarity": [c for c in range(end - start - 1) if counts[c + 1]],
        "coverage": _share(cast, asked),
        "overlaps": _share(int(state.overlapped[j]), asked),
        "conflicts": _share(int(state.conflicted[j]), asked),
        "outcomes": dict(zip(codes, counts.tolist(), strict=True)),
        "likelihood": {code: row.tolist() for code, row in zip(codes, likelihood, strict=True)},
        "accuracy": _accuracy(likelihood, fit.balance) if layout.voting[j] else None,
        "weight": float(fit.weights[j]),
        "log_odds": None if odds is None else dict(zip(codes, odds[start:end].tolist(), strict=True)),
        "marginal": marginal,
        "empirical": _empirical(j, state),
    }


def _accuracy(likelihood: Floats, balance: Floats) -> float | None:
    """Share of a function's votes that are right according to the model."""
    joint = likelihood[1:] * balance
    return _share(float(np.trace(joint)), float(joint.sum()))


def _empirical(j: int, state: VoteState) -> EmpiricalAccuracy | None:
    gold = state.gold
    cast = gold.votes[:, j] >= 0
    if not state.layout.voting[j] or not cast.any():
        return None
    weights, right = gold.weights[cast], gold.votes[cast, j] == gold.labels[cast]
    accuracy = float(np.average(right, weights=weights))
    total = float(weights.sum() ** 2 / (weights**2).sum())  # effective number of documents (Kish)
    low, high = wilson_interval(accuracy * total, total)
    return {"documents": int(cast.sum()), "accuracy": accuracy, "low": low, "high": high}


def _mean_log_odds(state: VoteState, posterior: Posterior) -> Floats:
    """Mean contribution to the logit of each outcome over the sample, shape (outcomes,)."""
    votes, offsets = state.sample.votes, state.layout.offsets
    odds = posterior.log_odds(votes)
    out = np.zeros(int(offsets[-1]))
    for j in range(votes.shape[1]):
        asked = votes[:, j] >= -1
        codes = votes[asked, j].astype(np.int64) + 1
        size = int(state.layout.sizes[j])
        count = np.bincount(codes, minlength=size)
        out[offsets[j] : offsets[j + 1]] = np.bincount(codes, weights=odds[asked, j], minlength=size) / np.maximum(
            count, 1
        )
    return out


def _pairs(state: VoteState, fit: fitting.Fit) -> list[DependentPair]:
    names, layout = state.layout.names, state.layout
    out: list[DependentPair] = []
    for pair in sorted(fit.dependencies.pairs, key=lambda p: (-abs(p.residual), p.first, p.second)):
        both, agree = _together(state, pair.first, pair.second)
        out.append(
            {
                "first": names[pair.first],
                "second": names[pair.second],
                "residual": pair.residual,
                "outcomes": [pair.first_code, pair.second_code],
                "redundancy": pair.redundancy,
                "voted_together": _share(both, state.n),
                "agreement": _share(agree, both) if layout.voting[pair.first] and layout.voting[pair.second] else None,
                "copies": pair.redundancy >= fitting.COPIES,
            }
        )
    return out


def _together(state: VoteState, i: int, j: int) -> tuple[int, int]:
    """Number of documents on which both functions voted, and on which both votes are for the same class."""
    a, b = state.layout.offsets[i], state.layout.offsets[j]
    block = state.moments[a + 1 : state.layout.offsets[i + 1], b + 1 : state.layout.offsets[j + 1]]
    return int(block.sum()), int(np.trace(block))


def _slice(state: VoteState, part: SliceCounts) -> SliceFacts:
    rows: list[SliceRow] = []
    for j, (start, end) in enumerate(zip(state.layout.offsets[:-1], state.layout.offsets[1:], strict=True)):
        counts = part.outcomes[start:end]
        asked = int(counts.sum())
        rows.append(
            {
                "name": state.layout.names[j],
                "asked": asked,
                "coverage": _share(asked - int(counts[0]), asked),
                "overlaps": _share(int(part.overlapped[j]), asked),
                "conflicts": _share(int(part.conflicted[j]), asked),
                "outcomes": dict(zip(map(str, range(-1, end - start - 1)), counts.tolist(), strict=True)),
            }
        )
    return {"documents": part.documents, "functions": rows}


def marginal_values(state: VoteState, fit: fitting.Fit) -> list[Marginal]:
    """Measure the value of each function by comparing the model with a model fitted without that function.

    ``divergence`` is the mean Kullback-Leibler divergence of the posteriors in nats, over the sample's first rows.
    ``flipped`` is the share of documents whose class changes when the balance decides how many documents are kept;
    with more than two classes, the share whose most probable class changes. ``gold_log_loss`` is the increase of the
    log loss on gold labels. Both models are those before the correction by gold labels. All values are None for a
    single function, and for more than `MARGINAL_FUNCTIONS` functions, which would take minutes.
    """
    functions = len(state.layout.names)
    if not 2 <= functions <= MARGINAL_FUNCTIONS:
        unknown: Marginal = {"divergence": None, "flipped": None, "gold_log_loss": None}
        return [unknown] * functions
    rows = min(MARGINAL_ROWS, len(state.sample.keys))
    votes = state.sample.votes[:rows]
    stated = None if fit.balance_from in ("none", "EM") else fit.balance
    whole = fit.posterior.probabilities(votes)
    gold = state.gold
    before = gold_correction.measured(fit.posterior.probabilities(gold.votes), gold.labels, gold.weights)["log_loss"]
    out: list[Marginal] = []
    for j in range(functions):
        part = state.without(j, rows)
        posterior = fitting.fit(part, stated).posterior
        q = posterior.probabilities(part.sample.votes)
        after = gold_correction.measured(posterior.probabilities(part.gold.votes), gold.labels, gold.weights)[
            "log_loss"
        ]
        out.append(
            {
                "divergence": _divergence(whole, q),
                "flipped": float((_sides(whole, fit.balance) != _sides(q, fit.balance)).mean()) if rows else None,
                "gold_log_loss": None if before is None or after is None else after - before,
            }
        )
    return out


def _divergence(p: Floats, q: Floats) -> float | None:
    if not len(p):
        return None
    p, q = np.maximum(p, 1e-12), np.maximum(q, 1e-12)
    return float((p * (np.log(p) - np.log(q))).sum(axis=1).mean())


def _sides(q: Floats, balance: Floats) -> NDArray[Any]:
    if q.shape[1] > 2 or not len(q):
        return q.argmax(axis=1)
    return q[:, 1] > np.quantile(q[:, 1], balance[0])


def _gold(
    state: VoteState, fit: fitting.Fit, correction: gold_correction.Correction | None, fitted: fitting.Fitted
) -> GoldFacts | None:
    """Performance on gold labels of the uncorrected model, the held-out correction and the majority."""
    gold = state.gold
    if not len(gold.labels):
        return None
    two = state.layout.n_classes == 2
    before = fit.posterior.probabilities(gold.votes)
    performance: GoldFacts = {
        "documents": len(gold.labels),
        "labels": np.bincount(gold.labels, minlength=state.layout.n_classes).tolist(),
        "majority": gold_correction.measured(fitted.majority.probabilities(gold.votes), gold.labels, gold.weights),
        "before": gold_correction.measured(before, gold.labels, gold.weights),
        "reliability_before": reliability(before[:, 1], gold.labels == 1, gold.weights)[1] if two else None,
        "correction": None,
    }
    if correction is None:
        return performance
    q = correction.held_out
    return {
        **performance,
        "correction": {
            "kind": correction.kind,
            "isotonic": correction.curve is not None,
            "scale": correction.linear.scale,
            "log_loss_left_out": correction.losses,
        },
        "left_out": gold_correction.measured(q, gold.labels, gold.weights),
        "reliability_left_out": reliability(q[:, 1], gold.labels == 1, gold.weights)[1] if two else None,
    }


def _concerns(
    state: VoteState, fit: fitting.Fit, correction: gold_correction.Correction | None, fitted: fitting.Fitted
) -> list[str]:
    """Warnings about gold labels that contradict the votes or the class balance."""
    gold, out = state.gold, []
    labels = len(gold.labels)
    if not labels:
        return []
    if len(np.unique(gold.labels)) == 1:
        out.append(f"all {labels} gold labels are of class {gold.labels[0]}: they cannot correct the model")
    elif labels < gold_correction.ENOUGH:
        out.append(
            f"{labels} gold labels are too few to correct the model: at least {gold_correction.ENOUGH} are needed"
        )
    if correction is not None and correction.contrary:
        out.append("the gold labels contradict the votes: a correction would reverse the scores, so none is applied")
    if fit.balance_from == "stated":
        out += [
            f"class_balance is {fit.balance[c]:.3g} for class {c}, but gold labels estimate {low:.3g} to {high:.3g}"
            for c, (low, high) in enumerate(_gold_balance(state))
            if not low <= fit.balance[c] <= high
        ]
    model_accuracy, share = (
        gold_correction.measured(posterior.probabilities(gold.votes), gold.labels, gold.weights)["accuracy"] or 0.0
        for posterior in (fit.posterior, fitted.majority)
    )
    if labels >= gold_correction.ENOUGH and model_accuracy < share - 1 / math.sqrt(labels):
        out.append(
            f"on gold labels the uncorrected model has accuracy {model_accuracy:.3g}, "
            f"below the majority vote's {share:.3g}"
        )
    return out


def _gold_balance(state: VoteState) -> list[tuple[float, float]]:
    """Confidence interval of each class's share, from the gold labels."""
    gold = state.gold
    effective = float(gold.weights.sum() ** 2 / (gold.weights**2).sum())
    shares = np.bincount(gold.labels, weights=gold.weights, minlength=state.layout.n_classes) / gold.weights.sum()
    return [wilson_interval(float(share) * effective, effective) for share in shares]
