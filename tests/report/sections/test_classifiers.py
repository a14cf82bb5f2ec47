"""What the report says of trained classifiers."""

import json

import pytest

from curate import Pipeline
from curate.report.build import build
from curate.report.charts import BLUE, Curve, against_diagonal
from tests.stages.test_quality import recipe


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, str, dict]:
    path = tmp_path_factory.mktemp("told")
    config = recipe(path)
    plain = {**config["stages"]["train_classifier"], "stage": "train_classifier", "calibration": None}
    config["stages"] = {"read": config["stages"]["read"], "train_classifier": config["stages"]["train_classifier"]}
    config["stages"]["plain"] = plain
    pipeline = Pipeline.from_mapping(config)
    pipeline.run()
    build(str(path / "run"))
    manifest = pipeline.nodes["train_classifier"].artifact.manifest["classifier"]
    return json.loads((path / "run" / "report.json").read_text()), (path / "run" / "report.html").read_text(), manifest


def test_the_facts_are_those_of_the_manifests(told: tuple[dict, str, dict]) -> None:
    first, second = told[0]["classifiers"]
    assert first == {"stage": "train_classifier", **{key: told[2][key] for key in ("documents", "raw", "calibrated")}}
    assert second["calibrated"] is None
    assert second["raw"] == first["raw"]


def test_the_page_has_the_diagram_and_the_figures(told: tuple[dict, str, dict]) -> None:
    _, page, manifest = told
    assert f"tells the classes apart with an AUC of {manifest['raw']['auc']:.4f}" in page
    assert f"{manifest['calibrated']['log_loss']:.4f}" in page
    assert page.count('id="classifiers-wide-t"') == 1
    assert "share of positive documents" in page


def test_points_are_drawn_where_they_are() -> None:
    points = [(0.1, 0.2), (0.6, 0.9)]
    figure = against_diagonal({"a": [Curve("it", BLUE, points)], "b": [Curve("it", BLUE, [])]}, ("x", "y"), 760)
    diagonal, curve = figure.axes[0].lines
    assert list(zip(*diagonal.get_data(), strict=True)) == [(0, 0), (1, 1)]
    assert list(zip(*curve.get_data(), strict=True)) == points
    assert not len(figure.axes[1].lines[1].get_xdata())
