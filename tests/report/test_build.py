"""report.json holds the right numbers, and report.html shows them: small, self-contained, escaped, for any run."""

import json
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import fsspec
import polars as pl
import pytest

from curate import storage
from curate.errors import RunError
from curate.report.build import build
from tests.report.conftest import made_up_run, report_of

GOLDEN = Path(__file__).parent / "golden.json"
EVIL = ["<script>alert(1)</script>", 'a"onload="b', "$x_1^2$", "資料"]
PARTS = {"funnel", "drops", "quarantine", "duplicates", "mixture", "shards", "checks", "timings", "appendix"}
REFERENCES = {"src", "href", "xlink:href", "srcset", "action", "data", "poster", "background"}


class Page(HTMLParser):
    """Ids, references, text, section headings and tags of a page; unbalanced tags fail."""

    VOID = frozenset({"meta", "link", "br", "path", "use", "img"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.references: list[str] = []
        self.tags: Counter[str] = Counter()
        self.headings: dict[str, str] = {}
        self.text = ""
        self._open: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.ids += [value for name, value in attrs if name == "id" and value]
        self.references += [value for name, value in attrs if name in REFERENCES and value]
        if tag not in self.VOID:
            self._open.append((tag, dict(attrs)))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self._open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1][0] == "h2":
            self.headings[str(self._open[-1][1]["id"]).removesuffix("-h")] = data
        if self._open and self._open[-1][0] != "style":
            self.text += data


def built(root: Path) -> Page:
    build(str(root))
    return Page((root / "report.html").read_text())


@pytest.fixture(scope="module")
def made_up(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Page]:
    root = made_up_run(tmp_path_factory.mktemp("made") / "up", ["web", "books", "code"])
    return root, built(root)


def test_report_json_is_golden(made_up: tuple[Path, Page]) -> None:
    """To renew it, look at the difference and copy the new file over the old one."""
    found = report_of(made_up[0])
    del found["host"]
    assert found == json.loads(GOLDEN.read_text())


def test_report_is_stable(made_up: tuple[Path, Page], tmp_path: Path) -> None:
    again = made_up_run(tmp_path / "other" / "up", ["web", "books", "code"])
    build(str(again))
    one, two = report_of(made_up[0]), report_of(again)
    assert one.pop("host") != two.pop("host")
    assert one == two
    pages = [(root / "report.html").read_text().replace(f"{root.parent.name}/up", "") for root in (made_up[0], again)]
    assert pages[0] == pages[1]


def test_numbers_are_those_of_the_columns(run_root: Path) -> None:
    """Funnel, rules, copies and rungs counted anew from the documents and the columns beside them."""
    build(str(run_root))
    found = report_of(run_root)
    paths = {stage["name"]: run_root / stage["path"] for stage in storage.read_json(f"{run_root}/run.json")["stages"]}

    def column(stage: str) -> pl.DataFrame:
        return pl.concat([pl.read_parquet(path) for path in sorted(paths[stage].glob("part-*.parquet"))])

    documents = column("read").select(pl.col("source").cast(pl.String), bytes=pl.col("text").str.len_bytes())
    rows = pl.concat([documents, *map(column, ("select", "exact", "minhash", "mix"))], how="horizontal")
    names = [rule["name"] for rule in found["drops"][0]["rules"]]
    for source, part in found["funnel"]["sources"].items():
        own = rows.filter(source=source)
        kept = own.filter("keep")
        assert part["kept"] == {"documents": kept.height, "bytes": kept["bytes"].sum()}
        assert part["in"]["bytes"] == own["bytes"].sum()
        dropped = {step["reason"]: step["documents"] for step in part["lost"] if step["kind"] == "dropped"}
        assert dropped == dict(own["drop_reason"].drop_nulls().cast(pl.String).value_counts().iter_rows())
    for position, rule in enumerate(found["drops"][0]["rules"]):
        bit = rows["drop_mask"].map_elements(lambda mask, bit=position: bool(mask >> bit & 1), pl.Boolean)
        assert rule["any"] == bit.sum()
        assert rule["only"] == rows.filter(drop_mask=1 << position).height
        assert rule["first"] == rows.filter(pl.col("drop_reason").cast(pl.String) == names[position]).height
    copies = {part["stage"]: part["copies"] for part in found["duplicates"]}
    assert copies == {stage: rows[f"{stage}_keep"].not_().sum() for stage in ("exact", "minhash")}
    assert copies["exact"] >= 20
    for place, rung in enumerate(found["mixture"]["rungs"]):
        assert rung["documents"] == rows.filter(pl.col("mix_rung") <= place).height
    written = [pl.read_parquet(path) for path in paths["shards"].rglob("part-*.parquet")]
    assert sum(folder["rows"] for folder in found["shards"]["folders"].values()) == sum(map(len, written))
    assert found["quarantine"]["rows"]["null_text"]["places"][0]["line"] == 18
    assert all(check["holds"] for check in found["checks"])


def test_findings(made_up: tuple[Path, Page]) -> None:
    headings = made_up[1].headings
    assert headings.keys() == PARTS
    assert headings["funnel"] == "60 % of all records were kept; short took the most, 30 %"
    assert headings["drops"] == "short drops the most: 90 of 288 documents, 60 of them for no other reason"
    assert headings["quarantine"] == "12 records and 3 files could not be used, most often for null_text"
    assert headings["mixture"] == "rung-01 is 17 % below its budget of 4K tokens"
    assert headings["checks"] == "Every document is accounted for: all 7 checks hold"
    assert "code was to give 1.33K tokens to rung-01, but has 2K" in made_up[1].text
    assert "Never true: unused." in made_up[1].text


def test_quarantine_shows_places_and_no_content(made_up: tuple[Path, Page]) -> None:
    assert "web: a.jsonl, line 10; web: a.jsonl, line 11" in made_up[1].text
    for name in ("report.html", "report.json"):
        assert "SECRET" not in (made_up[0] / name).read_text()


def test_every_chart_has_names_and_a_table(made_up: tuple[Path, Page]) -> None:
    page = made_up[1]
    html = (made_up[0] / "report.html").read_text()
    assert page.tags["svg"] == 2 * page.tags["figure"] >= 14
    assert html.count('role="img"') == html.count("<desc id=") == page.tags["svg"]
    for section in html.split("<section")[1:]:
        assert section.count("<figure>") <= section.count("<table>")


def test_page_is_small_and_needs_nothing_else(made_up: tuple[Path, Page], tmp_path: Path) -> None:
    many = made_up_run(
        tmp_path / "many", [f"a_source_with_a_name_as_long_as_people_make_them_{n:02d}" for n in range(30)]
    )
    for page in (made_up[1], built(many)):
        assert not page.tags["script"]
        assert all(reference.startswith(("#", "data:")) for reference in page.references)
        assert len(page.ids) == len(set(page.ids))
    html = (many / "report.html").read_text()
    assert len(html.encode()) < 1_000_000
    assert "url(http" not in html
    assert "@import" not in html


def test_text_of_others_is_escaped(tmp_path: Path) -> None:
    root = made_up_run(tmp_path / "evil", EVIL)
    page = built(root)
    assert not page.tags["script"]
    assert not page.tags["b"]
    for name in EVIL:
        assert name in page.text


@pytest.mark.parametrize(
    ("sources", "options", "finding"),
    [
        (["web"], {}, "60 % of all records were kept; short took the most, 30 %"),
        (["web", "books"], {"kept": False}, "No document was kept"),
        (["web", "books"], {"records": 0}, "No record was read"),
        (["web"], {"records": 1}, "All 1 record became documents, and all of those were kept"),
    ],
)
def test_extremes(tmp_path: Path, sources: list[str], options: dict[str, Any], finding: str) -> None:
    assert built(made_up_run(tmp_path / "run", sources, **options)).headings["funnel"] == finding


def edit(root: Path, stage: str, change: Any) -> None:
    path = f"{root}/{stage}-00000000/_manifest.json"
    manifest = storage.read_json(path)
    change(manifest)
    storage.write_json(path, manifest)


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages without drawings, which take most of the time."""
    monkeypatch.setattr("curate.report.charts._svg", lambda *_: "")


@pytest.mark.usefixtures("undrawn")
def test_lost_documents_are_said_aloud(tmp_path: Path) -> None:
    root = made_up_run(tmp_path / "run", ["web", "books"])
    edit(root, "select", lambda manifest: manifest["flow"]["books"].update({"kept": 59}))
    page = built(root)
    assert page.headings["checks"] == "1 check of 7 failed: select"
    assert "select lost count of books." in page.text
    assert "Documents are unaccounted for in select." in page.text
    assert "1 of 7 fail" in page.text


@pytest.mark.usefixtures("undrawn")
def test_rows_that_do_not_fit_the_shards_fail(tmp_path: Path) -> None:
    root = made_up_run(tmp_path / "run", ["web", "books"])
    edit(root, "exact", lambda manifest: manifest["flow"]["web"].update({"in": 95, "kept": 95}))
    assert built(root).headings["checks"] == "1 check of 7 failed: exact"


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("missing", ["exact", "select", "tokens", "shards"])
def test_sections_follow_the_stages(tmp_path: Path, missing: str) -> None:
    """A pipeline without a stage, and without those that need it, has no section of it."""
    gone = {"exact": [], "select": ["tokens", "mix", "shards"], "tokens": ["mix", "shards"], "shards": []}[missing]
    root = made_up_run(tmp_path / "run", ["web", "books"])
    description = storage.read_json(f"{root}/run.json")
    description["stages"] = [s for s in description["stages"] if s["name"] not in [missing, *gone]]
    storage.write_json(f"{root}/run.json", description)
    without = {"select": {"drops"}, "mix": {"mixture"}, "shards": {"shards"}}
    expected = PARTS - set().union(*(without.get(name, set()) for name in [missing, *gone]))
    assert built(root).headings.keys() == expected


@pytest.mark.usefixtures("undrawn")
def test_unfinished_run(tmp_path: Path) -> None:
    root = made_up_run(tmp_path / "run", ["web", "books"])
    (root / "mix-00000000" / "_manifest.json").unlink()
    (root / "shards-00000000" / "_manifest.json").unlink()
    page = built(root)
    assert "The run is not finished: still to come, mix, shards." in page.text
    assert "mixture" not in page.headings


@pytest.mark.usefixtures("undrawn")
def test_nothing_finished_yet(tmp_path: Path) -> None:
    root = made_up_run(tmp_path / "run", ["web"])
    for manifest in root.glob("*/_manifest.json"):
        manifest.unlink()
    page = built(root)
    assert "No stage has read anything yet." in page.text
    assert page.headings.keys() == {"timings", "appendix"}


def test_no_run(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="there is no run in"):
        build(str(tmp_path))


@pytest.mark.usefixtures("undrawn")
def test_run_on_object_storage(tmp_path: Path) -> None:
    root = made_up_run(tmp_path / "run", ["web"])
    memory = fsspec.filesystem("memory")
    memory.put(str(root), "/stored", recursive=True)
    build("memory://stored/")
    build(str(root))
    assert report_of(root) == json.loads(memory.cat_file("/stored/report.json"))
    assert memory.exists("/stored/report.html")
    memory.rm("/stored", recursive=True)
