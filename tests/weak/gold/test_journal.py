"""A gold file that is killed, shared, replaced or full while people answer."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from curate.errors import ConfigError, RunError
from curate.table import Table
from curate.weak.gold.file import GoldAnswer, read_answers, read_gold
from curate.weak.gold.journal import Journal
from curate.weak.gold.sample import Strata, draw
from curate.weak.gold.session import Person, Questions
from tests.weak.gold.corpora import made_up_run

FIRST, SECOND = (GoldAnswer(bytes([n]) * 16, "keep", "web", str(n), 2.0, "web", 4, "x") for n in (1, 2))


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Table:
    return made_up_run(tmp_path_factory.mktemp("run"), {"web": [0.1] * 20, "books": [0.5] * 10})


@pytest.mark.parametrize("cut", [2, 60, len(SECOND.line()) - 1])
def test_a_half_written_line_is_cut_off(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "gold.jsonl"
    path.write_bytes(FIRST.line() + SECOND.line()[:-cut])
    with Journal(str(path)) as journal:
        assert journal.torn == len(SECOND.line()) - cut
        assert journal.labels == {FIRST.id: "keep"}
        journal.append(SECOND)
    assert path.read_bytes() == FIRST.line() + SECOND.line()


def test_a_last_line_without_its_end(tmp_path: Path) -> None:
    path = tmp_path / "gold.jsonl"
    path.write_bytes(FIRST.line()[:-1])
    with Journal(str(path)) as journal:
        assert (journal.torn, journal.labels) == (0, {FIRST.id: "keep"})
    assert path.read_bytes() == FIRST.line()


def test_a_session_that_dies_while_another_goes_on(tmp_path: Path) -> None:
    """What it left of a line is cut off before the next one is added."""
    path = tmp_path / "gold.jsonl"
    with Journal(str(path)) as journal:
        with path.open("ab") as other:  # closing it takes this process's locks away, which are not needed here
            other.write(FIRST.line()[:30])
        journal.append(SECOND)
        assert journal.torn == 30
        assert journal.answers == [SECOND]
    assert path.read_bytes() == SECOND.line()


def test_bad_lines_stop_before_anybody_is_asked(tmp_path: Path) -> None:
    path = tmp_path / "gold.jsonl"
    path.write_bytes(FIRST.line() + b"no\n" + SECOND.line())
    with pytest.raises(ConfigError, match=r"gold.jsonl:2: is not JSON"):
        Journal(str(path))
    assert path.read_bytes() == FIRST.line() + b"no\n" + SECOND.line()


def test_paths_that_take_no_answers(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--out: s3://bucket/gold.jsonl is not on a local disk"):
        Journal("s3://bucket/gold.jsonl")
    with pytest.raises(ConfigError, match=r"--out: .*: Is a directory"):
        Journal(str(tmp_path))
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"--out: .*: (Not a directory|File exists)"):
        Journal(str(tmp_path / "file" / "gold.jsonl"))
    with Journal(str(tmp_path / "new" / "folder" / "gold.jsonl")) as journal:
        journal.append(FIRST)


def test_an_editor_that_replaces_the_file(tmp_path: Path) -> None:
    path = tmp_path / "gold.jsonl"
    with Journal(str(path)) as journal:
        journal.append(FIRST)
        (tmp_path / "edited").write_bytes(SECOND.line())
        os.replace(tmp_path / "edited", path)
        with pytest.raises(RunError, match="replaced by another program"):
            journal.append(FIRST)
        path.unlink()
        with pytest.raises(RunError, match="replaced by another program"):
            journal.append(FIRST)


def test_a_disk_that_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "gold.jsonl"
    write = os.write
    with Journal(str(path)) as journal:
        journal.append(FIRST)
        monkeypatch.setattr(os, "write", lambda file, data: write(file, data[:10]))
        with pytest.raises(RunError, match="could not be written: the disk is full"):
            journal.append(SECOND)
        monkeypatch.undo()
        assert path.read_bytes() == FIRST.line()
        journal.append(SECOND)
    assert read_answers(str(path)) == [FIRST, SECOND]


OTHER = """
import sys
from curate.weak.gold.file import GoldAnswer
from curate.weak.gold.journal import Journal
with Journal(sys.argv[1]) as journal:
    for line in sys.stdin:
        command, digits = line.split()
        own = bytes.fromhex(digits)
        if command == "claim":
            print(journal.claim(own), flush=True)
        elif command == "answer":
            journal.append(GoldAnswer(own, "drop", draw=sys.argv[2]))
            journal.release(own)
            print("done", flush=True)
"""


class Elsewhere:
    """A session in another process."""

    def __init__(self, path: Path, draw_name: str) -> None:
        command = [sys.executable, "-c", OTHER, str(path), draw_name]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def say(self, command: str, own: bytes) -> str:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{command} {own.hex()}\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


def test_sessions_never_ask_about_the_same_document(table: Table, tmp_path: Path) -> None:
    """What another process is asking about is passed over, until it has answered or has died."""
    sample = draw(table, Strata(), 6)
    path = tmp_path / "gold.jsonl"
    other = Elsewhere(path, sample.draw)
    try:
        first, second, third, fourth, *rest = (each.id for each in sample.drawn)
        assert other.say("claim", first) == "True"
        assert other.say("claim", second) == "True"
        with Journal(str(path)) as journal:
            mine = Person(Questions(table, sample, journal))
            asked = mine.current()
            assert asked is not None
            assert asked.id == third
            assert other.say("claim", third) == "False"
            assert other.say("answer", fourth) == "done"
            assert other.say("answer", first) == "done"
            mine.answer("keep")
            assert other.say("claim", third) == "True"  # it is free again, and has an answer
            seen = []
            while (asked := mine.current()) is not None:
                seen.append(asked.id)
                mine.answer("skip")
            assert seen == rest
            other.kill()  # the system gives its claim of the second back
            asked = mine.current()
            assert asked is not None
            assert asked.id == second
            mine.answer("keep")
            assert mine.current() is None
    finally:
        other.kill()
    assert len({answer.id for answer in read_answers(str(path))}) == len(read_answers(str(path))) == 6


def test_many_processes_append_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "gold.jsonl"
    others = [Elsewhere(path, f"{number}" * 3000) for number in range(3)]
    try:
        for other in others:
            assert other.process.stdin is not None
            other.process.stdin.write("".join(f"answer {n:032x}\n" for n in range(60)))
            other.process.stdin.flush()
        for other in others:
            other.process.communicate(timeout=60)
    finally:
        for other in others:
            other.kill()
    assert len(read_answers(str(path))) == 180
    assert len(read_gold(str(path)).labels) == 60


def test_two_windows_of_one_process(table: Table, tmp_path: Path) -> None:
    with Journal(str(tmp_path / "gold.jsonl")) as journal:
        questions = Questions(table, draw(table, Strata(), 4), journal)
        one, two = Person(questions), Person(questions)
        first, second = one.current(), two.current()
        assert first is not None
        assert second is not None
        assert first.id != second.id
        one.leave()
        two.answer("keep")
        again = two.current()
        assert again is not None
        assert again.id == first.id


def test_undo_goes_back_one_by_one(table: Table, tmp_path: Path) -> None:
    path = tmp_path / "gold.jsonl"
    with Journal(str(path)) as journal:
        sample = draw(table, Strata(), 5)
        person = Person(Questions(table, sample, journal))
        assert not person.back()
        for label in ("keep", "drop", "skip"):
            person.answer(label)
        ids = [each.id for each in sample.drawn]
        assert person.place() == 4
        assert person.current() is sample.drawn[3]
        assert person.back()
        assert person.place() == 3
        assert person.back()
        assert person.current() is sample.drawn[1]
        assert person.place() == 2
        assert journal.labels[ids[1]] == "drop"  # until there is another
        person.answer("keep")
        assert person.current() is sample.drawn[2]
        person.answer("drop")
        assert person.current() is sample.drawn[3]
        assert person.place() == 4
    assert [answer.label for answer in read_answers(str(path))] == ["keep", "drop", "skip", "keep", "drop"]
    assert read_gold(str(path)).labels.tolist() == [1, 1, 0]


def test_answers_of_another_draw_count_in_their_turn(table: Table, tmp_path: Path) -> None:
    """Another seed asks only about documents without an answer, and its answers alone weigh as the corpus."""
    path = str(tmp_path / "gold.jsonl")
    labels = {}
    for seed, n in ((0, 12), (1, 15)):
        with Journal(path) as journal:
            sample = draw(table, Strata(), n, seed)
            person = Person(Questions(table, sample, journal))
            while (drawn := person.current()) is not None:
                assert drawn.id not in labels
                labels[drawn.id] = "keep" if len(labels) % 3 else "drop"
                person.answer(labels[drawn.id])
            assert {each.id for each in sample.drawn} <= labels.keys()
            assert journal.labels == labels
            own = [answer for answer in journal.answers if answer.draw == sample.draw]
            assert sum(answer.weight for answer in own) == pytest.approx(30)
    assert 15 < len(labels) < 27
    gold = read_gold(path)
    assert len(gold.ids) == len(labels)
    assert gold.weights.sum() == pytest.approx(30)


def test_a_larger_sample_goes_on(table: Table, tmp_path: Path) -> None:
    path = str(tmp_path / "gold.jsonl")
    asked = []
    for n in (6, 14, 10):
        with Journal(path) as journal:
            person = Person(Questions(table, draw(table, Strata(), n), journal))
            while (drawn := person.current()) is not None:
                asked.append(drawn.id)
                person.answer("keep")
        gold = read_gold(path)
        assert gold.weights.sum() == pytest.approx(30)
    assert asked == [each.id for each in draw(table, Strata(), 14).drawn]
