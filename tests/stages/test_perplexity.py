"""Whole runs of train_lm, perplexity and buckets: what the columns mean, what is null, and what is refused."""

import json
import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate import Pipeline
from curate.errors import ConfigError, RunError
from curate.language_models import ngram, scorer
from curate.language_models.segmentation import TextForm
from curate.stages.buckets import Buckets
from curate.stages.perplexity import Perplexity
from curate.stages.train_lm import TrainLm
from curate.stats import quantiles
from curate.text.batch import TextBatch
from tests.runs import digests, document, write_config

ODD = ["", "one two", "¿", "\n\n", "Wholly unknown vocabulary stands here now"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    rng = random.Random(4)
    plain = [document(rng, rng.randint(3, 20)) for _ in range(60)]
    shuffled = [" ".join(rng.sample(text.split(), len(text.split()))) for text in plain[30:]]
    for name, texts in {"plain": plain[:30] + ODD, "mixed": shuffled}.items():
        rows = [json.dumps({"text": text}) for text in texts if text.strip()]
        (folder / f"{name}.jsonl").write_text("\n".join(rows) + "\n")
    return folder


def configuration(corpus: Path, root: Path, stages: dict[str, Any], workers: int = 0) -> dict[str, Any]:
    sources = {name: {"path": f"{corpus}/{name}.jsonl"} for name in ("plain", "mixed")}
    read = {"read": {"shard_bytes": "8kB", "sources": sources}}
    return {"run": {"root": str(root)}, "engine": {"workers": workers}, "stages": read | stages}


def run(corpus: Path, root: Path, stages: dict[str, Any], workers: int = 0) -> Pipeline:
    path = write_config(root.with_suffix(".json"), configuration(corpus, root, stages, workers))
    pipeline = Pipeline.from_yaml(path)
    pipeline.run()
    return pipeline


def rows(pipeline: Pipeline, stage: str) -> pl.DataFrame:
    parts = []
    for shard in pipeline.nodes["read"].artifact.shards():
        text = pq.read_table(pipeline.nodes["read"].artifact.part(shard.name), columns=["source", "text"])
        side = pq.read_table(pipeline.nodes[stage].artifact.part(shard.name))
        parts.append(pl.concat([pl.DataFrame(text), pl.DataFrame(side)], how="horizontal"))
    return pl.concat(parts).with_columns(pl.col("source").cast(pl.String))


LM = {"lm": {"stage": "train_lm", "sources": ["plain"], "order": 3}}


def test_columns_follow_from_the_probability_by_their_definitions(corpus: Path, tmp_path: Path) -> None:
    pipeline = run(corpus, tmp_path / "run", LM | {"perplexity": {"model": "lm", "paragraphs": True}})
    found = rows(pipeline, "perplexity")
    short = found.filter(pl.col("text").is_in(["one two", "¿"]))
    assert short.height == 2
    assert all(value is None for row in short.select(pl.selectors.starts_with("kenlm_")).rows() for value in row)
    model = ngram.load(f"{pipeline.nodes['lm'].artifact.path}/model.lm")
    words = set(model.words())
    for row in found.filter(pl.col("kenlm_tokens").is_not_null()).iter_rows(named=True):
        lines = [line.lower().replace(".", " . ").split() for line in row["text"].split("\n")]
        tokens = [word for line in lines for word in line]
        bits = -math.log2(10) * row["kenlm_log10_prob"]
        assert row["kenlm_tokens"] == len(tokens)
        assert row["kenlm_bits_per_byte"] == pytest.approx(bits / len(row["text"].encode()))
        assert row["kenlm_bits_per_char"] == pytest.approx(bits / len(row["text"]))
        assert row["kenlm_bits_per_word"] == pytest.approx(bits / len([word for word in tokens if word != "."]))
        assert row["kenlm_perplexity"] == pytest.approx(
            10 ** (-row["kenlm_log10_prob"] / sum(len(line) + 1 for line in lines))
        )
        assert row["kenlm_oov_share"] == pytest.approx(sum(word not in words for word in tokens) / len(tokens))
        sizes = [len(line.encode()) for line in row["text"].split("\n")]
        by_line = np.dot(row["kenlm_line_bits_per_byte"], sizes)
        assert by_line == pytest.approx(bits, rel=1e-5)
    means = found.group_by("source").agg(pl.col("kenlm_bits_per_byte").mean())
    by_source = dict(means.rows())
    assert by_source["plain"] < by_source["mixed"]


def test_models_by_group_and_their_difference(corpus: Path, tmp_path: Path) -> None:
    stages = {
        "each": {"stage": "train_lm", "by": "source", "order": 2, "min_bytes": 100},
        "lm": LM["lm"],
        "own": {"stage": "perplexity", "model": "each", "by": "source", "against": "lm", "prefix": "own"},
        "one": {"stage": "perplexity", "model": "lm", "prefix": "one"},
        "buckets": {"column": "own_perplexity", "by": "source", "quantiles": [0.25, 0.5], "into": "bucket"},
    }
    pipeline = run(corpus, tmp_path / "run", stages)
    own, one, buckets = rows(pipeline, "own"), rows(pipeline, "one"), rows(pipeline, "buckets")
    assert set(pipeline.nodes["each"].artifact.manifest["models"]) == {"plain", "mixed"}
    bits = -math.log2(10) * (own["own_log10_prob"] - one["one_log10_prob"]) / own["own_tokens"]
    assert own["own_difference"].drop_nulls().to_list() == pytest.approx(bits.drop_nulls().to_list())
    table = pl.concat([own, buckets.select("bucket")], how="horizontal")
    for source in ("plain", "mixed"):
        part = table.filter((pl.col("source") == source) & pl.col("own_perplexity").is_not_null())
        ranked = part.sort("own_perplexity")["bucket"].cast(pl.String).to_list()
        n = len(ranked)
        head, middle = n // 4, n // 2 - n // 4
        assert ranked == ["head"] * head + ["middle"] * middle + ["tail"] * (n - head - middle)
    assert table.filter(pl.col("own_perplexity").is_null())["bucket"].is_null().all()


def test_a_rule_and_a_column_choose_what_each_model_is_trained_on(corpus: Path, tmp_path: Path) -> None:
    """The model of a rule is that of a corpus which has nothing else."""
    rule = "text_bytes > 400 AND source = 'plain'"
    ruled = {"stage": "train_lm", "where": rule, "by": "source", "order": 2}
    pipeline = run(corpus, tmp_path / "run", {"lm": ruled, "perplexity": {"model": "lm", "by": "source"}})
    manifest = pipeline.nodes["lm"].artifact.manifest
    found = rows(pipeline, "perplexity")
    chosen = found.filter((pl.col("text").str.len_bytes() > 400) & (pl.col("source") == "plain"))
    assert 0 < chosen.height < found.filter(pl.col("source") == "plain").height
    card = manifest["models"]["plain"]
    assert set(manifest["models"]) == {"plain"}
    assert card["documents"] == manifest["documents"]["plain"] == chosen.height
    assert card["bytes"] == chosen["text"].str.len_bytes().sum()
    other = tmp_path / "other"
    other.mkdir()
    (other / "plain.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in chosen["text"]))
    (other / "mixed.jsonl").write_text('{"text": "no matter"}\n')
    alone = run(other, tmp_path / "alone", {"lm": {"stage": "train_lm", "sources": ["plain"], "order": 2}})
    whole = alone.nodes["lm"].artifact.manifest["models"]["model"]
    same = ("ngrams", "ngrams_before_pruning", "discounts", "sentences", "tokens", "vocabulary")
    assert {key: card[key] for key in same} == {key: whole[key] for key in same}


def test_the_manifest_sums_up_the_scores_of_each_source(corpus: Path, tmp_path: Path) -> None:
    pipeline = run(corpus, tmp_path / "run", LM | {"perplexity": {"model": "lm"}})
    found = rows(pipeline, "perplexity")
    summed = pipeline.nodes["perplexity"].artifact.manifest["scores"]
    assert set(summed) == {"plain", "mixed"}
    for source, summary in summed.items():
        own = found.filter(pl.col("source") == source)
        scored = own.drop_nulls("kenlm_bits_per_byte")
        bits = scored["kenlm_bits_per_byte"]
        unknown = (scored["kenlm_oov_share"] * scored["kenlm_tokens"]).sum()
        assert (summary["documents"], summary["scored"], summary["null"]) == (
            own.height,
            scored.height,
            own.height - scored.height,
        )
        assert summary["tokens"] == scored["kenlm_tokens"].sum()
        assert summary["mean_bits_per_byte"] == pytest.approx(bits.mean())
        assert summary["oov_share"] == pytest.approx(unknown / summary["tokens"])
        for share, value in summary["quantiles"].items():
            rank = int(float(share) * scored.height + 1e-9)
            assert value == pytest.approx(sorted(bits)[rank], rel=0.004)
        width, counts = summary["histogram"]["width"], summary["histogram"]["counts"]
        assert counts == [((bits / width).floor() == bar).sum() for bar in range(len(counts))]
        assert sum(counts) == scored.height
    assert summed["plain"]["null"] > 0
    none = run(corpus, tmp_path / "none", LM | {"perplexity": {"model": "lm", "min_tokens": 10_000}})
    empty = none.nodes["perplexity"].artifact.manifest["scores"]["plain"]
    assert (empty["scored"], empty["mean_bits_per_byte"], empty["quantiles"]) == (0, None, {})
    assert empty["histogram"]["counts"] == []


def test_cuts_are_quantiles_of_the_documents_that_a_rule_chooses(corpus: Path, tmp_path: Path) -> None:
    stages = {"buckets": {"column": "text_bytes", "by": "source", "where": "text_bytes > 100"}}
    pipeline = run(corpus, tmp_path / "run", {"size2": {"stage": "size"}} | stages)
    found = rows(pipeline, "buckets").with_columns(size=pl.col("text").str.len_bytes())
    manifest = pipeline.nodes["buckets"].artifact.manifest
    for source, (low, high) in manifest["cuts"].items():
        own = found.filter(pl.col("source") == source)
        ranked = sorted(own.filter(pl.col("size") > 100)["size"])
        assert (low, high) == (ranked[int(0.3 * len(ranked))], ranked[int(0.6 * len(ranked))])
        expected = ["head" if size < low else "middle" if size < high else "tail" for size in own["size"]]
        assert own["kenlm_bucket"].cast(pl.String).to_list() == expected
        assert manifest["groups"][source] == own.height
    assert found.filter(pl.col("size") <= 100).height > 0


def test_two_workers_write_the_bytes_of_one(corpus: Path, tmp_path: Path) -> None:
    stages = {
        "lm": {"stage": "train_lm", "text": {"tokens": "bpe"}, "vocab_size": 300, "max_bytes": "12kB", "order": 4},
        "perplexity": {"model": "lm"},
        "buckets": {},
        "long": {"stage": "perplexity", "model": "lm", "prefix": "long", "min_tokens": 50},
    }
    assert "density" in run(corpus, tmp_path / "a", stages, workers=1).nodes
    run(corpus, tmp_path / "b", stages, workers=2)
    assert digests(tmp_path / "a") == digests(tmp_path / "b")
    models = [next(Path(tmp_path, root).glob("lm-*/model.lm")).read_bytes() for root in "ab"]
    assert models[0] == models[1]


def test_a_model_by_path_scores_like_the_stages_own(corpus: Path, tmp_path: Path) -> None:
    stages = {"lm": {**LM["lm"], "files_too": ["arpa"]}, "perplexity": {"model": "lm"}}
    trained = rows(run(corpus, tmp_path / "a", stages), "perplexity")["kenlm_log10_prob"]
    folder = next(tmp_path.glob("a/lm-*"))
    for file in ("model.lm", "model.arpa"):
        given_ = run(corpus, tmp_path / file, {"perplexity": {"path": f"{folder}/{file}"}})
        found = rows(given_, "perplexity")["kenlm_log10_prob"]
        assert found.is_null().to_list() == trained.is_null().to_list()
        assert found.drop_nulls().to_list() == pytest.approx(trained.drop_nulls().to_list(), rel=1e-6)


class Fake:
    """What is used of kenlm's module."""

    def score(self, sentence: str, bos: bool, eos: bool) -> float:
        assert bos
        assert eos
        return -float(len(sentence.split()))

    def __contains__(self, word: str) -> bool:
        return word != "odd"


def test_kenlms_module_is_asked_sentence_by_sentence() -> None:
    found = scorer.Scorer(Fake(), TextForm(), None).score(TextBatch(pa.array(["An odd line.\nOdd", "", "two words"])))
    assert found.log10_prob.tolist() == [-5, 0, -2]
    assert found.unknown.tolist() == [2, 0, 0]


def problems(corpus: Path, folder: Path, stages: dict[str, Any]) -> str:
    path = write_config(folder / "config.json", configuration(corpus, folder / "run", stages))
    with pytest.raises(ConfigError) as caught:
        Pipeline.from_yaml(path)
    return str(caught.value)


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ({"perplexity": {"model": "lm"}}, "needs the stage 'lm' before it"),
        (LM | {"perplexity": {}}, "give `model`"),
        (LM | {"perplexity": {"model": "lm", "tokenizer": "t"}}, "go with `path`"),
        ({"size2": {"stage": "size"}, "perplexity": {"model": "size2"}}, "not a train_lm stage"),
        ({"lm": {"stage": "train_lm", "by": "source"}, "perplexity": {"model": "lm"}}, "add `by: source` here"),
        ({"perplexity": {"path": "/no/model.bin"}}, "dl.fbaipublicfiles.com"),
        ({"train_lm": {"sources": ["plane"]}}, "did you mean 'plain'"),
        (
            {"train_lm": {"where": "text"}},
            "train_lm.where: 'text': a rule must be true or false, but this one has the type String",
        ),
        ({"train_lm": {"where": "text_bytes >"}}, "train_lm.where: 'text_bytes >'"),
        (
            {"train_lm": {"where": "text_bytes > avg(text_bytes)"}},
            "must not use aggregates or windows over several documents",
        ),
        ({"train_lm": {"where": "text_byte > 9"}}, "did you mean 'text_bytes'"),
        ({"train_lm": {"sources": []}}, "at least 1"),
        ({"buckets": {"column": "text_bytes", "where": "source"}}, "'source': a rule must be true or false"),
        ({"buckets": {"column": "text_bytes", "where": "text_bytes > 9", "cuts": [1, 2]}}, "`cuts` are given"),
        ({"train_lm": {"prune": [1]}}, "must be 0"),
        ({"train_lm": {"order": 2, "prune": [0, 0, 1]}}, "3 thresholds, but the order is 2"),
        ({"train_lm": {"by": "date"}}, "not a column of text"),
        (LM | {"perplexity": {"model": "lm"}, "buckets": {"cuts": [2, 1]}}, "cuts must rise"),
        (LM | {"perplexity": {"model": "lm"}, "buckets": {"cuts": [1]}}, "3 buckets need 2 cuts"),
        ({"buckets": {"column": "text"}}, "not numbers"),
    ],
)
def test_mistakes_are_found_before_data_is_read(
    corpus: Path, tmp_path: Path, stages: dict[str, Any], message: str
) -> None:
    assert message in problems(corpus, tmp_path, stages)


def test_tools_that_are_missing_and_files_that_are_broken_are_said_first(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CURATE_KENLM", str(tmp_path))
    said = problems(corpus, tmp_path, {"train_lm": {"estimator": "lmplz", "files_too": ["binary"]}})
    assert said.count("scripts/build_kenlm.sh") == 2
    (tmp_path / "broken.lm").write_bytes(b"neither")
    (tmp_path / "text.arpa").write_text("\\data\\\n")
    (tmp_path / "broken.json").write_text("{}")
    pieces = {"path": f"{tmp_path}/text.arpa", "tokenizer": f"{tmp_path}/broken.json"}
    said = problems(corpus, tmp_path, {"perplexity": pieces})
    assert "not a tokenizer.json" in said
    assert "is not a model of train_lm" in problems(corpus, tmp_path, {"perplexity": {"path": f"{tmp_path}/broken.lm"}})


def test_no_text_to_train_on_stops_the_run(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no text to train on"):
        run(corpus, tmp_path / "run", {"train_lm": {"by": "source", "min_bytes": "1GB"}})


def test_the_fingerprint_of_a_model_by_path_is_its_content(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(b"same")
    a, b = (Perplexity(path=str(tmp_path / name)).identity() for name in ("a", "b"))
    assert a == b
    assert TrainLm(order=3).identity() != TrainLm(order=4).identity()
    (tmp_path / "a").write_bytes(b"mmap lm http://kheafield.com/code format version 5\n\0" + bytes(64))
    stage = Perplexity(path=str(tmp_path / "a"), tokenizer=str(tmp_path / "b"))
    assert stage.identity()["packages"].keys() == {"kenlm", "sentencepiece"}
    assert TrainLm(text=TextForm(tokens="bpe")).identity()["packages"].keys() == {"tokenizers"}


FLOATS = st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=50)


@given(FLOATS, st.lists(st.integers(0, 10**6), min_size=1, max_size=3))
def test_values_at_ranks_are_those_of_sorting(values: list[float], ranks: list[int]) -> None:
    keys = quantiles.ordered_bits(np.array(values, np.float32))
    ranks = [rank % len(values) for rank in ranks]
    upper = quantiles.locate(quantiles.count(keys >> 16), ranks)
    found = []
    for key, rank in upper:
        found.append(quantiles.locate(quantiles.count(keys[keys >> 16 == key]), [rank])[0][0])
    assert quantiles.values_of(np.array(found, np.uint32)).tolist() == [sorted(values)[rank] for rank in ranks]


def test_given_cuts_put_a_value_on_the_cut_above_it(corpus: Path, tmp_path: Path) -> None:
    stages = {"size2": {"stage": "size"}, "buckets": {"column": "text_bytes", "cuts": [7, 41]}}
    found = rows(run(corpus, tmp_path / "run", stages), "buckets")
    sizes = found["text"].str.len_bytes()
    expected = ["head" if size < 7 else "middle" if size < 41 else "tail" for size in sizes]
    assert 7 in sizes.to_list()
    assert 41 in sizes.to_list()
    assert found["kenlm_bucket"].cast(pl.String).to_list() == expected
    assert Buckets(cuts={"en": (1, 2)}, by="lang_code").cuts == {"en": (1, 2)}
