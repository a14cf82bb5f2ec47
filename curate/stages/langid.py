"""Language of each document by a fastText model (Joulin et al. 2016, arXiv 1607.01759), by default lid.176."""

from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, field_validator

from curate import storage
from curate.errors import Problem, RunError
from curate.models import pretrained
from curate.stage import Annotate, Annotator, Known

LABEL = "__label__"


class LangId(Annotator):
    """Most likely language and its probability.

    Examples
    --------
    >>> LangId(model="lid").columns().names
    ['lang_code', 'lang_score']
    """

    stage: Literal["langid"] = "langid"
    version: ClassVar[int] = 1

    model: str = Field(
        default="lid", description="a fastText model file, or `lid` for the one of `curate models fetch lid`"
    )
    max_chars: int = Field(
        default=1024, ge=32, description="characters from the start of a document that are looked at"
    )

    @field_validator("model")
    @classmethod
    def _anywhere(cls, model: str) -> str:
        """A path that means the same in every worker's directory."""
        return model if model in pretrained.PRETRAINED else storage.absolute(model)

    def files(self) -> dict[str, str]:
        """The model."""
        return {"model": pretrained.resolve(self.model)}

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
        except (RunError, ValueError) as error:
            yield Problem(("model",), f"{path!r} cannot be opened: {error}")

    def requires(self) -> tuple[str, ...]:
        """The text."""
        return ("text",)

    def columns(self) -> pa.Schema:
        """``lang_code`` as the model's labels name it (lid.176: ISO 639-1 or -3), ``lang_score`` in 0 to 1."""
        return pa.schema([("lang_code", pa.dictionary(pa.int32(), pa.string())), ("lang_score", pa.float32())])

    def load(self) -> Annotate:
        """Open the model; texts go to it in one call per batch."""
        model = pretrained.load_fasttext(self.model)
        schema, limit = self.columns(), self.max_chars

        def annotate(text, columns):
            heads = pc.utf8_slice_codeunits(text.text, 0, limit)  # type: ignore[attr-defined]
            lines = pc.replace_substring_regex(heads, r"[\r\n]+", " ").to_pylist()  # type: ignore[attr-defined]
            labels, scores = model.predict(lines, k=1)
            codes = pa.array([label[0].removeprefix(LABEL) if label else None for label in labels], pa.string())
            top = np.array([score[0] if len(score) else np.nan for score in scores], dtype=np.float32)
            # The softmax of a quantized model can pass 1 by a rounding error.
            top = pa.array(np.minimum(top, np.float32(1.0)), mask=np.isnan(top))
            return pa.RecordBatch.from_arrays([codes.dictionary_encode(), top], schema=schema)

        return annotate
