"""Files that appear whole or not at all, on local disks and on whatever else fsspec reaches."""

import io
import os
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, cast

import orjson
from fsspec import AbstractFileSystem
from fsspec.core import url_to_fs
from pydantic import AfterValidator, Field

if TYPE_CHECKING:
    from numpy.typing import NDArray

TEMPORARY = ".tmp-"  # begins the name of a file that is being written


def is_local(path: str) -> bool:
    """Whether `path` lies in a file system that this process reaches through plain ``open``."""
    return "://" not in path


def absolute(path: str) -> str:
    """`path` in the one form used everywhere: a URL, or an absolute local path without ``file://`` and ``~``.

    Examples
    --------
    >>> absolute("file:///data/run/"), absolute("s3://bucket/run")
    ('/data/run', 's3://bucket/run')
    """
    path = path.removeprefix("file://")
    return path.rstrip("/") if "://" in path else os.path.abspath(os.path.expanduser(path))


InputPath = Annotated[str, Field(min_length=1), AfterValidator(absolute)]
"""Field of a stage: the path of a file, in the form that means the same in every worker's directory."""


def path_unless(is_name: Callable[[str], bool]) -> AfterValidator:
    """Makes a field's value such a path, unless it is a name of something else.

    Examples
    --------
    >>> from pydantic import TypeAdapter
    >>> model = TypeAdapter(Annotated[str, path_unless(lambda value: value == "default")])
    >>> model.validate_python("default"), model.validate_python("file:///models/lid.bin")
    ('default', '/models/lid.bin')
    """
    return AfterValidator(lambda value: value if is_name(value) else absolute(value))


def filesystem(path: str) -> tuple[AbstractFileSystem, str]:
    """The fsspec file system of `path`, and the path inside it."""
    fs, inner = url_to_fs(path)
    return fs, inner


@contextmanager
def replacing(path: str) -> Iterator[BinaryIO]:
    """A binary file that replaces `path` when the block ends well, and leaves no trace when it does not.

    Local files are written under a temporary name and renamed; elsewhere the finished bytes are put there at once.
    """
    if is_local(path):
        folder, name = os.path.split(path)
        os.makedirs(folder or ".", exist_ok=True)
        temporary = os.path.join(folder, f"{TEMPORARY}{uuid.uuid4().hex}-{name}")
        try:
            with open(temporary, "wb") as file:
                yield file
            os.replace(temporary, path)
        except BaseException:
            if os.path.exists(temporary):
                os.unlink(temporary)
            raise
    else:
        with tempfile.NamedTemporaryFile() as spool:
            yield cast(BinaryIO, spool)
            spool.flush()
            fs, inner = url_to_fs(path)
            fs.put_file(spool.name, inner)


def read_bytes(path: str) -> bytes:
    """The content of the file at `path`."""
    fs, inner = filesystem(path)
    return bytes(fs.cat_file(inner))  # type: ignore[arg-type]


def write_array(path: str, values: "NDArray[Any]") -> None:
    """Write an array in the format of ``numpy.save``."""
    import numpy as np

    with replacing(path) as file:
        np.save(file, values)


def read_array(path: str) -> "NDArray[Any]":
    """Read an array that `write_array` wrote."""
    import numpy as np

    return np.load(io.BytesIO(read_bytes(path)))


def open_input(path: str) -> Any:
    """What Arrow's readers take for `path`: the path itself when it is local, else an open file."""
    return path if is_local(path) else _open_remote(path)


def _open_remote(path: str) -> Any:
    fs, inner = url_to_fs(path)
    return fs.open(inner, "rb")


def exists(path: str) -> bool:
    """Whether a file or folder is at `path`."""
    fs, inner = url_to_fs(path)
    return fs.exists(inner)


def names_in(folder: str) -> set[str]:
    """Names of the files directly in `folder`, empty when there is no such folder."""
    if is_local(folder):
        return set(os.listdir(folder)) if os.path.isdir(folder) else set()
    fs, inner = url_to_fs(folder)
    if not fs.exists(inner):
        return set()
    return {entry.rstrip("/").rpartition("/")[2] for entry in fs.ls(inner, detail=False)}


def remove_tree(folder: str) -> None:
    """Remove `folder` and all in it; nothing happens when it is not there."""
    fs, inner = url_to_fs(folder)
    if fs.exists(inner):
        fs.rm(inner, recursive=True)


def remove_temporaries(folder: str, *, below: bool = True) -> None:
    """Remove what killed writers left in the local `folder`, and below it; elsewhere they leave nothing."""
    if is_local(folder):
        pattern = f"{TEMPORARY}{'[0-9a-f]' * 32}-*"
        found = Path(folder).rglob(pattern) if below else Path(folder).glob(pattern)
        for leftover in found:
            leftover.unlink(missing_ok=True)


def write_json(path: str, value: object, *, indent: bool = True) -> None:
    """Write `value` as JSON with sorted keys, atomically."""
    options = orjson.OPT_SORT_KEYS | orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE
    with replacing(path) as file:
        file.write(orjson.dumps(value, option=options | (orjson.OPT_INDENT_2 if indent else 0)))


def read_json(path: str) -> Any:
    """The JSON value at `path`; raises ``FileNotFoundError`` and ``ValueError`` (not JSON)."""
    if is_local(path):
        with open(path, "rb") as file:
            return orjson.loads(file.read())
    fs, inner = url_to_fs(path)
    return orjson.loads(fs.cat_file(inner))
