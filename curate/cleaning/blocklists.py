"""Lists of hosts, pages and words, and which URLs they name."""

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
    r"""Entries of a list: lines without comments, in lower case, of a text file, a gzip file or a tar archive.

    Of a tar archive, gzipped or not, the files called ``domains`` and ``urls`` in any folder are read, which is how the
    lists of the University of Toulouse come.

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
        named = _HOSTS_LINE.fullmatch(entry)
        if entry:
            yield named[1] if named else entry


class Blocklist:
    """A set of hosts and pages, held as 64-bit hashes: 8 bytes each.

    A host stands for itself and all hosts below it, an entry with a path for that page and all pages below it. Entries
    are brought to canonical form (`curate.text.urls`), and so must be what is looked up.

    Parameters
    ----------
    entries
        Hosts (``example.org``, ``*.example.org``), and pages with or without a scheme.

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
        # What is longer than every entry need not be looked up: an address may have a hundred thousand steps.
        self._labels = max((form[7:].partition("/")[0].count(".") + 1 for form in forms), default=0)
        self._steps = max((form.partition("?")[0].count("/") - 2 for form in forms), default=0)
        self._hashes = _hashes([form[7:] for form in forms])
        self._hashes.sort()
        self.unusable = len(plain) - len(forms)

    def __len__(self) -> int:
        return len(self._hashes)

    def contains(self, forms: Sequence[str | None]) -> list[bool | None]:
        """For each canonical URL whether it, or something above it, is listed; None for None."""
        known = {form: list(self._above(form)) for form in forms if form}
        names = list(dict.fromkeys(name for above in known.values() for name in above))
        hashes = _hashes(names)
        places = np.searchsorted(self._hashes, hashes)
        inside = places < len(self._hashes)
        inside[inside] = self._hashes[places[inside]] == hashes[inside]
        listed = dict(zip(names, inside.tolist(), strict=True))
        found = {form: any(listed[name] for name in above) for form, above in known.items()}
        return [found[form] if form else None for form in forms]

    def _above(self, form: str) -> Iterator[str]:
        """The host of a canonical URL and the hosts above it; the page and the pages above it."""
        before, mark, _ = form[7:].partition("?")
        host, slash, path = before.partition("/")
        name = re.sub(r":\d+$", "", host)
        yield name
        if not re.fullmatch(r"[\d.]+|\[.*\]", name):  # an address is not below another one
            labels = name.split(".")
            yield from (".".join(labels[start:]) for start in range(max(1, len(labels) - self._labels), len(labels)))
        if self._pages:
            steps = path.split("/", self._steps)[: self._steps] if slash else []
            yield from (f"{host}/{'/'.join(steps[:depth])}" for depth in range(1, len(steps) + 1))
            if mark:
                yield form[7:]


def _hashes(names: Sequence[str]) -> NDArray[np.uint64]:
    return np.fromiter((xxhash.xxh3_64_intdigest(name.encode()) for name in names), np.uint64, len(names))


def hosts(forms: pa.Array) -> pa.Array:
    """Hosts of canonical URLs, without port."""
    import polars as pl

    return pl.Series(forms, dtype=pl.String).str.extract(r"^http://(\[[^\]]*\]|[^/?:]*)").to_arrow()


def registered(names: pa.Array) -> pa.Array:
    """Registered domains of hosts: the label below the public suffix, and that; null for addresses and bare suffixes.

    The public suffix list is the one that comes with tldextract, of which the part for domain registries counts.

    Examples
    --------
    >>> registered(pa.array(["a.b.example.co.uk", "127.0.0.1", "co.uk", None])).to_pylist()
    ['example.co.uk', None, None, None]
    """
    extract = _suffixes()
    found = [name and (extract(name).top_domain_under_public_suffix or None) for name in names.to_pylist()]
    return pa.array(found, pa.string())


@cache
def _suffixes() -> "Callable[[str], ExtractResult]":
    from tldextract import TLDExtract

    return lru_cache(maxsize=1 << 14)(TLDExtract(cache_dir=None, suffix_list_urls=()))


def words_found(urls: pa.Array, words: Sequence[str]) -> pa.Array:
    """How many different ones of `words` are words of each URL: runs of letters and digits behind the scheme.

    Examples
    --------
    >>> words_found(pa.array(["http://a.org/Free-casino/casino", "http://casinos.org"]), ["casino", "free"]).to_pylist()
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
    found = frame.select("row").join(counted, on="row", how="left", maintain_order="left")["n"].fill_null(0)
    return _null_where_null(found.cast(pl.Int32), urls)


def substrings_found(urls: pa.Array, substrings: Sequence[str]) -> pa.Array:
    """How many different ones of `substrings` are anywhere in each URL behind the scheme.

    Examples
    --------
    >>> substrings_found(pa.array(["http://hotxxxmovies.org/casino", "http://x.xx.org"]), ["xxx", "casino"]).to_pylist()
    [2, 0]
    """
    import polars as pl

    patterns = sorted({part.lower() for part in substrings if part})
    text = _behind_scheme(urls)
    if not patterns:
        return _null_where_null(pl.zeros(len(urls), pl.Int32, eager=True), urls)
    frame = pl.DataFrame({"u": text})
    found = frame.select(pl.col("u").str.extract_many(patterns, overlapping=True).list.n_unique())["u"]
    return _null_where_null(found.fill_null(0).cast(pl.Int32), urls)


def _behind_scheme(urls: pa.Array) -> "pl.Series":
    """URLs in lower case without ``http://``."""
    import polars as pl

    return pl.Series("u", urls, dtype=pl.String).str.to_lowercase().str.replace(r"^https?://", "")


def _null_where_null(counts: "pl.Series", urls: pa.Array) -> pa.Array:
    import polars as pl

    given = pl.Series(urls, dtype=pl.String)
    frame = pl.DataFrame({"n": counts, "u": given})
    return frame.select(pl.when(pl.col("u").is_not_null()).then(pl.col("n")))["n"].to_arrow()
