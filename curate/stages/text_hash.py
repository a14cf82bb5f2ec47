"""Hash of each document's text, by which `exact` finds equal documents."""

from typing import ClassVar, Literal

import pyarrow as pa
from pydantic import Field

from curate.stage import Annotate, Annotator


class TextHash(Annotator):
    """128-bit hash of each text; equal hashes stand for equal texts.

    Examples
    --------
    >>> TextHash().columns().names, TextHash(by="raw").columns().names
    (['text_hash'], ['raw_hash'])
    """

    stage: Literal["text_hash"] = "text_hash"
    version: ClassVar[int] = 1

    by: Literal["normalized", "raw"] = Field(
        default="normalized",
        description="what is equal in equal documents: their lower-cased words (normalized), or every byte (raw)",
    )

    @property
    def column(self) -> str:
        """Name of the column: ``text_hash``, or ``raw_hash`` of the bytes."""
        return "raw_hash" if self.by == "raw" else "text_hash"

    def requires(self) -> tuple[str, ...]:
        """The text."""
        return ("text",)

    def columns(self) -> pa.Schema:
        """16 bytes, the high half of the hash first."""
        return pa.schema([pa.field(self.column, pa.binary(16), nullable=False)])

    def load(self) -> Annotate:
        """Hashes of words that the pass over the text has found, or of the bytes."""
        from curate.text.hashing import normalized_hash, raw_hash

        schema, raw = self.columns(), self.by == "raw"

        def annotate(text, columns):
            hashes = raw_hash(text.data, text.offsets) if raw else normalized_hash(text.data, text.offsets, text.words)
            buffer = pa.py_buffer(hashes.astype(">u8").tobytes())
            return pa.RecordBatch.from_arrays(
                [pa.Array.from_buffers(pa.binary(16), len(text), [None, buffer])], schema=schema
            )

        return annotate
