"""The text normalization of CCNet (Wenzek et al. 2020, arXiv 1911.00359), applied line by line to UTF-8.

The steps are, in this order: strip white space at both ends, lower-case, decompose (NFD) and drop nonspacing marks
(category Mn), replace every decimal digit by ``0``, replace 34 punctuation characters by ASCII, and drop control
characters, tabs included. So each character has a fixed replacement, with two exceptions. A capital sigma becomes one
of two small sigmas, depending on its neighbours; `normalize` leaves this to Python. And marks may have to be reordered,
which is not necessary for text in NFC (as `read` writes it).

CCNet's ``text_normalizer`` intends to keep text composed if it has no nonspacing marks, but its test always fails (it
compares a length with a text). So it always decomposes Hangul, and so does this module. CCNet's pipeline normalizes a
whole document, not its lines, which drops the line breaks; this is ``whole=True``.
"""

import unicodedata
from functools import cache
from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from curate.text.batch import TextBatch
from curate.text.unicode import SPACE, decode, tables

PUNCTUATION = {
    "，": ",", "。": ".", "、": ",", "„": '"', "”": '"', "“": '"', "«": '"', "»": '"', "１": '"', "」": '"',
    "「": '"', "《": '"', "》": '"', "´": "'", "∶": ":", "：": ":", "？": "?", "！": "!", "（": "(", "）": ")",
    "；": ";", "–": "-", "—": " - ", "．": ". ", "～": "~", "’": "'", "…": "...", "━": "-", "〈": "<", "〉": ">",
    "【": "[", "】": "]", "％": "%", "►": "-",
}  # fmt: skip
"""CCNet's replacements of punctuation. The full-width digit one is a slip without effect: digits are 0 by then."""

_CODE_POINTS = 0x110000
_UNCHANGED = ((0x3400, 0x4DC0), (0x4E00, 0xA000), (0x20000, 0x2F800), (0x2FA20, 0xE0000), (0xE0200, _CODE_POINTS))
_SAME = 255  # length that marks a character that stays as it is
_SIGMA = ord("Σ")
_STEP = 16  # bytes that are processed together if all are ASCII
_GROWTH = 3  # maximum ratio of the bytes of a replacement to those of its character, reached by Hangul


class Sentences(NamedTuple):
    """Normalized lines of a batch of documents, concatenated. Lines that become empty are left out.

    Attributes
    ----------
    data
        UTF-8 of all lines, uint8, shape (bytes,).
    offsets
        Line i is ``data[offsets[i]:offsets[i + 1]]``, int64, shape (lines + 1,).
    documents
        Document i has the lines ``documents[i]`` up to ``documents[i + 1]``, int64, shape (documents + 1,).
    sizes
        Size in bytes of each line before normalization, without white space at its ends, int64, shape (lines,).
    """

    data: NDArray[np.uint8]
    offsets: NDArray[np.int64]
    documents: NDArray[np.int64]
    sizes: NDArray[np.int64]


class _Images(NamedTuple):
    """Replacements of code points, as starts and lengths in `pool`; `bytes` holds those of ASCII themselves."""

    starts: NDArray[np.int32]
    lengths: NDArray[np.uint8]
    pool: NDArray[np.uint8]
    bytes: NDArray[np.uint8]


def normalize(batch: TextBatch, *, ccnet: bool = True, whole: bool = False) -> Sentences:
    r"""Split documents into lines and normalize the lines.

    Parameters
    ----------
    batch
        Documents in NFC.
    ccnet
        Whether to apply CCNet's normalization. If false, lines are only stripped.
    whole
        Whether to treat a document as one line, whatever line breaks it contains.

    Examples
    --------
    >>> import pyarrow as pa
    >>> lines = normalize(TextBatch(pa.array(["Élan vital — in 1907!\n\n«Tabs»\tgo", ""])))
    >>> bytes(lines.data[: lines.offsets[1]]).decode(), bytes(lines.data[lines.offsets[1] :]).decode()
    ('elan vital  -  in 0000!', '"tabs"go')
    >>> lines.documents.tolist(), lines.sizes.tolist()
    ([0, 2, 2], [24, 11])
    """
    images = _images() if ccnet else _identity()
    for sigmas in (False, True):
        if sigmas:
            batch = _with_sigmas_lowered(batch)
        size = int(batch.offsets[-1] - batch.offsets[0])
        out = np.empty(size * (_GROWTH if ccnet else 1) + _STEP, np.uint8)
        # A line that is not empty has at least one byte and ends with a line break or the end of the document.
        capacity = (size + len(batch)) // 2 + len(batch) + 1
        offsets, sizes = np.zeros(capacity + 1, np.int64), np.empty(capacity, np.int64)
        documents = np.zeros(len(batch) + 1, np.int64)
        classes = tables().classes
        count = _normalize(batch.data, batch.offsets, whole, classes, *images, out, offsets, documents, sizes)
        if count >= 0:  # otherwise the batch contains capital sigmas, which is rare
            break
    return Sentences(out[: offsets[count]], offsets[: count + 1], documents, sizes[:count])


def _with_sigmas_lowered(batch: TextBatch) -> TextBatch:
    import pyarrow as pa
    import pyarrow.compute as pc

    rows = np.flatnonzero(pc.call_function("match_substring", [batch.text], pc.MatchSubstringOptions("Σ")))
    texts = batch.text.to_pylist()
    for row in rows.tolist():
        texts[row] = texts[row].lower()
    return TextBatch(pa.array(texts, pa.large_string()))


def _image(character: str) -> str:
    """Return the replacement of a character, which depends on the neighbours only for sigma."""
    marked = unicodedata.normalize("NFD", character.lower())
    kept = (c for c in marked if unicodedata.category(c) != "Mn")
    zeros = ("0" if c.isdecimal() else c for c in kept)
    ascii_punctuation = "".join(PUNCTUATION.get(c, c) for c in zeros)
    return "".join(c for c in ascii_punctuation if not (ord(c) < 32 or 127 <= ord(c) < 160))


@cache
def _images() -> _Images:
    lengths = np.full(_CODE_POINTS, _SAME, np.uint8)
    starts = np.zeros(_CODE_POINTS, np.int32)
    pool = bytearray()
    edges = [0, *(edge for block in _UNCHANGED for edge in block)]
    for first, last in zip(edges[::2], edges[1::2], strict=False):
        for code in range(first, last):
            if 0xD800 <= code < 0xE000:  # surrogates, which cannot occur in UTF-8
                continue
            image = _image(chr(code))
            if image != chr(code):
                starts[code], encoded = len(pool), image.encode()
                lengths[code] = len(encoded)
                pool += encoded
    return _frozen(starts, lengths, np.frombuffer(bytes(pool), np.uint8))


@cache
def _identity() -> _Images:
    return _frozen(
        np.zeros(_CODE_POINTS, np.int32), np.full(_CODE_POINTS, _SAME, np.uint8), np.frombuffer(b" ", np.uint8)
    )


def _frozen(starts: NDArray[np.int32], lengths: NDArray[np.uint8], pool: NDArray[np.uint8]) -> _Images:
    """Add the table of bytes: the replacement of an ASCII character, or 0 if it has none and for non-ASCII bytes."""
    table = np.zeros(256, dtype=np.uint8)
    ascii_lengths = lengths[:128]
    table[:128] = np.where(ascii_lengths == _SAME, np.arange(128), np.where(ascii_lengths > 0, pool[starts[:128]], 0))
    return _Images(starts, lengths, pool, table)


@numba.njit(cache=True, nogil=True, inline="always")
def _has_line_break(data, start):
    line_break = False
    for i in range(_STEP):
        line_break |= data[np.uint64(start + i)] == 10
    return line_break


@numba.njit(cache=True, nogil=True, inline="always")
def _copied(data, position, byte_images, out, filled):
    """Write the replacements of `_STEP` bytes, and return whether each byte is a character with a replacement."""
    whole = True
    for i in range(_STEP):
        image = byte_images[data[np.uint64(position + i)]]
        out[np.uint64(filled + i)] = image
        whole &= image != 0
    return whole


@numba.njit(cache=True, nogil=True)
def _normalize(  # noqa: C901 - one pass over the bytes
    data, offsets, whole, classes, starts, lengths, pool, byte_images, out, line_offsets, documents, sizes
):
    drops = lengths[0] != _SAME
    count = 0
    filled = 0
    for document in range(len(offsets) - 1):
        line_start = offsets[document]
        end = offsets[document + 1]
        while line_start < end:
            stop = line_start
            if whole:
                stop = end
            else:
                while stop + _STEP <= end and not _has_line_break(data, stop):
                    stop += _STEP
                while stop < end and data[np.uint64(stop)] != 10:
                    stop += 1
            first, last = _stripped(data, line_start, stop, classes)
            line_start = stop + 1
            position = first
            plain_from = position
            while position < last:
                if position >= plain_from and position + _STEP <= last:
                    if _copied(data, position, byte_images, out, filled):
                        position += _STEP
                        filled += _STEP
                        continue
                    plain_from = position + _STEP
                byte = data[np.uint64(position)]
                if byte < 0x80:
                    image = byte_images[byte]
                    out[np.uint64(filled)] = image
                    filled += 1 if image or not drops else 0
                    position += 1
                    continue
                code, after = decode(data, position)
                if drops and code == _SIGMA:
                    return -1
                size = lengths[code]
                if size == _SAME:
                    for i in range(position, after):
                        out[filled] = data[i]
                        filled += 1
                else:
                    for i in range(starts[code], starts[code] + size):
                        out[filled] = pool[i]
                        filled += 1
                position = after
            if filled > line_offsets[count]:
                sizes[count] = last - first
                count += 1
                line_offsets[count] = filled
        documents[document + 1] = count
    return count


@numba.njit(cache=True, nogil=True)
def _stripped(data, start, stop, classes):
    """Return the bounds of a line without the white space at both ends."""
    while start < stop:
        code, after = decode(data, start)
        if not classes[code] & SPACE:
            break
        start = after
    while stop > start:
        before = stop - 1
        while data[before] & 0xC0 == 0x80:
            before -= 1
        code, _ = decode(data, before)
        if not classes[code] & SPACE:
            break
        stop = before
    return start, stop
