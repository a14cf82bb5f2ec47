"""The default engine: worker processes on this machine."""

import os
import signal
import threading
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import Any, cast

from curate.engine.base import Done, Failed, attempt, windowed

LOST = "a worker process died (it was killed, ran out of memory or could not start)"

# One thread per worker, since the workers run in parallel. Set before polars, Arrow or numba start their thread pools.
SINGLE_THREADED = {
    "POLARS_MAX_THREADS": "1",
    "RAYON_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


class LocalEngine:
    """Runs tasks in worker processes, or in this process with ``workers=0``, where a debugger works.

    Parameters
    ----------
    workers
        Number of processes.

    Examples
    --------
    >>> engine = LocalEngine(workers=0)
    >>> [done.result for done in engine.map(abs, [-1, 2])]
    [1, 2]
    """

    def __init__(self, workers: int) -> None:
        self.slots = max(workers, 1)
        self._inline = workers == 0
        self._pool: ProcessPoolExecutor | None = None
        self._flights: dict[Future, tuple[int, ProcessPoolExecutor]] = {}

    def map(self, fn: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[Done | Failed]:
        """Yield the outcome of each item. A worker that dies is replaced, and its tasks are retried."""
        if self._inline:
            for index, item in enumerate(items):
                yield attempt(fn, index, item)
            return
        yield from windowed(len(items), self.slots, lambda index: self._submit(fn, index, items[index]), self._wait)

    def _submit(self, fn: Callable[[Any], Any], index: int, item: Any) -> Hashable:
        for _ in range(2):
            try:
                pool = self._running_pool()
                future = pool.submit(attempt, fn, index, item)
                self._flights[future] = (index, pool)
                return future
            except BrokenProcessPool:
                self._discard_pool()
        raise RuntimeError("worker processes cannot be started; run with engine.workers=0 to run in this process")

    def _wait(self, handles: Sequence[Hashable]) -> list[tuple[Hashable, Done | Failed]]:
        finished, _ = wait(cast(Sequence[Future], handles), return_when=FIRST_COMPLETED)
        outcomes: list[tuple[Hashable, Done | Failed]] = []
        for future in finished:
            index, pool = self._flights.pop(future)
            try:
                outcomes.append((future, future.result()))
            except (BrokenProcessPool, CancelledError):
                if pool is self._pool:  # the pool may have been replaced already
                    self._discard_pool()
                outcomes.append((future, Failed(index, LOST, "", transient=True)))
        return outcomes

    def _running_pool(self) -> ProcessPoolExecutor:
        if self._pool is None:
            self._pool = ProcessPoolExecutor(
                self.slots, mp_context=get_context("spawn"), initializer=_start_worker, initargs=(os.getpid(),)
            )
        return self._pool

    def _discard_pool(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=False)
            self._pool = None

    def close(self) -> None:
        """End the workers at once. Tasks write atomically, so no partial output remains."""
        if self._pool is not None:
            processes = list((self._pool._processes or {}).values())
            self._pool.shutdown(wait=False, cancel_futures=True)
            for process in processes:
                process.terminate()
            for process in processes:
                process.join()
            self._pool = None


def _start_worker(driver: int) -> None:
    """Set up a worker: it ignores Ctrl-C, runs one thread, and ends when the driver ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.update(SINGLE_THREADED)
    # Arrow's own allocator returns pages between batches and faults them in again: 8 % of a run's processor time.
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    threading.Thread(target=_exit_without, args=(driver,), daemon=True).start()


def _exit_without(driver: int) -> None:
    while os.getppid() == driver:
        time.sleep(0.5)
    os._exit(1)
