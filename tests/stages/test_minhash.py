"""Near-duplicates against all pairs of signatures, against the formula of the S-curve, and on real news."""

import json
import random
from collections import Counter, defaultdict
from collections.abc import Iterable
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import polars as pl
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.engine.local import LocalEngine
from curate.errors import RunError
from curate.stages import minhash
from curate.stages.minhash import MinHash
from curate.table import Table
from curate.text.minhash import collision_probability
from tests.corpus import make_table, run_stage
from tests.duplicates import FailingEngine, annotated, digests, find, frame

SMALL = {"bands": 6, "rows": 2, "ngram": 2}
BASES = [" ".join(random.Random(seed).choices("abcdefghij", k=12)) for seed in range(4)]
EDITED = st.builds(
    lambda base, at, letter: " ".join([*base.split()[:at], letter, *base.split()[at + 1 :]]),
    st.sampled_from(BASES),
    st.integers(0, 11),
    st.sampled_from("xyz"),
)
TEXTS = st.lists(st.one_of(EDITED, st.sampled_from(["", "*", "* *", "-", "a", "A!", "a b", "c"])), max_size=10)


def clusters_of(found: pl.DataFrame) -> set[frozenset[bytes]]:
    """Ids by cluster, as the columns tell it; a document without a cluster is alone."""
    clusters = defaultdict(set)
    for row in found.iter_rows(named=True):
        alone = row["minhash_cluster"] is None
        clusters[("alone", row["row"]) if alone else row["minhash_cluster"]].add(row["id"])
    return {frozenset(members) for members in clusters.values()}


def minima(signatures: pl.Series) -> np.ndarray:
    return np.array([np.frombuffer(signature, "<u4") for signature in signatures])


def components(nodes: Iterable[int], edges: Iterable[tuple[int, int]]) -> list[set[int]]:
    found = {node: {node} for node in nodes}
    for a, b in edges:
        if found[a] is not found[b]:
            found[a] |= found[b]
            for node in found[b]:
                found[node] = found[a]
    return list({id(component): component for component in found.values()}.values())


def shingles(text: str, ngram: int = 5) -> set[tuple[str, ...]]:
    words = text.split()
    return {tuple(words[i : i + ngram]) for i in range(max(len(words) - ngram, 0) + 1)}


def jaccard(a: str, b: str) -> float:
    return len(shingles(a) & shingles(b)) / len(shingles(a) | shingles(b))


@pytest.mark.parametrize("within", ["all", "source"])
@settings(max_examples=15, deadline=None)
@given(web=TEXTS, books=TEXTS, shard_rows=st.integers(1, 5))
def test_clusters_are_those_of_all_pairs(within: str, web: list[str], books: list[str], shard_rows: int) -> None:
    stage = MinHash.model_validate({**SMALL, "within": within, "keep": ()})
    with TemporaryDirectory() as folder:
        table = make_table(Path(folder) / "read", {"web": web, "books": books}, shard_rows)
        if not table.rows:
            return
        full = annotated(stage, table, Path(folder))
        artifact = run_stage(stage, full, Path(folder))
        columns = ["id", "source", "text", stage.signatures.column]
        found = frame(Table(table.documents, (*full.sidecars, artifact)), [*columns, *stage.columns().names])
    bands = minima(found[stage.signatures.column]).reshape(table.rows, stage.bands, stage.rows)
    source = found["source"].to_list()
    edges = [
        (a, b)
        for a, b in combinations(range(table.rows), 2)
        if (bands[a] == bands[b]).all(axis=1).any() and (within == "all" or source[a] == source[b])
    ]
    rows = found.rows(named=True)
    for members in components(range(table.rows), edges):
        keeper = min(rows[member]["id"] for member in members)
        for member in members:
            row = rows[member]
            assert row["minhash_size"] == len(members)
            assert row["minhash_cluster"] == (min(members) if len(members) > 1 else None)
            assert row["minhash_keeper"] == (keeper if len(members) > 1 else None)
            assert row["minhash_keep"] == (row["id"] == keeper)
    lost = found.filter(~pl.col("minhash_keep"))
    for name, counts in artifact.manifest["duplicates"].items():
        texts = lost.filter(pl.col("source") == name)["text"].to_list()
        assert counts == {"documents": len(texts), "bytes": sum(len(text.encode()) for text in texts)}


def test_short_documents_are_near_duplicates_only_of_their_equals(tmp_path: Path) -> None:
    texts = ["a", "A.", "b", "a b", "a b c d", "a b c e", "", " ", "***", "* **", "---", "A B C D!"]
    _, found = find(MinHash(), make_table(tmp_path / "read", {"web": texts}), tmp_path)
    clusters = found.drop_nulls("minhash_cluster").group_by("minhash_cluster").agg("text").sort("minhash_cluster")
    assert clusters["text"].to_list() == [["a", "A."], ["a b c d", "A B C D!"], ["", " "], ["***", "* **"]]


def test_planted_duplicates_are_found_as_often_as_the_formula_says(tmp_path: Path) -> None:
    rng = random.Random(1)
    pairs = []
    for _ in range(400):
        words = [f"w{rng.randrange(5000)}" for _ in range(200)]
        edited = list(words)
        for at in rng.sample(range(200), rng.randint(3, 8)):
            edited[at] = "edited"
        pairs.append((" ".join(words), " ".join(edited)))
    stage = MinHash()
    _, found = find(
        stage, make_table(tmp_path / "read", {"web": [text for pair in pairs for text in pair]}, 300), tmp_path
    )
    cluster = found["minhash_cluster"].to_list()
    together = sum(a is not None and a == b for a, b in zip(cluster[::2], cluster[1::2], strict=True))
    chance = collision_probability([jaccard(*pair) for pair in pairs], stage.bands, stage.rows)
    assert 0.6 < chance.mean() < 0.9, "the pairs do not test the slope of the curve"
    assert abs(together - chance.sum()) < 4 * np.sqrt((chance * (1 - chance)).sum())
    assert found["minhash_size"].max() == 2, "documents of different pairs were joined"


def test_real_near_duplicates_are_found(shared_data: Path, tmp_path: Path) -> None:
    """The news of 2004 and 2005, with the exact Jaccard similarity of all pairs at 0.3 and above."""
    with zstandard.open(shared_data / "bbc_news.jsonl.zst", "rt", encoding="utf-8") as file:
        documents = [json.loads(line) for line in file]
    pairs = pl.read_csv(shared_data / "bbc_news.jaccard.tsv", separator="\t").filter(pl.col("jaccard_word5") >= 0.8)
    stage = MinHash()
    table = make_table(tmp_path / "read", {"bbc": [document["text"] for document in documents]}, shard_rows=500)
    _, found = find(stage, table, tmp_path)
    cluster = dict(zip([document["id"] for document in documents], found["minhash_cluster"], strict=True))
    together = [cluster[a] is not None and cluster[a] == cluster[b] for a, b in pairs.select("id1", "id2").iter_rows()]
    expected = collision_probability(pairs["jaccard_word5"].to_numpy(), stage.bands, stage.rows).mean()
    assert len(together) > 100
    assert np.mean(together) >= expected - 0.03


def corpus() -> dict[str, list[str]]:
    rng = random.Random(3)
    texts = [" ".join(rng.choices("abcdefghijklmnop", k=20)) for _ in range(12)]
    texts += [text.replace("a", "z", 1) for text in texts]
    return {f"s{number}": [text, text.upper()][: 1 + number % 2] for number, text in enumerate(texts)}


def test_clusters_and_survivors_do_not_depend_on_order_or_shards(tmp_path: Path) -> None:
    stage = MinHash(**SMALL, keep=("longest",), priority=("s21",))
    documents = corpus()
    backwards = dict(reversed(documents.items()))
    outcomes = []
    for name, sources, shard_rows in [("forth", documents, 1), ("back", backwards, 1), ("whole", documents, 9)]:
        _, found = find(stage, make_table(tmp_path / name / "read", sources, shard_rows), tmp_path / name)
        fates = set(found.select("id", "minhash_size", "minhash_keeper", "minhash_keep").iter_rows())
        outcomes.append((clusters_of(found), fates))
    assert outcomes[0] == outcomes[1] == outcomes[2]
    assert 1 < len(outcomes[0][0]) < len(found)


def test_any_number_of_workers_gives_the_same_bytes(tmp_path: Path) -> None:
    table = make_table(
        tmp_path / "read", {"web": [text for texts in corpus().values() for text in texts]}, shard_rows=8
    )
    found = []
    for workers in (0, 1, 2):
        engine = LocalEngine(workers)
        found.append(digests(find(MinHash(**SMALL), table, tmp_path / str(workers), engine)[0]))
        engine.close()
    assert found[0] == found[1] == found[2]
    assert Counter(name.split("-")[0] for name in found[0]) == {"part": 5, "_manifest.json": 1}


@pytest.mark.parametrize(
    ("limit", "value", "exchanges"),
    [
        ("KEYS_PER_EXCHANGE", 1, 6),
        ("KEYS_PER_EXCHANGE", 80, 3),
        ("KEYS_PER_TASK", 8, 6),
        ("KEYS_PER_TASK", 30, 2),
        ("EDGES_PER_BATCH", 1, 1),
    ],
)
def test_limits_of_disk_and_memory_do_not_change_the_outcome(
    limit: str, value: int, exchanges: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = make_table(
        tmp_path / "read", {"web": [text for texts in corpus().values() for text in texts]}, shard_rows=8
    )
    whole = digests(find(MinHash(**SMALL), table, tmp_path / "whole")[0])
    monkeypatch.setattr(minhash, limit, value)
    artifact, _ = find(MinHash(**SMALL), table, tmp_path / "limited")
    assert digests(artifact) == whole
    assert len(list(Path(artifact.path).glob("_receipts/bands-*-map"))) == exchanges


def test_hot_buckets_are_counted_over_all_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(minhash, "HOT_BUCKET", 5)
    table = make_table(tmp_path / "read", {"web": ["boiler plate text"] * 6 + ["rare text"] * 5, "books": ["x"]}, 4)
    artifact, _ = find(MinHash(**SMALL), table, tmp_path)
    counted = {name: artifact.manifest[name] for name in ("hot_buckets", "largest_bucket", "cluster_sizes")}
    assert counted == {"hot_buckets": SMALL["bands"], "largest_bucket": 6, "cluster_sizes": {"4": 2}}


def test_another_seed_gives_other_signatures_of_the_same_quality(tmp_path: Path) -> None:
    texts = [text for texts in corpus().values() for text in texts]
    columns: list[Any] = []
    for seed in (0, 1):
        stage = MinHash(**SMALL, seed=seed)
        full = annotated(stage, make_table(tmp_path / str(seed) / "read", {"web": texts}), tmp_path / str(seed))
        columns.append(minima(frame(full, [stage.signatures.column])[stage.signatures.column]))
    assert columns[0].shape == columns[1].shape == (len(texts), 12)
    assert (columns[0] == columns[1]).mean() < 0.01


def test_a_run_that_was_stopped_anywhere_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    stage = MinHash(**SMALL)
    table = make_table(tmp_path / "read", {"web": [*BASES, BASES[0].upper(), BASES[2] + " z", "short"]}, shard_rows=4)
    whole = digests(find(stage, table, tmp_path / "whole")[0])
    tasks = (2 + 1) + 1 + (2 + 1) + 2  # bands sent and joined, components, best sent and decided, parts written
    for limit in range(tasks):
        path = tmp_path / str(limit)
        full = annotated(stage, table, path)
        with pytest.raises(RunError, match="the power went"):
            run_stage(stage, full, path, engine=FailingEngine(limit))
        assert digests(run_stage(stage, full, path, engine=FailingEngine(tasks - limit))) == whole
