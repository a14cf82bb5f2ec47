"""Asking in the terminal: one key an answer; or one line an answer where the input is not a terminal."""

import os
import select
import shutil
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from curate.errors import RunError, nearest
from curate.weak.gold.file import LABELS
from curate.weak.gold.session import Document, Person, Questions

COMMANDS = (*LABELS, "undo", "quit")
"""What can be said; the first letter suffices."""

_PROMPT = "[k]eep  [d]rop  [s]kip  [u]ndo  [q]uit  > "
_ESCAPE, _END = "\x1b", "\x04"
_ESCAPE_SECONDS = 0.05  # a key that is not a letter sends several bytes, which a slow line may part

# A page may hold what terminals take for commands; pictures of these characters are shown instead.
_PICTURES = {code: chr(0x2400 + code) for code in range(32) if chr(code) not in "\n\t"}
_PICTURES |= {127: "\u2421"} | dict.fromkeys(range(0x80, 0xA0), "\ufffd")


def ask(questions: Questions, source: TextIO, out: TextIO) -> None:
    """Show document after document until there is none left or the person quits.

    Parameters
    ----------
    questions
        Where documents come from and answers go.
    source
        Where answers come from: a terminal, or lines such as ``keep`` or ``k``, whose end is as good as ``quit``.
    out
        Where documents are shown.

    Raises
    ------
    RunError
        A line is no answer. The lines after it would be about other documents than was meant, so none is taken.
    """
    person = Person(questions)
    is_terminal = source.isatty()
    commands = _keys(source, out) if is_terminal else _lines(source)
    with _single_keys(source) if is_terminal else _as_it_is():
        try:
            while person.current() is not None:
                _show(person, out, is_terminal)
                command = next(commands, "quit")
                if not is_terminal or command not in LABELS:
                    out.write("\n")
                if command == "quit":
                    return
                if command == "undo":
                    if not person.back():
                        out.write("there is nothing to undo: only answers of this session are taken back\n")
                else:
                    person.answer(command)
                    if is_terminal:
                        out.write(f"{command}\n")
        finally:
            person.leave()


def _show(person: Person, out: TextIO, is_terminal: bool) -> None:  # noqa: FBT001
    drawn = person.current()
    if drawn is None:
        return
    questions = person.questions
    bold, dim, plain = ("\x1b[1m", "\x1b[2m", "\x1b[0m") if is_terminal else ("", "", "")
    document = questions.read(drawn)
    width = min(shutil.get_terminal_size().columns, 100)
    place = f"{bold}{person.place()} of {len(questions.sample.drawn)}{plain}"
    out.write(f"\n{dim}{'-' * width}{plain}\n{place}  {_about(document)}\n")
    before = questions.journal.labels.get(drawn.id)
    if before is not None:
        out.write(f"answered {before} before\n")
    out.write("\n")
    for left_out, text in document.parts:
        if left_out:
            out.write(f"\n{dim}    ... {left_out:,} characters left out ...{plain}\n\n")
        out.write(printable(text).strip("\n") + "\n")
    out.write(f"\n{_PROMPT}")
    out.flush()


def _about(document: Document) -> str:
    drawn = document.drawn
    said = [f"{drawn.source}/{drawn.source_id}", f"{document.characters:,} characters"]
    said += [f"{name} {value}" for name, value in document.scores]
    lines = [", ".join(said), *([document.url] if document.url else [])]
    return "\n".join(printable(line.replace("\n", " ")) for line in lines)


def printable(text: str) -> str:
    r"""A text that cannot move the cursor, change colours or give commands to a terminal.

    Examples
    --------
    >>> printable("a\x1b[2Jb\r\nc")
    'a␛[2Jb\nc'
    """
    return text.replace("\r\n", "\n").translate(_PICTURES)


# -- input -------------------------------------------------------------------------------------------------------------


def _command(said: str) -> str | None:
    """The command that a word or its first letter names."""
    word = said.strip().lower()
    return next((command for command in COMMANDS if word in (command, command[0])), None)


def _lines(source: TextIO) -> Iterator[str]:
    """Commands, one a line; empty lines are passed over."""
    for number, line in enumerate(source, 1):
        if line.strip():
            command = _command(line)
            if command is None:
                word = line.strip()[:60]
                raise RunError(
                    f"line {number} of the answers is {word!r}; {nearest(word, COMMANDS)}\n"
                    "the answers before it are kept, this one and those after it are not taken"
                )
            yield command


def _keys(source: TextIO, out: TextIO) -> Iterator[str]:
    """Commands, one a key. What was typed before the document was there is not meant for it and passed over."""
    descriptor = source.fileno()
    while True:
        termios.tcflush(descriptor, termios.TCIFLUSH)
        command = None
        while command is None:
            typed = os.read(descriptor, 1).decode(errors="replace")
            if typed in ("", _END):
                command = "quit"
            elif typed == _ESCAPE:  # an arrow's last byte is a letter
                while select.select([descriptor], [], [], _ESCAPE_SECONDS)[0] and os.read(descriptor, 32):
                    pass
            else:
                command = _command(typed)
            if command is None:
                out.write("\a")
                out.flush()
        yield command


@contextmanager
def _single_keys(source: TextIO) -> Iterator[None]:
    """A terminal that gives each key at once and does not show it; Ctrl-C works as ever."""
    before = termios.tcgetattr(source)
    tty.setcbreak(source.fileno())
    try:
        yield
    finally:
        termios.tcsetattr(source, termios.TCSADRAIN, before)


@contextmanager
def _as_it_is() -> Iterator[None]:
    yield
