"""Whole runs for tests: a small corpus in several formats, a configuration with every stage, and checksums of a run."""

import hashlib
import io
import json
import logging
import random
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any
from unittest.mock import patch

import zstandard

COMMON = """the of and to in a is that for it as was with be by on not he this are or his from at which but have an had
they you were their one all we can her has there been if more when will would who so no out up into them than only"""
RARE = "time river stone light paper engine window garden silver winter letter music number answer market city water"
WORDS = f"{COMMON} {RARE}".split()


def sentence(rng: random.Random) -> str:
    words = [rng.choice(WORDS) for _ in range(rng.randint(6, 16))]
    return " ".join(words).capitalize() + "."


def document(rng: random.Random, sentences: int = 12) -> str:
    return "\n".join(" ".join(sentence(rng) for _ in range(3)) for _ in range(max(sentences // 3, 1)))


def write_corpus(folder: Path, documents: int = 400) -> None:
    """Two sources (plain JSONL and zstd JSONL) with exact and near duplicates, short and broken rows."""
    rng = random.Random(5)
    folder.mkdir(parents=True, exist_ok=True)
    texts = [document(rng, rng.randint(6, 40)) for _ in range(documents)]
    texts += [text.upper() for text in texts[:20]]
    texts += [text.replace(" the ", " a ", 1) for text in texts[20:50]]
    texts += ["too short"] * 3
    rows = [json.dumps({"id": i, "text": text, "extra": {"n": i % 7}}) for i, text in enumerate(texts)]
    rows.insert(17, '{"id": 9999, "text": null}')
    rows.insert(40, '{"id": 9998, "text": "cut')
    (folder / "prose.jsonl").write_text("\n".join(rows) + "\n")
    more = [json.dumps({"id": f"n{i}", "text": document(rng, 9)}) for i in range(documents // 2)]
    (folder / "notes.jsonl.zst").write_bytes(zstandard.compress("\n".join(more).encode()))


def configuration(data: Path, root: Path, **engine: Any) -> dict[str, Any]:
    """Every stage, over the corpus of `write_corpus`, in shards small enough that there are several."""
    return {
        "run": {"root": str(root), "seed": 3},
        "engine": {"kind": "local", "workers": 2, **engine},
        "stages": {
            "read": {
                "shard_bytes": "60kB",
                "sources": {"prose": {"path": f"{data}/prose.jsonl"}, "notes": {"path": f"{data}/notes.jsonl.zst"}},
            },
            "heuristics": {},
            "langid": {},
            "information": {},
            "exact": {},
            "minhash": {"bands": 14, "rows": 8},
            "select": {
                "drop": {"short": "gopher_words < 20", "copy": "NOT exact_keep", "near_copy": "NOT minhash_keep"}
            },
            "tokens": {"vocab_size": 600},
            "mix": {
                "weights": {"prose": 0.7, "notes": 0.3},
                "budgets": ["8k", "24k"],
                "max_epochs": {"prose": 1, "notes": 2},
                "validation": 0.02,
            },
            "shards": {"shard_size": "40kB", "columns": ["lang_code", "minhash_cluster"]},
        },
    }


def write_config(path: Path, config: Mapping[str, Any]) -> Path:
    """JSON is YAML."""
    path.write_text(json.dumps(config, indent=1))
    return path


def curate_inline(*arguments: str | Path, typed: str = "") -> subprocess.CompletedProcess[str]:
    """Run the command line in this process, without the second that a new one takes to import what it needs.

    An error that the command line does not turn into a message is raised.

    Parameters
    ----------
    typed
        What the command reads from the terminal.
    """
    from curate.cli import main

    command = ["curate", *map(str, arguments)]
    out, err, code = io.StringIO(), io.StringIO(), 0
    on_terminate = signal.getsignal(signal.SIGTERM)
    root, ours = logging.getLogger(), logging.getLogger("curate")
    levels = root.level, ours.level
    with (
        redirect_stdout(out),
        redirect_stderr(err),
        patch.object(sys, "argv", command),
        patch.object(sys, "stdin", io.StringIO(typed)),
        patch.object(root, "handlers", []),  # the command line's own writes to `err`
    ):
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        finally:
            signal.signal(signal.SIGTERM, on_terminate)
            root.setLevel(levels[0])
            ours.setLevel(levels[1])
    return subprocess.CompletedProcess(command, code, out.getvalue(), err.getvalue())


def curate(*arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own, as a person does; `curate_inline` takes a second less."""
    command = [sys.executable, "-m", "curate", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=280, check=False, **options)


def digests(root: Path) -> dict[str, str]:
    """SHA-256 of every file of a run that must not differ between equal runs: data and manifests."""
    found = {}
    for path in sorted(root.rglob("*")):
        inner = path.relative_to(root)
        volatile = inner.parts[0] in {"run.json", "run.yaml", "events.jsonl", ".lock", "report.html", "report.json"}
        if path.is_file() and not volatile and "_receipts" not in inner.parts:
            found[str(inner)] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found
