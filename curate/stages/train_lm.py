"""Train n-gram language models on the documents of some sources: one model, or one per value of a column."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field, field_validator

from curate import storage
from curate.artifact import Shard, all_kept, file_hash
from curate.classifiers.groups import Group
from curate.config.units import Bytes
from curate.errors import Problem, RunError
from curate.language_models.manifest import EstimationFacts, ModelCard, TrainLmBody
from curate.language_models.segmentation import ALL, TextForm, file_name
from curate.registry import stage_type
from curate.stage import Known, Stage
from curate.table import Table, as_batch

if TYPE_CHECKING:
    from curate.engine.context import Context

COLLECTED = "_collected"


class TrainLm(Stage):
    """Train an n-gram model with interpolated modified Kneser-Ney smoothing, which `perplexity` scores with.

    The artifact holds ``model.lm``, or one file per value of `by`, with the settings of the text in it.

    Examples
    --------
    >>> TrainLm(sources=("wiki",), prune=(0, 0, 1)).requires()
    ('id', 'text', 'text_bytes')
    """

    stage: Literal["train_lm"] = "train_lm"
    version: ClassVar[int] = 2

    sources: tuple[str, ...] | None = Field(
        default=None, min_length=1, description="sources to train on; all unless given"
    )
    where: str | None = Field(
        default=None, description="SQL expression over columns, true for documents to train on; all unless given"
    )
    by: str | None = Field(default=None, description="a column such as lang_code: one model for each of its values")
    min_bytes: Bytes = Field(
        default=0, description="with `by`: a value with less text gets no model, and its documents no perplexity"
    )
    text: TextForm = Field(default=TextForm(), description="what the model's text is made of")
    vocab_size: int = Field(default=16384, ge=257, le=1_000_000, description="with `bpe`: tokens of its vocabulary")
    order: int = Field(default=5, ge=1, le=6, description="length of the longest n-grams")
    prune: tuple[int, ...] = Field(
        default=(0, 0, 1),
        description="drop n-grams with a count of at most so much, by order; the last holds for the orders above",
    )
    discount_fallback: bool = Field(
        default=True, description="use discounts 0.5, 1, 1.5 where counts give none (a small text); if not, that fails"
    )
    max_bytes: Bytes | None = Field(
        default=None, description="train on a sample of documents of about so much text (each model); all unless given"
    )
    estimator: Literal["builtin", "lmplz"] = Field(
        default="builtin", description="what counts and estimates: both give the same model, lmplz in bounded memory"
    )
    files_too: tuple[Literal["arpa", "binary"], ...] = Field(
        default=(), description="formats of other tools to write too: `arpa`, kenlm's `binary`"
    )

    @field_validator("prune")
    @classmethod
    def _rise(cls, prune: tuple[int, ...]) -> tuple[int, ...]:
        from curate.language_models.kneser_ney import thresholds

        thresholds(max(6, len(prune)), prune)
        return prune

    @property
    def limits(self) -> tuple[int, ...]:
        """Thresholds of pruning; those of the default end with the order."""
        return self.prune if "prune" in self.model_fields_set else self.prune[: self.order]

    @property
    def group(self) -> Group | None:
        """Documents to train on; None for all."""
        return None if self.sources is None and self.where is None else Group(sources=self.sources, where=self.where)

    def upstream(self) -> tuple[Stage, ...]:
        """Lengths, to know the rate of a sample."""
        return (stage_type("size")(),)

    def requires(self) -> tuple[str, ...]:
        """The text, and what selects and groups documents."""
        named = [*(self.group.columns() if self.group else ()), *([self.by] if self.by else [])]
        return tuple(dict.fromkeys(["id", "text", "text_bytes", *named]))

    def place(self, column: str) -> tuple[str | int, ...]:
        """Where `column` is named."""
        return ("where",) if self.group and column in self.group.columns() else ("by",)

    def packages(self) -> tuple[str, ...]:
        """The library that learns to cut text into subwords."""
        return ("tokenizers",) if self.text.tokens == "bpe" else ()

    def check(self, known: Known) -> Iterable[Problem]:
        """Sources and columns fit, thresholds are not more than orders, and lmplz is there if it is asked for."""
        from curate.language_models.training import find_tool, missing_tool

        if self.group:
            yield from self.group.problems("", known.sources, known.columns)
        if self.by in known.columns.names and not _is_text(known.columns.field(self.by).type):
            yield Problem(("by",), f"{self.by!r} is not a column of text")
        if len(self.limits) > self.order:
            yield Problem(("prune",), f"{len(self.prune)} thresholds, but the order is {self.order}")
        if self.estimator == "lmplz" and find_tool("lmplz") is None:
            yield Problem(("estimator",), "there is no lmplz", missing_tool("lmplz"))
        if "binary" in self.files_too and find_tool("build_binary") is None:
            yield Problem(("files_too",), "there is no build_binary", missing_tool("build_binary"))

    def run(self, ctx: "Context") -> TrainLmBody:
        """Choose documents, number their tokens shard by shard, then train each model in one task."""
        shards = [s for s in ctx.table.shards if self.sources is None or s.source in self.sources]
        sizes: dict[str, int] = {}
        for found in ctx.map(partial(_measure, self, ctx.table), shards, phase="measure"):
            for group, size in found["bytes"].items():
                sizes[group] = sizes.get(group, 0) + size
        groups = sorted(group for group, size in sizes.items() if size >= max(self.min_bytes, 1))
        if not groups:
            found = f"{dict(sorted(sizes.items()))} bytes by model" if sizes else "no document is chosen"
            raise RunError(f"{ctx.artifact.name}: no text to train on: {found}")
        rates = {group: min((self.max_bytes or sizes[group]) / sizes[group], 1.0) for group in groups}
        tokenizers = self._tokenizers(ctx, shards, sizes, groups)
        folder = f"{ctx.path}/{COLLECTED}"
        chosen = ctx.map(partial(_collect, self, ctx.table, folder, rates, tokenizers), shards, phase="collect")
        paths = [f"{folder}/{shard.name}.npz" for shard in shards]
        task = partial(_train, self, ctx.path, paths, tokenizers)
        models = ctx.map(task, groups, phase="train", keys=[*map(file_name, groups)])
        storage.remove_tree(folder)
        used: dict[str, int] = {}
        seen: dict[str, int] = {}
        for shard, result in zip(shards, chosen, strict=True):
            used[shard.source] = used.get(shard.source, 0) + sum(result["documents"].values())
            for group, documents in result["documents"].items():
                seen[group] = seen.get(group, 0) + documents
        cards: dict[str, ModelCard] = {
            group: {
                **estimated,
                "documents": seen.get(group, 0),
                "bytes": sizes[group],
                "rate": rates[group],
                "sha256": file_hash(f"{ctx.path}/{file_name(group)}.lm"),
            }
            for group, estimated in zip(groups, models, strict=True)
        }
        left = {group: size for group, size in sizes.items() if group not in groups}
        flow = all_kept(ctx.table.shards)
        return {"flow": flow, "by": self.by, "models": cards, "documents": used, "too_little_text": left}

    def _tokenizers(
        self, ctx: "Context", shards: Sequence[Shard], sizes: dict[str, int], groups: Sequence[str]
    ) -> dict[str, str]:
        """Paths of the subword tokenizers, trained on a sample, by group."""
        if self.text.tokens != "bpe":
            return {}
        folder = f"{ctx.path}/_sample"
        rates = {group: min(SAMPLE_BYTES / sizes[group], 1.0) for group in groups}
        ctx.map(partial(_sample, self, ctx.table, folder, rates), shards, phase="sample")
        paths = [f"{folder}/{shard.name}.json" for shard in shards]
        found = {group: f"{ctx.path}/{file_name(group)}.tokenizer.json" for group in groups}
        task = partial(_train_tokenizer, found, paths, self.vocab_size)
        ctx.map(task, groups, phase="tokenizer", keys=[*map(file_name, groups)])
        storage.remove_tree(folder)
        return found


SAMPLE_BYTES = 8_000_000  # text that a subword tokenizer is trained on, about


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind.value_type if pa.types.is_dictionary(kind) else kind)


def _chosen(stage: TrainLm, source: str, columns: pa.RecordBatch) -> tuple[NDArray[np.bool_], list[Any]]:
    """Which documents are trained on, and the model of each."""
    rows = columns.num_rows
    wanted = stage.group.mask(source, pa.table(columns)) if stage.group else np.ones(rows, bool)
    return wanted, columns.column(stage.by).to_pylist() if stage.by else [ALL] * rows


def _measure(stage: TrainLm, table: Table, shard: Shard) -> dict[str, Any]:
    columns = as_batch(table.read(shard, [name for name in stage.requires() if name not in ("id", "text")]))
    wanted, groups = _chosen(stage, shard.source, columns)
    sizes: dict[str, int] = {}
    for group, size, use in zip(groups, columns.column("text_bytes").to_pylist(), wanted.tolist(), strict=True):
        if use and group is not None:
            sizes[group] = sizes.get(group, 0) + size
    return {"bytes": sizes}


def _each_group(
    stage: TrainLm, table: Table, rates: dict[str, float], salt: str, shard: Shard
) -> Iterable[tuple[str, pa.Array]]:
    """Texts to train on, batch by batch and group by group; a document is drawn by a hash of its id."""
    from curate.text.hashing import hash64, id_bytes

    for batch in table.batches(shard, list(stage.requires())):
        wanted, groups = _chosen(stage, shard.source, batch)
        draw = hash64(0, salt, id_bytes(batch.column("id"))) / 2.0**64
        rate = np.array([rates.get(group, 0.0) for group in groups])
        use = wanted & (draw < rate)
        for group in sorted({group for group, used in zip(groups, use.tolist(), strict=True) if used}):
            rows = np.flatnonzero(use & np.array([g == group for g in groups]))
            yield group, batch.column("text").take(pa.array(rows))


def _collect(
    stage: TrainLm, table: Table, folder: str, rates: dict[str, float], tokenizers: dict[str, str], shard: Shard
) -> dict[str, Any]:
    """Number the tokens of the shard's documents and write them, with their words, by group."""
    from curate.language_models.segmentation import cut, subwords
    from curate.language_models.training import Collected, save_collected
    from curate.language_models.vocabulary import Vocabulary, with_bounds
    from curate.text.batch import TextBatch

    vocabularies: dict[str, Vocabulary] = {}
    ids: dict[str, list[NDArray[np.int32]]] = {}
    documents: dict[str, int] = {}
    for group, texts in _each_group(stage, table, rates, "train_lm", shard):
        tokenizer = subwords(storage.read_bytes(tokenizers[group]).decode()) if tokenizers else None
        seen = cut(TextBatch(texts), stage.text, tokenizer)
        vocabulary = vocabularies.setdefault(group, Vocabulary())
        ids.setdefault(group, []).append(with_bounds(vocabulary.add(seen.hashes, seen.texts), seen.offsets))
        documents[group] = documents.get(group, 0) + len(texts)
    groups = {g: Collected(np.concatenate(ids[g]), v.words, v.hashes) for g, v in vocabularies.items()}
    with storage.replacing(f"{folder}/{shard.name}.npz") as file:
        save_collected(file, groups)
    return {"documents": documents}


def _train(
    stage: TrainLm, folder: str, paths: Sequence[str], tokenizers: dict[str, str], group: str
) -> EstimationFacts:
    from curate.language_models import training

    text = training.merge_collected(paths, group)
    tokenizer = {"tokenizer": storage.read_bytes(tokenizers[group]).decode()} if tokenizers else {}
    meta = {"text": stage.text.model_dump(mode="json"), "prune": list(stage.limits), **tokenizer}
    arpa = f"{folder}/{file_name(group)}.arpa"
    estimate: Callable[..., Any] = training.train if stage.estimator == "builtin" else training.train_with_lmplz
    model = estimate(
        text,
        meta,
        stage.order,
        stage.limits,
        fallback=stage.discount_fallback,
        arpa_path=arpa if stage.files_too else None,
    )
    model.save(f"{folder}/{file_name(group)}.lm")
    if "binary" in stage.files_too:
        training.to_binary(arpa, f"{folder}/{file_name(group)}.bin")
    return cast(EstimationFacts, {key: model.meta[key] for key in model.meta if key not in ("text", "tokenizer")})


def _sample(stage: TrainLm, table: Table, folder: str, rates: dict[str, float], shard: Shard) -> dict[str, Any]:
    """Normalized lines of a sample, by group."""
    from curate.language_models.ccnet import normalize
    from curate.text.batch import TextBatch

    lines: dict[str, list[str]] = {}
    form = stage.text
    for group, texts in _each_group(stage, table, rates, "tokenizer", shard):
        found = normalize(TextBatch(texts), ccnet=form.normalization == "ccnet", whole=form.sentences == "document")
        bounds = zip(found.offsets[:-1].tolist(), found.offsets[1:].tolist(), strict=True)
        lines.setdefault(group, []).extend(found.data[start:end].tobytes().decode() for start, end in bounds)
    storage.write_json(f"{folder}/{shard.name}.json", lines)
    return {"lines": sum(map(len, lines.values()))}


def _train_tokenizer(found: dict[str, str], paths: Sequence[str], vocab_size: int, group: str) -> dict[str, Any]:
    from curate.text.tokenizer import train

    lines = [line for path in paths for line in storage.read_json(path).get(group, [])]
    with storage.replacing(found[group]) as file:
        file.write(train(lines, vocab_size).encode())
    return {"lines": len(lines)}
