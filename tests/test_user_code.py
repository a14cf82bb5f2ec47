"""Python files of users: one module per content, importable by its name in any process."""

import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from curate.user_code import UserCode, UserCodeError, call_problem, code_hashes

HELPER = "SCALE = 2\n\n\ndef scaled(x):\n    return SCALE * x\n"
FILE = "from scales import scaled\n\n\nclass Scaled:\n    value = scaled(21)\n"


@pytest.fixture
def code(tmp_path: Path) -> UserCode:
    """A file that uses another one."""
    (tmp_path / "scales.py").write_text(HELPER)
    (tmp_path / "my.file.py").write_text(FILE)
    return UserCode(path=str(tmp_path / "my.file.py"), uses=(str(tmp_path / "scales.py"),))


def test_a_file_is_run_once_for_each_content(code: UserCode) -> None:
    first = code.module()
    assert first.Scaled.value == 42
    assert first.__file__ == code.path
    assert code.module() is first
    Path(code.path).write_text(FILE + "\n# changed\n")
    assert code.module() is not first


def test_a_changed_helper_makes_another_module(code: UserCode) -> None:
    assert code.module().Scaled.value == 42
    before = code.hashes()
    Path(code.uses[0]).write_text(HELPER.replace("= 2", "= 3"))
    assert code.module().Scaled.value == 63
    assert code.hashes()["file"] == before["file"]
    assert code.hashes()["uses"] != before["uses"]


def test_hashes_are_of_content_and_not_of_paths(code: UserCode, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    moved = [Path(file).rename(tmp_path / "elsewhere" / Path(file).name) for file in code.files]
    hashes = UserCode(path=str(moved[0]), uses=(str(moved[1]),)).hashes()
    module = UserCode(path=str(moved[0]), uses=(str(moved[1]),)).module()
    assert code_hashes(module.Scaled.__module__) == hashes
    assert code_hashes("curate.stages.size") == {}


def test_what_a_file_defines_can_be_unpickled_in_another_process(code: UserCode, tmp_path: Path) -> None:
    module = code.module()
    (tmp_path / "both.pickle").write_bytes(pickle.dumps((module.scaled, module.Scaled())))
    load = "import pickle, sys; scaled, thing = pickle.load(open(sys.argv[1], 'rb')); print(scaled(3), thing.value)"
    command = [sys.executable, "-c", load, str(tmp_path / "both.pickle")]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "6 42\n"
    Path(code.uses[0]).write_text(HELPER.replace("= 2", "= 3"))
    failed = subprocess.run(command, capture_output=True, text=True, check=False)
    assert f"{code.path} or {code.uses[0]} has changed since the run began" in failed.stderr


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("import no_such_module\n", "ModuleNotFoundError: No module named 'no_such_module' (line 1)"),
        ("x = 1\n\ny = 1 / 0\n", "ZeroDivisionError: division by zero (line 3)"),
        ("def f(:\n    pass\n", "SyntaxError: invalid syntax (line 1)"),
        ("raise SystemExit(3)\n", "SystemExit: 3 (line 1)"),
        ("import json\njson.loads('{')\n", " (line 2)"),
    ],
)
def test_an_error_names_the_line_of_the_file(content: str, complaint: str, tmp_path: Path) -> None:
    (tmp_path / "wrong.py").write_text(content)
    with pytest.raises(UserCodeError) as error:
        UserCode(path=str(tmp_path / "wrong.py")).module()
    assert str(error.value).startswith("cannot be run: ")
    assert str(error.value).endswith(complaint)


def test_an_error_in_a_helper_names_the_helper(code: UserCode) -> None:
    Path(code.uses[0]).write_text("\nprint(unknown)\n")
    with pytest.raises(UserCodeError) as error:
        code.module()
    assert str(error.value) == f"cannot be run: NameError: name 'unknown' is not defined ({code.uses[0]}, line 2)"


def test_a_helper_that_is_not_named_is_not_found(code: UserCode) -> None:
    with pytest.raises(UserCodeError, match="No module named 'scales'") as error:
        UserCode(path=code.path).module()
    assert error.value.hint == "files beside it that it imports are named in `uses`"


def test_names_of_helpers_mean_nothing_to_other_modules(tmp_path: Path) -> None:
    codes = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "json.py").write_text(f"from late import later\n\nname = {folder!r}\n")
        (tmp_path / folder / "late.py").write_text(
            f"import json\n\n\ndef later():\n    return json.name + {folder!r}\n"
        )
        (tmp_path / folder / "my.py").write_text("def both():\n    import json\n\n    return json.name, json.later()\n")
        uses = tuple(str(tmp_path / folder / name) for name in ("json.py", "late.py"))
        codes.append(UserCode(path=str(tmp_path / folder / "my.py"), uses=uses))
    modules = [code.module() for code in codes]
    assert [module.both() for module in modules] == [("a", "aa"), ("b", "bb")]
    assert json.loads("[1]") == [1]
    assert "late" not in sys.modules


@pytest.mark.parametrize(
    ("uses", "why"),
    [
        (["/a/my-tools.py"], "'/a/my-tools.py' cannot be imported: 'my-tools' is no name of a module"),
        (["/a/tools.py", "/b/tools.py"], "two files are imported as 'tools'"),
    ],
)
def test_helpers_have_names_that_can_be_imported(uses: list[str], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        UserCode(path="/a/my.py", uses=tuple(uses))


def test_whether_a_function_can_be_called() -> None:
    def function(batch: object, least: int, *, most: int = 3) -> None:
        pass

    def takes_nothing() -> None:
        pass

    assert call_problem(function, ["least", "most"]) == ""
    assert call_problem(function, []) == "missing a required argument: 'least'"
    assert call_problem(takes_nothing, []) == "too many positional arguments"
