"""Blocklists of hosts, pages and words, and the lookup of URLs in them."""

import gzip
import io
import re
import tarfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, lru_cache
from typing import IO, TYPE_CHECKING

import numpy as np
import pyarrow as pa
import xxhash
from numpy.typing import NDArray

from curate.text.urls import canonical_urls

if TYPE_CHECKING:
    import polars as pl
    from tldextract.tldextract import ExtractResult

_MEMBERS = re.compile(r"(?:^|/)(?:domains|urls)$")
_HOSTS_LINE = re.compile(r"(?:0\.0\.0\.0|127\.0\.0\.1|::1?)\s+(\S+)")
_TAR = b"ustar"


def lines(data: bytes) -> Iterator[str]:
    r"""Yield the entries of a list: its lines in lower case, without comments.

    The list is a text file, a gzip file or a tar archive. In a tar archive, gzipped or not, the files ``domains`` and
    ``urls`` in any folder are read. The lists of the University of Toulouse have this form.

    Parameters
    ----------
    data
        Content of the file.

    Examples
    --------
    >>> list(lines(b"# a list\nExample.org\n\n0.0.0.0 ads.example.net # hosts file\n"))
    ['example.org', 'ads.example.net']
    """
    if data[:2] == b"\x1f\x8b":
        data = gzip.decompress(data)
    if data[257:262] == _TAR:
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            for member in tar:
                if member.isfile() and _MEMBERS.search(member.name):
                    yield from _entries(tar.extractfile(member) or io.BytesIO())
        return
    yield from _entries(io.BytesIO(data))


def _entries(file: IO[bytes]) -> Iterator[str]:
    for line in file:
        entry = line.decode("utf-8", "replace").partition("#")[0].strip().lower()
        hosts_line = _HOSTS_LINE.fullmatch(entry)
        if entry:
            yield hosts_line[1] if hosts_line else entry


class Blocklist:
    """A set of hosts and pages, stored as 64-bit hashes of 8 bytes each.

    A host lists itself and all its subdomains. An entry with a path lists this page and all pages below it. Entries are
    converted to canonical URLs (`curate.text.urls`), and the URLs that are looked up must be canonical, too.

    Parameters
    ----------
    entries
        Hosts (``example.org``, ``*.example.org``), and pages with or without a scheme.

    Attributes
    ----------
    unusable
        Number of entries that are not valid hosts or URLs.

    Examples
    --------
    >>> listed = Blocklist(["Example.org", "https://www.example.net/shop/"])
    >>> forms = ["http://a.example.org/x", "http://notexample.org", "http://example.net/shop/1", "http://example.net/shops"]
    >>> listed.contains(forms)
    [True, False, True, False]
    """

    def __init__(self, entries: Iterable[str]) -> None:
        plain = [entry.removeprefix("*").removeprefix(".") for entry in entries]
        urls = pa.array([entry if "://" in entry else f"http://{entry}" for entry in plain], pa.string())
        forms = [form for form in canonical_urls(urls).to_pylist() if form]
        self._pages = any("/" in form[7:] or "?" in form for form in forms)
        # Hosts and paths longer than every entry need no lookup: a URL may have a hundred thousand path segments.
        self._labels = max((form[7:].partition("/")[0].count(".") + 1 for form in forms), default=0)
        self._steps = max((form.partition("?")[0].count("/") - 2 for form in forms), default=0)
        self._hashes = _hashes([form[7:] for form in forms])
        self._hashes.sort()
        self.unusable = len(plain) - len(forms)

    def __len__(self) -> int:
        return len(self._hashes)

    def contains(self, forms: Sequence[str | None]) -> list[bool | None]:
        """Return, for each canonical URL, whether the list contains it or a host or page above it; None for None."""
        listed_candidates = {form: list(self._above(form)) for form in forms if form}
        names = list(dict.fromkeys(name for above in listed_candidates.values() for name in above))
        hashes = _hashes(names)
        places = np.searchsorted(self._hashes, hashes)
        inside = places < len(self._hashes)
        inside[inside] = self._hashes[places[inside]] == hashes[inside]
        listed = dict(zip(names, inside.tolist(), strict=True))
        listed_forms = {form: any(listed[name] for name in above) for form, above in listed_candidates.items()}
        return [listed_forms[form] if form else None for form in forms]

    def _above(self, form: str) -> Iterator[str]:
        """Yield the host of a canonical URL, the hosts above it, the pages above the URL, and the URL itself."""
        before, question, _ = form[7:].partition("?")
        host, slash, path = before.partition("/")
        name = re.sub(r":\d+$", "", host)
        yield name
        if not re.fullmatch(r"[\d.]+|\[.*\]", name):  # IP addresses have no hierarchy
            labels = name.split(".")
            yield from (".".join(labels[start:]) for start in range(max(1, len(labels) - self._labels), len(labels)))
        if self._pages:
            steps = path.split("/", self._steps)[: self._steps] if slash else []
            yield from (f"{host}/{'/'.join(steps[:depth])}" for depth in range(1, len(steps) + 1))
            if question:
                yield form[7:]


def _hashes(names: Sequence[str]) -> NDArray[np.uint64]:
    return np.fromiter((xxhash.xxh3_64_intdigest(name.encode()) for name in names), np.uint64, len(names))


def hosts(forms: pa.Array) -> pa.Array:
    """Return the hosts of canonical URLs, without port; null for null.

    Examples
    --------
    >>> hosts(pa.array(["http://example.org:8080/a", "http://[::1]/a", None])).to_pylist()
    ['example.org', '[::1]', None]
    """
    import polars as pl

    return pl.Series(forms, dtype=pl.String).str.extract(r"^http://(\[[^\]]*\]|[^/?:]*)").to_arrow()


def registered(names: pa.Array) -> pa.Array:
    """Return the registered domains of hosts: the public suffix and the label before it.

    The result is null for IP addresses and bare suffixes. The public suffix list is the copy that tldextract ships, and
    only its section for domain registries is used.

    Examples
    --------
    >>> registered(pa.array(["a.b.example.co.uk", "127.0.0.1", "co.uk", None])).to_pylist()
    ['example.co.uk', None, None, None]
    """
    extract = _suffixes()
    domains = [name and (extract(name).top_domain_under_public_suffix or None) for name in names.to_pylist()]
    return pa.array(domains, pa.string())


@cache
def _suffixes() -> "Callable[[str], ExtractResult]":
    from tldextract import TLDExtract

    return lru_cache(maxsize=1 << 14)(TLDExtract(cache_dir=None, suffix_list_urls=()))


def count_words(urls: pa.Array, words: Sequence[str]) -> pa.Array:
    """Count the distinct `words` that occur in each URL; null for null.

    The words of a URL are its longest runs of letters and digits, without the scheme. Case does not matter in the URL.

    Examples
    --------
    >>> count_words(pa.array(["http://a.org/Free-casino/casino", "http://casinos.org"]), ["casino", "free"]).to_pylist()
    [2, 0]
    """
    import polars as pl

    listed = pl.Series(sorted(set(words)), dtype=pl.String)
    parts = _behind_scheme(urls).str.extract_all(r"[\p{L}\p{N}]+")
    frame = pl.DataFrame({"row": pl.int_range(len(urls), eager=True), "word": parts})
    counted = (
        frame.explode("word")
        .filter(pl.col("word").is_in(listed.implode()))
        .group_by("row")
        .agg(pl.col("word").n_unique().alias("n"))
    )
    counts = frame.select("row").join(counted, on="row", how="left", maintain_order="left")["n"].fill_null(0)
    return _null_where_null(counts.cast(pl.Int32), urls)


def count_substrings(urls: pa.Array, substrings: Sequence[str]) -> pa.Array:
    """Count the distinct `substrings` that occur anywhere in each URL after the scheme; null for null.

    Examples
    --------
    >>> count_substrings(pa.array(["http://hotxxxmovies.org/casino", "http://x.xx.org"]), ["xxx", "casino"]).to_pylist()
    [2, 0]
    """
    import polars as pl

    patterns = sorted({part.lower() for part in substrings if part})
    text = _behind_scheme(urls)
    if not patterns:
        return _null_where_null(pl.zeros(len(urls), pl.Int32, eager=True), urls)
    frame = pl.DataFrame({"u": text})
    counts = frame.select(pl.col("u").str.extract_many(patterns, overlapping=True).list.n_unique())["u"]
    return _null_where_null(counts.fill_null(0).cast(pl.Int32), urls)


def _behind_scheme(urls: pa.Array) -> "pl.Series":
    """Return the URLs in lower case, without ``http://``."""
    import polars as pl

    return pl.Series("u", urls, dtype=pl.String).str.to_lowercase().str.replace(r"^https?://", "")


def _null_where_null(counts: "pl.Series", urls: pa.Array) -> pa.Array:
    import polars as pl

    texts = pl.Series(urls, dtype=pl.String)
    frame = pl.DataFrame({"n": counts, "u": texts})
    return frame.select(pl.when(pl.col("u").is_not_null()).then(pl.col("n")))["n"].to_arrow()
