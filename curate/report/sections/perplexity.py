"""How likely each source is to language models, how documents fall into buckets, and the models' cards."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import accumulate
from operator import itemgetter
from typing import TYPE_CHECKING, TypedDict

from curate.config.units import format_bytes, format_count, number, percent, plural
from curate.language_models.manifest import ModelCard, PerplexityBody, SourceScores, TrainLmBody
from curate.report.charts import (
    BLUE,
    DASHES,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    RED,
    SKY,
    SOURCES,
    WIDE,
    Chart,
    Panel,
    Series,
    draw,
    legend,
    stacked,
)
from curate.report.page import PageSection, PageTable, table
from curate.report.record import RunRecord, StageRecord
from curate.report.section import Report, Section
from curate.stats.manifest import BucketsBody

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BUCKETS = (BLUE, SKY, ORANGE, PURPLE, GREEN, RED)
HEIGHT = 220  # pixels of a histogram
EDGE = 0.995  # share of documents that the histograms' axis holds


class NgramModelFacts(TypedDict):
    """A model of one stage and group, what it was trained on, and its n-grams and discounts by length."""

    stage: str
    group: str
    documents: int
    bytes: int
    rate: float
    sentences: int
    tokens: int
    vocabulary: int
    order: int
    prune: list[int]
    ngrams: list[int]
    ngrams_before_pruning: list[int]
    discounts: list[list[float]]
    fallback_discounts: list[int]


class ScoreFacts(TypedDict):
    """Scores of one stage by source, and the model that gave them."""

    stage: str
    model: str
    sources: dict[str, SourceScores]


class BucketFacts(TypedDict):
    """Buckets of one stage: cuts and sizes by group (a value of the column `by`), documents by source and bucket."""

    stage: str
    column: str
    names: list[str]
    by: str | None
    groups: dict[str, int]
    cuts: dict[str, list[float]]
    sources: dict[str, dict[str, int]]


class PerplexityFacts(TypedDict):
    """Models, scores and buckets of a run."""

    models: list[NgramModelFacts]
    scores: list[ScoreFacts]
    buckets: list[BucketFacts]


def facts(run: RunRecord) -> PerplexityFacts:
    """Models with what they were trained on, scores of each source, and buckets with their cuts."""
    return {
        "models": [model for stage in run.of("train_lm") for model in _models_of(stage)],
        "scores": [
            {"stage": stage.name, "model": model_of(stage), "sources": stage.body(PerplexityBody)["scores"]}
            for stage in run.of("perplexity")
        ],
        "buckets": [_buckets_of(stage) for stage in run.of("buckets")],
    }


def model_of(stage: StageRecord) -> str:
    """The model that a `perplexity` stage uses: the name of a stage, or that it is a file.

    A file enters the fingerprint by its content, so its name is not known.
    """
    return stage.config.get("model") or "a model given by path"


def _models_of(stage: StageRecord) -> list[NgramModelFacts]:
    body = stage.body(TrainLmBody)
    return [_card(stage.name, "" if body["by"] is None else group, card) for group, card in body["models"].items()]


def _card(stage: str, group: str, card: ModelCard) -> NgramModelFacts:
    return {
        "stage": stage,
        "group": group,
        "documents": card["documents"],
        "bytes": card["bytes"],
        "rate": card["rate"],
        "sentences": card["sentences"],
        "tokens": card["tokens"],
        "vocabulary": card["vocabulary"],
        "order": card["order"],
        "prune": card["prune"],
        "ngrams": card["ngrams"],
        "ngrams_before_pruning": card.get("ngrams_before_pruning", []),
        "discounts": card.get("discounts", []),
        "fallback_discounts": card.get("fallback_discounts", []),
    }


def _buckets_of(stage: StageRecord) -> BucketFacts:
    body, config = stage.body(BucketsBody), stage.config
    return {
        "stage": stage.name,
        "column": config["column"],
        "names": config["names"],
        "by": config["by"],
        "groups": body["groups"],
        "cuts": body["cuts"],
        "sources": body["buckets"],
    }


# -- page --------------------------------------------------------------------------------------------------------------


def page(facts: PerplexityFacts, _: Report) -> PageSection:
    """Histograms of bits per byte, shares of buckets, and what the models were trained on."""
    charts = [_histograms(facts["scores"])] if any(_scored(stage) for stage in facts["scores"]) else []
    charts += _shares(facts["buckets"])
    tables = [_scores(facts["scores"])] if facts["scores"] else []
    tables += [_cuts(facts["buckets"])] if facts["buckets"] else []
    tables += [_cards(facts["models"]), _ngrams(facts["models"])] if facts["models"] else []
    return PageSection("perplexity", "Perplexity", _finding(facts), _lead(facts), charts=charts, tables=tables)


def _finding(facts: PerplexityFacts) -> str:
    for stage in facts["scores"]:
        medians = {name: counts["quantiles"]["0.5"] for name, counts in _scored(stage).items()}
        if medians:
            low, high = min(medians, key=medians.__getitem__), max(medians, key=medians.__getitem__)
            ends = f"{low} is the likeliest source, at {medians[low]:.2f} bits per byte in the middle"
            if len(medians) == 1:
                ends = f"{low} has {medians[low]:.2f} bits per byte in the middle"
            else:
                ends += f", and {high} the least likely, at {medians[high]:.2f}"
            return f"To {stage['model']}, {ends}"
    if facts["models"]:
        return f"{plural(len(facts['models']), 'language model')} trained"
    return "Documents are cut into buckets"


def _lead(facts: PerplexityFacts) -> str:
    """What the histograms leave out, and what has no score."""
    said = []
    for stage in facts["scores"]:
        null = sum(counts["null"] for counts in stage["sources"].values())
        if null:
            whole = sum(counts["documents"] for counts in stage["sources"].values())
            said.append(f"{stage['stage']}: {percent(null, whole)} of documents are too short or have no model.")
    return " ".join(said)


def _scored(stage: ScoreFacts) -> dict[str, SourceScores]:
    """Sources that have any score, those with the most documents first."""
    found = {name: counts for name, counts in stage["sources"].items() if counts["scored"]}
    return dict(sorted(found.items(), key=lambda item: -item[1]["scored"]))


def _histograms(stages: Sequence[ScoreFacts]) -> Chart:
    """Outlines of histograms, a colour and a dash for each source."""
    panels = {f"{stage['stage']} (by {stage['model']})": _scored(stage) for stage in stages if _scored(stage)}
    names = list(dict.fromkeys(name for sources in panels.values() for name in sources))
    shown = names[: len(SOURCES)]
    caption = "Documents by bits per byte: the lower, the more like what the model was trained on."
    if len(names) > len(shown):
        caption += f" The {len(shown)} largest sources; the table has all."
    finding = "; ".join(
        f"{title}: " + ", ".join(f"{name} {counts['quantiles']['0.5']:.2f}" for name, counts in sources.items())
        for title, sources in panels.items()
    )
    return draw("bits", caption, f"Medians. {finding}", partial(_outlines, panels, shown))


def _outlines(panels: Mapping[str, Mapping[str, SourceScores]], shown: Sequence[str], width: int) -> "Figure":
    from matplotlib.figure import Figure

    columns = min(2, len(panels)) if width == WIDE else 1
    lines = -(-len(panels) // columns)
    figure = Figure(figsize=(width / 72, lines * HEIGHT / 72), layout="constrained")
    grid = list(figure.subplots(lines, columns, squeeze=False).flat)
    for axis, (title, sources) in zip(grid, panels.items(), strict=False):
        ends = []
        for position, name in enumerate(shown):
            if name not in sources:
                axis.plot([], [], color=SOURCES[position], linestyle=DASHES[position], label=name)
                continue
            histogram = sources[name]["histogram"]
            shares = [count / sources[name]["scored"] for count in histogram["counts"]]
            edges = [bar * histogram["width"] for bar in range(len(shares) + 1)]
            axis.stairs(shares, edges, color=SOURCES[position], linestyle=DASHES[position], linewidth=1.6, label=name)
            reached = next(bar for bar, share in enumerate(accumulate(shares), 1) if share >= EDGE)
            ends.append(edges[reached])
        axis.set_xlim(0, max(ends, default=1))
        axis.set_ylim(bottom=0)
        axis.set_title(title)
        axis.set(xlabel="bits per byte", ylabel="share of documents")
        axis.yaxis.set_major_formatter(lambda value, _: percent(value))
        axis.grid()
    for axis in grid[len(panels) :]:
        axis.set_visible(False)
    legend(figure, grid[0], width, length=2.5)
    return figure


def _shares(stages: Sequence[BucketFacts]) -> list[Chart]:
    """Stacked bars of the buckets of each source; a drawing has up to two stages with buckets of the same names."""
    alike: dict[tuple[str, ...], list[BucketFacts]] = {}
    for stage in stages:
        alike.setdefault(tuple(stage["names"]), []).append(stage)
    pairs = [same[start : start + 2] for same in alike.values() for start in range(0, len(same), 2)]
    return [_stacks(f"buckets-{position}", pair) for position, pair in enumerate(pairs)]


def _stacks(name: str, stages: Sequence[BucketFacts]) -> Chart:
    panels, said = [], []
    unscored = any(counts.get("none") for stage in stages for counts in stage["sources"].values())
    for stage in stages:
        names = [*stage["names"], *(["none"] if unscored else [])]
        colors = [BUCKETS[position % len(BUCKETS)] for position in range(len(stage["names"]))] + [GREY]
        rows = stage["sources"]
        series = [
            Series(bucket, color, [counts.get(bucket, 0) / max(sum(counts.values()), 1) for counts in rows.values()])
            for bucket, color in zip(names, colors, strict=False)
        ]
        panels.append(Panel(f"{stage['stage']}: {stage['column']}", "share of documents", list(rows), series))
        shares = (f"{source} {percent(value)}" for source, value in zip(rows, series[0].values, strict=True))
        said.append(f"{stage['stage']}, {names[0]}: {', '.join(shares)}")
    caption = "Buckets of the documents of each source, from low values to high ones."
    return draw(name, caption, "; ".join(said), partial(stacked, panels))


def _scores(stages: Sequence[ScoreFacts]) -> PageTable:
    rows = [(stage["stage"], stage["model"], *entry) for stage in stages for entry in stage["sources"].items()]
    text = {"stage": itemgetter(0), "model": itemgetter(1), "source": itemgetter(2)}
    columns: dict[str, Callable[[tuple[str, str, str, SourceScores]], str]] = {
        "documents": lambda row: number(row[3]["documents"]),
        "of them scored": lambda row: number(row[3]["scored"]),
        "tokens": lambda row: format_count(row[3]["tokens"]),
        "unknown": lambda row: "none" if row[3]["oov_share"] is None else percent(row[3]["oov_share"]),
        "bits per byte, mean": lambda row: _two_digits(row[3]["mean_bits_per_byte"]),
        "5 %": lambda row: _two_digits(row[3]["quantiles"].get("0.05")),
        "25 %": lambda row: _two_digits(row[3]["quantiles"].get("0.25")),
        "50 %": lambda row: _two_digits(row[3]["quantiles"].get("0.5")),
        "75 %": lambda row: _two_digits(row[3]["quantiles"].get("0.75")),
        "95 %": lambda row: _two_digits(row[3]["quantiles"].get("0.95")),
    }
    return table("Bits per byte and unknown tokens, by source", rows, text, columns)


def _cuts(stages: Sequence[BucketFacts]) -> PageTable:
    rows = [(stage, group, cuts) for stage in stages for group, cuts in sorted(stage["cuts"].items())]
    text: dict[str, Callable[[tuple[BucketFacts, str, list[float]]], str]] = {
        "stage": lambda row: row[0]["stage"],
        "column": lambda row: row[0]["column"],
        "of": lambda row: row[1] if row[0]["by"] else "all documents",
        "buckets": lambda row: ", ".join(row[0]["names"]),
        "cuts": lambda row: ", ".join(f"{cut:,.4g}" for cut in row[2]),
    }
    return table(
        "Where the buckets are cut", rows, text, {"documents": lambda row: number(row[0]["groups"].get(row[1], 0))}
    )


def _cards(models: Sequence[NgramModelFacts]) -> PageTable:
    columns: dict[str, Callable[[NgramModelFacts], str]] = {
        "documents": lambda card: number(card["documents"]),
        "text": lambda card: format_bytes(card["bytes"]),
        "of it taken": lambda card: percent(card["rate"]),
        "sentences": lambda card: number(card["sentences"]),
        "tokens": lambda card: number(card["tokens"]),
        "vocabulary": lambda card: number(card["vocabulary"]),
    }
    return table("Models, and what they were trained on", models, {"model": _title}, columns)


def _ngrams(models: Sequence[NgramModelFacts]) -> PageTable:
    rows = [(card, length) for card in models for length in range(1, len(card["ngrams"]) + 1)]
    columns: dict[str, Callable[[tuple[NgramModelFacts, int]], str]] = {
        "n": lambda row: number(row[1]),
        "n-grams": lambda row: number(row[0]["ngrams"][row[1] - 1]),
        "before pruning": lambda row: _counted(row[0]["ngrams_before_pruning"], row[1]),
        "discounts of counts 1, 2, 3 and more": lambda row: _discounts(row[0], row[1]),
    }
    return table("Models by length of n-grams", rows, {"model": lambda row: _title(row[0])}, columns)


def _title(card: NgramModelFacts) -> str:
    return f"{card['stage']} ({card['group']})" if card["group"] else card["stage"]


def _counted(counts: Sequence[int], length: int) -> str:
    return number(counts[length - 1]) if counts else "not known"


def _discounts(card: NgramModelFacts, length: int) -> str:
    if not card["discounts"]:
        return "not known"
    fixed = " (fixed)" if length in card["fallback_discounts"] else ""
    return ", ".join(f"{value:.3f}" for value in card["discounts"][length - 1]) + fixed


def _two_digits(value: float | None) -> str:
    return "none" if value is None else f"{value:.2f}"


SECTION = Section("perplexity", 70, facts, page, needs=("train_lm", "perplexity", "buckets"))
