"""Which output files hold what."""

from collections.abc import Callable
from typing import TypedDict

from curate.artifact import Totals
from curate.config.units import format_bytes, format_count, number, plural
from curate.mixture.manifest import OutputColumn, ShardsBody
from curate.report.page import PageSection, table
from curate.report.record import RunRecord
from curate.report.section import Report, Section
from curate.report.sections import tokens


class FolderSizes(TypedDict):
    """Files of a folder, and what they hold."""

    files: int
    rows: int
    tokens: int
    bytes: int


class RungFiles(TypedDict):
    """A rung: the first so many files, their rows, and the hash chain over these files."""

    name: str
    files: int
    copies: int
    tokens: int
    bytes: int
    nesting: str


class ShardFacts(TypedDict):
    """Output files by folder and by rung, and their columns."""

    stage: str
    folders: dict[str, FolderSizes]
    rungs: list[RungFiles]
    columns: list[OutputColumn]


def facts(run: RunRecord) -> ShardFacts:
    """What the last `shards` wrote: rungs, each the first so many files, and the files' sums by folder."""
    stage = run.of("shards")[-1]
    body = stage.body(ShardsBody)
    folders = Totals()
    for file in body["files"]:
        sizes: FolderSizes = {"files": 1, "rows": file["rows"], "tokens": file["tokens"], "bytes": file["bytes"]}
        folders.add({file["path"].rpartition("/")[0]: sizes})
    rungs: list[RungFiles] = [
        {
            "name": rung["name"],
            "files": rung["files"],
            "copies": rung["copies"],
            "tokens": rung["tokens"],
            "bytes": rung["bytes"],
            "nesting": rung["nesting"],
        }
        for rung in body["rungs"]
    ]
    return {"stage": stage.name, "folders": folders.counts, "rungs": rungs, "columns": body["schema"]}


def page(facts: ShardFacts, report: Report) -> PageSection:
    """Tables of rungs, folders and columns."""
    folders, rungs = facts["folders"], facts["rungs"]
    files = sum(sizes["files"] for sizes in folders.values())
    finding = f"{plural(files, 'file')} with {format_bytes(sum(sizes['bytes'] for sizes in folders.values()))} of text"
    if len(rungs) > 1:
        finding += "; each rung is the beginning of the next"
    of_rungs: dict[str, Callable[[RungFiles], str]] = {
        "files": lambda rung: number(rung["files"]),
        "rows": lambda rung: number(rung["copies"]),
        "tokens": lambda rung: format_count(rung["tokens"]),
        "text": lambda rung: format_bytes(rung["bytes"]),
    }
    of_folders: dict[str, Callable[[tuple[str, FolderSizes]], str]] = {
        "files": lambda entry: number(entry[1]["files"]),
        "rows": lambda entry: number(entry[1]["rows"]),
        "tokens": lambda entry: format_count(entry[1]["tokens"]),
        "text": lambda entry: format_bytes(entry[1]["bytes"]),
    }
    named = {"rung": lambda rung: rung["name"], "hash of its files": lambda rung: rung["nesting"][:16]}
    columns = {"column": lambda column: column["name"], "type": lambda column: column["type"]}
    tables = [
        table("Rungs: each is the first so many files", rungs, named, of_rungs, folded=False),
        table(
            "Folders: what each rung adds, and what is held out",
            folders.items(),
            {"folder": lambda entry: entry[0]},
            of_folders,
        ),
        table("Columns of the files", facts["columns"], columns, {}),
    ]
    return PageSection("shards", "Shards", finding, _lead(report), tables=tables)


def _lead(report: Report) -> str:
    counted = report.of(tokens.SECTION)
    if counted is None:
        return ""
    tokenizer = counted["tokenizer"]
    return (
        f"Tokens are counted by the tokenizer {tokenizer['sha256'][:8]} of {number(tokenizer['vocab_size'])} tokens"
        f"{', trained on this corpus' if tokenizer['trained'] else ''}, which lies beside the files."
    )


SECTION = Section("shards", 180, facts, page, needs=("shards",))
