"""A new dump against the signatures of finished runs, held against the run over both."""

import json
import random
from pathlib import Path

import polars as pl
import pytest

from curate import Pipeline
from curate.dedup.index import open_index
from curate.errors import ConfigError, RunError

SMALL = {"bands": 8, "rows": 2, "ngram": 2}


def text(seed: int, edits: int = 0) -> str:
    rng = random.Random(seed)
    words = [f"w{rng.randrange(50)}" for _ in range(30)]
    for position in random.Random(f"{seed}/{edits}").sample(range(30), edits):
        words[position] = f"new{edits}"
    return " ".join(words)


OLD = [text(seed, edits) for seed in range(8) for edits in (0, 2)]
NEW = [text(seed, edits) for seed in range(4, 12) for edits in (1, 3)] + ["short", "***"]


def run(path: Path, sources: dict[str, list[str]], **minhash: object) -> pl.DataFrame:
    """The documents of a run with the columns of its `minhash` stage."""
    path.mkdir(parents=True)
    for name, texts in sources.items():
        lines = [json.dumps({"id": f"{name}{i}", "text": text}) for i, text in enumerate(texts)]
        (path / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    read = {"sources": {name: {"path": str(path / f"{name}.jsonl")} for name in sources}}
    pipeline = Pipeline.from_mapping(
        {
            "run": {"root": str(path / "run")},
            "engine": {"workers": 0},
            "stages": {"read": read, "minhash": {**SMALL, "verify": "signature", **minhash}},
        }
    )
    pipeline.run()
    artifacts = [pipeline.nodes[name].artifact for name in ("read", "minhash")]
    frames = [
        pl.concat([pl.read_parquet(artifact.part(shard.name)) for shard in artifacts[0].shards()])
        for artifact in artifacts
    ]
    return pl.concat(frames, how="horizontal")


@pytest.mark.parametrize("closure", [False, True])
@pytest.mark.parametrize("verify", ["signature", "off"])
def test_a_new_dump_against_an_index_fares_as_in_the_joint_run(tmp_path: Path, verify: str, closure: bool) -> None:
    fields = {"verify": verify, "keep": ["longest"], "closure": closure}
    run(tmp_path / "old", {"old": OLD}, **fields)
    new = run(tmp_path / "new", {"new": NEW}, **fields, index=[str(tmp_path / "old" / "run")])
    joint = run(tmp_path / "joint", {"old": OLD, "new": NEW}, **fields, priority=["old", "new"])
    columns = ["source_id", "minhash_keep", "minhash_keeper", "minhash_jaccard"]
    joint = joint.filter(pl.col("source") == "new").select(columns)
    if closure:
        # A chain through an old document that was dropped is not in the index; what is dropped alone is compared.
        assert set(new.filter("minhash_keep")["source_id"]) >= set(joint.filter("minhash_keep")["source_id"])
        return
    assert new.select(columns).equals(joint)
    assert 0 < new["minhash_keep"].sum() < len(new)


def test_a_chain_of_indexes_and_what_comes_with_them(tmp_path: Path) -> None:
    run(tmp_path / "a", {"a": OLD[:8]})
    run(tmp_path / "b", {"b": OLD[8:]}, index=[str(tmp_path / "a" / "run")])
    dump = [text(seed, edits) for seed in range(12) for edits in (1, 3)]
    documents = run(tmp_path / "c", {"c": dump}, index=[str(tmp_path / name / "run") for name in "ab"])
    tables = [pl.read_parquet(f"{tmp_path}/{name}/run/read-*/part-*") for name in "ab"]
    old = [document for table in tables for document in table["id"]]
    led = documents.filter(pl.col("minhash_keeper").is_in(old))
    assert len(led) > 0
    assert not led["minhash_keep"].any()
    assert led["minhash_dup_count"].sum() == 0
    pairs = pl.read_parquet(f"{tmp_path}/c/run/minhash-*/pairs/*")
    assert set(pairs["keeper_source"]) == {"a", "b", "c"}


def test_the_text_of_an_index_is_not_read(tmp_path: Path) -> None:
    run(tmp_path / "old", {"old": OLD})
    whole = run(tmp_path / "new", {"new": NEW}, index=[str(tmp_path / "old" / "run")])
    for part in (tmp_path / "old" / "run").glob("read-*/part-*.parquet"):
        pl.read_parquet(part).drop("text").write_parquet(part)
    again = run(tmp_path / "again", {"new": NEW}, index=[str(tmp_path / "old" / "run")])
    assert again.equals(whole)


def test_a_run_that_cannot_serve_as_an_index_is_a_problem_before_anything_runs(tmp_path: Path) -> None:
    run(tmp_path / "old", {"old": OLD})
    with pytest.raises(
        ConfigError, match=r"signature_word2_16_0.*not signature_word2_16_7.*use the same unit, ngram"
    ) as error:
        run(tmp_path / "seed", {"new": NEW}, seed=7, index=[str(tmp_path / "old" / "run")])
    assert error.value.problems[0].where == ("stages", "minhash", "index", 0)
    with pytest.raises(ConfigError, match="there is no run in"):
        run(tmp_path / "missing", {"new": NEW}, index=[str(tmp_path / "nowhere")])
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "run.json").write_text('{"stages": []}')
    with pytest.raises(RunError, match="no finished `minhash` stage"):
        open_index(str(tmp_path / "empty"), "signature_word2_16_0")


def test_an_index_without_the_column_of_the_scope_is_a_problem_before_anything_runs(tmp_path: Path) -> None:
    run(tmp_path / "old", {"old": OLD})
    index = [str(tmp_path / "old" / "run")]
    (tmp_path / "new.jsonl").write_text('{"text": "one two three"}\n')
    stages = {
        "read": {"sources": {"new": {"path": str(tmp_path / "new.jsonl")}}},
        "heuristics": {},
        "minhash": {**SMALL, "within": "gopher_words", "index": index},
    }
    with pytest.raises(ConfigError, match=r"lacks the column 'gopher_words', which `within` needs") as error:
        Pipeline.from_mapping({"run": {"root": str(tmp_path / "new")}, "stages": stages})
    assert error.value.problems[0].where == ("stages", "minhash", "index", 0)
    for within in ("date", "meta.dump", "source"):  # are documents' own
        stages["minhash"] = {**SMALL, "within": within, "index": index}
        Pipeline.from_mapping({"run": {"root": str(tmp_path / "new")}, "stages": stages})
