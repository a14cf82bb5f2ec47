"""New texts by functions of users: a new table, every document accounted for, and faults in quarantine."""

import unicodedata
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.artifact import Artifact, fingerprint
from curate.errors import RunError
from curate.pipeline import Pipeline
from curate.report.explain import explain
from curate.stages.rewrite import Rewrite
from curate.table import Table, id_checksum, read_part
from tests.corpus import make_table, run_stage
from tests.duplicates import digests, frame

IMPORTS = "import numpy as np\nimport polars as pl\nimport pyarrow as pa\nimport pyarrow.compute as pc\n\n\n"


def stage(folder: Path, code: str, **fields: Any) -> Rewrite:
    """A stage whose function is called `f`."""
    (folder / "my.py").write_text(f"{IMPORTS}{code}\n")
    return Rewrite(python=f"{folder}/my.py:f", **fields)


def texts(artifact: Artifact) -> list[str]:
    return frame(Table(artifact), ["text"])["text"].to_list()


def listed(artifact: Artifact, folder: str) -> list[tuple[str, str]]:
    parts = sorted(Path(artifact.path, folder).glob("*.parquet"))
    return [(row["reason"], row["detail"]) for part in parts for row in read_part(str(part)).to_pylist()]


FORMS = {
    "a list": "[t.as_py().upper() for t in batch['text']]",
    "an Arrow array": "pc.utf8_upper(batch['text'])",
    "strings": "pc.utf8_upper(batch['text']).cast(pa.string())",
    "a dictionary array": "pc.utf8_upper(batch['text']).cast(pa.string()).dictionary_encode()",
    "a numpy array": "np.array([t.as_py().upper() for t in batch['text']])",
    "a series": "pl.Series(batch['text']).str.to_uppercase()",
    "a categorical series": "pl.Series(batch['text']).str.to_uppercase().cast(pl.Categorical)",
}


@pytest.mark.parametrize("form", FORMS)
def test_texts_come_in_many_forms(form: str, tmp_path: Path) -> None:
    table = make_table(tmp_path / "read", {"a": ["one", "été"], "b": ["", "two"]})
    artifact = run_stage(stage(tmp_path, f"def f(batch):\n    return {FORMS[form]}"), table, tmp_path)
    assert texts(artifact) == ["ONE", "ÉTÉ", "", "TWO"]
    assert artifact.manifest["flow"]["a"] == {"in": 2, "kept": 2, "dropped": {}, "quarantined": {}}
    assert artifact.manifest["rewritten"]["b"] == {"documents_in": 2, "bytes_in": 3, "bytes_out": 3, "touched": 1}


PLAN = st.lists(st.sampled_from(["same", "new", "null", "empty", "fails", "number"]), min_size=1, max_size=30)
NO_STRING = "'text' holds int64, where large_string is promised"
CODE = """def f(batch):
    answers = []
    for text in batch["text"].to_pylist():
        plan = text.partition(" ")[0]
        if plan == "fails":
            raise KeyError(text)
        answers.append({"same": text, "new": "new text", "null": None, "empty": "", "number": 1}[plan])
    return answers"""


@settings(max_examples=40)
@given(PLAN)
def test_every_document_is_kept_dropped_or_quarantined(
    tmp_path_factory: pytest.TempPathFactory, plan: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("rewrite")
    old = [f"{word} {number}" for number, word in enumerate(plan)]
    table = make_table(folder / "read", {"a": old}, 7)
    artifact = run_stage(stage(folder, CODE, max_faults=1), table, folder)
    kept = [n for n, word in enumerate(plan) if word in ("same", "new")]
    assert texts(artifact) == [old[n] if plan[n] == "same" else "new text" for n in kept]
    ids = frame(table, ["id"])["id"].to_list()
    assert frame(Table(artifact), ["id"])["id"].to_list() == [ids[n] for n in kept]
    fates = {"empty": "emptied", "null": "no_text", "fails": "KeyError", "number": "AnswerError"}
    counts = {fate: plan.count(word) for word, fate in fates.items() if word in plan}
    flow = artifact.manifest["flow"]["a"]
    assert (flow["in"], flow["kept"]) == (len(plan), len(kept))
    assert flow["dropped"] == {fate: counts[fate] for fate in ("emptied", "no_text") if fate in counts}
    assert flow["quarantined"] == {fate: counts[fate] for fate in ("AnswerError", "KeyError") if fate in counts}
    assert listed(artifact, "quarantine") == [
        ("KeyError", repr(old[n])) if word == "fails" else ("AnswerError", NO_STRING)
        for n, word in enumerate(plan)
        if word in ("fails", "number")
    ]
    for shard in artifact.shards():
        part = read_part(artifact.part(shard.name))
        assert (shard.rows, shard.id_checksum) == (part.num_rows, id_checksum(part["id"]))
        assert shard.text_bytes == sum(len(text.encode()) for text in part["text"].to_pylist())


def test_a_document_without_text_may_stay_so(tmp_path: Path) -> None:
    table = make_table(tmp_path / "read", {"a": ["", "x"]})
    artifact = run_stage(stage(tmp_path, "def f(batch):\n    return [''] * len(batch)"), table, tmp_path)
    assert texts(artifact) == [""]
    assert listed(artifact, "dropped") == [("emptied", "the function returned an empty text")]


def test_texts_are_in_normalization_form_c(tmp_path: Path) -> None:
    decomposed = unicodedata.normalize("NFD", "été")
    table = make_table(tmp_path / "read", {"a": ["x"]})
    artifact = run_stage(stage(tmp_path, f"def f(batch):\n    return [{decomposed!r}] * len(batch)"), table, tmp_path)
    assert texts(artifact) == ["été"]


def test_the_function_gets_columns_and_parameters(tmp_path: Path) -> None:
    code = (
        "def f(batch, mark):\n"
        "    assert batch.schema.names == ['text', 'source_id']\n"
        "    return [f'{t}{mark}{s}' for t, s in zip(batch['text'], batch['source_id'])]"
    )
    own = stage(tmp_path, code, requires=("source_id",), parameters={"mark": "-"})
    table = make_table(tmp_path / "read", {"a": ["one", "two"]})
    assert texts(run_stage(own, table, tmp_path)) == ["one-0", "two-1"]


def test_too_many_faults_stop_the_run_and_a_higher_limit_goes_on(tmp_path: Path) -> None:
    code = "def f(batch):\n    return [{'1': 'one'}[t.as_py()] for t in batch['text']]"
    table = make_table(tmp_path / "read", {"a": ["0"] * 6 + ["1"] * 4 + ["0"] * 6}, 10)
    with pytest.raises(RunError) as error:
        run_stage(stage(tmp_path, code), table, tmp_path)
    assert "rewrite: 'f' failed on at least 12 of 16 documents; the limit is 10 (max_faults: 0.01)" in str(error.value)
    assert ": KeyError: '0'" in str(error.value)
    low, high = (stage(tmp_path, code, max_faults=share) for share in (0.01, 0.8))
    assert fingerprint(low.payload(0, {})) == fingerprint(high.payload(0, {}))
    assert texts(run_stage(high, table, tmp_path)) == ["one"] * 4
    many = make_table(tmp_path / "many", {"a": ["0"] * 30})
    with pytest.raises(RunError, match="rewrite, 00000-000: 'f' failed on at least 30 of 30 documents"):
        run_stage(stage(tmp_path, code), many, tmp_path / "stopped")


def test_the_content_of_the_file_enters_the_fingerprint(tmp_path: Path) -> None:
    before = fingerprint(stage(tmp_path, "def f(batch):\n    return batch['text']").payload(0, {}))
    (tmp_path / "elsewhere").mkdir()
    again = stage(tmp_path / "elsewhere", "def f(batch):\n    return batch['text']")
    assert fingerprint(again.payload(0, {})) == before
    changed = stage(tmp_path, "def f(batch):\n    return batch['text']  # changed")
    assert fingerprint(changed.payload(0, {})) != before


def test_a_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    table = make_table(
        tmp_path / "read", {"a": [f"{word} {n}" for n, word in enumerate(["same", "null", "fails"] * 4)]}, 4
    )
    own = stage(tmp_path, CODE, max_faults=1)
    whole = digests(run_stage(own, table, tmp_path / "whole"))
    part = run_stage(own, table, tmp_path / "part")
    for name in ("_manifest.json", "_receipts/00000-001.json"):
        Path(part.path, name).unlink()
    assert digests(run_stage(own, table, tmp_path / "part")) == whole


def test_explain_says_what_became_of_a_document(tmp_path: Path) -> None:
    pl.DataFrame({"id": ["1", "2", "3"], "text": ["same 1", "null 2", "fails 3"]}).write_ndjson(tmp_path / "a.jsonl")
    own = stage(tmp_path, CODE)
    stages = {
        "read": {"sources": {"a": {"path": f"{tmp_path}/a.jsonl"}}},
        "rewrite": {"python": own.python},
        "size": {},
    }
    Pipeline.from_mapping({"run": {"root": f"{tmp_path}/run"}, "engine": {"workers": 0}, "stages": stages}).run()
    decisions = [explain(f"{tmp_path}/run", f"a/{n}").render() for n in (1, 2, 3)]
    assert "rewrite" not in decisions[0].split("\n\n")[1]
    assert "dropped by 'rewrite': no_text (the function returned null)" in decisions[1]
    assert "quarantined by 'rewrite': KeyError ('fails 3')" in decisions[2]


def test_answers_that_are_no_text(tmp_path: Path) -> None:
    table = make_table(tmp_path / "read", {"a": ["x"]})
    answers = {
        "batch['text'].cast(pa.large_binary())": "'text' holds large_binary",
        "['a', 'b']": "'text' has 2 values for 1",
    }
    for number, (answer, complaint) in enumerate(answers.items()):
        own = stage(tmp_path, f"def f(batch):\n    return {answer}")
        artifact = run_stage(own, table, tmp_path / str(number))
        ((reason, detail),) = listed(artifact, "quarantine")
        assert reason == "AnswerError"
        assert detail.startswith(complaint)
        assert artifact.manifest["flow"]["a"]["quarantined"] == {"AnswerError": 1}
