"""Patterns to files: names, order, formats, and nothing left out in silence."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from curate.errors import RunError
from curate.io.files import FileListing, list_files
from curate.io.pieces import plan_units
from curate.io.records import Fields
from curate.io.streams import BrokenFileError, opened


def fill(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b'{"text": "a"}\n')


def names(listing: FileListing) -> list[str]:
    return [file.name for file in listing.files]


def bad(listing: FileListing) -> list[tuple[str, str]]:
    return [(file.name, file.reason) for file in listing.bad]


def test_folders_globs_and_files(tmp_path: Path) -> None:
    fill(tmp_path, "b/2.jsonl", "b/1.jsonl.gz", "a/x.ndjson", "a/deep/er/y.json.zst", "top.jsonl")
    everything = ["a/deep/er/y.json.zst", "a/x.ndjson", "b/1.jsonl.gz", "b/2.jsonl", "top.jsonl"]
    for pattern in ("", "/", "/*", "/**", "/../" + tmp_path.name):
        assert names(list_files([f"{tmp_path}{pattern}"])) == everything, pattern
    assert names(list_files([f"file://{tmp_path}"])) == everything
    assert names(list_files([f"{tmp_path}/**/*.json*"])) == [name for name in everything if "ndjson" not in name]
    assert names(list_files([f"{tmp_path}/b/*.jsonl*"])) == ["1.jsonl.gz", "2.jsonl"]
    assert names(list_files([f"{tmp_path}/?/[12].jsonl"])) == ["b/2.jsonl"]
    assert names(list_files([f"{tmp_path}/b/2.jsonl"])) == ["2.jsonl"]
    assert names(list_files([f"{tmp_path}/b", f"{tmp_path}/a/x.ndjson", f"{tmp_path}/b/*"])) == [
        "a/x.ndjson",
        "b/1.jsonl.gz",
        "b/2.jsonl",
    ]


def test_names_and_identity_do_not_depend_on_the_place(tmp_path: Path) -> None:
    fill(tmp_path / "one", "corpus/a.jsonl", "corpus/b/c.jsonl")
    shutil.copytree(tmp_path / "one", tmp_path / "two" / "far")
    before = list_files([f"{tmp_path}/one/corpus/*"])
    after = list_files([f"{tmp_path}/two/far/corpus/*"])
    assert names(before) == names(after) == ["a.jsonl", "b/c.jsonl"]
    assert before.identity() == after.identity()
    (tmp_path / "two/far/corpus/a.jsonl").write_bytes(b'{"text": "b"}\n')
    assert list_files([f"{tmp_path}/two/far/corpus/*"]).identity() != before.identity()


def test_a_literal_name_with_wildcard_characters(tmp_path: Path) -> None:
    fill(tmp_path, "part[1].jsonl", "part1.jsonl")
    assert names(list_files([f"{tmp_path}/part[1].jsonl"])) == ["part[1].jsonl"]
    (tmp_path / "part[1].jsonl").unlink()
    assert names(list_files([f"{tmp_path}/part[1].jsonl"])) == ["part1.jsonl"]


def test_a_name_that_is_not_utf8(tmp_path: Path) -> None:
    with open(os.path.join(os.fsencode(tmp_path), b"caf\xe9.jsonl"), "wb") as file:
        file.write(b'{"text": "a"}\n')
    listing = list_files([str(tmp_path)])
    assert names(listing) == ["caf\\xe9.jsonl"]
    listing.identity()
    with opened(listing.files[0]) as handle:
        assert handle.read() == b'{"text": "a"}\n'


def test_formats(tmp_path: Path) -> None:
    fill(
        tmp_path,
        "a.jsonl",
        "b.PARQUET",
        "c.txt.zst",
        "d.md",
        "e.parquet.gz",
        "f.gz",
        "_SUCCESS",
        ".hidden.jsonl",
        ".git/x.txt",
    )
    listing = list_files([str(tmp_path)])
    assert [(f.name, f.format, f.compression) for f in listing.files] == [
        ("a.jsonl", "jsonl", ""),
        ("b.PARQUET", "parquet", ""),
        ("c.txt.zst", "text", "zstd"),
    ]
    assert listing.ignored == (".git/x.txt", ".hidden.jsonl", "_SUCCESS", "d.md", "e.parquet.gz", "f.gz")
    as_text = list_files([str(tmp_path)], "text")
    assert {file.format for file in as_text.files} == {"text"}
    assert as_text.ignored == (".git/x.txt", ".hidden.jsonl", "_SUCCESS")
    assert list_files([f"{tmp_path}/*.md"]).unknown == ("d.md",)
    assert list_files([f"{tmp_path}/d.md"]).unknown == ("d.md",)
    mixed = list_files([f"{tmp_path}/[a-d].*"])
    assert (mixed.unknown, mixed.ignored) == ((), ("d.md",))


def test_what_cannot_be_read_is_listed_with_a_reason(tmp_path: Path) -> None:
    fill(tmp_path, "a.jsonl", "folder.jsonl/inside.jsonl", "plain/b.jsonl")
    (tmp_path / "empty.jsonl").touch()
    (tmp_path / "broken.jsonl").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe.jsonl")
    listing = list_files([f"{tmp_path}/*"])
    assert names(listing) == ["a.jsonl", "plain/b.jsonl"]
    assert bad(listing) == [
        ("broken.jsonl", "unreadable"),
        ("empty.jsonl", "empty_file"),
        ("folder.jsonl", "is_a_directory"),
        ("pipe.jsonl", "unreadable"),
    ]
    # In a folder that is read whole, a directory is a directory, whatever its name.
    assert names(list_files([str(tmp_path)])) == ["a.jsonl", "folder.jsonl/inside.jsonl", "plain/b.jsonl"]


def test_links_to_files_are_followed_and_links_to_folders_reported(tmp_path: Path) -> None:
    fill(tmp_path, "blobs/abc", "data/real.jsonl")
    (tmp_path / "blobs/abc").write_bytes(b'{"text": "a longer text"}\n')
    (tmp_path / "data/link.jsonl").symlink_to("../blobs/abc")
    (tmp_path / "data/round").symlink_to(".")
    listing = list_files([f"{tmp_path}/data"])
    assert [(f.name, f.size) for f in listing.files] == [("link.jsonl", 26), ("real.jsonl", 14)]
    assert listing.ignored == ("round",)
    (tmp_path / "entry").symlink_to("data")
    assert names(list_files([f"{tmp_path}/entry"])) == ["link.jsonl", "real.jsonl"]


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that any user may enter, unlike pytest's own."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def unprivileged() -> Iterator[None]:
    """Root may read everything: be nobody for a while."""
    if os.geteuid() != 0:
        yield
        return
    os.setresuid(65534, 65534, 0)
    yield
    os.setresuid(0, 0, 0)


def test_no_permission(open_folder: Path, request: pytest.FixtureRequest) -> None:
    fill(open_folder, "a.jsonl", "secret.jsonl", "closed/b.jsonl", "open/c.jsonl")
    listed_before = list_files([str(open_folder)])
    (open_folder / "secret.jsonl").chmod(0)
    (open_folder / "closed").chmod(0)
    request.getfixturevalue("unprivileged")
    listing = list_files([str(open_folder)])
    assert names(listing) == ["a.jsonl", "open/c.jsonl"]
    assert bad(listing) == [("closed", "unreadable"), ("secret.jsonl", "unreadable")]
    assert "no permission" in list_files([f"{open_folder}/closed/*.jsonl"]).unmatched[0][1]
    # What was readable when it was listed may not be so when it is read.
    secret = next(file for file in listed_before.files if file.name == "secret.jsonl")
    with pytest.raises(BrokenFileError) as error, opened(secret):
        pass
    assert (error.value.reason, error.value.detail) == ("unreadable", "Permission denied")


def test_a_file_that_changes_stops_the_run(tmp_path: Path) -> None:
    fill(tmp_path, "a.jsonl")
    (file,) = list_files([str(tmp_path)]).files
    (tmp_path / "a.jsonl").write_bytes(b"longer than before\n")
    with (
        pytest.raises(RunError, match="changed during the run: it had 14 bytes when it was listed and has 19 now"),
        opened(file),
    ):
        pass
    (tmp_path / "a.jsonl").unlink()
    with pytest.raises(BrokenFileError), opened(file):
        pass


@pytest.mark.parametrize(
    ("pattern", "hint"),
    [
        ("corpsu/*.jsonl", "did you mean 'corpus'?"),
        ("corpus/b.jsonl", "did you mean 'a.jsonl'?"),
        ("corpus/*.parquet", "contains a.jsonl"),
        ("nothing-like-it.jsonl", "contains corpus, many0, many1, many2, many3 and 2 more"),
        ("void/*", "is empty"),
    ],
)
def test_a_pattern_that_matches_nothing(tmp_path: Path, pattern: str, hint: str) -> None:
    fill(tmp_path, "corpus/a.jsonl")
    (tmp_path / "void").mkdir()
    for number in range(5):
        (tmp_path / f"many{number}").mkdir()
    ((unmatched, message),) = list_files([f"{tmp_path}/{pattern}"]).unmatched
    assert unmatched == f"{tmp_path}/{pattern}"
    assert hint in message


def test_an_unknown_protocol(tmp_path: Path) -> None:
    ((_, message),) = list_files(["nosuch://bucket/*.jsonl"]).unmatched
    assert "nosuch" in message


def test_memory_file_system(request: pytest.FixtureRequest) -> None:
    root = f"/{request.node.name}"
    fs = fsspec.filesystem("memory")
    fs.pipe(
        {f"{root}/a/1.jsonl": b"{}", f"{root}/a/b/2.jsonl": b"{}", f"{root}/a/empty.txt": b"", f"{root}/a/z.bin": b"1"}
    )
    for pattern in (f"memory:/{root}/a", f"memory:/{root}/a/*", f"memory:/{root}/a/**"):
        listing = list_files([pattern])
        assert names(listing) == ["1.jsonl", "b/2.jsonl"]
        assert bad(listing) == [("empty.txt", "empty_file")]
        assert listing.ignored == ("z.bin",)
    first = listing.files[0]
    assert first.version
    with opened(first) as handle:
        assert handle.read() == b"{}"
    assert "did you mean 'a'" in list_files([f"memory:/{root}/aa/*.jsonl"]).unmatched[0][1]


def test_units_depend_on_names_and_sizes_alone(tmp_path: Path) -> None:
    for name, size in {"a": 10, "b": 95, "c": 301, "d": 5, "e": 80}.items():
        (tmp_path / f"{name}.jsonl").write_bytes(b"x" * size)
    (tmp_path / "f.jsonl.gz").write_bytes(b"x" * 200)
    units = plan_units("s", list_files([str(tmp_path)]).files, Fields().text, 100)
    assert [[(p.file.name[0], p.start, p.end) for p in unit.pieces] for unit in units] == [
        [("a", 0, None)],
        [("b", 0, None)],
        [("c", 0, 75)],
        [("c", 75, 150)],
        [("c", 150, 225)],
        [("c", 225, 301), ("d", 0, None)],
        [("e", 0, None)],
        [("f", 0, None)],
    ]
