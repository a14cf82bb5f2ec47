"""A validated graph of stages: checks it, plans it, runs it, and goes on where it stopped."""

import logging
import multiprocessing
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import pyarrow as pa

from curate import storage
from curate.artifact import Artifact, Body, Flow, TableBody, fingerprint
from curate.config.load import Config, from_mapping, load
from curate.config.stages import from_stages, ordered
from curate.engine.base import Engine
from curate.engine.context import Context
from curate.engine.fused import annotate
from curate.errors import ConfigError, Problem, RunError, nearest
from curate.extras import missing
from curate.registry import stage_types
from curate.runs.directory import append_event, describe, locked
from curate.runs.display import Overview, labelled, short_path
from curate.runs.run import Run
from curate.stage import Annotator, Estimate, Known, Stage
from curate.table import DOCUMENT, Table
from curate.user_code import UserCode

log = logging.getLogger("curate")


@dataclass(frozen=True)
class StageNode:
    """A stage in its place in the graph.

    Parameters
    ----------
    stage
        The stage.
    table
        Name of the stage that made the documents it reads; None for one that reads raw input.
    sidecars
        Names of the stages whose columns it reads.
    payload
        What its fingerprint is made of.
    artifact
        Where it writes.
    """

    stage: Stage
    table: str | None
    sidecars: tuple[str, ...]
    payload: dict[str, Any]
    artifact: Artifact


class Pipeline(Overview):
    """A graph of stages, checked as far as it can be without reading data.

    A stage reads columns that stages before it in the list promise, or, where it is given ``after``, the stages named
    there and those before them. Where a stage needs helpers, the pipeline adds them.

    Parameters
    ----------
    stages
        In pipeline order. Each needs a name of its own; unless given (``name="..."``), that is its kind.
    root
        Folder or URL that takes what the stages write. What is finished there already is not done again.
    seed
        Of sampling, mixing and training.
    workers
        Shards at work at the same time; 0 runs in this process; unless given, one per core.
    engine
        ``local`` for processes on this machine, ``ray`` for a Ray cluster.
    address
        Of the Ray cluster; unless given, Ray looks for one.

    Raises
    ------
    ConfigError
        With every problem found.

    Examples
    --------
    >>> from curate.stages import Heuristics, Read, Select, Source
    >>> read = Read(sources={"web": Source(path="web.jsonl")})
    >>> select = Select(drop={"short": "gopher_words < 5"})
    >>> pipeline = Pipeline([read, Heuristics(), select], root="runs/new", workers=0)
    >>> pipeline
    Pipeline runs/new: 4 stages, of which 4 have to run
    stage       documents of  columns  state
    read                            7  to run
    heuristics  read               67  to run
    size        read                2  to run
    select      read                3  to run
    >>> run = pipeline.run()
    >>> run.kept().collect().height
    4
    """

    def __init__(
        self,
        stages: Sequence[Stage],
        *,
        root: str | os.PathLike[str],
        seed: int = 0,
        workers: int | None = None,
        engine: Literal["local", "ray"] = "local",
        address: str | None = None,
    ) -> None:
        settings = {"kind": engine, "address": address} | ({} if workers is None else {"workers": workers})
        self._build(from_stages(stages, {"root": os.fspath(root), "seed": seed}, settings))

    def _build(self, config: Config) -> None:
        """Link the stages of a configuration; raises ``ConfigError`` with every problem found."""
        self.config = config
        self.root = storage.absolute(config.run.root)
        self.problems: list[Problem] = []
        self.nodes: dict[str, StageNode] = {}
        self.estimate: Estimate | None = None
        stages, problems = ordered(config.stages)
        self.problems += problems
        self._link(stages)
        if self.problems:
            raise ConfigError([config.placed(problem) for problem in self.problems])

    @classmethod
    def from_yaml(cls, path: str, overrides: Sequence[str] = ()) -> "Pipeline":
        """The pipeline of a YAML file, with dotted overrides such as ``minhash.bands=20``."""
        return cls.from_config(load(path, overrides))

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> "Pipeline":
        """The pipeline of a mapping shaped like the YAML file."""
        return cls.from_config(from_mapping(mapping))

    @classmethod
    def from_config(cls, config: Config) -> "Pipeline":
        """The pipeline of a loaded configuration, whose problems name the file and the line."""
        pipeline = cls.__new__(cls)
        pipeline._build(config)
        return pipeline

    def _overview(self) -> tuple[str, list[str], list[list[object]]]:
        """Title, header and rows of what is shown of the pipeline."""
        waiting = sum(not node.artifact.finished for node in self.nodes.values())
        what = f"of which {waiting} have to run" if waiting else "all of which have finished"
        title = f"Pipeline {short_path(self.root)}: {len(self.nodes)} stages, {what}"
        rows: list[list[object]] = []
        for name, node in self.nodes.items():
            columns = DOCUMENT if node.stage.makes_table else node.stage.columns()
            state = "finished" if node.artifact.finished else "to run"
            rows.append([labelled(name, node.stage.stage), node.table, len(columns) or None, state])
        return title, ["stage", "documents of", "columns", "state"], rows

    # -- graph ---------------------------------------------------------------------------------------------------------

    def _link(self, ordered: Sequence[tuple[Stage, set[str]]]) -> None:
        """Find each stage's table, sidecars and artifact, and collect the problems of all stages."""
        seen: dict[str, set[str]] = {}  # per stage: itself, its helpers, and all that was visible to it
        for stage, before in ordered:
            visible = set().union(*(seen[name] for name in before))
            table = self._table_of(visible)
            for helper in stage.upstream():
                taken = helper.name in self.nodes and self.nodes[helper.name].table != table
                name = f"{table}_{helper.stage}" if taken else helper.name or f"{stage.name}_{helper.stage}"
                helper = helper.model_copy(update={"name": name})
                found = self._same(helper, visible, table)
                if found is None:
                    before = len(self.problems)
                    self._add(helper, visible)
                    # A helper is in no file: what is wrong with it is told of the stanza that brings it.
                    placed = [(("stages", stage.name, *p.where[2:]), p) for p in self.problems[before:]]
                    self.problems[before:] = [replace(problem, where=where) for where, problem in placed]
                visible.add(found or helper.name)
            self._add(stage, visible)
            self.problems = list(dict.fromkeys(self.problems))
            seen[stage.name] = visible | {stage.name}
        self._add_companions()

    def _add_companions(self) -> None:
        """Add the stages that others ask for once all stages that read the same table are known."""
        tables = [name for name, node in self.nodes.items() if node.stage.makes_table]
        for position, table in enumerate(tables if not self.problems else ()):
            beside = [node.stage for node in self.nodes.values() if node.table == table]
            companions: list[Stage] = []
            for stage in beside:
                companions += [each for each in stage.companions(beside) if each not in companions]
            for companion in companions:
                name = companion.stage if companion.stage not in self.nodes else f"{table}_{companion.stage}"
                named = companion.model_copy(update={"name": name})
                self._add(named, {*self.nodes}.difference(tables[position + 1 :]))

    def _same(self, stage: Stage, visible: set[str], table: str | None) -> str | None:
        """Name of a visible node with the same configuration that annotates the same documents."""
        config = stage.model_dump(exclude={"name", "after"})
        for name in self._beside(visible, table):
            if self.nodes[name].stage.model_dump(exclude={"name", "after"}) == config:
                return name
        return None

    def _table_of(self, visible: set[str]) -> str | None:
        """Name of the last visible node that makes documents."""
        return next((n for n in reversed(self.nodes) if n in visible and self.nodes[n].stage.makes_table), None)

    def _add(self, stage: Stage, visible: set[str]) -> None:
        where = ("stages", stage.name)
        table = self._table_of(visible)
        if table is None and not stage.makes_table:
            self.problems.append(Problem(where, "no stage before it makes documents", "begin with a `read` stage"))
            return
        if stage.name in self.nodes:
            taken = f"a helper that an earlier stage brings is called {stage.name!r} too"
            self.problems.append(Problem(where, taken, "choose another name"))
            return
        if table is not None and stage.makes_table and not stage.requires():
            message = f"makes documents anew, and those of {table!r} would be lost"
            self.problems.append(Problem(where, message, "give all sources to one `read` stage"))
            return
        owners = self._owners(visible, table)
        problems = self._unknown_columns(stage, owners) + _missing_files(stage)
        problems += [] if stage.makes_table else self._clashes(stage, visible, table)
        unknown = [name for name in stage.references() if name not in visible]
        problems += [Problem(where, f"needs the stage {name!r} before it") for name in unknown]
        known = self._known(visible, owners) if table else Known(pa.schema([]), {}, {}, self.config.run.seed)
        relative = [replace(problem, where=(*where, *problem.where)) for problem in stage.check(known)]
        if problems or relative:
            self.problems += problems + relative
        sidecars = tuple(
            dict.fromkeys(owners[column] for column in stage.requires() if owners.get(column, table) != table)
        )
        broken = bool(problems or relative)
        inputs = {} if broken else {n: self.nodes[n].artifact.fingerprint for n in _inputs(table, sidecars, stage)}
        payload = {} if broken else stage.payload(self.config.run.seed, inputs)
        digest = fingerprint(payload)
        artifact = Artifact(stage.name, f"{self.root}/{stage.name}-{digest[:8]}", digest)
        self.nodes[stage.name] = StageNode(stage, table, sidecars, payload, artifact)
        if stage.makes_table:
            estimate = stage.estimate() or self.estimate
            # The names of a broken table's sources still serve to check later stages; its sizes do not.
            self.estimate = Estimate(dict.fromkeys(estimate.sources, 0), 0) if broken and estimate else estimate

    def _owners(self, visible: set[str], table: str | None) -> dict[str, str]:
        """The node that promises each visible column; documents' own columns belong to the table."""
        owners = dict.fromkeys(DOCUMENT.names, table) if table else {}
        for name in self._beside(visible, table):
            owners.update(dict.fromkeys(self.nodes[name].stage.columns().names, name))
        return owners  # type: ignore[return-value]

    def _beside(self, visible: set[str], table: str | None) -> list[str]:
        """Visible nodes that annotate `table`, in order."""
        return [name for name, node in self.nodes.items() if name in visible and node.table == table]

    def _known(self, visible: set[str], owners: Mapping[str, str]) -> Known:
        fields = {field.name: field for field in DOCUMENT}
        stages = {name: node.stage for name, node in self.nodes.items() if name in visible}
        for stage in stages.values():
            fields.update({field.name: field for field in stage.columns()})
        columns = pa.schema([fields[name] for name in owners if name in fields])
        return Known(columns, self.estimate.sources if self.estimate else {}, stages, self.config.run.seed)

    def _unknown_columns(self, stage: Stage, owners: Mapping[str, str]) -> list[Problem]:
        """Columns that nobody promises; those of one place that the same stage would promise are one problem."""
        missing: dict[tuple[tuple[str | int, ...], str], list[str]] = {}
        for column in stage.requires():
            if column not in owners:
                kinds = _promising(column, self.config.plugins)
                hint = f"add {' or '.join(f'`{kind}: {{}}`' for kind in kinds)} before it" if kinds else ""
                missing.setdefault((stage.place(column), hint or nearest(column, owners)), []).append(column)
        return [
            Problem(
                ("stages", stage.name, *where),
                f"no stage before it promises the column{'s' if len(columns) > 1 else ''} "
                + ", ".join(map(repr, columns)),
                hint,
            )
            for (where, hint), columns in missing.items()
        ]

    def _clashes(self, stage: Stage, visible: set[str], table: str | None) -> list[Problem]:
        """Columns that two of the visible stages promise, or one of them and `stage`."""
        owners: dict[str, str] = {}
        problems = []
        for name in [*self._beside(visible, table), stage.name]:
            columns = self.nodes[name].stage.columns() if name in self.nodes else stage.columns()
            for column in columns.names:
                if column in owners and (name == stage.name or column in stage.requires()):
                    promise = f"promises the column {column!r}, which {owners[column]!r} promises already"
                    problems.append(Problem(("stages", name), promise))
                owners[column] = name
        return problems

    # -- running -------------------------------------------------------------------------------------------------------

    def run(self, engine: Engine | None = None) -> Run:
        """Run every stage whose artifact is not finished.

        A script must call this under ``if __name__ == "__main__":``, since worker processes import it too.

        Parameters
        ----------
        engine
            An engine that runs already; unless given, the one that the settings ask for.

        Returns
        -------
        Run
            What the run directory holds, as polars frames.

        Raises
        ------
        RunError
            A task failed, or the run directory is in use; running again goes on where it stopped.
        ConfigError
            The data showed that the configuration cannot be met, such as a budget that is more than was kept.
        """
        if multiprocessing.parent_process() is not None:
            raise RunError('a worker process imported this script: call run() under `if __name__ == "__main__":`')
        with locked(self.root):
            storage.remove_temporaries(self.root, below=False)
            self._describe()
            own = engine or self.start_engine()
            try:
                self._run_all(own)
            except ConfigError as error:
                raise ConfigError([self.config.placed(problem) for problem in error.problems]) from None
            finally:
                own.close()
        return Run(self.root)

    def start_engine(self) -> Engine:
        """The engine that the configuration asks for."""
        settings = self.config.engine
        if settings.kind == "ray":
            if absent := missing("ray", "ray"):
                raise ConfigError([self.config.placed(Problem(("engine", "kind"), *absent))])
            from curate.engine.ray import RayEngine

            return RayEngine(settings.workers, settings.address)
        from curate.engine.local import LocalEngine

        return LocalEngine(settings.workers)

    def _run_all(self, engine: Engine) -> None:
        pending = {name: node for name, node in self.nodes.items() if not node.artifact.finished}
        cached = [name for name in self.nodes if name not in pending]
        if cached:
            append_event(self.root, "cached", cached)
            log.info("finished before: %s", ", ".join(cached))
        while pending:
            ready = [name for name, node in pending.items() if not _waits(node, pending)]
            awaited = set().union(*(inputs_of(n) for n in pending.values() if isinstance(n.stage, Annotator)))
            # What annotators wait for comes first, such as several models, so that more of them share a pass.
            made = [pending[n] for n in ready if n in awaited and not isinstance(pending[n].stage, Annotator)]
            group = made[:1] or self._fusible([pending[name] for name in ready]) or [pending[ready[0]]]
            names = [node.stage.name for node in group]
            append_event(self.root, "start", names)
            start = time.monotonic()
            try:
                self._run_group(group, engine)
            except BaseException as error:
                append_event(self.root, "stopped", names, error=str(error)[:2000] or type(error).__name__)
                raise
            seconds = time.monotonic() - start
            append_event(self.root, "done", names, seconds=round(seconds, 3))
            log.info("%s: done in %.1f s", " + ".join(names), seconds)
            for name in names:
                del pending[name]

    def _fusible(self, ready: Sequence[StageNode]) -> list[StageNode]:
        """Annotators among the ready nodes that read the same documents as the first of them."""
        annotators = [node for node in ready if isinstance(node.stage, Annotator)]
        return [node for node in annotators if node.table == annotators[0].table]

    def _run_group(self, group: Sequence[StageNode], engine: Engine) -> None:
        first = group[0]
        if isinstance(first.stage, Annotator):
            sidecars = tuple(dict.fromkeys(name for node in group for name in node.sidecars))
            members = [(node.stage, node.artifact) for node in group if isinstance(node.stage, Annotator)]
            table = self._table(first.table, sidecars)
            inputs = {name: self.nodes[name].artifact for node in group for name in node.stage.references()}
            for node, body in zip(group, annotate(members, table, engine, inputs), strict=True):
                finish(node.stage, node.artifact, table, body, node.payload)
        else:
            inputs = {name: self.nodes[name].artifact for name in first.stage.references()}
            table = self._table(first.table, first.sidecars)
            execute(first.stage, Context(first.artifact, table, engine, inputs, self.config.run.seed), first.payload)

    def _table(self, documents: str | None, sidecars: Sequence[str]) -> Table:
        if documents is None:
            return Table(Artifact("", "", ""))
        table = Table(self.nodes[documents].artifact, tuple(self.nodes[name].artifact for name in sidecars))
        table.check()
        return table

    def _describe(self) -> None:
        """Write run.yaml and run.json."""
        settings = self.config.run.model_dump(mode="json")
        config_hash = fingerprint({name: node.payload for name, node in self.nodes.items()})
        stages = [
            {
                "name": name,
                "stage": node.stage.stage,
                "table": node.table,
                "path": node.artifact.path.removeprefix(self.root + "/"),
                "fingerprint": node.artifact.fingerprint,
            }
            for name, node in self.nodes.items()
        ]
        describe(self.root, self.config.to_yaml(), settings, config_hash, stages)


def execute(stage: Stage, ctx: Context, payload: Mapping[str, Any]) -> None:
    """Run one stage to its manifest."""
    body = (
        annotate([(stage, ctx.artifact)], ctx.table, ctx.engine, ctx.inputs)[0]
        if isinstance(stage, Annotator)
        else stage.run(ctx)
    )
    finish(stage, ctx.artifact, ctx.table, body, payload)


def finish(stage: Stage, artifact: Artifact, table: Table, body: Body, payload: Mapping[str, Any]) -> None:
    """Assert that every document is accounted for, then commit the artifact."""
    balance(artifact.name, body["flow"])
    if not stage.makes_table:
        _all_went_in(artifact.name, body["flow"], table)
    storage.remove_temporaries(artifact.path)
    own: dict[str, Any] = {"columns": stage.columns().names}
    if stage.makes_table:
        own["columns"] = DOCUMENT.names
    elif len(stage.columns()):
        own["shards"] = table.documents.body(TableBody)["shards"]
    artifact.commit(payload, own | dict(body))


def _all_went_in(name: str, flow: Flow, table: Table) -> None:
    """Raise ``RunError`` unless a stage took in every document of its table."""
    rows: dict[str, int] = {}
    for shard in table.shards:
        if shard.rows:
            rows[shard.source] = rows.get(shard.source, 0) + shard.rows
    taken = {source: counts["in"] for source, counts in flow.items() if counts["in"]}
    if taken != rows:
        raise RunError(f"{name} did not take in every document: {taken} of {rows}")


def balance(name: str, flow: Flow) -> None:
    """Raise ``RunError`` unless ``in = kept + dropped by reason + quarantined`` holds for every source."""
    for source, counts in flow.items():
        out = counts["kept"] + sum(counts["dropped"].values()) + sum(counts["quarantined"].values())
        if counts["in"] != out:
            raise RunError(
                f"{name} lost count of {source}: {counts['in']} documents in, but kept {counts['kept']}, "
                f"dropped {counts['dropped']}, quarantined {counts['quarantined']}"
            )


def inputs_of(node: StageNode) -> tuple[str, ...]:
    """Names of the nodes whose artifacts `node` reads."""
    return _inputs(node.table, node.sidecars, node.stage)


def _waits(node: StageNode, pending: Mapping[str, StageNode]) -> bool:
    return any(name in pending for name in inputs_of(node))


def _inputs(table: str | None, sidecars: Sequence[str], stage: Stage) -> tuple[str, ...]:
    """Names of the nodes whose artifacts a stage reads."""
    return tuple(dict.fromkeys([*([table] if table else []), *sidecars, *stage.references()]))


def _promising(column: str, plugins: Sequence[UserCode]) -> list[str]:
    """Kinds of stages that promise a column without any field set; imports all stages."""
    kinds = []
    for kind, model in stage_types(plugins).items():
        try:
            promised = model().columns().names
        except ValueError:  # it has fields that must be given
            continue
        if column in promised:
            kinds.append(kind)
    return kinds


def _missing_files(stage: Stage) -> list[Problem]:
    found = []
    for field, path in stage.files().items():
        wrong = "" if storage.exists(path) else "there is no file"
        if os.path.isdir(path):
            wrong = "is a folder, where a file is needed:"
        if wrong:
            found.append(Problem(("stages", stage.name, field), f"{wrong} {path!r}", stage.where_to_get(field)))
    return found
