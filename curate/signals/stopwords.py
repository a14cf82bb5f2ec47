"""Stop words of documents, each by the list of its language.

Lists and documents are cut into the same words (see `curate.text.words`): case and punctuation do not count, *don't*
is two words, and in scripts without spaces a word of a list is a sequence of characters. An entry is found wherever
its words follow one another, entries inside of others included.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from curate.text.words import Words, mix64, segment

# Function words: determiners, pronouns, prepositions, conjunctions, auxiliaries, what is left of contractions.
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

_PREFIX = -1  # the beginning of longer entries, itself none


class StopWords(NamedTuple):
    """Lists to look up.

    Attributes
    ----------
    languages
        Position of each language's list.
    keys
        Hashes of entries and of their beginnings, list after list, ascending within a list, uint64, shape (keys,).
    entries
        Number of the entry that a key is, or -1 for a beginning, int64, shape (keys,).
    bounds
        List i has the keys ``bounds[i]`` up to ``bounds[i + 1]``, shape (lists + 1,).
    """

    languages: dict[str, int]
    keys: NDArray[np.uint64]
    entries: NDArray[np.int64]
    bounds: NDArray[np.int64]


class Counts(NamedTuple):
    """Of each document: words, words that are part of an entry, and different entries, int64, shape (documents,)."""

    words: NDArray[np.int64]
    covered: NDArray[np.int64]
    distinct: NDArray[np.int64]


def compile_lists(lists: Mapping[str, Sequence[str]]) -> StopWords:
    """Make lists to look up; entries without a letter or digit, and repeated ones, leave no trace.

    Examples
    --------
    >>> made = compile_lists({"en": ["the", "don't", "The", "?"], "zh": ["我们"]})
    >>> made.languages, np.diff(made.bounds).tolist(), made.entries[made.entries >= 0].tolist()
    ({'en': 0, 'zh': 1}, [3, 2], [0, 1, 2])
    """
    keys: list[int] = []
    entries: list[int] = []
    bounds, count = [0], 0
    for words in lists.values():
        found = _entries(words)
        ordered = sorted(found)
        numbers = {key: count + i for i, key in enumerate(key for key in ordered if found[key])}
        keys += ordered
        entries += [numbers.get(key, _PREFIX) for key in ordered]
        count += len(numbers)
        bounds.append(len(keys))
    languages = {language: position for position, language in enumerate(lists)}
    return StopWords(languages, np.array(keys, np.uint64), np.array(entries, np.int64), np.array(bounds, np.int64))


def _entries(entries: Sequence[str]) -> dict[int, bool]:
    """Hashes of the entries and of their beginnings, and whether each is an entry."""
    encoded = [entry.encode() for entry in entries]
    data = np.frombuffer(b"".join(encoded) or b" ", np.uint8)
    words = segment(data, np.cumsum([0, *map(len, encoded)]))
    found: dict[int, bool] = {}
    for first, last in zip(words.offsets, words.offsets[1:], strict=False):
        state = np.uint64(0)
        for word in range(first, last):
            state = words.hashes[word] if word == first else mix64(state ^ words.hashes[word])
            found[int(state)] = found.get(int(state), False) or word == last - 1
    return found


def count_stop_words(words: Words, stop_words: StopWords, lists: NDArray[np.int64]) -> Counts:
    """Count the stop words of each document.

    Parameters
    ----------
    words
        Of the documents.
    stop_words
        From `compile_lists`.
    lists
        Position of each document's list, or -1 for none, shape (documents,).

    Examples
    --------
    >>> data = np.frombuffer("The cat and THE dog, don’t! 我们我".encode(), np.uint8)
    >>> words = segment(data, np.array([0, 29, len(data)]))
    >>> made = compile_lists({"en": ["the", "and", "don't"], "zh": ["我们", "我"]})
    >>> [column.tolist() for column in count_stop_words(words, made, np.array([0, 1]))]
    [[7, 3], [5, 3], [3, 2]]
    """
    documents = len(words.offsets) - 1
    covered, distinct = np.zeros((2, documents), np.int64)
    seen = np.full(len(stop_words.entries) + 1, -1, np.int64)
    _count(words.hashes, words.offsets, *stop_words[1:], lists, seen, covered, distinct)
    return Counts(np.diff(words.offsets), covered, distinct)


@numba.njit(cache=True, nogil=True)
def _find(keys, low, high, key):
    """Where a key is in an ascending stretch of keys, or -1."""
    end = high
    while low < high:
        middle = (low + high) >> 1
        if keys[np.uint64(middle)] < key:
            low = middle + 1
        else:
            high = middle
    return low if low < end and keys[np.uint64(low)] == key else -1


@numba.njit(cache=True, nogil=True)
def _count(hashes, offsets, keys, entries, bounds, lists, seen, covered, distinct):
    for document in range(len(offsets) - 1):
        if lists[document] < 0:
            continue
        low, high = bounds[lists[document]], bounds[lists[document] + 1]
        end = offsets[document + 1]
        reach = offsets[document]  # words before it are counted already, or never will be
        for start in range(offsets[document], end):
            state = hashes[start]
            word = start
            while True:
                at = _find(keys, low, high, state)
                if at < 0:
                    break
                word += 1
                if entries[at] >= 0:
                    covered[document] += max(word - max(start, reach), 0)
                    reach = max(reach, word)
                    distinct[document] += seen[entries[at]] != document
                    seen[entries[at]] = document
                if word == end:
                    break
                state = mix64(state ^ hashes[word])


def frequent_words(data: NDArray[np.uint8], words: Words, share: float, least: int = 0) -> list[str]:
    """Words, in lower case, that are at least `share` of all words: a list of stop words from text in one language.

    Most frequent first, words of one frequency in the order of the alphabet; words without a letter are left out.

    Parameters
    ----------
    data, words
        Text, and its words.
    share
        Least share of all words.
    least
        Number of words that are taken even so: no word of an agglutinative language is very frequent.

    Examples
    --------
    >>> data = np.frombuffer(b"The cat, the dog and the 7 mice and 7 men", np.uint8)
    >>> words = segment(data, np.array([0, len(data)]))
    >>> frequent_words(data, words, 0.15), frequent_words(data, words, 0.15, least=3)
    (['the', 'and'], ['the', 'and', 'cat'])
    """
    _, first, counts = np.unique(words.hashes, return_index=True, return_counts=True)
    spelled = [data[words.starts[i] : words.ends[i]].tobytes().decode().lower() for i in first]
    found = [(-int(count), word) for word, count in zip(spelled, counts, strict=True) if any(map(str.isalpha, word))]
    found.sort()
    often = sum(-count >= share * len(words.hashes) for count, _ in found)
    return [word for _, word in found[: max(often, least)]]
