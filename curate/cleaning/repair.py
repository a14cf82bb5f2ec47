r"""Repair of mojibake (text decoded with the wrong encoding) and of HTML entities (text escaped once too often).

ftfy (Speer 2019, "ftfy", version 6.3) repairs the text line by line. Its other fixes (quotes, ligatures, character
width, line ends) are not applied. ftfy is slow, so a scan over the bytes first finds the lines that it could change.
ftfy changes a line without entities only if `ftfy.badness.BADNESS_RE` matches it. Each alternative of this expression
needs a C1 control character or one of a few hundred pairs of neighbouring characters; the scan looks for these.
"""

import re
import unicodedata
from functools import cache
from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from curate.text.spans import Edits
from curate.text.unicode import decode

MOJIBAKE, ENTITY, STRIPPED = 1, 2, 4  # reasons why a line may change
PASSES = 20  # maximum number of passes over a line, which bounds the time for "&amp;amp;amp;..."
SEGMENT = 1_000_000  # characters that ftfy processes together, as by default in ftfy
_LONGEST_ENTITY = 24  # characters, as in ftfy's HTML_ENTITY_RE
_BASIC_PLANE = 0x10000

_STRIPPED = re.compile(r"(?<![&\w])(?:#(?P<code>[0-9]{2,4})|quot|amp|lt|gt|nbsp);")
"""An entity whose ampersand was lost, as in ``#39;``. It is repaired only if it encodes a symbol, not a letter."""

_CATEGORIES = (
    "common",
    "bad",
    "law",
    "currency",
    "start_punctuation",
    "end_punctuation",
    "numeric",
    "kaomoji",
    "upper_accented",
    "lower_accented",
    "upper_common",
    "lower_common",
    "box",
)
_BIT = {name: 1 << place for place, name in enumerate(_CATEGORIES)}
_ANY, _NO_LETTER, _SPACE, _C1, _DJE = (1 << (len(_CATEGORIES) + place) for place in range(5))

_PAIRS = (
    ("bad law currency start_punctuation end_punctuation numeric upper_accented lower_accented box", "bad"),
    ("lower_common upper_common", "bad currency"),
    ("bad", "law currency start_punctuation end_punctuation numeric upper_accented lower_accented box"),
    ("lower_accented lower_common box end_punctuation currency numeric", "upper_accented"),
    ("box end_punctuation currency numeric", "lower_accented"),
    ("lower_accented upper_accented box end_punctuation", "currency"),
    ("upper_accented lower_accented box numeric start_punctuation", "numeric"),
    ("upper_accented box", "law"),
    ("end_punctuation currency numeric box upper_accented lower_accented", "start_punctuation"),
    ("box", "kaomoji end_punctuation"),
    ("lower_accented upper_accented currency numeric start_punctuation end_punctuation law", "box"),
    ("lower_accented upper_accented", "end_punctuation"),
    ("upper_common", "start_punctuation end_punctuation kaomoji numeric"),
)
"""Categories of left and right neighbours. Each alternative of ftfy's expression contains such a pair, a C1 control
character, or one of the pairs that `_pairs` adds."""
_BEFORE_ANY = "ÂÃÎÐØÙ√≈‚"  # left neighbours of any character that is not ASCII


class Suspects(NamedTuple):
    """Lines that `repair` may change; shape (lines,) each.

    Attributes
    ----------
    documents
        Index of the document of each line.
    starts, ends
        Byte positions in the data of the batch; the line feed belongs to the line.
    kinds
        Bits: `MOJIBAKE`, `ENTITY`, `STRIPPED`.
    """

    documents: NDArray[np.int64]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    kinds: NDArray[np.uint8]


class Repairs(NamedTuple):
    """Replacements of lines, and what was wrong with each line.

    Attributes
    ----------
    edits
        The lines to replace and their new text.
    documents
        Index of the document of each edit, shape (edits,).
    places
        Whether the line contained mojibake (0 or 1), and its number of entities, shape (edits, 2).
    sizes
        Bytes of mojibake and of entities in the old line, shape (edits, 2).
    """

    edits: Edits
    documents: NDArray[np.int64]
    places: NDArray[np.int64]
    sizes: NDArray[np.int64]


def suspects(data: NDArray[np.uint8], offsets: NDArray[np.int64]) -> tuple[Suspects, NDArray[np.bool_]]:
    r"""Return the lines that `repair` could change, and which documents contain a ``<``, bool, shape (documents,).

    Parameters
    ----------
    data, offsets
        Document i is ``data[offsets[i]:offsets[i + 1]]``: UTF-8 of NFC text.

    Examples
    --------
    >>> text = "naïve\nsÃ³\nAT&T\n1 &lt; 2".encode()
    >>> lines, markup = suspects(np.frombuffer(text, np.uint8), np.array([0, len(text)]))
    >>> [text[start:end].decode() for start, end in zip(lines.starts, lines.ends)], markup.tolist()
    (['sÃ³\n', '1 &lt; 2'], [False])
    """
    markup = np.zeros(len(offsets) - 1, np.bool_)
    capacity = 1024
    while True:
        documents, starts, ends = np.empty((3, capacity), np.int64)
        kinds = np.empty(capacity, np.uint8)
        bits, after = _pairs()
        count = _suspects(data, offsets, _PLAIN, bits, after, documents, starts, ends, kinds, markup)
        if count <= capacity:
            return Suspects(documents[:count], starts[:count], ends[:count], kinds[:count]), markup
        capacity = count


def repair(
    data: NDArray[np.uint8], offsets: NDArray[np.int64], *, mojibake: bool, entities: str, stripped: bool = False
) -> Repairs:
    """Find the lines to repair, and their new text.

    Parameters
    ----------
    data, offsets
        Document i is ``data[offsets[i]:offsets[i + 1]]``: UTF-8 of NFC text.
    mojibake
        Whether to repair text that was decoded with the wrong encoding.
    entities
        When to replace entities: ``always``, ``off``, or ``auto`` for documents without a ``<``. A document with a
        ``<`` may be markup or code.
    stripped
        Whether to replace entities without their ampersand, too.

    Examples
    --------
    >>> text = "schÃ¶n &amp;amp; gut".encode()
    >>> repairs = repair(np.frombuffer(text, np.uint8), np.array([0, len(text)]), mojibake=True, entities="auto")
    >>> [new.decode() for new in repairs.edits.new], repairs.places.tolist()
    (['schön & gut'], [[1, 2]])
    """
    suspicious, markup = suspects(data, offsets)
    escaped = (suspicious.kinds & (ENTITY | STRIPPED * stripped) != 0) & (entities != "off")
    if entities == "auto":
        escaped &= ~markup[suspicious.documents]
    chosen = np.flatnonzero(escaped | ((suspicious.kinds & MOJIBAKE != 0) & mojibake))
    rows, new, places, sizes = [], [], [], []
    for row in chosen.tolist():
        old = data[suspicious.starts[row] : suspicious.ends[row]].tobytes()
        unescape = entities == "always" or (entities == "auto" and not markup[suspicious.documents[row]])
        fixed, counts = _fix_line(old.decode(), mojibake=mojibake, unescape=unescape, stripped=stripped)
        if counts is not None:
            rows.append(row)
            new.append(fixed.encode())
            places.append(counts[0])
            sizes.append(counts[1])
    edits = Edits(suspicious.starts[rows], suspicious.ends[rows], new)
    shape = (len(rows), 2)
    return Repairs(
        edits,
        suspicious.documents[rows],
        np.array(places, np.int64).reshape(shape),
        np.array(sizes, np.int64).reshape(shape),
    )


Counted = tuple[tuple[int, int], tuple[int, int]]


def _fix_line(line: str, *, mojibake: bool, unescape: bool, stripped: bool) -> tuple[str, Counted | None]:
    """Return the repaired line, and the counts and bytes of mojibake and entities, or None if nothing changed."""
    fixed = [
        _fix_segment(line[start : start + SEGMENT], mojibake=mojibake, unescape=unescape, stripped=stripped)
        for start in range(0, len(line), SEGMENT)
    ]
    whole = "".join(text for text, _, _, _ in fixed)
    if whole == line:
        return line, None
    places = int(any(changed for _, changed, _, _ in fixed)), sum(count for _, _, count, _ in fixed)
    sizes = sum(changed for _, changed, _, _ in fixed), sum(size for _, _, _, size in fixed)
    return whole, (places, sizes)


def _fix_segment(text: str, *, mojibake: bool, unescape: bool, stripped: bool) -> tuple[str, int, int, int]:
    """Repair a segment until nothing changes, as ftfy does: an entity may hide mojibake or another entity.

    Return the text, the bytes of mojibake, the number of entities and the bytes of entities.
    """
    changed = count = size = 0
    for _ in range(PASSES):
        before = text
        if unescape and "&" in text:
            text, entities = _unescape(text)
            count += len(entities)
            size += sum(len(entity.encode()) for entity in entities)
        if mojibake and _may_be_mojibake(text):
            fixed = _ftfy()(text)
            changed += 0 if fixed == text else _changed_bytes(text, fixed)
            text = fixed
        if unescape and stripped and ";" in text:
            text, entities = _unescape_stripped(text)
            count += len(entities)
            size += sum(map(len, entities))
        text = unicodedata.normalize("NFC", text)
        if text == before:
            break
    return text, changed, count, size


def _may_be_mojibake(text: str) -> bool:
    """Return whether ftfy could change a text; this check is a hundred times as fast as ftfy."""
    if text.isascii():
        return False
    data = np.frombuffer(text.encode(), np.uint8)
    return bool((suspects(data, np.array([0, len(data)]))[0].kinds & MOJIBAKE).any())


def _unescape(text: str) -> tuple[str, list[str]]:
    """Return the text with its entities replaced, and the entities; `&notanentity;` is not an entity."""
    from ftfy.chardata import HTML_ENTITY_RE
    from ftfy.fixes import unescape_html

    entities = [entity for entity in HTML_ENTITY_RE.findall(text) if unescape_html(entity) != entity]
    return (unescape_html(text), entities) if entities else (text, entities)


def _unescape_stripped(text: str) -> tuple[str, list[str]]:
    """Return the text with the entities that lack their ampersand replaced, and these entities."""
    import html

    entities: list[str] = []

    def mark(match: re.Match[str]) -> str:
        new = html.unescape(f"&{match[0]}")
        if match["code"] and (new.isalnum() or not new.isprintable()):
            return match[0]
        entities.append(match[0])
        return new

    return _STRIPPED.sub(mark, text), entities


@cache
def _ftfy():
    """Return the function that repairs mojibake."""
    import ftfy

    config = ftfy.TextFixerConfig(unescape_html=False, explain=False)

    def fix(text: str) -> str:
        return ftfy.fix_encoding(text, config)

    return fix


def _changed_bytes(old: str, new: str) -> int:
    """Return the number of bytes of the old text from the first to the last character that differs."""
    start, shorter = 0, min(len(old), len(new))
    while start < shorter and old[start] == new[start]:
        start += 1
    end = 0
    while end < shorter - start and old[-1 - end] == new[-1 - end]:
        end += 1
    return len(old[start : len(old) - end].encode())


@cache
def _pairs() -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """Return two tables by code point of the basic plane, as bits: its categories, and suspicious right neighbours."""
    from ftfy.badness import MOJIBAKE_CATEGORIES

    bits = np.zeros(_BASIC_PLANE, np.uint32)
    bits[0x80:] |= _ANY
    bits |= _NO_LETTER
    bits[[*range(ord("A"), ord("Z") + 1), *range(ord("a"), ord("z") + 1)]] &= ~np.uint32(_NO_LETTER)
    bits[ord(" ")] |= _SPACE
    bits[0x80:0xA0] |= _C1
    bits[ord("Ђ")] |= _DJE
    for name, bit in _BIT.items():
        members = re.compile(f"[{MOJIBAKE_CATEGORIES[name]}]")
        bits[[code for code in range(0x80, _BASIC_PLANE) if members.match(chr(code))]] |= bit
    after = np.zeros(_BASIC_PLANE, np.uint32)
    for left, right in _PAIRS:
        first = sum(_BIT[name] for name in left.split())
        after[bits & first != 0] |= sum(_BIT[name] for name in right.split())
    after[[ord(char) for char in _BEFORE_ANY]] |= _ANY
    after[[ord("Ã"), ord("Â")]] |= _SPACE
    after[[ord("Œ"), ord("œ")]] |= _NO_LETTER
    after[0x80:] |= _DJE
    after[bits & _BIT["upper_accented"] != 0] |= _BIT["kaomoji"]  # the degree sign
    return bits, after


_PLAIN = np.ones(256, np.bool_)
_PLAIN[0x80:] = False
_PLAIN[[ord("&"), ord("<"), ord(";"), ord("\n")]] = False


@numba.njit(cache=True, nogil=True)
def _suspects(  # noqa: C901 - one pass over the bytes
    data, offsets, plain, bits, after, documents, starts, ends, kinds, markup
):
    count = 0
    for document in range(len(offsets) - 1):
        position, end = offsets[document], offsets[document + 1]
        start, kind, wanted = position, 0, np.uint32(0)
        while position < end:
            byte = data[np.uint64(position)]
            if plain[byte]:
                position += 1
                continue
            if byte < 0x80:
                position += 1
                if byte == 38 and _is_entity(data, position, end):
                    kind |= ENTITY
                elif byte == 59 and _is_stripped(data, start, position - 2):
                    kind |= STRIPPED
                elif byte == 60:
                    markup[document] = True
                elif byte == 10:
                    if kind:
                        if count < len(starts):
                            documents[count], starts[count], ends[count], kinds[count] = document, start, position, kind
                        count += 1
                    start, kind = position, 0
                continue
            code, position = decode(data, position)
            if code >= 0x10000:
                code = np.int64(0xFFFE)  # a character without a category
            if bits[code] & (wanted | _C1):
                kind |= MOJIBAKE
            wanted = after[code]
            if wanted and position < end and data[position] < 0x80:
                if bits[data[position]] & wanted:
                    kind |= MOJIBAKE
                wanted = np.uint32(0)
        if kind:
            if count < len(starts):
                documents[count], starts[count], ends[count], kinds[count] = document, start, end, kind
            count += 1
    return count


@numba.njit(cache=True, inline="always")
def _is_entity(data, position, end):
    """Return whether the text after an ampersand looks like the rest of an entity."""
    if position < end and data[position] == 35:
        position += 1
    length = 0
    while position < end and length <= _LONGEST_ENTITY:
        byte = data[position]
        if byte == 59:
            return length > 0
        if not (48 <= byte <= 57 or 65 <= byte <= 90 or 97 <= byte <= 122):
            return False
        length += 1
        position += 1
    return False


@numba.njit(cache=True, inline="always")
def _is_stripped(data, start, last):
    """Return whether the text that ends at `last`, before a semicolon, looks like an entity without ampersand."""
    if last < start:
        return False
    byte = data[last]
    if byte == 116 or byte == 112:  # quot, lt, gt; amp, nbsp
        return True
    position = last
    while position >= start and 48 <= data[position] <= 57:
        position -= 1
    return start <= position < last and data[position] == 35
