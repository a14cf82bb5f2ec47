"""Splitting of documents into words, lines and sentences, and counts of them.

One pass over the bytes of a batch splits every document into white-space-delimited words, lines and sentences, and
computes the counts that `curate.signals` and `curate.cleaning` need. ``docs/signals.md`` has the definitions.
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

_LENGTHS = 64  # number of word lengths in the histogram; a longer median is rare and computed by sorting

_OTHER = MARK  # in the ASCII table: not a visible ASCII character, since no mark is one


class DocumentCounts(NamedTuple):
    """Counts per document, int64, shape (documents,) each.

    Attributes
    ----------
    words, text_words, alpha_words, all_caps_words, symbol_words
        All words; words with a letter or digit; with a letter; with upper-case letters and no other letters; with a
        ``#`` or an ellipsis.
    text_word_chars, longest_word, twice_median
        Visible characters of all words with a letter or digit; of the longest word; twice the median over all words.
    stop_words, stop_word_hits
        Which of `STOP_WORDS` occur, as one bit each in no particular order; number of occurrences of all.
    hashes, ellipses, curly_brackets, citations, url_chars
        Occurrences of ``#``, of ellipses, of ``{`` and of citation marks; characters of URLs.
    breaks
        Line breaks: LF, CR LF or CR.
    list_case, abnormal, technical, questionable
        Sentences that violate MADLAD-400's rules 2, 3 and 4, and sentences that violate at least one of the three.
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
    """Lines with at least one word, of all documents, concatenated; shape (lines,) unless stated otherwise.

    Attributes
    ----------
    offsets
        Document i has the lines ``offsets[i]`` up to ``offsets[i + 1]``, int64, shape (documents + 1,).
    starts, ends
        Byte positions of the first visible character and after the last visible character, int64.
    words, sentences, longest_word
        Number of words, number of sentences, visible characters of the longest word, int32.
    bullet, ellipsis, terminal, opens_paragraph
        Whether the line starts with a bullet, ends in an ellipsis, ends in a terminal mark, opens a paragraph (it is
        the first line or follows a line without words), bool.
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


# Types of the fields after `offsets`.
_LINE_TYPES = (np.int64, np.int64, np.int32, np.int32, np.int32, np.bool_, np.bool_, np.bool_, np.bool_)


class _Words(NamedTuple):
    """Scratch arrays for the words of one document.

    Attributes
    ----------
    starts, ends
        Byte positions of the visible part of each word.
    lengths
        Number of visible characters.
    kinds
        Union of the classes of the characters.
    breaks
        Line breaks before the word.
    closes_sentence
        Whether the word ends a sentence.
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
    # A word has two bytes or white space follows it. One more entry of `breaks` closes the last line.
    words = _Words._make(np.empty(longest // 2 + 2, dtype) for dtype in _WORD_TYPES)
    classes = tables().classes
    _scan(data, offsets, _ascii_classes(classes), classes, role_table(), *pieces, words, counts, lines)
    return counts, Lines._make([lines.offsets, *(column[: lines.offsets[-1]] for column in lines[1:])])


def _ascii_classes(classes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return, for each byte, 0 for ASCII white space, `_OTHER` for invisible and non-ASCII characters, or the class."""
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
        word_count, counts.breaks[document] = _read_words(data, start, end, bounds, kinds, pieces, classes, words)
        counts.words[document] = word_count
        _count(data, end, words, classes, roles, document, counts, lines)
        _question(data, words, classes, document, counts)
        counts.twice_median[document] = _twice_median(words.lengths[:word_count], lengths)


@numba.njit(cache=True, nogil=True)
def _split(data, start, end, ascii_classes, bounds, kinds):
    """Split a document at ASCII white space. Return the number of pieces.

    Piece i is ``data[bounds[2 * i]:bounds[2 * i + 1]]``, and ``kinds[2 * i + 1]`` is the union of the classes of its
    bytes. No branch in the loop depends on the text, because a mispredicted branch per word would take longer than all
    the rest.
    """
    bound = 0
    kind = np.uint8(0)
    for position in range(start, end):
        byte_class = ascii_classes[data[position]]
        bounds[bound] = position
        kinds[bound] = kind
        bound += (byte_class != 0) != (kind != 0)
        kind = (kind | byte_class) if byte_class else np.uint8(0)
    bounds[bound] = end
    kinds[bound] = kind
    return (bound + 1) // 2


@numba.njit(cache=True, nogil=True)
def _read_words(data, start, stop, bounds, kinds, pieces, classes, words):
    """Split pieces into words. Return the number of words and of line breaks. A piece of visible ASCII is one word.

    The first word opens a line and a paragraph, as if two line breaks preceded it.
    """
    word = 0
    previous_end = start
    breaks = 2
    total = 0
    for piece in range(pieces):
        position = bounds[2 * piece]
        end = bounds[2 * piece + 1]
        between = _count_breaks(data, previous_end, position)
        breaks += between
        total += between
        previous_end = end
        while position < end:
            if kinds[2 * piece + 1] & _OTHER:
                position, words.starts[word], words.ends[word], length, kind = _read_word(data, position, end, classes)
            else:
                words.starts[word], words.ends[word] = position, end
                length, kind = end - position, kinds[2 * piece + 1]
                position = end
            if length:
                words.lengths[word] = length
                words.kinds[word] = kind
                words.breaks[word] = breaks
                breaks = 0
                word += 1
    words.breaks[word] = 1
    return word, total + _count_breaks(data, previous_end, stop)


@numba.njit(cache=True, inline="always")
def _read_word(data, position, end, classes):
    """Read a word, or one white-space character, at byte `position`.

    Return the position after it, the start and end of its visible bytes, its number of visible characters (0 for white
    space) and the union of their classes. Characters without a class (control, format, private use, unassigned) are
    invisible.
    """
    length = 0
    kinds = np.uint8(0)
    visible_start = visible_end = position
    while position < end:
        code, after = decode(data, position)
        kind = classes[code]
        if kind & SPACE:
            if length == 0:
                position = after
            break
        # Next to a character of an unspaced script, every letter or digit starts a word.
        if (kind | kinds) & UNSPACED and kind & (LETTER | DIGIT) and kinds & (LETTER | DIGIT):
            break
        if kind:
            if length == 0:
                visible_start = position
            length += 1
            kinds |= kind
            visible_end = after
        position = after
    return position, visible_start, visible_end, length, kinds


@numba.njit(cache=True, nogil=True)
def _count(data, stop, words, classes, roles, document, counts, lines):
    """Write the counts of a document to its row of `counts`, and append its lines to `lines`."""
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
            stop_word_bit = stop_word(data, start, end, kind, classes)
            stop_words |= stop_word_bit
            stop_word_hits += stop_word_bit != 0
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
    """Count the sentences of a document that violate MADLAD-400's rules."""
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
            for position in range(start, end):
                technical_chars += _TECHNICAL[data[position]]
        if not words.closes_sentence[word]:
            chars += words.starts[word + 1] > end  # white space between words counts as one character
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
    """Return twice the median, which is an integer; `frequencies` is a scratch array for the histogram."""
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
    """Count the line breaks between two words: LF, CR LF or CR."""
    breaks = 0
    for position in range(start, end):
        breaks += data[position] == _LINE_FEED
        breaks += data[position] == _CARRIAGE_RETURN and not (position + 1 < end and data[position + 1] == _LINE_FEED)
    return breaks
