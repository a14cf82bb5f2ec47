"""Signals of Gopher's quality rules (Rae et al. 2021, arXiv 2112.11446, section A.1.1) and of their variants."""

import numpy as np
from numpy.typing import NDArray

from curate.signals.aggregate import per_document, ratio
from curate.text.scan import DocumentCounts, Lines


def gopher(counts: DocumentCounts, lines: Lines) -> dict[str, NDArray[np.int64] | NDArray[np.float64]]:
    """Return the statistics of Gopher's quality rules by column name, shape (documents,); NaN if a divisor is 0.

    Examples
    --------
    >>> from curate.text.scan import scan
    >>> text = "The cost of it: #1".encode()
    >>> columns = gopher(*scan(np.frombuffer(text, np.uint8), np.array([0, len(text)])))
    >>> columns["gopher_stop_words"].tolist(), columns["gopher_hash_ratio"].tolist()
    ([2], [0.2])
    """
    line_count = np.diff(lines.offsets)
    distinct = np.unpackbits(counts.stop_words.astype(np.uint8)[:, None], axis=1).sum(axis=1, dtype=np.int64)
    return {
        "gopher_words": counts.text_words,
        "gopher_mean_word_length": ratio(counts.text_word_chars, counts.text_words),
        "gopher_hash_ratio": ratio(counts.hashes, counts.words),
        "gopher_ellipsis_ratio": ratio(counts.ellipses, counts.words),
        "gopher_bullet_lines": ratio(per_document(lines.bullet, lines), line_count),
        "gopher_ellipsis_lines": ratio(per_document(lines.ellipsis, lines), line_count),
        "gopher_alpha_words": ratio(counts.alpha_words, counts.words),
        "gopher_stop_words": distinct,
    }


def gopher_variants(counts: DocumentCounts) -> dict[str, NDArray[np.int64] | NDArray[np.float64]]:
    """Return the variants of Gopher's statistics in DCLM and dolma, by column name, shape (documents,).

    DCLM (Li et al. 2024, arXiv 2406.11794) counts all occurrences of stop words (``count_unique: False``). Dolma
    (Soldaini et al. 2024, arXiv 2402.00159, ``taggers/gopher.py``) uses the median word length, and counts the words
    that contain a symbol.

    Examples
    --------
    >>> from curate.text.scan import scan
    >>> text = "to be or not to be ...".encode()
    >>> counts, _ = scan(np.frombuffer(text, np.uint8), np.array([0, len(text)]))
    >>> {name: values.tolist() for name, values in gopher_variants(counts).items()}
    {'dclm_stop_words': [4], 'dolma_median_word_length': [2.0], 'dolma_symbol_words': [0.14285714285714285]}
    """
    return {
        "dclm_stop_words": counts.stop_word_hits,
        "dolma_median_word_length": np.where(counts.words > 0, counts.twice_median / 2, np.nan),
        "dolma_symbol_words": ratio(counts.symbol_words, counts.words),
    }
