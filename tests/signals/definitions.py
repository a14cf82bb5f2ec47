"""The definitions of docs/signals.md in plain Python, a character at a time; what the kernels are compared with."""

import math
import re
import statistics
import unicodedata
from collections import Counter
from collections.abc import Hashable, Sequence

from curate.signals.measure import Limits
from curate.signals.stopwords import ENGLISH_STOP_WORDS
from curate.text.unicode import UNSPACED, tables

TERMINATORS = set(".!?。｡．！？।॥؟۔։።。។")
CLOSING_QUOTES = set('"”»」』')
CLOSERS = "\"'”’»」』)]}）］｝】》〉"
BULLETS = set("•‣⁃∙·▪▫■□●○◦◆◇▶►◀")
DEFAULT = Limits()
STOP_WORDS = {"the", "be", "to", "of", "and", "that", "have", "with"}
POLICIES = (b"terms of use", b"privacy policy", b"cookie policy", b"uses cookies", b"use of cookies", b"use cookies")


def is_visible(char: str) -> bool:
    return unicodedata.category(char)[0] != "C"


def is_text(char: str) -> bool:
    return unicodedata.category(char)[0] in "LN"


def is_upper(char: str) -> bool:
    return unicodedata.category(char) in ("Lu", "Lt")


def is_digit(char: str) -> bool:
    return unicodedata.category(char)[0] == "N"


def is_all_caps(word: str) -> bool:
    letters = [char for char in word if char.isalpha()]
    return bool(letters) and all(map(is_upper, letters))


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


def raw_lines(text: str) -> list[str]:
    return re.split("\r\n|[\n\r]", text)


def visible_part(line: str) -> str:
    """From the first to the last visible character that is not white space."""
    inner = [i for i, char in enumerate(line) if is_visible(char) and not char.isspace()]
    return line[inner[0] : inner[-1] + 1] if inner else ""


def paragraphs_of(text: str) -> list[tuple[str, ...]]:
    paragraphs, lines = [], []
    for line in [*map(visible_part, raw_lines(text)), ""]:
        if line:
            lines.append(line)
        elif lines:
            paragraphs.append(tuple(lines))
            lines = []
    return paragraphs


def sentences_of(lines: list[str]) -> list[list[tuple[str, bool]]]:
    """Words of each sentence, each with whether white space follows it."""
    sentences = []
    for line in lines:
        sentence, rest = [], line
        words = words_of(line)
        for i, word in enumerate(words):
            rest = rest[rest.index(word) + len(word) :]
            last = i == len(words) - 1
            spaced = not last and not rest.startswith(words[i + 1])
            sentence.append((word, spaced))
            if last or ends_sentence(word):
                sentences.append(sentence)
                sentence = []
    return sentences


def shared_words_of(text: str) -> list[str]:
    """The words of docs/words.md, lower-cased one code point at a time."""
    words: list[str] = []
    word, alone = "", False
    for char in text:
        category = unicodedata.category(char)[0]
        if category in "LN" and (is_unspaced(char) or alone or not word):
            words += [word] if word else []
            word, alone = char, is_unspaced(char)
        elif (category in "LN") or (category == "M" and word):
            word += char
        else:
            words += [word] if word else []
            word, alone = "", False
    words += [word] if word else []
    return ["".join(char.lower() if len(char.lower()) == 1 else char for char in word) for word in words]


def ngrams_of(words: list[str], n: int) -> list[tuple[str, ...]]:
    return [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]


def covered(words: list[str], n: int, chosen: set[tuple[str, ...]]) -> int:
    """Characters of the words that are in one of the chosen n-grams."""
    inside = {i + k for i, ngram in enumerate(ngrams_of(words, n)) if ngram in chosen for k in range(n)}
    return sum(len(words[i]) for i in inside)


def top_chars(words: list[str], n: int) -> int:
    counts = Counter(ngrams_of(words, n))
    most = max(counts.values(), default=0)
    return max(covered(words, n, {ngram}) for ngram in counts if counts[ngram] == most) if most > 1 else 0


def dup_chars(words: list[str], n: int) -> int:
    return covered(words, n, {ngram for ngram, count in Counter(ngrams_of(words, n)).items() if count > 1})


def later(items: Sequence[Hashable], sizes: list[int]) -> tuple[int, int]:
    """How many are equal to an earlier one, and their sizes."""
    again = [size for i, (item, size) in enumerate(zip(items, sizes, strict=True)) if item in items[:i]]
    return len(again), sum(again)


URL = re.compile("https?://[A-Za-z0-9$_@.&+/:=?#~!*(),%-]*", re.I)
COUNTER = re.compile(
    rb"^[^0-9a-z_]*[0-9][0-9,.]*[kmb]?[ \t]+(likes|shares|comments|retweets|reposts|quotes|bookmarks|upvotes|downvotes"
    rb"|downloads|views|followers)[^0-9a-z_]*\Z"
)


def is_button(line: str) -> bool:
    lower = line.encode().lower()
    return b"items in cart" in lower or lower.startswith(b"sign-in") or lower.endswith(b"read more...")


def occurrences(words: list[str], entries: Sequence[str]) -> tuple[int, int]:
    """Occurrences of the entries, and words that are in one."""
    listed = {tuple(shared_words_of(entry)) for entry in entries} - {()}
    spans = [
        (i, i + len(entry)) for i in range(len(words)) for entry in listed if tuple(words[i : i + len(entry)]) == entry
    ]
    return len(spans), len({i for start, end in spans for i in range(start, end)})


def reference(text: str, limits: Limits = DEFAULT) -> dict[str, float]:
    """Every column of `heuristics`."""
    return classic(text, limits) | repetition(text) | web(text, limits) | classes(text)


def classic(text: str, limits: Limits) -> dict[str, float]:
    raw = [line for line in raw_lines(text) if words_of(line)]
    lines = [words_of(line) for line in raw]
    words = [word for line in lines for word in line]
    text_words = [word for word in words if any(map(is_text, word))]
    stop_words = [stop_word(word) for word in words if stop_word(word) in STOP_WORDS]
    ellipses = [sum(dots(run) >= 3 for run in re.findall("[.…]+", word)) for word in words]
    sentences = [sum(map(ends_sentence, line[:-1])) + 1 for line in lines]
    terminal = [line[-1][-1] in TERMINATORS | CLOSING_QUOTES and not ends_in_ellipsis(line[-1]) for line in lines]
    bullets = [line[0][0] in BULLETS or (line[0][0] in "-*+–" and length(line[0]) == 1) for line in lines]
    lower = [line.encode().lower() for line in raw]
    javascript = [b"javascript" in line for line in lower]
    policy = [any(phrase in line for phrase in POLICIES) for line in lower]
    kept = [
        terminal[i]
        and len(line) >= limits.min_line_words
        and not javascript[i]
        and not policy[i]
        and max(map(length, line)) <= limits.max_word_length
        for i, line in enumerate(lines)
    ]
    return {
        "gopher_words": len(text_words),
        "gopher_mean_word_length": ratio(sum(map(length, text_words)), len(text_words)),
        "gopher_hash_ratio": ratio(text.count("#"), len(words)),
        "gopher_ellipsis_ratio": ratio(sum(ellipses), len(words)),
        "gopher_bullet_lines": ratio(sum(bullets), len(lines)),
        "gopher_ellipsis_lines": ratio(sum(ends_in_ellipsis(line[-1]) for line in lines), len(lines)),
        "gopher_alpha_words": ratio(sum(any(map(str.isalpha, word)) for word in words), len(words)),
        "gopher_stop_words": len(set(stop_words)),
        "dclm_stop_words": len(stop_words),
        "dolma_median_word_length": statistics.median(map(length, words)) if words else math.nan,
        "dolma_symbol_words": ratio(sum("#" in w or n > 0 for w, n in zip(words, ellipses, strict=True)), len(words)),
        "c4_lines": len(lines),
        "c4_sentences": sum(sentences),
        "c4_terminal_lines": ratio(sum(terminal), len(lines)),
        "c4_short_lines": ratio(sum(len(line) < limits.min_line_words for line in lines), len(lines)),
        "c4_javascript_lines": sum(javascript),
        "c4_policy_lines": sum(policy),
        "c4_kept_lines": ratio(sum(kept), len(lines)),
        "c4_kept_sentences": sum(n for n, keep in zip(sentences, kept, strict=True) if keep),
        "c4_max_word_length": max(map(length, words), default=0),
        "c4_curly_brackets": text.count("{"),
        "c4_lorem_ipsum": any(b"lorem ipsum" in line for line in lower),
        "c4_citation_marks": len(re.findall(r"\[[0-9]*\]|\[edit\]|\[citation needed\]", text)),
        "c4_long_lines": sum(len(visible_part(line)) >= limits.long_line_chars for line in raw),
    }


def repetition(text: str) -> dict[str, float]:
    paragraphs = paragraphs_of(text)
    lines = [line for paragraph in paragraphs for line in paragraph]
    sizes = [len(line) for line in lines]
    dup_lines, dup_line_chars = later(lines, sizes)
    dup_paragraphs, dup_paragraph_chars = later(paragraphs, [sum(map(len, paragraph)) for paragraph in paragraphs])
    copies = [line for line in lines if lines.count(line) > 1]
    words = shared_words_of(text)
    chars = sum(map(len, words))
    return {
        "rep_paragraphs": len(paragraphs),
        "rep_dup_lines": ratio(dup_lines, len(lines)),
        "rep_dup_paragraphs": ratio(dup_paragraphs, len(paragraphs)),
        "rep_dup_line_chars": ratio(dup_line_chars, sum(sizes)),
        "rep_dup_paragraph_chars": ratio(dup_paragraph_chars, sum(sizes)),
        **{f"rep_top_{n}gram_chars": ratio(top_chars(words, n), chars) for n in (2, 3, 4)},
        **{f"rep_dup_{n}gram_chars": ratio(dup_chars(words, n), chars) for n in range(5, 11)},
        "dolma_repeated_lines": ratio(len(copies), len(lines)),
        "dolma_repeated_line_chars": ratio(sum(map(len, copies)), sum(sizes)),
    }


def web(text: str, limits: Limits) -> dict[str, float]:
    lines = [line for paragraph in paragraphs_of(text) for line in paragraph]
    words = [words_of(line) for line in lines]
    count = sum(map(len, words))
    ends = [last[-1][-1] in TERMINATORS | CLOSING_QUOTES or ends_in_ellipsis(last[-1]) for last in words]
    rules = {
        "uppercase": [sum(map(is_upper, line)) > limits.max_uppercase * len(line) for line in lines],
        "numeric": [all(unicodedata.category(char)[0] == "N" for char in line) for line in lines],
        "counter": [
            COUNTER.search(line.encode().lower()) is not None and len(inside) <= 10 and any(map(is_digit, line))
            for line, inside in zip(lines, words, strict=True)
        ],
        "one_word": [len(inside) == 1 for inside in words],
        "button": [is_button(line) and len(inside) <= 10 for line, inside in zip(lines, words, strict=True)],
    }
    removed = sum(len(inside) for i, inside in enumerate(words) if any(flags[i] for flags in rules.values()))
    sentences = sentences_of(lines)
    list_case, abnormal, technical = zip(*map(questions, sentences), strict=True) if sentences else ((), (), ())
    return {
        "fineweb_terminal_lines": ratio(sum(ends), len(lines)),
        "fineweb_short_lines": ratio(sum(len(line) <= limits.short_line_chars for line in lines), len(lines)),
        "fineweb_newlines_per_word": ratio(len(raw_lines(text)) - 1, count),
        **{f"refinedweb_{rule}_lines": ratio(sum(flags), len(lines)) for rule, flags in rules.items()},
        "refinedweb_removed_words": ratio(removed, count),
        "madlad_list_case_sentences": ratio(sum(list_case), len(sentences)),
        "madlad_abnormal_sentences": ratio(sum(abnormal), len(sentences)),
        "madlad_technical_sentences": ratio(sum(technical), len(sentences)),
        "madlad_questionable_sentences": ratio(
            sum(map(any, zip(list_case, abnormal, technical, strict=True))), len(sentences)
        ),
    }


def questions(sentence: list[tuple[str, bool]]) -> tuple[bool, bool, bool]:
    """MADLAD-400's rules 2, 3 and 4."""
    text_words = [word for word, _ in sentence if any(map(is_text, word))]
    capitals = [word for word in text_words if is_upper(next(filter(is_text, word)))]
    chars = sum(length(word) for word, _ in sentence) + sum(spaced for _, spaced in sentence[:-1])
    technical = sum(char in "0123456789{}+/()>" for word, _ in sentence for char in word)
    return len(text_words) >= 12 and 2 * len(capitals) > len(text_words), not 20 <= chars <= 500, 5 * technical > chars


def classes(text: str) -> dict[str, float]:
    paragraphs = paragraphs_of(text)
    lines = [line for paragraph in paragraphs for line in paragraph]
    words = [word for line in lines for word in words_of(line)]
    policy = [any(p in "\n".join(paragraph).encode().lower() for p in POLICIES) for paragraph in paragraphs]
    plain = [char for char in text if unicodedata.category(char)[0] in "LNM" or char in "\n?!,."]
    shared = shared_words_of(text)
    return {
        "nemo_non_alphanumeric": ratio(len(text) - len(plain), len(text)),
        "nemo_digits": ratio(sum(map(is_digit, text)), len(text)),
        "nemo_url_chars": ratio(sum(len(url) for word in words for url in URL.findall(word)), len(text)),
        "nemo_white_space": ratio(sum(map(str.isspace, text)), len(text)),
        "nemo_brackets": ratio(sum(char in "()[]{}⟨⟩" for char in text), len(text)),
        "nemo_boilerplate_paragraphs": ratio(sum(policy), len(paragraphs)),
        "rps_curly_brackets": ratio(sum(char in "{}" for char in text), len(text)),
        "rps_all_caps_words": ratio(sum(map(is_all_caps, words)), len(words)),
        "rps_mean_word_length": ratio(sum(map(len, shared)), len(shared)),
        "rps_unique_words": ratio(len(set(shared)), len(shared)),
        "rps_line_words": ratio(len(words), len(lines)),
        "rps_line_digits": mean([sum(map(is_digit, line)) / len(line) for line in lines]),
        "rps_line_uppercase": mean([sum(map(is_upper, line)) / len(line) for line in lines]),
        "rps_stop_words": ratio(occurrences(shared, ENGLISH_STOP_WORDS)[1], len(shared)),
    }


def mean(values: list[float]) -> float:
    return ratio(math.fsum(values), len(values))
