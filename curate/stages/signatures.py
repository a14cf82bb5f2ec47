"""MinHash signature of each document, by whose bands `minhash` finds near-duplicates."""

from typing import ClassVar, Literal

import pyarrow as pa
from pydantic import Field

from curate.dedup.clusters import Ngram, Seed, Shingling, Unit
from curate.stage import Annotate, Annotator


class Signatures(Annotator):
    """MinHash signature of each document's set of n-grams.

    The seed is a field and not the run's, so that another sample of the same corpus does not read the text again, and
    that signatures of several runs can be compared.

    Examples
    --------
    >>> Signatures(permutations=112).columns()
    signature_word5_112_0: fixed_size_binary[448] not null
    """

    stage: Literal["signatures"] = "signatures"
    version: ClassVar[int] = 2

    ngram: Ngram = 5
    unit: Unit = "word"
    permutations: int = Field(default=112, ge=1, description="length of a signature")
    seed: Seed = 0

    @property
    def column(self) -> str:
        """Name of the column, in which all stands that two signatures must agree in to be compared."""
        return f"signature_{self.unit}{self.ngram}_{self.permutations}_{self.seed}"

    def requires(self) -> tuple[str, ...]:
        """The text."""
        return ("text",)

    def columns(self) -> pa.Schema:
        """Minima of the permutations, uint32 and little-endian.

        They are bytes and not a list because Parquet keeps two levels per item of a list: reading takes a fifth of the
        time and half the memory.
        """
        return pa.schema([pa.field(self.column, pa.binary(4 * self.permutations), nullable=False)])

    def load(self) -> Annotate:
        """Signatures of the words that the pass over the text has found, or of their characters."""
        from curate.dedup.minhash import signatures

        schema, shingling = self.columns(), Shingling(self.ngram, self.unit)
        permutations, seed = self.permutations, self.seed

        def annotate(text, columns):
            tokens, offsets, fallback = shingling.tokens(text)
            minima = signatures(tokens, offsets, shingling.ngram, permutations, seed, fallback)
            buffers = [None, pa.py_buffer(minima.astype("<u4", copy=False))]
            column = pa.Array.from_buffers(schema.field(0).type, len(text), buffers)
            return pa.RecordBatch.from_arrays([column], schema=schema)

        return annotate
