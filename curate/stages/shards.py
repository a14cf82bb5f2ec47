"""Write the mixture: nested training rungs and held-out documents as Parquet, shuffled, with a manifest and a card.

Rung k consists of the files of the increments 0 to k, in order, so nothing is on disk twice and every rung is a prefix
of the next. Within an increment copies are ordered by a hash that has nothing to do with the one that chose them, so
every prefix of the files carries the mixture. Text goes from input to output shards through the exchange, once.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, NamedTuple
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import BeforeValidator, ConfigDict, Field, ValidationInfo, WithJsonSchema

from curate import storage
from curate.artifact import Flow, Shard, Totals, file_hash
from curate.config.units import BYTE_FORMS, COUNT_FORMS, parse_bytes, parse_count
from curate.engine.exchange import MAX_PARTITIONS, partition_of
from curate.errors import Problem, RunError
from curate.io.plain import plain_columns, plain_type
from curate.mixture.manifest import (
    CopySizes,
    MixBody,
    OutputFile,
    Plan,
    PlannedSource,
    ShardsBody,
    WrittenFile,
    WrittenRung,
)
from curate.stage import Known, Stage
from curate.table import DOCUMENT, ROW_GROUP, ROW_GROUP_BYTES, ParquetWriter, Table, as_batch

if TYPE_CHECKING:
    from curate.engine.context import Context
    from curate.mixture.budget import Reach

TOKENIZER = "tokenizer.json"
LANGUAGE = "lang_code"
FINAL_COMPRESSION_LEVEL = 3  # of zstd: these files are written once and read for years
ORDER = "_order"  # column of the hash that orders rows, while they travel

ROW = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("source_id", pa.string(), nullable=False),
        pa.field("text", pa.large_string(), nullable=False),
        pa.field("tokens", pa.int32(), nullable=False),
        pa.field("epoch", pa.int32(), nullable=False),
        pa.field("url", pa.string()),
        pa.field("date", DOCUMENT.field("date").type),
        pa.field("meta", pa.string()),
    ]
)
_READ = ("id", "source", "source_id", "text", "tokens", "url", "date", "meta", "mix_split")


def _amount(value: object, info: ValidationInfo) -> int:
    return (parse_count if info.data.get("shard_unit") == "tokens" else parse_bytes)(value)


class FileGroup(NamedTuple):
    """Output files that share a folder: an increment of the ladder, or the held-out documents of one source.

    Attributes
    ----------
    folder
        Relative to the stage's directory.
    first, files
        Number of the first file among all output files, and number of files.
    """

    folder: str
    first: int
    files: int

    def path(self, file: int) -> str:
        """Relative path of a file by its number among all output files."""
        return f"{self.folder}/part-{file - self.first:05d}.parquet"


@dataclass(frozen=True)
class FileLayout:
    """Which row goes to which file.

    Parameters
    ----------
    groups
        All output files, the increments of the ladder first.
    reaches
        How far each source goes in each rung.
    seed
        The run's seed.
    """

    groups: tuple[FileGroup, ...]
    reaches: Mapping[str, Sequence["Reach"]]
    seed: int

    @property
    def files(self) -> int:
        """Number of output files."""
        return self.groups[-1].first + self.groups[-1].files

    def path(self, file: int) -> str:
        """Relative path of a file by its number."""
        return next(group for group in self.groups if group.first <= file < group.first + group.files).path(file)


class Shards(Stage):
    """Write rungs as ``train/rung-00/part-00000.parquet`` and so on, held-out documents as ``validation/<source>/...``.

    Rows have the columns of `ROW` and those named in `columns`. The manifest lists all files with rows, tokens, bytes
    and SHA-256, the increments of the ladder first, so that a rung is the first so many of them; ``README.md`` is a
    dataset card from which ``datasets.load_dataset(folder, "rung-00")`` finds each rung.

    Examples
    --------
    >>> Shards(shard_size="64M", shard_unit="tokens", columns=["lang_code"]).requires()[-2:]
    ('mix_split', 'lang_code')
    """

    model_config = ConfigDict(serialize_by_alias=True)

    stage: Literal["shards"] = "shards"
    version: ClassVar[int] = 1
    seeded: ClassVar[bool] = True

    shard_unit: Literal["bytes", "tokens"] = Field(default="bytes", description="what `shard_size` counts")
    shard_size: Annotated[
        int,
        BeforeValidator(_amount),
        Field(ge=1),
        WithJsonSchema(
            {
                "anyOf": [{"type": "integer", "minimum": 1}, {"type": "string"}],
                "description": f"in bytes {BYTE_FORMS}, in tokens {COUNT_FORMS}",
            }
        ),
    ] = Field(default=256_000_000, description="text of an output file")
    carry: tuple[str, ...] = Field(
        default=(), alias="columns", description="columns of other stages that go into the files too"
    )
    mix: str = Field(default="mix", description="name of the `mix` stage")
    tokens: str = Field(default="tokens", description="name of the `tokens` stage, whose tokenizer goes with the files")

    def requires(self) -> tuple[str, ...]:
        """Documents, their tokens and split, and the columns carried along."""
        return tuple(dict.fromkeys([*_READ, *self.carry]))

    def place(self, column: str) -> tuple[str | int, ...]:
        """Where `column` is named."""
        return ("columns", self.carry.index(column)) if column in self.carry else ()

    def references(self) -> tuple[str, ...]:
        """The plan and the tokenizer."""
        return (self.mix, self.tokens)

    def check(self, known: Known) -> Iterable[Problem]:
        """References name stages of the right kind, and no column is there twice."""
        for field, name in (("mix", self.mix), ("tokens", self.tokens)):
            stage = known.stages.get(name)
            if stage is not None and stage.stage != field:
                yield Problem((field,), f"{name!r} is a `{stage.stage}` stage, not a `{field}` stage")
        for position, column in enumerate(self.carry):
            if column in ROW.names or column in self.carry[:position]:
                yield Problem(("columns", position), f"the files have a column {column!r} already")

    def run(self, ctx: "Context") -> ShardsBody:
        """Shuffle the text to its output files, check them against the plan, and describe them."""
        from curate.mixture.budget import Reach
        from curate.mixture.dataset_card import dataset_card

        plan = ctx.inputs[self.mix].body(MixBody)["plan"]
        reaches = {
            source: [Reach.from_json(rung["reach"]) for rung in entry["rungs"]]
            for source, entry in plan["sources"].items()
        }
        layout = FileLayout(_groups(plan, self.shard_size, self.shard_unit), reaches, ctx.seed)
        schema = self._schema(ctx.table)
        results = []
        for first in range(0, layout.files, MAX_PARTITIONS):
            files = range(first, min(first + MAX_PARTITIONS, layout.files))
            scatter = partial(_scatter, ctx.table, layout, schema, files)
            write = partial(_write, layout, schema, ctx.path, files)
            results += ctx.exchange(f"text-{first:05d}", scatter, write, len(files))
        _verify(plan, layout, results)
        tokenizer = storage.read_bytes(f"{ctx.inputs[self.tokens].path}/{TOKENIZER}")
        body: ShardsBody = {
            "flow": _flow(ctx.table.shards, results),
            "rungs": _rungs(plan, layout, results),
            "validation": plan["validation"],
            "files": [_listed(result) for result in results],
            "schema": [{"name": field.name, "type": str(field.type)} for field in schema],
            "tokenizer": {"path": TOKENIZER, "sha256": hashlib.sha256(tokenizer).hexdigest()},
        }
        languages = Totals()
        for result in results:
            languages.add(result["languages"])
        card = dataset_card(ctx.artifact.name, plan, body, languages.counts).encode()
        for name, content in ((TOKENIZER, tokenizer), ("README.md", card), ("dataset_card.md", card)):
            with storage.replacing(f"{ctx.path}/{name}") as file:
                file.write(content)
        return body

    def _schema(self, table: Table) -> pa.Schema:
        """Columns of the output files; dictionaries become plain values, which every reader knows."""
        carried = table.read(table.shards[0], self.carry).schema if self.carry else ()
        return pa.schema([*ROW, *(pa.field(field.name, plain_type(field.type)) for field in carried)])


# -- layout ------------------------------------------------------------------------------------------------------------


def _groups(plan: Plan, shard_size: int, unit: str) -> tuple[FileGroup, ...]:
    """The output files that a plan comes to; an increment has at least one file, empty or not."""
    totals = [0, *(rung[unit] for rung in plan["rungs"])]
    wanted = {
        f"train/{rung['name']}": max(after - before, 1)
        for rung, (before, after) in zip(plan["rungs"], pairwise(totals), strict=True)
    }
    for source, entry in plan["sources"].items():
        if entry["validation"]["documents"]:
            wanted[_validation(source)] = max(entry["validation"][unit], 1)
    files = [-(-size // shard_size) for size in wanted.values()]
    firsts = accumulate(files, initial=0)
    return tuple(FileGroup(folder, first, count) for folder, first, count in zip(wanted, firsts, files, strict=False))


def _listed(file: WrittenFile) -> OutputFile:
    """A file as the manifest lists it."""
    path, rows, tokens, size, sha256 = file["path"], file["rows"], file["tokens"], file["bytes"], file["sha256"]
    return {"path": path, "rows": rows, "tokens": tokens, "bytes": size, "sha256": sha256}


def _validation(source: str) -> str:
    """Folder of the held-out documents of a source, whatever characters are in its name."""
    return f"validation/{quote(source, safe='')}"


def _rungs(plan: Plan, layout: FileLayout, results: Sequence[WrittenFile]) -> list[WrittenRung]:
    """Rungs with the number of files that make them up, counted from the first, and the hash chain over these."""
    chain = ""
    rungs: list[WrittenRung] = []
    for rung, group in zip(plan["rungs"], layout.groups, strict=False):
        digests = [result["sha256"] for result in results[group.first : group.first + group.files]]
        chain = hashlib.sha256("".join([chain, *digests]).encode()).hexdigest()
        rungs.append({**rung, "files": group.first + group.files, "nesting": chain})
    return rungs


# -- shuffle -----------------------------------------------------------------------------------------------------------


def _scatter(
    table: Table, layout: FileLayout, schema: pa.Schema, files: range, shard: Shard, path: str
) -> dict[str, Any]:
    """Write what one input shard gives to each of `files`: batch p is for file number p of them.

    Batches are taken out of the shard one at a time, so that many epochs of a document cost no memory.
    """
    from curate.text.hashing import id_bytes

    names = [name for name in schema.names if name != "epoch"]
    columns = table.read(shard, [*names, "mix_split"])
    ids = id_bytes(columns.column("id"))
    row, epoch, order, file = _copies(layout, shard.source, columns.column("mix_split"), ids)
    columns = plain_columns(columns)
    travelling = pa.schema([*schema, pa.field(ORDER, pa.uint64())])
    inside = np.flatnonzero((file >= files.start) & (file < files.stop))
    inside = inside[np.argsort(file[inside], kind="stable")]
    bounds = np.searchsorted(file[inside], np.arange(files.start, files.stop + 1))
    options = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)
    with storage.replacing(path) as sink, pa.ipc.new_file(sink, travelling, options=options) as writer:
        for first, last in pairwise(bounds.tolist()):
            chosen = inside[first:last]
            part = columns.take(pa.array(row[chosen]))
            part = part.append_column("epoch", pa.array(epoch[chosen])).append_column(ORDER, pa.array(order[chosen]))
            writer.write_batch(as_batch(part.select(travelling.names).cast(travelling)))
    return {"copies": len(inside)}


def _copies(
    layout: FileLayout, source: str, split: pa.ChunkedArray, ids: NDArray[np.uint8]
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.uint64], NDArray[np.int64]]:
    """Row, epoch, order hash and file of every copy that a shard of `source` gives."""
    from curate.mixture.budget import copies
    from curate.text.hashing import hash64

    found = []
    train = _rows_of(split, "train")
    held = copies(layout.seed, ids[train], layout.reaches[source])
    before = np.zeros(len(train), np.int32)
    for rung in range(held.shape[1]):
        after = held[:, rung]
        found += [
            (train[(before <= epoch) & (epoch < after)], epoch, layout.groups[rung])
            for epoch in range(int(before.min(initial=0)), int(after.max(initial=0)))
        ]
        before = after
    validation = _rows_of(split, "validation")
    found += [(validation, 0, group) for group in layout.groups if group.folder == _validation(source)]
    parts = [(np.empty(0, np.int64), np.empty(0, np.int32), np.empty(0, np.uint64), np.empty(0, np.int64))]
    for rows, epoch, group in found:
        order = hash64(layout.seed, f"order/{epoch}", ids[rows])
        parts.append((rows, np.full(len(rows), epoch, np.int32), order, group.first + partition_of(order, group.files)))
    row, epochs, orders, places = (np.concatenate(column) for column in zip(*parts, strict=True))
    return row, epochs, orders, places


def _rows_of(split: pa.ChunkedArray, name: str) -> NDArray[np.int64]:
    """Positions of the rows of one split."""
    return np.flatnonzero(pc.call_function("equal", [split, pa.scalar(name)]).fill_null(False))


def _write(
    layout: FileLayout, schema: pa.Schema, folder: str, files: range, number: int, rows: pa.Table
) -> WrittenFile:
    """Write one output file, ordered by hash, then id and epoch; row groups of 1024 rows or 32 MB."""
    path = layout.path(files[number])
    keys = [(ORDER, "ascending"), ("id", "ascending"), ("epoch", "ascending")]
    order = pc.call_function("sort_indices", [rows.select([key for key, _ in keys])], pc.SortOptions(sort_keys=keys))
    sizes = pc.call_function("binary_length", [rows.column("text")]).to_numpy()
    with ParquetWriter(f"{folder}/{path}", schema, FINAL_COMPRESSION_LEVEL) as writer:
        for first, last in pairwise(_row_groups(sizes[order])):
            writer.write(rows.take(order[first:last]).select(schema.names))
    return {
        "path": path,
        "rows": rows.num_rows,
        "tokens": int(rows.column("tokens").to_numpy().sum(dtype=np.int64)),
        "bytes": int(sizes.sum()),
        "sha256": file_hash(f"{folder}/{path}"),
        "sources": _counts(rows, sizes),
        "languages": _languages(rows),
    }


def _row_groups(sizes: NDArray[np.int64]) -> list[int]:
    """Bounds of row groups."""
    rows, ends = np.arange(len(sizes)), np.cumsum(sizes)
    starts = (np.diff(rows // ROW_GROUP) != 0) | (np.diff(ends // ROW_GROUP_BYTES) != 0)
    return [0, *(np.flatnonzero(starts) + 1).tolist(), len(sizes)]


def _counts(rows: pa.Table, sizes: NDArray[np.int64]) -> dict[str, CopySizes]:
    """Rows, first copies, tokens and bytes by source."""
    table = pa.table(
        {
            "source": rows.column("source"),
            "copies": pa.array(np.ones(rows.num_rows, np.int64)),
            "documents": pa.array((rows.column("epoch").to_numpy() == 0).astype(np.int64)),
            "tokens": rows.column("tokens").cast(pa.int64()),
            "bytes": pa.array(sizes.astype(np.int64)),
        }
    )
    names = [name for name in table.column_names if name != "source"]
    totals = table.group_by("source", use_threads=False).aggregate([(name, "sum") for name in names])
    counts: list[CopySizes] = totals.select([f"{name}_sum" for name in names]).rename_columns(names).to_pylist()
    return dict(zip(totals["source"].to_pylist(), counts, strict=True))


def _languages(rows: pa.Table) -> dict[str, int]:
    """Tokens by language, where that column is carried along."""
    if LANGUAGE not in rows.column_names:
        return {}
    found = rows.filter(pc.is_valid(rows.column(LANGUAGE)))  # type: ignore[attr-defined]
    sums = found.group_by(LANGUAGE).aggregate([("tokens", "sum")])
    return dict(zip(sums.column(LANGUAGE).to_pylist(), sums.column("tokens_sum").to_pylist(), strict=True))


# -- accounts ----------------------------------------------------------------------------------------------------------


def _verify(plan: Plan, layout: FileLayout, results: Sequence[WrittenFile]) -> None:
    """Raise ``RunError`` unless what was written is what was planned: copies, tokens and bytes by source and group."""
    for position, group in enumerate(layout.groups):
        written = Totals()
        for result in results[group.first : group.first + group.files]:
            written.add(result["sources"])
        for source, entry in plan["sources"].items():
            planned = _planned(entry, position, _validation(source) == group.folder)
            found = {key: written.counts.get(source, {}).get(key, 0) for key in planned}
            if found != planned:
                raise RunError(f"{group.folder} should hold {planned} of {source}, but holds {found}")


def _planned(entry: PlannedSource, position: int, validation: bool) -> dict[str, int]:  # noqa: FBT001
    """What a source gives to the group at `position`, or to its validation files."""
    if validation:
        return {key: entry["validation"][key] for key in ("documents", "tokens", "bytes")}
    rungs = [dict.fromkeys(("copies", "tokens", "bytes"), 0), *entry["rungs"]]
    before, after = rungs[position : position + 2] if position < len(entry["rungs"]) else (rungs[0], rungs[0])
    return {key: after[key] - before[key] for key in rungs[0]}


def _flow(shards: Sequence[Shard], results: Sequence[WrittenFile]) -> Flow:
    """Documents written at least once, by source; the others are not in the mixture."""
    rows, written = Totals(), Totals()
    for shard in shards:
        rows.add({shard.source: shard.rows})
    for result in results:
        written.add({source: counts["documents"] for source, counts in result["sources"].items()})
    flow: Flow = {}
    for source, count in rows.counts.items():
        kept = written.counts.get(source, 0)
        flow[source] = {"in": count, "kept": kept, "dropped": {"not_in_mix": count - kept}, "quarantined": {}}
    return flow
