"""N-gram models in the ARPA format: written for kenlm and other tools, read from lmplz and the like."""

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

ROWS = 1 << 20  # n-grams written at once
NO_UNKNOWN = -100.0
"""log10 probability of unknown words in a model that does not say, as kenlm has it."""


def write(path: str, estimate: EstimatedModel, tokens: NDArray[np.int32], words: Sequence[str]) -> None:
    """Write an estimated model, n-grams in the order of lmplz (by their last word, the one before it, and so on).

    Parameters
    ----------
    path
        Where to.
    estimate, tokens
        From and for `curate.language_models.kneser_ney.estimate`.
    words
        The vocabulary by id.
    """
    import polars as pl

    spelled = pl.Series(words, dtype=pl.String)
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
                    | {f"word{i}": spelled.gather(column) for i, column in enumerate(ids)}
                    | ({"backoff": ngrams.log10_backoff[start : start + ROWS]} if n < len(estimate.orders) else {})
                )
                grams = pl.concat_str([f"word{i}" for i in range(n)], separator=" ").alias("grams")
                rows = frame.select("prob", grams, *(["backoff"] if "backoff" in frame.columns else []))
                rows.write_csv(file, include_header=False, separator="\t", quote_style="never")
        file.write(b"\n\\end\\\n")


def read(path: str, meta: dict[str, Any] | None = None) -> NgramModel:
    """Read a model.

    Raises
    ------
    ValueError
        The file is not in the ARPA format, or an n-gram's end is not an n-gram of the model, which models of some
        tools have; ``build_binary`` of kenlm repairs those.
    """
    if not Path(path).stat().st_size:
        raise ValueError(f"{path} is empty")
    with open(path, "rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    sizes, start = _head(path, mapped)
    data = np.frombuffer(mapped, np.uint8)
    vocabulary = Vocabulary()
    ids: list[NDArray[np.int32]] = []
    values: list[NDArray[np.float32]] = []
    known = 0
    for n, size in enumerate(sizes, 1):
        title = f"\\{n}-grams:".encode()
        place = mapped.find(title, start)
        if place < 0:
            raise ValueError(f"{path} has no section {title.decode()!r}")
        hashes, bounds = np.empty((size, n), np.uint64), np.empty((size if n == 1 else 0, 2), np.int64)
        numbers = np.zeros((size, 2), np.float32)
        start, row = _parse(data, place + len(title), n, hashes, bounds, numbers)
        if row < size:
            raise ValueError(f"{path}: n-gram {row + 1} of {size} in section {title.decode()!r} is not one")
        if n == 1:
            found = vocabulary.add(hashes[:, 0], lambda i, b=bounds: [mapped[s:e].decode() for s, e in b[i].tolist()])
            known = len(vocabulary)
            ordered = np.full((known, 2), (NO_UNKNOWN, 0), np.float32)
            ordered[found] = numbers
            ids.append(np.arange(known, dtype=np.int32)[:, None])
            values.append(ordered)
        else:
            ids.append(vocabulary.add(hashes.ravel(), lambda i: ["?"] * len(i)).reshape(size, n))
            values.append(numbers)
            if len(vocabulary) > known:
                raise ValueError(f"{path}: {n}-grams have words that are no unigrams")
    return build_from_ids(
        {**(meta or {}), "ngrams": [*map(len, ids)]}, vocabulary.words, vocabulary.hashes, ids, values
    )


def _head(path: str, mapped: mmap.mmap) -> tuple[list[int], int]:
    """Numbers of n-grams by order, and where the sections begin."""
    begin = mapped.find(b"\\data\\", 0, 1 << 16)
    end = mapped.find(b"\\1-grams:")
    if begin < 0 or end < 0:
        raise ValueError(f"{path} is not in the ARPA format: it does not begin with \\data\\ and sizes")
    lines = mapped[begin:end].decode().split("\n")
    try:
        return [int(line.partition("=")[2]) for line in lines if line.startswith("ngram ")], end
    except ValueError:
        raise ValueError(f"{path}: the sizes under \\data\\ are not numbers") from None


@numba.njit(cache=True, nogil=True)
def _parse(data, at, order, hashes, bounds, numbers):  # noqa: C901 - the fields of a line, one after the other
    """Lines of one section; returns where reading stopped, and how many lines were n-grams."""
    end = len(data)
    while at < end and data[at] != 10:
        at += 1
    at += 1
    for row in range(len(hashes)):
        number, after = _number(data, at, end)
        if after == at or after >= end or data[after] != 9:
            return at, row
        numbers[row, 0] = number
        at = after
        for word in range(order):
            at += 1
            start = at
            while at < end and not (data[at] == 32 or data[at] == 9 or data[at] == 10 or data[at] == 13):
                at += 1
            if at == start:
                return at, row
            hashes[row, word] = hash_bytes(data, start, at)
            if order == 1:
                bounds[row, 0] = start
                bounds[row, 1] = at
        if at < end and data[at] == 9:
            number, after = _number(data, at + 1, end)
            if after == at + 1:
                return at, row
            numbers[row, 1] = number
            at = after
        if at < end and data[at] == 13:
            at += 1
        if at >= end or data[at] != 10:
            return at, row
        at += 1
    return at, len(hashes)


@numba.njit(cache=True, nogil=True)
def _number(data, at, end):
    """The decimal number at a position, and where it ends (there, if there is none)."""
    start = at
    sign = 1.0
    if at < end and data[at] == 45:
        sign = -1.0
        at += 1
    mantissa = 0.0
    scale = 0
    digits = 0
    point = False
    while at < end and (48 <= data[at] <= 57 or (data[at] == 46 and not point)):
        if data[at] == 46:
            point = True
        else:
            mantissa = mantissa * 10.0 + (data[at] - 48)
            scale -= point
            digits += 1
        at += 1
    if not digits:
        return 0.0, start
    if at < end and (data[at] == 101 or data[at] == 69):
        at += 1
        negative = at < end and data[at] == 45
        if negative or (at < end and data[at] == 43):
            at += 1
        exponent = 0
        while at < end and 48 <= data[at] <= 57:
            exponent = exponent * 10 + (np.int64(data[at]) - 48)
            at += 1
        scale += -exponent if negative else exponent
    # A division by an exact power of ten rounds once; a product with an inexact one would round twice.
    return sign * (mantissa / 10.0**-scale if scale < 0 else mantissa * 10.0**scale), at
