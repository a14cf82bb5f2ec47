"""The index of benchmarks on disk: n-grams as arrays that workers map into memory, and a table of the items."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate import storage
from curate.table import ParquetWriter, read_part

if TYPE_CHECKING:
    from curate.contamination.ngrams import NgramIndex
    from curate.text.words import Words

_CHUNK = 1 << 23  # characters of items that are cut into words at a time

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
"""A row per item, in the order of the benchmarks and their files."""


class Lengths(NamedTuple):
    """Which n-grams an item is cut into.

    Attributes
    ----------
    ngram
        Words of an n-gram.
    short_ngram
        The same of items with less than `short_words` words; those with fewer than this are one n-gram.
    short_words
        From here on items are not short.
    min_words
        Items with fewer words have no n-grams.
    """

    ngram: int
    short_ngram: int
    short_words: int
    min_words: int

    def of(self, words: NDArray[np.int64]) -> NDArray[np.int64]:
        """Words of the n-grams of items with so many words; 0 for those without n-grams.

        Examples
        --------
        >>> Lengths(13, 8, 26, 5).of(np.array([4, 5, 8, 25, 26])).tolist()
        [0, 5, 8, 8, 13]
        """
        length = np.where(words < self.short_words, np.minimum(self.short_ngram, words), self.ngram)
        return np.where(words < self.min_words, 0, length)


def words_of(texts: Sequence[str]) -> "Words":
    """Words of some texts, which are put into NFC first, as documents are."""
    from curate.text.batch import TextBatch

    return TextBatch(pc.utf8_normalize(pa.array(texts, pa.large_string()), "NFC")).words  # type: ignore[attr-defined]


def _segmented(items: Iterable[tuple[str, str]], ids: list[str]) -> Iterator["Words"]:
    """Words of items, some at a time; `ids` takes their names."""
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
) -> dict[str, Any]:
    """Write the index of the n-grams of all benchmarks, and the table of their items.

    Holds the hashes of all words and n-grams, about 8 bytes per byte of benchmark text.

    Parameters
    ----------
    folder
        Takes the files.
    benchmarks
        Id and text of each item, by benchmark.
    lengths
        Which n-grams items are cut into.
    max_items
        An n-gram that stands in more items of a benchmark names none of them.

    Returns
    -------
    dict
        ``benchmarks``: items by state, and their own n-grams; ``index``: its n-grams, bytes and lengths.
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
    own = np.bincount(index.items, minlength=len(ids))
    state = np.select([copies, length == 0, own == 0], [COPY, SHORT, SHARED], CHECKABLE)
    for field, array in index._asdict().items():
        with storage.replacing(f"{folder}/{field}.npy") as file:
            np.save(file, array)
    names = np.array(list(benchmarks))
    columns = {
        "benchmark": pa.DictionaryArray.from_arrays(pa.array(groups, pa.int32()), pa.array(names)),
        "item": pa.array(ids, pa.string()),
        "words": count,
        "ngram": length,
        "ngrams": own,
        "state": pa.array(state).dictionary_encode(),
    }
    with ParquetWriter(f"{folder}/items.parquet", ITEM) as writer:
        writer.write(pa.table([pa.array(columns[f.name]).cast(f.type) for f in ITEM], schema=ITEM))
    stands = {
        name: {"items": size, **_states(state[groups == group]), "ngrams": int(own[groups == group].sum())}
        for group, (name, size) in enumerate(zip(benchmarks, sizes, strict=True))
    }
    made = {"ngrams": len(index.keys), "bytes": index.nbytes, "lengths": index.lengths.tolist()}
    return {"benchmarks": stands, "index": made}


def _states(state: NDArray) -> dict[str, int]:
    found = Counter(state.tolist())
    return {name: found[name] for name in (CHECKABLE, SHORT, SHARED, COPY)}


def _copies(words: NDArray[np.uint64], offsets: NDArray[np.int64], groups: NDArray[np.int64]) -> NDArray[np.bool_]:
    """True for items with the same words as one before them in the benchmark; items without words have no copies."""
    from curate.contamination.ngrams import ngram_hashes

    count = np.diff(offsets)
    whole = np.zeros(len(count), np.uint64)
    whole[count > 0] = ngram_hashes(words, offsets, count)[0]  # an n-gram of all its words
    order = np.lexsort((whole, groups))
    same = np.zeros(len(count), np.bool_)
    same[order[1:]] = (np.diff(groups[order]) == 0) & (whole[order[1:]] == whole[order[:-1]])
    return same & (count > 0)


def open_index(folder: str) -> "tuple[NgramIndex, pa.Table]":
    """The index and the table of items; on a disk, the arrays are mapped into memory, once for all workers."""
    from curate.contamination.ngrams import NgramIndex

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
    return NgramIndex(*arrays), read_part(f"{folder}/items.parquet")
