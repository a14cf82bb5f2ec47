"""Normalized lines against plain Python."""

import unicodedata
from itertools import pairwise

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from curate.classifiers.lines import line_of_words
from curate.text.batch import TextBatch
from curate.text.unicode import UNSPACED, tables

TEXT = st.one_of(st.text(max_size=20), st.text(st.sampled_from("aÉßİȺ漢ก\u0301 \t\n\u00a0\u200d._'!12"), max_size=30))


def reference(text: str) -> str:
    classes, _ = tables()
    out = ""
    apart, stuck = False, False  # a space is due; marks join the symbol before them
    for char in text:
        kind = unicodedata.category(char)[0]
        low = char.lower() if len(char.lower()) == 1 else char
        if char.isspace() or kind in "CZ":
            apart, stuck = True, False
        elif kind == "M" and stuck:
            out += char
        elif kind in "LNM" and not classes[ord(char)] & UNSPACED:
            out += (" " if apart and out else "") + low
            apart = stuck = False
        else:
            out += (" " if out else "") + low
            apart = stuck = True
    return out


@given(st.lists(TEXT, max_size=5))
def test_lines_are_those_of_plain_python(texts: list[str]) -> None:
    text = TextBatch(pa.array(texts, pa.large_string()))
    lines, offsets = line_of_words(text.data, text.offsets)
    found = [lines[start:end].tobytes().decode() for start, end in pairwise(offsets)]
    assert found == [reference(text) for text in texts]


def test_a_line_may_be_three_times_as_long() -> None:
    data = np.frombuffer(b"a" + b"." * 100, np.uint8)
    lines, _ = line_of_words(data, np.array([0, 101]))
    assert lines.tobytes() == b"a" + b" ." * 100


@given(TEXT)
def test_a_line_is_its_own_normal_form(text: str) -> None:
    once = TextBatch(pa.array([text], pa.large_string()))
    lines, offsets = line_of_words(once.data, once.offsets)
    again, _ = line_of_words(lines, offsets)
    assert again.tobytes() == lines.tobytes()
