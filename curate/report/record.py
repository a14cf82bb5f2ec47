"""What a run wrote down about itself: run.json, the manifests in execution order, and the receipts.

The report and `explain` read a run through this alone. A stage that has not finished has no manifest; it is named.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from curate import storage
from curate.artifact import RECEIPTS, Artifact, Receipt, read_receipt
from curate.errors import RunError
from curate.table import DOCUMENT


@dataclass(frozen=True)
class StageRecord:
    """A stage of a run, as run.json names it.

    Parameters
    ----------
    name, kind
        The stage's name, and which kind of stage it is (``minhash``).
    artifact
        Where it wrote.
    """

    name: str
    kind: str
    artifact: Artifact

    @cached_property
    def finished(self) -> bool:
        """Whether the stage has written its manifest."""
        return self.artifact.finished

    @property
    def manifest(self) -> dict[str, Any]:
        """What the stage says of its output; raises ``FileNotFoundError`` before it has finished."""
        return self.artifact.manifest

    @property
    def makes_table(self) -> bool:
        """Whether the output is documents and not columns beside them."""
        return "shards" in self.manifest and self.manifest["columns"] == DOCUMENT.names

    def annotates(self, table: "StageRecord") -> bool:
        """Whether the output is columns beside the documents of `table`."""
        return not self.makes_table and self.manifest.get("shards") == table.manifest["shards"]

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
        There is no run at `root`.
    """

    def __init__(self, root: str) -> None:
        self.root = root.rstrip("/")
        if not storage.exists(f"{self.root}/run.json") and storage.exists(f"{self.root}/run/run.json"):
            self.root += "/run"
        try:
            self.description: dict[str, Any] = storage.read_json(f"{self.root}/run.json")
        except FileNotFoundError:
            raise RunError(f"there is no run in {root}: run.json is missing") from None
        self.all_stages = tuple(
            StageRecord(
                stage["name"],
                stage["stage"],
                Artifact(stage["name"], f"{self.root}/{stage['path']}", stage["fingerprint"]),
            )
            for stage in self.description["stages"]
        )
        self.stages = tuple(stage for stage in self.all_stages if stage.finished)

    def of(self, *kinds: str) -> tuple[StageRecord, ...]:
        """Finished stages of some kinds, in execution order."""
        return tuple(stage for stage in self.stages if stage.kind in kinds)

    def config(self) -> str:
        """The resolved configuration, as YAML; empty when run.yaml is missing."""
        fs, inner = storage.filesystem(f"{self.root}/run.yaml")
        return bytes(fs.cat_file(inner)).decode() if fs.exists(inner) else ""  # type: ignore[arg-type]


def _receipts(folder: str) -> Iterator[Receipt]:
    """Receipts in `folder` and the folders in it, in the order of their names."""
    fs, inner = storage.filesystem(folder)
    for path in sorted(fs.find(inner)) if fs.exists(inner) else []:
        name = path.rpartition("/")[2]
        if name.endswith(".json") and not name.startswith("."):
            receipt = read_receipt(fs.unstrip_protocol(path))
            if receipt is not None:
                yield receipt
