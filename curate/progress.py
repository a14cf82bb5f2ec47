"""Progress of long work: a bar on a terminal, one line per 30 seconds otherwise."""

import logging
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")

LINE_EVERY = 30.0  # seconds

log = logging.getLogger("curate")


def track(items: Iterable[Item], total: int, label: str, *, done: int = 0) -> Iterator[Item]:
    """Pass `items` through, saying how many of `total` are done (`done` of them before the start)."""
    if done >= total:
        yield from items
    elif sys.stderr.isatty():
        yield from _bar(items, total, label, done)
    else:
        yield from _lines(items, total, label, done)


def _bar(items: Iterable[Item], total: int, label: str, done: int) -> Iterator[Item]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description:<28}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(label, total=total, completed=done)
        for item in items:
            progress.advance(task)
            yield item


def _lines(items: Iterable[Item], total: int, label: str, done: int) -> Iterator[Item]:
    start = said = time.monotonic()
    for item in items:
        done += 1
        now = time.monotonic()
        if now - said >= LINE_EVERY:
            log.info("%s: %d of %d, %.0f s", label, done, total, now - start)
            said = now
        yield item
