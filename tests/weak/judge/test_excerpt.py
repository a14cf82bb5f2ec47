"""Excerpts are pieces of the text, in its order, no longer than allowed, with marks exactly where text is missing."""

from hypothesis import given
from hypothesis import strategies as st

from curate.weak.judge.excerpt import GAP, VIEWS, View, excerpt

WORDS = st.lists(st.text("abcdefé語", min_size=1, max_size=12), max_size=400)
SPACES = st.sampled_from([" ", "\n", "  ", "\t"])


@given(WORDS, SPACES, st.integers(200, 2000), st.sampled_from(VIEWS))
def test_pieces(words: list[str], space: str, most: int, view: View) -> None:
    text = space.join(words)
    shown = excerpt(text, most, view)
    if len(text) <= most:
        assert shown == text
        return
    parts = shown.split(GAP)
    pieces = [part.strip() for part in parts if part.strip()]
    assert len(pieces) == (3 if view == "spread" else 1)
    assert most / 3 < sum(map(len, pieces)) <= most
    place = 0
    for piece in pieces:
        place = text.index(piece, place) + len(piece)
        assert set(piece.split()) <= set(words)  # no word is cut
    assert text.startswith(pieces[0]) == (parts[0] != "")
    assert text.endswith(pieces[-1]) == (parts[-1] != "")
    assert (parts[0] == "", parts[-1] == "") == (view in ("middle", "tail"), view in ("head", "middle"))


def test_one_long_word_is_cut_where_it_must() -> None:
    assert excerpt("x" * 1000, 300, "head") == "x" * 300 + f"\n{GAP}"
    assert excerpt("x" * 1000, 300, "spread") == f"\n{GAP}\n".join(["x" * 100] * 3)


def test_the_limit_from_both_sides() -> None:
    assert GAP not in excerpt("word " * 20, 100, "middle")
    assert GAP in excerpt("word " * 20 + "x", 100, "middle")
