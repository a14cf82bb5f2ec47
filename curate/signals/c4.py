"""Signals of C4's line and page rules, and of mT5's page rule.

C4: Raffel et al. 2020, JMLR 21(140), section 2.2. mT5: Xue et al. 2021, arXiv 2010.11934, section 3.1.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from curate.signals.aggregate import per_document, ratio
from curate.signals.composition import Composition
from curate.text.phrases import JAVASCRIPT, LOREM_IPSUM, POLICIES, find_phrases
from curate.text.scan import DocumentCounts, Lines


class Boilerplate(NamedTuple):
    """Whether each line contains *javascript*, *lorem ipsum*, or one of `POLICIES`, bool, shape (lines,) each."""

    javascript: NDArray[np.bool_]
    lorem_ipsum: NDArray[np.bool_]
    policy: NDArray[np.bool_]


def find_boilerplate(data: NDArray[np.uint8], lines: Lines) -> Boilerplate:
    """Find the phrases of C4's rules in the lines of a batch, ignoring case."""
    return Boilerplate(*find_phrases(data, lines, [JAVASCRIPT], [LOREM_IPSUM], POLICIES))


def c4(
    counts: DocumentCounts, lines: Lines, boilerplate: Boilerplate, min_line_words: int, max_word_length: int
) -> dict[str, NDArray[np.int64] | NDArray[np.float64] | NDArray[np.bool_]]:
    """Return the statistics of C4's line and page rules by column name, shape (documents,); NaN if a divisor is 0.

    Parameters
    ----------
    counts, lines
        Result of `scan`.
    boilerplate
        Result of `find_boilerplate` for the same lines.
    min_line_words
        Minimum number of words of a line; a line with fewer words is short.
    max_word_length
        Maximum number of characters of a word; a line with a longer word is not kept.

    Examples
    --------
    >>> from curate.text.scan import scan
    >>> data = np.frombuffer("It is a line of words. Home".encode(), np.uint8)
    >>> counts, lines = scan(data, np.array([0, 23, 27]))
    >>> columns = c4(counts, lines, find_boilerplate(data, lines), min_line_words=5, max_word_length=1000)
    >>> columns["c4_kept_lines"].tolist(), columns["c4_sentences"].tolist()
    ([1.0, 0.0], [1, 1])
    """
    javascript, lorem_ipsum, policy = boilerplate
    short = lines.words < min_line_words
    kept = lines.terminal & ~short & ~javascript & ~policy & (lines.longest_word <= max_word_length)
    line_count = np.diff(lines.offsets)
    return {
        "c4_lines": line_count,
        "c4_sentences": per_document(lines.sentences, lines),
        "c4_terminal_lines": ratio(per_document(lines.terminal, lines), line_count),
        "c4_short_lines": ratio(per_document(short, lines), line_count),
        "c4_javascript_lines": per_document(javascript, lines),
        "c4_policy_lines": per_document(policy, lines),
        "c4_kept_lines": ratio(per_document(kept, lines), line_count),
        "c4_kept_sentences": per_document(lines.sentences * kept, lines),
        "c4_max_word_length": counts.longest_word,
        "c4_curly_brackets": counts.curly_brackets,
        "c4_lorem_ipsum": per_document(lorem_ipsum, lines) > 0,
        "c4_citation_marks": counts.citations,
    }


def long_lines(lines: Lines, composition: Composition, min_chars: int) -> dict[str, NDArray[np.int64]]:
    """Count the lines of at least `min_chars` characters. mT5 keeps a page with three lines of 200 characters."""
    return {"c4_long_lines": per_document(composition.line_chars >= min_chars, lines)}
