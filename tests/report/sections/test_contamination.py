"""What the report says of benchmark items that stand in documents."""

import json
from pathlib import Path

import pytest

from curate import Pipeline
from curate.report.build import build


def words(count: int, start: int) -> str:
    return " ".join(f"w{number}" for number in range(start, start + count))


def report(path: Path, texts: dict[str, list[str]], benchmarks: dict[str, list[str]], *, cut: bool = False) -> tuple:
    path.mkdir(exist_ok=True)
    for name, rows in (texts | benchmarks).items():
        lines = [json.dumps({"id": f"{name}-{n}", "text": text}) for n, text in enumerate(rows)]
        (path / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    files = {name: {"path": str(path / f"{name}.jsonl")} for name in texts | benchmarks}
    stages = {
        "read": {"sources": {name: files[name] for name in texts}},
        "decontaminate": {"benchmarks": {name: files[name] for name in benchmarks}},
    }
    stages |= {"cut_contamination": {}} if cut else {}
    Pipeline.from_mapping({"run": {"root": str(path / "run")}, "engine": {"workers": 0}, "stages": stages}).run()
    build(str(path / "run"))
    return json.loads((path / "run" / "report.json").read_text()), (path / "run" / "report.html").read_text()


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple:
    benchmarks = {"quiz": [words(40, 0), words(40, 100), "too short"], "tiny": ["two words", "one", words(30, 900)]}
    whole, third, clean = words(40, 0), words(20, 100), "nothing of the kind"
    texts = {"web": [whole, f"{whole} {third}", clean], "books": [third, clean]}
    return report(tmp_path_factory.mktemp("told") / "it", texts, benchmarks, cut=True)


def test_items_and_documents_are_counted_by_benchmark_and_source(told: tuple) -> None:
    (found,) = told[0]["contamination"]
    quiz, tiny = found["benchmarks"]["quiz"], found["benchmarks"]["tiny"]
    assert {key: quiz[key] for key in ("items", "checkable", "short", "hit", "mostly")} == {
        "items": 3,
        "checkable": 2,
        "short": 1,
        "hit": 2,
        "mostly": 1,
    }
    assert quiz["documents"] == {"hit": 3, "mostly": 2, "ngrams": 28 + 28 + 8 + 8}
    assert quiz["sources"]["books"] == {"documents": 1, "mostly": 0, "ngrams": 8}
    assert [(top["item"], top["documents"]) for top in quiz["top"]] == [("quiz-0", 2), ("quiz-1", 2)]
    assert found["documents"]["web"] == {"in": 3, "hit": 2, "mostly": 2, "shared_only": 0}
    assert tiny["hit"] == tiny["documents"]["hit"] == 0


def test_the_page_states_the_finding_and_what_could_not_be_looked_for(told: tuple) -> None:
    said = "2 benchmark items of 3 have an n-gram in a document; 3 documents have one, and 2 half of an item or more"
    assert said in told[1]
    assert "2 of 3 items of tiny cannot be looked for: 2 have too few words, 0 no n-gram of their own." in told[1]
    assert "items of quiz cannot be looked for" not in told[1]


def test_text_that_was_cut_is_not_called_repeated(told: tuple) -> None:
    (cut,) = told[0]["removed"]
    assert cut["sources"]["web"] == {
        "spans": 2,
        "bytes": 2 * len(words(40, 0)),
        "touched": 2,
        "emptied": 1,
        "bytes_in": 2 * len(words(40, 0)) + 1 + len(words(20, 100)) + len("nothing of the kind"),
        "documents_in": 3,
    }
    assert "Text cut out" in told[1]
    assert "stood elsewhere" not in told[1]


def test_a_clean_corpus_is_said_to_be_clean(tmp_path: Path) -> None:
    facts, page = report(tmp_path, {"web": ["nothing of the kind"]}, {"quiz": [words(30, 0)]})
    assert facts["contamination"][0]["benchmarks"]["quiz"]["hit"] == 0
    assert "No document has anything in common with a benchmark item" in page
