"""Words, lines and sentences of a batch, and counts of them.

One pass over the bytes of a batch cuts every document into white-space-delimited words, lines and sentences, and counts
what the rules of `curate.signals` and `curate.cleaning` need. ``docs/signals.md`` has the definitions.
"""

from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from curate.text.marks import (
    count_marks,
    ends_in_ellipsis,
    ends_in_terminal,
    ends_sentence,
    is_all_caps,
    is_bullet,
    is_capitalized,
    role_table,
    stop_word,
)
from curate.text.unicode import DIGIT, LETTER, MARK, PUNCTUATION, SPACE, SYMBOL, UNSPACED, UPPER, decode, tables

_LINE_FEED, _CARRIAGE_RETURN = (ord(char) for char in "\n\r")

# MADLAD-400's limits for a sentence (Kudugunta et al. 2023, arXiv 2309.04662, section 2.3).
_LIST_CASE_WORDS, _SHORT_SENTENCE, _LONG_SENTENCE, _TECHNICAL_PARTS = 12, 20, 500, 5
_TECHNICAL = np.zeros(256, np.bool_)
_TECHNICAL[list(b"0123456789{}+/()>")] = True

_LENGTHS = 64  # word lengths that are counted; a median beyond is rare and found by sorting

_OTHER = MARK  # in the ASCII table: no visible ASCII character; a mark never is one


class DocumentCounts(NamedTuple):
    """Counts per document, int64, shape (documents,) each.

    Attributes
    ----------
    words, text_words, alpha_words, all_caps_words, symbol_words
        All words; those with a letter or digit; with a letter; with an upper-case letter and no other letter; with
        a ``#`` or an ellipsis.
    text_word_chars, longest_word, twice_median
        Visible characters of all words with a letter or digit; of the longest word; twice the median over all words.
    stop_words, stop_word_hits
        Which of `STOP_WORDS` occur: one bit each, in no particular order; how often any occurs.
    hashes, ellipses, curly_brackets, citations, url_chars
        Occurrences of ``#``, of an ellipsis, of ``{`` and of a citation mark; characters of URLs.
    breaks
        Line breaks: LF, CR LF or CR.
    list_case, abnormal, technical, questionable
        Sentences that MADLAD-400's rules 2, 3 and 4 question, and those that any of the three does.
    """

    words: NDArray[np.int64]
    text_words: NDArray[np.int64]
    alpha_words: NDArray[np.int64]
    all_caps_words: NDArray[np.int64]
    symbol_words: NDArray[np.int64]
    text_word_chars: NDArray[np.int64]
    longest_word: NDArray[np.int64]
    twice_median: NDArray[np.int64]
    stop_words: NDArray[np.int64]
    stop_word_hits: NDArray[np.int64]
    hashes: NDArray[np.int64]
    ellipses: NDArray[np.int64]
    curly_brackets: NDArray[np.int64]
    citations: NDArray[np.int64]
    url_chars: NDArray[np.int64]
    breaks: NDArray[np.int64]
    list_case: NDArray[np.int64]
    abnormal: NDArray[np.int64]
    technical: NDArray[np.int64]
    questionable: NDArray[np.int64]


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
    bullet, ellipsis, terminal, opens_paragraph
        Whether the line starts with a bullet, ends in an ellipsis, ends in a terminal mark, is the first or follows a
        line without a word, bool.
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
    opens_paragraph: NDArray[np.bool_]


# Behind the offsets.
_LINE_TYPES = (np.int64, np.int64, np.int32, np.int32, np.int32, np.bool_, np.bool_, np.bool_, np.bool_)


class _Words(NamedTuple):
    """Room for the words of one document.

    Visible bytes, visible characters, classes, line breaks before it, whether it ends a sentence.
    """

    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    lengths: NDArray[np.int64]
    kinds: NDArray[np.uint8]
    breaks: NDArray[np.int64]
    closes_sentence: NDArray[np.bool_]


_WORD_TYPES = (np.int64, np.int64, np.int64, np.uint8, np.int64, np.bool_)


def scan(data: NDArray[np.uint8], offsets: NDArray[np.int64]) -> tuple[DocumentCounts, Lines]:
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
    counts = DocumentCounts._make(np.zeros(documents, np.int64) for _ in DocumentCounts._fields)
    lines = Lines._make([np.zeros(documents + 1, np.int64), *(np.zeros(capacity, dtype) for dtype in _LINE_TYPES)])
    longest = int(np.diff(offsets).max(initial=0))
    pieces = np.empty(longest + 1, np.int64), np.empty(longest + 1, np.uint8)
    # A word has two bytes or is followed by white space; one flag more closes the last line.
    words = _Words._make(np.empty(longest // 2 + 2, dtype) for dtype in _WORD_TYPES)
    classes = tables().classes
    _scan(data, offsets, _ascii_classes(classes), classes, role_table(), *pieces, words, counts, lines)
    return counts, Lines._make([lines.offsets, *(column[: lines.offsets[-1]] for column in lines[1:])])


def _ascii_classes(classes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Per byte: 0 for ASCII white space, `_OTHER` for an invisible or longer character, else the class."""
    table = np.full(256, _OTHER, np.uint8)
    visible = np.flatnonzero(classes[:0x80])
    table[visible] = np.where(classes[visible] & SPACE, 0, classes[visible])
    return table


@numba.njit(cache=True, nogil=True)
def _scan(data, offsets, ascii_classes, classes, roles, bounds, kinds, words, counts, lines):
    lengths = np.zeros(_LENGTHS, np.int64)
    for document in range(len(offsets) - 1):
        start = offsets[document]
        end = offsets[document + 1]
        pieces = _split(data, start, end, ascii_classes, bounds, kinds)
        found, counts.breaks[document] = _read_words(data, start, end, bounds, kinds, pieces, classes, words)
        counts.words[document] = found
        _count(data, end, words, classes, roles, document, counts, lines)
        _question(data, words, classes, document, counts)
        counts.twice_median[document] = _twice_median(words.lengths[:found], lengths)


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
def _read_words(data, start, stop, bounds, kinds, pieces, classes, words):
    """Make words of pieces; returns their number and that of line breaks. A piece of visible ASCII is one word.

    The first word opens a line and a paragraph, as if two line breaks were before it.
    """
    found = 0
    behind = start
    breaks = 2
    total = 0
    for piece in range(pieces):
        at = bounds[2 * piece]
        end = bounds[2 * piece + 1]
        between = _count_breaks(data, behind, at)
        breaks += between
        total += between
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
                words.breaks[found] = breaks
                breaks = 0
                found += 1
    words.breaks[found] = 1
    return found, total + _count_breaks(data, behind, stop)


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
def _count(data, stop, words, classes, roles, document, counts, lines):
    """Count the words of a document into its row of `counts` and into `lines`, which its predecessors have begun."""
    text_words = alpha_words = all_caps_words = symbol_words = text_word_chars = longest_word = 0
    stop_words = stop_word_hits = hashes = ellipses = curly_brackets = citations = url_chars = 0
    line = lines.offsets[document] - 1
    for word in range(counts.words[document]):
        start = words.starts[word]
        end = words.ends[word]
        length = words.lengths[word]
        kind = words.kinds[word]
        closes_line = words.breaks[word + 1] > 0
        closes_sentence = closes_line
        if words.breaks[word]:
            line += 1
            lines.starts[line] = start
            lines.bullet[line] = is_bullet(data, start, length, roles)
            lines.opens_paragraph[line] = words.breaks[word] > 1
        if kind & PUNCTUATION:
            marks = count_marks(data, start, end, stop)
            hashes += marks[0]
            ellipses += marks[1]
            curly_brackets += marks[2]
            citations += marks[3]
            url_chars += marks[4]
            symbol_words += marks[0] + marks[1] > 0
            closes_sentence |= ends_sentence(data, start, end, roles)
            if closes_line:
                lines.ellipsis[line] = ends_in_ellipsis(data, start, end)
                lines.terminal[line] = ends_in_terminal(data, end, roles) and not lines.ellipsis[line]
        words.closes_sentence[word] = closes_sentence
        lines.ends[line] = end
        lines.words[line] += 1
        lines.sentences[line] += closes_sentence
        lines.longest_word[line] = max(lines.longest_word[line], length)
        longest_word = max(longest_word, length)
        is_text = kind & (LETTER | DIGIT) != 0
        text_words += is_text
        text_word_chars += length * is_text
        alpha_words += kind & LETTER != 0
        if kind & UPPER:
            all_caps_words += is_all_caps(data, start, end, classes)
        if kind & (LETTER | UNSPACED) == LETTER:
            found = stop_word(data, start, end, kind, classes)
            stop_words |= found
            stop_word_hits += found != 0
    lines.offsets[document + 1] = line + 1
    counts.text_words[document] = text_words
    counts.alpha_words[document] = alpha_words
    counts.all_caps_words[document] = all_caps_words
    counts.symbol_words[document] = symbol_words
    counts.text_word_chars[document] = text_word_chars
    counts.longest_word[document] = longest_word
    counts.stop_words[document] = stop_words
    counts.stop_word_hits[document] = stop_word_hits
    counts.hashes[document] = hashes
    counts.ellipses[document] = ellipses
    counts.curly_brackets[document] = curly_brackets
    counts.citations[document] = citations
    counts.url_chars[document] = url_chars


@numba.njit(cache=True, nogil=True)
def _question(data, words, classes, document, counts):
    """Count the sentences of a document that MADLAD-400's rules question."""
    list_case = abnormal = technical = questionable = 0
    chars = text_words = capitals = technical_chars = 0
    for word in range(counts.words[document]):
        kind = words.kinds[word]
        start = words.starts[word]
        end = words.ends[word]
        chars += words.lengths[word]
        if kind & (LETTER | DIGIT):
            text_words += 1
            if kind & UPPER:
                capitals += is_capitalized(data, start, classes)
        if kind & (DIGIT | PUNCTUATION | SYMBOL):
            for at in range(start, end):
                technical_chars += _TECHNICAL[data[at]]
        if not words.closes_sentence[word]:
            chars += words.starts[word + 1] > end  # one for the white space, however much it is
            continue
        is_list = text_words >= _LIST_CASE_WORDS and 2 * capitals > text_words
        is_abnormal = chars < _SHORT_SENTENCE or chars > _LONG_SENTENCE
        is_technical = technical_chars * _TECHNICAL_PARTS > chars
        list_case += is_list
        abnormal += is_abnormal
        technical += is_technical
        questionable += is_list or is_abnormal or is_technical
        chars = text_words = capitals = technical_chars = 0
    counts.list_case[document] = list_case
    counts.abnormal[document] = abnormal
    counts.technical[document] = technical
    counts.questionable[document] = questionable


@numba.njit(cache=True, nogil=True)
def _twice_median(lengths, frequencies):
    """Twice the median, an integer; `frequencies` is room for counting."""
    count = len(lengths)
    if count == 0:
        return 0
    frequencies[:] = 0
    for length in lengths:
        frequencies[min(length, _LENGTHS - 1)] += 1
    twice = 0
    for rank in ((count - 1) // 2, count // 2):
        below = value = 0
        while below + frequencies[value] <= rank:
            below += frequencies[value]
            value += 1
        twice += np.sort(lengths)[rank] if value == _LENGTHS - 1 else value
    return twice


@numba.njit(cache=True, inline="always")
def _count_breaks(data, start, end):
    """Line breaks between two words: LF, CR LF or CR."""
    found = 0
    for at in range(start, end):
        found += data[at] == _LINE_FEED
        found += data[at] == _CARRIAGE_RETURN and not (at + 1 < end and data[at + 1] == _LINE_FEED)
    return found
