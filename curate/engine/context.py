"""What a stage may use while it runs: its table, its directory, and resumable ``map`` and ``exchange``."""

import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from curate import storage
from curate.artifact import Artifact, Receipt, Shard, read_receipt, receipts_folder, write_receipt
from curate.engine.base import Engine, Failed
from curate.engine.exchange import read_partition
from curate.errors import RunError
from curate.progress import track
from curate.table import Table

EXCHANGE = "_exchange"


@dataclass(frozen=True)
class Context:
    """Handed to `Stage.run` in the driver.

    Parameters
    ----------
    artifact
        Where the stage writes; ``ctx.path`` is its directory.
    table
        The documents and the sidecars that promise the columns the stage requires.
    inputs
        Artifacts of the stages named by `Stage.references`, by name.
    engine
        Runs tasks.
    seed
        The run's seed.
    """

    artifact: Artifact
    table: Table
    engine: Engine
    inputs: dict[str, Artifact] = field(default_factory=dict)
    seed: int = 0

    @property
    def path(self) -> str:
        """Directory of the artifact being made."""
        return self.artifact.path

    def map(
        self, fn: Callable[[Any], dict[str, Any]], items: Sequence[Any], *, phase: str = "", keys: Sequence[str] = ()
    ) -> list[dict[str, Any]]:
        """Run a pure function on each item that has no receipt yet; return all results in the order of `items`.

        Parameters
        ----------
        fn
            Writes its output atomically and returns counts (JSON values). It must pickle: a module-level function
            or a ``functools.partial`` of one.
        items
            Shards, or whatever names a piece of work.
        phase
            Keeps the receipts of a stage's several maps apart; the phase that writes the parts has none.
        keys
            One file name per item for the receipts; needed when items are not shards.

        Raises
        ------
        RunError
            A task failed; the message holds the item, the error and the traceback.
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
        return [receipts[key].result for key in keys]

    def map_shards(self, fn: Callable[[Shard], dict[str, Any]], *, phase: str = "") -> list[dict[str, Any]]:
        """`map` over the shards of the stage's table."""
        return self.map(fn, self.table.shards, phase=phase)

    def exchange(
        self,
        name: str,
        mapper: Callable[[Any, str], dict[str, Any]],
        reducer: Callable[[int, Any], dict[str, Any]],
        partitions: int,
        items: Sequence[Any] = (),
    ) -> list[dict[str, Any]]:
        """Bring together rows of all shards by partition; see `curate.engine.exchange`.

        Parameters
        ----------
        name
            Name of this shuffle within the stage.
        mapper
            Called with an item and the path that it hands to `write_partitions`.
        reducer
            Called with a partition's number and its rows from all mappers in their order (`pyarrow.Table`).
        partitions
            From `partition_count`.
        items
            What is mapped, each with a ``name``; the shards of the stage's table unless given.

        Returns
        -------
        list of dict
            The reducers' results by partition. The shuffled files are removed once all reducers are done.
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
            results = [reduced[key].result for key in keys]
        storage.remove_tree(folder)
        return results


def _map_to_file(mapper: Callable[[Any, str], dict[str, Any]], folder: str, item: Any) -> dict[str, Any]:
    return mapper(item, f"{folder}/{item.name}.arrow")


def _reduce(reducer: Callable[[int, Any], dict[str, Any]], paths: list[str], partition: int) -> dict[str, Any]:
    return reducer(partition, read_partition(paths, partition))


def _commit(fn: Callable[[Any], dict[str, Any]], folder: str, keyed: tuple[str, Any]) -> Receipt:
    """Run one task in a worker and write its receipt."""
    key, item = keyed
    clock = Clock()
    receipt = clock.receipt(key, fn(item))
    write_receipt(folder, receipt)
    return receipt


class Clock:
    """Wall and processor time since it was made, for receipts."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def receipt(self, key: str, result: dict[str, Any]) -> Receipt:
        """A receipt for work that began when the clock was made; `peak_rss` is the process's, in bytes."""
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        seconds, cpu = time.perf_counter() - self._wall, time.process_time() - self._cpu
        return Receipt(key, result, round(seconds, 3), round(cpu, 3), peak)


def finished(folder: str, keys: Sequence[str]) -> list[tuple[str, Receipt]]:
    """Keys that have a whole receipt in `folder`, with it."""
    present = storage.names_in(folder)
    found = [(key, read_receipt(f"{folder}/{key}.json")) for key in keys if f"{key}.json" in present]
    return [(key, receipt) for key, receipt in found if receipt is not None]


def task_error(label: str, key: str, failed: Failed) -> RunError:
    """The error that stops a run: stage, shard, cause, and the worker's traceback below."""
    trace = f"\n\n{failed.trace.rstrip()}" if failed.trace else ""
    return RunError(f"{label}, {key}: {failed.error}{trace}")
