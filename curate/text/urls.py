"""Canonical URLs: a common form for all URLs of a page.

Two URLs have the same canonical form if they differ only in

- parts that RFC 3986, sections 6.2.2 and 6.2.3, defines as equivalent, with the encodings of RFC 3987: case of scheme,
  host and percent-encodings; characters that are encoded without need (``%7E`` is ``~``), or not encoded; dot segments;
  an empty port or path; an international host and its Punycode (IDNA 2003, in which ``ß`` is ``ss``);
- ``http`` or ``https``, the ports 80 and 443, user and password, ``www.`` before a host of at least two labels, the dot
  at the end of the host, slashes at the end of the path, and the fragment;
- the order of the query parameters, ``+`` or ``%20`` for a space in the query, ``?a`` or ``?a=``, and parameters that
  are empty, that track the reader (`TRACKING`) or that identify a session (`SESSION`; ``s``, ``sid``, ``sessionid`` and
  ``session_id`` only with at least 32 hexadecimal digits, as they also identify pages); a session in the path
  (``;jsessionid=...``, ``/(S(...))``).

All other differences distinguish pages: case, semicolons and double slashes of the path, ``index.html``, ``www2.``,
other ports, and the number and values of parameters. Only ``http`` and ``https`` URLs with a valid host have a
canonical form.

w3lib handles the first group. Of w3lib, courlan, url-normalize, yarl and ada-url, only w3lib handles all of the group
and sorts parameters, and it needs no other package.
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
"""Names of parameters that describe where a reader came from, not which page it is."""

SESSION = re.compile("phpsessid|jsessionid|aspsessionid[a-z]*|cfid|cftoken", re.IGNORECASE)
"""Names of parameters that identify a session."""

_MAYBE_SESSION = re.compile("s|sid|sessionid|session_id", re.IGNORECASE)
_SESSION_VALUE = re.compile("[0-9a-f]{32,}", re.IGNORECASE)
_JAVA_SESSION = re.compile(r"(?<!\.)(?:;jsessionid=[^/;]*)+", re.IGNORECASE)  # after a dot, a dot segment would be left
_ASP_SESSION = re.compile(r"/\((?:[a-z]\([0-9a-z]{24}\))+\)(?=/)", re.IGNORECASE)

_CONTROLS = "".join(map(chr, range(33)))  # C0 controls and the space, which browsers strip from both ends
_PATH_END = re.compile(r"(?=[?#])|\Z")

_SCHEMES = ("http", "https")
_PORTS = (80, 443)
_WWW = re.compile(r"(?:www\.)+(?=[^.]+\.)")
_HOST = re.compile(r"[0-9a-z_-]+(?:\.[0-9a-z_-]+)*")

# Most URLs of the web: their canonical form is the host in lower case and the path without the slash at its end.
_SEGMENT = "/[0-9A-Za-z_~!$'*,:@+&=-][0-9A-Za-z_~!$'*,:@+&=().-]*"
_PLAIN = rf"^(?i:https?://(?:www\.)*)([0-9A-Za-z_-]+(?:\.[0-9A-Za-z_-]+)+)(?::80|:443)?((?:{_SEGMENT})*)/?(?:#.*)?$"


def canonical_urls(urls: pa.Array) -> pa.Array:
    """Return the canonical form of each URL, as `canonical_url` does. Simple URLs are processed together.

    Parameters
    ----------
    urls
        Strings, shape (urls,).

    Returns
    -------
    pa.Array
        Large strings, shape (urls,); null for null and for strings that are not URLs of web pages.

    Examples
    --------
    >>> canonical_urls(pa.array(["https://www.Example.org/a/", "http://example.org/a?", None, "about"])).to_pylist()
    ['http://example.org/a', 'http://example.org/a', None, None]
    """
    import polars as pl

    series = pl.Series(urls, dtype=pl.String)
    plain = series.str.extract_groups(_PLAIN).struct
    forms = "http://" + plain.field("1").str.to_lowercase() + plain.field("2")
    others = (series.is_not_null() & forms.is_null()).arg_true()
    rest = pl.Series([canonical_url(url) for url in series.gather(others)], dtype=pl.String)
    return forms.scatter(others, rest).to_arrow()


def canonical_url(url: str) -> str | None:
    """Return the canonical form of a URL, or None if it is not the URL of a web page.

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

    # After a semicolon in the last segment w3lib follows other rules: it decodes nothing there, and drops the semicolon
    # if nothing follows it. A slash at the end, which is stripped below, makes every segment one of the others.
    ended = _PATH_END.sub("/", url.strip().strip(_CONTROLS), count=1)
    try:
        parts = urlsplit(canonicalize_url(ended))
        host, port = _host(parts.hostname or ""), parts.port
    except ValueError:
        return None
    if parts.scheme not in _SCHEMES or not host:
        return None
    netloc = host if port is None or port in _PORTS else f"{host}:{port}"
    path = _ASP_SESSION.sub("", _JAVA_SESSION.sub("", parts.path)).rstrip("/")
    query = "&".join(pair for pair in parts.query.split("&") if pair and not _is_irrelevant(pair))
    return urlunsplit(("http", netloc, path, query, ""))


def _host(name: str) -> str:
    """Return the host without ``www.`` and final dot; empty if it is invalid, ``ValueError`` for a bad IPv6 address."""
    if ":" in name:
        return f"[{IPv6Address(name)}]"
    host = _WWW.sub("", name.removesuffix("."), count=1) if name.startswith("www.") else name.removesuffix(".")
    return host if _HOST.fullmatch(host) else ""


def _is_irrelevant(pair: str) -> bool:
    """Return whether a query parameter tracks the reader or identifies a session."""
    name, _, value = pair.partition("=")
    if TRACKING.fullmatch(name) or SESSION.fullmatch(name):
        return True
    return bool(_MAYBE_SESSION.fullmatch(name) and _SESSION_VALUE.fullmatch(value))
