"""The annotator of addresses: columns by the lists that are given."""

import gzip
from pathlib import Path

import pyarrow as pa
import pytest

from curate.errors import RunError
from curate.stage import Known
from curate.stages.urls import Urls
from curate.text.batch import TextBatch

URLS = [
    "https://www.Ads.Example.co.uk/free/casino?utm_source=x",
    "http://notexample.co.uk/essex",
    "ftp://example.co.uk/",
    None,
    "http://free-ca-sino.org/free",
]


def annotate(**fields: str) -> dict[str, list]:
    stage = Urls(**fields)
    columns = pa.RecordBatch.from_arrays([pa.array(URLS)], ["url"])
    found = stage.load()(TextBatch(pa.array(["text"] * len(URLS))), columns)
    assert found.schema == stage.columns()
    return found.to_pydict()


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    lists = {
        "domains": gzip.compress(b"example.co.uk\n"),
        "words": b"sex\n# casino\n",
        "soft_words": b"Free\ncasino\n",
        "substrings": b"casino\nsex\n",
    }
    for name, data in lists.items():
        (tmp_path / name).write_bytes(data)
    return {name: str(tmp_path / name) for name in lists}


def test_columns(files: dict[str, str]) -> None:
    assert annotate(**files) == {
        "url_host": ["ads.example.co.uk", "notexample.co.uk", None, None, "free-ca-sino.org"],
        "url_domain": ["example.co.uk", "notexample.co.uk", None, None, "free-ca-sino.org"],
        "url_listed": [True, False, None, None, False],
        "url_words": [0, 0, None, None, 0],
        "url_soft_words": [2, 0, None, None, 1],
        "url_substrings": [1, 1, None, None, 0],
    }


def test_only_the_lists_that_are_given(files: dict[str, str]) -> None:
    assert list(annotate()) == ["url_host", "url_domain"]
    assert list(annotate(soft_words=files["soft_words"])) == ["url_host", "url_domain", "url_soft_words"]


def test_lists_enter_by_their_content(files: dict[str, str], tmp_path: Path) -> None:
    one = Urls(words=files["words"]).identity()
    (tmp_path / "copy").write_bytes(Path(files["words"]).read_bytes())
    assert Urls(words=str(tmp_path / "copy")).identity() == one
    (tmp_path / "copy").write_bytes(b"other")
    assert Urls(words=str(tmp_path / "copy")).identity() != one


def test_a_list_without_hosts(tmp_path: Path) -> None:
    (tmp_path / "l").write_text("not a host\nnor this\n")
    with pytest.raises(RunError, match=r"no entry of .* is a host"):
        Urls(domains=str(tmp_path / "l")).load()


@pytest.mark.parametrize(
    ("field", "data", "message"),
    [
        ("domains", "caf\u00e9 au lait\n".encode("latin-1"), "is a host"),
        ("domains", gzip.compress(b"example.org\n")[:-9], "cannot be read"),
        ("domains", b"# none\n", "is a host"),
        ("words", "caf\u00e9\n".encode("latin-1"), "is not UTF-8"),
        ("soft_words", "casino\n".encode("utf-16"), "is not UTF-8"),
        ("substrings", b"# none\n\n", "has no entry"),
    ],
)
def test_a_list_of_no_use_is_said_before_the_run(tmp_path: Path, field: str, data: bytes, message: str) -> None:
    (tmp_path / "l").write_bytes(data)
    (problem,) = Urls(**{field: str(tmp_path / "l")}).check(Known(pa.schema([]), {}, {}))
    assert problem.where == (field,)
    assert message in problem.message


def test_useful_lists_pass_the_check(files: dict[str, str], tmp_path: Path) -> None:
    nothing = Known(pa.schema([]), {}, {})
    assert list(Urls(**files).check(nothing)) == []
    (tmp_path / "l").write_bytes(b"not a host\n" * 5000 + b"caf\xe9.example\nexample.org\n")
    assert list(Urls(domains=str(tmp_path / "l")).check(nothing)) == []


def test_the_version_of_the_public_suffix_list_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    before = Urls().identity()
    assert before["packages"]["tldextract"]
    monkeypatch.setattr("curate.artifact.metadata.version", lambda _: "0")
    assert Urls().identity() != before
