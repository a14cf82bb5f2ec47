"""Canonical URLs: the equivalences of RFC 3986, section 6, ours, and what must stay apart."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.text.urls import canonical_url

EQUAL = [
    [
        "http://example.com",
        "http://example.com/",
        "HTTP://EXAMPLE.com:80/",
        "https://www.example.com:443",
        "http://example.com/#a",
    ],
    [
        "http://example.com/~smith/",
        "http://example.com/%7Esmith",
        "http://example.com/%7esmith/",
        "http://example.com/a/../~smith",
    ],
    ["http://a.org/b/c/d", "http://a.org/b/./c/./d", "http://a.org/b/x/../c/d", "https://user:pw@a.org/b/c/d"],
    [
        "http://a.org/p?a=1&b=2",
        "http://a.org/p?b=2&a=1",
        "http://a.org/p/?a=1&b=2&utm_medium=x&fbclid=y",
        "http://a.org/p?a=1&b=2&PHPSESSID=0f",
    ],
    ["http://bücher.example/straße", "http://xn--bcher-kva.example/stra%C3%9Fe"],
    ["http://[::1]:80/a", "https://[::1]/a/"],
]
APART = [
    "http://example.com/a", "http://example.com/A", "http://example.com/a/b", "http://example.com/a?b", "http://example.com/a?b=1",
    "http://example.com/a?b=2", "http://example.com:8080/a", "http://sub.example.com/a", "http://example.org/a", "http://example.com/a//b",
    "http://example.com/a?b=1&b=2", "http://example.com/a%2Fb", "http://www2.example.com/a",
]  # fmt: skip


@pytest.mark.parametrize("urls", EQUAL)
def test_addresses_of_one_page_have_one_form(urls: list[str]) -> None:
    assert len({canonical_url(url) for url in urls}) == 1
    assert canonical_url(urls[0]) is not None


def test_addresses_of_different_pages_stay_apart() -> None:
    assert len({canonical_url(url) for url in APART}) == len(APART)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "about",
        "/a/b",
        "mailto:a@b.org",
        "http://",
        "http:///x",
        "javascript:0",
        "http://www./",
        "http://[::1",
        "http://a:99999999/",
    ],
)
def test_what_is_no_address_of_a_page_has_no_form(text: str) -> None:
    assert canonical_url(text) is None


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(["http", "https"]),
    st.sampled_from(["www.a.org", "B.com:80", "ü.de"]),
    st.text(max_size=12),
    st.text(max_size=12),
)
def test_the_form_of_a_form_is_itself(scheme: str, host: str, path: str, query: str) -> None:
    once = canonical_url(f"{scheme}://{host}/{path}?{query}")
    assert once is None or canonical_url(once) == once
