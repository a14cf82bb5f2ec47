"""Sizes as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.config.units import format_bytes, format_count, parse_bytes, parse_count

COUNTS = {
    0: 0,
    "0": 0,
    "15": 15,
    "12K": 12_000,
    "3M": 3_000_000,
    "1.5B": 1_500_000_000,
    "0.1B": 10**8,
    "2 T": 2 * 10**12,
}
BYTES = {7: 7, "7B": 7, "1kB": 1000, "256MB": 256 * 10**6, "1.5GB": 1_500_000_000, "2 TB": 2 * 10**12}
BINARY = {"1KiB": 1024, "1.5MiB": 1_572_864, "1 GiB": 2**30, "1TiB": 2**40}


def test_sizes():
    assert {value: parse_count(value) for value in COUNTS} == COUNTS
    assert {value: parse_bytes(value) for value in BYTES | BINARY} == BYTES | BINARY


@pytest.mark.parametrize("value", ["", "B", "1.5b", "1e9", "-1K", "1,000", "1MiB", " 1", 1.0, -1, True, None, "１K"])
def test_what_is_no_count(value):
    with pytest.raises(ValueError, match=r"^must be a whole number or a string such as '10M' or '1\.5B'"):
        parse_count(value)


@pytest.mark.parametrize("value", ["1mb", "1K", "MB", 1.5, False])
def test_what_is_no_number_of_bytes(value):
    with pytest.raises(ValueError, match=r"^must be a whole number of bytes or a string such as '256MB' or '64KiB'"):
        parse_bytes(value)


@pytest.mark.parametrize(("parse", "value"), [(parse_count, "1.2345K"), (parse_count, "0.5"), (parse_bytes, "0.3KiB")])
def test_sizes_are_whole(parse, value):
    with pytest.raises(ValueError, match="must come to a whole number"):
        parse(value)


@given(st.integers(0, 10**15 - 10**12))
def test_formatted_sizes_parse_to_within_rounding(count):
    assert abs(parse_count(format_count(count)) - count) <= 0.005 * count
    assert abs(parse_bytes(format_bytes(count)) - count) <= 0.005 * count
