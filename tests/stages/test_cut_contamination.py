"""Words of benchmark items are cut out of documents, from a share of the item on."""

import json
from pathlib import Path

import pytest

from curate.stages.cut_contamination import CutContamination
from curate.stages.decontaminate import Decontaminate
from curate.table import Table
from tests.corpus import make_table, run_stage
from tests.duplicates import frame


@pytest.mark.parametrize(("share", "cut"), [(20, True), (19, False)])
def test_runs_are_cut_from_half_of_an_item_on(tmp_path: Path, share: int, cut: bool) -> None:
    item = [f"w{number}" for number in range(13 + 39)]  # 40 n-grams
    text = f"Before. {' '.join(item[: 12 + share]).upper()}, after"
    path = tmp_path / "bench.jsonl"
    path.write_text(json.dumps({"text": " ".join(item)}) + "\n")
    mark = Decontaminate.model_validate({"name": "decontaminate", "benchmarks": {"b": {"path": str(path)}}})
    table = make_table(tmp_path / "read", {"web": [text, " ".join(item), "clean"]})
    beside = Table(table.documents, (run_stage(mark, table, tmp_path),))
    made = run_stage(CutContamination(name="cut"), beside, tmp_path)
    assert frame(Table(made), ["text"])["text"].to_list() == ["Before. , after" if cut else text, "clean"]
    assert made.manifest["flow"]["web"]["dropped"] == {"emptied": 1}
    longer = run_stage(CutContamination(name="longer", min_words=33), beside, tmp_path)
    assert frame(Table(longer), ["text"])["text"].to_list() == [text, "clean"]
