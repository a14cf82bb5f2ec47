"""A section is one file: it is found, its facts are in report.json and its page is in its place."""

import sys
from pathlib import Path

import pytest

from curate.report import sections
from curate.report.build import build
from curate.report.record import RunRecord
from curate.report.section import Section, report_of
from curate.report.sections import all_sections
from tests.report.conftest import made_up_run
from tests.report.conftest import report_of as facts_of
from tests.report.test_build import Page

FILE = """
from curate.report.page import PageSection, Tile
from curate.report.section import Section


def facts(run):
    return {"finished": len(run.stages)}


def page(facts, report):
    return PageSection("finished", "Finished", f"{facts['finished']} stages have finished")


def tiles(facts, report):
    return [Tile("Stages", str(facts["finished"]))]


SECTION = Section("finished_stages", 15, facts, page, tiles)
"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("curate.report.charts._svg", lambda *_: "")
    return made_up_run(tmp_path / "run", ["web", "books"])


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file in the folder of the sections, for one test."""
    (tmp_path / "sections").mkdir()
    (tmp_path / "sections" / "finished.py").write_text(FILE)
    monkeypatch.setattr(sections, "__path__", [*sections.__path__, str(tmp_path / "sections")])
    yield
    del sys.modules["curate.report.sections.finished"]


@pytest.mark.usefixtures("file")
def test_a_file_is_all_that_a_section_takes(root: Path) -> None:
    build(str(root))
    page = Page((root / "report.html").read_text())
    assert facts_of(root)["finished_stages"] == {"finished": 7}
    assert list(page.headings)[:3] == ["funnel", "finished", "drops"]
    assert page.headings["finished"] == "7 stages have finished"
    assert "Stages" in page.text


def test_without_the_file_there_is_no_such_section(root: Path) -> None:
    build(str(root))
    assert "finished_stages" not in facts_of(root)


def test_every_section_has_a_key_and_a_place_of_its_own() -> None:
    found = all_sections()
    assert len({section.key for section in found}) == len({section.order for section in found}) == len(found) > 15


@pytest.mark.parametrize("key", ["funnel", "seed", "host"])
def test_a_key_that_is_taken_is_refused(root: Path, key: str) -> None:
    with pytest.raises(ValueError, match=f"two parts of the report are called '{key}'"):
        report_of(RunRecord(str(root)), [*all_sections(), Section(key, 500, lambda _: {})])


def test_a_section_waits_for_the_stages_that_it_needs(root: Path) -> None:
    (root / "exact-00000000" / "_manifest.json").unlink()
    wanted = [
        Section("early", 1, lambda run: [stage.name for stage in run.of("exact")], needs=("exact",)),
        Section("later", 2, lambda run: [stage.name for stage in run.of("minhash")], needs=("exact", "minhash")),
        Section("silent", 3, lambda _: None),
    ]
    report = report_of(RunRecord(str(root)), wanted)
    assert [section.key for section in report.sections] == ["later"]
    assert report.of(wanted[1]) == ["minhash"]
    assert report.of(wanted[0]) is None
