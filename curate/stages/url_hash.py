"""Hash of each document's canonical URL, by which `exact` finds documents of one address."""

from typing import ClassVar, Literal

import pyarrow as pa
import xxhash

from curate.stage import Annotate, Annotator


class UrlHash(Annotator):
    """128-bit hash of each canonical URL, null for a document without one (see `curate.text.urls`).

    Examples
    --------
    >>> UrlHash().columns()
    url_hash: fixed_size_binary[16]
    """

    stage: Literal["url_hash"] = "url_hash"
    version: ClassVar[int] = 3
    column: ClassVar[str] = "url_hash"

    def requires(self) -> tuple[str, ...]:
        """The URL."""
        return ("url",)

    def columns(self) -> pa.Schema:
        """16 bytes, the high half of the hash first."""
        return pa.schema([(self.column, pa.binary(16))])

    def load(self) -> Annotate:
        """Hashes of the canonical forms: of links on web pages, 150,000 per core-second."""
        from curate.text.urls import canonical_urls

        schema = self.columns()

        def annotate(text, columns):
            forms = canonical_urls(columns.column("url")).to_pylist()
            hashes = [xxhash.xxh3_128_digest(form.encode()) if form else None for form in forms]
            return pa.RecordBatch.from_arrays([pa.array(hashes, pa.binary(16))], schema=schema)

        return annotate
