"""Labeling functions in Python: loaded by path, asked in batches, faults as abstains."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from curate.user_code import FAULT
from curate.weak.functions import ABSTAIN, DROP, KEEP, LabelingFunction, labeling_function
from curate.weak.functions.checks import file_problems
from curate.weak.functions.config import Function, voters
from curate.weak.functions.python import ask, load_functions
from curate.weak.functions.votes import BATCH, evaluate

BATCH_OF_FOUR = pa.record_batch({"words": [1, 2, 3, 4]})


def answering(answer: Any) -> LabelingFunction:
    return LabelingFunction("it", ("words",), {}, lambda batch: answer)


@pytest.mark.parametrize(
    "answer",
    [
        [0, 1, -1, None],
        np.array([0, 1, -1, -1]),
        np.array([0, 1, -1, -1], np.int8),
        pa.array([0, 1, -1, None], pa.int16()),
        pa.chunked_array([[0, 1], [-1, None]]),
        pl.Series([0, 1, -1, None]),
    ],
)
def test_any_integers_are_votes(answer: Any) -> None:
    votes, fault = ask(answering(answer), BATCH_OF_FOUR, {})
    assert (votes.tolist(), votes.dtype, fault) == ([DROP, KEEP, ABSTAIN, ABSTAIN], np.int8, "")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ([0, 1, 1], "gave 3 votes for 4 documents"),
        (np.zeros(5, int), "gave 5 votes for 4 documents"),
        ([0, 1, 1, 2], "gave the vote 2, where -1 abstains, 0 drops and 1 keeps"),
        ([0, 1, 1, -2], "gave the vote -2,"),
        ([0.0, 1.0, 1.0, 0.0], "gave double, where votes are integers"),
        ([True, False, True, True], "gave bool,"),
        (["keep"] * 4, "gave string,"),
        (None, "TypeError"),
        (7, "TypeError"),
        (np.zeros((4, 2), int), "ArrowInvalid"),
    ],
)
def test_another_answer_is_a_fault(answer: Any, said: str) -> None:
    votes, fault = ask(answering(answer), BATCH_OF_FOUR, {})
    assert votes.tolist() == [ABSTAIN] * 4
    assert fault.startswith(said)


def test_all_that_a_function_raises_is_a_fault() -> None:
    def fails(batch: pa.RecordBatch) -> None:
        raise RuntimeError("first line " + "x" * 500 + "\nsecond line")

    votes, fault = ask(LabelingFunction("fails", ("words",), {}, fails), BATCH_OF_FOUR, {})
    assert votes.tolist() == [ABSTAIN] * 4
    assert fault.startswith("RuntimeError: first line x")
    assert len(fault) == FAULT


def test_what_went_wrong_is_the_same_in_every_process() -> None:
    def fails(batch: pa.RecordBatch) -> None:
        raise ValueError(f"cannot use {object()!r}")

    assert ask(LabelingFunction("fails", (), {}, fails), BATCH_OF_FOUR, {})[1] == (
        "ValueError: cannot use <object object at 0x...>"
    )


def test_memory_that_is_out_is_no_fault_of_the_function() -> None:
    def hungry(batch: pa.RecordBatch) -> None:
        raise MemoryError

    with pytest.raises(MemoryError):
        ask(LabelingFunction("hungry", ("words",), {}, hungry), BATCH_OF_FOUR, {})


def test_a_decorator_without_columns_is_refused() -> None:
    with pytest.raises(TypeError, match="columns are a list"):
        labeling_function(columns="text")


FILE = """
import pyarrow.compute as pc
from curate.weak.functions import ABSTAIN, DROP, labeling_function

@labeling_function(columns=["words"], resources={"limit": "limit.txt"})
def short(batch, limit, factor=1):
    return pc.if_else(pc.less(batch["words"], int(limit) * factor), DROP, ABSTAIN)

@labeling_function(columns=["words"], name="other")
def fails_on_the_second_batch(batch):
    if batch["words"][0].as_py() >= 1024:
        raise KeyError("no")
    return [1] * len(batch)
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "limit.txt").write_text("3")
    path = tmp_path / "functions.py"
    path.write_text(FILE)
    return path


def test_functions_of_a_file_take_resources_and_parameters(file: Path) -> None:
    functions = {
        "short": Function(python=str(file), parameters={"factor": 2}),
        "named": Function(python=str(file), function="other", sources=("web",)),
    }
    columns = pa.table({"words": range(1030)})
    ballot = evaluate(voters(functions), columns, "web", {}, "weak")
    assert ballot.votes[:, 0].tolist() == [0] * 6 + [-1] * 1024
    assert ballot.votes[:, 1].tolist() == [1] * BATCH + [-1] * 6
    assert ballot.faults == [{}, {"KeyError: 'no'": 6}]


def test_a_file_is_read_again_when_it_has_changed(file: Path) -> None:
    before = load_functions(str(file))["short"]
    assert load_functions(str(file))["short"] is before
    file.write_text(FILE.replace("other", "another"))
    assert set(load_functions(str(file))) == {"short", "another"}


@pytest.mark.parametrize("change", ["file", "resource", "parameters", "function"])
def test_identity_is_content_and_not_place(file: Path, tmp_path: Path, change: str) -> None:
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for name in ("functions.py", "limit.txt"):
        (moved / name).write_bytes((tmp_path / name).read_bytes())
    one = Function(python=str(file), function="short").identity("it")
    assert Function(python=str(moved / "functions.py"), function="short").identity("key") == one
    other = {"function": "short", "parameters": {}}
    if change == "file":
        file.write_text(FILE + "\n# more\n")
    elif change == "resource":
        (tmp_path / "limit.txt").write_text("4")
    else:
        other |= {"parameters": {"factor": 2}} if change == "parameters" else {"function": "other"}
    assert Function(python=str(file), **other).identity("it") != one


def problems(path: Path, **fields: Any) -> list[str]:
    return [str(problem) for problem in file_problems({"short": Function(python=str(path), **fields)})]


def test_what_is_wrong_with_a_file_is_said(file: Path, tmp_path: Path) -> None:
    assert problems(file) == []
    (found,) = problems(tmp_path / "none.py")
    assert found.startswith("functions.short.python: there is no file")
    (found,) = problems(file, function="shorter")
    assert "functions.short.function" in found
    assert "did you mean 'short'?" in found
    (found,) = problems(file, parameters={"fctor": 2})
    assert "functions.short.parameters: 'short' got an unexpected keyword argument 'fctor'" in found
    (tmp_path / "limit.txt").unlink()
    (found,) = problems(file)
    assert "the resource 'limit' of 'short' is not there" in found


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("def f(:\n", "cannot be run: SyntaxError"),
        ("import no_such_module\n", "ModuleNotFoundError: No module named 'no_such_module' (line 1)"),
        ("x = 1\n\ny = 1 / 0\n", "ZeroDivisionError: division by zero (line 3)"),
        ("def short(batch): return []\n", "put @labeling_function(columns=[...]) over a function"),
        (FILE.replace('name="other"', 'name="short"'), "has two functions called 'short'"),
    ],
)
def test_files_that_are_no_good(tmp_path: Path, source: str, said: str) -> None:
    path = tmp_path / "broken.py"
    path.write_text(source)
    (found,) = problems(path)
    assert said in found


def test_a_function_that_exits_is_a_fault() -> None:
    def leaves(batch: pa.RecordBatch) -> None:
        raise SystemExit(3)

    votes, fault = ask(LabelingFunction("leaves", ("words",), {}, leaves), pa.record_batch({"words": [1, 2]}), {})
    assert (votes.tolist(), fault) == ([-1, -1], "SystemExit: 3")
