"""Drawings: stable, unique ids, text left as text, colours that the page sets."""

import re
from functools import partial

import pytest

from curate.config.units import percent
from curate.report.charts import BLUE, ORANGE, Panel, Series, draw, overlaid, shorten, stacked

ROWS = ["web", "$a_1$ & <b>", "a_source_with_a_very_long_name_that_ends_in_2024"]
PANELS = [
    Panel("Left", "share", ROWS, [Series("kept", BLUE, [0.5, 0.25, 0]), Series("lost", ORANGE, [0.5, 0.75, 0])])
] * 2
PLOTS = {
    "stacked": partial(stacked, PANELS),
    "overlaid": partial(overlaid, PANELS, columns=2, format_value=percent),
}


@pytest.mark.parametrize("plot", PLOTS.values(), ids=PLOTS)
def test_bytes_are_stable_and_ids_unique(plot: partial) -> None:
    one, two = (draw("name", "A caption", "A finding", plot).svg for _ in range(2))
    assert one == two
    ids = re.findall(r' id="([^"]+)"', one)
    assert len(ids) == len(set(ids))
    assert all(identifier.startswith(("name-wide", "name-narrow")) for identifier in ids)
    assert set(re.findall(r'(?:href="|url\()#([\w-]+)', one)) <= set(ids)


def test_text_stays_text_and_is_escaped() -> None:
    svg = str(draw("name", "A <caption>", "A & finding", PLOTS["stacked"]).svg)
    assert svg.count("$a_1$ &amp; &lt;b&gt;") == 3  # once on the wide page, for two panels on the narrow one
    assert "<b>" not in svg
    assert "A &lt;caption&gt;" in svg
    assert "A &amp; finding" in svg


def test_colours_are_variables() -> None:
    svg = str(draw("name", "", "", PLOTS["overlaid"]).svg)
    assert "var(--blue, #0072b2)" in svg
    assert set(re.findall(r"(?<!, )#[0-9a-f]{6}\b", re.sub(r"[\w-]*#m[0-9a-f]+", "", svg))) == set()


def test_bars_are_as_long_as_their_values() -> None:
    svg = str(draw("name", "", "", PLOTS["overlaid"]).svg)
    bars = re.findall(r'<path d="M ([\d.]+) [\d.]+ L ([\d.]+) [^"]*z "[^>]*style="fill: var\(--orange', svg)
    lengths = [float(end) - float(start) for start, end in bars]
    assert lengths[0] / lengths[1] == pytest.approx(0.5 / 0.75, rel=1e-3)


def test_names_beyond_the_limit_keep_both_ends() -> None:
    assert shorten("abcdefgh", 8) == "abcdefgh"
    assert shorten("abcdefghi", 8) == "abcd…ghi"
