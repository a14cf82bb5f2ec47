"""Engines for tests: some that many tests share, and some that break."""

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from curate.engine.base import Done, Engine, Failed
from curate.engine.local import LocalEngine


class StandingEngine(LocalEngine):
    """A local engine that stays when a run is over: what a stage needs takes a worker seconds to import and to load."""

    def close(self) -> None:
        """Leave the workers to the next test."""

    def end(self) -> None:
        """End the workers."""
        super().close()


Engines = Callable[[int], StandingEngine]
"""Engines by their number of workers, as the fixture `engines` gives them."""


class FailingEngine:
    """Runs tasks inline, and fails for good in the `limit`-th."""

    slots = 1

    def __init__(self, limit: int) -> None:
        self._left, self._inline = limit, LocalEngine(workers=0)

    def map(self, fn: Any, items: Sequence[Any]) -> Iterator[Done | Failed]:
        for index, item in enumerate(items):
            self._left -= 1
            if self._left < 0:
                yield Failed(index, "the power went", "")
                return
            for outcome in self._inline.map(fn, [item]):
                yield Done(index, outcome.result) if isinstance(outcome, Done) else outcome

    def close(self) -> None:
        pass


class StoppingEngine(LocalEngine):
    """Inline, and gives up after a number of tasks in all."""

    def __init__(self, tasks: int) -> None:
        super().__init__(workers=0)
        self.left = tasks

    def map(self, fn: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[Done | Failed]:
        for outcome in super().map(fn, items):
            if not self.left:
                raise KeyboardInterrupt
            self.left -= 1
            yield outcome


class KillingEngine:
    """Runs tasks on another engine; the first task of map number `map_number` kills its process, once.

    Parameters
    ----------
    engine
        With worker processes.
    map_number
        Which of the maps, from 0.
    mark
        A path that does not exist, and does once a process was killed.
    """

    def __init__(self, engine: Engine, map_number: int, mark: Path) -> None:
        self._engine, self._number, self._mark = engine, map_number, mark
        self._maps = 0
        self.slots = engine.slots

    def map(self, fn: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[Done | Failed]:
        hit = self._maps == self._number and len(items) > 0
        self._maps += 1
        yield from self._engine.map(partial(_killed_once, str(self._mark), fn) if hit else fn, items)

    def close(self) -> None:
        self._engine.close()


def _killed_once(mark: str, fn: Callable[[Any], Any], item: Any) -> Any:
    try:
        os.close(os.open(mark, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return fn(item)
    fn(item)  # so that what it writes is there twice
    os.kill(os.getpid(), signal.SIGKILL)
    return None
