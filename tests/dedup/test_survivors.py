"""Survivors against Python's own ordering, and what is said of policies that do not fit."""

import math
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from curate.artifact import Artifact, Shard
from curate.dedup.survivors import KEY, Policy, Preference, elect, verdicts
from curate.engine.context import Context
from curate.engine.local import LocalEngine
from curate.stage import Known
from curate.stages.exact import Exact
from curate.stages.minhash import MinHash
from curate.stages.paragraphs import Paragraphs
from curate.stages.substring import Substring
from curate.table import DOCUMENT, ParquetWriter, Table
from tests.corpus import document_id, make_table
from tests.duplicates import frame
from tests.examples import examples

SCORES = st.one_of(st.none(), st.just(math.nan), st.sampled_from([-1.0, 0.0, 2.5]))
DOCUMENTS = st.lists(
    st.tuples(
        st.sampled_from("abc"), st.one_of(st.none(), st.integers(0, 2)), SCORES, st.sampled_from(["en", "de", None])
    ),
    min_size=1,
    max_size=15,
)
SIDECAR = pa.schema(
    [("group", pa.uint64()), ("score", pa.float64()), ("language", pa.dictionary(pa.int32(), pa.string()))]
)


def by_column(table: Table, shard: Shard) -> pa.Table:
    group = table.read(shard, ["group"])["group"]
    return pa.table([group, group], names=KEY)


def with_sidecar(table: Table, rows: list[tuple]) -> Table:
    sidecar = Artifact("by_hand", f"{table.documents.path}/by_hand", "0" * 32)
    for shard in table.shards:
        part = rows[shard.first_row : shard.first_row + shard.rows]
        columns = [pa.array([row[i + 1] for row in part], kind) for i, kind in enumerate([pa.uint64(), pa.float64()])]
        language = pa.array([row[3] for row in part], pa.string()).dictionary_encode()
        with ParquetWriter(sidecar.part(shard.name), SIDECAR) as writer:
            writer.write(pa.table([*columns, language], schema=SIDECAR))
    sidecar.commit({}, {"columns": SIDECAR.names, "shards": table.documents.manifest["shards"]})
    return Table(table.documents, (sidecar,))


@examples(40)
@given(DOCUMENTS, st.permutations(["score desc", "language asc", "language desc", "score asc"]), st.permutations("abc"))
@example([("a", 0, math.nan, None), ("a", 0, 1.0, None)], ["score desc", "language asc"], ["a", "b"])
@example([("a", 0, 0.0, None), ("a", 0, 0.0, None), ("a", 0, 1.0, None)], ["score desc", "language asc"], ["a", "b"])
def test_the_survivor_is_the_first_in_pythons_order(
    documents: list[tuple], keep: list[str], priority: list[str]
) -> None:
    documents = sorted(documents, key=lambda document: document[0])
    sources = {source: ["text" for other, *_ in documents if other == source] for source in "abc"}
    ids = [document_id(source, str(number)) for source, texts in sources.items() for number in range(len(texts))]
    policy = Policy(tuple(keep[:2]), tuple(priority[:2]))

    def rank(row: int) -> tuple:
        source, _, score, language = documents[row]
        order: list[object] = [priority.index(source) if source in priority[:2] else 2]
        for preference in keep[:2]:
            column, way = preference.split()
            value = {"score": score, "language": language and int.from_bytes(language.encode())}[column]
            value = None if value is not None and math.isnan(value) else value
            order += [value is None, 0 if value is None else -value if way == "desc" else value]
        return (*order, ids[row])

    with TemporaryDirectory() as folder:
        table = with_sidecar(make_table(Path(folder) / "read", sources, shard_rows=3), documents)
        ctx = Context(Artifact("x", f"{folder}/x", ""), table, LocalEngine(workers=0))
        election = elect(ctx, policy, by_column, table.rows)
        decisions = pa.concat_tables(
            [verdicts(table, by_column, election.paths, shard) for shard in table.shards]
        ).to_pylist()
    for row, (_, group, *_) in enumerate(documents):
        members = [other for other, document in enumerate(documents) if document[1] == group]
        if group is None or len(members) == 1:
            assert decisions[row] == {"keep": True, "keeper": None, "size": 1}
        else:
            keeper = ids[min(members, key=rank)]
            assert decisions[row] == {"keep": keeper == ids[row], "keeper": keeper, "size": len(members)}


@pytest.mark.parametrize("text", ["gopher_words", "gopher_words down", "longest  desc", "a asc, b desc", ""])
def test_preferences_have_a_column_and_a_direction(text: str) -> None:
    with pytest.raises(ValidationError, match=r"must be 'longest', or a column .* followed by 'asc' or 'desc'"):
        TypeAdapter(Preference).validate_python(text)


def test_a_field_of_the_input_needs_the_column_that_holds_it() -> None:
    policy = Policy(("meta.votes.up desc", "meta.seen asc"))
    assert policy.columns == ("id", "meta")
    assert [(order.field, order.descending) for order in policy.orders] == [("votes.up", True), ("seen", False)]


def known(**stages: Exact | MinHash) -> Known:
    columns = pa.schema([*DOCUMENT, ("text_bytes", pa.int64()), ("vector", pa.list_(pa.float32()))])
    return Known(columns, {"books": 10, "web": 10}, stages)


def test_sources_and_columns_without_order_are_problems() -> None:
    problems = list(Exact(keep=("longest", "vector desc"), priority=("web", "bocks")).check(known()))
    assert [(problem.where, problem.hint) for problem in problems] == [
        (("keep", 1), ""),
        (("priority", 1), "did you mean 'books'?"),
    ]
    assert "has type list<item: float>, whose values have no order" in problems[0].message
    assert "there is no source 'bocks'" in problems[1].message
    assert list(Exact(keep=("longest", "source asc"), priority=("web",)).check(known())) == []
    for stage in (Paragraphs, Substring):
        cutting = stage(name="cut", prefer=("longest", "vector desc"), priority=("web", "bocks"))
        assert [(problem.where, problem.hint) for problem in cutting.check(known())] == [
            (("prefer", 1), ""),
            (("priority", 1), "did you mean 'books'?"),
        ]


def test_an_unknown_column_is_pointed_at() -> None:
    stage = MinHash(keep=("longest", "dat desc"))
    assert "dat" in stage.requires()
    assert stage.place("dat") == ("keep", 1)
    assert stage.place("text_bytes") == ("keep", 0)


@pytest.mark.parametrize(
    ("first", "second", "agree"),
    [
        ({}, {}, True),
        ({"keep": ("longest",)}, {"keep": ("longest",)}, True),
        ({"keep": ()}, {"keep": ("longest",)}, False),
        ({"keep": ()}, {"keep": ("copy_keep desc", "longest")}, True),
        ({}, {"keep": ("longest", "copy_keep desc")}, False),
        ({"priority": ("web",)}, {"keep": ("copy_keep desc",)}, False),
        ({"priority": ("web",)}, {"keep": ("copy_keep desc",), "priority": ("web",)}, True),
    ],
)
def test_policies_that_could_lose_a_group_are_a_problem(first: dict, second: dict, *, agree: bool) -> None:
    problems = list(MinHash(**second).check(known(copy=Exact(name="copy", **first))))
    assert problems == [] if agree else ["'copy'" in problem.message for problem in problems] == [True]


@examples(25)
@given(
    rows=st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 3), SCORES, st.none()), min_size=1, max_size=12),
    cuts=st.integers(1, 3),
)
def test_no_group_is_lost_to_two_stages_of_which_the_second_prefers_what_the_first_keeps(
    rows: list[tuple], cuts: int
) -> None:
    """The second stage's groups are unions of the first's; it asks first for what the first keeps."""
    rows = sorted(rows, key=lambda row: row[0])
    sources = {source: ["text" for other, *_ in rows if other == source] for source in "ab"}
    with TemporaryDirectory() as folder:
        table = with_sidecar(make_table(Path(folder) / "read", sources, shard_rows=4), rows)
        engine = LocalEngine(workers=0)
        first = elect(
            Context(Artifact("x", f"{folder}/x", ""), table, engine), Policy(("score asc",)), by_column, table.rows
        )
        kept = Artifact("kept", f"{folder}/kept", "0" * 32)
        schema = pa.schema([("copy_keep", pa.bool_())])
        for shard in table.shards:
            with ParquetWriter(kept.part(shard.name), schema) as writer:
                writer.write(pa.table([verdicts(table, by_column, first.paths, shard)["keep"]], schema=schema))
        kept.commit({}, {"columns": schema.names, "shards": table.documents.manifest["shards"]})
        both = Table(table.documents, (*table.sidecars, kept))
        coarse = partial(by_column_coarse, cuts)
        policy = Policy(("copy_keep desc", "score desc"))
        second = elect(Context(Artifact("y", f"{folder}/y", ""), both, engine), policy, coarse, table.rows)
        outcome = pa.concat_tables([verdicts(both, coarse, second.paths, shard) for shard in both.shards])
        kept_twice = frame(both, ["group", "copy_keep"])
    left = {
        group % cuts
        for group, once, twice in zip(
            kept_twice["group"], kept_twice["copy_keep"], outcome["keep"].to_pylist(), strict=True
        )
        if once and twice
    }
    assert left == {group % cuts for _, group, *_ in rows}


def by_column_coarse(cuts: int, table: Table, shard: Shard) -> pa.Table:
    group = pa.array(table.read(shard, ["group"])["group"].to_numpy() % cuts, pa.uint64())
    return pa.table([group, group], names=KEY)
