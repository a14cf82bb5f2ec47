"""What the rules of each `select` would do, tried on a few documents of each source before a run.

The first documents of every source are read, the annotators whose columns the rules name run over them in this process,
and the rules are evaluated. Rules over columns that only all documents together can give, such as those of duplicates,
are left out. Nothing of it is kept, and what is read is bounded whatever the size of the input.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa

from curate.artifact import Artifact
from curate.engine.context import Context
from curate.engine.local import LocalEngine
from curate.pipeline import Pipeline, StageNode, execute
from curate.rules.presets import PRESETS
from curate.rules.sql import columns_of
from curate.stage import Annotator, Stage
from curate.stages.select import Rule, Select, evaluate
from curate.table import DOCUMENT, DocumentWriter, Table

DOCUMENTS = 400  # of each source: a share of 90 % is then known to 3 % (two standard errors)
TEXT_BYTES = 2_000_000  # of each source
ALL_TEXT_BYTES = 32_000_000  # of all sources
MOST = 0.9  # share of a source that a rule should not pass

_FOR_ONE_LANGUAGE = {rule.name for rules in PRESETS.values() for rule in rules if rule.language}


@dataclass(frozen=True)
class Trial:
    """What the rules of one `select` do to the sample of one source.

    Parameters
    ----------
    source
        Name of the source.
    documents
        Documents in the sample.
    dropped
        How many of them each preset drops that is meant for the source, and each rule that is not a preset's.
    most
        For each of these, the rule that is true most often, and how often.
    together
        How many all rules drop.
    """

    source: str
    documents: int
    dropped: Mapping[str, int]
    most: Mapping[str, tuple[str, int]]
    together: int


@dataclass(frozen=True)
class Sampled:
    """The trials of one `select`.

    Parameters
    ----------
    stage
        The stage.
    trials
        One for each source.
    left_out
        Rules over columns that a sample does not have.
    """

    stage: Select
    trials: tuple[Trial, ...]
    left_out: tuple[str, ...]

    def warnings(self) -> Iterator[str]:
        """Presets and rules that drop more than 90 % of a source, and those that drop nothing."""
        for trial in self.trials:
            large = {group: count for group, count in trial.dropped.items() if count > MOST * trial.documents}
            for group, count in large.items():
                yield f"{group} drops {count} of {trial.documents} documents of {trial.source}{self._why(trial, group)}"
            if trial.together > MOST * trial.documents and not large:
                yield f"all rules together drop {trial.together} of {trial.documents} documents of {trial.source}"
        for group in dict.fromkeys(group for trial in self.trials for group in trial.dropped):
            meant = [trial for trial in self.trials if group in trial.dropped]
            untouched = [trial.source for trial in meant if trial.documents and not trial.dropped[group]]
            everywhere = len(untouched) == len(meant)
            if everywhere and len(untouched) > 1:
                yield f"{group} drops nothing of any source"
            elif untouched and (everywhere or group in PRESETS):
                yield f"{group} drops nothing of {', '.join(untouched)}"

    def _why(self, trial: Trial, group: str) -> str:
        rule, count = trial.most[group]
        said = f", {rule} alone {count}" if rule != group else ""
        if rule in _FOR_ONE_LANGUAGE and not self.stage.language:
            said += " (that rule is for English: with `langid: {}` before it, `language: lang_code` spares the rest)"
        return said


def try_rules(pipeline: Pipeline) -> list[Sampled]:
    """Try the rules of every `select` that has not run yet.

    Raises
    ------
    RunError
        An annotator failed on the sample.
    """
    with TemporaryDirectory(prefix="curate-sample-") as folder:
        bench = _Bench(pipeline, folder)
        return [
            bench.try_rules(node, node.stage)
            for node in pipeline.nodes.values()
            if isinstance(node.stage, Select) and node.stage.rules() and not node.artifact.finished
        ]


class _Bench:
    """A small copy of a pipeline: what its nodes make of the sample, each made when it is first asked for."""

    def __init__(self, pipeline: Pipeline, folder: str) -> None:
        self._nodes, self._seed, self._folder = pipeline.nodes, pipeline.config.run.seed, folder
        self._made: dict[str, Artifact] = {}

    def try_rules(self, node: StageNode, stage: Select) -> Sampled:
        """Evaluate the rules whose columns a sample can have."""
        owners = dict.fromkeys(DOCUMENT.names, node.table)
        for name in node.sidecars:
            owners.update(dict.fromkeys(self._nodes[name].stage.columns().names, name))
        needs = {name: {owners[column] for column in columns_of(rule.when)} for name, rule in stage.rules().items()}
        table_can = node.table is not None and self._can_run(node.table)
        rules = {
            name: rule
            for name, rule in stage.rules().items()
            if table_can and all(owner is not None and self._can_run(owner) for owner in needs[name])
        }
        left_out = tuple(name for name in needs if name not in rules)
        sidecars = {owner for name in rules for owner in needs[name]} - {node.table, None}
        trials = self._trials(stage, rules, node.table, sorted(filter(None, sidecars))) if rules else ()
        return Sampled(stage, tuple(trials), left_out)

    def _trials(
        self, stage: Select, rules: Mapping[str, Rule], documents: str | None, sidecars: list[str]
    ) -> Iterator[Trial]:
        import polars as pl

        groups = {group: [name for name in names if name in rules] for group, names in stage.groups().items()}
        columns = sorted({column for rule in rules.values() for column in columns_of(rule.when)} | {"source"})
        table = self._table(documents, sidecars)
        for shard in table.shards:
            fired = evaluate(rules, pl.DataFrame(table.read(shard, columns)), shard.source)
            counts = dict(zip(rules, fired.sum(axis=1).tolist(), strict=True))
            rows = dict(zip(rules, fired, strict=True))
            dropped, most = {}, {}
            for group, names in groups.items():
                meant = stage.sources_of(group)
                if names and (meant is None or shard.source in meant):
                    dropped[group] = int(np.any([rows[name] for name in names], axis=0).sum())
                    top = max(names, key=counts.__getitem__)
                    most[group] = top, counts[top]
            yield Trial(shard.source, shard.rows, dropped, most, int(fired.any(axis=0).sum()))

    def _can_run(self, name: str) -> bool:
        """Whether a node looks at one document at a time, and so do all those that it reads."""
        node = self._nodes[name]
        if node.table is None:
            return type(node.stage).sample is not Stage.sample
        alone = isinstance(node.stage, Annotator) or node.stage.makes_table
        return alone and all(map(self._can_run, (node.table, *node.sidecars, *node.stage.references())))

    def _table(self, documents: str | None, sidecars: list[str]) -> Table:
        return Table(self._make(documents or ""), tuple(map(self._make, sidecars)))

    def _make(self, name: str) -> Artifact:
        """What a node makes of the sample."""
        if name not in self._made:
            node = self._nodes[name]
            artifact = Artifact(name, f"{self._folder}/{name}", node.artifact.fingerprint)
            if node.table is None:
                _write(artifact, _sample(node.stage))
            else:
                table = self._table(node.table, list(node.sidecars))
                inputs = {other: self._make(other) for other in node.stage.references()}
                execute(node.stage, Context(artifact, table, LocalEngine(workers=0), inputs, self._seed), node.payload)
            self._made[name] = artifact
        return self._made[name]


def _sample(stage: Stage) -> dict[str, pa.Table]:
    sources = max(len(stage.estimate().sources), 1) if stage.estimate() else 1  # type: ignore[union-attr]
    return stage.sample(DOCUMENTS, min(TEXT_BYTES, ALL_TEXT_BYTES // sources)) or {}


def _write(artifact: Artifact, sampled: Mapping[str, pa.Table]) -> None:
    """Sampled documents as an artifact with one shard for each source."""
    shards: list[dict[str, Any]] = []
    first_row = 0
    for number, (source, documents) in enumerate(sampled.items()):
        name = f"{number:05d}-000"
        with DocumentWriter(artifact.part(name)) as writer:
            writer.write(documents)
        shards.append({"name": name, "source": source, "first_row": first_row} | writer.entry())
        first_row += documents.num_rows
    artifact.commit({}, {"columns": DOCUMENT.names, "shards": shards})
