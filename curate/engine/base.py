"""The interface of an engine, ``map``, and the window of tasks that both engines keep in flight."""

import traceback
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from curate.errors import RunError

Item = TypeVar("Item")
Result = TypeVar("Result")

ATTEMPTS = 5  # attempts at a task whose worker died or whose storage failed; deterministic errors are not retried
WINDOW = 2  # tasks in flight per slot: one runs, one waits


@dataclass(frozen=True)
class Done:
    """Outcome of a successful task: the position of its item, and the result of the function."""

    index: int
    result: Any


@dataclass(frozen=True)
class Failed:
    """Outcome of a failed task: the position of its item, the error in one line, and the worker's traceback."""

    index: int
    error: str
    trace: str
    transient: bool = False
    """Whether another attempt may succeed, as after a storage error or the loss of a worker."""


class Engine(Protocol):
    """Runs a pure function on each item, in any order. No other module depends on how work is distributed."""

    slots: int

    def map(self, fn: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[Done | Failed]:
        """Yield the outcome of each item as soon as its task has finished."""
        ...

    def close(self) -> None:
        """Release the workers that this engine started."""
        ...


def attempt(fn: Callable[[Any], Any], index: int, item: Any) -> Done | Failed:
    """Run one task in a worker. An exception becomes a `Failed`, so that all engines report it in the same way."""
    try:
        return Done(index, fn(item))
    except Exception as error:
        transient = isinstance(error, OSError) and not isinstance(error, FileNotFoundError | PermissionError)
        if isinstance(error, RunError):  # its message is written for people: no type, no traceback
            return Failed(index, str(error), "")
        return Failed(index, f"{type(error).__name__}: {error}", traceback.format_exc(), transient)


def windowed(
    count: int,
    slots: int,
    submit: Callable[[int], Hashable],
    wait: Callable[[Sequence[Hashable]], list[tuple[Hashable, Done | Failed]]],
) -> Iterator[Done | Failed]:
    """Keep ``2 x slots`` tasks in flight until `count` have finished, and retry transient failures.

    Parameters
    ----------
    count
        Number of items. They are submitted in order.
    slots
        Number of tasks that run at the same time.
    submit
        Function that starts the task of one item and returns a handle.
    wait
        Function that blocks until at least one of the handles has finished, and returns those with their outcomes.
    """
    queue = iter(range(count))
    in_flight: dict[Hashable, int] = {}
    tries = [0] * count
    retries: list[int] = []
    while True:
        while len(in_flight) < WINDOW * slots:
            index = retries.pop() if retries else next(queue, None)
            if index is None:
                break
            tries[index] += 1
            in_flight[submit(index)] = index
        if not in_flight:
            return
        for handle, outcome in wait(list(in_flight)):
            index = in_flight.pop(handle)
            if isinstance(outcome, Failed) and outcome.transient and tries[index] < ATTEMPTS:
                retries.append(index)
            else:
                yield outcome
