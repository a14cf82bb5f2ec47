"""Choose the survivor of each group of duplicates, in the same way for all deduplication stages.

The stages exchange one row per group and shard, never all members. A mapper sends the best member of each group in its
shard, with the number of members. The reducer chooses the best of these, and sends the decision back to the shards that
have members. So a reducer holds at most one row per shard and group, however large a group is. The survivor depends
only on the set of documents: not on their order, on shards or on workers.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import pyarrow as pa
from pydantic import AfterValidator, Field

from curate.artifact import Shard, Totals
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
"""Columns that identify a group: two uint64, 128 bits in all, the first uniform; null for a document of no group."""

Groups = Callable[[Table, Shard], pa.Table]
"""Function that returns the group of each document of a shard, as a table with the columns of `KEY`."""

_PREFERENCE = re.compile(r"(\w+|meta(\.[^.\\]+)+) (asc|desc)")


def _preference(text: str) -> str:
    if text != LONGEST and not _PREFERENCE.fullmatch(text):
        raise ValueError(f"must be '{LONGEST}', or a column (or meta.FIELD) followed by 'asc' or 'desc'")
    return text


Preference = Annotated[str, AfterValidator(_preference)]
"""``longest``, or a column or numeric input field with a direction: ``gopher_words desc``, ``meta.votes desc``."""
Keep = Annotated[
    tuple[Preference, ...],
    Field(
        description="which duplicate is kept: `longest`, or columns or numeric input fields (`meta.votes`) followed by "
        "`asc` or `desc`; ties go to the smallest id"
    ),
]
Priority = Annotated[
    tuple[str, ...],
    Field(description="sources whose duplicates are kept before those of other sources, best first; precedes `keep`"),
]


class Order(NamedTuple):
    """A sort column and its direction. For the column ``meta``, `field` names the numeric input field to sort by."""

    column: str
    descending: bool
    field: str = ""


@dataclass(frozen=True)
class Policy:
    """Total order over documents. The first document of a group in this order survives.

    Documents are compared by three criteria in turn. First, by the position of their source in `priority`; sources that
    are not listed come last. Then, by each preference of `keep`; nulls, NaN and input fields without a number come
    last. Finally, by the id, which is unique.

    Parameters
    ----------
    keep
        Preferences, the most important first.
    priority
        Names of sources, the most preferred first.

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
        """Sort columns of `ranking`, with true for descending order."""
        preferences = {f"preference_{i}": order.descending for i, order in enumerate(self.orders)}
        return {"priority": False, **preferences, "id": False}

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that the policy needs: the id, and the columns of `keep`."""
        return tuple(dict.fromkeys(["id", *(order.column for order in self.orders)]))

    def place(self, column: str) -> tuple[str | int, ...]:
        """Path of the preference that names the column, within the stanza; empty if there is none."""
        return next((("keep", i) for i, order in enumerate(self.orders) if order.column == column), ())

    def problems(self, known: Known) -> Iterator[Problem]:
        """Report columns whose type has no order, and sources that do not exist."""
        for order in self.orders:
            column_type = known.columns.field(order.column).type if order.column in known.columns.names else pa.null()
            if pa.types.is_nested(column_type):
                message = f"column {order.column!r} has type {column_type}, whose values have no order"
                yield Problem(self.place(order.column), message)
        for index, source in enumerate(self.priority):
            if source not in known.sources:
                yield Problem(("priority", index), f"there is no source {source!r}", nearest(source, known.sources))

    def clashes(self, known: Known) -> Iterator[Problem]:
        """Report policies of earlier stages that, combined with this one, could drop a whole group.

        Suppose that A and B are duplicates, one stage keeps only A, and another keeps only B. Rules that drop all
        documents that either stage does not keep then drop both A and B. This cannot happen if both stages have the
        same policy, or if the later stage prefers what the earlier stage keeps.
        """
        for name, stage in known.stages.items():
            other = getattr(stage, "policy", None)
            decides = f"{name}_keep" in stage.columns().names
            if decides and isinstance(other, Policy) and not self._agrees(other, f"{name}_keep desc"):
                yield Problem(
                    ("keep",),
                    f"differs from the policy of {name!r}: rules that combine both stages could drop a whole group",
                    f"give both stages the same `priority`, and the same `keep` or one that starts with "
                    f"'{name}_keep desc'",
                )

    def _agrees(self, other: "Policy", kept_by_other: str) -> bool:
        return self.priority == other.priority and (self.keep == other.keep or self.keep[:1] == (kept_by_other,))


class Election(NamedTuple):
    """Result of `elect`.

    Attributes
    ----------
    paths
        Files that `verdicts` reads.
    sizes
        Number of groups by their number of documents, in powers of two: "4" counts the groups of 4 to 7 documents.
    """

    paths: list[str]
    sizes: dict[str, int]


def elect(ctx: Context, policy: Policy, groups: Groups, documents: int) -> Election:
    """Choose the survivor of each group that has two or more documents.

    Parameters
    ----------
    ctx
        Context of the stage. Its table has the columns of the policy.
    policy
        Order of preference: the first document of a group survives.
    groups
        Function that returns the groups of a shard. It is called twice per shard, in workers, so it must pickle.
    documents
        Upper bound on the number of documents in groups, from which the number of partitions is computed.
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
    """Return the decision about each document of a shard.

    Returns
    -------
    pyarrow.Table
        One row per document. ``keep`` is whether the document survives. ``keeper`` is the id of its group's survivor
        (its own id if it survives), null for a document without duplicates. ``size`` is the number of documents in the
        group, 1 without duplicates.
    """
    import polars as pl

    ids = pl.Series("id", table.read(shard, ["id"])["id"])
    answers = pl.DataFrame(read_partition(paths, _position(table, shard)))
    decisions = (
        pl.DataFrame(groups(table, shard))
        .with_columns(ids)
        .join(answers, on=KEY, how="left", maintain_order="left")
        .select(
            keep=pl.col("keeper").is_null() | (pl.col("keeper") == pl.col("id")),
            keeper="keeper",
            size=pl.col("size").fill_null(1).cast(pl.Int32),
        )
    )
    return decisions.to_arrow().cast(pa.schema([("keep", pa.bool_()), ("keeper", pa.binary(16)), ("size", pa.int32())]))


def ranking(table: Table, policy: Policy, shard: Shard) -> "pl.DataFrame":
    """Return the columns by which the documents of a shard are sorted (see `Policy.directions`)."""
    import polars as pl

    values = table.read(shard, policy.columns)
    rank = policy.priority.index(shard.source) if shard.source in policy.priority else len(policy.priority)
    preferences = [
        _comparable(f"preference_{i}", values[order.column], order.field) for i, order in enumerate(policy.orders)
    ]
    return pl.DataFrame([*preferences, pl.Series("id", values["id"])]).with_columns(
        pl.lit(rank, pl.Int32).alias("priority")
    )


def tally(table: Table, shard: Shard, verdict: pa.Table) -> dict[str, int]:
    """Count the documents of a shard that do not survive, and the bytes of their text."""
    dropped = ~verdict["keep"].to_numpy()
    return {
        "documents": int(dropped.sum()),
        "bytes": int(table.read(shard, ["text_bytes"])["text_bytes"].to_numpy()[dropped].sum()),
    }


def _send_best(
    table: Table, policy: Policy, groups: Groups, partitions: int, shard: Shard, path: str
) -> dict[str, Any]:
    """Send the best of the shard's members of each group, and the number of members."""
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
    """Choose the survivors, and send each decision to the shards that have members of the group."""
    import polars as pl

    members = pl.DataFrame(received)
    decided = _best(members, policy).filter(pl.col("size") > 1).select(*KEY, "size", keeper="id")
    answers = members.select(*KEY, "shard").join(decided, on=KEY, how="inner", maintain_order="left")
    write_partitions(paths[partition], answers.drop("shard").to_arrow(), answers["shard"].to_numpy(), shards)
    bins = Counter(1 << (size.bit_length() - 1) for size in decided["size"].to_list())
    return {"sizes": {str(size): groups for size, groups in sorted(bins.items())}}


def _best(members: "pl.DataFrame", policy: Policy) -> "pl.DataFrame":
    """Return the first member of each group in the order of the policy, with the size of the group."""
    import polars as pl

    directions = {**dict.fromkeys(KEY, False), **policy.directions}
    ordered = members.sort(list(directions), descending=list(directions.values()), nulls_last=True)
    rest = [name for name in members.columns if name not in (*KEY, "size")]
    return ordered.group_by(KEY, maintain_order=True).agg(pl.col("size").sum(), pl.col(rest).first())


def _comparable(name: str, column: pa.ChunkedArray, field: str) -> "pl.Series":
    """Return values that compare alike in all shards: dictionaries decoded, null for NaN, fields as numbers."""
    import polars as pl

    if field:
        values = pl.Series(name, field_values(column.combine_chunks(), field))
        return values.cast(pl.Float64, strict=False).fill_nan(None)

    values = column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column
    series = pl.Series(name, values)
    return series.fill_nan(None) if series.dtype.is_float() else series


def _position(table: Table, shard: Shard) -> int:
    """Number of the shard, which is also the number of the partition that holds its decisions."""
    return table.shards.index(shard)
