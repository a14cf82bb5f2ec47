"""The reader of gold files: what a line may be, which line counts, and what the weights add up to."""

import json
import logging
import random
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.errors import ConfigError
from curate.weak.gold.file import LABELS, PROBLEMS, GoldAnswer, parse, read_gold, weighted
from tests.examples import examples


def own(number: int) -> bytes:
    return number.to_bytes(16, "big")


def write(path: Path, *lines: dict[str, Any] | str) -> str:
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return str(path)


def test_lines_as_other_programs_write_them(tmp_path: Path) -> None:
    """Only id and label are needed; fields that are not known are passed over; the last line about an id counts."""
    path = write(
        tmp_path / "gold.jsonl",
        {"id": own(1).hex(), "source": "web", "source_id": "a", "label": "keep", "weight": 2.5, "stratum": "web"},
        {"id": own(2).hex(), "label": "skip"},
        "",
        {"label": "drop", "id": own(3).hex(), "note": {"by": "me"}},
        {"id": own(1).hex(), "label": "drop", "weight": 4},
        {"id": own(4).hex(), "label": "keep"},
        {"id": own(4).hex(), "label": "skip"},
    )
    ids, labels, weights = read_gold(path)
    assert (ids.dtype, labels.dtype, weights.dtype) == (np.uint8, np.int8, np.float64)
    assert [bytes(each) for each in ids] == [own(1), own(3)]
    assert labels.tolist() == [0, 0]
    assert weights.tolist() == [4.0, 1.0]


def test_nothing_in_a_file(tmp_path: Path) -> None:
    for lines in ((), ({"id": own(2).hex(), "label": "skip"},)):
        ids, labels, weights = read_gold(write(tmp_path / "gold.jsonl", *lines))
        assert (ids.shape, labels.shape, weights.shape) == ((0, 16), (0,), (0,))


GOOD = {"id": own(1).hex(), "label": "keep"}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "is not JSON"),
        ("[1]", "is not a JSON object"),
        ({"label": "keep"}, "has no id"),
        ({}, "has no id and no label"),
        ({"id": own(1).hex()}, "has no label"),
        (GOOD | {"label": "kepe"}, "label is \"kepe\"\n    did you mean 'keep'?"),
        (GOOD | {"label": 1}, "label is 1\n    valid: keep, drop, skip"),
        (GOOD | {"id": "12ab"}, 'id is "12ab"\n    32 hexadecimal digits in lower case'),
        (GOOD | {"id": own(255).hex().upper()}, "id is"),
        (GOOD | {"weight": 0}, "weight is 0\n    a number above 0"),
        (GOOD | {"weight": -1.5}, "weight is -1.5"),
        (GOOD | {"weight": True}, "weight is true"),
        (GOOD | {"weight": None}, "weight is null"),
        (GOOD | {"documents": 1.5}, "documents is 1.5\n    a whole number"),
        (GOOD | {"stratum": 3}, "stratum is 3\n    a text"),
        (GOOD | {"draw": ["x" * 100]}, "draw is"),
    ],
)
def test_bad_lines(tmp_path: Path, line: dict[str, Any] | str, message: str) -> None:
    path = write(tmp_path / "gold.jsonl", GOOD, "", line, GOOD)
    with pytest.raises(ConfigError) as caught:
        read_gold(path)
    assert str(caught.value).startswith(f"{path}:3: {message}")
    assert len(caught.value.problems) == 1


def test_all_bad_lines_at_once(tmp_path: Path) -> None:
    path = write(tmp_path / "gold.jsonl", *["x"] * (PROBLEMS + 7), GOOD)
    with pytest.raises(ConfigError) as caught:
        read_gold(path)
    assert [each.where[0] for each in caught.value.problems[:2]] == [f"{path}:1", f"{path}:2"]
    assert len(caught.value.problems) == PROBLEMS + 1
    assert "and 7 more bad lines" in str(caught.value)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none.jsonl: there is no gold file"):
        read_gold(str(tmp_path / "none.jsonl"))
    with pytest.raises(ConfigError, match="is a folder"):
        read_gold(str(tmp_path))


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_a_last_line_that_is_half_written(tmp_path: Path, caplog: pytest.LogCaptureFixture, cut: int) -> None:
    lines = GoldAnswer(own(1), "keep").line() + GoldAnswer(own(2), "drop").line()
    path = tmp_path / "gold.jsonl"
    path.write_bytes(lines[:-cut])
    with caplog.at_level(logging.WARNING):
        gold = read_gold(str(path))
    if cut == 1:  # whole but for its end
        assert gold.labels.tolist() == [1, 0]
        assert not caplog.text
    else:
        assert gold.labels.tolist() == [1]
        assert "the last line is half written" in caplog.text
    path.write_bytes(lines[:-20] + b"\n")
    with pytest.raises(ConfigError, match=r"gold.jsonl:2: is not JSON"):
        read_gold(str(path))


@given(st.text(max_size=20), st.floats(1e-9, 1e12), st.sampled_from(LABELS), st.integers(0, 10**12))
def test_what_is_written_is_read(text: str, weight: float, label: str, documents: int) -> None:
    answer = GoldAnswer(own(7), label, text, text, weight, text, documents, text)
    line = answer.line()
    assert line.count(b"\n") == 1
    assert parse(line, "gold.jsonl") == [answer]


def reference_weights(answers: list[GoldAnswer]) -> dict[bytes, Fraction]:
    """Mean over draws, each by its share of all answers, of N / m in the document's stratum."""
    last = {answer.id: answer.label for answer in answers}
    names = {answer.draw for answer in answers}
    members = {
        name: {answer.id: answer for answer in answers if answer.draw == name and last[answer.id] != "skip"}
        for name in names
    }
    total = sum(map(len, members.values()))
    found: dict[bytes, Fraction] = {}
    for inside in members.values():
        for answer in inside.values():
            same = sum(other.stratum == answer.stratum for other in inside.values())
            found.setdefault(answer.id, Fraction(0))
            found[answer.id] += Fraction(len(inside), total) * Fraction(answer.documents, same)
    return found


@examples(60)
@given(
    st.lists(
        st.tuples(st.integers(0, 9), st.sampled_from(LABELS), st.sampled_from(["x", "y"])), min_size=1, max_size=30
    )
)
def test_weights_are_those_of_the_reference(said: list[tuple[int, str, str]]) -> None:
    """In draw x a document's stratum is its parity (5 and 7 documents); in draw y there is one of 12."""
    answers = [
        GoldAnswer(
            own(n),
            label,
            stratum=str(n % 2) if name == "x" else "",
            documents=[5, 7][n % 2] if name == "x" else 12,
            draw=name,
        )
        for n, label, name in said
    ]
    ids, labels, weights = weighted(answers)
    expected = reference_weights(answers)
    assert {bytes(each): weight for each, weight in zip(ids, weights.tolist(), strict=True)} == pytest.approx(
        {name: float(weight) for name, weight in expected.items()}
    )
    last = {answer.id: answer.label for answer in answers}
    assert [last[bytes(each)] for each in ids] == ["keep" if label else "drop" for label in labels]


def test_two_draws_make_one_estimate_without_bias() -> None:
    """Documents of two overlapping draws of other strata and sizes: the mean of weighted totals is the total."""
    rng = random.Random(8)
    value = [n % 5 + 10 * (n > 40) for n in range(60)]
    totals = []
    for _ in range(1500):
        answers = []
        for stratum, members, take in (("low", range(40), 4), ("high", range(40, 60), 3)):
            answers += [
                GoldAnswer(own(n), "keep", stratum=stratum, documents=len(members), draw="x")
                for n in rng.sample(list(members), take)
            ]
        answers += [GoldAnswer(own(n), "keep", documents=60, draw="y") for n in rng.sample(range(60), 12)]
        gold = weighted(answers)
        assert gold.weights.sum() == pytest.approx(60)
        totals.append(sum(weight * value[each[-1]] for each, weight in zip(gold.ids, gold.weights, strict=True)))
    assert abs(np.mean(totals) - sum(value)) < 4 * np.std(totals) / len(totals) ** 0.5
