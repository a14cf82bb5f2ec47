"""Exact token counts of the kept documents, by a tokenizer that is given or trained on a sample of them."""

from collections.abc import Iterable, Sequence
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from curate import storage
from curate.artifact import Artifact, Shard, Totals, all_kept, file_hash
from curate.config.units import Bytes
from curate.errors import Problem
from curate.mixture.manifest import Sizes, TokensBody
from curate.stage import Known, Stage
from curate.storage import InputPath
from curate.table import ParquetWriter, Table, read_part

if TYPE_CHECKING:
    from curate.engine.context import Context
    from curate.mixture.counting import TokenCounter

TOKENIZER = "tokenizer.json"
SAMPLE = "_sample"
SAMPLED = pa.schema([("priority", pa.float64()), ("chars", pa.int64()), ("text", pa.large_string())])
COLUMNS = pa.schema([("tokens", pa.int32()), ("kept_bytes", pa.int64())])

WINDOW = 1 << 16  # characters that a longer document gives to the sample, being as many times likelier to be in it
SURPLUS = 1.5  # drawn over the rate that the number of kept documents suggests, until their bytes are known


class Tokens(Stage):
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

    tokenizer: InputPath | None = Field(
        default=None, description="path of a Hugging Face tokenizer.json; unless given, a byte-level BPE is trained"
    )
    vocab_size: int = Field(default=16384, ge=257, le=1_000_000, description="tokens of a tokenizer trained here")
    sample_bytes: Bytes = Field(default=8_000_000, description="text that a tokenizer is trained on, about")

    def files(self) -> dict[str, str]:
        """The tokenizer, when it is given."""
        return {"tokenizer": self.tokenizer} if self.tokenizer else {}

    def requires(self) -> tuple[str, ...]:
        """The text, and the decision of `select`."""
        return ("id", "text", "keep")

    def columns(self) -> pa.Schema:
        """``tokens`` and ``kept_bytes``."""
        return COLUMNS

    def check(self, known: Known) -> Iterable[Problem]:
        """A given tokenizer can be read."""
        if self.tokenizer and storage.exists(self.tokenizer):
            from curate.text.tokenizer import parse

            try:
                parse(storage.read_bytes(self.tokenizer).decode())
            except ValueError as error:
                yield Problem(("tokenizer",), f"{self.tokenizer}: {error}")

    def run(self, ctx: "Context") -> TokensBody:
        """Train or copy the tokenizer, then count shard by shard."""
        path = f"{ctx.path}/{TOKENIZER}"
        if self.tokenizer:
            with storage.replacing(path) as file:
                file.write(storage.read_bytes(self.tokenizer))
        else:
            self._train(ctx, path)
        results = ctx.map_shards(partial(_count_shard, ctx.table, ctx.artifact))
        sources = Totals()
        for shard, result in zip(ctx.table.shards, results, strict=True):
            sources.add({shard.source: result})
        counter = _counter(storage.read_bytes(path))
        return {
            "flow": all_kept(ctx.table.shards),
            "sources": sources.counts,
            "tokenizer": {
                "sha256": file_hash(path),
                "vocab_size": counter.vocab_size,
                "trained": self.tokenizer is None,
                "fast": counter.fast,
            },
        }

    def _train(self, ctx: "Context", path: str) -> None:
        """Train on a sample in which every kept character has the same chance to be.

        This is Poisson sampling with probability proportional to size: a document is drawn if a uniform number lies
        below the rate times its length in windows, and gives a window, or its share where that is more.
        """
        folder, shards = f"{ctx.path}/{SAMPLE}", ctx.table.shards
        kept = ctx.map_shards(partial(_kept_shard, ctx.table), phase="kept")
        size = sum(s.text_bytes * part["kept"] / max(s.rows, 1) for s, part in zip(shards, kept, strict=True))
        drawn = SURPLUS * self.sample_bytes / max(size, 1)
        sampled = ctx.map_shards(partial(_sample_shard, ctx.table, folder, drawn), phase="sample")
        rate = min(self.sample_bytes / max(sum(part["bytes"] for part in sampled), 1), drawn)
        parts = [f"{folder}/{shard.name}.parquet" for shard in shards]
        ctx.map(partial(_train_tokenizer, path, rate, self.vocab_size), [parts], phase="train", keys=["train"])
        storage.remove_tree(folder)


@lru_cache(maxsize=1)
def _counter(serialized: bytes) -> "TokenCounter":
    """The tokenizer's counter, one per worker process."""
    from curate.mixture.counting import TokenCounter

    return TokenCounter(serialized.decode())


def _kept_shard(table: Table, shard: Shard) -> dict[str, Any]:
    return {"kept": int(table.read(shard, ["keep"]).column("keep").to_numpy().sum())}


def _sample_shard(table: Table, folder: str, rate: float, shard: Shard) -> dict[str, Any]:
    """Write the documents whose priority, a uniform number over their length in windows, is below `rate`."""
    from curate.text.hashing import hash64, id_bytes

    size = 0
    with ParquetWriter(f"{folder}/{shard.name}.parquet", SAMPLED) as writer:
        for batch in table.batches(shard, ["id", "text", "keep"]):
            batch = batch.filter(batch.column("keep"))
            size += int(_lengths("binary_length", batch.column("text")).sum())
            chars = _lengths("utf8_length", batch.column("text"))
            priority = (
                hash64(0, "tokenizer", id_bytes(batch.column("id"))) / 2.0**64 * WINDOW / np.maximum(chars, WINDOW)
            )
            chosen = np.flatnonzero(priority < rate)
            texts = batch.column("text").take(pa.array(chosen)).to_pylist()
            columns = [priority[chosen], chars[chosen], _heads(texts, chars[chosen], rate)]
            writer.write(pa.table([pa.array(c, f.type) for c, f in zip(columns, SAMPLED, strict=True)], schema=SAMPLED))
    return {"documents": writer.rows, "bytes": size}


def _lengths(kind: str, text: pa.Array) -> np.ndarray:
    """Lengths of texts, in bytes (``binary_length``) or code points (``utf8_length``)."""
    return pc.call_function(kind, [text]).to_numpy().astype(np.int64)


def _heads(texts: Sequence[str], chars: Iterable[int], rate: float) -> list[str]:
    """What documents of some lengths give to a sample of `rate`."""
    return [text[: max(WINDOW, int(rate * length))] for text, length in zip(texts, chars, strict=True)]


def _train_tokenizer(path: str, rate: float, vocab_size: int, parts: Sequence[str]) -> dict[str, Any]:
    """Train on the part of the drawn documents that a sample of `rate` has."""
    from curate.text.tokenizer import train

    sample = pa.concat_tables([SAMPLED.empty_table(), *(read_part(part) for part in parts)])
    sample = sample.filter(pc.field("priority") < rate)
    texts = _heads(sample.column("text").to_pylist(), sample.column("chars").to_pylist(), rate)
    with storage.replacing(path) as file:
        file.write(train(texts, vocab_size).encode())
    return {"documents": len(texts), "bytes": sum(len(text.encode()) for text in texts)}


def _count_shard(table: Table, artifact: Artifact, shard: Shard) -> Sizes:
    counter = _counter(storage.read_bytes(f"{artifact.path}/{TOKENIZER}"))
    totals = np.zeros(3, np.int64)
    with ParquetWriter(artifact.part(shard.name), COLUMNS) as writer:
        for batch in table.batches(shard, ["text", "keep"]):
            keep = batch.column("keep")
            text = batch.column("text").filter(keep)
            tokens, sizes = counter.count(text), _lengths("binary_length", text)
            totals += (len(text), tokens.sum(), sizes.sum())
            kept = keep.to_numpy(zero_copy_only=False)
            place = pa.array(np.cumsum(kept) - 1, mask=~kept)
            columns = [pa.array(tokens).take(place), pa.array(sizes).take(place)]
            writer.write(pa.RecordBatch.from_arrays(columns, schema=COLUMNS))
    documents, tokens, size = totals.tolist()
    return {"documents": documents, "tokens": tokens, "bytes": size}
