"""Search for good hyperparameters of a classifier, with a fixed number of trials instead of a time limit.

fastText's autotune stops at a time limit, so its result depends on the machine. This search tries a Latin hypercube of
settings (McKay, Beckman and Conover 1979) over log-uniform ranges, drawn by hashes of the seed. The first trial uses
the settings of the stage. All trials start on a share of the training documents, and the best third continues with
three times as many documents (successive halving: Jamieson and Talwalkar 2016, arXiv 1502.07943). The first trial
always continues to the last round, which shows the gain of the search over it. Trials are judged on training documents
that no trial trains on; the documents for calibration and measurement are not used. Trials are independent tasks of the
engine, so the result is the same for any number of workers.
"""

import logging
import math
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from curate.classifiers.manifest import Tuning
from curate.errors import RunError

if TYPE_CHECKING:
    import pyarrow as pa

    from curate.engine.context import Context

log = logging.getLogger("curate")

Parameter = Literal["dim", "lr", "epoch", "word_ngrams", "bucket", "min_count"]
Settings = Mapping[str, float | int]
ETA = 3  # one trial in 3 continues, with 3 times the documents
LEAST = 1000  # minimum number of documents in the first round
HALVINGS = 2  # maximum number of rounds after the first
OVERHEAD = 75  # cost of a feature in addition to its dimensions, in dimensions; measured, like the rest of `cost`


class Span(NamedTuple):
    """Range of values to try, from `low` to `high` inclusive, uniform in the logarithm or in the value."""

    low: float
    high: float
    step: int = 1  # distance of allowed integers; 0 allows any number
    linear: bool = False  # uniform in the value instead of the logarithm


SPANS: dict[str, Span] = {
    "dim": Span(
        4, 64, step=2
    ),  # two labels need one dimension; more change the training, and quantization needs an even number
    "lr": Span(0.05, 2.0, step=0),
    "epoch": Span(2, 25),
    "word_ngrams": Span(1, 3, linear=True),
    "bucket": Span(1 << 16, 1 << 20),
    "min_count": Span(1, 8),
}


class Autotune(BaseModel):
    """Settings of the search: the number of trials, the metric and the searched hyperparameters."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    trials: int = Field(default=20, ge=2, le=500, description="number of trials; the first uses the stage's settings")
    metric: Literal["auc", "log_loss"] = Field(
        default="log_loss",
        description="metric on the training documents that judge trials: the highest area under the ROC curve or the "
        "lowest log loss (of calibrated scores, if the stage calibrates) is best",
    )
    over: tuple[Parameter, ...] = Field(
        default=("dim", "lr", "epoch", "word_ngrams", "bucket", "min_count"),
        min_length=1,
        description="settings to search; all others keep the stage's values",
    )
    validation: float = Field(
        default=0.2, gt=0, lt=1, description="share of the training documents that judges trials and is not trained on"
    )


def candidates(stage_settings: Settings, tune: Autotune, seed: int) -> list[dict[str, float | int]]:
    """Return the settings to try. The first are `stage_settings`.

    Examples
    --------
    >>> stage_settings = {"dim": 32, "lr": 0.1, "epoch": 5, "word_ngrams": 2, "bucket": 200_000, "min_count": 2}
    >>> tune = Autotune(trials=3, over=("lr", "epoch"))
    >>> [(point["lr"], point["epoch"], point["dim"]) for point in candidates(stage_settings, tune, 0)]
    [(0.1, 5, 32), (0.0617, 11, 32), (0.354, 2, 32)]
    """
    points = [dict(stage_settings) for _ in range(tune.trials)]
    for name in (name for name in SPANS if name in tune.over):
        for point, fraction in zip(points[1:], _strata(f"{seed}/autotune/{name}", tune.trials - 1), strict=True):
            point[name] = _within(SPANS[name], fraction)
    return points


def _strata(key: str, count: int) -> list[float]:
    """Return a number from each of `count` equal parts of the unit interval, in an order given by hashes."""
    import xxhash

    def unit(name: str) -> float:
        return (xxhash.xxh3_64_intdigest(f"{key}/{name}".encode()) >> 11) * 2.0**-53

    order = sorted(range(count), key=lambda part: unit(f"order/{part}"))
    return [(part + unit(f"within/{part}")) / count for part in order]


def _within(span: Span, fraction: float) -> float | int:
    if not span.step:
        return float(f"{span.low * (span.high / span.low) ** fraction:.3g}")
    end = span.high + span.step
    value = span.low + (end - span.low) * fraction if span.linear else span.low * (end / span.low) ** fraction
    return min(math.floor(value / span.step) * span.step, int(span.high))


class Rung(NamedTuple):
    """A round of the search: the number of trials, and the share of the documents that each trains on."""

    trials: int
    share: float


def rungs(trials: int, documents: int) -> list[Rung]:
    """Return the rounds of a search: at most three, and so few that the first round has enough documents.

    Examples
    --------
    >>> [(rung.trials, round(rung.share, 3)) for rung in rungs(20, 100_000)]
    [(20, 0.111), (7, 0.333), (3, 1.0)]
    >>> rungs(20, 2000)
    [Rung(trials=20, share=1.0)]
    """
    steps = 0
    while steps < HALVINGS and trials > ETA ** (steps + 1) and documents >= LEAST * ETA ** (steps + 1):
        steps += 1
    return [Rung(-(-trials // ETA**step), float(ETA) ** (step - steps)) for step in range(steps + 1)]


def cost(settings: Settings) -> float:
    """Return the cost of training on a document, in arbitrary units, to compare settings.

    A pass over a document costs the same for reading a word and for each feature. Initialization costs as much as a
    pass.

    Examples
    --------
    >>> cost({"dim": 32, "epoch": 5, "word_ngrams": 2}) / cost({"dim": 32, "epoch": 5, "word_ngrams": 1})
    1.5
    """
    return (settings["epoch"] + 1) * (settings["word_ngrams"] + 1) * (settings["dim"] + OVERHEAD)


def search(
    ctx: "Context", tune: Autotune, stage_settings: Settings, gathered: str, documents: int, *, calibrated: bool
) -> Tuning:
    """Search for the best settings, in rounds of tasks.

    Parameters
    ----------
    ctx
        Context of the stage.
    tune
        Settings of the search.
    stage_settings
        Hyperparameters of the stage.
    gathered
        File with the sample, from `curate.classifiers.sample.gather`.
    documents
        Number of training documents in the sample.
    calibrated
        Whether to compute the log loss of scores that are calibrated by Platt's curve.

    Returns
    -------
    dict
        ``parameters``, the best settings; ``chosen``, the index of their trial; ``metric``; ``predicted_trainings``,
        the `cost` of the search and of the final training, relative to a training with the stage's settings;
        ``rungs``, the rounds; ``trials``, the settings and the metric in each round, None if training diverged.

    Raises
    ------
    RunError
        If training diverges with all settings, or if there are too few documents to train or judge trials.
    """
    fitting = documents * (1 - tune.validation)
    points, rounds = candidates(stage_settings, tune, ctx.seed), rungs(tune.trials, int(fitting))
    remaining = list(range(len(points)))
    values: list[list[float | None]] = [[] for _ in points]
    unit = (1 - tune.validation) / cost(stage_settings)
    mean = unit * sum(map(cost, points)) / len(points)
    later = [sum(rung.trials * rung.share * mean for rung in rounds[index + 1 :]) for index in range(len(rounds))]
    spent = 0.0
    for round_index, rung in enumerate(rounds):
        spent += sum(cost(points[trial]) for trial in remaining) * rung.share * unit
        log.info(
            "%s: autotune, round %d of %d: %d trials on %.0f documents; after it, the search costs as much as %.1f "
            "trainings with the stage's settings, about %.1f in total",
            ctx.artifact.name, round_index + 1, len(rounds), len(remaining), fitting * rung.share,
            spent, spent + later[round_index],
        )  # fmt: skip
        task = partial(_try, tune, gathered, rung.share, calibrated)
        keys = [f"{trial:03d}" for trial in remaining]
        for trial, result in zip(
            remaining,
            ctx.map(task, [points[trial] for trial in remaining], phase=f"tune-{round_index}", keys=keys),
            strict=True,
        ):
            values[trial].append(result["value"])
        if round_index + 1 < len(rounds):
            remaining = _survivors(tune, remaining, values, rounds[round_index + 1].trials)
    best = _ranked(tune, remaining, values)[0]
    if values[best][-1] is None:
        raise RunError(f"{ctx.artifact.name}: training diverged with all {len(points)} settings; lower `lr`")
    return {
        "parameters": points[best],
        "chosen": best,
        "metric": tune.metric,
        "predicted_trainings": {
            "search": round(spent, 3),
            "final": round(cost(points[best]) / cost(stage_settings), 3),
        },
        "rungs": [{"trials": rung.trials, "documents": int(fitting * rung.share)} for rung in rounds],
        "trials": [{"parameters": points[trial], "values": values[trial]} for trial in range(len(points))],
    }


def _ranked(tune: Autotune, trials: Sequence[int], values: Sequence[Sequence[float | None]]) -> list[int]:
    """Sort trials from best to worst. Ties are in the order of trials, and trials that diverged come last."""
    sign = -1 if tune.metric == "auc" else 1

    def key(trial: int) -> tuple[float, int]:
        value = values[trial][-1]
        return (math.inf if value is None else sign * value, trial)

    return sorted(trials, key=key)


def _survivors(
    tune: Autotune, trials: Sequence[int], values: Sequence[Sequence[float | None]], count: int
) -> list[int]:
    """Return the trials that continue, which always include the first trial with the stage's settings."""
    best = _ranked(tune, trials, values)[:count]
    return sorted(best if 0 in best else [0, *best[:-1]])


def _try(tune: Autotune, gathered: str, share: float, calibrated: bool, settings: Settings) -> dict[str, Any]:  # noqa: FBT001 - bound by a partial
    """Train on a share of the documents, and return the metric on the documents that judge trials."""
    import pyarrow.compute as pc

    from curate.classifiers import fasttext
    from curate.classifiers.fidelity import cross_entropy, soft_auc
    from curate.classifiers.sample import TRAIN, write_lines
    from curate.classifiers.sample import scores as scores_of
    from curate.stats import calibration
    from curate.table import read_part

    sample = read_part(gathered, ["part", "fold", "target", "positive", "taken", "line"])
    sample = sample.filter(pc.field("part") == TRAIN)
    edge = 1 - tune.validation
    fitted = sample.filter((pc.field("fold") < edge * share) & pc.field("taken"))
    judges = sample.filter(pc.field("fold") >= edge)
    _two_classes(fitted, "train trials")
    _two_classes(judges, "judge trials by")
    with tempfile.TemporaryDirectory() as folder:
        lines, model = Path(folder, "lines.txt"), Path(folder, "model.bin")
        write_lines(lines, fitted)
        try:
            fasttext.train(lines, model, fasttext_names(settings), quantize=False)
        except fasttext.DivergedError:
            return {"value": None, "documents": len(fitted)}
        scores = scores_of(str(model), judges)
    target = judges.column("target").to_numpy()
    if tune.metric == "auc":
        return {"value": soft_auc(scores, target), "documents": len(fitted)}
    if calibrated:
        scores = calibration.apply(calibration.fit("platt", scores, target), scores)
    return {"value": cross_entropy(scores, target), "documents": len(fitted)}


def _two_classes(sample: "pa.Table", purpose: str) -> None:
    from curate.classifiers.sample import LEAST as FEWEST

    positive = int(sample.column("positive").to_numpy().sum())
    for kind, number in (("positive", positive), ("negative", len(sample) - positive)):
        if number < FEWEST:
            raise RunError(
                f"autotune has only {number} {kind} documents to {purpose}, but needs at least {FEWEST}; "
                "provide more documents"
            )


def fasttext_names(settings: Settings) -> dict[str, float | int]:
    """Return the settings under fastText's names.

    Examples
    --------
    >>> fasttext_names({"dim": 8, "min_count": 2})
    {'dim': 8, 'minCount': 2}
    """
    names = {"word_ngrams": "wordNgrams", "min_count": "minCount"}
    return {names.get(name, name): value for name, value in settings.items()}
