"""Exact duplicates against a dictionary of texts."""

import json
import re
from collections import Counter, defaultdict
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.errors import RunError
from curate.stage import Known
from curate.stages.exact import Exact
from tests.corpus import document_id, make_table, run_stage, with_column
from tests.duplicates import annotated, digests, find
from tests.engine.engines import Engines, FailingEngine
from tests.examples import examples

TEXTS = st.lists(st.text(alphabet="aB. *", max_size=4), max_size=12)


def words(text: str) -> tuple[str, ...]:
    """What the normalized hash stands for, in plain Python."""
    return tuple(re.findall("[a-z]+", text.lower())) or ("", "".join(text.split()))


def groups_of(found: pl.DataFrame) -> set[frozenset[bytes]]:
    """Ids by group, as the columns tell it; a document without a keeper is alone."""
    members = defaultdict(set)
    for row in found.iter_rows(named=True):
        members[row["exact_keeper"] or row["id"]].add(row["id"])
    return {frozenset(group) for group in members.values()}


@pytest.mark.parametrize("by", ["normalized", "raw"])
@pytest.mark.parametrize("within", ["all", "source"])
@examples(10)
@given(web=TEXTS, books=TEXTS, shard_rows=st.integers(1, 5))
def test_groups_are_those_of_a_dictionary(
    by: str, within: str, web: list[str], books: list[str], shard_rows: int
) -> None:
    expected = defaultdict(set)
    for source, texts in {"web": web, "books": books}.items():
        for number, text in enumerate(texts):
            key = (words(text) if by == "normalized" else text, source if within == "source" else "")
            expected[key].add(document_id(source, str(number)))
    stage = Exact.model_validate({"by": by, "within": within, "keep": ()})
    with TemporaryDirectory() as folder:
        table = make_table(Path(folder) / "read", {"web": web, "books": books}, shard_rows)
        if not table.rows:
            return
        artifact, found = find(stage, table, Path(folder))
    assert groups_of(found) == {frozenset(group) for group in expected.values()}
    kept = dict(found.select("id", "exact_keep").iter_rows())
    count = dict(found.select("id", "exact_count").iter_rows())
    stands_for = dict(found.select("id", "exact_dup_count").iter_rows())
    for group in expected.values():
        assert [member for member in group if kept[member]] == [min(group)]
        assert {count[member] for member in group} == {len(group)}
        assert [stands_for[member] for member in sorted(group)] == [len(group)] + [0] * (len(group) - 1)
    lost = found.filter(~pl.col("exact_keep"))
    for source, counts in artifact.manifest["duplicates"].items():
        texts = lost.filter(pl.col("source") == source)["text"].to_list()
        assert counts == {"documents": len(texts), "bytes": sum(len(text.encode()) for text in texts)}


def test_cluster_sizes_are_counted_in_powers_of_two(tmp_path: Path) -> None:
    sizes = [1, 2, 3, 4, 7, 8]
    table = make_table(
        tmp_path / "read", {"web": [f"text {size}" for size in sizes for _ in range(size)]}, shard_rows=4
    )
    artifact, _ = find(Exact(), table, tmp_path)
    assert artifact.manifest["cluster_sizes"] == {"2": 2, "4": 2, "8": 1}
    assert artifact.manifest["flow"] == {"web": {"in": 25, "kept": 25, "dropped": {}, "quarantined": {}}}


def test_survivors_do_not_depend_on_order_or_shards(tmp_path: Path) -> None:
    texts = [f"Text {number % 7}" for number in range(30)]
    sources = {f"s{number}": [text] for number, text in enumerate(texts)}  # so that ids go with the texts
    backwards = dict(reversed(sources.items()))
    outcomes = []
    for name, documents in {"forth": sources, "back": backwards}.items():
        table = make_table(tmp_path / name / "read", documents)
        _, found = find(Exact(priority=("s20",)), table, tmp_path / name)
        outcomes.append(set(found.select("id", "exact_keep", "exact_keeper", "exact_count").iter_rows()))
    assert outcomes[0] == outcomes[1]
    assert (document_id("s20", "0"), True, document_id("s20", "0"), 4) in outcomes[0]
    one_source = []
    for shard_rows in (1, 4, 100):
        path = tmp_path / str(shard_rows)
        _, found = find(Exact(), make_table(path / "read", {"web": texts}, shard_rows), path)
        one_source.append(found.to_dicts())
    assert one_source[0] == one_source[1] == one_source[2]


def test_any_number_of_workers_gives_the_same_bytes(engines: Engines, tmp_path: Path) -> None:
    table = make_table(tmp_path / "read", {"web": [f"Text {number % 7}" for number in range(30)]}, shard_rows=6)
    found = [digests(find(Exact(), table, tmp_path / str(workers), engines(workers))[0]) for workers in (0, 1, 2)]
    assert found[0] == found[1] == found[2]
    assert Counter(name.split("-")[0] for name in found[0]) == {"part": 5, "_manifest.json": 1}


def test_a_run_that_was_stopped_anywhere_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    table = make_table(tmp_path / "read", {"web": [f"Text {number % 3}" for number in range(8)]}, shard_rows=4)
    whole = digests(find(Exact(), table, tmp_path / "whole")[0])
    tasks = 2 + 1 + 2  # two shards send, one partition decides, two shards write
    for limit in range(tasks):
        path = tmp_path / str(limit)
        full = annotated(Exact(), table, path)
        with pytest.raises(RunError, match="the power went"):
            run_stage(Exact(), full, path, engine=FailingEngine(limit))
        assert digests(run_stage(Exact(), full, path, engine=FailingEngine(tasks - limit))) == whole


@pytest.mark.parametrize("shard_rows", [2, 100])
def test_equal_addresses_are_one_group_and_documents_without_one_are_none(tmp_path: Path, shard_rows: int) -> None:
    urls = [
        "http://a.org/x",
        None,
        "no address",
        "https://www.a.org/x/?utm_source=y",
        None,
        "no address",
        "http://a.org/y",
    ]
    plain = make_table(tmp_path / "read", {"web": ["same text"] * len(urls)}, shard_rows)
    _, found = find(Exact(by="url", keep=()), with_column(plain, "url", urls), tmp_path)
    assert found["exact_count"].to_list() == [2, 1, 1, 2, 1, 1, 1]
    assert found["exact_keep"].sum() == 6
    assert found["exact_dup_count"].sum() == 7
    alone = found.filter(pl.col("exact_count") == 1)
    assert alone["exact_keeper"].is_null().all()
    assert alone["exact_dup_count"].to_list() == [1] * 5


@pytest.mark.parametrize("shard_rows", [1, 2, 3, 100])
@pytest.mark.parametrize("within", ["meta.dump", "url", "date"])
def test_equal_texts_of_different_scopes_stay_apart(tmp_path: Path, within: str, shard_rows: int) -> None:
    numbers = [None if number % 10 == 9 else number % 10 for number in range(24)]
    values = {
        "meta.dump": [None if number is None else json.dumps({"dump": f"CC-{number}"}) for number in numbers],
        "url": [None if number is None else f"http://a.org/{number}" for number in numbers],
        "date": [None if number is None else datetime(2024, 1, 1 + number, tzinfo=UTC) for number in numbers],
    }
    plain = make_table(tmp_path / "read", {"web": ["same text"] * len(numbers)}, shard_rows)
    _, found = find(Exact(within=within), with_column(plain, within.split(".")[0], values[within]), tmp_path)
    assert found["exact_count"].to_list() == [numbers.count(number) for number in numbers]
    kept = [number for number, keep in zip(numbers, found["exact_keep"], strict=True) if keep]
    assert sorted(kept, key=str) == [*range(9), None]


def test_a_scope_is_a_column_that_makes_groups() -> None:
    known = Known(pa.schema([("score", pa.float64()), ("lang_code", pa.string())]), {}, {})
    assert [problem.where for problem in Exact(within="score").check(known)] == [("within",)]
    assert list(Exact(within="lang_code").check(known)) == []
    stage = Exact(within="meta.dump", by="url")
    assert stage.requires() == ("url_hash", "text_bytes", "id", "meta")
    assert stage.place("meta") == ("within",)
