"""Repeated spans against every window of every document."""

import unicodedata
from itertools import accumulate, pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from curate.errors import RunError
from curate.stages.substring import Substring
from curate.table import Table
from tests.corpus import make_table, run_stage
from tests.duplicates import digests, frame
from tests.engine.engines import Engines, FailingEngine
from tests.examples import examples

ALPHABETS = ("ab", "aé", "天地人", "نبت", "किखी", "f(x) ", "ex\u0301", "\u1100\u1161\u11a8")
PIECES = st.sampled_from(ALPHABETS).flatmap(
    lambda letters: st.lists(st.one_of(st.text(letters, min_size=1, max_size=9), st.sampled_from(
        [letters[0] * 30, (letters[:2]) * 12, letters * 5])), max_size=4).map("".join))  # fmt: skip
TEXTS = st.lists(PIECES, max_size=5)


def joins(character: str) -> bool:
    """Whether the character belongs to the one before it: a mark, or a vowel or final consonant of Hangul."""
    return unicodedata.category(character)[0] == "M" or "\u1160" <= character <= "\u11ff"


def by_definition(documents: list[tuple[str, bytes, str]], stage: Substring) -> dict[bytes, str]:
    """What is left of each document: bytes that no window covers that stood before."""
    size, first, left = stage.min_bytes, {}, {}
    rank = {source: place for place, source in enumerate(stage.priority)}
    for source, id_, text in sorted(documents, key=lambda d: (rank.get(d[0], len(rank)), d[1])):
        data = text.encode()
        covered = bytearray(len(data))
        for start in range(len(data) - size + 1):
            key = (source if stage.within == "source" else "", data[start : start + size])
            before = first.setdefault(key, (id_, start))
            if before[0] != id_ or start - before[1] >= size:
                covered[start : start + size] = b"\1" * size
        bounds = [0, *accumulate(len(character.encode()) for character in text)]
        gone = [all(covered[first:last]) for first, last in pairwise(bounds)]
        for number in reversed(range(1, len(text))):
            if joins(text[number]) and not gone[number]:
                gone[number - 1] = False
        rest = "".join(character for character, cut in zip(text, gone, strict=True) if not cut)
        rest = rest if rest == text else rest.rstrip(" \t\n\r\f\v")
        if rest or not text:
            left[id_] = rest
    return left


@pytest.mark.parametrize("min_bytes", [8, 11, 16])
@examples(60)
@given(
    web=TEXTS,
    books=TEXTS,
    shard_rows=st.integers(1, 4),
    within=st.sampled_from(["all", "source"]),
    priority=st.sampled_from([(), ("books", "web")]),
)
@example(web=["a" * 100], books=["a" * 40, "b" + "a" * 9], shard_rows=1, within="all", priority=())
@example(web=["abcabcabc" * 9, "xabcabcabcx"], books=["bcabcabca"], shard_rows=2, within="all", priority=())
def test_what_is_left_is_what_no_earlier_window_covers(min_bytes, web, books, shard_rows, within, priority) -> None:
    stage = Substring(name="substring", min_bytes=min_bytes, within=within, priority=priority)
    with TemporaryDirectory() as folder:
        table = make_table(Path(folder) / "read", {"web": web, "books": books}, shard_rows)
        if not table.rows:
            return
        artifact = run_stage(stage, table, Path(folder))
        before = frame(table, ["source", "id", "text"])
        after = frame(Table(artifact), ["id", "text"])
    documents = list(zip(before["source"], before["id"], before["text"], strict=True))
    assert dict(zip(after["id"], after["text"], strict=True)) == by_definition(documents, stage)
    normal = set(before.filter(pl.col("text").str.normalize("NFC") == pl.col("text"))["id"])
    assert all(
        unicodedata.is_normalized("NFC", text) for id_, text in after.select("id", "text").iter_rows() if id_ in normal
    )
    lost = sum(len(text.encode()) for text in before["text"]) - sum(len(text.encode()) for text in after["text"])
    assert lost == sum(counts["bytes"] for counts in artifact.manifest["removed"].values())


LICENCE = "Permission is granted to anybody to do with this whatever they like, and more of the same. " * 2
CORPUS = {
    "code": [f"{i} def f{i}(): pass # {i * 7919}\n{LICENCE}\nreturn {i}" for i in range(6)],
    "books": [LICENCE, "a quite different text"],
}


def test_one_copy_stays_whatever_the_order_and_the_shards(tmp_path: Path) -> None:
    backwards = dict(reversed(CORPUS.items()))
    outcomes = []
    for name, sources, shard_rows in [("forth", CORPUS, 1), ("back", backwards, 2), ("whole", CORPUS, 9)]:
        table = make_table(tmp_path / name / "read", sources, shard_rows)
        artifact = run_stage(Substring(name="substring", min_bytes=50, priority=("books",)), table, tmp_path / name)
        outcomes.append(set(frame(Table(artifact), ["id", "text"]).select("id", "text").iter_rows()))
    assert outcomes[0] == outcomes[1] == outcomes[2]
    assert sum(text.count("Permission is granted to anybody") for _, text in outcomes[0]) == 1
    assert artifact.manifest["removed"]["code"]["touched"] == 6


def test_removed_spans_are_recorded(tmp_path: Path) -> None:
    table = make_table(tmp_path / "read", CORPUS, 3)
    artifact = run_stage(Substring(name="substring", min_bytes=50), table, tmp_path)
    texts = dict(frame(table, ["id", "text"]).select("id", "text").iter_rows())
    removed = pl.concat([pl.read_parquet(path) for path in sorted(Path(artifact.path, "removed").iterdir())])
    assert removed.height == sum(counts["spans"] for counts in artifact.manifest["removed"].values())
    for id_, start, end in removed.iter_rows():
        span = texts[id_].encode()[start:end].decode()
        assert len(span) >= 50
        assert any(span in text for other, text in texts.items() if other != id_) or span in LICENCE


def test_workers_and_interruptions_do_not_change_a_byte(engines: Engines, tmp_path: Path) -> None:
    table = make_table(tmp_path / "read", CORPUS, 4)
    stage = Substring(name="substring", min_bytes=50)
    whole = digests(run_stage(stage, table, tmp_path / "whole"))
    assert digests(run_stage(stage, table, tmp_path / "two", engine=engines(2))) == whole
    tasks = (3 + 1) + (3 + 1) + 3
    for limit in range(tasks):
        with pytest.raises(RunError, match="the power went"):
            run_stage(stage, table, tmp_path / str(limit), engine=FailingEngine(limit))
        assert digests(run_stage(stage, table, tmp_path / str(limit), engine=FailingEngine(tasks - limit))) == whole
