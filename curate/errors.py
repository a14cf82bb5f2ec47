"""What goes wrong, said to a person: where, what, what would be right."""

import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from types import FrameType


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


def first_line(error: BaseException) -> str:
    r"""Type and message of an exception, without the lines after the first.

    Examples
    --------
    >>> first_line(ValueError("no date\nin the whole text"))
    'ValueError: no date'
    """
    message = error.msg if isinstance(error, SyntaxError) else str(error)
    return f"{type(error).__name__}: {message}".strip().splitlines()[0]


def raised_at(error: BaseException, in_question: Callable[[FrameType], bool]) -> tuple[str, int]:
    """File and line of the innermost frame in question that an exception passed through; empty and 0 without one.

    Parameters
    ----------
    error
        The exception, with its traceback.
    in_question
        True for frames of the code whose fault it may be. A syntax error names its own file and line.
    """
    if isinstance(error, SyntaxError) and error.filename:
        return error.filename, error.lineno or 0
    file, line, trace = "", 0, error.__traceback__
    while trace is not None:
        if in_question(trace.tb_frame):
            file, line = trace.tb_frame.f_code.co_filename, trace.tb_lineno
        trace = trace.tb_next
    return file, line
