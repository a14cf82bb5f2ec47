"""Phrases that tell boilerplate lines from prose, and where they stand."""

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
    r"""For each group of ASCII phrases, which lines have one of them in upper or lower case, shape (lines,) each.

    Examples
    --------
    >>> from curate.text.scan import scan
    >>> data = np.frombuffer(b"Enable JavaScript\nHome", np.uint8)
    >>> _, lines = scan(data, np.array([0, len(data)]))
    >>> [found.tolist() for found in find_phrases(data, lines, ["javascript"], ["home", "away"])]
    [[True, False], [False, True]]
    """
    # A line reaches to the start of the next one: nothing visible lies between.
    offsets = pa.py_buffer(np.append(lines.starts, lines.ends[-1:]))
    texts = pa.Array.from_buffers(pa.large_binary(), len(lines.starts), [None, offsets, pa.py_buffer(data)])
    patterns = ["|".join(group) for group in groups]
    # One search over all the text, then one per group over the few lines that it found.
    hits = np.flatnonzero(matches(texts, "|".join(patterns)))
    texts = texts.take(pa.array(hits))
    found = [np.zeros(len(lines.starts), np.bool_) for _ in groups]
    for flags, pattern in zip(found, patterns, strict=True):
        flags[hits] = matches(texts, pattern)
    return found


def matches(texts: pa.Array, pattern: str) -> pa.Array:
    """Which texts have a match in upper or lower case. Bytes, since Unicode folds the Kelvin sign to k."""
    return pc.call_function("match_substring_regex", [texts], pc.MatchSubstringOptions(pattern, ignore_case=True))
