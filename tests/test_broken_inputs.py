"""Broken inputs lose nothing silently: each is in quarantine with its place and reason, or stops the run with both."""

import gzip
import json
import os
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from curate import Pipeline
from tests.runs import curate, write_config

GOOD = 12


def row(number: int, name: str) -> bytes:
    return json.dumps({"id": f"{name}-{number}", "text": f"A good document, number {number} of {name}."}).encode()


def good(name: str) -> list[bytes]:
    return [row(number, name) for number in range(GOOD)]


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """One file per way of being broken; most hold good rows too."""
    folder = tmp_path / "in"
    folder.mkdir()
    lines = b"\n".join(good("gz") * 50)
    (folder / "truncated.jsonl.gz").write_bytes(gzip.compress(lines)[:-40])
    (folder / "truncated.jsonl.zst").write_bytes(zstandard.compress(b"\n".join(good("zst") * 50))[:-20])
    (folder / "not_gzip.jsonl.gz").write_bytes(b"this is no gzip file")
    (folder / "utf8.jsonl").write_bytes(b"\n".join([*good("utf8"), b'{"text": "caf\xe9"}', row(99, "utf8")]))
    (folder / "nul.jsonl").write_bytes(b"\n".join([*good("nul"), b'{"text": "a\\u0000b"}', b'{"text": "a\0b"}']))
    (folder / "long.jsonl").write_bytes(
        b"\n".join([*good("long"), b'{"text": "' + b"word " * 10_000_000 + b'"}', row(99, "long")])
    )
    (folder / "deep.jsonl").write_bytes(
        b"\n".join([*good("deep"), b'{"text": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"])
    )
    wrong = [
        b'{"text": null}',
        b'{"text": 7}',
        b'{"text": ["a"]}',
        b'{"text": "  "}',
        b'{"body": "x"}',
        b"[1]",
        b"{cut",
    ]
    (folder / "wrong.jsonl").write_bytes(b"\n".join([*good("wrong"), *wrong]))
    (folder / "empty.jsonl").write_bytes(b"")
    (folder / "folder.jsonl").mkdir()
    (folder / "secret.jsonl").write_bytes(row(0, "secret"))
    (folder / "noise.parquet").write_bytes(b"PAR1 no parquet PAR1")
    pq.write_table(pa.table({"text": ["fine", None, ""]}), folder / "rows.parquet")
    return folder


def configuration(folder: Path, root: Path, **read: object) -> dict[str, object]:
    return {
        "run": {"root": str(root)},
        "engine": {"workers": 1},
        "stages": {"read": {"sources": {"in": {"path": f"{folder}/*"}}, **read}, "select": {}},
    }


def test_everything_is_accounted_for(broken: Path, tmp_path: Path) -> None:
    root = tmp_path / "run"
    config = write_config(tmp_path / "config.yaml", configuration(broken, root, max_bad_rows=1, max_bad_files=1))
    finished = curate("run", config)
    assert finished.returncode == 0, finished.stderr
    (artifact,) = root.glob("read-*")
    found = pa.concat_tables([pq.read_table(path) for path in artifact.glob("quarantine/*.parquet")]).to_pylist()
    reasons: dict[str, list[str]] = {}
    for entry in found:
        reasons.setdefault(entry["file"], []).append(entry["reason"])
        assert entry["scope"] == "file" or entry["line"] is not None or entry["offset"] is not None
    assert reasons["truncated.jsonl.gz"] == ["truncated"]
    assert reasons["truncated.jsonl.zst"] == ["truncated"]
    assert len(reasons["not_gzip.jsonl.gz"]) == 1
    assert reasons["utf8.jsonl"] == ["invalid_utf8"]
    assert sorted(reasons["nul.jsonl"]) == ["malformed_json", "nul_character"]
    assert len(reasons["long.jsonl"]) == 1
    assert reasons["deep.jsonl"] == ["malformed_json"]
    assert len(reasons["wrong.jsonl"]) == 7
    assert reasons["empty.jsonl"] == ["empty_file"]
    assert len(reasons["noise.parquet"]) == 1
    assert len(reasons["rows.parquet"]) == 2
    manifest = json.loads((artifact / "_manifest.json").read_text())
    flow = manifest["flow"]["in"]
    assert flow["in"] == flow["kept"] + sum(flow["quarantined"].values())
    kept = pq.read_table([str(path) for path in artifact.glob("part-*.parquet")])
    assert kept.num_rows == flow["kept"]
    texts = kept["text"].to_pylist()
    for name in ("utf8", "nul", "long", "deep", "wrong"):
        assert sum(f"of {name}." in text for text in texts) == GOOD + (name in {"utf8", "long"}), name


def test_by_default_it_stops_and_says_what_is_wrong(broken: Path, tmp_path: Path) -> None:
    config = write_config(tmp_path / "config.yaml", configuration(broken, tmp_path / "run"))
    finished = curate("run", config)
    assert finished.returncode == 1
    assert "Traceback" not in finished.stderr
    for part in ("max_bad_files", "truncated", "truncated.jsonl.", "quarantine"):
        assert part in finished.stderr, finished.stderr


def test_a_file_that_may_not_be_read() -> None:
    """Root reads everything, so here the run acts as another user; a first run has loaded all modules by then."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place, "in")
        folder.mkdir()
        for path in (Path(place), folder):
            path.chmod(0o777)
        for name in ("secret", "open"):
            (folder / f"{name}.jsonl").write_bytes(b"\n".join(good(name)))
        settings = configuration(folder, Path(place, "first"))
        settings["engine"] = {"workers": 0}
        Pipeline.from_mapping(settings).run()
        (folder / "secret.jsonl").chmod(0)
        root = Path(place, "second")
        user = os.geteuid()
        os.seteuid(65534 if user == 0 else user)
        try:
            Pipeline.from_mapping({**settings, "run": {"root": str(root)}}).run()
        finally:
            os.seteuid(user)
        (artifact,) = root.glob("read-*")
        found = pa.concat_tables([pq.read_table(path) for path in artifact.glob("quarantine/*.parquet")]).to_pylist()
        assert [(entry["file"], entry["reason"]) for entry in found] == [("secret.jsonl", "unreadable")]
        assert json.loads((artifact / "_manifest.json").read_text())["flow"]["in"]["kept"] == GOOD
