"""Excerpts against the same definition in plain Python, on bytes and strings."""

from itertools import pairwise

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from curate.text.batch import TextBatch
from curate.text.excerpts import excerpts

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
