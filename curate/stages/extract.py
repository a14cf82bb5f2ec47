"""HTML to text: a new table with the text of pages in the place of their HTML."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import orjson
import pyarrow as pa
from pydantic import Field

from curate.artifact import Artifact, Shard, by_source
from curate.cleaning.html import EXTRACTORS, is_html
from curate.cleaning.manifest import ExtractBody
from curate.config.units import Bytes
from curate.engine.guarded import CallError, Guarded, TimedOutError
from curate.errors import Problem
from curate.extras import missing
from curate.rewrite import DROPPED_FOLDER, LOST, new_table
from curate.stage import Known, Stage
from curate.table import DOCUMENT, ROW_GROUP, ROW_GROUP_BYTES, DocumentWriter, ParquetWriter, Table

if TYPE_CHECKING:
    from curate.engine.context import Context

_PAGES = ("text/html", "application/xhtml+xml")
_WARM_UP = (
    "<html><body><article><p>A page that makes the extractor import all that it needs.</p></article></body></html>"
)


class Extract(Stage):
    """Make text of HTML, and a new table of it; title and language that a page names go into ``meta``.

    What is not HTML passes unchanged: it says so in ``meta.content_type`` (plain text and WET of web archives), or does
    not begin with a tag. Pages that take too long, make the extractor fail, are too large or have no text are dropped,
    each under its reason, and listed in ``dropped``.

    Examples
    --------
    >>> Extract(extractor="trafilatura", timeout=5, max_html_bytes="2MB").max_html_bytes
    2000000
    """

    stage: Literal["extract"] = "extract"
    version: ClassVar[int] = 1
    makes_table: ClassVar[bool] = True

    extractor: Literal["resiliparse", "trafilatura"] = Field(
        default="resiliparse", description="what makes text of HTML: resiliparse is faster, trafilatura more exact"
    )
    main_content: bool = Field(
        default=True, description="leave out navigation and the like; trafilatura always leaves them out"
    )
    comments: bool = Field(default=False, description="keep comments of readers")
    tables: bool = Field(default=True, description="keep tables")
    links: bool = Field(default=False, description="keep the addresses of links")
    favor: Literal["balanced", "precision", "recall"] = Field(
        default="balanced", description="what trafilatura rather gets right: less that is not text, or more of the text"
    )
    timeout: float = Field(default=10, gt=0, le=3600, description="processor time of one page (seconds)")
    max_html_bytes: Annotated[Bytes, Field(gt=0)] = Field(
        default=8_000_000, description="largest page that is looked at"
    )
    html: Literal["auto", "always"] = Field(
        default="auto", description="which documents are HTML: those that say so or begin with a tag, or all"
    )

    def requires(self) -> tuple[str, ...]:
        """The documents."""
        return tuple(DOCUMENT.names)

    def packages(self) -> tuple[str, ...]:
        """The extractor and what it reads pages with: another version may give other text."""
        return (*EXTRACTORS[self.extractor], *(("justext", "lxml") if self.extractor == "trafilatura" else ()))

    def check(self, known: Known) -> Iterable[Problem]:
        """The extractor is there, and has the options."""
        if absent := missing("web", *EXTRACTORS[self.extractor]):
            yield Problem(("extractor",), *absent)
        if self.extractor == "trafilatura" and not self.main_content:
            yield Problem(("main_content",), "trafilatura always looks for the main content", "use resiliparse")
        if self.extractor == "resiliparse" and self.favor != "balanced":
            yield Problem(("favor",), "resiliparse favors neither precision nor recall", "use trafilatura")

    def run(self, ctx: "Context") -> ExtractBody:
        """Each shard on its own."""
        return _account(ctx.table.shards, ctx.map_shards(partial(_extract, self, ctx.table, ctx.artifact)))

    def options(self) -> dict[str, Any]:
        """Arguments of `curate.cleaning.html.extract_text`."""
        names = ("extractor", "main_content", "comments", "tables", "links", "favor")
        return {name: getattr(self, name) for name in names}


@lru_cache(maxsize=1)
def _guarded(options: str, timeout: float) -> Guarded:
    """The extractor of this process, which outlives a shard: it takes a second to start.

    That second is no page's: else the first one, and each after one that was ended, could time out for it.
    """
    return Guarded("curate.cleaning.html:extract_page", orjson.loads(options), timeout, warm_up=_WARM_UP)


class _Dropped(Exception):  # noqa: N818
    """A page without text: reason and detail."""


def _extract(stage: Extract, table: Table, artifact: Artifact, shard: Shard) -> dict[str, Any]:
    """Write the shard with texts in the place of pages, and beside it what was dropped."""
    guarded = _guarded(orjson.dumps(stage.options()).decode(), stage.timeout)
    counts: Counter[str] = Counter()
    dropped: Counter[str] = Counter()
    lost = f"{artifact.path}/{DROPPED_FOLDER}/part-{shard.name}.parquet"
    with _RowGroups(artifact.part(shard.name)) as writer, ParquetWriter(lost, LOST) as record:
        for batch in table.batches(shard, DOCUMENT.names):
            kept, texts, metas, reasons = [], [], [], []
            for row, (text, meta) in enumerate(zip(batch["text"], batch["meta"], strict=True)):
                try:
                    text, meta = _document(stage, guarded, text.as_py(), meta.as_py(), counts)
                except _Dropped as why:
                    reasons.append({"id": batch["id"][row].as_py(), "reason": why.args[0], "detail": why.args[1]})
                    continue
                kept.append(row)
                texts.append(text)
                metas.append(meta)
            dropped.update(reason["reason"] for reason in reasons)
            record.write(pa.RecordBatch.from_pylist(reasons, LOST))
            writer.write(_replaced(batch.take(pa.array(kept, pa.int64())), texts, metas))
    return writer.entry() | {"dropped": dict(sorted(dropped.items())), "counts": dict(sorted(counts.items()))}


def _document(
    stage: Extract, guarded: Guarded, text: str, meta: str | None, counts: Counter[str]
) -> tuple[str, str | None]:
    """Text and meta of one document; raises `_Dropped`."""
    fields = _fields(meta)
    said = fields.get("content_type")
    page = stage.html == "always" or (said in _PAGES if isinstance(said, str) and "/" in said else is_html(text))
    if not page:
        counts["passed"] += 1
        return text, meta
    counts["pages"] += 1
    data = text.encode()
    counts["html_bytes"] += len(data)
    if len(data) > stage.max_html_bytes:
        raise _Dropped("too_large", f"{len(data)} bytes")
    try:
        found = orjson.loads(guarded.call(data))
    except TimedOutError:
        raise _Dropped("timeout", f"{len(data)} bytes took more than {stage.timeout:g} s") from None
    except CallError as error:
        raise _Dropped("extractor_failed", str(error)) from None
    extracted = found.pop("text")
    if not extracted:
        raise _Dropped("no_text", f"{len(data)} bytes")
    counts["text_bytes"] += len(extracted.encode())
    return extracted, _meta(found | fields)


def _fields(meta: str | None) -> dict[str, Any]:
    fields = orjson.loads(meta) if meta else {}
    return fields if isinstance(fields, dict) else {}


def _meta(fields: Mapping[str, Any]) -> str | None:
    """What the source itself says of a document goes before what the page says."""
    return orjson.dumps(fields, option=orjson.OPT_SORT_KEYS).decode() if fields else None


def _replaced(batch: pa.RecordBatch, texts: list[str], metas: list[str | None]) -> pa.RecordBatch:
    for name, values in (("text", texts), ("meta", metas)):
        position = DOCUMENT.get_field_index(name)
        batch = batch.set_column(position, DOCUMENT.field(name), pa.array(values, DOCUMENT.field(name).type))
    return batch


class _RowGroups(DocumentWriter):
    """Writes batches of any size as row groups of the usual size: text is a small part of its HTML."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._pending: list[pa.RecordBatch] = []
        self._rows = self._bytes = 0

    def write(self, batch: pa.RecordBatch) -> None:
        """Take a batch."""
        size = sum(len(text.as_buffer()) for text in batch["text"])
        self._pending.append(batch)
        self._rows += batch.num_rows
        self._bytes += size
        if self._rows >= ROW_GROUP or self._bytes >= ROW_GROUP_BYTES:
            self._flush(last=False)

    def _flush(self, *, last: bool) -> None:
        for table in _groups(pa.Table.from_batches(self._pending, DOCUMENT)):
            if table.num_rows < ROW_GROUP and self._bytes < ROW_GROUP_BYTES and not last:
                self._pending, self._rows, self._bytes = table.to_batches(), table.num_rows, 0
                return
            super().write(table)
        self._pending, self._rows, self._bytes = [], 0, 0

    def __exit__(self, *error: Any) -> None:
        if error[0] is None:
            self._flush(last=True)
        super().__exit__(*error)


def _groups(table: pa.Table) -> Iterator[pa.Table]:
    yield from (table.slice(start, ROW_GROUP) for start in range(0, table.num_rows, ROW_GROUP))


def _account(shards: Sequence[Shard], results: Sequence[Mapping[str, Any]]) -> ExtractBody:
    """The manifest: shards, ``flow``, and what was done per source."""
    made = new_table(shards, results, [result["dropped"] for result in results])
    return {**made, "extracted": by_source(shards, (result["counts"] for result in results))}
