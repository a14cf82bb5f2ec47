"""Stop words by language: lists from a file and from the package, languages without one, files that are no lists."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from curate.stage import Known
from curate.stages.stopwords import StopWordCounts
from curate.text.batch import TextBatch
from tests.signals.test_stopwords import reference_counts

CODE = pa.dictionary(pa.int32(), pa.string())
LISTS = {"en": ["the", "and", "don't"], "de": ["der", "die", "und"], "zh": ["我们", "的"], "hin_Latn": ["hai"]}


@pytest.fixture
def lists(tmp_path: Path) -> str:
    path = tmp_path / "lists.json"
    path.write_text(json.dumps(LISTS))
    return str(path)


def counted(texts: list[str], codes: list[str | None], **fields: Any) -> list[tuple[Any, ...]]:
    stage = StopWordCounts(**fields)
    columns = pa.RecordBatch.from_arrays([pa.array(codes, CODE)], ["lang_code"])
    out = stage.load()(TextBatch(pa.array(texts, pa.large_string())), columns)
    assert out.schema == stage.columns()
    return list(zip(*(column.to_pylist() for column in out.columns), strict=True))


def test_each_document_is_counted_by_the_list_of_its_language(lists: str) -> None:
    texts = ["The cat and the dog don't mind.", "Der Hund und die Katze\r\n und der Mann", "我们的猫。", "the und 我们"]
    found = counted([*texts, *texts], ["en", "de", "zh", "de", "eng_Latn", "deu_Latn", "cmn_Hani", "de"], lists=lists)
    expected = [reference_counts(t, LISTS[code]) for t, code in zip(texts, ["en", "de", "zh", "de"], strict=True)]
    wanted = [(covered, distinct, covered / words) for words, covered, distinct in expected]
    assert found == wanted * 2
    assert wanted[0] == (5, 3, 5 / 8)


def test_no_list_no_language_no_words(lists: str) -> None:
    texts = ["the und", "the und", "the und", "!\n", "yeh hai"]
    found = counted(texts, ["fr", None, "zxx", "en", "hin_Latn"], lists=lists)
    assert found == [(None,) * 3] * 3 + [(0, 0, None), (1, 1, 0.5)]


def test_lists_of_the_package() -> None:
    texts = {"de": "Das ist ein Haus und es ist nicht groß.", "en": "This is a house and it is not large."}
    for code, text in texts.items():
        other = "de" if code == "en" else "en"
        ((_, own, share), (_, foreign, _)) = counted([text, text], [code, other])
        assert own > foreign + 2
        assert share > 0.5
    assert counted(["มันเป็นของเขา"], ["th"])[0][0] > 0


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("[", "is not JSON"),
        ("{}", "has no lists by language"),
        ('["der"]', "has no lists by language"),
        ('{"de": "der"}', "has no list for 'de'"),
        ('{"de": ["der", 1]}', "has something else than words for 'de'"),
    ],
)
def test_a_file_that_is_no_lists(tmp_path: Path, content: str, complaint: str) -> None:
    path = tmp_path / "lists.json"
    path.write_text(content)
    (problem,) = StopWordCounts(lists=str(path)).check(Known(pa.schema([("lang_code", CODE)]), {}, {}))
    assert problem.where == ("lists",)
    assert complaint in problem.message


def test_a_language_that_is_a_number(lists: str) -> None:
    known = Known(pa.schema([("lang_score", pa.float32()), ("lang_code", CODE)]), {}, {})
    (problem,) = StopWordCounts(lists=lists, language="lang_score").check(known)
    assert problem.message == "'lang_score' is float, and a language is a code in text"
    assert list(StopWordCounts(lists=lists).check(known)) == []
    assert StopWordCounts(language="lang").place("lang") == ("language",)


def test_lists_that_are_not_there() -> None:
    assert "stopwords-iso" in StopWordCounts(lists="nowhere.json").where_to_get("lists")
