"""README, CONTRIBUTING and docs tell the truth: their python blocks run, their links and paths exist."""

import os
import re
from pathlib import Path

import pytest

from curate.stage import DEFINED

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])
BLOCK = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_blocks_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    namespace: dict[str, object] = {"__name__": "docs"}
    before = dict(DEFINED)
    try:
        for language, file, code in BLOCK.findall(page.read_text()):
            if file:  # a block that is headed by the name of a file is its content
                (tmp_path / file).write_text(code)
            elif language == "python":
                exec(compile(code, page.name, "exec"), namespace)
    finally:
        DEFINED.clear()
        DEFINED.update(before)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text()):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_commands_of_the_readme_exist() -> None:
    from typer.main import get_command

    from curate.cli import app

    verbs = set(get_command(app).commands)  # type: ignore[attr-defined]
    shell = "\n".join(
        code for language, _, code in BLOCK.findall((ROOT / "README.md").read_text()) if language == "bash"
    )
    named = set(re.findall(r"^curate (\w+)", shell, re.MULTILINE))
    assert named, "the README shows no command"
    assert named <= verbs


def test_make_targets_of_the_readme_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"^make (\w+)", (ROOT / "README.md").read_text(), re.MULTILINE)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_no_page_names_this_machine() -> None:
    home = os.path.expanduser("~")
    for page in PAGES:
        assert f"{home}/" not in page.read_text()
