"""Repairs against ftfy on every line: what the scan passes over, ftfy would not have changed."""

import re
import unicodedata
from itertools import pairwise
from pathlib import Path

import ftfy
import numpy as np
import orjson
import pytest
import zstandard
from ftfy.badness import BADNESS_RE, MOJIBAKE_CATEGORIES
from ftfy.fixes import unescape_html
from hypothesis import example, given
from hypothesis import strategies as st

from curate.cleaning.repair import ENTITY, MOJIBAKE, repair, suspects
from curate.text import spans
from tests.examples import examples

CATEGORIES = [re.compile(f"[{members}]") for members in MOJIBAKE_CATEGORIES.values()]
ALPHABET = [chr(code) for code in range(0x80, 0x10000) if any(of.match(chr(code)) for of in CATEGORIES)]


def batch(texts: list[str]):
    encoded = [text.encode() for text in texts]
    return np.frombuffer(b"".join(encoded), np.uint8), np.cumsum([0, *map(len, encoded)])


def repaired(texts: list[str], entities: str = "auto", *, mojibake: bool = True, stripped: bool = False) -> list[str]:
    data, offsets = batch(texts)
    found = repair(data, offsets, mojibake=mojibake, entities=entities, stripped=stripped)
    data, offsets = spans.replace(data, offsets, found.edits)
    return [data[a:b].tobytes().decode() for a, b in pairwise(offsets)]


def one_pass(text: str, *, unescape: bool) -> str:
    """Each line until it no longer changes; a line feed that an entity makes is part of its line."""
    out = []
    for line in re.findall(r"[^\n]*\n|[^\n]+", text):
        while True:
            before = line
            line = ftfy.fix_encoding(unescape_html(line) if unescape else line)
            line = unicodedata.normalize("NFC", line)
            if line == before:
                break
        out.append(line)
    return "".join(out)


def test_no_pair_that_ftfy_calls_bad_is_passed_over() -> None:
    for around in ("a{}a", " {} ", "{}\x7f"):
        lines = [around.format(left + right) for left in ALPHABET for right in ALPHABET]
        data, offsets = batch(lines)
        found = np.zeros(len(lines), np.bool_)
        found[suspects(data, offsets)[0].documents] = True
        bad = np.array([BADNESS_RE.search(line) is not None for line in lines])
        assert 1000 < bad.sum() < found.sum() < len(lines) / 2
        assert not (bad & ~found).any()


PIECES = st.one_of(
    st.sampled_from(ALPHABET),
    st.sampled_from([*"aZ \n'“”€éèœŒÂÃ", "&amp;", "&lt;", "&#233;", "&nbsp;", "&nope;", "&Atilde;&copy;", "Ã©", "â€™"]),
    st.text(max_size=4),
)


@examples(300)
@given(st.lists(PIECES, max_size=12).map("".join))
@example("voilÃ le travail")
@example("&lt;b&gt; &amp;amp;quot;")
@example("œ\nÃ ")
def test_is_what_ftfy_makes_of_each_line(text: str) -> None:
    text = unicodedata.normalize("NFC", text)
    for entities, unescape in (("auto", "<" not in text), ("always", True), ("off", False)):
        once = repaired([text], entities)[0]
        assert once == one_pass(text, unescape=unescape)


@pytest.mark.parametrize("corpus", ["acl_papers", "langid_sentences", "nltk_webtext"])
def test_skipping_lines_changes_nothing_on_real_documents(shared_data: Path, corpus: str) -> None:
    with zstandard.open(shared_data / f"{corpus}.jsonl.zst", "rb") as file:
        lines = file.read(3_000_000).splitlines()[:-1]
    texts = [unicodedata.normalize("NFC", orjson.loads(line)["text"]) for line in lines]
    texts = sorted(texts, key=str.isascii)[:4000] if corpus == "langid_sentences" else texts[:40]
    fixed = repaired(texts)
    assert fixed == [one_pass(text, unescape="<" not in text) for text in texts]
    if corpus != "nltk_webtext":
        assert fixed != texts


def test_only_documents_without_markup_lose_entities() -> None:
    texts = ["a &lt; b", "<p>a &lt; b", "Ã© <p>"]
    assert repaired(texts) == ["a < b", "<p>a &lt; b", "é <p>"]
    assert repaired(texts, "always") == ["a < b", "<p>a < b", "é <p>"]
    assert repaired(texts, "off") == ["a &lt; b", "<p>a &lt; b", "é <p>"]
    assert repaired(texts, "off", mojibake=False) == texts


def test_entities_without_their_ampersand_are_undone_if_they_are_marks() -> None:
    texts = ["it#39;s quot;sogt; #36;5 #151; lt;bgt;", "#65; #12; C#39; &#39; a#1234567; #39 quot"]
    assert repaired(texts) == [texts[0], texts[1].replace("&#39;", "'")]
    assert repaired(texts, stripped=True)[0] == 'it#39;s "so> $5 — <bgt;'.replace("so>", "sogt;")
    assert repaired(texts, stripped=True)[1] == "#65; #12; C#39; ' a#1234567; #39 quot"


def test_quotes_ligatures_width_and_line_ends_stay() -> None:
    texts = ["“curly” ‘quotes’ ﬁne ｗｉｄｅ ﾊﾝｶｸ\r\nend\u2028", "naïve café — “œuvre”"]
    assert repaired(texts) == texts


def test_counts_say_what_was_repaired() -> None:
    data, offsets = batch(["Ã© and Ã¨\n&amp; &nope; &gt;\nplain", "plain"])
    found = repair(data, offsets, mojibake=True, entities="auto")
    assert found.documents.tolist() == [0, 0]
    assert found.places.tolist() == [[1, 0], [0, 2]]
    assert found.sizes.tolist() == [[len("Ã© and Ã¨".encode()), 0], [0, len("&amp;&gt;")]]
    lines, _ = suspects(data, offsets)
    assert (lines.kinds & (MOJIBAKE | ENTITY)).tolist() == [MOJIBAKE, ENTITY]
