"""Characters against a plain loop over Python strings."""

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.text.characters import characters
from curate.text.unicode import UNSPACED, tables
from curate.text.words import mix64, segment

SCRIPTS = "aZ09 ,.\n'éÉßÇ ДЖж 東京はカ ไทย हिन्दी عربي 한글 🙂_\u0301"
TEXTS = st.lists(st.text(st.sampled_from(SCRIPTS), max_size=30), max_size=6)


def batch(texts: list[str]):
    encoded = [text.encode() for text in texts]
    offsets = np.concatenate(([0], np.cumsum([len(data) for data in encoded]))).astype(np.int64)
    return np.frombuffer(b"".join(encoded), np.uint8), offsets


@settings(max_examples=300, deadline=None)
@given(TEXTS)
def test_characters_are_those_of_the_words_with_separators(texts: list[str]) -> None:
    data, offsets = batch(texts)
    words = segment(data, offsets)
    classes, lower = tables()
    found = characters(data, words)
    for number in range(len(texts)):
        inside = range(words.offsets[number], words.offsets[number + 1])
        spelled = [bytes(data[words.starts[i] : words.ends[i]]).decode() for i in inside]
        joined = spelled[0] if spelled else ""
        for left, right in pairwise(spelled):
            together = classes[ord(left[0])] & UNSPACED and classes[ord(right[0])] & UNSPACED
            joined += right if together else " " + right
        wanted = [int(mix64(np.uint64(lower[ord(character)]))) for character in joined]
        assert found.hashes[found.offsets[number] : found.offsets[number + 1]].tolist() == wanted


def test_no_documents() -> None:
    data, offsets = batch([])
    assert characters(data, segment(data, offsets)).offsets.tolist() == [0]
