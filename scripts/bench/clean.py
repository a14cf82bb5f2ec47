"""What cleaning costs, changes and finds, on real text.

    python scripts/bench/clean.py [--data FOLDER] [--mb 8] [--planted 2000]

Per corpus and set of options: MB of text per core-second (processor time of the whole process, the best of three), and
the counts of every kind of change. Then the steps by themselves on the mix of all corpora, and the recall of personal
data planted between words of real sentences, beside its precision: hits in the same text before anything was planted.
"""

import argparse
import io
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import zstandard

from curate.cleaning.pii import KINDS, find
from curate.stages.clean import Clean, Log, clean_texts
from curate.text.batch import TextBatch

BATCH = 1024
ALL = ("email", "ip", "phone", "iban", "card")
OPTIONS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "c4 lines": {"lines": "c4"},
    "refinedweb lines": {"lines": "refinedweb"},
    "pii": {"pii": ALL},
    "everything": {
        "lines": {"preset": "refinedweb", "citations": True, "javascript": True, "policy": True, "terminal": True},
        "pii": ALL,
        "inner_spaces": True,
        "stripped_entities": True,
    },
}
OFF = {"mojibake": False, "entities": "off", "control": False, "invisible": False, "line_ends": False}
OFF |= {"spaces": False, "trailing_spaces": False, "max_blank_lines": None}
STEPS: dict[str, dict[str, Any]] = {
    "nothing": OFF,
    "mojibake and entities": OFF | {"mojibake": True, "entities": "auto"},
    "characters and white space": {"mojibake": False, "entities": "off"},
    "c4 lines": OFF | {"lines": "c4"},
    "refinedweb lines": OFF | {"lines": "refinedweb"},
    "citations": OFF | {"lines": {"citations": True}},
    **{kind: OFF | {"pii": [kind]} for kind in ALL},
}


def texts_of(path: Path, limit: int) -> pa.Array:
    """The first documents of a corpus, `limit` bytes of them."""
    texts, size = [], 0
    with zstandard.open(path, "rb") as file:
        for line in io.BufferedReader(file):  # type: ignore[arg-type]
            text = orjson.loads(line).get("text")
            if text:
                texts.append(text)
                size += len(text)
            if size > limit:
                break
    return pa.array(texts, pa.large_string())


def clean(stage: Clean, texts: pa.Array) -> list[Log]:
    """Clean in batches, as a run does."""
    return [clean_texts(stage, texts[start : start + BATCH])[1] for start in range(0, len(texts), BATCH)]


def rate(work: Callable[[], Any], size: int) -> float:
    """MB per core-second."""
    best = float("inf")
    for _ in range(3):
        start = time.process_time()
        work()
        best = min(best, time.process_time() - start)
    return size / 1e6 / best


def counts(logs: list[Log]) -> dict[str, tuple[int, int]]:
    """Documents and places by kind."""
    found: dict[str, tuple[int, int]] = {}
    for log in logs:
        for kind, (places, _) in log.kinds.items():
            documents, total = found.get(kind, (0, 0))
            found[kind] = documents + int((places > 0).sum()), total + int(places.sum())
    return found


def size_of(texts: pa.Array) -> int:
    """Bytes of text."""
    offsets = TextBatch(texts).offsets
    return int(offsets[-1] - offsets[0])


def check_digits(country: str, account: str) -> str:
    """An IBAN: ISO 13616, section 6."""
    digits = "".join(str(int(char, 36)) for char in account + country + "00")
    return f"{country}{98 - int(digits) % 97:02d}{account}"


def luhn(digits: str) -> str:
    """Digits with their check digit behind (ISO/IEC 7812-1, annex B)."""
    total = sum(sum(divmod(int(digit) * (2 - i % 2), 10)) for i, digit in enumerate(reversed(digits)))
    return digits + str(-total % 10)


def grouped(text: str, mark: str) -> str:
    """In groups of four."""
    return mark.join(text[i : i + 4] for i in range(0, len(text), 4))


def planted(rng: random.Random, kind: str) -> str:
    """Made-up personal data of a kind."""

    def number(count: int) -> str:
        return "".join(rng.choices("0123456789", k=count))

    word = "".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(3, 9)))
    if kind == "email":
        local = rng.choice([word, f"{word}.{number(2)}", f"{word}_{word[:2]}", f"{word}+list", f"{word[0]}-{word}"])
        return f"{local}@{word[::-1]}.{rng.choice(['com', 'org', 'co.uk', 'de', 'museum'])}"
    if kind == "ip":
        if rng.random() < 0.2:
            return f"2a0{number(1)}:" + ":".join(f"{rng.randrange(1, 65536):x}" for _ in range(7))
        return ".".join(str(rng.randrange(32, 224) if i == 0 else rng.randrange(256)) for i in range(4))
    if kind == "iban":
        account = rng.choice([("DE", number(18)), ("GB", "NWBK" + number(14)), ("NL", "ABNA" + number(10))])
        return rng.choice([str, lambda text: grouped(text, " ")])(check_digits(*account))
    if kind == "card":
        card = luhn(rng.choice(["4" + number(14), "5" + rng.choice("12345") + number(13), "6011" + number(11)]))
        return rng.choice([str, lambda text: grouped(text, " "), lambda text: grouped(text, "-")])(card)
    area, exchange, line = rng.choice("23456789") + number(2), rng.choice("23456789") + number(2), number(4)
    forms = [f"({area}) {exchange}-{line}", f"{area}-{exchange}-{line}", f"+1 {area} {exchange} {line}"]
    return rng.choice([*forms, f"+44 20 7{number(3)} {number(4)}", f"+49 30 {number(3)} {number(4)}"])


def recall(texts: list[str], count: int) -> None:
    """Plant and look; an address in a range that is not public is not planted data."""
    from ipaddress import ip_address

    rng = random.Random(4)
    for kind in ALL:
        found = wrong = tried = 0
        while tried < count:
            words = rng.choice(texts).split(" ")
            place, secret = rng.randrange(len(words) + 1), planted(rng, kind)
            if kind == "ip" and not ip_address(secret).is_global:
                continue
            tried += 1
            context = words[max(place - 12, 0) : place], words[place : place + 12]
            text = " ".join([*context[0], secret + rng.choice(["", "", ".", ","]), *context[1]]).encode()
            hits = find(np.frombuffer(text, np.uint8), np.array([0, len(text)]), ALL)
            got = [(KINDS[k], text[a:b].decode()) for a, b, k in zip(*hits, strict=True)]
            found += (kind, secret) in got
            wrong += sum(name != kind and (value in secret or secret in value) for name, value in got)
        print(f"  {kind:<6} found whole {found / tried:7.2%} of {tried:,}; taken for another kind {wrong / tried:.2%}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[3] / "shared" / "data")
    parser.add_argument("--mb", type=float, default=8, help="of text of each corpus")
    parser.add_argument("--planted", type=int, default=2000, help="of each kind of personal data")
    parser.add_argument("--corpora", nargs="*", default=[], help="names; all of the folder unless given")
    args = parser.parse_args()
    names = args.corpora or sorted(path.name.split(".")[0] for path in args.data.glob("*.jsonl.zst"))
    corpora = {name: texts_of(args.data / f"{name}.jsonl.zst", int(args.mb * 1e6)) for name in names}
    corpora = {name: texts for name, texts in corpora.items() if len(texts)}
    mix = pa.concat_arrays(list(corpora.values()))
    size = size_of(mix)
    print(f"MB per core-second, by options; mix: {size / 1e6:.1f} MB, {len(mix):,} documents")
    for title, options in OPTIONS.items():
        stage = Clean.model_validate(options)
        clean(stage, mix[:BATCH])
        print(f"  {title:<28} {rate(lambda stage=stage: clean(stage, mix), size):8.1f}")
    print("MB per core-second, each step by itself")
    for title, options in STEPS.items():
        stage = Clean.model_validate(options)
        print(f"  {title:<28} {rate(lambda stage=stage: clean(stage, mix), size):8.1f}")
    print("defaults and personal data, by corpus: documents with a change (places)")
    for name, texts in corpora.items():
        logs = clean(Clean(pii=ALL), texts)
        speed = rate(lambda texts=texts: clean(Clean(), texts), size_of(texts))
        told = ", ".join(f"{kind} {docs:,} ({places:,})" for kind, (docs, places) in sorted(counts(logs).items()))
        print(f"  {name} ({len(texts):,} documents, {size_of(texts) / 1e6:.1f} MB, {speed:.0f} MB/s): {told}")
    print("recall of planted personal data")
    recall([text for text in mix.to_pylist()[:: max(len(mix) // 3000, 1)] if len(text) > 200], args.planted)


if __name__ == "__main__":
    main()
