"""Interpolated modified Kneser-Ney estimation of n-gram models (Chen and Goodman 1998, TR-10-98), with pruning.

The definitions are those of lmplz (Heafield et al. 2013, "Scalable Modified Kneser-Ney Language Model Estimation"), so
that both give the same model of the same text:

- The adjusted count ``a`` of an n-gram is its count if it has the highest order or begins with ``<s>``, and otherwise
  the number of different words that stand before it in the text, ``<s>`` among them (its continuation count).
- ``D[k] = k - (k + 1) t[1] / (t[1] + 2 t[2]) t[k + 1] / t[k]`` for k = 1, 2, 3, where ``t[k]`` n-grams of the order
  have adjusted count k (their equation 26); counts above 3 have the discount of 3. Counts of counts are taken before
  pruning.
- ``u(w | c) = (a(c w) - D[a(c w)]) / sum_x a(c x)`` and ``p(w | c) = u(w | c) + g(c) p(w | c')``, where ``c'`` is the
  context without its first word and ``g(c)`` is the mass that discounts and pruned n-grams leave, over the same sum.
  Below unigrams lies the uniform distribution over the vocabulary, which has ``<unk>`` and ``</s>`` but not ``<s>``.
- An n-gram is pruned if its count in the text, not its adjusted count, is at most the threshold of its order.

Counting is one stable sort. A position of the text stands for all the n-grams that end there; sorting positions by the
word there, then by the word before it, and so on, brings equal n-grams of every order together and in the order of
their suffixes. It takes one counting sort over word ids per order, from the farthest word to the nearest. Besides the
sorted positions, only the n-grams of two neighbouring orders are worked on at a time; what stays of an order is 16
bytes per n-gram.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

UNK, BOS, EOS = 0, 1, 2
SPECIAL = ("<unk>", "<s>", "</s>")
"""The first words of every vocabulary, in the order of their ids."""

MAX_ORDER = 6
"""That of kenlm as it is usually compiled; models of a higher order could not be read there."""

FALLBACK = (0.5, 1.0, 1.5)
"""Discounts that lmplz takes with ``--discount_fallback``, for adjusted counts 1, 2 and from 3 on."""


class Ngrams(NamedTuple):
    """The n-grams of one order, in the order of their words from last to first.

    Attributes
    ----------
    ends
        A position of the text where the n-gram ends, int32, shape (n-grams,).
    parents
        Index, in the order below, of the n-gram without its first word, int32, shape (n-grams,).
    log10_prob, log10_backoff
        float32, shape (n-grams,); the latter is 0 in the highest order.
    """

    ends: NDArray[np.int32]
    parents: NDArray[np.int32]
    log10_prob: NDArray[np.float32]
    log10_backoff: NDArray[np.float32]


class EstimatedModel(NamedTuple):
    """An estimated model.

    Attributes
    ----------
    orders
        N-grams by order; a unigram's index is its word's id.
    discounts
        float32, shape (order, 3): for adjusted counts 1, 2 and from 3 on.
    counted
        Number of n-grams before pruning, by order.
    fallback
        Orders whose discounts are `FALLBACK` because their counts of counts gave none.
    """

    orders: list[Ngrams]
    discounts: NDArray[np.float32]
    counted: list[int]
    fallback: list[int]


def thresholds(order: int, prune: Sequence[int]) -> list[int]:
    """Thresholds for all orders: the last one given holds for the orders above.

    Raises
    ------
    ValueError
        There are more than orders, they fall, or they prune words.

    Examples
    --------
    >>> thresholds(5, [0, 0, 1])
    [0, 0, 1, 1, 1]
    """
    prune = list(prune) or [0]
    if len(prune) > order:
        raise ValueError(f"{len(prune)} thresholds of pruning, but the order is {order}")
    if prune != sorted(prune) or prune[0] < 0:
        raise ValueError("thresholds of pruning must not fall from one order to the next, and not be negative")
    if prune[0] != 0:
        raise ValueError("the first threshold of pruning must be 0: words are not pruned")
    return prune + [prune[-1]] * (order - len(prune))


def estimate(
    tokens: NDArray[np.int32], vocabulary: int, order: int, prune: Sequence[int] = (), *, fallback: bool = False
) -> EstimatedModel:
    """Estimate a model of `tokens`.

    Parameters
    ----------
    tokens
        Word ids of all sentences, each with `BOS` before and `EOS` after it, shape (positions,).
    vocabulary
        Number of word ids; each but those of ``<unk>`` and ``<s>`` is in `tokens`.
    order
        Length of the longest n-grams.
    prune
        See `thresholds`.
    fallback
        Whether `FALLBACK` is used where counts of counts give no discounts, as in a small text.

    Raises
    ------
    ValueError
        There is no text, too much of it, the thresholds are wrong, or there are no discounts and no `fallback`.

    Examples
    --------
    >>> model = estimate(np.array([1, 3, 4, 3, 2], np.int32), vocabulary=5, order=2, fallback=True)
    >>> [len(ngrams.ends) for ngrams in model.orders]
    [5, 4]
    >>> float(np.exp2(np.log2(10) * model.orders[0].log10_prob[[0, 2, 3, 4]]).sum().round(5))
    1.0
    """
    limits = thresholds(order, prune)
    if len(tokens) == 0:
        raise ValueError("there is no text to train on")
    if len(tokens) >= 2**31 - 1:
        raise ValueError(f"{len(tokens)} words are more than fit (2^31); train on a sample")
    reach = _reach(tokens, order)
    ranked = _sort(tokens, reach, vocabulary, order)
    shared = _shared(tokens, reach, ranked, order)
    result = EstimatedModel([], np.zeros((order, 3), np.float32), [], [])
    prob = np.zeros(0, np.float32)  # of the n-grams of the order below
    below = tokens  # per position, the index of the n-gram of the order below that ends there
    for length in range(1, order + 1):
        groups, at = _groups(tokens, reach, ranked, shared, length, order, vocabulary)
        _set_discounts(result, length, groups.adjusted, fallback=fallback)
        if length == 1:
            prob = _unigrams(groups.adjusted, result.discounts[0])
            words = np.arange(vocabulary, dtype=np.int32)
            result.orders.append(Ngrams(words, np.zeros_like(words), _log10(prob), np.zeros_like(prob)))
            result.counted.append(vocabulary)
            continue
        kept = groups.actual > limits[length - 1]
        ends, parents = np.empty(kept.sum(), np.int32), np.empty(kept.sum(), np.int32)
        gamma, own = np.ones_like(prob), np.empty(len(ends), np.float32)
        discount = np.append(np.float32(0), result.discounts[length - 1])
        _fill(groups.ends, groups.adjusted, kept, below, prob, discount, gamma, ends, parents, own)
        prob = own
        result.orders[-1] = result.orders[-1]._replace(log10_backoff=_log10(gamma))
        result.orders.append(Ngrams(ends, parents, _log10(prob), np.zeros_like(prob)))
        result.counted.append(len(kept))
        index = np.where(kept, np.cumsum(kept, dtype=np.int32) - np.int32(1), np.int32(-1))
        below = _renumber(at, index)
    return result


class _Groups(NamedTuple):
    """Different n-grams of one order before pruning: where one ends, its count, its adjusted count."""

    ends: NDArray[np.int32]
    actual: NDArray[np.int32]
    adjusted: NDArray[np.int32]


def _set_discounts(result: EstimatedModel, length: int, adjusted: NDArray[np.int32], *, fallback: bool) -> None:
    """Discounts of one order from its counts of counts, in the single precision of lmplz."""
    found = np.bincount(adjusted[adjusted < 5], minlength=5).astype(np.float32)
    known = bool((found[1:4] > 0).all())
    discounts = np.zeros(3, np.float32)
    if known:
        k = np.arange(1, 4, dtype=np.float32)
        ratio = found[1] / (found[1] + np.float32(2) * found[2])
        discounts = k - (k + 1) * ratio * found[2:5] / found[1:4]
        known = bool(((discounts >= 0) & (discounts <= k)).all())
    if known:
        result.discounts[length - 1] = discounts
        return
    if not fallback:
        raise ValueError(
            f"the counts of counts of {length}-grams give no discounts: {found[1:].astype(int).tolist()} of them have "
            "adjusted counts 1 to 4; the text is small or repeats itself (deduplicate it, or allow the fallback)"
        )
    result.discounts[length - 1] = FALLBACK
    result.fallback.append(length)


def _unigrams(adjusted: NDArray[np.int32], discounts: NDArray[np.float32]) -> NDArray[np.float32]:
    """Probabilities of words, interpolated with the uniform distribution; ``<s>``, which is given, has 1."""
    total = np.float32(adjusted.sum(dtype=np.int64))
    classes = np.minimum(adjusted, 3)
    discount = np.append(np.float32(0), discounts)
    mass = np.float32(0)
    for k in (1, 2, 3):
        mass += discount[k] * np.float32((classes == k).sum())
    prob = (adjusted.astype(np.float32) - discount[classes]) / total
    prob += mass / total * (np.float32(1) / np.float32(len(adjusted) - 1))
    prob[BOS] = 1.0
    return prob


def _log10(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Of probabilities, at most 0; of nothing, the -99 of the ARPA format."""
    return np.clip(np.log10(np.maximum(x.astype(np.float64), 1e-99)), -99, 0).astype(np.float32)


@numba.njit(cache=True, nogil=True)
def _reach(tokens, order):
    """Words before each position in its sentence, ``<s>`` included, at most `order`."""
    reach = np.empty(len(tokens), np.uint8)
    since = 0
    for i in range(len(tokens)):
        since = 0 if tokens[i] == BOS else min(since + 1, order)
        reach[i] = since
    return reach


def _sort(tokens: NDArray[np.int32], reach: NDArray[np.uint8], vocabulary: int, order: int) -> NDArray[np.int32]:
    """Positions of words but ``<s>``, by the word, the word before it, and so on."""
    ranked = np.flatnonzero(tokens != BOS).astype(np.int32)
    other = np.empty_like(ranked)
    for depth in range(order - 1, -1, -1):
        _sort_by(tokens, reach, depth, vocabulary, ranked, other)
        ranked, other = other, ranked
    return ranked


@numba.njit(cache=True, nogil=True)
def _sort_by(tokens, reach, depth, vocabulary, ranked, out):
    """Stable counting sort by the word `depth` before; beyond the start of a sentence it is ``<s>``."""
    starts = np.zeros(vocabulary + 1, np.int64)
    for p in ranked:
        starts[(tokens[p - depth] if depth <= reach[p] else BOS) + 1] += 1
    for w in range(vocabulary):
        starts[w + 1] += starts[w]
    for p in ranked:
        word = tokens[p - depth] if depth <= reach[p] else BOS
        out[starts[word]] = p
        starts[word] += 1


@numba.njit(cache=True, nogil=True)
def _shared(tokens, reach, ranked, order):
    """Length of the longest n-gram that ends both at a sorted position and at the one before it."""
    shared = np.zeros(len(ranked), np.uint8)
    for i in range(1, len(ranked)):
        p, q = ranked[i - 1], ranked[i]
        most = min(reach[p] + 1, reach[q] + 1, order)
        length = 0
        while length < most and tokens[p - length] == tokens[q - length]:
            length += 1
        shared[i] = length
    return shared


def _groups(tokens, reach, ranked, shared, length, order, vocabulary) -> tuple[_Groups, NDArray[np.int32]]:
    """Different n-grams of a length, and the index of the one that ends at each position (-1: none)."""
    size = vocabulary if length == 1 else _different(reach, ranked, shared, length)
    groups = _Groups(np.zeros(size, np.int32), np.zeros(size, np.int32), np.zeros(size, np.int32))
    at = np.full(0 if length in (1, order) else len(tokens), -1, np.int32)
    _count(tokens, reach, ranked, shared, length, order, *groups, at)
    return groups, at


@numba.njit(cache=True, nogil=True)
def _different(reach, ranked, shared, length):
    found = 0
    for i in range(len(ranked)):
        if shared[i] < length and reach[ranked[i]] + 1 >= length:
            found += 1
    return found


@numba.njit(cache=True, nogil=True)
def _count(tokens, reach, ranked, shared, length, order, ends, actual, adjusted, at):
    group = -1
    for i in range(len(ranked)):
        p = ranked[i]
        if reach[p] + 1 < length:
            continue
        if shared[i] < length:
            group = tokens[p] if length == 1 else group + 1
            ends[group] = p
        actual[group] += 1
        # Continuations are counted once per different word before; nothing stands before <s>.
        if length == order or reach[p] + 1 == length or shared[i] <= length:
            adjusted[group] += 1
        if len(at):
            at[p] = group


@numba.njit(cache=True, nogil=True)
def _renumber(at, index):
    for p in range(len(at)):
        if at[p] >= 0:
            at[p] = index[at[p]]
    return at


@numba.njit(cache=True, nogil=True)
def _fill(group_ends, adjusted, kept, below, prob_below, discount, gamma, ends, parents, prob):
    """Backoff weights of all contexts, then probabilities of the kept n-grams; arithmetic in single precision."""
    total = np.zeros(len(gamma), np.int32)
    pruned = np.zeros(len(gamma), np.int32)
    classes = np.zeros((len(gamma), 3), np.int32)
    for g in range(len(group_ends)):
        context = below[group_ends[g] - 1]
        if context < 0:  # pruned, and so is all that it begins
            continue
        total[context] += adjusted[g]
        if kept[g]:
            classes[context, min(adjusted[g], 3) - 1] += 1
        else:
            pruned[context] += adjusted[g]
    for c in range(len(gamma)):
        if total[c]:
            mass = np.float32(0)
            for k in range(3):
                mass += discount[k + 1] * np.float32(classes[c, k])
            gamma[c] = (mass + np.float32(pruned[c])) / np.float32(total[c])
    n = 0
    for g in range(len(group_ends)):
        if not kept[g]:
            continue
        end = group_ends[g]
        context = below[end - 1]
        ends[n] = end
        parents[n] = below[end]
        share = (np.float32(adjusted[g]) - discount[min(adjusted[g], 3)]) / np.float32(total[context])
        prob[n] = share + gamma[context] * prob_below[below[end]]
        n += 1
