"""Length of each document: the weight by which funnels, mixtures and policies count."""

from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.stage import Annotate, Annotator


class Size(Annotator):
    """Bytes and characters of each text.

    Stages that weigh documents bring it with them (`Stage.upstream`); a stanza of its own is not needed.
    """

    stage: Literal["size"] = "size"
    name: str = "size"
    version: ClassVar[int] = 1

    def requires(self) -> tuple[str, ...]:
        """The text."""
        return ("text",)

    def columns(self) -> pa.Schema:
        """``text_bytes`` of UTF-8, and ``text_chars``, Unicode code points."""
        return pa.schema([("text_bytes", pa.int64()), ("text_chars", pa.int64())])

    def load(self) -> Annotate:
        """Lengths from the offsets; code points counted by Arrow."""
        schema = self.columns()

        def annotate(text, columns):
            lengths = np.diff(text.offsets)
            chars = pc.utf8_length(text.text).cast(pa.int64())  # type: ignore[attr-defined]
            return pa.RecordBatch.from_arrays([pa.array(lengths), chars], schema=schema)

        return annotate
