"""Labeling functions: what each says and is worth, and what a label model made of the votes."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from operator import itemgetter

from curate.config.units import number, percent, plural
from curate.report.charts import (
    BLUE,
    ORANGE,
    Chart,
    Curve,
    Panel,
    Series,
    against_diagonal,
    draw,
    overlaid,
    share_panel,
    whole,
)
from curate.report.page import PageSection, PageTable, table
from curate.report.record import RunRecord
from curate.report.section import Report, Section
from curate.report.trained import curve_points
from curate.weak.manifest import (
    CorrectionFacts,
    DependentPair,
    FunctionRow,
    GoldMeasures,
    ModelSummary,
    SliceRow,
    WeakBody,
    WeakFacts,
)

NAMED = 8  # functions that an alarm names
BINS = 20  # of the histogram of the quality, as `weak` counts it
VOTES = {"-1": "abstain", "0": "drop", "1": "keep"}
PRIOR = {
    "stated": "the stated keep rate",
    "gold": "gold",
    "EM": "the votes alone",
    "none": "nothing: the quality ranks documents, and is no probability",
}


class LabelingFacts(WeakFacts):
    """What one `weak` stage reports."""

    stage: str


def facts(run: RunRecord) -> list[LabelingFacts]:
    """Per label model: its functions, what it learned of each, and the quality and decisions by source."""
    return [{**stage.body(WeakBody)["weak"], "stage": stage.name} for stage in run.of("weak")]


# -- page --------------------------------------------------------------------------------------------------------------


def page(facts: Sequence[LabelingFacts], _: Report) -> PageSection:
    """Histogram and shares kept, and tables of the functions, of their outcomes, slices, pairs and gold."""
    tables = [made for stage in facts for made in _tables(stage, several=len(facts) > 1)]
    lead = (
        "Coverage, overlaps and conflicts are the shares of documents on which a function votes, on which another one "
        "votes too, and on which another one votes otherwise. Accuracy and weight are learned. Changes and nats say "
        "how many decisions would be others without the function, and how far the probabilities would be from these."
    )
    alarms = [alarm for stage in facts for alarm in _alarms(stage)]
    charts = [chart for stage in facts for chart in _charts(stage)]
    return PageSection("labeling", "Labeling functions", _finding(facts[0]), lead, alarms, charts, tables)


def _finding(stage: LabelingFacts) -> str:
    model, decide = stage["model"], stage["decide"]
    kept = sum(counts["keep"] for counts in stage["sources"].values())
    voting = sum(row["voted"] > 0 for row in model["functions"])
    said = f"{voting} of {plural(len(model['functions']), 'labeling function')} vote"
    if decide["from"] is None:
        return f"{said}; there is neither a keep rate nor gold, so the quality ranks documents and decides nothing"
    share = percent(kept, model["documents"])
    return f"{said}; {share} of {plural(model['documents'], 'document')} have a quality of {decide['from']:.3g} or more"


def _alarms(stage: LabelingFacts) -> Iterator[str]:
    """Faults, what the model warns of, gold that is not found, and gold by which the vote share is better."""
    for function in stage["functions"]:
        counts = Counter(function["faults"])
        if counts:
            (why, _), *others = counts.most_common()
            more = f", and {plural(len(others), 'other reason')}" if others else ""
            many = plural(counts.total(), "document")
            yield f"{stage['stage']}: {function['name']} failed on {many}, which count as abstained: {why}{more}."
    silent = [row["name"] for row in stage["model"]["functions"] if not row["voted"]]
    if silent:
        rest = f", and {len(silent) - NAMED} more" if len(silent) > NAMED else ""
        yield f"{stage['stage']}: no votes from {', '.join(silent[:NAMED])}{rest}."
    never = {f"{name} never votes" for name in silent}
    yield from (f"{stage['stage']}: {said}." for said in stage["model"]["warnings"] if said not in never)
    gold = stage["gold"]
    if gold and gold["found"] < gold["answers"]:
        answers = plural(gold["answers"], "gold document")
        yield f"{stage['stage']}: only {number(gold['found'])} of {answers} are in this run."
    judged = stage["judged"] or stage["sources"]
    nobody = sum(counts["not_asked"] for source, counts in stage["sources"].items() if source in judged)
    if nobody:
        yield f"{stage['stage']}: {plural(nobody, 'document')} have no quality: no function was asked about them."


def _charts(stage: LabelingFacts) -> Iterator[Chart]:
    name, finding = stage["stage"], _finding(stage)
    total: Counter[str] = Counter()
    for counts in stage["sources"].values():
        total.update(counts["histogram"])
    values = [total[f"{position:02d}"] for position in range(BINS)]
    rows = [f"{position / BINS:.2f} to {(position + 1) / BINS:.2f}" for position in range(BINS)]
    panel = Panel("", "documents", rows, [Series("documents", BLUE, values)], list(map(number, values)))
    plot = partial(overlaid, [panel], format_value=whole)
    yield draw(f"quality-{name}", f"Documents by {name}_quality.", finding, plot)
    if stage["decide"]["from"] is not None:
        sources = {source: counts for source, counts in stage["sources"].items() if counts["documents"]}
        shares = {source: counts["keep"] / counts["documents"] for source, counts in sources.items()}
        panel = share_panel("", "share of documents", "kept", BLUE, shares)
        caption = f"Documents of each source that {name} keeps."
        yield draw(f"kept-{name}", caption, finding, partial(overlaid, [panel], format_value=percent))
    gold = stage["model"]["gold"]
    bins = {
        "by the votes alone": gold["reliability_before"] if gold else None,
        "with gold": gold.get("reliability_left_out") if gold else None,
    }
    if any(bins.values()):
        colors = dict(zip(bins, (ORANGE, BLUE), strict=True))
        curves = [Curve(which, colors[which], curve_points(found or [])) for which, found in bins.items()]
        axes = ("mean probability of keep", "share of keep among gold")
        caption = "Gold documents of about the same quality; on the line, a quality is a probability."
        yield draw(f"calibration-{name}", caption, finding, partial(against_diagonal, {name: curves}, axes))


def _tables(stage: LabelingFacts, *, several: bool) -> Iterator[PageTable]:
    model = stage["model"]
    prefix = f"{stage['stage']}: " if several else ""
    yield _functions(f"{prefix}Functions", stage)
    yield _outcomes(f"{prefix}What each outcome says", model["functions"])
    if model["pairs"]:
        yield _pairs(f"{prefix}Functions that depend on one another", model["pairs"])
    yield _balance(f"{prefix}Model", model)
    if model["slices"]:
        yield _slices(f"{prefix}Functions by {stage['slices']}", stage)


def _functions(caption: str, stage: LabelingFacts) -> PageTable:
    """Coverage, accuracy and worth of each function."""
    faults = {function["name"]: sum(function["faults"].values()) for function in stage["functions"]}
    columns: dict[str, Callable[[FunctionRow], str]] = {
        "coverage": lambda row: _percent(row["coverage"]),
        "overlaps": lambda row: _percent(row["overlaps"]),
        "conflicts": lambda row: _percent(row["conflicts"]),
        "faults": lambda row: number(faults[row["name"]]),
        "accuracy": lambda row: _percent(row["accuracy"] if row["voted"] else None),
        "weight": lambda row: _figure(row["weight"]),
        "changes": lambda row: _percent(row["marginal"]["flipped"]),
        "nats": lambda row: _figure(row["marginal"]["divergence"]),
    }
    if stage["model"]["gold"]:
        columns["on gold, 95 %"] = _empirical
        columns["loss without"] = lambda row: _signed(row["marginal"]["gold_log_loss"])
    text: dict[str, Callable[[FunctionRow], str]] = {"function": lambda row: row["name"], "votes": _polarity}
    return table(caption, stage["model"]["functions"], text, columns, folded=False)


def _slices(caption: str, stage: LabelingFacts) -> PageTable:
    """Votes of each function in each slice."""
    rows = [(name, row) for name, part in stage["model"]["slices"].items() for row in part["functions"] if row["asked"]]
    text: dict[str, Callable[[tuple[str, SliceRow]], str]] = {
        stage["slices"] or "slice": lambda row: row[0],
        "function": lambda row: row[1]["name"],
    }
    columns: dict[str, Callable[[tuple[str, SliceRow]], str]] = {
        "documents": lambda row: number(row[1]["asked"]),
        "coverage": lambda row: _percent(row[1]["coverage"]),
        "overlaps": lambda row: _percent(row[1]["overlaps"]),
        "conflicts": lambda row: _percent(row[1]["conflicts"]),
    }
    return table(caption, rows, text, columns)


def _percent(share: float | None) -> str:
    return "none" if share is None else percent(share)


def _figure(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}"


def _signed(value: float | None) -> str:
    return "none" if value is None else f"{value:+.3f}"


def _empirical(row: FunctionRow) -> str:
    found = row["empirical"]
    if found is None:
        return "none"
    return f"{percent(found['accuracy'])} ({percent(found['low'])} to {percent(found['high'])}), {found['documents']}"


def _polarity(row: FunctionRow) -> str:
    if row["buckets"]:
        return f"{row['buckets']} buckets"
    return " or ".join(VOTES[str(code)] for code in row["polarity"]) or "never"


def _outcomes(caption: str, functions: Sequence[FunctionRow]) -> PageTable:
    """Counts, learned probabilities and log-odds of each outcome of each function."""
    rows = [(row, code) for row in functions for code, count in row["outcomes"].items() if count]
    text: dict[str, Callable[[tuple[FunctionRow, str]], str]] = {
        "function": lambda row: row[0]["name"],
        "outcome": lambda row: _outcome(*row),
    }
    columns: dict[str, Callable[[tuple[FunctionRow, str]], str]] = {
        "documents": lambda row: number(row[0]["outcomes"][row[1]]),
        "of documents to drop": lambda row: percent(row[0]["likelihood"][row[1]][0]),
        "of documents to keep": lambda row: percent(row[0]["likelihood"][row[1]][1]),
        "log-odds of keep": lambda row: f"{(row[0]['log_odds'] or {})[row[1]]:+.2f}",
    }
    return table(caption, rows, text, columns)


def _outcome(row: FunctionRow, code: str) -> str:
    return f"bucket {int(code) + 1}" if row["buckets"] and code != "-1" else VOTES[code]


def _pairs(caption: str, pairs: Sequence[DependentPair]) -> PageTable:
    text: dict[str, Callable[[DependentPair], str]] = {
        "one": lambda pair: pair["first"],
        "other": lambda pair: pair["second"],
        "they": lambda pair: "are copies: merge them, or drop the costlier one" if pair["copies"] else "depend",
    }
    columns: dict[str, Callable[[DependentPair], str]] = {
        "correlation beyond the class": lambda pair: _signed(pair["residual"]),
        "redundancy": lambda pair: _figure(pair["redundancy"]),
        "both vote": lambda pair: _percent(pair["voted_together"]),
        "agreement": lambda pair: _percent(pair["agreement"]),
    }
    return table(caption, pairs, text, columns)


def _balance(caption: str, model: ModelSummary) -> PageTable:
    """The model in a few lines, and how it and the vote share do on gold."""
    gold, origin = model["gold"], model["class_balance_from"]
    rows = [
        ("method", model["method"]),
        ("documents", number(model["documents"])),
        ("share to keep", f"{percent(model['class_balance'][1])}, from {PRIOR.get(origin, origin)}"),
        ("functions, repetitions weighed down", f"{model['effective_functions']:.1f}"),
    ]
    if gold:
        rows.append(("gold documents", f"{gold['documents']}, of which {gold['labels'][1]} to keep"))
        named = {
            "votes alone": gold["before"],
            "corrected, gold left out": gold.get("left_out"),
            "vote share": gold["majority"],
        }
        rows += [(f"{what}, on gold", _on_gold(figures)) for what, figures in named.items() if figures]
        rows.append(("correction by gold", _correction(gold["correction"])))
    return table(caption, rows, {"what": itemgetter(0), "value": itemgetter(1)}, {})


def _on_gold(figures: GoldMeasures) -> str:
    return f"accuracy {_percent(figures['accuracy'])}, log loss {_figure(figures['log_loss'])}"


def _correction(correction: CorrectionFacts | None) -> str:
    if correction is None:
        return "none"
    return f"{correction['kind']}, then an isotonic curve" if correction["isotonic"] else correction["kind"]


SECTION = Section("labeling", 100, facts, page, needs=("weak",))
