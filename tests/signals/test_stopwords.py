"""Stop words against a search in plain Python."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from curate.signals.stopwords import count_stop_words, frequent_words
from curate.text.batch import TextBatch
from curate.text.wordlists import compile_list
from tests.text.test_words import reference_words

WORDS = st.sampled_from(
    ["the", "The", "and", "don't", "don", "t", "不", "不是", "是是", "是", "ที่", "to be", "!", "ÜBER", "x1", ""]
)
texts = st.lists(st.lists(WORDS, max_size=10).map(" ".join), max_size=5)


def reference_counts(text: str, entries: Sequence[str]) -> tuple[int, int, int]:
    """Words, words that are part of an entry, different entries."""
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
    which = np.array([[*lists].index(code) if code in lists else -1 for code in chosen], np.int64)
    words = TextBatch(pa.array(texts, pa.large_string())).words
    found = count_stop_words(words, list(map(compile_list, lists.values())), which)
    columns = np.diff(words.offsets), found.covered, found.distinct
    expected = [reference_counts(text, lists.get(code, [])) for text, code in zip(texts, chosen, strict=True)]
    assert list(zip(*(column.tolist() for column in columns), strict=True)) == expected


def test_a_word_counts_in_its_own_list_only() -> None:
    made = list(map(compile_list, (["the", "in"], ["die", "in"], [])))
    words = TextBatch(pa.array(["the die in"] * 3, pa.large_string())).words
    assert count_stop_words(words, made, np.array([0, 1, 2])).distinct.tolist() == [2, 2, 0]


def test_a_doubled_word_is_found_only_where_it_is_doubled_itself() -> None:
    words = TextBatch(pa.array(["等等 ha ha 云", "云云"], pa.large_string())).words
    found = count_stop_words(words, [compile_list(["云云", "bla bla"])], np.array([0, 0]))
    assert found.covered.tolist() == [0, 2]
    assert found.distinct.tolist() == [0, 1]


def test_frequent_words_are_those_of_a_share() -> None:
    batch = TextBatch(pa.array(["the cat the dog", "The 1 1 mouse"], pa.large_string()))  # 3, 2 and 1 of 8 words
    assert frequent_words(batch.data, batch.words, 3 / 8) == ["the"]
    assert frequent_words(batch.data, batch.words, 3.01 / 8) == []
    assert frequent_words(batch.data, batch.words, 3.01 / 8, least=2) == ["the", "cat"]
    assert frequent_words(batch.data, batch.words, 1 / 8) == ["the", "cat", "dog", "mouse"]


def test_no_text_and_no_lists() -> None:
    batch = TextBatch(pa.array([], pa.large_string()))
    assert frequent_words(batch.data, batch.words, 0.1) == []
    assert len(count_stop_words(batch.words, [], np.zeros(0, np.int64)).covered) == 0
