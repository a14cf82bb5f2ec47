"""All that a run knows of one document: its columns, the rules that are true of it, its copies, and where it landed.

A document is found by reading the ``id`` (or ``source_id``) columns shard by shard: the time grows with the corpus, the
memory does not.
"""

import re
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from curate import storage
from curate.artifact import Shard
from curate.config.units import number
from curate.errors import RunError, nearest
from curate.mixture.manifest import MixBody, ShardsBody
from curate.report.difference import difference
from curate.report.explanation import (
    Cleaned,
    Cluster,
    Contribution,
    Destination,
    Explanation,
    FiredRule,
    FoundItem,
    Landing,
    QuarantinedRow,
    RemovedSpans,
    Weighed,
)
from curate.report.record import RunRecord, StageRecord
from curate.rewrite import DROPPED_FOLDER, QUARANTINE_FOLDER
from curate.rules.manifest import SelectBody
from curate.table import read_part, read_row
from curate.weak.manifest import WeakBody

MEMBERS = 20  # of a cluster that are named
CANDIDATES = 10  # documents that are named when the beginning of an id fits several
SNIPPET = 300  # characters of text
EXAMPLES = 3  # ids that are named when there is no such document

_ID = re.compile(r"[0-9a-fA-F]{6,32}")

Place = tuple[Shard, int]
"""A shard, and a row of it."""


def explain(run_dir: str, document: str) -> Explanation | QuarantinedRow:
    """What became of one document.

    Parameters
    ----------
    run_dir
        Directory of a run, finished or not.
    document
        An id (32 hexadecimal digits), its beginning (at least 6), or ``source/source_id``. A record without an id of
        its own is ``source/file#offset``, also when it was quarantined.

    Raises
    ------
    RunError
        There is no such document, or there are several.
    """
    run = RunRecord(run_dir)
    tables = [stage for stage in run.stages if stage.makes_table]
    if not tables:
        raise RunError(f"no stage of {run.root} has made documents yet")
    if "/" not in document and not _ID.fullmatch(document):
        raise RunError(
            f"{document!r} names no document: give an id of 32 hexadecimal digits, at least the first 6 of them, "
            "or SOURCE/SOURCE_ID"
        )
    source, _, source_id = document.partition("/") if "/" in document else ("", "", "")
    later: StageRecord | None = None
    for table in reversed(tables):
        places = list(_by_source_id(table, source, source_id) if source else _by_prefix(table, document.lower()))
        if len(places) > 1:
            raise RunError(_several(table, document, places))
        if places:
            return _explained(run, table, later, *places[0])
        later = table
    found = _quarantined(run, source, source_id)
    if found is None:
        raise RunError(_unknown(run, tables[-1], document, source))
    return found


# -- finding -----------------------------------------------------------------------------------------------------------


def _by_prefix(table: StageRecord, prefix: str) -> Iterator[Place]:
    """Documents whose id begins with the hexadecimal digits `prefix`."""
    whole, half = bytes.fromhex(prefix[: len(prefix) // 2 * 2]), len(prefix) % 2
    for shard in table.artifact.shards():
        ids = _digests(read_part(table.artifact.part(shard.name), ["id"]).column("id"))
        fits = (ids[:, : len(whole)] == np.frombuffer(whole, np.uint8)).all(axis=1)
        if half:
            fits &= ids[:, len(whole)] >> 4 == int(prefix[-1], 16)
        yield from ((shard, int(row)) for row in np.flatnonzero(fits))


def _digests(ids: pa.ChunkedArray) -> np.ndarray:
    """Ids as bytes, shape (documents, 16)."""
    return np.frombuffer(b"".join(ids.to_pylist()), np.uint8).reshape(-1, 16)


def _by_source_id(table: StageRecord, source: str, source_id: str) -> Iterator[Place]:
    for shard in table.artifact.shards():
        if shard.source == source:
            column = read_part(table.artifact.part(shard.name), ["source_id"]).column("source_id")
            yield from ((shard, row) for row in _rows_equal(column, source_id))


def _rows_equal(column: pa.ChunkedArray, value: Any) -> list[int]:
    """Rows in which a column has a value."""
    import polars as pl

    frame = pl.DataFrame({"value": pl.Series(column)})
    return frame.select(pl.arg_where(pl.col("value") == pl.lit(value))).to_series().to_list()


def _quarantined(run: RunRecord, source: str, source_id: str) -> QuarantinedRow | None:
    """The quarantined record at ``file#offset`` of a source."""
    file, _, offset = source_id.rpartition("#")
    if not offset.isdecimal():
        return None
    for stage in run.of("read"):
        for path in stage.quarantine():
            rows = read_part(path)
            fits = (pc.field("source") == source) & (pc.field("file") == file) & (pc.field("offset") == int(offset))
            for row in rows.filter(fits).drop_columns(["scope"]).to_pylist():
                return QuarantinedRow(**row)
    return None


def _unknown(run: RunRecord, table: StageRecord, document: str, source: str) -> str:
    """Says that there is no such document, and how to see which there are."""
    shards = table.artifact.shards()
    lines = [f"there is no document {document!r} among the {number(sum(s.rows for s in shards))} of {run.root}"]
    sources = {shard.source for shard in shards}
    if source and source not in sources:
        lines.append(f"there is no source {source!r}; {nearest(source, sources)}")
    bad = sum(sum(stage.manifest["flow"].get(source, _NO_ROWS)["quarantined"].values()) for stage in run.of("read"))
    if bad:
        lines.append(
            f"{number(bad)} records of {source} were quarantined: look for SOURCE/FILE#OFFSET, or in report.html"
        )
    examples = [shard for shard in shards if shard.source == source] or shards
    if examples:
        places = [(examples[0], row) for row in range(min(EXAMPLES, examples[0].rows))]
        lines.append("documents are called, for example:")
        lines += [f"    {own}  {name}/{source_id}" for own, name, source_id in _names(table, places)]
        lines.append("to list them all:")
        scan = f"curate.Run({run.root!r}).scan(table={table.name!r})"
        lines.append(f"    {scan}.select('id', 'source', 'source_id').collect()")
    return "\n    ".join(lines)


_NO_ROWS: dict[str, dict[str, int]] = {"quarantined": {}}


def _several(table: StageRecord, document: str, places: list[Place]) -> str:
    lines = [f"{document!r} fits {number(len(places))} documents:"]
    lines += ["  ".join([member, f"{source}/{own}"]) for member, source, own in _names(table, places[:CANDIDATES])]
    return "\n    ".join([*lines, *(["..."] if len(places) > CANDIDATES else [])])


def _names(table: StageRecord, places: Iterable[Place]) -> Iterator[tuple[str, str, str]]:
    """Id, source and the source's own id of documents."""
    for shard, row in places:
        values = read_row(table.artifact.part(shard.name), row, ["id", "source", "source_id"])
        yield values["id"].hex(), values["source"], values["source_id"]


# -- telling -----------------------------------------------------------------------------------------------------------


def _explained(run: RunRecord, table: StageRecord, later: StageRecord | None, shard: Shard, row: int) -> Explanation:
    part = table.artifact.part(shard.name)
    document = read_row(part, row)
    annotations = {
        stage.name: read_row(stage.artifact.part(shard.name), row)
        for stage in run.stages
        if stage.annotates(table) and stage.manifest["columns"]
    }
    own = document["id"].hex()
    clusters = tuple(_clusters(run, table, annotations))
    keep, rules = _decision(run, annotations)
    return Explanation(
        id=own,
        source=document["source"],
        source_id=document["source_id"],
        url=document["url"],
        date=document["date"],
        file=_relative(run, part),
        row=row,
        snippet=" ".join(document["text"][: 4 * SNIPPET].split())[:SNIPPET],
        annotations=annotations,
        keep=keep,
        rules=rules,
        clusters=clusters,
        destination=_destination(run, document, annotations),
        difference=_difference(table, document, clusters),
        emptied_by=later and later.name,
        emptied_for=_reason(later, document["id"], shard.name),
        cuts=tuple(_cuts(run, document["id"], shard.name)),
        items=tuple(_items(run, document["text"].encode(), annotations)),
        cleaned=tuple(_cleaned(run, document["id"], shard.name)),
        meta=tuple(_meta(document["meta"])),
        weighed=tuple(_weighed(run, annotations)),
    )


def _meta(meta: str | None) -> Iterator[tuple[str, str]]:
    """Fields of ``meta`` and their values as text."""
    fields = orjson.loads(meta) if meta else {}
    for name, value in (fields if isinstance(fields, dict) else {"meta": fields}).items():
        yield name, value if isinstance(value, str) else orjson.dumps(value).decode()


VOTES = {-2: "not asked", -1: "abstain", 0: "drop", 1: "keep"}


def _weighed(run: RunRecord, annotations: dict[str, dict[str, Any]]) -> Iterator[Weighed]:
    """What label models made of the votes on the document."""
    for stage in run.of("weak"):
        values = annotations.get(stage.name)
        if values is None:
            continue
        weak = stage.body(WeakBody)["weak"]
        top = []
        for entry in values[f"{stage.name}_top"]:
            function = weak["functions"][entry["function"]]
            code = values[f"vote_{function['name']}"]
            bucket = function["buckets"] and code >= 0
            vote = f"bucket {code + 1} of {function['buckets']}" if bucket else VOTES[code]
            top.append(Contribution(function["name"], vote, entry["log_odds"], function["when"]))
        quality, keep, majority = (values[f"{stage.name}_{what}"] for what in ("quality", "keep", "majority"))
        yield Weighed(stage.name, quality, keep, weak["decide"]["from"], majority, tuple(top))


def _reason(later: StageRecord | None, own: bytes, shard: str) -> tuple[str, str, str] | None:
    """Whether the next table dropped or quarantined the document, why, and the detail, where that stage lists them."""
    for folder, fate in ((DROPPED_FOLDER, "dropped"), (QUARANTINE_FOLDER, "quarantined")):
        path = later and f"{later.artifact.path}/{folder}/part-{shard}.parquet"
        if path and storage.exists(path):
            listed = read_part(path)
            for row in _rows_equal(listed.column("id"), own):
                entry = listed.slice(row, 1).to_pylist()[0]
                return fate, entry["reason"], entry["detail"]
    return None


def _items(run: RunRecord, text: bytes, annotations: dict[str, dict[str, Any]]) -> Iterator[FoundItem]:
    """Items of benchmarks that stand in the document."""
    for stage in run.of("decontaminate"):
        matches = annotations.get(stage.name, {}).get("decon_matches") or []
        for match in sorted(matches, key=lambda match: (-match["ratio"], -match["ngrams"])):
            said = text[match["start"] : match["end"]].decode()
            yield FoundItem(
                stage.name, match["benchmark"], match["item"], match["ratio"], match["start"], said, match["longest"]
            )


def _cleaned(run: RunRecord, own: bytes, shard: str) -> Iterator[Cleaned]:
    """What `clean` changed in the document."""
    for stage in run.stages:
        path = f"{stage.artifact.path}/changes/part-{shard}.parquet"
        if "changes" in stage.manifest and storage.exists(path):
            changes = read_part(path)
            rows = _rows_equal(changes.column("id"), own)
            if rows:
                found = changes.take(rows).to_pylist()
                yield Cleaned(stage.name, tuple((row["kind"], row["places"], row["bytes"]) for row in found))


def _cuts(run: RunRecord, own: bytes, shard: str) -> Iterator[RemovedSpans]:
    """What the stages that make tables of tables cut out of the document; these keep the names of the shards."""
    tables = [stage for stage in run.stages if stage.makes_table]
    for before, stage in pairwise(tables):
        path = f"{stage.artifact.path}/removed/part-{shard}.parquet"
        if "removed" not in stage.manifest or not storage.exists(path):
            continue
        removed = read_part(path)
        rows = _rows_equal(removed.column("id"), own)
        if rows:
            part = before.artifact.part(shard)
            (place,) = _rows_equal(read_part(part, ["id"]).column("id"), own)
            text = read_row(part, place, ["text"])["text"].encode()
            spans = removed.select(["start", "end"]).take(rows).to_pylist()
            yield RemovedSpans(
                stage.name, tuple((span["start"], text[span["start"] : span["end"]].decode()) for span in spans)
            )


def _relative(run: RunRecord, path: str) -> str:
    return path.removeprefix(run.root + "/")


def _decision(run: RunRecord, annotations: dict[str, dict[str, Any]]) -> tuple[bool | None, tuple[FiredRule, ...]]:
    """What the last `select` decided, and the rules that its ``drop_mask`` names: bit i is set where rule i is true."""
    stages = [stage for stage in run.of("select") if stage.name in annotations]
    if not stages:
        return None, ()
    values = annotations[stages[-1].name]
    rules = enumerate(stages[-1].body(SelectBody)["rules"])
    fired = (rule for position, rule in rules if values["drop_mask"] >> position & 1)
    return values["keep"], tuple(FiredRule(stages[-1].name, rule["name"], rule["when"]) for rule in fired)


def _clusters(run: RunRecord, table: StageRecord, annotations: dict[str, dict[str, Any]]) -> Iterator[Cluster]:
    """The document's cluster in each stage that looked for copies and found some."""
    for stage in run.of("exact", "minhash"):
        values = annotations.get(stage.name, {})
        keeper = values.get(f"{stage.name}_keeper")
        if keeper is not None:
            size = values[f"{stage.name}_{'count' if stage.kind == 'exact' else 'size'}"]
            places = _members(stage, keeper, min(size, MEMBERS))
            names = tuple(_names(table, places))
            if keeper.hex() not in [name for name, _, _ in names]:
                names = (*_keeper_elsewhere(stage, keeper), *names)
            yield Cluster(stage.name, size, keeper.hex(), names, values.get(f"{stage.name}_jaccard"))


def _keeper_elsewhere(stage: StageRecord, keeper: bytes) -> Iterator[tuple[str, str, str]]:
    """The name of a keeper that is not among the first members, or in an index, from the pairs that it is in."""
    for shard in stage.artifact.shards():
        path = f"{stage.artifact.path}/pairs/part-{shard.name}.parquet"
        if storage.exists(path):
            pairs = read_part(path, ["keeper", "keeper_source", "keeper_source_id"])
            for row in _rows_equal(pairs.column("keeper"), keeper)[:1]:
                values = pairs.slice(row, 1).to_pylist()[0]
                yield keeper.hex(), values["keeper_source"], values["keeper_source_id"]
                return


def _members(stage: StageRecord, keeper: bytes, count: int) -> list[Place]:
    """The first `count` documents that have the same keeper."""
    column, found = f"{stage.name}_keeper", []
    for shard in stage.artifact.shards():
        rows = _rows_equal(read_part(stage.artifact.part(shard.name), [column]).column(column), keeper)
        found += [(shard, row) for row in rows]
        if len(found) >= count:
            break
    return found[:count]


def _difference(table: StageRecord, document: dict[str, Any], clusters: tuple[Cluster, ...]) -> tuple[str, ...]:
    """Against the keeper of the first cluster in which the document is not kept."""
    for cluster in clusters:
        if cluster.keeper != document["id"].hex():
            for shard, row in _by_prefix(table, cluster.keeper):
                kept = read_row(table.artifact.part(shard.name), row, ["text"])
                return difference(document["text"], kept["text"])
    return ()  # the keeper may be a document of an index, whose text is not in this run


def _destination(
    run: RunRecord, document: dict[str, Any], annotations: dict[str, dict[str, Any]]
) -> Destination | None:
    stages = [stage for stage in run.of("mix") if stage.name in annotations]
    if not stages:
        return None
    values = annotations[stages[-1].name]
    rung = values["mix_rung"]
    name = None if rung is None else stages[-1].body(MixBody)["plan"]["rungs"][rung]["name"]
    split, epochs = values["mix_split"], values["mix_epochs"]
    copies = epochs if split == "train" else 1 if split else 0
    return Destination(split, name, epochs, tuple(_landings(run, document["id"].hex(), split, copies)))


def _landings(run: RunRecord, own: str, split: str | None, copies: int) -> Iterator[Landing]:
    """The copies in the output files, which are read until all of them are found."""
    for stage in run.of("shards")[-1:]:
        for file in stage.body(ShardsBody)["files"]:
            if copies and file["path"].startswith(f"{split}/"):
                path = f"{stage.artifact.path}/{file['path']}"
                rows = _rows_equal(read_part(path, ["id"]).column("id"), own)
                epochs = read_part(path, ["epoch"]).column("epoch") if rows else None
                copies -= len(rows)
                yield from (Landing(_relative(run, path), row, epochs[row].as_py()) for row in rows if epochs)
