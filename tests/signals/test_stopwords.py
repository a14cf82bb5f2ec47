"""Stop words against a search in plain Python."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from curate.signals.stopwords import compile_lists, count_stop_words, frequent_words
from curate.text.batch import TextBatch
from tests.text.test_words import reference_words

WORDS = st.sampled_from(
    ["the", "The", "and", "don't", "don", "t", "不", "不是", "是", "ที่", "to be", "!", "ÜBER", "x1", ""]
)
texts = st.lists(st.lists(WORDS, max_size=10).map(" ".join), max_size=5)


def reference_counts(text: str, entries: Sequence[str]) -> tuple[int, int, int]:
    """Words, words inside of an entry, different entries."""
    words = [word.lower() for word in reference_words(text)]
    sequences = {tuple(word.lower() for word in reference_words(entry)) for entry in entries} - {()}
    inside: set[int] = set()
    found = set()
    for entry in sequences:
        for at in range(len(words) - len(entry) + 1):
            if tuple(words[at : at + len(entry)]) == entry:
                inside |= set(range(at, at + len(entry)))
                found.add(entry)
    return len(words), len(inside), len(found)


@given(texts, st.dictionaries(st.sampled_from(["en", "zh", "de"]), st.lists(WORDS, max_size=6)), st.data())
def test_counts_are_those_of_a_search(texts: list[str], lists: dict[str, list[str]], data: st.DataObject) -> None:
    chosen = [data.draw(st.sampled_from([*lists, "none"])) for _ in texts]
    made = compile_lists(lists)
    which = np.array([made.languages.get(code, -1) for code in chosen], np.int64)
    found = count_stop_words(TextBatch(pa.array(texts, pa.large_string())).words, made, which)
    for i, (text, code) in enumerate(zip(texts, chosen, strict=True)):
        assert (found.words[i], found.covered[i], found.distinct[i]) == reference_counts(text, lists.get(code, []))


def test_a_word_counts_in_its_own_list_only() -> None:
    made = compile_lists({"en": ["the", "in"], "de": ["die", "in"], "xx": []})
    words = TextBatch(pa.array(["the die in"] * 3, pa.large_string())).words
    assert count_stop_words(words, made, np.array([0, 1, 2])).distinct.tolist() == [2, 2, 0]


def test_frequent_words_are_those_of_a_share() -> None:
    batch = TextBatch(pa.array(["the cat the dog", "The 1 1 mouse"], pa.large_string()))  # 3, 2 and 1 of 8 words
    assert frequent_words(batch.data, batch.words, 3 / 8) == ["the"]
    assert frequent_words(batch.data, batch.words, 3.01 / 8) == []
    assert frequent_words(batch.data, batch.words, 3.01 / 8, least=2) == ["the", "cat"]
    assert frequent_words(batch.data, batch.words, 1 / 8) == ["the", "cat", "dog", "mouse"]


def test_no_text_and_no_lists() -> None:
    batch = TextBatch(pa.array([], pa.large_string()))
    assert frequent_words(batch.data, batch.words, 0.1) == []
    assert len(count_stop_words(batch.words, compile_lists({}), np.zeros(0, np.int64)).words) == 0
