"""Interpolated modified Kneser-Ney estimation of n-gram models (Chen and Goodman 1998, TR-10-98), with pruning.

The definitions are those of lmplz (Heafield et al. 2013, "Scalable Modified Kneser-Ney Language Model Estimation"), so
that both programs estimate the same model from the same text:

- The adjusted count ``a`` of an n-gram is its count if the n-gram has the highest order or begins with ``<s>``.
  Otherwise it is the continuation count: the number of different words, ``<s>`` included, that precede the n-gram in
  the text.
- The discounts are ``D[k] = k - (k + 1) t[1] / (t[1] + 2 t[2]) t[k + 1] / t[k]`` for k = 1, 2, 3, where ``t[k]`` is the
  number of n-grams of the order with adjusted count k (their equation 26). Adjusted counts above 3 have the discount
  ``D[3]``. The counts of counts ``t`` are taken before pruning.
- The probability is ``p(w | c) = u(w | c) + g(c) p(w | c')`` with ``u(w | c) = (a(c w) - D[a(c w)]) / sum_x a(c x)``.
  Here ``c'`` is the context ``c`` without its first word, and ``g(c)`` is the mass of the discounts and of the pruned
  n-grams, divided by the same sum. Unigrams are interpolated with the uniform distribution over the vocabulary, which
  contains ``<unk>`` and ``</s>`` but not ``<s>``.
- An n-gram is pruned if its count in the text, not its adjusted count, is at most the threshold of its order.

All n-grams are counted with one stable sort. A position of the text represents all n-grams that end there. Positions
are sorted by the word at the position, then by the word before it, and so on. This groups equal n-grams of every order,
in the order of their suffixes. The sort takes one counting sort over word ids per order, from the farthest word to the
nearest. Apart from the sorted positions, only the n-grams of two neighbouring orders are in memory at a time, and the
result takes 16 bytes per n-gram.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

UNK, BOS, EOS = 0, 1, 2
SPECIAL = ("<unk>", "<s>", "</s>")
"""First words of every vocabulary, in the order of their ids."""

FALLBACK = (0.5, 1.0, 1.5)
"""Discounts of lmplz with ``--discount_fallback``, for adjusted counts 1, 2, and 3 or more."""


class Ngrams(NamedTuple):
    """N-grams of one order, sorted by their words from last to first.

    Attributes
    ----------
    ends
        Position in the text at which the n-gram ends, int32, shape (n-grams,).
    parents
        Index, among the n-grams of the order below, of the n-gram without its first word, int32, shape (n-grams,).
    log10_prob, log10_backoff
        log10 probability and log10 backoff weight, float32, shape (n-grams,). The weight is 0 in the highest order.
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
        N-grams by order. The index of a unigram is the id of its word.
    discounts
        Discounts of adjusted counts 1, 2, and 3 or more, float32, shape (order, 3).
    counted
        Number of n-grams before pruning, by order.
    fallback
        Orders that use the discounts `FALLBACK`, because their counts of counts do not determine any.
    """

    orders: list[Ngrams]
    discounts: NDArray[np.float32]
    counted: list[int]
    fallback: list[int]


def thresholds(order: int, prune: Sequence[int]) -> list[int]:
    """Return the pruning threshold of every order. The last given threshold also applies to all higher orders.

    Raises
    ------
    ValueError
        If there are more thresholds than orders, they decrease, or the first one is not 0.

    Examples
    --------
    >>> thresholds(5, [0, 0, 1])
    [0, 0, 1, 1, 1]
    """
    prune = list(prune) or [0]
    if len(prune) > order:
        raise ValueError(f"there are {len(prune)} pruning thresholds, but the order is {order}; give at most {order}")
    if prune != sorted(prune) or prune[0] < 0:
        raise ValueError(f"pruning thresholds must not be negative and must not decrease, as {prune} do")
    if prune[0] != 0:
        raise ValueError(f"the first pruning threshold must be 0, not {prune[0]}: unigrams cannot be pruned")
    return prune + [prune[-1]] * (order - len(prune))


def estimate(
    tokens: NDArray[np.int32], vocabulary: int, order: int, prune: Sequence[int] = (), *, fallback: bool = False
) -> EstimatedModel:
    """Estimate a model from tokenized text.

    Parameters
    ----------
    tokens
        Word ids of all sentences, each between `BOS` and `EOS`, shape (positions,).
    vocabulary
        Number of word ids. Every id except those of ``<unk>`` and ``<s>`` must occur in `tokens`.
    order
        Length of the longest n-grams.
    prune
        Pruning thresholds by order, see `thresholds`.
    fallback
        Whether to use `FALLBACK` where the counts of counts do not determine discounts, as in a small text.

    Raises
    ------
    ValueError
        If there is no text or too much of it, the thresholds are invalid, or discounts cannot be determined and
        `fallback` is false.

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
        raise ValueError(f"{len(tokens)} words exceed the maximum of 2^31; train on a sample")
    reach = _reach(tokens, order)
    ranked = _sort(tokens, reach, vocabulary, order)
    shared = _shared(tokens, reach, ranked, order)
    result = EstimatedModel([], np.zeros((order, 3), np.float32), [], [])
    prob = np.zeros(0, np.float32)  # probabilities of the n-grams of the order below
    below = tokens  # for each position, the index of the n-gram of the order below that ends there
    for length in range(1, order + 1):
        groups, group_ids = _groups(tokens, reach, ranked, shared, length, order, vocabulary)
        _set_discounts(result, length, groups.adjusted, fallback=fallback)
        if length == 1:
            prob = _unigrams(groups.adjusted, result.discounts[0])
            words = np.arange(vocabulary, dtype=np.int32)
            result.orders.append(Ngrams(words, np.zeros_like(words), _log10(prob), np.zeros_like(prob)))
            result.counted.append(vocabulary)
            continue
        kept = groups.actual > limits[length - 1]
        ends, parents = np.empty(kept.sum(), np.int32), np.empty(kept.sum(), np.int32)
        gamma, kept_prob = np.ones_like(prob), np.empty(len(ends), np.float32)
        discount = np.append(np.float32(0), result.discounts[length - 1])
        _fill(groups.ends, groups.adjusted, kept, below, prob, discount, gamma, ends, parents, kept_prob)
        prob = kept_prob
        result.orders[-1] = result.orders[-1]._replace(log10_backoff=_log10(gamma))
        result.orders.append(Ngrams(ends, parents, _log10(prob), np.zeros_like(prob)))
        result.counted.append(len(kept))
        index = np.where(kept, np.cumsum(kept, dtype=np.int32) - np.int32(1), np.int32(-1))
        below = _renumber(group_ids, index)
    return result


class _Groups(NamedTuple):
    """Distinct n-grams of one order before pruning: a position where each ends, its count, its adjusted count."""

    ends: NDArray[np.int32]
    actual: NDArray[np.int32]
    adjusted: NDArray[np.int32]


def _set_discounts(result: EstimatedModel, length: int, adjusted: NDArray[np.int32], *, fallback: bool) -> None:
    """Set the discounts of one order from its counts of counts, in single precision like lmplz."""
    counts = np.bincount(adjusted[adjusted < 5], minlength=5).astype(np.float32)
    determined = bool((counts[1:4] > 0).all())
    discounts = np.zeros(3, np.float32)
    if determined:
        k = np.arange(1, 4, dtype=np.float32)
        ratio = counts[1] / (counts[1] + np.float32(2) * counts[2])
        discounts = k - (k + 1) * ratio * counts[2:5] / counts[1:4]
        determined = bool(((discounts >= 0) & (discounts <= k)).all())
    if determined:
        result.discounts[length - 1] = discounts
        return
    if not fallback:
        raise ValueError(
            f"the counts of counts of {length}-grams do not determine discounts: {counts[1:].astype(int).tolist()} "
            f"{length}-grams have adjusted counts 1 to 4; the text is too small or repetitive: deduplicate it, use "
            "more text, or set `discount_fallback: true`"
        )
    result.discounts[length - 1] = FALLBACK
    result.fallback.append(length)


def _unigrams(adjusted: NDArray[np.int32], discounts: NDArray[np.float32]) -> NDArray[np.float32]:
    """Compute word probabilities, interpolated with the uniform distribution. ``<s>``, always given, has 1."""
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
    """Compute log10 of probabilities, at most 0; -99 (as in the ARPA format) for a probability of 0."""
    return np.clip(np.log10(np.maximum(x.astype(np.float64), 1e-99)), -99, 0).astype(np.float32)


@numba.njit(cache=True, nogil=True)
def _reach(tokens, order):
    """Count the words before each position in its sentence, ``<s>`` included, up to `order`."""
    reach = np.empty(len(tokens), np.uint8)
    distance = 0
    for i in range(len(tokens)):
        distance = 0 if tokens[i] == BOS else min(distance + 1, order)
        reach[i] = distance
    return reach


def _sort(tokens: NDArray[np.int32], reach: NDArray[np.uint8], vocabulary: int, order: int) -> NDArray[np.int32]:
    """Sort all positions except those of ``<s>`` by the word there, then the word before it, and so on."""
    ranked = np.flatnonzero(tokens != BOS).astype(np.int32)
    other = np.empty_like(ranked)
    for depth in range(order - 1, -1, -1):
        _sort_by(tokens, reach, depth, vocabulary, ranked, other)
        ranked, other = other, ranked
    return ranked


@numba.njit(cache=True, nogil=True)
def _sort_by(tokens, reach, depth, vocabulary, ranked, out):
    """Sort, stably, by the word `depth` positions before; before the start of a sentence this word is ``<s>``."""
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
    """Find the length of the longest n-gram that ends at both a sorted position and the sorted position before it."""
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
    """Return the distinct n-grams of a length, and the index of the one that ends at each position (-1 if none)."""
    size = vocabulary if length == 1 else _different(reach, ranked, shared, length)
    groups = _Groups(np.zeros(size, np.int32), np.zeros(size, np.int32), np.zeros(size, np.int32))
    group_ids = np.full(0 if length in (1, order) else len(tokens), -1, np.int32)
    _count(tokens, reach, ranked, shared, length, order, *groups, group_ids)
    return groups, group_ids


@numba.njit(cache=True, nogil=True)
def _different(reach, ranked, shared, length):
    count = 0
    for i in range(len(ranked)):
        if shared[i] < length and reach[ranked[i]] + 1 >= length:
            count += 1
    return count


@numba.njit(cache=True, nogil=True)
def _count(tokens, reach, ranked, shared, length, order, ends, actual, adjusted, group_ids):
    group = -1
    for i in range(len(ranked)):
        p = ranked[i]
        if reach[p] + 1 < length:
            continue
        if shared[i] < length:
            group = tokens[p] if length == 1 else group + 1
            ends[group] = p
        actual[group] += 1
        # A continuation is counted once per different preceding word. Nothing precedes <s>.
        if length == order or reach[p] + 1 == length or shared[i] <= length:
            adjusted[group] += 1
        if len(group_ids):
            group_ids[p] = group


@numba.njit(cache=True, nogil=True)
def _renumber(group_ids, index):
    for p in range(len(group_ids)):
        if group_ids[p] >= 0:
            group_ids[p] = index[group_ids[p]]
    return group_ids


@numba.njit(cache=True, nogil=True)
def _fill(group_ends, adjusted, kept, below, prob_below, discount, gamma, ends, parents, prob):
    """Compute the backoff weights of all contexts, then the probabilities of the kept n-grams, in single precision."""
    total = np.zeros(len(gamma), np.int32)
    pruned = np.zeros(len(gamma), np.int32)
    classes = np.zeros((len(gamma), 3), np.int32)
    for g in range(len(group_ends)):
        context = below[group_ends[g] - 1]
        if context < 0:  # the context was pruned, and so were all n-grams that begin with it
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
