"""Gopher and C4 statistics against a plain reading of their definitions, on made-up and on real documents."""

import io
import json
import math
import re
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.text import heuristics
from curate.text.unicode import UNSPACED, tables

TERMINATORS = set(".!?。｡．！？।॥؟۔։።。។")
CLOSING_QUOTES = set('"”»」』')
CLOSERS = "\"'”’»」』)]}）］｝】》〉"
BULLETS = set("•‣⁃∙·▪▫■□●○◦◆◇▶►◀")
POLICIES = (b"terms of use", b"privacy policy", b"cookie policy", b"uses cookies", b"use of cookies", b"use cookies")


# The definitions of docs/signals.md, one character at a time.


def is_visible(char: str) -> bool:
    return unicodedata.category(char)[0] != "C"


def is_text(char: str) -> bool:
    return unicodedata.category(char)[0] in "LN"


def is_unspaced(char: str) -> bool:
    return bool(tables().classes[ord(char)] & UNSPACED)


def words_of(line: str) -> list[str]:
    words = []
    for token in line.split():
        word = ""
        for char in token:
            text = [c for c in word if is_text(c)]
            if is_text(char) and text and (is_unspaced(char) or any(map(is_unspaced, text))):
                words.append(word)
                word = ""
            word += char
        words.append(word)
    invisible = "".join({c for word in words for c in word if not is_visible(c)})
    return [word.strip(invisible) if invisible else word for word in words if any(map(is_visible, word))]


def length(word: str) -> int:
    return sum(map(is_visible, word))


def dots(run: str) -> int:
    return run.count(".") + 3 * run.count("…")


def stop_word(word: str) -> str:
    inner = [i for i, char in enumerate(word) if unicodedata.category(char)[0] in "LNM"]
    return word[inner[0] : inner[-1] + 1].lower() if inner else ""


def ends_sentence(word: str) -> bool:
    return word.rstrip(CLOSERS)[-1:] in TERMINATORS


def ends_in_ellipsis(word: str) -> bool:
    return dots(re.search("[.…]*$", word)[0]) >= 3


def ratio(part: int, whole: int) -> float:
    return part / whole if whole else math.nan


def reference(text: str, min_line_words: int = 5, max_word_length: int = 1000) -> dict[str, float]:
    raw = [line for line in re.split("[\n\r]", text) if words_of(line)]
    lines = [words_of(line) for line in raw]
    words = [word for line in lines for word in line]
    text_words = [word for word in words if any(map(is_text, word))]
    stop_words = {stop_word(word) for word in words} & {"the", "be", "to", "of", "and", "that", "have", "with"}
    ellipses = sum(dots(run) >= 3 for word in words for run in re.findall("[.…]+", word))
    sentences = [sum(map(ends_sentence, line[:-1])) + 1 for line in lines]
    terminal = [line[-1][-1] in TERMINATORS | CLOSING_QUOTES and not ends_in_ellipsis(line[-1]) for line in lines]
    bullets = [line[0][0] in BULLETS or (line[0][0] in "-*+–" and length(line[0]) == 1) for line in lines]
    lower = [line.encode().lower() for line in raw]
    javascript = [b"javascript" in line for line in lower]
    policy = [any(phrase in line for phrase in POLICIES) for line in lower]
    kept = [
        terminal[i]
        and len(line) >= min_line_words
        and not javascript[i]
        and not policy[i]
        and max(map(length, line)) <= max_word_length
        for i, line in enumerate(lines)
    ]
    return {
        "gopher_words": len(text_words),
        "gopher_mean_word_length": ratio(sum(map(length, text_words)), len(text_words)),
        "gopher_hash_ratio": ratio(text.count("#"), len(words)),
        "gopher_ellipsis_ratio": ratio(ellipses, len(words)),
        "gopher_bullet_lines": ratio(sum(bullets), len(lines)),
        "gopher_ellipsis_lines": ratio(sum(ends_in_ellipsis(line[-1]) for line in lines), len(lines)),
        "gopher_alpha_words": ratio(sum(any(map(str.isalpha, word)) for word in words), len(words)),
        "gopher_stop_words": len(stop_words),
        "c4_lines": len(lines),
        "c4_sentences": sum(sentences),
        "c4_terminal_lines": ratio(sum(terminal), len(lines)),
        "c4_short_lines": ratio(sum(len(line) < min_line_words for line in lines), len(lines)),
        "c4_javascript_lines": sum(javascript),
        "c4_policy_lines": sum(policy),
        "c4_kept_lines": ratio(sum(kept), len(lines)),
        "c4_kept_sentences": sum(n for n, keep in zip(sentences, kept, strict=True) if keep),
        "c4_max_word_length": max(map(length, words), default=0),
        "c4_curly_brackets": text.count("{"),
        "c4_lorem_ipsum": any(b"lorem ipsum" in line for line in lower),
    }


def measure(texts: list[str], min_line_words: int = 5, max_word_length: int = 1000) -> list[dict[str, float]]:
    encoded = [text.encode() for text in texts]
    data = np.frombuffer(b"".join(encoded), np.uint8)
    offsets = np.cumsum([0, *map(len, encoded)])
    counts, lines = heuristics.scan(data, offsets)
    columns = heuristics.gopher(counts, lines) | heuristics.c4(data, counts, lines, min_line_words, max_word_length)
    return [{name: values[i].item() for name, values in columns.items()} for i in range(len(texts))]


def of(text: str) -> dict[str, float]:
    return measure([text])[0]


def same(found: dict[str, float], expected: dict[str, float]) -> bool:
    return found.keys() == expected.keys() and all(
        found[name] == value or (math.isnan(found[name]) and math.isnan(value)) for name, value in expected.items()
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
    "JavaScript",
    "lorem ipsum",
    "Lorem",
    "terms of use",
    " uses",
    " cooKies",
    "use coo\u212aies",
    "privacy policy",
]
FRAGMENTS = [*LATIN, *CHINESE, *ARABIC, *HINDI, *OTHER_SCRIPTS, *CODE, *MARKS, *SPACES * 2, *INVISIBLE, *PHRASES]

documents = st.one_of(
    st.lists(st.sampled_from(FRAGMENTS), max_size=40).map("".join),
    st.lists(st.sampled_from([*LATIN, *MARKS, *PHRASES, "\n"]), max_size=40).map(" ".join),
    st.text(st.characters(codec="utf-8", max_codepoint=0x2FFFF), max_size=40),
)


@given(st.lists(documents, max_size=4), st.integers(1, 6), st.integers(1, 12))
@settings(max_examples=400, deadline=None)
def test_agrees_with_the_definitions(texts: list[str], min_line_words: int, max_word_length: int) -> None:
    found = measure(texts, min_line_words, max_word_length)
    for text, row in zip(texts, found, strict=True):
        assert same(row, reference(text, min_line_words, max_word_length)), text


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
        assert same(row, reference(text)), text


def test_documents_do_not_reach_into_each_other() -> None:
    texts = ["It ends in terms of", " use of", "", "java", "script\n", "\n", "lorem", " ipsum", "…", ".", ".", "."]
    assert all(same(row, of(text)) for text, row in zip(texts, measure(texts), strict=True))
    assert not any(row["c4_policy_lines"] or row["c4_javascript_lines"] for row in measure(texts))


def test_positions_of_lines() -> None:
    text = "\ufeff First line \r\n\n \u200b\n  second\x01 ".encode()
    _, lines = heuristics.scan(np.frombuffer(text, np.uint8), np.array([0, len(text)]))
    spans = [text[start:end].decode() for start, end in zip(lines.starts, lines.ends, strict=True)]
    assert spans == ["First line", "second"]


def test_a_slice_of_a_batch_is_scanned_where_it_lies() -> None:
    data = np.frombuffer(b"skipped ## one\n# two" + b"three", np.uint8)
    counts, lines = heuristics.scan(data, np.array([9, 20, 25]))
    assert counts.hashes.tolist() == [2, 0]
    assert lines.offsets.tolist() == [0, 2, 3]


def test_no_documents() -> None:
    counts, lines = heuristics.scan(np.empty(0, np.uint8), np.zeros(1, np.int64))
    assert counts.words.shape == (0,)
    assert lines.offsets.tolist() == [0]
    assert heuristics.c4(np.empty(0, np.uint8), counts, lines, 5, 1000)["c4_kept_lines"].shape == (0,)


@pytest.mark.parametrize("text", ["", " \n\t\r\n", "\ufeff", "\u200b\n\x01"])
def test_a_document_without_words_has_counts_of_zero_and_no_ratios(text: str) -> None:
    row = of(text)
    undefined = {name for name, value in row.items() if math.isnan(value)}
    assert undefined == {
        "gopher_mean_word_length",
        "gopher_hash_ratio",
        "gopher_ellipsis_ratio",
        "gopher_bullet_lines",
        "gopher_ellipsis_lines",
        "gopher_alpha_words",
        "c4_terminal_lines",
        "c4_short_lines",
        "c4_kept_lines",
    }
    assert not any(value for name, value in row.items() if name not in undefined)


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
