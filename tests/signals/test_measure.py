"""Each rule from both sides of its threshold and at it; hand-made values; scripts; lists of words."""

import math

import pyarrow as pa
import pytest

from curate.signals.measure import Limits, measure
from curate.text.batch import TextBatch
from curate.text.wordlists import compile_list
from tests.signals.definitions import reference


def of(text: str, stop_words: tuple[str, ...] = ("the",)) -> dict[str, float]:
    columns = measure(TextBatch(pa.array([text], pa.large_string())), Limits(), compile_list(stop_words))
    return {name: values.item() for name, values in columns.items()}


def numbered(start: int, count: int, end: str = " ") -> str:
    """So many different words of three letters."""
    letters = "abcdefghij"
    return "".join(
        letters[n // 100] + letters[n // 10 % 10] + letters[n % 10] + end for n in range(start, start + count)
    )


def repeated(n: int, times: int, others: int) -> str:
    """An n-gram of words of three letters some times, parted by other words, `others` different words in all."""
    gram = numbered(900, n)
    parts = [gram + numbered(i, 1) for i in range(times - 1)]
    return "".join(parts) + gram + numbered(times, others - times + 1)


# The rule, a document that it drops, one that is right at the threshold and stays.
RULES = {
    "rep_dup_lines > 0.3": ("a\n" * 5 + "b\nc\nd\ne\nf\n", "a\n" * 4 + "b\nc\nd\ne\nf\ng\n"),
    "rep_dup_paragraphs > 0.3": ("a\n\n" * 5 + "b\n\nc\n\nd\n\ne\n\nf", "a\n\n" * 4 + "b\n\nc\n\nd\n\ne\n\nf\n\ng"),
    "rep_dup_line_chars > 0.2": ("aaa\naaa\nbbb\nccc", "aaa\naaa\nbbb\nccc\nddd"),
    "rep_dup_paragraph_chars > 0.2": ("aaa\n\naaa\n\nbbb\n\nccc", "aaa\n\naaa\n\nbbb\n\nccc\n\nddd"),
    "rep_top_2gram_chars > 0.2": (repeated(2, 2, 15), repeated(2, 2, 16)),
    "rep_top_3gram_chars > 0.18": (repeated(3, 3, 40), repeated(3, 3, 41)),
    "rep_top_4gram_chars > 0.16": (repeated(4, 2, 41), repeated(4, 2, 42)),
    "rep_dup_5gram_chars > 0.15": (repeated(5, 3, 84), repeated(5, 3, 85)),
    "rep_dup_6gram_chars > 0.14": (repeated(6, 7, 257), repeated(6, 7, 258)),
    "rep_dup_7gram_chars > 0.13": (repeated(7, 13, 608), repeated(7, 13, 609)),
    "rep_dup_8gram_chars > 0.12": (repeated(8, 3, 175), repeated(8, 3, 176)),
    "rep_dup_9gram_chars > 0.11": (repeated(9, 11, 800), repeated(9, 11, 801)),
    "rep_dup_10gram_chars > 0.10": (repeated(10, 2, 179), repeated(10, 2, 180)),
    "dolma_repeated_lines > 0.3": ("a\n" * 4 + "b\nc\nd\ne\nf\ng\n", "a\n" * 3 + "b\nc\nd\ne\nf\ng\nh\n"),
    "dolma_repeated_line_chars > 0.2": ("aa\naa\n" + numbered(0, 5, "\n"), "aa\naa\n" + "bbbb\ncccc\ndddd\neeee\n"),
    "dclm_stop_words < 2": ("the dogs", "the the"),
    "dolma_median_word_length < 3": ("ab ab abcd abc", "ab abc abc abcd"),
    "dolma_median_word_length > 10": ("a " + "x" * 11 + " " + "x" * 12, "a " + "x" * 10 + " " + "x" * 12),
    "dolma_symbol_words > 0.1": ("#a " + "b " * 8, "#a# " + "b " * 9),
    "fineweb_terminal_lines < 0.12": ("One.\n" * 2 + "one\n" * 15, "One.\n" * 3 + "one\n" * 22),
    "fineweb_short_lines > 0.67": (
        "x" * 30 + "\n" + "y\n" * 67 + ("z" * 31 + "\n") * 32,
        "y\n" * 67 + ("z" * 31 + "\n") * 33,
    ),
    "fineweb_newlines_per_word > 0.3": ("a\n\n\n\nb c d e f g h i j", "a\n\n\nb c d e f g h i j"),
    "refinedweb_uppercase_lines > 0": ("ABCDe f", "ABCdef"),
    "refinedweb_numeric_lines > 0": ("2024", "2,024"),
    "refinedweb_counter_lines > 0": ("* 3.5K likes *", "3.5K like"),
    "refinedweb_one_word_lines > 0": ("Home", "Home page"),
    "refinedweb_button_lines > 0": ("a b c d e f g 0 items in cart"[4:], "a b c d e f g 0 items in cart"),
    "refinedweb_removed_words > 0.05": ("Home\n" + "word " * 18, "Home\n" + "word " * 19),
    "madlad_list_case_sentences > 0.2": ("A B C D E F G h i j k l", "A B C D E F g h i j k l"),
    "madlad_abnormal_sentences > 0.2": ("x" * 18 + ".", "x" * 19 + "."),
    "madlad_technical_sentences > 0.2": ("123 of them (all) bc", "12 of them (all) abc"),
    "nemo_non_alphanumeric > 0.25": ("abc--", "abc-"),
    "nemo_digits > 0.15": ("1234" + "a" * 16, "123" + "a" * 17),
    "nemo_url_chars > 0.2": ("http://a.b " + "w" * 38, "http://a.b " + "w" * 39),
    "nemo_white_space > 0.25": ("a b c", "a bc"),
    "nemo_brackets > 0.1": ("(a) [b] {c} ⟨d⟩ " + "w" * 63, "(a) [b] {c} ⟨d⟩ " + "w" * 64),
    "nemo_boilerplate_paragraphs > 0.4": (
        "Terms of use\n\na",
        "Terms of use\nuse cookies\n\nwe use cookies\n\na\n\nb\n\nc",
    ),
    "c4_long_lines < 3": ("x" * 200 + "\n" + "y" * 200 + "\n" + "z" * 199, ("x" * 200 + "\n") * 3),
    "c4_citation_marks > 0": ("So it is.[1]", "So it is.[a1]"),
}


@pytest.mark.parametrize("rule", RULES)
def test_thresholds_have_two_sides(rule: str) -> None:
    column, comparison, limit = rule.split()
    dropped, kept = (of(text)[column] for text in RULES[rule])
    if comparison == ">":
        assert dropped > float(limit) >= kept
    else:
        assert dropped < float(limit) <= kept


# Those whose document that stays is at the limit and not below it.
TIES = [
    rule
    for rule in RULES
    if rule.startswith(("rep_dup_line", "rep_dup_par", "dolma_", "fineweb_", "refinedweb_removed"))
]


@pytest.mark.parametrize("rule", TIES)
def test_a_tie_is_exact(rule: str) -> None:
    column, _, limit = rule.split()
    assert of(RULES[rule][1])[column] == float(limit)


@pytest.mark.parametrize("rule", RULES)
def test_documents_at_thresholds_agree_with_the_definitions(rule: str) -> None:
    for text in RULES[rule]:
        expected = reference(text)
        found = of(text)
        del expected["rps_stop_words"], found["rps_stop_words"]
        assert found == pytest.approx(expected, rel=1e-12, nan_ok=True)


@pytest.mark.parametrize(
    "text",
    [
        "one line of words here",
        "a b\nc d\n\ne f",
        "你好\n你好",
        "نعم نعم\nلا",
        "नमस्ते दुनिया\n\nनमस्ते दुनिया",
        "if (x) {\n}\n",
    ],
)
def test_line_breaks_of_any_kind_are_the_same(text: str) -> None:
    characters = ("nemo_", "rps_curly")  # a carriage return is a character
    plain = {name: value for name, value in of(text).items() if not name.startswith(characters)}
    for other in ("\r\n", "\r"):
        found = of(text.replace("\n", other))
        assert {name: found[name] for name in plain} == pytest.approx(plain, nan_ok=True)


@pytest.mark.parametrize(
    ("text", "top", "dup"),
    [
        ("the cat saw the cat", 12 / 15, 0.0),  # Latin
        ("你好吗你好", 4 / 5, 0.0),  # Han: characters
        ("نعم لا نعم لا شيء", 10 / 13, 0.0),  # Arabic
        ("यह है यह है अब", 8 / 10, 0.0),  # Hindi: marks are characters
        ("i = x; i = y; i = x", 4 / 6, 0.0),  # code: the words are i x i y i x
        ("a b c d e a b c d e", 4 / 10, 1.0),
        ("a a a a a a", 1.0, 1.0),  # overlaps count once
    ],
)
def test_repeated_ngrams_by_hand(text: str, top: float, dup: float) -> None:
    row = of(text)
    assert (row["rep_top_2gram_chars"], row["rep_dup_5gram_chars"]) == (top, dup)


def test_of_several_most_frequent_ngrams_the_one_that_covers_most_counts() -> None:
    assert of("a b x a b long words y long words")["rep_top_2gram_chars"] == 18 / 24


def test_an_ngram_that_occurs_once_covers_nothing() -> None:
    row = of("every word of these is another one")
    assert not any(value for name, value in row.items() if name.startswith(("rep_top", "rep_dup")))


def test_case_and_punctuation_do_not_make_ngrams_differ_but_lines() -> None:
    row = of("To be, or not.\nto be or NOT")
    assert row["rep_top_4gram_chars"] == 1.0
    assert row["rep_dup_lines"] == 0.0


def test_paragraphs_are_their_lines_in_order() -> None:
    assert of("a\nb\n\nb\na\n\na\n \u200b\nb")["rep_dup_paragraphs"] == 0.0
    assert of("a\nb\n\n  a \r\nb\n\n\n")["rep_dup_paragraphs"] == 0.5
    assert of("a\nb")["rep_paragraphs"] == 1


def test_a_long_document_like_a_short_one() -> None:
    """More characters than a lane of counts holds, more words than a small table."""
    text = "Ab 1 " * 30_000
    row = of(text)
    assert row["nemo_digits"] == row["rps_line_uppercase"] * (len(text) - 1) / len(text) == 0.2
    assert row["rep_top_2gram_chars"] == row["rep_dup_10gram_chars"] == 1.0


def test_ngrams_do_not_reach_into_the_next_document() -> None:
    texts = ["a b c d e f", "a b c d e f", "", "f a b"]
    batch = TextBatch(pa.array(texts, pa.large_string()))
    columns = measure(batch, Limits(), compile_list(["f a", "the"]))
    assert columns["rep_dup_5gram_chars"][:2].tolist() == columns["rps_stop_words"][:2].tolist() == [0.0, 0.0]
    assert math.isnan(columns["rep_top_2gram_chars"][2])
    assert columns["rps_stop_words"][3] == 2 / 3
