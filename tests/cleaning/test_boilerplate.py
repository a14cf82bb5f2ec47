"""Line rules from both sides of their limits, and citation marks against a regular expression."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.cleaning.boilerplate import Rules, bad_lines, citations, extents, line_shares
from curate.text.scan import scan


def batch(*texts: str):
    encoded = [text.encode() for text in texts]
    return np.frombuffer(b"".join(encoded), np.uint8), np.cumsum([0, *map(len, encoded)])


def hit(text: str, **rules) -> bool:
    """Whether the one rule that is on is true of the one line."""
    data, offsets = batch(text)
    ((_, flags),) = bad_lines(data, scan(data, offsets)[1], Rules(**rules))
    return bool(flags[0])


@pytest.mark.parametrize(
    ("rules", "gone", "stays"),
    [
        ({"javascript": True}, ["Enable JAVASCRIPT now", "javascript"], ["java script", "Java"]),
        (
            {"policy": True},
            ["Read our Privacy Policy.", "We use cookies"],
            ["A policy of privacy", "We use my cookies"],
        ),
        (
            {"counters": True},
            [
                "3 likes",
                "1 like",
                "1,204 Shares",
                "1.2K followers",
                "2 M views",
                "* 12 comments *",
                "1 reply",
                "2 replies",
            ],
            ["3 likes this", "likes", "I have 3 likes", "3likes", "3 bikes", "2 replie", "12", "-- likes"],
        ),
        ({"numeric": True}, ["12", "1 2 3", "٣٤", "½"], ["1.5", "12 a", "1,000", "-1"]),
        (
            {"phrases": True},
            [
                "Sign in",
                "SIGN-IN to see",
                "Log in | Register",
                "A story. Read more...",
                "Read More »",
                "3 items in cart",
                "Your items in cart: 2",
            ],
            [
                "Please sign in",
                "signing in",
                "Sign into it",
                "Read more books",
                "spread more",
                "items in the cart",
                "login",
            ],
        ),
        ({"min_words": 3}, ["one two", "a"], ["one two three", "一二三"]),
        ({"max_word_length": 4}, ["abcde a", "東京-abcde"], ["abcd a", "a b c d e"]),
        ({"max_uppercase": 0.5}, ["ABc", "A", "ÉA b"], ["ABcd", "abC", "12 34", "東京"]),
        ({"terminal": True}, ["No end", "No end,", "Etc..."], ["An end.", "End!", 'Said "so"', "终。"]),
    ],
)
def test_each_rule_from_both_sides(rules: dict, gone: list[str], stays: list[str]) -> None:
    assert [text for text in gone if not hit(text, **rules)] == []
    assert [text for text in stays if hit(text, **rules)] == []


def test_phrases_are_for_short_lines() -> None:
    line = "Sign in " + "w " * 8
    assert hit(line, phrases=True)
    assert not hit(line + "w", phrases=True)
    assert hit(line + "w", phrases=True, phrase_max_words=11)


def test_rules_come_in_order_and_only_if_on() -> None:
    data, offsets = batch("javascript policy")
    lines = scan(data, offsets)[1]
    everything = Rules(*[True] * 3, 1, 1, *[True] * 3, 10, 0.5)
    names = [name for name, _ in bad_lines(data, lines, everything)]
    assert names == [
        *("javascript", "policy", "counters", "phrases", "numeric", "uppercase", "short", "long_word", "terminal")
    ]
    assert list(bad_lines(data, lines, Rules())) == []
    assert everything.any
    assert Rules(max_uppercase=0.0).any
    assert not Rules().any


@given(st.lists(st.text(st.sampled_from([*"aB1 Éé東\t.\n", "\u0301"]), max_size=12), min_size=1, max_size=3))
def test_shares_and_extents(texts: list[str]) -> None:
    data, offsets = batch(*texts)
    lines = scan(data, offsets)[1]
    shares = line_shares(data, lines)
    starts, ends = extents(data, offsets, lines, np.arange(len(lines.starts)))
    whole = [line for text in texts for line in re.findall(r"[^\n]*\n|[^\n]+", text) if line.strip()]
    assert [data[a:b].tobytes().decode() for a, b in zip(starts, ends, strict=True)] == whole
    for line, upper, numeric in zip(whole, shares.upper, shares.numeric, strict=True):
        visible = [char for char in line if not char.isspace()]
        assert upper == sum(char.isupper() for char in visible) / len(visible)
        assert numeric == sum(char.isnumeric() for char in visible if char != "東") / len(visible)


PIECES = st.sampled_from(
    [
        "[1]",
        "[12]",
        "[1234]",
        "[12345]",
        "[]",
        "[edit]",
        "[citation needed]",
        "[a]",
        "[",
        "]",
        " ",
        "\t",
        "x",
        "1",
        "\n",
    ]
)


@given(st.lists(st.lists(PIECES, max_size=8).map("".join), min_size=1, max_size=3))
def test_citations_are_what_the_expression_says(texts: list[str]) -> None:
    data, offsets = batch(*texts)
    starts, ends = citations(data, offsets)
    found = [data[a:b].tobytes().decode() for a, b in zip(starts, ends, strict=True)]
    assert found == [m for text in texts for m in re.findall(r"[ \t]*\[(?:[0-9]{1,4}|edit|citation needed)\]", text)]
