r"""Signals of FineWeb's, RefinedWeb's and MADLAD-400's rules for web pages.

FineWeb: Penedo et al. 2024, arXiv 2406.17557, section 3.6. RefinedWeb's line-wise corrections: Penedo et al. 2023,
arXiv 2306.01116, appendix G.2, with the patterns of DCLM's configuration (Li et al. 2024, arXiv 2406.11794).
MADLAD-400: Kudugunta et al. 2023, arXiv 2309.04662, section 2.3.
"""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate.signals.aggregate import per_document, ratio
from curate.signals.composition import Composition
from curate.text.phrases import matches
from curate.text.scan import DocumentCounts, Lines

BUTTON_WORDS = 10
BUTTONS = r"items in cart|^sign-in|read more\.\.\.$"
COUNTED = "likes|shares|comments|retweets|reposts|quotes|bookmarks|upvotes|downvotes|downloads|views|followers"
COUNTER = rf"^[^0-9A-Za-z_]*[0-9][0-9,.]*[kmb]?[ \t]+(?:{COUNTED})[^0-9A-Za-z_]*$"


def fineweb(
    counts: DocumentCounts, lines: Lines, composition: Composition, short_line_chars: int
) -> dict[str, NDArray[np.int64] | NDArray[np.float64]]:
    r"""Return the statistics of FineWeb's custom rules by column name, shape (documents,); NaN if a divisor is 0.

    FineWeb also uses the share of characters in repeated lines, which is one of Gopher's statistics
    (`curate.signals.repetition`).

    Examples
    --------
    >>> from curate.text.scan import scan
    >>> from curate.signals.composition import compose
    >>> data = np.frombuffer(b"Home\n\nIt goes on...\n", np.uint8)
    >>> counts, lines = scan(data, np.array([0, len(data)]))
    >>> columns = fineweb(counts, lines, compose(data, np.array([0, len(data)]), lines), short_line_chars=4)
    >>> {name: values.tolist() for name, values in columns.items()}
    {'fineweb_terminal_lines': [0.5], 'fineweb_short_lines': [0.5], 'fineweb_newlines_per_word': [0.75]}
    """
    line_count = np.diff(lines.offsets)
    return {
        "fineweb_terminal_lines": ratio(per_document(lines.terminal | lines.ellipsis, lines), line_count),
        "fineweb_short_lines": ratio(per_document(composition.line_chars <= short_line_chars, lines), line_count),
        "fineweb_newlines_per_word": ratio(counts.breaks, counts.words),
    }


def refinedweb(
    data: NDArray[np.uint8], counts: DocumentCounts, lines: Lines, composition: Composition, max_uppercase: float
) -> dict[str, NDArray[np.float64]]:
    r"""Return the shares of lines that RefinedWeb's corrections remove, and of the words in them, by column name.

    Examples
    --------
    >>> from curate.text.scan import scan
    >>> from curate.signals.composition import compose
    >>> data = np.frombuffer(b"BREAKING NEWS\n1,024 likes\nHome\nIt goes on.\nRead more...\n2024", np.uint8)
    >>> counts, lines = scan(data, np.array([0, len(data)]))
    >>> composition = compose(data, np.array([0, len(data)]), lines)
    >>> columns = refinedweb(data, counts, lines, composition, max_uppercase=0.5)
    >>> [round(values.item() * 6, 2) for values in columns.values()]  # 6 lines; the last column is a share of words
    [1.0, 1.0, 1.0, 2.0, 1.0, 4.36]
    """
    short = lines.words <= BUTTON_WORDS
    flags = {
        "refinedweb_uppercase_lines": composition.line_upper > max_uppercase * composition.line_chars,
        "refinedweb_numeric_lines": composition.line_digits == composition.line_chars,
        "refinedweb_counter_lines": _search(data, lines, short & (composition.line_digits > 0), COUNTER),
        "refinedweb_one_word_lines": lines.words == 1,
        "refinedweb_button_lines": _search(data, lines, short, BUTTONS),
    }
    line_count = np.diff(lines.offsets)
    columns = {name: ratio(per_document(lines_with, lines), line_count) for name, lines_with in flags.items()}
    removed = lines.words * np.logical_or.reduce(list(flags.values()))
    return columns | {"refinedweb_removed_words": ratio(per_document(removed, lines), counts.words)}


def madlad(counts: DocumentCounts, lines: Lines) -> dict[str, NDArray[np.float64]]:
    """Return the shares of the sentences that MADLAD-400's rules 2, 3 and 4 reject, by column name.

    Examples
    --------
    >>> from curate.text.scan import scan
    >>> data = np.frombuffer(b"Too short. This sentence is neither long nor short.", np.uint8)
    >>> madlad(*scan(data, np.array([0, len(data)])))["madlad_abnormal_sentences"].tolist()
    [0.5]
    """
    sentences = per_document(lines.sentences, lines)
    return {
        "madlad_list_case_sentences": ratio(counts.list_case, sentences),
        "madlad_abnormal_sentences": ratio(counts.abnormal, sentences),
        "madlad_technical_sentences": ratio(counts.technical, sentences),
        "madlad_questionable_sentences": ratio(counts.questionable, sentences),
    }


def _search(data: NDArray[np.uint8], lines: Lines, candidates: NDArray[np.bool_], pattern: str) -> NDArray[np.bool_]:
    """Return which of the candidate lines match a pattern. Only the candidates are searched."""
    flags = np.zeros(len(candidates), np.bool_)
    chosen = np.flatnonzero(candidates)
    bounds = pa.py_buffer(np.append(np.column_stack([lines.starts, lines.ends]), lines.ends[-1:]))
    texts = pa.Array.from_buffers(pa.large_binary(), 2 * len(candidates), [None, bounds, pa.py_buffer(data)])
    flags[chosen] = matches(texts.take(pa.array(2 * chosen)), pattern)  # odd entries are gaps between lines
    return flags
