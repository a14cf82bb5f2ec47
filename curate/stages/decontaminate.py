"""Benchmark items that stand in documents: marked by shared word n-grams, reported by benchmark and by item.

The definitions, and how they differ from those of GPT-3, Llama 2, datatrove and OLMo, are in
``docs/decontamination.md``. Nothing is dropped here: `select` does that by a rule over the columns, and
`cut_contamination` cuts spans out.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import Field

from curate.artifact import Artifact, Shard, Totals
from curate.contamination.benchmarks import Benchmark, FieldNames, file_problems, identity, items_of
from curate.contamination.index import Lengths, open_index, words_of, write_index
from curate.contamination.manifest import BenchmarkFacts, DecontaminateBody, ItemCounts, MadeIndex
from curate.errors import Problem, RunError, nearest
from curate.io.files import FileListing
from curate.stage import Annotate, Annotator, Known
from curate.table import ParquetWriter, read_part

if TYPE_CHECKING:
    from curate.contamination.overlap import Overlap
    from curate.engine.context import Context
    from curate.text.batch import TextBatch
    from curate.text.words import Words

INDEX, MATCHES = "index", "matches"
CHECKED_ITEMS = 20_000  # of a benchmark that are read before the run; the rest is read before the pass over the text
HALF = 0.5  # of an item's n-grams: what the report calls mostly there
TOP = 10  # items that the manifest names, of those that most documents have

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
    def listings(self) -> dict[str, FileListing]:
        """The files of each benchmark; found once, so that all parts of a run see the same."""
        return {name: found.listing() for name, found in self.benchmarks.items()}

    @cached_property
    def _contents(self) -> list[Any]:
        """Benchmarks as they enter the fingerprint: by names and contents of files, not by their place."""
        return [[name, identity(found, self.listings[name])] for name, found in self.benchmarks.items()]

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
            bad = list(file_problems(self.listings[name], ("benchmarks", name)))
            yield from bad or self._item_problems(name, found)

    def _item_problems(self, name: str, found: Benchmark) -> Iterator[Problem]:
        """What is wrong with the first items."""
        where = ("benchmarks", name)
        names = FieldNames(found.fields)
        try:
            texts = [text for _, text in islice(items_of(found, self.listings[name], names), CHECKED_ITEMS)]
        except RunError as error:
            yield Problem((*where, "path"), str(error))
            return
        count, most = len(texts), int(np.diff(words_of(texts).offsets).max(initial=0))
        unknown = list(names.missing)
        for field in unknown if count else ():
            at = (*where, "fields", found.fields.index(field)) if "fields" in found.model_fields_set else where
            said = f"no field {field!r} in {count} records"
            yield Problem(at, said, nearest(field, names.present) if names.present else "")
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
        from curate.contamination.ngrams import find
        from curate.contamination.overlap import overlap

        schema = self.columns()
        index, items = open_index(f"{path}/{INDEX}")
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

    def conclude(self, ctx: "Context") -> DecontaminateBody:
        """Write ``matches``, and count documents and items by benchmark."""
        shards = ctx.table.shards
        counted = ctx.map_shards(partial(_write_matches, ctx.artifact, ctx.table.documents), phase=MATCHES)
        (found,) = ctx.map(
            partial(_count_items, ctx.path, [shard.name for shard in shards]), ["items"], phase="items", keys=["items"]
        )
        (made,) = ctx.artifact.results(INDEX, MadeIndex)
        documents = Totals()
        for shard, counts in zip(shards, counted, strict=True):
            documents.add({shard.source: {"in": shard.rows, **counts["documents"]}})
        benchmarks = _summary(made["benchmarks"], shards, counted, found)
        return {"index": made["index"], "documents": documents.counts, "benchmarks": benchmarks}


def _write_index(stage: Decontaminate, path: str, _: str) -> MadeIndex:
    """Read all benchmarks and write their index."""
    items = {
        name: items_of(found, stage.listings[name], FieldNames(found.fields))
        for name, found in stage.benchmarks.items()
    }
    lengths = Lengths(stage.ngram, stage.short_ngram, stage.short_words, stage.min_words)
    return write_index(f"{path}/{INDEX}", items, lengths, stage.max_items)


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

    names = ["decon_matches", "decon_shared", "decon_hits", "decon_ratio"]
    found = read_part(artifact.part(shard.name), names)
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
    shared, hits, ratio = (found.column(name).to_numpy() for name in names[1:])
    overall = {
        "hit": int((hits > 0).sum()),
        "mostly": int((ratio >= HALF).sum()),
        "shared_only": int(((shared > 0) & (hits == 0)).sum()),
    }
    by_benchmark = {row.pop("benchmark"): row for row in counts.sort("benchmark").iter_rows(named=True)}
    return {"benchmarks": by_benchmark, "documents": overall}


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
    made: Mapping[str, ItemCounts],
    shards: Sequence[Shard],
    counted: Sequence[Mapping[str, Any]],
    found: Mapping[str, Any],
) -> dict[str, BenchmarkFacts]:
    """Per benchmark what it has, what of it was found, and in how many documents of each source."""
    summary: dict[str, BenchmarkFacts] = {}
    for name, items in made.items():
        sources = Totals()
        for shard, counts in zip(shards, counted, strict=True):
            sources.add({shard.source: {"documents": 0, "mostly": 0, "ngrams": 0}})
            sources.add({shard.source: counts["benchmarks"].get(name, {})})
        hit = found["benchmarks"].get(name, {"hit": 0, "mostly": 0})
        summary[name] = {
            **items,
            "hit": hit["hit"],
            "mostly": hit["mostly"],
            "sources": sources.counts,
            "top": [
                {"item": top["item"], "documents": top["documents"], "best": top["best"]}
                for top in found["top"]
                if top["benchmark"] == name
            ],
        }
    return summary
