"""Signals of NeMo Curator's English heuristics and of RedPajama-Data v2 about classes of characters and words.

NeMo Curator 1.4, ``stages/text/filters/heuristic``. RedPajama-Data v2, Weber et al. 2024, arXiv 2411.12372, appendix D;
its code is in ``quality_signals``.
"""

import numpy as np
from numpy.typing import NDArray

from curate.signals.aggregate import ratio
from curate.signals.composition import Composition
from curate.signals.repetition import NGrams
from curate.text.scan import DocumentCounts, Lines


def nemo(
    counts: DocumentCounts, lines: Lines, composition: Composition, policy: NDArray[np.bool_]
) -> dict[str, NDArray[np.int64] | NDArray[np.float64]]:
    r"""Return the statistics of NeMo Curator's English filters that no other family has, by column name.

    Parameters
    ----------
    counts, lines, composition
        Results of `scan` and `compose`.
    policy
        Whether each line contains one of C4's policy phrases, shape (lines,).

    Returns
    -------
    dict
        Columns of shape (documents,); NaN if a divisor is 0.

    Examples
    --------
    >>> from curate.text.scan import scan
    >>> from curate.signals.composition import compose
    >>> data = np.frombuffer(b"At http://example.com/ (1)\n\nWe use cookies", np.uint8)
    >>> counts, lines = scan(data, np.array([0, len(data)]))
    >>> columns = nemo(counts, lines, compose(data, np.array([0, len(data)]), lines), np.array([False, True]))
    >>> {name: round(values.item(), 3) for name, values in columns.items()}  # doctest: +NORMALIZE_WHITESPACE
    {'nemo_non_alphanumeric': 0.238, 'nemo_digits': 0.024, 'nemo_url_chars': 0.452, 'nemo_white_space': 0.143,
     'nemo_brackets': 0.048, 'nemo_boilerplate_paragraphs': 0.5}
    """
    paragraphs = np.cumsum(lines.opens_paragraph)  # number of each line's paragraph, counted from 1
    flagged = np.unique(paragraphs[policy])
    first_paragraphs = np.concatenate([[0], paragraphs])[lines.offsets]
    with_policy = np.diff(np.searchsorted(flagged, first_paragraphs, side="right"))
    return {
        "nemo_non_alphanumeric": ratio(composition.chars - composition.plain, composition.chars),
        "nemo_digits": ratio(composition.digits, composition.chars),
        "nemo_url_chars": ratio(counts.url_chars, composition.chars),
        "nemo_white_space": ratio(composition.spaces, composition.chars),
        "nemo_brackets": ratio(composition.brackets, composition.chars),
        "nemo_boilerplate_paragraphs": ratio(with_policy, np.diff(first_paragraphs)),
    }


def redpajama(
    counts: DocumentCounts, lines: Lines, composition: Composition, ngrams: NGrams
) -> dict[str, NDArray[np.int64] | NDArray[np.float64]]:
    r"""Return the signals of RedPajama-Data v2 that no other family has, by column name.

    Signals of lines become means over the lines of a document.

    Parameters
    ----------
    counts, lines, composition, ngrams
        Results of `scan`, `compose` and `count_ngrams`.

    Returns
    -------
    dict
        Columns of shape (documents,); NaN if a divisor is 0.

    Examples
    --------
    >>> from curate.text.scan import scan
    >>> from curate.signals.composition import compose
    >>> from curate.signals.repetition import count_ngrams
    >>> from curate.text.words import segment
    >>> data = np.frombuffer(b"OK {1}\nok then", np.uint8)
    >>> offsets = np.array([0, len(data)])
    >>> counts, lines = scan(data, offsets)
    >>> columns = redpajama(counts, lines, compose(data, offsets, lines), count_ngrams(data, segment(data, offsets)))
    >>> {name: round(values.item(), 3) for name, values in columns.items()}  # doctest: +NORMALIZE_WHITESPACE
    {'rps_curly_brackets': 0.143, 'rps_all_caps_words': 0.25, 'rps_mean_word_length': 2.25, 'rps_unique_words': 0.75,
     'rps_line_words': 2.0, 'rps_line_digits': 0.083, 'rps_line_uppercase': 0.167}
    """
    line_count = np.diff(lines.offsets)
    return {
        "rps_curly_brackets": ratio(composition.curly, composition.chars),
        "rps_all_caps_words": ratio(counts.all_caps_words, counts.words),
        "rps_mean_word_length": ratio(ngrams.chars, ngrams.words),
        "rps_unique_words": ratio(ngrams.distinct, ngrams.words),
        "rps_line_words": ratio(counts.words, line_count),
        "rps_line_digits": _mean(composition.line_digits, composition.line_chars, lines),
        "rps_line_uppercase": _mean(composition.line_upper, composition.line_chars, lines),
    }


def _mean(part: NDArray[np.int64], whole: NDArray[np.int64], lines: Lines) -> NDArray[np.float64]:
    """Return the mean of a ratio over the lines of each document, summed in the order of the lines."""
    line_count = np.diff(lines.offsets)
    means = np.full(len(line_count), np.nan)
    some = line_count > 0
    if some.any():
        means[some] = np.add.reduceat(part / whole, lines.offsets[:-1][some]) / line_count[some]
    return means
