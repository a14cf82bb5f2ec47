"""Typical mistakes: one clear message each, with the place, before any data is read, and exit code 2."""

import json
from pathlib import Path

import pytest

from tests.runs import curate, curate_inline

GOOD = """\
run: {{root: {root}, seed: 3}}
engine: {{kind: local, workers: 1}}
stages:
  read:
    sources:
      notes: {{path: {data}}}
  heuristics: {{}}
  select:
    drop:
      short: gopher_words < 5
  tokens: {{vocab_size: 400}}
  mix:
    weights: {{notes: 1}}
    budgets: [1000]
  shards: {{}}
"""

# name: (text to replace, replacement, what the message must say)
MISTAKES = {
    "typo in a field": ("vocab_size", "vocab_sise", ["config.yaml:11", "'vocab_sise'", "did you mean 'vocab_size'?"]),
    "unknown column in a rule": (
        "gopher_words < 5",
        "gopher_wrods < 5",
        ["config.yaml:10", "stages.select.drop.short", "'gopher_wrods'", "did you mean 'gopher_words'?"],
    ),
    "missing file": ("notes.jsonl", "nodes.jsonl", ["config.yaml:6", "stages.read.sources.notes", "notes.jsonl"]),
    "negative budget": ("budgets: [1000]", "budgets: [-1000]", ["config.yaml:14", "stages.mix.budgets", "-1000"]),
    "tab": ("  heuristics", "\theuristics", ["config.yaml:7", "tab"]),
    "duplicate key": ("  heuristics: {}", "  heuristics: {}\n  heuristics: {}", ["config.yaml:8", "heuristics"]),
    "unknown stage": (
        "  heuristics: {}",
        "  huristics: {}",
        ["config.yaml:7", "huristics", "did you mean 'heuristics'?"],
    ),
    "wrong type": ("seed: 3", "seed: three", ["config.yaml:1", "run.seed", "'three'"]),
    "cycle": (
        "  heuristics: {}",
        "  heuristics: {after: [select]}",
        ["config.yaml:7", "stages.heuristics.after", "heuristics -> select -> heuristics"],
    ),
    "budget larger than the data": (
        "budgets: [1000]",
        "budgets: [1B]",
        ["config.yaml:14", "stages.mix.budgets", "notes"],
    ),
    "broken expression": ("gopher_words < 5", "gopher_words <", ["config.yaml:10", "stages.select.drop.short"]),
    "text compared with a number": ("gopher_words < 5", "source < 5", ["config.yaml:10", "stages.select.drop.short"]),
    "weight for no source": (
        "{notes: 1}",
        "{notes: 1, nots: 2}",
        ["config.yaml:13", "'nots'", "did you mean 'notes'?"],
    ),
}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    data = tmp_path / "notes.jsonl"
    data.write_text("".join(json.dumps({"text": f"word {i} " * 40}) + "\n" for i in range(50)))
    path = tmp_path / "config.yaml"
    path.write_text(GOOD.format(root=tmp_path / "run", data=data))
    return path


def test_without_a_mistake_it_plans(config: Path) -> None:
    finished = curate("plan", config)
    assert finished.returncode == 0, finished.stderr
    assert "shards" in finished.stdout


@pytest.mark.parametrize("name", MISTAKES)
def test_mistake(name: str, config: Path, tmp_path: Path) -> None:
    old, new, said = MISTAKES[name]
    text = config.read_text()
    assert old in text
    config.write_text(text.replace(old, new))
    finished = curate_inline("run", config)
    assert finished.returncode == 2, finished.stderr
    assert "Traceback" not in finished.stderr
    for part in said:
        assert part in finished.stderr, finished.stderr
    assert not list((tmp_path / "run").glob("*-*")), "something ran"


def test_all_problems_at_once(config: Path) -> None:
    text = config.read_text()
    for name in ("typo in a field", "wrong type", "unknown stage"):
        old, new, _ = MISTAKES[name]
        text = text.replace(old, new)
    config.write_text(text)
    finished = curate("run", config)
    assert finished.returncode == 2
    for name in ("typo in a field", "wrong type", "unknown stage"):
        for part in MISTAKES[name][2]:
            assert part in finished.stderr, finished.stderr


def test_override_with_a_typo(config: Path) -> None:
    finished = curate_inline("run", config, "tokens.vocab_sise=300")
    assert finished.returncode == 2
    assert "did you mean 'vocab_size'?" in finished.stderr
    assert "command line" in finished.stderr
