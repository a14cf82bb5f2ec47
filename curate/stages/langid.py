"""Language of each document by a fastText model (Joulin et al. 2016, arXiv 1607.01759), by default lid.176.

What is looked at, and what every column means, is in ``docs/languages.md``.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from curate import storage
from curate.errors import Problem
from curate.io import pretrained
from curate.stage import Annotate, Annotator, Known

if TYPE_CHECKING:
    from curate.text.batch import TextBatch

LABEL = "__label__"
NOTHING = "zxx"  # ISO 639-2: no linguistic content
UNDETERMINED = "und"  # ISO 639-2: undetermined
LEAST = 16  # characters of a window
CODE = pa.dictionary(pa.int32(), pa.string())


class LangId(Annotator):
    """Most likely languages, their probabilities and the script; languages of lines or paragraphs if asked for.

    Examples
    --------
    >>> LangId(model="lid").columns().names
    ['lang_code', 'lang_score', 'lang_script', 'lang_script_share']
    >>> LangId(top=3, parts="line").columns().names[4:]
    ['lang_codes', 'lang_scores', 'lang_part_agreement', 'lang_part_codes', 'lang_part_shares']
    """

    stage: Literal["langid"] = "langid"
    version: ClassVar[int] = 2

    model: Annotated[str, storage.path_unless(pretrained.PRETRAINED.__contains__)] = Field(
        default="lid", description="a fastText model file, or `lid` for the one of `curate models fetch lid`"
    )
    max_chars: int = Field(default=1024, ge=32, description="characters of a document that are looked at")
    windows: int = Field(
        default=8,
        ge=1,
        le=32,
        description="places that these are taken from, spread evenly, as far as each has 16; 1: the beginning",
    )
    top: int = Field(default=1, ge=1, le=100, description="languages of a document that are kept, best first")
    parts: Literal["line", "paragraph"] | None = Field(
        default=None, description="look at each line, or each paragraph (it ends with a blank line), as well"
    )
    part_bytes: int = Field(default=60, ge=1, description="shorter lines or paragraphs are left out (bytes)")
    part_score: float = Field(
        default=0.5, ge=0, le=1, description="a line or paragraph whose best score is lower counts as `und`"
    )

    def files(self) -> dict[str, str]:
        """The model."""
        return {"model": pretrained.resolve(self.model)}

    def packages(self) -> tuple[str, ...]:
        """The library that predicts, and the one that knows scripts."""
        return ("fasttext-numpy2", "fonttools")

    def where_to_get(self, field: str) -> str:
        """The command that fetches the model."""
        return pretrained.missing(self.model)

    def check(self, known: Known) -> Iterable[Problem]:
        """The model is one that fastText opens."""
        path = pretrained.resolve(self.model)
        if not Path(path).is_file():
            return
        try:
            pretrained.load_fasttext(self.model)
        except ValueError as error:
            yield Problem(("model",), f"{path!r} cannot be opened: {error}")

    def requires(self) -> tuple[str, ...]:
        """The text."""
        return ("text",)

    def columns(self) -> pa.Schema:
        """Codes are as the model's labels name them (lid.176: ISO 639-1 or -3), scores and shares in 0 to 1."""
        fields = [("lang_code", CODE), ("lang_score", pa.float32())]
        fields += [("lang_script", CODE), ("lang_script_share", pa.float32())]
        if self.top > 1:
            fields += [("lang_codes", pa.list_(pa.string())), ("lang_scores", pa.list_(pa.float32()))]
        if self.parts:
            fields += [("lang_part_agreement", pa.float32())]
            fields += [("lang_part_codes", pa.list_(pa.string())), ("lang_part_shares", pa.list_(pa.float32()))]
        return pa.schema(fields)

    def load(self) -> Annotate:
        """Open the model; excerpts go to it in one call per batch."""
        from curate.dedup.paragraphs import units
        from curate.text.scripts import script_table, scripts

        model = pretrained.load_fasttext(self.model)
        schema = self.columns()
        names = pa.array([*script_table()[0][1:]], pa.string())

        def annotate(text: "TextBatch", _: pa.RecordBatch) -> pa.RecordBatch:
            found = self._predict(model, text.data, text.offsets, k=self.top)
            script, share, _letters = scripts(text.data, text.offsets)
            script = names.take(pa.array(script.astype(np.int32) - 1, mask=script == 0))
            columns = {
                "lang_code": found.code.dictionary_encode(),
                "lang_score": found.score,
                "lang_script": script.dictionary_encode(),
                "lang_script_share": pa.array(share.astype(np.float32), from_pandas=True),
            }
            if self.top > 1:
                columns |= {"lang_codes": found.codes, "lang_scores": found.scores}
            if self.parts:
                bounds = units(text.data, text.offsets, paragraphs=self.parts == "paragraph")
                columns |= self._parts(model, text, bounds, found.code)
            return pa.RecordBatch.from_arrays([columns[name] for name in schema.names], schema=schema)

        return annotate

    def _predict(self, model: Any, data: NDArray[np.uint8], bounds: NDArray[np.int64], k: int) -> "Languages":
        """The `k` most likely languages of each text; texts whose excerpt has no letter are not shown to the model."""
        from curate.text.batch import string_array
        from curate.text.excerpts import excerpts
        from curate.text.scripts import scripts

        lines, offsets = excerpts(data, bounds, self.max_chars, min(self.windows, self.max_chars // LEAST))
        readable = scripts(lines, offsets)[2] > 0
        shown = string_array(lines, offsets).filter(pa.array(readable))
        labels, scores = model.predict(shown.to_pylist(), k=k)
        return rank(labels, scores, readable)

    def _parts(
        self, model: Any, text: "TextBatch", bounds: NDArray[np.int64], documents: pa.Array
    ) -> dict[str, pa.Array]:
        """Shares of bytes by language; of the text in parts that are long enough and have a letter."""
        size = np.diff(bounds)
        owner = np.searchsorted(text.offsets, bounds[:-1], side="right") - 1
        # Short parts become empty texts, which the model does not see.
        judged = size >= self.part_bytes
        edges = np.concatenate(([0], np.cumsum(np.where(judged, size, 0))))
        kept = text.data[bounds[0] : bounds[-1]][np.repeat(judged, size)] if len(size) else text.data[:0]
        found = self._predict(model, kept, edges, k=1)
        code = np.asarray(found.code.to_pylist(), dtype=object)
        sure = np.asarray(found.score.fill_null(0.0), dtype=np.float32) >= np.float32(self.part_score)
        seen = found.seen
        code[~sure] = UNDETERMINED
        return mixture(owner[seen], code[seen], size[seen], documents)


class Languages(NamedTuple):
    """Languages of texts.

    Attributes
    ----------
    code, score
        The most likely one: ``zxx`` without a score where a text has no letter, ``und`` where the model has no answer.
    codes, scores
        All that were asked for, best first, equal scores by code; empty where `score` is null.
    seen
        Texts that have a letter, shape (texts,).
    """

    code: pa.Array
    score: pa.Array
    codes: pa.Array
    scores: pa.Array
    seen: NDArray[np.bool_]


def rank(labels: list[list[str]], scores: list[NDArray[np.float32]], seen: NDArray[np.bool_]) -> Languages:
    """Answers of a fastText model as columns.

    Parameters
    ----------
    labels, scores
        Of the texts that were shown to the model.
    seen
        Which these are, shape (texts,).

    Examples
    --------
    >>> answers = [["__label__fr", "__label__en"]], [np.array([0.5, 0.5], np.float32)]
    >>> rank(*answers, np.array([False, True])).code.to_pylist()
    ['zxx', 'en']
    """
    counts = np.zeros(len(seen), np.int64)
    counts[seen] = [len(row) for row in labels]
    codes = np.array([label.removeprefix(LABEL) for row in labels for label in row], dtype=object)
    values = np.concatenate([np.zeros(0, np.float32), *scores])
    order = np.lexsort((codes.astype(str), -values, np.repeat(np.arange(len(seen)), counts)))
    codes = codes[order]
    # The softmax of a quantized model can pass 1 by a rounding error.
    values = np.minimum(values[order], np.float32(1.0))
    starts = np.concatenate(([0], np.cumsum(counts)))
    best = starts[:-1][counts > 0]
    first = np.where(seen, UNDETERMINED, NOTHING).astype(object)
    first[counts > 0] = codes[best]
    score = np.zeros(len(seen), np.float32)
    score[counts > 0] = values[best]
    edges = pa.array(starts, pa.int32())
    return Languages(
        pa.array(first, pa.string()),
        pa.array(score, mask=counts == 0),
        pa.ListArray.from_arrays(edges, pa.array(codes, pa.string())),
        pa.ListArray.from_arrays(edges, pa.array(values)),
        seen,
    )


def mixture(
    owner: NDArray[np.int64], codes: NDArray[np.object_], size: NDArray[np.int64], documents: pa.Array
) -> dict[str, pa.Array]:
    """Languages of each document's parts with their share of bytes, largest first, equal shares by code.

    Parameters
    ----------
    owner, codes, size
        Document, language and bytes of each part, shape (parts,).
    documents
        Language of each document as a whole, shape (documents,).

    Examples
    --------
    >>> parts = np.array([0, 0, 0]), np.array(["en", "de", "en"], object), np.array([10, 60, 30])
    >>> {name: column.to_pylist() for name, column in mixture(*parts, pa.array(["de", "zxx"])).items()}
    ... # doctest: +NORMALIZE_WHITESPACE
    {'lang_part_agreement': [0.6000000238418579, None],
     'lang_part_codes': [['de', 'en'], []],
     'lang_part_shares': [[0.6000000238418579, 0.4000000059604645], []]}
    """
    names, index = np.unique(
        np.concatenate([codes, np.asarray(documents.to_pylist(), dtype=object)]), return_inverse=True
    )
    part, whole = index[: len(codes)], index[len(codes) :]
    pairs, which = np.unique(owner * len(names) + part, return_inverse=True)
    total = np.bincount(which, weights=size, minlength=len(pairs))
    document, language = pairs // len(names), pairs % len(names)
    order = np.lexsort((language, -total, document))
    document, language, total = document[order], language[order], total[order]
    sums = np.bincount(document, weights=total, minlength=len(whole))
    share = (total / sums[document]).astype(np.float32)
    own = language == whole[document]
    agreement = np.zeros(len(whole), np.float32)
    agreement[document[own]] = share[own]
    edges = pa.array(np.searchsorted(document, np.arange(len(whole) + 1)), pa.int32())
    return {
        "lang_part_agreement": pa.array(agreement, mask=sums == 0),
        "lang_part_codes": pa.ListArray.from_arrays(edges, pa.array(names[language], pa.string())),
        "lang_part_shares": pa.ListArray.from_arrays(edges, pa.array(share)),
    }
