"""Annotator `heuristics`: every statistic that the heuristic quality rules of the field put thresholds on, in one pass.

Every column is a measurement with one definition, written down in ``docs/signals.md``; thresholds are for `select`.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import pyarrow as pa
from pydantic import Field, field_validator

from curate import storage
from curate.artifact import file_hash
from curate.errors import Problem
from curate.stage import Annotate, Annotator, Known
from curate.storage import InputPath

if TYPE_CHECKING:
    from curate.text.batch import TextBatch

COUNTS = (
    *("gopher_words", "gopher_stop_words", "dclm_stop_words"),
    *("c4_lines", "c4_sentences", "c4_javascript_lines", "c4_policy_lines", "c4_kept_sentences"),
    *("c4_max_word_length", "c4_curly_brackets", "c4_citation_marks", "c4_long_lines", "rep_paragraphs"),
)
COLUMNS = (
    *("gopher_words", "gopher_mean_word_length", "gopher_hash_ratio", "gopher_ellipsis_ratio"),
    *("gopher_bullet_lines", "gopher_ellipsis_lines", "gopher_alpha_words", "gopher_stop_words"),
    *("dclm_stop_words", "dolma_median_word_length", "dolma_symbol_words"),
    *("c4_lines", "c4_sentences", "c4_terminal_lines", "c4_short_lines", "c4_javascript_lines", "c4_policy_lines"),
    *("c4_kept_lines", "c4_kept_sentences", "c4_max_word_length", "c4_curly_brackets", "c4_lorem_ipsum"),
    *("c4_citation_marks", "c4_long_lines"),
    *("rep_paragraphs", "rep_dup_lines", "rep_dup_paragraphs", "rep_dup_line_chars", "rep_dup_paragraph_chars"),
    *(f"rep_top_{n}gram_chars" for n in (2, 3, 4)),
    *(f"rep_dup_{n}gram_chars" for n in (5, 6, 7, 8, 9, 10)),
    *("dolma_repeated_lines", "dolma_repeated_line_chars"),
    *("fineweb_terminal_lines", "fineweb_short_lines", "fineweb_newlines_per_word"),
    *("refinedweb_uppercase_lines", "refinedweb_numeric_lines", "refinedweb_counter_lines"),
    *("refinedweb_one_word_lines", "refinedweb_button_lines", "refinedweb_removed_words"),
    *("madlad_list_case_sentences", "madlad_abnormal_sentences", "madlad_technical_sentences"),
    "madlad_questionable_sentences",
    *("nemo_non_alphanumeric", "nemo_digits", "nemo_url_chars", "nemo_white_space", "nemo_brackets"),
    "nemo_boilerplate_paragraphs",
    *("rps_curly_brackets", "rps_all_caps_words", "rps_mean_word_length", "rps_unique_words"),
    *("rps_line_words", "rps_line_digits", "rps_line_uppercase", "rps_stop_words"),
)


class Heuristics(Annotator):
    """Counts words, lines, sentences, characters and what repeats: the statistics of the field's quality rules.

    Examples
    --------
    >>> Heuristics().columns().names[:2]
    ['gopher_words', 'gopher_mean_word_length']
    >>> Heuristics(word_lists={"drugs": "drugs.txt"}).columns().names[-2:]
    ['words_drugs', 'words_drugs_share']
    """

    stage: Literal["heuristics"] = "heuristics"
    version: ClassVar[int] = 2

    c4_min_line_words: int = Field(
        default=5, ge=1, description="words that a line needs, or it counts as short; C4's first paper had 3 (words)"
    )
    c4_max_word_length: int = Field(
        default=1000, ge=1, description="a line with a longer word counts as not kept by C4 (characters)"
    )
    c4_long_line_chars: int = Field(default=200, ge=1, description="a line of so many characters is long (characters)")
    fineweb_short_line_chars: int = Field(
        default=30, ge=1, description="a line of at most so many characters is short (characters)"
    )
    refinedweb_max_uppercase: float = Field(
        default=0.5, ge=0, le=1, description="a line with a greater share of upper-case letters is flagged (0 to 1)"
    )
    stop_words: InputPath | None = Field(
        default=None, description="a file of words, one per line, that `rps_stop_words` counts in place of the English"
    )
    bad_words: InputPath | None = Field(
        default=None, description="a file of words or phrases, one per line, that `c4_bad_words` counts"
    )
    word_lists: dict[str, InputPath] = Field(
        default={},
        description="files of words or phrases, one per line, by name: adds `words_NAME` and `words_NAME_share`",
    )

    @field_validator("word_lists")
    @classmethod
    def _named_as_columns(cls, lists: dict[str, str]) -> dict[str, str]:
        for name in lists:
            if not (name.isascii() and name.isidentifier() and name == name.lower()):
                raise ValueError(f"{name!r} becomes part of a column's name: small letters, digits and _ only")
        return lists

    def requires(self) -> tuple[str, ...]:
        """The text."""
        return ("text",)

    def columns(self) -> pa.Schema:
        """One column per statistic; ratios of nothing are null."""
        types = dict.fromkeys(COLUMNS, pa.float64()) | dict.fromkeys(COUNTS, pa.int32())
        fields = [(name, types[name]) for name in COLUMNS]
        fields[COLUMNS.index("c4_lorem_ipsum")] = ("c4_lorem_ipsum", pa.bool_())
        if self.bad_words is not None:
            fields.append(("c4_bad_words", pa.int32()))
        for name in self.word_lists:
            fields += [(f"words_{name}", pa.int32()), (f"words_{name}_share", pa.float64())]
        return pa.schema(fields)

    def check(self, known: Known) -> Iterable[Problem]:
        """Lists are there and have an entry."""
        from curate.text.wordlists import read_entries

        for place, path in self._lists().items():
            if not storage.exists(path):
                yield Problem(place, f"there is no file {path!r}")
                continue
            try:
                entries = read_entries(storage.read_bytes(path).decode())
            except UnicodeDecodeError as error:
                yield Problem(place, f"{path!r} is not UTF-8: {error}")
                continue
            if not any(char.isalnum() for entry in entries for char in entry):
                yield Problem(place, f"{path!r} has no word in it; a list is one word or phrase per line")

    def identity(self) -> dict[str, Any]:
        """The fields, with lists by their content and not by their path."""
        hashes = {place: file_hash(path) if storage.exists(path) else path for place, path in self._lists().items()}
        lists = {name: hashes["word_lists", name] for name in self.word_lists}
        named = {field: hashes.get((field,)) for field in ("stop_words", "bad_words")}
        return super().identity() | named | {"word_lists": lists}

    def _lists(self) -> dict[tuple[str, ...], str]:
        """Paths of the lists, by where in the stanza they are named."""
        named = {("stop_words",): self.stop_words, ("bad_words",): self.bad_words}
        places = {place: path for place, path in named.items() if path is not None}
        return places | {("word_lists", name): path for name, path in self.word_lists.items()}

    def load(self) -> Annotate:
        """Import the kernels and read the lists."""
        from curate.signals.measure import Limits, measure
        from curate.signals.stopwords import ENGLISH_STOP_WORDS
        from curate.text.wordlists import compile_list, read_entries

        def compiled(path: str):
            return compile_list(read_entries(storage.read_bytes(path).decode()))

        limits = Limits(
            self.c4_min_line_words,
            self.c4_max_word_length,
            self.c4_long_line_chars,
            self.fineweb_short_line_chars,
            self.refinedweb_max_uppercase,
        )
        stop_words = compile_list(ENGLISH_STOP_WORDS) if self.stop_words is None else compiled(self.stop_words)
        bad_words = None if self.bad_words is None else compiled(self.bad_words)
        word_lists = {name: compiled(path) for name, path in self.word_lists.items()}
        schema = self.columns()

        def annotate(batch: "TextBatch", _: pa.RecordBatch) -> pa.RecordBatch:
            values = measure(batch, limits, stop_words, bad_words, word_lists)
            # NaN, a ratio of nothing, becomes null.
            arrays = [pa.array(values[field.name], field.type, from_pandas=True) for field in schema]
            return pa.RecordBatch.from_arrays(arrays, schema=schema)

        return annotate
