"""Numbers as people write and read them: counts such as ``1.5B``, bytes such as ``256MB``, shares, durations, plurals.

Token counts use the suffixes of the scaling-law literature (K, M, B, T: powers of 1000). Bytes use the prefixes of SI
and IEC 80000-13 (kB, MB, GB, TB: powers of 1000; KiB, MiB, GiB, TiB: powers of 1024). Decimal arithmetic: ``"0.1B"`` is
exactly 100000000, and a size that is not a whole number is an error.
"""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated

from pydantic import BeforeValidator, Field, WithJsonSchema

COUNT_UNITS = {"": 1, "K": 10**3, "M": 10**6, "B": 10**9, "T": 10**12, "k": 10**3}
DECIMAL_BYTES = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
BYTE_UNITS = DECIMAL_BYTES | {"": 1, "KB": 10**3, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}

COUNT_FORMS = "a whole number or a string such as '10M' or '1.5B' (K, M, B, T: powers of 1000)"
BYTE_FORMS = (
    "a whole number of bytes or a string such as '256MB' or '64KiB' "
    "(kB, MB, GB, TB: powers of 1000; KiB, MiB, GiB, TiB: powers of 1024)"
)

_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([A-Za-z]*)")


def parse_count(value: object) -> int:
    """A number of tokens or documents.

    Parameters
    ----------
    value
        An integer, or a string: a decimal number with one of the suffixes K, M, B, T or none.

    Raises
    ------
    ValueError
        Anything else, a negative number, or a number that is not whole.

    Examples
    --------
    >>> parse_count("1.5B"), parse_count("250K"), parse_count(12)
    (1500000000, 250000, 12)
    """
    return _parse(value, COUNT_UNITS, COUNT_FORMS)


def parse_bytes(value: object) -> int:
    """A number of bytes.

    Parameters
    ----------
    value
        An integer, or a string: a decimal number with a unit (B, kB, MB, GB, TB, KiB, MiB, GiB, TiB) or none.

    Raises
    ------
    ValueError
        Anything else, a negative number, or a number that is not whole.

    Examples
    --------
    >>> parse_bytes("256MB"), parse_bytes("64 KiB")
    (256000000, 65536)
    """
    return _parse(value, BYTE_UNITS, BYTE_FORMS)


def format_count(count: int) -> str:
    """A count for people, with three significant digits.

    Examples
    --------
    >>> format_count(1_234_567_890), format_count(999_999), format_count(512)
    ('1.23B', '1M', '512')
    """
    return "".join(_scaled(count, COUNT_UNITS))


def format_bytes(count: int) -> str:
    """A number of bytes for people, in decimal units with three significant digits.

    Examples
    --------
    >>> format_bytes(256_000_000), format_bytes(1_536), format_bytes(10)
    ('256 MB', '1.54 kB', '10 B')
    """
    return " ".join(_scaled(count, DECIMAL_BYTES))


def number(value: float) -> str:
    """A whole number with its thousands set apart.

    Examples
    --------
    >>> number(1234567)
    '1,234,567'
    """
    return f"{value:,.0f}"


def percent(part: float, whole: float = 1.0) -> str:
    """A share; one that would round to 0 or 100 % without being it says so.

    Examples
    --------
    >>> percent(1, 8), percent(1, 10**6), percent(999_999, 10**6), percent(0, 0)
    ('12.5 %', '<0.1 %', '>99.9 %', '0 %')
    """
    share = part / whole if whole else 0.0
    if 0 < share < 0.0005:
        return "<0.1 %"
    if 0.9995 < share < 1:
        return ">99.9 %"
    return f"{100 * share:.1f}".removesuffix(".0") + " %"


def duration(seconds: float) -> str:
    """A time in its two largest units.

    Examples
    --------
    >>> duration(0.034), duration(3.42), duration(64.2), duration(5400), duration(200_000)
    ('0.034 s', '3.4 s', '1 min 4 s', '1 h 30 min', '55 h 33 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds:.2g} s"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def plural(count: int, noun: str) -> str:
    """A count and what it counts.

    Examples
    --------
    >>> plural(1, "record"), plural(2400, "copy")
    ('1 record', '2,400 copies')
    """
    many = noun[:-1] + "ies" if noun.endswith("y") else noun + "s"
    return f"{number(count)} {noun if count == 1 else many}"


def _parse(value: object, units: Mapping[str, int], forms: str) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return _bounded(value)
    found = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if found is None or found[2] not in units:
        raise ValueError(f"must be {forms}")
    size = Decimal(found[1]) * units[found[2]]
    if size != int(size):
        raise ValueError("must come to a whole number")
    return _bounded(int(size))


def _bounded(size: int) -> int:
    """`size`, if it fits into 64 bits, as what is counted must."""
    if size >= 1 << 63:
        raise ValueError(f"must be less than 2^63, got {size}")
    return size


def _scaled(count: int, units: Mapping[str, int]) -> tuple[str, str]:
    """The number in the largest unit of which it is at least one, after rounding to three digits."""
    unit = max((u for u in units if count >= 0.9995 * units[u]), key=lambda u: units[u], default=next(iter(units)))
    scaled = count / units[unit]
    return f"{scaled:,.0f}" if scaled >= 999.5 else f"{scaled:.3g}", unit


def _json_schema(units: Mapping[str, int], forms: str) -> WithJsonSchema:
    suffix = "|".join(sorted(filter(None, units)))
    pattern = rf"^[0-9]+(\.[0-9]+)? ?({suffix})?$"
    integer, string = {"type": "integer", "minimum": 0}, {"type": "string", "pattern": pattern}
    return WithJsonSchema({"anyOf": [integer, string], "description": forms})


Tokens = Annotated[int, BeforeValidator(parse_count), Field(ge=0), _json_schema(COUNT_UNITS, COUNT_FORMS)]
"""A field that takes what `parse_count` takes; its value is an int."""

Bytes = Annotated[int, BeforeValidator(parse_bytes), Field(ge=0), _json_schema(BYTE_UNITS, BYTE_FORMS)]
"""A field that takes what `parse_bytes` takes; its value is an int."""
