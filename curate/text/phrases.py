"""Phrases that indicate boilerplate lines, and the search for them."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate.text.scan import Lines

JAVASCRIPT = "javascript"
LOREM_IPSUM = "lorem ipsum"
POLICIES = ("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies")


def find_phrases(data: NDArray[np.uint8], lines: Lines, *groups: Sequence[str]) -> list[NDArray[np.bool_]]:
    r"""Return, for each group of ASCII phrases, which lines contain one of them, ignoring case, shape (lines,) each.

    Examples
    --------
    >>> from curate.text.scan import scan
    >>> data = np.frombuffer(b"Enable JavaScript\nHome", np.uint8)
    >>> _, lines = scan(data, np.array([0, len(data)]))
    >>> [flags.tolist() for flags in find_phrases(data, lines, ["javascript"], ["home", "away"])]
    [[True, False], [False, True]]
    """
    # Each text extends to the start of the next line, which adds only invisible characters.
    offsets = pa.py_buffer(np.append(lines.starts, lines.ends[-1:]))
    texts = pa.Array.from_buffers(pa.large_binary(), len(lines.starts), [None, offsets, pa.py_buffer(data)])
    patterns = ["|".join(group) for group in groups]
    # One search over all lines, then one search per group over the few lines that match.
    hits = np.flatnonzero(matches(texts, "|".join(patterns)))
    texts = texts.take(pa.array(hits))
    group_flags = [np.zeros(len(lines.starts), np.bool_) for _ in groups]
    for flags, pattern in zip(group_flags, patterns, strict=True):
        flags[hits] = matches(texts, pattern)
    return group_flags


def matches(texts: pa.Array, pattern: str) -> pa.Array:
    """Return which texts match a pattern, ignoring the case of ASCII letters.

    The texts must be bytes: in strings, case folding would also match the Kelvin sign to a k.
    """
    return pc.call_function("match_substring_regex", [texts], pc.MatchSubstringOptions(pattern, ignore_case=True))
