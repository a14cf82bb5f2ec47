"""What a section of the report is: a value named ``SECTION`` in a module of `curate.report.sections`."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from curate.report.page import PageSection, Tile
from curate.report.record import RunRecord

Facts = TypeVar("Facts")
"""What a section knows, as JSON values: a TypedDict, or a list of one per stage."""


@dataclass(frozen=True)
class Section(Generic[Facts]):
    """A part of the report.

    Parameters
    ----------
    key
        Name of its facts in ``report.json``.
    order
        Its place: sections with smaller numbers come first.
    facts
        Computes the facts from manifests and receipts. Returns None if the run has nothing to say, for example because
        no stage of the right kind has finished.
    page
        Makes what the page shows of the facts; without it only ``report.json`` has them.
    tiles
        Makes numbers for the head of the page.
    needs
        Kinds of stages. If any are given, the section is there once a stage of one of them has finished.

    Examples
    --------
    >>> names = Section("names", 5, lambda run: [stage.name for stage in run.stages])
    >>> names.key, names.order
    ('names', 5)
    """

    key: str
    order: int
    facts: Callable[[RunRecord], Facts | None]
    page: "Callable[[Facts, Report], PageSection] | None" = None
    tiles: "Callable[[Facts, Report], Sequence[Tile]] | None" = None
    needs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Report:
    """The facts of all sections of one run.

    Parameters
    ----------
    run
        The run.
    sections
        The sections that have facts, in their order.
    facts
        Content of ``report.json``: what identifies the run, and the facts of each section under its key.
    """

    run: RunRecord
    sections: Sequence[Section[Any]]
    facts: Mapping[str, Any]

    def of(self, section: Section[Facts]) -> Facts | None:
        """Facts of a section, None if it has none in this run."""
        return self.facts.get(section.key)

    def tiles(self) -> list[Tile]:
        """Numbers for the head of the page."""
        return [tile for s in self.sections if s.tiles for tile in s.tiles(self.facts[s.key], self)]

    def page(self) -> list[PageSection]:
        """What the page shows; a section whose facts are empty is left out."""
        return [s.page(self.facts[s.key], self) for s in self.sections if s.page and self.facts[s.key]]


IDENTITY = ("seed", "config_hash")
"""Fields of run.json that stand beside the sections in ``report.json``; ``host`` holds the others."""


def report_of(run: RunRecord, wanted: Iterable[Section[Any]]) -> Report:
    """Compute the facts of a run.

    The facts are the same for any engine and number of workers, except ``timings``, ``host`` and what asking a judge
    took (``spent``).

    Parameters
    ----------
    run
        The run.
    wanted
        Sections in any order, for example those of `curate.report.sections.all_sections`.

    Raises
    ------
    ValueError
        Two sections have the same key, or one has the key of a field that every report has.
    """
    facts: dict[str, Any] = {key: run.description[key] for key in IDENTITY}
    facts["host"] = {key: value for key, value in run.description.items() if key not in (*IDENTITY, "stages")}
    present = []
    for section in sorted(wanted, key=lambda section: (section.order, section.key)):
        if section.key in facts:
            raise ValueError(f"two parts of the report are called {section.key!r}: choose another key for a section")
        known = section.facts(run) if not section.needs or run.of(*section.needs) else None
        if known is not None:
            facts[section.key] = known
            present.append(section)
    return Report(run, present, facts)
