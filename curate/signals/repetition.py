"""How much of a document repeats other parts of it: lines, paragraphs, word n-grams.

Gopher's repetition rules, Rae et al. 2021, arXiv 2112.11446, table A1. N-grams are of the shared words
(`curate.text.words`). A word that occurs once is in no n-gram that occurs twice, and an (n+1)-gram can occur twice only
if both of its n-grams do: the positions that are looked at shrink with every n. An n-gram is known by the number of its
class among the document's n-grams of that length, and an (n+1)-gram by the numbers of its two n-grams, which is exact:
the only hash that could meet another is that of a word, of 64 bits.
"""

from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from curate.signals.aggregate import ratio
from curate.signals.composition import Composition
from curate.text.scan import Lines
from curate.text.words import Words

TOP = (2, 3, 4)
DUPLICATE = (5, 6, 7, 8, 9, 10)
_LONGEST = DUPLICATE[-1]
_SPREAD = np.uint64(0x9E3779B97F4A7C15)
_PAIR = np.uint64(32)


class NGrams(NamedTuple):
    """Words and characters of documents that repeated n-grams cover; int64.

    Attributes
    ----------
    words, distinct, chars
        Shared words, different ones, characters of all; shape (documents,).
    covered
        Row n - 1: characters covered by the most frequent n-gram for the n of `TOP`, by all repeated n-grams for those
        of `DUPLICATE`; shape (10, documents).
    """

    words: NDArray[np.int64]
    distinct: NDArray[np.int64]
    chars: NDArray[np.int64]
    covered: NDArray[np.int64]


class Repeats(NamedTuple):
    """Lines or paragraphs that a document repeats, int64, shape (documents,) each.

    Attributes
    ----------
    items, chars
        All of them, and their characters.
    later, later_chars
        Those equal to an earlier one.
    copies, copy_chars
        Those equal to another one.
    """

    items: NDArray[np.int64]
    chars: NDArray[np.int64]
    later: NDArray[np.int64]
    later_chars: NDArray[np.int64]
    copies: NDArray[np.int64]
    copy_chars: NDArray[np.int64]


def repetition(ngrams: NGrams, lines: Repeats, paragraphs: Repeats) -> dict[str, NDArray[Any]]:
    """Statistics of Gopher's repetition rules by column name, shape (documents,); NaN where there is nothing to divide.

    Examples
    --------
    >>> from curate.text.scan import scan
    >>> from curate.signals.composition import compose
    >>> from curate.text.words import segment
    >>> data = np.frombuffer(b"to be or not to be", np.uint8)
    >>> offsets = np.array([0, len(data)])
    >>> _, lines = scan(data, offsets)
    >>> made, ngrams = compose(data, offsets, lines), count_ngrams(data, segment(data, offsets))
    >>> columns = repetition(ngrams, repeated_lines(lines, made), repeated_paragraphs(lines, made))
    >>> columns["rep_top_2gram_chars"].tolist(), columns["rep_dup_lines"].tolist()
    ([0.6153846153846154], [0.0])
    """
    columns = {
        "rep_paragraphs": paragraphs.items,
        "rep_dup_lines": ratio(lines.later, lines.items),
        "rep_dup_paragraphs": ratio(paragraphs.later, paragraphs.items),
        "rep_dup_line_chars": ratio(lines.later_chars, lines.chars),
        "rep_dup_paragraph_chars": ratio(paragraphs.later_chars, paragraphs.chars),
    }
    columns |= {f"rep_top_{n}gram_chars": ratio(ngrams.covered[n - 1], ngrams.chars) for n in TOP}
    columns |= {f"rep_dup_{n}gram_chars": ratio(ngrams.covered[n - 1], ngrams.chars) for n in DUPLICATE}
    return columns


def repeated_copies(lines: Repeats) -> dict[str, NDArray[np.float64]]:
    """Dolma's statistics of repeated lines, which count the first copy too (``taggers/gopher.py``)."""
    return {
        "dolma_repeated_lines": ratio(lines.copies, lines.items),
        "dolma_repeated_line_chars": ratio(lines.copy_chars, lines.chars),
    }


def count_ngrams(data: NDArray[np.uint8], words: Words) -> NGrams:
    """Characters that repeated n-grams of up to ten shared words cover, once each.

    A word's characters are its code points, white space between words not among them. Of several most frequent n-grams
    that which covers most counts; one that occurs once covers nothing.

    Parameters
    ----------
    data, words
        ``segment(data, offsets)``.

    Examples
    --------
    >>> from curate.text.words import segment
    >>> data = np.frombuffer(b"a b c a b c a b", np.uint8)
    >>> found = count_ngrams(data, segment(data, np.array([0, len(data)])))
    >>> found.distinct.tolist(), found.covered[:, 0].tolist()
    ([3], [0, 6, 6, 7, 8, 0, 0, 0, 0, 0])
    """
    documents = len(words.offsets) - 1
    most = int(np.diff(words.offsets).max(initial=0))
    slots = 1 << max(4 * most - 1, 1).bit_length()
    distinct, chars = np.zeros((2, documents), np.int64)
    found = NGrams(np.diff(words.offsets), distinct, chars, np.zeros((_LONGEST, documents), np.int64))
    room = _Room._make((np.empty(slots, np.int32), *(np.empty(most + 1, dtype) for dtype in _ROOM_TYPES)))
    _count_ngrams(data, *words, room, found)
    return found


def repeated_lines(lines: Lines, made: Composition) -> Repeats:
    """Lines whose text, from the first to the last visible character, a document has twice or more."""
    return _repeats(made.line_hashes, made.line_chars, lines.offsets)


def repeated_paragraphs(lines: Lines, made: Composition) -> Repeats:
    """Paragraphs whose lines a document has twice or more, in order and in one paragraph."""
    firsts = np.flatnonzero(lines.opens_paragraph)
    hashes = np.empty(len(firsts), np.uint64)
    _hash_paragraphs(made.line_hashes, np.append(firsts, len(lines.starts)), hashes)
    chars = np.add.reduceat(made.line_chars, firsts) if len(firsts) else np.zeros(0, np.int64)
    return _repeats(hashes, chars, np.searchsorted(firsts, lines.offsets))


def _repeats(hashes: NDArray[np.uint64], chars: NDArray[np.int64], offsets: NDArray[np.int64]) -> Repeats:
    most = int(np.diff(offsets).max(initial=0))
    slots = 1 << max(4 * most - 1, 1).bit_length()
    table = np.empty(most, np.uint64), np.empty(slots, np.int32), np.empty(most, np.int32), np.empty(most, np.int32)
    out = np.zeros((len(Repeats._fields), len(offsets) - 1), np.int64)
    _count_repeats(hashes, chars, offsets, *table, out)
    return Repeats(*out)


@numba.njit(cache=True, nogil=True)
def _hash_paragraphs(line_hashes, firsts, hashes):
    for paragraph in range(len(hashes)):
        state = np.uint64(firsts[paragraph + 1] - firsts[paragraph])
        for line in range(firsts[paragraph], firsts[paragraph + 1]):
            state = (state ^ line_hashes[line]) * _SPREAD
            state ^= state >> np.uint64(29)
        hashes[paragraph] = state * _SPREAD


@numba.njit(cache=True, nogil=True)
def _count_repeats(hashes, chars, offsets, keys, ids, classes, frequencies, out):
    for document in range(len(offsets) - 1):
        start, end = offsets[document], offsets[document + 1]
        slots = _slots(end - start)
        ids[:slots] = -1
        found = 0
        for item in range(start, end):
            out[1, document] += chars[item]
            number = _enter(hashes[item], slots, found, keys, ids)
            if number == np.uint64(found):
                frequencies[found] = 0
                found += 1
            else:
                out[2, document] += 1
                out[3, document] += chars[item]
            classes[item - start] = number
            frequencies[number] += 1
        out[0, document] = end - start
        for item in range(start, end):
            if frequencies[classes[item - start]] > 1:
                out[4, document] += 1
                out[5, document] += chars[item]


class _Room(NamedTuple):
    """Room for the longest document: a hash table, and positions of repeated n-grams with the number of their class."""

    ids: NDArray[np.int32]
    keys: NDArray[np.uint64]
    pairs: NDArray[np.uint64]
    positions: NDArray[np.int32]
    classes: NDArray[np.int32]
    frequencies: NDArray[np.int32]
    reaches: NDArray[np.int32]
    masses: NDArray[np.int64]
    lengths: NDArray[np.int64]


_ROOM_TYPES = (np.uint64, np.uint64, np.int32, np.int32, np.int32, np.int32, np.int64, np.int64)  # behind the table


@numba.njit(cache=True, inline="always")
def _slots(items):
    """A power of two, at least four times as many slots as items."""
    slots = 2
    while slots < 4 * items:
        slots *= 2
    return slots


@numba.njit(cache=True, inline="always")
def _enter(key, slots, found, keys, ids):
    """Number of a key's class: `found`, the next one, for a key that was not there.

    The table has numbers only; keys are in the order of the numbers, closer together than in the table. Whether a key
    is new is hard to predict, so no branch depends on it; ``keys[found]`` is written either way.
    """
    mask = np.uint64(slots - 1)
    slot = ((key * _SPREAD) >> np.uint64(32)) & mask
    number = ids[slot]
    while (number >= 0) & (keys[np.uint64(max(number, 0))] != key):
        slot = (slot + np.uint64(1)) & mask
        number = ids[slot]
    keys[np.uint64(found)] = key
    number = np.int32(found) if number < 0 else number
    ids[slot] = number
    return np.uint64(number)


@numba.njit(cache=True, nogil=True)
def _count_ngrams(data, starts, ends, offsets, hashes, room, found):
    for document in range(len(offsets) - 1):
        first = offsets[document]
        count = offsets[document + 1] - first
        if count == 0:
            continue
        _measure(data, starts, ends, first, count, room.lengths)
        found.chars[document] = room.lengths[count]
        found.distinct[document] = _classify_words(hashes, first, count, room)
        repeated = _keep_repeated(count, room)
        for n in range(2, _LONGEST + 1):
            repeated = _keep_repeated(_extend(repeated, room), room)
            if repeated == 0:
                break
            if n <= TOP[-1]:
                found.covered[n - 1, document] = _cover_most_frequent(repeated, n, room)
            else:
                found.covered[n - 1, document] = _cover_all(repeated, n, room)


@numba.njit(cache=True, nogil=True)
def _measure(data, starts, ends, first, count, lengths):
    """Characters before each word. Without a wide character in the document they are its bytes, which takes no loop."""
    union = np.uint8(0)
    for at in range(starts[first], ends[first + count - 1]):
        union |= data[np.uint64(at)]
    total = 0
    for word in range(count):
        lengths[word] = total
        start = starts[first + word]
        end = ends[first + word]
        total += end - start
        if union >= 0x80:
            for at in range(start, end):
                total -= data[np.uint64(at)] & 0xC0 == 0x80
    lengths[count] = total


@numba.njit(cache=True, nogil=True)
def _classify_words(hashes, first, count, room):
    """Number the different words and count each; every position is looked at. Returns how many are different."""
    slots = _slots(count)
    room.ids[:slots] = -1
    room.frequencies[:count] = 0
    classes = 0
    for word in range(count):
        number = _enter(hashes[np.uint64(first + word)], slots, classes, room.keys, room.ids)
        classes += number == np.uint64(classes)
        room.frequencies[number] += 1
        room.classes[word] = number
        room.positions[word] = word
    return classes


@numba.njit(cache=True, nogil=True)
def _keep_repeated(count, room):
    """Drop the positions whose n-gram occurs once; returns how many are left."""
    kept = 0
    for i in range(count):
        number = room.classes[i]
        room.positions[kept] = room.positions[i]
        room.classes[kept] = number
        kept += room.frequencies[np.uint64(number)] > 1
    return kept


@numba.njit(cache=True, nogil=True)
def _extend(count, room):
    """From the positions of repeated n-grams to those of (n+1)-grams that may repeat; returns how many."""
    candidates = 0
    for i in range(count - 1):
        room.pairs[candidates] = (np.uint64(room.classes[i]) << _PAIR) | np.uint64(room.classes[i + 1])
        follows = room.positions[i + 1] == room.positions[i] + 1
        room.positions[candidates] = room.positions[i]
        candidates += follows
    slots = _slots(candidates)
    room.ids[:slots] = -1
    room.frequencies[:candidates] = 0
    classes = 0
    for i in range(candidates):
        number = _enter(room.pairs[i], slots, classes, room.keys, room.ids)
        classes += number == np.uint64(classes)
        room.frequencies[number] += 1
        room.classes[i] = number
    return candidates


@numba.njit(cache=True, nogil=True)
def _cover_all(count, n, room):
    """Characters of the words that some of the n-grams covers."""
    covered = reach = 0
    for i in range(count):
        start = room.positions[i]
        covered += room.lengths[start + n] - room.lengths[max(start, reach)]
        reach = start + n
    return covered


@numba.njit(cache=True, nogil=True)
def _cover_most_frequent(count, n, room):
    """Characters of the words that the most frequent n-gram covers; of several, that which covers most."""
    highest = 0
    for i in range(count):
        number = room.classes[i]
        highest = max(highest, room.frequencies[number])
        room.masses[number] = 0
        room.reaches[number] = 0
    most = 0
    for i in range(count):
        number = room.classes[i]
        if room.frequencies[number] == highest:
            start = room.positions[i]
            room.masses[number] += room.lengths[start + n] - room.lengths[max(start, room.reaches[number])]
            room.reaches[number] = start + n
            most = max(most, room.masses[number])
    return most
