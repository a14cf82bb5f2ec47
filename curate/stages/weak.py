"""One calibrated quality of each document from many noisy signals: votes of labeling functions, and a label model.

Data programming (Ratner et al. 2016, arXiv 1605.07723): functions vote keep, drop or abstain, and a model learns from
their agreements and conflicts alone how far each is to be trusted. See ``docs/labeling.md``.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field, model_validator

from curate import storage
from curate.artifact import Artifact, Shard, Totals, all_kept
from curate.errors import ConfigError, Problem, RunError, nearest
from curate.registry import stage_type
from curate.stage import Known, Stage
from curate.stats.quantiles import add, counted, exact_quantiles
from curate.storage import InputPath
from curate.table import ParquetWriter, Table, read_part
from curate.text.hashing import hash64, id_bytes
from curate.user_function import most_frequent
from curate.weak.functions.checks import column_problems, file_problems, is_text
from curate.weak.functions.config import Function, Named, Voter, voters
from curate.weak.functions.contributions import CONTRIBUTION, top_contributions
from curate.weak.functions.python import ABSTAIN, KEEP, NOT_ASKED
from curate.weak.functions.score_cuts import score_cuts
from curate.weak.functions.states import load_model, load_state, merged, save_model, save_state
from curate.weak.functions.text import found_columns, searched
from curate.weak.functions.votes import Ballot, evaluate
from curate.weak.gold.file import Gold, read_gold
from curate.weak.manifest import FittedSummary, FunctionFacts, QualityCounts, WeakBody, WeakFacts

if TYPE_CHECKING:
    from curate.engine.context import Context
    from curate.weak.model.model import LabelModel

log = logging.getLogger("curate")

SLICES = 64
OTHERS, NONE = "others", "none"  # slices of rare values, and of documents without a value
SOURCE = "source"
BINS = 20  # of the histogram of the quality
QUALITY = "quality"
ANSWERS = {"abstain": ABSTAIN, "not_asked": NOT_ASKED}
VOTES, STATES, MODEL, STATE = "_votes", "_states", "model", "state.npz"


class Weak(Stage):
    """Weigh the votes of labeling functions into the probability that a document is to be kept.

    Writes ``vote_<function>`` for each function; ``weak_quality``, the probability of keep; ``weak_keep``, null where
    there is neither a keep rate nor gold to decide by; ``weak_majority``, the share of keep among the votes; and
    ``weak_top``, the largest contributions to the log-odds of keep, by the position of the function in the manifest.
    All but the votes begin with the stage's name. Nothing is dropped: `select` does that, with ``weak_quality < 0.5``
    or ``NOT weak_keep``.

    Examples
    --------
    >>> stage = Weak(functions={"short": Function(when="words < 50", vote="drop"), "mt5": Function(preset="mt5")})
    >>> stage.requires()
    ('id', 'words', 'c4_long_lines')
    >>> stage.columns().names
    ['vote_short', 'vote_mt5_long_lines_min', 'weak_quality', 'weak_keep', 'weak_majority', 'weak_top']
    """

    stage: Literal["weak"] = "weak"
    name: str = "weak"
    version: ClassVar[int] = 1

    functions: dict[Named, Function] = Field(min_length=1, description="labeling functions by name")
    language: str | None = Field(
        default=None,
        min_length=1,
        description="column with a document's language, such as lang_code: rules of presets that make sense for one "
        "language alone then abstain on all others; unless given, they are for every document",
    )
    keep_rate: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="share of the documents that is good; unless given, from gold, and without gold the quality ranks "
        "documents and is no probability",
    )
    gold: InputPath | None = Field(
        default=None,
        description="file of documents that a person called keep or drop, from `curate label`",
    )
    decide: Literal["threshold", "rate"] = Field(
        default="threshold",
        description="whether `weak_keep` is true from a quality on, or of the best documents, as many as the keep rate "
        "and more where qualities at the cut are equal",
    )
    threshold: float = Field(default=0.5, ge=0, le=1, description="the quality from which a document is kept")
    sources: tuple[str, ...] | None = Field(
        default=None,
        min_length=1,
        description="sources whose documents are judged; others have no quality, and the keep rate is not theirs",
    )
    outside: Literal["abstain", "not_asked"] = Field(
        default="not_asked",
        description="what a function says outside of its `sources`, `where` and language: nothing at all, or that it "
        "abstains, which the model takes as an answer",
    )
    slices: str | None = Field(
        default=SOURCE, min_length=1, description="column by which the report counts votes apart; null for none"
    )

    @model_validator(mode="after")
    def _decidable(self) -> "Weak":
        if self.decide == "rate" and self.keep_rate is None and self.gold is None:
            raise ValueError("`decide: rate` needs `keep_rate` or `gold`")
        return self

    @property
    def voters(self) -> tuple[Voter, ...]:
        """Columns of votes, in order."""
        return voters(self.functions, self.language)

    @property
    def text_functions(self) -> dict[str, Function]:
        """The functions that look at the text, by name, without what the votes alone depend on."""
        keys = {voter.key for voter in self.voters if voter.reads_text}
        return {key: searched(function) for key, function in self.functions.items() if key in keys}

    def files(self) -> dict[str, str]:
        """The gold; files of functions enter the fingerprint with them."""
        return {"gold": self.gold} if self.gold is not None else {}

    def where_to_get(self, field: str) -> str:
        """The command that makes it."""
        return "run without `gold` first, then `curate label RUN --n 200` draws documents to judge and writes it"

    def identity(self) -> dict[str, Any]:
        """Functions by what they say, files by their content."""
        return super().identity() | {"functions": {key: own.identity(key) for key, own in self.functions.items()}}

    def upstream(self) -> tuple[Stage, ...]:
        """What is found in the text, if a function looks at it."""
        fields = {"functions": self.text_functions, "prefix": self.name}
        return (stage_type("labels").model_validate(fields),) if fields["functions"] else ()

    def requires(self) -> tuple[str, ...]:
        """The id, what the functions look at, and the column of the slices."""
        named = [column for voter in self.voters for column in voter.columns()]
        found = found_columns(self.text_functions, self.name).names
        others = [column for column in (self.language, self.slices) if column not in (None, SOURCE)]
        return tuple(dict.fromkeys(["id", *named, *found, *others]))

    def place(self, column: str) -> tuple[str | int, ...]:
        """The function or field that names `column` first."""
        if column == self.language:
            return ("language",)
        places = (voter.place(column) for voter in self.voters if column in voter.columns())
        return next(places, ("slices",) if column == self.slices else ())

    def columns(self) -> pa.Schema:
        """``vote_`` columns, ``_quality``, ``_keep``, ``_majority`` and ``_top``."""
        return pa.schema(
            [
                *(pa.field(f"vote_{voter.name}", pa.int8(), nullable=False) for voter in self.voters),
                pa.field(f"{self.name}_quality", pa.float32()),
                pa.field(f"{self.name}_keep", pa.bool_()),
                pa.field(f"{self.name}_majority", pa.float32()),
                pa.field(f"{self.name}_top", pa.list_(CONTRIBUTION)),
            ]
        )

    def check(self, known: Known) -> Iterable[Problem]:
        """Functions can be evaluated and loaded, slices are of text, and the gold file is one."""
        yield from column_problems(self.functions, self.language, known.columns, list(known.sources))
        yield from file_problems(self.functions)
        for position, source in enumerate(self.sources or ()):
            if known.sources and source not in known.sources:
                hint = nearest(source, known.sources)
                yield Problem(("sources", position), f"there is no source {source!r}", hint)
        for field in ("language", "slices"):
            name = getattr(self, field)
            if name in known.columns.names and not is_text(known.columns.field(name).type):
                yield Problem((field,), f"{name!r} holds {known.columns.field(name).type}, not text")
        if self.slices == "text":
            yield Problem(("slices",), "the text makes no slices", nearest("", [SOURCE]))
        if self.gold is not None and storage.exists(self.gold):
            try:
                read_gold(self.gold)
            except ConfigError as error:
                for problem in error.problems:
                    yield Problem(("gold",), str(problem), self.where_to_get("gold"))

    def run(self, ctx: "Context") -> WeakBody:
        """Vote shard by shard, fit the model on the sum of the states, and score shard by shard."""
        if not ctx.table.rows:
            raise RunError(f"{self.name}: there are no documents to learn from")
        cuts = score_cuts(ctx, self.voters, self.sources)
        slices = self._slice_names(ctx)
        gold = read_gold(self.gold) if self.gold is not None else None
        voted = ctx.map_shards(partial(_vote, self, ctx.table, ctx.path, cuts, slices, gold), phase="vote")
        if not any(result["asked"] for result in voted):
            raise RunError(
                f"{ctx.artifact.name}: no function was asked about any document: look at their `sources`, `where` and "
                "columns of answers"
            )
        if gold is not None and self.keep_rate is None and not any(result["gold"] for result in voted):
            raise RunError(
                f"{ctx.artifact.name}: none of the {len(gold.labels)} answers in {self.gold!r} is about a document "
                "that is judged here, so that nothing says what share to keep: state `keep_rate`"
            )
        _warn_of_faults(ctx.artifact.name, voted)
        states = merged(ctx, [f"{ctx.path}/{STATES}/{shard.name}.npz" for shard in ctx.table.shards])
        (fitted,) = ctx.map(partial(_fit, self, ctx.path), [states], phase="fit", keys=["fit"])
        cut = self._cut(ctx, fitted)
        written = ctx.map_shards(partial(_write, self, ctx.artifact, cut))
        for folder in (VOTES, STATES):
            storage.remove_tree(f"{ctx.path}/{folder}")
        return self._told(ctx.table, cuts, cut, gold, fitted, voted, written)

    def _slice_names(self, ctx: "Context") -> tuple[str, ...]:
        """Values of the slices' column, at most `SLICES`: the most frequent ones, and `OTHERS` for the rest."""
        counts: dict[str, int] = {}
        if self.slices == SOURCE:
            for shard in ctx.table.shards:
                add(counts, {shard.source: shard.rows})
        elif self.slices is not None:
            for found in ctx.map_shards(partial(_count_slices, ctx.table, self.slices), phase="slices"):
                add(counts, found["counts"])
        names = sorted(counts, key=lambda name: (-counts[name], name))
        return tuple(names if len(names) <= SLICES else [*names[: SLICES - 1], OTHERS])

    def _cut(self, ctx: "Context", fitted: FittedSummary) -> float | None:
        """The quality from which a document is kept; None where nothing says how many are."""
        if fitted["keep_rate"] is None:
            return None
        if self.decide == "threshold":
            return self.threshold

        keep_rate = fitted["keep_rate"]

        def counting(bins: Mapping[str, Sequence[int]] | None) -> dict[str, dict[str, int]]:
            task, total = partial(_count_quality, ctx.path, None if bins is None else bins[QUALITY]), {}
            for result in ctx.map_shards(task, phase="quality_upper" if bins is None else "quality_lower"):
                add(total, result["counts"])
            return {QUALITY: total}

        found = exact_quantiles(counting, lambda _, n: [min(int((1 - keep_rate) * n + 1e-9), n - 1)] if n else [])
        return float(found[QUALITY][0]) if found else self.threshold

    def _told(
        self,
        table: Table,
        cuts: Mapping[str, Any],
        cut: float | None,
        gold: Gold | None,
        fitted: FittedSummary,
        voted: Sequence[dict[str, Any]],
        written: Sequence[QualityCounts],
    ) -> WeakBody:
        """The manifest's body."""
        faults, qualities = Totals(), Totals()
        for shard, votes, scores in zip(table.shards, voted, written, strict=True):
            faults.add(votes)
            qualities.add({shard.source: scores})
        functions: list[FunctionFacts] = [
            {
                "name": voter.name,
                "key": voter.key,
                "kind": voter.function.kind,
                "when": voter.when,
                "buckets": voter.function.ordered,
                "cuts": cuts.get(voter.name, {}),
                "faults": most_frequent(faults.counts.get("faults", {}).get(voter.name, {})),
            }
            for voter in self.voters
        ]
        weak: WeakFacts = {
            "functions": functions,
            "judged": self.sources,
            "decide": {"by": self.decide, "from": cut, "keep_rate": fitted["keep_rate"]},
            "gold": None if gold is None else {"answers": len(gold.labels), "found": faults.counts.get("gold", 0)},
            "sources": qualities.counts,
            "slices": self.slices,
            "model": fitted["summary"],
        }
        return {"flow": all_kept(table.shards), "weak": weak}


def _count_slices(table: Table, column: str, shard: Shard) -> dict[str, Any]:
    values = _slice_values(table.read(shard, [column]).column(column))
    counts = values.value_counts().to_pylist()
    return {"counts": {entry["values"]: entry["counts"] for entry in counts}}


def _slice_values(column: pa.ChunkedArray) -> pa.Array:
    """Values of a column, null as `NONE`."""
    return column.combine_chunks().cast(pa.string()).fill_null(NONE)


def _vote(
    stage: Weak,
    table: Table,
    path: str,
    cuts: Mapping[str, Mapping[str, Sequence[float]]],
    slices: Sequence[str],
    gold: Gold | None,
    shard: Shard,
) -> dict[str, Any]:
    """Write the votes of a shard and their state; count faults, and documents with gold."""
    from curate.weak.model.statistics import VoteState

    columns = table.read(shard, stage.requires())
    asked = stage.voters
    if stage.sources is None or shard.source in stage.sources:
        ballot = evaluate(asked, columns, shard.source, cuts, stage.name, ANSWERS[stage.outside])
    else:
        ballot = Ballot.silent(shard.rows, len(asked))
    ids = columns.column("id").combine_chunks()
    labels, weights = gold.of(ids) if gold is not None else (None, None)
    names = [voter.name for voter in asked]
    told = _asked(ballot.votes)
    state = VoteState.count(
        ballot.votes[told],
        n_classes=2,
        ordered=[voter.function.ordered for voter in asked],
        keys=hash64(0, "weak", id_bytes(ids))[told],
        gold=None if labels is None else labels[told],
        gold_weights=None if weights is None else weights[told],
        names=names,
        slices={name: mask[told] for name, mask in _masks(stage, columns, shard, slices).items()},
    )
    save_state(state, f"{path}/{STATES}/{shard.name}.npz")
    schema = pa.schema(list(stage.columns())[: len(names)])
    with ParquetWriter(f"{path}/{VOTES}/{shard.name}.parquet", schema) as writer:
        arrays = [pa.array(np.ascontiguousarray(ballot.votes[:, position])) for position in range(len(names))]
        writer.write(pa.RecordBatch.from_arrays(arrays, schema=schema))
    faults = {name: dict(counts) for name, counts in zip(names, ballot.faults, strict=True) if counts}
    known = 0 if labels is None else int((labels[told] >= 0).sum())
    return {"faults": faults, "gold": known, "asked": int(told.sum())}


def _warn_of_faults(name: str, voted: Sequence[Mapping[str, Any]]) -> None:
    """Name functions that failed on documents; the report says how."""
    total: dict[str, int] = {}
    for result in voted:
        add(total, {function: sum(counts.values()) for function, counts in result["faults"].items()})
    for function, documents in total.items():
        log.warning("%s: the function %r failed on %d documents, and abstains there", name, function, documents)


def _masks(stage: Weak, columns: pa.Table, shard: Shard, slices: Sequence[str]) -> dict[str, NDArray[np.bool_]]:
    """Documents of each slice that the shard has some of."""
    if stage.slices is None:
        return {}
    if stage.slices == SOURCE:
        return {shard.source if shard.source in slices else OTHERS: np.ones(shard.rows, bool)}
    values = _slice_values(columns.column(stage.slices)).dictionary_encode()
    named = [name if name in slices else OTHERS for name in values.dictionary.to_pylist()]
    place = values.indices.to_numpy()
    return {
        slice_: np.isin(place, [i for i, name in enumerate(named) if name == slice_]) for slice_ in sorted(set(named))
    }


def _fit(stage: Weak, path: str, state_path: str) -> FittedSummary:
    """Fit the model on the sum of all states, and write both."""
    from curate.weak.model.model import LabelModel

    state = load_state(state_path)
    balance = None if stage.keep_rate is None else [1 - stage.keep_rate, stage.keep_rate]
    model = LabelModel(n_classes=2).fit_state(state, class_balance=balance)
    save_model(model, f"{path}/{MODEL}")
    save_state(state, f"{path}/{STATE}")
    summary = model.summary()
    return {"summary": summary, "keep_rate": None if summary["ranks_only"] else summary["class_balance"][KEEP]}


def _votes_of(path: str, shard: Shard) -> NDArray[np.int8]:
    """Votes of a shard, shape (documents, functions)."""
    part = read_part(f"{path}/{VOTES}/{shard.name}.parquet")
    votes = np.empty((part.num_rows, part.num_columns), np.int8)
    for position, column in enumerate(part.columns):
        votes[:, position] = column.to_numpy()
    return votes


def _asked(votes: NDArray[np.int8]) -> NDArray[np.bool_]:
    """Documents that any function was asked about, shape (documents,)."""
    return (votes != NOT_ASKED).any(axis=1)


def _quality(model: "LabelModel", votes: NDArray[np.int8]) -> NDArray[np.float32]:
    """Probability of keep, NaN for documents that no function was asked about."""
    return np.where(_asked(votes), model.predict_proba(votes)[:, KEEP], np.nan).astype(np.float32)


def _count_quality(path: str, bins: Sequence[int] | None, shard: Shard) -> dict[str, Any]:
    return {"counts": counted(_quality(load_model(f"{path}/{MODEL}"), _votes_of(path, shard)), bins)}


def _write(stage: Weak, artifact: Artifact, cut: float | None, shard: Shard) -> QualityCounts:
    """Write the columns of a shard; count its documents by quality and those that are kept."""
    votes = _votes_of(artifact.path, shard)
    model = load_model(f"{artifact.path}/{MODEL}")
    quality = _quality(model, votes)
    known = ~np.isnan(quality)
    keep = np.zeros(len(votes), bool) if cut is None else quality >= np.float32(cut)
    majority = np.where(known, model.majority(votes)[:, KEEP], np.nan).astype(np.float32)
    arrays = [pa.array(np.ascontiguousarray(votes[:, position])) for position in range(votes.shape[1])]
    arrays += [
        pa.array(quality, from_pandas=True),
        pa.array(keep, mask=~known if cut is not None else np.ones(len(votes), bool)),
        pa.array(majority, from_pandas=True),
        top_contributions(model.log_odds(votes), votes != NOT_ASKED),
    ]
    with ParquetWriter(artifact.part(shard.name), stage.columns()) as writer:
        writer.write(pa.RecordBatch.from_arrays(arrays, schema=stage.columns()))
    edges = np.linspace(0, 1, BINS + 1)[1:-1]
    histogram = np.bincount(np.searchsorted(edges, quality[known], side="right"), minlength=BINS)
    counts = {f"{position:02d}": int(number) for position, number in enumerate(histogram) if number}
    asked = int(known.sum())
    return {"documents": asked, "not_asked": len(votes) - asked, "keep": int(keep.sum()), "histogram": counts}
