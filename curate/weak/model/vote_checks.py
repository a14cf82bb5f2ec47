"""Validate the arguments of a vote state, and report all problems in one error."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from curate.weak.model.rows import hashed

MAX_BUCKETS = 126


@dataclass(frozen=True)
class Checked:
    """Validated arguments of `VoteState.count`, converted to the types of the state."""

    votes: NDArray[np.int8]
    names: tuple[str, ...]
    ordered: tuple[int, ...]
    keys: NDArray[np.uint64]
    gold: NDArray[np.int8] | None
    gold_weights: NDArray[np.float64] | None
    slices: dict[str, NDArray[np.bool_]]


def complain(problems: Sequence[str]) -> None:
    """Raise ValueError with all problems, if there are any."""
    if problems:
        raise ValueError("\n".join(problems))


def checked(
    votes: ArrayLike,
    n_classes: int,
    ordered: Sequence[int] | None,
    keys: ArrayLike | None,
    gold: ArrayLike | None,
    gold_weights: ArrayLike | None,
    names: Sequence[str] | None,
    slices: Mapping[str, ArrayLike] | None,
    seed: int = 0,
) -> Checked:
    """Validate and convert the arguments of `VoteState.count`.

    Raises
    ------
    ValueError
        Some arguments are invalid. The message lists all problems, one per line.

    Examples
    --------
    >>> checked([[0.5, 1.0]], 1, None, None, [3], None, ["a", "a"], None)
    Traceback (most recent call last):
    ValueError: n_classes is 1: it must be 2 to 126
    votes have type float64: give integers, with -1 where a function abstains and -2 where it was not asked
    the function name 'a' occurs more than once
    """
    problems: list[str] = []
    if not 2 <= n_classes <= MAX_BUCKETS:
        problems.append(f"n_classes is {n_classes}: it must be 2 to {MAX_BUCKETS}")
    matrix = _matrix(votes, problems)
    n, m = matrix.shape if matrix is not None else (0, len(names) if names is not None else 0)
    function_names = tuple(f"f{j}" for j in range(m)) if names is None else tuple(map(str, names))
    problems += [
        f"the function name {name!r} occurs more than once"
        for name in sorted(set(function_names))
        if function_names.count(name) > 1
    ]
    buckets = (0,) * m if ordered is None else tuple(map(int, ordered))
    for argument, values in (("names", function_names), ("ordered", buckets)):
        if len(values) != m:
            problems.append(f"{argument} has {len(values)} values for {m} functions")
    problems += _ordered_problems(function_names, buckets, n_classes)
    complain(problems)
    assert matrix is not None
    problems += code_problems(matrix, function_names, buckets, n_classes)
    labels = _labels(gold, n, n_classes, problems)
    weights = _weights(gold_weights, labels, n, problems)
    row_keys = _keys(keys, n, seed, problems)
    masks = {str(name): _mask(name, mask, n, problems) for name, mask in (slices or {}).items()}
    complain(problems)
    return Checked(matrix.astype(np.int8, copy=False), function_names, buckets, row_keys, labels, weights, masks)


def _matrix(votes: ArrayLike, problems: list[str]) -> NDArray[Any] | None:
    matrix = np.asarray(votes)
    if not np.issubdtype(matrix.dtype, np.integer):
        advice = "give integers, with -1 where a function abstains and -2 where it was not asked"
        problems.append(f"votes have type {matrix.dtype}: {advice}")
    elif matrix.ndim != 2:
        problems.append(f"votes have shape {matrix.shape}: it must be (documents, functions)")
    elif matrix.shape[1] == 0:
        problems.append("votes have no column: there must be at least one function")
    else:
        return matrix
    return None


def _ordered_problems(names: Sequence[str], ordered: Sequence[int], n_classes: int) -> list[str]:
    problems = [
        f"function {name!r} has {buckets} buckets: it must have 2 to {MAX_BUCKETS}, or 0 if it votes for classes"
        for name, buckets in zip(names, ordered, strict=False)
        if buckets != 0 and not 2 <= buckets <= MAX_BUCKETS
    ]
    if any(ordered) and n_classes != 2:
        problems.append(f"ordered functions need 2 classes, but n_classes is {n_classes}")
    return problems


def code_problems(matrix: NDArray[Any], names: Sequence[str], ordered: Sequence[int], n_classes: int) -> list[str]:
    """List the functions that have invalid codes, one message for each function."""
    if not len(matrix):
        return []
    if matrix.min() >= -2 and matrix.max() < min(o or n_classes for o in ordered):  # ten times as fast as by columns
        return []
    low, high = matrix.min(axis=0).tolist(), matrix.max(axis=0).tolist()
    return [
        f"function {name!r} has codes from {a} to {b}: they must be -2 (not asked), -1 (abstain) or 0 to {last}"
        for name, a, b, last in zip(names, low, high, ((o or n_classes) - 1 for o in ordered), strict=True)
        if a < -2 or b > last
    ]


def _labels(gold: ArrayLike | None, n: int, n_classes: int, problems: list[str]) -> NDArray[np.int8] | None:
    if gold is None:
        return None
    labels = np.asarray(gold)
    if labels.shape != (n,):
        problems.append(f"gold has shape {labels.shape}: it must be ({n},)")
    elif n and not np.issubdtype(labels.dtype, np.integer):
        problems.append(f"gold has type {labels.dtype}: give integers, with -1 where the class is unknown")
    elif n and not (labels.min() >= -1 and labels.max() < n_classes):
        problems.append(f"gold has values from {labels.min()} to {labels.max()}: they must be -1 to {n_classes - 1}")
    else:
        return labels.astype(np.int8)
    return None


def _weights(
    weights: ArrayLike | None, labels: NDArray[np.int8] | None, n: int, problems: list[str]
) -> NDArray[np.float64] | None:
    if weights is None:
        return None
    values = np.asarray(weights, np.float64)
    if values.shape != (n,):
        problems.append(f"gold_weights has shape {values.shape}: it must be ({n},)")
        return None
    used = values[labels >= 0] if labels is not None else values[:0]
    if not (np.isfinite(used).all() and (used > 0).all()):
        problems.append("gold_weights must be finite and above 0 for every document with a gold label")
    return values


def _keys(keys: ArrayLike | None, n: int, seed: int, problems: list[str]) -> NDArray[np.uint64]:
    if keys is None:
        return hashed(np.arange(n, dtype=np.uint64), seed)
    values = np.asarray(keys)
    if values.shape != (n,) or (n and not np.issubdtype(values.dtype, np.integer)):
        problems.append(
            f"keys have type {values.dtype} and shape {values.shape}: they must be unsigned integers of shape ({n},)"
        )
        return np.zeros(n, np.uint64)
    return values.astype(np.uint64)


def _mask(name: str, mask: ArrayLike, n: int, problems: list[str]) -> NDArray[np.bool_]:
    values = np.asarray(mask)
    if values.shape != (n,) or values.dtype != np.bool_:
        problems.append(
            f"slice {name!r} has type {values.dtype} and shape {values.shape}: it must be a bool mask of shape ({n},)"
        )
        return np.zeros(n, bool)
    return values
