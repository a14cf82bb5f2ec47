"""Annotator `information`: how much a document says by itself, whatever the rest of the corpus says.

The columns are measurements of one document; what of it is new given others is accounted for elsewhere. Definitions,
units and limits are written down in ``docs/signals.md``.
"""

from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from curate.stage import Annotate, Annotator

if TYPE_CHECKING:
    from curate.text.batch import TextBatch


class Information(Annotator):
    """Entropy of a document's bytes and words, and its compressed size.

    Examples
    --------
    >>> Information(zstd_level=9).columns().names
    ['info_byte_entropy', 'info_words', 'info_distinct_words', 'info_word_entropy', 'info_zstd_ratio']
    """

    stage: Literal["information"] = "information"
    version: ClassVar[int] = 1

    zstd_level: int = Field(
        default=3, ge=1, le=19, description="zstd compression level: higher finds more repetition and takes longer"
    )

    def identity(self) -> dict[str, Any]:
        """The fields, and the compressor's version: another one gives other sizes."""
        import zstandard

        return super().identity() | {"zstd": ".".join(map(str, zstandard.ZSTD_VERSION))}

    def requires(self) -> tuple[str, ...]:
        """The text."""
        return ("text",)

    def columns(self) -> pa.Schema:
        """Bits per byte, counts, bits per word, compressed bytes per byte; null where there is nothing to divide by."""
        return pa.schema(
            [
                ("info_byte_entropy", pa.float64()),
                ("info_words", pa.int32()),
                ("info_distinct_words", pa.int32()),
                ("info_word_entropy", pa.float64()),
                ("info_zstd_ratio", pa.float64()),
            ]
        )

    def load(self) -> Annotate:
        """Import the kernels."""
        from curate.signals.entropy import byte_entropy, compressed_sizes, word_entropy

        schema = self.columns()

        def annotate(batch: "TextBatch", _: pa.RecordBatch) -> pa.RecordBatch:
            entropy, distinct = word_entropy(batch.words.hashes, batch.words.offsets)
            sizes = np.diff(batch.offsets)
            compressed = compressed_sizes(batch.data, batch.offsets, self.zstd_level)
            values = {
                "info_byte_entropy": byte_entropy(batch.data, batch.offsets),
                "info_words": np.diff(batch.words.offsets),
                "info_distinct_words": distinct,
                "info_word_entropy": entropy,
                "info_zstd_ratio": np.divide(compressed, sizes, out=np.full(len(sizes), np.nan), where=sizes > 0),
            }
            # NaN, a ratio of nothing, becomes null.
            arrays = [pa.array(values[field.name], field.type, from_pandas=True) for field in schema]
            return pa.RecordBatch.from_arrays(arrays, schema=schema)

        return annotate
