"""Stages in Python files that a recipe names: they run everywhere, and their content is part of what they are."""

import json
from pathlib import Path
from typing import Any

import pytest

from curate.artifact import Artifact
from curate.config.load import load
from curate.errors import ConfigError
from curate.pipeline import Pipeline
from tests.runs import curate

PLUGIN = '''"""Two stages: one adds a column, the other sums it up."""

from functools import partial
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc
from louder import louder

from curate import Annotator, Stage
from curate.artifact import all_kept


class Shout(Annotator):
    """Exclamation marks, times a factor."""

    stage: Literal["shout"] = "shout"

    def requires(self):
        return ("text",)

    def columns(self):
        return pa.schema([("shout", pa.int32())])

    def load(self):
        schema = self.columns()

        def annotate(text, columns):
            return pa.RecordBatch.from_arrays([louder(pc.count_substring(text.text, "!"))], schema=schema)

        return annotate


class Total(Stage):
    """The sum of all shouts."""

    stage: Literal["total"] = "total"

    def requires(self):
        return ("shout",)

    def run(self, ctx):
        sums = ctx.map_shards(partial(sum_up, self, ctx.table))
        return {"flow": all_kept(ctx.table.shards), "total": sum(result["sum"] for result in sums)}


def sum_up(stage, table, shard):
    return {"sum": pc.sum(table.read(shard, ["shout"]).column("shout")).as_py()}
'''
HELPER = '''"""How loud."""

import pyarrow as pa
import pyarrow.compute as pc

FACTOR = 3


def louder(marks):
    return pc.multiply(marks, pa.scalar(FACTOR, pa.int32()))
'''
STAGES: dict[str, Any] = {
    "read": {"sources": {"a": {"path": "a.jsonl"}}, "shard_bytes": 60},
    "shout": {},
    "total": {},
    "heuristics": {},
    "select": {"drop": {"loud": "shout > 20"}},
}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A recipe in a folder beside the plugin's, and documents in the folder in which curate runs."""
    for folder in ("recipes", "lib", "work"):
        (tmp_path / folder).mkdir()
    (tmp_path / "lib" / "my_stages.py").write_text(PLUGIN)
    (tmp_path / "lib" / "louder.py").write_text(HELPER)
    (tmp_path / "work" / "a.jsonl").write_text(
        "".join(json.dumps({"text": f"Story {n}{'!' * n}"}) + "\n" for n in range(12))
    )
    write(tmp_path, {"path": "../lib/my_stages.py", "uses": ["../lib/louder.py"]})
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path


def write(project: Path, *plugins: Any, name: str = "recipe.yaml", **sections: Any) -> Path:
    recipe = {"run": {"root": "run"}, "engine": {"workers": 2}, "plugins": list(plugins), "stages": STAGES} | sections
    path = project / "recipes" / name
    path.write_text(json.dumps(recipe, indent=1))
    return path


def another(kind: str) -> str:
    """A plugin with one stage, which does nothing."""
    imports = "from typing import Literal\n\nfrom curate import Stage\n\n\n"
    return f'{imports}class Another(Stage):\n    stage: Literal["{kind}"] = "{kind}"\n'


def fingerprints(path: Path) -> dict[str, str]:
    return {name: node.artifact.fingerprint for name, node in Pipeline.from_yaml(str(path)).nodes.items()}


def problems(path: Path) -> list[str]:
    with pytest.raises(ConfigError) as error:
        load(path)
    return [str(problem).removeprefix(f"{path}:") for problem in error.value.problems]


# -- running -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", [{"workers": 2}, {"workers": 0}, {"kind": "ray", "workers": 2}], ids=str)
def test_a_plugin_runs_in_every_kind_of_worker(engine: dict[str, Any], project: Path) -> None:
    path = write(project, {"path": "../lib/my_stages.py", "uses": ["../lib/louder.py"]}, engine=engine)
    done = curate("run", path, cwd=project / "work")
    assert done.returncode == 0, done.stderr
    assert "select  12 in, 7 kept, 5 dropped (loud 5)" in done.stdout
    (total,) = (project / "work" / "run").glob("total-*")
    assert Artifact("total", str(total), "").manifest["total"] == 3 * sum(range(12))
    again = curate("plan", project / "work" / "run" / "run.yaml", "--no-sample", cwd=project / "work")
    assert again.returncode == 0, again.stderr
    assert all(line.split()[1] == "cached" for line in again.stdout.splitlines()[: len(STAGES) + 1])


def test_signals_of_plugins_are_compared_like_others(project: Path) -> None:
    for name, lines in (("good", range(200)), ("bad", range(200, 400))):
        rows = (json.dumps({"text": f"Story {n}{'!' * (n // 100)}"}) + "\n" for n in lines)
        (project / "work" / "a.jsonl").write_text("".join(rows))
        done = curate("run", project / "recipes" / "recipe.yaml", f"run.root={name}", cwd=project / "work")
        assert done.returncode == 0, done.stderr
    done = curate("thresholds", "good", "bad", cwd=project / "work")
    assert done.returncode == 0, done.stderr
    assert "shout" in done.stdout


# -- fingerprints ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", ["my_stages.py", "louder.py"])
def test_content_enters_the_fingerprints_of_the_stages_that_it_defines(file: str, project: Path) -> None:
    recipe = project / "recipes" / "recipe.yaml"
    before = fingerprints(recipe)
    path = project / "lib" / file
    path.write_text(path.read_text() + "\n# another content\n")
    after = fingerprints(recipe)
    assert {name for name in before if before[name] != after[name]} == {"shout", "total", "select"}
    assert {name for name in ("read", "size", "heuristics") if before[name] == after[name]} == {
        "read",
        "size",
        "heuristics",
    }


def test_paths_do_not_enter_fingerprints(project: Path) -> None:
    before = fingerprints(project / "recipes" / "recipe.yaml")
    (project / "lib").rename(project / "other")
    after = fingerprints(write(project, {"path": "../other/my_stages.py", "uses": ["../other/louder.py"]}))
    assert before == after


def test_another_plugin_changes_no_fingerprint(project: Path) -> None:
    before = fingerprints(project / "recipes" / "recipe.yaml")
    (project / "lib" / "whisper.py").write_text(another("whisper"))
    both = {"path": "../lib/my_stages.py", "uses": ["../lib/louder.py"]}, "../lib/whisper.py"
    assert fingerprints(write(project, *both)) == before


# -- where plugins are named -------------------------------------------------------------------------------------------


def test_plugins_of_parents_and_children_add_up(project: Path) -> None:
    (project / "recipes" / "deep").mkdir()
    (project / "lib" / "more.py").write_text(another("more"))
    child = project / "recipes" / "deep" / "child.yaml"
    same = {"path": "../../lib/my_stages.py", "uses": ["../../lib/louder.py"]}
    text = {"extends": "../recipe.yaml", "plugins": ["../../lib/more.py", same], "stages": {"more": {}}}
    child.write_text(json.dumps(text))
    config = load(child)
    assert [Path(plugin.path).name for plugin in config.plugins] == ["my_stages.py", "more.py"]
    assert list(config.stages) == [*STAGES, "more"]
    child.write_text(json.dumps(text | {"plugins": None, "stages": {"shout": {}}}))
    assert list(load(child).stages) == list(STAGES)


def test_plugins_of_a_mapping_and_of_the_command_line_start_at_the_current_folder(project: Path) -> None:
    plugin = {"path": "../lib/my_stages.py", "uses": ["../lib/louder.py"]}
    pipeline = Pipeline.from_mapping({"run": {"root": "run"}, "plugins": [plugin], "stages": STAGES})
    assert pipeline.nodes["shout"].stage.stage == "shout"
    without = write(project, name="without.yaml")
    assert "stages.shout: unknown stage 'shout'" in problems(without)[0]
    assert list(load(without, [f"plugins={json.dumps([plugin])}"]).stages) == list(STAGES)


def test_a_column_of_a_plugin_is_hinted_at(project: Path) -> None:
    stages = {name: STAGES[name] for name in ("read", "select")}
    path = write(project, {"path": "../lib/my_stages.py", "uses": ["../lib/louder.py"]}, stages=stages)
    with pytest.raises(ConfigError) as error:
        Pipeline.from_yaml(str(path))
    assert "add `shout: {}` before it" in str(error.value)


# -- mistakes ----------------------------------------------------------------------------------------------------------


def test_a_mistake_in_a_plugin_names_file_line_and_exception(project: Path) -> None:
    path = project / "lib" / "my_stages.py"
    path.write_text(PLUGIN.replace("class Total", "undefined_name\n\n\nclass Total"))
    failed = curate("run", project / "recipes" / "recipe.yaml", cwd=project / "work")
    assert failed.returncode == 2
    line = path.read_text().splitlines().index("undefined_name") + 1
    mistake = f"{str(path)!r} cannot be run: NameError: name 'undefined_name' is not defined (line {line})"
    assert failed.stderr.splitlines() == [
        f"{project}/recipes/recipe.yaml:9: plugins.0: {mistake}",
        "1 problem; nothing was run",
    ]


def test_a_mistake_in_a_plugin_leaves_other_recipes_alone(project: Path) -> None:
    (project / "lib" / "my_stages.py").write_text("1 / 0\n")
    stages = {name: STAGES[name] for name in ("read", "heuristics")}
    assert list(Pipeline.from_yaml(str(write(project, stages=stages))).nodes) == ["read", "heuristics"]


WHOLE = {"path": "../lib/my_stages.py", "uses": ["../lib/louder.py"]}
MISTAKES: dict[str, tuple[Any, str]] = {
    "no file": (["../lib/gone.py"], "plugins.0: there is no file '{lib}/gone.py'"),
    "no stage": (["../lib/louder.py"], "plugins.0: '{lib}/louder.py' defines no stage\n    expected: a subclass of"),
    "a helper that is not named": (
        ["../lib/my_stages.py"],
        "plugins.0: '{lib}/my_stages.py' cannot be run: ModuleNotFoundError: No module named 'louder' (line 8)\n"
        "    files beside it that it imports are named in `uses`",
    ),
    "a key": ([{"path": "../lib/louder.py", "use": []}], "plugins.0.use: unknown key 'use'\n    did you mean 'uses'?"),
    "a number": ([3], "plugins.0: must be a Python file, or a mapping with its `path`"),
    "no list": ("../lib/my_stages.py", "plugins: must be a list of Python files"),
    "a stage of curate": (
        ["../lib/size.py"],
        "plugins.0: '{lib}/size.py' defines the stage 'size', which curate has already\n    choose another name for it",
    ),
    "a stage of another plugin": (
        [WHOLE, "../lib/shout.py"],
        "plugins.1: '{lib}/shout.py' defines the stage 'shout', which '{lib}/my_stages.py' defines already",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_in_plugins_are_told_of_their_line(mistake: str, project: Path) -> None:
    plugins, message = MISTAKES[mistake]
    for kind in ("size", "shout"):
        (project / "lib" / f"{kind}.py").write_text(another(kind))
    path = write(project)
    path.write_text(json.dumps({"run": {"root": "run"}, "plugins": plugins, "stages": STAGES}))
    (problem, *others) = problems(path)
    assert problem.startswith("1: " + message.format(lib=project / "lib"))
    # Whether `shout` is a stage cannot be said where the plugin that may define it is broken.
    assert not [other for other in others if "unknown stage" in other]
