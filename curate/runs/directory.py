"""What the driver writes into a run's directory beside artifacts: run.yaml, run.json, events.jsonl and a lock."""

import fcntl
import os
import platform
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import orjson

from curate import storage
from curate.artifact import all_versions
from curate.errors import RunError


def describe(
    root: str, recipe: str, settings: dict[str, Any], config_hash: str, stages: Sequence[dict[str, Any]]
) -> None:
    """Write run.yaml (the resolved configuration) and run.json (what ran, where, with which versions).

    Parameters
    ----------
    root
        The run's directory.
    recipe
        The resolved configuration as YAML.
    settings
        Its section ``run``.
    config_hash
        Hash of all that the stages' fingerprints are made of.
    stages
        For each stage ``name``, ``stage`` (its kind), ``table`` (the stage whose documents it reads), ``path``
        (relative to `root`) and ``fingerprint``.
    """
    with storage.replacing(f"{root}/run.yaml") as file:
        file.write(recipe.encode())
    description = {
        "run": settings,
        "seed": settings["seed"],
        "config_hash": config_hash,
        "versions": all_versions(),
        "host": {"name": socket.gethostname(), "platform": platform.platform(), "cores": os.cpu_count()},
        "argv": sys.argv,
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "stages": stages,
    }
    storage.write_json(f"{root}/run.json", description)


def append_event(root: str, what: str, stages: Sequence[str], **details: Any) -> None:
    """Append to events.jsonl; on storage that cannot append, events are left out."""
    if storage.is_local(root):
        event = {"time": round(time.time(), 3), "event": what, "stages": stages, **details}
        with open(f"{root}/events.jsonl", "ab") as file:
            file.write(orjson.dumps(event) + b"\n")


@contextmanager
def locked(root: str) -> Iterator[None]:
    """Keep a second driver out of a local run directory; the lock goes with the process, however it ends."""
    if not storage.is_local(root):
        yield
        return
    try:
        os.makedirs(root, exist_ok=True)
    except (FileExistsError, NotADirectoryError, PermissionError) as error:
        raise RunError(f"run.root cannot be made: {error}") from None
    with open(f"{root}/.lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunError(f"another run is at work in {root}; wait for it or choose another run.root") from None
        yield
