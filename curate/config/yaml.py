"""YAML 1.2 (core schema) as a tree that knows for every value the file and line it came from.

ruamel.yaml parses; this module resolves scalars by the core schema of YAML 1.2.2 (section 10.3.2), so that ``no`` is a
string, ``0o17`` an integer and ``2026-01-01`` a string; collects duplicate keys instead of stopping at the first; and
fills ``${env:NAME}``. Trees of several files merge, and each value keeps the place of the file that won.
"""

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.nodes import MappingNode, ScalarNode, SequenceNode
from ruamel.yaml.nodes import Node as YAMLNode
from ruamel.yaml.reader import ReaderError
from ruamel.yaml.resolver import VersionedResolver
from ruamel.yaml.tag import Tag

from curate.errors import Problem

Where = tuple[str | int, ...]


@dataclass(frozen=True)
class Node:
    r"""A value and its place.

    Parameters
    ----------
    value
        A scalar, a mapping of names to nodes, or a list of nodes.
    at
        ``file:line``; empty where there is no file.

    Examples
    --------
    >>> tree = parse("run:\n  seed: 7", "web.yaml", [])
    >>> tree.plain(), tree.locate(("run", "seed"))
    ({'run': {'seed': 7}}, 'web.yaml:2')
    """

    value: Any
    at: str = ""

    def plain(self) -> Any:
        """The value with plain mappings and lists inside."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        return [node.plain() for node in self.value] if isinstance(self.value, list) else self.value

    def locate(self, where: Where) -> str:
        """Place of the value at a path, or of the innermost value around it that has one."""
        node, at = self, self.at
        for step in where:
            child = _child(node, step)
            if child is None:
                break
            node, at = child, child.at or at
        return at

    def moved(self, at: str) -> "Node":
        """The same values, all at one place."""
        if isinstance(self.value, dict):
            return Node({key: node.moved(at) for key, node in self.value.items()}, at)
        return Node([node.moved(at) for node in self.value] if isinstance(self.value, list) else self.value, at)


def _child(node: Node, step: str | int) -> Node | None:
    if isinstance(node.value, dict):
        return node.value.get(step)
    if isinstance(node.value, list) and isinstance(step, int) and step < len(node.value):
        return node.value[step]
    return None


def merge(base: Node, over: Node) -> Node:
    """Deep merge: mappings merge key by key, everything else is replaced.

    A key that only `over` has comes right after the key before it in `over`, or at the end where it is the first. A
    mapping that both have keeps the place that it has in `base`.

    Examples
    --------
    >>> base, over = parse("{a: {x: 1}, c: 3}", "base", []), parse("{a: {y: 2}, b: 0}", "over", [])
    >>> merge(base, over).plain()
    {'a': {'x': 1, 'y': 2}, 'b': 0, 'c': 3}
    """
    if not isinstance(base.value, dict) or not isinstance(over.value, dict):
        return over
    order = list(base.value)
    previous = None
    for key in over.value:
        if key not in base.value:
            order.insert(len(order) if previous is None else order.index(previous) + 1, key)
        previous = key
    merged = base.value | over.value
    both = base.value.keys() & over.value.keys()
    values = {key: merge(base.value[key], over.value[key]) if key in both else merged[key] for key in order}
    return Node(values, base.at)


def parse(text: str, file: str, problems: list[Problem]) -> Node | None:
    """Read one YAML document.

    Parameters
    ----------
    text
        The document.
    file
        Its name in places.
    problems
        Takes what is wrong: duplicate keys, tags and missing environment variables, or the one mistake in syntax.

    Returns
    -------
    Node or None
        The tree, an empty mapping for an empty document; None where the syntax is broken.
    """
    yaml = YAML(typ="safe", pure=True)
    yaml.Resolver = _Untyped
    try:
        root = yaml.compose(text)
    except (MarkedYAMLError, ReaderError) as error:
        problems.append(_syntax_problem(error, text, file))
        return None
    return Node({}, f"{file}:1") if root is None else _Builder(file, problems).build(root, (), f"{file}:1")


def from_plain(value: Any, problems: list[Problem], where: Where = ()) -> Node:
    """The tree of plain mappings and sequences, without places; ``${env:NAME}`` is filled as in a file."""
    if isinstance(value, Mapping):
        return Node({str(key): from_plain(item, problems, (*where, str(key))) for key, item in value.items()})
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return Node([from_plain(item, problems, (*where, index)) for index, item in enumerate(value)])
    if isinstance(value, str):
        return Node(_filled(value, lambda message, hint: problems.append(Problem(where, message, hint))))
    return Node(value)


def dump(value: Any) -> str:
    r"""Plain mappings, lists and scalars as YAML that `parse` reads back.

    Examples
    --------
    >>> dump({"lang": "no", "bands": 14, "after": None})
    'lang: no\nbands: 14\nafter: null\n'
    """
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # pyright: ignore[reportAttributeAccessIssue]
    yaml.width = 120
    stream = StringIO()
    yaml.dump(value, stream)
    return stream.getvalue()


class _Untyped(VersionedResolver):
    """Tags every scalar without quotes and without a tag of its own as `PLAIN`, for `scalar` to resolve."""

    PLAIN = Tag(suffix="plain")

    def resolve(self, kind: Any, value: Any, implicit: Any) -> Any:
        return self.PLAIN if kind is ScalarNode and implicit[0] else super().resolve(kind, value, implicit)


_QUOTED = "tag:yaml.org,2002:str"
_COLLECTIONS = ("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq")
_WORDS: dict[str, bool | float | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **{sign + word: float(sign + "inf") for sign in ("", "+", "-") for word in (".inf", ".Inf", ".INF")},
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}
_NUMBERS: tuple[tuple[re.Pattern[str], Callable[[str], int | float]], ...] = (
    (re.compile(r"[-+]?[0-9]+"), int),
    (re.compile(r"0o[0-7]+"), lambda text: int(text[2:], 8)),
    (re.compile(r"0x[0-9a-fA-F]+"), lambda text: int(text[2:], 16)),
    (re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"), float),
)


def scalar(text: str) -> str | int | float | bool | None:
    """Value of a scalar without quotes, by the core schema of YAML 1.2.2.

    Examples
    --------
    >>> [scalar(text) for text in ("no", "1e-3", "0o17", "1_000", "~", "true", "12:30:00")]
    ['no', 0.001, 15, '1_000', None, True, '12:30:00']
    """
    if text in _WORDS:
        return _WORDS[text]
    return next((convert(text) for pattern, convert in _NUMBERS if pattern.fullmatch(text)), text)


_REFERENCE = re.compile(r"\$\{env:(?:(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?P<or>:-(?P<default>[^}]*))?\})?")


def _filled(text: str, report: Callable[[str, str], None]) -> str:
    """Replace ``${env:NAME}`` and ``${env:NAME:-default}``; as in a shell, the default also replaces an empty value."""

    def value(found: re.Match[str]) -> str:
        name = found["name"]
        if name is None:
            report(f"{text!r} has a reference that is not closed or not named well", "write ${env:NAME}")
        elif found["or"]:
            return os.environ.get(name) or found["default"]
        elif name not in os.environ:
            report(f"the environment variable {name!r} is not set", f"set it, or write ${{env:{name}:-default}}")
        else:
            return os.environ[name]
        return found[0]

    return _REFERENCE.sub(value, text)


@dataclass
class _Builder:
    """Turns ruamel's nodes into ours and collects what is wrong with them."""

    file: str
    problems: list[Problem]

    def build(self, node: YAMLNode, where: Where, at: str, around: tuple[YAMLNode, ...] = ()) -> Node:
        def report(message: str, hint: str = "") -> None:
            self.problems.append(Problem(where, message, hint, at))

        if any(node is outer for outer in around):
            report("an alias inside the value that it stands for")
            return Node(None, at)
        if node.ctag is not _Untyped.PLAIN and node.tag not in (_QUOTED, *_COLLECTIONS):
            report(f"the tag {node.tag!r} is not supported", "quotes make a string of any value")
        if isinstance(node, MappingNode):
            entries = self._entries(node, where)
            return Node({key: self.build(v, (*where, key), at, (*around, node)) for key, v, at in entries}, at)
        if isinstance(node, SequenceNode):
            items = [
                self.build(item, (*where, index), self._place(item), (*around, node))
                for index, item in enumerate(node.value)
            ]
            return Node(items, at)
        text = _filled(node.value, report)
        return Node(scalar(text) if node.ctag is _Untyped.PLAIN else text, at)

    def _entries(self, node: MappingNode, where: Where) -> Iterator[tuple[str, YAMLNode, str]]:
        """Key, value and the key's place; the first of duplicate keys counts."""
        seen: dict[str, int] = {}
        for key, value in node.value:
            place = f"{self._place(key)}:{key.start_mark.column + 1}"
            name = key.value
            if not isinstance(key, ScalarNode):
                self.problems.append(Problem(where, "a key must be a name, not a mapping or a list", at=place))
            elif name == "<<":
                hint = "take a whole value with an alias (*name), or a whole file with `extends`"
                self.problems.append(Problem(where, "YAML 1.2 has no merge key '<<'", hint, place))
            elif name in seen:
                message = f"the key {name!r} is here twice; the first is on line {seen[name]}"
                self.problems.append(Problem((*where, name), message, at=place))
            else:
                seen[name] = key.start_mark.line + 1
                yield name, value, self._place(key)

    def _place(self, node: YAMLNode) -> str:
        return f"{self.file}:{node.start_mark.line + 1}"


_TAB_HINT = "YAML is indented and separated with spaces"
_COLON_HINT = "check the indentation here and above, or put a value that has ': ' in quotes"
_ALIAS_HINT = "*name takes the value marked &name; a value that begins with * needs quotes"
_LINE_HINT = "indent the entries of one mapping or list alike"
_OPENS = "never closed"
_SYNTAX = (
    (r"found character '\\t'", "a tab", _TAB_HINT),
    (r"found character '(?P<sign>.+)' that cannot", "a value cannot begin with {sign!r}", "put the value in quotes"),
    (r"mapping values are not allowed", "a ':' that does not fit here", _COLON_HINT),
    (r"unexpected end of stream", f"a quote that is {_OPENS}", ""),
    (r"'<stream end>'", f"a bracket that is {_OPENS}", ""),
    (r"could not find expected ':'", "a line without ':'", "write `key: value`"),
    (r"found undefined alias '(?P<name>.+)'", "the alias *{name} has no anchor &{name} before it", _ALIAS_HINT),
    (r"but found another document", "a second document ('---')", "one file holds one configuration"),
    (r"expected alphabetic or numeric", "a value cannot begin with '*' or '&'", "put the value in quotes"),
    (r"expected (<block end>|'<document start>')", "a line that does not fit the one above", _LINE_HINT),
)
"""What ruamel.yaml says, and the same in plain words: pattern, message, hint."""


def _syntax_problem(error: MarkedYAMLError | ReaderError, text: str, file: str) -> Problem:
    if isinstance(error, ReaderError):
        before = text[: error.position]
        line, column = before.count("\n"), len(before) - before.rfind("\n") - 1
        message, hint = f"a control character (U+{error.character:04X})", "write it as an escape in double quotes"
    else:
        message, hint = _in_plain_words(error.problem)
        # What is missing its end is noticed where the file ends or a line later; the place to look is where it begins.
        begins = _OPENS in message or "without ':'" in message
        mark = error.context_mark if begins else error.problem_mark
        line, column = mark.line, mark.column
        if "got '{'" in error.problem and "${" in text.splitlines()[line]:
            hint = "inside { } and [ ], put quotes around '${env:NAME}'"
    return Problem((), f"not valid YAML: {message}", hint, f"{file}:{line + 1}:{column + 1}")


def _in_plain_words(said: str) -> tuple[str, str]:
    for pattern, message, hint in _SYNTAX:
        if found := re.search(pattern, said):
            return message.format(**found.groupdict()), hint
    return said, ""
