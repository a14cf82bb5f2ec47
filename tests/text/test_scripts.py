"""Scripts against a count character by character."""

import unicodedata
from collections import Counter

import numpy as np
import pytest
from fontTools.unicodedata import script as script_of
from hypothesis import given
from hypothesis import strategies as st

from curate.text.scripts import script_table, scripts

SAMPLE = "aZñ Дd\nжλ東京のカー한글हिन्दीกำʰªµ٣ع𝒜𠮷!1ﬁ"
texts = st.lists(st.text(st.one_of(st.sampled_from(SAMPLE), st.characters(exclude_categories=["Cs"])), max_size=40))


def reference_script(text: str) -> tuple[str, float | None, int]:
    letters = [script_of(char) for char in text if unicodedata.category(char).startswith("L")]
    counts = Counter(code for code in letters if code not in ("Zyyy", "Zinh", "Zzzz"))
    kana = counts["Hira"] + counts["Kana"]
    if kana and 20 * kana >= kana + counts["Hani"]:
        counts["Jpan"] = kana + counts["Hani"]
        del counts["Hira"], counts["Kana"], counts["Hani"]
    best = min((code for code in counts if counts[code]), key=lambda code: (-counts[code], code), default="")
    return best, counts[best] / counts.total() if best else None, len(letters)


def scripts_of(texts: list[str]) -> list[tuple[str, float | None, int]]:
    encoded = [text.encode() for text in texts]
    offsets = np.cumsum([0, *map(len, encoded)]).astype(np.int64)
    script, share, letters = scripts(np.frombuffer(b"".join(encoded), np.uint8), offsets)
    names = script_table()[0]
    shares = [None if np.isnan(value) else float(value) for value in share]
    return list(zip([names[index] for index in script], shares, letters.tolist(), strict=True))


@given(texts)
def test_scripts_are_those_of_a_count(texts: list[str]) -> None:
    assert scripts_of(texts) == [reference_script(text) for text in texts]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Ово је српски текст", "Cyrl"),
        ("Ovo je srpski tekst", "Latn"),
        ("中华人民共和国", "Hani"),
        ("東京は日本の首都です", "Jpan"),
        ("대한민국의 수도는 서울", "Hang"),
        ("ภาษาไทย", "Thai"),
        ("اللغة العربية", "Arab"),
        ("हिन्दी भाषा", "Deva"),
    ],
)
def test_languages_in_their_scripts(text: str, code: str) -> None:
    assert scripts_of([text])[0][0] == code


def test_one_letter_in_twenty_makes_it_japanese() -> None:
    assert [code for code, _, _ in scripts_of(["中" * 19 + "の", "中" * 20 + "の"])] == ["Jpan", "Hani"]


def test_of_equal_counts_the_first_code_wins_and_no_letters_give_none() -> None:
    assert scripts_of(["жa", "aж", "", "12 !", "ʰ\n"])[:2] == [("Cyrl", 0.5, 2)] * 2
    assert scripts_of(["", "12 !?\r\n"]) == [("", None, 0)] * 2
