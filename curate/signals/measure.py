"""All signals of a batch: its words, lines and characters are found once and shared by the families."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from numpy.typing import NDArray

from curate.signals.aggregate import ratio
from curate.signals.c4 import c4, find_boilerplate, long_lines
from curate.signals.classes import nemo, redpajama
from curate.signals.composition import compose
from curate.signals.gopher import gopher, gopher_variants
from curate.signals.repetition import (
    count_ngrams,
    repeated_copies,
    repeated_lines,
    repeated_paragraphs,
    repetition,
)
from curate.signals.web import fineweb, madlad, refinedweb
from curate.text.batch import TextBatch
from curate.text.scan import scan
from curate.text.wordlists import WordList, count_entries


class Limits(NamedTuple):
    """What decides about a single line; thresholds for documents are no part of a measurement.

    Attributes
    ----------
    min_line_words, max_word_length, long_line_chars
        C4's and mT5's (words, characters, characters).
    short_line_chars
        FineWeb's (characters).
    max_uppercase
        RefinedWeb's, a share of a line's characters.
    """

    min_line_words: int = 5
    max_word_length: int = 1000
    long_line_chars: int = 200
    short_line_chars: int = 30
    max_uppercase: float = 0.5


def measure(
    batch: TextBatch,
    limits: Limits,
    stop_words: WordList,
    bad_words: WordList | None = None,
    word_lists: Mapping[str, WordList] | None = None,
) -> dict[str, NDArray[Any]]:
    """Every column of the stage `heuristics` by name, shape (documents,); NaN where a ratio has no denominator.

    Examples
    --------
    >>> import pyarrow as pa
    >>> from curate.text.wordlists import compile_list
    >>> columns = measure(TextBatch(pa.array(["to be or not to be"])), Limits(), compile_list(["or", "not"]))
    >>> columns["gopher_words"].tolist(), columns["rps_stop_words"].tolist()
    ([6], [0.3333333333333333])
    """
    data, offsets, words = batch.data, batch.offsets, batch.words
    counts, lines = scan(data, offsets)
    made = compose(data, offsets, lines)
    boilerplate = find_boilerplate(data, lines)
    ngrams = count_ngrams(data, words)
    line_repeats = repeated_lines(lines, made)
    columns: dict[str, NDArray[Any]] = {
        **gopher(counts, lines),
        **gopher_variants(counts),
        **c4(counts, lines, boilerplate, limits.min_line_words, limits.max_word_length),
        **long_lines(lines, made, limits.long_line_chars),
        **repetition(ngrams, line_repeats, repeated_paragraphs(lines, made)),
        **repeated_copies(line_repeats),
        **fineweb(counts, lines, made, limits.short_line_chars),
        **refinedweb(data, counts, lines, made, limits.max_uppercase),
        **madlad(counts, lines),
        **nemo(counts, lines, made, boilerplate.policy),
        **redpajama(counts, lines, made, ngrams),
        "rps_stop_words": ratio(count_entries(words, stop_words).covered, ngrams.words),
    }
    if bad_words is not None:
        columns["c4_bad_words"] = count_entries(words, bad_words).hits
    for name, listed in (word_lists or {}).items():
        counted = count_entries(words, listed)
        columns |= {f"words_{name}": counted.hits, f"words_{name}_share": ratio(counted.covered, ngrams.words)}
    return columns
