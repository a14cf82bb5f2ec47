"""The sample of documents for a classifier: drawn by hashes of ids, split into three parts, and labeled.

The *target* of a document is the probability that it is positive. It is 0 or 1 if the class of the document is known.
fastText supports labels but no weights, so a soft target becomes a random label: positive with the probability of the
target. Then the expected loss is the cross-entropy against the targets (`by_target`). All random decisions are hashes
of the id, so they do not depend on workers, shards or order.
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
from curate.text.batch import TextBatch, string_array
from curate.text.hashing import hash64, id_bytes

Values = NDArray[np.float64]
Flags = NDArray[np.bool_]
Choose = Callable[[pa.RecordBatch, Values], tuple[NDArray[np.int64], Values]]
"""Maps a batch and a uniform random number for each document to the rows that are drawn and their targets."""


class Shown(NamedTuple):
    """Labels, targets and weights of documents for training, shape (documents,) each.

    Attributes
    ----------
    positive, taken
        For a model that only supports labels: the label, and whether to train on the document.
    goal, weight
        For a model that supports soft targets and weights: the probability to learn, and the weight of the document.
    """

    positive: Flags
    taken: Flags
    goal: Values
    weight: Values


Label = Callable[[Values, NDArray[np.uint8]], Shown]
"""Maps targets and ids to labels, targets and weights for training."""

SAMPLED = pa.schema(
    [
        ("priority", pa.uint64()),  # documents with the lowest values are used first
        ("part", pa.int8()),
        ("fold", pa.float64()),  # 0 to 1: splits the training documents for the search for settings
        ("target", pa.float64()),
        ("positive", pa.bool_()),
        ("taken", pa.bool_()),  # whether training uses the document; the other parts use all documents
        ("goal", pa.float64()),
        ("weight", pa.float64()),
        ("line", pa.large_string()),
    ]
)
TRAIN, CALIBRATE, TEST = range(3)
PARTS = (("train", TRAIN), ("calibrate", CALIBRATE), ("test", TEST))
LEAST = 2  # minimum number of documents of each class in each part
ROWS = 8192  # rows in a row group of the gathered sample


def unit(seed: int, salt: str, ids: NDArray[np.uint8]) -> Values:
    """Return a uniform number in [0, 1) for each id, shape (documents,): 53 bits of its hash, so none rounds to 1."""
    return (hash64(seed, salt, ids) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def by_class(target: Values, _: NDArray[np.uint8]) -> Shown:
    """Label documents whose class is known: their target is 0 or 1."""
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
    """Label documents by their probability of being positive.

    Parameters
    ----------
    target, ids
        Probability that a document is positive, shape (documents,), and ids, shape (documents, 16).
    seed
        Seed of the draw.
    likelier
        Whether to use the more likely label instead of drawing it.
    certainty
        Whether a document has the weight ``|2 target - 1|`` instead of 1. Training uses it with this probability, so it
        never uses a target of 0.5.
    weighted
        Whether the model supports weights. Then training uses all documents with a positive weight.

    Returns
    -------
    Shown
        Documents with targets of 0 and 1 get the label of their class and weight 1, and are always used.

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
    """Write the lines of the documents that are drawn from a shard, and return their number.

    Parameters
    ----------
    path
        File to write.
    batches
        Batches of the shard, with at least the columns ``id`` and ``text``.
    seed
        Seed of the draws.
    held_out
        Share of documents that is not trained on: half of it is for calibration, half for measurement.
    reading
        Part of a document that the model reads.
    choose
        Draws documents and sets their targets.
    label
        Sets labels and weights for targets.
    """
    with ParquetWriter(path, SAMPLED) as writer:
        for batch in batches:
            ids = id_bytes(batch.column("id"))
            priority = hash64(seed, "classifier", ids)
            rows, target = choose(batch, priority / 2.0**64)
            text = TextBatch(batch.column("text").take(pa.array(rows)))
            lines, offsets = reading.lines(text.data, text.offsets)
            line = string_array(lines, offsets)
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
    """Merge the samples of all shards in the order of their hashes, without empty lines.

    Parameters
    ----------
    name
        Name of the stage, for messages.
    path
        File to write.
    most
        Maximum number of documents, of each class or in total. Documents with the lowest hashes are used.
    parts
        Files with the samples of the shards.
    each_class
        Whether `most` applies to each class, not to the total.

    Returns
    -------
    dict
        Number of documents in each part by label and, if there are any, of those that training does not use
        (``in_doubt``).

    Raises
    ------
    RunError
        If a part has fewer than `LEAST` documents of a label.
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
    for key, part_counts in counts.items():
        for kind, number in part_counts.items():
            if number < LEAST:
                raise RunError(
                    f"{name}: there are only {number} {kind} documents to {key} with, but at least {LEAST} are needed; "
                    "provide more documents, or change `held_out`"
                )
    if not used.all():
        counts["in_doubt"] = {kind: int((~used & (positive == sign)).sum()) for kind, sign in kinds}
    return counts


def write_lines(path: Path, sample: pa.Table) -> None:
    """Write a file with the label and the line of each document, in fastText's format."""
    with open(path, "wb") as file:
        for batch in sample.to_batches(max_chunksize=1024):
            labels = pa.array([f"{LABEL}{NEGATIVE} ", f"{LABEL}{POSITIVE} "], pa.large_string())
            label = labels.take(batch.column("positive").cast(pa.int8()))
            end, nothing = (pa.scalar(text, pa.large_string()) for text in ("\n", ""))
            lines = pc.call_function("binary_join_element_wise", [label, batch.column("line"), end, nothing])
            file.write("".join(lines.to_pylist()).encode())


def scores(model: str, sample: pa.Table) -> Values:
    """Return a model's probability that each document of the sample is positive, shape (documents,).

    The values are rounded to float32, like the column ``quality_raw``. They are 0.5 for lines without words.
    """
    text = TextBatch(sample.column("line").combine_chunks())
    # The lines of the sample are already normalized.
    probabilities: Any = Classifier(model, Reading(normalize=False)).probabilities(text.data, text.offsets, [POSITIVE])[
        :, 0
    ]
    return np.nan_to_num(probabilities, nan=0.5).astype(np.float32).astype(np.float64)
