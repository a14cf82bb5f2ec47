"""Near-duplicate removal in one command: files in, the kept documents and an account of the others out.

The pipeline is an ordinary one, of `read`, `minhash` and `kept`, in a run directory of its own under ``run``; what is
added here are the options' way into it and the files that are handed over.
"""

import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, count
from pathlib import Path
from typing import Any

import pyarrow as pa

from curate import storage
from curate.artifact import RECEIPTS, Receipt, Totals, read_receipt
from curate.dedup.manifest import MinHashBody
from curate.errors import ConfigError, Problem, nearest
from curate.io.manifest import KeptBody, ReadBody
from curate.io.pieces import shard_size
from curate.io.plain import plain_columns, plain_type
from curate.pipeline import Pipeline
from curate.stages.minhash import PAIR, PAIRS, MinHash
from curate.stages.read import SOURCE_NAME, Read
from curate.table import DOCUMENT, ParquetWriter, Table, read_part

KEPT, PAIRS_FILE, CLUSTERS_FILE, REPORT, RUN = "kept", "pairs.parquet", "clusters.parquet", "report.json", "run"
MAX_PERMUTATIONS = 256  # that bands and rows may come to when they are chosen for a threshold
RECALL = 0.95  # at the threshold, unless given
LEAST_SHARD = 32_000_000  # bytes of text: on small inputs, smaller shards cost a seventh more processor time
_SUFFIXES = re.compile(r"(\.(jsonl|ndjson|json|parquet|txt|text|gz|zst))+$", re.IGNORECASE)
_STAGES = {"read", "signatures", "size", "minhash", "kept"}  # of a run that this command made
_PART = re.compile(r"part-.+\.parquet")

CLUSTER = pa.schema(
    [
        ("cluster", pa.int64()),
        ("id", pa.string()),
        ("source", pa.string()),
        ("source_id", pa.string()),
        ("size", pa.int32()),
        ("jaccard", pa.float32()),
        ("keep", pa.bool_()),
    ]
)


@dataclass(frozen=True)
class DedupRequest:
    """What the command line asks for.

    Parameters
    ----------
    inputs
        Files, folders or globs, each a source named for its file, or ``NAME=PATH``.
    out
        Folder for the results.
    source
        Options of every source, as of `curate.stages.read.Source`.
    read, minhash
        Options of the stages of these names; those that are None were not given.
    recall
        Least chance of finding a pair at the threshold, for which bands and rows are chosen.
    within
        ``all``, ``source``, or a field of the input.
    workers, seed
        Processes, and the seed of the hash functions.
    """

    inputs: Sequence[str]
    out: str
    source: Mapping[str, Any]
    read: Mapping[str, Any]
    minhash: Mapping[str, Any]
    recall: float | None = None
    within: str = "all"
    workers: int | None = None
    seed: int = 0


def pipeline_of(request: DedupRequest) -> Pipeline:
    """The pipeline that a request comes to.

    Raises
    ------
    ConfigError
        With every problem found, each named for the option that it is about.
    """
    sources = _sources(request.inputs)
    problems = [*_name_problems(sources), *_shape_problems(request), *_out_problems(request.out)]
    problems += _index_problems(request)
    if problems:
        raise ConfigError(problems)
    minhash = (
        _given({**request.minhash, "keep": _preferences(request)})
        | {"within": _scope(request.within), "seed": request.seed}
        | _bands(request)
    )
    named = {name: {"path": path} | _given(request.source) for name, path in sources}
    read = {"sources": named} | _given(request.read)
    stages = {
        "read": read | {"shard_bytes": LEAST_SHARD},
        "minhash": minhash,
        "kept": {"where": "minhash_keep", "columns": ["minhash_dup_count"], "reason": "near_duplicate"},
    }
    engine = {} if request.workers is None else {"workers": request.workers}
    settings = {"run": {"root": f"{request.out}/{RUN}", "seed": request.seed}, "engine": engine}
    try:
        pipeline = Pipeline.from_mapping(settings | {"stages": stages})
        if pipeline.estimate and shard_size(sum(pipeline.estimate.sources.values())) > LEAST_SHARD:
            pipeline = Pipeline.from_mapping(settings | {"stages": stages | {"read": read}})
    except ConfigError as error:
        raise ConfigError([_as_option(problem) for problem in error.problems]) from None
    problems = [*_nested(request.out, sources, pipeline), *_field_problems(request, pipeline)]
    if problems:
        raise ConfigError(problems)
    return pipeline


def hand_over(pipeline: Pipeline, out: str) -> dict[str, Any]:
    """Put the results of a finished run into `out`: ``kept``, pairs, clusters, and last the report.

    Returns
    -------
    dict
        The content of ``report.json``.
    """
    minhash, kept = (pipeline.nodes[name].artifact for name in ("minhash", KEPT))
    table = Table(pipeline.nodes["read"].artifact, (minhash,))
    report = f"{out}/{REPORT}"
    if is_done(pipeline, out):
        return storage.read_json(report)
    Path(report).unlink(missing_ok=True)
    _link(kept.path, f"{out}/{KEPT}")
    plain_pairs = pa.schema([(field.name, plain_type(field.type)) for field in PAIR])
    with ParquetWriter(f"{out}/{PAIRS_FILE}", plain_pairs) as writer:
        for shard in table.shards:
            writer.write(plain_columns(read_part(f"{minhash.path}/{PAIRS}/part-{shard.name}.parquet")))
    with ParquetWriter(f"{out}/{CLUSTERS_FILE}", CLUSTER) as writer:
        for part in _cluster_parts(table):
            writer.write(part)
    account = _account(pipeline)
    storage.write_json(report, account)
    return account


def is_done(pipeline: Pipeline, out: str) -> bool:
    """Whether `out` holds the results of this very pipeline, and all of them."""
    kept = pipeline.nodes[KEPT].artifact
    try:
        report = storage.read_json(f"{out}/{REPORT}")
        # A report of an earlier version says nothing of files; it is written anew.
        same = report["fingerprint"] == kept.fingerprint and all("files" in of for of in report["sources"].values())
        parts = {file["path"] for file in kept.body(KeptBody)["files"]}
    except (FileNotFoundError, ValueError, KeyError):
        return False
    whole = {PAIRS_FILE, CLUSTERS_FILE} <= storage.names_in(out) and parts == storage.names_in(f"{out}/{KEPT}")
    return same and whole


# -- options -----------------------------------------------------------------------------------------------------------


def _given(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _sources(inputs: Sequence[str]) -> list[tuple[str, str]]:
    """Name and path of each source; those that are not named by the user are numbered where two are the same."""
    named = [_named(text) for text in inputs]
    taken = {name for name, _ in named if name}
    sources = []
    for text, (name, path) in zip(inputs, named, strict=True):
        if name is None:
            stem = _stem(text)
            name = next(n for n in chain([stem], (f"{stem}-{i}" for i in count(2))) if n not in taken)
            taken.add(name)
        sources.append((name, path))
    return sources


def _named(text: str) -> tuple[str | None, str]:
    """The name and path of ``NAME=PATH``; no name for what is a path as it stands."""
    name, separator, path = text.partition("=")
    return (name, path) if separator and "/" not in name and not os.path.exists(text) else (None, text)


def _stem(path: str) -> str:
    """What to call a source: the last part of its path that has letters or digits, without suffixes."""
    for part in reversed(path.split("/")):
        stem = re.sub(r"[^\w.+-]+", "_", _SUFFIXES.sub("", part)).strip(".+-_")
        if stem:
            return stem
    return "input"


def _scope(within: str) -> str:
    own = {"all", "source", *DOCUMENT.names}
    return within if within in own or within.startswith("meta.") else f"meta.{within}"


def _preferences(request: DedupRequest) -> list[str] | None:
    """What ``--keep`` says, with fields of the input as ``meta.FIELD``."""
    columns = {*DOCUMENT.names, "text_bytes"}

    def named(preference: str) -> str:
        name, space, way = preference.rpartition(" ")
        own = not space or name in columns or name.startswith("meta.")
        return preference if own else f"meta.{name} {way}"

    keep = request.minhash.get("keep")
    return None if keep is None else [named(preference) for preference in keep]


def _bands(request: DedupRequest) -> dict[str, int]:
    """Bands and rows for the threshold, unless they are given."""
    threshold = request.minhash.get("threshold")
    if threshold is None or any(request.minhash.get(name) is not None for name in ("bands", "rows")):
        return {}
    from curate.dedup.minhash import choose_bands

    recall = RECALL if request.recall is None else request.recall
    return choose_bands(MAX_PERMUTATIONS, threshold, recall)._asdict()


def _name_problems(sources: Sequence[tuple[str, str]]) -> Iterator[Problem]:
    """Names that cannot be, or that two inputs have."""
    names = [name for name, _ in sources]
    for position, (name, path) in enumerate(sources):
        where = (f"INPUT {name}={path}",)
        if not re.fullmatch(SOURCE_NAME, name):
            yield Problem(where, f"{name!r} cannot be a name", "begin with a letter or digit; then also . + - and _")
        elif name in names[:position]:
            yield Problem(where, f"another input is called {name!r} too", "one NAME=PATH for each name")
        elif not path:
            yield Problem(where, "names no file")


def _shape_problems(request: DedupRequest) -> Iterator[Problem]:
    """Options that choose bands and rows, and cannot."""
    shape = [f"--{name}" for name in ("bands", "rows") if request.minhash.get(name) is not None]
    threshold = request.minhash.get("threshold")
    if request.recall is not None and shape:
        yield Problem(("--recall",), f"chooses bands and rows, but {' and '.join(shape)} is given")
    elif request.recall is not None and threshold is None:
        yield Problem(("--recall",), "is the chance of finding a pair at the threshold", "give --threshold too")
    elif threshold is not None and not 0 < threshold < 1 and not shape:
        yield Problem(("--threshold",), f"lies between 0 and 1, not at {threshold}")
    elif threshold is not None and not shape:
        try:
            _bands(request)
        except ValueError as error:
            yield Problem(("--recall",), str(error))


def _out_problems(out: str) -> Iterator[Problem]:
    """What stands in the way of writing to `out`: other storage, a file, no permission, somebody's own files."""
    where = ("--out",)
    if not out:
        yield Problem(where, "names no folder")
        return
    if not storage.is_local(out):
        yield Problem(where, "must be a local folder", "`curate run` writes to object storage")
        return
    there = next(path for path in (Path(out), *Path(out).absolute().parents) if path.exists())
    if not there.is_dir():
        yield Problem(where, f"{there} is a file")
    elif not os.access(there, os.R_OK | os.W_OK | os.X_OK):
        yield Problem(where, f"{there} cannot be read and written by this user")
    else:
        foreign = _foreign(out)
        if foreign:
            yield Problem(where, f"{out} holds something else, such as {foreign[0]!r}", "choose another")


def _index_problems(request: DedupRequest) -> Iterator[Problem]:
    """Earlier results that would be replaced by those that are compared with them."""
    out = os.path.realpath(request.out)
    for root in request.minhash.get("index") or ():
        if storage.is_local(root) and os.path.realpath(root) in (out, f"{out}/{RUN}"):
            yield Problem(("--index",), f"{root} is where --out would write", "choose a new folder for --out")


def _foreign(out: str) -> list[str]:
    """Files in the way that this command did not write; beside its own results, others do no harm."""
    try:
        stages = {stage["stage"] for stage in storage.read_json(f"{out}/{RUN}/run.json")["stages"]}
    except (OSError, ValueError, KeyError, TypeError):
        stages = None
    if stages == _STAGES:
        return [f"{KEPT}/{name}" for name in _visible(f"{out}/{KEPT}") if not _PART.fullmatch(name)]
    # A run that was stopped as it began has described itself in run.yaml at most.
    begun = [f"{RUN}/{name}" for name in _visible(f"{out}/{RUN}") if name != "run.yaml"]
    return begun + [name for name in _visible(out) if name != RUN]


def _visible(folder: str) -> list[str]:
    return sorted(name for name in storage.names_in(folder) if not name.startswith("."))


def _nested(out: str, sources: Sequence[tuple[str, str]], pipeline: Pipeline) -> Iterator[Problem]:
    """Inputs among which the results would be read the next time."""
    inside = f"{storage.absolute(out)}/"
    read = pipeline.nodes["read"].stage
    assert isinstance(read, Read)
    for name, path in sources:
        folder = os.path.isdir(path) and inside.startswith(f"{storage.absolute(path)}/")
        if folder or any(file.path.startswith(inside) for file in read.listings[name].files):
            yield Problem(
                ("--out",), f"what is written to {out} would be input of {path!r}", "choose a folder beside it"
            )


def _as_option(problem: Problem) -> Problem:
    """A problem of the pipeline, said of the option that it came from."""
    match problem.where:
        case ("stages", "read", "sources", name, "path", *_):
            where: tuple[str | int, ...] = (f"INPUT {name}",)
        case ("stages", "read", "sources", _, field, *_):
            where = (f"--{str(field).replace('_', '-')}",)
        case ("stages", "minhash" | "read", field, *_):
            where = (f"--{str(field).replace('_', '-')}",)
        case ("run", "root", *_):
            where = ("--out",)
        case ("engine" | "run", field, *_):
            where = (f"--{field}",)
        case _:
            where = problem.where
    return replace(problem, where=where, at="")


def _field_problems(request: DedupRequest, pipeline: Pipeline) -> Iterator[Problem]:
    """Fields asked for that no first record of any source has."""
    scope = _scope(request.within)
    asked = [("--within", scope.removeprefix("meta."))] if scope.startswith("meta.") else []
    if request.source.get("id") is not None:
        asked.append(("--id", request.source["id"]))
    preferred = [preference.rpartition(" ")[0] for preference in _preferences(request) or ()]
    asked += [("--keep", name.removeprefix("meta.")) for name in preferred if name.startswith("meta.")]
    names = _field_names(pipeline) if asked else None
    if names is None:
        return
    for option, field in asked:
        first = field.split(".")[0]
        if not {field, first} & names:
            valid = names - {request.source.get("text")}
            hint = nearest(first, valid | {"source", "all"} if option == "--within" else valid)
            if option == "--within" and "meta" in names and request.within.startswith("meta."):
                hint = f"of the field 'meta' of the input, that is 'meta.{request.within}'"
            yield Problem((option,), f"the first records have no field {first!r}", hint)


def _field_names(pipeline: Pipeline) -> set[str] | None:
    """Fields of the first records of each source; None if those of one cannot be told."""
    from curate.io.formats import jsonl, parquet
    from curate.io.streams import BrokenFileError

    read = pipeline.nodes["read"].stage
    assert isinstance(read, Read)
    names: set[str] = set()
    for file in (listing.files[0] for listing in read.listings.values() if listing.files):
        try:
            if file.format == "parquet":
                names.update(parquet.schema(file).names)
            elif file.format == "jsonl":
                records, _ = jsonl.peek(file)
                if not records:
                    return None
                names.update(name for record in records for name in record)
        except BrokenFileError:
            return None
    return names


# -- results -----------------------------------------------------------------------------------------------------------


def _link(source: str, target: str) -> None:
    """Make `target` a folder of hard links to the parts in `source`, or of copies where links are not possible.

    The new folder is complete before it takes the place of the old one.
    """
    folder, name = os.path.split(target)
    fresh, old = f"{folder}/.{name}-new", f"{folder}/.{name}-old"
    for leftover in (fresh, old):
        shutil.rmtree(leftover, ignore_errors=True)
    os.makedirs(fresh)
    for name in sorted(storage.names_in(source)):
        if name.startswith("part-"):
            try:
                os.link(f"{source}/{name}", f"{fresh}/{name}")
            except OSError:
                shutil.copyfile(f"{source}/{name}", f"{fresh}/{name}")
    if os.path.isdir(target):
        os.rename(target, old)
    os.rename(fresh, target)
    shutil.rmtree(old, ignore_errors=True)


def _cluster_parts(table: Table) -> Iterator[pa.Table]:
    """The members of clusters, shard by shard."""
    for shard in table.shards:
        names = ["minhash_cluster", "id", "source", "source_id", "minhash_size", "minhash_jaccard", "minhash_keep"]
        rows = table.read(shard, names)
        yield plain_columns(rows.filter(rows.column(0).is_valid())).rename_columns(CLUSTER.names)


def _account(pipeline: Pipeline) -> dict[str, Any]:
    """What came in, what became of it, how well duplicates were found, and what it cost."""
    read, minhash, kept = (pipeline.nodes[name].artifact for name in ("read", "minhash", KEPT))
    stage = pipeline.nodes["minhash"].stage
    assert isinstance(stage, MinHash)
    least = stage.least_similarity
    chance = 1 - (1 - least**stage.rows) ** stage.bands
    text_bytes = Totals()
    for shard, file in zip(read.shards(), kept.body(KeptBody)["files"], strict=True):
        text_bytes.add({shard.source: {"in": shard.text_bytes, "kept": file["text_bytes"]}})
    sources = {}
    for source, counts in read.manifest["flow"].items():
        written = kept.manifest["flow"].get(source, {"kept": 0, "dropped": {}})
        sources[source] = {
            "documents": {
                "in": counts["in"],
                "kept": written["kept"],
                "dropped": written["dropped"],
                "quarantined": counts["quarantined"],
            },
            "text_bytes": text_bytes.counts.get(source, {"in": 0, "kept": 0}),
            "files": read.body(ReadBody)["files"][source],
        }
    found = minhash.body(MinHashBody)
    return {
        "fingerprint": kept.fingerprint,
        "sources": sources,
        "settings": stage.model_dump(mode="json", exclude={"stage", "name", "after"})
        | {"threshold": round(least, 4), "chance_at_threshold": round(chance, 4)},
        "cluster_sizes": found["cluster_sizes"],
        "largest_component": found["largest_component"],
        "largest_bucket": found["largest_bucket"],
        "hot_buckets": found["hot_buckets"],
        "crowded": found["crowded"],
        "cut_components": found["cut_components"],
        "duplicates": found["duplicates"],
        "quality": found["quality"],
        "cost": _cost(pipeline, sum(counts["in"] for counts in text_bytes.counts.values())),
        "versions": storage.read_json(f"{pipeline.root}/run.json")["versions"],
    }


def _cost(pipeline: Pipeline, text_bytes: int) -> dict[str, Any]:
    """Seconds by stage, of processors and by the clock, of tasks alone; and the largest process."""
    cpu, wall, peak = {}, {}, 0
    for name, node in pipeline.nodes.items():
        receipts = list(_receipts(f"{node.artifact.path}/{RECEIPTS}"))
        cpu[name] = round(sum(receipt.cpu_seconds for receipt in receipts), 3)
        wall[name] = round(sum(receipt.seconds for receipt in receipts), 3)
        peak = max([peak, *(receipt.peak_rss for receipt in receipts)])
    total = sum(cpu.values())
    return {
        "cpu_seconds": cpu,
        "task_seconds": wall,
        "peak_rss": peak,
        "text_bytes": text_bytes,
        "mb_per_core_second": round(text_bytes / 1e6 / total, 1) if total else None,
    }


def _receipts(folder: str) -> Iterator[Receipt]:
    for path in sorted(Path(folder).rglob("*.json")):
        receipt = read_receipt(str(path))
        if receipt is not None:
            yield receipt
