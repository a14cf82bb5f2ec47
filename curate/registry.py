"""Stage classes by kind, each imported when it is first asked for.

The kind of a stage is the value of its ``stage`` field. The registry looks for a kind

1. in the plugins of the recipe: Python files that define stages,
2. among the modules of `curate.stages`, where each stage has the file of its name,
3. among the entry points of installed packages (group ``curate.stages``: the kind, and ``module:Class``),
4. among the classes that this process has defined elsewhere, as a script or a notebook does.

So a command imports the stages of its recipe and no others, and a stage that needs another one asks for it here. A
module that cannot be imported is an error for those that ask for its kind, and for nobody else.
"""

import logging
from collections.abc import Iterator, Sequence
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pkgutil import iter_modules
from types import FrameType, ModuleType

from curate import storage
from curate.errors import ConfigError, Problem, first_line, nearest, raised_at
from curate.stage import DEFINED, Stage, kind_of
from curate.user_code import UserCode, UserCodeError

PACKAGE = "curate.stages"  # of the built-in stages; also the group of entry points

log = logging.getLogger("curate")


def stage_type(kind: str, plugins: Sequence[UserCode] = ()) -> type[Stage]:
    """The class of a kind of stage; imports its module, and that of no other stage.

    Parameters
    ----------
    kind
        Value of the class's ``stage`` field.
    plugins
        Files of the recipe that define stages, without `plugin_problems`.

    Raises
    ------
    ConfigError
        There is no such kind, or its module cannot be imported; then the message names file, line and exception.

    Examples
    --------
    >>> stage_type("size")().columns().names
    ['text_bytes', 'text_chars']
    """
    for plugin in plugins:
        if kind in (types := plugin_types(plugin)):
            return types[kind]
    if kind in built_in():
        return _built_in(kind)
    if points := [point for point in _entry_points() if point.name == kind]:
        return _declared(kind, points)
    if kind in DEFINED:
        return DEFINED[kind]
    raise _error(f"unknown stage {kind!r}", nearest(kind, kinds(plugins)))


def kinds(plugins: Sequence[UserCode] = ()) -> list[str]:
    """All kinds of stages, sorted; imports only the plugins."""
    of_plugins = (kind for plugin in plugins for kind in plugin_types(plugin))
    return sorted({*built_in(), *(point.name for point in _entry_points()), *DEFINED, *of_plugins})


def stage_types(plugins: Sequence[UserCode] = ()) -> dict[str, type[Stage]]:
    """All stage classes by kind; imports every module, and warns of those that cannot be imported."""
    types = {}
    for kind in kinds(plugins):
        try:
            types[kind] = stage_type(kind, plugins)
        except ConfigError as error:
            log.warning("%s", error)
    return types


@cache
def built_in() -> frozenset[str]:
    """Kinds of the stages of this package: the names of the modules in `curate.stages`."""
    package = find_spec(PACKAGE)
    assert package is not None
    return frozenset(module.name for module in iter_modules(package.submodule_search_locations))


# -- plugins -----------------------------------------------------------------------------------------------------------


def plugin_types(plugin: UserCode) -> dict[str, type[Stage]]:
    """The stage classes that a plugin defines, by kind; imports it.

    Raises
    ------
    UserCodeError
        The plugin cannot be imported.
    """
    return dict(_stages_in(plugin.module()))


def plugin_problems(plugins: Sequence[UserCode]) -> Iterator[Problem]:
    """Plugins that are missing, cannot be imported, define no stage, or one that exists already.

    Each problem is placed by the plugin's position. A plugin with a problem cannot be handed to `stage_type`.
    """
    owners = {point.name: f"the package {_package(point)!r} declares" for point in _entry_points()}
    owners |= dict.fromkeys(built_in(), "curate has")
    for position, plugin in enumerate(plugins):
        missing = [file for file in plugin.files if not storage.exists(file)]
        if missing:
            yield from (Problem((position,), f"there is no file {file!r}") for file in missing)
            continue
        try:
            kinds_here = [kind for kind, _ in _stages_in(plugin.module())]
        except UserCodeError as error:
            yield Problem((position,), f"{plugin.path!r} {error}", error.hint)
            continue
        if not kinds_here:
            yield Problem((position,), f"{plugin.path!r} defines no stage", _expected("my_stage"))
        for kind in kinds_here:
            if kind in owners:
                message = f"{plugin.path!r} defines the stage {kind!r}, which {owners[kind]} already"
                yield Problem((position,), message, "choose another name for it")
            owners[kind] = f"{plugin.path!r} defines"


def _stages_in(module: ModuleType) -> list[tuple[str, type[Stage]]]:
    """Kinds and classes of the stages that a module, or a module below it, defines."""
    names = (module.__name__, f"{module.__name__}.")
    classes = [value for value in vars(module).values() if isinstance(value, type) and issubclass(value, Stage)]
    defined = [model for model in classes if model.__module__ == names[0] or model.__module__.startswith(names[1])]
    return [(kind_of(model), model) for model in dict.fromkeys(defined) if kind_of(model)]


# -- modules -----------------------------------------------------------------------------------------------------------


def _built_in(kind: str) -> type[Stage]:
    types = dict(_stages_in(_imported(kind, f"{PACKAGE}.{kind}")))
    if kind not in types:
        raise _error(f"the module {PACKAGE}.{kind} defines no stage {kind!r}", _expected(kind))
    return types[kind]


def _entry_points() -> list[EntryPoint]:
    """Entry points of the group; reading the metadata of 150 packages takes 12 ms."""
    return list(entry_points(group=PACKAGE))


def _declared(kind: str, points: Sequence[EntryPoint]) -> type[Stage]:
    """The class that an installed package declares."""
    packages = sorted(map(_package, points))
    if len(points) > 1:
        raise _error(f"the packages {' and '.join(map(repr, packages))} both declare the stage {kind!r}", "remove one")
    model = getattr(_imported(kind, points[0].module, packages[0]), points[0].attr, None)
    if not (isinstance(model, type) and issubclass(model, Stage) and kind_of(model) == kind):
        message = f"the stage {kind!r} of the package {packages[0]!r} is not in {points[0].value}"
        raise _error(message, _expected(kind))
    return model


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist else "?"


def _imported(kind: str, name: str, package: str = "") -> ModuleType:
    """The module of a stage; raises ``ConfigError`` if it cannot be imported."""

    def in_package(frame: FrameType) -> bool:
        return str(frame.f_globals.get("__name__")).partition(".")[0] == name.partition(".")[0]

    try:
        return import_module(name)
    except MemoryError:
        raise
    except (Exception, SystemExit) as error:
        file, line = raised_at(error, in_package)
        whose = f" of the package {package!r}" if package else ""
        place = f" ({file}, line {line})" if file else f" ({name})"
        raise _error(f"the stage {kind!r}{whose} cannot be imported: {first_line(error)}{place}") from None


def _expected(kind: str) -> str:
    return f"expected: a subclass of curate.Stage with `stage: Literal[{kind!r}] = {kind!r}`"


def _error(message: str, hint: str = "") -> ConfigError:
    return ConfigError([Problem((), message, hint)])
