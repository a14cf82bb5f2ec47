"""Run directories for the report: one that is made up, with exact numbers, and one that a pipeline made."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pytest

from curate import storage
from curate.artifact import Artifact, Receipt, receipts_folder, write_receipt
from curate.io.records import QUARANTINE
from curate.table import DOCUMENT, ParquetWriter
from tests.runs import configuration, write_corpus

RULES = {"short": "text_bytes < 100", "copy": "NOT exact_keep", "unused": "text_bytes < 0"}
RUNGS = {"rung-00": 1000, "rung-01": 4000}


def made_up_run(root: Path, sources: Sequence[str], records: int = 100, *, kept: bool = True) -> Path:
    """A run's manifests, receipts and quarantine without any documents; each source has `records` records.

    Of 100 records 4 are quarantined, 30 are dropped as short (10 of them copies as well) and 6 as copies; each document
    has 10 bytes. With ``kept=False`` all are short.
    """
    bad = {"null_text": records * 3 // 100, "not_json": records // 100}
    bad = {reason: count for reason, count in bad.items() if count}
    documents = records - sum(bad.values())
    short = records * 30 // 100 if kept else documents
    copies = records * 6 // 100 if kept else 0
    left = documents - short - copies
    both = min(records // 10, short)
    shards = [
        {
            "name": f"{number:05d}-000",
            "rows": documents,
            "text_bytes": 10 * documents,
            "source": source,
            "first_row": number * documents,
            "id_checksum": "0" * 16,
        }
        for number, source in enumerate(sources)
    ]

    def flow(into: int, out: int, dropped: Mapping[str, int], quarantined: Mapping[str, int]) -> dict[str, Any]:
        entry = {"in": into, "kept": out, "dropped": dropped, "quarantined": quarantined}
        return dict.fromkeys(sources, entry)

    through = flow(documents, documents, {}, {})
    dropped = {"copy": copies, "short": short, "unused": 0}
    bodies: dict[str, dict[str, Any]] = {
        "read": {
            "columns": DOCUMENT.names,
            "shards": shards,
            "flow": flow(records, documents, {}, bad),
            "files": {
                source: {"in": 3, "kept": 2, "quarantined": {"broken": 1}, "ignored": 1, "names": ["x"]}
                for source in sources
            },
        },
        "exact": {
            "columns": ["exact_keep", "exact_keeper", "exact_count"],
            "flow": through,
            "duplicates": {source: {"documents": copies + both, "bytes": 10 * (copies + both)} for source in sources},
            "cluster_sizes": {"2": 5, "4": 1},
        },
        "minhash": {
            "columns": ["minhash_cluster", "minhash_size", "minhash_keeper", "minhash_keep"],
            "flow": through,
            "duplicates": {},
            "cluster_sizes": {},
            "hot_buckets": 1,
            "largest_bucket": 2000,
        },
        "select": {
            "columns": ["keep", "drop_reason", "drop_mask"],
            "rules": [{"name": name, "when": when, "sources": None} for name, when in RULES.items()],
            "flow": flow(documents, left, dropped, {}),
            "bytes": {
                source: {"in": 10 * documents, "kept": 10 * left, "dropped": {k: 10 * n for k, n in dropped.items()}}
                for source in sources
            },
            "fired": {source: {"copy": copies + both, "short": short, "unused": 0} for source in sources},
            "alone": {source: {"copy": copies, "short": short - both, "unused": 0} for source in sources},
        },
    }
    if kept:
        bodies |= _outputs(sources, documents, left)
    stages = []
    for name, body in bodies.items():
        artifact = Artifact(name, str(root / f"{name}-00000000"), name.ljust(32, "0"))
        sidecar = {"shards": shards} if body["columns"] and name != "read" else {}
        artifact.commit({"config": {"stage": name}}, {**body, **sidecar})
        place = {"table": None if name == "read" else "read", "path": f"{name}-00000000"}
        stages.append({"name": name, "stage": name, **place, "fingerprint": artifact.fingerprint})
        for number in range(2):
            receipt = Receipt(f"{number:05d}", {"rows": 1}, 0.5, 0.25, 300_000_000 + number)
            write_receipt(receipts_folder(artifact.path, "phase" if number else ""), receipt)
    _quarantine(root / "read-00000000", sources)
    (root / "run.yaml").write_text("run:\n  root: <b>runs</b>\n")
    description = {
        "run": {"root": str(root), "seed": 3},
        "seed": 3,
        "config_hash": "c" * 32,
        "versions": {"curate-corpus": "0.1.0", "python": "3.11.0"},
        "host": {"name": "somewhere", "platform": "Linux", "cores": 2},
        "argv": ["curate"],
        "started": "2026-01-01T00:00:00Z",
        "stages": stages,
    }
    storage.write_json(str(root / "run.json"), description)
    return root


def _outputs(sources: Sequence[str], documents: int, left: int) -> dict[str, dict[str, Any]]:
    """Manifests of the stages after `select`: every source has the same share, and the last one falls short."""
    count = len(sources)
    plan_sources = {}
    for source in sources:
        rungs = []
        for budget in RUNGS.values():
            wanted = budget // count
            given = wanted // 2 if source == sources[-1] and budget > 1000 else wanted
            sizes = {"documents": given // 10, "copies": given // 10, "tokens": given, "bytes": 2 * given}
            realised = {"share": 1 / count, "epochs": given / 2000, "reach": {"epochs": 0, "cut": "0" * 49}}
            rungs.append({"target": given, **sizes, **realised})
        held_out = {"documents": 1, "tokens": 4, "bytes": 10}
        available = {"documents": left - 1, "tokens": 2000, "bytes": 10 * (left - 1)}
        entry = {"weight": 1 / count, "max_epochs": 1.0, "available": available, "validation": held_out}
        plan_sources[source] = entry | {"rungs": rungs}
    rungs, files = [], []
    before: dict[str, int] = {"copies": 0, "tokens": 0, "bytes": 0}
    for place, (name, budget) in enumerate(RUNGS.items()):
        keys = ("documents", "copies", "tokens", "bytes")
        sums = {key: sum(entry["rungs"][place][key] for entry in plan_sources.values()) for key in keys}
        rungs.append({"name": name, "budget": budget, **sums})
        added = {key: sums[key] - before[key] for key in before}
        path = f"train/{name}/part-00000.parquet"
        files.append({"path": path, "rows": added["copies"], "tokens": added["tokens"], "bytes": added["bytes"]})
        before = sums
    held = {"rows": 1, "tokens": 4, "bytes": 10}
    files += [{"path": f"validation/{source}/part-00000.parquet", **held} for source in sources]
    validation = {"documents": count, "tokens": 4 * count, "bytes": 10 * count}
    entry = {"in": documents, "kept": documents, "dropped": {}, "quarantined": {}}
    mixed = {"in": documents, "kept": left, "dropped": {"not_selected": documents - left}, "quarantined": {}}
    tokenizer = {"sha256": "ab" * 32, "vocab_size": 600, "trained": True, "fast": True}
    return {
        "tokens": {
            "columns": ["tokens", "kept_bytes"],
            "flow": dict.fromkeys(sources, entry),
            "sources": {source: {"documents": left, "tokens": 4 * left, "bytes": 10 * left} for source in sources},
            "tokenizer": tokenizer,
        },
        "mix": {
            "columns": ["mix_split", "mix_epochs", "mix_rung"],
            "flow": dict.fromkeys(sources, mixed),
            "plan": {"unit": "tokens", "rungs": rungs, "validation": validation, "sources": plan_sources},
        },
        "shards": {
            "columns": [],
            "flow": dict.fromkeys(sources, mixed),
            "rungs": [{**rung, "files": place + 1, "nesting": "d" * 64} for place, rung in enumerate(rungs)],
            "validation": validation,
            "files": [{**file, "sha256": "e" * 64} for file in files],
            "schema": [{"name": "id", "type": "string"}, {"name": "text", "type": "large_string"}],
            "tokenizer": {"path": "tokenizer.json", "sha256": "ab" * 32},
        },
    }


def _quarantine(folder: Path, sources: Sequence[str]) -> None:
    for number, source in enumerate(sources):
        rows = [
            {"source": source, "file": "a.jsonl", "scope": "row", "line": 10 + n, "offset": 100 * n, "detail": "SECRET"}
            for n in range(4)
        ]
        reasons = ["null_text", "null_text", "null_text", "not_json"]
        rows = [row | {"reason": reason} for row, reason in zip(rows, reasons, strict=True)]
        rows.append({**rows[0], "scope": "file", "line": None, "offset": None, "reason": "broken"})
        with ParquetWriter(f"{folder}/quarantine/{number:05d}.parquet", QUARANTINE) as writer:
            writer.write(pa.Table.from_pylist(rows, QUARANTINE))


def report_of(root: Path) -> dict[str, Any]:
    return orjson.loads((root / "report.json").read_bytes())


@pytest.fixture(scope="session")
def run_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of every stage that needs no model, over the corpus of `write_corpus`."""
    from curate.pipeline import Pipeline

    folder = tmp_path_factory.mktemp("report")
    write_corpus(folder / "data", 200)
    config = configuration(folder / "data", folder / "run", workers=0)
    del config["stages"]["langid"]
    config["stages"]["select"]["drop"]["short"] = "text_bytes < 100"
    config["stages"]["shards"]["columns"] = ["minhash_cluster"]
    Pipeline.from_mapping(config).run()
    return folder / "run"
