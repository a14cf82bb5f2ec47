"""Exact token counts of the kept documents, by a tokenizer that is given or trained on a sample of them."""

from collections.abc import Iterable, Sequence
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from curate import storage
from curate.artifact import Artifact, Shard, Totals, file_hash
from curate.errors import Problem
from curate.stage import Known, Stage
from curate.table import ParquetWriter, Table, read_part
from curate.units import Bytes

if TYPE_CHECKING:
    from curate.engine.context import Context
    from curate.models.tokenizer import TokenCounter

TOKENIZER = "tokenizer.json"
SAMPLE = "_sample"
SAMPLED = pa.schema([("priority", pa.float64()), ("id", pa.binary(16)), ("text", pa.large_string())])
COLUMNS = pa.schema([("tokens", pa.int32()), ("kept_bytes", pa.int64())])

WINDOW = 1 << 16  # characters of one document in the sample; a longer one is as many times likelier to be in it
SURPLUS = 1.25  # drawn over the budget, so that chance and a rough estimate of the total rarely leave it unfilled


class Tokens(Stage, frozen=True):
    """Count the tokens and bytes of every kept document; the others get null.

    Writes ``tokens`` and ``kept_bytes`` (of UTF-8), and keeps the tokenizer as ``tokenizer.json``. A count is of the
    text alone: no token for the start or end of a document is in it, and special tokens that are written out in a text
    count as the ordinary characters they are made of.

    Examples
    --------
    >>> Tokens(vocab_size=32768).columns().names
    ['tokens', 'kept_bytes']
    """

    stage: Literal["tokens"] = "tokens"
    version: ClassVar[int] = 1

    tokenizer: str | None = Field(
        default=None, description="path of a Hugging Face tokenizer.json; unless given, a byte-level BPE is trained"
    )
    vocab_size: int = Field(default=16384, ge=257, le=1_000_000, description="tokens of a tokenizer trained here")
    sample_bytes: Bytes = Field(default=8_000_000, description="text that a tokenizer is trained on")

    def files(self) -> dict[str, str]:
        """The tokenizer, when it is given."""
        return {"tokenizer": self.tokenizer} if self.tokenizer else {}

    def requires(self) -> tuple[str, ...]:
        """The text, and the decision of `select`."""
        return ("id", "text", "keep")

    def columns(self) -> pa.Schema:
        """``tokens`` and ``kept_bytes``."""
        return COLUMNS

    def check(self, known: Known) -> Iterable[Problem]:  # noqa: ARG002
        """A given tokenizer can be read."""
        if self.tokenizer and storage.exists(self.tokenizer):
            from curate.models.tokenizer import parse

            try:
                parse(_read(self.tokenizer).decode())
            except ValueError as error:
                yield Problem(("tokenizer",), f"{self.tokenizer}: {error}")

    def run(self, ctx: "Context") -> dict[str, Any]:
        """Train or copy the tokenizer, then count shard by shard."""
        path = f"{ctx.path}/{TOKENIZER}"
        if self.tokenizer:
            with storage.replacing(path) as file:
                file.write(_read(self.tokenizer))
        else:
            self._train(ctx, path)
        results = ctx.map_shards(partial(_count_shard, ctx.table, ctx.artifact))
        sources: dict[str, Totals] = {}
        for shard, result in zip(ctx.table.shards, results, strict=True):
            sources.setdefault(shard.source, Totals()).add({"rows": shard.rows, **result})
        rows = {source: totals.counts.pop("rows") for source, totals in sources.items()}
        counter = _counter(_read(path))
        return {
            "flow": {s: {"in": n, "kept": n, "dropped": {}, "quarantined": {}} for s, n in rows.items()},
            "sources": {source: totals.counts for source, totals in sources.items()},
            "tokenizer": {
                "sha256": file_hash(path),
                "vocab_size": counter.vocab_size,
                "trained": self.tokenizer is None,
                "fast": counter.fast,
            },
        }

    def _train(self, ctx: "Context", path: str) -> None:
        """Train on a sample in which every kept character has the same chance to be.

        This is sequential Poisson sampling (Ohlsson 1998, Journal of Official Statistics 14:149): documents in order
        of a uniform number over their length, up to the budget.
        """
        folder = f"{ctx.path}/{SAMPLE}"
        kept = ctx.map_shards(partial(_kept_shard, ctx.table), phase="kept")
        shards = ctx.table.shards
        text = sum(s.text_bytes * part["kept"] / max(s.rows, 1) for s, part in zip(shards, kept, strict=True))
        rate = SURPLUS * self.sample_bytes / max(text, 1)
        ctx.map_shards(partial(_sample_shard, ctx.table, folder, rate), phase="sample")
        parts = [f"{folder}/{shard.name}.parquet" for shard in shards]
        train = partial(_train_tokenizer, parts, path, self.sample_bytes, self.vocab_size)
        ctx.map(train, [TOKENIZER], phase="train", keys=["train"])
        storage.remove_tree(folder)


def _read(path: str) -> bytes:
    fs, inner = storage.filesystem(path)
    return fs.cat_file(inner)


@lru_cache(maxsize=1)
def _counter(serialized: bytes) -> "TokenCounter":
    """The tokenizer's counter, one per worker process."""
    from curate.models.tokenizer import TokenCounter

    return TokenCounter(serialized.decode())


def _kept_shard(table: Table, shard: Shard) -> dict[str, Any]:
    return {"kept": int(table.read(shard, ["keep"]).column("keep").to_numpy().sum())}


def _sample_shard(table: Table, folder: str, rate: float, shard: Shard) -> dict[str, Any]:
    """Write the documents whose priority, a uniform number over their length in windows, is below `rate`."""
    from curate.models.budget import id_bytes
    from curate.text.hashing import hash64

    with ParquetWriter(f"{folder}/{shard.name}.parquet", SAMPLED) as writer:
        for batch in table.batches(shard, ["id", "text", "keep"]):
            uniform = hash64(0, "tokenizer", id_bytes(batch.column("id"))) / 2.0**64
            lengths = pc.utf8_length(batch.column("text")).to_numpy()
            priority = uniform * WINDOW / np.maximum(lengths, WINDOW)
            chosen = pa.array(np.flatnonzero((priority < rate) & batch.column("keep").to_numpy(zero_copy_only=False)))
            text = pc.utf8_slice_codeunits(batch.column("text").take(chosen), 0, WINDOW)
            columns = [pa.array(priority).take(chosen), batch.column("id").take(chosen), text]
            writer.write(pa.RecordBatch.from_arrays(columns, schema=SAMPLED))
    return {"sampled": writer.rows}


def _train_tokenizer(parts: Sequence[str], path: str, sample_bytes: int, vocab_size: int, _: str) -> dict[str, Any]:
    """Train on the sampled documents of lowest priority that fit into `sample_bytes`."""
    from curate.models.tokenizer import train

    sample = pa.concat_tables([SAMPLED.empty_table(), *(read_part(part) for part in parts)])
    sample = sample.sort_by([("priority", "ascending"), ("id", "ascending")])
    sizes = pc.binary_length(sample.column("text")).to_numpy()
    taken = max(int(np.searchsorted(np.cumsum(sizes), sample_bytes, side="right")), 1)
    serialized = train(sample.column("text").slice(0, taken).to_pylist(), vocab_size)
    with storage.replacing(path) as file:
        file.write(serialized.encode())
    return {"documents": taken, "bytes": int(sizes[:taken].sum())}


def _count_shard(table: Table, artifact: Artifact, shard: Shard) -> dict[str, Any]:
    counter = _counter(_read(f"{artifact.path}/{TOKENIZER}"))
    totals = np.zeros(3, np.int64)
    with ParquetWriter(artifact.part(shard.name), COLUMNS) as writer:
        for batch in table.batches(shard, ["text", "keep"]):
            keep = batch.column("keep")
            text = batch.column("text").filter(keep)
            tokens, sizes = counter.count(text), pc.binary_length(text)
            totals += (len(text), tokens.sum(), pc.sum(sizes).as_py() or 0)
            kept = keep.to_numpy(zero_copy_only=False)
            place = pa.array(np.cumsum(kept) - 1, mask=~kept)
            columns = [pa.array(tokens).take(place), sizes.take(place)]
            writer.write(pa.RecordBatch.from_arrays(columns, schema=COLUMNS))
    documents, tokens, size = totals.tolist()
    return {"documents": documents, "tokens": tokens, "bytes": size}
