"""Dates, samples and identifiers."""

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.io.records import document_id, parse_date, sample

MOMENTS = st.datetimes(dt.datetime(1973, 3, 4), dt.datetime(2099, 12, 31), timezones=st.just(dt.UTC))


@given(MOMENTS)
def test_dates_come_back_from_every_form(moment: dt.datetime) -> None:
    assert parse_date(moment) == moment
    assert parse_date(moment.isoformat()) == moment
    assert parse_date(moment.isoformat().replace("+00:00", "Z")) == moment
    assert parse_date(moment.replace(tzinfo=None).isoformat(" ")) == moment
    whole = moment.replace(microsecond=0)
    seconds = int(whole.timestamp())
    assert [parse_date(seconds * unit) for unit in (1, 1000, 10**6, 10**9)] == [whole] * 4
    parsed = parse_date(moment.timestamp())
    assert parsed is not None
    assert abs(parsed - moment) < dt.timedelta(microseconds=2)


@pytest.mark.parametrize("zone", [-12, 0, 5.5, 14])
def test_zones_become_utc(zone: float) -> None:
    moment = dt.datetime(2024, 2, 29, 23, 30, tzinfo=dt.timezone(dt.timedelta(hours=zone)))
    parsed = parse_date(moment.isoformat())
    assert parsed == moment
    assert parsed is not None
    assert parsed.utcoffset() == dt.timedelta(0)


NO_DATES = ("", "soon", "2024", "2024-13-01", "0001-01-01T00:00:00+05:00", True, None, {}, [])
NO_TIMES = (2024, 20240229, 20240229120000, -5, float("nan"), float("inf"), -float("inf"), 10**40, 1e300)


@pytest.mark.parametrize("value", NO_DATES + NO_TIMES)
def test_what_is_no_date(value: object) -> None:
    assert parse_date(value) is None


@given(st.binary(max_size=500) | st.text(max_size=500))
def test_samples_are_short_and_printable(data: bytes | str) -> None:
    shown = sample(data)
    assert shown.isprintable()
    assert len(shown) <= 10 * 80 + 1


@given(st.lists(st.tuples(st.text(alphabet="ab\0c", max_size=4), st.integers(0, 3)), unique=True))
def test_ids_differ_by_source_id_and_occurrence(keys: list[tuple[str, int]]) -> None:
    assert len({document_id("s", source_id, occurrence) for source_id, occurrence in keys}) == len(keys)
    assert {document_id("s", *key) for key in keys}.isdisjoint(document_id("t", *key) for key in keys)
