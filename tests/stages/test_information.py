"""The stage around the kernels: promised columns, nulls, batching, configuration, and an order of real corpora."""

import io
import json
import math
from pathlib import Path

import pyarrow as pa
import pytest
import zstandard
from pydantic import ValidationError

from curate.stages.information import Information
from curate.text.batch import TextBatch

TEXTS = ["", "Yes yes YES, no", "…", "aaaa", "To be, or not to be: that is the question."]


def annotate(texts: pa.Array, **config: int) -> pa.RecordBatch:
    batch = TextBatch(texts)
    return Information(**config).load()(batch, pa.record_batch({"text": batch.text}))


def test_promised_columns_come_in_order() -> None:
    found = annotate(pa.array(TEXTS))
    assert found.schema == Information().columns()
    assert found.num_rows == len(TEXTS)


def test_values() -> None:
    rows = annotate(pa.array(TEXTS)).to_pylist()
    assert rows[1]["info_word_entropy"] == pytest.approx(2 - 0.75 * math.log2(3))
    assert (rows[1]["info_words"], rows[1]["info_distinct_words"]) == (4, 2)
    assert (rows[3]["info_byte_entropy"], rows[3]["info_word_entropy"]) == (0.0, 0.0)
    assert rows[3]["info_zstd_ratio"] == len(zstandard.compress(b"aaaa", 3)) / 4


def test_nulls_where_nothing_is_to_divide_by() -> None:
    empty, _, wordless, *_ = annotate(pa.array(TEXTS)).to_pylist()
    assert empty == {
        "info_byte_entropy": None,
        "info_words": 0,
        "info_distinct_words": 0,
        "info_word_entropy": None,
        "info_zstd_ratio": None,
    }
    assert wordless["info_word_entropy"] is None
    assert wordless["info_byte_entropy"] == pytest.approx(math.log2(3))  # three bytes, all different


def test_values_do_not_depend_on_the_batch() -> None:
    whole = annotate(pa.array(TEXTS))
    alone = pa.Table.from_batches([annotate(pa.array([text])) for text in TEXTS]).combine_chunks()
    assert alone == pa.Table.from_batches([whole])
    assert annotate(pa.array(["first " * 500, *TEXTS, "last"]).slice(1, len(TEXTS))) == whole


def test_no_rows() -> None:
    assert annotate(pa.array([], pa.large_string())).num_rows == 0


@pytest.mark.parametrize("level", [0, 20])
def test_levels_outside_zstds_range_are_refused(level: int) -> None:
    with pytest.raises(ValidationError, match="zstd_level"):
        Information(zstd_level=level)


def test_template_text_has_less_information_than_prose(shared_data: Path) -> None:
    def median(corpus: str, column: str) -> float:
        path = shared_data / f"{corpus}.jsonl.zst"
        with io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(path.open("rb")), "utf-8") as rows:
            texts = [
                text for text in (json.loads(row)["text"] for row, _ in zip(rows, range(400), strict=False)) if text
            ]
        values = annotate(pa.array(texts))[column].to_pylist()
        return sorted(value for value in values if value is not None)[len(values) // 2]

    assert median("bbc_news", "info_word_entropy") > median("code_functions", "info_word_entropy") + 1
    assert median("wikipedia_zh", "info_byte_entropy") > median("bbc_news", "info_byte_entropy") + 1
