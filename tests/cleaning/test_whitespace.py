"""Control characters and white space against a plain version of their definitions."""

import re
import unicodedata
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from curate.cleaning.whitespace import KINDS, Switches, normalize
from tests.examples import examples

BREAKS = "\r\v\f\x85\u2028\u2029"
KEPT = {0x200C, 0x200D, *range(0x600, 0x606), 0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0x110BD, 0x110CD}
SPACED = re.compile("[\u0e00-\u109f\u1780-\u17ff\u1950-\u1aaf]")


def normalized(texts: list[str], switches: Switches):
    encoded = [text.encode() for text in texts]
    data, offsets = np.frombuffer(b"".join(encoded), np.uint8), np.cumsum([0, *map(len, encoded)])
    data, offsets, changes = normalize(data, offsets, switches)
    return [data[a:b].tobytes().decode() for a, b in pairwise(offsets)], changes


def is_control(char: str) -> bool:
    code = ord(char)
    fixed = code & 0xFFFE == 0xFFFE or 0xFDD0 <= code < 0xFDF0
    return fixed or (unicodedata.category(char) == "Cc" and char not in "\n\t" + BREAKS)


def is_invisible(char: str, before: str) -> bool:
    if char == "\u200b":
        return not SPACED.match(before)
    if ord(char) == 0xE0001 or 0xE0020 <= ord(char) < 0xE0080:
        return not (before == "\U0001f3f4" or ord(before or "a") == 0xE0001 or 0xE0020 <= ord(before or "a") < 0xE0080)
    return (unicodedata.category(char) == "Cf" and ord(char) not in KEPT) or "\ufff9" <= char <= "\ufffc"


def by_definition(text: str, on: Switches) -> str:
    if on.line_ends:
        text = re.sub(f"\r\n|[{BREAKS}]", "\n", text)
    if on.control:
        text = re.sub("\x1b\\[[\x20-\x3f]*[\x40-\x7e]", "\x1b", text)
        text = "".join(char for char in text if not is_control(char))
    kept = ""
    for char in text:
        space = on.spaces and unicodedata.category(char) == "Zs"
        if not (on.invisible and is_invisible(char, kept[-1:])):
            kept += " " if space else char
    lines = kept.split("\n")
    if on.inner_spaces:
        lines = [
            line[: len(line) - len(line.lstrip(" \t"))] + re.sub("[ \t]{2,}", " ", line.lstrip(" \t")) for line in lines
        ]
    if on.trailing_spaces:
        lines = [line.rstrip(" \t") for line in lines]
    kept = "\n".join(lines)
    if on.max_blank_lines >= 0:
        kept = re.sub(rf"\n{{{on.max_blank_lines + 2},}}", "\n" * (on.max_blank_lines + 1), kept.lstrip("\n"))
        kept = re.sub(r"\n+\Z", "\n", kept)
    return kept


CHARS = st.sampled_from(
    [
        *"ab  \t\n\n\n\r\v\f\x00\x1b[31m\x7f\x85é東\u00a0\u00ad\u200b\u200d\u2009\u2028\u3000\ufeff\ufffc\ufffd\ufffe",
        *"\u202e\u0e01\u0605\U0001f3f4\U000e0067\U000e007f\U0001ffff",
    ]
)
TEXTS = st.text(CHARS | st.characters(exclude_categories=("Cs",)), max_size=25)
SWITCHES = st.builds(
    Switches, *[st.booleans()] * 5, max_blank_lines=st.integers(-1, 2), inner_spaces=st.booleans()
).filter(lambda on: on.trailing_spaces or on.max_blank_lines < 0)


@examples(400)
@given(st.lists(TEXTS, min_size=1, max_size=4), SWITCHES)
@example(["\n\n  a\n"], Switches())
@example(["a \n \n \n \nb \n\n"], Switches(max_blank_lines=1))
@example(["a\r\x00\nb\u0e01\u00ad\u200bc"], Switches())
@example([" ", "\n", "", "a\n\n"], Switches())
def test_agrees_with_the_definitions(texts: list[str], switches: Switches) -> None:
    found, changes = normalized(texts, switches)
    assert found == [by_definition(text, switches) for text in texts]
    touched = changes.places.sum(axis=1) > 0
    assert touched.tolist() == [a != b for a, b in zip(texts, found, strict=True)]
    assert not changes.places[:, ~switches.flags & (np.array(KINDS) != "trailing_spaces")].any()


@examples(300)
@given(TEXTS)
def test_a_second_time_nothing_changes(text: str) -> None:
    once, _ = normalized([text], Switches())
    again, changes = normalized(once, Switches())
    assert again == once
    assert not changes.places.any()


def test_code_stays_as_it_is() -> None:
    code = "def f(x):\n\tif x:\n        return  [1,  2]   # two\n\n\n\n\nclass C: ...\n".replace("\n\n\n\n\n", "\n\n\n")
    found, changes = normalized([code], Switches())
    assert found == [code]
    assert not changes.places.any()


@pytest.mark.parametrize(
    ("kind", "text", "places", "size"),
    [
        ("control", "a\x00b\x1b[1;31mc", 2, 8),
        ("invisible", "a\u00adb\u200bc\ufeff", 3, 8),
        ("line_ends", "a\r\nb\rc\u2028d", 3, 5),
        ("spaces", "a\u00a0b\u3000c", 2, 5),
        ("trailing_spaces", "a  \nb\t", 2, 3),
        ("blank_lines", "\na\n\n\n\n\nb\n\n", 4, 4),
    ],
)
def test_counts_are_of_places_and_of_bytes_that_went(kind: str, text: str, places: int, size: int) -> None:
    _, changes = normalized(["x", text], Switches())
    assert changes.places[0].sum() == 0
    assert dict(zip(KINDS, changes.places[1].tolist(), strict=True)) == dict.fromkeys(KINDS, 0) | {kind: places}
    assert changes.sizes[1, KINDS.index(kind)] == size
