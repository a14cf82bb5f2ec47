"""A demo corpus of real text that every machine with Python has: no network, no download, the same on every call.

Five sources, one in each format that `read` knows: code, docstrings, notices and manuals of this machine. They hold
what curation is about: licences and vendored copies are natural near-duplicates, docstrings repeat a part of the code
that they stand in, manuals come in several languages.
"""

import ast
import gzip
import json
import logging
import os
import re
import shutil
import sysconfig
import warnings
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from pydoc_data.topics import topics

import pyarrow as pa
import zstandard
from pyarrow import parquet

from curate.config.units import format_bytes

_BESIDE, _ABOVE = (folder / "configs" / "demo.yaml" for folder in Path(__file__).parents[1:3])
CONFIG = _BESIDE if _BESIDE.is_file() else _ABOVE
"""The demo's recipe: in an installed package beside this file, in a checkout beside the package."""

MIN_BYTES, MAX_BYTES = 200, 400_000  # of a document; what is shorter says nothing, what is longer is data
MIN_PROSE = 0.3  # share of a module inside triple quotes: those with less take long to parse for the little they give

_NOTICE = re.compile(r"METADATA|(LICEN[CS]E|COPYING|NOTICE|README|AUTHORS)(\.[A-Z0-9-]+)*|.+\.(rst|md|txt)")
_MANUAL = re.compile(r"[^.]+|.+\.([1-9][a-z]*|txt|md|rst|Debian)")

log = logging.getLogger("curate")


@dataclass(frozen=True)
class Roots:
    """Where text is looked for.

    Parameters
    ----------
    stdlib
        The standard library.
    site_packages
        Installed packages.
    man, doc
        Manual pages and packages' documentation of the operating system; they need not exist.
    """

    stdlib: Path
    site_packages: tuple[Path, ...]
    man: Path = Path("/usr/share/man")
    doc: Path = Path("/usr/share/doc")


@dataclass(frozen=True)
class Gathered:
    """One source of the demo corpus.

    Parameters
    ----------
    path
        The file, or the folder of text files.
    documents
        How many documents it holds.
    text_bytes
        Bytes of UTF-8 text.
    skipped
        Files that are not UTF-8 text (or not valid Python, where docstrings were looked for).
    """

    path: Path
    documents: int
    text_bytes: int
    skipped: int


@dataclass(frozen=True)
class _Document:
    id: str
    text: str
    meta: dict[str, str]

    @property
    def url(self) -> str:
        return f"file:{self.id}"


_Found = Iterator[_Document | None]
"""Documents in the order in which they are taken; None stands for a file that is not text."""


def gather(out: Path, limit_bytes: int = 8_000_000, roots: Roots | None = None) -> dict[str, Gathered]:
    """Write the demo corpus to the folder `out`, replacing an earlier one.

    Parameters
    ----------
    out
        Gets ``stdlib.jsonl.zst``, ``packages.jsonl.gz``, ``docstrings.parquet``, ``manual.jsonl`` and the folder
        ``notices`` of ``.txt`` files.
    limit_bytes
        Bytes of text per source; the first document that would pass it ends the source.
    roots
        Where to look; by default, this interpreter's library and the operating system's manuals.

    Returns
    -------
    dict
        What was written, by source.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     corpus = gather(Path(folder), limit_bytes=20_000)
    >>> list(corpus)
    ['stdlib', 'packages', 'docstrings', 'notices', 'manual']
    """
    roots = roots or this_machine()
    out.mkdir(parents=True, exist_ok=True)
    plan: dict[str, tuple[_Found, str, Callable[[Path, list[_Document]], None]]] = {
        "stdlib": (_code("stdlib", roots.stdlib), "stdlib.jsonl.zst", _write_jsonl_zst),
        "packages": (_each(_code, "packages", roots.site_packages), "packages.jsonl.gz", _write_jsonl_gz),
        "docstrings": (_docstrings(roots), "docstrings.parquet", _write_parquet),
        "notices": (_each(_notices, "notices", roots.site_packages), "notices", _write_folder),
        "manual": (_manual(roots), "manual.jsonl", _write_jsonl),
    }
    gathered = {}
    for source, (found, file, write) in plan.items():
        documents, skipped = _take(found, limit_bytes)
        write(out / file, documents)
        size = sum(len(document.text.encode()) for document in documents)
        gathered[source] = Gathered(out / file, len(documents), size, skipped)
        note = f", {skipped} files skipped that are not text" if skipped else ""
        log.info("%s: %d documents, %s%s", out / file, len(documents), format_bytes(size), note)
    return gathered


def this_machine() -> Roots:
    """The standard library and the installed packages of the running interpreter."""
    packages = dict.fromkeys(Path(sysconfig.get_path(kind)).resolve() for kind in ("purelib", "platlib"))
    return Roots(Path(sysconfig.get_path("stdlib")), tuple(packages))


def _take(found: _Found, limit_bytes: int) -> tuple[list[_Document], int]:
    """Documents up to the limit, and the number of files skipped on the way."""
    documents, total, skipped = [], 0, 0
    for document in found:
        if document is None:
            skipped += 1
            continue
        size = len(document.text.encode())
        if not MIN_BYTES <= size <= MAX_BYTES:
            continue
        if total + size > limit_bytes:
            break
        documents.append(document)
        total += size
    return documents, skipped


# --- where text comes from ----------------------------------------------------------------------------------------


def _files(prefix: str, root: Path, pattern: re.Pattern[str]) -> list[tuple[str, Path]]:
    """Ids and paths of the files under `root` whose names match, in the order of `_by_name`."""
    found = []
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = [name for name in subfolders if name not in ("site-packages", "dist-packages", "__pycache__")]
        place = prefix + Path(folder).as_posix().removeprefix(root.as_posix())
        matching = (name for name in names if pattern.fullmatch(name.removesuffix(".gz")))
        found += [(f"{place}/{name}", Path(folder, name)) for name in matching]
    return sorted(found, key=_by_name)


def _by_name(file: tuple[str, Path]) -> tuple[bytes, str]:
    """Order by a hash of the file's name, then by id.

    So a limit cuts evenly through the alphabet and yet keeps files of one name together: vendored copies, the licences
    of many packages, a manual page in all its languages.
    """
    file_id, path = file
    return blake2b(path.name.encode()).digest(), file_id


def _text(path: Path) -> str | None:
    """The file's text, unpacked if need be; None when it is not UTF-8 text."""
    try:
        content = path.read_bytes()
        text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode()
    except (OSError, UnicodeDecodeError, EOFError, zlib.error):
        return None
    return None if "\0" in text else text


def _read(files: Iterable[tuple[str, Path]], meta: Callable[[str], dict[str, str]]) -> _Found:
    for file_id, path in files:
        if not path.is_symlink():
            text = _text(path)
            yield None if text is None else _Document(file_id, text, meta(file_id))


def _package(file_id: str) -> dict[str, str]:
    """The top-level module or folder that a file belongs to."""
    return {"package": file_id.split("/")[1].removesuffix(".py")}


def _code(prefix: str, root: Path) -> _Found:
    return _read(_files(prefix, root, re.compile(r".+\.py")), _package)


def _notices(prefix: str, root: Path) -> _Found:
    return _read(_files(prefix, root, _NOTICE), _package)


def _each(find: Callable[[str, Path], _Found], prefix: str, roots: Iterable[Path]) -> _Found:
    for root in roots:
        yield from find(prefix, root)


def _docstrings(roots: Roots) -> _Found:
    """One document per module: its docstrings, each under the name of what it describes."""
    for prefix, root in (("stdlib", roots.stdlib), *(("packages", root) for root in roots.site_packages)):
        for module in _code(prefix, root):
            if module is None:
                continue  # counted among the sources of code
            if sum(map(len, module.text.split('"""')[1::2])) < MIN_PROSE * len(module.text):
                continue
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", SyntaxWarning)
                    tree = ast.parse(module.text)
            except (SyntaxError, RecursionError):
                yield None
                continue
            name = module.id.partition("/")[2].removesuffix(".py").removesuffix("/__init__").replace("/", ".")
            yield _Document(module.id, "\n\n".join(_described(name, tree)), module.meta | {"module": name})


def _described(name: str, node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
    docstring = ast.get_docstring(node)
    if docstring:
        yield f"{name}\n\n{docstring}"
    for child in node.body:
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _described(f"{name}.{child.name}", child)


def _manual(roots: Roots) -> _Found:
    """The Python language's topics of ``help()``, then manual pages and packages' documentation, mixed."""
    for name, text in sorted(topics.items()):
        yield _Document(f"topics/{name}", text, {"kind": "topic"})
    files = sorted(_files("man", roots.man, _MANUAL) + _files("doc", roots.doc, _MANUAL), key=_by_name)
    for document in _read(files, lambda file_id: {"kind": file_id.split("/")[0]}):
        if document and document.id.startswith("man/"):
            yield _Document(document.id, _plain(document.text), document.meta)
        else:
            yield document


_ROFF = (
    (re.compile(r"""^[.'][ \t]*\\["#].*\n?|\\["#].*""", re.MULTILINE), ""),  # comments
    (re.compile(r"^[.'][ \t]*([a-z]\w*|RS|RE|IP|TP|HP|PD|\W)?([ \t].*)?$", re.MULTILINE), ""),  # layout
    (re.compile(r"^[.'][ \t]*S[HSsh][ \t]+", re.MULTILINE), "\n"),  # headings
    (re.compile(r"^[.'][ \t]*[A-Z]\w*[ \t]*", re.MULTILINE), ""),  # other macros: their words stay
    (re.compile(r"\\f(\[\w*\]|\(..|.)|\\s[-+]?\d+|\\[&|^/,%]"), ""),  # fonts, sizes, spacing
    (re.compile(r"\\(\([aco]q|\[[aco]q\])"), "'"),
    (re.compile(r"\\(\([lr]q|\[[lr]q\]|\*\([lr]q)"), '"'),
    (re.compile(r"\\(\((bu|em|en|mi|hy)|\[(bu|em|en|mi|hy)\]|-)"), "-"),
    (re.compile(r"\\[~ 0]"), " "),
    (re.compile(r"\\e"), r"\\"),
    (re.compile(r"\n{3,}"), "\n\n"),
)


def _plain(roff: str) -> str:
    r"""A manual page without its markup, roughly: enough for a demo, no substitute for a formatter.

    Examples
    --------
    >>> _plain('.SH NAME\n.B ls\n\\- list \\fIdirectory\\fP contents\n')
    '\nNAME\nls\n- list directory contents\n'
    """
    for pattern, plain in _ROFF:
        roff = pattern.sub(plain, roff)
    return roff


# --- where it goes ------------------------------------------------------------------------------------------------


def _rows(documents: list[_Document]) -> list[dict[str, str]]:
    return [{"id": d.id, "text": d.text, "url": d.url} | d.meta for d in documents]


def _lines(documents: list[_Document]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in _rows(documents)).encode()


def _write_jsonl(path: Path, documents: list[_Document]) -> None:
    path.write_bytes(_lines(documents))


def _write_jsonl_zst(path: Path, documents: list[_Document]) -> None:
    path.write_bytes(zstandard.compress(_lines(documents)))


def _write_jsonl_gz(path: Path, documents: list[_Document]) -> None:
    path.write_bytes(gzip.compress(_lines(documents), compresslevel=6, mtime=0))


def _write_parquet(path: Path, documents: list[_Document]) -> None:
    rows = _rows(documents)
    names = {name: pa.string() for row in rows for name in row} | {"text": pa.large_string()}
    parquet.write_table(pa.Table.from_pylist(rows, pa.schema(names)), path, compression="zstd")


def _write_folder(path: Path, documents: list[_Document]) -> None:
    """One file per document, named by its id; not in subfolders, as `read` leaves out folders like ``_vendor``."""
    if path.exists():
        shutil.rmtree(path)
    path.mkdir()
    for document in documents:
        file = path / f"{document.id.replace('/', '+')}.txt"
        file.write_text(document.text, encoding="utf-8", newline="")
