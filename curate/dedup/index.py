"""Indexes: finished runs against which a new dump is deduplicated, by the signatures of their kept documents alone."""

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
        The run's documents with all annotations.
    settled
        Column that is true for the documents that the run kept.
    fingerprint
        Fingerprint of the `minhash` stage that decided which documents are kept.
    """

    table: Table
    settled: str
    fingerprint: str


def open_index(root: str, signatures: str, scope: Sequence[str] = ()) -> Index:
    """Open a finished run as an index.

    Parameters
    ----------
    root
        Directory of the run, or the output directory of ``curate dedup``, which holds its run under ``run``.
    signatures
        Column of signatures that the run must have. Its name contains all settings on which signatures depend: unit,
        n-gram, permutations and seed.
    scope
        Columns from which the scope of the comparison is computed (see `curate.dedup.scope.columns_of`).

    Raises
    ------
    RunError
        If there is no run, its `minhash` stage has not finished, its signatures have other settings, or it lacks a
        column of `scope`.
    """
    root = storage.absolute(root).rstrip("/")
    run = next((path for path in (root, f"{root}/run") if storage.exists(f"{path}/run.json")), None)
    if run is None:
        raise RunError(f"there is no run in {root}: neither run.json nor run/run.json exists")
    stages = storage.read_json(f"{run}/run.json")["stages"]
    artifacts = {
        stage["name"]: (stage["stage"], Artifact(stage["name"], f"{run}/{stage['path']}", stage["fingerprint"]))
        for stage in stages
    }
    finished = {name: (kind, artifact) for name, (kind, artifact) in artifacts.items() if artifact.finished}
    deduplicated = [artifact for kind, artifact in finished.values() if kind == "minhash"]
    if not deduplicated:
        raise RunError(f"the run in {run} has no finished `minhash` stage, so it cannot be an index")
    shards = deduplicated[-1].manifest.get("shards")
    same_shards = [artifact for _, artifact in finished.values() if artifact.manifest.get("shards") == shards]
    documents = next(artifact for artifact in same_shards if artifact.manifest["columns"] == DOCUMENT.names)
    sidecars = tuple(artifact for artifact in same_shards if artifact is not documents)
    columns = [column for artifact in sidecars for column in artifact.manifest["columns"]]
    if signatures not in columns:
        others = ", ".join(column for column in columns if column.startswith("signature_"))
        raise RunError(
            f"the run in {run} has signatures {others}, not {signatures}; "
            "use the same unit, ngram, bands x rows and seed in both runs"
        )
    missing = [column for column in scope if column not in (*DOCUMENT.names, *columns)]
    if missing:
        names = ", ".join(map(repr, missing))
        raise RunError(f"the run in {run} lacks the column {names}, which `within` needs")
    return Index(Table(documents, sidecars), f"{deduplicated[-1].name}_keep", deduplicated[-1].fingerprint)
