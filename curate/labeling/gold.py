"""Gold: documents that a person has called keep or drop, with the weight of each in a random sample."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate.labeling.config import CODES
from curate.labeling.functions import read_bytes

SKIP = "skip"
UNKNOWN = -1
NO_JSON = "is not JSON"
_ID = re.compile(r"[0-9a-fA-F]{32}")


@dataclass(frozen=True)
class Gold:
    """Answers about documents.

    Parameters
    ----------
    ids
        Of the documents with an answer, binary(16).
    labels
        0 drop, 1 keep, int8, shape (answers,).
    weights
        Inverse inclusion probabilities, shape (answers,).
    skipped
        Documents that nobody could decide on.
    """

    ids: pa.Array
    labels: NDArray[np.int8]
    weights: NDArray[np.float64]
    skipped: int = 0

    def __len__(self) -> int:
        return len(self.ids)

    def of(self, ids: pa.Array) -> tuple[NDArray[np.int8], NDArray[np.float64]]:
        """Labels of documents, -1 for unknown, and their weights, 1 for unknown, shape (documents,) each."""
        labels, weights = np.full(len(ids), UNKNOWN, np.int8), np.ones(len(ids))
        if len(self):
            place = (
                pc.call_function("index_in", [ids], pc.SetLookupOptions(self.ids))
                .fill_null(UNKNOWN)
                .to_numpy(zero_copy_only=False)
            )
            known = place >= 0
            labels[known], weights[known] = self.labels[place[known]], self.weights[place[known]]
        return labels, weights


def read_gold(path: str) -> Gold:
    r"""Read a gold file: JSON lines with ``id``, ``label`` and ``weight``; the last line about a document counts.

    Raises
    ------
    ValueError
        Lines that are none, with their numbers.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile() as file:
    ...     _ = file.write(b'{"id": "%032x", "label": "keep", "weight": 2.5}\n' % 7)
    ...     file.flush()
    ...     gold = read_gold(file.name)
    >>> gold.labels.tolist(), gold.weights.tolist()
    ([1], [2.5])
    """
    answers: dict[bytes, tuple[str, float]] = {}
    wrong: list[str] = []
    lines = read_bytes(path).split(b"\n")
    if lines[-1] and list(_complaints(lines[-1])) == [NO_JSON]:
        lines.pop()  # what a writer that was killed has left of its last line
    for number, line in enumerate(lines, start=1):
        if line.strip():
            for complaint in _complaints(line):
                wrong.append(f"line {number} {complaint}")
                break
            else:
                entry = orjson.loads(line)
                answers[bytes.fromhex(entry["id"])] = entry["label"], float(entry.get("weight", 1.0))
    if wrong:
        raise ValueError("; ".join(wrong[:3]) + (f"; and {len(wrong) - 3} more" if len(wrong) > 3 else ""))
    decided = {own: answer for own, answer in answers.items() if answer[0] != SKIP}
    labels = np.array([CODES[label] for label, _ in decided.values()], np.int8)
    weights = np.array([weight for _, weight in decided.values()], np.float64)
    return Gold(pa.array(list(decided), pa.binary(16)), labels, weights, len(answers) - len(decided))


def _complaints(line: bytes) -> Iterator[str]:
    """What is wrong with a line."""
    try:
        entry: Any = orjson.loads(line)
    except orjson.JSONDecodeError:
        yield NO_JSON
        return
    if not isinstance(entry, dict):
        yield "is no JSON object"
        return
    own, label, weight = entry.get("id"), entry.get("label"), entry.get("weight", 1.0)
    if not isinstance(own, str) or not _ID.fullmatch(own):
        yield "has no `id` of 32 hexadecimal digits"
    if label not in (*CODES, SKIP):
        yield f"has the label {label!r}, which is not keep, drop or skip"
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 < weight < math.inf:
        yield f"has the weight {weight!r}, which is no number above 0"
