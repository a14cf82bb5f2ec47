"""Finished stage outputs: a directory, one receipt per task (the commit), one manifest (written last).

``fingerprint = H(stage configuration, stage version, input fingerprints)`` names the directory, so a changed
configuration makes a new artifact and leaves the old one; resuming is "manifest there: skip; else run the tasks that
have no receipt".
"""

import hashlib
import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from importlib import metadata
from typing import Any, NotRequired, TypedDict, TypeVar, cast

import orjson

from curate import __version__, storage
from curate.extras import DISTRIBUTION, requirements

MANIFEST = "_manifest.json"
RECEIPTS = "_receipts"
_TOOLS = ("dev", "label-model-peers")  # extras that no run uses

SourceFlow = TypedDict("SourceFlow", {"in": int, "kept": int, "dropped": dict[str, int], "quarantined": dict[str, int]})
"""What became of the documents of one source; dropped and quarantined ones are counted by reason."""

Flow = dict[str, SourceFlow]
"""Accounts for every document, by source: ``in = kept + dropped + quarantined``."""


class Body(TypedDict):
    """What a stage reports about its output, as JSON values; a stage with more to report extends this type."""

    flow: Flow


class TableBody(Body):
    """Body of a stage that makes a table; `shards` holds the fields of each `Shard`."""

    shards: list[dict[str, Any]]


class Payload(TypedDict):
    """What a fingerprint is made of: fields of the stage, its version, fingerprints of its inputs, the run's seed."""

    config: dict[str, Any]
    version: int
    inputs: dict[str, str]
    seed: NotRequired[int]


class Manifest(Body):
    """The keys that every manifest has; `Artifact.body` gives the others.

    `columns` are those of the part files. `shards` is there for a table of documents, and for columns beside one.
    """

    name: str
    fingerprint: str
    payload: Payload
    columns: list[str]
    shards: NotRequired[list[dict[str, Any]]]


Shape = TypeVar("Shape")


def fingerprint(payload: Mapping[str, Any]) -> str:
    """Hash of a canonical JSON payload: 32 hexadecimal digits of its SHA-256.

    Raises
    ------
    TypeError
        A value has no canonical JSON form; a silent ``str(value)`` would give one fingerprint to different things.

    Examples
    --------
    >>> fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    True
    """
    return hashlib.sha256(orjson.dumps(payload, option=orjson.OPT_SORT_KEYS)).hexdigest()[:32]


def file_hash(path: str) -> str:
    """SHA-256 of a file's content, read in blocks of 1 MiB."""
    digest = hashlib.sha256()
    fs, inner = storage.filesystem(path)
    with fs.open(inner, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)  # type: ignore[arg-type]
    return digest.hexdigest()


def package_versions(packages: Iterable[str]) -> dict[str, str]:
    """Installed versions of packages whose answers are part of what a stage writes; empty for what is not there.

    Examples
    --------
    >>> package_versions(["no-such-package"])
    {'no-such-package': ''}
    """
    versions = {}
    for package in packages:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = ""
    return versions


def all_versions() -> dict[str, str]:
    """Versions of everything that can change what a run writes: Python, curate, and its dependencies and extras.

    Of a tree that is not installed, the dependencies are not known.
    """
    names = sorted({requirement.package for requirement in requirements() if requirement.extra not in _TOOLS})
    installed = {name: version for name, version in package_versions(names).items() if version}
    return {"python": platform.python_version(), DISTRIBUTION: __version__, **installed}


@dataclass(frozen=True)
class Shard:
    """One file of documents: the unit of work, of resumption and of memory.

    Parameters
    ----------
    name
        Basename shared by the documents and all their sidecars, without suffix.
    rows, text_bytes
        Documents, and bytes of their UTF-8 text.
    source
        The one source that the shard's documents come from.
    first_row
        Number of documents in all shards before this one: ``row = first_row + index`` is dense over the table.
    id_checksum
        Hash of the ``id`` column, which guards the positional join with sidecars.
    """

    name: str
    rows: int
    text_bytes: int
    source: str
    first_row: int
    id_checksum: str


def all_kept(shards: Sequence["Shard"]) -> Flow:
    """The ``flow`` of a stage that drops nothing, by source.

    Examples
    --------
    >>> all_kept([Shard("a", 3, 90, "web", 0, "6b"), Shard("b", 4, 80, "web", 3, "1f")])
    {'web': {'in': 7, 'kept': 7, 'dropped': {}, 'quarantined': {}}}
    """
    flow: Flow = {}
    for shard in shards:
        entry = flow.setdefault(shard.source, {"in": 0, "kept": 0, "dropped": {}, "quarantined": {}})
        entry["in"] += shard.rows
        entry["kept"] += shard.rows
    return flow


@dataclass(frozen=True)
class Receipt:
    """What one task did; written after its data, so that it is the commit.

    `result` holds what the task returned (counts, never text); time and memory are kept apart because they differ
    from run to run.
    """

    key: str
    result: Mapping[str, Any]
    seconds: float
    cpu_seconds: float
    peak_rss: int


@dataclass(frozen=True)
class Artifact:
    """A stage's output directory; its manifest is read on demand and cached per process."""

    name: str
    path: str
    fingerprint: str

    @property
    def manifest(self) -> Manifest:
        """Content of ``_manifest.json``; raises ``FileNotFoundError`` before the stage has finished."""
        return _read_manifest(f"{self.path}/{MANIFEST}")

    def body(self, shape: type[Shape]) -> Shape:
        """The manifest as the type that the stage's `run` or `conclude` returns.

        Parameters
        ----------
        shape
            That type, such as `curate.dedup.manifest.MinHashBody`; it is not checked at run time.
        """
        return cast(Shape, self.manifest)

    @property
    def finished(self) -> bool:
        """Whether the manifest has been written."""
        return storage.exists(f"{self.path}/{MANIFEST}")

    def part(self, shard: str) -> str:
        """Path of the part file that belongs to `shard`."""
        return f"{self.path}/part-{shard}.parquet"

    def shards(self) -> tuple[Shard, ...]:
        """Shards of this artifact in row order."""
        return _shards(f"{self.path}/{MANIFEST}")

    def receipts(self, phase: str = "") -> Iterator[Receipt]:
        """Receipts of `phase` in the order of their keys."""
        folder = receipts_folder(self.path, phase)
        for name in sorted(storage.names_in(folder)):
            if name.endswith(".json") and not name.startswith("."):
                receipt = read_receipt(f"{folder}/{name}")
                if receipt is not None:
                    yield receipt

    def tasks_done(self) -> int:
        """Number of tasks, of all phases, that have written their receipt."""
        names = storage.names_in(f"{self.path}/{RECEIPTS}")
        phases = [name for name in names if not name.endswith(".json")]
        return len(names) - len(phases) + sum(len(storage.names_in(receipts_folder(self.path, p))) for p in phases)

    def results(self, phase: str, shape: type[Shape]) -> Iterator[Shape]:
        """What the tasks of `phase` returned, as the type that they return."""
        yield from (cast(Shape, receipt.result) for receipt in self.receipts(phase))

    def commit(self, payload: Mapping[str, Any], body: Mapping[str, Any]) -> None:
        """Write the manifest: the artifact is finished."""
        manifest = {"name": self.name, "fingerprint": self.fingerprint, "payload": payload, **body}
        storage.write_json(f"{self.path}/{MANIFEST}", manifest)
        _read_manifest.cache_clear()
        _shards.cache_clear()


def receipts_folder(path: str, phase: str = "") -> str:
    """Folder of the receipts of one phase of the artifact at `path`."""
    return f"{path}/{RECEIPTS}/{phase}" if phase else f"{path}/{RECEIPTS}"


def write_receipt(folder: str, receipt: Receipt) -> None:
    """Commit one task."""
    storage.write_json(f"{folder}/{receipt.key}.json", asdict(receipt), indent=False)


def read_receipt(path: str) -> Receipt | None:
    """The receipt at `path`, or None when it is not there or not whole."""
    try:
        return Receipt(**storage.read_json(path))
    except (FileNotFoundError, ValueError, TypeError):
        return None


@lru_cache(maxsize=256)
def _read_manifest(path: str) -> Manifest:
    return storage.read_json(path)


@lru_cache(maxsize=64)
def _shards(path: str) -> tuple[Shard, ...]:
    return tuple(Shard(**shard) for shard in cast(TableBody, _read_manifest(path))["shards"])


@dataclass
class Totals:
    """Sums of counters over receipts: ``{"rows": ..., "dropped": {"short": ...}}``, nested to any depth."""

    counts: dict[str, Any] = field(default_factory=dict)

    def add(self, result: Mapping[str, Any]) -> None:
        """Add numbers leaf by leaf; anything that is neither a number nor a mapping is left out.

        Examples
        --------
        >>> totals = Totals()
        >>> totals.add({"rows": 2, "dropped": {"short": 1}})
        >>> totals.add({"rows": 3, "dropped": {"long": 1}})
        >>> totals.counts
        {'rows': 5, 'dropped': {'short': 1, 'long': 1}}
        """
        _add(self.counts, result)


def by_source(shards: Sequence[Shard], results: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Sums of what was counted of each shard, by source.

    Examples
    --------
    >>> shards = [Shard("a", 3, 90, "web", 0, "6b"), Shard("b", 4, 80, "web", 3, "1f")]
    >>> by_source(shards, [{"cut": 1}, {"cut": 2}])
    {'web': {'cut': 3}}
    """
    totals = Totals()
    for shard, result in zip(shards, results, strict=True):
        totals.add({shard.source: result})
    return totals.counts


def _add(into: dict[str, Any], more: Mapping[str, Any]) -> None:
    for key, value in more.items():
        if isinstance(value, Mapping):
            _add(into.setdefault(key, {}), value)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            into[key] = into.get(key, 0) + value
