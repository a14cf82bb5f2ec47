"""N-gram models in the ARPA format: write them for kenlm and other tools, read them from lmplz and other tools."""

import mmap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from curate import storage
from curate.language_models.kneser_ney import EstimatedModel
from curate.language_models.ngram import NgramModel, build_from_ids
from curate.language_models.tokens import hash_bytes
from curate.language_models.vocabulary import Vocabulary

ROWS = 1 << 20  # n-grams that are written together
NO_UNKNOWN = -100.0
"""log10 probability of unknown words in a model without ``<unk>``, as in kenlm."""


def write(path: str, estimate: EstimatedModel, tokens: NDArray[np.int32], words: Sequence[str]) -> None:
    """Write an estimated model. The n-grams have the order of lmplz (by the last word, then the word before it, ...).

    Parameters
    ----------
    path
        File to write.
    estimate, tokens
        Result of `curate.language_models.kneser_ney.estimate`, and the tokens from which it was estimated.
    words
        Words of the vocabulary by id.
    """
    import polars as pl

    spellings = pl.Series(words, dtype=pl.String)
    with storage.replacing(path) as file:
        sizes = "".join(f"ngram {n}={len(ngrams.ends)}\n" for n, ngrams in enumerate(estimate.orders, 1))
        file.write(f"\\data\\\n{sizes}".encode())
        for n, ngrams in enumerate(estimate.orders, 1):
            file.write(f"\n\\{n}-grams:\n".encode())
            for start in range(0, len(ngrams.ends), ROWS):
                ends = ngrams.ends[start : start + ROWS]
                ids = [ends] if n == 1 else [tokens[ends - back] for back in range(n - 1, -1, -1)]
                frame = pl.DataFrame(
                    {"prob": ngrams.log10_prob[start : start + ROWS]}
                    | {f"word{i}": spellings.gather(column) for i, column in enumerate(ids)}
                    | ({"backoff": ngrams.log10_backoff[start : start + ROWS]} if n < len(estimate.orders) else {})
                )
                grams = pl.concat_str([f"word{i}" for i in range(n)], separator=" ").alias("grams")
                rows = frame.select("prob", grams, *(["backoff"] if "backoff" in frame.columns else []))
                rows.write_csv(file, include_header=False, separator="\t", quote_style="never")
        file.write(b"\n\\end\\\n")


def read(path: str, meta: dict[str, Any] | None = None) -> NgramModel:
    """Read a model.

    Parameters
    ----------
    path
        Local file to read.
    meta
        Metadata for the model, in addition to the numbers of n-grams.

    Raises
    ------
    ValueError
        If the file is not in the ARPA format, or the model lacks the n-gram that remains when the first word of one of
        its n-grams is removed. Some tools write such models; kenlm's ``build_binary`` repairs them.
    """
    if not Path(path).stat().st_size:
        raise ValueError(f"{path} is empty; a model in the ARPA format starts with \\data\\")
    with open(path, "rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    sizes, start = _head(path, mapped)
    data = np.frombuffer(mapped, np.uint8)
    vocabulary = Vocabulary()
    ids: list[NDArray[np.int32]] = []
    values: list[NDArray[np.float32]] = []
    vocabulary_size = 0
    for n, size in enumerate(sizes, 1):
        title = f"\\{n}-grams:".encode()
        place = mapped.find(title, start)
        if place < 0:
            raise ValueError(f"{path} has no section {title.decode()!r}, although \\data\\ announces {size} {n}-grams")
        hashes, bounds = np.empty((size, n), np.uint64), np.empty((size if n == 1 else 0, 2), np.int64)
        numbers = np.zeros((size, 2), np.float32)
        start, row = _parse(data, place + len(title), n, hashes, bounds, numbers)
        if row < size:
            message = f"line {row + 1} of {size} in section {title.decode()!r} is not a {n}-gram"
            raise ValueError(f"{path}: {message}; it must hold a number, a tab, {n} words and perhaps a backoff")
        if n == 1:
            word_ids = vocabulary.add(
                hashes[:, 0], lambda i, b=bounds: [mapped[s:e].decode() for s, e in b[i].tolist()]
            )
            vocabulary_size = len(vocabulary)
            by_id = np.full((vocabulary_size, 2), (NO_UNKNOWN, 0), np.float32)
            by_id[word_ids] = numbers
            ids.append(np.arange(vocabulary_size, dtype=np.int32)[:, None])
            values.append(by_id)
        else:
            ids.append(vocabulary.add(hashes.ravel(), lambda i: ["?"] * len(i)).reshape(size, n))
            values.append(numbers)
            if len(vocabulary) > vocabulary_size:
                raise ValueError(f"{path}: some {n}-grams contain words that are missing from the section \\1-grams:")
    return build_from_ids(
        {**(meta or {}), "ngrams": [*map(len, ids)]}, vocabulary.words, vocabulary.hashes, ids, values
    )


def _head(path: str, mapped: mmap.mmap) -> tuple[list[int], int]:
    """Return the numbers of n-grams by order, and the position of the first section."""
    begin = mapped.find(b"\\data\\", 0, 1 << 16)
    end = mapped.find(b"\\1-grams:")
    if begin < 0 or end < 0:
        raise ValueError(f"{path} is not in the ARPA format: it does not start with \\data\\, sizes and \\1-grams:")
    lines = mapped[begin:end].decode().split("\n")
    try:
        return [int(line.partition("=")[2]) for line in lines if line.startswith("ngram ")], end
    except ValueError:
        raise ValueError(f"{path}: a line under \\data\\ is not of the form 'ngram ORDER=NUMBER'") from None


@numba.njit(cache=True, nogil=True)
def _parse(data, position, order, hashes, bounds, numbers):  # noqa: C901 - the fields of a line, one after the other
    """Read the lines of one section. Return the position after the last n-gram, and the number of n-grams."""
    end = len(data)
    while position < end and data[position] != 10:
        position += 1
    position += 1
    for row in range(len(hashes)):
        number, after = _number(data, position, end)
        if after == position or after >= end or data[after] != 9:
            return position, row
        numbers[row, 0] = number
        position = after
        for word in range(order):
            position += 1
            start = position
            while position < end and not (
                data[position] == 32 or data[position] == 9 or data[position] == 10 or data[position] == 13
            ):
                position += 1
            if position == start:
                return position, row
            hashes[row, word] = hash_bytes(data, start, position)
            if order == 1:
                bounds[row, 0] = start
                bounds[row, 1] = position
        if position < end and data[position] == 9:
            number, after = _number(data, position + 1, end)
            if after == position + 1:
                return position, row
            numbers[row, 1] = number
            position = after
        if position < end and data[position] == 13:
            position += 1
        if position >= end or data[position] != 10:
            return position, row
        position += 1
    return position, len(hashes)


@numba.njit(cache=True, nogil=True)
def _number(data, position, end):
    """Return the decimal number at a position and the position after it, which is the same if there is no number."""
    start = position
    sign = 1.0
    if position < end and data[position] == 45:
        sign = -1.0
        position += 1
    mantissa = 0.0
    scale = 0
    digits = 0
    point = False
    while position < end and (48 <= data[position] <= 57 or (data[position] == 46 and not point)):
        if data[position] == 46:
            point = True
        else:
            mantissa = mantissa * 10.0 + (data[position] - 48)
            scale -= point
            digits += 1
        position += 1
    if not digits:
        return 0.0, start
    if position < end and (data[position] == 101 or data[position] == 69):
        position += 1
        negative = position < end and data[position] == 45
        if negative or (position < end and data[position] == 43):
            position += 1
        exponent = 0
        while position < end and 48 <= data[position] <= 57:
            exponent = exponent * 10 + (np.int64(data[position]) - 48)
            position += 1
        scale += -exponent if negative else exponent
    # Division by an exact power of ten rounds once. Multiplication by an inexact power would round twice.
    return sign * (mantissa / 10.0**-scale if scale < 0 else mantissa * 10.0**scale), position
