"""Why a rule of a peer and ours differ on a document: the peer's formula with one part after another made ours.

Every formula is written down twice over: as the peer has it when no part is changed, as docs/signals.md has it when all
are. A part is the cause if changing it alone, or with the fewest others, gives our verdict.
"""

import re
import statistics
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from curate.text.unicode import UNSPACED, tables
from curate.text.words import segment

TERMINATORS = ".!?。｡．！？।॥؟۔։።។"
STOP_WORDS = {"the", "be", "to", "of", "and", "that", "have", "with"}
OUR_BULLETS = tuple("•‣⁃∙·▪▫■□●○◦◆◇▶►◀")
OUR_DASHES = tuple("-*+–")
PEER_TERMINALS = ".?!\"'"
POLICIES = ("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies")
MARKS = re.compile(r"\[\d*]|\[edit]|\[citation needed]")
GRAMS = {2: 0.2, 3: 0.18, 4: 0.16, 5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.1}

Changed = frozenset[str]
Formula = Callable[[str, Sequence[str], Changed], bool]


def is_text(char: str) -> bool:
    return unicodedata.category(char)[0] in "LN"


def our_words(text: str) -> list[str]:
    """White-space words; every letter beside one of a script without spaces starts one."""
    classes = tables().classes
    found = []
    for token in text.split():
        if token.isascii():
            found.append(token)
            continue
        word, alone = "", False
        for char in token:
            if is_text(char):
                unspaced = bool(classes[ord(char)] & UNSPACED)
                if any(map(is_text, word)) and (unspaced or alone):
                    found.append(word)
                    word, alone = "", False
                alone |= unspaced
            word += char
        found.append(word)
    visible = ("".join(c for c in word if unicodedata.category(c)[0] != "C") for word in found)
    return [word for word in visible if word]


def shared_words(text: str) -> list[str]:
    data = np.frombuffer(text.encode(), np.uint8)
    words = segment(data, np.array([0, len(data)]))
    return [data[i:j].tobytes().decode().lower() for i, j in zip(words.starts, words.ends, strict=True)]


def our_lines(text: str) -> list[str]:
    lines = (
        "".join(c for c in line if c == "\t" or unicodedata.category(c)[0] != "C") for line in re.split("[\r\n]+", text)
    )
    return [line.strip() for line in lines if line.strip()]


def our_paragraphs(text: str) -> list[str]:
    blocks, lines = [], []
    for line in [*re.split("\r\n|[\r\n]", text), ""]:
        if our_lines(line):
            lines += our_lines(line)
        elif lines:
            blocks.append("\n".join(lines))
            lines = []
    return blocks


def later(items: Sequence[str], breaks: int = 1) -> tuple[int, int]:
    """How many are equal to an earlier one, and their characters, line breaks among them or (0) not."""
    seen, count, chars = set(), 0, 0
    for item in items:
        size = len(item) if breaks else len(item.replace("\n", ""))
        count, chars = (count + 1, chars + size) if item in seen else (count, chars)
        seen.add(item)
    return count, chars


def words_for(changed: Changed, text: str, theirs: Sequence[str]) -> Sequence[str]:
    return our_words(text) if "words" in changed else theirs


def text_words(changed: Changed, text: str, theirs: Sequence[str], tool: str) -> list[str]:
    words = words_for(changed, text, theirs)
    if tool == "dolma" and "words" not in changed:
        return list(words)
    return [
        word
        for word in words
        if any(map(is_text, word) if "words" in changed else (c not in PUNCTUATION for c in word))
    ]


PUNCTUATION: set[str] = set()  # datatrove's, filled by `use_marks`
STOP_CHARS: list[str] = []


def use_marks(marks: dict[str, list[str]]) -> None:
    """Take datatrove's sets of characters as its environment has them."""
    PUNCTUATION.update(marks["punctuation"])
    STOP_CHARS.extend(marks["terminal"])


def divide(part: float, whole: float, otherwise: float = 0.0) -> float:
    return part / whole if whole else otherwise


def formulas(tool: str) -> dict[str, tuple[Formula, tuple[str, ...]]]:
    """For each rule its formula and the parts of it that may be changed into ours."""
    trove = tool == "datatrove"
    share: dict[str, tuple[Formula, tuple[str, ...]]] = {
        "gopher words < 50": (lambda t, w, c: len(text_words(c, t, w, tool)) < 50, ("words",)),
        "gopher words > 100000": (lambda t, w, c: len(text_words(c, t, w, tool)) > 100_000, ("words",)),
        "gopher alphabetic words < 0.8": (lambda t, w, c: alphabetic(words_for(c, t, w)) < 0.8, ("words",)),
        "gopher bullet lines > 0.9": (lambda t, w, c: bullets(t, c, tool) > 0.9, ("bullets", "lines")),
        "gopher ellipsis lines > 0.3": (lambda t, w, c: ellipsis_lines(t, c, tool) > 0.3, ("ellipsis", "lines")),
        "c4 curly bracket": (lambda t, w, c: "{" in t, ("lines",)),
        "c4 lorem ipsum": (lambda t, w, c: "lorem ipsum" in t.lower(), ("lines",)),
    }
    for n in (2, 3, 4):
        share[f"top {n}-gram > {GRAMS[n]}"] = (
            lambda t, w, c, n=n: top(t, w, c, n, tool) > GRAMS[n],
            ("words", "overlaps", "once", *(("characters",) if trove else ())),
        )
    for n in range(5, 11):
        parts = ("words", "copies", "characters") if trove else ("words", "overlaps")
        share[f"repeated {n}-grams > {GRAMS[n]}"] = (lambda t, w, c, n=n: dup(t, w, c, n, tool) > GRAMS[n], parts)
    return share | (datatrove() if trove else dolma())


def mean_length(t: str, w: Sequence[str], c: Changed) -> float:
    words = text_words(c, t, w, "datatrove")
    return divide(sum(map(len, words)), len(words), 5)


def trove_symbols(t: str, w: Sequence[str], c: Changed) -> bool:
    words = words_for(c, t, w)
    ellipses = len(re.findall(r"\.*…[.…]*|\.{3,}", t)) if "ellipsis" in c else t.count("...") + t.count("…")
    return divide(max(t.count("#"), ellipses), len(words)) > 0.1


def trove_stops(t: str, w: Sequence[str], c: Changed) -> bool:
    words = [strip(word) for word in our_words(t)] if "words" in c else w
    return len({word.lower() if "case" in c else word for word in words} & STOP_WORDS) < 2


def trove_lines(t: str, c: Changed) -> list[str]:
    return our_lines(t) if "lines" in c else re.split("\n+", t)


def trove_paragraphs(t: str, c: Changed) -> list[str]:
    return our_paragraphs(t) if "paragraphs" in c else re.split("\n{2,}", t.strip())


def trove_chars(t: str, c: Changed) -> int:
    return sum(map(len, our_lines(t))) if "denominator" in c else len(t)


def fineweb_lines(t: str, c: Changed) -> list[str]:
    return our_lines(t) if "lines" in c else [line for line in t.split("\n") if line.strip()]


def fineweb_terminal(t: str, w: Sequence[str], c: Changed) -> bool:
    lines = fineweb_lines(t, c)
    ends = (*TERMINATORS, *'…"”»」』') if "marks" in c else tuple(STOP_CHARS)
    return divide(sum(line.endswith(ends) for line in lines), len(lines), 1) < 0.12


def fineweb_short(t: str, w: Sequence[str], c: Changed) -> bool:
    lines = fineweb_lines(t, c)
    return divide(sum(len(line) <= 30 for line in lines), len(lines)) > 0.67


def fineweb_repeats(t: str, w: Sequence[str], c: Changed) -> bool:
    lines = fineweb_lines(t, c)
    return (
        divide(later(lines)[1], sum(map(len, our_lines(t))) if "denominator" in c else len(t.replace("\n", ""))) > 0.01
    )


def fineweb_newlines(t: str, w: Sequence[str], c: Changed) -> bool:
    breaks = len(re.findall("\r\n|[\r\n]", t)) if "lines" in c else t.count("\n")
    return divide(breaks, len(words_for(c, t, w))) > 0.3


def c4_long_lines(t: str, w: Sequence[str], c: Changed) -> bool:
    lines = our_lines(t) if "lines" in c else t.split("\n")
    return sum(len(line) >= 200 for line in lines) < 3


def datatrove() -> dict[str, tuple[Formula, tuple[str, ...]]]:
    return {
        "gopher mean word length < 3": (lambda t, w, c: mean_length(t, w, c) < 3, ("words",)),
        "gopher mean word length > 10": (lambda t, w, c: mean_length(t, w, c) > 10, ("words",)),
        "gopher symbols > 0.1": (trove_symbols, ("words", "ellipsis")),
        "gopher stop words < 2": (trove_stops, ("words", "case")),
        "repeated lines > 0.3": (lambda t, w, c: share_of(trove_lines(t, c)) > 0.3, ("lines",)),
        "repeated paragraphs > 0.3": (lambda t, w, c: share_of(trove_paragraphs(t, c)) > 0.3, ("paragraphs",)),
        "repeated line characters > 0.2": (
            lambda t, w, c: divide(later(trove_lines(t, c))[1], trove_chars(t, c)) > 0.2,
            ("lines", "denominator"),
        ),
        "repeated paragraph characters > 0.2": (
            lambda t, w, c: divide(later(trove_paragraphs(t, c), "paragraphs" not in c)[1], trove_chars(t, c)) > 0.2,
            ("paragraphs", "denominator"),
        ),
        "c4 sentences < 3": (sentences, ("sentences", "marks", "citations", "words")),
        "c4 long lines < 3": (c4_long_lines, ("lines",)),
        "fineweb terminal lines < 0.12": (fineweb_terminal, ("marks", "lines")),
        "fineweb short lines > 0.67": (fineweb_short, ("lines",)),
        "fineweb repeated line characters > 0.01": (fineweb_repeats, ("lines", "denominator")),
        "fineweb newlines per word > 0.3": (fineweb_newlines, ("words", "lines")),
    }


def median_length(t: str, w: Sequence[str], c: Changed) -> float:
    return statistics.median(map(len, words_for(c, t, w)))


def dolma_symbols(t: str, w: Sequence[str], c: Changed) -> bool:
    words = words_for(c, t, w)
    has = ("#", "…", "...") if "ellipsis" in c else ("#", "…")
    return divide(sum(any(s in word for s in has) for word in words), len(words)) > 0.1


def dolma_stops(t: str, w: Sequence[str], c: Changed) -> bool:
    words = [strip(word) if "words" in c else word for word in (our_words(t) if "words" in c else w)]
    return sum((word.lower() if "case" in c else word) in STOP_WORDS for word in words) < 2


def dolma_copies(t: str, c: Changed) -> tuple[float, float]:
    lines = our_lines(t) if "lines" in c else re.split(r"\n+", t)
    counts = Counter(lines)
    again = [line for line in lines if counts[line] > 1]
    whole = sum(map(len, our_lines(t))) if "denominator" in c else len("".join(t.split()))
    return divide(len(again), len(lines)), divide(sum(map(len, again)), whole)


def dolma() -> dict[str, tuple[Formula, tuple[str, ...]]]:
    return {
        "median word length < 3": (lambda t, w, c: median_length(t, w, c) < 3, ("words",)),
        "median word length > 10": (lambda t, w, c: median_length(t, w, c) > 10, ("words",)),
        "words with symbols > 0.1": (dolma_symbols, ("words", "ellipsis")),
        "occurrences of stop words < 2": (dolma_stops, ("words", "case")),
        "copies of lines > 0.3": (lambda t, w, c: dolma_copies(t, c)[0] > 0.3, ("lines",)),
        "characters in copies of lines > 0.2": (lambda t, w, c: dolma_copies(t, c)[1] > 0.2, ("lines", "denominator")),
        "c4 javascript": (lambda t, w, c: "javascript" in t.lower(), ("lines",)),
    }


def strip(word: str) -> str:
    inner = [i for i, char in enumerate(word) if unicodedata.category(char)[0] in "LNM"]
    return word[inner[0] : inner[-1] + 1] if inner else ""


def alphabetic(words: Sequence[str]) -> float:
    return divide(sum(any(map(str.isalpha, word)) for word in words), len(words), 1)


def share_of(items: Sequence[str]) -> float:
    return divide(later(items)[0], len(items))


def bullets(t: str, c: Changed, tool: str) -> float:
    trove = tool == "datatrove"
    lines = our_lines(t) if "lines" in c else t.splitlines() if trove else re.split(r"\n+", t)
    if "bullets" in c:
        starts = [line.lstrip() for line in lines]
        found = sum(s.startswith(OUR_BULLETS) or (s.split() or [""])[0] in OUR_DASHES for s in starts)
    else:
        found = sum(line.lstrip().startswith(("•", "-")) if trove else line.startswith(("*", "-")) for line in lines)
    return divide(found, len(lines))


def ellipsis_lines(t: str, c: Changed, tool: str) -> float:
    trove = tool == "datatrove"
    lines = our_lines(t) if "lines" in c else t.splitlines() if trove else re.split(r"\n+", t)
    ends = ("...", "…") if trove or "ellipsis" in c else ("…",)
    return divide(sum((line.rstrip() if trove else line).endswith(ends) for line in lines), len(lines))


def spread(words: Sequence[str], n: int) -> list[tuple[str, ...]]:
    return list(zip(*(words[i:] for i in range(n)), strict=False))


def covered(words: Sequence[str], grams: Sequence[tuple[str, ...]], n: int, chosen: set[tuple[str, ...]]) -> int:
    inside = {i + k for i, gram in enumerate(grams) if gram in chosen for k in range(n)}
    return sum(len(words[i]) for i in inside)


def top(t: str, w: Sequence[str], c: Changed, n: int, tool: str) -> float:
    trove = tool == "datatrove"
    words = shared_words(t) if "words" in c else w
    grams = spread(words, n)
    if not grams:
        return 0.0
    counts = Counter(grams)
    gram, count = counts.most_common(1)[0]
    if count == 1 and "once" in c:
        return 0.0
    joined = trove and "characters" not in c
    whole = len(t) if joined else sum(map(len, words))
    if "overlaps" in c:
        tied = [one for one, times in counts.items() if times == count]
        return divide(max(covered(words, grams, n, {one}) + joined * (n - 1) * count for one in tied), whole)
    return divide(count * (sum(map(len, gram)) + joined * (n - 1)), whole)


def dup(t: str, w: Sequence[str], c: Changed, n: int, tool: str) -> float:
    trove = tool == "datatrove"
    words = shared_words(t) if "words" in c else w
    grams = spread(words, n)
    whole = len(t) if trove and "characters" not in c else sum(map(len, words))
    counts = Counter(grams)
    again = {gram for gram, count in counts.items() if count > 1}
    if trove and "copies" not in c:
        at, seen, chars = 0, set(), 0
        while at < len(grams):
            step = n if "".join(grams[at]) in seen else 1
            chars += len("".join(grams[at])) if step == n else 0
            seen.add("".join(grams[at]))
            at += step
        return divide(chars, whole)
    if not trove and "overlaps" not in c:
        mass = [(count, sum(map(len, gram)) * count) for gram, count in counts.items()]
        return divide(sum(chars for count, chars in mass if count > 1), sum(chars for _, chars in mass))
    return divide(covered(words, grams, n, again), whole)


def sentences(t: str, w: Sequence[str], c: Changed) -> bool:
    """As datatrove has it but for its sentences, which come from a tokenizer; they are taken for ours."""
    found = 0
    for raw in t.splitlines():
        line = raw.strip()
        words = our_words(line) if "words" in c else line.split()
        line = line if "citations" in c else MARKS.sub("", line)
        ends = (*TERMINATORS, *'"”»」』') if "marks" in c else tuple(PEER_TERMINALS)
        if (
            any(len(word) > 1000 for word in words)
            or not line.endswith(ends)
            or line.endswith(("...", "…") if "marks" in c else "...")
        ):
            continue
        lower = line.lower()
        if len(words) < 5 or "javascript" in lower or any(phrase in lower for phrase in POLICIES):
            continue
        ended = sum(word.rstrip("\"'”’»」』)]}）］｝】》〉")[-1:] in TERMINATORS for word in our_words(line)[:-1])
        found += ended + 1
    return found < 3


def rules_of(tool: str) -> list[str]:
    return list(formulas(tool))


def causes(tool: str, rule: str, text: str, other: dict[str, Any]) -> str:
    """The fewest parts whose change gives our verdict."""
    formula, parts = formulas(tool)[rule]
    words = other.get("words") or text.split()
    wanted = rule not in other["fired"]
    if rule == "c4 sentences < 3" and formula(text, words, frozenset()) == wanted:
        return "sentences"
    for count in range(1, len(parts) + 1):
        for chosen in combinations(parts, count):
            if formula(text, words, frozenset(chosen)) == wanted:
                return " + ".join(chosen)
    return "unexplained"
