"""Excerpts against the same definition in plain Python, on bytes and strings."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.text.batch import TextBatch
from curate.text.excerpts import GAP, PLACES, excerpt, excerpts, passages

CHARACTERS = st.one_of(st.sampled_from("ab \n\r\t\x00\x7f\x85é東𠮷\u2028"), st.characters(exclude_categories=["Cs"]))
texts = st.lists(st.text(CHARACTERS, max_size=300), max_size=5)


def reference_excerpt(text: str, max_chars: int, windows: int) -> str:
    """The definition of docs/languages.md."""

    def plain(part: str) -> str:
        return "".join(" " if char < " " or char == "\x7f" else char for char in part)

    if len(text) <= max_chars:
        return plain(text)
    data = text.encode()
    starts = [0]
    for window in range(1, windows):
        start = len(data) * window // windows
        while start < len(data) and 0x80 <= data[start] < 0xC0:
            start += 1
        spaces = [at for at in range(start, min(start + 64, len(data))) if data[at] <= 32]
        starts.append(spaces[0] + 1 if spaces else start)
    stops = [*starts[1:], len(data)]
    parts = [data[start:stop].decode() for start, stop in zip(starts, stops, strict=True)]
    return " ".join(plain(part[: max_chars // windows]) for part in parts)


def excerpts_of(texts: list[str], max_chars: int, windows: int) -> list[str]:
    batch = TextBatch(pa.array(["before it", *texts], pa.large_string())[1:])
    lines, offsets = excerpts(batch.data, batch.offsets, max_chars, windows)
    data = lines.tobytes()
    return [data[start:end].decode() for start, end in pairwise(offsets)]


@given(texts, st.integers(1, 80), st.integers(1, 9))
def test_excerpts_are_as_defined(texts: list[str], max_chars: int, windows: int) -> None:
    found = excerpts_of(texts, max_chars, windows)
    assert found == [reference_excerpt(text, max_chars, windows) for text in texts]
    assert all(len(line) <= max_chars + windows - 1 for line in found)
    assert not any({"\n", "\r", "\x00"} & set(line) for line in found)


def test_a_text_of_just_the_length_is_taken_whole() -> None:
    text = "東京 " * 40
    assert excerpts_of([text, text + "!"], len(text), 4) == [text, reference_excerpt(text + "!", len(text), 4)]
    assert excerpts_of([text + "!"], len(text), 4) != [text]


def test_windows_reach_the_end_of_a_long_text() -> None:
    text = " ".join(f"w{i:05d}" for i in range(100_000))
    (line,) = excerpts_of([text], 1024, 8)
    numbers = [int(word[1:]) for word in line.split() if len(word) == 6]
    assert numbers == sorted(numbers)
    assert {number // 12_500 for number in numbers} == set(range(8))


def test_nothing() -> None:
    lines, offsets = excerpts(np.zeros(0, np.uint8), np.zeros(1, np.int64), 10, 2)
    assert (len(lines), offsets.tolist()) == (0, [0])


WORDS = st.lists(st.text("abcdefé語", min_size=1, max_size=12), max_size=400)
VIEWS: dict[str, Sequence[str]] = {"spread": PLACES, "head": ["head"], "middle": ["middle"], "tail": ["tail"]}
SPACES = st.sampled_from([" ", "\n", "  ", "\t"])


@given(WORDS, SPACES, st.integers(200, 2000), st.sampled_from(list(VIEWS)))
def test_passages_are_pieces_of_the_text_between_words(words: list[str], space: str, most: int, view: str) -> None:
    text = space.join(words)
    shown = excerpt(text, most, VIEWS[view])
    if len(text) <= most:
        assert shown == text
        return
    parts = shown.split(GAP)
    pieces = [part.strip() for part in parts if part.strip()]
    assert len(pieces) == (3 if view == "spread" else 1)
    assert most / 3 < sum(map(len, pieces)) <= most
    place = 0
    for piece in pieces:
        place = text.index(piece, place) + len(piece)
        assert set(piece.split()) <= set(words)  # no word is cut
    assert text.startswith(pieces[0]) == (parts[0] != "")
    assert text.endswith(pieces[-1]) == (parts[-1] != "")
    assert (parts[0] == "", parts[-1] == "") == (view in ("middle", "tail"), view in ("head", "middle"))


def test_one_long_word_is_cut_where_it_must() -> None:
    assert excerpt("x" * 1000, 300, ["head"]) == "x" * 300 + f"\n{GAP}"
    assert excerpt("x" * 1000, 300) == f"\n{GAP}\n".join(["x" * 100] * 3)


def test_the_limit_from_both_sides() -> None:
    assert GAP not in excerpt("word " * 20, 100, ["middle"])
    assert GAP in excerpt("word " * 20 + "x", 100, ["middle"])


LONG = "\n".join(f"word{i} and more" for i in range(2000))


@pytest.mark.parametrize("chars", [3, 100, 1000, 5000, len(LONG) - 1, len(LONG), 10**6])
@pytest.mark.parametrize("text", [LONG, "x" * len(LONG), "\n" * 5000, "ab", ""])
def test_passages_are_in_order_and_reach_the_end(text: str, chars: int) -> None:
    spans = passages(text, chars)
    assert len(spans) == (1 if len(text) <= chars else 3)
    assert sum(end - start for start, end in spans) <= chars
    assert [place for span in spans for place in span] == sorted(place for span in spans for place in span)
    assert (spans[0][0], spans[-1][1]) == (0, len(text))
