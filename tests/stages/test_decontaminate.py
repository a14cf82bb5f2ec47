"""Items of benchmarks in documents, against tuples of words; what is wrong with a benchmark, said before the run."""

import gzip
import json
import random
import re
import unicodedata
from collections import defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from curate import Pipeline, storage
from curate.errors import ConfigError, RunError
from curate.report.explain import explain
from curate.report.explanation import Explanation
from curate.stages.decontaminate import Decontaminate
from curate.table import Table, read_part
from tests.corpus import make_table, run_stage
from tests.duplicates import digests, frame
from tests.engine.engines import Engines, FailingEngine
from tests.examples import examples
from tests.runs import curate_inline, write_config

SCRIPTS = {
    "latin": ("to", "be", "é2", "x"),
    "cyrillic": ("быть", "или", "не", "ё"),
    "arabic": ("نص", "كتب", "في", "يد"),
    "hindi": ("किताब", "है", "में", "न"),
    "han": ("天", "地", "人", "か"),
}
SEPARATORS = (" ", "\n", ", ", ' "', "--", ".\t")
Words = list[str]


def spoken(words: Words, rng: random.Random) -> str:
    """The words in some case, with something between them."""
    return "".join(rng.choice([str.lower, str.upper])(word) + rng.choice(SEPARATORS) for word in words)


def write_benchmark(path: Path, texts: list[str]) -> Path:
    path.write_text("".join(json.dumps({"id": f"i{n}", "text": text}) + "\n" for n, text in enumerate(texts)))
    return path


def grams(words: Words, n: int) -> list[tuple[str, ...]]:
    return [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]


class Reference:
    """Everything by definition, with tuples of words."""

    def __init__(self, benchmarks: dict[str, list[Words]], config: dict[str, int]) -> None:
        self.own: dict[tuple[str, str], tuple[int, set[tuple[str, ...]]]] = {}
        self.all: set[tuple[str, ...]] = set()
        self.states: dict[str, dict[str, int]] = {}
        for name, items in benchmarks.items():
            seen, cut, states = set(), {}, dict.fromkeys(("checkable", "short", "shared", "copy"), 0)
            for number, words in enumerate(items):
                n = min(config["short_ngram"], len(words)) if len(words) < config["short_words"] else config["ngram"]
                if words and tuple(words) in seen:
                    states["copy"] += 1
                elif len(words) < config["min_words"]:
                    states["short"] += 1
                else:
                    cut[name, f"i{number}"] = n, set(grams(words, n))
                seen.add(tuple(words))
            stands = defaultdict(set)
            for key, (_, found) in cut.items():
                for gram in found:
                    stands[gram].add(key)
            self.all |= stands.keys()
            for key, (n, found) in cut.items():
                own = {gram for gram in found if len(stands[gram]) <= config["max_items"]}
                states["checkable" if own else "shared"] += 1
                if own:
                    self.own[key] = n, own
            self.states[name] = states

    def score(self, words: Words) -> dict[str, Any]:
        matches, naming, covered = [], set(), set()
        for place, (key, (n, own)) in enumerate(self.own.items()):
            at = [i for i, gram in enumerate(grams(words, n)) if gram in own]
            if not at:
                continue
            naming.update(at)
            covered.update(i + k for i in at for k in range(n))
            runs = [[at[0], at[0] + n]]
            for i in at[1:]:
                if i + n == runs[-1][1] + 1:
                    runs[-1][1] += 1
                else:
                    runs.append([i, i + n])
            best = max(runs, key=lambda run: run[1] - run[0])
            found = {gram for gram in grams(words, n) if gram in own}
            ratio = len(found) / len(own)
            matches.append((ratio, len(found), -place, key, best[1] - best[0], words[best[0] : best[1]], len(runs)))
        every = {
            i
            for gram_size in {len(g) for g in self.all}
            for i, g in enumerate(grams(words, gram_size))
            if g in self.all
        }
        top = max(matches, default=None)
        return {
            "decon_hits": len(naming),
            "decon_ratio": top[0] if top else 0.0,
            "decon_longest": max((match[4] for match in matches), default=0),
            "decon_covered": len(covered) / len(words) if words else 0.0,
            "decon_shared": len(every - naming),
            "decon_items": len(matches),
            "decon_benchmark": top[3][0] if top else None,
            "decon_item": top[3][1] if top else None,
            "matches": [(*match[3], match[1], match[0], match[4], match[5]) for match in matches],
            "runs": sum(match[6] for match in matches),
        }


CONFIG = st.fixed_dictionaries({"ngram": st.integers(3, 4), "short_ngram": st.just(2), "max_items": st.integers(1, 3)})


@pytest.mark.parametrize("script", SCRIPTS)
@examples(25)
@given(
    benchmarks=st.lists(
        st.lists(st.lists(st.integers(0, 3), max_size=8), min_size=1, max_size=5), min_size=1, max_size=2
    ),
    documents=st.lists(st.lists(st.integers(0, 3), max_size=25), min_size=1, max_size=5),
    config=CONFIG,
    more=st.tuples(st.integers(0, 2), st.integers(2, 3)),
    rng=st.randoms(use_true_random=False),
)
def test_scores_are_those_of_the_definition(script, benchmarks, documents, config, more, rng) -> None:
    config |= {"short_words": config["ngram"] + more[0], "min_words": more[1]}
    vocabulary = SCRIPTS[script]
    named = {f"b{i}": [[vocabulary[w] for w in words] for words in items] for i, items in enumerate(benchmarks)}
    said = [[vocabulary[w] for w in words] for words in documents]
    with TemporaryDirectory() as folder:
        paths = {
            name: {"path": str(write_benchmark(Path(folder, f"{name}.jsonl"), [spoken(w, rng) for w in items]))}
            for name, items in named.items()
        }
        stage = Decontaminate.model_validate({"name": "decontaminate", "benchmarks": paths, **config})
        table = make_table(Path(folder, "read"), {"web": [spoken(w, rng) for w in said]}, shard_rows=2)
        artifact = run_stage(stage, table, Path(folder))
        rows = frame(Table(table.documents, (artifact,)), ["text", *stage.columns().names])
        listed = pl.concat([pl.read_parquet(path) for path in sorted(Path(artifact.path, "matches").iterdir())])
    reference = Reference(named, config)
    assert {
        name: {key: found[key] for key in reference.states[name]}
        for name, found in artifact.manifest["benchmarks"].items()
    } == reference.states
    for row, words in zip(rows.iter_rows(named=True), said, strict=True):
        expected = reference.score(words)
        data = row["text"].encode()
        found = [
            (
                m["benchmark"],
                m["item"],
                m["ngrams"],
                m["ratio"],
                m["longest"],
                tokens(data[m["start"] : m["end"]], script),
            )
            for m in row["decon_matches"]
        ]
        assert found == expected.pop("matches")
        assert len(row["decon_spans"]) == expected.pop("runs")
        assert all(len(tokens(data[s["start"] : s["end"]], script)) == s["words"] for s in row["decon_spans"])
        assert {name: row[name] for name in expected} == pytest.approx(expected)
    assert listed.height == sum(map(len, rows["decon_matches"]))


def tokens(data: bytes, script: str) -> Words:
    """Words of a span, by the vocabulary alone."""
    text, found = data.decode().lower(), []
    while text:
        word = next((word for word in sorted(SCRIPTS[script], key=len, reverse=True) if text.startswith(word)), "")
        found += [word] if word else []
        text = text[len(word) or 1 :]
    return found


# -- the rules, each from both sides -----------------------------------------------------------------------------------


def words(count: int, start: int = 0) -> Words:
    return [f"w{number}" for number in range(start, start + count)]


def marked(
    tmp_path: Path, items: list[str], documents: list[str], **config: Any
) -> tuple[dict[str, Any], pl.DataFrame]:
    path = str(write_benchmark(tmp_path / "bench.jsonl", items))
    stage = Decontaminate.model_validate({"name": "decontaminate", "benchmarks": {"b": {"path": path}}, **config})
    table = make_table(tmp_path / "read", {"web": documents})
    artifact = run_stage(stage, table, tmp_path)
    return artifact.manifest, frame(Table(table.documents, (artifact,)), stage.columns().names)


def test_the_defaults_from_both_sides(tmp_path: Path) -> None:
    seven, eight, long = words(7), words(8, 100), words(26, 200)
    twelve, thirteen, seven_of_eight = long[:12], long[:13], eight[:7]
    items = [" ".join(item) for item in (seven, eight, long, words(25, 300))]
    texts = [" ".join(text) for text in (seven, eight, seven_of_eight, twelve, thirteen, long, words(8, 300))]
    manifest, rows = marked(tmp_path, items, texts)
    assert rows["decon_ratio"].to_list() == pytest.approx([0, 1, 0, 0, 1 / 14, 1, 1 / 18])
    assert rows["decon_longest"].to_list() == [0, 8, 0, 0, 13, 26, 8]
    assert rows["decon_item"].to_list() == [None, "i1", None, None, "i2", "i2", "i3"]
    found = manifest["benchmarks"]["b"]
    assert (found["checkable"], found["short"], found["hit"], found["mostly"]) == (3, 1, 3, 2)
    assert found["sources"] == {"web": {"documents": 4, "mostly": 2, "ngrams": 1 + 1 + 14 + 1}}


def test_items_below_the_short_ngram_are_found_whole(tmp_path: Path) -> None:
    five, four = words(5), words(4, 50)
    texts = [" ".join(text) for text in (["x", *five, "y"], five[:4], four)]
    manifest, rows = marked(tmp_path, [" ".join(five), " ".join(four)], texts, min_words=5)
    assert rows["decon_ratio"].to_list() == [1, 0, 0]
    assert manifest["benchmarks"]["b"]["short"] == 1


def test_one_changed_word_hides_no_item_of_26_words(tmp_path: Path) -> None:
    item = words(26)
    edited = [" ".join([*item[:at], "changed", *item[at + 1 :]]) for at in range(26)]
    _, rows = marked(tmp_path, [" ".join(item)], edited)
    assert (rows["decon_hits"] > 0).all()
    _, rows = marked(
        tmp_path / "..", [" ".join(item[:25])], [" ".join([*item[:12], "x", *item[13:25]])], short_words=13
    )
    assert rows["decon_hits"].to_list() == [0]


@pytest.mark.parametrize(("copies", "named"), [(10, True), (11, False)])
def test_a_prompt_names_no_item_if_too_many_have_it(tmp_path: Path, copies: int, named: bool) -> None:
    prompt = " ".join(words(20))
    items = [f"{prompt} {' '.join(words(14, 100 * (n + 1)))}" for n in range(copies)]
    manifest, rows = marked(tmp_path, items, [prompt, items[3]])
    assert (rows["decon_hits"][0] > 0) == named
    assert (rows["decon_shared"][0] > 0) != named
    assert manifest["documents"]["web"] == {"in": 2, "hit": 1 + named, "mostly": 1, "shared_only": 1 - named}
    assert rows["decon_ratio"][1] == 1
    assert rows["decon_item"][1] == "i3"


def test_a_benchmark_of_one_prompt_alone_has_items_that_are_shared_and_copies(tmp_path: Path) -> None:
    prompt = " ".join(words(30))
    items = [prompt] * 3 + [f"{prompt} {n}" for n in range(20)]
    manifest, rows = marked(tmp_path, items, [prompt, f"{prompt} 7"])
    found = manifest["benchmarks"]["b"]
    assert {key: found[key] for key in ("items", "copy", "shared", "checkable")} == {
        "items": 23,
        "copy": 2,
        "shared": 1,
        "checkable": 20,
    }
    assert rows["decon_item"].to_list() == [None, "i10"]


# -- files -------------------------------------------------------------------------------------------------------------

RECORDS = [
    {
        "key": 7,
        "question": "What is one and one, asked the teacher?",
        "choices": {"text": ["Two it is", "Three", None]},
    },
    {"key": 8, "question": "Who wrote the play of the prince of Denmark?", "choices": {"text": ["Marlowe", "Bacon"]}},
]


def write_records(path: Path) -> Path:
    lines = "".join(json.dumps(record) + "\n" for record in RECORDS).encode()
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(RECORDS), path)
    elif path.suffix == ".gz":
        path.write_bytes(gzip.compress(lines))
    elif path.suffix == ".zst":
        path.write_bytes(zstandard.compress(b"\xef\xbb\xbf" + lines))
    else:
        path.write_bytes(lines)
    return path


@pytest.mark.parametrize("name", ["b.jsonl", "b.jsonl.gz", "b.jsonl.zst", "b.parquet"])
def test_fields_of_every_format_are_put_together(tmp_path: Path, name: str) -> None:
    path = write_records(tmp_path / name)
    spec = {"path": str(path), "fields": ["question", "choices.text"], "id": "key"}
    stage = Decontaminate.model_validate({"name": "decontaminate", "benchmarks": {"quiz": spec}})
    text = "what is one and one asked the teacher. Two it is, three."
    table = make_table(tmp_path / "read", {"web": [text]})
    rows = frame(Table(table.documents, (run_stage(stage, table, tmp_path),)), ["decon_ratio", "decon_item"])
    assert rows.row(0)[1:] == (1.0, "7")


def test_items_are_put_into_the_normal_form_of_documents(tmp_path: Path) -> None:
    text = "Élan vital, à côté de l'été où il fut déçu, même très tôt"
    settings = config(tmp_path)
    write_benchmark(tmp_path / "bench.jsonl", [unicodedata.normalize("NFD", text)])
    rows = [{"id": form, "text": unicodedata.normalize(form, text)} for form in ("NFC", "NFD")]
    (tmp_path / "web.jsonl").write_text("\n".join(map(json.dumps, rows)))
    pipeline = Pipeline.from_mapping(settings)
    pipeline.run()
    marks = pl.read_parquet(f"{pipeline.nodes['decontaminate'].artifact.path}/part-*.parquet")
    assert marks["decon_ratio"].to_list() == [1, 1]


def test_lines_of_text_are_items(tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_text(
        "\nthe first of the items has nine words here\r\n\n  \nthe second of the items has nine words too\n"
    )
    spec = {"path": str(tmp_path / "b.txt")}
    stage = Decontaminate.model_validate({"name": "decontaminate", "benchmarks": {"b": spec}})
    table = make_table(tmp_path / "read", {"web": ["The second of the items has nine words too."]})
    rows = frame(Table(table.documents, (run_stage(stage, table, tmp_path),)), ["decon_item"])
    assert rows["decon_item"].to_list() == ["b.txt:5"]


def config(tmp_path: Path, **fields: Any) -> dict[str, Any]:
    if not (tmp_path / "web.jsonl").exists():
        item = " ".join(words(40))
        texts = [
            f"before it {item} and after",
            "nothing of the kind " * 9,
            item,
            *[f"other text number {n} " * 40 for n in range(40)],
        ]
        rows = [json.dumps({"id": f"d{n}", "text": text}) for n, text in enumerate(texts)]
        (tmp_path / "web.jsonl").write_text("\n".join(rows) + "\n")
        write_benchmark(tmp_path / "bench.jsonl", [item, " ".join(words(30, 500))])
    stages = {
        "read": {"sources": {"web": {"path": str(tmp_path / "web.jsonl")}}, "shard_bytes": "8kB"},
        "decontaminate": {"benchmarks": {"b": {"path": str(tmp_path / "bench.jsonl")}}, **fields},
    }
    return {"run": {"root": str(tmp_path / "run")}, "engine": {"workers": 0}, "stages": stages}


def problems(tmp_path: Path, benchmark: dict[str, Any], **fields: Any) -> list[tuple[str, str, str]]:
    with pytest.raises(ConfigError) as caught:
        Pipeline.from_mapping(config(tmp_path, benchmarks={"b": benchmark}, **fields))
    return [(".".join(map(str, p.where[2:])), p.message, p.hint) for p in caught.value.problems]


def test_mistakes_are_named_before_anything_is_read(tmp_path: Path) -> None:
    config(tmp_path)
    bench = str(tmp_path / "bench.jsonl")
    (found,) = problems(tmp_path, {"path": str(tmp_path / "bank.jsonl")})
    assert found[0] == "benchmarks.b.path"
    assert "did you mean 'bench.jsonl'?" in found[2]
    assert problems(tmp_path, {"path": bench, "fields": ["text", "txet"]}) == [
        ("benchmarks.b.fields.1", "no field 'txet' in 2 records", "did you mean 'text'?")
    ]
    (found,) = problems(tmp_path, {"path": bench}, min_words=20, ngram=12)
    assert found[:2] == ("min_words", "must be at most ngram (12), not 20")
    (tmp_path / "short.jsonl").write_text('{"text": "no more than seven words are here"}\n')
    (found,) = problems(tmp_path, {"path": str(tmp_path / "short.jsonl")})
    assert found[1] == "none of its 1 items can be found: the longest has 7 words, `min_words` is 8"
    (tmp_path / "empty.jsonl").write_text("\n\n")
    (found,) = problems(tmp_path, {"path": str(tmp_path / "empty.jsonl")})
    assert found[1] == "has no items"
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("cut.jsonl", b'{"text": "one two"}\n{"text": "o', "malformed_json: line 2"),
        ("array.json", b'[{"text": "one two"}]', "it is one JSON array"),
        ("list.jsonl", b'{"text": "one two"}\n["x"]\n', "not_an_object: line 2"),
        ("bytes.txt", b"fine\nnot \xff fine\n", "invalid_utf8: line 2"),
        ("cut.jsonl.gz", gzip.compress(b'{"text": "one two"}\n' * 50)[:-9], "truncated"),
        ("bad.parquet", b"PAR1 no PAR1", "corrupt"),
        ("no.csv", b"text\n", "format of 'no.csv' is not known"),
    ],
)
def test_a_broken_benchmark_stops_the_run_before_it_reads(tmp_path: Path, name: str, data: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(data)
    (found,) = problems(tmp_path, {"path": str(tmp_path / name)})
    assert said in found[1]
    assert name in found[1]


def test_the_command_line_names_line_and_benchmark(tmp_path: Path) -> None:
    settings = config(tmp_path)
    settings["stages"]["decontaminate"]["benchmarks"]["b"]["feilds"] = ["text"]
    done = curate_inline("run", write_config(tmp_path / "recipe.yaml", settings))
    assert done.returncode == 2
    assert "did you mean 'fields'?" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_file_that_breaks_after_the_check_stops_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curate.stages.decontaminate.CHECKED_ITEMS", 1)
    settings = config(tmp_path)
    with (tmp_path / "bench.jsonl").open("a") as file:
        file.write("{broken\n")
    with pytest.raises(RunError, match=r"bench\.jsonl cannot be read: malformed_json: line 3"):
        Pipeline.from_mapping(settings).run()
    assert not list((tmp_path / "run").glob("decontaminate-*/part-*"))


def test_content_enters_the_fingerprint_and_places_do_not(tmp_path: Path) -> None:
    def fingerprint() -> str:
        return Pipeline.from_mapping(settings).nodes["decontaminate"].artifact.fingerprint

    settings = config(tmp_path)
    first = fingerprint()
    (tmp_path / "moved").mkdir()
    (tmp_path / "bench.jsonl").rename(tmp_path / "moved" / "bench.jsonl")
    settings["stages"]["decontaminate"]["benchmarks"]["b"]["path"] = str(tmp_path / "moved" / "bench.jsonl")
    assert fingerprint() == first
    with (tmp_path / "moved" / "bench.jsonl").open("a") as file:
        file.write('{"text": "more"}\n')
    assert fingerprint() != first


# -- runs --------------------------------------------------------------------------------------------------------------


def make(tmp_path: Path) -> tuple[Decontaminate, Table]:
    item = words(40)
    write_benchmark(tmp_path / "bench.jsonl", [" ".join(item), " ".join(words(30, 500))])
    rng = random.Random(3)
    texts = [" ".join(rng.choices(words(600), k=200) + item[: rng.randrange(40)]) for _ in range(60)]
    spec = {"benchmarks": {"b": {"path": str(tmp_path / "bench.jsonl")}}}
    stage = Decontaminate.model_validate({"name": "decontaminate", **spec})
    return stage, make_table(tmp_path / "read", {"web": texts[:40], "books": texts[40:]}, shard_rows=7)


def test_same_bytes_for_any_number_of_workers(engines: Engines, tmp_path: Path) -> None:
    stage, table = make(tmp_path)
    outcomes = [
        digests(run_stage(stage, table, tmp_path / str(workers), engine=engines(workers))) for workers in (0, 1, 2)
    ]
    assert outcomes[0] == outcomes[1] == outcomes[2]


def test_killed_anywhere_and_resumed_it_writes_the_same(tmp_path: Path) -> None:
    stage, table = make(tmp_path)
    whole = digests(run_stage(stage, table, tmp_path / "whole"))
    for limit in range(20):
        engine = FailingEngine(limit)
        try:
            run_stage(stage, table, tmp_path / "again", engine=engine)
        except RunError:
            continue
        break
    else:
        pytest.fail("it never came to an end")
    assert limit > 2
    assert digests(run_stage(stage, table, tmp_path / "again")) == whole


def test_benchmarks_and_runs_may_lie_in_object_storage(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    settings = config(tmp_path)
    remote = f"memory://{request.node.name}"
    storage.filesystem(remote)[0].pipe(f"/{request.node.name}/b.jsonl", (tmp_path / "bench.jsonl").read_bytes())
    roots = [str(tmp_path / "run"), f"{remote}/run"]
    found = []
    for root, path in zip(roots, [str(tmp_path / "bench.jsonl"), f"{remote}/*.jsonl"], strict=True):
        settings["run"]["root"] = root
        settings["stages"]["decontaminate"]["benchmarks"]["b"]["path"] = path
        pipeline = Pipeline.from_mapping(settings)
        pipeline.run()
        artifact = pipeline.nodes["decontaminate"].artifact
        shards = pipeline.nodes["read"].artifact.shards()
        found.append([read_part(artifact.part(shard.name)).to_pylist() for shard in shards])
    assert found[0] == found[1]
    assert any(row["decon_hits"] for rows in found[1] for row in rows)


def test_a_run_drops_and_explains(tmp_path: Path) -> None:
    settings = config(tmp_path)
    settings["stages"] |= {"heuristics": {}, "select": {"drop": {"benchmark": "decon_ratio >= 0.5"}}}
    pipeline = Pipeline.from_mapping(settings)
    pipeline.run()
    decided = pl.read_parquet(f"{pipeline.nodes['select'].artifact.path}/part-*.parquet")
    assert decided["drop_reason"].to_list()[:4] == ["benchmark", None, "benchmark", None]
    found = explain(str(tmp_path / "run"), "web/d0")
    assert isinstance(found, Explanation)
    (item,) = found.items
    assert (item.item, item.ratio, item.words, item.text) == ("i0", 1.0, 40, " ".join(words(40)))
    said = found.render()
    assert "decontaminate found 100 % of 'i0' of b,\n  40 words from byte 10: w0 w1" in said
    assert re.search(r"decon_item +i0\n", said)
