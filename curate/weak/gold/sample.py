"""A stratified random sample of a table's documents, and the order in which people are asked about it.

A stratum is a value of one column (the source), split into groups of nearly equal size by quantiles of another (a
score) where one is given. Within a stratum documents come in the order of a keyed hash of their ids, which is a uniform
permutation that nothing but the seed and the ids decides. Places of the sample go to strata one by one: first to all of
them in turn until each has `LEAST`, then always to the one that has fewest for its size (Sainte-Lague's divisors, whose
sequence does not depend on how many places there are). So a smaller sample is the beginning of a larger one, of any
size, and whoever stops early has asked about a stratified sample too.

Columns are read shard by shard, three times: quantiles take two passes (`curate.stats.quantiles`).
"""

import heapq
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pyarrow as pa
import xxhash
from numpy.typing import NDArray

from curate.artifact import Shard
from curate.errors import ConfigError, Problem, nearest
from curate.stats.quantiles import add, counted, exact_quantiles
from curate.table import Table
from curate.text.hashing import id_bytes, order_keys
from curate.text.words import mix64

LEAST = 3  # documents of a stratum that come before any stratum gets more
NO_EDGES = np.empty(0, np.float32)  # of a value without scores, which is one group
SALT = "gold"  # of the hash that orders documents: no other sample of the same seed is like this one


@dataclass(frozen=True)
class Strata:
    """How a corpus is divided.

    Parameters
    ----------
    by
        Column of texts, whole numbers or truth values: each value is a part.
    score
        Column of numbers that divides each part, or None.
    groups
        Into how many groups of nearly equal size; equal scores are always in one group.
    """

    by: str = "source"
    score: str | None = None
    groups: int = 5

    def columns(self) -> list[str]:
        """Columns that are read."""
        return [self.by] if self.score is None else list(dict.fromkeys([self.by, self.score]))


@dataclass(frozen=True)
class Drawn:
    """A document of the sample.

    Parameters
    ----------
    id, source, source_id
        Which one: 16 bytes, its source and its own name there.
    shard, row
        Where it is in the table.
    stratum, documents
        Name of its stratum, and how many documents that has.
    weight
        Inverse inclusion probability in the sample.
    """

    id: bytes
    source: str
    source_id: str
    shard: Shard
    row: int
    stratum: str
    documents: int
    weight: float


@dataclass(frozen=True)
class Sample:
    """Documents in the order in which people are asked about them.

    Parameters
    ----------
    drawn
        The documents.
    strata
        Name and number of documents of each stratum.
    draw
        Names this order of this corpus's documents: samples of one draw are each the beginning of the next larger one.
    """

    drawn: Sequence[Drawn]
    strata: dict[str, int]
    draw: str

    @property
    def documents(self) -> int:
        """Number of documents that were drawn from."""
        return sum(self.strata.values())


def draw(table: Table, strata: Strata, n: int, seed: int = 0) -> Sample:
    """Draw `n` documents, or all where there are fewer.

    Parameters
    ----------
    table
        Documents, and the sidecars that have the columns of `strata`.
    strata
        How the corpus is divided.
    n
        Documents of the sample.
    seed
        Another seed draws other documents.

    Raises
    ------
    ConfigError
        There are more strata than documents to draw, so that some would be missing, or there are no documents.
    """
    edges = _edges(table, strata, n) if strata.score is not None else {}
    found = _Found(n)
    for shard in table.shards:
        columns = table.read(shard, [*dict.fromkeys(["id", *strata.columns()])])
        found.add(shard, _named(columns, strata, edges), order_keys(seed, SALT, id_bytes(columns.column("id"))), strata)
    if not found.sizes:
        raise ConfigError([Problem(("RUN",), "has no documents")])
    places = list(seats(found.sizes, n, seed))
    return Sample(_documents(table, found, places), dict(sorted(found.sizes.items())), found.name(strata, seed))


def seats(sizes: dict[str, int], n: int, seed: int = 0) -> Iterator[str]:
    """The stratum that each place of a sample goes to, in the order of the places.

    Parameters
    ----------
    sizes
        Documents of each stratum.
    n
        Number of places; fewer where there are not as many documents.
    seed
        Decides which of several strata is first where they have equal claims.

    Examples
    --------
    >>> from collections import Counter
    >>> sizes = {"web": 900, "books": 100, "notes": 2}
    >>> places = list(seats(sizes, 30))
    >>> Counter(places), places[:11] == list(seats(sizes, 11))
    (Counter({'web': 25, 'books': 3, 'notes': 2}), True)
    """
    claims = [_claim(name, size, 0, seed) for name, size in sizes.items()]
    heapq.heapify(claims)
    taken = dict.fromkeys(sizes, 0)
    for _ in range(min(n, sum(sizes.values()))):
        name = claims[0][-1]
        taken[name] += 1
        yield name
        if taken[name] < sizes[name]:
            heapq.heapreplace(claims, _claim(name, sizes[name], taken[name], seed))
        else:
            heapq.heappop(claims)


def _claim(name: str, size: int, taken: int, seed: int) -> tuple[bool, Fraction, int, str]:
    """What is smaller goes first: turn by turn up to `LEAST` places, then by size; a hash decides among equals."""
    enough = taken >= LEAST
    rank = -Fraction(size, 2 * taken + 1) if enough else Fraction(taken)
    return enough, rank, xxhash.xxh3_64_intdigest(f"{seed}/{taken}/{name}".encode()), name


# -- strata ------------------------------------------------------------------------------------------------------------


def _values(column: pa.ChunkedArray) -> tuple[NDArray[np.int64], list[str]]:
    """The values of the dividing column as texts, and which of them each row has."""
    texts = column.cast(pa.string()).combine_chunks().dictionary_encode(null_encoding="encode")
    if isinstance(texts, pa.ChunkedArray):
        texts = texts.combine_chunks()
    names = ["null" if value is None else value for value in texts.dictionary.to_pylist()]
    return np.asarray(texts.indices, np.int64), names


def _scores(column: pa.ChunkedArray) -> NDArray[np.float32]:
    """A column of numbers or truth values in single precision, NaN for null."""
    plain = column.cast(pa.int8()) if pa.types.is_boolean(column.type) else column
    return np.asarray(plain.cast(pa.float64()).fill_null(np.nan), np.float64).astype(np.float32)


def _named(
    columns: pa.Table, strata: Strata, edges: dict[str, NDArray[np.float32]]
) -> tuple[NDArray[np.int64], list[str]]:
    """The stratum of each row: its place in a list of names, and the list."""
    codes, values = _values(columns.column(strata.by))
    if strata.score is None:
        return codes, values
    scores = _scores(columns.column(strata.score))
    groups = np.zeros(len(codes), np.int64)
    for code, value in enumerate(values):
        rows = codes == code
        groups[rows] = np.searchsorted(edges.get(value, NO_EDGES), scores[rows], side="right")
    groups[np.isnan(scores)] = strata.groups
    names = [
        f"{value}, {strata.score} {'null' if group == strata.groups else f'{group + 1}/{strata.groups}'}"
        for value in values
        for group in range(strata.groups + 1)
    ]
    return codes * (strata.groups + 1) + groups, names


def _edges(table: Table, strata: Strata, n: int) -> dict[str, NDArray[np.float32]]:
    """The least score of each group but the first, by value of the dividing column."""

    def counting(bins: Mapping[str, Sequence[int]] | None) -> dict[str, dict[str, int]]:
        total: dict[str, dict[str, int]] = {}
        for value, scores in _scores_by_value(table, strata, n):
            add(total.setdefault(value, {}), counted(scores, None if bins is None else bins.get(value, ())))
            if len(total) > n:
                raise _too_many(strata, len(total), n)
        return total

    def ranks(_: str, scored: int) -> list[int]:
        return [group * scored // strata.groups for group in range(1, strata.groups)] if scored else []

    return exact_quantiles(counting, ranks)


def _scores_by_value(table: Table, strata: Strata, n: int) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Scores, NaN for none, by value of the dividing column."""
    assert strata.score is not None
    for shard in table.shards:
        columns = table.read(shard, strata.columns())
        codes, values = _values(columns.column(strata.by))
        if len(values) > n:
            raise _too_many(strata, len(values), n)
        scores = _scores(columns.column(strata.score))
        for code, value in enumerate(values):
            yield value, scores[codes == code]


def _too_many(strata: Strata, count: int, n: int) -> ConfigError:
    said = f"{strata.groups} groups of {strata.score} for each value of {strata.by}" if strata.score else strata.by
    other = "another column (--by)" + (", or into fewer groups (--groups)" if strata.score else "")
    return ConfigError(
        [
            Problem(
                ("--n",),
                f"{n:,} documents are fewer than the strata, of which there are at least {count:,} ({said})",
                f"each needs a document: draw more, or divide by {other}",
            )
        ]
    )


# -- documents ---------------------------------------------------------------------------------------------------------


class _Found:
    """The first documents of each stratum in the order of their keys, as shards are added."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.sizes: dict[str, int] = {}
        self._names: dict[str, int] = {}
        self._members = 0
        self._rows = np.empty((0, 6), np.uint64)  # stratum, key (hash, id's halves), shard, row
        self._shards: list[Shard] = []

    def add(
        self, shard: Shard, named: tuple[NDArray[np.int64], list[str]], key: NDArray[np.uint64], strata: Strata
    ) -> None:
        """Add the documents of a shard, by stratum and key."""
        codes, names = named
        counts = np.bincount(codes, minlength=len(names))
        strata_here = {names[code] for code in np.flatnonzero(counts)}
        if len(strata_here | self.sizes.keys()) > self._most:
            raise _too_many(strata, len(strata_here | self.sizes.keys()), self._most)
        place = np.zeros(len(names), np.uint64)
        for code in np.flatnonzero(counts):
            name = names[code]
            place[code] = self._names.setdefault(name, len(self._names))
            self.sizes[name] = self.sizes.get(name, 0) + int(counts[code])
            salt = np.uint64(xxhash.xxh3_64_intdigest(name.encode()))
            # A sum does not depend on the order of documents; it is one of all ids and their strata.
            self._members += int(mix64(key[codes == code, 0] ^ salt).sum(dtype=np.uint64))
        at = np.full(len(codes), len(self._shards), np.uint64)
        rows = np.column_stack([place[codes], key, at, np.arange(len(codes), dtype=np.uint64)])
        self._shards.append(shard)
        self._rows = self._first(np.concatenate([self._rows, rows]))

    def _first(self, rows: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """As many rows of each stratum as could be needed, by stratum and key."""
        rows = rows[np.lexsort((rows[:, 3], rows[:, 2], rows[:, 1], rows[:, 0]))]
        starts = np.searchsorted(rows[:, 0], rows[:, 0])
        return rows[np.arange(len(rows)) - starts < self._most]

    def of(self, stratum: str) -> Iterator[tuple[bytes, Shard, int]]:
        """Id, shard and row of the documents of a stratum, in order."""
        for _, _, high, low, shard, row in self._rows[self._rows[:, 0] == self._names[stratum]].tolist():
            yield (high << 64 | low).to_bytes(16, "big"), self._shards[shard], row

    def name(self, strata: Strata, seed: int) -> str:
        """Name of the draw: 16 hexadecimal digits of all that decides about it."""
        said = f"{seed}/{strata.by}/{strata.score}/{strata.groups}/{sorted(self.sizes.items())}/{self._members % 2**64}"
        return xxhash.xxh3_64_hexdigest(said.encode())


def _documents(table: Table, found: _Found, places: Sequence[str]) -> list[Drawn]:
    """The documents that fill the places."""
    queues = {stratum: found.of(stratum) for stratum in dict.fromkeys(places)}
    taken = Counter(places)
    picked = [(stratum, *next(queues[stratum])) for stratum in places]
    source_ids: dict[tuple[str, int], str] = {}
    for shard in dict.fromkeys(shard for _, _, shard, _ in picked):
        column = table.read(shard, ["source_id"]).column("source_id")
        rows = [row for _, _, at, row in picked if at == shard]
        source_ids |= {(shard.name, row): column[row].as_py() for row in rows}
    return [
        Drawn(
            own,
            shard.source,
            source_ids[shard.name, row],
            shard,
            row,
            stratum,
            found.sizes[stratum],
            found.sizes[stratum] / taken[stratum],
        )
        for stratum, own, shard, row in picked
    ]


def problems(strata: Strata, types: pa.Schema) -> Iterator[Problem]:
    """Columns that are not there, or not of a kind that divides.

    Parameters
    ----------
    strata
        How the corpus is to be divided.
    types
        Columns of the run.
    """
    for option, name in (("--by", strata.by), ("--score", strata.score)):
        if name is None:
            continue
        if name not in types.names:
            yield Problem((option,), f"no column {name!r}", nearest(name, types.names))
            continue
        kind = types.field(name).type
        number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
        if option == "--score" and not number:
            yield Problem((option,), f"{name} holds {kind}, where numbers are needed", "--by divides by value")
        elif option == "--by" and not _divides(kind):
            yield Problem(
                (option,), f"{name} holds {kind}, whose values do not divide a corpus", "--score divides by number"
            )


def _divides(kind: pa.DataType) -> bool:
    text = kind.value_type if pa.types.is_dictionary(kind) else kind
    return pa.types.is_string(text) or pa.types.is_integer(kind) or pa.types.is_boolean(kind)
