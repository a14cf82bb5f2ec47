"""Canonical URLs: the equivalences of RFC 3986, section 6, ours, and what must stay apart."""

from itertools import pairwise

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from curate.text.urls import canonical_url, canonical_urls
from tests.examples import examples

DIGITS = "0123456789abcdef0123456789ABCDEF"

# RFC 3986: 6.2.2.1 case, 6.2.2.2 percent-encoding, 6.2.2.3 with 5.2.4 dot segments, 6.2.3 by scheme. RFC 3987: hosts.
RFC = [
    ("HTTP://www.EXAMPLE.com/", "http://example.com"),
    ("http://example.com/%c3%a9%2f", "http://example.com/%C3%A9%2F"),
    ("http://example.com/%7Esmith/%41%2D%2E%5f", "http://example.com/~smith/A-._"),
    ("http://example.com/é ü", "http://example.com/%C3%A9%20%C3%BC"),
    ("http://example.com/%E9", "http://example.com/%E9"),  # Latin-1 stays what it is
    ("http://example.com/a/b/c/./../../g", "http://example.com/a/g"),
    ("http://example.com/mid/content=5/../6", "http://example.com/mid/6"),
    ("http://example.com/../a/./b/..", "http://example.com/a"),
    ("http://example.com/%2e%2E/a", "http://example.com/a"),
    ("http://example.com/a/...", "http://example.com/a/..."),
    ("http://example.com/a;b=%7e%2f;c/..;/d;%41;", "http://example.com/a;b=~%2F;c/..;/d;A;"),
    ("http://example.com/.;a", "http://example.com/.;a"),
    ("http://example.com", "http://example.com"),
    ("http://example.com:/", "http://example.com"),
    ("http://example.com:80/", "http://example.com"),
    ("https://example.com:443/", "http://example.com"),
    ("http://example.com:8080/", "http://example.com:8080"),
    ("http://bücher.example/", "http://xn--bcher-kva.example"),
    ("http://XN--BCHER-KVA.example/", "http://xn--bcher-kva.example"),
    ("http://日本語.jp/", "http://xn--wgv71a119e.jp"),
    ("http://[2001:DB8:0:0::1]:80/", "http://[2001:db8::1]"),
    (" http://example.com/a\tb\n", "http://example.com/ab"),
]
EQUAL = {
    "scheme": ["http://a.org/b", "https://a.org/b", "https://a.org:80/b"],
    "www": ["http://a.org/b", "http://www.a.org/b", "http://WWW.www.a.org/b"],
    "final dot": ["http://a.org/b", "http://a.org./b"],
    "user": ["http://a.org/b", "http://me@a.org/b", "http://me:pw@a.org/b"],
    "fragment": ["http://a.org/b", "http://a.org/b#", "http://a.org/b#c", "http://a.org/b#!/c?d=1"],
    "final slash": ["http://a.org/b", "http://a.org/b/", "http://a.org/b//"],
    "final slash after a semicolon": ["http://a.org/b;", "http://a.org/b;/", "http://a.org/b;//?", "http://a.org/b;/./"],
    "order": ["http://a.org/?a=1&b=1&b=2", "http://a.org?b=2&b=1&a=1"],
    "empty parameters": ["http://a.org/?a=1", "http://a.org/?&a=1&&"],
    "no query": ["http://a.org/", "http://a.org/?", "http://a.org?"],
    "no value": ["http://a.org/?a", "http://a.org/?a="],
    "space": ["http://a.org/?a=b+c", "http://a.org/?a=b%20c", "http://a.org/?a=b c"],
    "encoding in the query": ["http://a.org/?q=x:y/~", "http://a.org/?q=x%3ay%2F%7E"],
    "tracking": ["http://a.org/p?a=1", "http://a.org/p?utm_medium=x&a=1&UTM_Source=y&fbclid=1&gclid=2", "http://a.org/p?utm%5Fid=1&a=1"],
    "session": ["http://a.org/p", "http://a.org/p?PHPSESSID=1", "http://a.org/p?ASPSESSIONIDQABBCSTA=X", "http://a.org/p?CFID=1&CFTOKEN=2"],
    "session by its value": ["http://a.org/p", f"http://a.org/p?sid={DIGITS}", f"http://a.org/p?s={DIGITS}&session_id={DIGITS}"],
    "session in the path": [
        "http://a.org/p/q.do",
        "http://a.org/p/q.do;jsessionid=A1!2.node",
        "http://a.org/p;JSESSIONID=1/q.do",
        "http://a.org/(S(abcdefghijklmnopqrstuvwx))/p/q.do",
        "http://a.org/p/q.do/(S(abcdefghijklmnopqrstuvwx))",
        "http://a.org/p/q.do;jsessionid=1/(S(abcdefghijklmnopqrstuvwx))/",
    ],
}  # fmt: skip
APART = [
    "http://a.org/a", "http://a.org/A", "http://a.org/a/b", "http://a.org/a//b", "http://a.org/a%2Fb", "http://a.org/a/index.html",
    "http://a.org/a?b", "http://a.org/a?b=1", "http://a.org/a?b=2", "http://a.org/a?b=1&b=2", "http://a.org/a?B=1", "http://a.org/a?b=1%262",
    "http://a.org/a?b=%2B", "http://a.org/a?b=+", "http://a.org/a;b=1", "http://a.org/a;", "http://a.org:8080/a",
    "http://sub.a.org/a", "http://www2.a.org/a",
    "http://b.org/a", "http://a.org.b/a", "http://www.org/a", "http://org/a", "http://a.org/a?sid=99/03/31", "http://a.org/a?sid=1",
    "http://a.org/a?session_id=2", "http://a.org/a?s=query", "http://a.org/a?ref=1", "http://a.org/a?utm=1", "http://a.org/(a)/a",
]  # fmt: skip
NONE = [
    "", " ", "about", "/a/b", "//a.org/b", "a.org/b", "mailto:a@b.org", "ftp://a.org/b", "javascript:0", "http:",
    "http://", "http:///x", "http:a.org", "http://./", "http://a..org/", "http://.a.org/", "http://a org/",
    "http://a,b/", "http://a\x01/", "http://a%2Eorg/", "http://[::1", "http://[::g]/", "http://a.org:99999999/",
    "http://a.org:x/", "http://" + "ü" * 70 + ".org/",
]  # fmt: skip


@pytest.mark.parametrize(("url", "form"), RFC)
def test_equivalences_of_the_standard(url: str, form: str) -> None:
    assert canonical_url(url) == form


@pytest.mark.parametrize("difference", EQUAL)
def test_addresses_of_one_page_have_one_form(difference: str) -> None:
    forms = {canonical_url(url) for url in EQUAL[difference]}
    assert len(forms) == 1
    assert None not in forms


def test_addresses_of_different_pages_stay_apart() -> None:
    forms = sorted((canonical_url(url) or "", url) for url in APART)
    assert [(first, second) for first, second in pairwise(forms) if first[0] == second[0]] == []


@pytest.mark.parametrize("text", NONE)
def test_what_is_no_address_of_a_page_has_no_form(text: str) -> None:
    assert canonical_url(text) is None


PIECES = [
    *"aZ0/.?&=%#;:@+ ~-_()[]{}|<>^`'!\"\\\t\x00\x7fé中½",
    *("%2e", "%2E%2e", "%2F", "%3b", "%3F", "%23", "%25", "%2541", "%41", "%5B", "%5c", "%7E", "%zz", "%C3%A9", "%E9"),
    *("//", "/../", "/./", "..;", ".;", ";/", "/;", "//;//", ";;", "?;", "#;", "\u00a0", "\u2028"),
    *("utm_a=", "sid", "sid=", DIGITS, "www.", ";jsessionid=", "/(S(abcdefghijklmnopqrstuvwx))", ":80", "xn--"),
]
HOSTS = [
    *("a", "a.", "a.org", "www.a.org", "WWW.www.com", "www.", "a..b", "1.2.3.4", "ü.de:80", "ß.de", "½.org"),
    *("a.org:", "a.org:443", "a.org:81", "u@a.org", "u:p@www.a.org:80", "@a.org", "u@[@a.org"),
    *("[::1]", "[::FFFF:1.2.3.4]:443", "[::1", "::1]", "[a.org]", "a[::1]"),
]
TAIL = st.lists(st.sampled_from(PIECES) | st.characters(codec="utf-8"), max_size=9).map("".join)
SEMICOLONS = st.lists(st.sampled_from([*"/;.a[?#\\", "%7e", "%3B", ";jsessionid="]), max_size=9).map("".join)
URLS = st.builds(
    "{}{}://{}{}".format,
    st.sampled_from(["", " ", "\x00"]),
    st.sampled_from(["http", "HTTPS", "ftp"]),
    st.sampled_from(HOSTS) | TAIL,
    TAIL | SEMICOLONS.map("/{}".format),
)


@examples(500)
@given(URLS)
@example("http://a.org//;//")
@example("http://a.org/.;x/")
@example("http://a.org/a;%7e/")
@example("http://a.org/a;[/")
@example("http://a.org/a;jsessionid=.;jsessionid=1")
def test_the_form_of_a_form_is_itself(url: str) -> None:
    form = canonical_url(url)
    assert form is None or canonical_url(form) == form


@examples(200)
@given(st.lists(st.one_of(st.none(), URLS), max_size=10))
def test_many_at_once_are_as_one_by_one(urls: list[str | None]) -> None:
    cases = [*urls, *NONE, *APART, *(url for url, _ in RFC), *(url for group in EQUAL.values() for url in group)]
    expected = [url if url is None else canonical_url(url) for url in cases]
    assert canonical_urls(pa.array(cases, pa.string())).to_pylist() == expected


def test_no_addresses_at_all() -> None:
    assert canonical_urls(pa.array([], pa.string())).to_pylist() == []
    assert canonical_urls(pa.nulls(2, pa.string())).to_pylist() == [None, None]


@pytest.mark.parametrize(
    "host", ["www.a.org", "www.www.com", "www.com", "1.2.3.4", "a_b.org", "xn--e.org", f"{'a' * 70}.org"]
)
@pytest.mark.parametrize(
    "path", ["", "/", "/a", "/a/", "/a.b/c-d_(e)", "/~a!$'*,:@+&=b", "/.a", "/a..", "/a#b", "/.", "//", "/(S(a))/b"]
)
def test_plain_addresses_are_as_one_by_one(host: str, path: str) -> None:
    url = f"HTTPs://{host}{path}"
    assert canonical_urls(pa.array([url])).to_pylist() == [canonical_url(url)]
