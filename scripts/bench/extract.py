r"""How well and how fast the extractors of `extract` work: python scripts/bench/extract.py DATA [--limit N]

DATA is the folder with `html_gold_articles.jsonl.zst` and `html_gold_readability.jsonl.zst`.

Scores are those of scrapinghub's article-extraction-benchmark (`evaluate.py`): of the text's tokens (runs of `\w`) the
bag of all runs of four (fewer in a shorter text); of a page, true positives are the size of the intersection of the
bags of gold and found text, and precision and recall its share of the found and of the gold bag. Means are over pages;
F1 is of mean precision and mean recall. Beside them the same with bags of single tokens.

The gold of `html_gold_readability` is the reviewed output of Mozilla's Readability, tags stripped: it favors what works
like Readability. The gold of `html_gold_articles` was typed by people, and is the article's body without its title.

Processor time is that of `extract_page` in the extractor's process: text, title and language, without the start of the
process and without the pipe. A short page is extracted before, so that imports do not count. Each setting runs
alone, in one process; the best of `--repeat` rounds counts.
"""

import argparse
import json
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import zstandard

from curate.cleaning.html import extract_page
from curate.engine.guarded import CallError, Guarded, TimedOutError

BLOCKS = {"p", "div", "br", "li", "tr", "td", "th", "h1", "h2", "h3", "h4", "h5", "h6", "section", "article", "pre"}
DEFAULT = {"main_content": True, "comments": False, "tables": True, "links": False, "favor": "balanced"}
SETTINGS: dict[str, dict[str, Any]] = {
    "resiliparse": {"extractor": "resiliparse"},
    "resiliparse, whole page": {"extractor": "resiliparse", "main_content": False},
    "trafilatura": {"extractor": "trafilatura"},
    "trafilatura, precision": {"extractor": "trafilatura", "favor": "precision"},
    "trafilatura, recall": {"extractor": "trafilatura", "favor": "recall"},
}
WARM_UP = (
    "<html><body><article><p>A page that makes the extractor import all that it needs.</p></article></body></html>"
)


class Stripper(HTMLParser):
    """Text of trusted HTML: tags out, a space for each block."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        """A block begins."""
        if tag in BLOCKS:
            self.parts.append(" ")

    def handle_endtag(self, tag: str) -> None:
        """A block ends."""
        if tag in BLOCKS:
            self.parts.append(" ")

    def handle_data(self, data: str) -> None:
        """Text."""
        self.parts.append(data)


def stripped(page: str) -> str:
    parser = Stripper()
    parser.feed(page)
    return "".join(parser.parts)


def rows(path: Path) -> Iterator[dict[str, Any]]:
    with zstandard.open(path, "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def gold(data: Path) -> dict[str, list[tuple[str, str]]]:
    articles = [(row["html"], row["text"]) for row in rows(data / "html_gold_articles.jsonl.zst")]
    readable = rows(data / "html_gold_readability.jsonl.zst")
    return {"articles": articles, "readability": [(r["html"], stripped(r["expected_html"])) for r in readable]}


def bag(text: str, size: int) -> Counter[tuple[str, ...]]:
    tokens = re.findall(r"\w+", text)
    size = max(min(size, len(tokens)), 1)
    return Counter(tuple(tokens[i : i + size]) for i in range(len(tokens) - size + 1)) if tokens else Counter()


def score(pairs: list[tuple[str, str]], size: int) -> tuple[float, float, float]:
    """Mean precision, mean recall, and F1 of them; a page without text found has no precision, as in the benchmark."""
    precisions, recalls = [], []
    for expected, found in pairs:
        want, have = bag(expected, size), bag(found, size)
        common = (want & have).total()
        if have:
            precisions.append(common / have.total())
        if want:
            recalls.append(common / want.total())
    precision, recall = (sum(values) / max(len(values), 1) for values in (precisions, recalls))
    return precision, recall, 2 * precision * recall / max(precision + recall, 1e-12)


def timed_page(data: bytes, options: dict[str, Any]) -> bytes:
    """What the child runs: the page's text, and the processor seconds that it took."""
    before = time.process_time()
    found = extract_page(data, options)
    return json.dumps({"seconds": time.process_time() - before, "text": json.loads(found)["text"]}).encode()


def run(pages: list[str], options: dict[str, Any], timeout: float) -> tuple[list[str], Counter[str], float]:
    """Texts, what went wrong, and processor seconds; a page that is ended counts with its limit."""
    texts, failed, seconds = [], Counter(), 0.0
    with Guarded("bench_extract:timed_page", DEFAULT | options, timeout, warm_up=WARM_UP) as guarded:
        for page in pages:
            try:
                found = json.loads(guarded.call(page.encode("utf-8", "replace")))
                texts.append(found["text"])
                seconds += found["seconds"]
                failed["no text"] += not found["text"]
            except TimedOutError:
                failed["timeouts"] += 1
                seconds += timeout
                texts.append("")
            except CallError:
                failed["failures"] += 1
                texts.append("")
    return texts, failed, seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--limit", type=int, default=None, help="pages of each set")
    parser.add_argument("--timeout", type=float, default=10, help="processor seconds of a page")
    parser.add_argument("--repeat", type=int, default=1, help="rounds, of which the fastest counts")
    parser.add_argument("--only", default="", help="settings whose name begins so")
    arguments = parser.parse_args()
    print(f"{'pages':16} {'extractor':24} {'4-gram P':>9} {'R':>6} {'F1':>6} {'token P':>9} {'R':>6} {'F1':>6}", end="")
    print(f" {'pages/s':>8} {'MB/s':>6} {'no text':>8} {'timeouts':>9} {'failures':>9}")
    for name, pairs in gold(arguments.data).items():
        pairs = pairs[: arguments.limit]
        pages = [page for page, _ in pairs]
        size = sum(len(page.encode("utf-8", "replace")) for page in pages)
        for setting, options in SETTINGS.items():
            if not setting.startswith(arguments.only):
                continue
            started = time.perf_counter()
            rounds = [run(pages, options, arguments.timeout) for _ in range(arguments.repeat)]
            texts, failed, seconds = min(rounds, key=lambda found: found[2])
            scored = [(expected, text) for (_, expected), text in zip(pairs, texts, strict=True)]
            shown = [f"{value:6.3f}" for value in (*score(scored, 4), *score(scored, 1))]
            head = f"{f'{len(pages)} {name}':16} {setting:24} {shown[0]:>9} {shown[1]} {shown[2]}"
            print(f"{head} {shown[3]:>9} {shown[4]} {shown[5]}", end="")
            slowest = max(found[2] for found in rounds) / seconds
            speed = f" {len(pages) / seconds:8.1f} {size / 1e6 / seconds:6.2f}"
            print(f"{speed} {failed['no text']:8} {failed['timeouts']:9} {failed['failures']:9}", flush=True)
            print(
                f"{name}, {setting}: {time.perf_counter() - started:.0f} s, slowest round {slowest:.2f} x",
                file=sys.stderr,
            )


if __name__ == "__main__":
    main()
