"""Cut sources to exact budgets in given proportions: nested rungs, whole and part epochs, held-out validation.

The arithmetic is in `curate.mixture.budget`, the account of it in ``docs/mixing.md``. Only ids, sizes and decisions are
read, never text.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, cast

import pyarrow as pa
from pydantic import BeforeValidator, Field, ValidationInfo, WithJsonSchema

from curate import storage
from curate.artifact import Artifact, Shard, Totals
from curate.config.units import BYTE_FORMS, COUNT_FORMS, format_bytes, format_count, parse_bytes, parse_count
from curate.engine.context import Result
from curate.errors import ConfigError, Problem, nearest
from curate.mixture.manifest import (
    CopySizes,
    MixBody,
    MixedCounts,
    MixtureRung,
    Plan,
    PlannedShare,
    PlannedSource,
    Sizes,
)
from curate.stage import Known, Stage
from curate.table import ParquetWriter

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from curate.engine.context import Context
    from curate.mixture.budget import Reach
    from curate.mixture.prefixes import Pool

MAX = "max"
MAX_EPOCHS = 1000  # copies of a document; far beyond the 16 or so that are of any use (Muennighoff et al. 2023)
MIN_WEIGHT = 1e-9
COLUMNS = pa.schema(
    [("mix_split", pa.dictionary(pa.int32(), pa.string())), ("mix_epochs", pa.int32()), ("mix_rung", pa.int32())]
)

# What a bound may assume before data is read: bytes per token of a tokenizer trained on the corpus, for a source that
# is a good part of it. Measured with 16,384 tokens: 3.0 to 3.8 for English, German, Chinese and code; but near 1.0 for
# a script that is 0.05 % of the sample, as for a tokenizer from elsewhere that does not know the script at all.
TRAINED_BYTES_PER_TOKEN = 2.0
GOOD_PART = 0.05


def _amount(value: object, info: ValidationInfo) -> object:
    return value if value == MAX else (parse_bytes if info.data.get("unit") == "bytes" else parse_count)(value)


Amount = Annotated[
    int | Literal["max"],
    BeforeValidator(_amount),
    WithJsonSchema(
        {
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "description": f"`max`, or in tokens {COUNT_FORMS}, in bytes {BYTE_FORMS}",
        }
    ),
]
"""A rung's size: `Tokens` or `Bytes` as the stage's `unit` has it, or all there is."""


class Mix(Stage):
    """Choose which documents are in which rung, how often, and which are held out.

    Writes ``mix_split`` (``train``, ``validation`` or null for what is not taken), ``mix_epochs`` (copies in the
    largest rung) and ``mix_rung`` (index of the first rung that holds the document).

    Examples
    --------
    >>> stage = Mix(name="mix", weights={"web": 0.7, "books": 0.3}, budgets=["1B", "10B"], max_epochs={"books": 4})
    >>> stage.budgets, stage.epochs_of("books"), stage.epochs_of("web")
    ((1000000000, 10000000000), 4.0, 1.0)
    """

    stage: Literal["mix"] = "mix"
    version: ClassVar[int] = 1
    seeded: ClassVar[bool] = True

    unit: Literal["tokens", "bytes"] = Field(default="tokens", description="what budgets and weights count")
    budgets: tuple[Amount, ...] = Field(
        min_length=1, description="sizes of the rungs, such as [100M, 1B], increasing; the last may be `max`"
    )
    weights: Literal["proportional"] | dict[str, float] = Field(
        default="proportional",
        description="share of each source in every rung, in any scale; 0 leaves a source out; "
        "`proportional` is its share of what is there",
    )
    max_epochs: float | dict[str, float] = Field(
        default=1.0, description="how often a document may be repeated, for all sources or by source (1 unless named)"
    )
    validation: float = Field(
        default=0.005, ge=0, le=0.5, description="share of each source that is held out, never part of a rung"
    )
    on_shortage: Literal["error", "cap"] = Field(
        default="error", description="when a source cannot give its share: stop, or take all that it may give"
    )

    def requires(self) -> tuple[str, ...]:
        """Identity, the decision of `select`, and both sizes."""
        return ("id", "keep", "tokens", "kept_bytes")

    def columns(self) -> pa.Schema:
        """``mix_split``, ``mix_epochs``, ``mix_rung``."""
        return COLUMNS

    def epochs_of(self, source: str) -> float:
        """How often documents of `source` may be repeated."""
        return self.max_epochs.get(source, 1.0) if isinstance(self.max_epochs, Mapping) else self.max_epochs

    # -- before any data is read ---------------------------------------------------------------------------------------

    def check(self, known: Known) -> Iterable[Problem]:
        """Budgets increase, sources are known, and no budget is beyond what their sizes can give."""
        found = [*self._check_budgets(), *self._check_weights(known), *self._check_epochs(known)]
        return found or self._check_shortage(known)

    def _check_budgets(self) -> Iterable[Problem]:
        before = 0
        for position, budget in enumerate(self.budgets):
            if budget == MAX:
                if position < len(self.budgets) - 1:
                    yield Problem(("budgets", position), "'max' is the largest rung there is, so it comes last")
            else:
                if budget <= before:
                    yield Problem(("budgets", position), f"budgets increase, but {budget} is not more than {before}")
                before = max(before, budget)

    def _check_weights(self, known: Known) -> Iterable[Problem]:
        if not isinstance(self.weights, Mapping):
            return
        for source, weight in self.weights.items():
            if source not in known.sources:
                yield Problem(("weights", source), f"there is no source {source!r}", nearest(source, known.sources))
            if weight and not MIN_WEIGHT <= weight <= 1 / MIN_WEIGHT:
                message = f"a weight is zero, or from {MIN_WEIGHT:g} to {1 / MIN_WEIGHT:g}, got {weight:g}"
                yield Problem(("weights", source), message)
        for source in known.sources:
            if source not in self.weights:
                yield Problem(("weights",), f"source {source!r} has no weight", "a weight of 0 leaves a source out")
        if not any(self.weights.values()):
            yield Problem(("weights",), "no source has a weight above 0")

    def _check_epochs(self, known: Known) -> Iterable[Problem]:
        by_source = self.max_epochs.items() if isinstance(self.max_epochs, Mapping) else [("", self.max_epochs)]
        for source, epochs in by_source:
            where = ("max_epochs", source) if source else ("max_epochs",)
            if source and source not in known.sources:
                yield Problem(where, f"there is no source {source!r}", nearest(source, known.sources))
            if not 0 < epochs <= MAX_EPOCHS:
                yield Problem(where, f"must be more than 0 and at most {MAX_EPOCHS}, got {epochs:g}")

    def _check_shortage(self, known: Known) -> Iterable[Problem]:
        """Problems of budgets that need more text than there is, whatever is kept of it."""
        from curate.mixture.budget import largest_budget, normalized

        everything = sum(known.sources.values())
        if self.on_shortage == "cap" or not everything:
            return
        trained = all(getattr(s, "tokenizer", None) is None for s in known.stages.values() if s.stage == "tokens")
        most = {}
        for source, size in known.sources.items():
            dense = self.unit == "tokens" and trained and size >= GOOD_PART * everything
            most[source] = int(size * self.epochs_of(source) / (TRAINED_BYTES_PER_TOKEN if dense else 1))
        shares = normalized(self.weights if isinstance(self.weights, Mapping) else known.sources)
        limit = largest_budget(shares, most)
        for position, budget in enumerate(self.budgets):
            if budget != MAX and budget > limit:
                yield self._shortage(position, budget, shares, most)

    def _shortage(self, position: int, budget: int, shares: Mapping[str, float], most: Mapping[str, int]) -> Problem:
        from curate.mixture.budget import largest_budget

        source = min((source for source in shares if shares[source]), key=lambda s: most[s] / shares[s])
        capped = "`on_shortage: cap`" + (" without 'max'" if self.budgets[-1] == MAX else "")
        return Problem(
            ("budgets", position),
            f"source {source!r} would have to give {self._show(round(shares[source] * budget))} "
            f"({shares[source]:.1%} of {self._show(budget)}), but gives at most {self._show(most[source])} "
            f"in {self.epochs_of(source):g} epoch{'s' if self.epochs_of(source) != 1 else ''}",
            f"weights and epochs allow a budget of {largest_budget(shares, most)} at most; "
            f"{capped} takes what there is",
        )

    def _show(self, size: int) -> str:
        return f"{format_count(size)} tokens" if self.unit == "tokens" else format_bytes(size)

    # -- at run time ---------------------------------------------------------------------------------------------------

    def run(self, ctx: "Context") -> MixBody:
        """Measure, hold out, plan, cut, and write who is where."""
        from curate.mixture.prefixes import Pool

        everything = Pool(ctx.table, ctx.seed)
        kept = self._totals(ctx, "kept", everything)
        pool, available = everything, kept
        if self.validation:
            pool = Pool(ctx.table, ctx.seed, self._held_out(ctx, everything, kept))
            available = self._totals(ctx, "pool", pool)
        budgets, shares, targets = self._plan(ctx, available)
        reaches = self._reaches(ctx, pool, available, targets)
        results = ctx.map_shards(partial(_mix_shard, pool, ctx.artifact, reaches))
        storage.remove_tree(f"{ctx.path}/_cuts")
        totals = _by_source(ctx.table.shards, results)
        flow = {source: counts["flow"] for source, counts in totals.items()}
        plan = self._account(budgets, shares, targets, available, totals, reaches)
        for position, rung in enumerate(plan["rungs"]):
            if not rung["documents"]:
                message = f"{self._show(budgets[position])} take no document: half of the smallest is more than that"
                raise ConfigError([Problem(("stages", ctx.artifact.name, "budgets", position), message)])
        return {"flow": flow, "plan": plan}

    def _totals(self, ctx: "Context", phase: str, pool: "Pool") -> dict[str, Sizes]:
        """What is in `pool`, by source; sources that have a weight but no documents are there too."""
        totals = _by_source(ctx.table.shards, ctx.map_shards(partial(_total_shard, pool), phase=phase))
        named = self.weights if isinstance(self.weights, Mapping) else ()
        return {source: Sizes(documents=0, tokens=0, bytes=0) for source in named} | totals

    def _held_out(self, ctx: "Context", pool: "Pool", kept: Mapping[str, Sizes]) -> dict[str, int]:
        """The validation cut by source: the share asked for, but at least one document and never all of them."""
        from curate.mixture.prefixes import VALIDATION, Prefix, find_cuts

        sources = [
            source
            for source, entry in kept.items()
            if entry["documents"] >= 2 and (not isinstance(self.weights, Mapping) or self.weights[source])
        ]
        prefixes = {s: Prefix(VALIDATION, round(self.validation * kept[s][self.unit])) for s in sources}
        cuts = find_cuts(ctx, VALIDATION, pool, self.unit, {source: [prefixes[source]] for source in sources})
        ends: dict[str, list[int]] = {source: [] for source in sources}
        for shard, result in zip(
            ctx.table.shards, ctx.map_shards(partial(_extremes_shard, pool), phase="extremes"), strict=True
        ):
            ends.get(shard.source, []).extend(int(key, 16) for key in result["extremes"])
        return {s: min(max(cuts[s, prefixes[s]], min(ends[s]) + 1), max(ends[s])) for s in sources}

    def _plan(
        self, ctx: "Context", available: Mapping[str, Sizes]
    ) -> tuple[list[int], dict[str, float], dict[str, list[int]]]:
        """Budgets as numbers, shares, and what each source is to give to each rung.

        Raises
        ------
        ConfigError
            A source cannot give its share, or `max` is no larger than the rung before.
        """
        from curate.mixture.budget import capacity, largest_budget, normalized, target

        sizes = {source: entry[self.unit] for source, entry in available.items()}
        where = ("stages", ctx.artifact.name)
        if not sum(sizes.values()):
            raise ConfigError([Problem(where, "no text was kept, so there is nothing to mix")])
        shares = normalized(self.weights if isinstance(self.weights, Mapping) else sizes)
        most = {source: capacity(size, self.epochs_of(source)) for source, size in sizes.items()}
        limit = largest_budget(shares, most)
        if self.on_shortage == "cap":
            limit = sum(most[source] for source, share in shares.items() if share)
        budgets = [limit if budget == MAX else budget for budget in self.budgets]
        problems = []
        if self.on_shortage == "error":
            short = [position for position, budget in enumerate(budgets) if budget > limit]
            problems = [self._shortage(position, budgets[position], shares, most) for position in short]
        empty = [source for source, share in shares.items() if share and not most[source]]
        if empty and self.on_shortage == "error":
            problems = [Problem(("weights", source), f"nothing was kept of {source!r}") for source in empty]
        elif not problems and self.budgets[-1] == MAX and limit <= max([0, *budgets[:-1]]):
            message = f"'max' comes to {limit}, no more than the rung before"
            hint = "leave 'max' out, or the rungs that are no smaller"
            problems = [Problem(("budgets", len(budgets) - 1), message, hint)]
        if problems:
            raise ConfigError([Problem((*where, *found.where), found.message, found.hint) for found in problems])
        targets = {
            source: [min(target(share, budget), most[source]) for budget in budgets] for source, share in shares.items()
        }
        return budgets, shares, targets

    def _reaches(
        self,
        ctx: "Context",
        pool: "Pool",
        available: Mapping[str, Sizes],
        targets: Mapping[str, Sequence[int]],
    ) -> dict[str, list["Reach"]]:
        """How far each source goes in each rung."""
        from curate.mixture.budget import START, Reach, epoch_salt, whole_epochs
        from curate.mixture.prefixes import Prefix, find_cuts

        steps = {
            source: [whole_epochs(wanted, available[source][self.unit]) for wanted in rungs]
            for source, rungs in targets.items()
        }
        prefixes = {
            source: [Prefix(epoch_salt(epochs), left) for epochs, left in rungs] for source, rungs in steps.items()
        }
        wanted = {source: [prefix for prefix in each if prefix.size] for source, each in prefixes.items()}
        cuts = find_cuts(ctx, "train", pool, self.unit, wanted)
        return {
            source: [
                Reach(epochs, cuts.get((source, prefix), START))
                for (epochs, _), prefix in zip(steps[source], prefixes[source], strict=True)
            ]
            for source in steps
        }

    def _account(
        self,
        budgets: Sequence[int],
        shares: Mapping[str, float],
        targets: Mapping[str, Sequence[int]],
        available: Mapping[str, Sizes],
        totals: Mapping[str, MixedCounts],
        reaches: Mapping[str, Sequence["Reach"]],
    ) -> Plan:
        """The plan and what came of it, for the manifest."""
        from curate.mixture.budget import rung_name

        names = [rung_name(rung) for rung in range(len(budgets))]
        sums = Totals()
        for counts in totals.values():
            sums.add({"rungs": counts["rungs"], "validation": counts["validation"]})
        sizes: Mapping[str, CopySizes] = sums.counts["rungs"]
        rungs: list[MixtureRung] = [
            {"name": name, "budget": budget, **sizes[name]} for name, budget in zip(names, budgets, strict=True)
        ]
        sources: dict[str, PlannedSource] = {}
        for source, counts in totals.items():
            realised: list[PlannedShare] = [
                {
                    "target": targets[source][rung],
                    **counts["rungs"][name],
                    "share": counts["rungs"][name][self.unit] / max(rungs[rung][self.unit], 1),
                    "epochs": counts["rungs"][name][self.unit] / max(available[source][self.unit], 1),
                    "reach": reaches[source][rung].to_json(),
                }
                for rung, name in enumerate(names)
            ]
            sources[source] = {
                "weight": shares[source],
                "max_epochs": self.epochs_of(source),
                "available": available[source],
                "validation": counts["validation"],
                "rungs": realised,
            }
        return {"unit": self.unit, "rungs": rungs, "validation": sums.counts["validation"], "sources": sources}


def _by_source(shards: Sequence[Shard], results: Sequence[Result]) -> dict[str, Result]:
    """Sums of the shards' counts, by source."""
    totals: dict[str, Totals] = {}
    for shard, result in zip(shards, results, strict=True):
        totals.setdefault(shard.source, Totals()).add(result)
    return {source: cast(Result, totals[source].counts) for source in sorted(totals)}


def _total_shard(pool: "Pool", shard: Shard) -> Sizes:
    ids, sizes = pool.read(shard)
    return {"documents": len(ids), "tokens": int(sizes["tokens"].sum()), "bytes": int(sizes["bytes"].sum())}


def _extremes_shard(pool: "Pool", shard: Shard) -> dict[str, Any]:
    """The smallest and the largest key of the validation order, in hexadecimal; none of no documents."""
    from curate.mixture.budget import extremes
    from curate.mixture.prefixes import VALIDATION

    return {"extremes": [f"{key:x}" for key in extremes(pool.keys(VALIDATION, pool.read(shard)[0]))]}


def _mix_shard(pool: "Pool", artifact: Artifact, reaches: Mapping[str, Sequence["Reach"]], shard: Shard) -> MixedCounts:
    import numpy as np

    from curate.mixture.budget import below, copies, rung_name
    from curate.mixture.prefixes import SIZES, VALIDATION, sizes_of
    from curate.text.hashing import id_bytes

    columns = pool.table.read(shard, ("id", "keep", *SIZES.values()))
    keep, ids, sizes = columns.column("keep").to_numpy(), id_bytes(columns.column("id")), sizes_of(columns)
    held_out = np.zeros(shard.rows, bool)
    if shard.source in pool.held_out:
        held_out = keep & below(pool.keys(VALIDATION, ids), pool.held_out[shard.source])
    held = copies(pool.seed, ids, reaches[shard.source]) * (keep & ~held_out)[:, None]
    train = held[:, -1] > 0
    split = pa.DictionaryArray.from_arrays(
        pa.array(held_out.astype(np.int32), mask=~(train | held_out)), pa.array(["train", "validation"])
    )
    epochs = pa.array(held[:, -1], mask=~train)
    first = pa.array(np.argmax(held > 0, axis=1).astype(np.int32), mask=~train)
    with ParquetWriter(artifact.part(shard.name), COLUMNS) as writer:
        writer.write(pa.RecordBatch.from_arrays([split, epochs, first], schema=COLUMNS))
    return {
        "flow": {
            "in": shard.rows,
            "kept": int((train | held_out).sum()),
            "dropped": {"not_selected": int((~keep).sum()), "over_budget": int((keep & ~train & ~held_out).sum())},
            "quarantined": {},
        },
        "validation": {
            "documents": int(held_out.sum()),
            "tokens": int(sizes["tokens"][held_out].sum()),
            "bytes": int(sizes["bytes"][held_out].sum()),
        },
        "rungs": {rung_name(rung): _counted(held[:, rung], sizes) for rung in range(held.shape[1])},
    }


def _counted(held: "NDArray[np.int32]", sizes: Mapping[str, "NDArray[np.int64]"]) -> CopySizes:
    """Documents, their copies, and the copies' sizes, in one rung."""
    tokens, size = (int((sizes[unit] * held).sum()) for unit in ("tokens", "bytes"))
    return {"documents": int((held > 0).sum()), "copies": int(held.sum()), "tokens": tokens, "bytes": size}
