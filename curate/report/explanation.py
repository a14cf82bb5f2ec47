"""What `explain` finds out, as values and as text for a terminal."""

from dataclasses import dataclass
from datetime import datetime
from html import escape
from typing import Any

from curate.config.units import plural

_SHOWN = 6  # values of a list that are shown
_FIELDS = 20  # of `meta` that are shown
_BYTES = 16  # of a hash or a signature
_LINE = 100  # characters of a span
EMPTIED, TOO_MUCH = "emptied", "removed_words"  # why `clean` drops a document, among the kinds that it records


class Rendered:
    """Shown as its text, in a console and in a notebook."""

    def render(self) -> str:
        """The text."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return self.render()

    def _repr_html_(self) -> str:
        return f"<pre>{escape(self.render())}</pre>"


@dataclass(frozen=True)
class FiredRule:
    """A rule of the stage `stage` that is true of the document; the first of a stage is the reason it gives."""

    stage: str
    name: str
    when: str


@dataclass(frozen=True)
class Cluster:
    """Documents that are copies of one another.

    Parameters
    ----------
    stage
        Name of the stage that found them.
    size
        Number of documents.
    keeper
        Id of the one that is kept.
    members
        Id, source and the source's own id of some of them; the keeper may be of another run.
    similarity
        To the keeper, where it is known.
    """

    stage: str
    size: int
    keeper: str
    members: tuple[tuple[str, str, str], ...]
    similarity: float | None = None


@dataclass(frozen=True)
class RemovedSpans:
    """Spans that a stage cut out of the document: the byte where each began in the text before, and what it said."""

    stage: str
    spans: tuple[tuple[int, str], ...]


@dataclass(frozen=True)
class Cleaned:
    """What a stage changed in the document: for each kind of change, in how many places and to how many bytes."""

    stage: str
    kinds: tuple[tuple[str, int, int], ...]


@dataclass(frozen=True)
class Landing:
    """A copy of the document in an output file (relative to the run's directory)."""

    file: str
    row: int
    epoch: int


@dataclass(frozen=True)
class Destination:
    """Where `mix` put a document.

    Parameters
    ----------
    split
        ``train``, ``validation``, or None where it is in neither.
    rung
        Name of the first rung that holds it.
    epochs
        Copies in the largest rung.
    landings
        The copies in the output files, if these are written.
    """

    split: str | None
    rung: str | None
    epochs: int | None
    landings: tuple[Landing, ...]


@dataclass(frozen=True)
class FoundItem:
    """An item of a benchmark that stands in the document.

    Parameters
    ----------
    stage
        The `decontaminate` stage that found it.
    benchmark, item
        Which.
    ratio
        Share of the item's own n-grams that the document has.
    start
        Byte at which the longest run begins.
    text
        That run.
    words
        Its length.
    """

    stage: str
    benchmark: str
    item: str
    ratio: float
    start: int
    text: str
    words: int


@dataclass(frozen=True)
class Contribution:
    """What one labeling function said of the document, and what that adds to the log-odds of keep.

    Parameters
    ----------
    function
        Its name.
    vote
        ``keep``, ``drop``, ``abstain``, or the bucket of a score.
    log_odds
        Above 0 for keep.
    when
        The rule that was asked, where it is one.
    """

    function: str
    vote: str
    log_odds: float
    when: str = ""


@dataclass(frozen=True)
class Weighed:
    """What a label model made of the votes on the document.

    Parameters
    ----------
    stage
        Name of the stage.
    quality
        Probability of keep, or only a rank where `keep` is None.
    keep
        The decision; None where nothing says how many documents are to be kept.
    cut
        The quality from which a document is kept.
    majority
        Share of keep among the votes, each counting the same.
    top
        The largest contributions.
    """

    stage: str
    quality: float | None
    keep: bool | None
    cut: float | None
    majority: float | None
    top: tuple[Contribution, ...]


@dataclass(frozen=True, repr=False)
class Explanation(Rendered):
    """What became of one document.

    Parameters
    ----------
    id
        32 hexadecimal digits.
    source, source_id, url, date
        As read.
    file, row
        The part file that the document was read into, relative to the run's directory, and its row there, from 0.
    snippet
        The beginning of its text.
    annotations
        Values of all columns beside the document, by stage.
    keep
        What `select` decided; None when no such stage has finished.
    rules
        Rules that are true of it.
    clusters
        Its copies, for each stage that found some.
    destination
        Where it landed; None when no `mix` has finished.
    difference
        How its words differ from those of the copy that is kept; empty when it is that copy or has none.
    emptied_by
        The stage that dropped it, so that it is in no later table; None otherwise.
    emptied_for
        Whether it was ``dropped`` or ``quarantined``, the reason and its detail, where that stage lists them.
    cuts
        What was cut out of it, by stage.
    items
        Items of benchmarks that stand in it, those of which it has most first.
    cleaned
        What was changed in it, by stage.
    meta
        What else its source or its page says of it.
    weighed
        What label models made of the votes on it, by stage.
    """

    id: str
    source: str
    source_id: str
    url: str | None
    date: datetime | None
    file: str
    row: int
    snippet: str
    annotations: dict[str, dict[str, Any]]
    keep: bool | None
    rules: tuple[FiredRule, ...]
    clusters: tuple[Cluster, ...]
    destination: Destination | None
    difference: tuple[str, ...]
    emptied_by: str | None = None
    emptied_for: tuple[str, str, str] | None = None
    cuts: tuple[RemovedSpans, ...] = ()
    items: tuple[FoundItem, ...] = ()
    cleaned: tuple[Cleaned, ...] = ()
    meta: tuple[tuple[str, str], ...] = ()
    weighed: tuple[Weighed, ...] = ()

    def render(self) -> str:
        """The explanation as text."""
        head = {
            "document": self.id,
            "source": f"{self.source}/{self.source_id}",
            "url": self.url,
            "date": self.date and self.date.isoformat(),
            "read into": f"{self.file}, row {self.row}",
            "text": self.snippet,
        }
        parts = [
            [f"{name:<9}  {value}" for name, value in head.items() if value],
            self._meta(),
            self._decision(),
            self._weighed(),
            self._cleaned(),
            self._cut(),
            self._contamination(),
            self._copies(),
            self._landed(),
            self._columns(),
        ]
        return "\n\n".join("\n".join(lines) for lines in parts if lines)

    def _decision(self) -> list[str]:
        if self.emptied_for is not None:
            fate, reason, detail = self.emptied_for
            return [f"{fate} by {self.emptied_by!r}: {reason} ({detail})"]
        if self.emptied_by is not None:
            changed = {kind for entry in self.cleaned if entry.stage == self.emptied_by for kind, _, _ in entry.kinds}
            why = "too many of its words were cut out" if TOO_MUCH in changed else "nothing of its text was left"
            return [f"dropped by {self.emptied_by!r}: {why}"]
        if self.keep is None:
            return []
        if self.keep:
            return ["kept: no rule is true of it"]
        width = max(len(rule.name) for rule in self.rules)
        return [
            f"dropped for {self.rules[0].name!r}; the rules that are true of it, in their order:",
            *(f"  {rule.name:<{width}}  {rule.when}" for rule in self.rules),
        ]

    def _weighed(self) -> list[str]:
        lines = []
        for found in self.weighed:
            quality, majority = _shown(found.quality), _shown(found.majority)
            verdict = "no keep rate says which are kept"
            if found.quality is None:
                verdict = "no function was asked about it"
            if found.keep is not None:
                verdict = f"{'kept' if found.keep else 'not kept'}, as the cut is at {_shown(found.cut)}"
            lines.append(f"{found.stage}: quality {quality}, {verdict}; share of keep among the votes {majority}")
            name = max((len(entry.function) for entry in found.top), default=0)
            vote = max((len(entry.vote) for entry in found.top), default=0)
            for entry in found.top:
                line = f"  {entry.function:<{name}}  {entry.vote:<{vote}}  {entry.log_odds:+.2f}"
                lines.append(f"{line}  {entry.when}" if entry.when else line)
        return lines

    def _meta(self) -> list[str]:
        width = max((len(name) for name, _ in self.meta), default=0)
        lines = [f"  {_shortened(name):<{width}}  {_shortened(value)}" for name, value in self.meta[:_FIELDS]]
        more = [f"  and {len(self.meta) - _FIELDS} more"] if len(self.meta) > _FIELDS else []
        return ["meta", *lines, *more] if lines else []

    def _cleaned(self) -> list[str]:
        lines = []
        for entry in self.cleaned:
            kinds = [kind for kind in entry.kinds if kind[0] not in (EMPTIED, TOO_MUCH)]
            width = max((len(kind) for kind, _, _ in kinds), default=0)
            lines += [f"{entry.stage} changed:"] if kinds else []
            lines += [
                f"  {kind:<{width}}  {plural(places, 'place')}, {plural(size, 'byte')}" for kind, places, size in kinds
            ]
        return lines

    def _cut(self) -> list[str]:
        lines = []
        for cut in self.cuts:
            size = sum(len(text.encode()) for _, text in cut.spans)
            lines.append(f"{cut.stage} cut out {plural(len(cut.spans), 'span')}, {plural(size, 'byte')}:")
            lines += [f"  from byte {start}: {_shortened(text)}" for start, text in cut.spans[:_SHOWN]]
            if len(cut.spans) > _SHOWN:
                lines.append(f"  and {len(cut.spans) - _SHOWN} more")
        return lines

    def _contamination(self) -> list[str]:
        lines = []
        for found in self.items[:_SHOWN]:
            lines.append(f"{found.stage} found {100 * found.ratio:.3g} % of {found.item!r} of {found.benchmark},")
            lines.append(f"  {plural(found.words, 'word')} from byte {found.start}: {_shortened(found.text)}")
        return [*lines, *([f"and {len(self.items) - _SHOWN} more"] if len(self.items) > _SHOWN else [])]

    def _copies(self) -> list[str]:
        lines = []
        for cluster in self.clusters:
            own = cluster.keeper == self.id
            known = cluster.similarity is not None and not own
            close = f", to which this one has a similarity of {cluster.similarity:.3f}" if known else ""
            kept = "this one" if own else cluster.keeper
            lines.append(f"{cluster.stage}: one of {plural(cluster.size, 'copy')}, of which it keeps {kept}{close}")
            for member, source, source_id in cluster.members:
                mark = "this" if member == self.id else "kept" if member == cluster.keeper else ""
                lines.append(f"  {member}  {mark:<4}  {source}/{source_id}")
            if cluster.size > len(cluster.members):
                lines.append(f"  and {cluster.size - len(cluster.members)} more")
        if self.difference:
            lines.append("words in which it differs from the copy that is kept, [-here-] and {+there+}:")
            lines += [f"  {change}" for change in self.difference]
        return lines

    def _landed(self) -> list[str]:
        to = self.destination
        if to is None:
            return []
        if to.split is None:
            return ["in no rung: over the budget of its source" if self.keep else "in no rung"]
        line = f"{to.split}: {plural(to.epochs, 'epoch')}, from {to.rung} on" if to.epochs else to.split
        return [line, *(f"  {found.file}, row {found.row}, epoch {found.epoch}" for found in to.landings)]

    def _columns(self) -> list[str]:
        width = max((len(name) for values in self.annotations.values() for name in values), default=0)
        return [
            line
            for stage, values in self.annotations.items()
            for line in [stage, *(f"  {name:<{width}}  {_shown(value)}" for name, value in values.items())]
        ]


@dataclass(frozen=True, repr=False)
class QuarantinedRow(Rendered):
    """A record that never became a document: where it stands, and why it could not be used."""

    source: str
    file: str
    line: int | None
    offset: int | None
    reason: str
    detail: str

    def render(self) -> str:
        """The entry as text."""
        place = f"line {self.line}" if self.line is not None else f"at {self.offset}"
        return f"quarantined when {self.source} was read, for {self.reason}\n{self.file}, {place}: {self.detail}"


def _shortened(text: str) -> str:
    """The beginning of a text on one line."""
    line = " ".join(text.split())
    return line if len(line) <= _LINE else line[:_LINE] + " ..."


def _shown(value: Any) -> str:
    """A column's value on one line."""
    if isinstance(value, bytes):
        return value.hex() if len(value) <= _BYTES else f"{value[:_BYTES].hex()} ... {len(value)} bytes"
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return plural(len(value), "entry")
    if isinstance(value, list) and len(value) > _SHOWN:
        return f"[{', '.join(map(_shown, value[:_SHOWN]))}, ... {len(value)} values]"
    return f"{value:.6g}" if isinstance(value, float) else "null" if value is None else str(value)
