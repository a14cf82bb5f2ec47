"""Annotator `perplexity`: how likely an n-gram language model finds a document; CCNet's measure, and bits by length."""

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import Field, model_validator

from curate import storage
from curate.artifact import Artifact, Shard, Totals
from curate.errors import Problem, RunError
from curate.extras import missing
from curate.language_models.manifest import PerplexityBody, SourceScores, TrainLmBody
from curate.language_models.segmentation import ALL, TextForm, file_name
from curate.stage import Annotate, Annotator, Known
from curate.stats.joint import Measuring
from curate.storage import InputPath
from curate.table import read_part

if TYPE_CHECKING:
    from curate.engine.context import Context
    from curate.language_models.scorer import Scorer, Sums
    from curate.text.batch import TextBatch


PLACES = "_models.json"
CONVERTED = "_given.lm"
CCNET = "https://dl.fbaipublicfiles.com/cc_net/lm"


class Perplexity(Measuring, Annotator):
    """Score documents with a model of a `train_lm` stage, or with one given by path.

    Null where a document has fewer than `min_tokens` tokens, or no model for its value of `by`.

    Examples
    --------
    >>> Perplexity(model="wiki_lm").columns().names[:3]
    ['kenlm_log10_prob', 'kenlm_tokens', 'kenlm_bits_per_byte']
    >>> Perplexity(path="en.arpa.bin", tokenizer="en.sp.model").references()
    ()
    """

    stage: Literal["perplexity"] = "perplexity"
    version: ClassVar[int] = 2

    model: str | None = Field(default=None, description="name of the `train_lm` stage whose model is asked")
    path: InputPath | None = Field(
        default=None, description="or a file: a model of train_lm, one in the ARPA format, or kenlm's binary file"
    )
    against: str | None = Field(
        default=None,
        description="name of a second `train_lm` stage: adds `_difference`, bits per token of the first less its own",
    )
    by: str | None = Field(default=None, description="the column that `model` was trained by")
    text: TextForm = Field(default=TextForm(), description="with `path`: what the model's text is made of")
    tokenizer: InputPath | None = Field(
        default=None, description="with `path`: a SentencePiece model or tokenizer.json that cuts text into its tokens"
    )
    min_tokens: int = Field(default=5, ge=1, description="a document with fewer tokens gets null")
    paragraphs: bool = Field(default=False, description="add `_line_bits_per_byte`, a list with a number per sentence")
    prefix: str = Field(default="kenlm", pattern=r"^[a-z][a-z0-9_]*$", description="what the columns' names begin with")

    @model_validator(mode="after")
    def _one_model(self) -> "Perplexity":
        if (self.model is None) == (self.path is None):
            raise ValueError("give `model`, the name of a train_lm stage, or `path`, a model file: one of them")
        if self.path is None and (self.tokenizer or "text" in self.model_fields_set):
            raise ValueError("`text` and `tokenizer` go with `path`: a trained model knows its own")
        return self

    def references(self) -> tuple[str, ...]:
        """The stages that trained the models."""
        return tuple(dict.fromkeys(name for name in (self.model, self.against) if name))

    def files(self) -> dict[str, str]:
        """The model and its tokenizer, when they are given by path."""
        named = {"path": self.path, "tokenizer": self.tokenizer}
        return {field: path for field, path in named.items() if path}

    def packages(self) -> tuple[str, ...]:
        """The libraries that cut and score for a model given by path; a trained one names those of its own stage."""
        found = ["kenlm"] if self.path and self._kind() == "kenlm" else []
        if self.tokenizer:
            found.append("tokenizers" if self.tokenizer.endswith(".json") else "sentencepiece")
        return tuple(found)

    def _kind(self) -> str:
        """Kind of the model given by path; that of kenlm where the file cannot be looked into without a copy."""
        from curate.language_models.scorer import kind_of

        try:
            return kind_of(self.path or "") if storage.is_local(self.path or "") else "kenlm"
        except (OSError, ValueError):
            return ""

    def where_to_get(self, field: str) -> str:
        """How to come by a model."""
        if field == "path":
            return f"train one with a train_lm stage, or get CCNet's: {CCNET}/LANGUAGE.arpa.bin"
        return f"CCNet's: {CCNET}/LANGUAGE.sp.model, of the LANGUAGE of its .arpa.bin"

    def requires(self) -> tuple[str, ...]:
        """The text, and what chooses the model."""
        return ("text", *([self.by] if self.by else []))

    def place(self, column: str) -> tuple[str | int, ...]:
        """Where `column` is named."""
        return ("by",)

    def columns(self) -> pa.Schema:
        """Measurements of the document; null where there are too few tokens."""
        fields: list[tuple[str, pa.DataType]] = [
            ("log10_prob", pa.float64()),
            ("tokens", pa.int32()),
            ("bits_per_byte", pa.float64()),
            ("bits_per_char", pa.float64()),
            ("bits_per_word", pa.float64()),
            ("perplexity", pa.float64()),
            ("oov_share", pa.float64()),
        ]
        if self.against:
            fields.append(("difference", pa.float64()))
        if self.paragraphs:
            fields.append(("line_bits_per_byte", pa.list_(pa.float32())))
        return pa.schema([(f"{self.prefix}_{name}", kind) for name, kind in fields])

    def measures(self) -> tuple[str, ...]:
        """Bits per byte, unless the documents are cut by another column."""
        return (f"{self.prefix}_bits_per_byte",)

    def check(self, known: Known) -> Iterable[Problem]:
        """The stages are `train_lm` stages with the same `by`, and a model given by path can be opened."""
        for field in ("model", "against"):
            stage = known.stages.get(getattr(self, field) or "")
            if stage is None:
                continue
            if stage.stage != "train_lm":
                yield Problem((field,), f"{stage.name!r} is a {stage.stage} stage, not a train_lm stage")
            elif getattr(stage, "by", None) not in (None, self.by):
                message = f"{stage.name!r} has a model for each {stage.by}"  # type: ignore[attr-defined]
                yield Problem((field,), message, f"add `by: {stage.by}` here")  # type: ignore[attr-defined]
        if self.path and storage.is_local(self.path) and Path(self.path).is_file():
            yield from self._unreadable(self.path)
        if self.tokenizer and storage.is_local(self.tokenizer) and Path(self.tokenizer).is_file():
            yield from self._no_tokenizer(self.tokenizer)
        if self.path and self.text.tokens == "bpe" and not self.tokenizer:
            yield Problem(("tokenizer",), "subwords need the tokenizer that cuts them")

    def _unreadable(self, path: str) -> Iterator[Problem]:
        from curate.language_models.scorer import kind_of

        try:
            kind = kind_of(path)
        except (OSError, ValueError) as error:
            yield Problem(("path",), str(error))
            return
        if kind == "kenlm" and (absent := missing("kenlm", "kenlm")):
            yield Problem(("path",), f"{path!r} is a binary file of kenlm: {absent.message}", absent.hint)

    def _no_tokenizer(self, path: str) -> Iterator[Problem]:
        from curate.language_models.scorer import open_tokenizer

        if not path.endswith(".json") and (absent := missing("sentencepiece", "sentencepiece")):
            yield Problem(("tokenizer",), f"{path!r} is a SentencePiece model: {absent.message}", absent.hint)
            return
        try:
            open_tokenizer(path)
        except (OSError, RunError, ValueError) as error:
            yield Problem(("tokenizer",), str(error), self.where_to_get("tokenizer"))

    def prepare(self, ctx: "Context") -> None:
        """Say where the models are: beside this artifact, in a run's directory that may be moved.

        A model in the ARPA format is read once, here, into a file that workers share.
        """
        if self.path and self._kind() == "arpa":
            from curate.language_models import arpa

            try:
                arpa.read(self.path).save(f"{ctx.path}/{CONVERTED}")
            except ValueError as error:
                raise RunError(str(error)) from None
        places = {name: artifact.path.rpartition("/")[2] for name, artifact in ctx.inputs.items()}
        storage.write_json(f"{ctx.path}/{PLACES}", places)

    def load_prepared(self, path: str) -> Annotate:
        """Map the models into memory."""
        places = storage.read_json(f"{path}/{PLACES}")
        trained = {name: Artifact(name, f"{path.rpartition('/')[0]}/{place}", "") for name, place in places.items()}
        scorers = self._scorers(trained.get(self.model or ""), path)
        others = self._scorers(trained[self.against], path) if self.against else None
        schema = self.columns()

        def annotate(batch: "TextBatch", columns: pa.RecordBatch) -> pa.RecordBatch:
            groups = columns.column(self.by).to_pylist() if self.by else None
            first = _score(batch, groups, scorers, self.min_tokens, lines=self.paragraphs)
            values = _measures(batch, first)
            if others is not None:
                # The two models may cut text into different tokens; bits are of the document, tokens of the first.
                second = _score(batch, groups, others, 1, lines=False)
                values["difference"] = (first["bits"] - second["bits"]) / first["tokens"]
            kinds = schema.types[: len(values)]
            arrays = [pa.array(v, kind, from_pandas=True) for v, kind in zip(values.values(), kinds, strict=True)]
            if self.paragraphs:
                arrays.append(pa.array(first["lines"], pa.list_(pa.float32()), from_pandas=True))
            return pa.RecordBatch.from_arrays(arrays, schema=schema)

        return annotate

    def conclude(self, ctx: "Context") -> PerplexityBody:
        """Per source: documents, those that are scored, their bits per byte, and the share of unknown tokens."""
        found = ctx.map_shards(partial(_summarize, self.prefix, ctx.artifact), phase="summary")
        totals: dict[str, Totals] = {}
        for shard, counts in zip(ctx.table.shards, found, strict=True):
            totals.setdefault(shard.source, Totals()).add(counts)
        return {"scores": {source: _summary(total.counts) for source, total in totals.items()}}

    def _scorers(self, trained: Artifact | None, path: str) -> "dict[str | None, Scorer]":
        """Models by group; one for all documents is that of None."""
        from curate.language_models.scorer import open_scorer

        if trained is None:
            converted = f"{path}/{CONVERTED}"
            given = converted if storage.exists(converted) else self.path or ""
            return {None: open_scorer(given, self.text.model_dump_json(), self.tokenizer)}
        body = trained.body(TrainLmBody)
        models = {group: open_scorer(f"{trained.path}/{file_name(group)}.lm") for group in body["models"]}
        return {None: models[ALL]} if body["by"] is None else {**models}


def _score(
    batch: "TextBatch", groups: list[Any] | None, scorers: "Mapping[str | None, Scorer]", least: int, *, lines: bool
) -> dict[str, Any]:
    """Bits, tokens, sentences and unknown tokens by document; NaN where there is no model, or too little text."""
    from curate.text.batch import TextBatch

    size = len(batch)
    found: dict[str, Any] = {name: np.full(size, np.nan) for name in ("bits", "tokens", "sentences", "unknown")}
    found["lines"] = [None] * size
    named = np.array(groups, object)
    chosen = {g: np.arange(size) if g is None else np.flatnonzero(named == g) for g in scorers}
    for group, rows in chosen.items():
        if not len(rows):
            continue
        part = batch if len(rows) == size else TextBatch(batch.text.take(pa.array(rows)))
        sums = scorers[group].score(part)
        enough = sums.tokens >= least
        at = rows[enough]
        found["bits"][at] = -BITS * sums.log10_prob[enough]
        for name in ("tokens", "sentences", "unknown"):
            found[name][at] = getattr(sums, name)[enough]
        if lines:
            for row, bits in zip(at.tolist(), _line_bits(sums, np.flatnonzero(enough)), strict=True):
                found["lines"][row] = bits
    return found


BITS = float(np.log2(10.0))
HISTOGRAM = 0.1  # bits per byte of a bar
MOST = 16.0  # bits per byte that the last bar, which is open, begins below
SHARES = (0.05, 0.25, 0.5, 0.75, 0.95)


def _summarize(prefix: str, artifact: Artifact, shard: Shard) -> dict[str, Any]:
    """Counts of the documents of one shard, from the columns that were written of it."""
    from curate.stats.quantiles import coarse

    names = [f"{prefix}_{name}" for name in ("bits_per_byte", "tokens", "oov_share")]
    columns = (column.cast(pa.float64()).to_numpy() for column in read_part(artifact.part(shard.name), names).columns)
    bits, tokens, unknown = columns
    known = ~np.isnan(bits)
    bits, tokens, unknown = bits[known], tokens[known], unknown[known]
    bars = np.minimum(bits / HISTOGRAM, MOST / HISTOGRAM - 1).astype(np.int64)
    return {
        "documents": shard.rows,
        "scored": len(bits),
        "bits": float(bits.sum()),
        "tokens": int(tokens.sum()),
        "unknown": int(np.rint(tokens * unknown).sum()),
        "coarse": coarse(bits.astype(np.float32)),
        "histogram": {str(bar): n for bar, n in enumerate(np.bincount(bars).tolist()) if n},
    }


def _summary(counts: Mapping[str, Any]) -> SourceScores:
    """What the manifest says of a source; quantiles to 0.4 %, and documents by bars of `HISTOGRAM`."""
    from curate.stats.quantiles import coarse_quantile

    scored = counts["scored"]
    bars = {int(bar): n for bar, n in counts["histogram"].items()}
    return {
        "documents": counts["documents"],
        "scored": scored,
        "null": counts["documents"] - scored,
        "tokens": counts["tokens"],
        "oov_share": counts["unknown"] / counts["tokens"] if scored else None,
        "mean_bits_per_byte": counts["bits"] / scored if scored else None,
        "quantiles": {str(share): coarse_quantile(counts["coarse"], share) for share in SHARES} if scored else {},
        "histogram": {"width": HISTOGRAM, "counts": [bars.get(bar, 0) for bar in range(max(bars, default=-1) + 1)]},
    }


def _line_bits(sums: "Sums", rows: NDArray[np.int64]) -> Iterator[NDArray[np.float32]]:
    """Bits per byte of the sentences of some documents."""
    bits = (-BITS * sums.line_log10_prob / np.maximum(sums.line_sizes, 1)).astype(np.float32)
    bits[sums.line_log10_prob == 0] = np.nan
    for row in rows.tolist():
        yield bits[sums.lines[row] : sums.lines[row + 1]]


def _measures(batch: "TextBatch", found: Mapping[str, NDArray[np.float64]]) -> dict[str, NDArray[np.float64]]:
    """Columns but for their prefix; NaN for null."""
    bits, tokens = found["bits"], found["tokens"]
    chars = pc.call_function("utf8_length", [batch.text]).to_numpy().astype(np.float64)
    words = np.diff(batch.words.offsets).astype(np.float64)
    return {
        "log10_prob": bits / -BITS,
        "tokens": tokens,
        "bits_per_byte": bits / np.maximum(np.diff(batch.offsets), 1),
        "bits_per_char": bits / np.maximum(chars, 1),
        "bits_per_word": np.where(words > 0, bits / np.maximum(words, 1), np.nan),
        "perplexity": 2.0 ** (bits / (tokens + found["sentences"])),
        "oov_share": found["unknown"] / tokens,
    }
