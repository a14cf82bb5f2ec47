"""Functions of users give the same columns and texts in this process, in others, and on Ray."""

from pathlib import Path

import pytest

from curate.engine.base import Engine
from curate.stages.map import Map
from curate.stages.rewrite import Rewrite
from curate.table import Table
from tests.corpus import make_table, run_stage
from tests.duplicates import digests

GOLDEN: dict[str, dict[str, str]] = {}
"""Files of the first engine that ran; those of the others must be the same."""

HELPER = "def first_word(text):\n    return text.split()[0]\n"
FILE = """from words import first_word


def shortened(batch):
    return [first_word(text) for text in batch["text"].to_pylist()]


def lengths(batch):
    return {"letters": [len(first_word(text)) for text in batch["text"].to_pylist()]}
"""


@pytest.mark.parametrize("engine", ["inline", "local", "ray"], indirect=True)
def test_every_engine_writes_the_same_files(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "my.py").write_text(FILE)
    (tmp_path / "words.py").write_text(HELPER)
    uses = (f"{tmp_path}/words.py",)
    table = make_table(tmp_path / "read", {"a": [f"word{'s' * n} {n}" for n in range(30)] + [" "] * 3}, 8)
    rewritten = run_stage(Rewrite(python=f"{tmp_path}/my.py:shortened", uses=uses), table, tmp_path, engine=engine)
    assert rewritten.manifest["flow"]["a"]["quarantined"] == {"IndexError": 3}
    stage = Map(python=f"{tmp_path}/my.py:lengths", uses=uses, columns={"letters": "int32"})
    mapped = run_stage(stage, Table(rewritten), tmp_path, engine=engine)
    written = digests(rewritten) | digests(mapped)
    assert GOLDEN.setdefault("files", written) == written
