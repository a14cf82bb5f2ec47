"""Repeated lines and paragraphs against a plain dictionary of what was said before."""

import re
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.errors import RunError
from curate.stages.paragraphs import Paragraphs
from curate.table import Table
from tests.corpus import make_table, run_stage
from tests.duplicates import digests, frame
from tests.engine.engines import Engines, FailingEngine
from tests.examples import examples

LINES = st.sampled_from(["a b", "A, b!", "c", "***", "", " ", "东京", "d e f", "\t"])
TEXTS = st.lists(st.lists(LINES, max_size=6).map("\n".join), max_size=6)


def split(text: str, unit: str) -> list[str]:
    """Units that tile the text."""
    lines = re.findall(r"[^\n]*\n|[^\n]+", text)
    if unit == "line":
        return lines
    found: list[str] = []
    for line in lines:
        blank_before = found and not found[-1].splitlines()[-1].strip(" \t\r")
        if found and blank_before and line.strip() and found[-1].strip():
            found.append(line)
        elif found:
            found[-1] += line
        else:
            found.append(line)
    return found


def said(unit: str) -> tuple[str, ...]:
    return tuple(re.findall(r"[a-z]+|[东京]", unit.lower()))


def by_definition(documents: list[tuple[str, bytes, str]], stage: Paragraphs) -> dict[bytes, str]:
    """What is left of each document; those of which nothing is left are missing."""

    def scoped(source: str, unit: str):
        return (source if stage.within == "source" else "", said(unit))

    units = {id_: split(text, stage.unit) for _, id_, text in documents}
    long = {(source, unit) for source, id_, _ in documents for unit in units[id_] if len(said(unit)) >= stage.min_words}
    count = Counter(
        scoped(source, unit) for source, id_, _ in documents for unit in units[id_] if (source, unit) in long
    )
    rank = {source: place for place, source in enumerate(stage.priority)}
    seen, left = set(), {}
    for source, id_, text in sorted(documents, key=lambda d: (rank.get(d[0], len(rank)), d[1])):
        kept = []
        for unit in units[id_]:
            key = scoped(source, unit)
            repeat = (source, unit) in long and count[key] >= stage.min_count
            if not repeat or (stage.keep == "first" and key not in seen):
                kept.append(unit)
            seen.add(key)
        rest = "".join(kept)
        rest = rest if rest == text else rest.rstrip(" \t\n\r\f\v")
        if rest or not text:
            left[id_] = rest
    return left


@pytest.mark.parametrize("unit", ["line", "paragraph"])
@examples(40)
@given(
    web=TEXTS,
    books=TEXTS,
    shard_rows=st.integers(1, 4),
    fields=st.fixed_dictionaries(
        {
            "min_count": st.integers(2, 3),
            "min_words": st.integers(1, 2),
            "keep": st.sampled_from(["first", "none"]),
            "within": st.sampled_from(["all", "source"]),
            "priority": st.sampled_from([(), ("books", "web")]),
        }
    ),
)
def test_what_is_left_is_what_was_not_said_before(unit, web, books, shard_rows, fields) -> None:
    stage = Paragraphs.model_validate({"name": "paragraphs", "unit": unit, **fields})
    with TemporaryDirectory() as folder:
        table = make_table(Path(folder) / "read", {"web": web, "books": books}, shard_rows)
        if not table.rows:
            return
        artifact = run_stage(stage, table, Path(folder))
        before = frame(table, ["source", "id", "text"])
        after = frame(Table(artifact), ["id", "text"])
        removed = pl.concat([pl.read_parquet(path) for path in sorted(Path(artifact.path, "removed").iterdir())])
    documents = list(zip(before["source"], before["id"], before["text"], strict=True))
    assert dict(zip(after["id"], after["text"], strict=True)) == by_definition(documents, stage)
    texts = dict(zip(before["id"], before["text"], strict=True))
    for row in removed.iter_rows(named=True):
        assert said(texts[row["id"]].encode()[row["start"] : row["end"]].decode())
    lost = sum(len(text.encode()) for text in before["text"]) - sum(len(text.encode()) for text in after["text"])
    assert lost == sum(counts["bytes"] for counts in artifact.manifest["removed"].values())


CORPUS = {"web": ["one two\n\nthree four\n\nend", "x\n\none two", "three four"], "books": ["new\n\nONE TWO!\n\nlast"]}


def test_the_copy_that_stays_does_not_depend_on_order_or_shards(tmp_path: Path) -> None:
    backwards = dict(reversed(CORPUS.items()))
    outcomes = []
    for name, sources, shard_rows in [("forth", CORPUS, 1), ("back", backwards, 1), ("whole", CORPUS, 9)]:
        table = make_table(tmp_path / name / "read", sources, shard_rows)
        artifact = run_stage(Paragraphs(name="paragraphs"), table, tmp_path / name)
        outcomes.append(set(frame(Table(artifact), ["id", "text"]).select("id", "text").iter_rows()))
    assert outcomes[0] == outcomes[1] == outcomes[2]
    assert sum("one two" in text.lower() for _, text in outcomes[0]) == 1


def test_counts_are_told_per_source_and_documents_left_blank_are_dropped(tmp_path: Path) -> None:
    texts = {"web": ["one two\n\nthree", "x\n\none two", "ONE two"], "books": ["new\n\none two!"]}
    table = make_table(tmp_path / "read", texts)
    artifact = run_stage(Paragraphs(name="paragraphs", priority=("books",)), table, tmp_path)
    assert artifact.manifest["flow"]["web"] == {"in": 3, "kept": 2, "dropped": {"emptied": 1}, "quarantined": {}}
    assert artifact.manifest["removed"]["books"]["touched"] == 0
    assert artifact.manifest["removed"]["web"]["touched"] == 3
    assert artifact.manifest["units"] == {"distinct": 4, "repeated": 1}


def test_workers_and_interruptions_do_not_change_a_byte(engines: Engines, tmp_path: Path) -> None:
    table = make_table(tmp_path / "read", {"web": CORPUS["web"] * 3, "books": CORPUS["books"]}, 4)
    stage = Paragraphs(name="paragraphs")
    whole = digests(run_stage(stage, table, tmp_path / "whole"))
    assert digests(run_stage(stage, table, tmp_path / "two", engine=engines(2))) == whole
    for limit in range(7):
        with pytest.raises(RunError, match="the power went"):
            run_stage(stage, table, tmp_path / str(limit), engine=FailingEngine(limit))
        assert digests(run_stage(stage, table, tmp_path / str(limit))) == whole


def test_digits_may_stand_for_one_another(tmp_path: Path) -> None:
    texts = ["Page 1 of 20\nsays this", "Page 2 of 31\nsays that", "Page 2 of 9\nsays ٣", "says ٤"]
    for same, left in ((False, texts), (True, ["says this", "says that", *texts[2:]])):
        table = make_table(tmp_path / f"{same}", {"web": texts})
        stage = Paragraphs(unit="line", keep="none", same_digits=same)
        artifact = run_stage(stage, table, tmp_path / f"{same}")
        assert frame(Table(artifact), ["text"])["text"].to_list() == left
