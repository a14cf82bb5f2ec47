"""Gopher's quality rules: Rae et al. 2021, arXiv 2112.11446, section A.1.1; their variants in DCLM and dolma."""

import numpy as np
from numpy.typing import NDArray

from curate.signals.aggregate import per_document, ratio
from curate.text.scan import DocumentCounts, Lines


def gopher(counts: DocumentCounts, lines: Lines) -> dict[str, NDArray[np.int64] | NDArray[np.float64]]:
    """Statistics of Gopher's quality rules by column name, shape (documents,); NaN where a ratio has no denominator.

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
    """What DCLM and dolma measure in place of one of Gopher's statistics.

    Occurrences of stop words (DCLM, Li et al. 2024, arXiv 2406.11794, its ``count_unique: False``), the median word
    length and words with a symbol (dolma, Soldaini et al. 2024, arXiv 2402.00159, ``taggers/gopher.py``).

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
