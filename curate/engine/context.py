"""The context of a running stage: its table, its directory, and resumable ``map`` and ``exchange``."""

import resource
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar, cast

from curate import storage
from curate.artifact import Artifact, Receipt, Shard, read_receipt, receipts_folder, write_receipt
from curate.engine.base import Engine, Failed
from curate.engine.exchange import read_partition
from curate.errors import RunError
from curate.progress import track
from curate.table import Table

EXCHANGE = "_exchange"

Result = TypeVar("Result", bound=Mapping[str, Any])
"""What a task returns, as JSON values: a dict, or a TypedDict where others read it by name."""


@dataclass(frozen=True)
class Context:
    """Everything that `Stage.run` needs. It lives in the driver.

    Parameters
    ----------
    artifact
        Artifact to which the stage writes; ``ctx.path`` is its directory.
    table
        Documents, with the sidecars of the columns that the stage requires.
    inputs
        Artifacts of the stages that `Stage.references` names, by name.
    engine
        Engine that runs the tasks.
    seed
        Seed of the run.
    """

    artifact: Artifact
    table: Table
    engine: Engine
    inputs: dict[str, Artifact] = field(default_factory=dict)
    seed: int = 0

    @property
    def path(self) -> str:
        """Directory of the stage's artifact."""
        return self.artifact.path

    def map(
        self, fn: Callable[[Any], Result], items: Sequence[Any], *, phase: str = "", keys: Sequence[str] = ()
    ) -> list[Result]:
        """Run a pure function on each item that has no receipt yet.

        Parameters
        ----------
        fn
            Function that writes its output atomically and returns counts (JSON values). It must pickle: a module-level
            function or a ``functools.partial`` of one.
        items
            Shards, or other pieces of work.
        phase
            Name that separates the receipts of several maps of a stage; empty for the map that writes the parts.
        keys
            One file name per item for the receipts, by default the item's ``name``.

        Returns
        -------
        list of dict
            Results of all items, in the order of `items`.

        Raises
        ------
        RunError
            If a task fails. The message holds the item, the error and the traceback.
        """
        keys = keys or [item.name for item in items]
        folder = receipts_folder(self.path, phase)
        receipts = dict(finished(folder, keys))
        missing = [(key, item) for key, item in zip(keys, items, strict=True) if key not in receipts]
        label = f"{self.artifact.name} {phase}".strip()
        outcomes = self.engine.map(partial(_commit, fn, folder), missing)
        for outcome in track(outcomes, len(items), label, done=len(receipts)):
            if isinstance(outcome, Failed):
                raise task_error(label, missing[outcome.index][0], outcome)
            receipts[outcome.result.key] = outcome.result
        return [cast(Result, receipts[key].result) for key in keys]

    def map_shards(self, fn: Callable[[Shard], Result], *, phase: str = "") -> list[Result]:
        """Run `map` over the shards of the stage's table."""
        return self.map(fn, self.table.shards, phase=phase)

    def exchange(
        self,
        name: str,
        mapper: Callable[[Any, str], Mapping[str, Any]],
        reducer: Callable[[int, Any], Result],
        partitions: int,
        items: Sequence[Any] = (),
    ) -> list[Result]:
        """Group the rows of all items by partition (see `curate.engine.exchange`).

        Parameters
        ----------
        name
            Name of this exchange within the stage.
        mapper
            Function of an item and a path, which it passes to `write_partitions`.
        reducer
            Function of a partition's number and its rows from all mappers, in the order of the items (a table).
        partitions
            Number of partitions, from `partition_count`.
        items
            Items for the mapper, each with a ``name``; by default the shards of the stage's table.

        Returns
        -------
        list of dict
            Results of the reducer, by partition. The exchanged files are removed once all reducers have finished.
        """
        keys = [f"{partition:05d}" for partition in range(partitions)]
        folder = f"{self.path}/{EXCHANGE}/{name}"
        reduced = dict(finished(receipts_folder(self.path, f"{name}-reduce"), keys))
        if len(reduced) < partitions:
            items = items or self.table.shards
            self.map(partial(_map_to_file, mapper, folder), items, phase=f"{name}-map")
            paths = [f"{folder}/{item.name}.arrow" for item in items]
            task = partial(_reduce, reducer, paths)
            results = self.map(task, list(range(partitions)), phase=f"{name}-reduce", keys=keys)
        else:
            results = [cast(Result, reduced[key].result) for key in keys]
        storage.remove_tree(folder)
        return results


def _map_to_file(mapper: Callable[[Any, str], Mapping[str, Any]], folder: str, item: Any) -> Mapping[str, Any]:
    return mapper(item, f"{folder}/{item.name}.arrow")


def _reduce(reducer: Callable[[int, Any], Result], paths: list[str], partition: int) -> Result:
    return reducer(partition, read_partition(paths, partition))


def _commit(fn: Callable[[Any], Mapping[str, Any]], folder: str, keyed: tuple[str, Any]) -> Receipt:
    """Run one task in a worker and write its receipt."""
    key, item = keyed
    clock = Clock()
    receipt = clock.receipt(key, fn(item))
    write_receipt(folder, receipt)
    return receipt


class Clock:
    """Measures wall time and processor time since its creation, for receipts."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def receipt(self, key: str, result: Mapping[str, Any]) -> Receipt:
        """Make the receipt of work that began when the clock was created; `peak_rss` is in bytes, of the process."""
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        seconds, cpu = time.perf_counter() - self._wall, time.process_time() - self._cpu
        return Receipt(key, result, round(seconds, 3), round(cpu, 3), peak)


def finished(folder: str, keys: Sequence[str]) -> list[tuple[str, Receipt]]:
    """Read the complete receipts in `folder`, and return them with their keys."""
    present = storage.names_in(folder)
    receipts = [(key, read_receipt(f"{folder}/{key}.json")) for key in keys if f"{key}.json" in present]
    return [(key, receipt) for key, receipt in receipts if receipt is not None]


def task_error(label: str, key: str, failed: Failed) -> RunError:
    """Create the error that stops a run: stage, shard and cause, followed by the worker's traceback."""
    trace = f"\n\n{failed.trace.rstrip()}" if failed.trace else ""
    return RunError(f"{label}, {key}: {failed.error}{trace}")
