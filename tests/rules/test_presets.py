"""Rule sets: rows and docs agree, thresholds cut where they say, mistakes are told with their place."""

import math
import re
from pathlib import Path
from typing import Any, get_args

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from curate.config.load import load
from curate.errors import ConfigError
from curate.pipeline import Pipeline
from curate.registry import stage_type
from curate.rules.presets import PRESETS, Criterion, PresetName, rules_of
from curate.stages.select import MAX_RULES, Select, evaluate
from tests.corpus import run_stage
from tests.stages.test_select import decisions, table_with

RULES = {rule.name: rule for rules in PRESETS.values() for rule in rules}
PAGE = Path(__file__).parents[2] / "docs" / "presets.md"
ROW = re.compile(r"^\| `(\w+)` \| `([^`]+)` \| (\w*) \| ([\w, ]+) \| ([^|]+) \| ([^|]*) \|$", re.MULTILINE)


def columns() -> pa.Schema:
    """Columns of the stages that presets need, with their types."""
    return pa.schema([field for kind in ("heuristics", "langid") for field in stage_type(kind)().columns()])


# -- rows --------------------------------------------------------------------------------------------------------------


def test_docs_and_rows_are_the_same() -> None:
    documented = {name: rest for name, *rest in ROW.findall(PAGE.read_text())}
    rows = {
        name: [
            rule.when(),
            rule.language,
            ", ".join(preset for preset, rules in PRESETS.items() if name in {each.name for each in rules}),
            rule.source,
            rule.note,
        ]
        for name, rule in RULES.items()
    }
    assert {name: [cell.strip() for cell in rest] for name, rest in documented.items()} == rows


@pytest.mark.parametrize(
    ("preset", "expected"),
    [
        (
            "gopher",
            {
                "gopher_words": {("<", 50), (">", 100_000)},
                "gopher_mean_word_length": {("<", 3), (">", 10)},
                "gopher_hash_ratio": {(">", 0.1)},
                "gopher_ellipsis_ratio": {(">", 0.1)},
                "gopher_bullet_lines": {(">", 0.9)},
                "gopher_ellipsis_lines": {(">", 0.3)},
                "gopher_alpha_words": {("<", 0.8)},
                "gopher_stop_words": {("<", 2)},
            },
        ),
        (
            "gopher_repetition",
            {
                **{f"rep_dup_{what}": {(">", 0.3)} for what in ("lines", "paragraphs")},
                **{f"rep_dup_{what}_chars": {(">", 0.2)} for what in ("line", "paragraph")},
                **{f"rep_top_{n}gram_chars": {(">", cut)} for n, cut in zip((2, 3, 4), (0.2, 0.18, 0.16), strict=True)},
                **{f"rep_dup_{n}gram_chars": {(">", round(0.2 - n / 100, 2))} for n in range(5, 11)},
            },
        ),
        (
            "c4",
            {
                "c4_kept_sentences": {("<", 3)},
                "c4_curly_brackets": {(">", 0)},
                "c4_lorem_ipsum": {("=", True)},
            },
        ),
        ("english", {"lang_code": {("<>", "en")}, "lang_score": {("<", 0.65)}}),
    ],
)
def test_thresholds_of_the_papers(preset: str, expected: dict[str, set]) -> None:
    """Written down here a second time, by column."""
    found: dict[str, set] = {}
    for rule in PRESETS[preset]:
        found.setdefault(rule.column, set()).add((rule.op, rule.threshold))
    assert found == expected


def test_rule_sets_that_take_over_others() -> None:
    names = {preset: {rule.name for rule in rules} for preset, rules in PRESETS.items()}
    repetition, gopher = names["gopher_repetition"], names["gopher"]
    assert names["refinedweb"] == gopher | repetition | {"refinedweb_removed_words_max"}
    assert names["dclm"] ^ names["refinedweb"] == {"gopher_stop_words_min", "dclm_stop_words_min"}
    assert names["fineweb"] > gopher | repetition
    assert names["nemo_english"] > names["nemo_non_english"] > repetition
    assert RULES["fineweb_dup_line_chars_max"][1:4] == ("rep_dup_line_chars", ">=", 0.1)


def test_a_name_is_one_rule_and_a_preset_has_it_once() -> None:
    for rules in PRESETS.values():
        assert len({rule.name for rule in rules}) == len(rules)
        assert all(RULES[rule.name] == rule for rule in rules)
    assert set(get_args(PresetName)) == set(PRESETS)


def test_columns_exist_and_thresholds_fit_their_types() -> None:
    schema = columns()
    for rule in RULES.values():
        kind = schema.field(rule.column).type
        threshold = rule.threshold
        if isinstance(threshold, bool):
            assert pa.types.is_boolean(kind), rule
        elif isinstance(threshold, str):
            assert pa.types.is_dictionary(kind), rule
        else:
            assert pa.types.is_integer(kind) or pa.types.is_floating(kind), rule


def test_all_presets_together_fit_into_the_mask() -> None:
    stage = Select(name="select", presets=tuple(PRESETS))  # type: ignore[arg-type]
    assert set(stage.rules()) == set(RULES)
    assert len(RULES) <= MAX_RULES


# -- thresholds, from both sides ---------------------------------------------------------------------------------------


def around(rule: Criterion, kind: pa.DataType) -> list[tuple[Any, bool]]:
    """Values next to a threshold, and whether the rule drops them."""
    at = rule.threshold
    if isinstance(at, bool | str):
        other = (not at) if isinstance(at, bool) else "xx"
        return [(at, rule.op == "="), (other, rule.op == "<>"), (None, False)]
    if pa.types.is_integer(kind):
        assert isinstance(at, int), rule
        below, above = at - 1, at + 1
    else:
        narrow = np.float32 if kind == pa.float32() else np.float64
        below, above = (float(np.nextafter(narrow(at), narrow(to))) for to in (-math.inf, math.inf))
        at = float(narrow(at))
    at_too = "=" in rule.op
    return [(below, rule.op[0] == "<"), (at, at_too), (above, rule.op[0] == ">"), (None, False)]


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_both_sides_of_each_threshold(rule: Criterion) -> None:
    preset = next(preset for preset, rules in PRESETS.items() if rule in rules)
    stage = Select(name="select", presets=(preset,))  # type: ignore[arg-type]
    kind = columns().field(rule.column).type
    cases = around(rule, kind)
    values = pa.array([value for value, _ in cases], pa.string() if pa.types.is_dictionary(kind) else kind)
    frame = pl.DataFrame(pa.table({rule.column: values.cast(kind)}))
    fired = evaluate({rule.name: stage.rules()[rule.name]}, frame, "web")
    assert fired[0].tolist() == [drops for _, drops in cases]


def test_a_preset_in_a_whole_stage(tmp_path: Path) -> None:
    """Reasons are named for the rules, and the rules of `drop` come behind them."""
    measured = {
        "c4_kept_sentences": pa.array([2, 3, 3, 9, None], pa.int32()),
        "c4_curly_brackets": pa.array([0, 1, 0, 0, 0], pa.int32()),
        "c4_lorem_ipsum": pa.array([True, False, True, False, False]),
    }
    table = table_with(tmp_path, measured, {"web": 3, "books": 2})
    stage = Select(name="select", presets=("c4",), drop={"long": "c4_kept_sentences > 5"})
    artifact = run_stage(stage, table, tmp_path)
    found = decisions(artifact, table)
    reasons = ["c4_kept_sentences_min", "c4_curly_brackets_max", "c4_lorem_ipsum", "long", None]
    assert found["drop_reason"].to_pylist() == reasons
    assert found["drop_mask"].to_pylist() == [0b101, 0b10, 0b100, 0b1000, 0]
    assert [rule["when"] for rule in artifact.manifest["rules"]][2:] == [
        "c4_lorem_ipsum = TRUE",
        "c4_kept_sentences > 5",
    ]


# -- what people change ------------------------------------------------------------------------------------------------


def test_another_threshold_and_a_rule_left_out() -> None:
    stage = Select(name="s", presets=("gopher",), thresholds={"gopher_words_min": 30, "gopher_alpha_words_min": None})
    rules = stage.rules()
    assert rules["gopher_words_min"].when == "gopher_words < 30"
    assert "gopher_alpha_words_min" not in rules
    assert len(rules) == len(PRESETS["gopher"]) - 1
    assert rules_of("gopher", {"gopher_words_min": 0})[0].threshold == 0


def test_rules_for_one_language_spare_the_others() -> None:
    frame = pl.DataFrame({"gopher_stop_words": [0, 0, 0, 5], "lang_code": ["en", "de", None, "en"]})
    for language, expected in ((None, [True, True, True, False]), ("lang_code", [True, False, False, False])):
        stage = Select(name="select", presets=("gopher",), language=language)
        rule = {"gopher_stop_words_min": stage.rules()["gopher_stop_words_min"]}
        assert evaluate(rule, frame, "web")[0].tolist() == expected
    assert "lang_code" in stage.requires()
    assert "lang_code" not in stage.rules()["gopher_words_min"].when


def test_a_preset_for_some_sources_and_rules_in_common() -> None:
    uses = ({"preset": "gopher", "sources": ("web",)}, {"preset": "refinedweb", "sources": ("news",)})
    rules = Select(name="select", presets=uses).rules()  # type: ignore[arg-type]
    assert rules["gopher_words_min"].sources == ("news", "web")
    assert rules["rep_dup_lines_max"].sources == ("news",)
    assert len(rules) == len(PRESETS["refinedweb"])
    everywhere = Select(name="select", presets=("gopher", uses[1])).rules()  # type: ignore[arg-type]
    assert everywhere["gopher_words_min"].sources is None


def test_a_rule_counts_for_what_it_says() -> None:
    """Fingerprints: the same rules from a preset and by hand are the same stage; another threshold is another."""
    by_hand = Select(name="a", drop={rule.name: rule.when() for rule in PRESETS["c4"]})
    preset = Select(name="b", presets=("c4",))
    assert by_hand.payload(0, {}) == preset.payload(0, {})
    other = Select(name="b", presets=("c4",), thresholds={"c4_kept_sentences_min": 5})
    assert other.payload(0, {}) != preset.payload(0, {})
    assert Select(name="c", drop={"a": "x < 1"}).identity() == {"stage": "select", "drop": {"a": "x < 1"}}


# -- mistakes ----------------------------------------------------------------------------------------------------------


def complaints(tmp_path: Path, select: str, before: str = "  heuristics: {}") -> list[str]:
    (tmp_path / "web.jsonl").write_text('{"text": "some text"}\n')
    config = tmp_path / "c.yaml"
    config.write_text(
        f"run: {{root: {tmp_path}/run}}\nstages:\n  read: {{sources: {{web: {{path: {tmp_path}/web.jsonl}}}}}}\n"
        f"{before}\n  select:\n{select}"
    )
    with pytest.raises(ConfigError) as caught:
        Pipeline.from_config(load(config))
    return [str(problem).replace(str(config), "c.yaml") for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("select", "said"),
    [
        (
            "    presets: [gophre]\n",
            ["c.yaml:6: stages.select.presets.0: 'gophre' is not one of", "did you mean 'gopher'?"],
        ),
        ("    presets: [c4, c4]\n", ["c.yaml:6", "the preset 'c4' is here twice"]),
        (
            "    presets: [gopher]\n    thresholds:\n      gopher_word_min: 30\n",
            [
                "c.yaml:8: stages.select.thresholds.gopher_word_min: no preset here has a rule",
                "did you mean 'gopher_words_min'?",
            ],
        ),
        (
            "    presets: [gopher]\n    thresholds: {c4_lorem_ipsum: false}\n",
            ["c.yaml:7", "'c4_lorem_ipsum' is a rule of the preset", "to `presets`"],
        ),
        ("    thresholds: {gopher_words_mim: 3}\n", ["c.yaml:6", "there are no presets here"]),
        (
            "    presets: [c4]\n    thresholds: {short: 3}\n    drop: {short: gopher_words < 3}\n",
            ["c.yaml:7", "'short' is a rule of `drop`, not of a preset"],
        ),
        (
            "    presets: [c4]\n    thresholds: {c4_lorem_ipsum: 3}\n",
            ["c.yaml:7", "must be of the kind of True, the preset's own, got 3"],
        ),
        (
            "    presets: [c4]\n    drop: {c4_lorem_ipsum: gopher_words < 3}\n",
            ["c.yaml:7: stages.select.drop.c4_lorem_ipsum: a preset has a rule of this name", "thresholds"],
        ),
        (
            "    presets: [{preset: c4, sources: [wep]}]\n",
            ["c.yaml:6", "there is no source 'wep'", "did you mean 'web'?"],
        ),
        ("    presets: [c4]\n    language: lang_cod\n", ["c.yaml:7: stages.select.language", "the column 'lang_cod'"]),
    ],
)
def test_mistakes_have_a_place_and_a_hint(tmp_path: Path, select: str, said: list[str]) -> None:
    found = complaints(tmp_path, select)
    assert len(found) == 1
    assert all(part in found[0] for part in said), found


def test_missing_stages_are_named_once(tmp_path: Path) -> None:
    found = complaints(tmp_path, "    presets: [c4, english]\n    drop: {twin: NOT exact_keep}\n", before="")
    assert len(found) == 3
    assert "'c4_kept_sentences', 'c4_curly_brackets', 'c4_lorem_ipsum'" in found[0]
    assert "add `heuristics: {}` before it" in found[0]
    assert "add `langid: {}` before it" in found[1]
    assert "add `exact: {}` before it" in found[2]
    assert "presets.0" in found[0]
    assert "presets.1" in found[1]


def test_too_many_rules_are_counted_by_preset(tmp_path: Path) -> None:
    drop = "".join(f"      r{i}: gopher_words < {i}\n" for i in range(MAX_RULES - len(PRESETS["gopher"]) + 1))
    found = complaints(tmp_path, f"    presets: [gopher]\n    drop:\n{drop}")
    assert len(found) == 1
    assert f"65 rules (gopher 10, drop 55), but at most {MAX_RULES} fit into drop_mask" in found[0]
    assert "thresholds" in found[0]
