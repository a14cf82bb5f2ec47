"""Gold files: the last answer counts, skipped documents have none, mistakes are named by line."""

import json
from pathlib import Path

import pyarrow as pa
import pytest

from curate.labeling.gold import read_gold


def written(path: Path, *entries: dict | str) -> str:
    lines = [entry if isinstance(entry, str) else json.dumps(entry) for entry in entries]
    (path / "gold.jsonl").write_text("\n".join(lines) + "\n")
    return str(path / "gold.jsonl")


def answer(number: int, label: str, **more: object) -> dict:
    return {"id": f"{number:032x}", "source": "web", "source_id": str(number), "label": label, **more}


def test_the_last_line_about_a_document_counts(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        answer(1, "keep", weight=2.0),
        answer(2, "drop"),
        answer(3, "skip", weight=2.0),
        "",
        answer(1, "drop", weight=3.0),
        answer(4, "keep"),
        answer(4, "skip"),
    )
    gold = read_gold(path)
    ids = pa.array([bytes.fromhex(f"{number:032x}") for number in (4, 2, 9, 1)], pa.binary(16))
    labels, weights = gold.of(ids)
    assert labels.tolist() == [-1, 0, -1, 0]
    assert weights.tolist() == [1.0, 1.0, 1.0, 3.0]
    assert (len(gold), gold.skipped) == (2, 2)


def test_a_file_without_answers(tmp_path: Path) -> None:
    gold = read_gold(written(tmp_path, answer(3, "skip")))
    labels, _ = gold.of(pa.array([bytes(16)], pa.binary(16)))
    assert labels.tolist() == [-1]


def test_half_a_last_line_is_no_answer(tmp_path: Path) -> None:
    path = tmp_path / "gold.jsonl"
    path.write_text(json.dumps(answer(1, "keep")) + "\n" + json.dumps(answer(2, "drop"))[:-9])
    assert len(read_gold(str(path))) == 1
    path.write_text(json.dumps(answer(1, "keep")) + "\n" + json.dumps(answer(2, "drop")))
    assert len(read_gold(str(path))) == 2


def test_mistakes_are_named_by_line(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        answer(1, "keep"),
        "{",
        "[]",
        answer(1, "good"),
        {"id": "12", "label": "keep"},
        answer(1, "keep", weight=0),
    )
    with pytest.raises(ValueError, match="line 2 is not JSON") as error:
        read_gold(path)
    said = "line 2 is not JSON; line 3 is no JSON object; line 4 has the label 'good', which is not keep, drop or skip"
    assert str(error.value) == f"{said}; and 2 more"
