"""The terminal: lines from a pipe, keys from a pseudo-terminal."""

import io
import os
import pty
import termios
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from curate.errors import RunError
from curate.table import Table
from curate.weak.gold.ask import ask, printable
from curate.weak.gold.file import read_answers
from curate.weak.gold.journal import Journal
from curate.weak.gold.sample import Strata, draw
from curate.weak.gold.session import Questions
from tests.weak.gold.corpora import made_up_run

LONG = " ".join(f"word{n}" for n in range(2000))
TEXTS = {"web": [f"text {n}\x1b[2J of\tthe web" for n in range(5)], "books": [LONG] * 3}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Table:
    scores = {"web": [0.25] * 5, "books": [0.125, 0.125, None]}
    return made_up_run(tmp_path_factory.mktemp("run"), scores, urls=True, texts=TEXTS)


def asked(table: Table, path: Path, said: str, n: int = 8, shown: tuple[str, ...] = ()) -> str:
    """What is shown to one who says these lines."""
    out = io.StringIO()
    with Journal(str(path)) as journal:
        ask(Questions(table, draw(table, Strata(), n), journal, shown), io.StringIO(said), out)
    return out.getvalue()


def labels(path: Path) -> list[str]:
    return [answer.label for answer in read_answers(str(path))]


def test_lines(table: Table, tmp_path: Path) -> None:
    path = tmp_path / "gold.jsonl"
    out = asked(table, path, "k\nDROP\n\nskip\nundo\n k \nu\nu\nd\nq\nk\n")
    sample = draw(table, Strata(), 8)
    assert labels(path) == ["keep", "drop", "skip", "keep", "drop"]
    assert [answer.id for answer in read_answers(str(path))] == [sample.drawn[n].id for n in (0, 1, 2, 2, 1)]
    assert [line.split("  ")[0] for line in out.splitlines() if " of 8  " in line] == [
        f"{place} of 8" for place in (1, 2, 3, 4, 3, 4, 3, 2, 3)
    ]
    assert "answered skip before" in out


def test_the_end_of_the_lines_is_as_good_as_quit(table: Table, tmp_path: Path) -> None:
    asked(table, tmp_path / "gold.jsonl", "k\nd")
    assert labels(tmp_path / "gold.jsonl") == ["keep", "drop"]
    asked(table, tmp_path / "gold.jsonl", "")
    out = asked(table, tmp_path / "gold.jsonl", "s\n" * 100)
    assert labels(tmp_path / "gold.jsonl") == ["keep", "drop", *["skip"] * 6]
    assert out.count("[k]eep") == 6
    assert asked(table, tmp_path / "gold.jsonl", "k\n") == ""


def test_a_line_that_is_no_answer_ends_it(table: Table, tmp_path: Path) -> None:
    """The lines after it would be taken for answers about other documents."""
    with pytest.raises(RunError, match=r"line 3 of the answers is 'kep'; did you mean 'keep'"):
        asked(table, tmp_path / "gold.jsonl", "k\n\nkep\nd\n")
    assert labels(tmp_path / "gold.jsonl") == ["keep"]


def test_nothing_to_undo(table: Table, tmp_path: Path) -> None:
    assert "nothing to undo" in asked(table, tmp_path / "gold.jsonl", "u\nk\n")
    assert labels(tmp_path / "gold.jsonl") == ["keep"]


def test_what_is_shown(table: Table, tmp_path: Path) -> None:
    """Source, address and text, beginning, middle and end of a long one; no score unless asked for; no commands."""
    out = asked(table, tmp_path / "gold.jsonl", "s\n" * 8)
    assert "https://example.org/0?<b>" in out
    assert "web/0, 21 characters\n" in out
    assert "text 0\u241b[2J of\tthe web" in out
    assert "\x1b" not in out
    for word in ("word0 ", "word1050 ", "word1999"):
        assert word in out
    assert "word500 " not in out
    assert out.count("characters left out") == 6
    assert "quality" not in out
    shown = asked(table, tmp_path / "other.jsonl", "s\n" * 8, shown=("weak_quality",))
    assert shown.count("weak_quality 0.25") == 5
    assert shown.count("weak_quality null") == 1


def test_all_control_characters_are_pictures() -> None:
    text = "".join(map(chr, range(0x100)))
    shown = printable(text)
    assert len(shown) == len(text)
    assert [char for char in shown if ord(char) < 32 or 127 <= ord(char) < 0xA0] == ["\t", "\n"]


# -- keys --------------------------------------------------------------------------------------------------------------


class Terminal:
    """A pseudo-terminal in which somebody is asked; keys are typed when a question is there."""

    def __init__(self, questions: Questions) -> None:
        self._master, self._slave = pty.openpty()
        self.before = termios.tcgetattr(self._slave)
        self.out = io.StringIO()
        self._source = os.fdopen(self._slave, "r")
        self._thread = threading.Thread(target=ask, args=(questions, self._source, self.out), daemon=True)
        self._thread.start()

    def press(self, keys: bytes, prompts: int) -> None:
        """Type after so many questions have been asked."""
        end = time.monotonic() + 60
        while self.out.getvalue().count("[q]uit  > ") < prompts:
            assert time.monotonic() < end, self.out.getvalue()[-300:]
            time.sleep(0.01)
        time.sleep(0.1)  # what was typed before the question is passed over
        os.write(self._master, keys)

    def wait(self) -> None:
        self._thread.join(60)
        assert not self._thread.is_alive()
        assert termios.tcgetattr(self._slave) == self.before

    def close(self) -> None:
        if self._thread.is_alive():
            os.write(self._master, b"q")
            self._thread.join(10)
        self._source.close()
        os.close(self._master)


@pytest.fixture
def terminal(table: Table, tmp_path: Path) -> Iterator[Terminal]:
    with Journal(str(tmp_path / "gold.jsonl")) as journal:
        found = Terminal(Questions(table, draw(table, Strata(), 8), journal))
        yield found
        found.close()


def test_keys(terminal: Terminal, tmp_path: Path) -> None:
    for prompts, key in enumerate([b"k", b"D", b"u", b"s", b"d", b"q"], 1):
        terminal.press(key, prompts)
    terminal.wait()
    assert labels(tmp_path / "gold.jsonl") == ["keep", "drop", "skip", "drop"]
    assert "> keep\n" in terminal.out.getvalue()


def test_other_keys_are_no_answers(terminal: Terminal, tmp_path: Path) -> None:
    """Above all the arrow to the left, which terminals send as ESC [ D."""
    for keys in (b"\x1b[D", b"\x1b[1;5D", b"x", b"\n"):
        terminal.press(keys, 1)
    terminal.press(b"s", 1)
    terminal.press(b"\x04", 2)
    terminal.wait()
    assert labels(tmp_path / "gold.jsonl") == ["skip"]
    assert terminal.out.getvalue().count("\a") == 4


def test_keys_typed_before_a_question_are_not_for_it(terminal: Terminal, tmp_path: Path) -> None:
    terminal.press(b"kdddd", 1)
    terminal.press(b"q", 2)
    terminal.wait()
    assert labels(tmp_path / "gold.jsonl") == ["keep"]
