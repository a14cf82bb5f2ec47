"""YAML 1.2 with places: scalars, merging, and syntax errors word for word."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from curate.config.yaml import Node, dump, merge, parse, scalar
from curate.errors import Problem
from tests.examples import examples


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a:\n\tb: 1", "f:2:1: not valid YAML: a tab\n    YAML is indented and separated with spaces"),
        ("a: 'x\nb: 1", "f:1:4: not valid YAML: a quote that is never closed"),
        ("a: [1,\nb: 2", "f:1:4: not valid YAML: a bracket that is never closed"),
        ("a: 1\nb\n", "f:2:1: not valid YAML: a line without ':'\n    write `key: value`"),
        ("a: @b", "f:1:4: not valid YAML: a value cannot begin with '@'\n    put the value in quotes"),
        ("a: *.jsonl", "f:1:4: not valid YAML: the alias *.jsonl has no anchor &.jsonl before it\n"
                       "    *name takes the value marked &name; a value that begins with * needs quotes"),
        ("a: *", "f:1:5: not valid YAML: a value cannot begin with '*' or '&'\n    put the value in quotes"),
        ("a: \x01", "f:1:4: not valid YAML: a control character (U+0001)\n"
                    "    write it as an escape in double quotes"),
        ("a: 1\n---\nb: 1", "f:2:1: not valid YAML: a second document ('---')\n"
                            "    one file holds one configuration"),
        ("a: {b: ${env:HOME}}", "f:1:9: not valid YAML: expected ',' or '}', but got '{'\n"
                                "    inside { } and [ ], put quotes around '${env:NAME}'"),
        ("a: 1\n  b: 2", "f:2:4: not valid YAML: a ':' that does not fit here\n"
                         "    check the indentation here and above, or put a value that has ': ' in quotes"),
        ("a:\n    b: 1\n  c: 2", "f:3:3: not valid YAML: a line that does not fit the one above\n"
                                 "    indent the entries of one mapping or list alike"),
    ],
)  # fmt: skip
def test_broken_syntax(text, message):
    found: list[Problem] = []
    assert parse(text, "f", found) is None
    assert [str(problem) for problem in found] == [message]


def test_scalars_follow_the_core_schema():
    words = "no yes on 1_000 12:30:00 2026-01-01 0b1 1e 0x 0o8 + . -.nan = <<"
    assert [scalar(word) for word in words.split()] == words.split()
    assert [scalar(word) for word in ("", "~", "null", "NULL")] == [None] * 4
    assert [scalar(word) for word in ("true", "True", "FALSE")] == [True, True, False]
    assert [scalar(word) for word in ("7", "-7", "+7", "007", "0o17", "0xfF")] == [7, -7, 7, 7, 15, 255]
    floats = [scalar(word) for word in ("1e3", "-.5", "2.", "1.5E-2", "-.inf")]
    assert floats == [1000.0, -0.5, 2.0, 0.015, float("-inf")]
    assert all(isinstance(value, float) for value in floats)


def test_quotes_and_tags_make_strings():
    tree = parse('a: "1"\nb: \'true\'\nc: !!str 3\n"no": null\n1: |-\n  5\n', "f", [])
    assert tree is not None
    assert tree.plain() == {"a": "1", "b": "true", "c": "3", "no": None, "1": "5"}


def test_merge_keeps_places_and_inserts_in_order():
    base = parse("a:\n  x: 1\n  y: [1, 2]\nb: 2\n", "base", [])
    over = parse("new: 0\na:\n  y: [3]\nnext: 1\n", "over", [])
    assert base is not None
    assert over is not None
    merged = merge(base, over)
    assert list(merged.plain().items()) == [("a", {"x": 1, "y": [3]}), ("next", 1), ("b", 2), ("new", 0)]
    places = [merged.locate(where) for where in (("a",), ("a", "x"), ("a", "y", 0), ("b",), ("new",), ("a", "z"))]
    assert places == ["base:1", "base:2", "over:3", "base:4", "over:1", "base:1"]
    assert merge(base, Node(None, "over")) == Node(None, "over")


# Without control characters and Unicode line separators: ruamel.yaml folds U+0085 in quotes, and no option holds one.
PRINTABLE = st.characters(codec="utf-8", exclude_categories=["Cc", "Zl", "Zp"]) | st.sampled_from("\n\t")
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(PRINTABLE)
NAMES = st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), min_size=1).filter(lambda name: name != "<<")


@examples(40)
@given(st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(NAMES, inner)))
@example(
    {"a": "no", "b": "1e3", "c": "0o17", "d": "1_000", "e": "~", "f": ".inf", "g": "2026-01-01", "h": "=", "i": ""}
)
def test_what_is_dumped_parses_to_the_same(value):
    found: list[Problem] = []
    tree = parse(dump(value), "f", found)
    assert tree is not None
    assert not found
    assert tree.plain() == value
    assert json.dumps(tree.plain()) == json.dumps(value)  # 1, 1.0 and true differ here
