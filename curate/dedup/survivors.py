"""Which member of a group of duplicates survives, decided alike by all stages that find duplicates.

The keys of groups are exchanged, never their members: a shard sends the best of its own members of a group with their
number, the reducer takes the best of these and sends the verdict back to the shards that asked. So a reducer holds at
most one row per shard and group, however large a group is, and the survivor is a function of the set of documents: it
does not depend on their order, on shards or on workers.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import pyarrow as pa
from pydantic import AfterValidator, Field

from curate.artifact import Shard, Totals, all_kept
from curate.dedup.scope import field_values
from curate.engine.context import EXCHANGE, Context
from curate.engine.exchange import partition_count, partition_of, read_partition, write_partitions
from curate.errors import Problem, nearest
from curate.stage import Known
from curate.table import Table

if TYPE_CHECKING:
    import polars as pl

LONGEST = "longest"
KEY = ("key_high", "key_low")
"""Columns that name a group: uint64, 128 bits in all, the first of them uniform; null in a document of no group."""

Groups = Callable[[Table, Shard], pa.Table]
"""The group of each document of a shard: a table with the columns of `KEY`."""

_PREFERENCE = re.compile(r"(\w+|meta(\.[^.\\]+)+) (asc|desc)")


def _preference(text: str) -> str:
    if text != LONGEST and not _PREFERENCE.fullmatch(text):
        raise ValueError(f"must be '{LONGEST}', or a column (or meta.FIELD) followed by 'asc' or 'desc'")
    return text


Preference = Annotated[str, AfterValidator(_preference)]
"""``longest``, or a column or number of the input and a direction: ``gopher_words desc``, ``meta.votes desc``."""
Keep = Annotated[
    tuple[Preference, ...],
    Field(
        description="which duplicate is kept: `longest`, or columns or numbers of the input (`meta.votes`) with `asc` "
        "or `desc`; then the smallest id"
    ),
]
Priority = Annotated[
    tuple[str, ...],
    Field(description="sources whose duplicates are kept before those of others, best first; outweighs `keep`"),
]


class Order(NamedTuple):
    """A column by which members of a group are compared; of ``meta``, the number that a field of it holds."""

    column: str
    descending: bool
    field: str = ""


@dataclass(frozen=True)
class Policy:
    """Total order over documents, whose first member of a group survives.

    Compared in turn are: the place of the source in `priority` (sources that it does not name come last), each
    preference of `keep` (nulls, NaN and fields of the input that hold no number last), and the id, which no two
    documents share.

    Parameters
    ----------
    keep
        Preferences, the weightiest first.
    priority
        Names of sources, the preferred first.

    Examples
    --------
    >>> Policy(("longest", "date asc")).orders
    (Order(column='text_bytes', descending=True, field=''), Order(column='date', descending=False, field=''))
    """

    keep: tuple[Preference, ...] = ()
    priority: tuple[str, ...] = ()

    @property
    def orders(self) -> tuple[Order, ...]:
        """The preferences as columns and directions."""
        named = ("text_bytes desc" if preference == LONGEST else preference for preference in self.keep)
        split = ((*name.partition("."), way) for name, _, way in (preference.rpartition(" ") for preference in named))
        return tuple(Order(column, way == "desc", field) for column, _, field, way in split)

    @property
    def directions(self) -> dict[str, bool]:
        """Columns of `ranking` by which documents are sorted, and whether in descending order."""
        preferences = {f"preference_{i}": order.descending for i, order in enumerate(self.orders)}
        return {"priority": False, **preferences, "id": False}

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that must be at hand: the id, and those that `keep` names."""
        return tuple(dict.fromkeys(["id", *(order.column for order in self.orders)]))

    def place(self, column: str) -> tuple[str | int, ...]:
        """Where in the stanza the column is named."""
        return next((("keep", i) for i, order in enumerate(self.orders) if order.column == column), ())

    def problems(self, known: Known) -> Iterator[Problem]:
        """Columns that have no order, and sources that do not exist."""
        for order in self.orders:
            kind = known.columns.field(order.column).type if order.column in known.columns.names else pa.null()
            if pa.types.is_nested(kind):
                yield Problem(self.place(order.column), f"{order.column!r} holds {kind}, which has no order")
        for index, source in enumerate(self.priority):
            if source not in known.sources:
                yield Problem(("priority", index), f"there is no source {source!r}", nearest(source, known.sources))

    def clashes(self, known: Known) -> Iterator[Problem]:
        """Policies of earlier stages that together with this one could lose a group.

        If one stage keeps A of the duplicates A and B and another keeps B, then rules that drop what either does not
        keep leave nothing of the group. This cannot happen if both have one policy, or if the later one prefers what
        the earlier one keeps.
        """
        for name, stage in known.stages.items():
            other = getattr(stage, "policy", None)
            decides = f"{name}_keep" in stage.columns().names
            if decides and isinstance(other, Policy) and not self._agrees(other, f"{name}_keep desc"):
                yield Problem(
                    ("keep",),
                    f"differs from what {name!r} keeps, so that a group could lose all of its documents",
                    f"give both the same `priority`, and the same `keep` or one that begins with '{name}_keep desc'",
                )

    def _agrees(self, other: "Policy", kept_by_other: str) -> bool:
        return self.priority == other.priority and (self.keep == other.keep or self.keep[:1] == (kept_by_other,))


class Election(NamedTuple):
    """What `elect` decided.

    Attributes
    ----------
    paths
        Files from which `verdicts` reads.
    sizes
        Number of groups by their number of documents, in powers of two: "4" counts the groups of 4 to 7.
    """

    paths: list[str]
    sizes: dict[str, int]


def elect(ctx: Context, policy: Policy, groups: Groups, documents: int) -> Election:
    """Choose the survivor of each group of two documents or more.

    Parameters
    ----------
    ctx
        Of the stage; its table has the columns of the policy.
    policy
        Whose first member of a group survives.
    groups
        Keys of the documents of a shard; called twice per shard, in workers, so it must pickle.
    documents
        At most this many documents are in a group; from it follows the number of partitions.
    """
    partitions = partition_count(documents)
    paths = [f"{ctx.path}/{EXCHANGE}/verdicts/{partition:05d}.arrow" for partition in range(partitions)]
    results = ctx.exchange(
        "keepers",
        partial(_send_best, ctx.table, policy, groups, partitions),
        partial(_decide, policy, paths, len(ctx.table.shards)),
        partitions,
    )
    sizes = Totals()
    for result in results:
        sizes.add(result["sizes"])
    return Election(paths, dict(sorted(sizes.counts.items(), key=lambda item: int(item[0]))))


def verdicts(table: Table, groups: Groups, paths: Sequence[str], shard: Shard) -> pa.Table:
    """What became of each document of a shard.

    Returns
    -------
    pyarrow.Table
        ``keep``; ``keeper``, the id of the group's survivor (a survivor's own), null for a document without
        duplicates; ``size``, the number of documents of the group, 1 without duplicates.
    """
    import polars as pl

    ids = pl.Series("id", table.read(shard, ["id"])["id"])
    answers = pl.DataFrame(read_partition(paths, _position(table, shard)))
    found = (
        pl.DataFrame(groups(table, shard))
        .with_columns(ids)
        .join(answers, on=KEY, how="left", maintain_order="left")
        .select(
            keep=pl.col("keeper").is_null() | (pl.col("keeper") == pl.col("id")),
            keeper="keeper",
            size=pl.col("size").fill_null(1).cast(pl.Int32),
        )
    )
    return found.to_arrow().cast(pa.schema([("keep", pa.bool_()), ("keeper", pa.binary(16)), ("size", pa.int32())]))


def ranking(table: Table, policy: Policy, shard: Shard) -> "pl.DataFrame":
    """What the documents of a shard are compared by: the columns that `Policy.directions` names."""
    import polars as pl

    read = table.read(shard, policy.columns)
    rank = policy.priority.index(shard.source) if shard.source in policy.priority else len(policy.priority)
    preferences = [
        _comparable(f"preference_{i}", read[order.column], order.field) for i, order in enumerate(policy.orders)
    ]
    return pl.DataFrame([*preferences, pl.Series("id", read["id"])]).with_columns(
        pl.lit(rank, pl.Int32).alias("priority")
    )


def tally(table: Table, shard: Shard, verdict: pa.Table) -> dict[str, int]:
    """Documents of a shard that have a better duplicate, and the bytes of their text."""
    lost = ~verdict["keep"].to_numpy()
    return {
        "documents": int(lost.sum()),
        "bytes": int(table.read(shard, ["text_bytes"])["text_bytes"].to_numpy()[lost].sum()),
    }


def account(shards: Sequence[Shard], tallies: Sequence[Mapping[str, int]]) -> dict[str, Any]:
    """The manifest's ``flow`` (an annotation drops nothing) and ``duplicates``, per source, from `tally` per shard."""
    duplicates = Totals()
    for shard, counts in zip(shards, tallies, strict=True):
        duplicates.add({shard.source: counts})
    return {"flow": all_kept(shards), "duplicates": duplicates.counts}


def _send_best(
    table: Table, policy: Policy, groups: Groups, partitions: int, shard: Shard, path: str
) -> dict[str, Any]:
    """Send the best of the shard's members of each group, and how many there are."""
    import polars as pl

    members = pl.DataFrame(groups(table, shard)).with_columns(
        pl.lit(_position(table, shard), pl.Int32).alias("shard"),
        pl.lit(1, pl.Int64).alias("size"),
        *ranking(table, policy, shard),
    )
    best = _best(members.drop_nulls(KEY), policy)
    write_partitions(path, best.to_arrow(), partition_of(best[KEY[0]].to_numpy(), partitions), partitions)
    return {"groups": best.height}


def _decide(policy: Policy, paths: Sequence[str], shards: int, partition: int, received: pa.Table) -> dict[str, Any]:
    """Choose among the best of the shards, and address the verdict to those that sent one."""
    import polars as pl

    members = pl.DataFrame(received)
    decided = _best(members, policy).filter(pl.col("size") > 1).select(*KEY, "size", keeper="id")
    answers = members.select(*KEY, "shard").join(decided, on=KEY, how="inner", maintain_order="left")
    write_partitions(paths[partition], answers.drop("shard").to_arrow(), answers["shard"].to_numpy(), shards)
    bins = Counter(1 << (size.bit_length() - 1) for size in decided["size"].to_list())
    return {"sizes": {str(size): groups for size, groups in sorted(bins.items())}}


def _best(members: "pl.DataFrame", policy: Policy) -> "pl.DataFrame":
    """The first member of each group in the order of the policy, with the documents of all of them as its size."""
    import polars as pl

    directions = {**dict.fromkeys(KEY, False), **policy.directions}
    ordered = members.sort(list(directions), descending=list(directions.values()), nulls_last=True)
    rest = [name for name in members.columns if name not in (*KEY, "size")]
    return ordered.group_by(KEY, maintain_order=True).agg(pl.col("size").sum(), pl.col(rest).first())


def _comparable(name: str, column: pa.ChunkedArray, field: str) -> "pl.Series":
    """The column without a dictionary, whose numbers differ from shard to shard, and with nulls for NaN."""
    import polars as pl

    if field:
        values = pl.Series(name, field_values(column.combine_chunks(), field))
        return values.cast(pl.Float64, strict=False).fill_nan(None)

    values = column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column
    series = pl.Series(name, values)
    return series.fill_nan(None) if series.dtype.is_float() else series


def _position(table: Table, shard: Shard) -> int:
    """Number of the shard: the partition of what is sent to it."""
    return table.shards.index(shard)
