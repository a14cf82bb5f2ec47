"""A run directory as polars frames: documents with the columns of any stage, rungs, what was dropped and why."""

import os
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from curate import storage
from curate.config.units import parse_bytes, parse_count
from curate.errors import RunError
from curate.mixture.manifest import ShardsBody
from curate.report.record import RunRecord, StageRecord
from curate.runs.display import Link, Overview, labelled, short_path
from curate.table import DOCUMENT

if TYPE_CHECKING:
    import polars as pl

    from curate.report.explanation import Explanation, QuarantinedRow

Owned = tuple[StageRecord, str]
"""A stage, and a column that it wrote."""

_COUNTS = ("dropped", "quarantined")  # what a stage counts by reason


class Run(Overview):
    """A run directory, finished or not, as polars frames.

    It shows what had finished when it was made; make a new one to see what has finished since.

    Parameters
    ----------
    path
        Directory of a run, local or an fsspec URL; or what ``curate dedup`` wrote, which holds one.

    Raises
    ------
    RunError
        There is no run at `path`; the message names the runs near it.

    Examples
    --------
    These and the following examples are about a run of eight documents and one record that could not be read:

    >>> from curate import Run
    >>> run = Run("runs/web")
    >>> run
    Run runs/web: all 8 stages have finished
    stage                        documents of  rows  columns  status
    read                                          8        7  done
    exact_text_hash (text_hash)  read             8        1  done
    size                         read             8        2  done
    exact                        read             8        4  done
    select                       read             8        3  done
    tokens                       read             8        2  done
    mix                          read             8        3  done
    shards                       read             6           done
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._record = RunRecord(storage.absolute(os.fspath(path)))
        self.root = self._record.root

    # -- what there is -------------------------------------------------------------------------------------------------

    @property
    def finished(self) -> bool:
        """Whether all stages have finished."""
        return len(self._record.stages) == len(self._record.all_stages)

    @property
    def tables(self) -> tuple[str, ...]:
        """Names of the stages that made documents and have finished, in the order in which they ran.

        Examples
        --------
        >>> from curate import Run
        >>> Run("runs/web").tables
        ('read',)
        """
        return tuple(table.name for table in self._record.tables)

    @property
    def stages(self) -> "pl.DataFrame":
        """One row for each stage, in the order in which they run.

        ``stage``, ``kind``, ``table`` (the stage whose documents it reads; null for one that reads files), ``rows``
        (documents that it made or annotates, or rows of the files that it wrote), ``columns`` (how many), ``status``
        (``done``, ``3 of 64 tasks done`` or ``waiting``) and ``path``.

        Examples
        --------
        >>> from curate import Run
        >>> Run("runs/web").stages.filter(kind="exact").select("stage", "table", "rows", "status").row(0)
        ('exact', 'read', 8, 'done')
        """
        import polars as pl

        kinds = {"rows": pl.Int64, "columns": pl.Int64}
        names = ("stage", "kind", "table", "rows", "columns", "status", "path")
        return pl.DataFrame(list(self._status()), schema={name: kinds.get(name, pl.String) for name in names})

    @property
    def columns(self) -> "pl.DataFrame":
        """One row for each column that `scan` can give.

        ``column``, its ``type``, the ``stage`` that wrote it, and the ``table``: the stage that made the documents that
        the column annotates.

        Examples
        --------
        >>> from curate import Run
        >>> Run("runs/web").columns.filter(stage="select").select("column", "type").rows()
        [('keep', 'Boolean'), ('drop_reason', 'String'), ('drop_mask', 'UInt64')]
        """
        import polars as pl

        from curate.runs.scan import read_columns

        rows = []
        for table in self._record.tables:
            for stage in [table, *self._record.beside(table)]:
                names = stage.manifest["columns"]
                parts = [stage.artifact.part(shard.name) for shard in table.artifact.shards()[:1]]
                types = read_columns(parts[0], names, 0).schema if parts else dict.fromkeys(names, pl.Null())
                rows += [(name, str(types[name]), stage.name, table.name) for name in names]
        return pl.DataFrame(rows, schema=dict.fromkeys(("column", "type", "stage", "table"), pl.String), orient="row")

    @property
    def flow(self) -> "pl.DataFrame":
        """What became of every document, by stage and source.

        Columns ``stage``, ``source``, ``outcome`` (``in``, ``kept``, ``dropped`` or ``quarantined``), ``reason`` (why
        they were dropped or quarantined, else null) and ``documents``. In each stage and source, ``in`` is the sum of
        the others.

        Examples
        --------
        >>> from curate import Run
        >>> flow = Run("runs/web").flow
        >>> flow.filter(stage="select", outcome="dropped").select("source", "reason", "documents").rows()
        [('books', 'copy', 0), ('books', 'short', 0), ('web', 'copy', 1), ('web', 'short', 1)]
        """
        import polars as pl

        rows = [
            (stage.name, source, *entry)
            for stage in self._record.stages
            for source, counts in stage.manifest.get("flow", {}).items()
            for entry in _outcomes(counts)
        ]
        names = ("stage", "source", "outcome", "reason")
        schema = {**dict.fromkeys(names, pl.String), "documents": pl.Int64}
        return pl.DataFrame(rows, schema=schema, orient="row")

    @property
    def rungs(self) -> "pl.DataFrame":
        """One row for each rung of the last `shards` stage, the smallest first.

        ``name``, ``budget``, ``documents``, ``copies`` (a document counts as often as it is repeated), ``tokens`` and
        ``bytes``.

        Examples
        --------
        >>> from curate import Run
        >>> Run("runs/web").rungs.select("name", "budget", "copies").rows()
        [('rung-00', 100, 2), ('rung-01', 200, 4)]
        """
        import polars as pl

        names = ("name", "budget", "documents", "copies", "tokens", "bytes")
        return pl.DataFrame(self._record.last("shards").body(ShardsBody)["rungs"]).select(names)

    # -- documents -----------------------------------------------------------------------------------------------------

    def scan(self, *columns: str, table: str | None = None) -> "pl.LazyFrame":
        """Documents, with columns of any stages that annotate them.

        Nothing is read before the frame is collected, and then only the columns that the query uses. Ids, keepers and
        hashes are hexadecimal digits, as `explain` takes them.

        Parameters
        ----------
        columns
            Columns that stages wrote, beside the documents' own (``id``, ``source``, ``source_id``, ``text``, ``url``,
            ``date``, ``meta``), which are always there. ``stage.column`` names the stage too; the column is then called
            that in the frame.
        table
            The stage that made the documents; unless given, the last one that has finished. Each stage that changes
            text makes new documents, fewer perhaps, and columns belong to the documents that they were made from.

        Raises
        ------
        RunError
            There is no such table or column; the message has the nearest names.

        Examples
        --------
        >>> import polars as pl
        >>> from curate import Run
        >>> run = Run("runs/web")
        >>> copies = run.scan("text_bytes", "exact_keep").filter(~pl.col("exact_keep"))
        >>> copies.select("source_id", "text_bytes").collect()
        shape: (1, 2)
        ┌───────────┬────────────┐
        │ source_id ┆ text_bytes │
        │ ---       ┆ ---        │
        │ str       ┆ i64        │
        ╞═══════════╪════════════╡
        │ now       ┆ 63         │
        └───────────┴────────────┘
        >>> run.scan("drop_reasons")
        Traceback (most recent call last):
        curate.errors.RunError: the documents of 'read' have no column 'drop_reasons'; did you mean 'drop_reason'?
        """
        documents = self._record.table(table)
        return _scan_columns(documents, self._find(columns, documents))

    def kept(self, *columns: str, stage: str | None = None) -> "pl.LazyFrame":
        """The documents that `select` keeps, with columns as in `scan`.

        Parameters
        ----------
        columns
            Columns that stages wrote, beside the documents' own.
        stage
            Name of the `select` stage; unless given, the last one.

        Raises
        ------
        RunError
            No `select` stage has finished, or there is no such column.

        Examples
        --------
        >>> from curate import Run
        >>> Run("runs/web").kept().group_by("source").len().sort("source").collect().rows()
        [('books', 3), ('web', 3)]
        """
        select = self._record.last("select", stage)
        documents = self._record.table(select.table)
        places = self._find(columns, documents)
        decision = f"{select.name}.keep"
        return _scan_columns(documents, {**places, decision: (select, "keep")}).filter(decision).select(list(places))

    def rung(self, rung: str | int, *, stage: str | None = None) -> "pl.LazyFrame":
        """The training set of one rung, as the `shards` stage wrote it: shuffled, and each copy of a document a row.

        Parameters
        ----------
        rung
            The budget as the recipe has it (``"1B"``, ``"max"``), the name (``"rung-01"``), or the position (``1``, and
            ``-1`` for the largest).
        stage
            Name of the `shards` stage; unless given, the last one.

        Raises
        ------
        RunError
            No `shards` stage has finished, or there is no such rung; the message names those there are.

        Examples
        --------
        >>> from curate import Run
        >>> run = Run("runs/web")
        >>> small, large = (run.rung(rung).collect() for rung in ("100", "200"))
        >>> small.equals(large.head(small.height))
        True
        """
        shards = self._record.last("shards", stage)
        rungs = shards.body(ShardsBody)["rungs"]
        position = _position(rung, rungs, largest_is_max=self._ends_with_max(shards))
        if position is None:
            valid = ", ".join(f"{each['name']} ({each['budget']:,})" for each in rungs)
            raise RunError(f"{shards.name!r} wrote no rung {rung!r}; rungs and their budgets: {valid}")
        return _scan_files(shards, shards.body(ShardsBody)["files"][: rungs[position]["files"]])

    def validation(self, *, stage: str | None = None) -> "pl.LazyFrame":
        """The documents that `mix` held out, of all sources; they are in no rung.

        Parameters
        ----------
        stage
            Name of the `shards` stage; unless given, the last one.

        Examples
        --------
        >>> from curate import Run
        >>> Run("runs/web").validation().select("source").collect().to_series().to_list()
        ['books', 'web']
        """
        shards = self._record.last("shards", stage)
        files = shards.body(ShardsBody)["files"]
        held_out = [file for file in files if file["path"].startswith("validation/")]
        return _scan_files(shards, held_out) if held_out else _scan_files(shards, files[:1]).clear()

    def quarantine(self) -> "pl.LazyFrame":
        """Records and files that could not be used, with their place and the reason.

        ``source``, ``file``, ``scope`` (``row`` or ``file``), ``line`` (from 1, where it is known), ``offset`` (bytes
        of decompressed content, or rows of Parquet), ``reason`` and ``detail``.

        Examples
        --------
        >>> from curate import Run
        >>> Run("runs/web").quarantine().select("file", "line", "reason").collect().rows()
        [('web.jsonl', 6, 'malformed_json')]
        """
        import polars as pl

        from curate.io.records import QUARANTINE
        from curate.runs.scan import scan

        paths = [path for stage in self._record.of("read") for path in stage.quarantine()]
        if not paths:
            return pl.DataFrame(QUARANTINE.empty_table()).lazy()
        return scan([[path] for path in paths], {name: (0, name) for name in QUARANTINE.names})

    # -- one document, and all of them ---------------------------------------------------------------------------------

    def explain(self, document: str) -> "Explanation | QuarantinedRow":
        """What became of one document: its columns, the rules that are true of it, its copies, and where it landed.

        Parameters
        ----------
        document
            An id, its beginning (at least 6 digits), or ``source/source_id``.

        Raises
        ------
        RunError
            There is no such document, or there are several.

        Examples
        --------
        >>> from curate import Run
        >>> print(Run("runs/web").explain("web/now").rules[0])
        FiredRule(stage='select', name='copy', when='NOT exact_keep')
        """
        from curate.report.explain import explain

        return explain(self.root, document)

    def report(self) -> Link:
        """Build report.html and report.json anew.

        Returns
        -------
        Link
            Path of report.html; a notebook shows it as a link.

        Examples
        --------
        >>> import os
        >>> from curate import Run
        >>> os.path.basename(Run("runs/web").report())
        'report.html'
        """
        from curate.report.build import build

        build(self.root)
        return Link(f"{self.root}/report.html")

    def _overview(self) -> tuple[str, list[str], list[list[object]]]:
        """Title, header and rows of what is shown of the run."""
        done, count = len(self._record.stages), len(self._record.all_stages)
        what = f"all {count} stages have finished" if self.finished else f"{done} of {count} stages have finished"
        rows = []
        for entry in self._status():
            shown = (entry[name] for name in ("table", "rows", "columns", "status"))
            rows.append([labelled(entry["stage"], entry["kind"]), *shown])
        header = ["stage", "documents of", "rows", "columns", "status"]
        return f"Run {short_path(self.root)}: {what}", header, rows

    def _status(self) -> Iterator[dict[str, Any]]:
        """The rows of `stages`."""
        shards = 0
        for stage in self._record.all_stages:
            entry = {"stage": stage.name, "kind": stage.kind, "table": stage.table, "rows": None, "columns": None}
            if stage.finished:
                manifest = stage.manifest
                shards = shards or len(manifest.get("shards", ()))
                files = manifest.get("shards", manifest.get("files"))
                entry["rows"] = sum(file["rows"] for file in files) if isinstance(files, list) else None
                entry["columns"] = len(manifest["columns"]) or None
                status = "done"
            else:
                tasks = stage.artifact.tasks_done()
                of = f" of {shards}" if shards and tasks <= shards else ""
                status = f"{tasks}{of} tasks done" if tasks else "waiting"
            yield {**entry, "status": status, "path": stage.artifact.path}

    # -- finding -------------------------------------------------------------------------------------------------------

    def _owners(self, table: StageRecord) -> dict[str, list[StageRecord]]:
        """The stages that wrote each column that stands beside the documents of `table`, or is one of them."""
        owners = {name: [table] for name in DOCUMENT.names}
        for stage in self._record.beside(table):
            for column in stage.manifest["columns"]:
                owners.setdefault(column, []).append(stage)
        return owners

    def _find(self, columns: Sequence[str], table: StageRecord) -> dict[str, Owned]:
        """The documents' own columns and those asked for; all that are nowhere or in several places are one error."""
        owners = self._owners(table)
        places: dict[str, Owned] = {name: (table, name) for name in DOCUMENT.names}
        problems = []
        for column in dict.fromkeys(columns):
            name = column.rpartition(".")[2]
            stages = _owners_of(column, owners)
            if len(stages) == 1:
                places[column] = stages[0], name
            elif stages:
                named = " and ".join(repr(owner.name) for owner in stages)
                forms = " or ".join(f"'{owner.name}.{name}'" for owner in stages)
                problems.append(f"the stages {named} each wrote a column {name!r}; ask for {forms}")
            else:
                problems.append(self._unknown(column, table, owners))
        if problems:
            raise RunError("\n".join(problems))
        return places

    def _unknown(self, column: str, table: StageRecord, owners: Mapping[str, Sequence[StageRecord]]) -> str:
        """Says that the documents of `table` have no such column, and which one or which documents may be meant."""
        message = f"the documents of {table.name!r} have no column {column!r}"
        elsewhere = [other.name for other in self._record.tables if _owners_of(column, self._owners(other))]
        if elsewhere:
            return f"{message}, but those of {elsewhere[-1]!r} have: scan(..., table={elsewhere[-1]!r})"
        valid = [*owners, *(f"{stage.name}.{name}" for name, stages in owners.items() for stage in stages)]
        near = get_close_matches(column, valid if "." in column else owners, n=3, cutoff=0.7)
        hints = [f"did you mean {' or '.join(map(repr, near))}?"] if near else []
        if self._record.waiting:
            hints.append(f"stages that have not finished: {', '.join(self._record.waiting)}")
        return "; ".join([message, *(hints or ["`columns` lists those there are"])])

    def _ends_with_max(self, shards: StageRecord) -> bool:
        """Whether the largest budget of the `mix` stage that `shards` wrote is ``max``."""
        mix = self._record.last("mix", shards.manifest["payload"]["config"]["mix"])
        return mix.manifest["payload"]["config"]["budgets"][-1] == "max"


def _owners_of(column: str, owners: Mapping[str, Sequence[StageRecord]]) -> list[StageRecord]:
    """The stages that wrote `column`; only the stage itself, if it is named as in ``stage.column``."""
    stage, _, name = column.rpartition(".")
    return [owner for owner in owners.get(name, ()) if stage in ("", owner.name)]


def _scan_columns(documents: StageRecord, columns: Mapping[str, Owned]) -> "pl.LazyFrame":
    """A lazy frame of documents and columns beside them."""
    import polars as pl

    from curate.runs.scan import scan

    stages = list(dict.fromkeys([documents, *(stage for stage, _ in columns.values())]))
    files = [[stage.artifact.part(shard.name) for stage in stages] for shard in documents.artifact.shards()]
    if not files:
        types = pl.DataFrame(DOCUMENT.empty_table()).schema
        return pl.LazyFrame(schema={name: types.get(name, pl.Null()) for name in columns})
    return scan(files, {name: (stages.index(stage), column) for name, (stage, column) in columns.items()})


def _scan_files(shards: StageRecord, files: Sequence[Mapping[str, Any]]) -> "pl.LazyFrame":
    """A lazy frame of files that a `shards` stage wrote."""
    from curate.runs.scan import scan

    names = [field["name"] for field in shards.body(ShardsBody)["schema"]]
    return scan([[f"{shards.artifact.path}/{file['path']}"] for file in files], {name: (0, name) for name in names})


def _position(rung: str | int, rungs: Sequence[Mapping[str, Any]], *, largest_is_max: bool) -> int | None:
    """Index of the rung that is meant, None for none of them."""
    if isinstance(rung, int):
        return range(len(rungs))[rung] if -len(rungs) <= rung < len(rungs) else None
    if rung == "max" and largest_is_max:
        return len(rungs) - 1
    budgets = []
    for parse in (parse_count, parse_bytes):
        try:
            budgets.append(parse(rung))
        except ValueError:
            continue
    fits = (i for i, each in enumerate(rungs) if each["name"] == rung or each["budget"] in budgets)
    return next(fits, None)


def _outcomes(counts: Mapping[str, Any]) -> Iterator[tuple[str, str | None, int]]:
    """Outcome, reason and number of documents of one source in one stage."""
    yield from (("in", None, counts["in"]), ("kept", None, counts["kept"]))
    for outcome in _COUNTS:
        yield from ((outcome, reason, documents) for reason, documents in counts[outcome].items())
