"""Who is asked about which document: each document of a sample once, whoever and however many are asked."""

from collections.abc import Sequence
from dataclasses import dataclass

from curate.table import Table, read_row
from curate.text.excerpts import passages
from curate.weak.gold.file import GoldAnswer
from curate.weak.gold.journal import Journal
from curate.weak.gold.sample import Drawn, Sample

CHARS = 2400  # of a document that are shown: a screen or two


@dataclass(frozen=True)
class Document:
    """What is shown of a document.

    Parameters
    ----------
    drawn
        Which one.
    url
        Where it is from.
    characters
        Length of its text.
    parts
        Its text, or excerpts from its beginning, middle and end, and for each how many characters are left out before.
    scores
        Names and values of columns that are shown too.
    """

    drawn: Drawn
    url: str | None
    characters: int
    parts: Sequence[tuple[int, str]]
    scores: Sequence[tuple[str, str]] = ()


class Questions:
    """The documents of a sample that have no answer yet.

    Parameters
    ----------
    table
        The documents.
    sample
        Which ones are asked about, and in which order.
    journal
        Where answers go.
    shown
        Columns whose values are shown.
    chars
        Characters of a document that are shown.
    """

    def __init__(
        self, table: Table, sample: Sample, journal: Journal, shown: Sequence[str] = (), chars: int = CHARS
    ) -> None:
        self.sample, self.journal = sample, journal
        self._table, self._shown, self._chars = table, tuple(shown), chars
        self._by_id = {each.id: each for each in sample.drawn}

    def next(self) -> Drawn | None:
        """The first document that has no answer and that nobody is asked about, which is claimed.

        The answer to one that was given in another draw counts in this one, in its turn.
        """
        self.journal.refresh()
        for each in self.sample.drawn:
            if self.has_answer(each):
                continue
            if each.id in self.journal.labels:
                self.answer(each, self.journal.labels[each.id])
            elif self.journal.claim(each.id):
                self.journal.refresh()
                if not self.has_answer(each):
                    return each
                self.journal.release(each.id)  # another session has answered since
        return None

    def answer(self, drawn: Drawn, label: str) -> None:
        """Write an answer down."""
        line = GoldAnswer(
            drawn.id,
            label,
            drawn.source,
            drawn.source_id,
            drawn.weight,
            drawn.stratum,
            drawn.documents,
            self.sample.draw,
        )
        self.journal.append(line)

    def answered(self) -> int:
        """How many documents of the sample have an answer."""
        return sum(map(self.has_answer, self.sample.drawn))

    def has_answer(self, drawn: Drawn) -> bool:
        """Whether a document of the sample has an answer."""
        return (self.sample.draw, drawn.id) in self.journal.asked

    def find(self, own: bytes) -> Drawn | None:
        """The document of the sample with an id."""
        return self._by_id.get(own)

    def read(self, drawn: Drawn) -> Document:
        """What is shown of a document."""
        part = self._table.documents.part(drawn.shard.name)
        values = read_row(part, drawn.row, ["text", "url"])
        row = self._table.read(drawn.shard, self._shown).slice(drawn.row, 1).to_pylist()[0] if self._shown else {}
        scores = [(name, _plain(value)) for name, value in row.items()]
        text, parts, end = values["text"], [], 0
        for start, stop in passages(text, self._chars):
            parts.append((start - end, text[start:stop]))
            end = stop
        return Document(drawn, values["url"], len(text), parts, scores)


class Person:
    """One who is asked: a terminal or a window of the page; answers can be taken back one by one.

    Parameters
    ----------
    questions
        Where documents come from.
    """

    def __init__(self, questions: Questions) -> None:
        self.questions = questions
        self._current: Drawn | None = None
        self._before: list[Drawn] = []
        self._put_off: list[Drawn] = []

    def current(self) -> Drawn | None:
        """The document that the person is asked about; None when none is left."""
        if self._current is None:
            self._current = self._put_off.pop() if self._put_off else self.questions.next()
        return self._current

    def place(self) -> int:
        """Number of the current question, counted from 1."""
        again = [each for each in (self._current, *self._put_off) if each and self.questions.has_answer(each)]
        return self.questions.answered() + 1 - len(again)

    def answer(self, label: str) -> None:
        """Answer the current question."""
        drawn = self.current()
        if drawn is None:
            raise ValueError("there is no question")
        self.questions.answer(drawn, label)
        self.questions.journal.release(drawn.id)
        self._before.append(drawn)
        self._current = None

    @property
    def can_go_back(self) -> bool:
        """Whether the person has answered anything."""
        return bool(self._before)

    def back(self) -> bool:
        """Ask about the document before again: its answer counts until there is another; False when there is none."""
        if not self._before:
            return False
        if self._current is not None:
            self._put_off.append(self._current)
        self._current = self._before.pop()
        self.questions.journal.claim(self._current.id)
        return True

    def leave(self) -> None:
        """Let others be asked about what this person has not answered."""
        for drawn in (*self._put_off, *([self._current] if self._current else [])):
            self.questions.journal.release(drawn.id)
        self._current = None
        self._put_off.clear()


def _plain(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else "null" if value is None else str(value)
