"""Gopher and C4 statistics against a plain reading of their definitions, on made-up and on real documents."""

import io
import json
import math
from pathlib import Path

import pyarrow as pa
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from curate.signals import measure as signals
from curate.signals.measure import Limits
from curate.signals.stopwords import ENGLISH_STOP_WORDS
from curate.stages.heuristics import COLUMNS, COUNTS
from curate.text.batch import TextBatch
from curate.text.wordlists import compile_list
from tests.examples import examples
from tests.signals.definitions import DEFAULT, reference


def measure(texts: list[str], limits: Limits = DEFAULT) -> list[dict[str, float]]:
    stop_words = compile_list(ENGLISH_STOP_WORDS)
    columns = signals.measure(TextBatch(pa.array(texts, pa.large_string())), limits, stop_words)
    return [{name: values[i].item() for name, values in columns.items()} for i in range(len(texts))]


def of(text: str) -> dict[str, float]:
    return measure([text])[0]


def differences(found: dict[str, float], expected: dict[str, float]) -> dict[str, tuple]:
    """What is found and what is expected where they differ."""
    names = [
        name for name in found.keys() | expected.keys() if not same({name: found.get(name)}, {name: expected.get(name)})
    ]
    return {name: (found.get(name), expected.get(name)) for name in names}


def same(found: dict[str, float], expected: dict[str, float]) -> bool:
    return found.keys() == expected.keys() and all(
        found[name] == value
        or (math.isnan(found[name]) and math.isnan(value))
        # Means over lines are sums of rounded numbers.
        or (name.startswith("rps_line_") and math.isclose(found[name], value, rel_tol=1e-12))
        for name, value in expected.items()
    )


LATIN = ["the", "The,", "“to", "BE)", "of", "and-that", "have.", "with", "thé", "the\u0301", "d'accord", "U.S.", "3.14"]
CHINESE = ["你好", "世界。", "「再见！」", "２０２４年", "漢字かな交じり", "ー", "…", "……", "，"]
ARABIC = ["مرحبا", "بالعالم؟", "نعم۔", "كيف", "٤٢", "لا\u200cشيء"]
HINDI = ["नमस्ते", "दुनिया।", "क\u094d\u200dष", "४२", "॥"]
OTHER_SCRIPTS = ["ภาษาไทย", "น้ำ", "한국어", "ελληνικά", "ሰላም።", "😀", "🇩🇪", "𝕏", "\U00020000"]
CODE = ["if (x) {", "return;", "}", "#include", "##", "a[0]", "/* */", "x += 1", "{{", "https://example.com/a.b"]
MARKS = [
    "...",
    "..",
    ".",
    "…",
    "….",
    ". . .",
    "!",
    "?!",
    '"',
    "”",
    "’",
    "»",
    ".)",
    "-",
    "--",
    "*",
    "+",
    "–",
    "•",
    "▪x",
    "·",
]
SPACES = [" ", " ", "  ", "\t", "\n", "\n\n", "\r\n", "\r", "\u00a0", "\u3000", "\u2028", "\x0c", "\x1f", "\x85"]
INVISIBLE = ["\ufeff", "\u200b", "\u200d", "\u00ad", "\x01", "\x7f", "\ue000", "\U000f0000"]
PHRASES = [
    "items in cart",
    "Sign-in",
    "Read more...",
    "1,024",
    "3.5K likes",
    "2 followers!",
    "7 tweets",
    "[edit]",
    "[12]",
    "[citation needed]",
    "[citation ",
    "http://example.com/a(b)?c=d",
    "(HTTPS://x.org)",
    "ftp://x",
    "http:/",
    "⟨x⟩",
    "JavaScript",
    "lorem ipsum",
    "Lorem",
    "terms of use",
    " uses",
    " cooKies",
    "use coo\u212aies",
    "privacy policy",
]
LINES = ["to be or not to be", "to be", "x.", "", "", "你好", "YES NO", "Sign-in here", "9 likes"]
FRAGMENTS = [*LATIN, *CHINESE, *ARABIC, *HINDI, *OTHER_SCRIPTS, *CODE, *MARKS, *SPACES * 2, *INVISIBLE, *PHRASES]

documents = st.one_of(
    st.lists(st.sampled_from(["a", "B", "é", "你", "\n", "\n\n"]), max_size=60).map(" ".join),
    st.lists(st.sampled_from(["to be or not to be", "to be", "x.", "", "", "你好", "YES NO"]), max_size=20).map(
        "\n".join
    ),
    st.lists(st.sampled_from(FRAGMENTS), max_size=40).map("".join),
    st.lists(st.sampled_from([*LATIN, *MARKS, *PHRASES, "\n"]), max_size=40).map(" ".join),
    st.text(st.characters(codec="utf-8", max_codepoint=0x2FFFF), max_size=40),
)


limits = st.builds(
    Limits,
    st.integers(1, 6),
    st.integers(1, 12),
    st.integers(1, 40),
    st.integers(1, 40),
    st.sampled_from([0.0, 0.5, 1.0]),
)


@given(st.lists(documents, max_size=4), limits)
@examples(400)
def test_agrees_with_the_definitions(texts: list[str], limits: Limits) -> None:
    found = measure(texts, limits)
    for text, row in zip(texts, found, strict=True):
        assert differences(row, reference(text, limits)) == {}, text


def read(path: Path, limit: int) -> list[str]:
    """The first documents of a corpus, as far as 4,000 characters each."""
    with io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(path.open("rb")), "utf-8") as rows:
        return [json.loads(row)["text"][:4000] for row, _ in zip(rows, range(limit), strict=False)]


@pytest.mark.parametrize(
    "corpus",
    ["wikipedia_en", "wikipedia_zh", "python_peps", "german_law", "code_functions", "langid_sentences", "nltk_webtext"],
)
def test_agrees_with_the_definitions_on_real_documents(shared_data: Path, corpus: str) -> None:
    texts = read(shared_data / f"{corpus}.jsonl.zst", limit=60)
    assert len(texts) == 60
    for text, row in zip(texts, measure(texts), strict=True):
        assert differences(row, reference(text)) == {}, text


def test_documents_do_not_reach_into_each_other() -> None:
    texts = ["It ends in terms of", " use of", "", "java", "script\n", "\n", "lorem", " ipsum", "…", ".", ".", "."]
    assert all(same(row, of(text)) for text, row in zip(texts, measure(texts), strict=True))
    assert not any(row["c4_policy_lines"] or row["c4_javascript_lines"] for row in measure(texts))


def test_no_documents() -> None:
    assert measure([]) == []


@pytest.mark.parametrize("text", ["", " \n\t\r\n", "\ufeff", "\u200b\n\x01"])
def test_a_document_without_words_has_counts_of_zero_and_no_ratios(text: str) -> None:
    row = of(text)
    undefined = {name for name, value in row.items() if math.isnan(value)}
    of_characters = {name for name in row if name.startswith("nemo_")} - {"nemo_boilerplate_paragraphs"}
    of_characters.add("rps_curly_brackets")
    whole = {*COUNTS, "c4_lorem_ipsum"} | (of_characters if text else set())
    assert undefined == set(COLUMNS) - whole
    assert not any(value for name, value in row.items() if name not in undefined | of_characters)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Don't stop — it's 5 o'clock", 5),  # the dash is no word with a letter or digit
        ("你好，世界。", 4),
        ("Python语言3.11", 4),
        ("ภาษา", 4),
        ("한국어 문장", 2),
        ("to\u00a0be", 2),
        ("\u200bto\u200bbe", 1),
    ],
)
def test_words(text: str, words: int) -> None:
    assert of(text)["gopher_words"] == words


@pytest.mark.parametrize(
    ("text", "distinct"),
    [
        ("The the THE (the) 'the'", 1),
        ("the be to of and that have with", 8),
        ("To be, or not to be: that is the question", 4),
        ("the-be to/of thé theme", 0),
        ("“With” that… and “have", 4),
        ("th\u00ade be1 1be", 0),
        ("<the> +of+ `and` $that", 4),
    ],
)
def test_stop_words_are_counted_once_each(text: str, distinct: int) -> None:
    assert of(text)["gopher_stop_words"] == distinct


@pytest.mark.parametrize(
    ("line", "terminal"),
    [
        ("One ends here.", True),
        ("Does it?", True),
        ("Yes!", True),
        ('"Quoted"', True),
        ("“Quoted”", True),
        ("终于。", True),
        ("समाप्त।", True),
        ("Goes on...", False),
        ("Goes on…", False),
        ("Goes on....", False),
        ("Two dots..", True),
        ("(In brackets.)", False),
        ("the dogs’", False),
        ("A heading", False),
        ("Trailing space. \u200b\t", True),
    ],
)
def test_terminal_lines(line: str, terminal: bool) -> None:
    assert of(line)["c4_terminal_lines"] == terminal


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("One. Two! Three?", 3),
        ("One. Two and no end", 2),
        ("A heading\nOne.", 2),
        ('He said "no." She (too!) left.', 3),
        ("Version 3.11 of example.com", 1),
        ("你好。再见！好", 3),
        ("Mr. Smith", 2),  # no dictionary of abbreviations
    ],
)
def test_sentences(text: str, sentences: int) -> None:
    assert of(text)["c4_sentences"] == sentences


@pytest.mark.parametrize(
    ("line", "bullet"),
    [
        ("• item", True),
        ("•item", True),
        ("- item", True),
        ("  * item", True),
        ("\ufeff- item", True),
        ("-5 degrees", False),
        ("**bold**", False),
        ("--", False),
        ("item - not", False),
    ],
)
def test_bullets(line: str, bullet: bool) -> None:
    assert of(line)["gopher_bullet_lines"] == bullet


# Each threshold of the papers: the rule, a document that it drops, a neighbour that it keeps.


@pytest.mark.parametrize(
    ("drops", "dropped", "kept"),
    [
        (lambda row: row["gopher_words"] < 50, "word " * 49, "word " * 50),
        (lambda row: row["gopher_words"] > 100_000, "word " * 100_001, "word " * 100_000),
        (lambda row: row["gopher_mean_word_length"] < 3, "abc ab", "abc abc"),
        (lambda row: row["gopher_mean_word_length"] > 10, "a" * 10 + " " + "a" * 11, "a" * 10 + " " + "a" * 10),
        (lambda row: row["gopher_hash_ratio"] > 0.1, "#" + "word " * 9, "#" + "word " * 10),
        (lambda row: row["gopher_ellipsis_ratio"] > 0.1, "word " * 8 + "word...", "word " * 9 + "word..."),
        (lambda row: row["gopher_bullet_lines"] > 0.9, "- a\n" * 10, "- a\n" * 9 + "a"),
        (lambda row: row["gopher_ellipsis_lines"] > 0.3, "a…\n" * 4 + "a\n" * 6, "a…\n" * 3 + "a\n" * 7),
        (lambda row: row["gopher_alpha_words"] < 0.8, "a a a 1", "a a a a 1"),
        (lambda row: row["gopher_stop_words"] < 2, "the the", "the of"),
        (lambda row: row["c4_terminal_lines"] == 0, "A line", "A line."),
        (lambda row: row["c4_short_lines"] > 0, "a line of four", "a line of five words"),
        (lambda row: row["c4_kept_sentences"] < 3, "This has two sentences. Really.", "Here are three. One. Two more."),
        (lambda row: row["c4_kept_lines"] == 0, "It has " + "x" * 1001 + " in it.", "It has " + "x" * 1000 + " in it."),
        (lambda row: row["c4_javascript_lines"] > 0, "Please enable JavaScript!", "Please enable Java Script!"),
        (lambda row: row["c4_policy_lines"] > 0, "Our Privacy Policy", "Our privacy policies"),
        (lambda row: row["c4_kept_lines"] == 0, "You agree to these terms of use.", "You agree to these terms we use."),
        (
            lambda row: row["c4_kept_lines"] == 0,
            "Please enable JavaScript to read this.",
            "Please enable it to read this.",
        ),
        (lambda row: row["c4_curly_brackets"] > 0, "a { b", "a ( b"),
        (lambda row: row["c4_lorem_ipsum"], "Lorem ipsum dolor", "Lorem\nipsum dolor"),
    ],
)
def test_thresholds_have_two_sides(drops, dropped: str, kept: str) -> None:
    assert drops(of(dropped))
    assert not drops(of(kept))
