"""Normalization of control characters, invisible characters, line ends and white space.

``docs/clean.md`` has the definitions. A first pass over the bytes finds the documents that may change; only these are
rewritten.
"""

import sys
import unicodedata
from functools import cache
from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from curate.text.unicode import decode

KINDS = ("control", "invisible", "line_ends", "spaces", "trailing_spaces", "blank_lines", "inner_spaces")
"""Kinds of changes. Each is counted by places and by bytes of the old text that were removed or replaced."""
_KEEP, _CONTROL, _INVISIBLE, _BREAK, _SPACE, _FEED, _BLANK, _ZERO_WIDTH_SPACE, _TAG, _FLAG = range(10)
_PLACE = {name: place for place, name in enumerate(KINDS)}
_TRAILING, _LINES, _INNER = _PLACE["trailing_spaces"], _PLACE["blank_lines"], _PLACE["inner_spaces"]
_ON_CONTROL, _ON_INVISIBLE, _ON_BREAK, _ON_SPACE = (_PLACE[n] for n in ("control", "invisible", "line_ends", "spaces"))

_MEANINGFUL = (  # format characters that affect the characters beside them
    *(0x200C, 0x200D),  # joiners: Persian, the scripts of India, emoji
    *range(0x600, 0x606),  # Arabic number signs
    *(0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0x110BD, 0x110CD),
    *range(0x13430, 0x13440),  # layout of hieroglyphs
    *range(0x1BCA0, 0x1BCA4),  # shorthand
    *range(0x1D173, 0x1D17B),  # musical notation
)
_BREAKS = "\r\v\f\x85\u2028\u2029"
_ESCAPE, _BRACKET = 0x1B, ord("[")


class Switches(NamedTuple):
    """Changes to make; see the fields of the stage `clean`. A negative ``max_blank_lines`` keeps all blank lines."""

    control: bool = True
    invisible: bool = True
    line_ends: bool = True
    spaces: bool = True
    trailing_spaces: bool = True
    max_blank_lines: int = 2
    inner_spaces: bool = False

    @property
    def flags(self) -> NDArray[np.bool_]:
        """Whether each of `KINDS` is enabled, shape (kinds,)."""
        chosen = (*self[:5], self.max_blank_lines >= 0, self.inner_spaces)
        return np.array(chosen, np.bool_)


class Changes(NamedTuple):
    """Numbers of changed places, and of changed bytes of the old text, int64, shape (documents, kinds) each."""

    places: NDArray[np.int64]
    sizes: NDArray[np.int64]


def normalize(
    data: NDArray[np.uint8], offsets: NDArray[np.int64], switches: Switches
) -> tuple[NDArray[np.uint8], NDArray[np.int64], Changes]:
    r"""Normalize the white space and the control and invisible characters of documents.

    Parameters
    ----------
    data, offsets
        Document i is ``data[offsets[i]:offsets[i + 1]]``.
    switches
        Changes to make.

    Returns
    -------
    tuple
        New data and offsets, and the changes by document. If nothing changed, data and offsets are the old ones. If a
        character between a letter and its accent was removed, the new text is not in NFC.

    Examples
    --------
    >>> text = "\ufeffone\u00a0two  \r\n  three\n\n\n\nfour\n\n".encode()
    >>> data, offsets, changes = normalize(np.frombuffer(text, np.uint8), np.array([0, len(text)]), Switches())
    >>> bytes(data).decode()
    'one two\n  three\n\n\nfour\n'
    >>> [kind for kind, places in zip(KINDS, changes.places[0]) if places]
    ['invisible', 'line_ends', 'spaces', 'trailing_spaces', 'blank_lines']
    """
    flags, limit, actions = switches.flags, switches.max_blank_lines, _actions()
    shape = (len(offsets) - 1, len(KINDS))
    changes = Changes(np.zeros(shape, np.int64), np.zeros(shape, np.int64))
    dirty = np.zeros(len(offsets) - 1, np.bool_)
    suspicious = actions[:256] != _KEEP
    suspicious[0x80:] = _leads(actions)
    suspicious[[ord(" "), ord("\t")]] = False  # the line feed after them checks for them
    _find_dirty(data, offsets, actions, suspicious, flags, limit, dirty)
    if not dirty.any():
        return data, offsets, changes
    out = np.empty(offsets[-1] - offsets[0], np.uint8)
    bounds = np.zeros(len(offsets), np.int64)
    _write(data, offsets, dirty, actions, flags, limit, out, bounds, changes.places, changes.sizes)
    return out[: bounds[-1]], bounds, changes


@cache
def _actions() -> NDArray[np.uint8]:
    """Return the action for each code point, by its Unicode category."""
    actions = np.zeros(sys.maxunicode + 1, np.uint8)
    of_category = {"Cc": _CONTROL, "Cf": _INVISIBLE, "Zs": _SPACE}
    for code in [*range(0x3400), *range(0xFB00, 0x1FFFF), *range(0xE0000, 0xE0080)]:
        actions[code] = of_category.get(unicodedata.category(chr(code)), _KEEP)
    actions[[*range(0xFDD0, 0xFDF0), *(code for code in range(0x110000) if code & 0xFFFE == 0xFFFE)]] = _CONTROL
    actions[[*range(0xFFF9, 0xFFFD)]] = _INVISIBLE  # interlinear annotations and the object replacement character
    actions[[ord(char) for char in _BREAKS]] = _BREAK
    actions[list(_MEANINGFUL)] = _KEEP
    actions[[ord(" "), ord("\t")]] = _BLANK
    actions[ord("\n")] = _FEED
    actions[0x200B] = _ZERO_WIDTH_SPACE
    actions[[0xE0001, *range(0xE0020, 0xE0080)]] = _TAG
    actions[0x1F3F4] = _FLAG
    return actions


@cache
def _leads_of(actions: bytes) -> NDArray[np.bool_]:
    codes = np.flatnonzero(np.frombuffer(actions, np.uint8))
    leads = {chr(code).encode()[0] for code in codes.tolist() if code > 0x7F and not 0xD800 <= code < 0xE000}
    is_lead = np.zeros(128, np.bool_)
    is_lead[[lead - 0x80 for lead in leads]] = True
    return is_lead


def _leads(actions: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return which bytes from 0x80 on are the first byte of a character with an action, shape (128,)."""
    return _leads_of(actions.tobytes())


@numba.njit(cache=True, nogil=True)
def _find_dirty(data, offsets, actions, suspicious, flags, limit, dirty):
    """Set `dirty` for the documents that may change. It is a superset, and most documents are not in it."""
    for document in range(len(offsets) - 1):
        position, end = offsets[document], offsets[document + 1]
        start, feeds = position, limit + 1  # blank lines at the start are removed
        while position < end:
            byte = data[np.uint64(position)]
            if not suspicious[byte]:
                position += 1
                feeds = 0
                continue
            if byte == 10:
                feeds += 1
                blank = position > start and (data[position - 1] == 32 or data[position - 1] == 9)
                if (blank and (flags[_TRAILING] or limit >= 0)) or (limit >= 0 and feeds > limit + 1):
                    break
                position += 1
                continue
            code, after = decode(data, position)
            action = actions[code]
            if (
                (action == _CONTROL and flags[_ON_CONTROL])
                or (action == _BREAK and flags[_ON_BREAK])
                or (action == _SPACE and flags[_ON_SPACE])
                or (action in (_INVISIBLE, _ZERO_WIDTH_SPACE, _TAG) and flags[_ON_INVISIBLE])
            ):
                break
            position = after
            feeds = 0
        stopped = position < end or flags[_INNER]
        last = data[end - 1] if end > start else np.uint8(0)
        stopped |= flags[_TRAILING] and (last == 32 or last == 9)
        dirty[document] = stopped or (limit >= 0 and last == 10 and feeds > 1)


@numba.njit(cache=True, inline="always")
def _count(places, sizes, document, kind, size):
    places[document, kind] += 1
    sizes[document, kind] += size


@numba.njit(cache=True, nogil=True)
def _escape_end(data, position, end):
    """Return the end of a terminal control sequence whose escape character is at `position`."""
    stop = position + 1
    if stop < end and data[stop] == _BRACKET:
        stop += 1
        while stop < end and 0x20 <= data[stop] <= 0x3F:
            stop += 1
        if stop < end and 0x40 <= data[stop] <= 0x7E:
            return stop + 1
    return position + 1


@numba.njit(cache=True, nogil=True)
def _spaced(code):
    """Return whether a zero-width space separates words after this character.

    This holds for Thai, Lao, Tibetan, Myanmar, Khmer and the Tai scripts.
    """
    return 0xE00 <= code <= 0x109F or 0x1780 <= code <= 0x17FF or 0x1950 <= code <= 0x1AAF


@numba.njit(cache=True, nogil=True)
def _write(data, offsets, dirty, actions, flags, limit, out, bounds, places, sizes):  # noqa: C901 - one state machine
    written = 0
    for document in range(len(offsets) - 1):
        position, end = offsets[document], offsets[document + 1]
        if not dirty[document]:
            out[written : written + end - position] = data[position:end]
            written += end - position
            bounds[document + 1] = written
            continue
        document_start = written
        solid = written  # end of the last visible character
        firm = written  # end of the last visible character or line feed
        feeds = 0  # line feeds since the last visible character
        previous = np.int64(0)
        in_run = False
        while position < end:
            start = position
            code, position = decode(data, position)
            action = actions[code]
            if action == _CONTROL and flags[_ON_CONTROL]:
                if code == _ESCAPE:
                    position = _escape_end(data, start, end)
                _count(places, sizes, document, _ON_CONTROL, position - start)
                continue
            if action == _ZERO_WIDTH_SPACE:
                action = _KEEP if _spaced(previous) else _INVISIBLE
            elif action == _TAG:
                action = _KEEP if previous == 0x1F3F4 or actions[previous] == _TAG else _INVISIBLE
            if action == _INVISIBLE and flags[_ON_INVISIBLE]:
                _count(places, sizes, document, _ON_INVISIBLE, position - start)
                continue
            if action == _BREAK and flags[_ON_BREAK]:
                action = _FEED
                if code == 13 and position < end and data[position] == 10:
                    position += 1
                _count(places, sizes, document, _ON_BREAK, position - start - (data[position - 1] == 10))
                code = np.int64(10)
            elif action == _SPACE and flags[_ON_SPACE]:
                _count(places, sizes, document, _ON_SPACE, position - start)
                action = _BLANK
                code = np.int64(32)
            if action == _FEED:
                in_run = False
                previous = code
                skipped = limit >= 0 and (feeds > limit or solid == document_start)
                if written > firm and (flags[_TRAILING] or skipped):
                    _count(places, sizes, document, _TRAILING, written - firm)
                    written = firm
                if skipped:
                    _count(places, sizes, document, _LINES, 1)
                    continue
                out[written] = 10
                written += 1
                firm = written
                feeds += 1
            elif action == _BLANK:
                previous = code
                if flags[_INNER] and feeds == 0 and solid > document_start and written > solid:
                    if not in_run:
                        _count(places, sizes, document, _INNER, 0)
                    sizes[document, _INNER] += 1
                    in_run = True
                    out[written - 1] = 32
                    continue
                out[written] = code
                written += 1
            else:
                in_run = False
                previous = code
                for byte in range(start, position):
                    out[written] = data[byte]
                    written += 1
                solid = firm = written
                feeds = 0
        if written > firm and (flags[_TRAILING] or (limit >= 0 and feeds > 1)):
            _count(places, sizes, document, _TRAILING, written - firm)
            written = firm
        if limit >= 0 and feeds > 1:
            places[document, _LINES] += feeds - 1
            sizes[document, _LINES] += written - solid - 1
            out[solid] = 10
            written = solid + 1
        bounds[document + 1] = written
