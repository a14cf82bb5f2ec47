"""Annotator `stopwords`: how much of a document is stop words of its language."""

from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from curate import storage
from curate.errors import Problem
from curate.stage import Annotate, Annotator, Known

if TYPE_CHECKING:
    from curate.text.batch import TextBatch

ISO = "iso"
PACKAGE = "stopwordsiso"


class StopWordCounts(Annotator):
    """Counts stop words by the list of the document's language; null where there is no list for it.

    Examples
    --------
    >>> StopWordCounts().columns().names
    ['stop_words', 'stop_words_distinct', 'stop_word_fraction']
    """

    stage: Literal["stopwords"] = "stopwords"
    version: ClassVar[int] = 2

    lists: Annotated[str, storage.path_unless(lambda lists: lists == ISO)] = Field(
        default=ISO,
        description="a JSON file with lists by language, {de: [der, die], ...}, or `iso` for those of stopwords-iso",
    )
    language: str = Field(default="lang_code", min_length=1, description="column with each document's language")

    def files(self) -> dict[str, str]:
        """The lists."""
        return {"lists": _iso_path() if self.lists == ISO else self.lists}

    def packages(self) -> tuple[str, ...]:
        """The one that knows which codes are one language."""
        return ("langcodes",)

    def where_to_get(self, field: str) -> str:
        """What the file holds."""
        return f"give a JSON file, or {ISO!r} for the lists of stopwords-iso"

    def check(self, known: Known) -> Iterable[Problem]:
        """The file has lists of words; the language is a column of text."""
        if self.language in known.columns.names:
            found = known.columns.field(self.language).type
            value = found.value_type if pa.types.is_dictionary(found) else found
            if not (pa.types.is_string(value) or pa.types.is_large_string(value)):
                yield Problem(("language",), f"{self.language!r} is {found}, and a language is a code in text")
        path = self.files()["lists"]
        if storage.exists(path):
            try:
                complaint = _complaint(storage.read_json(path))
            except ValueError as error:
                complaint = f"is not JSON: {error}"
            if complaint:
                yield Problem(("lists",), f"{path!r} {complaint}", 'such as {"de": ["der", "die", "und"]}')

    def requires(self) -> tuple[str, ...]:
        """The text and its language."""
        return ("text", self.language)

    def place(self, column: str) -> tuple[str | int, ...]:
        """The field that names the language's column."""
        return ("language",) if column == self.language else ()

    def columns(self) -> pa.Schema:
        """Words that are part of a stop word, different stop words, and the share of words that are part of one."""
        return pa.schema(
            [("stop_words", pa.int64()), ("stop_words_distinct", pa.int64()), ("stop_word_fraction", pa.float64())]
        )

    def load(self) -> Annotate:
        """Compile the lists."""
        from curate.signals.stopwords import count_stop_words
        from curate.text.wordlists import compile_list

        entries = storage.read_json(self.files()["lists"])
        languages = {language: number for number, language in enumerate(entries)}
        word_lists = list(map(compile_list, entries.values()))
        schema, column = self.columns(), self.language
        position: dict[str | None, int] = {None: -1}

        def annotate(text: "TextBatch", columns: pa.RecordBatch) -> pa.RecordBatch:
            codes = columns[column].cast(pa.string()).dictionary_encode()
            names = codes.dictionary.to_pylist()
            for name in names:
                if name not in position:
                    position[name] = list_of(name, languages)
            which = np.array([*(position[name] for name in names), -1], np.int64)
            lists = which[codes.indices.fill_null(len(names)).to_numpy(zero_copy_only=False)]
            counts = count_stop_words(text.words, word_lists, lists)
            words = np.diff(text.words.offsets)
            missing = lists < 0
            empty = missing | (words == 0)
            fraction = counts.covered / np.maximum(words, 1)
            arrays = [
                pa.array(counts.covered, mask=missing),
                pa.array(counts.distinct, mask=missing),
                pa.array(fraction, mask=empty),
            ]
            return pa.RecordBatch.from_arrays(arrays, schema=schema)

        return annotate


def list_of(code: str, languages: Mapping[str, int]) -> int:
    """Position of the list for a language, or -1.

    A list counts that has the code itself as its name, or else, for codes with a script such as ``deu_Latn``, the
    language's shortest code in BCP 47, a macrolanguage's where it is part of one.

    Examples
    --------
    >>> [list_of(code, {"de": 0, "zh": 1, "hin_Latn": 2}) for code in ("de", "deu_Latn", "cmn_Hani", "hin_Latn", "xx")]
    [0, 0, 1, 2, -1]
    """
    if code in languages or "_" not in code:
        return languages.get(code, -1)
    import langcodes
    from langcodes.tag_parser import LanguageTagError

    try:
        tag = langcodes.standardize_tag(code, macro=True)
    except LanguageTagError:
        return -1
    return languages.get(tag.split("-")[0], -1)


def _iso_path() -> str:
    """The lists of stopwords-iso, in the package that ships them; a path that is not there without the package."""
    spec = find_spec(PACKAGE)
    folder = Path(spec.origin).parent if spec and spec.origin else Path(PACKAGE)
    return str(folder / "stopwords-iso.json")


def _complaint(lists: Any) -> str:
    """What is wrong with the content of a file of lists, or nothing."""
    if not isinstance(lists, dict) or not lists:
        return "has no lists by language"
    for code, words in lists.items():
        if not isinstance(words, Sequence) or isinstance(words, str):
            return f"has no list for {code!r}"
        if not all(isinstance(word, str) for word in words):
            return f"has something else than words for {code!r}"
    return ""
