"""Joint counts of categorical outcomes by bit columns: 64 documents per word, one `and` and one population count.

For a block of documents each outcome of each function is a column of bits. The joint count of two outcomes is the
number of bits set in both columns. Two more columns mark the documents on which two functions voted and those on which
votes differ. All counts are integers, so their sums do not depend on how documents are cut into blocks or shards.
"""

from typing import Any

import numba
import numpy as np
from numba import types
from numba.core.extending import intrinsic
from numpy.typing import NDArray

BLOCK = 1 << 16  # documents at a time: 8 kB per column, so that 100 columns fit into a core's L2 cache

Counts = NDArray[np.int64]


def _population(typingctx, word):
    """The processor's population count, for which numba has no function."""

    def codegen(context, builder, signature, args):
        return builder.ctpop(args[0])

    return types.uint64(types.uint64), codegen


_bits_set: Any = intrinsic(_population)


@numba.njit(cache=True, nogil=True)
def _pack(votes, offsets, columns):
    """Set bit r in the column of each outcome in row r of `votes`; -2 (not asked) sets no bit."""
    columns[:] = 0
    for word in range((len(votes) + 63) // 64):
        start = word * 64
        for j in range(votes.shape[1]):
            for r in range(min(64, len(votes) - start)):
                code = votes[start + r, j]
                if code >= -1:
                    columns[offsets[j] + code + 1, word] |= np.uint64(1) << np.uint64(r)


@numba.njit(cache=True, nogil=True)
def _meet(columns, function_of, words, moments):
    """Add the joint counts to the upper triangle of `moments`; two outcomes of one function never occur together."""
    for a in range(len(columns)):
        for b in range(a, len(columns)):
            if a == b or function_of[a] != function_of[b]:
                total = np.uint64(0)
                for word in range(words):
                    total += _bits_set(columns[a, word] & columns[b, word])
                moments[a, b] += np.int64(total)


@numba.njit(cache=True, nogil=True)
def _agreements(columns, offsets, voting, n_classes, words, overlapped, conflicted, unanimous):
    """Add each function's documents on which another one voted too, and those on which votes differ.

    `unanimous` counts the documents whose votes are all for one class; its last entry counts those with any vote.
    """
    classes = np.empty(n_classes, np.uint64)
    for word in range(words):
        classes[:] = 0
        once, twice, mixed, any_class = np.uint64(0), np.uint64(0), np.uint64(0), np.uint64(0)
        for j in range(len(voting)):
            if voting[j]:
                voted = np.uint64(0)
                for c in range(n_classes):
                    bits = columns[offsets[j] + 1 + c, word]
                    voted |= bits
                    classes[c] |= bits
                twice |= once & voted
                once |= voted
        for c in range(n_classes):
            mixed |= any_class & classes[c]
            any_class |= classes[c]
        for c in range(n_classes):
            unanimous[c] += np.int64(_bits_set(classes[c] & ~mixed))
        unanimous[n_classes] += np.int64(_bits_set(once))
        for j in range(len(voting)):
            cast = np.uint64(0)
            for column in range(offsets[j] + 1, offsets[j + 1]):
                cast |= columns[column, word]
            others = twice if voting[j] else once
            overlapped[j] += np.int64(_bits_set(cast & others))
            if voting[j]:
                conflicted[j] += np.int64(_bits_set(cast & mixed))


def count(
    votes: NDArray[np.int8], offsets: Counts, function_of: Counts, voting: NDArray[np.bool_], n_classes: int
) -> tuple[Counts, Counts, Counts, Counts]:
    """Count how often outcomes occur together, and where votes overlap and conflict.

    Parameters
    ----------
    votes
        Shape (documents, functions): -2 not asked, -1 abstain, else a code.
    offsets
        Shape (functions + 1,): position of each function's first outcome, which is its abstention.
    function_of
        Shape (outcomes,): position of the function that each outcome belongs to.
    voting
        Shape (functions,): whether a function's codes are classes. Codes of other functions are not votes for a class.
    n_classes
        Number of classes.

    Returns
    -------
    tuple
        ``moments`` (outcomes, outcomes), symmetric, with the counts of the outcomes on its diagonal; ``overlapped`` and
        ``conflicted`` (functions,); ``unanimous`` (classes + 1,), documents whose votes are all for one class, and last
        the documents without a vote.

    Examples
    --------
    >>> offsets, function_of, voting = np.array([0, 3, 6]), np.array([0, 0, 0, 1, 1, 1]), np.array([True, True])
    >>> votes = np.array([[1, 1], [0, 1], [-1, 0]], np.int8)
    >>> moments, overlapped, conflicted, unanimous = count(votes, offsets, function_of, voting, 2)
    >>> np.diag(moments).tolist(), overlapped.tolist(), conflicted.tolist(), unanimous.tolist()
    ([1, 1, 1, 0, 1, 2], [2, 2], [1, 1], [1, 1, 0])
    """
    outcomes, functions = int(offsets[-1]), len(voting)
    moments = np.zeros((outcomes, outcomes), np.int64)
    overlapped, conflicted = np.zeros(functions, np.int64), np.zeros(functions, np.int64)
    unanimous = np.zeros(n_classes + 1, np.int64)
    columns = np.zeros((outcomes, BLOCK // 64), np.uint64)
    for start in range(0, len(votes), BLOCK):
        block = np.ascontiguousarray(votes[start : start + BLOCK], np.int8)
        words = (len(block) + 63) // 64
        _pack(block, offsets, columns)
        _meet(columns, function_of, words, moments)
        _agreements(columns, offsets, voting, n_classes, words, overlapped, conflicted, unanimous)
    unanimous[n_classes] = len(votes) - unanimous[n_classes]
    return moments + np.triu(moments, 1).T, overlapped, conflicted, unanimous
