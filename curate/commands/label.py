"""Asking people about documents of a finished run: what is asked about, and what the answers say."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curate import storage
from curate.config.units import number, percent, plural
from curate.errors import ConfigError, Problem, RunError
from curate.report.record import RunRecord, StageRecord
from curate.stats.intervals import wilson_interval
from curate.table import Table
from curate.weak.gold.file import LABELS, GoldAnswer, weighted
from curate.weak.gold.journal import Journal
from curate.weak.gold.sample import Sample, Strata, draw, problems
from curate.weak.gold.session import Questions


@dataclass(frozen=True)
class Subject:
    """What people are asked about.

    Parameters
    ----------
    table
        Documents, and the sidecars whose columns divide them.
    strata
        How they are divided.
    sample
        Those that are asked about.
    """

    table: Table
    strata: Strata
    sample: Sample

    def questions(self, journal: Journal, chars: int, *, show_scores: bool) -> Questions:
        """The questions, with the score beside each document when that is wanted."""
        shown = [self.strata.score] if show_scores and self.strata.score else []
        return Questions(self.table, self.sample, journal, shown, chars)


def subject_of(
    root: str,
    n: int,
    *,
    by: str = "source",
    score: str | None = None,
    groups: int = 5,
    seed: int = 0,
    show_scores: bool = False,
) -> Subject:
    """Draw a sample of a finished run's documents.

    Parameters
    ----------
    root
        The run's directory.
    n, seed
        Size and seed of the sample.
    by, score, groups
        See `curate.weak.gold.sample.Strata`; without a `score`, that of the run's last stage `weak`, where there is
        one.
    show_scores
        Whether scores are going to be shown, so that there have to be some.

    Raises
    ------
    RunError
        There is no run, or it has not finished.
    ConfigError
        The run lacks the columns, or there are more strata than documents to draw.
    """
    run = RunRecord(root)
    waiting = [stage.name for stage in run.all_stages if not stage.finished]
    if waiting:
        raise RunError(f"the run in {run.root} has not finished ({', '.join(waiting)}): run it again first")
    tables = [stage for stage in run.stages if stage.makes_table]
    if not tables:
        raise RunError(f"no stage of {run.root} has made documents")
    documents, score = _where(run, tables, by, score)
    strata = Strata(by, score, groups)
    sidecars = [stage for stage in run.stages if stage.annotates(documents) and stage.manifest["columns"]]
    found = list(problems(strata, _types(documents, sidecars)))
    if show_scores and score is None:
        found.append(Problem(("--show-scores",), "there is no score to show", "--score COLUMN names one"))
    if found:
        raise ConfigError(found)
    table = Table(documents.artifact, tuple(stage.artifact for stage in sidecars))
    table.check()
    return Subject(table, strata, draw(table, strata, n, seed))


def _where(run: RunRecord, tables: Sequence[StageRecord], by: str, score: str | None) -> tuple[StageRecord, str | None]:
    """The last documents that have the columns, or the last of all; and the column of scores."""
    weak = run.of("weak")
    wanted = score or (f"{weak[-1].name}_quality" if weak else None)
    for documents in reversed(tables):
        columns = set(documents.manifest["columns"])
        for stage in run.stages:
            if stage.annotates(documents):
                columns |= set(stage.manifest["columns"])
        if {by, wanted or by} <= columns:
            return documents, wanted
    return tables[-1], score


def _types(documents: StageRecord, sidecars: Sequence[StageRecord]) -> pa.Schema:
    """Columns of some documents and of what annotates them."""
    fields: dict[str, pa.Field] = {}
    for shard in documents.artifact.shards()[:1]:
        for stage in (documents, *sidecars):
            with pq.ParquetFile(storage.open_input(stage.artifact.part(shard.name))) as file:
                fields |= {field.name: field for field in file.schema_arrow}
    return pa.schema(list(fields.values()))


def introduction(subject: Subject, journal: Journal, *, web: bool) -> Iterator[str]:
    """What is going to happen."""
    sample, strata = subject.sample, subject.strata
    divided = f"{strata.groups} groups of {strata.score} in each {strata.by}" if strata.score else strata.by
    yield (
        f"{plural(len(sample.drawn), 'document')} of {number(sample.documents)} are asked about, "
        f"from {number(len(sample.strata))} strata ({divided}); answers go to {journal.path}"
    )
    if journal.torn:
        yield f"the last line of {journal.path} was half written ({journal.torn} bytes) and is cut off"
    answered = sum((sample.draw, each.id) in journal.asked for each in sample.drawn)
    elsewhere = len(journal.labels.keys() & {each.id for each in sample.drawn}) - answered
    if answered:
        yield f"{number(answered)} have an answer already"
    if elsewhere > 0:
        yield f"{number(elsewhere)} have one from another draw, which counts when their turn comes"
    if not web:
        yield "keep: good enough to train on; drop: not; skip: cannot tell. Each answer is on the disk at once."


def conclusion(subject: Subject, journal: Journal) -> Iterator[str]:
    """How many labels there are, what share of the corpus they would keep, and how the file is used."""
    sample = subject.sample
    labels = list(journal.labels.values())
    counts = ", ".join(f"{labels.count(label)} {label}" for label in LABELS)
    # A correction counts in whichever draw it was made.
    own = [replace(each, label=journal.labels[each.id]) for each in journal.answers if each.draw == sample.draw]
    answered = len({each.id for each in own})
    yield f"{journal.path}: {plural(len(labels), 'document')} with an answer ({counts})"
    yield f"{number(answered)} of the {number(len(sample.drawn))} in this sample have one"
    estimate = keep_rate(own)
    if estimate is None:
        return
    share, low, high = map(percent, estimate)
    yield f"share of the corpus to keep, by this sample: {share} (95 % interval {low} to {high})"
    covered = {each.stratum for each in own if each.label != "skip"}
    missing = {name: size for name, size in sample.strata.items() if name not in covered}
    if missing:
        lost = percent(sum(missing.values()), sample.documents)
        yield f"it says nothing of {len(missing)} of {len(sample.strata)} strata, {lost} of the documents: no label yet"
    yield f"to use the labels, under `stages`:  weak: {{gold: {journal.path}}}"


def keep_rate(answers: Sequence[GoldAnswer]) -> tuple[float, float, float] | None:
    """Weighted share of documents to keep, and the bounds of its interval at 95 %; None without labels.

    The interval is Wilson's for as many labels as unequal weights leave (Kish, "Survey Sampling", 1965, section 11.7).
    What the strata gain in precision is not counted, so it is rather too wide.

    Examples
    --------
    >>> low, high = GoldAnswer(bytes(16), "keep", weight=30), GoldAnswer(bytes([1] * 16), "drop", weight=10)
    >>> [round(value, 3) for value in keep_rate([low, high])]
    [0.75, 0.169, 0.978]
    """
    gold = weighted(answers)
    total = float(gold.weights.sum())
    if total == 0:
        return None
    share = round(float(gold.weights @ gold.labels) / total, 12)  # all is 1, however sums are rounded
    effective = total**2 / float(np.square(gold.weights).sum())
    low, high = wilson_interval(share * effective, effective)
    return share, round(low, 12), round(high, 12)
