"""Word lists against a search in plain Python."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from curate.text.wordlists import compile_list, count_entries, read_entries
from curate.text.words import segment
from tests.signals.definitions import occurrences, shared_words_of

ENTRIES = ["bad", "Bad Word", "word word", "你好", "好", "नमस्ते", "é", "!", ""]


@given(
    st.lists(
        st.lists(st.sampled_from(["bad", "WORD", "word", "你", "好", "नमस्ते", "é", ",", "."]), max_size=12).map(" ".join)
    ),
    st.lists(st.sampled_from(ENTRIES), max_size=5),
)
def test_lists_agree_with_the_definition(texts: list[str], entries: list[str]) -> None:
    encoded = [text.encode() for text in texts]
    words = segment(np.frombuffer(b"".join(encoded), np.uint8), np.cumsum([0, *map(len, encoded)]))
    found = count_entries(words, compile_list(entries))
    expected = [occurrences(shared_words_of(text), entries) for text in texts]
    assert list(zip(found.hits.tolist(), found.covered.tolist(), strict=True)) == expected


def test_list_files() -> None:
    assert read_entries("\ufeff# comment\r\nbad word \r\n\r\n你好") == ["bad word", "你好"]
