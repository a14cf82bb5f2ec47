"""Indexes: finished runs whose kept documents a new dump is compared with, by signatures and not by text."""

from collections.abc import Sequence
from typing import NamedTuple

from curate import storage
from curate.artifact import Artifact
from curate.errors import RunError
from curate.table import DOCUMENT, Table


class Index(NamedTuple):
    """A finished run as an index.

    Attributes
    ----------
    table
        Its documents, with all that annotates them.
    settled
        Column that is true for the documents that it kept.
    fingerprint
        Of the stage that kept them.
    """

    table: Table
    settled: str
    fingerprint: str


def open_index(root: str, signatures: str, scope: Sequence[str] = ()) -> Index:
    """Find the kept documents of a run and their signatures.

    Parameters
    ----------
    root
        The directory of a run, or what ``curate dedup`` wrote, which holds one under ``run``.
    signatures
        Column that must be there, named for all that must agree: unit, n-gram, permutations and seed.
    scope
        Columns by which it is told which documents are compared (see `curate.dedup.scope.columns_of`).

    Raises
    ------
    RunError
        There is no such run, its `minhash` stage has not finished, its signatures are others, or it lacks a
        column of `scope`.
    """
    root = storage.absolute(root).rstrip("/")
    found = next((path for path in (root, f"{root}/run") if storage.exists(f"{path}/run.json")), None)
    if found is None:
        raise RunError(f"there is no run in {root}")
    stages = storage.read_json(f"{found}/run.json")["stages"]
    artifacts = {
        stage["name"]: (stage["stage"], Artifact(stage["name"], f"{found}/{stage['path']}", stage["fingerprint"]))
        for stage in stages
    }
    finished = {name: (kind, artifact) for name, (kind, artifact) in artifacts.items() if artifact.finished}
    kept = [artifact for kind, artifact in finished.values() if kind == "minhash"]
    if not kept:
        raise RunError(f"the run in {found} has no finished `minhash` stage")
    shards = kept[-1].manifest["shards"]
    beside = [artifact for _, artifact in finished.values() if artifact.manifest.get("shards") == shards]
    documents = next(artifact for artifact in beside if artifact.manifest["columns"] == DOCUMENT.names)
    sidecars = tuple(artifact for artifact in beside if artifact is not documents)
    made = [column for artifact in sidecars for column in artifact.manifest["columns"]]
    if signatures not in made:
        others = ", ".join(column for column in made if column.startswith("signature_"))
        raise RunError(f"the run in {found} has {others}, not {signatures}: compare with the same settings and seed")
    lacking = [column for column in scope if column not in (*DOCUMENT.names, *made)]
    if lacking:
        raise RunError(f"the run in {found} has no {', '.join(map(repr, lacking))}, within whose values is compared")
    return Index(Table(documents, sidecars), f"{kept[-1].name}_keep", kept[-1].fingerprint)
