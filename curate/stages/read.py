"""Read the sources: any files in, documents in fixed shards and row order out, and what cannot be used in quarantine.

Shards and rows depend on the input files alone, never on the number of workers: see `curate.io.pieces`. Identifiers are
hashes of the source and the source's own id; documents that share both are told apart by their order.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from functools import cached_property, partial
from typing import Annotated, Any, ClassVar, Literal, TypeVar

import pyarrow as pa
from pydantic import BaseModel, Field

from curate import storage
from curate.artifact import Shard, SourceFlow
from curate.config.units import Bytes
from curate.engine.context import Context
from curate.errors import Problem, RunError, nearest
from curate.extras import missing
from curate.io.files import FORMATS, FileListing, InputFile, list_files
from curate.io.formats import html, jsonl, parquet, text, warc
from curate.io.identifiers import unique_ids
from curate.io.manifest import FileCounts, ReadBody
from curate.io.pieces import Unit, plan_units, shard_size
from curate.io.records import QUARANTINE, Batch, BatchBuilder, Fields, Reject
from curate.io.streams import BrokenFileError
from curate.stage import Estimate, Known, Stage
from curate.table import DOCUMENT, ROW_GROUP_BYTES, DocumentWriter, ParquetWriter, read_part

TOLERATED_ROWS = 10
TOLERATED_FILES = 1
SHARD_ROWS = 1 << 18  # documents of a shard, however short: some stages hold 2 kB of each at once
SAMPLED_UNITS = 4
_WEB = ("html", "warc", "arc")
_SHOWN = 20  # names of ignored files that the manifest lists
QUARANTINE_FOLDER = "quarantine"
ARCHIVES_FOLDER = "archives"
ARCHIVES = pa.schema(
    [
        pa.field("source", pa.string(), nullable=False),
        pa.field("file", pa.string(), nullable=False),
        pa.field("start", pa.int64(), nullable=False),
        pa.field("outcome", pa.string(), nullable=False),
        pa.field("reason", pa.string()),
        pa.field("records", pa.int64(), nullable=False),
    ]
)
"""What became of the records of each web archive, or each range of it, which `start` tells: they are ``documents``, or
``skipped`` or ``quarantined`` for a reason."""
SOURCE_NAME = r"^\w[\w.+-]*$"

Item = TypeVar("Item")


class Source(BaseModel, extra="forbid", frozen=True):
    """One source: the unit in which corpora are mixed and reported."""

    path: str | tuple[str, ...] = Field(
        min_length=1, description="files, folders (read with all that is in them) or globs; local paths or fsspec URLs"
    )
    format: Literal["jsonl", "parquet", "text", "html", "warc", "arc"] | None = Field(
        default=None, description="format of all files; unless given, their names tell"
    )
    text: str = Field(default="text", min_length=1, description="field of the text; a.b is field b of the object a")
    id: str = Field(
        default="id", min_length=1, description="field of the source's own id; without it, file and position"
    )
    url: str = Field(default="url", min_length=1, description="field of the URL")
    date: str = Field(default="date", min_length=1, description="field of the date: ISO 8601, or a time since 1970")

    @property
    def patterns(self) -> tuple[str, ...]:
        """Paths, folders and globs, as a tuple."""
        return (self.path,) if isinstance(self.path, str) else self.path

    @property
    def fields(self) -> Fields:
        """Where the parts of a document are."""
        return Fields(self.text, self.id, self.url, self.date)


class Read(Stage):
    """Make documents of files: JSON lines, Parquet, plain text, HTML, or the web archives WARC, WET and ARC.

    Every record becomes a document or a row of the quarantine tables; every file that cannot be read is there too.
    Records of web archives that are no pages (requests, images, answers other than 200) are dropped, and counted by
    what they are.

    Examples
    --------
    >>> stage = Read(name="read", sources={"notes": Source(path="notes/*.jsonl.zst", text="body")}, shard_bytes="8MB")
    >>> stage.sources["notes"].fields.text, stage.shard_bytes
    ('body', 8000000)
    """

    stage: Literal["read"] = "read"
    version: ClassVar[int] = 2
    makes_table: ClassVar[bool] = True

    sources: dict[Annotated[str, Field(pattern=SOURCE_NAME)], Source] = Field(
        min_length=1, description="sources by name"
    )
    shard_bytes: Annotated[Bytes, Field(gt=0)] | None = Field(
        default=None, description="text of a shard; unless given, a 64th of the input, from 8 to 256 MB"
    )
    max_text_bytes: Annotated[Bytes, Field(gt=0, lt=2**31)] = Field(
        default=32_000_000, description="longest text that is kept"
    )
    max_bad_rows: float = Field(
        default=0.01, ge=0, le=1, description="share of a source's rows that may be bad; unless it is 0, 10 rows may"
    )
    max_bad_files: float = Field(
        default=0.01, ge=0, le=1, description="share of a source's files that may be bad; unless it is 0, 1 file may"
    )

    @cached_property
    def listings(self) -> dict[str, FileListing]:
        """The files of each source; found once, so that all parts of a run see the same."""
        return {name: list_files(source.patterns, source.format) for name, source in self.sources.items()}

    def check(self, known: Known) -> Iterable[Problem]:
        """Every pattern matches files of known formats, and the first file of each source has the text field."""
        for name, listing in self.listings.items():
            yield from (Problem(("sources", name, *where), *said) for where, *said in _name_problems(listing))
            yield from _extra_problems(listing, ("sources", name))
            if listing.files:
                yield from _field_problems(self.sources[name], listing.files[0], ("sources", name, "text"))

    def estimate(self) -> Estimate:
        """Bytes from the sizes of the files, decompressed."""
        sizes = {name: sum(f.content_bytes for f in listing.files) for name, listing in self.listings.items()}
        return Estimate(sizes, sum(-(-size // self._shard_bytes) for size in sizes.values()))

    def sample(self, documents: int, text_bytes: int) -> dict[str, pa.Table]:
        """The first documents of up to four units of each source, which lie evenly apart."""
        sampled = {}
        for name, source in self.sources.items():
            files = _spread(self.listings[name].files, SAMPLED_UNITS)
            units = _spread(plan_units(name, files, source.text, self._shard_bytes), SAMPLED_UNITS)
            most = [-(-limit // max(len(units), 1)) for limit in (documents, text_bytes)]
            heads = [_head(unit, source.fields, self.max_text_bytes, *most) for unit in units]
            sampled[name] = pa.concat_tables([DOCUMENT.empty_table(), *heads])
        return sampled

    @property
    def _shard_bytes(self) -> int:
        return self.shard_bytes or shard_size(
            sum(file.content_bytes for listing in self.listings.values() for file in listing.files)
        )

    def packages(self) -> tuple[str, ...]:
        """Those that decode bodies and texts of web archives and HTML."""
        web = any(file.format in _WEB for listing in self.listings.values() for file in listing.files)
        return ("fastwarc", "resiliparse", "w3lib") if web else ()

    def identity(self) -> dict[str, Any]:
        """The configuration, with names, sizes and versions of the files in the place of paths.

        The limits stay out: they decide whether a run goes on, not what it writes, so that one that has stopped can go
        on under a higher limit.
        """
        config = super().identity()
        del config["max_bad_rows"], config["max_bad_files"]
        config["sources"] = [
            [name, source.model_dump(mode="json", exclude={"path"}) | self.listings[name].identity()]
            for name, source in self.sources.items()
        ]
        return config

    def run(self, ctx: Context) -> ReadBody:
        """Read all units, stop if too much of a source is bad, and make the identifiers unique."""
        units = [
            unit
            for name, listing in self.listings.items()
            for unit in plan_units(name, listing.files, self.sources[name].text, self._shard_bytes)
        ]
        keys = [f"{number:05d}" for number in range(len(units))]
        fields = {name: source.fields for name, source in self.sources.items()}
        task = partial(_read_unit, ctx.path, fields, self.max_text_bytes, self._shard_bytes)
        results = ctx.map(task, list(zip(keys, units, strict=True)), keys=keys)
        tallies = {name: _Tally(name, listing) for name, listing in self.listings.items()}
        for unit, result in zip(units, results, strict=True):
            tallies[unit.source].add(result)
        self._write_bad_files(ctx.path)
        self._stop_past_limits(ctx.path, tallies.values())
        shards, repeated = unique_ids(ctx, _in_order(units, results))
        return {
            "shards": [asdict(shard) for shard in shards],
            "flow": {name: tally.flow() for name, tally in tallies.items()},
            "files": {name: tally.files() for name, tally in tallies.items()},
            "counts": {name: dict(sorted(tally.counts.items())) for name, tally in tallies.items()},
            "repeated_ids": repeated,
        }

    def _write_bad_files(self, path: str) -> None:
        """Quarantine what was found bad when the files were listed."""
        rejects = [
            Reject(name, bad.name, "file", None, None, bad.reason, bad.detail)
            for name, listing in self.listings.items()
            for bad in listing.bad
        ]
        with _Quarantine(f"{path}/{QUARANTINE_FOLDER}/listing.parquet") as quarantine:
            quarantine.write(rejects)

    def _stop_past_limits(self, path: str, tallies: "Iterable[_Tally]") -> None:
        complaints = [complaint for tally in tallies for complaint in self._complaints(path, tally)]
        if complaints:
            hint = f"mend the input or raise the limit; all that is bad is listed in {path}/{QUARANTINE_FOLDER}"
            raise RunError("\n".join([*complaints, hint]))

    def _complaints(self, path: str, tally: "_Tally") -> list[str]:
        source, rows, files = f"the source {tally.source!r}", tally.records, tally.listed
        bad_rows, bad_files = tally.rejected, Counter(tally.bad_files.values())
        complaints = []
        if _past(bad_rows.total(), rows, self.max_bad_rows, TOLERATED_ROWS):
            said = f"{bad_rows.total()} of {rows} rows of {source} cannot be used (max_bad_rows: {self.max_bad_rows:g})"
            complaints.append(said + _examples(path, tally.source, bad_rows))
        if _past(bad_files.total(), files, self.max_bad_files, TOLERATED_FILES):
            said = f"{bad_files.total()} of {files} files of {source} are bad (max_bad_files: {self.max_bad_files:g})"
            complaints.append(said + _examples(path, tally.source, bad_files))
        if not complaints and not tally.counts["documents"] and min(self.max_bad_rows, self.max_bad_files) < 1:
            complaints.append(f"{source} has no documents" + _examples(path, tally.source, bad_rows + bad_files))
        return complaints


# -- checks ------------------------------------------------------------------------------------------------------------


def _name_problems(listing: FileListing) -> Iterator[tuple[tuple[str, ...], str, str]]:
    """Where in a source's stanza, what is wrong and a hint, from the names of its files."""
    for pattern, hint in listing.unmatched:
        yield ("path",), f"{pattern!r} matches nothing", hint
    if listing.unknown:
        names = _few(listing.unknown)
        yield ("path",), f"the format of {names} is not known", f"set `format` to one of {', '.join(FORMATS)}"
    elif not listing.files and not listing.bad and not listing.unmatched:
        known = "files end in " + ", ".join(suffix for suffixes in FORMATS.values() for suffix in suffixes)
        ignored = f" among {_few(listing.ignored)}" if listing.ignored else ""
        yield ("path",), f"no file to read{ignored}", f"{known} (and .gz or .zst), or `format` is set"


def _few(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:3])) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _extra_problems(listing: FileListing, where: tuple[str, ...]) -> Iterator[Problem]:
    """Whether the packages that web archives and HTML need are there."""
    needing = [file.name for file in listing.files if file.format in _WEB]
    if needing and (absent := missing("web", *warc.PACKAGES)):
        yield Problem((*where, "path"), f"{_few(needing)} cannot be read: {absent.message}", absent.hint)


def _field_problems(source: Source, file: InputFile, where: tuple[str, ...]) -> Iterator[Problem]:
    """Whether the first file of a source has the text field; a file that cannot be read is left to the run."""
    try:
        if file.format == "parquet":
            columns = parquet.schema(file)
            reason, detail = parquet.text_problem(columns, source.text)
            if reason:
                yield Problem(where, f"{file.name}: {detail}", _nearest(source.text, columns.names))
        elif file.format == "jsonl":
            records, otherwise = jsonl.peek(file)
            names = list(dict.fromkeys(name for record in records for name in record))
            if otherwise:
                yield Problem((*where[:-1], "path"), f"{file.name} is {otherwise}", "`jq -c '.[]'` makes lines of it")
            elif records and not {source.text, source.text.partition(".")[0]} & set(names):
                said = f"{file.name}: no field {source.text!r} in its first {len(records)} records"
                yield Problem(where, said, _nearest(source.text, names))
    except BrokenFileError:
        return


def _nearest(name: str, names: Sequence[str]) -> str:
    return nearest(name, names) if names else ""


# -- limits ------------------------------------------------------------------------------------------------------------


class _Tally:
    """What became of the records and files of one source."""

    def __init__(self, source: str, listing: FileListing) -> None:
        self.source = source
        self.listed = len(listing.files) + len(listing.bad)
        self.ignored = listing.ignored
        self.bad_files = {bad.name: bad.reason for bad in listing.bad}
        self.records = 0
        self.rejected: Counter[str] = Counter()
        self.skipped: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()

    def add(self, result: Mapping[str, Any]) -> None:
        """Add what one task returned."""
        self.records += result["records"]
        self.rejected.update(result["rejected"])
        self.skipped.update(result["skipped"])
        self.counts.update(result["counts"])
        self.bad_files.update(result["bad_files"])

    def flow(self) -> SourceFlow:
        """Records in, documents kept, records skipped and rows quarantined, counted in different places."""
        dropped, quarantined = (dict(sorted(counts.items())) for counts in (self.skipped, self.rejected))
        return {"in": self.records, "kept": self.counts["documents"], "dropped": dropped, "quarantined": quarantined}

    def files(self) -> FileCounts:
        """The same for files; one that breaks half-way is both read and quarantined, and counts as quarantined."""
        quarantined = dict(sorted(Counter(self.bad_files.values()).items()))
        kept = self.listed - len(self.bad_files)
        return {
            "in": self.listed,
            "kept": kept,
            "quarantined": quarantined,
            "ignored": len(self.ignored),
            "ignored_names": list(self.ignored[:_SHOWN]),
        }


def _past(bad: int, total: int, limit: float, tolerated: int) -> bool:
    """Whether more is bad than a share of the total; a few always may be, unless the limit is 0."""
    return limit < 1 and bad > (max(tolerated, limit * total) if limit else 0)


def _examples(path: str, source: str, reasons: Mapping[str, int]) -> str:
    """One line per reason: how often, and the first place."""
    folder = f"{path}/{QUARANTINE_FOLDER}"
    first: dict[str, str] = {}
    for name in sorted(storage.names_in(folder)):
        if name.startswith(".") or len(first) == len(reasons):
            continue
        for row in read_part(f"{folder}/{name}").to_pylist():
            if row["source"] == source and row["reason"] in reasons:
                first.setdefault(row["reason"], f"{_place(row)}: {row['detail']}")
    lines = [f"    {reason}: {count}, such as {first[reason]}" for reason, count in sorted(reasons.items())]
    return "\n".join(["", *lines])


def _place(row: Mapping[str, Any]) -> str:
    if row["line"] is not None:
        return f"{row['file']}, line {row['line']}"
    return row["file"] if row["offset"] is None else f"{row['file']}, at {row['offset']}"


def _in_order(units: Sequence[Unit], results: Sequence[Mapping[str, Any]]) -> list[Shard]:
    shards: list[Shard] = []
    row = 0
    for unit, result in zip(units, results, strict=True):
        for shard in result["shards"]:
            shards.append(Shard(**shard, source=unit.source, first_row=row))
            row += shard["rows"]
    return shards


# -- samples -----------------------------------------------------------------------------------------------------------


def _spread(items: Sequence[Item], count: int) -> list[Item]:
    """Up to `count` of the items, evenly apart, the first one included.

    Examples
    --------
    >>> _spread(range(10), 4), _spread("ab", 4)
    ([0, 2, 5, 7], ['a', 'b'])
    """
    return [items[len(items) * place // count] for place in range(count)] if len(items) > count else list(items)


def _head(unit: Unit, fields: Fields, max_text_bytes: int, documents: int, text_bytes: int) -> pa.Table:
    """The first documents of a unit; a batch ends early enough that few more are read than are wanted."""
    builder = BatchBuilder(unit.source, fields, max_text_bytes, min(ROW_GROUP_BYTES, text_bytes))
    taken, rows, size = [DOCUMENT.empty_table()], 0, 0
    for batch in _batches(unit, builder, []):
        taken.append(pa.Table.from_batches([batch.documents]).slice(0, documents - rows))
        rows, size = rows + taken[-1].num_rows, size + batch.text_bytes
        if rows >= documents or size >= text_bytes:
            break
    return pa.concat_tables(taken)


# -- tasks -------------------------------------------------------------------------------------------------------------


def _read_unit(
    path: str, fields: Mapping[str, Fields], max_text_bytes: int, shard_bytes: int, item: tuple[str, Unit]
) -> dict[str, Any]:
    """Read one unit into its shards and its quarantine."""
    key, unit = item
    builder = BatchBuilder(unit.source, fields[unit.source], max_text_bytes, min(ROW_GROUP_BYTES, shard_bytes))
    rejects = f"{path}/{QUARANTINE_FOLDER}/{key}.parquet"
    archives: list[dict[str, Any]] = []
    with _Quarantine(rejects) as quarantine, _Shards(path, key, shard_bytes) as shards:
        for batch in _batches(unit, builder, archives):
            shards.write(batch)
            quarantine.write(batch.rejects)
    if archives:
        with ParquetWriter(f"{path}/{ARCHIVES_FOLDER}/{key}.parquet", ARCHIVES) as writer:
            writer.write(pa.RecordBatch.from_pylist(archives, ARCHIVES))
    return {
        "records": builder.records,
        "counts": dict(builder.counts),
        "rejected": dict(builder.rejected),
        "skipped": dict(builder.skipped),
        "bad_files": builder.bad_files,
        "shards": shards.done,
    }


_READERS = {
    "jsonl": jsonl.read,
    "parquet": parquet.read,
    "text": text.read,
    "html": html.read,
    "warc": warc.read,
    "arc": warc.read,
}


def _batches(unit: Unit, builder: BatchBuilder, archives: list[dict[str, Any]]) -> Iterator[Batch]:
    """Batches of one unit; a file that breaks costs the rest of that file. Accounts of `archives` are added."""
    for piece in unit.pieces:
        before = builder.records, Counter(builder.skipped), Counter(builder.rejected)
        try:
            yield from _READERS[piece.file.format](piece.file, piece.start, piece.end, builder)
        except BrokenFileError as broken:
            builder.reject_file(broken.reason, broken.detail, piece.file.name, broken.offset)
        if piece.file.format in ("warc", "arc"):
            outcomes = _outcomes(builder, *before)
            own = {"source": unit.source, "file": piece.file.name, "start": piece.start}
            archives.extend(own | {"outcome": o, "reason": reason, "records": n} for o, reason, n in outcomes)
    yield builder.take()


def _outcomes(
    builder: BatchBuilder, records: int, skipped: Counter[str], rejected: Counter[str]
) -> Iterator[tuple[str, str | None, int]]:
    """What became of the records since the builder had counted so many."""
    skipped, rejected = builder.skipped - skipped, builder.rejected - rejected
    yield "documents", None, builder.records - records - skipped.total() - rejected.total()
    yield from (("skipped", reason, n) for reason, n in sorted(skipped.items()))
    yield from (("quarantined", reason, n) for reason, n in sorted(rejected.items()))


class _Quarantine:
    """The quarantine table of one task, which is there only if something is in it."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._stack = ExitStack()
        self._writer: ParquetWriter | None = None

    def __enter__(self) -> "_Quarantine":
        return self

    def write(self, rejects: Sequence[Reject]) -> None:
        """Append rows."""
        if rejects:
            self._writer = self._writer or self._stack.enter_context(ParquetWriter(self._path, QUARANTINE))
            self._writer.write(pa.RecordBatch.from_pylist([row._asdict() for row in rejects], QUARANTINE))

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)


class _Shards:
    """The shards of one task: a new one begins when the last one holds `shard_bytes` of text, or `SHARD_ROWS`."""

    def __init__(self, path: str, key: str, shard_bytes: int) -> None:
        self.done: list[dict[str, Any]] = []
        self._path, self._key, self._shard_bytes = path, key, shard_bytes
        self._stack = ExitStack()
        self._writer: DocumentWriter | None = None

    def __enter__(self) -> "_Shards":
        return self

    def write(self, batch: Batch) -> None:
        """Append a batch as one row group."""
        if not batch.documents.num_rows:
            return
        if self._writer is None:
            self._name = f"{self._key}-{len(self.done):03d}"
            self._writer = self._stack.enter_context(DocumentWriter(f"{self._path}/part-{self._name}.parquet"))
        self._writer.write(batch.documents)
        if self._writer.text_bytes >= self._shard_bytes or self._writer.rows >= SHARD_ROWS:
            self._finish()

    def _finish(self) -> None:
        if self._writer is not None:
            self._stack.close()
            self.done.append({"name": self._name} | self._writer.entry())
            self._writer = None

    def __exit__(self, *error: Any) -> None:
        if error[0] is None:
            self._finish()
        self._stack.__exit__(*error)
