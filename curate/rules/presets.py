"""Published rule sets as data: rows of rule, column, operator and threshold, with the source of each threshold.

A rule matches the documents to drop. `select` drops a document if a rule matches it, and a labeling function can turn
the rule into a vote. Rule sets that share a rule share its row, so a name always denotes the same rule. The suffix
``_min`` or ``_max`` says whether the threshold is the minimum or the maximum of the values that are kept. A null never
matches. docs/presets.md lists all rows; a test compares the list with this module.
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple

Operator = Literal["<", "<=", ">", ">=", "=", "<>"]
Threshold = bool | int | float | str
PresetName = Literal[
    "english",
    "gopher",
    "gopher_repetition",
    "c4",
    "mt5",
    "fineweb",
    "refinedweb",
    "dclm",
    "nemo_english",
    "nemo_non_english",
    "madlad",
]

ENGLISH = "en"


class Criterion(NamedTuple):
    """One rule of a rule set.

    Attributes
    ----------
    name
        Name of the rule, which is also the reason for dropping a document.
    column, op, threshold
        Condition of documents to drop: ``column op threshold``.
    source
        Source of the threshold.
    language
        ISO 639-1 code of the language that the rule applies to; empty for all languages.
    note
        Differences from the source, or other thresholds in use.
    """

    name: str
    column: str
    op: Operator
    threshold: Threshold
    source: str
    language: str = ""
    note: str = ""

    def when(self, language_column: str | None = None) -> str:
        """Return the rule as an SQL expression, which is true for documents to drop.

        Parameters
        ----------
        language_column
            Column with the language codes of documents. If given, a rule for one language matches only documents in
            this language.

        Examples
        --------
        >>> rule = Criterion("short", "words", "<", 50, "a paper", "en")
        >>> rule.when()
        'words < 50'
        >>> rule.when("lang_code")
        "lang_code = 'en' AND words < 50"
        """
        condition = f"{self.column} {self.op} {_literal(self.threshold)}"
        guarded = self.language and language_column
        return f"{language_column} = {_literal(self.language)} AND {condition}" if guarded else condition


def _literal(value: Threshold) -> str:
    """Return a value as an SQL literal.

    Examples
    --------
    >>> _literal(0.1), _literal(True), _literal("it's")
    ('0.1', 'TRUE', "'it''s'")
    """
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return str(value).upper() if isinstance(value, bool) else repr(value)


_GOPHER = "Gopher, arXiv 2112.11446, section A.1.1"
_REPETITION = "Gopher, arXiv 2112.11446, table A1"
_C4 = "C4, JMLR 21(140), section 2.2"
_MT5 = "mT5, arXiv 2010.11934, section 3.1"
_FINEWEB = "FineWeb, arXiv 2406.17557, section 3.6"
_DATATROVE = "datatrove 0.10"
_REFINEDWEB = "RefinedWeb, arXiv 2306.01116, appendix G.2"
_DCLM = "DCLM, dclm_baseline_refinedweb.yaml"
_NEMO = "NeMo Curator 1.4, heuristic_filter_english_pipeline.yaml"
_MADLAD = "MADLAD-400, arXiv 2309.04662, section 2.3"


_WORDS = (
    Criterion("gopher_words_min", "gopher_words", "<", 50, _GOPHER),
    Criterion("gopher_words_max", "gopher_words", ">", 100_000, _GOPHER),
    Criterion("gopher_mean_word_length_min", "gopher_mean_word_length", "<", 3, _GOPHER, ENGLISH),
    Criterion("gopher_mean_word_length_max", "gopher_mean_word_length", ">", 10, _GOPHER, ENGLISH),
)
_SYMBOLS = (
    Criterion("gopher_hash_ratio_max", "gopher_hash_ratio", ">", 0.1, _GOPHER),
    Criterion("gopher_ellipsis_ratio_max", "gopher_ellipsis_ratio", ">", 0.1, _GOPHER),
)
_LINES = (
    Criterion("gopher_bullet_lines_max", "gopher_bullet_lines", ">", 0.9, _GOPHER),
    Criterion("gopher_ellipsis_lines_max", "gopher_ellipsis_lines", ">", 0.3, _GOPHER),
)
_ALPHA_WORDS = Criterion("gopher_alpha_words_min", "gopher_alpha_words", "<", 0.8, _GOPHER)
_STOP_WORDS = Criterion("gopher_stop_words_min", "gopher_stop_words", "<", 2, _GOPHER, ENGLISH)
_STOP_WORD_COUNT = Criterion(
    "dclm_stop_words_min", "dclm_stop_words", "<", 2, _DCLM, ENGLISH, "occurrences, not different words"
)

GOPHER = (*_WORDS, *_SYMBOLS, *_LINES, _ALPHA_WORDS, _STOP_WORDS)

GOPHER_REPETITION = (
    Criterion("rep_dup_lines_max", "rep_dup_lines", ">", 0.3, _REPETITION),
    Criterion("rep_dup_paragraphs_max", "rep_dup_paragraphs", ">", 0.3, _REPETITION),
    Criterion("rep_dup_line_chars_max", "rep_dup_line_chars", ">", 0.2, _REPETITION),
    Criterion("rep_dup_paragraph_chars_max", "rep_dup_paragraph_chars", ">", 0.2, _REPETITION),
    Criterion("rep_top_2gram_chars_max", "rep_top_2gram_chars", ">", 0.2, _REPETITION),
    Criterion("rep_top_3gram_chars_max", "rep_top_3gram_chars", ">", 0.18, _REPETITION),
    Criterion("rep_top_4gram_chars_max", "rep_top_4gram_chars", ">", 0.16, _REPETITION),
    Criterion("rep_dup_5gram_chars_max", "rep_dup_5gram_chars", ">", 0.15, _REPETITION),
    Criterion("rep_dup_6gram_chars_max", "rep_dup_6gram_chars", ">", 0.14, _REPETITION),
    Criterion("rep_dup_7gram_chars_max", "rep_dup_7gram_chars", ">", 0.13, _REPETITION),
    Criterion("rep_dup_8gram_chars_max", "rep_dup_8gram_chars", ">", 0.12, _REPETITION),
    Criterion("rep_dup_9gram_chars_max", "rep_dup_9gram_chars", ">", 0.11, _REPETITION),
    Criterion("rep_dup_10gram_chars_max", "rep_dup_10gram_chars", ">", 0.1, _REPETITION),
)

_C4_PAGES = (
    Criterion("c4_curly_brackets_max", "c4_curly_brackets", ">", 0, _C4),
    Criterion("c4_lorem_ipsum", "c4_lorem_ipsum", "=", True, _C4),
)
C4 = (
    Criterion(
        "c4_kept_sentences_min", "c4_kept_sentences", "<", 3, _C4, note="with lines of 5 words; datatrove: 5 and 3"
    ),
    *_C4_PAGES,
)

MT5 = (Criterion("mt5_long_lines_min", "c4_long_lines", "<", 3, _MT5, note="lines of 200 characters"),)

FINEWEB = (
    *GOPHER_REPETITION,
    *GOPHER,
    *_C4_PAGES,
    Criterion(
        "fineweb_sentences_min", "c4_sentences", "<", 5, _DATATROVE, note="counts in all lines; datatrove in kept ones"
    ),
    Criterion("fineweb_terminal_lines_min", "fineweb_terminal_lines", "<", 0.12, _FINEWEB),
    Criterion("fineweb_short_lines_max", "fineweb_short_lines", ">", 0.67, _FINEWEB, note="lines of 30 characters"),
    Criterion(
        "fineweb_dup_line_chars_max", "rep_dup_line_chars", ">=", 0.1, _FINEWEB, note="the paper's; datatrove: > 0.01"
    ),
    Criterion(
        "fineweb_newlines_per_word_max", "fineweb_newlines_per_word", ">", 0.3, _DATATROVE, note="not in the paper"
    ),
)

_REMOVED_WORDS = Criterion("refinedweb_removed_words_max", "refinedweb_removed_words", ">", 0.05, _REFINEDWEB)
REFINEDWEB = (*GOPHER_REPETITION, *GOPHER, _REMOVED_WORDS)
DCLM = (*_WORDS, *_SYMBOLS, *_LINES, _ALPHA_WORDS, _STOP_WORD_COUNT, *GOPHER_REPETITION, _REMOVED_WORDS)

_NEMO_ANY = (
    Criterion("nemo_symbol_words_max", "dolma_symbol_words", ">", 0.1, _NEMO, note="words with a # or an ellipsis"),
    Criterion("nemo_digits_max", "nemo_digits", ">", 0.15, _NEMO),
    Criterion("nemo_url_chars_max", "nemo_url_chars", ">", 0.2, _NEMO),
    Criterion("nemo_white_space_max", "nemo_white_space", ">", 0.25, _NEMO),
    Criterion("nemo_brackets_max", "nemo_brackets", ">", 0.1, _NEMO),
    Criterion("nemo_boilerplate_paragraphs_max", "nemo_boilerplate_paragraphs", ">", 0.4, _NEMO),
    Criterion("c4_lorem_ipsum", "c4_lorem_ipsum", "=", True, _C4),
    Criterion(
        "nemo_terminal_lines_min",
        "c4_terminal_lines",
        "<",
        0.15,
        _NEMO,
        note="NeMo: of sentences, more than 0.85 without",
    ),
    Criterion("nemo_word_length_max", "c4_max_word_length", ">", 1000, _NEMO),
    *GOPHER_REPETITION,
    *_WORDS,
    *_LINES,
)
NEMO_ENGLISH = (
    Criterion("nemo_non_alphanumeric_max", "nemo_non_alphanumeric", ">", 0.25, _NEMO),
    *_NEMO_ANY,
    _ALPHA_WORDS,
    _STOP_WORD_COUNT,
)

MADLAD = (Criterion("madlad_questionable_sentences_max", "madlad_questionable_sentences", ">", 0.2, _MADLAD),)

ENGLISH_ONLY = (
    Criterion("english_code", "lang_code", "<>", ENGLISH, _DCLM),
    Criterion("english_score_min", "lang_score", "<", 0.65, _DCLM, note="FineWeb's too"),
)

PRESETS: dict[str, tuple[Criterion, ...]] = {
    "english": ENGLISH_ONLY,
    "gopher": GOPHER,
    "gopher_repetition": GOPHER_REPETITION,
    "c4": C4,
    "mt5": MT5,
    "fineweb": FINEWEB,
    "refinedweb": REFINEDWEB,
    "dclm": DCLM,
    "nemo_english": NEMO_ENGLISH,
    "nemo_non_english": _NEMO_ANY,
    "madlad": MADLAD,
}


def rules_of(preset: str, thresholds: Mapping[str, Threshold | None] | None = None) -> tuple[Criterion, ...]:
    """Return the rules of a rule set.

    Parameters
    ----------
    preset
        A key of `PRESETS`.
    thresholds
        Thresholds, by rule, that replace those of the rule set. None removes the rule. Names of rules in other rule
        sets are ignored.

    Examples
    --------
    >>> rules_of("gopher", {"gopher_words_min": 30, "gopher_words_max": None})[0].threshold
    30
    """
    chosen = []
    for rule in PRESETS[preset]:
        threshold = (thresholds or {}).get(rule.name, rule.threshold)
        if threshold is not None:
            chosen.append(rule._replace(threshold=threshold))
    return tuple(chosen)


def alike(threshold: Threshold, default: Threshold) -> bool:
    """Return whether a threshold has the same kind as the default: boolean, string or number.

    Examples
    --------
    >>> alike(1, 0.5), alike(True, 0.5)
    (True, False)
    """
    kinds = (bool, str, int | float)
    return next(kind for kind in kinds if isinstance(threshold, kind)) == next(
        kind for kind in kinds if isinstance(default, kind)
    )
