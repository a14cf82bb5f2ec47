"""Counts behind the classic quality heuristics, and the Gopher and C4 statistics made of them.

One pass over the bytes of a batch (`scan`) cuts every document into white-space-delimited words and lines and counts
what the rules need; another (`find_phrases`) looks for boilerplate phrases in the lines. A family of signals is a
function from those counts to columns: `gopher` and `c4` here, further families in modules beside this one.
``docs/signals.md`` holds the definition of every column and how other tools differ.

Sources: Gopher, Rae et al. 2021, arXiv 2112.11446, section A.1.1; C4, Raffel et al. 2020, JMLR 21(140), section 2.2.
"""

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numba
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate.text.unicode import DIGIT, LETTER, MARK, PUNCTUATION, SPACE, SYMBOL, UNSPACED, WORD, decode, tables

STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")
JAVASCRIPT = "javascript"
LOREM_IPSUM = "lorem ipsum"
POLICIES = ("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies")

_TERMINATOR, _CLOSING_QUOTE, _CLOSER, _BULLET, _DASH = 1, 2, 4, 8, 16
_ROLES = {
    _TERMINATOR: ".!?。｡．！？।॥؟۔։።។",  # ends a sentence
    _CLOSING_QUOTE: '"”»」』',  # ends a line as well as a terminator does, as in C4
    _CLOSER: "\"'”’»」』)]}）］｝】》〉",  # may stand between a terminator and the end of its word
    _BULLET: "•‣⁃∙·▪▫■□●○◦◆◇▶►◀",  # opens a list item
    _DASH: "-*+–",  # opens a list item where it stands alone
}
_BASIC_PLANE = 0x10000  # every character with a role lies in it

_LINE_FEED, _CARRIAGE_RETURN, _HASH, _FULL_STOP, _CURLY_BRACKET, _ELLIPSIS = (ord(char) for char in "\n\r#.{…")
_ELLIPSIS_DOTS = 3

_LONGEST_STOP_WORD = 4  # letters, so that a stop word fits 32 bits
_STOP_CODES = np.array([int.from_bytes(word.encode(), "big") for word in STOP_WORDS], np.uint64)
_STOP_MULTIPLIER = np.uint64(126759)  # (code * multiplier mod 2^32) >> 29 gives each of the eight a slot of its own
_STOP_SLOTS = _STOP_CODES[np.argsort((_STOP_CODES * _STOP_MULTIPLIER & np.uint64(0xFFFFFFFF)) >> np.uint64(29))]

_OTHER = MARK  # in the ASCII table: no visible ASCII character; a mark never is one


class Counts(NamedTuple):
    """Counts per document, int64, shape (documents,) each.

    Attributes
    ----------
    words, text_words, alpha_words
        All words; those with a letter or digit; those with a letter.
    text_word_chars, longest_word
        Visible characters of all words with a letter or digit; of the longest word.
    stop_words
        Which of `STOP_WORDS` occur: one bit each, in no particular order.
    hashes, ellipses, curly_brackets
        Occurrences of ``#``, of an ellipsis and of ``{``.
    """

    words: NDArray[np.int64]
    text_words: NDArray[np.int64]
    alpha_words: NDArray[np.int64]
    text_word_chars: NDArray[np.int64]
    longest_word: NDArray[np.int64]
    stop_words: NDArray[np.int64]
    hashes: NDArray[np.int64]
    ellipses: NDArray[np.int64]
    curly_brackets: NDArray[np.int64]


class Lines(NamedTuple):
    """Lines that have a word, of all documents end to end; shape (lines,) unless said otherwise.

    Attributes
    ----------
    offsets
        Document i has the lines ``offsets[i]`` up to ``offsets[i + 1]``, int64, shape (documents + 1,).
    starts, ends
        Byte positions of the first and behind the last visible character, int64.
    words, sentences, longest_word
        Number of words, number of sentences, visible characters of the longest word, int32.
    bullet, ellipsis, terminal
        Whether the line starts with a bullet, ends in an ellipsis, ends in a terminal mark, bool.
    """

    offsets: NDArray[np.int64]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    words: NDArray[np.int32]
    sentences: NDArray[np.int32]
    longest_word: NDArray[np.int32]
    bullet: NDArray[np.bool_]
    ellipsis: NDArray[np.bool_]
    terminal: NDArray[np.bool_]


_LINE_TYPES = (np.int64, np.int64, np.int32, np.int32, np.int32, np.bool_, np.bool_, np.bool_)  # behind the offsets


class _Words(NamedTuple):
    """Room for the words of one document: visible bytes, visible characters, classes, whether a line starts there."""

    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    lengths: NDArray[np.int64]
    kinds: NDArray[np.uint8]
    opens_line: NDArray[np.bool_]


_WORD_TYPES = (np.int64, np.int64, np.int64, np.uint8, np.bool_)


def scan(data: NDArray[np.uint8], offsets: NDArray[np.int64]) -> tuple[Counts, Lines]:
    r"""Count words, lines and marks of a batch of documents.

    Parameters
    ----------
    data
        Valid UTF-8 of all documents, shape (bytes,).
    offsets
        Document i is ``data[offsets[i]:offsets[i + 1]]``, shape (documents + 1,).

    Examples
    --------
    >>> text = "- Hello, world!\n\n- 42 ...".encode()
    >>> counts, lines = scan(np.frombuffer(text, np.uint8), np.array([0, len(text)]))
    >>> counts.words.tolist(), counts.text_words.tolist(), counts.ellipses.tolist()
    ([6], [3], [1])
    >>> lines.bullet.tolist(), lines.terminal.tolist(), lines.words.tolist()
    ([True, True], [True, False], [3, 3])
    """
    documents = len(offsets) - 1
    text = data[offsets[0] : offsets[-1]]
    capacity = documents + np.count_nonzero(text == _LINE_FEED) + np.count_nonzero(text == _CARRIAGE_RETURN)
    counts = Counts._make(np.zeros(documents, np.int64) for _ in Counts._fields)
    lines = Lines._make([np.zeros(documents + 1, np.int64), *(np.zeros(capacity, dtype) for dtype in _LINE_TYPES)])
    longest = int(np.diff(offsets).max(initial=0))
    pieces = np.empty(longest + 1, np.int64), np.empty(longest + 1, np.uint8)
    # A word has two bytes or is followed by white space; one flag more closes the last line.
    words = _Words._make(np.empty(longest // 2 + 2, dtype) for dtype in _WORD_TYPES)
    classes = tables().classes
    _scan(data, offsets, _ascii_classes(classes), classes, _roles(), *pieces, words, counts, lines)
    return counts, Lines._make([lines.offsets, *(column[: lines.offsets[-1]] for column in lines[1:])])


def gopher(counts: Counts, lines: Lines) -> dict[str, NDArray[np.int64] | NDArray[np.float64]]:
    """Statistics of Gopher's quality rules by column name, shape (documents,); NaN where a ratio has no denominator.

    Examples
    --------
    >>> text = "The cost of it: #1".encode()
    >>> columns = gopher(*scan(np.frombuffer(text, np.uint8), np.array([0, len(text)])))
    >>> columns["gopher_stop_words"].tolist(), columns["gopher_hash_ratio"].tolist()
    ([2], [0.2])
    """
    line_count = np.diff(lines.offsets)
    return {
        "gopher_words": counts.text_words,
        "gopher_mean_word_length": _ratio(counts.text_word_chars, counts.text_words),
        "gopher_hash_ratio": _ratio(counts.hashes, counts.words),
        "gopher_ellipsis_ratio": _ratio(counts.ellipses, counts.words),
        "gopher_bullet_lines": _ratio(_per_document(lines.bullet, lines), line_count),
        "gopher_ellipsis_lines": _ratio(_per_document(lines.ellipsis, lines), line_count),
        "gopher_alpha_words": _ratio(counts.alpha_words, counts.words),
        "gopher_stop_words": np.unpackbits(counts.stop_words.astype(np.uint8)[:, None], axis=1).sum(
            axis=1, dtype=np.int64
        ),
    }


def c4(
    data: NDArray[np.uint8], counts: Counts, lines: Lines, min_line_words: int, max_word_length: int
) -> dict[str, NDArray[np.int64] | NDArray[np.float64] | NDArray[np.bool_]]:
    """Statistics of C4's line and page rules by column name, shape (documents,); NaN where a ratio has no denominator.

    Parameters
    ----------
    data
        What `counts` and `lines` were scanned from.
    counts, lines
        What `scan` returned.
    min_line_words
        A line with fewer words is short.
    max_word_length
        A line with a word of more characters is not kept.

    Examples
    --------
    >>> data = np.frombuffer("It is a line of words. Home".encode(), np.uint8)
    >>> columns = c4(data, *scan(data, np.array([0, 23, 27])), min_line_words=5, max_word_length=1000)
    >>> columns["c4_kept_lines"].tolist(), columns["c4_sentences"].tolist()
    ([1.0, 0.0], [1, 1])
    """
    javascript, lorem_ipsum, policy = find_phrases(data, lines, [JAVASCRIPT], [LOREM_IPSUM], POLICIES)
    short = lines.words < min_line_words
    kept = lines.terminal & ~short & ~javascript & ~policy & (lines.longest_word <= max_word_length)
    line_count = np.diff(lines.offsets)
    return {
        "c4_lines": line_count,
        "c4_sentences": _per_document(lines.sentences, lines),
        "c4_terminal_lines": _ratio(_per_document(lines.terminal, lines), line_count),
        "c4_short_lines": _ratio(_per_document(short, lines), line_count),
        "c4_javascript_lines": _per_document(javascript, lines),
        "c4_policy_lines": _per_document(policy, lines),
        "c4_kept_lines": _ratio(_per_document(kept, lines), line_count),
        "c4_kept_sentences": _per_document(lines.sentences * kept, lines),
        "c4_max_word_length": counts.longest_word,
        "c4_curly_brackets": counts.curly_brackets,
        "c4_lorem_ipsum": _per_document(lorem_ipsum, lines) > 0,
    }


def _per_document(values: NDArray[np.bool_] | NDArray[np.int32], lines: Lines) -> NDArray[np.int64]:
    """Sum of a number or flag over each document's lines."""
    totals = np.concatenate([[0], np.cumsum(values, dtype=np.int64)])
    return totals[lines.offsets[1:]] - totals[lines.offsets[:-1]]


def _ratio(part: NDArray[np.int64], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)


def find_phrases(data: NDArray[np.uint8], lines: Lines, *groups: Sequence[str]) -> list[NDArray[np.bool_]]:
    r"""For each group of ASCII phrases, which lines have one of them in upper or lower case, shape (lines,) each.

    Examples
    --------
    >>> data = np.frombuffer(b"Enable JavaScript\nHome", np.uint8)
    >>> _, lines = scan(data, np.array([0, len(data)]))
    >>> [found.tolist() for found in find_phrases(data, lines, ["javascript"], ["home", "away"])]
    [[True, False], [False, True]]
    """
    # A line reaches to the start of the next one: nothing visible lies between. Bytes, since Unicode folds K to k.
    offsets = pa.py_buffer(np.append(lines.starts, lines.ends[-1:]))
    texts = pa.Array.from_buffers(pa.large_binary(), len(lines.starts), [None, offsets, pa.py_buffer(data)])
    patterns = ["|".join(group) for group in groups]
    # One search over all the text, then one per group over the few lines that it found.
    hits = np.flatnonzero(_match(texts, "|".join(patterns)))
    texts = texts.take(pa.array(hits))
    found = [np.zeros(len(lines.starts), np.bool_) for _ in groups]
    for flags, pattern in zip(found, patterns, strict=True):
        flags[hits] = _match(texts, pattern)
    return found


def _match(texts: pa.Array, pattern: str) -> pa.Array:
    return pc.call_function("match_substring_regex", [texts], pc.MatchSubstringOptions(pattern, ignore_case=True))


def _ascii_classes(classes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Per byte: 0 for ASCII white space, `_OTHER` for an invisible or longer character, else the class."""
    table = np.full(256, _OTHER, np.uint8)
    visible = np.flatnonzero(classes[:0x80])
    table[visible] = np.where(classes[visible] & SPACE, 0, classes[visible])
    return table


@cache
def _roles() -> NDArray[np.uint8]:
    """Roles of each code point of the basic plane."""
    roles = np.zeros(_BASIC_PLANE, np.uint8)
    for role, chars in _ROLES.items():
        roles[[ord(char) for char in chars]] |= role
    return roles


@numba.njit(cache=True, nogil=True)
def _scan(data, offsets, ascii_classes, classes, roles, bounds, kinds, words, counts, lines):
    for document in range(len(offsets) - 1):
        start = offsets[document]
        end = offsets[document + 1]
        pieces = _split(data, start, end, ascii_classes, bounds, kinds)
        counts.words[document] = _read_words(data, start, bounds, kinds, pieces, classes, words)
        _count(data, words, classes, roles, document, counts, lines)


@numba.njit(cache=True, nogil=True)
def _split(data, start, end, ascii_classes, bounds, kinds):
    """Cut a document at ASCII white space; returns the number of pieces.

    Piece i is ``data[bounds[2 * i]:bounds[2 * i + 1]]`` and ``kinds[2 * i + 1]`` the union of the classes of its bytes.
    Nothing in the loop branches on the text: a mispredicted branch per word took longer than all the rest.
    """
    bound = 0
    kind = np.uint8(0)
    for at in range(start, end):
        byte_class = ascii_classes[data[at]]
        bounds[bound] = at
        kinds[bound] = kind
        bound += (byte_class != 0) != (kind != 0)
        kind = (kind | byte_class) if byte_class else np.uint8(0)
    bounds[bound] = end
    kinds[bound] = kind
    return (bound + 1) // 2


@numba.njit(cache=True, nogil=True)
def _read_words(data, start, bounds, kinds, pieces, classes, words):
    """Make words of pieces; returns their number. A piece of visible ASCII characters is one word."""
    found = 0
    behind = start
    opens_line = True
    for piece in range(pieces):
        at = bounds[2 * piece]
        end = bounds[2 * piece + 1]
        opens_line |= _has_break(data, behind, at)
        behind = end
        while at < end:
            if kinds[2 * piece + 1] & _OTHER:
                at, words.starts[found], words.ends[found], length, kind = _read_word(data, at, end, classes)
            else:
                words.starts[found], words.ends[found], length, kind = at, end, end - at, kinds[2 * piece + 1]
                at = end
            if length:
                words.lengths[found] = length
                words.kinds[found] = kind
                words.opens_line[found] = opens_line
                opens_line = False
                found += 1
    words.opens_line[found] = True
    return found


@numba.njit(cache=True, inline="always")
def _read_word(data, at, end, classes):
    """Read a word, or one white-space character, at byte `at`.

    Returns the byte behind it, where its visible bytes start and end, its number of visible characters (0: no word)
    and the union of their classes. A character of no class (control, format, private use, unassigned) is invisible.
    """
    length = 0
    kinds = np.uint8(0)
    visible_start = visible_end = at
    while at < end:
        code, after = decode(data, at)
        kind = classes[code]
        if kind & SPACE:
            if length == 0:
                at = after
            break
        # Beside a character of an unspaced script, every letter or digit begins a word.
        if (kind | kinds) & UNSPACED and kind & (LETTER | DIGIT) and kinds & (LETTER | DIGIT):
            break
        if kind:
            if length == 0:
                visible_start = at
            length += 1
            kinds |= kind
            visible_end = after
        at = after
    return at, visible_start, visible_end, length, kinds


@numba.njit(cache=True, nogil=True)
def _count(data, words, classes, roles, document, counts, lines):
    """Count the words of a document into its row of `counts` and into `lines`, which its predecessors have begun."""
    text_words = alpha_words = text_word_chars = longest_word = stop_words = hashes = ellipses = curly_brackets = 0
    line = lines.offsets[document] - 1
    for word in range(counts.words[document]):
        start = words.starts[word]
        end = words.ends[word]
        length = words.lengths[word]
        kind = words.kinds[word]
        closes_line = words.opens_line[word + 1]
        closes_sentence = closes_line
        if words.opens_line[word]:
            line += 1
            lines.starts[line] = start
            lines.bullet[line] = _is_bullet(data, start, length, roles)
        if kind & PUNCTUATION:
            marks = _count_marks(data, start, end)
            hashes += marks[0]
            ellipses += marks[1]
            curly_brackets += marks[2]
            closes_sentence |= _ends_sentence(data, start, end, roles)
            if closes_line:
                lines.ellipsis[line] = _ends_in_ellipsis(data, start, end)
                last_role = _role(roles, _before(data, end)[0])
                lines.terminal[line] = last_role & (_TERMINATOR | _CLOSING_QUOTE) != 0 and not lines.ellipsis[line]
        lines.ends[line] = end
        lines.words[line] += 1
        lines.sentences[line] += closes_sentence
        lines.longest_word[line] = max(lines.longest_word[line], length)
        longest_word = max(longest_word, length)
        is_text = kind & (LETTER | DIGIT) != 0
        text_words += is_text
        text_word_chars += length * is_text
        alpha_words += kind & LETTER != 0
        if kind & (LETTER | UNSPACED) == LETTER:
            stop_words |= _stop_word(data, start, end, kind, classes)
    lines.offsets[document + 1] = line + 1
    counts.text_words[document] = text_words
    counts.alpha_words[document] = alpha_words
    counts.text_word_chars[document] = text_word_chars
    counts.longest_word[document] = longest_word
    counts.stop_words[document] = stop_words
    counts.hashes[document] = hashes
    counts.ellipses[document] = ellipses
    counts.curly_brackets[document] = curly_brackets


@numba.njit(cache=True, inline="always")
def _has_break(data, start, end):
    found = False
    for at in range(start, end):
        found |= (data[at] == _LINE_FEED) | (data[at] == _CARRIAGE_RETURN)
    return found


@numba.njit(cache=True, nogil=True)
def _role(roles, code):
    return roles[code] if code < _BASIC_PLANE else np.uint8(0)


@numba.njit(cache=True, nogil=True)
def _before(data, end):
    """Code point that ends before byte `end`, and where it starts."""
    start = end - 1
    while data[start] & 0xC0 == 0x80:
        start -= 1
    return decode(data, start)[0], start


@numba.njit(cache=True, nogil=True)
def _is_bullet(data, start, length, roles):
    role = _role(roles, decode(data, start)[0])
    return role & _BULLET != 0 or (role & _DASH != 0 and length == 1)


@numba.njit(cache=True, nogil=True)
def _count_marks(data, at, end):
    """Hashes, ellipses (maximal runs of dots, three or more) and opening curly brackets of a word."""
    hashes = ellipses = curly_brackets = dots = 0
    while at < end:
        code, at = decode(data, at)
        before = dots
        dots += (code == _FULL_STOP) + _ELLIPSIS_DOTS * (code == _ELLIPSIS)
        ellipses += before < _ELLIPSIS_DOTS <= dots
        dots *= dots > before  # any other character ends the run
        hashes += code == _HASH
        curly_brackets += code == _CURLY_BRACKET
    return hashes, ellipses, curly_brackets


@numba.njit(cache=True, nogil=True)
def _ends_in_ellipsis(data, start, end):
    dots = 0
    while start < end:
        code, end = _before(data, end)
        added = (code == _FULL_STOP) + _ELLIPSIS_DOTS * (code == _ELLIPSIS)
        dots += added
        if not added:
            break
    return dots >= _ELLIPSIS_DOTS


@numba.njit(cache=True, nogil=True)
def _ends_sentence(data, start, end, roles):
    """Whether a word ends in a terminator, closing quotes and brackets aside."""
    while start < end:
        code, end = _before(data, end)
        role = _role(roles, code)
        if not role & _CLOSER:
            return role & _TERMINATOR != 0
    return False


@numba.njit(cache=True, nogil=True)
def _core(data, start, end, classes):
    """A word that has a letter, without what is neither letter, digit nor mark at either end."""
    while not classes[decode(data, start)[0]] & WORD:
        start = decode(data, start)[1]
    while not classes[_before(data, end)[0]] & WORD:
        end = _before(data, end)[1]
    return start, end


@numba.njit(cache=True, inline="always")
def _stop_word(data, start, end, kind, classes):
    """Bit of the stop word that a word spells in upper or lower case, or 0; no branch depends on its length."""
    if kind & (PUNCTUATION | SYMBOL):
        start, end = _core(data, start, end, classes)
    length = end - start
    code = np.uint64(0)
    for at in range(start, start + _LONGEST_STOP_WORD):
        code = (code << np.uint64(8)) | np.uint64(data[min(at, end - 1)] | 0x20)  # 0x20 makes a letter lower case
    code >>= np.uint64(8 * max(_LONGEST_STOP_WORD - length, 0))
    slot = ((code * _STOP_MULTIPLIER) & np.uint64(0xFFFFFFFF)) >> np.uint64(29)
    return np.int64(_STOP_SLOTS[slot] == code and length <= _LONGEST_STOP_WORD) << np.int64(slot)
