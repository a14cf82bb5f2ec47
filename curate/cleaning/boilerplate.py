"""Lines that are no prose, by the rules of C4 and RefinedWeb, and citation marks.

Words, lines and their ends are those of `curate.text.scan`; ``docs/clean.md`` has the definition of each rule.
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
_MARKS = (b"edit]", b"citation needed]")  # behind the bracket
_MARK_BYTES = np.frombuffer(b"".join(_MARKS), np.uint8)
_MARK_DIGITS = 4


class LineShares(NamedTuple):
    """Shares of the visible characters of each line, shape (lines,)."""

    upper: NDArray[np.float64]
    numeric: NDArray[np.float64]


class Rules(NamedTuple):
    """Which lines go; see the fields of the stage `clean`. A limit of 0, or None, is off."""

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
        """Whether one is on."""
        return bool(sum(map(bool, self[:8]))) or self.max_uppercase is not None


def bad_lines(  # noqa: C901 - one condition for each rule
    data: NDArray[np.uint8], lines: Lines, rules: Rules
) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    r"""For each rule that is on, by name, which lines it is true of.

    Parameters
    ----------
    data, lines
        From `curate.text.scan.scan`.

    Examples
    --------
    >>> from curate.text.scan import scan
    >>> data = np.frombuffer(b"Enable JavaScript\n3 likes\nIt is so.", np.uint8)
    >>> _, lines = scan(data, np.array([0, len(data)]))
    >>> found = bad_lines(data, lines, Rules(javascript=True, counters=True))
    >>> {name: flags.tolist() for name, flags in found}
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
        found = np.logical_or.reduce(find_phrases(data, lines, _PHRASES))
        yield "phrases", _match(data, lines, PHRASE, found & (lines.words <= rules.phrase_max_words))
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
    r"""Shares of upper-case letters and of digits among the visible characters of each line.

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
    """Where lines begin and end with all that belongs to them: white space, and the line feed behind.

    Parameters
    ----------
    data, offsets, lines
        As scanned.
    chosen
        Numbers of lines.
    """
    documents = np.searchsorted(lines.offsets, chosen, side="right") - 1
    starts, ends = lines.starts[chosen], lines.ends[chosen]
    _widen(data, offsets[documents], offsets[documents + 1], starts, ends)
    return starts, ends


def citations(data: NDArray[np.uint8], offsets: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Spans of ``[1]`` (one to four digits), ``[edit]`` and ``[citation needed]``, with blanks before them.

    Examples
    --------
    >>> text = b"It is so.[12] Or not [citation needed]."
    >>> spans = citations(np.frombuffer(text, np.uint8), np.array([0, len(text)]))
    >>> [text[start:end] for start, end in zip(*spans)]
    [b'[12]', b' [citation needed]']
    """
    places = np.flatnonzero(data[offsets[0] : offsets[-1]] == ord("[")) + offsets[0]
    ends = np.zeros(len(places), np.int64)
    document = np.searchsorted(offsets, places, side="right") - 1
    starts = places.copy()
    _citations(data, offsets[document], offsets[document + 1], starts, ends, _MARK_BYTES, len(_MARKS[0]))
    found = ends > 0
    return starts[found], ends[found]


def _match(data: NDArray[np.uint8], lines: Lines, pattern: str, candidates: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which of the candidates match, first to last visible character."""
    chosen = np.flatnonzero(candidates)
    texts = pa.array([data[lines.starts[i] : lines.ends[i]].tobytes() for i in chosen.tolist()], pa.large_binary())
    found = np.zeros(len(candidates), np.bool_)
    if len(chosen):
        texts = texts.cast(pa.large_string())
        matches = pc.call_function("match_substring_regex", [texts], pc.MatchSubstringOptions(pattern))
        found[chosen] = matches.to_numpy(zero_copy_only=False)
    return found


@numba.njit(cache=True, nogil=True)
def _count(data, starts, ends, classes, upper, numeric, visible):
    for line in range(len(starts)):
        at = starts[line]
        while at < ends[line]:
            code, at = decode(data, at)
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
    behind = 0  # the last mark
    for i in range(len(starts)):
        at, stop = starts[i] + 1, last[i]
        digits = 0
        while at < stop and digits <= _MARK_DIGITS and 48 <= data[at] <= 57:
            at += 1
            digits += 1
        if 0 < digits <= _MARK_DIGITS and at < stop and data[at] == 93:
            ends[i] = at + 1
        elif digits == 0:
            for begin, end in ((0, border), (border, len(marks))):
                size = end - begin
                if at + size <= stop and np.all(data[at : at + size] == marks[begin:end]):
                    ends[i] = at + size
        if ends[i]:
            while starts[i] > max(first[i], behind) and (data[starts[i] - 1] == 32 or data[starts[i] - 1] == 9):
                starts[i] -= 1
            behind = ends[i]
