"""Rules that drop nearly all of a source are named."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa

from curate.report.record import StageRecord
from curate.report.sections import drops
from curate.stages.select import Select
from tests.corpus import run_stage
from tests.stages.test_select import table_with


def test_rules_that_drop_nearly_all_of_a_source_are_named(tmp_path: Path) -> None:
    words = pa.array([1] * 9 + [99] + [1] * 10, pa.int32())
    table = table_with(tmp_path, {"words": words}, {"web": 10, "books": 10})
    artifact = run_stage(Select(name="select", drop={"short": "words < 50"}), table, tmp_path)
    run: Any = SimpleNamespace(of=lambda kind: (StageRecord(kind, kind, "read", artifact),))
    facts = drops.facts(run)
    assert facts[0]["large"] == [{"rule": "short", "source": "books", "documents": 10, "of": 10}]
    assert drops.page(facts, None).alarms == ["short drops 100 % of books: is it meant for it?"]
