"""Annotator `urls`: what a document's address says, by lists of hosts and of words.

What RefinedWeb (Penedo et al. 2023, arXiv 2306.01116, appendix G.1) decides on, as measurements: whether the host or
page is listed, and how many listed words and parts of words are in the address.
"""

import tarfile
import zlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar, Literal

import pyarrow as pa
from pydantic import Field

from curate import storage
from curate.errors import Problem, RunError
from curate.extras import missing
from curate.stage import Annotate, Annotator, Known
from curate.storage import InputPath

if TYPE_CHECKING:
    from curate.text.batch import TextBatch

_LISTS = ("domains", "words", "soft_words", "substrings")
_PART = 4096  # entries of a list of hosts that are looked at together; one usable entry is enough


class Urls(Annotator):
    """Find addresses on blocklists, and words of word lists in them.

    Examples
    --------
    >>> Urls(domains="blocked.txt", soft_words="words.txt").columns().names[1:]
    ['url_domain', 'url_listed', 'url_soft_words']
    """

    stage: Literal["urls"] = "urls"
    version: ClassVar[int] = 2

    domains: InputPath | None = Field(
        default=None,
        description="file of hosts and pages, one a line, or a tar archive of such lists; .gz or not; gives url_listed",
    )
    words: InputPath | None = Field(
        default=None, description="file of words that make an address suspect; gives url_words"
    )
    soft_words: InputPath | None = Field(
        default=None, description="file of words of which it takes several; gives url_soft_words"
    )
    substrings: InputPath | None = Field(
        default=None, description="file of parts of words, found anywhere; gives url_substrings"
    )

    def requires(self) -> tuple[str, ...]:
        """The address."""
        return ("url",)

    def files(self) -> dict[str, str]:
        """The lists that are given."""
        return {name: path for name in _LISTS if (path := getattr(self, name)) is not None}

    def packages(self) -> tuple[str, ...]:
        """The one that the public suffix list comes with."""
        return ("tldextract",)

    def check(self, known: Known) -> Iterable[Problem]:
        """The package with the public suffix list is there, and lists can be read and have an entry."""
        if absent := missing("web", "tldextract"):
            yield Problem((), *absent)
            return
        for name, path in self.files().items():
            if storage.exists(path) and (wrong := _wrong_with(name, path)):
                yield Problem((name,), wrong, self.where_to_get(name))

    def where_to_get(self, field: str) -> str:
        """What the file holds."""
        return "one entry a line, # before comments"

    def columns(self) -> pa.Schema:
        """Host, registered domain, and a column for each list; all null where there is no address of a web page."""
        kinds = {"domains": ("url_listed", pa.bool_())}
        kinds |= {name: (f"url_{name}", pa.int32()) for name in _LISTS[1:]}
        hosts = [("url_host", pa.string()), ("url_domain", pa.string())]
        return pa.schema([*hosts, *(kinds[name] for name in self.files())])

    def load(self) -> Annotate:
        """Read the lists."""
        from curate.cleaning.blocklists import Blocklist, count_substrings, count_words, hosts, lines, registered
        from curate.text.urls import canonical_urls

        schema = self.columns()
        entries = {name: list(lines(storage.read_bytes(path))) for name, path in self.files().items()}
        listed = Blocklist(entries.pop("domains")) if "domains" in entries else None
        if listed is not None and listed.unusable and not len(listed):
            raise RunError(f"no entry of {self.domains!r} is a host or the address of a page")
        counters = {"words": count_words, "soft_words": count_words, "substrings": count_substrings}

        def annotate(_: "TextBatch", columns: pa.RecordBatch) -> pa.RecordBatch:
            forms = canonical_urls(columns.column("url"))
            host = hosts(forms)
            arrays = [host, registered(host)]
            if listed is not None:
                arrays.append(pa.array(listed.contains(forms.to_pylist()), pa.bool_()))
            arrays += [counters[name](forms, words) for name, words in entries.items()]
            cast = [array.cast(field.type) for array, field in zip(arrays, schema, strict=True)]
            return pa.RecordBatch.from_arrays(cast, schema=schema)

        return annotate


def _wrong_with(name: str, path: str) -> str | None:
    """Why a list is of no use; None for one that has an entry.

    Lists of hosts are collected by machines and may have a broken line among millions; such a line names no host. A
    list of words is written by people, and one that is not UTF-8 would find nothing, in silence.
    """
    from curate.cleaning.blocklists import Blocklist, lines

    try:
        entries = list(lines(storage.read_bytes(path)))
    except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
        return f"{path!r} cannot be read: {error}"
    if name != "domains":
        broken = next((entry for entry in entries if "\ufffd" in entry), None)
        if broken is not None:
            return f"{path!r} is not UTF-8: {broken!r}"
        return None if entries else f"{path!r} has no entry"
    parts = (entries[first : first + _PART] for first in range(0, len(entries), _PART))
    if not any(len(Blocklist(part)) for part in parts):
        return f"no entry of {path!r} is a host or the address of a page"
    return None
