"""A section on what web archives hold that is no page, and on the text that was made of pages."""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from operator import itemgetter
from typing import Any

from curate.config.units import format_bytes, format_count, number, percent, plural
from curate.report.charts import BLUE, GREY, Chart, Panel, Series, draw, overlaid, share_panel
from curate.report.page import Section, Table, table

Facts = Mapping[str, Any]
Entry = tuple[str, str, Facts]
"""A stage, a source, and what is known of the two."""


def web(part: Mapping[str, Sequence[Facts]], _: Facts) -> Section:
    """Records of archives by what they are; pages, and how many of them gave text."""
    records, pages = _entries(part["records"]), _entries(part["pages"])
    finding = "; ".join(said for said in (_of_records(records), _of_pages(pages)) if said)
    charts = [*_skipped_chart(records), *_text_chart(part["pages"])]
    return Section("web", "Web pages", finding, charts=charts, tables=[*_record_tables(records), *_page_tables(pages)])


def _entries(stages: Sequence[Facts]) -> list[Entry]:
    return [(stage["stage"], *entry) for stage in stages for entry in stage["sources"].items()]


def _of_records(entries: Sequence[Entry]) -> str:
    skipped = _skipped(entries)
    if not skipped:
        return ""
    records = sum(counts["records"] for _, _, counts in entries)
    most = skipped.most_common(1)[0][0]
    share = f"{number(skipped.total())} of {plural(records, 'record')} of web archives"
    return f"{share} are no pages, most often {most}"


def _of_pages(entries: Sequence[Entry]) -> str:
    if not entries:
        return ""
    pages, lost = (sum(counts[name] for _, _, counts in entries) for name in ("pages", "lost"))
    read, text = (sum(counts[name] for _, _, counts in entries) for name in ("html_bytes", "text_bytes"))
    if not pages:
        return "No document was HTML"
    return f"{number(pages - lost)} of {plural(pages, 'page')} gave text, {percent(text, read)} of their HTML"


def _skipped(entries: Sequence[Entry]) -> Counter[str]:
    skipped: Counter[str] = Counter()
    for _, _, counts in entries:
        skipped.update(counts["skipped"])
    return skipped


def _skipped_chart(entries: Sequence[Entry]) -> list[Chart]:
    reasons = dict(_skipped(entries).most_common())
    if not reasons:
        return []
    counts = list(reasons.values())
    panel = Panel("", "records", list(reasons), [Series("records", GREY, counts)], list(map(number, counts)))
    caption = "Records of web archives that are no pages, by what they are."
    return [draw("skipped", caption, _of_records(entries), partial(overlaid, [panel], format_value=_count))]


def _count(value: float) -> str:
    return format_count(round(value))


def _text_chart(stages: Sequence[Facts]) -> list[Chart]:
    panels = []
    for stage in stages:
        sizes = {name: (c["text_bytes"], c["html_bytes"]) for name, c in stage["sources"].items() if c["html_bytes"]}
        if sizes:
            shares = {name: text / html for name, (text, html) in sizes.items()}
            panels.append(share_panel(stage["stage"], "share of HTML", "text", BLUE, shares))
    if not panels:
        return []
    caption = "Bytes of text that the extractor found, per byte of HTML, for each source."
    finding = _of_pages(_entries(stages))
    return [draw("extracted", caption, finding, partial(overlaid, panels, columns=2, format_value=percent))]


_WHOSE = {"stage": itemgetter(0), "source": itemgetter(1)}


def _record_tables(entries: Sequence[Entry]) -> list[Table]:
    sizes = {
        "records": lambda entry: number(entry[2]["records"]),
        "documents": lambda entry: number(entry[2]["documents"]),
        "no pages": lambda entry: number(sum(entry[2]["skipped"].values())),
        "quarantined": lambda entry: number(entry[2]["quarantined"]),
    }
    reasons = [
        (stage, source, reason, count)
        for stage, source, counts in entries
        for reason, count in sorted(counts["skipped"].items(), key=lambda item: -item[1])
    ]
    of = {"records": lambda row: number(row[3])}
    if not entries:
        return []
    return [
        table("Records of web archives", entries, _WHOSE, sizes),
        table("Records that are no pages", reasons, _WHOSE | {"what they are": itemgetter(2)}, of),
    ]


def _page_tables(entries: Sequence[Entry]) -> list[Table]:
    reasons = sorted({reason for _, _, counts in entries for reason in counts["dropped"]})
    sizes = {
        "pages": lambda entry: number(entry[2]["pages"]),
        "no HTML, passed on": lambda entry: number(entry[2]["passed"]),
        "HTML": lambda entry: format_bytes(entry[2]["html_bytes"]),
        "text": lambda entry: format_bytes(entry[2]["text_bytes"]),
        **{reason: partial(_dropped, reason) for reason in reasons},
    }
    return [table("Pages, their text, and pages that were dropped", entries, _WHOSE, sizes)] if entries else []


def _dropped(reason: str, entry: Entry) -> str:
    return number(entry[2]["dropped"].get(reason, 0))
