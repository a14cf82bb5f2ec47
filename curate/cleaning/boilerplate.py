"""Detection of boilerplate lines, by the rules of C4 and RefinedWeb, and of citation marks.

`curate.text.scan` defines words and lines. ``docs/clean.md`` defines each rule.
Sources: C4, Raffel et al. 2020, JMLR 21(140), section 2.2; RefinedWeb, Penedo et al. 2023, arXiv 2306.01116, section
G.2.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numba
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate.text.phrases import JAVASCRIPT, POLICIES, find_phrases
from curate.text.scan import Lines
from curate.text.unicode import DIGIT, LETTER, SPACE, UPPER, decode, tables

COUNTED = (
    "likes?|shares?|comments?|views?|followers?|retweets?|reposts?|quotes?|bookmarks?|upvotes?|downvotes?|downloads?|"
    "subscribers?|repl(?:y|ies)"
)
COUNTER = rf"(?i)^[^\pL\pN]*\d+(?:[.,]\d+)*\s?[kmb]?\s+(?:{COUNTED})[^\pL\pN]*$"
STARTS = ("sign in", "sign-in", "log in", "log-in")
ENDS = ("read more",)
ANYWHERE = ("items in cart", "items in your cart", "item in cart")
_PHRASES = (*STARTS, *ENDS, *ANYWHERE)
PHRASE = (
    rf"(?i)^[^\pL\pN]*({'|'.join(STARTS)})([^\pL\pN]|$)|(^|[^\pL\pN])({'|'.join(ENDS)})[^\pL\pN]*$|{'|'.join(ANYWHERE)}"
)

_COUNTER_WORDS = 5  # "* 1.2 K likes *"
_MARKS = (b"edit]", b"citation needed]")  # after the opening bracket
_MARK_BYTES = np.frombuffer(b"".join(_MARKS), np.uint8)
_MARK_DIGITS = 4


class LineShares(NamedTuple):
    """Shares of upper-case letters and of digits among the visible characters of each line, shape (lines,)."""

    upper: NDArray[np.float64]
    numeric: NDArray[np.float64]


class Rules(NamedTuple):
    """Rules for the lines to remove; see the fields of the stage `clean`. A limit of 0 or None disables its rule."""

    javascript: bool = False
    policy: bool = False
    terminal: bool = False
    max_word_length: int | None = None
    min_words: int = 0
    counters: bool = False
    numeric: bool = False
    phrases: bool = False
    phrase_max_words: int = 10
    max_uppercase: float | None = None

    @property
    def any(self) -> bool:
        """Whether at least one rule is enabled."""
        return bool(sum(map(bool, self[:8]))) or self.max_uppercase is not None


def bad_lines(  # noqa: C901 - one condition for each rule
    data: NDArray[np.uint8], lines: Lines, rules: Rules
) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    r"""Yield the name of each enabled rule, and which lines match it, bool, shape (lines,).

    Parameters
    ----------
    data, lines
        Bytes of the batch, and its lines from `curate.text.scan.scan`.
    rules
        The rules to apply.

    Examples
    --------
    >>> from curate.text.scan import scan
    >>> data = np.frombuffer(b"Enable JavaScript\n3 likes\nIt is so.", np.uint8)
    >>> _, lines = scan(data, np.array([0, len(data)]))
    >>> matching = bad_lines(data, lines, Rules(javascript=True, counters=True))
    >>> {name: flags.tolist() for name, flags in matching}
    {'javascript': [True, False, False], 'counters': [False, True, False]}
    """
    if rules.javascript or rules.policy:
        javascript, policy = find_phrases(data, lines, [JAVASCRIPT], POLICIES)
        if rules.javascript:
            yield "javascript", javascript
        if rules.policy:
            yield "policy", policy
    if rules.counters:
        yield "counters", _match(data, lines, COUNTER, lines.words <= _COUNTER_WORDS)
    if rules.phrases:
        candidates = np.logical_or.reduce(find_phrases(data, lines, _PHRASES))
        yield "phrases", _match(data, lines, PHRASE, candidates & (lines.words <= rules.phrase_max_words))
    if rules.numeric or rules.max_uppercase is not None:
        shares = line_shares(data, lines)
        if rules.numeric:
            yield "numeric", shares.numeric == 1
        if rules.max_uppercase is not None:
            yield "uppercase", shares.upper > rules.max_uppercase
    if rules.min_words:
        yield "short", lines.words < rules.min_words
    if rules.max_word_length is not None:
        yield "long_word", lines.longest_word > rules.max_word_length
    if rules.terminal:
        yield "terminal", ~lines.terminal


def line_shares(data: NDArray[np.uint8], lines: Lines) -> LineShares:
    r"""Return the shares of upper-case letters and of digits among the visible characters of each line.

    Examples
    --------
    >>> from curate.text.scan import scan
    >>> data = np.frombuffer(b"AB cd\n12 3", np.uint8)
    >>> shares = line_shares(data, scan(data, np.array([0, len(data)]))[1])
    >>> shares.upper.tolist(), shares.numeric.tolist()
    ([0.5, 0.0], [0.0, 1.0])
    """
    counts = np.zeros((3, len(lines.starts)), np.int64)
    _count(data, lines.starts, lines.ends, tables().classes, *counts)
    return LineShares(counts[0] / counts[2], counts[1] / counts[2])


def extents(
    data: NDArray[np.uint8], offsets: NDArray[np.int64], lines: Lines, chosen: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the starts and ends of lines with the white space around them and the line break after them.

    Parameters
    ----------
    data, offsets, lines
        The batch, and its lines from `curate.text.scan.scan`.
    chosen
        Indices of the lines, shape (chosen,).

    Returns
    -------
    starts, ends
        Byte positions in `data`, int64, shape (chosen,) each.
    """
    documents = np.searchsorted(lines.offsets, chosen, side="right") - 1
    starts, ends = lines.starts[chosen], lines.ends[chosen]
    _widen(data, offsets[documents], offsets[documents + 1], starts, ends)
    return starts, ends


def citations(data: NDArray[np.uint8], offsets: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the spans of ``[1]`` (one to four digits), ``[edit]`` and ``[citation needed]``, with blanks before them.

    Examples
    --------
    >>> text = b"It is so.[12] Or not [citation needed]."
    >>> spans = citations(np.frombuffer(text, np.uint8), np.array([0, len(text)]))
    >>> [text[start:end] for start, end in zip(*spans)]
    [b'[12]', b' [citation needed]']
    """
    brackets = np.flatnonzero(data[offsets[0] : offsets[-1]] == ord("[")) + offsets[0]
    ends = np.zeros(len(brackets), np.int64)
    document = np.searchsorted(offsets, brackets, side="right") - 1
    starts = brackets.copy()
    _citations(data, offsets[document], offsets[document + 1], starts, ends, _MARK_BYTES, len(_MARKS[0]))
    is_mark = ends > 0
    return starts[is_mark], ends[is_mark]


def _match(data: NDArray[np.uint8], lines: Lines, pattern: str, candidates: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which of the candidate lines match a pattern. The text of a line ends at its last visible character."""
    chosen = np.flatnonzero(candidates)
    texts = pa.array([data[lines.starts[i] : lines.ends[i]].tobytes() for i in chosen.tolist()], pa.large_binary())
    flags = np.zeros(len(candidates), np.bool_)
    if len(chosen):
        texts = texts.cast(pa.large_string())
        matches = pc.call_function("match_substring_regex", [texts], pc.MatchSubstringOptions(pattern))
        flags[chosen] = matches.to_numpy(zero_copy_only=False)
    return flags


@numba.njit(cache=True, nogil=True)
def _count(data, starts, ends, classes, upper, numeric, visible):
    for line in range(len(starts)):
        position = starts[line]
        while position < ends[line]:
            code, position = decode(data, position)
            kind = classes[code]
            visible[line] += kind != 0 and not kind & SPACE
            upper[line] += kind & UPPER != 0 and kind & LETTER != 0
            numeric[line] += kind & DIGIT != 0


@numba.njit(cache=True, nogil=True)
def _widen(data, first, last, starts, ends):
    for i in range(len(starts)):
        while starts[i] > first[i] and data[starts[i] - 1] != 10 and data[starts[i] - 1] != 13:
            starts[i] -= 1
        while ends[i] < last[i] and data[ends[i]] != 10 and data[ends[i]] != 13:
            ends[i] += 1
        if ends[i] < last[i] and data[ends[i]] == 13:
            ends[i] += 1
        if ends[i] < last[i] and data[ends[i]] == 10:
            ends[i] += 1


@numba.njit(cache=True, nogil=True)
def _citations(data, first, last, starts, ends, marks, border):
    mark_end = 0  # end of the previous mark
    for i in range(len(starts)):
        position, stop = starts[i] + 1, last[i]
        digits = 0
        while position < stop and digits <= _MARK_DIGITS and 48 <= data[position] <= 57:
            position += 1
            digits += 1
        if 0 < digits <= _MARK_DIGITS and position < stop and data[position] == 93:
            ends[i] = position + 1
        elif digits == 0:
            for begin, end in ((0, border), (border, len(marks))):
                size = end - begin
                if position + size <= stop and np.all(data[position : position + size] == marks[begin:end]):
                    ends[i] = position + size
        if ends[i]:
            while starts[i] > max(first[i], mark_end) and (data[starts[i] - 1] == 32 or data[starts[i] - 1] == 9):
                starts[i] -= 1
            mark_end = ends[i]
