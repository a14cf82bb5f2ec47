"""Benchmark index on disk: n-grams as arrays that all workers map into memory, and a table of the items."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate import storage
from curate.contamination.manifest import IndexFacts, ItemCounts, MadeIndex
from curate.table import ParquetWriter, read_part

if TYPE_CHECKING:
    from curate.contamination.ngrams import NgramIndex
    from curate.text.words import Words

_CHUNK = 1 << 23  # characters of items that are split into words together

CHECKABLE, SHORT, SHARED, COPY = "checkable", "short", "shared", "copy"
"""States of an item: checkable; too few words; only n-grams that too many items share; the words of an earlier item."""

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
"""Table with one row per item, in the order of the benchmarks and their files."""


class Lengths(NamedTuple):
    """Lengths of the n-grams into which items are split.

    Attributes
    ----------
    ngram
        Words of an n-gram of an item that is not short.
    short_ngram
        Words of an n-gram of a short item. An item with fewer words than this is a single n-gram.
    short_words
        Number of words below which an item is short.
    min_words
        Number of words below which an item has no n-grams.
    """

    ngram: int
    short_ngram: int
    short_words: int
    min_words: int

    def of(self, words: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the n-gram length of items with the given numbers of words; 0 for items without n-grams.

        Examples
        --------
        >>> Lengths(13, 8, 26, 5).of(np.array([4, 5, 8, 25, 26])).tolist()
        [0, 5, 8, 8, 13]
        """
        length = np.where(words < self.short_words, np.minimum(self.short_ngram, words), self.ngram)
        return np.where(words < self.min_words, 0, length)


def words_of(texts: Sequence[str]) -> "Words":
    """Split texts into words, after NFC normalization, which documents have had."""
    from curate.text.batch import TextBatch

    return TextBatch(pc.utf8_normalize(pa.array(texts, pa.large_string()), "NFC")).words  # type: ignore[attr-defined]


def _segmented(items: Iterable[tuple[str, str]], ids: list[str]) -> Iterator["Words"]:
    """Split items into words, in chunks. The ids of the items are appended to `ids`."""
    texts, size = [], 0
    for name, text in items:
        ids.append(name)
        texts.append(text)
        size += len(text)
        if size >= _CHUNK:
            yield words_of(texts)
            texts, size = [], 0
    yield words_of(texts)


def write_index(
    folder: str, benchmarks: Mapping[str, Iterable[tuple[str, str]]], lengths: Lengths, max_items: int
) -> MadeIndex:
    """Write the index of the n-grams of all benchmarks and the table of their items.

    The hashes of all words and n-grams are in memory at once, about 8 bytes per byte of benchmark text.

    Parameters
    ----------
    folder
        Folder to write to.
    benchmarks
        Id and text of each item, by benchmark.
    lengths
        Lengths of the n-grams.
    max_items
        Maximum number of items of a benchmark that an n-gram may identify. An n-gram in more items identifies none.

    Returns
    -------
    dict
        ``benchmarks``: for each benchmark, the number of items by state and the number of n-grams that identify items.
        ``index``: number of n-grams, size in bytes and lengths of n-grams.
    """
    from curate.contamination.ngrams import build_index, ngram_hashes

    ids: list[str] = []
    hashes, counts, sizes = [], [], []
    for items in benchmarks.values():
        before = len(ids)
        for words in _segmented(items, ids):
            hashes.append(words.hashes)
            counts.append(np.diff(words.offsets))
        sizes.append(len(ids) - before)
    offsets = np.concatenate([[0], np.cumsum(np.concatenate(counts))]).astype(np.int64)
    words, groups = np.concatenate(hashes), np.repeat(np.arange(len(sizes)), sizes)
    del hashes
    count = np.diff(offsets)
    copies = _copies(words, offsets, groups)
    length = np.where(copies, 0, lengths.of(count))
    keys, item = ngram_hashes(words, offsets, length)
    del words
    index = build_index(keys, item, groups, np.unique(length[length > 0]), max_items)
    item_ngrams = np.bincount(index.items, minlength=len(ids))
    state = np.select([copies, length == 0, item_ngrams == 0], [COPY, SHORT, SHARED], CHECKABLE)
    for field, array in index._asdict().items():
        storage.write_array(f"{folder}/{field}.npy", array)
    names = np.array(list(benchmarks))
    columns = {
        "benchmark": pa.DictionaryArray.from_arrays(pa.array(groups, pa.int32()), pa.array(names)),
        "item": pa.array(ids, pa.string()),
        "words": count,
        "ngram": length,
        "ngrams": item_ngrams,
        "state": pa.array(state).dictionary_encode(),
    }
    with ParquetWriter(f"{folder}/items.parquet", ITEM) as writer:
        writer.write(pa.table([pa.array(columns[f.name]).cast(f.type) for f in ITEM], schema=ITEM))
    by_benchmark = {
        name: _item_counts(state[groups == group], item_ngrams[groups == group])
        for group, name in enumerate(benchmarks)
    }
    totals: IndexFacts = {"ngrams": len(index.keys), "bytes": index.nbytes, "lengths": index.lengths.tolist()}
    return {"benchmarks": by_benchmark, "index": totals}


def _item_counts(state: NDArray, ngrams: NDArray) -> ItemCounts:
    """Count the items of a benchmark by state, and their n-grams."""
    counts = Counter(state.tolist())
    return {
        "items": len(state),
        "checkable": counts[CHECKABLE],
        "short": counts[SHORT],
        "shared": counts[SHARED],
        "copy": counts[COPY],
        "ngrams": int(ngrams.sum()),
    }


def _copies(words: NDArray[np.uint64], offsets: NDArray[np.int64], groups: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Mark the items with the same words as an earlier item of their benchmark. Items without words are no copies."""
    from curate.contamination.ngrams import ngram_hashes

    count = np.diff(offsets)
    whole = np.zeros(len(count), np.uint64)
    whole[count > 0] = ngram_hashes(words, offsets, count)[0]  # an n-gram of all its words
    order = np.lexsort((whole, groups))
    same = np.zeros(len(count), np.bool_)
    same[order[1:]] = (np.diff(groups[order]) == 0) & (whole[order[1:]] == whole[order[:-1]])
    return same & (count > 0)


def open_index(folder: str) -> "tuple[NgramIndex, pa.Table]":
    """Open the index and the table of items. Local arrays are mapped into memory that all workers share."""
    from curate.contamination.ngrams import NgramIndex

    arrays = []
    for field in NgramIndex._fields:
        path = f"{folder}/{field}.npy"
        if storage.is_local(path):
            array = np.asarray(np.load(path, mmap_mode="r"))
        else:
            array = storage.read_array(path)
            array.flags.writeable = False
        arrays.append(array)
    return NgramIndex(*arrays), read_part(f"{folder}/items.parquet")
