"""Cuts for the signals of documents, proposed by comparing a good corpus with a bad one.

A corpus is a finished run, or files that are read and measured here, in a run directory of their own. Columns are read
one at a time; `curate.stats.separation` holds the method.
"""

import fnmatch
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curate import storage
from curate.config.units import number, percent, plural
from curate.config.yaml import dump
from curate.errors import ConfigError, Problem, RunError, nearest
from curate.pipeline import Pipeline
from curate.registry import stage_type
from curate.report.histograms import Compared, section
from curate.report.page import Tile, compose
from curate.report.record import RunRecord, StageRecord
from curate.stage import Annotator
from curate.stats.separation import ALPHA, Chosen, ScoreCut, Signal, Values, choose
from curate.stats.separation import compare as compare_signals
from curate.table import Table, read_part

JSON, STANZA, PAGE = "thresholds.json", "thresholds.yaml", "thresholds.html"
SHOWN = 24  # histograms on the page
MEASURED: Mapping[str, Mapping[str, Any]] = {"size": {}, "heuristics": {}, "information": {}}
"""Stages that measure files which are not a finished run."""
SIDES = ("good", "bad")


@dataclass(frozen=True)
class Corpus:
    """Measured documents.

    Parameters
    ----------
    name
        What the person called it.
    table
        Documents and the sidecars of their annotators.
    owners
        The stage that measured each signal.
    """

    name: str
    table: Table
    owners: Mapping[str, StageRecord]

    @cached_property
    def types(self) -> dict[str, pa.DataType]:
        """Types of the signals: columns of numbers and of truth values."""
        shard = self.table.shards[0].name if self.table.shards else None
        types: dict[str, pa.DataType] = {}
        for stage in dict.fromkeys(self.owners.values()):
            if shard is not None:
                with pq.ParquetFile(storage.open_input(stage.artifact.part(shard))) as file:
                    types |= {field.name: field.type for field in file.schema_arrow}
        return {name: types[name] for name in self.owners if name in types and _is_signal(types[name])}

    def read(self, column: str) -> Values:
        """Values of a signal, shape (documents,), NaN for null."""
        artifact = self.owners[column].artifact
        parts = [read_part(artifact.part(shard.name), [column]).column(0) for shard in self.table.shards]
        chunks = [np.asarray(part.cast(pa.float64()).fill_null(np.nan), np.float64) for part in map(_number, parts)]
        return np.concatenate(chunks) if chunks else np.zeros(0)


@dataclass(frozen=True)
class Comparison:
    """What `compare_corpora` finds.

    Parameters
    ----------
    good, bad
        The corpora.
    max_good_loss
        Share of the good documents that may be lost.
    signals
        Each signal by itself.
    chosen
        Rules that go together.
    left_out
        Signals that could not be compared, and why.
    """

    good: Corpus
    bad: Corpus
    max_good_loss: float
    signals: Sequence[Signal]
    chosen: Sequence[Chosen]
    left_out: Mapping[str, str]

    def rules(self) -> dict[str, str]:
        """The chosen rules as `select` takes them."""
        return {_rule_name(rule): self.condition(rule.name, rule.cut) for rule in self.chosen}

    def stanza(self) -> str:
        """The chosen rules as YAML to paste under ``stages``."""
        return dump({"select": {"drop": self.rules()}})

    def condition(self, column: str, cut: ScoreCut) -> str:
        """A cut as SQL."""
        if pa.types.is_boolean(self.good.types[column]):
            return f"{column} = {'TRUE' if cut.side == '>' else 'FALSE'}"
        return f"{column} {cut.side} {_plain(cut.threshold)}"

    def totals(self) -> tuple[int, int]:
        """Documents of the good and of the bad corpus."""
        return self.good.table.rows, self.bad.table.rows

    def account(self) -> dict[str, Any]:
        """Content of ``thresholds.json``."""
        good, bad = self.totals()
        return {
            "good": {"name": self.good.name, "documents": good},
            "bad": {"name": self.bad.name, "documents": bad},
            "max_good_loss": self.max_good_loss,
            "alpha": ALPHA,
            "signals": [self._signal(signal) for signal in self.signals],
            "rules": [
                {"name": _rule_name(rule), "when": self.condition(*rule), **_shares(rule.cut, good, bad)}
                for rule in self.chosen
            ],
            "together": _shares(self.together(), good, bad),
            "left_out": dict(self.left_out),
        }

    def together(self) -> ScoreCut:
        """Documents that the chosen rules remove together; the side and the threshold mean nothing."""
        return ScoreCut("<", 0.0, sum(rule.cut.bad for rule in self.chosen), sum(rule.cut.good for rule in self.chosen))

    def _signal(self, signal: Signal) -> dict[str, Any]:
        good, bad = self.totals()
        found: dict[str, Any] = {"column": signal.name, "when": None, "auc": None, "ks": None}
        if signal.separation:
            found |= {"auc": round(signal.separation.auc, 6), "ks": round(signal.separation.ks, 6)}
        if signal.cut:
            found |= {"when": self.condition(signal.name, signal.cut), **_shares(signal.cut, good, bad)}
        return found | {"good_null": signal.good_null / (good or 1), "bad_null": signal.bad_null / (bad or 1)}


@dataclass(frozen=True)
class ThresholdsRequest:
    """What the command line asks for.

    Parameters
    ----------
    paths
        The good and the bad corpus: a run's directory, or files, folders or globs.
    out
        Folder for run directories.
    pipelines
        What has to run first: for each corpus of files, the pipeline that measures them.
    """

    paths: Mapping[str, str]
    out: str
    pipelines: Mapping[str, Pipeline]


def request_of(good: str, bad: str, out: str, text: str = "text", workers: int | None = None) -> ThresholdsRequest:
    """What has to be done to compare two corpora.

    Parameters
    ----------
    good, bad
        A run's directory, or files, folders or globs.
    out
        Folder for run directories.
    text
        Field of the text.
    workers
        Processes; one per core unless given.

    Raises
    ------
    ConfigError
        With every problem of both.
    """
    paths: dict[str, str] = dict(zip(SIDES, (good, bad), strict=True))
    pipelines: dict[str, Pipeline] = {}
    problems: list[Problem] = []
    for side, path in paths.items():
        if any(storage.exists(f"{path.rstrip('/')}/{inner}run.json") for inner in ("", "run/")):
            continue
        source = re.sub(r"[^\w.+-]+", "_", path.rstrip("/").rpartition("/")[2]).strip("._+-") or side
        stages = {"read": {"sources": {source: {"path": path, "text": text}}}, **MEASURED}
        engine = {} if workers is None else {"workers": workers}
        try:
            pipelines[side] = Pipeline.from_mapping(
                {"run": {"root": f"{out}/{side}"}, "engine": engine, "stages": stages}
            )
        except ConfigError as error:
            problems += [_as_option(problem, side) for problem in error.problems]
    if problems:
        raise ConfigError(list(dict.fromkeys(problems)))
    return ThresholdsRequest(paths, out, pipelines)


def _as_option(problem: Problem, side: str) -> Problem:
    """A problem of the pipeline as one of what was given for it."""
    named = {"text": f"--text of {side.upper()}", "workers": "--workers"}
    field = str(problem.where[-1]) if problem.where else ""
    return Problem((named.get(field, side.upper()),), problem.message, problem.hint)


def compare(request: ThresholdsRequest, max_good_loss: float, ignore: Sequence[str] = ()) -> Comparison:
    """Compare the signals that the two corpora have in common, once the request's pipelines have run.

    Parameters
    ----------
    request
        The corpora.
    max_good_loss
        Share of the good documents that may be lost.
    ignore
        Signals that are left out; ``*`` stands for any characters.

    Raises
    ------
    ConfigError
        What is to be ignored is not there.
    RunError
        A corpus has no documents, or they have no signal in common.
    """
    good, bad = (
        measured(request.pipelines[side].root if side in request.pipelines else path, path)
        for side, path in request.paths.items()
    )
    problems = [
        Problem(("--ignore",), f"there is no signal {pattern!r}", nearest(pattern, {*good.types, *bad.types}))
        for pattern in ignore
        if not fnmatch.filter([*good.types, *bad.types], pattern)
    ]
    if problems:
        raise ConfigError(problems)
    left_out = {
        name: f"only {side} has it"
        for side, own, other in (("GOOD", good, bad), ("BAD", bad, good))
        for name in own.types
        if name not in other.types
    }
    names = []
    for name in good.types:
        if name in left_out or any(fnmatch.fnmatchcase(name, pattern) for pattern in ignore):
            continue
        if _settings(good.owners[name]) != _settings(bad.owners[name]):
            left_out[name] = "measured with other settings or by another version"
        else:
            names.append(name)
    if not names:
        raise RunError(f"{good.name} and {bad.name} have no signal in common")

    def read(column: str) -> tuple[Values, Values]:
        return good.read(column), bad.read(column)

    signals = compare_signals(names, read, max_good_loss)
    candidates = sorted((signal.name for signal in signals if signal.cut), key=names.index)
    chosen = choose(candidates, read, max_good_loss, 2 * len(names))
    return Comparison(good, bad, max_good_loss, signals, chosen, left_out)


def write(comparison: Comparison, out: str) -> None:
    """Write ``thresholds.json``, ``thresholds.yaml`` and a page of histograms into a folder."""
    storage.write_json(f"{out}/{JSON}", comparison.account())
    with storage.replacing(f"{out}/{STANZA}") as file:
        file.write(comparison.stanza().encode())
    with storage.replacing(f"{out}/{PAGE}") as file:
        file.write(page(comparison).encode())


def page(comparison: Comparison) -> str:
    """Histograms of the signals that tell the corpora apart, best first."""
    good, bad = comparison.totals()
    removed = comparison.together()
    compared = (
        Compared(
            signal.name,
            comparison.condition(signal.name, signal.cut),
            comparison.good.read(signal.name),
            comparison.bad.read(signal.name),
            signal.cut.good / good,
            signal.cut.bad / bad,
        )
        for signal in comparison.signals
        if signal.cut
    )
    rules = ", ".join(comparison.rules().values()) or "none"
    return compose(
        title="Thresholds",
        about=f"GOOD {comparison.good.name} · BAD {comparison.bad.name}",
        verdict=f"Rules that go together: {rules}. They drop {percent(removed.bad, bad)} of BAD "
        f"and {percent(removed.good, good)} of GOOD.",
        tiles=[Tile("GOOD", number(good), "documents"), Tile("BAD", number(bad), "documents")],
        sections=[section(each) for each in islice(compared, SHOWN)],
        colophon=f"All signals are in {JSON}, the rules in {STANZA}, beside this page.",
    )


def lines(comparison: Comparison) -> Iterator[str]:
    """The comparison for a terminal: a table of signals, and the rules that go together."""
    good, bad = comparison.totals()
    yield f"GOOD {comparison.good.name}: {number(good)} documents"
    yield f"BAD  {comparison.bad.name}: {number(bad)} documents"
    found = [signal for signal in comparison.signals if signal.cut and signal.separation]
    head = ("signal", "drop when", "bad removed", "good lost", "AUC", "KS", "null good, bad")
    rows = [
        (
            signal.name,
            comparison.condition(signal.name, signal.cut).removeprefix(f"{signal.name} "),
            percent(signal.cut.bad, bad),
            percent(signal.cut.good, good),
            f"{signal.separation.auc:.3f}",
            f"{signal.separation.ks:.3f}",
            f"{percent(signal.good_null, good)}, {percent(signal.bad_null, bad)}",
        )
        for signal in found
        if signal.cut and signal.separation
    ]
    if rows:
        yield f"\nEach signal by itself, at most {percent(comparison.max_good_loss)} of GOOD lost:\n"
        widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
        for row in (head, *rows):
            cells = [
                cell.ljust(width) if place < 2 else cell.rjust(width)
                for place, (cell, width) in enumerate(zip(row, widths, strict=True))
            ]
            yield "  ".join(cells).rstrip()
    rest = len(comparison.signals) - len(found)
    if rest:
        said = plural(rest, "signal")
        yield f"\n{said} without a cut that, within that loss, gains more than chance would ({ALPHA:g} in all)."
    if comparison.left_out:
        yield f"Left out: {', '.join(f'{name} ({why})' for name, why in comparison.left_out.items())}."
    if comparison.chosen:
        removed = comparison.together()
        yield (
            f"\nTogether these rules remove {percent(removed.bad, bad)} of BAD "
            f"and lose {percent(removed.good, good)} of GOOD:\n"
        )
        yield comparison.stanza().rstrip()
    else:
        yield "\nNo rule is proposed: no signal tells the two apart."


def measured(root: str, name: str) -> Corpus:
    """The corpus of a finished run: the documents that its annotators saw last.

    Raises
    ------
    RunError
        There is no run, or nothing in it has been measured.
    """
    run = RunRecord(root)
    annotators = [stage for stage in run.stages if _is_annotator(stage.kind)]
    for documents in reversed([stage for stage in run.stages if stage.makes_table]):
        stages = [stage for stage in annotators if stage.annotates(documents)]
        if stages:
            table = Table(documents.artifact, tuple(stage.artifact for stage in stages))
            owners = {column: stage for stage in stages for column in stage.manifest["columns"]}
            return Corpus(name, table, owners)
    raise RunError(f"no document of {name} has been measured: a run needs a stage such as `heuristics: {{}}`")


def _is_annotator(kind: str) -> bool:
    """Whether a kind of stage measures one document at a time; one that is not known here is of the run's plugins."""
    try:
        return issubclass(stage_type(kind), Annotator)
    except ConfigError:
        return True


def _is_signal(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)


def _number(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Truth values as 0 and 1: Arrow does not cast them to doubles in one step."""
    return column.cast(pa.int8()) if pa.types.is_boolean(column.type) else column


def _settings(stage: StageRecord) -> tuple[Any, Any]:
    payload = stage.manifest["payload"]
    return payload["config"], payload["version"]


def _rule_name(rule: Chosen) -> str:
    return f"{rule.name}_{'min' if rule.cut.side == '<' else 'max'}"


def _plain(value: float) -> str:
    return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)


def _shares(cut: ScoreCut, good: int, bad: int) -> dict[str, float]:
    return {"bad_removed": cut.bad / bad, "good_lost": cut.good / good}
