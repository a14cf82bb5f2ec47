"""What the manifests of `read` and `kept` hold."""

from typing import TypedDict

from curate.artifact import Body, TableBody

FileCounts = TypedDict(
    "FileCounts",
    {"in": int, "kept": int, "quarantined": dict[str, int], "ignored": int, "ignored_names": list[str]},
)
"""Files of a source: quarantined ones by reason, and the first names of those of no known format."""


class ReadBody(TableBody):
    """Files and counters by source, and how many identifiers were made unique."""

    files: dict[str, FileCounts]
    counts: dict[str, dict[str, int]]
    repeated_ids: int


class KeptFile(TypedDict):
    """An output file of `kept`."""

    path: str
    rows: int
    text_bytes: int


class KeptBody(Body):
    """Output files, one per shard and in the shards' order."""

    files: list[KeptFile]
