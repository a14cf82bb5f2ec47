"""What goes wrong, said to a person: where, what, what would be right."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Problem:
    """One mistake in a configuration.

    Parameters
    ----------
    where
        Path in the configuration, for example ``("stages", "minhash", "bands")``; empty for the file as a whole.
    message
        What is wrong, with the offending value and the rule.
    hint
        What is allowed, or the nearest valid name.
    at
        ``file:line`` once the configuration's loader has found the place.
    """

    where: tuple[str | int, ...]
    message: str
    hint: str = ""
    at: str = ""

    def __str__(self) -> str:
        place = ": ".join(part for part in (self.at, ".".join(map(str, self.where))) if part)
        text = f"{place}: {self.message}" if place else self.message
        return f"{text}\n    {self.hint}" if self.hint else text


@dataclass
class ConfigError(Exception):
    """A configuration that cannot run: every problem found, reported at once; the command line exits with 2."""

    problems: list[Problem] = field(default_factory=list)

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)


class RunError(Exception):
    """A run that had to stop: the message says why and how to go on; the command line exits with 1."""


def nearest(name: str, valid: Iterable[str]) -> str:
    """A hint that names the valid name most like `name`, or all of them when none is close.

    Examples
    --------
    >>> nearest("band", ["bands", "rows"])
    "did you mean 'bands'?"
    >>> nearest("zzz", ["rows", "bands"])
    'valid: bands, rows'
    """
    names = sorted(valid)
    close = difflib.get_close_matches(name, names, n=1)
    return f"did you mean {close[0]!r}?" if close else "valid: " + ", ".join(names)
