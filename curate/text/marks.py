"""Detection of marks in words, for the heuristics: bullets, ellipses, sentence ends, citations, URLs, stop words."""

from functools import cache

import numba
import numpy as np
from numpy.typing import NDArray

from curate.text.unicode import DIGIT, LETTER, PUNCTUATION, SYMBOL, UPPER, WORD, decode

STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")

_TERMINATOR, _CLOSING_QUOTE, _CLOSER, _BULLET, _DASH = 1, 2, 4, 8, 16
_ROLES = {
    _TERMINATOR: ".!?。｡．！？।॥؟۔։።។",  # ends a sentence
    _CLOSING_QUOTE: '"”»」』',  # ends a line like a terminator, as in C4
    _CLOSER: "\"'”’»」』)]}）］｝】》〉",  # may follow a terminator at the end of a word
    _BULLET: "•‣⁃∙·▪▫■□●○◦◆◇▶►◀",  # opens a list item
    _DASH: "-*+–",  # opens a list item if it is a word of its own
}
_BASIC_PLANE = 0x10000  # all characters with a role are in the basic plane

_HASH, _FULL_STOP, _CURLY_BRACKET, _SQUARE_BRACKET, _COLON, _SLASH, _ELLIPSIS = (ord(char) for char in "#.{[:/…")
_ELLIPSIS_DOTS = 3

_CLOSING_BRACKET = ord("]")
_EDIT, _CITATION_NEEDED, _HTTPS = (np.frombuffer(text, np.uint8) for text in (b"edit]", b"citation needed]", b"https"))
_URL_CHARS = np.zeros(256, np.bool_)
_URL_CHARS[list(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789$-_@.&+/:=?#~!*(),%")] = True

_LONGEST_STOP_WORD = 4  # letters; so a stop word fits into 32 bits
_STOP_CODES = np.array([int.from_bytes(word.encode(), "big") for word in STOP_WORDS], np.uint64)
_STOP_MULTIPLIER = np.uint64(126759)  # (code * multiplier mod 2^32) >> 29 gives each of the eight a slot of its own
_STOP_SLOTS = _STOP_CODES[np.argsort((_STOP_CODES * _STOP_MULTIPLIER & np.uint64(0xFFFFFFFF)) >> np.uint64(29))]


@cache
def role_table() -> NDArray[np.uint8]:
    """Return the roles of each code point of the basic plane, as bits."""
    roles = np.zeros(_BASIC_PLANE, np.uint8)
    for role, chars in _ROLES.items():
        roles[[ord(char) for char in chars]] |= role
    return roles


@numba.njit(cache=True, nogil=True)
def _role(roles, code):
    return roles[code] if code < _BASIC_PLANE else np.uint8(0)


@numba.njit(cache=True, nogil=True)
def _before(data, end):
    """Return the code point that ends before byte `end`, and its first byte."""
    start = end - 1
    while data[start] & 0xC0 == 0x80:
        start -= 1
    return decode(data, start)[0], start


@numba.njit(cache=True, nogil=True)
def is_bullet(data, start, length, roles):
    """Return whether the first word of a line, of `length` visible characters, makes the line a list item."""
    role = _role(roles, decode(data, start)[0])
    return role & _BULLET != 0 or (role & _DASH != 0 and length == 1)


@numba.njit(cache=True, nogil=True)
def count_marks(data, start, end, stop):
    """Count the ``#``, ellipses, `{`, citation marks and URL characters of a word.

    An ellipsis is a maximal run of at least three dots. A citation mark may extend beyond the word, up to byte `stop`.
    """
    hashes = ellipses = curly_brackets = citations = url_chars = dots = 0
    position = url_end = start
    while position < end:
        code, position = decode(data, position)
        before = dots
        dots += (code == _FULL_STOP) + _ELLIPSIS_DOTS * (code == _ELLIPSIS)
        ellipses += before < _ELLIPSIS_DOTS <= dots
        dots *= dots > before  # any other character ends the run
        hashes += code == _HASH
        curly_brackets += code == _CURLY_BRACKET
        if code == _SQUARE_BRACKET:
            citations += _is_citation(data, position, stop)
        elif (
            code == _COLON
            and position > url_end
            and position + 1 < end
            and data[position] == _SLASH
            and data[position + 1] == _SLASH
        ):
            scheme = _scheme_length(data, start, position - 1)
            if scheme:
                url_end = position
                while url_end < end and _URL_CHARS[data[url_end]]:
                    url_end += 1
                url_chars += url_end - position + 1 + scheme
    return hashes, ellipses, curly_brackets, citations, url_chars


@numba.njit(cache=True, nogil=True)
def _scheme_length(data, start, end):
    """Return the length of `http` or `https` before byte `end`, ignoring case; 0 if neither precedes it."""
    secure = 1 if end > start and data[end - 1] | 0x20 == _HTTPS[4] else 0
    if end - secure - start < len(_HTTPS) - 1:
        return 0
    for i in range(len(_HTTPS) - 1):
        if data[end - secure - (len(_HTTPS) - 1) + i] | 0x20 != _HTTPS[i]:
            return 0
    return len(_HTTPS) - 1 + secure


@numba.njit(cache=True, nogil=True)
def _is_citation(data, position, stop):
    """Return whether digits and a bracket, `edit]` or `citation needed]` start at byte `position`."""
    digits_end = position
    while digits_end < stop and 0x30 <= data[digits_end] <= 0x39:
        digits_end += 1
    if digits_end < stop and data[digits_end] == _CLOSING_BRACKET:
        return True
    return _begins(data, position, stop, _EDIT) or _begins(data, position, stop, _CITATION_NEEDED)


@numba.njit(cache=True, nogil=True)
def _begins(data, position, stop, expected):
    if position + len(expected) > stop:
        return False
    same = True
    for i in range(len(expected)):
        same &= data[position + i] == expected[i]
    return same


@numba.njit(cache=True, nogil=True)
def is_all_caps(data, position, end, classes):
    """Return whether all letters of a word are upper case."""
    while position < end:
        code, position = decode(data, position)
        if classes[code] & (LETTER | UPPER) == LETTER:
            return False
    return True


@numba.njit(cache=True, nogil=True)
def is_capitalized(data, position, classes):
    """Return whether the first letter or digit of a word is an upper-case letter. The word must have one."""
    while True:
        code, position = decode(data, position)
        if classes[code] & (LETTER | DIGIT):
            return classes[code] & UPPER != 0


@numba.njit(cache=True, nogil=True)
def ends_in_ellipsis(data, start, end):
    """Return whether a word ends in at least three dots."""
    dots = 0
    while start < end:
        code, end = _before(data, end)
        added = (code == _FULL_STOP) + _ELLIPSIS_DOTS * (code == _ELLIPSIS)
        dots += added
        if not added:
            break
    return dots >= _ELLIPSIS_DOTS


@numba.njit(cache=True, nogil=True)
def ends_in_terminal(data, end, roles):
    """Return whether the character before byte `end` ends a sentence or closes a quotation."""
    return _role(roles, _before(data, end)[0]) & (_TERMINATOR | _CLOSING_QUOTE) != 0


@numba.njit(cache=True, nogil=True)
def ends_sentence(data, start, end, roles):
    """Return whether a word ends in a terminator, ignoring closing quotes and brackets after it."""
    while start < end:
        code, end = _before(data, end)
        role = _role(roles, code)
        if not role & _CLOSER:
            return role & _TERMINATOR != 0
    return False


@numba.njit(cache=True, nogil=True)
def _core(data, start, end, classes):
    """Strip all characters but letters, digits and marks from both ends of a word that has a letter."""
    while not classes[decode(data, start)[0]] & WORD:
        start = decode(data, start)[1]
    while not classes[_before(data, end)[0]] & WORD:
        end = _before(data, end)[1]
    return start, end


@numba.njit(cache=True, inline="always")
def stop_word(data, start, end, kind, classes):
    """Return the bit of the stop word that equals a word, ignoring case, or 0. No branch depends on the length."""
    if kind & (PUNCTUATION | SYMBOL):
        start, end = _core(data, start, end, classes)
    length = end - start
    code = np.uint64(0)
    for position in range(start, start + _LONGEST_STOP_WORD):
        code = (code << np.uint64(8)) | np.uint64(data[min(position, end - 1)] | 0x20)  # 0x20 makes a letter lower case
    code >>= np.uint64(8 * max(_LONGEST_STOP_WORD - length, 0))
    slot = ((code * _STOP_MULTIPLIER) & np.uint64(0xFFFFFFFF)) >> np.uint64(29)
    return np.int64(_STOP_SLOTS[slot] == code and length <= _LONGEST_STOP_WORD) << np.int64(slot)
