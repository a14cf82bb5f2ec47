"""Labeling functions, those in Python too, vote the same in this process, in others, and on Ray."""

import json
from pathlib import Path

from curate.engine.base import Engine
from curate.stages.weak import Weak
from curate.table import Table
from curate.weak.functions.config import Function
from tests.corpus import make_table, run_stage
from tests.weak.functions.corpus import FUNCTIONS, texts

GOLDEN: dict[str, dict[str, bytes]] = {}
"""Files of the first engine that ran; those of the others must be the same."""


def test_every_engine_writes_the_same_files(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "functions.py").write_text(FUNCTIONS)
    (tmp_path / "bad.txt").write_text("casino\n")
    python = str(tmp_path / "functions.py")
    functions = {
        "few_marks": Function(python=python, parameters={"least": 5}),
        "bad": Function(words=str(tmp_path / "bad.txt"), vote="drop", otherwise="keep"),
        "click": Function(regex="Click here", vote="drop"),
    }
    stage = Weak(functions=functions, keep_rate=0.6, decide="rate")
    rows = [text for text, _ in texts(60, 3)]
    table = make_table(tmp_path / "read", {"web": rows[:40], "books": rows[40:]}, 9)
    (labels,) = (helper.model_copy(update={"name": "weak_labels"}) for helper in stage.upstream())
    label_artifact = run_stage(labels, table, tmp_path, engine=engine)
    artifact = run_stage(stage, Table(table.documents, (label_artifact,)), tmp_path, engine=engine)
    files = [
        path for path in sorted(Path(artifact.path).rglob("*")) if path.is_file() and "_receipts" not in path.parts
    ]
    written = {str(path.relative_to(artifact.path)): path.read_bytes() for path in files}
    assert json.loads(written["_manifest.json"])["weak"]["model"]["documents"] == 60
    assert GOLDEN.setdefault("files", written) == written
