"""Columns by functions of users: what they may return, what a fault costs, and when it is too much."""

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from curate.artifact import fingerprint
from curate.errors import RunError
from curate.pipeline import Pipeline
from curate.stage import Known
from curate.stages.map import TYPES, Map
from curate.table import Table
from curate.text.batch import TextBatch
from curate.user_function import Fault, by_halves
from tests.corpus import make_table, run_stage
from tests.duplicates import digests, frame

NOTHING = Known(pa.schema([]), {}, {})


def stage(folder: Path, code: str, columns: dict[str, str], **fields: Any) -> Map:
    """A stage whose function is called `f`."""
    (folder / "my.py").write_text(f"import numpy as np\nimport polars as pl\nimport pyarrow as pa\n\n\n{code}\n")
    return Map(python=f"{folder}/my.py:f", columns=columns, **fields)


def called(own: Map, texts: list[str], **columns: list[Any]) -> pa.RecordBatch:
    batch = pa.RecordBatch.from_pydict({"id": [b"0" * 16] * len(texts), **columns})
    return own.load()(TextBatch(pa.array(texts, pa.large_string())), batch)


# -- answers -----------------------------------------------------------------------------------------------------------

FORMS = {
    "a mapping of lists": "{'n': [len(t.as_py()) for t in batch['text']]}",
    "a mapping of numpy arrays": "{'n': np.array([len(t.as_py()) for t in batch['text']], np.uint8)}",
    "a mapping of series": "{'n': pl.Series(batch['text']).str.len_chars()}",
    "a mapping of Arrow arrays": "{'n': pa.compute.utf8_length(batch['text'])}",
    "a mapping of chunked arrays": "{'n': pa.chunked_array([pa.compute.utf8_length(batch['text'])])}",
    "a record batch": "pa.record_batch({'n': pa.compute.utf8_length(batch['text'])})",
    "a table": "pa.table({'n': pa.compute.utf8_length(batch['text'])})",
    "a data frame": "pl.DataFrame({'text': batch['text']}).select(n=pl.col('text').str.len_chars())",
}


@pytest.mark.parametrize("form", FORMS)
def test_columns_come_in_many_forms(form: str, tmp_path: Path) -> None:
    own = stage(tmp_path, f"def f(batch):\n    import pyarrow.compute\n    return {FORMS[form]}", {"n": "int16"})
    answer = called(own, ["", "one", "été"])
    assert answer.schema == own.columns()
    assert answer.to_pydict() == {"n": [0, 3, 3], "map_fault": [None] * 3}


def test_the_function_gets_columns_and_parameters(tmp_path: Path) -> None:
    code = "def f(batch, least, add=1):\n    return {'b': [v.as_py() + add for v in batch['a']], 'c': [least] * 2}"
    own = stage(tmp_path, code, {"c": "string", "b": "float64"}, requires=("a",), parameters={"least": "x", "add": 2})
    assert own.requires() == ("text", "a", "id")
    assert called(own, ["", ""], a=[1, 2]).to_pydict() == {"c": ["x", "x"], "b": [3.0, 4.0], "map_fault": [None, None]}
    assert own.place("a") == ("requires", 0)


@pytest.mark.parametrize("kind", TYPES)
def test_each_type_takes_nulls_and_its_own_values(kind: str, tmp_path: Path) -> None:
    values = {"bool": [True, None], "string": ["é", None]}.get(kind, [7, None])
    answer = called(stage(tmp_path, f"def f(batch):\n    return {{'x': {values}}}", {"x": kind}), ["a", "b"])
    assert answer["x"].to_pylist() == values
    assert answer["x"].type == TYPES[kind]
    assert (
        called(stage(tmp_path, "def f(batch):\n    return {'x': [None] * 2}", {"x": kind}), ["a", "b"])["x"].null_count
        == 2
    )


WRONG = {
    "[1, 2]": ("int8", "AnswerError: gave list, where a mapping of column names to arrays is expected"),
    "{'y': [1]}": ("int8", "AnswerError: gave the columns y, and promised x"),
    "{'x': [1], 'y': [1]}": ("int8", "AnswerError: gave the columns x, y, and promised x"),
    "{'x': [1, 2]}": ("int8", "AnswerError: 'x' has 2 values for 1 document"),
    "{'x': [300]}": ("int8", "AnswerError: 'x': Integer value 300 not in range: -128 to 127"),
    "{'x': [1.5]}": ("int8", "AnswerError: 'x': Float value 1.500000 was truncated converting to int8"),
    "{'x': [1 << 60 | 1]}": ("float64", "AnswerError: 'x': Integer value 1152921504606846977 not in range"),
    "{'x': ['1']}": ("float64", "AnswerError: 'x' holds string, where double is promised"),
    "{'x': [1]}": ("string", "AnswerError: 'x' holds int64, where string is promised"),
    "{'x': [True]}": ("int8", "AnswerError: 'x' holds bool, where int8 is promised"),
    "{'x': [0]}": ("bool", "AnswerError: 'x' holds int64, where bool is promised"),
    "{'x': pa.array([b'\\xff']).view(pa.string())}": ("string", "AnswerError: 'x': Invalid UTF8"),
    "{'x': [object()]}": ("string", "ArrowInvalid: Could not convert <object object at 0x...> with type object"),
    "1 / 0": ("int8", "ZeroDivisionError: division by zero"),
    "exit(1)": ("int8", "SystemExit: 1"),
}


@pytest.mark.parametrize("answer", WRONG)
def test_other_answers_are_faults(answer: str, tmp_path: Path) -> None:
    kind, fault = WRONG[answer]
    batch = called(stage(tmp_path, f"def f(batch):\n    return {answer}", {"x": kind}), ["a"])
    assert batch["x"].to_pylist() == [None]
    assert batch["map_fault"][0].as_py().startswith(fault)


def test_whole_numbers_of_any_type_fit_where_they_keep_their_value(tmp_path: Path) -> None:
    own = stage(tmp_path, "def f(batch):\n    return {'a': [2.0, 3.0], 'b': [2, 3]}", {"a": "uint8", "b": "float32"})
    assert called(own, ["", ""]).to_pydict() == {"a": [2, 3], "b": [2.0, 3.0], "map_fault": [None, None]}


# -- faults ------------------------------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(st.lists(st.booleans(), max_size=40))
def test_a_fault_costs_the_documents_that_fail_alone_and_no_other(bad: list[bool]) -> None:
    calls = []

    def double(batch: pa.RecordBatch) -> list[int]:
        calls.append(batch.num_rows)
        values = batch["n"].to_pylist()
        wrong = [value for value in values if bad[value]]
        if wrong:
            raise ValueError(f"document {wrong[0]}")
        return [2 * value for value in values]

    answers = list(by_halves(double, pa.record_batch({"n": pa.array(range(len(bad)), pa.int64())})))
    assert sum(rows for rows, _ in answers) == len(bad)
    flat = [each for _, answer in answers for each in ([answer] if isinstance(answer, Fault) else answer)]
    assert flat == [Fault("ValueError", f"document {n}") if bad[n] else 2 * n for n in range(len(bad))]
    assert len(calls) <= 1 + 2 * sum(bad) * max(len(bad), 1).bit_length()


@pytest.mark.parametrize("error", [MemoryError(), OSError(28, "No space left on device")])
def test_a_lack_of_memory_or_space_is_no_fault_of_a_document(error: BaseException) -> None:
    def fails(batch: pa.RecordBatch) -> None:
        raise error

    with pytest.raises(type(error)):
        list(by_halves(fails, pa.record_batch({"n": [1, 2]})))


DIVIDES = "def f(batch):\n    return {'x': [10 // int(t.as_py()) for t in batch['text']]}"


def test_faults_are_counted_by_source(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    texts = {"a": ["1", "0", "2", "x"], "b": ["5", "0"], "c": ["10"]}
    table = make_table(tmp_path / "read", texts, 3)
    caplog.set_level(logging.WARNING, "curate")
    artifact = run_stage(stage(tmp_path, DIVIDES, {"x": "int64"}), table, tmp_path)
    columns = frame(Table(table.documents, (artifact,)), ["x", "map_fault"])
    assert columns["x"].to_list() == [10, None, 5, None, 2, None, 1]
    division, literal = "ZeroDivisionError: integer division or modulo by zero", "ValueError: invalid literal"
    assert [fault and fault[: len(literal)] for fault in columns["map_fault"]] == [
        *(None, division[: len(literal)], None, literal, None, division[: len(literal)], None)
    ]
    faults = artifact.manifest["faults"]
    assert {source: sum(counts.values()) for source, counts in faults.items()} == {"a": 2, "b": 1, "c": 0}
    assert faults["b"] == {division: 1}
    assert artifact.manifest["flow"]["a"] == {"in": 4, "kept": 4, "dropped": {}, "quarantined": {}}
    assert ["'f' failed on 3 documents" in record.message for record in caplog.records] == [True]
    assert not list(Path(artifact.path).glob("_function*"))


def test_too_many_faults_stop_the_run_and_a_higher_limit_goes_on(tmp_path: Path) -> None:
    table = make_table(tmp_path / "read", {"a": ["0"] * 11 + ["1"] * 30}, 20)
    with pytest.raises(RunError) as error:
        run_stage(stage(tmp_path, DIVIDES, {"x": "int64"}), table, tmp_path)
    message = "'f' failed on at least 11 of 41 documents; the limit is 10 (max_faults: 0.01)\n    for example: ZeroDiv"
    assert message in str(error.value)
    assert f"mend the function in {tmp_path}/my.py, or raise the limit" in str(error.value)
    assert "Traceback" not in str(error.value)
    low, high = (stage(tmp_path, DIVIDES, {"x": "int64"}, max_faults=share) for share in (0.01, 0.3))
    assert fingerprint(low.payload(0, {})) == fingerprint(high.payload(0, {}))
    artifact = run_stage(high, table, tmp_path)
    assert sum(artifact.manifest["faults"]["a"].values()) == 11


def test_a_limit_of_nothing_takes_no_fault(tmp_path: Path) -> None:
    table = make_table(tmp_path / "read", {"a": ["0"] + ["1"] * 500}, 50)
    with pytest.raises(RunError, match=r"the limit is 0 \(max_faults: 0\)"):
        run_stage(stage(tmp_path, DIVIDES, {"x": "int64"}, max_faults=0), table, tmp_path)


def test_few_faults_in_each_shard_are_too_many_together(tmp_path: Path) -> None:
    """No worker sees more than it may; they are counted when all are done."""
    table = make_table(tmp_path / "read", {"a": (["0"] * 4 + ["1"] * 4) * 3}, 8)
    own = stage(tmp_path, DIVIDES, {"x": "int64"})
    with pytest.raises(RunError, match="failed on at least 12 of 24 documents; the limit is 10"):
        run_stage(own, table, tmp_path)


# -- configuration -----------------------------------------------------------------------------------------------------


def test_what_enters_the_fingerprint(tmp_path: Path) -> None:
    (tmp_path / "help.py").write_text("FACTOR = 2\n")
    uses = (f"{tmp_path}/help.py",)
    code = "def f(batch):\n    from help import FACTOR\n    return {'x': [FACTOR] * len(batch)}"
    own = stage(tmp_path, code, {"x": "int64"}, uses=uses)
    assert called(own, ["a"])["x"].to_pylist() == [2]
    before = fingerprint(own.payload(0, {}))
    (tmp_path / "elsewhere").mkdir()
    for name in ("my.py", "help.py"):
        (tmp_path / "elsewhere" / name).write_bytes((tmp_path / name).read_bytes())
    moved = Map(python=f"{tmp_path}/elsewhere/my.py:f", columns={"x": "int64"}, uses=(f"{tmp_path}/elsewhere/help.py",))
    assert fingerprint(moved.payload(0, {})) == before
    (tmp_path / "help.py").write_text("FACTOR = 3\n")
    assert fingerprint(own.payload(0, {})) != before
    assert called(own, ["a"])["x"].to_pylist() == [3]
    for fields in ({"columns": {"x": "int32"}}, {"parameters": {"n": 1}}, {"requires": ("url",)}):
        given = {"columns": {"x": "int64"}} | fields
        other = Map(python=moved.python, uses=moved.uses, **given)  # type: ignore[arg-type]
        assert fingerprint(other.payload(0, {})) != before


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"python": "my.py"}, "must be a Python file and a function in it, as my.py:score"),
        ({"python": "my.txt:f"}, "must be a Python file and a function in it, as my.py:score"),
        ({"columns": {"text": "string"}}, "'text' is a column of the documents themselves"),
        ({"columns": {"map_fault": "string"}}, "'map_fault' takes the reasons of faults"),
        ({"columns": {"X": "string"}}, "pattern"),
        ({"columns": {"x": "float"}}, "'float64'"),
        ({"columns": {}}, "at least 1"),
    ],
)
def test_fields_that_cannot_be(fields: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        Map.model_validate({"python": "my.py:f", "columns": {"x": "int8"}} | fields)


MISTAKES = {
    "no file": ({"python": "{folder}/gone.py:f"}, ("python",), "there is no file '{folder}/gone.py'", ""),
    "no helper": ({"uses": ["{folder}/gone.py"]}, ("uses", 0), "there is no file '{folder}/gone.py'", ""),
    "no function": (
        {"python": "{folder}/my.py:g"},
        ("python",),
        "'{folder}/my.py' has no function 'g'",
        "valid: f",
    ),
    "no parameter": (
        {"parameters": {"least": 3}},
        ("parameters",),
        "'f' takes a batch and the parameters: got an unexpected keyword argument 'least'",
        "",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_found_before_data_is_read(mistake: str, tmp_path: Path) -> None:
    fields, where, message, hint = MISTAKES[mistake]
    stage(tmp_path, DIVIDES, {"x": "int64"})
    whole = {"python": "{folder}/my.py:f", "columns": {"x": "int64"}} | fields
    own = Map.model_validate_json(json.dumps(whole).replace("{folder}", str(tmp_path)))
    (problem,) = own.check(NOTHING)
    assert (problem.where, problem.message, problem.hint) == (where, message.format(folder=tmp_path), hint)


def test_a_mistake_in_the_file_is_named_with_its_line(tmp_path: Path) -> None:
    (problem,) = stage(tmp_path, "def f(batch):\n    pass\n\n\nx = 1 / 0", {"x": "int64"}).check(NOTHING)
    assert problem.message == f"'{tmp_path}/my.py' cannot be run: ZeroDivisionError: division by zero (line 10)"


def test_columns_serve_rules_and_the_recipe_is_written_out(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": str(n), "url": "u"}) + "\n" for n in range(5)))
    own = stage(tmp_path, DIVIDES, {"x": "int64"})
    stages = {
        "read": {"sources": {"a": {"path": str(tmp_path / "a.jsonl")}}},
        "tenth": {"stage": "map", "python": own.python, "columns": {"x": "int64"}, "requires": ["url"]},
        "select": {"drop": {"broken": "tenth_fault IS NOT NULL", "low": "x < 3"}},
    }
    pipeline = Pipeline.from_mapping(
        {"run": {"root": str(tmp_path / "run")}, "engine": {"workers": 0}, "stages": stages}
    )
    pipeline.run()
    decided = pl.read_parquet(pipeline.nodes["select"].artifact.part("*"))
    assert decided["drop_reason"].to_list() == ["broken", None, None, None, "low"]
    again = Pipeline.from_yaml(str(tmp_path / "run" / "run.yaml"))
    assert {name: node.artifact.fingerprint for name, node in again.nodes.items()} == {
        name: node.artifact.fingerprint for name, node in pipeline.nodes.items()
    }


def test_a_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    table = make_table(tmp_path / "read", {"a": [str(n) for n in range(30)]}, 5)
    own = stage(tmp_path, DIVIDES, {"x": "int64"})
    whole = digests(run_stage(own, table, tmp_path / "whole"))
    part = run_stage(own, table, tmp_path / "part")
    for name in (part.path + "/_manifest.json", part.path + "/_receipts/00000-002.json"):
        Path(name).unlink()
    assert digests(run_stage(own, table, tmp_path / "part")) == whole


def test_numbers_of_numpy_and_nan_are_kept(tmp_path: Path) -> None:
    own = stage(tmp_path, "def f(batch):\n    return {'x': np.array([np.nan, 1], np.float32)}", {"x": "float64"})
    values = called(own, ["", ""])["x"].to_pylist()
    assert np.isnan(values[0])
    assert values[1] == 1.0
