"""Damage done on purpose to documents, for benchmarks that must tell the damaged from the whole."""

import random
from collections.abc import Callable


def shuffled(text: str, rng: random.Random) -> str:
    words = text.split()
    rng.shuffle(words)
    return " ".join(words)


def truncated(text: str, rng: random.Random) -> str:
    """From within a word to within a word."""
    start = rng.randrange(max(len(text) // 2, 1))
    return text[start : start + len(text) // 2]


def repeated(text: str, rng: random.Random) -> str:
    words = text.split()
    start = rng.randrange(max(len(words) - 8, 1))
    piece = words[start : start + 8]
    return " ".join(words[: len(words) // 2] + piece * (len(words) // 16 + 1))


def ocr(text: str, rng: random.Random) -> str:
    """One in ten of some letters is read wrongly."""
    like = {"l": "1", "o": "0", "e": "c", "m": "rn", "i": "l", "s": "5", "a": "o", "t": "f", "h": "b", "n": "u"}
    return "".join(like.get(char, char) if rng.random() < 0.1 else char for char in text)


def boilerplate(text: str, rng: random.Random) -> str:
    menu = [
        "Home",
        "About us",
        "Contact",
        "Privacy policy",
        "Terms of use",
        "Log in",
        "Sign up",
        "Share this",
        "Read more",
    ]
    lines = text.split("\n")
    for _ in range(max(len(lines) // 3, 3)):
        lines.insert(rng.randrange(len(lines) + 1), " ".join(rng.sample(menu, 4)))
    return "\n".join(lines)


DAMAGE: dict[str, Callable[[str, random.Random], str]] = {
    "words shuffled": shuffled,
    "truncated": truncated,
    "machine-repeated": repeated,
    "OCR noise": ocr,
    "boilerplate": boilerplate,
}
