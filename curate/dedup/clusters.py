"""Clusters of near-duplicates: which candidates are similar, and which document of each cluster is kept.

One task receives a whole component of candidates, as signatures and not as text. It processes the documents in the
order of the policy. A document that shares a band with an earlier kept document, and is similar to it, is dropped in
favour of the first such document; every other document is kept (see `curate.dedup.leaders`). The result is the same as
if one process went through the whole corpus in that order. It depends only on the set of documents.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from curate.artifact import Totals
from curate.dedup.candidates import BandLayout, Components, Part, labels_of, scoped_keys
from curate.dedup.manifest import ClusterCounts
from curate.dedup.survivors import Policy, ranking
from curate.engine.context import EXCHANGE
from curate.engine.exchange import partition_count, partition_of, read_partition, write_partitions

if TYPE_CHECKING:
    import polars as pl

    from curate.dedup.minhash import Sets
    from curate.engine.context import Context
    from curate.text.batch import TextBatch

COMPONENT_LIMIT = 1 << 19  # documents of a component, at about 4 KB of a reducer's memory each: 2 GB
BYTES_PER_ROW = 16  # size of the rows for which `partition_count` is made

GROUP = pa.schema([("group", pa.int32()), ("best", pa.bool_())])
VERDICT = pa.schema(
    [
        ("group", pa.int32()),
        ("leads", pa.bool_()),
        ("spared", pa.bool_()),
        ("cluster", pa.int64()),
        ("size", pa.int32()),
        ("stands_for", pa.int32()),
        ("keeper", pa.binary(16)),
        ("keeper_row", pa.int64()),
        ("keeper_source", pa.string()),
        ("keeper_source_id", pa.string()),
        ("jaccard", pa.float32()),
    ]
)

Ngram = Annotated[int, Field(ge=1, description="tokens per shingle")]
Unit = Annotated[Literal["word", "char"], Field(description="what a shingle is made of: words, or their characters")]
Seed = Annotated[int, Field(ge=0, description="chooses the hash functions; signatures of two seeds cannot be compared")]


@dataclass(frozen=True)
class Shingling:
    """How a document is represented as a set of n-grams.

    Parameters
    ----------
    ngram
        Tokens per shingle.
    unit
        Whether tokens are words or characters.
    """

    ngram: int
    unit: Literal["word", "char"]

    def tokens(self, text: "TextBatch") -> tuple[NDArray[np.uint64], NDArray[np.int64], NDArray[np.uint64]]:
        """Hash the tokens of documents.

        Returns
        -------
        tuple
            Hashes of all tokens, uint64, shape (tokens,); the offsets of the documents, int64, shape (documents + 1,);
            and a hash that represents each document without tokens (0 for the others), uint64, shape (documents,).
        """
        from curate.dedup.characters import characters
        from curate.text.hashing import symbols_hash

        tokens = text.words if self.unit == "word" else characters(text.data, text.words)
        fallback = np.zeros(len(text), np.uint64)
        empty = np.flatnonzero(np.diff(tokens.offsets) == 0)
        fallback[empty] = symbols_hash(text.data, text.offsets, empty)[:, 0]
        return tokens.hashes, tokens.offsets, fallback


@dataclass(frozen=True)
class Clustering:
    """How candidates become clusters.

    Parameters
    ----------
    banding, policy, shingling
        Shape of the bands, order of preference, and representation of documents as sets.
    verify
        How similarity is computed: from the ``signature``, as the exact ``jaccard`` of the sets, or ``off``, which
        treats all candidates as similar.
    threshold
        Minimum similarity.
    closure
        Whether similarity is transitive, so that a document may be dropped in favour of one that it is not similar to.
    min_size
        Clusters of fewer documents are kept whole.
    """

    banding: BandLayout
    policy: Policy
    shingling: Shingling
    verify: Literal["signature", "jaccard", "off"]
    threshold: float
    closure: bool
    min_size: int


class Clusters(NamedTuple):
    """Result of `cluster`.

    Attributes
    ----------
    groups, paths
        Folder and files that `verdicts` reads.
    counts
        For the manifest: ``cluster_sizes`` (number of clusters by their number of documents, in powers of two),
        ``crowded`` (see `curate.dedup.leaders.Leaders`) and ``cut_components``.
    """

    groups: str
    paths: list[str]
    counts: ClusterCounts


def cluster(ctx: "Context", parts: Sequence[Part], components: Components, clustering: Clustering) -> Clusters:
    """Cluster all documents that have candidates.

    Parameters
    ----------
    ctx
        Context of the stage. Its table has the columns of the policy and of the scope.
    parts
        The shards to compare, from `curate.dedup.candidates.parts_of`.
    components
        Components of candidates, from `curate.dedup.candidates.connect` with `COMPONENT_LIMIT`.
    clustering
        How candidates become clusters.
    """
    partitions = partition_count(components.members * _bytes_per_member(ctx, clustering) // BYTES_PER_ROW)
    groups = f"{ctx.path}/{EXCHANGE}/groups"
    paths = [f"{ctx.path}/{EXCHANGE}/verdicts/{partition:05d}.arrow" for partition in range(partitions)]
    results = ctx.exchange(
        "clusters",
        partial(_send_members, clustering, tuple(parts), components, groups, partitions),
        partial(_decide, clustering, paths, len(parts)),
        partitions,
        parts,
    )
    totals = Totals()
    for result in results:
        totals.add(result)
    sizes = sorted(totals.counts.get("sizes", {}).items(), key=lambda item: int(item[0]))
    counts: ClusterCounts = {
        "cluster_sizes": dict(sizes),
        "crowded": totals.counts["crowded"],
        "cut_components": len(components.oversized),
    }
    return Clusters(groups, paths, counts)


def verdicts(clusters: Clusters, position: int, part: Part) -> "pl.DataFrame":
    """Return the decision about each document of part number `position`.

    Returns
    -------
    polars.DataFrame
        One row per document. ``keep`` is whether it is kept. ``dup_count`` is the number of documents that it stands
        for, 0 if it is dropped. ``size`` is the size of its cluster, 1 without near-duplicates. ``cluster``,
        ``jaccard`` and the columns of `VERDICT` about the keeper are null without near-duplicates.
    """
    import polars as pl

    groups = pl.DataFrame(read_partition([f"{clusters.groups}/{part.name}.arrow"], 0))
    answers = pl.DataFrame(read_partition(clusters.paths, position))
    joined = groups.join(answers, on="group", how="left", maintain_order="left")
    spared = pl.col("spared").fill_null(value=True)
    keep = spared | (pl.col("leads") & pl.col("best"))
    return joined.with_columns(
        keep=keep,
        dup_count=pl.when(spared).then(1).when(keep).then("stands_for").otherwise(0).cast(pl.Int32),
        size=pl.col("size").fill_null(1),
    )


def _bytes_per_member(ctx: "Context", clustering: Clustering) -> int:
    """Estimate the bytes of one document in the exchange: its signature, its set of shingles, its identity."""
    sets = 0
    if clustering.verify == "jaccard":
        text_bytes = sum(shard.text_bytes for shard in ctx.table.shards)
        per_shingle = 6 if clustering.shingling.unit == "word" else 1  # bytes of text per token
        sets = 4 * text_bytes // per_shingle // max(ctx.table.rows, 1)
    return 100 + 4 * clustering.banding.permutations + sets


# -- mappers: send the members of components, equal ones once per shard ------------------------------------------------


def _send_members(
    clustering: Clustering,
    parts: Sequence[Part],
    components: Components,
    groups: str,
    partitions: int,
    part: Part,
    path: str,
) -> dict[str, Any]:
    """Send the members of components. Of members that are equal in all that is compared, send the best and a count."""
    import polars as pl

    from curate.text.words import mix64

    position = next(i for i, other in enumerate(parts) if other.name == part.name)
    labels = labels_of(components.path, position)
    rows = np.flatnonzero(labels.is_valid().to_numpy(zero_copy_only=False))
    all_signatures = part.signatures(clustering.banding)
    signatures = all_signatures[rows]
    label = labels.drop_null().to_numpy().astype(np.uint64)
    oversized = np.isin(label, np.array(components.oversized, np.uint64))
    if oversized.any():
        first_band = scoped_keys(clustering.banding, part, all_signatures)[rows, 0]
        label[oversized] = mix64(label[oversized] ^ first_band[oversized])
    sets = _sets(clustering, part, rows)
    members = _identity(clustering.policy, parts[0], part)[rows].with_columns(
        label=label, content=_content(signatures, sets), row=rows + part.first_row, member=np.arange(len(rows))
    )
    order = {"label": False, "content": False, **clustering.policy.directions}
    members = members.sort(list(order), descending=list(order.values()), nulls_last=True)
    member = members["member"].to_numpy()
    starts = _starts(members["label"].to_numpy(), members["content"].to_numpy())
    sizes = np.diff(starts, append=len(members))
    group = np.arange(len(starts), dtype=np.int32)
    _write_groups(f"{groups}/{part.name}.arrow", part.rows, rows[member], np.repeat(group, sizes), rows[member[starts]])
    best = members.drop("content", "member")[starts].with_columns(
        part=pl.lit(position, pl.Int32),
        group=group,
        settled=pl.lit(bool(part.settled)),
        documents=sizes.astype(np.int64),
        smallest=np.minimum.reduceat(members["row"].to_numpy(), starts) if len(starts) else starts,
    )
    table = best.to_arrow().append_column("signature", _fixed_binary(signatures[member[starts]]))
    if clustering.verify == "jaccard":
        table = table.append_column("shingles", _lists(sets).take(pa.array(member[starts])))
    write_partitions(path, table, partition_of(mix64(best["label"].to_numpy()), partitions), partitions)
    return {"members": len(rows)}


def _identity(policy: Policy, first: Part, part: Part) -> "pl.DataFrame":
    """Read the identity of a part's documents, and their rank. Documents of an index need no rank: theirs is null."""
    import polars as pl

    names = pl.DataFrame(part.table.read(part.shard, ["source_id"])).with_columns(source=pl.lit(part.shard.source))
    if not part.settled:
        return pl.concat([ranking(part.table, policy, part.shard), names], how="horizontal")
    unranked = ranking(first.table, policy, first.shard).clear().drop("id")
    ids = pl.Series("id", part.table.read(part.shard, ["id"])["id"])
    nulls = [pl.lit(None, dtype).alias(name) for name, dtype in unranked.schema.items()]
    ranked = ids.to_frame().with_columns(nulls).select(*unranked.columns[:-1], "id", unranked.columns[-1])
    return pl.concat([ranked, names], how="horizontal")


def _sets(clustering: Clustering, part: Part, rows: NDArray[np.int64]) -> "Sets":
    """Compute the shingle sets of some rows from their text; empty sets for an index and where sets are not needed."""
    from curate.dedup.minhash import Sets, shingle_sets
    from curate.text.batch import TextBatch

    if clustering.verify != "jaccard" or part.settled:
        return Sets(np.empty(0, np.uint32), np.zeros(len(rows) + 1, np.int64))
    batches, first = [], 0
    for batch in part.table.batches(part.shard, ["text"]):
        inside = rows[(rows >= first) & (rows < first + batch.num_rows)] - first
        first += batch.num_rows
        if len(inside):
            text = TextBatch(batch.column(0).take(pa.array(inside)))
            tokens, offsets, fallback = clustering.shingling.tokens(text)
            batches.append(shingle_sets(tokens, offsets, clustering.shingling.ngram, fallback))
    sizes = np.concatenate([np.zeros(0, np.int64), *(np.diff(sets.offsets) for sets in batches)])
    shingles = np.concatenate([np.zeros(0, np.uint32), *(sets.shingles for sets in batches)])
    return Sets(shingles, np.concatenate(([0], np.cumsum(sizes))))


def _content(signatures: NDArray[np.uint32], sets: "Sets") -> NDArray[np.uint64]:
    """Hash all that is compared of a document: documents with the same hash are compared once."""
    from curate.dedup.minhash import band_keys
    from curate.text.words import mix64

    whole = band_keys(signatures, 1, signatures.shape[1])[:, 0]
    sums = np.concatenate((np.zeros(1, np.uint64), np.cumsum(mix64(sets.shingles.astype(np.uint64)))))
    return mix64(whole ^ (sums[sets.offsets[1:]] - sums[sets.offsets[:-1]]))


def _starts(*sorted_keys: NDArray[Any]) -> NDArray[np.int64]:
    """Return the positions at which a new combination of values begins."""
    changed = np.zeros(len(sorted_keys[0]), np.bool_)
    changed[:1] = True
    for keys in sorted_keys:
        changed[1:] |= keys[1:] != keys[:-1]
    return np.flatnonzero(changed)


def _write_groups(
    path: str, rows: int, grouped: NDArray[np.int64], group: NDArray[np.int32], best: NDArray[np.int64]
) -> None:
    """Write the group of each row, and whether the row is the one that was sent for its group."""
    groups = np.full(rows, -1, np.int32)
    groups[grouped] = group
    sent = np.zeros(rows, np.bool_)
    sent[best] = True
    table = pa.table([pa.array(groups, mask=groups < 0), pa.array(sent)], schema=GROUP)
    write_partitions(path, table, np.zeros(rows, np.int64), 1)


def _fixed_binary(signatures: NDArray[np.uint32]) -> pa.Array:
    width = 4 * signatures.shape[1]
    minima = np.ascontiguousarray(signatures).astype("<u4", copy=False)
    return pa.Array.from_buffers(pa.binary(width), len(signatures), [None, pa.py_buffer(minima)])


def _lists(sets: "Sets") -> pa.Array:
    return pa.LargeListArray.from_arrays(pa.array(sets.offsets), pa.array(sets.shingles))


# -- reducers: decide one component after another ----------------------------------------------------------------------


def _decide(
    clustering: Clustering, paths: Sequence[str], parts: int, partition: int, received: pa.Table
) -> dict[str, Any]:
    """Cluster the components of a partition, and send the decisions to the parts of their members."""
    import polars as pl

    members = pl.DataFrame(received.drop_columns([n for n in ("signature", "shingles") if n in received.column_names]))
    order = {"label": False, "settled": True, **clustering.policy.directions, "row": False}
    members = members.with_row_index("sent").sort(list(order), descending=list(order.values()), nulls_last=True)
    leader, similarity, crowded = _leaders(clustering, members, received)
    cluster = (
        pl.DataFrame({"leader": leader})
        .with_columns(members.select("documents", "settled", "smallest"))
        .group_by("leader")
        .agg(
            size=pl.col("documents").sum(),
            stands_for=pl.col("documents").filter(~pl.col("settled")).sum(),
            cluster=pl.col("smallest").min(),
        )
        .filter(pl.col("size") > 1)
    )
    keepers = members.with_row_index("leader").select(
        pl.col("leader").cast(pl.Int64),
        keeper="id",
        keeper_row="row",
        keeper_source="source",
        keeper_source_id="source_id",
    )
    decided = (
        members.select("part", "group")
        .with_columns(leader=leader, jaccard=similarity, leads=leader == np.arange(len(leader)))
        .join(cluster, on="leader", how="inner", maintain_order="left")
        .join(keepers, on="leader", how="left", maintain_order="left")
        .with_columns(spared=pl.col("size") < clustering.min_size)
    )
    table = decided.select(VERDICT.names).to_arrow().cast(VERDICT)
    write_partitions(paths[partition], table, decided["part"].to_numpy().astype(np.int64), parts)
    bins = Counter(1 << (size.bit_length() - 1) for size in cluster["size"].to_list())
    return {"sizes": {str(size): clusters for size, clusters in sorted(bins.items())}, "crowded": crowded}


def _leaders(
    clustering: Clustering, members: "pl.DataFrame", received: pa.Table
) -> tuple[NDArray[np.int64], NDArray[np.float32], int]:
    """Return the leader of each member, the similarity to it, and `Leaders.crowded`."""
    from curate.dedup.leaders import lead
    from curate.dedup.minhash import Sets, band_keys
    from curate.text.words import mix64

    sent = pa.array(members["sent"].to_numpy())
    column = received["signature"].take(sent).combine_chunks()
    shape = (len(column), clustering.banding.permutations)
    signatures = np.frombuffer(column.buffers()[1] or b"", "<u4", shape[0] * shape[1]).reshape(shape)
    # The label keeps components apart. The last key is the whole signature: by it equal documents are compared even if
    # the keys of their bands are full.
    label = mix64(members["label"].to_numpy())[:, None]
    bands = band_keys(signatures, clustering.banding.bands, clustering.banding.rows)
    keys = np.concatenate((bands, band_keys(signatures, 1, shape[1]) + np.uint64(1)), axis=1) ^ label
    if clustering.verify == "off" and clustering.closure:
        keys = np.repeat(label, 1, axis=1)
    sets = None
    if clustering.verify == "jaccard":
        lists = received["shingles"].take(sent).combine_chunks()
        sets = Sets(lists.values.to_numpy(), lists.offsets.to_numpy())
    return lead(keys, signatures, members["settled"].to_numpy(), clustering.threshold, sets, closure=clustering.closure)
