"""Canonical URLs: one form for the addresses of one page.

Equal are addresses that differ only in

- what RFC 3986, sections 6.2.2 and 6.2.3, calls equivalent, with the encodings of RFC 3987: case of scheme, host and
  percent-encodings; characters that are encoded without need (``%7E`` is ``~``), or not encoded; dot segments; an empty
  port or path; an international host and its Punycode (IDNA 2003, in which ``ß`` is ``ss``);
- ``http`` or ``https``, the ports 80 and 443, user and password, ``www.`` before a host of two labels or more, the dot
  that ends a host, slashes that end the path, and the fragment;
- the order of the parameters of the query, ``+`` or ``%20`` for a space in it, ``?a`` or ``?a=``, and parameters that
  are empty, that track the reader (`TRACKING`) or that name a visit (`SESSION`; ``s``, ``sid``, ``sessionid`` and
  ``session_id`` only with 32 hexadecimal digits or more, as they name pages too); a visit in the path
  (``;jsessionid=...``, ``/(S(...))``).

Everything else tells pages apart: case and double slashes of the path, ``index.html``, ``www2.``, other ports, and the
number and values of parameters. An address is one of the web, ``http`` or ``https``, with a host that may exist.

The first group is w3lib's work. Of w3lib, courlan, url-normalize, yarl and ada-url it alone does all of it and sorts
parameters, and it needs no other package.
"""

import re
from ipaddress import IPv6Address
from urllib.parse import urlsplit, urlunsplit

import pyarrow as pa

TRACKING = re.compile(
    "utm_.*|fbclid|gclid|dclid|gbraid|wbraid|msclkid|yclid|twclid|ttclid|igshid|mc_cid|mc_eid|_ga|_gl|_hsenc|_hsmi|mkt_tok"
    "|oly_enc_id|oly_anon_id|vero_id|wickedid|s_cid|cmpid|ref_src|ref_url|spm",
    re.IGNORECASE,
)
"""Names of parameters that tell where a reader came from and not what is read."""

SESSION = re.compile("phpsessid|jsessionid|aspsessionid[a-z]*|cfid|cftoken", re.IGNORECASE)
"""Names of parameters that name a visit."""

_MAYBE_SESSION = re.compile("s|sid|sessionid|session_id", re.IGNORECASE)
_SESSION_VALUE = re.compile("[0-9a-f]{32,}", re.IGNORECASE)
_JAVA_SESSION = re.compile(r"(?<!\.);jsessionid=[^/;]*", re.IGNORECASE)  # after a dot, it would leave a dot segment
_ASP_SESSION = re.compile(r"/\((?:[a-z]\([0-9a-z]{24}\))+\)(?=/)", re.IGNORECASE)

_SCHEMES = ("http", "https")
_PORTS = (80, 443)
_WWW = re.compile(r"(?:www\.)+(?=[^.]+\.)")
_HOST = re.compile(r"[0-9a-z_-]+(?:\.[0-9a-z_-]+)*")

# Addresses whose form is their host in lower case and their path, without the slash that ends it: most of the web's.
_SEGMENT = "/[0-9A-Za-z_~!$'*,:@+&=-][0-9A-Za-z_~!$'*,:@+&=().-]*"
_PLAIN = rf"^(?i:https?://(?:www\.)*)([0-9A-Za-z_-]+(?:\.[0-9A-Za-z_-]+)+)(?::80|:443)?((?:{_SEGMENT})*)/?(?:#.*)?$"


def canonical_urls(urls: pa.Array) -> pa.Array:
    """`canonical_url` of each, null where there is none; plain addresses in one go.

    Parameters
    ----------
    urls
        Strings, shape (urls,).

    Returns
    -------
    pa.Array
        Large strings, shape (urls,).

    Examples
    --------
    >>> canonical_urls(pa.array(["https://www.Example.org/a/", "http://example.org/a?", None, "about"])).to_pylist()
    ['http://example.org/a', 'http://example.org/a', None, None]
    """
    import polars as pl

    given = pl.Series(urls, dtype=pl.String)
    plain = given.str.extract_groups(_PLAIN).struct
    forms = "http://" + plain.field("1").str.to_lowercase() + plain.field("2")
    others = (given.is_not_null() & forms.is_null()).arg_true()
    rest = pl.Series([canonical_url(url) for url in given.gather(others)], dtype=pl.String)
    return forms.scatter(others, rest).to_arrow()


def canonical_url(url: str) -> str | None:
    """The form that all addresses of a page have in common, or None for what is no address of a web page.

    Parameters
    ----------
    url
        An absolute URL.

    Examples
    --------
    >>> canonical_url("HTTPS://www.Example.org:443/a/./b/?b=2&a=%7e&utm_source=mail#top")
    'http://example.org/a/b?a=~&b=2'
    >>> canonical_url("/about") is None
    True
    """
    from w3lib.url import canonicalize_url

    try:
        parts = urlsplit(canonicalize_url(url.strip()))
        host, port = _host(parts.hostname or ""), parts.port
    except ValueError:
        return None
    if parts.scheme not in _SCHEMES or not host:
        return None
    netloc = host if port is None or port in _PORTS else f"{host}:{port}"
    path = _ASP_SESSION.sub("", _JAVA_SESSION.sub("", parts.path)).rstrip("/")
    query = "&".join(pair for pair in parts.query.split("&") if pair and not _says_nothing(pair))
    return urlunsplit(("http", netloc, path, query, ""))


def _host(name: str) -> str:
    """The host without ``www.`` and final dot, empty if it is none; ``ValueError`` for a bad address in brackets."""
    if ":" in name:
        return f"[{IPv6Address(name)}]"
    host = _WWW.sub("", name.removesuffix("."), count=1) if name.startswith("www.") else name.removesuffix(".")
    return host if _HOST.fullmatch(host) else ""


def _says_nothing(pair: str) -> bool:
    name, _, value = pair.partition("=")
    if TRACKING.fullmatch(name) or SESSION.fullmatch(name):
        return True
    return bool(_MAYBE_SESSION.fullmatch(name) and _SESSION_VALUE.fullmatch(value))
