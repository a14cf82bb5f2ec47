"""What a run wrote down about itself: run.json, the manifests in execution order, and the receipts.

The report and `explain` read a run through this alone. A stage that has not finished has no manifest; it is named.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from typing import Any

from curate import storage
from curate.artifact import RECEIPTS, Artifact, Manifest, Receipt, Shape, read_receipt
from curate.errors import RunError, nearest
from curate.table import DOCUMENT

_NAMED = 10  # runs that are named where there is none


@dataclass(frozen=True)
class StageRecord:
    """A stage of a run, as run.json names it.

    Parameters
    ----------
    name, kind
        The stage's name, and which kind of stage it is (``minhash``).
    table
        Name of the stage that made the documents it reads; None for one that reads files.
    artifact
        Where it wrote.
    """

    name: str
    kind: str
    table: str | None
    artifact: Artifact

    @cached_property
    def finished(self) -> bool:
        """Whether the stage has written its manifest."""
        return self.artifact.finished

    @property
    def manifest(self) -> Manifest:
        """What the stage says of its output; raises ``FileNotFoundError`` before it has finished."""
        return self.artifact.manifest

    def body(self, shape: type[Shape]) -> Shape:
        """The manifest as the type of the stage's body; see `curate.artifact.Artifact.body`."""
        return self.artifact.body(shape)

    @property
    def config(self) -> Mapping[str, Any]:
        """Fields of the stage as the fingerprint has them: files by their content, mappings as lists of pairs."""
        return self.manifest["payload"]["config"]

    @property
    def makes_table(self) -> bool:
        """Whether the output is documents and not columns beside them."""
        return "shards" in self.manifest and self.manifest["columns"] == DOCUMENT.names

    def annotates(self, table: "StageRecord") -> bool:
        """Whether the output is columns beside the documents of `table`."""
        return self.table == table.name and "shards" in self.manifest and not self.makes_table

    def quarantine(self) -> list[str]:
        """Paths of the tables of what a `read` stage could not use, in the order of its input."""
        folder = f"{self.artifact.path}/quarantine"
        return [f"{folder}/{name}" for name in sorted(storage.names_in(folder)) if name.endswith(".parquet")]

    def receipts(self) -> Iterator[Receipt]:
        """Receipts of all phases."""
        yield from _receipts(f"{self.artifact.path}/{RECEIPTS}")


class RunRecord:
    """A run directory.

    Parameters
    ----------
    root
        The directory, local or an fsspec URL; or one that holds a run under ``run``, as ``curate dedup`` leaves it.

    Raises
    ------
    RunError
        There is no run at `root`; the message names the runs near it.
    """

    def __init__(self, root: str) -> None:
        self.root = root.rstrip("/")
        if not storage.exists(f"{self.root}/run.json") and storage.exists(f"{self.root}/run/run.json"):
            self.root += "/run"
        try:
            self.description: dict[str, Any] = storage.read_json(f"{self.root}/run.json")
        except (FileNotFoundError, NotADirectoryError):
            hint = _nearest_run(root.rstrip("/"))
            raise RunError(f"there is no run in {root}: run.json is missing{hint and f'; {hint}'}") from None
        stages = self.description["stages"]
        if any("table" not in stage for stage in stages):
            again = "run the same recipe again, which only writes run.json anew"
            raise RunError(f"the run in {root} was made by an earlier version of curate: {again}")
        self.all_stages = tuple(
            StageRecord(
                stage["name"],
                stage["stage"],
                stage["table"],
                Artifact(stage["name"], f"{self.root}/{stage['path']}", stage["fingerprint"]),
            )
            for stage in stages
        )
        self.stages = tuple(stage for stage in self.all_stages if stage.finished)

    def of(self, *kinds: str) -> tuple[StageRecord, ...]:
        """Finished stages of some kinds, in execution order."""
        return tuple(stage for stage in self.stages if stage.kind in kinds)

    @property
    def waiting(self) -> tuple[str, ...]:
        """Names of the stages that have not finished."""
        return tuple(stage.name for stage in self.all_stages if not stage.finished)

    @property
    def tables(self) -> tuple[StageRecord, ...]:
        """Finished stages that made documents, in execution order."""
        return tuple(stage for stage in self.stages if stage.makes_table)

    def beside(self, table: StageRecord) -> tuple[StageRecord, ...]:
        """Finished stages that annotate the documents of `table`, in execution order."""
        return tuple(stage for stage in self.stages if stage.annotates(table))

    def table(self, name: str | None = None) -> StageRecord:
        """The finished stage `name` that made documents; the last of all unless a name is given.

        Raises
        ------
        RunError
            There is none; the message has the nearest name.
        """
        tables = {table.name: table for table in self.tables}
        if not tables:
            raise RunError(f"no stage of {self.root} has made documents yet; run the pipeline again to go on")
        if name is not None and name not in tables:
            yet = " yet" if name in self.waiting else ""
            raise RunError(f"no stage {name!r} has made documents{yet}; {nearest(name, tables)}")
        return self.tables[-1] if name is None else tables[name]

    def last(self, kind: str, name: str | None = None) -> StageRecord:
        """The finished stage of a kind that is called `name`; the last of its kind unless a name is given.

        Raises
        ------
        RunError
            There is none, or it has not finished; the message has the nearest name.
        """
        named = [stage for stage in self.all_stages if stage.kind == kind and name in (None, stage.name)]
        if named and named[-1].finished:
            return named[-1]
        if named:
            others = ", ".join(repr(stage.name) for stage in named if stage.finished)
            instead = f", or name another that has: {others}" if others else ""
            raise RunError(f"the stage {named[-1].name!r} has not finished; run the pipeline again to go on{instead}")
        names = [stage.name for stage in self.all_stages if stage.kind == kind]
        hint = f" called {name!r}; {nearest(str(name), names)}" if names else ""
        raise RunError(f"{self.root} has no `{kind}` stage{hint}")

    def config(self) -> str:
        """The resolved configuration, as YAML; empty when run.yaml is missing."""
        fs, inner = storage.filesystem(f"{self.root}/run.yaml")
        return bytes(fs.cat_file(inner)).decode() if fs.exists(inner) else ""  # type: ignore[arg-type]


def _nearest_run(root: str) -> str:
    """A hint that names the runs in the folder `root`, or else the one beside it with the name most like its own."""
    inside = _runs_in(root)
    if inside:
        return f"runs in it: {', '.join(inside[:_NAMED])}{', ...' if len(inside) > _NAMED else ''}"
    parent, _, name = root.rpartition("/")
    beside = _runs_in(parent or ".")
    return nearest(name, get_close_matches(name, beside, n=1) or beside[:_NAMED]) if beside else ""


def _runs_in(folder: str) -> list[str]:
    """Names of the folders in `folder` that are runs."""
    return [name for name in sorted(storage.names_in(folder)) if storage.exists(f"{folder}/{name}/run.json")]


def _receipts(folder: str) -> Iterator[Receipt]:
    """Receipts in `folder` and the folders in it, in the order of their names."""
    fs, inner = storage.filesystem(folder)
    for path in sorted(fs.find(inner)) if fs.exists(inner) else []:
        name = path.rpartition("/")[2]
        if name.endswith(".json") and not name.startswith("."):
            receipt = read_receipt(fs.unstrip_protocol(path))
            if receipt is not None:
                yield receipt
