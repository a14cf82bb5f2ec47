"""An engine whose worker is killed in one of the maps that it is asked for."""

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from curate.engine.base import Done, Engine, Failed


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
