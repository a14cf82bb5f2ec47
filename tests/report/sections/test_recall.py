"""What the report and `explain` say of near-duplicates that were measured, and of text that was cut out."""

import json
import random
from pathlib import Path

import pytest

from curate import Pipeline
from curate.report.build import build
from curate.report.explain import explain
from curate.report.explanation import Explanation

LICENCE = "Permission is granted to anybody to do with this whatever they like and more of the same."


def text(seed: int) -> str:
    rng = random.Random(seed)
    return " ".join(f"w{rng.randrange(500)}" for _ in range(120))


def run(path: Path, texts: dict[str, str], stages: dict) -> Path:
    path.mkdir()
    lines = [json.dumps({"id": name, "text": text}) for name, text in texts.items()]
    (path / "web.jsonl").write_text("\n".join(lines) + "\n")
    read = {"sources": {"web": {"path": str(path / "web.jsonl")}}}
    settings = {"run": {"root": str(path / "run")}, "engine": {"workers": 0}}
    Pipeline.from_mapping(settings | {"stages": {"read": read, **stages}}).run()
    build(str(path / "run"))
    return path / "run"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    texts = {f"d{i}": f"{text(i)}\n\n{LICENCE}" for i in range(20)} | {"licence": LICENCE, "twin": f"{text(3)} x"}
    stages = {"paragraphs": {"prefer": ["longest"]}, "minhash": {"verify": "signature"}}
    return run(tmp_path_factory.mktemp("cut") / "first", texts, stages)


def test_recall_and_precision_are_told_as_they_were_measured(root: Path) -> None:
    facts = json.loads((root / "report.json").read_text())
    (recall,) = facts["recall"]
    manifest = json.loads(next(root.glob("minhash-????????/_manifest.json")).read_text())
    assert recall["planted"] == manifest["quality"]["planted"]
    assert recall["audited"]["pairs"] == recall["audited"]["reached"] == 1
    assert sum(recall["pairs"].values()) == 1
    page = (root / "report.html").read_text()
    planted = recall["planted"][1]
    assert f"<td>{planted['mean_jaccard']:.3f}" in page.replace('<td class="number">', "<td>")
    assert "of 1 pair looked at again, 1 have it exactly" in page


def test_what_was_cut_is_told_by_source(root: Path) -> None:
    facts = json.loads((root / "report.json").read_text())
    (cut,) = facts["removed"]
    assert cut["stage"] == "paragraphs"
    assert cut["sources"]["web"]["spans"] == 20
    assert cut["sources"]["web"]["emptied"] == 1
    lost = facts["funnel"]["sources"]["web"]["lost"]
    assert [(step["stage"], step["reason"], step["documents"]) for step in lost] == [("paragraphs", "emptied", 1)]
    assert "Repeated text" in (root / "report.html").read_text()


def test_explain_shows_what_was_cut_out_of_a_document(root: Path) -> None:
    found = [explain(str(root), f"web/d{i}") for i in range(20)]
    cut = [document for document in found if isinstance(document, Explanation) and document.cuts]
    assert len(cut) == 19
    assert cut[0].cuts[0].spans[0][1] == LICENCE
    assert "paragraphs cut out 1 span, 89 bytes:" in cut[0].render()


def test_explain_finds_a_document_of_which_nothing_is_left(root: Path) -> None:
    found = explain(str(root), "web/licence")
    assert isinstance(found, Explanation)
    assert found.emptied_by == "paragraphs"
    assert "dropped by 'paragraphs': nothing of its text was left" in found.render()


def test_explain_names_a_keeper_of_another_run(root: Path, tmp_path: Path) -> None:
    texts = {"new": f"{text(3)} and more", "own": text(99)}
    later = run(tmp_path / "later", texts, {"minhash": {"verify": "signature", "index": [str(root)]}})
    found = explain(str(later), "web/new")
    assert isinstance(found, Explanation)
    (cluster,) = found.clusters
    assert cluster.members[0][2] in ("d3", "twin")
    assert cluster.similarity is not None
    assert cluster.similarity > 0.8
    assert "to which this one has a similarity of 0." in found.render()


def test_a_folder_with_a_run_in_it_serves(root: Path) -> None:
    assert isinstance(explain(str(root.parent), "web/d1"), Explanation)
