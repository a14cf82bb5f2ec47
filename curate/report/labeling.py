"""A section on labeling functions: what each says and is worth, and what a label model made of the votes."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from operator import itemgetter
from typing import Any

from curate.config.units import format_count, number, percent, plural
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
)
from curate.report.page import Section, Table, table

Facts = Mapping[str, Any]
NAMED = 8  # functions that an alarm names
BINS = 20  # of the histogram of the quality, as `weak` counts it
VOTES = {"-1": "abstain", "0": "drop", "1": "keep"}
PRIOR = {
    "stated": "the stated keep rate",
    "gold": "gold",
    "EM": "the votes alone",
    "none": "nothing: the quality ranks documents, and is no probability",
}


def labeling(part: Sequence[Facts], _: Facts) -> Section:
    """Histogram and shares kept, and tables of the functions, of their outcomes, slices, pairs and gold."""
    tables = [made for stage in part for made in _tables(stage, several=len(part) > 1)]
    lead = (
        "Coverage, overlaps and conflicts are the shares of documents on which a function votes, on which another one "
        "votes too, and on which another one votes otherwise. Accuracy and weight are learned. Changes and nats say "
        "how many decisions would be others without the function, and how far the probabilities would be from these."
    )
    alarms = [alarm for stage in part for alarm in _alarms(stage)]
    charts = [chart for stage in part for chart in _charts(stage)]
    return Section("labeling", "Labeling functions", _finding(part[0]), lead, alarms, charts, tables)


def _finding(stage: Facts) -> str:
    model, decide = stage["model"], stage["decide"]
    kept = sum(counts["keep"] for counts in stage["sources"].values())
    voting = sum(row["voted"] > 0 for row in model["functions"])
    said = f"{voting} of {plural(len(model['functions']), 'labeling function')} vote"
    if decide["from"] is None:
        return f"{said}; there is neither a keep rate nor gold, so the quality ranks documents and decides nothing"
    share = percent(kept, model["documents"])
    return f"{said}; {share} of {plural(model['documents'], 'document')} have a quality of {decide['from']:.3g} or more"


def _alarms(stage: Facts) -> Iterator[str]:
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


def _charts(stage: Facts) -> Iterator[Chart]:
    name, finding = stage["stage"], _finding(stage)
    total: Counter[str] = Counter()
    for counts in stage["sources"].values():
        total.update(counts["histogram"])
    values = [total[f"{position:02d}"] for position in range(BINS)]
    rows = [f"{position / BINS:.2f} to {(position + 1) / BINS:.2f}" for position in range(BINS)]
    panel = Panel("", "documents", rows, [Series("documents", BLUE, values)], list(map(number, values)))
    plot = partial(overlaid, [panel], format_value=lambda value: format_count(round(value)))
    yield draw(f"quality-{name}", f"Documents by {name}_quality.", finding, plot)
    if stage["decide"]["from"] is not None:
        sources = {source: counts for source, counts in stage["sources"].items() if counts["documents"]}
        shares = {source: counts["keep"] / counts["documents"] for source, counts in sources.items()}
        panel = share_panel("", "share of documents", "kept", BLUE, shares)
        caption = f"Documents of each source that {name} keeps."
        yield draw(f"kept-{name}", caption, finding, partial(overlaid, [panel], format_value=percent))
    gold = stage["model"]["gold"] or {}
    bins = {"by the votes alone": gold.get("reliability_before"), "with gold": gold.get("reliability_left_out")}
    if any(bins.values()):
        colors = dict(zip(bins, (ORANGE, BLUE), strict=True))
        curves = [Curve(which, colors[which], _points(found)) for which, found in bins.items()]
        axes = ("mean probability of keep", "share of keep among gold")
        caption = "Gold documents of about the same quality; on the line, a quality is a probability."
        yield draw(f"calibration-{name}", caption, finding, partial(against_diagonal, {name: curves}, axes))


def _points(bins: Sequence[Facts] | None) -> list[tuple[float, float]]:
    return [(found["mean"], found["positive"]) for found in bins or () if found["documents"]]


def _tables(stage: Facts, *, several: bool) -> Iterator[Table]:
    model = stage["model"]
    prefix = f"{stage['stage']}: " if several else ""
    faults = {function["name"]: sum(function["faults"].values()) for function in stage["functions"]}
    name: dict[str, Any] = {"function": itemgetter("name")}
    measures: dict[str, Any] = {
        "coverage": partial(_percent, "coverage"),
        "overlaps": partial(_percent, "overlaps"),
        "conflicts": partial(_percent, "conflicts"),
        "faults": lambda row: number(faults[row["name"]]),
        "accuracy": lambda row: _percent("accuracy", row) if row["voted"] else "none",
        "weight": partial(_figure, "weight"),
        "changes": lambda row: _percent("flipped", row["marginal"]),
        "nats": lambda row: _figure("divergence", row["marginal"]),
    }
    if model["gold"]:
        measures["on gold, 95 %"] = _empirical
        measures["loss without"] = lambda row: _figure("gold_log_loss", row["marginal"], signed=True)
    text = name | {"votes": _polarity}
    yield table(f"{prefix}Functions", model["functions"], text, measures, folded=False)
    yield _outcomes(f"{prefix}What each outcome says", model["functions"])
    if model["pairs"]:
        yield _pairs(f"{prefix}Functions that depend on one another", model["pairs"])
    yield _balance(f"{prefix}Model", stage)
    if model["slices"]:
        rows = [(slice_, row) for slice_, part in model["slices"].items() for row in part["functions"] if row["asked"]]
        text = {stage["slices"] or "slice": itemgetter(0), "function": lambda row: row[1]["name"]}
        figures = {key: partial(_sliced, key) for key in ("coverage", "overlaps", "conflicts")}
        asked = {"documents": lambda row: number(row[1]["asked"])}
        yield table(f"{prefix}Functions by {stage['slices']}", rows, text, asked | figures)


def _percent(key: str, row: Facts) -> str:
    return "none" if row[key] is None else percent(row[key])


def _figure(key: str, row: Facts, *, signed: bool = False) -> str:
    return "none" if row[key] is None else f"{row[key]:+.3f}" if signed else f"{row[key]:.3f}"


def _sliced(key: str, row: tuple[str, Facts]) -> str:
    return _percent(key, row[1])


def _empirical(row: Facts) -> str:
    found = row["empirical"]
    if found is None:
        return "none"
    return f"{percent(found['accuracy'])} ({percent(found['low'])} to {percent(found['high'])}), {found['documents']}"


def _polarity(row: Facts) -> str:
    if row["buckets"]:
        return f"{row['buckets']} buckets"
    return " or ".join(VOTES[str(code)] for code in row["polarity"]) or "never"


def _outcomes(caption: str, functions: Sequence[Facts]) -> Table:
    """Counts, learned probabilities and log-odds of each outcome of each function."""
    rows = [(row, code) for row in functions for code, count in row["outcomes"].items() if count]
    text = {"function": lambda row: row[0]["name"], "outcome": lambda row: _outcome(*row)}
    figures = {
        "documents": lambda row: number(row[0]["outcomes"][row[1]]),
        "of documents to drop": lambda row: percent(row[0]["likelihood"][row[1]][0]),
        "of documents to keep": lambda row: percent(row[0]["likelihood"][row[1]][1]),
        "log-odds of keep": lambda row: f"{row[0]['log_odds'][row[1]]:+.2f}",
    }
    return table(caption, rows, text, figures)


def _outcome(row: Facts, code: str) -> str:
    return f"bucket {int(code) + 1}" if row["buckets"] and code != "-1" else VOTES[code]


def _pairs(caption: str, pairs: Sequence[Facts]) -> Table:
    text = {
        "one": itemgetter("first"),
        "other": itemgetter("second"),
        "they": lambda pair: "are copies: merge them, or drop the costlier one" if pair["copies"] else "depend",
    }
    figures = {
        "correlation beyond the class": partial(_figure, "residual", signed=True),
        "redundancy": partial(_figure, "redundancy"),
        "both vote": partial(_percent, "voted_together"),
        "agreement": partial(_percent, "agreement"),
    }
    return table(caption, pairs, text, figures)


def _balance(caption: str, stage: Facts) -> Table:
    """The model in a few lines, and how it and the vote share do on gold."""
    model, gold = stage["model"], stage["model"]["gold"]
    rows = [
        ("method", model["method"]),
        ("documents", number(model["documents"])),
        ("share to keep", f"{percent(model['class_balance'][1])}, from {PRIOR.get(_origin(model), _origin(model))}"),
        ("functions, repetitions weighed down", f"{model['effective_functions']:.1f}"),
    ]
    if gold:
        rows.append(("gold documents", f"{gold['documents']}, of which {gold['labels'][1]} to keep"))
        named = {"before": "votes alone", "left_out": "corrected, gold left out", "majority": "vote share"}
        for which, what in named.items():
            if gold.get(which):
                figures = gold[which]
                said = f"accuracy {percent(figures['accuracy'])}, log loss {figures['log_loss']:.3f}"
                rows.append((f"{what}, on gold", said))
        correction = gold["correction"] or {"kind": "none"}
        curve = ", then an isotonic curve" if correction.get("isotonic") else ""
        rows.append(("correction by gold", f"{correction['kind']}{curve}"))
    return table(caption, rows, {"what": itemgetter(0), "value": itemgetter(1)}, {})


def _origin(model: Facts) -> str:
    return model["class_balance_from"]
