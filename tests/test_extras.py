"""A package that is missing is reported before data is read, with commands that install it."""

import shlex
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from curate import extras
from curate.artifact import all_versions
from curate.errors import ConfigError
from curate.pipeline import Pipeline

PYPROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
EXTRAS = {name: [Requirement(line) for line in lines] for name, lines in PYPROJECT["optional-dependencies"].items()}

# What is missing, the recipe that needs it, and where the message says that it does.
CASES: list[tuple[str, tuple[str, ...], dict[str, Any], str]] = [
    ("web", ("fastwarc",), {"read": "pages.warc"}, "read.sources.a.path: 'pages.warc' cannot be read: fastwarc is"),
    ("web", ("fastwarc", "resiliparse"), {"read": "page.html"}, "cannot be read: fastwarc and resiliparse are"),
    ("web", ("resiliparse",), {"extract": {}}, "stages.extract.extractor: resiliparse is"),
    ("web", ("trafilatura",), {"extract": {"extractor": "trafilatura"}}, "extract.extractor: trafilatura is"),
    ("web", ("tldextract",), {"urls": {}}, "stages.urls: tldextract is"),
    ("pii", ("phonenumbers",), {"clean": {"pii": ["email", "phone"]}}, "stages.clean.pii.1: phonenumbers is"),
    ("pii", ("python-stdnum",), {"clean": {"pii": ["iban"]}}, "stages.clean.pii.0: python-stdnum is"),
    ("judge", ("httpx",), {"judge": {"base_url": "http://localhost/v1", "model": "m"}}, "stages.judge: httpx is"),
    ("ray", ("ray",), {"engine": "ray"}, "engine.kind: ray is"),
    ("kenlm", ("kenlm",), {"perplexity": {"path": "m.bin"}}, "is a binary file of kenlm: kenlm is"),
    (
        "sentencepiece",
        ("sentencepiece",),
        {"perplexity": {"path": "m.arpa", "tokenizer": "m.model"}},
        "is a SentencePiece model: sentencepiece is",
    ),
]
FILES = {
    "a.jsonl": b'{"text": "One document."}\n',
    "pages.warc": b"WARC/1.0\r\n",
    "page.html": b"<html><body><p>One page.</p></body></html>",
    "m.bin": b"mmap lm http://kheafield.com/code format version 5\n\0" + bytes(64),
    "m.arpa": b"\\data\\\n",
    "m.model": b"pieces",
}


def run_without(packages: tuple[str, ...], recipe: dict[str, Any], folder: Path, monkeypatch: Any) -> str:
    """The error of a run in an environment without these packages; nothing may be read before."""
    for package in packages:
        monkeypatch.setitem(sys.modules, {"python-stdnum": "stdnum"}.get(package, package), None)
    for name, content in FILES.items():
        (folder / name).write_bytes(content)
    monkeypatch.chdir(folder)
    stages = {"read": {"sources": {"a": {"path": "a.jsonl"}}}, **recipe}
    if isinstance(path := recipe.get("read"), str):
        stages["read"] = {"sources": {"a": {"path": path}}}
    engine = {"kind": stages.pop("engine", "local"), "workers": 1}
    with pytest.raises(ConfigError) as caught:
        Pipeline.from_mapping({"run": {"root": "run"}, "engine": engine, "stages": stages}).run()
    assert not list(folder.glob("run/read-*"))
    return str(caught.value)


@pytest.mark.parametrize(("extra", "packages", "recipe", "message"), CASES)
def test_what_is_missing_is_said_before_data_is_read(
    extra: str,
    packages: tuple[str, ...],
    recipe: dict[str, Any],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    error = run_without(packages, recipe, tmp_path, monkeypatch)
    assert f"{message} not installed\n" in error
    assert f"    in a checkout of curate: pip install '.[{extra}]'; anywhere: pip install " in error


@pytest.mark.parametrize("extra", sorted({extra for extra, *_ in CASES}))
def test_the_command_names_what_the_extra_lacks(extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything that the extra lists in pyproject.toml, with its versions, when nothing of it is there."""
    monkeypatch.setattr(extras, "_importable", lambda _: False)
    absent = extras.missing(extra, EXTRAS[extra][0].name)
    assert absent
    command = absent.hint.split("anywhere: ")[1].partition(" (")[0]
    pip, install, *packages = shlex.split(command)
    assert (pip, install) == ("pip", "install")
    assert {str(Requirement(package)) for package in packages} == {str(line) for line in EXTRAS[extra]}


def test_every_extra_that_a_run_can_lack_is_tried_here() -> None:
    assert {extra for extra, *_ in CASES} == set(EXTRAS) - {"all", "dev", "label-model-peers"}
    (everything,) = EXTRAS["all"]
    assert everything.name == extras.DISTRIBUTION
    assert everything.extras == {extra for extra, *_ in CASES} - {"kenlm"}


def test_a_tree_that_is_not_installed_names_the_checkout_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "DISTRIBUTION", "no-such-distribution")
    assert list(extras.requirements()) == []
    absent = extras.missing("web", "no-such-package")
    assert absent
    assert str(absent) == "no-such-package is not installed; in a checkout of curate: pip install '.[web]'"


def test_versions_are_those_of_the_distribution_its_dependencies_and_extras() -> None:
    from importlib.metadata import version

    versions = all_versions()
    assert versions[extras.DISTRIBUTION] == PYPROJECT["version"]
    for name in ("polars", "ruamel-yaml", "fasttext-numpy2", "ray", "resiliparse", "python-stdnum"):
        assert versions[name] == version(name)
    assert not {"curate", "ruff", "pytest", "snorkel"} & set(versions)
