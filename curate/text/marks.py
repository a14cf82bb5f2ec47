"""Marks that the heuristics look for in a word: bullets, ellipses, ends of sentences, citations, URLs, stop words."""

from functools import cache

import numba
import numpy as np
from numpy.typing import NDArray

from curate.text.unicode import DIGIT, LETTER, PUNCTUATION, SYMBOL, UPPER, WORD, decode

STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")

_TERMINATOR, _CLOSING_QUOTE, _CLOSER, _BULLET, _DASH = 1, 2, 4, 8, 16
_ROLES = {
    _TERMINATOR: ".!?。｡．！？।॥؟۔։።។",  # ends a sentence
    _CLOSING_QUOTE: '"”»」』',  # ends a line as well as a terminator does, as in C4
    _CLOSER: "\"'”’»」』)]}）］｝】》〉",  # may stand between a terminator and the end of its word
    _BULLET: "•‣⁃∙·▪▫■□●○◦◆◇▶►◀",  # opens a list item
    _DASH: "-*+–",  # opens a list item where it stands alone
}
_BASIC_PLANE = 0x10000  # every character with a role lies in it

_HASH, _FULL_STOP, _CURLY_BRACKET, _SQUARE_BRACKET, _COLON, _SLASH, _ELLIPSIS = (ord(char) for char in "#.{[:/…")
_ELLIPSIS_DOTS = 3

_CLOSING_BRACKET = ord("]")
_EDIT, _CITATION_NEEDED, _HTTPS = (np.frombuffer(text, np.uint8) for text in (b"edit]", b"citation needed]", b"https"))
_URL_CHARS = np.zeros(256, np.bool_)
_URL_CHARS[list(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789$-_@.&+/:=?#~!*(),%")] = True

_LONGEST_STOP_WORD = 4  # letters, so that a stop word fits 32 bits
_STOP_CODES = np.array([int.from_bytes(word.encode(), "big") for word in STOP_WORDS], np.uint64)
_STOP_MULTIPLIER = np.uint64(126759)  # (code * multiplier mod 2^32) >> 29 gives each of the eight a slot of its own
_STOP_SLOTS = _STOP_CODES[np.argsort((_STOP_CODES * _STOP_MULTIPLIER & np.uint64(0xFFFFFFFF)) >> np.uint64(29))]


@cache
def role_table() -> NDArray[np.uint8]:
    """Roles of each code point of the basic plane."""
    roles = np.zeros(_BASIC_PLANE, np.uint8)
    for role, chars in _ROLES.items():
        roles[[ord(char) for char in chars]] |= role
    return roles


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
def is_bullet(data, start, length, roles):
    """Whether the first word of a line, of `length` visible characters, makes it a list item."""
    role = _role(roles, decode(data, start)[0])
    return role & _BULLET != 0 or (role & _DASH != 0 and length == 1)


@numba.njit(cache=True, nogil=True)
def count_marks(data, start, end, stop):
    """Hashes, ellipses (maximal runs of dots, three or more), `{`, citation marks and characters of URLs in a word.

    A citation mark may reach beyond the word, as far as byte `stop`.
    """
    hashes = ellipses = curly_brackets = citations = url_chars = dots = 0
    at = url_end = start
    while at < end:
        code, at = decode(data, at)
        before = dots
        dots += (code == _FULL_STOP) + _ELLIPSIS_DOTS * (code == _ELLIPSIS)
        ellipses += before < _ELLIPSIS_DOTS <= dots
        dots *= dots > before  # any other character ends the run
        hashes += code == _HASH
        curly_brackets += code == _CURLY_BRACKET
        if code == _SQUARE_BRACKET:
            citations += _is_citation(data, at, stop)
        elif code == _COLON and at > url_end and at + 1 < end and data[at] == _SLASH and data[at + 1] == _SLASH:
            scheme = _scheme_length(data, start, at - 1)
            if scheme:
                url_end = at
                while url_end < end and _URL_CHARS[data[url_end]]:
                    url_end += 1
                url_chars += url_end - at + 1 + scheme
    return hashes, ellipses, curly_brackets, citations, url_chars


@numba.njit(cache=True, nogil=True)
def _scheme_length(data, start, end):
    """Letters of `http` or `https`, in upper or lower case, that end at byte `end`; else 0."""
    secure = 1 if end > start and data[end - 1] | 0x20 == _HTTPS[4] else 0
    if end - secure - start < len(_HTTPS) - 1:
        return 0
    for i in range(len(_HTTPS) - 1):
        if data[end - secure - (len(_HTTPS) - 1) + i] | 0x20 != _HTTPS[i]:
            return 0
    return len(_HTTPS) - 1 + secure


@numba.njit(cache=True, nogil=True)
def _is_citation(data, at, stop):
    """Whether digits and a bracket, `edit]` or `citation needed]` begin at byte `at`."""
    behind = at
    while behind < stop and 0x30 <= data[behind] <= 0x39:
        behind += 1
    if behind < stop and data[behind] == _CLOSING_BRACKET:
        return True
    return _begins(data, at, stop, _EDIT) or _begins(data, at, stop, _CITATION_NEEDED)


@numba.njit(cache=True, nogil=True)
def _begins(data, at, stop, expected):
    if at + len(expected) > stop:
        return False
    same = True
    for i in range(len(expected)):
        same &= data[at + i] == expected[i]
    return same


@numba.njit(cache=True, nogil=True)
def is_all_caps(data, at, end, classes):
    """Whether all letters of a word are upper case."""
    while at < end:
        code, at = decode(data, at)
        if classes[code] & (LETTER | UPPER) == LETTER:
            return False
    return True


@numba.njit(cache=True, nogil=True)
def is_capitalized(data, at, classes):
    """Whether the first letter or digit of a word that has one is an upper-case letter."""
    while True:
        code, at = decode(data, at)
        if classes[code] & (LETTER | DIGIT):
            return classes[code] & UPPER != 0


@numba.njit(cache=True, nogil=True)
def ends_in_ellipsis(data, start, end):
    """Whether a word ends in three dots or more."""
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
    """Whether the character before byte `end` ends a sentence or closes a quotation."""
    return _role(roles, _before(data, end)[0]) & (_TERMINATOR | _CLOSING_QUOTE) != 0


@numba.njit(cache=True, nogil=True)
def ends_sentence(data, start, end, roles):
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
def stop_word(data, start, end, kind, classes):
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
