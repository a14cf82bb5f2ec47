"""Signals of repetition within a document: repeated lines, paragraphs and word n-grams.

Gopher's repetition rules are from Rae et al. 2021, arXiv 2112.11446, table A1. N-grams consist of the words of
`curate.text.words`. A word that occurs once is in no repeated n-gram, and an (n+1)-gram can be repeated only if both of
its n-grams are. So the set of positions to examine shrinks with every n. Equal n-grams of a document form a class with
a number, and the numbers of its two n-grams identify an (n+1)-gram. This is exact, except that the 64-bit hashes of two
different words could collide.
"""

from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from curate.signals.aggregate import ratio
from curate.signals.composition import Composition
from curate.text.scan import Lines
from curate.text.words import GOLDEN, Words

TOP = (2, 3, 4)
DUPLICATE = (5, 6, 7, 8, 9, 10)
_LONGEST = DUPLICATE[-1]
_PAIR = np.uint64(32)


class NGrams(NamedTuple):
    """Words of documents, and the characters that repeated n-grams cover; int64.

    Attributes
    ----------
    words, distinct, chars
        Number of words, of distinct words, and of characters of all words; shape (documents,) each.
    covered
        Characters covered by n-grams in row n - 1, shape (10, documents): by the most frequent n-gram if n is in `TOP`,
        by all repeated n-grams if n is in `DUPLICATE`.
    """

    words: NDArray[np.int64]
    distinct: NDArray[np.int64]
    chars: NDArray[np.int64]
    covered: NDArray[np.int64]


class Repeats(NamedTuple):
    """Repeated lines or paragraphs (items) of documents, int64, shape (documents,) each.

    Attributes
    ----------
    items, chars
        Number of all items, and of their characters.
    later, later_chars
        Number of items that are equal to an earlier item, and of their characters.
    copies, copy_chars
        Number of items that are equal to any other item, and of their characters.
    """

    items: NDArray[np.int64]
    chars: NDArray[np.int64]
    later: NDArray[np.int64]
    later_chars: NDArray[np.int64]
    copies: NDArray[np.int64]
    copy_chars: NDArray[np.int64]


def repetition(ngrams: NGrams, lines: Repeats, paragraphs: Repeats) -> dict[str, NDArray[Any]]:
    """Return the statistics of Gopher's repetition rules by column name, shape (documents,); NaN if a divisor is 0.

    Examples
    --------
    >>> from curate.text.scan import scan
    >>> from curate.signals.composition import compose
    >>> from curate.text.words import segment
    >>> data = np.frombuffer(b"to be or not to be", np.uint8)
    >>> offsets = np.array([0, len(data)])
    >>> _, lines = scan(data, offsets)
    >>> composition, ngrams = compose(data, offsets, lines), count_ngrams(data, segment(data, offsets))
    >>> columns = repetition(ngrams, repeated_lines(lines, composition), repeated_paragraphs(lines, composition))
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
    """Return dolma's statistics of repeated lines, which also count the first copy (``taggers/gopher.py``)."""
    return {
        "dolma_repeated_lines": ratio(lines.copies, lines.items),
        "dolma_repeated_line_chars": ratio(lines.copy_chars, lines.chars),
    }


def count_ngrams(data: NDArray[np.uint8], words: Words) -> NGrams:
    """Count the characters that repeated n-grams of up to ten words cover, each character once.

    The characters of a word are its code points; white space between words does not count. If several n-grams are most
    frequent, the one that covers most characters counts. An n-gram that occurs once covers nothing.

    Parameters
    ----------
    data
        UTF-8 of the documents.
    words
        Result of ``segment(data, offsets)``.

    Examples
    --------
    >>> from curate.text.words import segment
    >>> data = np.frombuffer(b"a b c a b c a b", np.uint8)
    >>> ngrams = count_ngrams(data, segment(data, np.array([0, len(data)])))
    >>> ngrams.distinct.tolist(), ngrams.covered[:, 0].tolist()
    ([3], [0, 6, 6, 7, 8, 0, 0, 0, 0, 0])
    """
    documents = len(words.offsets) - 1
    longest = int(np.diff(words.offsets).max(initial=0))
    slots = 1 << max(4 * longest - 1, 1).bit_length()
    distinct, chars = np.zeros((2, documents), np.int64)
    ngrams = NGrams(np.diff(words.offsets), distinct, chars, np.zeros((_LONGEST, documents), np.int64))
    scratch = _Scratch._make((np.empty(slots, np.int32), *(np.empty(longest + 1, dtype) for dtype in _SCRATCH_TYPES)))
    _count_ngrams(data, *words, scratch, ngrams)
    return ngrams


def repeated_lines(lines: Lines, composition: Composition) -> Repeats:
    """Count the lines of each document whose text, from first to last visible character, occurs at least twice."""
    return _repeats(composition.line_hashes, composition.line_chars, lines.offsets)


def repeated_paragraphs(lines: Lines, composition: Composition) -> Repeats:
    """Count the paragraphs of each document that occur at least twice, with equal lines in the same order."""
    first_lines = np.flatnonzero(lines.opens_paragraph)
    hashes = np.empty(len(first_lines), np.uint64)
    _hash_paragraphs(composition.line_hashes, np.append(first_lines, len(lines.starts)), hashes)
    chars = np.add.reduceat(composition.line_chars, first_lines) if len(first_lines) else np.zeros(0, np.int64)
    return _repeats(hashes, chars, np.searchsorted(first_lines, lines.offsets))


def _repeats(hashes: NDArray[np.uint64], chars: NDArray[np.int64], offsets: NDArray[np.int64]) -> Repeats:
    longest = int(np.diff(offsets).max(initial=0))
    slots = 1 << max(4 * longest - 1, 1).bit_length()
    table = (
        np.empty(longest, np.uint64),
        np.empty(slots, np.int32),
        np.empty(longest, np.int32),
        np.empty(longest, np.int32),
    )
    out = np.zeros((len(Repeats._fields), len(offsets) - 1), np.int64)
    _count_repeats(hashes, chars, offsets, *table, out)
    return Repeats(*out)


@numba.njit(cache=True, nogil=True)
def _hash_paragraphs(line_hashes, first_lines, hashes):
    for paragraph in range(len(hashes)):
        state = np.uint64(first_lines[paragraph + 1] - first_lines[paragraph])
        for line in range(first_lines[paragraph], first_lines[paragraph + 1]):
            state = (state ^ line_hashes[line]) * GOLDEN
            state ^= state >> np.uint64(29)
        hashes[paragraph] = state * GOLDEN


@numba.njit(cache=True, nogil=True)
def _count_repeats(hashes, chars, offsets, keys, ids, classes, frequencies, out):
    for document in range(len(offsets) - 1):
        start, end = offsets[document], offsets[document + 1]
        slots = _slots(end - start)
        ids[:slots] = -1
        distinct_items = 0
        for item in range(start, end):
            out[1, document] += chars[item]
            number = _enter(hashes[item], slots, distinct_items, keys, ids)
            if number == np.uint64(distinct_items):
                frequencies[distinct_items] = 0
                distinct_items += 1
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


class _Scratch(NamedTuple):
    """Scratch arrays for the longest document: a hash table, and positions and class numbers of repeated n-grams."""

    ids: NDArray[np.int32]
    keys: NDArray[np.uint64]
    pairs: NDArray[np.uint64]
    positions: NDArray[np.int32]
    classes: NDArray[np.int32]
    frequencies: NDArray[np.int32]
    reaches: NDArray[np.int32]
    masses: NDArray[np.int64]
    lengths: NDArray[np.int64]


_SCRATCH_TYPES = (
    np.uint64,
    np.uint64,
    np.int32,
    np.int32,
    np.int32,
    np.int32,
    np.int64,
    np.int64,
)  # of the fields after `ids`


@numba.njit(cache=True, inline="always")
def _slots(items):
    """Return a number of slots: a power of two, at least four times the number of items."""
    slots = 2
    while slots < 4 * items:
        slots *= 2
    return slots


@numba.njit(cache=True, inline="always")
def _enter(key, slots, next_number, keys, ids):
    """Return the class number of a key, which is `next_number` for a new key.

    The table stores only numbers. The keys are stored in the order of the numbers, which needs less memory. Whether a
    key is new is hard to predict, so no branch depends on it: ``keys[next_number]`` is always written.
    """
    mask = np.uint64(slots - 1)
    slot = ((key * GOLDEN) >> np.uint64(32)) & mask
    number = ids[slot]
    while (number >= 0) & (keys[np.uint64(max(number, 0))] != key):
        slot = (slot + np.uint64(1)) & mask
        number = ids[slot]
    keys[np.uint64(next_number)] = key
    number = np.int32(next_number) if number < 0 else number
    ids[slot] = number
    return np.uint64(number)


@numba.njit(cache=True, nogil=True)
def _count_ngrams(data, starts, ends, offsets, hashes, scratch, ngrams):
    for document in range(len(offsets) - 1):
        first = offsets[document]
        count = offsets[document + 1] - first
        if count == 0:
            continue
        _measure(data, starts, ends, first, count, scratch.lengths)
        ngrams.chars[document] = scratch.lengths[count]
        ngrams.distinct[document] = _classify_words(hashes, first, count, scratch)
        repeated = _keep_repeated(count, scratch)
        for n in range(2, _LONGEST + 1):
            repeated = _keep_repeated(_extend(repeated, scratch), scratch)
            if repeated == 0:
                break
            if n <= TOP[-1]:
                ngrams.covered[n - 1, document] = _cover_most_frequent(repeated, n, scratch)
            else:
                ngrams.covered[n - 1, document] = _cover_all(repeated, n, scratch)


@numba.njit(cache=True, nogil=True)
def _measure(data, starts, ends, first, count, lengths):
    """Count the characters before each word. If the document is ASCII, bytes are characters and no loop is needed."""
    union = np.uint8(0)
    for position in range(starts[first], ends[first + count - 1]):
        union |= data[np.uint64(position)]
    total = 0
    for word in range(count):
        lengths[word] = total
        start = starts[first + word]
        end = ends[first + word]
        total += end - start
        if union >= 0x80:
            for position in range(start, end):
                total -= data[np.uint64(position)] & 0xC0 == 0x80
    lengths[count] = total


@numba.njit(cache=True, nogil=True)
def _classify_words(hashes, first, count, scratch):
    """Number the distinct words and count each, over all positions. Return the number of distinct words."""
    slots = _slots(count)
    scratch.ids[:slots] = -1
    scratch.frequencies[:count] = 0
    classes = 0
    for word in range(count):
        number = _enter(hashes[np.uint64(first + word)], slots, classes, scratch.keys, scratch.ids)
        classes += number == np.uint64(classes)
        scratch.frequencies[number] += 1
        scratch.classes[word] = number
        scratch.positions[word] = word
    return classes


@numba.njit(cache=True, nogil=True)
def _keep_repeated(count, scratch):
    """Drop the positions whose n-gram occurs once. Return the number of positions that remain."""
    kept = 0
    for i in range(count):
        number = scratch.classes[i]
        scratch.positions[kept] = scratch.positions[i]
        scratch.classes[kept] = number
        kept += scratch.frequencies[np.uint64(number)] > 1
    return kept


@numba.njit(cache=True, nogil=True)
def _extend(count, scratch):
    """Replace the positions of repeated n-grams by those of (n+1)-grams that may be repeated. Return their number."""
    candidates = 0
    for i in range(count - 1):
        scratch.pairs[candidates] = (np.uint64(scratch.classes[i]) << _PAIR) | np.uint64(scratch.classes[i + 1])
        follows = scratch.positions[i + 1] == scratch.positions[i] + 1
        scratch.positions[candidates] = scratch.positions[i]
        candidates += follows
    slots = _slots(candidates)
    scratch.ids[:slots] = -1
    scratch.frequencies[:candidates] = 0
    classes = 0
    for i in range(candidates):
        number = _enter(scratch.pairs[i], slots, classes, scratch.keys, scratch.ids)
        classes += number == np.uint64(classes)
        scratch.frequencies[number] += 1
        scratch.classes[i] = number
    return candidates


@numba.njit(cache=True, nogil=True)
def _cover_all(count, n, scratch):
    """Return the number of characters that at least one of the n-grams covers."""
    covered = reach = 0
    for i in range(count):
        start = scratch.positions[i]
        covered += scratch.lengths[start + n] - scratch.lengths[max(start, reach)]
        reach = start + n
    return covered


@numba.njit(cache=True, nogil=True)
def _cover_most_frequent(count, n, scratch):
    """Return the number of characters that the most frequent n-gram covers; the maximum if several are."""
    highest = 0
    for i in range(count):
        number = scratch.classes[i]
        highest = max(highest, scratch.frequencies[number])
        scratch.masses[number] = 0
        scratch.reaches[number] = 0
    largest = 0
    for i in range(count):
        number = scratch.classes[i]
        if scratch.frequencies[number] == highest:
            start = scratch.positions[i]
            scratch.masses[number] += scratch.lengths[start + n] - scratch.lengths[max(start, scratch.reaches[number])]
            scratch.reaches[number] = start + n
            largest = max(largest, scratch.masses[number])
    return largest
