"""The same documents through the filters of datatrove and dolma and through ours: agreement rule by rule.

    python scripts/bench/support/compare_signals.py [--data ../shared/data] [--venvs DIR] --out DIR

Peers run in their own environments (DIR/datatrove, DIR/dolma), see scripts/bench/support/peer_signals.py. Every
document on which a
rule and ours differ is put down to a cause: *words*, if the peer's own formula agrees with ours once it is given
our
words; *copies*, *marks* and others (scripts/bench/support/signal_causes.py), if it does with that one part of its
definition changed into ours; two with a plus, if it takes both. What is left is *unexplained*.
"""

import argparse
import hashlib
import html
import io
import json
import re
import subprocess
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import zstandard
from support.signal_causes import causes, rules_of, use_marks

from curate.signals.measure import Limits, measure
from curate.signals.stopwords import ENGLISH_STOP_WORDS
from curate.text.batch import TextBatch
from curate.text.wordlists import compile_list

SOURCES = (
    *("wikipedia_en", "bbc_news", "ag_news", "movie_reviews", "product_reviews", "reddit_selfposts", "nltk_webtext"),
    *(
        "plos_articles",
        "acl_papers",
        "python_peps",
        "rust_rfcs",
        "dc_code",
        "us_speeches",
        "german_law",
        "wikipedia_zh",
    ),
    *("code_functions", "tinyshakespeare", "html_gold_readability", "html_gold_articles"),
)
LONGEST = 20_000  # characters of a document that are looked at
TAGS = re.compile(r"(?s)<(script|style).*?</\1>|<!--.*?-->|<[^>]*>")

Row = dict[str, Any]
Rule = Callable[[Row], bool]
GRAMS = {2: 0.2, 3: 0.18, 4: 0.16, 5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.1}
OURS: dict[str, Rule] = {
    "gopher words < 50": lambda row: row["gopher_words"] < 50,
    "gopher words > 100000": lambda row: row["gopher_words"] > 100_000,
    "gopher mean word length < 3": lambda row: row["gopher_mean_word_length"] < 3,
    "gopher mean word length > 10": lambda row: row["gopher_mean_word_length"] > 10,
    "gopher symbols > 0.1": lambda row: max(row["gopher_hash_ratio"], row["gopher_ellipsis_ratio"]) > 0.1,
    "gopher bullet lines > 0.9": lambda row: row["gopher_bullet_lines"] > 0.9,
    "gopher ellipsis lines > 0.3": lambda row: row["gopher_ellipsis_lines"] > 0.3,
    "gopher alphabetic words < 0.8": lambda row: row["gopher_alpha_words"] < 0.8,
    "gopher stop words < 2": lambda row: row["gopher_stop_words"] < 2,
    "occurrences of stop words < 2": lambda row: row["dclm_stop_words"] < 2,
    "median word length < 3": lambda row: row["dolma_median_word_length"] < 3,
    "median word length > 10": lambda row: row["dolma_median_word_length"] > 10,
    "words with symbols > 0.1": lambda row: row["dolma_symbol_words"] > 0.1,
    "repeated lines > 0.3": lambda row: row["rep_dup_lines"] > 0.3,
    "repeated paragraphs > 0.3": lambda row: row["rep_dup_paragraphs"] > 0.3,
    "repeated line characters > 0.2": lambda row: row["rep_dup_line_chars"] > 0.2,
    "repeated paragraph characters > 0.2": lambda row: row["rep_dup_paragraph_chars"] > 0.2,
    "copies of lines > 0.3": lambda row: row["dolma_repeated_lines"] > 0.3,
    "characters in copies of lines > 0.2": lambda row: row["dolma_repeated_line_chars"] > 0.2,
    **{f"top {n}-gram > {GRAMS[n]}": lambda row, n=n: row[f"rep_top_{n}gram_chars"] > GRAMS[n] for n in (2, 3, 4)},
    **{
        f"repeated {n}-grams > {GRAMS[n]}": lambda row, n=n: row[f"rep_dup_{n}gram_chars"] > GRAMS[n]
        for n in range(5, 11)
    },
    "c4 sentences < 3": lambda row: row["c4_kept_sentences"] < 3,
    "c4 curly bracket": lambda row: row["c4_curly_brackets"] > 0,
    "c4 lorem ipsum": lambda row: row["c4_lorem_ipsum"],
    "c4 javascript": lambda row: row["c4_javascript_lines"] > 0,
    "c4 long lines < 3": lambda row: row["c4_long_lines"] < 3,
    "fineweb terminal lines < 0.12": lambda row: row["fineweb_terminal_lines"] < 0.12,
    "fineweb short lines > 0.67": lambda row: row["fineweb_short_lines"] > 0.67,
    "fineweb repeated line characters > 0.01": lambda row: row["rep_dup_line_chars"] > 0.01,
    "fineweb newlines per word > 0.3": lambda row: row["fineweb_newlines_per_word"] > 0.3,
}


def sample(data: Path, count: int) -> list[dict[str, str]]:
    """Real documents, as many of each corpus as there are, those with the smallest hash of their id first."""
    found = []
    for name in SOURCES:
        with io.TextIOWrapper(
            zstandard.ZstdDecompressor().stream_reader((data / f"{name}.jsonl.zst").open("rb")), "utf-8"
        ) as rows:
            documents = [json.loads(row) for row in rows]
        if name.startswith("html_"):  # a page without its tags: text with all that surrounds it
            documents = [row | {"text": html.unescape(TAGS.sub("\n", row["html"]))} for row in documents]
        documents = [{"id": f"{name}/{row['id']}", "text": (row["text"] or "")[:LONGEST]} for row in documents]
        documents = [row for row in documents if row["text"].strip()]
        documents.sort(key=lambda row: hashlib.sha256(row["id"].encode()).digest())
        found.append(documents)
    share = count // len(found)
    chosen = [row for documents in found for row in documents[:share]]
    rest = [row for rank in range(share, count) for documents in found for row in documents[rank : rank + 1]]
    return chosen + rest[: count - len(chosen)]


def ours(texts: Sequence[str]) -> list[Row]:
    columns = measure(TextBatch(pa.array(texts, pa.large_string())), Limits(), compile_list(ENGLISH_STOP_WORDS))
    return [{name: values[i].item() for name, values in columns.items()} for i in range(len(texts))]


def theirs(venvs: Path, tool: str, source: Path) -> list[dict[str, Any]]:
    target = source.with_name(f"{tool}.jsonl")
    script = Path(__file__).with_name("peer_signals.py")
    subprocess.run(
        [venvs / tool / "bin" / "python", script, tool, source, target], check=True, stderr=subprocess.DEVNULL
    )
    if tool == "datatrove":
        use_marks(json.loads(Path(f"{target}.marks").read_text(encoding="utf-8")))
    return [json.loads(line) for line in target.read_text(encoding="utf-8").split("\n") if line]


def kappa(both: int, only_theirs: int, only_ours: int, neither: int) -> float:
    """Cohen's; 1 where both always say the same."""
    count = both + only_theirs + only_ours + neither
    observed = (both + neither) / count
    chance = ((both + only_theirs) * (both + only_ours) + (neither + only_theirs) * (neither + only_ours)) / count**2
    return 1.0 if chance == 1 else (observed - chance) / (1 - chance)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[4] / "shared" / "data")
    parser.add_argument("--venvs", type=Path, default=Path.home() / ".cache" / "curate-peers")
    parser.add_argument("--documents", type=int, default=2000)
    parser.add_argument("--out", type=Path, required=True, help="folder for what the tools say")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    documents = sample(options.data, options.documents)
    source = options.out / "documents.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in documents), encoding="utf-8")
    print(f"{len(documents)} documents, {sum(len(row['text'].encode()) for row in documents) / 1e6:.1f} MB")
    rows = ours([row["text"] for row in documents])
    for tool in ("datatrove", "dolma"):
        table(tool, documents, rows, theirs(options.venvs, tool, source))


def table(tool: str, documents: list[dict[str, str]], rows: list[Row], said: list[dict[str, Any]]) -> None:
    print(f"\n| {tool} | both drop | only {tool} | only ours | agree % | kappa | why |\n|---|---|---|---|---|---|---|")
    for rule in rules_of(tool):
        counts: Counter[tuple[bool, bool]] = Counter()
        why: Counter[str] = Counter()
        for document, row, other in zip(documents, rows, said, strict=True):
            pair = rule in other["fired"], bool(OURS[rule](row))
            counts[pair] += 1
            if pair[0] != pair[1]:
                why[causes(tool, rule, document["text"], other)] += 1
        cells = counts[True, True], counts[True, False], counts[False, True], counts[False, False]
        reasons = ", ".join(f"{name} {count}" for name, count in why.most_common())
        agree = 100 * (cells[0] + cells[3]) / len(rows)
        print(f"| {rule} | {cells[0]} | {cells[1]} | {cells[2]} | {agree:.1f} | {kappa(*cells):.2f} | {reasons} |")


if __name__ == "__main__":
    main()
