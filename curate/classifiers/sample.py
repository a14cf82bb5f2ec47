"""The sample of documents that a classifier learns from: drawn by hashes of ids, held in three parts, labelled.

A document has a *target*, the probability that it is positive; where its class is known, that is 0 or 1. fastText knows
labels and no weights, so a soft target becomes a label by chance: positive with the probability of the target, which
makes the expected loss the cross-entropy against the targets (`by_target`). All chance is a hash of the id: it depends
on no worker, shard or order.
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate.classifiers.classifier import NEGATIVE, POSITIVE, Classifier, Reading
from curate.classifiers.linear import LABEL
from curate.errors import RunError
from curate.table import ParquetWriter, read_part
from curate.text.batch import TextBatch
from curate.text.hashing import hash64, id_bytes

Values = NDArray[np.float64]
Flags = NDArray[np.bool_]
Choose = Callable[[pa.RecordBatch, Values], tuple[NDArray[np.int64], Values]]
"""A batch and its documents' places in the draw, 0 to 1, in; rows that are drawn and their targets out."""


class Shown(NamedTuple):
    """What training is shown of documents.

    Attributes
    ----------
    positive, taken
        For a model that knows labels alone: the label, and whether the document is trained on, shape (documents,).
    goal, weight
        For a model that knows more: the probability that is to be learned, and what the document weighs.
    """

    positive: Flags
    taken: Flags
    goal: Values
    weight: Values


Label = Callable[[Values, NDArray[np.uint8]], Shown]
"""Targets and ids in, what training is shown out."""

SAMPLED = pa.schema(
    [
        ("priority", pa.uint64()),  # documents of the lowest come first
        ("part", pa.int8()),
        ("fold", pa.float64()),  # 0 to 1: splits the training documents again, to choose settings
        ("target", pa.float64()),
        ("positive", pa.bool_()),
        ("taken", pa.bool_()),  # by training; the other parts take every document
        ("goal", pa.float64()),
        ("weight", pa.float64()),
        ("line", pa.large_string()),
    ]
)
TRAIN, CALIBRATE, TEST = range(3)
PARTS = (("train", TRAIN), ("calibrate", CALIBRATE), ("test", TEST))
LEAST = 2  # documents of each class that each part needs
ROWS = 8192  # of a row group of the gathered sample


def unit(seed: int, salt: str, ids: NDArray[np.uint8]) -> Values:
    """A number in [0, 1) for each id, shape (documents,): 53 bits of its hash, so that none rounds to 1."""
    return (hash64(seed, salt, ids) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def by_class(target: Values, _: NDArray[np.uint8]) -> Shown:
    """Labels of documents whose class is known."""
    return Shown(target == 1, np.ones(len(target), bool), target, np.ones(len(target)))


def by_target(
    target: Values,
    ids: NDArray[np.uint8],
    seed: int,
    *,
    likelier: bool = False,
    certainty: bool = False,
    weighted: bool = False,
) -> Shown:
    """Labels of documents that have the probability of one.

    Parameters
    ----------
    target, ids
        Probability that a document is positive, shape (documents,), and ids, shape (documents, 16).
    seed
        Of the draw.
    likelier
        The label is the likelier one, not drawn.
    certainty
        A document weighs ``|2 target - 1|``: training takes it with this probability, so that one of 0.5 never is.
    weighted
        The model knows weights: it takes all documents that weigh anything.

    Returns
    -------
    Shown
        Targets of 0 and 1 are certain: they are labelled by their class, taken, and weigh 1.

    Examples
    --------
    >>> ids = np.arange(48, dtype=np.uint8).reshape(3, 16)
    >>> by_target(np.array([0.0, 1.0, 0.5]), ids, 0, certainty=True).taken.tolist()
    [True, True, False]
    """
    positive = target >= 0.5 if likelier else unit(seed, "classifier/label", ids) < target
    weight = np.abs(2 * target - 1) if certainty else np.ones(len(target))
    taken = weight > 0 if weighted else unit(seed, "classifier/certainty", ids) < weight
    return Shown(positive, taken, positive.astype(np.float64) if likelier else target, weight)


def write_sample(
    path: str,
    batches: Iterable[pa.RecordBatch],
    seed: int,
    held_out: float,
    reading: Reading,
    choose: Choose,
    label: Label = by_class,
) -> int:
    """Write the lines of the documents of a shard that are drawn; returns how many there are.

    Parameters
    ----------
    path
        Where the sample goes.
    batches
        Of a shard, with ``id`` and ``text`` among the columns.
    seed
        Of the draws.
    held_out
        Share that is not trained on: half of it calibrates, half measures.
    reading
        What of a document the model is shown.
    choose, label
        Which documents are drawn with which target, and what label a target becomes.
    """
    with ParquetWriter(path, SAMPLED) as writer:
        for batch in batches:
            ids = id_bytes(batch.column("id"))
            priority = hash64(seed, "classifier", ids)
            rows, target = choose(batch, priority / 2.0**64)
            text = TextBatch(batch.column("text").take(pa.array(rows)))
            lines, offsets = reading.lines(text.data, text.offsets)
            line = pa.LargeStringArray.from_buffers(len(rows), pa.py_buffer(offsets), pa.py_buffer(lines))
            ids = ids[rows]
            share = hash64(seed, "classifier/held_out", ids) / 2.0**64
            part = np.where(share >= held_out, TRAIN, np.where(share >= held_out / 2, CALIBRATE, TEST))
            fold = unit(seed, "classifier/fold", ids)
            columns = [priority[rows], part.astype(np.int8), fold, target, *label(target, ids), line]
            writer.write(pa.table([pa.array(column) for column in columns], schema=SAMPLED))
    return writer.rows


def gather(
    name: str, path: str, most: int, parts: Sequence[str], *, each_class: bool = True
) -> dict[str, dict[str, int]]:
    """Bring the sample of all shards together, in the order of its hash, without lines that are empty.

    Parameters
    ----------
    name
        Of the stage, for messages.
    path
        Where the whole sample goes.
    most
        Documents of each class, or of all if `each_class` is false: those of the lowest hash.
    parts
        Samples of the shards.

    Returns
    -------
    dict
        Documents of each part by label, and of those that training does not take (``in_doubt``), if there are any.

    Raises
    ------
    RunError
        A part has fewer than `LEAST` documents of a label.
    """
    sample = pa.concat_tables([SAMPLED.empty_table(), *(read_part(part) for part in parts)])
    sample = sample.filter(pc.field("line") != "")
    sample = sample.take(np.argsort(sample.column("priority").to_numpy(), kind="stable"))
    positive = sample.column("positive").to_numpy()
    rank = np.where(positive, np.cumsum(positive), np.cumsum(~positive)) if each_class else np.arange(len(sample)) + 1
    sample = sample.filter(pa.array(rank <= most))
    counts = _counts(name, sample)
    with ParquetWriter(path, SAMPLED) as writer:
        for start in range(0, len(sample), ROWS):
            writer.write(sample.slice(start, ROWS))
    return counts


def _counts(name: str, sample: pa.Table) -> dict[str, dict[str, int]]:
    part, positive, taken = (sample.column(key).to_numpy() for key in ("part", "positive", "taken"))
    used = taken | (part != TRAIN)
    kinds = (("positive", True), ("negative", False))
    counts = {
        key: {kind: int((used & (part == number) & (positive == sign)).sum()) for kind, sign in kinds}
        for key, number in PARTS
    }
    for key, found in counts.items():
        for kind, number in found.items():
            if number < LEAST:
                raise RunError(
                    f"{name}: only {number} {kind} documents to {key} with, at least {LEAST} are needed; give it more "
                    "documents, or change `held_out`"
                )
    if not used.all():
        counts["in_doubt"] = {kind: int((~used & (positive == sign)).sum()) for kind, sign in kinds}
    return counts


def write_lines(path: Path, sample: pa.Table) -> None:
    """Write a label and a line per document, as fastText reads them."""
    with open(path, "wb") as file:
        for batch in sample.to_batches(max_chunksize=1024):
            labels = pa.array([f"{LABEL}{NEGATIVE} ", f"{LABEL}{POSITIVE} "], pa.large_string())
            label = labels.take(batch.column("positive").cast(pa.int8()))
            end, nothing = (pa.scalar(text, pa.large_string()) for text in ("\n", ""))
            lines = pc.call_function("binary_join_element_wise", [label, batch.column("line"), end, nothing])
            file.write("".join(lines.to_pylist()).encode())


def scores(model: str, sample: pa.Table) -> Values:
    """What a model gives each document of the sample, as `quality_raw` has it, shape (documents,).

    0.5 where the model has no answer.
    """
    text = TextBatch(sample.column("line").combine_chunks())
    # The lines are normalized already.
    found: Any = Classifier(model, Reading(normalize=False)).probabilities(text.data, text.offsets, [POSITIVE])[:, 0]
    return np.nan_to_num(found, nan=0.5).astype(np.float32).astype(np.float64)
