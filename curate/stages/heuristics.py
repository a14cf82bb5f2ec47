"""Annotator `heuristics`: the statistics that the quality rules of Gopher and C4 put thresholds on.

Every column is a measurement with one definition, written down in ``docs/signals.md``; thresholds are for `select`.
"""

from typing import TYPE_CHECKING, ClassVar, Literal

import pyarrow as pa
from pydantic import Field

from curate.stage import Annotate, Annotator

if TYPE_CHECKING:
    from curate.text.batch import TextBatch


class Heuristics(Annotator):
    """Counts words, lines and marks: the statistics of Gopher's quality rules and of C4's line and page rules.

    Examples
    --------
    >>> Heuristics().columns().names[:2]
    ['gopher_words', 'gopher_mean_word_length']
    """

    stage: Literal["heuristics"] = "heuristics"
    version: ClassVar[int] = 1

    c4_min_line_words: int = Field(
        default=5, ge=1, description="words that a line needs, or it counts as short; C4's first paper had 3 (words)"
    )
    c4_max_word_length: int = Field(
        default=1000, ge=1, description="a line with a longer word counts as not kept by C4 (characters)"
    )

    def requires(self) -> tuple[str, ...]:
        """The text."""
        return ("text",)

    def columns(self) -> pa.Schema:
        """One column per statistic; ratios of nothing are null."""
        return pa.schema(
            [
                ("gopher_words", pa.int32()),
                ("gopher_mean_word_length", pa.float64()),
                ("gopher_hash_ratio", pa.float64()),
                ("gopher_ellipsis_ratio", pa.float64()),
                ("gopher_bullet_lines", pa.float64()),
                ("gopher_ellipsis_lines", pa.float64()),
                ("gopher_alpha_words", pa.float64()),
                ("gopher_stop_words", pa.int32()),
                ("c4_lines", pa.int32()),
                ("c4_sentences", pa.int32()),
                ("c4_terminal_lines", pa.float64()),
                ("c4_short_lines", pa.float64()),
                ("c4_javascript_lines", pa.int32()),
                ("c4_policy_lines", pa.int32()),
                ("c4_kept_lines", pa.float64()),
                ("c4_kept_sentences", pa.int32()),
                ("c4_max_word_length", pa.int32()),
                ("c4_curly_brackets", pa.int32()),
                ("c4_lorem_ipsum", pa.bool_()),
            ]
        )

    def load(self) -> Annotate:
        """Import the kernels."""
        from curate.text.heuristics import c4, gopher, scan

        schema = self.columns()

        def annotate(batch: "TextBatch", _: pa.RecordBatch) -> pa.RecordBatch:
            counts, lines = scan(batch.data, batch.offsets)
            values = gopher(counts, lines)
            values |= c4(batch.data, counts, lines, self.c4_min_line_words, self.c4_max_word_length)
            # NaN, a ratio of nothing, becomes null.
            arrays = [pa.array(values[field.name], field.type, from_pandas=True) for field in schema]
            return pa.RecordBatch.from_arrays(arrays, schema=schema)

        return annotate
