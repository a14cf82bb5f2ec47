"""Python files of users: plugins, labeling functions, and the functions of `map` and `rewrite`.

A file is imported by its path, as a module of this package whose name holds the path and a hash of the content
(``curate.user_code./home/me/my_stages%2Epy@1b2c3d4e5f607182``). Python pickles classes and functions by the name of
their module, so a worker process, on this machine or another node, imports the same file; the hash makes sure that it
has the same content. The folder of the file is not searched for other modules: a file names in ``uses`` those that it
imports, so that their content counts as its own.
"""

import hashlib
import importlib
import importlib.util
import os
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import CodeType, FrameType, ModuleType
from typing import Any
from urllib.parse import quote, unquote

from pydantic import BaseModel, Field, field_validator

from curate import storage
from curate.artifact import fingerprint
from curate.errors import first_line, raised_at

__path__: list[str] = []  # makes a package of this module: Python then asks `_Finder` for modules below it

PREFIX = f"{__name__}."
DIGITS = 16  # hexadecimal, of the hash in a module's name


class UserCodeError(ValueError):
    """A file of a user that cannot be imported: the exception, and the line that it comes from."""


class UserCode(BaseModel, extra="forbid", frozen=True):
    """A Python file of a user, with the files that it imports.

    Examples
    --------
    >>> UserCode(path="/home/me/my_stages.py", uses=("/home/me/helper.py",)).files
    ('/home/me/my_stages.py', '/home/me/helper.py')
    """

    path: str = Field(min_length=1, description="Python file")
    uses: tuple[str, ...] = Field(
        default=(),
        description="other Python files that this one imports, by their names without .py; their content counts as its "
        "own. A file comes after those that it imports itself",
    )

    @field_validator("path")
    @classmethod
    def _absolute(cls, path: str) -> str:
        """A path that means the same in every worker's directory."""
        return storage.absolute(path)

    @field_validator("uses")
    @classmethod
    def _all_absolute(cls, uses: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(storage.absolute, uses))

    @property
    def files(self) -> tuple[str, ...]:
        """The file and those that it uses."""
        return (self.path, *self.uses)

    def hashes(self) -> dict[str, Any]:
        """SHA-256 of the content of the file (``file``) and of those that it uses (``uses``), for a fingerprint."""
        return _hashes([storage.read_bytes(path) for path in self.files])

    def module(self) -> ModuleType:
        """The module of the file; the same one for the same content.

        Raises
        ------
        FileNotFoundError
            One of the files is not there.
        UserCodeError
            The file, or one that it uses, cannot be imported.
        """
        digest = _digest([storage.read_bytes(path) for path in self.files])
        name = PREFIX + "+".join(quote(path).replace(".", "%2E") for path in self.files) + f"@{digest}"
        try:
            return importlib.import_module(name)
        except MemoryError:
            raise
        except (Exception, SystemExit) as error:  # a file that calls sys.exit is no reason to stop without a word
            raise UserCodeError(self._complaint(error)) from None

    def _complaint(self, error: BaseException) -> str:
        def in_files(frame: FrameType) -> bool:
            return frame.f_code.co_filename in self.files

        file, line = raised_at(error, in_files)
        place = [*([file] if file != self.path else []), *([f"line {line}"] if line else [])]
        return f"cannot be run: {first_line(error)}" + (f" ({', '.join(place)})" if line else "")


def is_user_code(module: str) -> bool:
    """Whether a module of this name is a user's file."""
    return module.startswith(PREFIX)


def code_hashes(module: str) -> dict[str, Any]:
    """`UserCode.hashes` of a module that was made of a user's file; empty for any other module."""
    return sys.modules[_file_module(module)].__dict__["__hashes__"] if is_user_code(module) else {}


def _file_module(module: str) -> str:
    """Name of the module of a file, given it or one of a file that it uses."""
    return ".".join(module.split(".")[:3])


def _hashes(contents: Sequence[bytes]) -> dict[str, Any]:
    file, *uses = (hashlib.sha256(content).hexdigest() for content in contents)
    return {"file": file, "uses": sorted(uses)}


def _digest(contents: Sequence[bytes]) -> str:
    return fingerprint(_hashes(contents))[:DIGITS]


class _Finder(MetaPathFinder):
    """Finds modules of users' files by their names, and below them modules of the files that these use."""

    def find_spec(self, fullname: str, path: Any, target: ModuleType | None = None) -> ModuleSpec | None:
        """A spec for a name that begins with `PREFIX`; others are not looked for here."""
        if not is_user_code(fullname):
            return None
        names, _, digest = fullname.split(".")[2].rpartition("@")
        files = [unquote(name) for name in names.split("+")]
        if fullname == _file_module(fullname):
            return ModuleSpec(fullname, _FileLoader(files, digest), origin=files[0], is_package=True)
        used = next((file for file in files[1:] if _stem(file) == fullname.rpartition(".")[2]), None)
        return ModuleSpec(fullname, _Loader(used), origin=used) if used else None


class _Loader(Loader):
    """Runs a file that another one uses."""

    def __init__(self, path: str) -> None:
        self._path = path

    def exec_module(self, module: ModuleType) -> None:
        """Run the file in the module."""
        _run(storage.read_bytes(self._path), self._path, module)


class _FileLoader(Loader):
    """Runs the files that a file uses, and then the file itself."""

    def __init__(self, files: Sequence[str], digest: str) -> None:
        self._files, self._digest = files, digest

    def exec_module(self, module: ModuleType) -> None:
        """Run the file in the module; the modules of the files that it uses go by their own names too."""
        contents = [storage.read_bytes(file) for file in self._files]
        if _digest(contents) != self._digest:
            raise ImportError(f"{' or '.join(self._files)} has changed since the run began")
        module.__dict__["__hashes__"] = _hashes(contents)
        for file in self._files[1:]:
            _check_name(file)
            sys.modules[_stem(file)] = importlib.import_module(f"{module.__name__}.{_stem(file)}")
        _run(contents[0], self._files[0], module)


def _run(source: bytes, path: str, module: ModuleType) -> None:
    module.__file__ = path
    code: CodeType = compile(source, path, "exec")
    exec(code, module.__dict__)


def _stem(path: str) -> str:
    return path.rpartition("/")[2].removesuffix(".py")


def _check_name(file: str) -> None:
    """Raise ``ImportError`` if the name by which `file` is imported belongs to another module."""
    name = _stem(file)
    if name in sys.modules:
        other = getattr(sys.modules[name], "__file__", None) or "it is built in"
    else:
        spec = importlib.util.find_spec(name) if name.isidentifier() else None
        other = spec.origin or "a namespace package" if spec else file
    if not name.isidentifier():
        raise ImportError(f"{file} cannot be imported by its name: {name!r} is not an identifier")
    if os.path.realpath(other) != os.path.realpath(file):
        raise ImportError(f"{file} needs another name: there is a module {name!r} already ({other})")


sys.meta_path.append(_Finder())
