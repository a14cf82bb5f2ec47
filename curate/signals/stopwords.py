"""Stop words: counts by the list of each document's language, an English list, and lists made from text."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from curate.text.wordlists import EntryCounts, WordList, count_entries
from curate.text.words import Words

# Function words: determiners, pronouns, prepositions, conjunctions, auxiliaries, the rest of contractions.
ENGLISH_STOP_WORDS = tuple(
    """
    a an the this that these those each every either neither some any no all both half such what which whose
    i me my mine myself we us our ours ourselves you your yours yourself yourselves he him his himself she her hers
    herself it its itself they them their theirs themselves who whom one ones someone anyone everyone nobody nothing
    something anything everything there here where when why how
    about above across after against along among around as at before behind below beneath beside between beyond by
    despite down during except for from in inside into like near of off on onto out outside over past per since than
    through throughout till to toward towards under until up upon via with within without
    and or but nor so yet if unless because although though while whereas whether then else not
    am is are was were be been being have has had having do does did doing done will would shall should can could may
    might must ought
    very too also only just even still again ever never more most less least much many few other another own same
    s t d ll m re ve
    """.split()  # noqa: SIM905
)


def count_stop_words(words: Words, lists: Sequence[WordList], list_index: NDArray[np.int64]) -> EntryCounts:
    """Count the stop words of each document. The counts of a document without a list are 0.

    Parameters
    ----------
    words
        Words of the documents.
    lists
        Stop word lists from `curate.text.wordlists.compile_list`.
    list_index
        Index in `lists` of each document's list, or -1 for none, shape (documents,).

    Examples
    --------
    >>> from curate.text.wordlists import compile_list
    >>> from curate.text.words import segment
    >>> data = np.frombuffer("The cat and THE dog, don’t! 我们我".encode(), np.uint8)
    >>> words = segment(data, np.array([0, 29, len(data)]))
    >>> lists = [compile_list(["the", "and", "don't"]), compile_list(["我们", "我"])]
    >>> [column.tolist() for column in count_stop_words(words, lists, np.array([0, 1]))]
    [[4, 3], [5, 3], [3, 2]]
    """
    counts = EntryCounts(*np.zeros((3, len(list_index)), np.int64))
    for position in np.unique(list_index[list_index >= 0]):
        documents = np.flatnonzero(list_index == position)
        for total, part in zip(counts, count_entries(words, lists[position], documents), strict=True):
            total[documents] = part
    return counts


def frequent_words(data: NDArray[np.uint8], words: Words, share: float, least: int = 0) -> list[str]:
    """Return the words, in lower case, whose share of all words is at least `share`.

    They serve as a list of stop words if the text is in one language. The most frequent word comes first, and words of
    equal frequency are in alphabetical order. Words without a letter are left out.

    Parameters
    ----------
    data, words
        Text, and its words.
    share
        Minimum share of all words.
    least
        Minimum number of words to return, even if they are rarer: no word of an agglutinative language is very
        frequent.

    Examples
    --------
    >>> from curate.text.words import segment
    >>> data = np.frombuffer(b"The cat, the dog and the 7 mice and 7 men", np.uint8)
    >>> words = segment(data, np.array([0, len(data)]))
    >>> frequent_words(data, words, 0.15), frequent_words(data, words, 0.15, least=3)
    (['the', 'and'], ['the', 'and', 'cat'])
    """
    _, first, counts = np.unique(words.hashes, return_index=True, return_counts=True)
    spelled = [data[words.starts[i] : words.ends[i]].tobytes().decode().lower() for i in first]
    ranked = [(-int(count), word) for word, count in zip(spelled, counts, strict=True) if any(map(str.isalpha, word))]
    ranked.sort()
    frequent = sum(-count >= share * len(words.hashes) for count, _ in ranked)
    return [word for _, word in ranked[: max(frequent, least)]]
