"""Python files of users: plugins, labeling functions, and the functions of `map` and `rewrite`.

A file is imported by its path, as a module of this package whose name holds the path and a hash of the content
(``curate.user_code./home/me/my_stages%2Epy@1b2c3d4e5f607182``). Python pickles classes and functions by the name of
their module, so a worker process, on this machine or another node, imports the same file; the hash makes sure that it
has the same content. The folder of the file is not searched for other modules. The files that it imports are named in
``uses``, so that their content counts as its own; their names mean these files in them, and nothing elsewhere.
"""

import builtins
import hashlib
import importlib
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import FrameType, ModuleType
from typing import Any
from urllib.parse import quote, unquote

from pydantic import BaseModel, Field, field_validator

from curate import storage
from curate.artifact import fingerprint
from curate.errors import first_line, raised_at
from curate.storage import InputPath

__path__: list[str] = []  # makes a package of this module: Python then asks `_Finder` for modules below it

PREFIX = f"{__name__}."
DIGITS = 16  # hexadecimal, of the hash in a module's name
FAULT = 200  # characters of an exception's message that are kept
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{6,}")  # of objects in memory: another one in every process


class UserCodeError(ValueError):
    """A file of a user that cannot be imported: the exception, and the line that it comes from."""

    hint: str = ""


class UserCode(BaseModel, extra="forbid", frozen=True):
    """A Python file of a user, with the files that it imports.

    Examples
    --------
    >>> UserCode(path="/home/me/my_stages.py", uses=("/home/me/helper.py",)).files
    ('/home/me/my_stages.py', '/home/me/helper.py')
    """

    path: InputPath = Field(description="Python file")
    uses: tuple[InputPath, ...] = Field(
        default=(),
        description="other Python files that this one imports, by their names without .py; their content counts as its "
        "own",
    )

    @field_validator("uses")
    @classmethod
    def _importable(cls, uses: tuple[str, ...]) -> tuple[str, ...]:
        """Files with names that can stand behind `import`, each another."""
        names = [_stem(file) for file in uses]
        for position, name in enumerate(names):
            if not name.isidentifier():
                raise ValueError(f"{uses[position]!r} cannot be imported: {name!r} is no name of a module")
            if name in names[:position]:
                raise ValueError(f"two files are imported as {name!r}")
        return uses

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
            wrong = UserCodeError(self._complaint(error))
            if isinstance(error, ModuleNotFoundError):
                wrong.hint = "files beside it that it imports are named in `uses`"
            raise wrong from None

    def _complaint(self, error: BaseException) -> str:
        def in_files(frame: FrameType) -> bool:
            return frame.f_code.co_filename in self.files

        file, line = raised_at(error, in_files)
        place = [*([file] if file != self.path else []), *([f"line {line}"] if line else [])]
        return f"cannot be run: {first_line(error)}" + (f" ({', '.join(place)})" if line else "")


def call_problem(function: Callable[..., Any], arguments: Iterable[str]) -> str:
    """Why a function cannot be called with a batch and arguments of these names; empty if it can.

    Examples
    --------
    >>> call_problem(lambda batch, least=1: [], ["most"])
    "got an unexpected keyword argument 'most'"
    """
    try:
        inspect.signature(function).bind(None, **dict.fromkeys(arguments))
    except TypeError as error:
        return str(error)
    except ValueError:  # a function in C that does not tell its signature
        return ""
    return ""


def fault_text(error: BaseException) -> str:
    """Type and message of an exception, on one short line that is the same in every process.

    Examples
    --------
    >>> fault_text(TypeError("<object at 0x7f52c8b0e3d0> is no string"))
    'TypeError: <object at 0x...> is no string'
    """
    return _ADDRESS.sub("0x...", first_line(error))[:FAULT]


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
        if fullname == _file_module(fullname):
            names, _, digest = fullname.removeprefix(PREFIX).rpartition("@")
            files = [unquote(name) for name in names.split("+")]
            return ModuleSpec(fullname, _FileLoader(files, digest), origin=files[0], is_package=True)
        used = _used_by(fullname).get(fullname.rpartition(".")[2])
        return ModuleSpec(fullname, _UsedLoader(*used), origin=used[0]) if used else None


class _FileLoader(Loader):
    """Reads a file with those that it uses, and runs it."""

    def __init__(self, files: Sequence[str], digest: str) -> None:
        self._files, self._digest = files, digest

    def exec_module(self, module: ModuleType) -> None:
        """Run the file in the module, if the content is the one that the module is named for."""
        contents = [storage.read_bytes(file) for file in self._files]
        if _digest(contents) != self._digest:
            raise ImportError(f"{' or '.join(self._files)} has changed since the run began")
        used = zip(self._files[1:], contents[1:], strict=True)
        module.__dict__["__hashes__"] = _hashes(contents)
        module.__dict__["__used__"] = {_stem(file): (file, content) for file, content in used}
        _run(self._files[0], contents[0], module)


class _UsedLoader(Loader):
    """Runs a file that another one uses."""

    def __init__(self, path: str, content: bytes) -> None:
        self._path, self._content = path, content

    def exec_module(self, module: ModuleType) -> None:
        """Run the file in the module."""
        _run(self._path, self._content, module)


def _used_by(module: str) -> dict[str, tuple[str, bytes]]:
    """Path and content of the files that a file's module uses, by the name that they are imported by."""
    return sys.modules[_file_module(module)].__dict__["__used__"]


def _run(path: str, content: bytes, module: ModuleType) -> None:
    """Run a file in a module, where ``import`` finds the files that are used before all other modules."""
    file_module, used = _file_module(module.__name__), _used_by(module.__name__)

    def import_(name: str, importing: Any = None, local: Any = None, wanted: Any = (), level: int = 0) -> ModuleType:
        if level == 0 and name in used:
            return importlib.import_module(f"{file_module}.{name}")
        return builtins.__import__(name, importing, local, wanted, level)

    module.__file__ = path
    module.__dict__["__builtins__"] = vars(builtins) | {"__import__": import_}
    exec(compile(content, path, "exec"), module.__dict__)


def _stem(path: str) -> str:
    return path.rpartition("/")[2].removesuffix(".py")


sys.meta_path.append(_Finder())
