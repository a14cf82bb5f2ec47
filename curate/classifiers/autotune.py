"""A search for good settings of a classifier that stops by a number of trials, not by the clock.

fastText's own autotune ends when its time is up, so what it finds depends on the machine. Here the settings that are
tried are a Latin hypercube (McKay, Beckman and Conover 1979) over ranges that are even in the logarithm, drawn by
hashes of the seed; the first trial is what the stage is given. All begin on a share of the training documents, and the
best third goes on to three times as many (successive halving: Jamieson and Talwalkar 2016, arXiv 1502.07943), to the
end of which the first trial always goes along, so that the gain over it is known. Trials are judged on training
documents that are kept from all of them; those that calibrate and measure play no part. Trials are tasks of the engine
and know nothing of one another: the answer is the same for any number of workers.
"""

import logging
import math
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from curate.errors import RunError

if TYPE_CHECKING:
    import pyarrow as pa

    from curate.engine.context import Context

log = logging.getLogger("curate")

Parameter = Literal["dim", "lr", "epoch", "word_ngrams", "bucket", "min_count"]
Settings = Mapping[str, float | int]
ETA = 3  # one trial in so many goes on, with so many times the documents
LEAST = 1000  # documents of the smallest share that is worth training on
HALVINGS = 2
OVERHEAD = 75  # what a feature costs beside its dimensions, in dimensions: measured, as the rest of `cost`


class Span(NamedTuple):
    """Values that are tried: from `low` to `high`, both included, evenly in the logarithm or in the value itself."""

    low: float
    high: float
    step: int = 1  # of whole numbers; 0 for any number
    linear: bool = False


SPANS: dict[str, Span] = {
    "dim": Span(4, 64, step=2),  # two labels need one; more change how training goes, and quantizing asks for pairs
    "lr": Span(0.05, 2.0, step=0),
    "epoch": Span(2, 25),
    "word_ngrams": Span(1, 3, linear=True),
    "bucket": Span(1 << 16, 1 << 20),
    "min_count": Span(1, 8),
}


class Autotune(BaseModel):
    """How many settings are tried, and what makes one better than another."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    trials: int = Field(default=20, ge=2, le=500, description="settings that are tried, those of the stage first")
    metric: Literal["auc", "log_loss"] = Field(
        default="log_loss",
        description="what is best on the training documents kept from all trials: the greatest area under the ROC "
        "curve, or the least log loss (of calibrated scores, if the stage calibrates)",
    )
    over: tuple[Parameter, ...] = Field(
        default=("dim", "lr", "epoch", "word_ngrams", "bucket", "min_count"),
        min_length=1,
        description="what is searched; all else stays as the stage has it",
    )
    validation: float = Field(
        default=0.2, gt=0, lt=1, description="share of the training documents that judges trials, and trains none"
    )


def candidates(given: Settings, tune: Autotune, seed: int) -> list[dict[str, float | int]]:
    """The settings that are tried, those that are given first.

    Examples
    --------
    >>> given = {"dim": 32, "lr": 0.1, "epoch": 5, "word_ngrams": 2, "bucket": 200_000, "min_count": 2}
    >>> [(c["lr"], c["epoch"], c["dim"]) for c in candidates(given, Autotune(trials=3, over=("lr", "epoch")), 0)]
    [(0.1, 5, 32), (0.0617, 11, 32), (0.354, 2, 32)]
    """
    found = [dict(given) for _ in range(tune.trials)]
    for name in (name for name in SPANS if name in tune.over):
        for point, place in zip(found[1:], _strata(f"{seed}/autotune/{name}", tune.trials - 1), strict=True):
            point[name] = _within(SPANS[name], place)
    return found


def _strata(key: str, count: int) -> list[float]:
    """A number from each of `count` equal parts of the unit interval, in the order of hashes."""
    import xxhash

    def unit(what: str) -> float:
        return (xxhash.xxh3_64_intdigest(f"{key}/{what}".encode()) >> 11) * 2.0**-53

    order = sorted(range(count), key=lambda part: unit(f"order/{part}"))
    return [(part + unit(f"within/{part}")) / count for part in order]


def _within(span: Span, place: float) -> float | int:
    if not span.step:
        return float(f"{span.low * (span.high / span.low) ** place:.3g}")
    end = span.high + span.step
    value = span.low + (end - span.low) * place if span.linear else span.low * (end / span.low) ** place
    return min(math.floor(value / span.step) * span.step, int(span.high))


class Rung(NamedTuple):
    """A round of the search: so many trials, each on this share of the documents."""

    trials: int
    share: float


def rungs(trials: int, documents: int) -> list[Rung]:
    """The rounds of a search; as many as leave the first enough documents, and three at most.

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
    """What training on a document costs, in units that compare settings.

    A pass costs something for each word (reading it) and as much for each feature; beginning is worth a pass.

    Examples
    --------
    >>> cost({"dim": 32, "epoch": 5, "word_ngrams": 2}) / cost({"dim": 32, "epoch": 5, "word_ngrams": 1})
    1.5
    """
    return (settings["epoch"] + 1) * (settings["word_ngrams"] + 1) * (settings["dim"] + OVERHEAD)


def search(
    ctx: "Context", tune: Autotune, given: Settings, gathered: str, documents: int, *, calibrated: bool
) -> dict[str, Any]:
    """Try settings, in rounds of tasks.

    Parameters
    ----------
    ctx
        Of the stage.
    tune, given
        How to search, and the settings that the stage has.
    gathered
        The sample, from `curate.classifiers.sample.gather`.
    documents
        How many of it training takes.
    calibrated
        Whether the log loss is that of scores calibrated by Platt's curve.

    Returns
    -------
    dict
        ``parameters``, the best; ``chosen``, its trial; ``metric``; ``predicted_trainings``, what the search was to
        cost, and the training with the best settings, in trainings with the given ones (`cost`); ``rungs`` and
        ``trials``: settings and, by rung, their measure, None where training diverged.

    Raises
    ------
    RunError
        No settings can be trained with, or there is nothing to judge them by.
    """
    fitting = documents * (1 - tune.validation)
    tried, rounds = candidates(given, tune, ctx.seed), rungs(tune.trials, int(fitting))
    alive = list(range(len(tried)))
    values: list[list[float | None]] = [[] for _ in tried]
    unit = (1 - tune.validation) / cost(given)
    mean = unit * sum(map(cost, tried)) / len(tried)
    later = [sum(rung.trials * rung.share * mean for rung in rounds[place + 1 :]) for place in range(len(rounds))]
    spent = 0.0
    for place, rung in enumerate(rounds):
        spent += sum(cost(tried[trial]) for trial in alive) * rung.share * unit
        log.info(
            "%s: autotune, round %d of %d: %d trials on %.0f documents; up to its end as much work as %.1f trainings "
            "with the settings given, about %.1f in all",
            ctx.artifact.name, place + 1, len(rounds), len(alive), fitting * rung.share, spent, spent + later[place],
        )  # fmt: skip
        task = partial(_try, tune, gathered, rung.share, calibrated)
        keys = [f"{trial:03d}" for trial in alive]
        for trial, found in zip(
            alive, ctx.map(task, [tried[trial] for trial in alive], phase=f"tune-{place}", keys=keys), strict=True
        ):
            values[trial].append(found["value"])
        if place + 1 < len(rounds):
            alive = _survivors(tune, alive, values, rounds[place + 1].trials)
    best = _ranked(tune, alive, values)[0]
    if values[best][-1] is None:
        raise RunError(f"{ctx.artifact.name}: training diverged with all settings that were tried; lower `lr`")
    return {
        "parameters": tried[best],
        "chosen": best,
        "metric": tune.metric,
        "predicted_trainings": {"search": round(spent, 3), "final": round(cost(tried[best]) / cost(given), 3)},
        "rungs": [{"trials": rung.trials, "documents": int(fitting * rung.share)} for rung in rounds],
        "trials": [{"parameters": tried[trial], "values": values[trial]} for trial in range(len(tried))],
    }


def _ranked(tune: Autotune, alive: Sequence[int], values: Sequence[Sequence[float | None]]) -> list[int]:
    """Trials from the best on; of equal ones the first, and last those that diverged."""
    sign = -1 if tune.metric == "auc" else 1

    def key(trial: int) -> tuple[float, int]:
        value = values[trial][-1]
        return (math.inf if value is None else sign * value, trial)

    return sorted(alive, key=key)


def _survivors(tune: Autotune, alive: Sequence[int], values: Sequence[Sequence[float | None]], count: int) -> list[int]:
    """Those that go on, the settings given always among them."""
    best = _ranked(tune, alive, values)[:count]
    return sorted(best if 0 in best else [0, *best[:-1]])


def _try(tune: Autotune, gathered: str, share: float, calibrated: bool, settings: Settings) -> dict[str, Any]:  # noqa: FBT001 - bound by a partial
    """Train on a share of the documents and judge."""
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


def _two_classes(sample: "pa.Table", what: str) -> None:
    from curate.classifiers.sample import LEAST as FEWEST

    positive = int(sample.column("positive").to_numpy().sum())
    for kind, number in (("positive", positive), ("negative", len(sample) - positive)):
        if number < FEWEST:
            raise RunError(f"autotune has only {number} {kind} documents to {what}; give it more documents")


def fasttext_names(settings: Settings) -> dict[str, float | int]:
    """Settings under the names that the library has for them.

    Examples
    --------
    >>> fasttext_names({"dim": 8, "min_count": 2})
    {'dim': 8, 'minCount': 2}
    """
    names = {"word_ngrams": "wordNgrams", "min_count": "minCount"}
    return {names.get(name, name): value for name, value in settings.items()}
