"""What `explain` and the report say of labeling functions."""

import json
import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from curate.errors import RunError
from curate.pipeline import Pipeline
from curate.report.build import build
from curate.report.explain import explain
from curate.report.explanation import Explanation
from curate.report.sections import labeling
from tests.weak.functions.corpus import functions, recipe, write_files


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], str]:
    """A run with gold about every fourth document, the numbers of its report, and the page."""
    folder = tmp_path_factory.mktemp("labeling")
    truth = write_files(folder)
    first = Pipeline.from_mapping({**recipe(folder), "stages": {"read": recipe(folder)["stages"]["read"]}})
    first.run()
    lines = []
    for path in sorted(Path(first.nodes["read"].artifact.path).glob("part-*.parquet")):
        for row in pl.read_parquet(path).iter_rows(named=True):
            good = truth[f"{row['source']}/{row['source_id']}"]
            lines.append(json.dumps({"id": row["id"].hex(), "label": "keep" if good else "drop", "weight": 4.0}))
    (folder / "gold.jsonl").write_text("\n".join([*lines[::4], json.dumps({"id": "0" * 32, "label": "keep"})]))
    again = functions(folder)["short"] | {"when": "gopher_words < 46"}
    own = functions(folder) | {"twin": again, "third": again}
    Pipeline.from_mapping(recipe(folder, gold=str(folder / "gold.jsonl"), functions=own)).run()
    build(str(folder / "run"))
    report = json.loads((folder / "run" / "report.json").read_text())
    return folder / "run", report, (folder / "run" / "report.html").read_text()


def columns(root: Path) -> pl.DataFrame:
    (weak,), (read,) = root.glob("weak-*"), root.glob("read-*")
    ids = pl.concat(pl.read_parquet(path, columns=["id"]) for path in sorted(read.glob("part-*")))
    return pl.concat([ids, pl.concat(pl.read_parquet(path) for path in sorted(weak.glob("part-*")))], how="horizontal")


def test_explain_says_what_weighed_most(run: tuple[Path, dict[str, Any], str]) -> None:
    rows = columns(run[0])
    for kept in (True, False):
        row = rows.filter(pl.col("weak_keep") == kept).row(0, named=True)
        told = explain(str(run[0]), row["id"].hex())
        assert isinstance(told, Explanation)
        (weighed,) = told.weighed
        assert (weighed.quality, weighed.keep, weighed.majority) == (row["weak_quality"], kept, row["weak_majority"])
        text = told.render()
        verdict = "kept" if kept else "not kept"
        assert f"weak: quality {row['weak_quality']:.6g}, {verdict}, as the cut is at 0.5; share of keep" in text
        assert len(weighed.top) == len(row["weak_top"]) > 0
        names = [function["name"] for function in run[1]["labeling"][0]["functions"]]
        for entry, found in zip(weighed.top, row["weak_top"], strict=True):
            assert (entry.function, entry.log_odds) == (names[found["function"]], found["log_odds"])
            code = row[f"vote_{entry.function}"]
            votes = {-1: "abstain", 0: "drop", 1: "keep"}
            assert entry.vote == (f"bucket {code + 1} of 4" if entry.function == "long" else votes[code])
            line = rf"  {entry.function} +{entry.vote} +{re.escape(f'{entry.log_odds:+.2f}')}"
            assert re.search(line, text)


def test_facts_are_those_of_the_manifest(run: tuple[Path, dict[str, Any], str]) -> None:
    (weak,) = run[0].glob("weak-*")
    manifest = json.loads((weak / "_manifest.json").read_text())
    assert run[1]["labeling"] == [{"stage": "weak", **manifest["weak"]}]


def test_the_section_has_a_row_for_every_function(run: tuple[Path, dict[str, Any], str]) -> None:
    root, report, _ = run
    section = labeling.page(report["labeling"], None)
    first, outcomes, *rest = section.tables
    assert not first.folded
    rows = {row[0]: row for row in first.rows}
    names = [column.name for column in first.columns]
    found = columns(root)
    assert list(rows) == [name.removeprefix("vote_") for name in found.columns if name.startswith("vote_")]
    votes = found["vote_repeated"]
    assert rows["repeated"][names.index("votes")] == "drop or keep"
    assert rows["long"][names.index("votes")] == "4 buckets"
    assert rows["broken"][names.index("votes")] == "never"
    assert rows["repeated"][names.index("coverage")] == "100 %"
    assert int(rows["broken"][names.index("faults")]) > 0
    assert "(" in rows["repeated"][names.index("on gold, 95 %")]
    counted = {row[1]: row[2] for row in outcomes.rows if row[0] == "repeated"}
    assert counted == {"drop": str((votes == 0).sum()), "keep": str((votes == 1).sum())}
    captions = [made.caption for made in rest]
    assert captions == ["Functions that depend on one another", "Model", "Functions by source"]
    model = {row[0]: row[1] for row in rest[1].rows}
    assert model["gold documents"].startswith("60, of which")
    assert model["share to keep"] == "60 %, from the stated keep rate"
    by_source = [row for row in rest[2].rows if row[1] == "repeated"]
    assert [(row[0], row[2]) for row in by_source] == [("books", "120"), ("web", "120")]


def test_alarms_name_faults_silence_and_lost_gold(run: tuple[Path, dict[str, Any], str]) -> None:
    _, report, page = run
    alarms = "\n".join(labeling.page(report["labeling"], None).alarms)
    assert "weak: broken failed on" in alarms
    assert "KeyError: 'nothing here'" in alarms
    assert "weak: no votes from broken, c4_curly_brackets_max, c4_lorem_ipsum." in alarms
    assert "weak: only 60 of 61 gold documents are in this run." in alarms
    assert "never votes" not in alarms
    assert "broken failed on" in page


def test_the_page_has_the_charts(run: tuple[Path, dict[str, Any], str]) -> None:
    page = run[2]
    for chart in ("quality-weak", "kept-weak", "calibration-weak"):
        assert page.count(f'id="{chart}-wide-t"') == 1
    assert "Documents of each source that weak keeps." in page


def test_a_model_that_only_ranks_says_so(run: tuple[Path, dict[str, Any], str]) -> None:
    stage = run[1]["labeling"][0]
    model = stage["model"] | {"class_balance_from": "none", "gold": None, "ranks_only": True, "pairs": [], "slices": {}}
    ranks = stage | {"model": model, "gold": None, "decide": {"by": "threshold", "from": None, "keep_rate": None}}
    section = labeling.page([ranks], None)
    assert "neither a keep rate nor gold" in section.finding
    assert len(section.charts) == 1
    assert [made.caption for made in section.tables] == ["Functions", "What each outcome says", "Model"]


def test_documents_without_quality_alarm_where_there_should_be_one(run: tuple[Path, dict[str, Any], str]) -> None:
    stage = run[1]["labeling"][0]
    silent = {"documents": 0, "not_asked": 7, "keep": 0, "histogram": {}}
    with_silent = stage | {"sources": stage["sources"] | {"books": silent}}
    assert "weak: 7 documents have no quality" in "".join(labeling.page([with_silent], None).alarms)
    assert "no quality" not in "".join(labeling.page([with_silent | {"judged": ["web"]}], None).alarms)


def test_an_unknown_document_is_still_an_error(run: tuple[Path, dict[str, Any], str]) -> None:
    with pytest.raises(RunError, match="there is no document"):
        explain(str(run[0]), "ab" * 16)
