"""Canonical URLs: one form for the addresses of one page."""

import re
from urllib.parse import urlsplit, urlunsplit

TRACKING = frozenset(
    [
        "fbclid",
        "gclid",
        "dclid",
        "gbraid",
        "wbraid",
        "msclkid",
        "yclid",
        "twclid",
        "ttclid",
        "igshid",
        "mc_cid",
        "mc_eid",
        "_ga",
        "_gl",
        "_hsenc",
        "_hsmi",
        "mkt_tok",
        "oly_enc_id",
        "oly_anon_id",
        "vero_id",
        "wickedid",
        "s_cid",
        "cmpid",
        "ref_src",
        "ref_url",
        "spm",
    ]
)
"""Parameters that tell where a reader came from and not what is read; those that begin with ``utm_`` are too."""

SESSION = frozenset(["phpsessid", "jsessionid", "sid", "sessionid", "session_id", "aspsessionid", "cfid", "cftoken"])
"""Parameters that name a visit."""

_SCHEMES = ("http", "https")
_PORTS = (80, 443)
_WWW = re.compile(r"(www\.)+")


def canonical_url(url: str) -> str | None:
    """The form that all addresses of a page have in common, or None for what is no address of a web page.

    On top of the normalizations of RFC 3986, section 6.2.2 and 6.2.3, and of internationalized hosts, all by w3lib
    (case of scheme and host, percent-encoding, dot segments, empty path, Punycode), these are equal: ``http`` and
    ``https``; with and without ``www.``, a default port, user, fragment, a slash that ends the path; any order of the
    parameters of the query; with and without those that track or name a visit.

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
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if parts.scheme not in _SCHEMES or not host:
        return None
    host = _WWW.sub("", host, count=1).rstrip(".") if host.startswith("www.") else host.rstrip(".")
    if not host:
        return None
    netloc = f"[{host}]" if ":" in host else host
    if port is not None and port not in _PORTS:
        netloc += f":{port}"
    query = "&".join(pair for pair in parts.query.split("&") if pair and not _says_nothing(pair))
    return urlunsplit(("http", netloc, parts.path.rstrip("/"), query, ""))


def _says_nothing(pair: str) -> bool:
    name = pair.partition("=")[0].lower()
    return name in TRACKING or name in SESSION or name.startswith("utm_")
