"""Near-duplicate removal in one command: files in, the kept documents and an account of the others out.

The pipeline is an ordinary one, of `read`, `minhash` and `kept`, in a run directory of its own under ``run``; what is
added here are the options' way into it and the files that are handed over.
"""

import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from curate import storage
from curate.artifact import RECEIPTS, Receipt, Totals, read_receipt
from curate.errors import ConfigError, Problem, nearest
from curate.io.pieces import shard_size
from curate.io.plain import plain_columns, plain_type
from curate.pipeline import Pipeline
from curate.stages.minhash import PAIR, PAIRS, MinHash
from curate.table import DOCUMENT, ParquetWriter, Table, read_part

KEPT, PAIRS_FILE, CLUSTERS_FILE, REPORT, RUN = "kept", "pairs.parquet", "clusters.parquet", "report.json", "run"
MAX_PERMUTATIONS = 256  # that bands and rows may come to when they are chosen for a threshold
RECALL = 0.95  # at the threshold, unless given
LEAST_SHARD = 32_000_000  # bytes of text: on small inputs, smaller shards cost a seventh more processor time
MAX_TEXT_BYTES = 256_000_000
_SUFFIXES = re.compile(r"(\.(jsonl|ndjson|json|parquet|txt|text|gz|zst))+$", re.IGNORECASE)
_OWN = {KEPT, PAIRS_FILE, CLUSTERS_FILE, REPORT, RUN}

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
class Request:
    """What the command line asks for.

    Parameters
    ----------
    inputs
        Files, folders or globs, each a source named for its file, or ``NAME=PATH``.
    out
        Folder for the results.
    source
        Options of every source, as of `curate.stages.read.Source`.
    minhash
        Options of the `minhash` stage; those that are None were not given.
    recall
        Least chance of finding a pair at the threshold, for which bands and rows are chosen.
    within
        ``all``, ``source``, or a field of the input.
    max_text_bytes
        Longest document that is read.
    workers, seed
        Processes, and the seed of the hash functions.
    """

    inputs: Sequence[str]
    out: str
    source: Mapping[str, Any]
    minhash: Mapping[str, Any]
    recall: float | None = None
    within: str = "all"
    max_text_bytes: int | str = MAX_TEXT_BYTES
    workers: int | None = None
    seed: int = 0


def pipeline_of(request: Request) -> Pipeline:
    """The pipeline that a request comes to.

    Raises
    ------
    ConfigError
        With every problem found, each named for the option that it is about.
    """
    problems = list(_problems(request))
    if problems:
        raise ConfigError(problems)
    minhash = {name: value for name, value in request.minhash.items() if value is not None}
    minhash |= {"within": _scope(request.within), "seed": request.seed} | _bands(request)
    sources = {name: {"path": path, **request.source} for name, path in _sources(request.inputs).items()}
    read = {"sources": sources, "max_text_bytes": request.max_text_bytes}
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
    problems = list(_field_problems(request, pipeline))
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
    """Whether `out` holds the results of this very pipeline."""
    try:
        return storage.read_json(f"{out}/{REPORT}")["fingerprint"] == pipeline.nodes[KEPT].artifact.fingerprint
    except (FileNotFoundError, ValueError, KeyError):
        return False


# -- options -----------------------------------------------------------------------------------------------------------


def _sources(inputs: Sequence[str]) -> dict[str, str]:
    """Paths by name of the source: the file's name without suffixes, numbered where two are the same."""
    sources: dict[str, str] = {}
    for text in inputs:
        name, separator, path = text.partition("=")
        if not separator or "/" in name:
            path = text
            stem = _SUFFIXES.sub("", os.path.basename(text.rstrip("/"))) or "input"
            name = re.sub(r"[^\w.+-]+", "_", stem).lstrip(".+-") or "input"
        number, unique = 2, name
        while unique in sources:
            number, unique = number + 1, f"{name}-{number}"
        sources[unique] = path
    return sources


def _scope(within: str) -> str:
    own = {"all", "source", *DOCUMENT.names}
    return within if within in own or within.startswith("meta.") else f"meta.{within}"


def _bands(request: Request) -> dict[str, int]:
    """Bands and rows for the threshold, unless they are given."""
    threshold = request.minhash.get("threshold")
    if threshold is None or request.minhash.get("bands") or request.minhash.get("rows"):
        return {}
    from curate.text.minhash import choose_bands

    return choose_bands(MAX_PERMUTATIONS, threshold, request.recall or RECALL)._asdict()


def _problems(request: Request) -> Iterator[Problem]:
    """What is wrong with options that are no fields of a stage."""
    shape = [f"--{name}" for name in ("bands", "rows") if request.minhash.get(name)]
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
    if not storage.is_local(request.out):
        yield Problem(("--out",), "must be a local folder", "`curate run` writes to object storage")
    elif os.path.isdir(request.out):
        foreign = sorted(set(os.listdir(request.out)) - _OWN)
        foreign = [name for name in foreign if not name.startswith(".")]
        if foreign and not os.path.exists(f"{request.out}/{RUN}/run.json"):
            yield Problem(("--out",), f"{request.out} holds something else, such as {foreign[0]!r}", "choose another")
    elif os.path.exists(request.out):
        yield Problem(("--out",), f"{request.out} is a file")


def _as_option(problem: Problem) -> Problem:
    """A problem of the pipeline, said of the option that it came from."""
    match problem.where:
        case ("stages", "read", "sources", name, "path", *_):
            where: tuple[str | int, ...] = (f"INPUT {name}",)
        case ("stages", "read", "sources", _, field, *_):
            where = (f"--{str(field).replace('_', '-')}",)
        case ("stages", "minhash" | "read", field, *_):
            where = (f"--{str(field).replace('_', '-')}",)
        case ("engine", field, *_):
            where = (f"--{field}",)
        case ("run", "root", *_):
            where = ("--out",)
        case _:
            where = problem.where
    return replace(problem, where=where, at="")


def _field_problems(request: Request, pipeline: Pipeline) -> Iterator[Problem]:
    """A scope that no first record of any file has would be none at all."""
    from curate.io import jsonl, parquet
    from curate.io.streams import BrokenFileError
    from curate.stages.read import Read

    scope = _scope(request.within)
    read = pipeline.nodes["read"].stage
    if not scope.startswith("meta.") or not isinstance(read, Read):
        return
    names: list[str] = []
    for listing in read.listings.values():
        for file in listing.files[:1]:
            try:
                if file.format == "parquet":
                    names += parquet.schema(file).names
                elif file.format == "jsonl":
                    names += [name for record in jsonl.peek(file)[0] for name in record]
            except BrokenFileError:
                continue
    field = scope.removeprefix("meta.").split(".")[0]
    if field not in names:
        hint = nearest(field, {*names, "source", "all"} - set(request.source.values()))
        yield Problem(("--within",), f"the first records have no field {field!r}", hint)


# -- results -----------------------------------------------------------------------------------------------------------


def _link(source: str, target: str) -> None:
    """Make `target` a folder of hard links to the parts in `source`, or of copies where links are not possible.

    The new folder is complete before it takes the place of the old one.
    """
    fresh, old = f"{target}.new", f"{target}.old"
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
    text_bytes = Totals()
    for shard, file in zip(read.shards(), kept.manifest["files"], strict=True):
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
        }
    found = {
        name: minhash.manifest[name]
        for name in (
            *("cluster_sizes", "largest_component", "largest_bucket", "hot_buckets", "crowded", "cut_components"),
            *("duplicates", "quality"),
        )
    }
    return {
        "fingerprint": kept.fingerprint,
        "sources": sources,
        "settings": stage.model_dump(mode="json", exclude={"stage", "name", "after"})
        | {"threshold": round(stage.least_similarity, 4)},
        **found,
        "cost": _cost(pipeline, sum(counts["in"] for counts in text_bytes.counts.values())),
        "versions": storage.read_json(f"{pipeline.root}/run.json")["versions"],
    }


def _cost(pipeline: Pipeline, text_bytes: int) -> dict[str, Any]:
    """Processor seconds by stage, of tasks alone, and the largest process."""
    seconds, peak = {}, 0
    for name, node in pipeline.nodes.items():
        receipts = list(_receipts(f"{node.artifact.path}/{RECEIPTS}"))
        seconds[name] = round(sum(receipt.cpu_seconds for receipt in receipts), 3)
        peak = max([peak, *(receipt.peak_rss for receipt in receipts)])
    total = sum(seconds.values())
    return {
        "cpu_seconds": seconds,
        "peak_rss": peak,
        "text_bytes": text_bytes,
        "mb_per_core_second": round(text_bytes / 1e6 / total, 1) if total else None,
    }


def _receipts(folder: str) -> Iterator[Receipt]:
    for path in sorted(Path(folder).rglob("*.json")):
        receipt = read_receipt(str(path))
        if receipt is not None:
            yield receipt
