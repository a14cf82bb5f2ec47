"""Near-duplicates of text without spaces: its n-grams are of characters, with no language code and no dictionary."""

import random
from pathlib import Path

import pytest

from curate.stages.minhash import MinHash
from tests.corpus import make_table
from tests.duplicates import find

SYLLABLES = [consonant + vowel for consonant in "กขคงจชดตทนบปพมยรลวสห" for vowel in ("า", "ี", "ุ", "้", "ิ่")]
LETTERS = {
    "zh": [chr(code) for code in range(0x4E00, 0x4E00 + 900)],
    "ja": [chr(code) for code in [*range(0x3042, 0x3094), *range(0x65E5, 0x65E5 + 200)]],
    "th": SYLLABLES,
}


def edited(rng: random.Random, letters: list[str], text: list[str], changes: int) -> list[str]:
    for position in rng.sample(range(len(text)), changes):
        text = [*text[:position], rng.choice(letters), *text[position + 1 :]]
    return text


@pytest.mark.parametrize("language", LETTERS)
@pytest.mark.parametrize("unit", ["word", "char"])
def test_edited_copies_are_found_and_others_are_not(tmp_path: Path, language: str, unit: str) -> None:
    rng, letters = random.Random(7), LETTERS[language]
    originals = [rng.choices(letters, k=400) for _ in range(12)]
    copies = [edited(rng, letters, text, changes=6) for text in originals[:6]]
    texts = ["".join(text) for text in [*originals, *copies]]
    parts = [texts[0][start : start + 20] for start in range(0, len(texts[0]), 20)]
    texts.append("。\n".join(parts))  # differs in layout and punctuation
    assert not any(" " in text for text in texts)
    _, columns = find(MinHash(unit=unit), make_table(tmp_path, {"web": texts}), tmp_path)
    clusters = columns["minhash_cluster"].to_list()
    assert clusters == [0, 1, 2, 3, 4, 5, *[None] * 6, 0, 1, 2, 3, 4, 5, 0]
    assert columns["minhash_keep"].sum() == 12
