"""A browser shows the page: all of it, at any width, light and dark, without a word on its console."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from curate.report.build import build
from tests.report.conftest import made_up_run
from tests.report.test_build import PARTS

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--hide-scrollbars"),
    # Nothing is reached, whatever page or browser ask for; what a page asks for and does not get is on its console.
    *("--host-resolver-rules=MAP * ~NOTFOUND", "--enable-logging=stderr", "--allow-file-access-from-files"),
)
DARK = ("--force-dark-mode", "--blink-settings=preferredColorScheme=0")


@pytest.fixture(scope="module")
def browser() -> str:
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        complaint = f"needs a browser: none of {', '.join(NAMES)} is installed"
        if os.environ.get("CI") == "true":
            pytest.fail(complaint)
        pytest.skip(complaint)
    return found


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("page") / "run"
    made_up_run(root, ["web", "books", "a_source_with_a_name_as_long_as_people_make_them_2024_10"])
    build(str(root))
    return root / "report.html"


def browse(browser: str, page: Path, folder: Path, *flags: str) -> str:
    """Open a page; what the browser prints, after a check that the page's console is empty."""
    command = [browser, *FLAGS, f"--user-data-dir={folder / 'profile'}", *flags, page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=True)
    assert "CONSOLE" not in done.stderr, done.stderr
    return done.stdout


def screenshot(browser: str, page: Path, folder: Path, width: int, *flags: str) -> np.ndarray:
    """Pixels, shape (height, width, 3), each from 0 to 1."""
    path = folder / "shot.png"
    browse(browser, page, folder, f"--window-size={width},1600", f"--screenshot={path}", *flags)
    return matplotlib.image.imread(path)[:, :, :3]


def test_all_sections_are_there(browser: str, page: Path, tmp_path: Path) -> None:
    html = browse(browser, page, tmp_path, "--dump-dom")
    assert set(re.findall(r'<section id="(\w+)"', html)) == PARTS
    assert html.count("<svg") == page.read_text().count("<svg")


@pytest.mark.parametrize("width", [1200, 600])
def test_light_and_dark(browser: str, page: Path, tmp_path: Path, width: int) -> None:
    light = screenshot(browser, page, tmp_path, width)
    dark = screenshot(browser, page, tmp_path, width, *DARK)
    assert light.shape == dark.shape == (1600, width, 3)
    assert light[0, 0].mean() > 0.9
    assert dark[0, 0].mean() < 0.2
    blues = {"light": (light, (0x00, 0x72, 0xB2)), "dark": (dark, (0x3D, 0x9B, 0xD6))}
    for shot, blue in blues.values():
        drawn = (np.abs(shot - np.array(blue) / 255) < 0.02).all(axis=2).mean()
        assert drawn > 0.005, "the bars of the funnel are not there"


@pytest.mark.parametrize("width", [320, 768, 1200])
def test_nothing_sticks_out(browser: str, page: Path, tmp_path: Path, width: int) -> None:
    frame = tmp_path / "frame.html"
    frame.write_text(
        f'<!doctype html><title>?</title><iframe src="{page.as_uri()}" width="{width}" height="900"></iframe><script>'
        "const inner = document.querySelector('iframe'); inner.onload = () => {"
        "document.title = inner.contentDocument.documentElement.scrollWidth }</script>"
    )
    title = re.search(r"<title>(\d+)</title>", browse(browser, frame, tmp_path, "--dump-dom"))
    assert title is not None
    assert int(title[1]) <= width


def test_the_console_tells_of_requests(browser: str, page: Path, tmp_path: Path) -> None:
    """That the other tests see no request means something: a page that makes one fails them."""
    asking = tmp_path / "asking.html"
    asking.write_text(page.read_text().replace("<main>", '<main><img src="https://example.org/x.png" alt="">'))
    with pytest.raises(AssertionError, match="CONSOLE"):
        browse(browser, asking, tmp_path, "--dump-dom")
