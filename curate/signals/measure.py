"""All signals of a batch. The families of signals share one pass for the words, lines and characters."""

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
    """Thresholds that classify single lines. Thresholds for documents belong to rules, not to the measurement.

    Attributes
    ----------
    min_line_words
        Minimum words of a line that is not short, for C4.
    max_word_length
        Maximum characters of a word in a line that C4 keeps.
    long_line_chars
        Minimum characters of a long line, for mT5.
    short_line_chars
        Maximum characters of a short line, for FineWeb.
    max_uppercase
        Maximum share of upper-case letters among the characters of a line, for RefinedWeb.
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
    """Return all columns of the stage `heuristics` by name, shape (documents,); NaN if a divisor is 0.

    Parameters
    ----------
    batch
        The documents.
    limits
        Thresholds for lines.
    stop_words, bad_words
        Word lists; without `bad_words` the column ``c4_bad_words`` is left out.
    word_lists
        Further word lists by name; each adds two columns.

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
    composition = compose(data, offsets, lines)
    boilerplate = find_boilerplate(data, lines)
    ngrams = count_ngrams(data, words)
    line_repeats = repeated_lines(lines, composition)
    columns: dict[str, NDArray[Any]] = {
        **gopher(counts, lines),
        **gopher_variants(counts),
        **c4(counts, lines, boilerplate, limits.min_line_words, limits.max_word_length),
        **long_lines(lines, composition, limits.long_line_chars),
        **repetition(ngrams, line_repeats, repeated_paragraphs(lines, composition)),
        **repeated_copies(line_repeats),
        **fineweb(counts, lines, composition, limits.short_line_chars),
        **refinedweb(data, counts, lines, composition, limits.max_uppercase),
        **madlad(counts, lines),
        **nemo(counts, lines, composition, boilerplate.policy),
        **redpajama(counts, lines, composition, ngrams),
        "rps_stop_words": ratio(count_entries(words, stop_words).covered, ngrams.words),
    }
    if bad_words is not None:
        columns["c4_bad_words"] = count_entries(words, bad_words).hits
    for name, word_list in (word_lists or {}).items():
        entry_counts = count_entries(words, word_list)
        columns |= {
            f"words_{name}": entry_counts.hits,
            f"words_{name}_share": ratio(entry_counts.covered, ngrams.words),
        }
    return columns
