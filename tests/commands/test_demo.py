import gzip
import json
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import zstandard

from curate.commands.demo import CONFIG, MAX_BYTES, MIN_BYTES, Roots, gather, this_machine

PROSE = " ".join(["It says at length what it does, so that a reader who knows nothing of it can use it at once."] * 5)
CODE = f'''"""{PROSE}"""


class Thing:
    """A thing.

    {PROSE}
    """

    def name(self):
        return "thing"
'''
LICENCE = "Permission is hereby granted to do with this what you like, as long as this notice stays. " * 5


def write(path: Path, content: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


@pytest.fixture
def roots(tmp_path: Path) -> Roots:
    """A machine in small: four modules, two licences, a manual page in two languages, and files that are not text."""
    stdlib, packages, man, doc = (tmp_path / name for name in ("lib", "lib/site-packages", "man", "doc"))
    write(stdlib / "thing.py", CODE)
    write(stdlib / "latin.py", b"# -*- coding: latin-1 -*-\n# caf\xe9\n" + CODE.encode())
    write(stdlib / "tiny.py", "x = 1\n")
    write(packages / "alpha" / "thing.py", CODE.replace("class Thing", "class Alpha"))
    write(packages / "alpha" / "_vendor" / "beta" / "core.py", CODE)
    write(packages / "beta" / "core.py", CODE)
    write(packages / "beta" / "python2.py", f'"""{PROSE}"""\nprint "hello"\n')
    write(packages / "alpha-1.0.dist-info" / "licenses" / "LICENSE", LICENCE)
    write(packages / "alpha-1.0.dist-info" / "METADATA", f"Name: alpha\n\n{PROSE}")
    write(packages / "beta-1.0.dist-info" / "licenses" / "LICENSE", LICENCE)
    write(packages / "beta-1.0.dist-info" / "RECORD", "beta/core.py,,\n" * 50)
    write(man / "man1" / "thing.1.gz", gzip.compress(f".TH THING 1\n.SH NAME\n.B thing\n\\- {PROSE}\n".encode()))
    write(man / "de" / "man1" / "thing.1.gz", gzip.compress(f".TH THING 1\n.SH NAME\n{PROSE}grün\n".encode()))
    write(man / "man1" / "broken.1.gz", b"not gzip")
    write(doc / "thing" / "copyright", LICENCE)
    (doc / "link").mkdir()
    (doc / "link" / "copyright").symlink_to(doc / "thing" / "copyright")
    return Roots(stdlib, (packages,), man, doc)


def read(out: Path) -> dict[str, dict[str, str]]:
    """Text by id of each source, read back with other means than the pipeline's readers."""
    lines = {
        "stdlib": zstandard.ZstdDecompressor().decompressobj().decompress((out / "stdlib.jsonl.zst").read_bytes()),
        "packages": gzip.decompress((out / "packages.jsonl.gz").read_bytes()),
        "manual": (out / "manual.jsonl").read_bytes(),
    }
    corpus = {}
    for source, content in lines.items():
        rows = [json.loads(line) for line in content.decode().split("\n")[:-1]]
        corpus[source] = {row["id"]: row["text"] for row in rows}
        assert len(corpus[source]) == len(rows)
    table = pq.read_table(out / "docstrings.parquet").to_pydict()
    corpus["docstrings"] = dict(zip(table["id"], table["text"], strict=True))
    corpus["notices"] = {path.name: path.read_text("utf-8") for path in (out / "notices").glob("*.txt")}
    return corpus


def test_each_source_holds_its_documents(roots: Roots, tmp_path: Path):
    out = tmp_path / "out"
    summary = gather(out, roots=roots)
    corpus = read(out)
    assert corpus["stdlib"] == {"stdlib/thing.py": CODE}
    assert set(corpus["packages"]) == {
        "packages/alpha/thing.py",
        "packages/alpha/_vendor/beta/core.py",
        "packages/beta/core.py",
        "packages/beta/python2.py",
    }
    assert set(corpus["notices"]) == {
        "notices+alpha-1.0.dist-info+METADATA.txt",
        "notices+alpha-1.0.dist-info+licenses+LICENSE.txt",
        "notices+beta-1.0.dist-info+licenses+LICENSE.txt",
    }
    documented = corpus["docstrings"]["packages/beta/core.py"]
    assert documented == f"beta.core\n\n{PROSE}\n\nbeta.core.Thing\n\nA thing.\n\n{PROSE}"
    row = next(row for row in pq.read_table(out / "docstrings.parquet").to_pylist() if row["module"] == "beta.core")
    assert (row["id"], row["url"], row["package"]) == ("packages/beta/core.py", "file:packages/beta/core.py", "beta")
    manual = corpus["manual"]
    assert manual["man/man1/thing.1.gz"] == f"THING 1\n\nNAME\nthing\n- {PROSE}\n"
    assert "grün" in manual["man/de/man1/thing.1.gz"]
    assert manual["doc/thing/copyright"] == LICENCE
    assert "doc/link/copyright" not in manual
    assert "topics/while" in manual
    for source, texts in corpus.items():
        assert summary[source].documents == len(texts)
        assert summary[source].text_bytes == sum(len(text.encode()) for text in texts.values())


def test_what_is_not_text_is_counted(roots: Roots, tmp_path: Path):
    skipped = {source: gathered.skipped for source, gathered in gather(tmp_path / "out", roots=roots).items()}
    assert skipped == {"stdlib": 1, "packages": 0, "docstrings": 1, "notices": 0, "manual": 1}


def test_a_second_call_gives_the_same_bytes_and_leaves_nothing_old(roots: Roots, tmp_path: Path):
    out = tmp_path / "out"
    gather(out, roots=roots)
    files = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    write(out / "notices" / "notices+gone-0.9.dist-info+LICENSE.txt", LICENCE)
    gather(out, roots=roots)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == files


def test_copies_are_cut_off_together_or_not_at_all(tmp_path: Path):
    packages = tmp_path / "packages"
    for name in ("aardvark", "middle", "zebra"):
        for number in range(20):
            write(packages / name / f"module{number}.py", f"{CODE}\n# of {name}\n")
    none = tmp_path / "none"
    gather(tmp_path / "out", limit_bytes=31 * len(CODE), roots=Roots(none, (packages,), man=none, doc=none))
    ids = list(read(tmp_path / "out")["packages"])
    kept = [[key for key in ids if key.endswith(f"/module{number}.py")] for number in range(20)]
    assert 27 <= len(ids) <= 30
    assert sum(len(copies) in (1, 2) for copies in kept) <= 1  # only where the limit falls


def test_this_machine_has_text_for_every_source_within_the_limit(tmp_path: Path):
    limit = 450_000
    none = tmp_path / "none"
    summary = gather(tmp_path, limit, replace(this_machine(), man=none, doc=none))
    corpus = read(tmp_path)
    for source, gathered in summary.items():
        sizes = [len(text.encode()) for text in corpus[source].values()]
        assert limit - MAX_BYTES <= gathered.text_bytes <= limit
        assert min(sizes) >= MIN_BYTES
        assert max(sizes) <= MAX_BYTES


def test_the_recipe_is_there():
    assert CONFIG.is_file()
