"""Joint densities: which pairs there are, where cells and cuts are drawn, overlaps and correlations."""

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from curate import Pipeline
from curate.report.sections import density


def test_facts_are_those_of_the_manifest(two_models: tuple[dict[str, Any], str, Pipeline]) -> None:
    facts, _, pipeline = two_models
    (pair,) = facts["densities"]
    assert (pair["x"]["column"], pair["y"]["column"]) == ("one_tokens", "two_bits_per_byte")
    assert pair["y"]["measure"] == "bits per byte"
    assert pair["y"]["of"] == "other_lm"
    assert pair["sources"] == pipeline.nodes["density"].artifact.manifest["pairs"][0]["sources"]
    (cut,) = pair["x"]["cuts"]
    assert (cut["stage"], cut["group"], cut["names"], cut["values"]) == ("halves", "", ["low", "high"], [60.0])
    assert pair["y"]["cuts"] == []


def test_the_page_draws_them(two_models: tuple[dict[str, Any], str, Pipeline]) -> None:
    _, page, _ = two_models
    for chart in ("density-0-wide", "density-0-narrow"):
        assert page.count(f'id="{chart}-t"') == 1
    section = page[page.index('<section id="density"') :]
    assert re.search(r">low</text>", section)
    assert "bits per byte by other_lm" in section
    assert "plain, 50 documents" in section


def pair_of(sources: dict[str, np.ndarray], **changed: Any) -> dict[str, Any]:
    """Facts of a pair of measurements from 1 to 100, counted in bins."""
    (bins, _), *_ = (counts.shape for counts in sources.values())
    scale = {"measure": "bits per byte", "of": "lm", "scale": "log", "low": 1.0, "high": 100.0, "cuts": []}
    counted = {
        name: {
            "documents": int(counts.sum()),
            "null": 0,
            "cells": np.flatnonzero(counts).tolist(),
            "counts": counts.ravel()[np.flatnonzero(counts)].tolist(),
        }
        for name, counts in sources.items()
    }
    x = {"column": "x_bits", **scale, **changed}
    return {"stage": "density", "bins": bins, "x": x, "y": {"column": "y_bits", **scale}, "sources": counted}


def test_cuts_and_cells_are_drawn_where_they_are() -> None:
    counts = np.zeros((4, 4), int)
    counts[1, 2:4] = 5  # y in the second bin, x in the third and fourth
    counts[3, 0] = 200
    cut = {"stage": "buckets", "group": "", "names": ["head", "middle", "tail"], "values": [10.0, 50.0]}
    figure = density._panels(pair_of({"web": counts}, cuts=[cut]), {"web": counts.astype(float)}, 760)
    (axis,) = figure.axes
    upright = [line.get_xdata()[0] for line in axis.lines if tuple(line.get_ydata()) == (0, 1)]
    assert upright == pytest.approx([2.0, 4 * np.log(50) / np.log(100)])
    assert {text.get_text() for text in axis.texts} == {"head", "middle", "tail"}
    boxes = {patch.get_path().get_extents().bounds: patch.get_alpha() for patch in axis.patches}
    one, two = ({**cut, "group": group} for group in ("en", "de"))
    assert "cuts of buckets of en." in density.page([pair_of({"web": counts}, cuts=[one])], None).charts[0].caption
    several = density._cuts_shown([one, two])
    assert several == " Lines across are the cuts of buckets, solid those of en, dotted those of de."
    light, dark = boxes[2.0, 1.0, 2.0, 1.0], boxes[0.0, 3.0, 1.0, 1.0]
    assert 0 < light < dark == 1


def test_outlines_hold_their_shares_and_many_sources_have_a_limit() -> None:
    rng = np.random.default_rng(3)
    cloud = np.histogram2d(*rng.normal(10, 3, (2, 20_000)), bins=20, range=[[0, 20], [0, 20]])[0]
    sources = {f"s{i}": cloud * (9 - i) for i in range(8)}
    section = density.page([pair_of(sources)], None)
    assert "The 5 largest of 8 sources." in section.charts[0].caption
    assert "s4, " in section.charts[0].svg
    assert "s5" not in section.charts[0].svg
    assert len(section.tables[0].rows) == 8
    assert len(section.tables[1].rows) == 10


def test_no_documents_and_one_source_have_a_section_too() -> None:
    none, one = np.zeros((4, 4), int), np.eye(4, dtype=int)
    assert density.page([pair_of({"web": none})], None).finding == "No document has both measurements"
    assert density.page([pair_of({"web": none})], None).charts == []
    alone = density.page([pair_of({"web": one, "empty": none})], None)
    assert alone.finding == "x_bits and y_bits put the documents of web in orders that correlate by 1.00"
    flipped = density.page([pair_of({"web": one[::-1]})], None)
    assert "by -1.00" in flipped.finding
    flat = density.page([pair_of({"web": np.eye(1, 16, dtype=int).reshape(4, 4)})], None)
    assert flat.finding == "x_bits or y_bits is about the same for all documents of web"
    assert flat.tables[0].rows[0][-1] == "none"


COUNTS = arrays(np.int64, (5, 5), elements=st.integers(0, 9)).filter(lambda counts: counts.sum() > 0)


@given(COUNTS, COUNTS)
def test_overlaps_by_both_are_never_more_than_by_either(one: np.ndarray, other: np.ndarray) -> None:
    both, *alone = density.overlaps(one.astype(float), other.astype(float))
    assert -1e-9 < both <= min(alone) + 1e-9
    assert max(alone) <= 1 + 1e-9
    assert density.overlaps(one.astype(float), one * 3.0) == pytest.approx((1, 1, 1))


@given(COUNTS)
def test_rank_correlation_is_that_of_the_documents(counts: np.ndarray) -> None:
    documents = [(x, y) for y in range(5) for x in range(5) for _ in range(counts[y, x])]

    def ranks(values: list[int]) -> np.ndarray:
        return np.array([sum(v < value for v in values) + values.count(value) / 2 for value in values])

    x, y = (ranks([pair[side] for pair in documents]) for side in (0, 1))
    found = density._rank_correlation(counts.astype(float))
    if x.std() and y.std():
        assert found == pytest.approx(np.corrcoef(x, y)[0, 1])
    else:
        assert np.isnan(found)
