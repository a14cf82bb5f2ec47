"""Benchmark items that stand in documents: marked by shared word n-grams, reported by benchmark and by item.

The definitions, and how they differ from those of GPT-3, Llama 2, datatrove and OLMo, are in
``docs/decontamination.md``. Nothing is dropped here: `select` does that by a rule over the columns, and
`cut_contamination` cuts spans out.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from io import BytesIO
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from curate import storage
from curate.artifact import Artifact, Shard, file_hash
from curate.errors import Problem, RunError, nearest
from curate.io.benchmarks import FieldNames, Item, read_items
from curate.io.files import FORMATS, InputFile, Listing, list_files
from curate.io.streams import BrokenFileError
from curate.stage import Annotate, Annotator, Known
from curate.table import ParquetWriter, read_part

if TYPE_CHECKING:
    from curate.engine.context import Context
    from curate.text.batch import TextBatch
    from curate.text.ngrams import NgramIndex
    from curate.text.overlap import Overlap
    from curate.text.words import Words

INDEX, MATCHES = "index", "matches"
CHECKED_ITEMS = 20_000  # of a benchmark that are read before the run; the rest is read before the pass over the text
HALF = 0.5  # of an item's n-grams: what the report calls mostly there
TOP = 10  # items that the manifest names, of those that most documents have
_CHUNK = 1 << 26  # bytes of items that are cut into words at a time
_SHOWN = 3

CHECKABLE, SHORT, SHARED, COPY = "checkable", "short", "shared", "copy"
"""What an item can be: short ones have too few words, shared ones no n-gram of their own, copies the words of
another."""

ITEM = pa.schema(
    [
        pa.field("benchmark", pa.dictionary(pa.int32(), pa.string()), nullable=False),
        pa.field("item", pa.string(), nullable=False),
        pa.field("words", pa.int32(), nullable=False),
        pa.field("ngram", pa.int32(), nullable=False),
        pa.field("ngrams", pa.int32(), nullable=False),
        pa.field("state", pa.dictionary(pa.int32(), pa.string()), nullable=False),
    ]
)
_MATCH = [
    pa.field("benchmark", pa.string()),
    pa.field("item", pa.string()),
    pa.field("ngrams", pa.int32()),
    pa.field("ratio", pa.float64()),
    pa.field("longest", pa.int32()),
    pa.field("start", pa.int64()),
    pa.field("end", pa.int64()),
]
_SPAN = [
    pa.field("start", pa.int64()),
    pa.field("end", pa.int64()),
    pa.field("words", pa.int32()),
    pa.field("ratio", pa.float64()),
]
MATCH = pa.schema([pa.field("id", pa.binary(16), nullable=False), *_MATCH])
"""A row per document and item, in the files of ``matches``."""


class Benchmark(BaseModel, extra="forbid", frozen=True):
    """The files of one benchmark, and what of a record makes an item."""

    path: str | tuple[str, ...] = Field(
        min_length=1, description="files, folders (read with all that is in them) or globs; local paths or fsspec URLs"
    )
    format: Literal["jsonl", "parquet", "text"] | None = Field(
        default=None, description="format of all files; unless given, their names tell. Each line of text is an item"
    )
    fields: tuple[str, ...] = Field(
        default=("text",),
        min_length=1,
        description="fields that make an item, in the order in which they are read; a.b is field b of the object a",
    )
    id: str = Field(default="id", min_length=1, description="field of the item's id; without it, file and number")

    @property
    def patterns(self) -> tuple[str, ...]:
        """Paths, folders and globs, as a tuple."""
        return (self.path,) if isinstance(self.path, str) else self.path


class Decontaminate(Annotator):
    """Find the items of benchmarks in documents.

    Examples
    --------
    >>> stage = Decontaminate(benchmarks={"bbh": Benchmark(path="bbh.jsonl.zst", fields=("text", "answer"))})
    >>> stage.columns().names[:4]
    ['decon_hits', 'decon_ratio', 'decon_longest', 'decon_covered']
    """

    stage: Literal["decontaminate"] = "decontaminate"
    version: ClassVar[int] = 1

    benchmarks: dict[Annotated[str, Field(pattern=r"^\w[\w.+-]*$")], Benchmark] = Field(
        min_length=1, description="benchmarks by name"
    )
    ngram: int = Field(default=13, ge=2, le=200, description="words of an n-gram (words)")
    short_ngram: int = Field(default=8, ge=2, le=200, description="words of an n-gram of short items (words)")
    short_words: int = Field(
        default=26, ge=2, description="items with fewer words are short; with 26, one changed word hides no longer item"
    )
    min_words: int = Field(
        default=8,
        ge=2,
        description="items with fewer words are not looked for; those below `short_ngram` are matched whole (words)",
    )
    max_items: int = Field(
        default=10, ge=1, description="an n-gram that stands in more items of a benchmark names none of them"
    )

    @cached_property
    def listings(self) -> dict[str, Listing]:
        """The files of each benchmark; found once, so that all parts of a run see the same."""
        return {name: list_files(found.patterns, found.format) for name, found in self.benchmarks.items()}

    @cached_property
    def _contents(self) -> list[Any]:
        """Benchmarks as they enter the fingerprint: by names and contents of files, not by their place."""
        return [
            [
                name,
                found.model_dump(mode="json", exclude={"path"}),
                [[file.name, file_hash(file.path)] for file in self.listings[name].files],
            ]
            for name, found in self.benchmarks.items()
        ]

    def identity(self) -> dict[str, Any]:
        """The configuration, with the content of the files in the place of paths."""
        return super().identity() | {"benchmarks": self._contents}

    def check(self, known: Known) -> Iterable[Problem]:
        """Lengths fit together; files are there and whole, have the fields, and have items that can be found."""
        if not self.min_words <= self.ngram:
            yield Problem(("min_words",), f"must be at most ngram ({self.ngram}), not {self.min_words}")
        if not self.short_ngram <= self.ngram:
            yield Problem(("short_ngram",), f"must be at most ngram ({self.ngram}), not {self.short_ngram}")
        if not self.ngram <= self.short_words:
            yield Problem(("short_words",), f"must be at least ngram ({self.ngram}), not {self.short_words}")
        for name, found in self.benchmarks.items():
            bad = list(_file_problems(self.listings[name], ("benchmarks", name)))
            yield from bad or self._item_problems(name, found)

    def _item_problems(self, name: str, found: Benchmark) -> Iterator[Problem]:
        """What is wrong with the first items."""
        where = ("benchmarks", name)
        names, most = FieldNames(found.fields), 0
        count, file = 0, None
        try:
            for file in self.listings[name].files:
                items = list(islice(read_items(file, found.fields, found.id, names), CHECKED_ITEMS - count))
                count += len(items)
                if items and most < self.min_words:
                    most = max(most, int(np.diff(_words([text for _, text in items]).offsets).max()))
        except BrokenFileError as error:
            yield Problem((*where, "path"), f"{file.name if file else ''} cannot be read: {_said(error)}")
            return
        unknown = list(names.missing)
        for field in unknown if count else ():
            at = (*where, "fields", found.fields.index(field)) if "fields" in found.model_fields_set else where
            said = f"no field {field!r} in {count} records"
            yield Problem(at, said, nearest(field, names.seen) if names.seen else "")
        if not count:
            yield Problem((*where, "path"), "has no items")
        elif not unknown and most < self.min_words and count < CHECKED_ITEMS:
            said = (
                f"none of its {count} items can be found: the longest has {most} words, `min_words` is {self.min_words}"
            )
            yield Problem(where, said, "name more fields, or lower `min_words`")

    def requires(self) -> tuple[str, ...]:
        """The text."""
        return ("text",)

    def columns(self) -> pa.Schema:
        """Scores of the document, the item that most of it has, all items, and the spans they have in common."""
        return pa.schema(
            [
                ("decon_hits", pa.int32()),
                ("decon_ratio", pa.float64()),
                ("decon_longest", pa.int32()),
                ("decon_covered", pa.float64()),
                ("decon_shared", pa.int32()),
                ("decon_items", pa.int32()),
                ("decon_benchmark", pa.dictionary(pa.int32(), pa.string())),
                ("decon_item", pa.string()),
                ("decon_matches", pa.list_(pa.struct(_MATCH))),
                ("decon_spans", pa.list_(pa.struct(_SPAN))),
            ]
        )

    def prepare(self, ctx: "Context") -> None:
        """Make the index, once; workers map it into memory."""
        ctx.map(partial(_write_index, self, ctx.path), [INDEX], phase=INDEX, keys=[INDEX])

    def load_prepared(self, path: str) -> Annotate:
        """Open the index."""
        from curate.text.ngrams import find
        from curate.text.overlap import overlap

        schema = self.columns()
        index = _open_index(f"{path}/{INDEX}")
        items = read_part(f"{path}/{INDEX}/items.parquet", ["benchmark", "item", "ngrams"])
        own = items.column("ngrams").to_numpy().astype(np.int64)
        names = items.column("benchmark").combine_chunks().dictionary_decode(), items.column("item").combine_chunks()

        def annotate(batch: "TextBatch", _: pa.RecordBatch) -> pa.RecordBatch:
            words = batch.words
            found = overlap(index, own, words, find(index, words.hashes, words.offsets))
            arrays = _as_columns(batch, words, found, *names)
            return pa.RecordBatch.from_arrays(
                [array.cast(field.type) for array, field in zip(arrays, schema, strict=True)], schema=schema
            )

        return annotate

    def conclude(self, ctx: "Context") -> dict[str, Any]:
        """Write ``matches``, and count documents and items by benchmark."""
        shards = ctx.table.shards
        counted = ctx.map_shards(partial(_write_matches, ctx.artifact, ctx.table.documents), phase=MATCHES)
        (found,) = ctx.map(
            partial(_count_items, ctx.path, [shard.name for shard in shards]), ["items"], phase="items", keys=["items"]
        )
        (made,) = (receipt.result for receipt in ctx.artifact.receipts(INDEX))
        return {"index": made["index"], "benchmarks": _summary(made["benchmarks"], shards, counted, found)}


# -- checks ------------------------------------------------------------------------------------------------------------


def _file_problems(listing: Listing, where: tuple[str, ...]) -> Iterator[Problem]:
    """What is wrong with the files of a benchmark, all of which must be read."""
    at = (*where, "path")
    for pattern, hint in listing.unmatched:
        yield Problem(at, f"{pattern!r} matches nothing", hint)
    for bad in listing.bad:
        yield Problem(at, f"{bad.name} cannot be read: {bad.detail}")
    if listing.unknown:
        names = ", ".join(map(repr, listing.unknown[:_SHOWN]))
        yield Problem(at, f"the format of {names} is not known", f"set `format` to one of {', '.join(FORMATS)}")
    elif not (listing.files or listing.bad or listing.unmatched):
        yield Problem(at, "no file to read", "files end in .jsonl, .parquet or .txt, or `format` is set")


def _said(error: BrokenFileError) -> str:
    return f"{error.reason}: {error.detail}"


# -- the index ---------------------------------------------------------------------------------------------------------


def _items(stage: Decontaminate, name: str) -> Iterator[Item]:
    """All items of a benchmark; raises ``RunError``."""
    found, file = stage.benchmarks[name], None
    names = FieldNames(found.fields)
    try:
        for file in stage.listings[name].files:
            yield from read_items(file, found.fields, found.id, names)
    except BrokenFileError as error:
        place = _place(file)
        raise RunError(f"{place} of the benchmark {name!r} cannot be read: {_said(error)}") from error


def _place(file: InputFile | None) -> str:
    return file.name if file else "a file"


def _words(texts: Sequence[str]) -> "Words":
    from curate.text.batch import TextBatch

    return TextBatch(pa.array(texts, pa.large_string())).words


def _segmented(items: Iterator[Item], ids: list[str]) -> Iterator["Words"]:
    """Words of items, some at a time; `ids` takes their names."""
    texts, size = [], 0
    for name, text in items:
        ids.append(name)
        texts.append(text)
        size += len(text)
        if size >= _CHUNK:
            yield _words(texts)
            texts, size = [], 0
    yield _words(texts)


def _write_index(stage: Decontaminate, path: str, _: str) -> dict[str, Any]:
    """Read all benchmarks, and write the index of their n-grams and the table of their items."""
    from curate.text.ngrams import build_index, ngram_hashes

    ids: list[str] = []
    hashes, counts, sizes = [], [], []
    for name in stage.benchmarks:
        before = len(ids)
        for words in _segmented(_items(stage, name), ids):
            hashes.append(words.hashes)
            counts.append(np.diff(words.offsets))
        sizes.append(len(ids) - before)
    offsets = np.concatenate([[0], np.cumsum(np.concatenate(counts))]).astype(np.int64)
    words, groups = np.concatenate(hashes), np.repeat(np.arange(len(sizes)), sizes)
    count = np.diff(offsets)
    copies = _copies(words, offsets, groups)
    length = np.where(count < stage.short_words, np.minimum(stage.short_ngram, count), stage.ngram)
    length[(count < stage.min_words) | copies] = 0
    keys, item = ngram_hashes(words, offsets, length)
    index = build_index(keys, item, groups, np.unique(length[length > 0]), stage.max_items)
    own = np.bincount(index.items, minlength=len(ids))
    state = np.select([copies, length == 0, own == 0], [COPY, SHORT, SHARED], CHECKABLE)
    for field, array in index._asdict().items():
        with storage.replacing(f"{path}/{INDEX}/{field}.npy") as file:
            np.save(file, array)
    names = np.array(list(stage.benchmarks))
    columns = {
        "benchmark": pa.DictionaryArray.from_arrays(pa.array(groups, pa.int32()), pa.array(names)),
        "item": pa.array(ids, pa.string()),
        "words": count,
        "ngram": length,
        "ngrams": own,
        "state": pa.array(state).dictionary_encode(),
    }
    with ParquetWriter(f"{path}/{INDEX}/items.parquet", ITEM) as writer:
        writer.write(pa.table([pa.array(columns[f.name]).cast(f.type) for f in ITEM], schema=ITEM))
    stands = {
        name: {"items": size, **_states(state[groups == group]), "ngrams": int(own[groups == group].sum())}
        for group, (name, size) in enumerate(zip(stage.benchmarks, sizes, strict=True))
    }
    made = {"ngrams": len(index.keys), "bytes": index.nbytes, "lengths": index.lengths.tolist()}
    return {"benchmarks": stands, "index": made}


def _states(state: NDArray) -> dict[str, int]:
    found = Counter(state.tolist())
    return {name: found[name] for name in (CHECKABLE, SHORT, SHARED, COPY)}


def _copies(words: NDArray[np.uint64], offsets: NDArray[np.int64], groups: NDArray[np.int64]) -> NDArray[np.bool_]:
    """True for items with the same words as one before them in the benchmark; items without words have no copies."""
    from curate.text.ngrams import ngram_hashes

    count = np.diff(offsets)
    whole = np.zeros(len(count), np.uint64)
    whole[count > 0] = ngram_hashes(words, offsets, count)[0]  # an n-gram of all its words
    order = np.lexsort((whole, groups))
    same = np.zeros(len(count), np.bool_)
    same[order[1:]] = (np.diff(groups[order]) == 0) & (whole[order[1:]] == whole[order[:-1]])
    return same & (count > 0)


def _open_index(folder: str) -> "NgramIndex":
    """The index, mapped into memory where it lies on a disk, so that the workers of a machine share it."""
    from curate.text.ngrams import NgramIndex

    arrays = []
    for field in NgramIndex._fields:
        path = f"{folder}/{field}.npy"
        if storage.is_local(path):
            array = np.asarray(np.load(path, mmap_mode="r"))
        else:
            fs, inner = storage.filesystem(path)
            array = np.load(BytesIO(fs.cat_file(inner)))  # type: ignore[arg-type]
            array.flags.writeable = False
        arrays.append(array)
    return NgramIndex(*arrays)


# -- columns -----------------------------------------------------------------------------------------------------------


def _as_columns(
    batch: "TextBatch", words: "Words", found: "Overlap", benchmarks: pa.Array, items: pa.Array
) -> list[pa.Array]:
    """The columns of a batch, in order; of equal items, the one with more n-grams and then the earlier is the best."""
    matches, runs, count = found.matches, found.runs, len(batch)
    documents = matches.documents
    order = np.lexsort((matches.items, -matches.ngrams, -matches.ratio, documents))
    best = order[np.flatnonzero(np.diff(documents[order], prepend=-1))]
    rows = documents[best]
    ratio, chosen = np.zeros(count), np.zeros(count, np.int64)
    ratio[rows], chosen[rows] = matches.ratio[best], matches.items[best]
    longest = np.zeros(count, np.int64)
    np.maximum.at(longest, documents, matches.longest)
    total = np.diff(words.offsets)
    item = pa.array(chosen, mask=~np.isin(np.arange(count), rows))
    start = batch.offsets[documents]
    all_items = pa.array(matches.items)
    match = [
        benchmarks.take(all_items),
        items.take(all_items),
        *map(pa.array, (matches.ngrams, matches.ratio, matches.longest, matches.starts - start, matches.ends - start)),
    ]
    start = batch.offsets[runs.documents]
    bounds = words.starts[runs.first] - start, words.ends[runs.last - 1] - start
    spans = map(pa.array, (*bounds, runs.last - runs.first, runs.ratio))
    return [
        pa.array(found.hits),
        pa.array(ratio),
        pa.array(longest),
        pa.array(np.divide(found.covered, total, out=np.zeros(count), where=total > 0)),
        pa.array(found.shared),
        pa.array(np.bincount(documents, minlength=count)),
        benchmarks.take(item).dictionary_encode(),
        items.take(item),
        _lists(documents, count, match, _MATCH),
        _lists(runs.documents, count, list(spans), _SPAN),
    ]


def _lists(rows: NDArray[np.int64], count: int, columns: Sequence[pa.Array], fields: Sequence[pa.Field]) -> pa.Array:
    """Structs gathered into one list per row; `rows` ascends."""
    values = [column.cast(field.type) for column, field in zip(columns, fields, strict=True)]
    offsets = pa.array(np.searchsorted(rows, np.arange(count + 1)), pa.int32())
    return pa.ListArray.from_arrays(offsets, pa.StructArray.from_arrays(values, fields=list(fields)))


# -- what the manifest says --------------------------------------------------------------------------------------------


def _write_matches(artifact: Artifact, documents: Artifact, shard: Shard) -> dict[str, Any]:
    """A row per document and item; documents and n-grams by benchmark."""
    import polars as pl

    found = read_part(artifact.part(shard.name), ["decon_matches", "decon_shared", "decon_hits"])
    lists = found.column("decon_matches").combine_chunks()
    rows = pc.list_parent_indices(lists)  # type: ignore[attr-defined]
    ids = read_part(documents.part(shard.name), ["id"]).column("id").combine_chunks()
    flat = pa.table([ids.take(rows), *lists.flatten().flatten()], schema=MATCH)
    with ParquetWriter(f"{artifact.path}/{MATCHES}/part-{shard.name}.parquet", MATCH) as writer:
        writer.write(flat)
    frame = pl.DataFrame(flat.select(["benchmark", "ngrams", "ratio"])).with_columns(pl.Series("row", rows))
    counts = frame.group_by("benchmark").agg(
        documents=pl.col("row").n_unique(),
        mostly=pl.col("row").filter(pl.col("ratio") >= HALF).n_unique(),
        ngrams=pl.col("ngrams").sum(),
    )
    shared = pc.greater(found.column("decon_shared"), 0)  # type: ignore[attr-defined]
    only = pc.and_(shared, pc.equal(found.column("decon_hits"), 0))  # type: ignore[attr-defined]
    by_benchmark = {row.pop("benchmark"): row for row in counts.sort("benchmark").iter_rows(named=True)}
    return {"benchmarks": by_benchmark, "shared_only": pc.sum(only).as_py() or 0}  # type: ignore[attr-defined]


def _count_items(path: str, shards: Sequence[str], _: str) -> dict[str, Any]:
    """Different items that were found, and those that most documents have; holds one row per item found."""
    import polars as pl

    key = ["benchmark", "item"]
    total = pl.DataFrame(schema={**dict.fromkeys(key, pl.String), "documents": pl.Int64, "best": pl.Float64})
    for shard in shards:
        part = pl.DataFrame(read_part(f"{path}/{MATCHES}/part-{shard}.parquet", [*key, "ratio"]))
        fresh = part.group_by(key).agg(documents=pl.len().cast(pl.Int64), best=pl.col("ratio").max())
        total = pl.concat([total, fresh]).group_by(key).agg(pl.col("documents").sum(), pl.col("best").max())
    counts = total.group_by("benchmark").agg(hit=pl.len(), mostly=(pl.col("best") >= HALF).sum()).sort("benchmark")
    top = total.sort(["documents", "best", *key], descending=[True, True, False, False]).head(TOP)
    by_benchmark = {row.pop("benchmark"): row for row in counts.iter_rows(named=True)}
    return {"benchmarks": by_benchmark, "top": list(top.iter_rows(named=True))}


def _summary(
    made: Mapping[str, Mapping[str, int]],
    shards: Sequence[Shard],
    counted: Sequence[Mapping[str, Any]],
    found: Mapping[str, Any],
) -> dict[str, Any]:
    """Per benchmark what it has, what of it was found, and in how many documents of each source."""
    summary: dict[str, Any] = {}
    for name, items in made.items():
        sources: dict[str, Counter[str]] = {}
        for shard, counts in zip(shards, counted, strict=True):
            into = sources.setdefault(shard.source, Counter(documents=0, mostly=0, ngrams=0))
            into.update(counts["benchmarks"].get(name, {}))
        hit = found["benchmarks"].get(name, {"hit": 0, "mostly": 0})
        tops = [
            {key: top[key] for key in ("item", "documents", "best")} for top in found["top"] if top["benchmark"] == name
        ]
        summary[name] = {**items, **hit, "sources": {s: dict(c) for s, c in sources.items()}, "top": tops}
    return summary
