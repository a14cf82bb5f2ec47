"""The configuration of a run: one YAML file, typed by the stages themselves, with every mistake reported at once.

A file has the sections ``run``, ``engine``, ``plugins`` (Python files that define stages) and ``stages`` (node names
and their stages' fields) and may extend one parent file. Precedence, from low to high: defaults, parent, file,
overrides of the command line. A mistake names its file and line, the value, the rule and the nearest valid name.
docs/configuration.md has the whole account.
"""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, field_validator, model_validator
from pydantic.json_schema import GenerateJsonSchema, models_json_schema

from curate.config.validation import validate
from curate.config.yaml import Node, dump, from_plain, merge, parse
from curate.errors import ConfigError, Problem, nearest
from curate.registry import kinds, plugin_problems, stage_type, stage_types
from curate.stage import Stage
from curate.user_code import UserCode

SECTIONS = ("run", "engine", "plugins", "stages")
COMMAND_LINE = "command line"
STAGE_NAME = r"^[a-z][a-z0-9_]*$"

M = TypeVar("M", bound=BaseModel)


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class RunSettings(BaseModel):
    """Where a run writes, and the seed of everything in it that is random."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    root: str = Field(min_length=1, description="folder or URL that takes the run's artifacts and its report")
    seed: int = Field(default=0, ge=0, lt=2**63, description="seed of sampling, mixing and training")


class EngineSettings(BaseModel):
    """How work is distributed; nothing here changes a byte of the output."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["local", "ray"] = Field(default="local", description="processes on this machine, or a Ray cluster")
    workers: int = Field(
        default_factory=_cores,
        ge=0,
        description="shards at work at the same time; 0 runs inline in this process; unless given, one per core",
    )
    address: str | None = Field(default=None, description="address of the Ray cluster; unless given, Ray looks for one")

    @model_validator(mode="after")
    def _address_needs_ray(self) -> "EngineSettings":
        if self.address is not None and self.kind != "ray":
            raise ValueError(f"address is for kind 'ray', but kind is {self.kind!r}")
        return self


class Config(BaseModel):
    """A configuration that has been checked against the stages' fields; see `load` and `from_mapping`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    run: RunSettings
    engine: EngineSettings = Field(default_factory=EngineSettings)
    plugins: tuple[UserCode, ...] = Field(
        default=(), description="Python files that define stages, relative to this file; those of a parent count too"
    )
    stages: dict[str, Stage] = Field(description="stages by node name, in pipeline order")

    _source: Node = PrivateAttr(default_factory=lambda: Node({}))

    @field_validator("stages")
    @classmethod
    def _named(cls, stages: dict[str, Stage]) -> dict[str, Stage]:
        """Stages that go by the names of their keys, also where they were made in Python."""
        return {name: stage if stage.name == name else _renamed(stage, name) for name, stage in stages.items()}

    def locate(self, where: Sequence[str | int]) -> str:
        """``file:line`` of the value at a path such as ``("stages", "minhash", "bands")``.

        Of a value that is not written down, the place of the innermost mapping around it; ``command line`` for an
        override; empty where the configuration did not come from a file.
        """
        return self._source.locate(tuple(where))

    def placed(self, problem: Problem) -> Problem:
        """The problem with its place filled in."""
        return replace(problem, at=problem.at or self.locate(problem.where))

    def to_yaml(self) -> str:
        """The resolved configuration: all defaults, parents, overrides and environment variables written out."""
        nodes = {name: stage.model_dump(mode="json", exclude={"name"}) for name, stage in self.stages.items()}
        settings = self.model_dump(mode="json", include={"run", "engine", *(["plugins"] if self.plugins else [])})
        return dump(settings | {"stages": nodes})


def _renamed(stage: Stage, name: str) -> Stage:
    return stage.model_copy(update={"name": name})


def load(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Read a configuration file.

    Parameters
    ----------
    path
        YAML file.
    overrides
        Dotted options with YAML values, such as ``minhash.bands=20`` or ``run.root=runs/web``; later ones win.

    Raises
    ------
    ConfigError
        With every problem found; broken syntax and missing files hide what can only be seen once they are mended.
    """
    problems: list[Problem] = []
    source = _read(os.fspath(path), problems)
    if source is None:
        raise ConfigError(problems)
    for override in overrides:
        source = _overridden(source, override, problems)
    return _checked(source, problems)


def from_mapping(mapping: Mapping[str, Any]) -> Config:
    """The configuration of a mapping shaped like the file (without ``extends``).

    Paths of plugins are relative to the current folder.

    Raises
    ------
    ConfigError
        With every problem found.

    Examples
    --------
    >>> config = from_mapping({"run": {"root": "runs/web"}, "stages": {"select": {"drop": {"short": "words < 50"}}}})
    >>> config.run.seed, config.stages["select"].stage
    (0, 'select')
    """
    problems: list[Problem] = []
    return _checked(_with_plugins_in(_without_empty(from_plain(mapping, problems)), ""), problems)


# -- files -------------------------------------------------------------------------------------------------------------


def _read(file: str, problems: list[Problem], children: tuple[str, ...] = (), at: str = "") -> Node | None:
    """The tree of a file merged over that of its parents; None where one of them cannot be read.

    Parameters
    ----------
    file
        Path of the file.
    problems
        Takes what is wrong.
    children
        Files that led here, the one given on the command line first.
    at
        Place of the ``extends`` that led here.
    """
    where = ("extends",) if children else ()
    if any(os.path.realpath(file) == os.path.realpath(child) for child in children):
        problems.append(Problem(where, "files extend one another: " + " -> ".join([*children, file]), at=at))
        return None
    try:
        text = Path(file).read_text(encoding="utf-8")
    except FileNotFoundError:
        problems.append(Problem(where, f"there is no file {file!r}", _nearest_file(file), at))
        return None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        problems.append(Problem(where, f"cannot read {file!r}: {reason}", at=at))
        return None
    tree = parse(text, file, problems)
    if tree is None:
        return None
    if not isinstance(tree.value, dict):
        problems.append(Problem((), "must be a mapping of sections", "sections: " + ", ".join(SECTIONS), tree.at))
        return None
    extends = tree.value.pop("extends", None)
    tree = _with_plugins_in(_without_empty(tree), os.path.dirname(file))
    if extends is None:
        return tree
    if not isinstance(extends.value, str):
        problems.append(Problem(("extends",), "must be the path of one file", at=extends.at))
        return None
    path = os.path.normpath(os.path.join(os.path.dirname(file), extends.value))
    parent = _read(path, problems, (*children, file), extends.at)
    return parent and replace(_merged(parent, tree), at=tree.at)


def _merged(base: Node, over: Node) -> Node:
    """One tree over another; plugins of both count, so that a child adds to those of its parent."""
    merged = merge(base, over)
    plugins = [tree.value["plugins"] for tree in (base, over) if "plugins" in tree.value]
    if len(plugins) == 2 and all(isinstance(node.value, list) for node in plugins):
        entries = [entry for node in plugins for entry in node.value]
        return Node(merged.value | {"plugins": Node(entries, plugins[0].at)}, merged.at)
    return merged


def _with_plugins_in(tree: Node, folder: str) -> Node:
    """The tree with each plugin as a mapping, whose paths start at `folder`."""
    plugins = tree.value.get("plugins")
    if plugins is None or not isinstance(plugins.value, list):
        return tree

    def path(node: Node) -> Node:
        given = node.value
        return Node(os.path.join(folder, given), node.at) if isinstance(given, str) and "://" not in given else node

    def entry(node: Node) -> Node:
        if isinstance(node.value, str):
            return Node({"path": path(node)}, node.at)
        if not isinstance(node.value, dict):
            return node
        uses = node.value.get("uses", Node([]))
        paths = {key: path(value) for key, value in node.value.items() if key == "path"}
        paths |= {"uses": Node([path(item) for item in uses.value], uses.at)} if isinstance(uses.value, list) else {}
        return Node(node.value | paths, node.at)

    return Node(tree.value | {"plugins": Node([entry(node) for node in plugins.value], plugins.at)}, tree.at)


def _nearest_file(file: str) -> str:
    folder = Path(file).parent
    names = [path.name for path in folder.glob("*.y*ml")] if folder.is_dir() else []
    return nearest(Path(file).name, names) if names else ""


def _without_empty(tree: Node) -> Node:
    """Sections and stages that are named and left empty are mappings without entries; `plugins` is an empty list."""

    def mapping(node: Node) -> Node:
        return Node({}, node.at) if node.value is None else node

    sections = {key: mapping(node) if key in SECTIONS else node for key, node in tree.value.items()}
    if "plugins" in sections and tree.value["plugins"].value is None:
        sections["plugins"] = Node([], tree.value["plugins"].at)
    nodes = sections.get("stages")
    if nodes is not None and isinstance(nodes.value, dict):
        sections["stages"] = Node({key: mapping(node) for key, node in nodes.value.items()}, nodes.at)
    return Node(sections, tree.at)


# -- overrides ---------------------------------------------------------------------------------------------------------


def _overridden(tree: Node, override: str, problems: list[Problem]) -> Node:
    """The tree with one option of the command line merged over it."""
    option, equals, text = override.partition("=")
    where = tuple(option.strip().split("."))
    if not equals:
        problems.append(Problem((), f"{override!r} is not an option", "write stage.option=value", COMMAND_LINE))
        return tree
    section = tree.value.get("stages")
    names = list(section.value) if section is not None and isinstance(section.value, dict) else []
    if where[0] not in SECTIONS:
        where = ("stages", *where)
    if where[0] == "stages" and (len(where) == 1 or where[1] not in names):
        known = [*names, *_dotted("run", RunSettings), *_dotted("engine", EngineSettings)]
        message = f"{option.strip()!r} begins with no section and no stage of the configuration"
        problems.append(Problem((), message, nearest(where[1] if len(where) > 1 else "", known), COMMAND_LINE))
        return tree
    found: list[Problem] = []
    node = parse(text, COMMAND_LINE, found)
    problems += [replace(problem, where=(*where, *problem.where), at=COMMAND_LINE) for problem in found]
    if node is None:
        return tree
    node = Node(None, COMMAND_LINE) if not text.strip() else node.moved(COMMAND_LINE)
    for key in reversed(where):
        node = Node({key: node}, COMMAND_LINE)
    return _merged(tree, _with_plugins_in(node, ""))


def _dotted(section: str, model: type[BaseModel]) -> list[str]:
    return [f"{section}.{field}" for field in model.model_fields]


# -- checks ------------------------------------------------------------------------------------------------------------


def _checked(tree: Node, problems: list[Problem]) -> Config:
    """The configuration of a tree, or all that is wrong with it."""
    found = [
        Problem((key,), f"unknown key {key!r}", nearest(key, [*SECTIONS, "extends"]))
        for key in tree.value
        if key not in SECTIONS
    ]
    run = _section(tree, "run", RunSettings, found)
    engine = _section(tree, "engine", EngineSettings, found)
    plugins = _plugins(tree, found)
    nodes = _stages(tree, plugins, found)
    # What is wrong with a value already (say, its environment variable is missing) needs no second complaint.
    known = {problem.where for problem in problems}
    problems = problems + [problem for problem in found if problem.where not in known]
    if problems or run is None or engine is None:
        raise ConfigError([replace(problem, at=problem.at or tree.locate(problem.where)) for problem in problems])
    config = Config(run=run, engine=engine, plugins=plugins, stages=nodes)
    config._source = tree
    return config


def _section(tree: Node, name: str, model: type[M], found: list[Problem]) -> M | None:
    return _valid(model, tree.value.get(name, Node({})), (name,), found)


def _plugins(tree: Node, found: list[Problem]) -> tuple[UserCode, ...]:
    """The plugins that can be used; those of a parent and of its child may be the same."""
    section = tree.value.get("plugins", Node([]))
    if not isinstance(section.value, list):
        found.append(Problem(("plugins",), "must be a list of Python files"))
        return ()
    positions: dict[UserCode, int] = {}
    for position, node in enumerate(section.value):
        if not isinstance(node.value, dict):
            found.append(Problem(("plugins", position), "must be a Python file, or a mapping with its `path`"))
            continue
        plugin = _valid(UserCode, node, ("plugins", position), found)
        if plugin is not None:
            positions.setdefault(plugin, position)
    problems = list(plugin_problems(list(positions)))
    at = list(positions.values())
    found += [replace(problem, where=("plugins", at[int(problem.where[0])])) for problem in problems]
    broken = {problem.where[0] for problem in problems}
    return tuple(plugin for place, plugin in enumerate(positions) if place not in broken)


def _stages(tree: Node, plugins: Sequence[UserCode], found: list[Problem]) -> dict[str, Stage]:
    section = tree.value.get("stages", Node({}))
    if not isinstance(section.value, dict):
        found.append(Problem(("stages",), "must be a mapping of node names to stages"))
        return {}
    if not section.value:
        found.append(Problem(("stages",), "is missing", "a mapping of node names to stages, in pipeline order"))
    valid: dict[str, Stage] = {}
    for name, node in section.value.items():
        stage = _stage(name, node, plugins, found)
        if stage is not None:
            valid[name] = stage
    return valid


def _stage(name: str, node: Node, plugins: Sequence[UserCode], found: list[Problem]) -> Stage | None:
    """One stanza as an instance of its stage."""
    where = ("stages", name)
    found += name_problems(name)
    fields = node.value if isinstance(node.value, dict) else {}
    kind = fields["stage"].plain() if "stage" in fields else name
    place = (*where, "stage") if "stage" in fields else where
    if not isinstance(kind, str):
        found.append(Problem(place, f"unknown stage {kind!r}", nearest(str(kind), kinds(plugins))))
        return None
    try:
        model = stage_type(kind, plugins)
    except ConfigError as error:
        # A plugin that cannot be imported may define the stage, and has been complained about already.
        unsure = any(problem.where[:1] == ("plugins",) for problem in found) and kind not in kinds(plugins)
        found += [] if unsure else [replace(problem, where=place) for problem in error.problems]
        return None
    if "name" in fields:
        found.append(Problem((*where, "name"), "a stage's name is the key of its stanza", "take this line out"))
        fields = {key: value for key, value in fields.items() if key != "name"}
        node = Node(fields, node.at)
    return _valid(model, node, where, found, {"name": name})


def name_problems(name: str) -> list[Problem]:
    """What is wrong with the name of a stage."""
    if re.match(STAGE_NAME, name) and name not in SECTIONS:
        return []
    rule = "a name is made of small letters, digits and _, begins with a letter and is not the name of a section"
    return [Problem(("stages", name), f"{name!r} cannot name a stage", rule)]


def _valid(
    model: type[M],
    node: Node,
    where: tuple[str | int, ...],
    found: list[Problem],
    given: Mapping[str, Any] | None = None,
) -> M | None:
    if not isinstance(node.value, dict):
        found.append(Problem(where, "must be a mapping (`key: value`)"))
        return None
    try:
        return validate(model, node.plain(), given or {})
    except ConfigError as error:
        found += [replace(problem, where=(*where, *problem.where)) for problem in error.problems]
        return None


# -- schema ------------------------------------------------------------------------------------------------------------


class _Untitled(GenerateJsonSchema):
    """Without the titles that pydantic makes of field names."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        """Never."""
        return False


def json_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a configuration file, for completion and checks in editors.

    Required fields are asked for only in files without ``extends``, because a parent may give them, and other kinds of
    stages are mistakes only in files without ``extends`` and ``plugins``, which may define them.
    """
    types = stage_types()
    models = [RunSettings, EngineSettings, UserCode, *types.values()]
    references, schema = models_json_schema([(model, "validation") for model in models], schema_generator=_Untitled)
    definitions = schema["$defs"]
    required: dict[str, list[str]] = {}
    for kind, model in types.items():
        own = definitions[references[model, "validation"]["$ref"].rpartition("/")[2]]
        del own["properties"]["name"]
        required[kind] = own.get("required", [])
    for definition in definitions.values():
        definition.pop("required", None)
        definition.pop("title", None)
        if "description" in definition:
            definition["description"] = " ".join(definition["description"].partition("\n\n")[0].split())
    stanzas = {kind: references[model, "validation"] for kind, model in types.items()}
    nothing = {"type": "null"}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "curate",
        "type": "object",
        "properties": {
            "extends": {"type": "string", "description": "parent file, relative to this one"},
            "run": references[RunSettings, "validation"],
            "engine": references[EngineSettings, "validation"],
            "plugins": {
                "type": ["array", "null"],
                "description": Config.model_fields["plugins"].description,
                "items": {"anyOf": [{"type": "string"}, references[UserCode, "validation"]]},
            },
            "stages": {
                "type": "object",
                "description": Config.model_fields["stages"].description,
                "propertyNames": {"pattern": STAGE_NAME},
                "properties": {kind: {"anyOf": [stanza, nothing]} for kind, stanza in stanzas.items()},
                "additionalProperties": _by_stage(stanzas),
            },
        },
        "additionalProperties": False,
        "if": {"not": {"required": ["extends"]}},
        "then": {
            "required": ["run", "stages"],
            "properties": {
                "run": {"required": ["root"]},
                "stages": {
                    "minProperties": 1,
                    "properties": {kind: {"required": names} for kind, names in required.items()},
                },
            },
        },
        "allOf": [
            {
                "if": {"not": {"anyOf": [{"required": ["extends"]}, {"required": ["plugins"]}]}},
                "then": {"properties": {"stages": _known_kinds(types)}},
            }
        ],
        "$defs": definitions,
    }


def _by_stage(stanzas: Mapping[str, Any]) -> dict[str, Any]:
    """A stanza whose fields are those of the stage that its ``stage`` names."""
    cases = [
        {"if": {"properties": {"stage": {"const": kind}}, "required": ["stage"]}, "then": stanza}
        for kind, stanza in stanzas.items()
    ]
    return {"type": "object", "allOf": cases}


def _known_kinds(kinds: Iterable[str]) -> dict[str, Any]:
    """Stanzas that are named for their kind, or whose ``stage`` names it."""
    named = {"required": ["stage"], "properties": {"stage": {"enum": list(kinds)}}}
    return {"properties": dict.fromkeys(kinds, True), "additionalProperties": named}
