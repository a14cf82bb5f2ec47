"""The stage around the kernels: promised columns, nulls, batching, configuration."""

import io
import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import zstandard
from pydantic import ValidationError

from curate.stage import Known
from curate.stages.heuristics import COLUMNS, Heuristics
from curate.text.batch import TextBatch

TEXTS = [
    "",
    "- The first item\n- The second item...\n",
    "We use cookies. { lorem ipsum }\r\nThis page needs JavaScript, a browser that has it enabled.",
    "你好。再见。",
    "This line is long enough for C4. It ends here!",
]


def annotate(texts: pa.Array, **config: Any) -> pa.RecordBatch:
    batch = TextBatch(texts)
    return Heuristics(**config).load()(batch, pa.record_batch({"text": batch.text}))


def test_promised_columns_come_in_order() -> None:
    found = annotate(pa.array(TEXTS))
    assert found.schema == Heuristics().columns()
    assert found.num_rows == len(TEXTS)


def test_every_column_is_defined_in_the_docs() -> None:
    text = (Path(__file__).parents[2] / "docs" / "signals.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("|")]
    defined = {name for row in rows for name in re.findall("`([a-z0-9_]+)`", row)}
    in_terms_of_others = {
        name for line in text.splitlines() if line.startswith("| `rps_") for name in re.findall("`([a-z0-9_]+)`:", line)
    }
    assert set(COLUMNS) <= defined | in_terms_of_others


def test_values() -> None:
    rows = annotate(pa.array(TEXTS)).to_pylist()
    expected = {
        "gopher_words": 6,
        "gopher_mean_word_length": 28 / 6,
        "gopher_hash_ratio": 0.0,
        "gopher_ellipsis_ratio": 1 / 8,
        "gopher_bullet_lines": 1.0,
        "gopher_ellipsis_lines": 0.5,
        "gopher_alpha_words": 6 / 8,
        "gopher_stop_words": 1,
        "c4_lines": 2,
        "c4_sentences": 2,
        "c4_terminal_lines": 0.0,
        "c4_short_lines": 1.0,
        "c4_javascript_lines": 0,
        "c4_policy_lines": 0,
        "c4_kept_lines": 0.0,
        "c4_kept_sentences": 0,
        "c4_max_word_length": 7,
        "c4_curly_brackets": 0,
        "c4_lorem_ipsum": False,
        "rep_paragraphs": 1,
        "rep_dup_lines": 0.0,
        "fineweb_newlines_per_word": 2 / 8,
        "refinedweb_one_word_lines": 0.0,
        "dolma_median_word_length": 3.5,
        "nemo_digits": 0.0,
        "rps_unique_words": 4 / 6,
    }
    assert {name: rows[1][name] for name in expected} == expected
    assert (rows[2]["c4_policy_lines"], rows[2]["c4_javascript_lines"], rows[2]["c4_lorem_ipsum"]) == (1, 1, True)
    assert (rows[4]["c4_kept_lines"], rows[4]["c4_kept_sentences"]) == (1.0, 2)


def test_a_ratio_of_nothing_is_null_and_a_count_of_nothing_is_zero() -> None:
    [row] = annotate(pa.array([""])).to_pylist()
    schema = Heuristics().columns()
    assert all((value is None) == pa.types.is_floating(schema.field(name).type) for name, value in row.items())
    assert not any(row.values())


def test_values_do_not_depend_on_the_batch() -> None:
    whole = annotate(pa.array(TEXTS))
    assert pa.Table.from_batches([annotate(pa.array([text])) for text in TEXTS]).combine_chunks() == (
        pa.Table.from_batches([whole])
    )
    around = pa.array(["#…\nuse of cookies", *TEXTS, "JavaScript and lorem ipsum"])
    assert annotate(around.slice(1, len(TEXTS))) == whole


def test_no_rows(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("one")
    assert annotate(pa.array([], pa.large_string()), bad_words=str(tmp_path / "list.txt")).num_rows == 0


def test_limits_of_c4_are_configuration() -> None:
    line = pa.array(["Three more words. " + "x" * 20 + "."])
    assert annotate(line)["c4_short_lines"].to_pylist() == [1.0]
    assert annotate(line, c4_min_line_words=4)["c4_short_lines"].to_pylist() == [0.0]
    assert annotate(line, c4_min_line_words=4)["c4_kept_sentences"].to_pylist() == [2]
    assert annotate(line, c4_min_line_words=4, c4_max_word_length=20)["c4_kept_sentences"].to_pylist() == [0]


def test_limits_of_lines_are_configuration() -> None:
    lines = pa.array(["Three more words.\nAB cd\n" + "x " * 100])
    assert annotate(lines, c4_long_line_chars=199)["c4_long_lines"].to_pylist() == [1]
    assert annotate(lines)["c4_long_lines"].to_pylist() == [0]
    assert annotate(lines, fineweb_short_line_chars=5)["fineweb_short_lines"].to_pylist() == [1 / 3]
    assert annotate(lines, refinedweb_max_uppercase=0.3)["refinedweb_uppercase_lines"].to_pylist() == [1 / 3]


def test_lists_come_from_files(tmp_path: Path) -> None:
    (tmp_path / "bad.txt").write_text("# not for reading\nbad\nvery bad\n坏人\n", encoding="utf-8")
    (tmp_path / "stop.txt").write_text("der\ndie\n", encoding="utf-8")
    config = {"bad_words": str(tmp_path / "bad.txt"), "stop_words": str(tmp_path / "stop.txt")}
    texts = pa.array(["A very BAD, bad man", "那个坏人!", "Die Zahl der Toten", ""])
    found = annotate(texts, **config, word_lists={"mine": config["bad_words"]})
    assert found["c4_bad_words"].to_pylist() == found["words_mine"].to_pylist() == [3, 1, 0, 0]
    assert found["words_mine_share"].to_pylist() == [3 / 5, 2 / 4, 0.0, None]
    assert found["rps_stop_words"].to_pylist() == [0.0, 0.0, 0.5, None]


def test_a_list_counts_by_its_content(tmp_path: Path) -> None:
    for name, content in {"a.txt": "one", "b.txt": "one", "c.txt": "two"}.items():
        (tmp_path / name).write_text(content)
    same, other, changed = (
        Heuristics(word_lists={"x": str(tmp_path / name)}).identity() for name in ("a.txt", "b.txt", "c.txt")
    )
    assert same == other != changed
    assert str(tmp_path) not in json.dumps(same)


def test_lists_are_checked_before_any_data_is_read(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("# nothing\n!\n")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    stage = Heuristics(
        bad_words=str(tmp_path / "empty.txt"),
        stop_words=str(tmp_path / "none.txt"),
        word_lists={"latin": str(tmp_path / "latin.txt")},
    )
    problems = {problem.where: problem.message for problem in stage.check(Known(pa.schema([]), {}, {}))}
    assert problems.keys() == {("bad_words",), ("stop_words",), ("word_lists", "latin")}
    assert "no word" in problems["bad_words",]
    assert "no file" in problems["stop_words",]
    assert "not UTF-8" in problems["word_lists", "latin"]


@pytest.mark.parametrize(
    "config",
    [{"c4_min_line_words": 0}, {"c4_max_word_length": 0}, {"min_words": 5}, {"word_lists": {"Bad-words": "x.txt"}}],
)
def test_wrong_configuration_is_refused(config: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(config))):
        Heuristics(**config)


def test_prose_passes_gophers_rules_and_code_does_not(shared_data: Path) -> None:
    def passing(corpus: str) -> float:
        path = shared_data / f"{corpus}.jsonl.zst"
        with io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(path.open("rb")), "utf-8") as rows:
            texts = [json.loads(row)["text"] for row, _ in zip(rows, range(200), strict=False)]
        kept = [
            row["gopher_words"] >= 50
            and 3 <= row["gopher_mean_word_length"] <= 10
            and row["gopher_alpha_words"] >= 0.8
            and row["gopher_stop_words"] >= 2
            for row in annotate(pa.array(texts)).to_pylist()
        ]
        return sum(kept) / len(kept)

    assert passing("bbc_news") > 0.95
    assert passing("code_functions") < 0.3
