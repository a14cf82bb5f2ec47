"""Vote states and label models in files, and the sum of many states by tasks that each add up a few."""

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curate import storage

if TYPE_CHECKING:
    from curate.engine.context import Context
    from curate.weak.model.model import LabelModel
    from curate.weak.model.statistics import VoteState

FAN = 16  # states that one task adds up


def save_state(state: "VoteState", path: str) -> None:
    """Write a state; the file appears whole or not at all."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "state.npz")
        state.save(file)
        _put(file, path)


def load_state(path: str) -> "VoteState":
    """Read a state."""
    from curate.weak.model.statistics import VoteState

    with tempfile.TemporaryDirectory() as folder:
        return VoteState.load(_local(path, folder))


def save_model(model: "LabelModel", path: str) -> None:
    """Write the files of a model into the folder `path`."""
    with tempfile.TemporaryDirectory() as folder:
        model.save(folder)
        for file in sorted(Path(folder).iterdir()):
            _put(file, f"{path}/{file.name}")


def load_model(path: str) -> "LabelModel":
    """Read a model from the folder `path`."""
    from curate.weak.model.model import LabelModel

    if storage.is_local(path):
        return LabelModel.load(path)
    with tempfile.TemporaryDirectory() as folder:
        for name in storage.names_in(path):
            _local(f"{path}/{name}", folder)
        return LabelModel.load(folder)


def merged(ctx: "Context", paths: Sequence[str]) -> str:
    """Path of the sum of the states at `paths`, which are added up `FAN` at a time."""
    level = 0
    while len(paths) > 1:
        level += 1
        groups = [list(paths[start : start + FAN]) for start in range(0, len(paths), FAN)]
        keys = [f"{position:05d}" for position in range(len(groups))]
        made = [f"{ctx.path}/_states/sum-{level}-{key}.npz" for key in keys]
        ctx.map(_add, list(zip(groups, made, strict=True)), phase=f"sum-{level}", keys=keys)
        paths = made
    return paths[0]


def _add(item: tuple[list[str], str]) -> dict[str, Any]:
    paths, into = item
    state = load_state(paths[0])
    for path in paths[1:]:
        state += load_state(path)
    save_state(state, into)
    return {"states": len(paths)}


def _put(file: Path, path: str) -> None:
    with storage.replacing(path) as into, open(file, "rb") as content:
        shutil.copyfileobj(content, into)


def _local(path: str, folder: str) -> str:
    """A local file with the content of `path`."""
    if storage.is_local(path):
        return path
    fs, inner = storage.filesystem(path)
    local = f"{folder}/{path.rpartition('/')[2]}"
    fs.get_file(inner, local)
    return local
