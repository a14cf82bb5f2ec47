"""Stages of a pipeline: a list of them as a configuration, and their order."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from pydantic import BaseModel

from curate.config.load import Config, EngineSettings, RunSettings, name_problems
from curate.config.validation import validate
from curate.errors import ConfigError, Problem, nearest
from curate.stage import Stage

Settings = TypeVar("Settings", bound=BaseModel)


def from_stages(stages: Sequence[Stage], run: Mapping[str, Any], engine: Mapping[str, Any]) -> Config:
    """The configuration of stages made in Python; a stage without a name is named for its kind.

    Parameters
    ----------
    stages
        In pipeline order.
    run, engine
        Fields of `RunSettings` and of `EngineSettings`.

    Raises
    ------
    ConfigError
        With every problem found.

    Examples
    --------
    >>> from curate.stages import LangId
    >>> list(from_stages([LangId(), LangId(name="coarse", max_chars=64)], {"root": "runs/web"}, {}).stages)
    ['langid', 'coarse']
    """
    problems: list[Problem] = []
    named: dict[str, Stage] = {}
    if not stages:
        problems.append(Problem(("stages",), "there are none", "a list of stages, in pipeline order"))
    for stage in stages:
        name = stage.name or stage.stage
        problems += name_problems(name)
        if name in named:
            first = "have this name" if stage.name else f"are of the kind {name!r} and have no name of their own"
            problems.append(Problem(("stages", name), f"two stages {first}", "give one of them another: name='...'"))
        named[name] = stage
    run_settings = _settings(RunSettings, "run", run, problems)
    engine_settings = _settings(EngineSettings, "engine", engine, problems)
    if problems or run_settings is None or engine_settings is None:
        raise ConfigError(problems)
    return Config(run=run_settings, engine=engine_settings, stages=named)


def _settings(
    model: type[Settings], section: str, fields: Mapping[str, Any], problems: list[Problem]
) -> Settings | None:
    """One section's settings; None where `problems` takes what is wrong with them."""
    try:
        return validate(model, fields, {})
    except ConfigError as error:
        problems += [replace(problem, where=(section, *problem.where)) for problem in error.problems]
        return None


def ordered(stages: Mapping[str, Stage]) -> tuple[list[tuple[Stage, set[str]]], list[Problem]]:
    """Stages in an order that respects ``after``, each with the names of all stages before it; and what is wrong.

    Parameters
    ----------
    stages
        Stages by name, in the order in which they are written down.

    Returns
    -------
    tuple
        The stages, none if there are problems; and the problems.

    Examples
    --------
    >>> from curate.stages import LangId, Heuristics
    >>> stages = {"langid": LangId(after=("heuristics",)), "heuristics": Heuristics(after=())}
    >>> [(stage.stage, before) for stage, before in ordered(stages)[0]]
    [('heuristics', set()), ('langid', {'heuristics'})]
    """
    names = list(stages)
    parents = {
        name: names[:position] if stage.after is None else list(stage.after)
        for position, (name, stage) in enumerate(stages.items())
    }
    missing = [(name, parent) for name in names for parent in parents[name] if parent not in stages]
    if missing:
        return [], [
            Problem(("stages", name, "after"), f"there is no stage {parent!r}", nearest(parent, names))
            for name, parent in missing
        ]
    steps: list[tuple[Stage, set[str]]] = []
    before: dict[str, set[str]] = {}
    while len(before) < len(stages):
        ready = next((n for n in names if n not in before and all(p in before for p in parents[n])), None)
        if ready is None:
            circle = _circle([name for name in names if name not in before], parents)
            message = "stages wait for one another: " + " -> ".join([*circle, circle[0]])
            return [], [Problem(("stages", circle[0], "after"), message)]
        before[ready] = set(parents[ready]).union(*(before[parent] for parent in parents[ready]))
        steps.append((stages[ready], before[ready]))
    return steps, []


def _circle(waiting: Sequence[str], parents: Mapping[str, Sequence[str]]) -> list[str]:
    """A circle among stages none of which can start."""
    path = [waiting[0]]
    while True:
        following = next(parent for parent in parents[path[-1]] if parent in waiting)
        if following in path:
            return path[path.index(following) :]
        path.append(following)
