"""Packages that only some stages need: which of them are missing, and the command that installs them.

The distribution is called ``curate-corpus``, because ``curate`` on PyPI is another project; the package and the command
are called ``curate``. ``pyproject.toml`` lists the extras, and the metadata of the installed distribution repeats them.
"""

import re
import shlex
from collections.abc import Iterator
from importlib import metadata
from importlib.util import find_spec
from typing import NamedTuple

DISTRIBUTION = "curate-corpus"

_MODULES = {"python-stdnum": "stdnum"}  # modules that are not called what their package is called
_NOTES = {"kenlm": "kenlm compiles, so it needs a C++ compiler: on Debian and Ubuntu, apt-get install g++ python3-dev"}


class Missing(NamedTuple):
    """Packages that are not installed: message and hint for a `curate.errors.Problem`."""

    message: str
    hint: str

    def __str__(self) -> str:
        return f"{self.message}; {self.hint}"


class Requirement(NamedTuple):
    """One package that the distribution depends on.

    Parameters
    ----------
    package
        Its name, for example ``httpx``.
    specifier
        Name and versions, as pip takes them: ``httpx<1,>=0.27``.
    extra
        The extra that brings it; empty for what is always installed.
    """

    package: str
    specifier: str
    extra: str


def requirements() -> Iterator[Requirement]:
    """What the installed distribution depends on, with its extras; nothing in a tree that is not installed.

    Examples
    --------
    >>> [requirement.package for requirement in requirements() if requirement.extra == "pii"]
    ['phonenumbers', 'python-stdnum']
    """
    try:
        lines = metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        return
    for line in lines:
        specifier, _, marker = line.partition(";")
        extra = re.search(r"extra == '([^']+)'", marker)
        yield Requirement(re.split(r"[^\w.-]", specifier)[0], specifier.strip(), extra[1] if extra else "")


def missing(extra: str, *packages: str) -> Missing | None:
    """What to tell a user who needs these packages of an extra; None when all of them are installed.

    Examples
    --------
    >>> missing("web", "no-such-package").message
    'no-such-package is not installed'
    >>> missing("web", "numpy") is None
    True
    """
    absent = [package for package in packages if not _importable(package)]
    if not absent:
        return None
    verb = "is" if len(absent) == 1 else "are"
    return Missing(f"{' and '.join(absent)} {verb} not installed", _how_to_install(extra))


def _how_to_install(extra: str) -> str:
    """Commands that work while curate is not on PyPI: in a checkout, the extra; anywhere, the packages it lacks."""
    absent = [r.specifier for r in requirements() if r.extra == extra and not _importable(r.package)]
    anywhere = f"; anywhere: pip install {shlex.join(absent)}" if absent else ""
    note = f" ({_NOTES[extra]})" if extra in _NOTES else ""
    return f"in a checkout of curate: pip install '.[{extra}]'{anywhere}{note}"


def _importable(package: str) -> bool:
    return find_spec(_MODULES.get(package, package.replace("-", "_"))) is not None
