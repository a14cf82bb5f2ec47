"""The cluster engine: Ray Core tasks. The only module that imports ray."""

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

SAY_EVERY = 10.0  # seconds between words about what is waited for
PATIENCE = 30.0  # seconds for a cluster to answer; ray itself goes on asking a dead address for minutes

log = logging.getLogger("curate")


class RayEngine:
    """Runs tasks on a Ray cluster, joining one or starting a local one.

    Parameters
    ----------
    workers
        Tasks at a time; None means all cores of the cluster.
    address
        Of a running cluster (``auto``, ``host:port`` or ``ray://host:port``); without one, ``RAY_ADDRESS`` is
        honoured, and without that a local cluster is started, which alone is shut down at the end.

    Raises
    ------
    RunError
        The address does not answer.
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
                address="local",  # whatever other cluster this machine is part of
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
                raise RunError(f"no Ray cluster answers at {address}: {error}") from None
        log.info("Ray is ready after %.1f s", time.monotonic() - start)
        cores = int(ray.cluster_resources().get("CPU", 1))
        self.slots = max(min(workers or cores, cores), 1)
        self._attempt = ray.remote(attempt).options(num_cpus=1, max_retries=0)

    def map(self, fn: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[Done | Failed]:
        """Yield one outcome per item; a task whose worker or node dies is tried again."""
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
        """Handles that are finished; while there is none, say every few seconds what is waited for."""
        while True:
            finished, _ = ray.wait(cast(list[Any], list(handles)), num_returns=1, timeout=SAY_EVERY)
            if finished:
                more, _ = ray.wait(cast(list[Any], list(handles)), num_returns=len(handles), timeout=0)
                return list(more)
            free = ray.available_resources().get("CPU", 0)
            total = ray.cluster_resources().get("CPU", 0)
            log.info("waiting for %d tasks; %g of %g cores of the cluster are free", len(handles), free, total)

    def _outcome(self, handle: Hashable, index: int) -> Done | Failed:
        try:
            return cast(Done | Failed, ray.get(cast(Any, handle)))
        except RayTaskError as error:
            # The function's own errors come back as `Failed`; this is a worker that cannot even unpickle it.
            return Failed(index, f"a Ray worker cannot run the task: {error.cause!r}", str(error))
        except RayError as error:
            return Failed(index, f"a Ray worker was lost: {str(error).splitlines()[0]}", "", passing=True)

    def close(self) -> None:
        """Leave the cluster; one that this engine started ends with that, one that it joined goes on."""
        if self._connected:
            ray.shutdown()


def _await_answer(address: str) -> None:
    """Wait until something listens at ``host:port``; an address of another form is left to ray.

    Raises
    ------
    RunError
        Nothing answers within `PATIENCE`.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        return
    start = said = time.monotonic()
    while True:
        try:
            socket.create_connection((host, int(port)), timeout=5).close()
        except OSError as error:
            now = time.monotonic()
            if now - start > PATIENCE:
                raise RunError(f"no Ray cluster answers at {address} after {PATIENCE:.0f} s: {error}") from None
            if now - said >= SAY_EVERY / 2:
                log.info("waiting for a Ray cluster at %s: %s", address, error)
                said = now
            time.sleep(1)
        else:
            return
