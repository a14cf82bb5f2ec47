"""The stage `clean`: accounting, records, idempotence, and the same bytes however it runs."""

import hashlib
import json
import unicodedata
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from curate import Pipeline
from curate.errors import RunError
from curate.report.build import build
from curate.report.explain import explain
from curate.stage import Known
from curate.stages.clean import PRESETS, Clean, LineRules, clean_texts
from curate.table import Table
from tests.corpus import make_table, run_stage
from tests.duplicates import frame
from tests.engine.engines import Engines, FailingEngine
from tests.examples import examples

ALL = ("email", "ip", "phone", "iban", "card")
EVERYTHING = {"stripped_entities": True, "inner_spaces": True, "pii": ALL}


def cleaned(*texts: str, **fields) -> list[str]:
    return clean_texts(Clean(**fields), pa.array(texts, pa.large_string()))[0].to_pylist()


def changes(*texts: str, **fields) -> dict[str, list[tuple[int, int]]]:
    """Places and bytes per document by kind."""
    _, log = clean_texts(Clean(**fields), pa.array(texts, pa.large_string()))
    return {kind: list(zip(*map(np.ndarray.tolist, both), strict=True)) for kind, both in log.kinds.items()}


PIECES = st.one_of(
    st.sampled_from(
        [*"aZé \t\n\r<>&;#Ã©[]@.:1", "\u00a0", "\u00ad", "\u200b", "\ufeff", "\u0301", "\u0338", "&amp;", "&lt;"]
    ),
    st.sampled_from(
        ["&#10;", "&nbsp;", "&am\u00adp;", "&#x301;", "Ã\u200b©", "#39;", "[1]", "3 likes", "Read more", "JavaScript"]
    ),
    st.sampled_from(
        ["jo@example.org", "8.8.8.8", "212-555-0123", "DE89370400440532013000", "4111111111111111", "A long line."]
    ),
    st.text(max_size=3),
)
TEXTS = st.lists(PIECES, max_size=14).map("".join)


@examples(250)
@given(st.lists(TEXTS, min_size=1, max_size=3), st.sampled_from([{}, EVERYTHING, {"entities": "always"}]))
@example(["e\u00ad\u0301", "&l\u200bt;", "\r\u00ad\n", "Ã\u200b© \u200b\n\u00a0\n\n\n\n"], {})
def test_a_second_time_nothing_changes(texts: list[str], fields: dict) -> None:
    texts = [unicodedata.normalize("NFC", text) for text in texts]
    once = cleaned(*texts, **fields)
    assert all(unicodedata.is_normalized("NFC", text) for text in once)
    assert cleaned(*once, **fields) == once
    assert changes(*once, **fields) == {}
    _, log = clean_texts(Clean(**fields), pa.array(texts, pa.large_string()))
    touched = np.logical_or.reduce([np.zeros(len(texts), bool), *(places > 0 for places, _ in log.kinds.values())])
    assert not [text for text, fresh, hit in zip(texts, once, touched, strict=True) if text != fresh and not hit]


@pytest.mark.parametrize("preset", [*PRESETS])
@given(text=TEXTS)
def test_line_rules_leave_nothing_to_cut(preset: str, text: str) -> None:
    once = cleaned(unicodedata.normalize("NFC", text), lines=preset)
    assert cleaned(*once, lines=preset) == once


def test_steps_come_in_order_until_nothing_changes() -> None:
    assert cleaned("caf&Atilde;&copy;\u00a0 \r\n&amp;lt;", "e\u200b\u0301") == ["café\n<", "é"]
    assert changes("caf&Atilde;&copy;\u00a0 \r\n&amp;lt;")["entities"] == [(4, 8 + 6 + 5 + 4)]


def test_code_and_clean_prose_are_not_touched() -> None:
    texts = ["def f(x):\n    if x < 1:\n\t\treturn  'a'\n\n\nclass C:\n", "It is “so”, naïve — œuvre.\n\n1. 你好。", ""]
    assert cleaned(*texts) == texts
    assert changes(*texts) == {}


@pytest.mark.parametrize("field", ["mojibake", "control", "invisible", "line_ends", "spaces", "trailing_spaces"])
def test_each_switch_turns_off_its_own_change(field: str) -> None:
    text = "Ã© a\x00 b\u200bc d\u00a0e \r\nf\n\n\n\n\n&amp;"
    everything = changes(text)
    assert set(everything) == {
        *("mojibake", "entities", "control", "invisible", "line_ends", "spaces", "trailing_spaces", "blank_lines")
    }
    without = {kind: counts for kind, counts in everything.items() if kind != field}
    found = changes(text, **{field: False})
    assert set(found) - {"trailing_spaces"} == set(without) - {"trailing_spaces"}
    assert "entities" not in changes(text, entities="off")
    assert "blank_lines" not in changes(text, max_blank_lines=None)


def test_lines_are_cut_by_the_first_rule_that_is_true() -> None:
    text = "Home\nThis is a line of text.\n\nEnable javascript to use cookies\n"
    text += "This line has no end mark\nThe end of it.[1]\n"
    assert cleaned(text, lines="c4") == ["This is a line of text.\n"]
    assert cleaned(text, lines={"preset": "c4", "min_words": 3, "terminal": False}) == [
        "This is a line of text.\n\nThis line has no end mark\nThe end of it.\n"
    ]
    kinds = changes(text, lines="fineweb")
    assert kinds["line_javascript"] == [(1, len("Enable javascript to use cookies\n"))]
    assert kinds["citations"] == [(1, 3)]
    assert kinds["line_short"] == [(1, 5)]
    assert "line_policy" not in kinds


def test_a_document_that_loses_too_many_words_is_dropped(tmp_path: Path) -> None:
    body = "word " * 18 + "word\n"
    texts = [f"{body}Login", f"{body}word\nLogin", "Login", "", f"{body}"]
    table = make_table(tmp_path / "read", {"web": texts})
    artifact = run_stage(Clean(name="clean", lines={"min_words": 2, "max_removed_words": 0.05}), table, tmp_path)
    flow = artifact.manifest["flow"]["web"]
    assert flow == {"in": 5, "kept": 3, "dropped": {"emptied": 1, "removed_words": 1}, "quarantined": {}}
    assert frame(Table(artifact), ["source_id"])["source_id"].to_list() == ["0", "3", "4"]
    record = pl.read_parquet(f"{artifact.path}/changes/*.parquet")
    reasons = record.filter(pl.col("kind").cast(pl.String).is_in(["emptied", "removed_words"]))
    assert reasons["bytes"].to_list() == [len(texts[1]), len(texts[2])]


def test_counts_are_told_per_source_and_document(tmp_path: Path) -> None:
    sources = {"web": ["a\u00a0b\u00a0c", "plain", "\u200b \n"], "books": ["x\r\ny"]}
    table = make_table(tmp_path / "read", sources)
    artifact = run_stage(Clean(name="clean"), table, tmp_path)
    told = artifact.manifest["changes"]
    assert told["web"]["kinds"]["spaces"] == {"documents": 1, "places": 2, "bytes": 4}
    assert told["web"]["kinds"]["invisible"] == {"documents": 1, "places": 1, "bytes": 3}
    assert (told["web"]["touched"], told["web"]["documents_in"]) == (2, 3)
    assert (told["web"]["bytes_in"], told["web"]["bytes_out"]) == (17, 10)
    assert told["books"]["kinds"] == {"line_ends": {"documents": 1, "places": 1, "bytes": 1}}
    assert artifact.manifest["flow"]["web"]["dropped"] == {"emptied": 1}
    after = frame(Table(artifact), ["id", "text"])
    assert after["text"].to_list() == ["a b c", "plain", "x\ny"]
    record = pl.read_parquet(f"{artifact.path}/changes/*.parquet").with_columns(pl.col("kind").cast(pl.String))
    assert record.filter(id=after["id"][0]).rows() == [(after["id"][0], "spaces", 2, 4)]
    assert record.filter(id=after["id"][1]).is_empty()


def test_personal_data_is_replaced_and_counted() -> None:
    text = "Mail jo@example.org or ring 212-555-0123; host 8.8.8.8, IBAN DE89370400440532013000, card 4111111111111111."
    assert cleaned(text) == [text]
    assert cleaned(text, pii=ALL) == ["Mail <EMAIL> or ring <PHONE>; host <IP>, IBAN <IBAN>, card <CARD>."]
    assert cleaned(text, pii=["email"], placeholders={"email": "|||EMAIL_ADDRESS|||"})[0].startswith(
        "Mail |||EMAIL_ADDRESS||| or ring 212-555-0123"
    )
    found = changes(text, pii=ALL)
    assert found == {
        f"pii_{kind}": [(1, size)]
        for kind, size in zip(("email", "iban", "card", "phone", "ip"), (14, 22, 16, 12, 7), strict=True)
    }
    # A mark that composes with the bracket of a placeholder would otherwise leave text that is not in NFC.
    assert cleaned("jo@example.org\u0338", pii=["email"]) == ["<EMAIL≯"]


def test_workers_batches_and_interruptions_do_not_change_a_byte(engines: Engines, tmp_path: Path) -> None:
    texts = ["Ã© &amp; b\u00a0", "plain", "\u200b", "jo@example.org\r\n3 likes", "x"] * 3
    table = make_table(tmp_path / "read", {"web": texts, "books": texts[::-1]}, 4)
    stage = Clean(name="clean", lines="refinedweb", pii=["email"])

    def digests(artifact) -> dict[str, str]:
        files = [path for path in Path(artifact.path).rglob("*") if path.is_file() and "_receipts" not in path.parts]
        return {str(path.relative_to(artifact.path)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    whole = digests(run_stage(stage, table, tmp_path / "whole"))
    assert digests(run_stage(stage, table, tmp_path / "two", engine=engines(2))) == whole
    for limit in range(4):
        with pytest.raises(RunError, match="the power went"):
            run_stage(stage, table, tmp_path / str(limit), engine=FailingEngine(limit))
        assert digests(run_stage(stage, table, tmp_path / str(limit))) == whole


def test_presets_are_the_published_rules() -> None:
    assert LineRules.model_validate("c4").min_words == 5
    assert LineRules.model_validate({"preset": "fineweb"}).terminal is False
    assert LineRules.model_validate("refinedweb").max_removed_words == 0.05
    with pytest.raises(ValidationError, match="preset"):
        LineRules.model_validate("c5")


def test_mistakes_are_told_before_data_is_read() -> None:
    with pytest.raises(ValidationError, match="in brackets"):
        Clean(placeholders={"email": "mail@example.org"})
    known = Known(pa.schema([]), {}, {})
    (problem,) = Clean(pii=["phone"], phone_regions=["US", "UK"]).check(known)
    assert problem.where == ("phone_regions", 1)
    assert list(Clean(pii=ALL, phone_regions=["DE", "GB"]).check(known)) == []
    (problem,) = Clean(stripped_entities=True, entities="off").check(known)
    assert problem.where == ("stripped_entities",)


def test_a_run_explains_what_was_cleaned(tmp_path: Path) -> None:
    rows = [
        {"id": "a", "text": "caf\u00c3\u00a9 society, it was\u00a0so.\r\n3 likes\r\n"},
        {"id": "b", "text": "\u200b"},
        {"id": "c", "text": "Sign in\n1 2 3\nthree words"},
        {"id": "d", "text": "plain text"},
    ]
    (tmp_path / "web.jsonl").write_text("\n".join(map(json.dumps, rows)))
    config = {
        "run": {"root": str(tmp_path / "run")},
        "engine": {"workers": 0},
        "stages": {
            "read": {"sources": {"web": {"path": str(tmp_path / "web.jsonl")}}},
            "clean": {"lines": {"preset": "refinedweb", "max_removed_words": 0.5}},
        },
    }
    Pipeline.from_mapping(config).run()
    root = tmp_path / "run"
    said = {name: explain(str(root), f"web/{name}").render() for name in "abcd"}
    assert "clean changed:\n  mojibake" in said["a"]
    assert "  line_counters  1 place, 8 bytes" in said["a"]
    assert "dropped by 'clean': nothing of its text was left" in said["b"]
    assert "dropped by 'clean': too many of its words were cut out" in said["c"]
    assert "clean changed" not in said["d"]
    build(str(root))
    facts = json.loads((root / "report.json").read_text())
    assert facts["cleaned"][0]["sources"]["web"]["kinds"]["mojibake"]["documents"] == 1
    lost = {step["reason"]: step["documents"] for step in facts["funnel"]["sources"]["web"]["lost"]}
    assert lost == {"emptied": 1, "removed_words": 1}
    page = (root / "report.html").read_text()
    assert "75 % of 4 documents were changed" in page
    assert "line_counters" in page


def test_versions_of_packages_count_where_they_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    used = {
        "ftfy": Clean(),
        "phonenumbers": Clean(pii=("phone",), mojibake=False, entities="off"),
        "python-stdnum": Clean(pii=("card",), mojibake=False, entities="off"),
    }
    assert [list(stage.identity()["packages"]) for stage in used.values()] == [[name] for name in used]
    assert all(all(stage.identity()["packages"].values()) for stage in used.values())
    plain = Clean(mojibake=False, entities="off", pii=("email",))
    before = [stage.identity() for stage in (*used.values(), plain)]
    monkeypatch.setattr("curate.artifact.metadata.version", lambda _: "0")
    changed = [stage.identity() != old for stage, old in zip((*used.values(), plain), before, strict=True)]
    assert changed == [True, True, True, False]
