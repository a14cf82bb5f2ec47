"""The engine's one verb, ``map``, and the window of tasks that both engines keep in flight."""

import traceback
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from curate.errors import RunError

Item = TypeVar("Item")
Result = TypeVar("Result")

ATTEMPTS = 5  # of a task whose worker died or whose storage failed; a deterministic error is not retried
WINDOW = 2  # tasks in flight per slot: one at work, one waiting


@dataclass(frozen=True)
class Done:
    """A finished task: the position of its item and what the function returned."""

    index: int
    result: Any


@dataclass(frozen=True)
class Failed:
    """A task that gave up: the position of its item, the error in one line, and the worker's traceback."""

    index: int
    error: str
    trace: str
    passing: bool = False
    """Whether another attempt may succeed: storage, or a lost worker."""


class Engine(Protocol):
    """Runs a pure function on each item, in any order; nothing else may know how work is distributed."""

    slots: int

    def map(self, fn: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[Done | Failed]:
        """Yield one outcome per item, as they finish."""
        ...

    def close(self) -> None:
        """Let go of the workers that this engine started."""
        ...


def attempt(fn: Callable[[Any], Any], index: int, item: Any) -> Done | Failed:
    """Run one task in a worker; an exception becomes a `Failed`, so that every engine reports it alike."""
    try:
        return Done(index, fn(item))
    except Exception as error:
        passing = isinstance(error, OSError) and not isinstance(error, FileNotFoundError | PermissionError)
        if isinstance(error, RunError):  # meant for people as it is
            return Failed(index, str(error), "")
        return Failed(index, f"{type(error).__name__}: {error}", traceback.format_exc(), passing)


def windowed(
    count: int,
    slots: int,
    submit: Callable[[int], Hashable],
    wait: Callable[[Sequence[Hashable]], list[tuple[Hashable, Done | Failed]]],
) -> Iterator[Done | Failed]:
    """Keep ``2 x slots`` tasks in flight until `count` are finished, trying again what may pass.

    Parameters
    ----------
    count
        Number of items; they are submitted in order.
    slots
        Tasks that run at the same time.
    submit
        Starts the task of one item and returns a handle.
    wait
        Blocks until at least one of the handles is finished; returns the finished ones with their outcomes.
    """
    queue = iter(range(count))
    flying: dict[Hashable, int] = {}
    tries = [0] * count
    again: list[int] = []
    while True:
        while len(flying) < WINDOW * slots:
            index = again.pop() if again else next(queue, None)
            if index is None:
                break
            tries[index] += 1
            flying[submit(index)] = index
        if not flying:
            return
        for handle, outcome in wait(list(flying)):
            index = flying.pop(handle)
            if isinstance(outcome, Failed) and outcome.passing and tries[index] < ATTEMPTS:
                again.append(index)
            else:
                yield outcome
