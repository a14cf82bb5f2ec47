"""The cluster engine: tasks of Ray Core. This is the only module that imports ray."""

import logging
import os
import socket
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any, cast

import ray  # noqa: TID251
from ray.exceptions import RayError, RayTaskError  # noqa: TID251

from curate.engine.base import Done, Failed, attempt, windowed
from curate.engine.local import SINGLE_THREADED
from curate.errors import RunError

LOG_EVERY = 10.0  # seconds between log lines while the engine waits
PATIENCE = 30.0  # seconds to wait for a cluster to answer; ray itself would retry a dead address for minutes

log = logging.getLogger("curate")


class RayEngine:
    """Runs tasks on an existing Ray cluster, or on a local one that it starts.

    Parameters
    ----------
    workers
        Number of tasks that run at the same time; None means all cores of the cluster.
    address
        Address of a running cluster (``auto``, ``host:port`` or ``ray://host:port``), by default ``RAY_ADDRESS``.
        Without either, the engine starts a local cluster and shuts it down at the end.

    Raises
    ------
    RunError
        If no cluster answers at the address.
    """

    def __init__(self, workers: int | None, address: str | None = None) -> None:
        address = address or os.environ.get("RAY_ADDRESS")
        self._connected = not ray.is_initialized()
        # A driver under `uv run` would make each worker rebuild its environment.
        os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
        start = time.monotonic()
        if self._connected and address is None:
            cores = max(workers or os.cpu_count() or 1, 1)
            log.info("starting a local Ray cluster with %d cores", cores)
            ray.init(
                address="local",  # even if this machine is part of another cluster
                num_cpus=cores,
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.WARNING,
                runtime_env={"env_vars": SINGLE_THREADED},
            )
        elif self._connected:
            log.info("joining the Ray cluster at %s", address)
            _await_answer(str(address))
            try:
                ray.init(address=address, log_to_driver=False, runtime_env={"env_vars": SINGLE_THREADED})
            except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
                raise RunError(f"no Ray cluster answers at {address}: {error}; check `engine.address`") from None
        log.info("Ray is ready after %.1f s", time.monotonic() - start)
        cores = int(ray.cluster_resources().get("CPU", 1))
        self.slots = max(min(workers or cores, cores), 1)
        self._attempt = ray.remote(attempt).options(num_cpus=1, max_retries=0)

    def map(self, fn: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[Done | Failed]:
        """Yield the outcome of each item. A task whose worker or node dies is retried."""
        shared = ray.put(fn)
        indices: dict[Hashable, int] = {}

        def submit(index: int) -> Hashable:
            handle = self._attempt.remote(shared, index, items[index])
            indices[handle] = index
            return handle

        def wait(handles: Sequence[Hashable]) -> list[tuple[Hashable, Done | Failed]]:
            return [(handle, self._outcome(handle, indices.pop(handle))) for handle in self._finished(handles)]

        yield from windowed(len(items), self.slots, submit, wait)

    def _finished(self, handles: Sequence[Hashable]) -> list[Hashable]:
        """Return the handles that have finished; while there is none, log what the engine waits for."""
        while True:
            finished, _ = ray.wait(cast(list[Any], list(handles)), num_returns=1, timeout=LOG_EVERY)
            if finished:
                all_finished, _ = ray.wait(cast(list[Any], list(handles)), num_returns=len(handles), timeout=0)
                return list(all_finished)
            free = ray.available_resources().get("CPU", 0)
            total = ray.cluster_resources().get("CPU", 0)
            log.info("waiting for %d tasks; %g of %g cores of the cluster are free", len(handles), free, total)

    def _outcome(self, handle: Hashable, index: int) -> Done | Failed:
        try:
            return cast(Done | Failed, ray.get(cast(Any, handle)))
        except RayTaskError as error:
            # The function's own errors arrive as `Failed`. Here the worker cannot even unpickle the function.
            return Failed(index, f"a Ray worker cannot run the task: {error.cause!r}", str(error))
        except RayError as error:
            return Failed(index, f"a Ray worker was lost: {str(error).splitlines()[0]}", "", transient=True)

    def close(self) -> None:
        """Disconnect from the cluster. A cluster that this engine started is shut down."""
        if self._connected:
            ray.shutdown()


def _await_answer(address: str) -> None:
    """Wait until something listens at ``host:port``. Addresses in other forms are left to ray.

    Raises
    ------
    RunError
        If nothing answers within `PATIENCE`.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        return
    start = last_log = time.monotonic()
    while True:
        try:
            socket.create_connection((host, int(port)), timeout=5).close()
        except OSError as error:
            now = time.monotonic()
            if now - start > PATIENCE:
                raise RunError(
                    f"no Ray cluster answers at {address} after {PATIENCE:.0f} s: {error}; check `engine.address`"
                ) from None
            if now - last_log >= LOG_EVERY / 2:
                log.info("waiting for a Ray cluster at %s: %s", address, error)
                last_log = now
            time.sleep(1)
        else:
            return
