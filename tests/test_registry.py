"""Stages are found by their kind: built in, declared by an installed package, or defined by a script."""

import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Literal

import pytest

import curate.stages
from curate import registry
from curate.config.load import Config, RunSettings, from_mapping
from curate.errors import ConfigError
from curate.pipeline import Pipeline
from curate.stage import Stage, kind_of
from curate.stages.minhash import MinHash
from curate.stages.read import Read, Source
from curate.stages.select import Select
from tests.runs import curate as command

LOADED = "import sys; print(*sorted(m for m in sys.modules if m.startswith('curate.stages.')))"


def python(code: str) -> str:
    """What a fresh interpreter prints."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("kind", sorted(registry.built_in()))
def test_each_module_of_stages_defines_the_stage_of_its_name_and_no_other(kind: str) -> None:
    model = registry.stage_type(kind)
    defined = [value for value in vars(sys.modules[model.__module__]).values() if isinstance(value, type)]
    kinds = {kind_of(value) for value in defined if issubclass(value, Stage) and value.__module__ == model.__module__}
    assert kinds - {""} == {kind}


def test_a_stage_brings_its_helpers_in_a_fresh_interpreter() -> None:
    code = "from curate.stages.minhash import MinHash\nprint(*(type(s).__name__ for s in MinHash().upstream()))\n"
    helpers, loaded = python(code + LOADED).splitlines()
    assert helpers == "Signatures Size"
    assert loaded == "curate.stages.minhash curate.stages.signatures curate.stages.size"


def test_a_recipe_imports_its_stages_and_no_others(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n')
    stages = {"read": {"sources": {"a": {"path": str(tmp_path / "a.jsonl")}}}, "exact": {}, "select": {}}
    recipe = {"run": {"root": str(tmp_path / "run")}, "stages": stages}
    code = f"from curate.pipeline import Pipeline\nPipeline.from_mapping({recipe!r})\n"
    loaded = python(code + LOADED).split()
    assert loaded == [f"curate.stages.{kind}" for kind in ("exact", "read", "select", "size", "text_hash")]


def test_a_pipeline_of_stage_objects_goes_by_the_keys(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n')
    config = Config(
        run=RunSettings(root=str(tmp_path / "run")),
        stages={
            "documents": Read(sources={"a": Source(path=str(tmp_path / "a.jsonl"))}),
            "near": MinHash(),
            "choice": Select(drop={"near_copy": "NOT near_keep"}),
        },
    )
    pipeline = Pipeline.from_config(config)
    assert list(pipeline.nodes) == ["documents", "near_signatures", "size", "near", "choice"]
    assert pipeline.nodes["choice"].sidecars == ("size", "near")
    assert Pipeline.from_config(from_mapping(_plain(config))).nodes["near"].payload == pipeline.nodes["near"].payload


def _plain(config: Config) -> dict[str, object]:
    stages = {name: stage.model_dump(mode="json", exclude={"name"}) for name, stage in config.stages.items()}
    return {"run": config.run.model_dump(), "stages": stages}


def test_an_unknown_kind_names_the_nearest_one() -> None:
    with pytest.raises(ConfigError) as error:
        registry.stage_type("min_hash")
    assert str(error.value) == "unknown stage 'min_hash'\n    did you mean 'minhash'?"


def test_an_unknown_column_names_the_stage_that_promises_it(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n')
    stages = {
        "read": {"sources": {"a": {"path": str(tmp_path / "a.jsonl")}}},
        "select": {"drop": {"x": "url_host > 3"}},
    }
    with pytest.raises(ConfigError) as error:
        Pipeline.from_mapping({"run": {"root": str(tmp_path / "run")}, "stages": stages})
    assert "add `urls: {}` before it" in str(error.value)


def test_a_class_of_a_script_is_found_by_its_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    classes: dict[str, type[Stage]] = {}
    monkeypatch.setattr("curate.stage.DEFINED", classes)
    monkeypatch.setattr("curate.registry.DEFINED", classes)

    class Shout(Stage):
        stage: Literal["shout"] = "shout"

    assert registry.stage_type("shout") is Shout
    assert "shout" in registry.kinds()


# -- modules that cannot be imported -----------------------------------------------------------------------------------


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A mistake in the module of `langid`."""
    path = tmp_path / "langid.py"
    path.write_text('"""Languages."""\n\nx = undefined_name\n')
    monkeypatch.setattr(curate.stages, "__path__", [str(tmp_path), *curate.stages.__path__])
    monkeypatch.delitem(sys.modules, "curate.stages.langid", raising=False)
    return path


def test_a_module_with_a_mistake_stops_recipes_that_use_it_and_no_others(broken: Path, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n')
    stages = {"read": {"sources": {"a": {"path": str(tmp_path / "a.jsonl")}}}, "size": {}}
    recipe = {"run": {"root": str(tmp_path / "run")}, "stages": stages}
    assert list(Pipeline.from_mapping(recipe).nodes) == ["read", "size"]
    with pytest.raises(ConfigError) as error:
        Pipeline.from_mapping(recipe | {"stages": stages | {"langid": {}}})
    mistake = f"NameError: name 'undefined_name' is not defined ({broken}, line 3)"
    assert str(error.value) == f"stages.langid: the stage 'langid' cannot be imported: {mistake}"


def test_all_other_stages_are_listed(broken: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "curate")
    assert set(registry.stage_types()) >= registry.built_in() - {"langid"}
    assert [record.message for record in caplog.records if str(broken) in record.message]


# -- stages of installed packages --------------------------------------------------------------------------------------

LOUD = '''"""Stages of a package."""

from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from curate import Annotator


class Loud(Annotator):
    """Exclamation marks."""

    stage: Literal["loud"] = "loud"

    def requires(self):
        return ("text",)

    def columns(self):
        return pa.schema([("loud", pa.int32())])

    def load(self):
        schema = self.columns()

        def annotate(text, columns):
            marks = pc.count_substring(text.text, "!").cast(pa.int32())
            return pa.RecordBatch.from_arrays([marks], schema=schema)

        return annotate
'''


class Site:
    """A folder on the path of modules, with packages that declare stages."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def install(self, package: str, module: str, content: str, declared: str) -> None:
        (self.folder / f"{module}.py").write_text(content)
        metadata = self.folder / f"{package}-1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        (metadata / "entry_points.txt").write_text(f"[curate.stages]\n{declared}\n")

    def curate(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The command line, with the folder on its path."""
        root = str(Path(curate.__file__ or "").parents[1])
        environment = {"PYTHONPATH": f"{root}:{self.folder}", "PATH": "/usr/bin:/bin", "HOME": str(self.folder)}
        return command(*arguments, env=environment, cwd=self.folder)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    rows = "".join(json.dumps({"text": f"Story {n}{'!' * n}"}) + "\n" for n in range(12))
    (tmp_path / "a.jsonl").write_text(rows)
    recipe = {
        "run": {"root": str(tmp_path / "run")},
        "engine": {"workers": 2},
        "stages": {"read": {"sources": {"a": {"path": "a.jsonl"}}, "shard_bytes": 60}, "size": {}},
    }
    (tmp_path / "quiet.yaml").write_text(json.dumps(recipe))
    recipe["stages"] |= {"loud": {}, "select": {"drop": {"loud": "loud > 8"}}}
    (tmp_path / "loud.yaml").write_text(json.dumps(recipe))
    return Site(tmp_path)


def test_a_stage_of_an_installed_package_runs(site: Site) -> None:
    site.install("loud-stages", "loud_stages", LOUD, "loud = loud_stages:Loud")
    done = site.curate("run", "loud.yaml")
    assert done.returncode == 0, done.stderr
    assert "select  12 in, 9 kept, 3 dropped (loud 3)" in done.stdout
    assert '"loud"' in site.curate("schema").stdout


@pytest.mark.parametrize(
    ("content", "declared", "message"),
    [
        (
            "\nx = 1 / 0\n",
            "loud = loud_stages:Loud",
            "ZeroDivisionError: division by zero ({folder}/loud_stages.py, line 2)",
        ),
        ("", "loud = no_such_module:Loud", "ModuleNotFoundError: No module named 'no_such_module' (no_such_module)"),
        (LOUD, "loud = loud_stages:Lod", "the stage 'loud' of the package 'loud-stages' is not in loud_stages:Lod"),
        (LOUD.replace('"loud"] = "loud"', '"lod"] = "lod"'), "loud = loud_stages:Loud", "is not in loud_stages:Loud"),
    ],
)
def test_a_mistake_of_a_package_stops_recipes_that_use_it_and_no_others(
    content: str, declared: str, message: str, site: Site
) -> None:
    site.install("loud-stages", "loud_stages", content, declared)
    assert site.curate("run", "quiet.yaml").returncode == 0
    failed = site.curate("run", "loud.yaml")
    assert failed.returncode == 2
    assert "stages.loud: the stage 'loud' of the package 'loud-stages'" in failed.stderr
    assert message.format(folder=site.folder) in failed.stderr
    assert "Traceback" not in failed.stderr
    assert site.curate("schema").returncode == 0


def test_two_packages_cannot_declare_one_stage(site: Site) -> None:
    site.install("loud-stages", "loud_stages", LOUD, "loud = loud_stages:Loud")
    site.install("other-stages", "other_stages", LOUD, "loud = other_stages:Loud")
    failed = site.curate("plan", "loud.yaml")
    assert failed.returncode == 2
    assert "the packages 'loud-stages' and 'other-stages' both declare the stage 'loud'" in failed.stderr


def test_a_package_does_not_replace_a_stage_of_curate(site: Site) -> None:
    site.install("loud-stages", "loud_stages", LOUD.replace('"loud"', '"size"'), "size = loud_stages:Loud")
    done = site.curate("run", "quiet.yaml")
    assert done.returncode == 0, done.stderr
    manifest = next((site.folder / "run").glob("size-*/_manifest.json"))
    assert json.loads(manifest.read_text())["columns"] == ["text_bytes", "text_chars"]
