"""Configuration files: what loads, and every message a person can get, word for word."""

import json
import os
from pathlib import Path
from textwrap import dedent
from typing import Annotated, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field

from curate.config import yaml
from curate.config.load import from_mapping, json_schema, load
from curate.config.units import Bytes, Tokens
from curate.errors import ConfigError, Problem
from curate.stage import DEFINED, Stage

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.fixture(autouse=True)
def toys():
    """Three stages that exist for one test only."""
    before = dict(DEFINED)

    class Place(BaseModel):
        model_config = ConfigDict(extra="forbid")
        path: str = Field(description="a path or a glob")
        format: Literal["jsonl", "parquet"] = "jsonl"

    class ToySource(Stage):
        """Reads toys."""

        stage: Literal["toysource"] = "toysource"
        sources: dict[Annotated[str, Field(pattern="^[a-z]+$")], Place] = Field(description="places by source name")

    class ToyHash(Stage):
        """Hashes toys.

        In many ways.
        """

        stage: Literal["toyhash"] = "toyhash"
        bands: int = Field(default=14, ge=1, description="bands of the signature")
        rows: int = Field(default=8, ge=1, le=64)
        jaccard: float = Field(default=0.8, ge=0, le=1)
        lang: str = "en"
        verify: bool = True
        keep: Literal["first", "longest"] = "first"

    class ToyCut(Stage):
        stage: Literal["toycut"] = "toycut"
        drop: dict[Annotated[str, Field(pattern="^[a-z]+$")], str] = Field(default={})
        rungs: tuple[Tokens, ...] = ()
        shard: Bytes = 256_000_000
        words: tuple[str, ...] = ()

    yield
    DEFINED.clear()
    DEFINED.update(before)


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write files into the folder that the test works in."""
    monkeypatch.chdir(tmp_path)

    def write_file(text: str, name: str = "web.yaml") -> str:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(dedent(text).lstrip("\n"), encoding="utf-8")
        return name

    return write_file


def problems(path: str, *overrides: str) -> list[str]:
    """Messages of a file that does not load."""
    with pytest.raises(ConfigError) as caught:
        load(path, overrides)
    return [str(problem) for problem in caught.value.problems]


GOOD = """
    # yaml-language-server: $schema=./curate.schema.json
    run: {root: runs/web, seed: 7}
    engine: {workers: 2}
    stages:
      toysource:
        sources:
          wiki: {path: data/wiki*.jsonl.zst}
      toyhash: {bands: 20, lang: no}
      code_dups: {stage: toyhash, rows: 5, after: [toysource]}
      toycut:
        drop: {short: words < 50}
        rungs: [100M, 1.5B]
"""


def test_a_file_becomes_typed_stages_in_order(write):
    config = load(write(GOOD))
    assert (config.run.root, config.run.seed) == ("runs/web", 7)
    assert (config.engine.kind, config.engine.workers) == ("local", 2)
    assert list(config.stages) == ["toysource", "toyhash", "code_dups", "toycut"]
    assert [stage.name for stage in config.stages.values()] == list(config.stages)
    dups = config.stages["code_dups"].model_dump()
    assert (dups["stage"], dups["rows"], dups["bands"], dups["after"]) == ("toyhash", 5, 14, ("toysource",))
    assert config.stages["toyhash"].model_dump()["lang"] == "no"
    assert config.stages["toycut"].model_dump()["rungs"] == (100_000_000, 1_500_000_000)


def test_places_of_values(write):
    config = load(write(GOOD))
    assert config.locate(("stages", "toycut", "drop", "short")) == "web.yaml:11"
    assert config.locate(("stages", "toyhash", "jaccard")) == "web.yaml:8"  # a default: the stanza's place
    assert config.locate(("stages", "toyhash_signatures")) == "web.yaml:4"
    assert config.locate(()) == "web.yaml:1"
    placed = config.placed(Problem(("stages", "toycut", "drop", "short"), "no column 'words'"))
    assert str(placed) == "web.yaml:11: stages.toycut.drop.short: no column 'words'"
    assert config.placed(Problem((), "m", at="elsewhere:1")).at == "elsewhere:1"


def test_a_stage_without_options(write):
    config = load(write("run: {root: r}\nengine:\nstages:\n  toyhash:\n"))
    assert config.stages["toyhash"].model_dump()["bands"] == 14
    assert config.engine.workers == len(os.sched_getaffinity(0))


def test_all_problems_at_once(write):
    file = write("""
        rum: {root: x}
        run: {root: runs/web, seeds: 7, seed: -1}
        engine: {kind: loca, workers: two, address: "ray://head:10001"}
        stages:
          toysorce: {sources: {wiki: {path: x}}}
          toysource: {sources: {wiki: {pth: x, format: csv}}}
          toyhash: {band: 20, bands: -3, rows: 65, jaccard: high, lang: 5, verify: no, keep: longst}
          other: {stage: toyhsh}
          toycut: {drop: [a], rungs: [1.5b], shard: -1, words: x, after: [1], name: cut}
          Bad-Name: {stage: toyhash, bands: true}
    """)
    assert problems(file) == [
        "web.yaml:1: rum: unknown key 'rum'\n    did you mean 'run'?",
        "web.yaml:2: run.seed: must be at least 0 and less than 9223372036854775808, got -1",
        "web.yaml:2: run.seeds: unknown key 'seeds'\n    did you mean 'seed'?",
        "web.yaml:3: engine.kind: 'loca' is not one of 'local', 'ray'\n    did you mean 'local'?",
        "web.yaml:3: engine.workers: must be a whole number, got 'two'",
        "web.yaml:5: stages.toysorce: unknown stage 'toysorce'\n    did you mean 'toysource'?",
        "web.yaml:6: stages.toysource.sources.wiki.path: is missing\n    a path or a glob",
        "web.yaml:6: stages.toysource.sources.wiki.format: 'csv' is not one of 'jsonl', 'parquet'",
        "web.yaml:6: stages.toysource.sources.wiki.pth: unknown key 'pth'\n    did you mean 'path'?",
        "web.yaml:7: stages.toyhash.bands: must be at least 1, got -3",
        "web.yaml:7: stages.toyhash.rows: must be at least 1 and at most 64, got 65",
        "web.yaml:7: stages.toyhash.jaccard: must be a number, got 'high'",
        'web.yaml:7: stages.toyhash.lang: must be a string, got 5\n    quotes make it a string: "5"',
        "web.yaml:7: stages.toyhash.verify: must be true or false, got 'no'\n"
        "    YAML 1.2 writes a truth value as true or false",
        "web.yaml:7: stages.toyhash.keep: 'longst' is not one of 'first', 'longest'\n    did you mean 'longest'?",
        "web.yaml:7: stages.toyhash.band: unknown key 'band'\n    did you mean 'bands'?",
        "web.yaml:8: stages.other.stage: unknown stage 'toyhsh'\n    did you mean 'toyhash'?",
        "web.yaml:9: stages.toycut.name: a stage's name is the key of its stanza\n    take this line out",
        'web.yaml:9: stages.toycut.after.0: must be a string, got 1\n    quotes make it a string: "1"',
        "web.yaml:9: stages.toycut.drop: must be a mapping (`key: value`), got a list",
        "web.yaml:9: stages.toycut.rungs.0: must be a whole number or a string such as '10M' or '1.5B' "
        "(K, M, B, T: powers of 1000), got '1.5b'",
        "web.yaml:9: stages.toycut.shard: must be a whole number of bytes or a string such as '256MB' or '64KiB' "
        "(kB, MB, GB, TB: powers of 1000; KiB, MiB, GiB, TiB: powers of 1024), got -1",
        "web.yaml:9: stages.toycut.words: must be a list, got 'x'",
        "web.yaml:10: stages.Bad-Name: 'Bad-Name' cannot name a stage\n"
        "    a name is made of small letters, digits and _, begins with a letter and is not the name of a section",
        "web.yaml:10: stages.Bad-Name.bands: must be a whole number, got true",
    ]


def test_what_is_missing(write):
    assert problems(write("")) == [
        "web.yaml:1: run.root: is missing\n    folder or URL that takes the run's artifacts and its report",
        "web.yaml:1: stages: is missing\n    a mapping of node names to stages, in pipeline order",
    ]
    assert problems(write("run: 3\nstages: [toyhash]\n")) == [
        "web.yaml:1: run: must be a mapping (`key: value`)",
        "web.yaml:2: stages: must be a mapping of node names to stages",
    ]
    assert problems(write("run: {root: r}\nstages:\n  toyhash: 3\n")) == [
        "web.yaml:3: stages.toyhash: must be a mapping (`key: value`)"
    ]
    assert problems(write("run: {root: r}\nstages:\n  toyhash: {stage: [toyhash]}\n  toycut: {drop: {A1: a}}\n")) == [
        "web.yaml:3: stages.toyhash.stage: unknown stage ['toyhash']\n    did you mean 'toyhash'?",
        "web.yaml:4: stages.toycut.drop.A1: the key must match ^[a-z]+$",
    ]
    assert problems(write("- run")) == [
        "web.yaml:1: must be a mapping of sections\n    sections: run, engine, plugins, stages"
    ]


def test_an_address_is_for_ray(write):
    body = 'run: {root: r}\nengine: {address: "ray://head:10001", kind: %s}\nstages: {toyhash: {}}\n'
    assert load(write(body % "ray")).engine.address == "ray://head:10001"
    assert problems(write(body % "local")) == ["web.yaml:2: engine: address is for kind 'ray', but kind is 'local'"]


def test_mistakes_that_do_not_break_syntax_come_with_the_others(write):
    file = write("""
        run: {root: r}
        run: {root: s}
        stages:
          toyhash:
            bands: 3
            bands: 4
            rows: !!int "5"
            <<: {jaccard: 1}
            jacard: 0.5
          toycut: &me
            words: [*me]
            [a]: b
    """)
    assert problems(file) == [
        "web.yaml:2:1: run: the key 'run' is here twice; the first is on line 1",
        "web.yaml:6:5: stages.toyhash.bands: the key 'bands' is here twice; the first is on line 5",
        "web.yaml:7: stages.toyhash.rows: the tag 'tag:yaml.org,2002:int' is not supported\n"
        "    quotes make a string of any value",
        "web.yaml:8:5: stages.toyhash: YAML 1.2 has no merge key '<<'\n"
        "    take a whole value with an alias (*name), or a whole file with `extends`",
        "web.yaml:10: stages.toycut.words.0: an alias inside the value that it stands for",
        "web.yaml:12:5: stages.toycut: a key must be a name, not a mapping or a list",
        "web.yaml:9: stages.toyhash.jacard: unknown key 'jacard'\n    did you mean 'jaccard'?",
    ]


def test_files_that_cannot_be_read(write):
    write(GOOD)
    assert problems("wed.yaml") == ["there is no file 'wed.yaml'\n    did you mean 'web.yaml'?"]
    assert problems(".") == ["cannot read '.': Is a directory"]
    Path("latin.yaml").write_bytes(b"a: \xe9")
    assert problems("latin.yaml") == ["cannot read 'latin.yaml': it is not UTF-8 text"]


def test_a_child_merges_over_its_parents(write):
    write(GOOD, "base/web.yaml")
    write("extends: web.yaml\nstages:\n  toyhash: {rows: 5}\n", "base/middle.yaml")
    child = write("""
        extends: base/middle.yaml
        run: {root: runs/child}
        stages:
          toyhash:
          near: {stage: toyhash}
          toycut: {rungs: [1K]}
          last: {stage: toycut}
    """)
    config = load(child)
    assert (config.run.root, config.run.seed) == ("runs/child", 7)
    # A new stage comes after the one written before it.
    assert list(config.stages) == ["toysource", "toyhash", "near", "code_dups", "toycut", "last"]
    assert {"bands": 20, "rows": 5}.items() <= config.stages["toyhash"].model_dump().items()
    cut = config.stages["toycut"].model_dump()
    assert (cut["rungs"], cut["drop"]) == ((1000,), {"short": "words < 50"})  # lists are replaced, mappings merged
    assert config.locate(("stages", "toyhash", "bands")) == "base/web.yaml:8"
    assert config.locate(("stages", "toyhash", "rows")) == "base/middle.yaml:3"
    assert config.locate(("stages", "near")) == "web.yaml:5"


def test_a_mistake_in_a_parent_is_placed_there(write):
    write(GOOD.replace("bands: 20", "bands: -20"), "base.yaml")
    assert problems(write("extends: base.yaml\nstages: {toyhash: {rows: 0}}\n")) == [
        "base.yaml:8: stages.toyhash.bands: must be at least 1, got -20",
        "web.yaml:2: stages.toyhash.rows: must be at least 1 and at most 64, got 0",
    ]


def test_parents_that_cannot_be_read(write):
    write("a:\n\tb: 1", "tab.yaml")
    assert problems(write("extends: tap.yaml")) == [
        "web.yaml:1: extends: there is no file 'tap.yaml'\n    did you mean 'tab.yaml'?"
    ]
    assert problems(write("extends: tab.yaml")) == [
        "tab.yaml:2:1: not valid YAML: a tab\n    YAML is indented and separated with spaces"
    ]
    assert problems(write("extends: [a.yaml, b.yaml]")) == ["web.yaml:1: extends: must be the path of one file"]


def test_files_that_extend_one_another(write):
    write("run: {root: r}\nextends: ../web.yaml", "sub/b.yaml")
    file = write("extends: sub/b.yaml")
    assert problems(file) == ["sub/b.yaml:2: extends: files extend one another: web.yaml -> sub/b.yaml -> web.yaml"]


def test_overrides_win_over_files(write):
    write(GOOD, "base.yaml")
    file = write("extends: base.yaml\nstages: {toyhash: {bands: 30}}")
    overrides = """
        toyhash.bands=40
        stages.code_dups.jaccard=0.9
        run.root=runs/else
        engine.workers=0
        toycut.drop.long=words > 9
        toycut.rungs=[1K, 2K]
        toysource.sources.books.path=b.jsonl
        toyhash.bands=50
    """
    config = load(file, overrides.strip().splitlines())
    dumped = {name: stage.model_dump() for name, stage in config.stages.items()}
    assert (dumped["toyhash"]["bands"], dumped["code_dups"]["jaccard"]) == (50, 0.9)
    assert (config.run.root, config.run.seed, config.engine.workers) == ("runs/else", 7, 0)
    assert dumped["toycut"]["drop"] == {"short": "words < 50", "long": "words > 9"}
    assert dumped["toycut"]["rungs"] == (1000, 2000)
    assert list(dumped["toysource"]["sources"]) == ["wiki", "books"]
    assert config.locate(("stages", "toyhash", "bands")) == "command line"
    assert config.locate(("stages", "toycut", "drop", "short")) == "base.yaml:11"


def test_mistakes_in_overrides(write):
    file = write(GOOD)
    assert problems(
        file,
        "toyhsh.bands=1",
        "seed=7",
        "stages.exact_dups.rows=1",
        "toyhash",
        "toyhash.rows=[1",
        "toyhash.band=1",
        "toyhash.bands=",
        "engine.kind=Ray",
        "toysource.sources.books.format=csv",
        "extends=x.yaml",
    ) == [
        "command line: 'toyhsh.bands' begins with no section and no stage of the configuration\n"
        "    did you mean 'toyhash'?",
        "command line: 'seed' begins with no section and no stage of the configuration\n    did you mean 'run.seed'?",
        "command line: 'stages.exact_dups.rows' begins with no section and no stage of the configuration\n"
        "    did you mean 'code_dups'?",
        "command line: 'toyhash' is not an option\n    write stage.option=value",
        "command line: stages.toyhash.rows: not valid YAML: a bracket that is never closed",
        "command line: 'extends' begins with no section and no stage of the configuration\n"
        "    valid: code_dups, engine.address, engine.kind, engine.workers, run.root, "
        "run.seed, toycut, toyhash, toysource",
        "command line: engine.kind: 'Ray' is not one of 'local', 'ray'\n    did you mean 'ray'?",
        "command line: stages.toysource.sources.books.path: is missing\n    a path or a glob",
        "command line: stages.toysource.sources.books.format: 'csv' is not one of 'jsonl', 'parquet'",
        "command line: stages.toyhash.bands: must be a whole number, got nothing",
        "command line: stages.toyhash.band: unknown key 'band'\n    did you mean 'bands'?",
    ]


def test_environment_variables_in_values(write, monkeypatch):
    monkeypatch.setenv("DATA", "/mnt/data")
    monkeypatch.setenv("BANDS", "30")
    monkeypatch.setenv("EMPTY", "")
    monkeypatch.delenv("ABSENT", raising=False)
    file = write("""
        run: {root: "${env:DATA}/runs/${env:ABSENT:-web}"}
        stages:
          toysource:
            sources:
              wiki:
                path: ${env:DATA}/$HOME/${run.root}/${env:EMPTY:-none}${env:EMPTY}
          toyhash:
            bands: ${env:BANDS}
            lang: "${env:BANDS}"
    """)
    config = load(file, ["toyhash.rows=${env:BANDS}"])
    assert config.run.root == "/mnt/data/runs/web"
    assert config.stages["toysource"].model_dump()["sources"]["wiki"]["path"] == "/mnt/data/$HOME/${run.root}/none"
    # Without quotes the value is read as if it stood in the file; in quotes it is a string.
    assert {"bands": 30, "lang": "30", "rows": 30}.items() <= config.stages["toyhash"].model_dump().items()


def test_missing_environment_variables(write, monkeypatch):
    monkeypatch.delenv("ABSENT", raising=False)
    file = write("""
        run: {root: "${env:ABSENT}/runs"}
        stages:
          toyhash:
            bands: ${env:ABSENT}
            lang: ${env:A-B}
    """)
    assert problems(file, "toyhash.rows=${env:ABSENT}") == [
        "web.yaml:1: run.root: the environment variable 'ABSENT' is not set\n"
        "    set it, or write ${env:ABSENT:-default}",
        "web.yaml:4: stages.toyhash.bands: the environment variable 'ABSENT' is not set\n"
        "    set it, or write ${env:ABSENT:-default}",
        "web.yaml:5: stages.toyhash.lang: '${env:A-B}' has a reference that is not closed or not named well\n"
        "    write ${env:NAME}",
        "command line: stages.toyhash.rows: the environment variable 'ABSENT' is not set\n"
        "    set it, or write ${env:ABSENT:-default}",
    ]


def test_from_mapping(monkeypatch):
    monkeypatch.setenv("DATA", "/mnt/data")
    mapping = {
        "run": {"root": Path("runs")},
        "engine": None,
        "stages": {"toysource": {"sources": {"w": {"path": "${env:DATA}/w"}}}, "toycut": {"words": ("a", "b")}},
    }
    with pytest.raises(ConfigError) as caught:
        from_mapping(mapping | {"stages": {"toyhash": {"bands": 0}}})
    assert str(caught.value) == "stages.toyhash.bands: must be at least 1, got 0"
    config = from_mapping(mapping)
    assert config.run.root == "runs"
    assert config.stages["toysource"].model_dump()["sources"]["w"]["path"] == "/mnt/data/w"
    assert config.stages["toycut"].model_dump()["words"] == ("a", "b")
    assert config.locate(("stages", "toycut")) == ""


def test_a_resolved_configuration_loads_again(write):
    config = load(write(GOOD))
    again = load(write(config.to_yaml(), "run.yaml"))
    assert (again.run, again.engine, again.stages) == (config.run, config.engine, config.stages)
    assert "rungs:\n    - 100000000\n" in config.to_yaml()


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 70) | st.floats() | st.sampled_from(["toyhash", "1K", "${env:", "x"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["path", "x"]), inner, max_size=2),
    max_leaves=4,
)
FIELDS = st.sampled_from(["stage", "name", "after", "sources", "bands", "jaccard", "keep", "drop", "rungs", "x"])
STANZAS = st.dictionaries(
    st.sampled_from(["toysource", "toyhash", "toycut", "run"]), st.dictionaries(FIELDS, VALUES) | VALUES
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(STANZAS | VALUES, st.dictionaries(st.sampled_from(["root", "seed"]), VALUES) | VALUES, VALUES)
def test_nonsense_gives_problems_with_a_path_and_nothing_else(stanzas, run, engine):
    tree = {"stages": stanzas, "run": run, "engine": engine}
    found: list[Problem] = []
    try:
        from_mapping(tree)
    except ConfigError as error:
        found = error.problems
    assert all(problem.where[0] in tree and problem.message for problem in found)


RUN = {"root": "runs/web"}
VALID = (
    {"toyhash": {"bands": 20}},
    {"toyhash": None, "near": {"stage": "toyhash", "bands": 20}},
    {"toycut": {"rungs": ["1.5B", 10], "shard": "64KiB"}},
)
INVALID = (
    {},
    {"toyhash": {"band": 20}},
    {"toyhash": {"bands": 0}},
    {"toyhash": {"name": "x"}},
    {"near": {"stage": "toyhash", "band": 20}},
    {"near": {"bands": 20}},
    {"near": {"stage": "toyhsh"}},
    {"Near": {"stage": "toyhash"}},
    {"toysource": {}},
    {"toycut": {"rungs": ["1.5b"]}},
)


def test_the_schema_judges_as_load_does():
    jsonschema = pytest.importorskip("jsonschema")
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    fits = jsonschema.Draft202012Validator(schema).is_valid
    for nodes in VALID:
        assert fits({"run": RUN, "stages": nodes}), nodes
        from_mapping({"run": RUN, "stages": nodes})
    rest = [{"run": {}, "stages": VALID[0]}, {"run": RUN}, {"run": RUN, "stages": VALID[0], "engine": {"worker": 2}}]
    for document in [*({"run": RUN, "stages": nodes} for nodes in INVALID), *rest]:
        assert not fits(document), document
        with pytest.raises(ConfigError):
            from_mapping(document)
    # A child may leave to its parent what is required.
    assert fits({"extends": "base.yaml", "stages": {"toysource": {}, "near": {"bands": 3}}})
    assert not fits({"extends": "base.yaml", "stages": {"toyhash": {"band": 3}}})


def test_the_schema_describes_fields():
    definition = json_schema()["$defs"]["ToyHash"]
    assert definition["description"] == "Hashes toys."
    assert definition["properties"]["bands"]["description"] == "bands of the signature"
    assert "name" not in definition["properties"]


def test_the_committed_schema_is_up_to_date(monkeypatch):
    monkeypatch.setattr("curate.registry.DEFINED", {})
    committed = json.loads((CONFIGS / "curate.schema.json").read_text())
    assert committed == json_schema(), "write it again: curate schema > configs/curate.schema.json"


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.name)
def test_the_recipes_fit_the_schema(path):
    jsonschema = pytest.importorskip("jsonschema")
    tree = yaml.parse(path.read_text(), str(path), [])
    assert tree is not None
    jsonschema.Draft202012Validator(json_schema()).validate(tree.plain())
