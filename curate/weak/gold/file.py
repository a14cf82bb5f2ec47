"""The gold file: what people say of documents, one JSON object a line, and the weights that make a sample a corpus.

A line about a document::

    {"id": "<32 hex digits>", "source": "web", "source_id": "17", "label": "keep", "weight": 40.0,
     "stratum": "web 2/5", "documents": 800, "draw": "0f3a..."}

``label`` is ``keep``, ``drop`` or ``skip``; the last line about an id counts. ``id`` and ``label`` suffice in a file
written by hand, whose weights are then 1.

Weights. Within a stratum of N documents people are asked in an order that is a uniform permutation of them, so, given
that m of them have an answer, each had the chance m / N of being among these: the weight is N / m, whether the sample
was finished or not (Horvitz and Thompson, "A generalization of sampling without replacement from a finite universe",
JASA 47, 1952, given the numbers by stratum, that is, after stratification). A skipped document counts as one that was
not asked. Answers of several draws (another seed, other strata) make one estimate each of any total over the corpus;
the weights here are those of their mean, each draw counted by its number of answers, which is as unbiased as they are
however much the draws overlap.
"""

import logging
import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate import storage
from curate.errors import ConfigError, Problem, nearest

LABELS = ("keep", "drop", "skip")
PROBLEMS = 20  # bad lines that are named
UNKNOWN = -1  # label of a document that nobody has judged
NO_DRAW = ""  # draw of lines that belong to none: their weights are as they say

_ID = re.compile(r"[0-9a-f]{32}")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class GoldAnswer:
    """One line of a gold file.

    Parameters
    ----------
    id
        16 bytes.
    label
        ``keep``, ``drop`` or ``skip``.
    source, source_id
        The document's source, and its own name there.
    weight
        Inverse inclusion probability in the sample that was being asked about when the line was written.
    stratum
        Part of the corpus that the document was drawn from.
    documents
        Number of documents of the stratum; 0 where the line does not say.
    draw
        Names the order that documents were drawn in, and the strata; ``NO_DRAW`` where the line does not say.
    """

    id: bytes
    label: str
    source: str = ""
    source_id: str = ""
    weight: float = 1.0
    stratum: str = ""
    documents: int = 0
    draw: str = NO_DRAW

    def line(self) -> bytes:
        r"""The answer as the file has it, with its end of line.

        Examples
        --------
        >>> GoldAnswer(bytes(16), "keep", "web", "7", 2.5, "web", 5, "0f").line()[-63:]
        b'"keep","weight":2.5,"stratum":"web","documents":5,"draw":"0f"}\n'
        """
        fields = {"id": self.id.hex(), "source": self.source, "source_id": self.source_id, "label": self.label}
        fields |= {"weight": self.weight, "stratum": self.stratum, "documents": self.documents, "draw": self.draw}
        return orjson.dumps(fields, option=orjson.OPT_APPEND_NEWLINE)


class Gold(NamedTuple):
    """Labels that people gave, without those of skipped documents.

    Parameters
    ----------
    ids
        Shape (labels, 16).
    labels
        1 keep, 0 drop, shape (labels,).
    weights
        How many documents of the corpus each stands for, shape (labels,).
    """

    ids: NDArray[np.uint8]
    labels: NDArray[np.int8]
    weights: NDArray[np.float64]

    def of(self, ids: pa.Array) -> tuple[NDArray[np.int8], NDArray[np.float64]]:
        """Labels of documents, -1 for unknown, and their weights, 1 for unknown.

        Parameters
        ----------
        ids
            Binary of 16 bytes, shape (documents,).
        """
        known = pa.array([own.tobytes() for own in self.ids], pa.binary(16))
        place = pc.call_function("index_in", [ids], pc.SetLookupOptions(known)).fill_null(-1).to_numpy()
        labels, weights = np.full(len(ids), UNKNOWN, np.int8), np.ones(len(ids))
        labels[place >= 0], weights[place >= 0] = self.labels[place[place >= 0]], self.weights[place[place >= 0]]
        return labels, weights


def read_gold(path: str) -> Gold:
    """Labels and weights of a gold file, documents in the order in which they were first named.

    Parameters
    ----------
    path
        The file, local or an fsspec URL. A last line that is half written is left out, and that is logged.

    Raises
    ------
    ConfigError
        There is no such file, or lines of it are wrong: each with ``file:line``.
    """
    return weighted(read_answers(path))


def read_answers(path: str) -> list[GoldAnswer]:
    """All lines of a gold file; raises as `read_gold` does."""
    try:
        with storage.filesystem(path)[0].open(storage.filesystem(path)[1], "rb") as file:
            data: bytes = file.read()  # type: ignore[assignment]
    except FileNotFoundError:
        raise ConfigError([Problem((path,), "there is no gold file", "`curate label RUN` writes one")]) from None
    except IsADirectoryError:
        raise ConfigError([Problem((path,), "is a folder, not a gold file")]) from None
    whole, torn = split_torn(data)
    if torn:
        _log.warning("%s: the last line is half written (%d bytes) and is left out", path, len(torn))
    return parse(whole, path)


def split_torn(data: bytes) -> tuple[bytes, bytes]:
    r"""The whole lines of a gold file, and what a killed writer left of a last one.

    Examples
    --------
    >>> split_torn(b'{"a":1}\n{"b'), split_torn(b'{"a":1}\n{"b":2}')
    ((b'{"a":1}\n', b'{"b'), (b'{"a":1}\n{"b":2}', b''))
    """
    end = data.rfind(b"\n") + 1
    last = data[end:]
    try:
        return (data, b"") if not last.strip() or isinstance(orjson.loads(last), dict) else (data[:end], last)
    except orjson.JSONDecodeError:
        return data[:end], last


def parse(data: bytes, path: str, first_line: int = 1) -> list[GoldAnswer]:
    """The answers in some lines; empty ones are passed over.

    Parameters
    ----------
    data
        Lines.
    path, first_line
        Where they stand, for messages.

    Raises
    ------
    ConfigError
        Lines are wrong: each with ``file:line``.
    """
    answers: list[GoldAnswer] = []
    problems: list[Problem] = []
    for number, line in enumerate(data.split(b"\n"), first_line):
        if line.strip():
            found = _answer(line)
            if isinstance(found, GoldAnswer):
                answers.append(found)
            else:
                problems.append(Problem((f"{path}:{number}",), *found))
    if problems:
        rest = len(problems) - PROBLEMS
        more = [Problem((path,), f"and {rest:,} more bad lines")] if rest > 0 else []
        raise ConfigError(problems[:PROBLEMS] + more)
    return answers


def _answer(line: bytes) -> GoldAnswer | tuple[str, str]:
    """A line as an answer; or what is wrong with it, and a hint."""
    try:
        fields = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return f"is not JSON: {error.msg}", ""
    if not isinstance(fields, dict):
        return "is not a JSON object", 'for example {"id": "...", "label": "keep"}'
    for name, fits, wanted in _FIELDS:
        if name in fields and not fits(fields[name]):
            hint = nearest(fields[name], LABELS) if name == "label" and isinstance(fields[name], str) else wanted
            return f"{name} is {_short(fields[name])}", hint
    missing = [name for name in ("id", "label") if name not in fields]
    if missing:
        return f"has no {' and no '.join(missing)}", 'for example {"id": "...", "label": "keep"}'
    known: dict[str, Any] = {name: fields[name] for name, _, _ in _FIELDS if name in fields and name != "id"}
    return GoldAnswer(bytes.fromhex(fields["id"]), **known)


def _short(value: Any) -> str:
    text = orjson.dumps(value).decode()
    return text if len(text) <= 60 else text[:57] + "..."


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_id(value: Any) -> bool:
    return isinstance(value, str) and _ID.fullmatch(value) is not None


def _is_weight(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value > 0


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_label(value: Any) -> bool:
    return isinstance(value, str) and value in LABELS


_FIELDS = (
    ("id", _is_id, "32 hexadecimal digits in lower case"),
    ("label", _is_label, f"valid: {', '.join(LABELS)}"),
    ("source", _is_text, "a text"),
    ("source_id", _is_text, "a text"),
    ("weight", _is_weight, "a number above 0"),
    ("stratum", _is_text, "a text"),
    ("documents", _is_count, "a whole number, not negative"),
    ("draw", _is_text, "a text"),
)


def weighted(answers: Sequence[GoldAnswer]) -> Gold:
    """Labels of documents by the last line about each, and their weights.

    Parameters
    ----------
    answers
        Lines of a gold file, in its order.

    Examples
    --------
    Two of four documents of one stratum, and one of two of another; the second line about the first document counts:

    >>> first, second, third = (bytes([n]) * 16 for n in range(3))
    >>> said = [(first, "drop", "a", 4), (second, "keep", "a", 4), (third, "drop", "b", 2), (first, "keep", "a", 4)]
    >>> lines = [GoldAnswer(own, label, stratum=part, documents=n, draw="x") for own, label, part, n in said]
    >>> gold = weighted(lines)
    >>> gold.labels.tolist(), gold.weights.tolist()
    ([1, 1, 0], [2.0, 2.0, 2.0])
    """
    said = labels_of(answers)
    drawn = {(each.draw, each.id): each for each in answers if said[each.id] != "skip"}
    by_draw = Counter(draw for draw, _ in drawn)
    by_stratum = Counter((each.draw, each.stratum) for each in drawn.values())
    weights = {own: 0.0 for own, label in said.items() if label != "skip"}
    for each in drawn.values():
        stands_for = each.documents / by_stratum[each.draw, each.stratum] if each.documents else each.weight
        weights[each.id] += stands_for * by_draw[each.draw] / len(drawn)
    ids = np.frombuffer(b"".join(weights), np.uint8).reshape(-1, 16)
    labels = np.array([said[own] == "keep" for own in weights], np.int8)
    return Gold(ids, labels, np.fromiter(weights.values(), np.float64, len(weights)))


def labels_of(answers: Iterable[GoldAnswer]) -> dict[bytes, str]:
    """The label of each document, by the last line about it, in the order in which they were first named."""
    return {each.id: each.label for each in answers}
