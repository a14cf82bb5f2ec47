"""The run that the examples in the docstrings of the Python API are about."""

import json
from pathlib import Path

import pytest

WORDS = "The quick brown fox jumps over the lazy dog while it rains"
EXAMPLES = ("curate.runs.run", "curate.pipeline")


@pytest.fixture(scope="session")
def example_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``web.jsonl``, ``books.jsonl`` and a finished run in ``runs/web``."""
    from curate import Pipeline
    from curate.stages import Exact, Mix, Read, Select, Shards, Source, Tokens

    folder = tmp_path_factory.mktemp("examples")
    web = {"short": "Too short."} | {name: f"{WORDS} {name}." for name in ("now", "today", "again")}
    web["copy"] = web["now"]
    lines = [json.dumps({"id": name, "text": text}) for name, text in web.items()]
    (folder / "web.jsonl").write_text("\n".join([*lines, '{"id": "cut off", "te']))
    books = [json.dumps({"id": name, "text": f"{name}. {WORDS}."}) for name in ("One", "Two", "Three")]
    (folder / "books.jsonl").write_text("\n".join(books))
    stages = [
        Read(sources={name: Source(path=f"{folder}/{name}.jsonl") for name in ("web", "books")}),
        Exact(),
        Select(drop={"short": "text_bytes < 40", "copy": "NOT exact_keep"}),
        Tokens(vocab_size=260),
        Mix(budgets=(100, 200)),
        Shards(),
    ]
    Pipeline(stages, root=folder / "runs" / "web", workers=0).run()
    return folder


@pytest.fixture(autouse=True)
def _in_the_folder_of_the_examples(request: pytest.FixtureRequest) -> None:
    """Examples name the run as ``runs/web``."""
    if isinstance(request.node, pytest.DoctestItem) and request.node.name.startswith(EXAMPLES):
        folder = request.getfixturevalue("example_run")
        request.getfixturevalue("monkeypatch").chdir(folder)
