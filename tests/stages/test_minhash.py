"""Near-duplicates against all pairs of signatures, against the formula of the S-curve, and on real news."""

import json
import random
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable
from itertools import chain, combinations, pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import polars as pl
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from curate import Pipeline
from curate.dedup import candidates
from curate.dedup.minhash import collision_probability
from curate.errors import RunError
from curate.stages import minhash
from curate.stages.minhash import MinHash
from curate.table import Table
from tests.corpus import make_table, run_stage
from tests.duplicates import annotated, digests, find, frame
from tests.engine.engines import Engines, FailingEngine
from tests.examples import examples

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


def words_of(text: str) -> list[str]:
    """Words by Unicode categories: letters and digits with their marks; a Han character is a word."""
    words, inside = [], False
    for character in text.lower():
        category = unicodedata.category(character)
        if "CJK" in unicodedata.name(character, ""):
            words.append(character)
            inside = False
        elif category[0] == "L" or category == "Nd" or (category[0] == "M" and inside):
            words[-1:] = [words[-1] + character] if inside else [*words[-1:], character]
            inside = True
        else:
            inside = False
    return words


def tokens_of(text: str, unit: str) -> list[str]:
    """Words, or their characters with a space between words of scripts that have spaces."""
    words = words_of(text)
    if unit == "word":
        return words
    spaced = [
        "" if "CJK" in unicodedata.name(a[0], "") and "CJK" in unicodedata.name(b[0], "") else " "
        for a, b in pairwise(words)
    ]
    return list("".join(chain.from_iterable(zip(words, [*spaced, ""], strict=True))))


def shingles(text: str, stage: MinHash = MinHash()) -> set[tuple[str, ...]]:  # noqa: B008
    tokens, ngram = tokens_of(text, stage.unit), stage.ngram
    if not tokens:
        return {("".join(text.split()),)}
    return {tuple(tokens[i : i + ngram]) for i in range(max(len(tokens) - ngram, 0) + 1)}


def jaccard(a: str, b: str) -> float:
    return len(shingles(a) & shingles(b)) / len(shingles(a) | shingles(b))


def by_definition(
    stage: MinHash, texts: list[str], source: list[str], ids: list[bytes], bands: np.ndarray
) -> list[int]:
    """Leader of each document: all pairs, in the order of the policy, without any index, exchange or component."""
    count = len(texts)
    flat = bands.reshape(count, -1)
    sets = [shingles(text, stage) for text in texts]

    def candidates(a: int, b: int) -> bool:
        return bool((bands[a] == bands[b]).all(axis=1).any()) and (stage.within == "all" or source[a] == source[b])

    def similar(a: int, b: int) -> bool:
        estimate, exact = (flat[a] == flat[b]).mean(), len(sets[a] & sets[b]) / len(sets[a] | sets[b])
        by = {"signature": estimate, "jaccard": exact, "off": 1.0}
        return candidates(a, b) and by[stage.verify] >= stage.least_similarity - 1e-9

    order = sorted(range(count), key=lambda i: (-len(texts[i].encode()) if stage.keep else 0, ids[i]))
    leader = list(range(count))
    if stage.closure:
        edges = [(a, b) for a, b in combinations(range(count), 2) if similar(a, b)]
        for members in components(range(count), edges):
            first = min(members, key=order.index)
            for member in members:
                leader[member] = first
        return leader
    for place, document in enumerate(order):
        kept = [other for other in order[:place] if leader[other] == other and similar(other, document)]
        leader[document] = kept[0] if kept else document
    return leader


@pytest.mark.parametrize("closure", [False, True])
@pytest.mark.parametrize("verify", ["signature", "jaccard", "off"])
@pytest.mark.parametrize(("within", "keep"), [("all", ("longest",)), ("source", ())])
@examples(8)
@given(web=TEXTS, books=TEXTS, shard_rows=st.integers(1, 5))
def test_clusters_are_those_of_all_pairs(
    closure: bool, verify: str, within: str, keep: tuple[str], web: list[str], books: list[str], shard_rows: int
) -> None:
    threshold = None if verify == "off" else 0.5
    fields = {"within": within, "keep": keep, "verify": verify, "closure": closure, "threshold": threshold}
    stage = MinHash.model_validate({**SMALL, **fields})
    with TemporaryDirectory() as folder:
        table = make_table(Path(folder) / "read", {"web": web, "books": books}, shard_rows)
        if not table.rows:
            return
        full = annotated(stage, table, Path(folder))
        artifact = run_stage(stage, full, Path(folder))
        columns = ["id", "source", "text", stage.signatures.column]
        found = frame(Table(table.documents, (*full.sidecars, artifact)), [*columns, *stage.columns().names])
        pairs = pl.concat([pl.read_parquet(path) for path in sorted(Path(artifact.path, "pairs").iterdir())])
    bands = minima(found[stage.signatures.column]).reshape(table.rows, stage.bands, stage.rows)
    ids = found["id"].to_list()
    leader = by_definition(stage, found["text"].to_list(), found["source"].to_list(), ids, bands)
    size = Counter(leader)
    for row, first in zip(found.iter_rows(named=True), leader, strict=True):
        alone = size[first] == 1
        assert row["minhash_size"] == size[first]
        assert row["minhash_cluster"] == (None if alone else leader.index(first))
        assert row["minhash_keeper"] == (None if alone else ids[first])
        assert row["minhash_keep"] == (row["id"] == ids[first])
        assert row["minhash_dup_count"] == (size[first] if row["minhash_keep"] else 0)
    lost = found.filter(~pl.col("minhash_keep"))
    assert pairs["id"].to_list() == lost["id"].to_list()
    assert pairs["keeper"].to_list() == lost["minhash_keeper"].to_list()
    for name, counts in artifact.manifest["duplicates"].items():
        texts = lost.filter(pl.col("source") == name)["text"].to_list()
        assert counts["documents"] == len(texts) == sum(counts.get("jaccard", {}).values())
        assert counts["bytes"] == sum(len(text.encode()) for text in texts)


SCRIPTS = {
    "latin": [
        "the",
        "quick",
        "brown",
        "fox",
        "jumps",
        "over",
        "a",
        "lazy",
        "dog",
        "while",
        "many",
        "birds",
        "sing",
        "in",
        "old",
        "trees",
        "near",
        "small",
        "rivers",
    ],
    "chinese": list("天地玄黄宇宙洪荒日月盈昃辰宿列张寒来暑往"),
    "arabic": ["كان", "يا", "ما", "في", "قديم", "الزمان", "ملك", "عادل", "يحب", "شعبه", "كثيرا"],
    "hindi": ["एक", "समय", "की", "बात", "है", "राजा", "अपने", "राज्य", "में", "बहुत", "प्रसन्न", "था"],
    "code": [
        "def",
        "f",
        "(",
        "x",
        ")",
        ":",
        "return",
        "x",
        "+",
        "1",
        "if",
        "x",
        ">",
        "0",
        "else",
        "-",
        "x",
        "#",
        "abs",
    ],
}


@pytest.mark.parametrize("unit", ["word", "char"])
@pytest.mark.parametrize("script", SCRIPTS)
@examples(5)
@given(data=st.data())
def test_clusters_are_those_of_all_pairs_in_five_scripts(script: str, unit: str, data: st.DataObject) -> None:
    words = SCRIPTS[script]
    base = st.integers(0, 2).map(lambda seed: random.Random(seed).choices(words, k=14))
    edits = st.lists(st.tuples(st.integers(0, 13), st.sampled_from(words)), max_size=3)
    drawn = data.draw(st.lists(st.tuples(base, edits), max_size=10))
    texts = []
    for tokens, changes in drawn:
        for at, word in changes:
            tokens = [*tokens[:at], word, *tokens[at + 1 :]]
        texts.append(("" if script == "chinese" else " ").join(tokens))
    stage = MinHash(bands=8, rows=2, ngram=3, unit=unit, verify="jaccard", threshold=0.5)  # type: ignore[arg-type]
    with TemporaryDirectory() as folder:
        table = make_table(Path(folder) / "read", {"web": texts}, 3)
        if not table.rows:
            return
        full = annotated(stage, table, Path(folder))
        artifact = run_stage(stage, full, Path(folder))
        columns = ["id", "source", "text", stage.signatures.column]
        found = frame(Table(table.documents, (*full.sidecars, artifact)), [*columns, *stage.columns().names])
    bands = minima(found[stage.signatures.column]).reshape(table.rows, stage.bands, stage.rows)
    ids = found["id"].to_list()
    leader = by_definition(stage, found["text"].to_list(), found["source"].to_list(), ids, bands)
    assert [keeper or own for keeper, own in found.select("minhash_keeper", "id").iter_rows()] == [
        ids[first] for first in leader
    ]
    exact = [
        len(shingles(a, stage) & shingles(b, stage)) / len(shingles(a, stage) | shingles(b, stage))
        for a, b in zip(texts, [texts[first] for first in leader], strict=True)
    ]
    for row, close in zip(found.iter_rows(named=True), exact, strict=True):
        assert row["minhash_jaccard"] is None or row["minhash_jaccard"] == pytest.approx(close)


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


def test_any_number_of_workers_gives_the_same_bytes(engines: Engines, tmp_path: Path) -> None:
    table = make_table(
        tmp_path / "read", {"web": [text for texts in corpus().values() for text in texts]}, shard_rows=8
    )
    found = [
        digests(find(MinHash(**SMALL), table, tmp_path / str(workers), engines(workers))[0]) for workers in (0, 1, 2)
    ]
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
    monkeypatch.setattr(candidates, limit, value)
    artifact, _ = find(MinHash(**SMALL), table, tmp_path / "limited")
    assert digests(artifact) == whole
    assert len(list(Path(artifact.path).glob("_receipts/bands-*-map"))) == exchanges


def test_hot_buckets_are_counted_over_all_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(candidates, "HOT_BUCKET", 5)
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
    tasks = (2 + 1) + 1 + (2 + 1) + 2 + 2 + 1  # bands, components, clusters, parts, a sample, what it measures
    for limit in range(tasks):
        path = tmp_path / str(limit)
        full = annotated(stage, table, path)
        with pytest.raises(RunError, match="the power went"):
            run_stage(stage, full, path, engine=FailingEngine(limit))
        assert digests(run_stage(stage, full, path, engine=FailingEngine(tasks - limit))) == whole


def chain_texts() -> list[str]:
    """Each shares most with the next, the first and the last little."""
    words = [f"w{i}" for i in range(40)]
    return [
        " ".join([*words[4 * step :], *(f"new{i}" for i in range(4 * step))]) + " x" * (5 - step) for step in range(5)
    ]


def test_a_document_is_only_dropped_for_one_that_it_is_similar_to(tmp_path: Path) -> None:
    table = make_table(tmp_path / "read", {"web": chain_texts()})
    fields = {"bands": 40, "rows": 1, "ngram": 1, "threshold": 0.7, "verify": "jaccard"}
    _, guarded = find(MinHash.model_validate(fields), table, tmp_path / "guarded")
    _, chained = find(MinHash.model_validate({**fields, "closure": True}), table, tmp_path / "chained")
    sets = [set(words_of(text)) for text in chain_texts()]
    assert len(sets[0] & sets[4]) / len(sets[0] | sets[4]) < 0.7
    assert chained["minhash_size"].to_list() == [5] * 5
    assert chained["minhash_keep"].sum() == 1
    assert 1 < guarded["minhash_keep"].sum() < 5
    assert guarded["minhash_jaccard"].drop_nulls().min() >= 0.7  # type: ignore[operator]
    assert chained["minhash_jaccard"].min() < 0.7  # type: ignore[operator]


def test_small_clusters_can_be_left_alone(tmp_path: Path) -> None:
    texts = ["one two three"] * 2 + ["four five six"] * 3 + ["seven eight nine"]
    _, found = find(MinHash(min_cluster_size=3), make_table(tmp_path / "read", {"web": texts}, 2), tmp_path)
    assert found["minhash_size"].to_list() == [2, 2, 3, 3, 3, 1]
    assert found["minhash_keep"].sum() == 2 + 1 + 1
    assert sorted(found["minhash_dup_count"].to_list()) == [0, 0, 1, 1, 1, 3]


def test_oversized_components_are_cut_and_counted_and_equals_stay_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [" ".join(f"w{i}" for i in range(50)) + f" e{edit // 2}" for edit in range(40)]
    table = make_table(tmp_path / "read", {"web": texts, "books": ["x"]}, 7)
    monkeypatch.setattr(minhash, "COMPONENT_LIMIT", 10)
    artifact, found = find(MinHash(), table, tmp_path)
    assert artifact.manifest["cut_components"] == 1
    assert artifact.manifest["largest_component"] == 40
    assert found.filter("minhash_keep")["text"].is_unique().all()
    whole = minima(frame(annotated(MinHash(), table, tmp_path / "again"), [MinHash().signatures.column]).to_series(1))
    first_band = [tuple(signature[:8]) for signature in whole]
    for row in found.drop_nulls("minhash_keeper").iter_rows(named=True):
        assert first_band[row["row"]] == first_band[found["id"].to_list().index(row["minhash_keeper"])]


def test_quality_is_measured_where_it_is_known(tmp_path: Path) -> None:
    rng = random.Random(5)
    texts = [" ".join(f"w{rng.randrange(2000)}" for _ in range(120)) for _ in range(300)]
    near = [" ".join(["edited", *text.split()[1:]]) for text in texts[:60]]
    table = make_table(tmp_path / "read", {"web": [*texts, *near]}, 100)
    artifact, _ = find(MinHash(verify="signature"), table, tmp_path)
    quality = artifact.manifest["quality"]
    assert dict(map(tuple, quality["curve"]))[0.8] == pytest.approx(0.9235, abs=1e-3)
    assert [planted["rate"] for planted in quality["planted"]] == [0.01, 0.03, 0.08, 0.2]
    for planted in quality["planted"]:
        assert planted["documents"] >= 200
        low, high = (planted[bound] * planted["documents"] for bound in ("low", "high"))
        assert low - 3 <= planted["expected"] <= high + 3
    assert quality["planted"][0]["found"] > 0.9 * quality["planted"][0]["documents"]
    assert quality["planted"][3]["found"] < 0.1 * quality["planted"][3]["documents"]
    dropped = artifact.manifest["duplicates"]["web"]
    assert dropped["documents"] == 60
    assert quality["audited"]["pairs"] == 60
    assert quality["audited"]["reached"] == quality["audited"]["pairs"]
    similarity = jaccard(texts[0], near[0])
    assert abs(quality["audited"]["mean_jaccard"] - similarity) < 0.02


def test_a_shard_that_an_earlier_stage_emptied_takes_part(tmp_path: Path) -> None:
    """Batches of an exchange have one type, with rows or without."""
    line = "a line of nine words that stays as it is"
    (tmp_path / "full.jsonl").write_text(f'{{"text": "{line}"}}\n' * 2)
    (tmp_path / "empty.jsonl").write_text('{"text": "two words"}\n')
    pipeline = Pipeline.from_mapping(
        {
            "run": {"root": str(tmp_path / "run")},
            "engine": {"workers": 0},
            "stages": {
                "read": {"sources": {name: {"path": str(tmp_path / f"{name}.jsonl")} for name in ("full", "empty")}},
                "clean": {"lines": {"min_words": 5}},
                "minhash": {},
            },
        }
    )
    pipeline.run()
    parts = [pl.read_parquet(file) for file in sorted(Path(pipeline.nodes["minhash"].artifact.path).glob("part-*"))]
    assert sorted(pl.concat(parts)["minhash_keep"].to_list()) == [False, True]
