"""Blocklists against plain Python: string comparison of hosts and paths, and sets of words."""

import gzip
import io
import re
import tarfile

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.cleaning.blocklists import Blocklist, count_substrings, count_words, hosts, lines, registered
from curate.text.urls import canonical_urls

LABELS = st.sampled_from(["a", "b", "ab", "example", "co", "uk", "org"])
HOSTS = st.lists(LABELS, min_size=1, max_size=4).map(".".join)
PATHS = st.lists(st.sampled_from(["x", "y", "xy", "x.html"]), max_size=3).map("/".join)
QUERIES = st.sampled_from(["", "?q=1", "?q=2"])
URLS = st.builds("http://{}/{}{}".format, HOSTS, PATHS, QUERIES)


@given(listed=st.lists(HOSTS | URLS, max_size=5), urls=st.lists(URLS, max_size=20))
def test_listed_is_what_is_at_or_below_an_entry(listed: list[str], urls: list[str]) -> None:
    entries = canonical_urls(pa.array([e if "://" in e else f"http://{e}" for e in listed], pa.string())).to_pylist()

    def below(url: str) -> bool:
        host, _, path = re.sub(r"\?.*", "", url)[7:].partition("/")
        for entry in entries:
            name, _, page = entry[7:].partition("/")
            if "?" in entry:
                found = url == entry
            elif page:
                found = host == name and (path == page or path.startswith(f"{page}/"))
            else:
                found = host == name or host.endswith(f".{name}")
            if found:
                return True
        return False

    forms = canonical_urls(pa.array(urls, pa.string())).to_pylist()
    assert Blocklist(listed).contains(forms) == [below(form) for form in forms]


@pytest.mark.parametrize(
    ("entry", "url", "listed"),
    [
        ("example.com", "https://sub.example.com/page", True),
        ("example.com", "http://www.EXAMPLE.com:80", True),
        ("example.com", "http://notexample.com", False),
        ("example.com", "http://example.com.evil.org", False),
        ("example.com", "http://evil.org/example.com", False),
        ("example.com", "http://example.com:8080/x", True),
        ("sub.example.com", "http://example.com", False),
        ("*.example.com", "http://a.example.com", True),
        ("www.example.com", "http://example.com", True),  # one host, as in canonical URLs
        ("münchen.example", "http://xn--mnchen-3ya.example/", True),
        ("192.0.2.1", "http://192.0.2.1/a", True),
        ("2.1", "http://192.0.2.1/a", False),
        ("example.com/blog", "http://example.com/blog/2024", True),
        ("example.com/blog", "http://example.com/blog?page=2", True),
        ("example.com/blog", "http://example.com/blogs", False),
        ("example.com/blog", "http://sub.example.com/blog", False),
        ("https://example.com/a?id=1", "http://example.com/a?id=1", True),
        ("https://example.com/a?id=1", "http://example.com/a?id=2", False),
        ("com", "http://example.com", True),
        ("", "http://example.com", False),
    ],
)
def test_listed(entry: str, url: str, listed: bool) -> None:
    assert Blocklist([entry]).contains(canonical_urls(pa.array([url])).to_pylist()) == [listed]


def test_no_address_is_neither_listed_nor_not() -> None:
    assert Blocklist(["a.org"]).contains([None, "http://a.org"]) == [None, True]
    assert Blocklist([]).contains(["http://a.org"]) == [False]
    assert Blocklist(["no host", "a b/c", "/"]).unusable == 3


def tar(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def test_lists() -> None:
    plain = "# comment\r\nExample.org\r\n\r\n  b.org # why\n0.0.0.0 c.org\n127.0.0.1\td.org\nmünchen.de\n".encode()
    expected = ["example.org", "b.org", "c.org", "d.org", "münchen.de"]
    assert list(lines(plain)) == expected
    assert list(lines(gzip.compress(plain))) == expected
    archive = tar(
        {
            "blacklists/adult/domains": b"a.org\nb.org\n",
            "blacklists/adult/urls": b"c.org/x\n",
            "blacklists/adult/usage": b"black\n",
            "blacklists/README": b"hello\n",
        }
    )
    assert list(lines(archive)) == list(lines(gzip.compress(archive))) == ["a.org", "b.org", "c.org/x"]


WORDS = st.sampled_from(["casino", "poker", "sex", "essex", "free", "x", "日本"])
ADDRESSES = st.none() | st.lists(WORDS, max_size=5).flatmap(
    lambda words: st.sampled_from(["-", "/", ".", "_", "", "%20", "?q="]).map(lambda s: "http://h.org/" + s.join(words))
)


@given(urls=st.lists(ADDRESSES, max_size=10), listed=st.lists(WORDS, max_size=4))
def test_words_and_substrings_by_their_definition(urls: list[str | None], listed: list[str]) -> None:
    array = pa.array(urls, pa.string())
    bare = [url and url.removeprefix("http://") for url in urls]
    expected = [None if u is None else len({*re.findall(r"[^\W_]+", u.lower())} & {*listed}) for u in bare]
    assert count_words(array, listed).to_pylist() == expected
    expected = [None if u is None else sum(word in u for word in {*listed}) for u in bare]
    assert count_substrings(array, listed).to_pylist() == expected


def test_hosts_and_registered_domains() -> None:
    forms = pa.array(["http://a.b.example.co.uk:81/x?y", "http://[2001:db8::1]/x", "http://localhost", None])
    assert hosts(forms).to_pylist() == ["a.b.example.co.uk", "[2001:db8::1]", "localhost", None]
    assert registered(hosts(forms)).to_pylist() == ["example.co.uk", None, None, None]


def test_addresses_of_many_steps_and_labels() -> None:
    """Half a million: all that is above such an address would take terabytes."""
    listed = Blocklist(["example.org", "b.example.net/x/y", "c.example.net/?q=1.2.3.4.5"])
    long = "a/" * 500_000
    forms = [
        f"http://{'a.' * 500_000}example.org",
        f"http://{'a.' * 500_000}example.com",
        f"http://b.example.net/x/y/{long}z",
        f"http://b.example.net/x/{long}y",
        "http://b.example.net/x",
    ]
    assert listed.contains(forms) == [True, False, True, False, False]
