"""What the report and `explain` say of judges."""

import json
from pathlib import Path

import pytest

from curate import Pipeline
from curate.report.build import build
from curate.report.explain import explain
from curate.report.sections import judges
from tests.stages.test_judge import recipe
from tests.weak.judge.server import Faults, JudgeServer


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict, dict]:
    path = tmp_path_factory.mktemp("told")
    with JudgeServer(5, Faults(once={"500": 0.2}, odd={"nonsense": 0.2})) as server:
        pipeline = Pipeline.from_mapping(recipe(path, server, path / "run", documents=40, prompts=["yesno", "rubric"]))
        pipeline.run()
    build(str(path / "run"))
    judged = pipeline.nodes["judge"].artifact
    return path / "run", judged.manifest["judge"], next(judged.receipts("ask")).result["spent"]


def test_the_facts_are_those_of_manifest_and_receipt(told: tuple[Path, dict, dict]) -> None:
    root, manifest, spent = told
    report = json.loads((root / "report.json").read_text())
    assert report["judges"] == [{"stage": "judge", **manifest, "spent": spent}]
    assert spent["requests"] == 80 + spent["failed"]["HTTP 500"] > 80
    assert [entry["answered"] for entry in spent["prompts"].values()] == [40, 40]


def test_the_page(told: tuple[Path, dict, dict]) -> None:
    root, manifest, spent = told
    page = (root / "report.html").read_text()
    assert "judge asked simulated about 40 of 60 documents, with 2 prompts" in page
    assert f"of which {spent['failed']['HTTP 500']} failed" in page
    assert manifest["warnings"]
    for warning in manifest["warnings"]:
        assert warning.replace("'", "&#39;") in page
    assert page.count('id="judges-0-wide-t"') == 1
    (pair,) = manifest["pairs"]
    assert f"{pair['kappa']:.2f}</td>" in page


def test_two_judges_have_two_charts(told: tuple[Path, dict, dict]) -> None:
    first = {"stage": "judge", **told[1], "spent": told[2]}
    section = judges.page([first, first | {"stage": "other", "model": "larger"}], None)
    assert [chart.svg.count(f'id="judges-{place}-wide-t"') for place, chart in enumerate(section.charts)] == [1, 1]
    assert [row[0] for row in section.tables[0].rows] == ["judge", "judge", "other", "other"]
    assert section.alarms == [f"{stage}: {told[1]['warnings'][i]}." for stage in ("judge", "other") for i in (0, 1)]


def test_explain_shows_the_answer(told: tuple[Path, dict, dict]) -> None:
    shown = "".join(explain(str(told[0]), f"a/{number}").render() for number in range(8))
    assert "judge_yesno " in shown
    assert "judge_rubric_answer" in shown
    assert any(f"judge_rubric_answer  {word}" in shown for word in ("4", "1", "3", "Purple"))
