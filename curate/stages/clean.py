"""Clean: repair, normalize and shorten the text of documents, and count every change.

The steps, their order and each definition are in ``docs/clean.md``. They are repeated on the documents that they
changed until nothing changes, so that cleaning what is clean does nothing.
"""

from collections.abc import Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import BaseModel, Field, field_validator, model_validator

from curate.artifact import Artifact, Shard, Totals, by_source
from curate.cleaning.manifest import CleanBody
from curate.errors import Problem
from curate.extras import missing
from curate.rewrite import new_table
from curate.stage import Known, Stage
from curate.table import DOCUMENT, DocumentWriter, ParquetWriter, Table

if TYPE_CHECKING:
    from curate.engine.context import Context
    from curate.text.batch import TextBatch

ROUNDS = 10  # at most; two are usual, and the second finds nothing to do
EMPTIED, REMOVED_WORDS = "emptied", "removed_words"
PLACEHOLDER = r"^[<\[({|]+[A-Za-z_ -]{1,40}[>\])}|]+$"
PRESETS: dict[str, dict[str, Any]] = {
    "c4": {
        "citations": True,
        "javascript": True,
        "policy": True,
        "max_word_length": 1000,
        "min_words": 5,
        "terminal": True,
    },
    "fineweb": {"citations": True, "javascript": True, "policy": True, "max_word_length": 1000, "min_words": 3},
    "refinedweb": {
        "counters": True,
        "numeric": True,
        "phrases": True,
        "min_words": 2,
        "max_uppercase": 0.5,
        "max_removed_words": 0.05,
    },
}
CHANGES = pa.schema(
    [
        pa.field("id", pa.binary(16), nullable=False),
        pa.field("kind", pa.dictionary(pa.int32(), pa.string()), nullable=False),
        pa.field("places", pa.int64(), nullable=False),
        pa.field("bytes", pa.int64(), nullable=False),
    ]
)
"""What was done to a document, by kind: in how many places, and to how many bytes of its text."""


class LineRules(BaseModel, extra="forbid", frozen=True):
    """Lines that are cut out, and when so many go that the document goes too. Everything is off unless given."""

    preset: Literal["c4", "fineweb", "refinedweb"] | None = Field(
        default=None, description="start from the rules of C4, FineWeb or RefinedWeb; other fields change single ones"
    )
    citations: bool = Field(default=False, description="cut out [1], [edit] and [citation needed], before all rules")
    javascript: bool = Field(default=False, description="lines that say javascript (C4)")
    policy: bool = Field(default=False, description="lines about terms of use, privacy policy or cookies (C4)")
    terminal: bool = Field(default=False, description="lines that do not end in a terminal mark (C4, not FineWeb)")
    max_word_length: int | None = Field(default=None, ge=1, description="lines with a longer word, in characters (C4)")
    min_words: int = Field(default=0, ge=0, description="lines with fewer words (C4: 5, RefinedWeb: 2)")
    counters: bool = Field(default=False, description="lines such as `3 likes` (RefinedWeb)")
    numeric: bool = Field(default=False, description="lines of nothing but digits (RefinedWeb)")
    phrases: bool = Field(
        default=False, description="short lines with `sign in`, `read more` or `items in cart` (RefinedWeb)"
    )
    phrase_max_words: int = Field(default=10, ge=1, description="words that a line may have to be short for `phrases`")
    max_uppercase: float | None = Field(
        default=None, ge=0, le=1, description="lines with a larger share of upper-case letters (RefinedWeb: 0.5)"
    )
    max_removed_words: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="drop documents that lose a larger share of their words (RefinedWeb: 0.05)",
    )

    @classmethod
    def __get_pydantic_json_schema__(cls, core: Any, handler: Any) -> dict[str, Any]:
        """The rules, or the name of a preset alone."""
        rules = handler.resolve_ref_schema(handler(core))
        return {"anyOf": [rules, {"enum": list(PRESETS), "type": "string"}]}

    @model_validator(mode="before")
    @classmethod
    def _with_preset(cls, given: Any) -> Any:
        """A preset's name alone, or its rules below what is given."""
        if isinstance(given, str):
            given = {"preset": given}
        if isinstance(given, Mapping) and isinstance(given.get("preset"), str):
            return PRESETS.get(given["preset"], {}) | dict(given)
        return given


class Clean(Stage):
    """Repair, normalize and shorten texts, and make a new table of them.

    Documents of which nothing is left are dropped. What was done is recorded in ``changes``, by document and kind.

    Examples
    --------
    >>> Clean(lines={"preset": "c4", "terminal": False}).lines.min_words
    5
    """

    stage: Literal["clean"] = "clean"
    version: ClassVar[int] = 1
    makes_table: ClassVar[bool] = True

    mojibake: bool = Field(default=True, description="undo decodings with the wrong encoding (ftfy)")
    entities: Literal["auto", "always", "off"] = Field(
        default="auto", description="HTML entities become characters; `auto`: in documents that hold no `<`"
    )
    stripped_entities: bool = Field(
        default=False, description="with `entities`, those that lost their ampersand too, such as `#39;` and `quot;`"
    )
    control: bool = Field(default=True, description="cut out control characters and terminal sequences")
    invisible: bool = Field(default=True, description="cut out zero-width spaces, soft hyphens, byte order marks")
    line_ends: bool = Field(default=True, description="CR LF, CR, form feed and their like become LF")
    spaces: bool = Field(default=True, description="no-break, thin, ideographic and other spaces become a space")
    trailing_spaces: bool = Field(default=True, description="cut out spaces and tabs at the end of lines")
    max_blank_lines: int | None = Field(
        default=2, ge=0, description="blank lines in a row that stay; none at the start and the end of a document"
    )
    inner_spaces: bool = Field(
        default=False, description="runs of spaces and tabs become a space, unless they indent a line"
    )
    lines: LineRules = Field(default=LineRules(), description="lines to cut out: a preset's name, or rules")
    pii: tuple[Literal["email", "ip", "phone", "iban", "card"], ...] = Field(
        default=(), description="personal data that placeholders take the place of"
    )
    placeholders: dict[Literal["email", "ip", "phone", "iban", "card"], str] = Field(
        default={}, description="other placeholders than <EMAIL>, <IP>, <PHONE>, <IBAN> and <CARD>, by kind"
    )
    phone_regions: tuple[str, ...] = Field(
        default=("US",), description="countries (ISO 3166) whose national phone numbers are known behind `phone`, `tel`"
    )

    @field_validator("placeholders")
    @classmethod
    def _in_brackets(cls, given: dict[str, str]) -> dict[str, str]:
        """What stands for personal data is never taken for it."""
        import re

        for kind, text in given.items():
            if not re.match(PLACEHOLDER, text):
                raise ValueError(
                    f"{kind}: {text!r} is not one or more words of letters in brackets or bars, as <EMAIL>"
                )
        return given

    def requires(self) -> tuple[str, ...]:
        """The documents."""
        return tuple(DOCUMENT.names)

    def packages(self) -> tuple[str, ...]:
        """Those that decide what is changed: another version may change other places."""
        used = {
            "ftfy": self.mojibake or self.entities != "off",
            "phonenumbers": "phone" in self.pii,
            "python-stdnum": not {"iban", "card"}.isdisjoint(self.pii),
        }
        return tuple(name for name, needed in used.items() if needed)

    def check(self, known: Known) -> Iterable[Problem]:
        """Libraries that personal data takes are there, and regions exist."""
        libraries = {"phone": "phonenumbers", "iban": "python-stdnum", "card": "python-stdnum"}
        for place, kind in enumerate(self.pii):
            if kind in libraries and (absent := missing("pii", libraries[kind])):
                yield Problem(("pii", place), *absent)
        if "phone" in self.pii and not missing("pii", "phonenumbers"):
            from phonenumbers import SUPPORTED_REGIONS

            for place, region in enumerate(self.phone_regions):
                if region not in SUPPORTED_REGIONS:
                    message = f"{region!r} is no country that phonenumbers knows; they are named as GB, DE or US"
                    yield Problem(("phone_regions", place), message)
        if self.stripped_entities and self.entities == "off":
            yield Problem(("stripped_entities",), "has no effect while entities are off")

    def run(self, ctx: "Context") -> CleanBody:
        """Clean each shard."""
        return _account(ctx.table.shards, ctx.map_shards(partial(_clean_shard, self, ctx.table, ctx.artifact)))


class Log:
    """Changes by document and kind, as they come.

    Parameters
    ----------
    documents
        Number of documents.
    """

    def __init__(self, documents: int) -> None:
        self.kinds: dict[str, tuple[NDArray[np.int64], NDArray[np.int64]]] = {}
        self.words = np.zeros((2, documents), np.int64)  # that line rules cut out, and that there were
        self._documents = documents

    def add(self, kind: str, documents: NDArray[np.int64], places: Any, sizes: Any) -> None:
        """Count `places` and `sizes` (bytes) of a kind, numbers or arrays, for `documents`, which may repeat."""
        if len(documents):
            if kind not in self.kinds:
                self.kinds[kind] = np.zeros(self._documents, np.int64), np.zeros(self._documents, np.int64)
            for total, values in zip(self.kinds[kind], (places, sizes), strict=True):
                np.add.at(total, documents, values)

    @property
    def removed_words(self) -> NDArray[np.float64]:
        """Share of the words that line rules cut out."""
        return self.words[0] / np.maximum(self.words[1], 1)


def clean_texts(stage: Clean, texts: pa.Array) -> tuple[pa.Array, Log]:
    r"""Clean texts, as the stage does.

    Parameters
    ----------
    stage
        What to do.
    texts
        ``large_string``, without nulls, in NFC.

    Examples
    --------
    >>> texts, log = clean_texts(Clean(), pa.array(["caf\u00c3\u00a9\u00a0 \r\n"], pa.large_string()))
    >>> texts.to_pylist(), sorted(log.kinds)
    (['café\n'], ['line_ends', 'mojibake', 'spaces', 'trailing_spaces'])
    """
    log, rows = Log(len(texts)), np.arange(len(texts))
    parts, places = [texts], [rows]
    for round_ in range(ROUNDS):
        fresh, changed = _one_round(stage, texts, rows, log, first=round_ == 0)
        if not len(changed):
            break
        texts, rows = fresh.take(pa.array(changed)), rows[changed]
        parts.append(texts)
        places.append(rows)
    if len(parts) == 1:
        return parts[0], log
    latest = np.zeros(len(log.words[0]), np.int64)
    latest[np.concatenate(places)] = np.arange(sum(map(len, places)))  # of a repeated row, the last one is taken
    return pa.concat_arrays(parts).take(pa.array(latest)), log


def _one_round(
    stage: Clean, texts: pa.Array, rows: NDArray[np.int64], log: Log, *, first: bool
) -> tuple[pa.Array, NDArray[np.int64]]:
    """All steps once: new texts, and the numbers of those that differ. `rows` are their documents in the log."""
    from curate.text.batch import TextBatch

    batch = TextBatch(texts)
    changed = np.zeros(len(batch), np.bool_)
    batch = _repaired(stage, batch, rows, log, changed)
    batch = _normalized(stage, batch, rows, log, changed)
    batch = _without_lines(stage, batch, rows, log, changed, first=first)
    batch = _without_pii(stage, batch, rows, log, changed)
    return batch.text, np.flatnonzero(changed)


def _repaired(stage: Clean, batch: "TextBatch", rows: NDArray[np.int64], log: Log, changed: Any) -> "TextBatch":
    from curate.cleaning.repair import repair

    if not stage.mojibake and stage.entities == "off":
        return batch
    found = repair(
        batch.data,
        batch.offsets,
        mojibake=stage.mojibake,
        entities=stage.entities,
        stripped=stage.stripped_entities,
    )
    for column, kind in enumerate(("mojibake", "entities")):
        hit = found.places[:, column] > 0
        log.add(kind, rows[found.documents[hit]], found.places[hit, column], found.sizes[hit, column])
    changed[found.documents] = True
    return _edited(batch, *found.edits)


def _normalized(stage: Clean, batch: "TextBatch", rows: NDArray[np.int64], log: Log, changed: Any) -> "TextBatch":
    from curate.cleaning.whitespace import KINDS, Switches, normalize

    switches = Switches(
        stage.control,
        stage.invisible,
        stage.line_ends,
        stage.spaces,
        stage.trailing_spaces,
        -1 if stage.max_blank_lines is None else stage.max_blank_lines,
        stage.inner_spaces,
    )
    data, offsets, changes = normalize(batch.data, batch.offsets, switches)
    touched = changes.places > 0
    if not touched.any():
        return batch
    for column, kind in enumerate(KINDS):
        hit = np.flatnonzero(touched[:, column])
        log.add(kind, rows[hit], changes.places[hit, column], changes.sizes[hit, column])
    changed |= touched.any(axis=1)
    # Only a character that is gone can have stood between a letter and its accent.
    return _composed(_batch(data, offsets), np.flatnonzero(touched[:, :2].any(axis=1)))


def _without_lines(
    stage: Clean, batch: "TextBatch", rows: NDArray[np.int64], log: Log, changed: Any, *, first: bool
) -> "TextBatch":
    from curate.cleaning.boilerplate import Rules, bad_lines, citations, extents
    from curate.text.scan import scan
    from curate.text.spans import disjoint

    wanted = stage.lines
    if wanted.citations:
        starts, ends = citations(batch.data, batch.offsets)
        documents = np.searchsorted(batch.offsets, starts, side="right") - 1
        log.add("citations", rows[documents], 1, ends - starts)
        batch = _cut(batch, starts, ends, changed)
    rules = Rules(**{name: getattr(wanted, name) for name in Rules._fields})
    if not rules.any:
        return batch
    counts, lines = scan(batch.data, batch.offsets)
    if first:
        log.words[1][rows] = counts.words
    gone = np.zeros(len(lines.starts), np.bool_)
    owners = np.repeat(np.arange(len(batch)), np.diff(lines.offsets))
    for name, flags in bad_lines(batch.data, lines, rules):
        chosen = np.flatnonzero(flags & ~gone)
        starts, ends = extents(batch.data, batch.offsets, lines, chosen)
        log.add(f"line_{name}", rows[owners[chosen]], 1, ends - starts)
        gone |= flags
    chosen = np.flatnonzero(gone)
    np.add.at(log.words[0], rows[owners[chosen]], lines.words[chosen])
    starts, ends = extents(batch.data, batch.offsets, lines, chosen)
    apart = disjoint(starts, ends)  # what the scan takes for two lines may end at one feed
    return _cut(batch, starts[apart], ends[apart], changed)


def _without_pii(stage: Clean, batch: "TextBatch", rows: NDArray[np.int64], log: Log, changed: Any) -> "TextBatch":
    if not stage.pii:
        return batch
    from curate.cleaning.pii import KINDS, find

    found = find(batch.data, batch.offsets, stage.pii, stage.phone_regions)
    if not len(found.starts):
        return batch
    documents = np.searchsorted(batch.offsets, found.starts, side="right") - 1
    for number, kind in enumerate(KINDS):
        hit = found.kinds == number
        log.add(f"pii_{kind}", rows[documents[hit]], 1, (found.ends - found.starts)[hit])
    new = [stage.placeholders.get(kind, f"<{kind.upper()}>").encode() for kind in KINDS]
    changed[documents] = True
    edited = _edited(batch, found.starts, found.ends, [new[kind] for kind in found.kinds.tolist()])
    return _composed(edited, np.unique(documents))


def _cut(batch: "TextBatch", starts: NDArray[np.int64], ends: NDArray[np.int64], changed: Any) -> "TextBatch":
    if not len(starts):
        return batch
    documents = np.unique(np.searchsorted(batch.offsets, starts, side="right") - 1)
    changed[documents] = True
    return _composed(_edited(batch, starts, ends, [b""] * len(starts)), documents)


def _edited(batch: "TextBatch", starts: NDArray[np.int64], ends: NDArray[np.int64], new: Any) -> "TextBatch":
    from curate.text.spans import Edits, replace

    return _batch(*replace(batch.data, batch.offsets, Edits(starts, ends, new))) if len(starts) else batch


def _batch(data: NDArray[np.uint8], offsets: NDArray[np.int64]) -> "TextBatch":
    from curate.text.batch import TextBatch, string_array

    return TextBatch(string_array(data, offsets))


def _composed(batch: "TextBatch", documents: NDArray[np.int64]) -> "TextBatch":
    """The batch with some of its documents in NFC again."""
    from curate.text.batch import TextBatch

    if not len(documents):
        return batch
    chosen = batch.text.take(pa.array(documents))
    composed = pc.utf8_normalize(chosen, form="NFC")  # type: ignore[attr-defined]
    if composed.equals(chosen):
        return batch
    latest = np.arange(len(batch))
    latest[documents] = len(batch) + np.arange(len(documents))
    return TextBatch(pa.concat_arrays([batch.text, composed]).take(pa.array(latest)))


def _clean_shard(stage: Clean, table: Table, artifact: Artifact, shard: Shard) -> dict[str, Any]:
    """Write a shard with clean texts, and beside it, in ``changes``, what was done."""
    totals = Totals()
    part, changes = artifact.part(shard.name), f"{artifact.path}/changes/part-{shard.name}.parquet"
    with DocumentWriter(part) as writer, ParquetWriter(changes, CHANGES) as record:
        for batch in table.batches(shard, DOCUMENT.names):
            old = batch.column("text")
            texts, log = clean_texts(stage, old)
            dropped = _dropped(stage, texts, log, old)
            touched = _record(batch.column("id"), log, record)
            totals.add({"touched": touched, "kinds": _counts(log), "dropped": _flow(dropped)})
            batch = batch.set_column(DOCUMENT.names.index("text"), DOCUMENT.field("text"), texts)
            batch = batch.take(pa.array(np.flatnonzero(~np.logical_or.reduce(list(dropped.values())))))
            writer.write(batch)
    return {"touched": 0, "kinds": {}, "dropped": {}} | totals.counts | writer.entry()


def _dropped(stage: Clean, texts: pa.Array, log: Log, old: pa.Array) -> dict[str, NDArray[np.bool_]]:
    """Which documents go, by reason; the record has them with the bytes that they had."""
    sizes, before = (pc.binary_length(array).to_numpy(zero_copy_only=False) for array in (texts, old))  # type: ignore[attr-defined]
    emptied = (sizes == 0) & (before > 0)
    limit = stage.lines.max_removed_words
    too_much = np.zeros(len(texts), np.bool_) if limit is None else (log.removed_words > limit) & ~emptied
    dropped = {EMPTIED: emptied, REMOVED_WORDS: too_much}
    for reason, flags in dropped.items():
        rows = np.flatnonzero(flags)
        log.add(reason, rows, 1, before[rows].astype(np.int64))
    return dropped


def _record(ids: pa.Array, log: Log, record: ParquetWriter) -> int:
    """Write what was done to the documents, in their order; returns how many were touched."""
    kinds = list(log.kinds)
    found = [(np.flatnonzero(places), number) for number, (places, _) in enumerate(log.kinds.values())]
    rows = np.concatenate([np.zeros(0, np.int64), *(rows for rows, _ in found)])
    numbers = np.concatenate([np.zeros(0, np.int64), *(np.full(len(rows), number) for rows, number in found)])
    if not len(rows):
        return 0
    values = [np.concatenate([log.kinds[kinds[n]][which][rows] for rows, n in found]) for which in (0, 1)]
    order = np.lexsort((numbers, rows))
    names = pa.DictionaryArray.from_arrays(pa.array(numbers[order], pa.int32()), pa.array(kinds, pa.string()))
    columns = [ids.take(pa.array(rows[order])), names, *(pa.array(column[order]) for column in values)]
    record.write(pa.table(columns, schema=CHANGES))
    return len(np.unique(rows))


def _counts(log: Log) -> dict[str, dict[str, int]]:
    return {
        kind: {"documents": int((places > 0).sum()), "places": int(places.sum()), "bytes": int(sizes.sum())}
        for kind, (places, sizes) in log.kinds.items()
        if kind not in (EMPTIED, REMOVED_WORDS)
    }


def _flow(dropped: Mapping[str, NDArray[np.bool_]]) -> dict[str, int]:
    return {reason: int(flags.sum()) for reason, flags in dropped.items()}


def _account(shards: tuple[Shard, ...], results: list[dict[str, Any]]) -> CleanBody:
    """The manifest: shards, ``flow``, and what was done per source and kind."""
    changes = (
        {"documents_in": shard.rows, "bytes_in": shard.text_bytes, "bytes_out": result["text_bytes"]}
        | {"touched": result["touched"], "kinds": result["kinds"]}
        for shard, result in zip(shards, results, strict=True)
    )
    dropped = [{why: n for why, n in result["dropped"].items() if n or why == EMPTIED} for result in results]
    return {**new_table(shards, results, dropped), "changes": by_source(shards, changes)}
