"""The stage `weak`: its columns against a label model of the whole matrix, its fingerprint, mistakes, resumption."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from curate.artifact import Artifact
from curate.config.load import load
from curate.engine.base import Engine
from curate.errors import RunError
from curate.pipeline import Pipeline
from curate.stages.weak import Weak
from curate.table import Table
from curate.text.hashing import hash64, id_bytes
from curate.weak.functions.config import Function
from curate.weak.functions.contributions import top_contributions
from curate.weak.functions.states import load_state
from curate.weak.model.model import LabelModel
from curate.weak.model.statistics import VoteState
from tests.corpus import run_stage
from tests.mixtures import check_resumes
from tests.stages.test_select import table_with
from tests.weak.functions.corpus import functions, mistakes, recipe, write_files


def frame(pipeline: Pipeline, *stages: str) -> pl.DataFrame:
    """Columns of some stages, in row order, with the documents' own."""
    paths = [pipeline.nodes[name].artifact for name in ("read", *stages)]
    parts = []
    for shard in pipeline.nodes["read"].artifact.shards():
        sides = [pl.read_parquet(artifact.part(shard.name)) for artifact in paths]
        parts.append(pl.concat(sides, how="horizontal").with_columns(source=pl.lit(shard.source)))
    return pl.concat(parts)


def finished(config: dict[str, Any]) -> Pipeline:
    pipeline = Pipeline.from_mapping(config)
    pipeline.run()
    return pipeline


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Pipeline, dict[str, bool]]:
    folder = tmp_path_factory.mktemp("weak")
    truth = write_files(folder)
    config = recipe(folder)
    config["stages"]["select"] = {"drop": {"low": "weak_quality < 0.5"}}
    return finished(config), truth


def votes_of(found: pl.DataFrame) -> np.ndarray:
    return found.select(pl.selectors.starts_with("vote_")).to_numpy().astype(np.int8)


def fitted(pipeline: Pipeline, found: pl.DataFrame, **fields: Any) -> LabelModel:
    """The model of the whole matrix in one piece."""
    voters = pipeline.nodes["weak"].stage.voters
    names, ordered = [voter.name for voter in voters], [voter.function.ordered for voter in voters]
    keys = hash64(0, "weak", id_bytes(found["id"].to_arrow().cast(pa.binary(16))))
    state = VoteState.count(votes_of(found), n_classes=2, names=names, ordered=ordered, keys=keys, **fields)
    return LabelModel().fit_state(state, class_balance=[0.4, 0.6])


def test_columns_are_those_of_a_model_of_the_whole_matrix(made: tuple[Pipeline, dict[str, bool]]) -> None:
    pipeline, truth = made
    found = frame(pipeline, "weak")
    assert len(pipeline.nodes["read"].artifact.shards()) > 5
    assert found.height == len(truth)
    model, votes = fitted(pipeline, found), votes_of(found)
    assert found["weak_quality"].to_list() == model.predict_proba(votes)[:, 1].astype(np.float32).tolist()
    assert found["weak_majority"].to_list() == model.majority(votes)[:, 1].astype(np.float32).tolist()
    assert found["weak_keep"].to_list() == (found["weak_quality"] >= 0.5).to_list()
    odds = model.log_odds(votes).astype(np.float32)
    for row, top in zip(odds, found["weak_top"].to_list(), strict=True):
        largest = sorted(range(len(row)), key=lambda j: (-abs(row[j]), j))[:3]
        assert top == [{"function": j, "log_odds": row[j]} for j in largest if row[j]]


def test_votes_of_the_stage(made: tuple[Pipeline, dict[str, bool]]) -> None:
    pipeline, _ = made
    found = frame(pipeline, "heuristics", "weak")
    text, web = found["text"], found["source"] == "web"
    assert (found["vote_short"] == 0).to_list() == (found["gopher_words"] < 45).to_list()
    assert (
        found["vote_click"].to_list()
        == pl.select(pl.when(~web).then(-2).when(text.str.contains("Click here")).then(0).otherwise(-1))
        .to_series()
        .to_list()
    )
    assert found["vote_few_marks"].to_list() == [0 if n < 5 else -1 for n in text.str.count_matches(r"\.")]
    assert found["vote_bad"].to_list() == [0 if t.count("casino") + t.count("buy cheap") >= 2 else -1 for t in text]
    for _, part in found.group_by("source"):
        ranks = part["gopher_words"].to_numpy()
        cuts = [np.sort(ranks)[len(ranks) * bucket // 4] for bucket in (1, 2, 3)]
        assert part["vote_long"].to_list() == np.searchsorted(cuts, ranks, side="right").tolist()


def test_faults_are_counted_where_the_function_was_asked(made: tuple[Pipeline, dict[str, bool]]) -> None:
    pipeline, _ = made
    weak = pipeline.nodes["weak"].artifact.manifest["weak"]
    found = frame(pipeline, "heuristics", "weak")
    short = found["gopher_words"] < 45
    faults = {function["name"]: function["faults"] for function in weak["functions"]}
    assert faults.pop("broken") == {"KeyError: 'nothing here'": short.sum()}
    assert not any(faults.values())
    assert found["vote_broken"].to_list() == [-1 if asked else -2 for asked in short]


def test_the_manifest_counts_by_source(made: tuple[Pipeline, dict[str, bool]]) -> None:
    pipeline, _ = made
    found, weak = frame(pipeline, "weak"), pipeline.nodes["weak"].artifact.manifest["weak"]
    assert set(weak["sources"]) == set(weak["model"]["slices"]) == {"web", "books"}
    for source, counts in weak["sources"].items():
        own = found.filter(pl.col("source") == source)
        assert counts["documents"] == sum(counts["histogram"].values()) == own.height
        assert counts["keep"] == own["weak_keep"].sum()
        assert weak["model"]["slices"][source]["documents"] == own.height
        assert counts["histogram"].get("19", 0) == (own["weak_quality"] >= 0.95).sum()


def test_select_drops_by_quality(made: tuple[Pipeline, dict[str, bool]]) -> None:
    pipeline, _ = made
    found = frame(pipeline, "weak", "select")
    assert found["keep"].to_list() == (found["weak_quality"] >= 0.5).to_list()
    assert 0 < found["keep"].sum() < found.height


def test_a_resolved_configuration_is_the_same_run(made: tuple[Pipeline, dict[str, bool]]) -> None:
    pipeline, _ = made
    again = Pipeline.from_config(load(f"{pipeline.root}/run.yaml"))
    assert {name: node.artifact.fingerprint for name, node in again.nodes.items()} == {
        name: node.artifact.fingerprint for name, node in pipeline.nodes.items()
    }


def test_the_model_is_kept_in_files_that_are_no_pickle(made: tuple[Pipeline, dict[str, bool]]) -> None:
    pipeline, _ = made
    path = Path(pipeline.nodes["weak"].artifact.path)
    files = [file for file in path.rglob("*") if file.is_file() and "_receipts" not in file.parts]
    parts = {f"part-{shard.name}.parquet" for shard in pipeline.nodes["read"].artifact.shards()}
    own = {"_manifest.json", "state.npz", "model/label_model.json", "model/label_model.npz"}
    assert {str(file.relative_to(path)) for file in files} == own | parts
    found = frame(pipeline, "weak")
    model = LabelModel.load(path / "model")
    assert model.predict_proba(votes_of(found))[:, 1].astype(np.float32).tolist() == found["weak_quality"].to_list()


# -- balance, decisions and gold ---------------------------------------------------------------------------------------


def measured(path: Path, documents: int = 400) -> Table:
    """A table whose columns are noisy signals of one hidden class."""
    rng = np.random.default_rng(3)
    good = rng.random(documents) < 0.5
    columns = {f"s{j}": pa.array(good * (2.0 - j / 4) + rng.normal(size=documents)) for j in range(4)}
    judge = [["drop", "keep"][bool(g)] if n % 5 == 0 else None for n, g in enumerate(good)]
    columns |= {"judge": pa.array(judge), "good": pa.array(good)}
    return table_with(path, columns, {"web": documents * 3 // 4, "books": documents // 4})


def signals(**fields: Any) -> Weak:
    own = {
        "a": Function(when="s0 > 1", vote="keep", otherwise="drop"),
        "b": Function(when="s1 < 0.5", vote="drop"),
        "c": Function(score="s2", buckets=5),
        "d": Function(when="s3 > 1", vote="keep", otherwise="drop"),
        "asked": Function(column="judge"),
    }
    return Weak(functions=own, **fields)


def rows_of(artifact: Artifact, table: Table) -> pl.DataFrame:
    return pl.concat(pl.read_parquet(artifact.part(shard.name)) for shard in table.shards)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Table:
    return measured(tmp_path_factory.mktemp("signals"))


def test_the_model_is_right_more_often_than_its_best_function(table: Table, tmp_path: Path) -> None:
    found = rows_of(run_stage(signals(keep_rate=0.5), table, tmp_path), table)
    good = np.concatenate([table.read(shard, ["good"])["good"].to_numpy() for shard in table.shards])
    alone = [(found[f"vote_{name}"] == 1).to_numpy() == good for name in ("a", "d")]
    alone.append((found["vote_b"] != 0).to_numpy() == good)
    assert (found["weak_keep"].to_numpy() == good).mean() > max(right.mean() for right in alone) + 0.02


@pytest.mark.parametrize("rate", [0.3, 0.85])
def test_the_best_documents_at_the_keep_rate(table: Table, tmp_path: Path, rate: float) -> None:
    artifact = run_stage(signals(keep_rate=rate, decide="rate"), table, tmp_path)
    found = rows_of(artifact, table)
    quality = found["weak_quality"].to_numpy()
    cut = np.sort(quality)[int((1 - rate) * len(quality) + 1e-9)]
    assert found["weak_keep"].to_list() == (quality >= cut).tolist()
    assert artifact.manifest["weak"]["decide"] == {"by": "rate", "from": cut, "keep_rate": rate}
    assert quality.mean() == pytest.approx(rate, abs=0.01)


def test_without_keep_rate_and_gold_nothing_is_decided(table: Table, tmp_path: Path) -> None:
    artifact = run_stage(signals(slices=None), table, tmp_path)
    found = rows_of(artifact, table)
    assert found["weak_keep"].null_count() == found.height
    assert found["weak_quality"].null_count() == 0
    weak = artifact.manifest["weak"]
    assert weak["decide"]["from"] is None
    assert weak["model"]["ranks_only"]
    assert weak["model"]["slices"] == {}


def test_a_judge_that_was_not_asked_is_no_abstention(table: Table, tmp_path: Path) -> None:
    artifact = run_stage(signals(keep_rate=0.5), table, tmp_path)
    assert rows_of(artifact, table)["vote_asked"].value_counts(sort=True)["vote_asked"][0] == -2
    (row,) = (row for row in artifact.manifest["weak"]["model"]["functions"] if row["name"] == "asked")
    assert (row["asked"], row["voted"]) == (80, 80)


@pytest.mark.parametrize("given", ["each", "all"])
def test_documents_that_nobody_was_asked_about_have_no_quality(table: Table, tmp_path: Path, given: str) -> None:
    own = {name: function.model_copy(update={"sources": ("web",)}) for name, function in signals().functions.items()}
    stage = Weak(functions=own, keep_rate=0.5)
    stage = stage if given == "each" else signals(keep_rate=0.5, sources=("web",))
    artifact = run_stage(stage, table, tmp_path)
    found = rows_of(artifact, table)
    books = np.arange(found.height) >= 300
    for name in ("weak_quality", "weak_keep", "weak_majority"):
        assert found[name].is_null().to_list() == books.tolist()
    assert found["weak_top"].list.len().filter(books).sum() == 0
    weak = artifact.manifest["weak"]
    assert weak["sources"]["books"] == {"documents": 0, "not_asked": 100, "keep": 0, "histogram": {}}
    assert weak["model"]["documents"] == 300
    # The same as if these documents were not there.
    alone = Weak(functions=signals().functions, keep_rate=0.5)
    web = table_of(table, "web", tmp_path / "web")
    assert rows_of(run_stage(alone, web, tmp_path / "web"), web)["weak_quality"].equals(found["weak_quality"][:300])


def table_of(table: Table, source: str, path: Path) -> Table:
    """The documents of one source."""
    shards = [shard for shard in table.documents.manifest["shards"] if shard["source"] == source]
    parts = []
    for artifact in (table.documents, *table.sidecars):
        copy = Artifact(artifact.name, str(path / f"copy-{artifact.name}"), artifact.fingerprint)
        for shard in shards:
            Path(copy.path).mkdir(parents=True, exist_ok=True)
            Path(copy.part(shard["name"])).write_bytes(Path(artifact.part(shard["name"])).read_bytes())
        copy.commit({}, {"columns": artifact.manifest["columns"], "shards": shards})
        parts.append(copy)
    return Table(parts[0], tuple(parts[1:]))


def test_no_documents_at_all(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="weak: there are no documents to learn from"):
        run_stage(signals(keep_rate=0.5), Table(measured_nothing(tmp_path)), tmp_path)


def test_no_document_that_a_function_is_asked_about(table: Table, tmp_path: Path) -> None:
    own = {name: function.model_copy(update={"where": "1 = 2"}) for name, function in signals().functions.items()}
    with pytest.raises(RunError, match="no function was asked about any document"):
        run_stage(Weak(functions=own, keep_rate=0.5), table, tmp_path)


def measured_nothing(path: Path) -> Artifact:
    artifact = Artifact("read", str(path / "read"), "0" * 32)
    artifact.commit({}, {"columns": [], "shards": []})
    return artifact


def write_gold(path: Path, table: Table, labels: dict[int, str]) -> Path:
    ids = [own for shard in table.shards for own in table.read(shard, ["id"])["id"].to_pylist()]
    lines = [{"id": ids[row].hex(), "label": label, "weight": 1.0 + row % 3} for row, label in labels.items()]
    lines.append({"id": "f" * 32, "label": "keep"})
    (path / "gold.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path / "gold.jsonl"


def test_gold_sets_the_balance_and_keeps_its_weights(table: Table, tmp_path: Path) -> None:
    labels = {row: "skip" if row == 7 else ["drop", "keep", "keep"][row % 3] for row in range(60)}
    gold = write_gold(tmp_path, table, labels)
    artifact = run_stage(signals(gold=str(gold)), table, tmp_path)
    weak = artifact.manifest["weak"]
    assert weak["gold"] == {"answers": 60, "found": 59}
    assert weak["model"]["class_balance_from"] == "gold"
    assert weak["decide"]["keep_rate"] == weak["model"]["class_balance"][1]
    state = load_state(f"{artifact.path}/state.npz")
    assert sorted(state.gold.weights.tolist()) == sorted(1.0 + row % 3 for row in labels if row != 7)
    assert state.gold.labels.sum() == sum(label == "keep" for label in labels.values())


def test_slices_by_a_column(tmp_path: Path) -> None:
    values = [*["common"] * 40, *[f"rare{n % 70}" for n in range(70)], *[None] * 10]
    columns = {"s": pa.array(range(120), pa.int32()), "kind": pa.array(values).dictionary_encode()}
    table = table_with(tmp_path, columns, {"web": 70, "books": 50})
    own = {f"f{n}": Function(when=f"s % {n + 2} = 0", vote="keep", otherwise="drop") for n in range(3)}
    artifact = run_stage(Weak(functions=own, keep_rate=0.5, slices="kind"), table, tmp_path)
    slices = artifact.manifest["weak"]["model"]["slices"]
    assert len(slices) == 64
    assert slices["common"]["documents"] == 40
    assert slices["none"]["documents"] == 10
    assert slices["others"]["documents"] == 120 - 40 - 10 - 61
    (row,) = (row for row in slices["none"]["functions"] if row["name"] == "f0")
    assert row["outcomes"]["1"] == sum(s % 2 == 0 for s in range(110, 120))


def test_one_function_alone(table: Table, tmp_path: Path) -> None:
    own = {"a": Function(when="s0 > 1", vote="keep", otherwise="drop")}
    artifact = run_stage(Weak(functions=own, keep_rate=0.5), table, tmp_path)
    found = rows_of(artifact, table)
    by_vote = found.group_by("vote_a").agg(pl.col("weak_quality").mean()).sort("vote_a")["weak_quality"].to_list()
    assert by_vote[0] < by_vote[1]
    assert artifact.manifest["weak"]["model"]["warnings"]


def test_a_run_that_was_stopped_goes_on_to_the_same_files(tmp_path: Path) -> None:
    table = measured(tmp_path, 40)
    few = {name: function for name, function in signals().functions.items() if name in "abc"}

    def run(path: Path, engine: Engine) -> Artifact:
        return run_stage(Weak(functions=few, keep_rate=0.4, decide="rate"), table, path, engine=engine)

    check_resumes(tmp_path, run)


def test_the_largest_contributions() -> None:
    odds = np.array([[1.0, -3.0, 2.0, 2.0, 0.0], [0.0, 0.0, 0.5, 0.0, 9.0]])
    asked = np.array([[True] * 5, [True, True, True, True, False]])
    expected = [[(1, -3.0), (2, 2.0), (3, 2.0)], [(2, 0.5)]]
    found = top_contributions(odds, asked).to_pylist()
    assert [[(item["function"], item["log_odds"]) for item in items] for items in found] == expected
    assert top_contributions(odds[:0], asked[:0]).to_pylist() == []


# -- fingerprints and mistakes -----------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_files(tmp_path, 20)
    return tmp_path


def fingerprints(folder: Path, **fields: Any) -> dict[str, str]:
    return {n: node.artifact.fingerprint for n, node in Pipeline.from_mapping(recipe(folder, **fields)).nodes.items()}


def changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    return {name for name in before if before[name] != after[name]}


def test_files_enter_the_fingerprint_by_their_content(folder: Path) -> None:
    answer = f'{{"id": "{1:032x}", "label": "keep"}}\n'
    (folder / "gold.jsonl").write_text(answer)
    before = fingerprints(folder, gold=str(folder / "gold.jsonl"))
    for file, more, stages in (
        ("functions.py", "\n", {"weak", "weak_labels"}),
        ("bad.txt", "worse\n", {"weak", "weak_labels"}),
        ("gold.jsonl", answer.replace("keep", "drop"), {"weak"}),
    ):
        with open(folder / file, "a") as opened:
            opened.write(more)
        after = fingerprints(folder, gold=str(folder / "gold.jsonl"))
        assert changed(before, after) == stages
        before = after


def test_how_a_function_votes_does_not_read_the_text_again(folder: Path) -> None:
    before, own = fingerprints(folder), functions(folder)
    own["bad"] |= {"at_least": 3, "where": "gopher_words > 3"}
    own["click"] |= {"vote": "keep", "sources": ["books"]}
    assert changed(before, fingerprints(folder, functions=own)) == {"weak"}
    own["click"]["regex"] = "(?i)click there"
    assert changed(before, fingerprints(folder, functions=own)) == {"weak", "weak_labels"}


def test_functions_without_text_bring_no_pass_over_it(folder: Path) -> None:
    assert "weak_labels" not in fingerprints(folder, functions={"short": functions(folder)["short"]})


def test_missing_gold_names_the_command(folder: Path) -> None:
    (found,) = mistakes(folder, gold=f"{folder}/none.jsonl")
    assert re.match(r"FOLDER/recipe.yaml:\d+: stages.weak.gold: there is no file 'FOLDER/none.jsonl'\n", found)
    assert "curate label RUN --n 200" in found


def test_gold_that_is_none_is_refused(folder: Path) -> None:
    (folder / "gold.jsonl").write_text('{"id": 3}\n')
    (found,) = mistakes(folder, gold=f"{folder}/gold.jsonl")
    assert "stages.weak.gold: FOLDER/gold.jsonl:1: id is 3" in found


MISTAKES: dict[str, tuple[dict[str, Any], str, list[str]]] = {
    "nothing to look at": ({"vote": "drop"}, "", ["looks at nothing: give one of `when`, `score`"]),
    "two things": ({"when": "gopher_words < 3", "score": "gopher_words"}, "", ["says `when` and `score`"]),
    "no vote": ({"when": "gopher_words < 3"}, "", ["`when` needs `vote: keep` or `vote: drop`"]),
    "another vote": ({"when": "gopher_words < 3", "vote": "dorp"}, ".vote", ["'dorp' is not one of", "'drop'?"]),
    "a vote twice": ({"regex": "a", "vote": "drop", "otherwise": "drop"}, "", ["votes drop on every document"]),
    "a key of another kind": ({"score": "gopher_words", "vote": "drop"}, "", ["`vote` goes with `when` or `words`"]),
    "an unknown key": ({"wen": "gopher_words < 3", "vote": "drop"}, ".wen", ["'wen'", "did you mean 'when'?"]),
    "an unknown column": ({"when": "gopher_wrds < 3", "vote": "drop"}, ".when", ["'gopher_wrds'", "'gopher_words'?"]),
    "no condition": ({"when": "gopher_words + 3", "vote": "drop"}, ".when", ["a rule must be true or false"]),
    "an aggregate": (
        {"when": "gopher_words < AVG(gopher_words)", "vote": "drop"},
        ".when",
        ["must not use aggregates or windows"],
    ),
    "the text": ({"when": "text LIKE 'a%'", "vote": "drop"}, ".when", ["the text is not read here", "`regex`"]),
    "an unknown source": (
        {"regex": "a", "vote": "drop", "sources": ["wbe"]},
        ".sources.0",
        ["there is no source 'wbe'", "did you mean 'web'?"],
    ),
    "a score that is text": ({"score": "source_id"}, ".score", ["'source_id' holds string, not numbers"]),
    "groups that are numbers": ({"score": "gopher_words", "by": "gopher_words"}, ".by", ["not text"]),
    "a judge of numbers": ({"column": "gopher_words"}, ".column", ["not the words of votes"]),
    "a broken pattern": ({"regex": "(a", "vote": "drop"}, ".regex", ["'(a' is no regular expression: unclosed group"]),
    "no list": ({"words": "none.txt", "vote": "drop"}, ".words", ["there is no file", "none.txt"]),
    "an empty list": ({"words": "FOLDER/empty.txt", "vote": "drop"}, ".words", ["lists no word"]),
    "an unknown preset": ({"preset": "gophre"}, ".preset", ["did you mean 'gopher'?"]),
    "a rule of no preset": (
        {"preset": "gopher", "thresholds": {"gopher_word_min": 3}},
        ".thresholds.gopher_word_min",
        ["has no rule 'gopher_word_min'", "did you mean 'gopher_words_min'?"],
    ),
    "a threshold of another kind": (
        {"preset": "gopher", "thresholds": {"gopher_words_min": "many"}},
        ".thresholds.gopher_words_min",
        ["must be of the kind of 50"],
    ),
    "no function": ({"python": "FOLDER/functions.py"}, ".python", ["has no labeling function 'wrong'"]),
    "another function": (
        {"python": "FOLDER/functions.py", "function": "frsh"},
        ".function",
        ["did you mean 'fresh'?"],
    ),
    "a column that a function asks for": (
        {"python": "FOLDER/asks.py", "function": "asks"},
        ".python",
        ["promises the column 'gopher_wrds'", "did you mean 'gopher_words'?"],
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_in_a_function(name: str, folder: Path) -> None:
    stanza, place, said = MISTAKES[name]
    (folder / "empty.txt").write_text("# nothing\n !\n")
    asks = "from curate.weak.functions import labeling_function\n@labeling_function(columns=['text', 'gopher_wrds'])\n"
    (folder / "asks.py").write_text(asks + "def asks(batch): return [0] * len(batch)\n")
    stanza = {k: v.replace("FOLDER", str(folder)) if isinstance(v, str) else v for k, v in stanza.items()}
    (found,) = mistakes(folder, functions={**functions(folder), "wrong": stanza})
    assert re.match(rf"FOLDER/recipe.yaml:\d+: stages.weak.functions.wrong{re.escape(place)}: ", found), found
    for part in said:
        assert part in found


def test_mistakes_of_the_stanza_are_reported_together(folder: Path) -> None:
    found = mistakes(
        folder,
        functions={
            "gopher_words_min": {"when": "gopher_words < 9", "vote": "drop"},
            "gopher": {"preset": "gopher"},
            "own": {"python": f"{folder}/none.py"},
            "list": {"words": f"{folder}/none.txt", "vote": "drop"},
        },
        slices="gopher_words",
        language="lang_cod",
    )
    said = "\n".join(found)
    assert len(found) == 5
    assert "functions.gopher: is called 'gopher_words_min', as a rule of 'gopher' is" in said
    assert "functions.own.python: there is no file" in said
    assert "functions.list.words: there is no file" in said
    assert "stages.weak.slices: 'gopher_words' holds" in said
    assert "stages.weak.language: no stage before it promises the column 'lang_cod'" in said


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"functions": {}}, "stages.weak.functions: must have at least 1 item"),
        ({"functions": {"Short": {"regex": "a", "vote": "drop"}}}, "stages.weak.functions.Short"),
        ({"keep_rate": 1.5}, "stages.weak.keep_rate: must be more than 0 and less than 1, got 1.5"),
        ({"keep_rate": None, "decide": "rate"}, "`decide: rate` needs `keep_rate` or `gold`"),
        ({"sources": ["wbe"]}, "stages.weak.sources.0: there is no source 'wbe'"),
        ({"decide": "best"}, "'best' is not one of 'threshold', 'rate'"),
    ],
)
def test_mistakes_of_fields(folder: Path, fields: dict[str, Any], said: str) -> None:
    (found,) = mistakes(folder, **fields)
    assert said in found


def test_more_functions_than_fit(folder: Path) -> None:
    many = {f"f{n}": {"when": f"gopher_words < {n}", "vote": "drop"} for n in range(128)}
    (found,) = mistakes(folder, functions=many)
    assert "stages.weak.functions: 128 functions" in found
    assert mistakes(folder, functions=dict(list(many.items())[:127])) == []
