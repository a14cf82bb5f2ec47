"""Rules over columns decide what is kept; nothing is removed, so a threshold can change without reading text again."""

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from curate.artifact import Artifact, Shard, Totals
from curate.errors import Problem, nearest
from curate.registry import stage_type
from curate.rules.manifest import SelectBody
from curate.rules.presets import PRESETS, Criterion, PresetName, alike, rules_of
from curate.rules.sql import columns_of, complaint, holds
from curate.stage import Known, Stage
from curate.table import ParquetWriter, Table

if TYPE_CHECKING:
    import polars as pl

    from curate.engine.context import Context

MAX_RULES = 64  # bits of drop_mask


class Rule(BaseModel):
    """A condition under which documents are dropped."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    when: str = Field(description="SQL expression over columns, true for a document to drop; null does not drop")
    sources: tuple[str, ...] | None = Field(default=None, description="sources that the rule is for; all unless given")


class Preset(BaseModel):
    """A published rule set for some of the sources."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    preset: PresetName = Field(description="name of the rule set")
    sources: tuple[str, ...] | None = Field(default=None, description="sources that it is for; all unless given")


class Select(Stage):
    """Decide what is kept: a document is dropped when any rule is true of it.

    The rules are those of the presets, in their order, and then those of ``drop``. Writes ``keep``, ``drop_reason``
    (the first rule that is true) and ``drop_mask`` (bit i set where rule i is true).

    Examples
    --------
    >>> stage = Select(name="select", drop={"short": "gopher_words < 50", "twin": "NOT minhash_keep"})
    >>> stage.requires()
    ('source', 'text_bytes', 'gopher_words', 'minhash_keep')
    >>> stage = Select(name="select", presets=("gopher",), thresholds={"gopher_words_min": 30})
    >>> stage.rules()["gopher_words_min"].when
    'gopher_words < 30'
    """

    stage: Literal["select"] = "select"
    version: ClassVar[int] = 1

    presets: tuple[PresetName | Preset, ...] = Field(
        default=(),
        description="published rule sets, by name or as {preset: name, sources: [...]}; their rules come first",
    )
    thresholds: dict[str, bool | int | float | str | None] = Field(
        default={}, description="other thresholds for rules of the presets, by rule; null leaves a rule out"
    )
    language: str | None = Field(
        default=None,
        min_length=1,
        description="column with a document's language, such as lang_code: rules of presets that make sense for one "
        "language alone then spare all others; unless given, they are for every document",
    )
    drop: dict[str, str | Rule] = Field(
        default={}, description="rules by the reason they give: an SQL expression over columns, true for what to drop"
    )

    def rules(self) -> dict[str, Rule]:
        """The rules in order, each in its long form; one that several presets have in common is there once."""
        rules: dict[str, Rule] = {}
        for use in self._uses():
            for criterion in rules_of(use.preset, self.thresholds):
                sources = use.sources
                if criterion.name in rules:
                    sources = _union(sources, rules[criterion.name].sources)
                rules[criterion.name] = Rule(when=criterion.when(self.language), sources=sources)
        return rules | {name: Rule(when=rule) if isinstance(rule, str) else rule for name, rule in self.drop.items()}

    def groups(self) -> dict[str, tuple[str, ...]]:
        """Names of the rules of each preset, and of each other rule by itself."""
        presets = {
            use.preset: tuple(rule.name for rule in rules_of(use.preset, self.thresholds)) for use in self._uses()
        }
        return presets | {name: (name,) for name in self.drop}

    def sources_of(self, group: str) -> tuple[str, ...] | None:
        """Sources that a preset or a rule of ``drop`` is for; None for all."""
        uses = {use.preset: use.sources for use in self._uses()}
        return uses[group] if group in uses else self.rules()[group].sources  # type: ignore[index]

    def _uses(self) -> list[Preset]:
        return [Preset(preset=use) if isinstance(use, str) else use for use in self.presets]

    def identity(self) -> dict[str, Any]:
        """The rules themselves, so that a rule counts for what it says and not for where it is from."""
        short = {name: rule.when for name, rule in self.rules().items() if rule.sources is None}
        whole = {name: rule.model_dump(mode="json") for name, rule in self.rules().items()}
        long = {name for name, rule in self.drop.items() if isinstance(rule, Rule)}
        drop = {name: short.get(name, rule) if name not in long else rule for name, rule in whole.items()}
        return {"stage": self.stage, "drop": drop}

    def upstream(self) -> tuple[Stage, ...]:
        """Lengths, for a funnel in bytes."""
        return (stage_type("size")(),)

    def requires(self) -> tuple[str, ...]:
        """Columns that the rules name."""
        named = [column for rule in self.rules().values() for column in columns_of(rule.when)]
        language = [self.language] if self.language else []
        return tuple(dict.fromkeys(["source", "text_bytes", *language, *named]))

    def place(self, column: str) -> tuple[str | int, ...]:
        """The rule, preset or field that names `column` first."""
        if column == self.language:
            return ("language",)
        named = (name for name, rule in self.rules().items() if column in columns_of(rule.when))
        return next(map(self._where, named), ())

    def _where(self, rule: str) -> tuple[str | int, ...]:
        """Place of what a rule is from: itself, or the preset."""
        if rule in self.drop:
            return ("drop", rule)
        return ("presets", next(position for position, rules in enumerate(self.groups().values()) if rule in rules))

    def columns(self) -> pa.Schema:
        """``keep``, ``drop_reason``, ``drop_mask``."""
        return pa.schema(
            [
                pa.field("keep", pa.bool_(), nullable=False),
                pa.field("drop_reason", pa.dictionary(pa.int32(), pa.string())),
                pa.field("drop_mask", pa.uint64(), nullable=False),
            ]
        )

    def check(self, known: Known) -> Iterable[Problem]:
        """Every rule parses, is a yes-or-no expression over the promised types, and names known sources."""
        yield from self._preset_problems(known)
        rules = self.rules()
        if len(rules) > MAX_RULES:
            sizes = [f"{use.preset} {len(rules_of(use.preset, self.thresholds))}" for use in self._uses()]
            counted = ", ".join([*sizes, f"drop {len(self.drop)}"])
            said = f"{len(rules)} rules ({counted}), but at most {MAX_RULES} fit into drop_mask"
            hint = "leave rules out with `thresholds: {rule: null}`, or use a second `select`" if sizes else ""
            yield Problem(("presets",) if sizes else ("drop",), said, hint)
        for name, rule in rules.items():
            wrong = complaint(rule.when, known.columns)
            if wrong:
                yield Problem(self._where(name), f"{rule.when!r}: {wrong}")
            for source in (rule.sources or ()) if name in self.drop else ():
                if source not in known.sources:
                    yield Problem(("drop", name), f"there is no source {source!r}", nearest(source, known.sources))

    def _preset_problems(self, known: Known) -> Iterator[Problem]:
        """Presets twice, sources that are not there, and thresholds of rules that are not there or of other kinds."""
        names = [use.preset for use in self._uses()]
        for position, use in enumerate(self._uses()):
            if use.preset in names[:position]:
                yield Problem(("presets", position), f"the preset {use.preset!r} is here twice")
            for source in use.sources or ():
                if source not in known.sources:
                    hint = nearest(source, known.sources)
                    yield Problem(("presets", position, "sources"), f"there is no source {source!r}", hint)
        rules = {rule.name: rule for name in dict.fromkeys(names) for rule in PRESETS[name]}
        for name, threshold in self.thresholds.items():
            where = ("thresholds", name)
            if name not in rules:
                yield Problem(where, *_unknown_rule(name, rules, self.drop))
            elif threshold is not None and not alike(threshold, rules[name].threshold):
                default = rules[name].threshold
                yield Problem(where, f"must be of the kind of {default!r}, the preset's own, got {threshold!r}")
        for name in self.drop:
            if name in rules:
                hint = f"give it another threshold with `thresholds: {{{name}: ...}}`, or choose another name"
                yield Problem(("drop", name), "a preset has a rule of this name", hint)

    def run(self, ctx: "Context") -> SelectBody:
        """Evaluate the rules shard by shard."""
        results = ctx.map_shards(partial(_select_shard, ctx.table, ctx.artifact, self.rules(), self.requires()))
        totals = Totals({"flow": {}, "bytes": {}, "fired": {}, "alone": {}})
        for shard, result in zip(ctx.table.shards, results, strict=True):
            totals.add({key: {shard.source: value} for key, value in result.items()})
        counts = totals.counts
        return {
            "flow": counts["flow"],
            "rules": [
                {"name": name, "when": rule.when, "sources": rule.sources} for name, rule in self.rules().items()
            ],
            "bytes": counts["bytes"],
            "fired": counts["fired"],
            "alone": counts["alone"],
        }


def evaluate(rules: Mapping[str, Rule], frame: "pl.DataFrame", source: str) -> NDArray[np.bool_]:
    """Of which documents of one source each rule is true, shape (rules, documents)."""
    fired = np.zeros((len(rules), frame.height), dtype=bool)
    for position, rule in enumerate(rules.values()):
        if rule.sources is None or source in rule.sources:
            fired[position] = holds(rule.when, frame)
    return fired


def _select_shard(
    table: Table, artifact: Artifact, rules: Mapping[str, Rule], columns: tuple[str, ...], shard: Shard
) -> dict[str, Any]:
    import polars as pl

    frame = pl.DataFrame(table.read(shard, columns))
    names = list(rules)
    fired = evaluate(rules, frame, shard.source)
    dropped = fired.any(axis=0)
    first = np.argmax(fired, axis=0) if names else np.zeros(shard.rows, np.int64)
    bits = np.uint64(1) << np.arange(len(names), dtype=np.uint64)
    mask = (fired * bits[:, None]).sum(axis=0, dtype=np.uint64)
    reason = pa.DictionaryArray.from_arrays(
        pa.array(first.astype(np.int32), mask=~dropped), pa.array(names, pa.string())
    )
    with ParquetWriter(artifact.part(shard.name), Select().columns()) as writer:
        writer.write(
            pa.RecordBatch.from_arrays([pa.array(~dropped), reason, pa.array(mask)], schema=Select().columns())
        )
    size = frame["text_bytes"].to_numpy()
    alone = fired.sum(axis=0) == 1
    by_first = {name: dropped & (first == position) for position, name in enumerate(names)}
    return {
        "flow": {
            "in": shard.rows,
            "kept": int((~dropped).sum()),
            "dropped": {name: int(rows.sum()) for name, rows in by_first.items()},
            "quarantined": {},
        },
        "bytes": {
            "in": int(size.sum()),
            "kept": int(size[~dropped].sum()),
            "dropped": {name: int(size[rows].sum()) for name, rows in by_first.items()},
        },
        "fired": {name: int(fired[position].sum()) for position, name in enumerate(names)},
        "alone": {name: int((fired[position] & alone).sum()) for position, name in enumerate(names)},
    }


def _union(one: tuple[str, ...] | None, other: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """Sources of a rule that is there for these and for those; None is all."""
    return None if one is None or other is None else tuple(sorted({*one, *other}))


def _unknown_rule(name: str, rules: Mapping[str, Criterion], drop: Iterable[str]) -> tuple[str, str]:
    """Message and hint for a threshold of no rule of the presets."""
    others = {rule.name: preset for preset, criteria in PRESETS.items() for rule in criteria}
    if name in drop:
        return f"{name!r} is a rule of `drop`, not of a preset", "change the rule itself"
    if name in others:
        return f"{name!r} is a rule of the preset {others[name]!r}", f"add {others[name]} to `presets`"
    return f"no preset here has a rule {name!r}", nearest(name, rules) if rules else "there are no presets here"
