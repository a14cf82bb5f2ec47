"""List the input files that patterns match. The list does not depend on where the files are stored.

A file's name is its path relative to the fixed (wildcard-free) part of the patterns, so ids and fingerprints stay the
same when a folder is moved. Every matched file is accounted for: files that cannot be read are listed with a reason,
and files in folders that are hidden or of unknown format are listed as ignored.
"""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

from fsspec import AbstractFileSystem

from curate import storage
from curate.artifact import fingerprint
from curate.errors import nearest

FORMATS = {
    "jsonl": (".jsonl", ".ndjson", ".json"),
    "parquet": (".parquet", ".pq"),
    "text": (".txt",),
    "html": (".html", ".htm", ".xhtml"),
    "warc": (".warc", ".wet", ".wat"),
    "arc": (".arc",),
}
"""File name suffixes of each format."""

COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}

# Bytes of content per byte of file. gzip and zstd compress text 2.5 to 4 times. Parquet holds text, compressed by
# snappy or zstd, beside other columns. The factors only influence the sizes of shards, so they need not be exact.
EXPANSION = {"gzip": 3, "zstd": 3}
PARQUET_EXPANSION = 2

_WILDCARD = re.compile(r"[*?\[]")
_BROKEN_LINK = "a symbolic link to a file that does not exist"
_VERSIONS = ("ETag", "etag", "md5Hash", "content_md5", "mtime", "LastModified", "last_modified", "created")


@dataclass(frozen=True)
class InputFile:
    """An input file.

    Parameters
    ----------
    path
        Absolute path, or fsspec URL.
    name
        Path relative to the fixed part of the patterns.
    size
        Size of the file in bytes.
    version
        Modification time or entity tag, which changes when the content changes.
    format
        Format, a key of `FORMATS`.
    compression
        Compression, a value of `COMPRESSIONS` or empty.
    """

    path: str
    name: str
    size: int
    version: str
    format: str
    compression: str = ""

    @property
    def content_bytes(self) -> int:
        """Estimated size of the decompressed content in bytes, from the size of the file alone."""
        factor = PARQUET_EXPANSION if self.format == "parquet" else EXPANSION.get(self.compression, 1)
        return self.size * factor


@dataclass(frozen=True)
class BadFile:
    """A matched file that cannot be read: its name, the key of the reason, and a description."""

    name: str
    reason: str
    detail: str


@dataclass(frozen=True)
class FileListing:
    """Files that the patterns of one source match.

    Parameters
    ----------
    files
        Files to read, sorted by name.
    bad
        Files to quarantine: empty and unreadable files, and folders with a file's name.
    ignored
        Names of files below a folder that are hidden (``.`` or ``_``) or of unknown format.
    unmatched
        Patterns that match nothing, each with a hint.
    unknown
        Files that a pattern names but whose format cannot be derived from their names.
    """

    files: tuple[InputFile, ...] = ()
    bad: tuple[BadFile, ...] = ()
    ignored: tuple[str, ...] = ()
    unmatched: tuple[tuple[str, str], ...] = ()
    unknown: tuple[str, ...] = ()

    def identity(self) -> dict[str, Any]:
        """Describe the files for a fingerprint, by a hash of names, sizes and versions but not of locations."""
        versions = [[f.name, f.size, f.version] for f in self.files] + [[f.name, f.reason] for f in self.bad]
        size = sum(file.size for file in self.files)
        return {"files": len(versions), "bytes": size, "listing": fingerprint({"versions": versions})}


def list_files(patterns: Sequence[str], format: str | None = None) -> FileListing:  # noqa: A002
    """List the files of one source.

    Parameters
    ----------
    patterns
        Paths, folders (read recursively) or globs (``*``, ``?``, ``[a-z]``, and ``**`` for any folders), local or
        fsspec URLs. A folder that matches a glob is read recursively too.
    format
        Format of all files, a key of `FORMATS`. By default, it is derived from the name of each file.

    Examples
    --------
    >>> import fsspec
    >>> fsspec.filesystem("memory").pipe("/corpus/2024/a.jsonl", b"{}")
    >>> [file.name for file in list_files(["memory://corpus/*"]).files]
    ['2024/a.jsonl']
    """
    search = _Search(format)
    for pattern in patterns:
        search.add(pattern)
    return search.listing()


def format_of(name: str) -> tuple[str, str]:
    """Derive format and compression from a file name; an unknown format is empty.

    Examples
    --------
    >>> format_of("web.jsonl.zst"), format_of("notes.txt"), format_of("readme.md.gz")
    (('jsonl', 'zstd'), ('text', ''), ('', 'gzip'))
    """
    stem, suffix = os.path.splitext(name.lower())
    compression = COMPRESSIONS.get(suffix, "")
    if compression:
        suffix = os.path.splitext(stem)[1]
    name_format = next((candidate for candidate, suffixes in FORMATS.items() if suffix in suffixes), "")
    return ("", compression) if compression and name_format == "parquet" else (name_format, compression)


@dataclass
class _Search:
    """Files collected so far, by path. Names are assigned at the end, when the common folder is known."""

    format: str | None
    readable: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    bad: dict[str, tuple[str, str]] = field(default_factory=dict)
    ignored: set[str] = field(default_factory=set)
    unknown: set[str] = field(default_factory=set)
    unmatched: list[tuple[str, str]] = field(default_factory=list)
    fixed: list[list[str]] = field(default_factory=list)

    def add(self, pattern: str) -> None:
        try:
            fs, inner = storage.filesystem(pattern)
        except (ImportError, ValueError) as error:
            self.unmatched.append((pattern, str(error)))
            return
        inner = inner.rstrip("/") or "/"
        exists = fs.exists(inner)
        matches = [fs.info(inner)] if exists else _glob(fs, inner)
        if not matches:
            self.unmatched.append((pattern, _hint(fs, inner)))
        folder = inner if exists and matches[0]["type"] == "directory" else _fixed_part(inner, literal=exists)
        self.fixed.append(_full_path(fs, folder).split("/"))
        unknown = [path for info in matches if (path := self._named(fs, info, globbed=not exists))]
        # A glob may also match a stray readme. A pattern that matches no file of a known format is a mistake.
        (self.unknown if len(unknown) == len(matches) else self.ignored).update(unknown)

    def _named(self, fs: AbstractFileSystem, info: Mapping[str, Any], *, globbed: bool) -> str:
        """Add a path that a pattern names or matches. If its format is unknown, do not add it but return it."""
        path, target = _full_path(fs, info["name"]), _followed(fs, info)
        if target is None:
            self.bad[path] = ("unreadable", _BROKEN_LINK)
        elif target["type"] == "directory" and globbed and format_of(path)[0]:
            self.bad[path] = ("is_a_directory", "a folder; end the pattern with /** to read the files in it")
        elif target["type"] == "directory":
            self._folder(fs, target)
        elif self.format is None and not format_of(path)[0]:
            return path
        else:
            self._file(fs, path, target)
        return ""

    def _folder(self, fs: AbstractFileSystem, folder: Mapping[str, Any]) -> None:
        """Add all files below a folder."""
        root = folder["name"].rstrip("/")
        self._check_folder(fs, folder)
        entries: Mapping[str, Any] = fs.find(root, withdirs=True, detail=True)  # type: ignore[assignment]
        for inner, entry in entries.items():
            path, info = _full_path(fs, inner), _followed(fs, entry)
            hidden = any(part.startswith((".", "_")) for part in inner[len(root) :].split("/"))
            if info is not None and info["type"] == "directory":
                if info is entry and not hidden:
                    self._check_folder(fs, info)
                elif info is not entry:  # a link to a folder is not followed, as links can form cycles
                    self.ignored.add(path)
            elif hidden or (self.format is None and not format_of(path)[0]):
                self.ignored.add(path)
            elif info is None:
                self.bad[path] = ("unreadable", _BROKEN_LINK)
            else:
                self._file(fs, path, info)

    def _check_folder(self, fs: AbstractFileSystem, folder: Mapping[str, Any]) -> None:
        if _denied(fs, folder["name"], os.R_OK | os.X_OK):
            self.bad[_full_path(fs, folder["name"])] = ("unreadable", "no permission to read the folder")

    def _file(self, fs: AbstractFileSystem, path: str, info: Mapping[str, Any]) -> None:
        if info["type"] != "file":
            self.bad[path] = ("unreadable", "neither a file nor a folder")
        elif _denied(fs, info["name"], os.R_OK):
            self.bad[path] = ("unreadable", "no permission to read the file")
        elif info["size"] == 0:
            self.bad[path] = ("empty_file", "0 bytes")
        else:
            self.readable[path] = info

    def listing(self) -> FileListing:
        root = _common(self.fixed)
        width = len("/".join(root)) + 1 if root else 0
        files = [self._input_file(path, _name(path, width), info) for path, info in self.readable.items()]
        return FileListing(
            files=tuple(sorted(files, key=lambda file: file.name)),
            bad=tuple(BadFile(_name(path, width), *why) for path, why in sorted(self.bad.items())),
            ignored=_names(self.ignored, width),
            unmatched=tuple(self.unmatched),
            unknown=_names(self.unknown, width),
        )

    def _input_file(self, path: str, name: str, info: Mapping[str, Any]) -> InputFile:
        name_format, compression = format_of(name)
        version = next((str(info[key]) for key in _VERSIONS if info.get(key) is not None), "")
        return InputFile(path, name, info["size"] or 0, version, self.format or name_format, compression)


def _glob(fs: AbstractFileSystem, inner: str) -> list[Mapping[str, Any]]:
    """Return what a glob matches, without folders inside matched folders, which are read with the outer folder."""
    globbed: Mapping[str, Any] = fs.glob(inner, detail=True) if _WILDCARD.search(inner) else {}  # type: ignore[assignment]
    folders = {path.rstrip("/") for path, info in globbed.items() if info["type"] == "directory"}
    return [i for path, i in globbed.items() if path.rstrip("/") not in folders or not _inside(path, folders)]


def _inside(path: str, folders: set[str]) -> bool:
    parts = path.rstrip("/").split("/")
    return any("/".join(parts[:depth]) in folders for depth in range(1, len(parts)))


def _followed(fs: AbstractFileSystem, info: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return `info`, or for a link the information about its target under the link's name; None for a broken link."""
    if not info.get("islink"):
        return info
    try:
        return {**fs.info(info["name"]), "mtime": os.stat(info["name"]).st_mtime}
    except OSError:
        return None


def _denied(fs: AbstractFileSystem, inner: str, mode: int) -> bool:
    return "file" in _protocols(fs) and not os.access(inner, mode)


def _protocols(fs: AbstractFileSystem) -> tuple[str, ...]:
    return (fs.protocol,) if isinstance(fs.protocol, str) else tuple(fs.protocol)


def _full_path(fs: AbstractFileSystem, inner: str) -> str:
    return inner.rstrip("/") if "file" in _protocols(fs) else str(fs.unstrip_protocol(inner)).rstrip("/")


def _fixed_part(inner: str, *, literal: bool) -> str:
    """Return the folder above the first component with a wildcard, or above the last component of a literal path."""
    parts = inner.split("/")
    wild = len(parts) - 1 if literal else next((i for i, part in enumerate(parts) if _WILDCARD.search(part)), -1)
    return "/".join(parts[:wild])


def _common(folders: Sequence[Sequence[str]]) -> list[str]:
    """Return the components with which all paths start."""
    depths = zip(*folders, strict=False)
    return [components[0] for components in takewhile(lambda parts: len(set(parts)) == 1, depths)]


def _name(path: str, width: int) -> str:
    """Return the path without its first `width` characters, with bytes that are not UTF-8 escaped."""
    return path[width:].encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _names(paths: Iterable[str], width: int) -> tuple[str, ...]:
    return tuple(sorted(_name(path, width) for path in paths))


def _hint(fs: AbstractFileSystem, inner: str) -> str:
    """Describe the deepest existing folder on the way to `inner`, and the name in it most like the missing one."""
    parts = inner.split("/")
    for depth in range(len(parts) - 1, 0, -1):
        folder = "/".join(parts[:depth]) or "/"
        if _WILDCARD.search(folder) or not fs.isdir(folder):
            continue
        if _denied(fs, folder, os.R_OK | os.X_OK):
            return f"no permission to read the folder {folder!r}"
        names = sorted(str(path).rstrip("/").rpartition("/")[2] for path in fs.ls(folder, detail=False))
        if not names:
            return f"the folder {folder!r} is empty"
        hint = "" if _WILDCARD.search(parts[depth]) else nearest(parts[depth], names[:1000])
        if hint.startswith("did you mean"):
            return f"in {folder!r}: {hint}"
        others = f" and {len(names) - 5} more" if len(names) > 5 else ""
        return f"the folder {folder!r} contains {', '.join(names[:5])}{others}"
    return ""
