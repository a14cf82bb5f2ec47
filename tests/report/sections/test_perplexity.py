"""What the report says of language models: scores by source, buckets with their cuts, and cards."""

import json
from pathlib import Path
from typing import Any

from curate import Pipeline
from curate.report.build import build
from tests.runs import write_config


def test_facts_are_those_of_the_manifests(two_models: tuple[dict[str, Any], str, Pipeline]) -> None:
    facts, _, pipeline = two_models
    manifests = {name: node.artifact.manifest for name, node in pipeline.nodes.items()}
    said = facts["perplexity"]
    assert [(stage["stage"], stage["model"]) for stage in said["scores"]] == [("one", "lm"), ("two", "other_lm")]
    assert said["scores"][0]["sources"] == manifests["one"]["scores"]
    card = said["models"][0]
    assert (card["stage"], card["group"], card["documents"], card["order"]) == ("lm", "", 51, 2)
    assert card["ngrams"] == manifests["lm"]["models"]["model"]["ngrams"]
    assert [stage["stage"] for stage in said["buckets"]] == ["buckets", "halves"]


def test_the_page_shows_them(two_models: tuple[dict[str, Any], str, Pipeline]) -> None:
    facts, page, _ = two_models
    medians = {name: counts["quantiles"]["0.5"] for name, counts in facts["perplexity"]["scores"][0]["sources"].items()}
    assert medians["plain"] < medians["mixed"]
    assert f"To lm, plain is the likeliest source, at {medians['plain']:.2f} bits per byte" in page
    assert "one: 1 % of documents are too short or have no model." in page
    for chart in ("bits-wide", "buckets-0-wide", "buckets-1-wide"):
        assert page.count(f'id="{chart}-t"') == 1


def test_a_run_without_language_models_has_no_such_section(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "One line."}\n')
    config = {
        "run": {"root": f"{tmp_path}/run"},
        "engine": {"workers": 0},
        "stages": {"read": {"sources": {"a": {"path": f"{tmp_path}/a.jsonl"}}}},
    }
    Pipeline.from_yaml(str(write_config(tmp_path / "config.json", config))).run()
    build(f"{tmp_path}/run")
    facts = json.loads((tmp_path / "run" / "report.json").read_text())
    assert not {"perplexity", "densities"} & set(facts)
