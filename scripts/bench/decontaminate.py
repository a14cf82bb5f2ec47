"""Decontamination measured: planted benchmark items found, false hits on clean text, size of the index, cost.

    python scripts/bench/decontaminate.py --data FOLDER [--items 500] [--work FOLDER] [--peer PYTHON]

FOLDER holds `benchmark_bbh.jsonl.zst` and corpora as JSON lines under zstd. Items are planted into documents of
`wikipedia_en`; every corpus is read as it is as well, and what is found there is listed. --peer is the interpreter of
an environment with datatrove, whose n-gram filter then reads the same documents. Cost is processor time.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import zstandard

from curate import Pipeline
from curate.contamination.index import open_index
from curate.contamination.manifest import DecontaminateBody
from curate.contamination.ngrams import find
from curate.contamination.overlap import overlap
from curate.text.batch import TextBatch

BENCHMARK = "benchmark_bbh.jsonl.zst"
CARRIER = "wikipedia_en"
CLEAN = (
    *(CARRIER, "wikitext2_valid_test", "bbc_news", "acl_papers", "plos_articles", "python_peps", "rust_rfcs"),
    *("novels_en", "us_speeches", "tinyshakespeare", "movie_reviews", "dc_code", "code_functions", "german_law"),
    *("reddit_selfposts", "nltk_webtext", "product_reviews", "ag_news", "wikipedia_zh"),
)
PRINTED = {
    CARRIER,
    "wikitext2_valid_test",
    "python_peps",
    "rust_rfcs",
    "novels_en",
    "acl_papers",
    "dc_code",
    "movie_reviews",
}
THRESHOLDS = (0.1, 0.3, 0.5, 0.8)
Edit = Callable[[list[str], random.Random, list[str]], list[str]]


def records(path: Path) -> Iterator[dict[str, Any]]:
    with zstandard.open(path, "rt", encoding="utf-8") as file:
        yield from map(json.loads, file)


def as_it_is(words: list[str], _: random.Random, __: list[str]) -> list[str]:
    return words


def restyled(words: list[str], rng: random.Random, _: list[str]) -> list[str]:
    """Other case, punctuation and white space around the same words."""
    changed = []
    for word in words:
        word = rng.choice([str.upper, str.lower, str.title])(word)
        inner = "".join(c if c.isalnum() or c == "'" else rng.choice([" ", " - ", f" {c} "]) for c in word)
        changed.append(inner + rng.choice(["", ",", ".", ";", "\n", "  ", " *", '"', "\t"]))
    return changed


def part(share: float) -> Edit:
    def taken(words: list[str], rng: random.Random, _: list[str]) -> list[str]:
        count = max(round(share * len(words)), 1)
        start = rng.randrange(len(words) - count + 1)
        return words[start : start + count]

    return taken


def edited(rate: float) -> Edit:
    def replaced(words: list[str], rng: random.Random, others: list[str]) -> list[str]:
        return [rng.choice(others) if rng.random() < rate else word for word in words]

    return replaced


KINDS: dict[str, tuple[Edit, bool]] = {
    "verbatim": (as_it_is, False),
    "case, punctuation, white space": (restyled, False),
    "wrapped in other text": (as_it_is, True),
    "restyled and wrapped": (restyled, True),
    "half of it, wrapped": (part(0.5), True),
    "30 % of it, wrapped": (part(0.3), True),
    "2 % of words changed": (edited(0.02), True),
    "5 % of words changed": (edited(0.05), True),
    "10 % of words changed": (edited(0.10), True),
    "20 % of words changed": (edited(0.20), True),
}


def plant(items: list[dict[str, Any]], carriers: list[str], count: int) -> Iterator[dict[str, Any]]:
    """Documents with one item each; their ids say which kind and item."""
    for kind, (edit, wrapped) in KINDS.items():
        rng = random.Random(kind)
        for item in rng.sample(items, count):
            around = rng.choice(carriers).split()
            text = " ".join(edit(item["text"].split(), rng, around))
            if wrapped:
                middle = len(around) // 2
                text = " ".join([*around[:middle], text, *around[middle:]])
            yield {"id": f"{kind}|{item['id']}", "text": text}


def write(path: Path, rows: Iterator[dict[str, Any]]) -> None:
    with zstandard.open(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def run(work: Path, data: Path, sources: dict[str, Path], **fields: Any) -> tuple[Pipeline, pl.DataFrame]:
    """Read the sources and mark them; the columns."""
    read = {"sources": {name: {"path": str(path)} for name, path in sources.items()}}
    bench = {"bbh": {"path": str(data / BENCHMARK), "fields": ["text"]}}
    stages = {"read": read, "decontaminate": {"benchmarks": bench, **fields}}
    pipeline = Pipeline.from_mapping({"run": {"root": str(work)}, "engine": {"workers": 1}, "stages": stages})
    pipeline.run()
    frames = []
    for shard in pipeline.nodes["read"].artifact.shards():
        documents = pl.read_parquet(pipeline.nodes["read"].artifact.part(shard.name), columns=["source", "source_id"])
        scores = pl.read_parquet(pipeline.nodes["decontaminate"].artifact.part(shard.name))
        size = pl.read_parquet(pipeline.nodes["read"].artifact.part(shard.name), columns=["text"])
        frames.append(
            pl.concat([documents, scores, size.select(bytes=pl.col("text").str.len_bytes())], how="horizontal")
        )
    return pipeline, pl.concat(frames, how="vertical_relaxed").with_columns(pl.col("source").cast(pl.String))


def table(head: list[str], rows: list[list[Any]]) -> None:
    print("| " + " | ".join(head) + " |\n|" + "---|" * len(head))
    for row in rows:
        print("| " + " | ".join(str(cell) for cell in row) + " |")
    print()


def share(values: pl.Series) -> str:
    return f"{100 * float(values.mean() or 0):.1f} %"  # type: ignore[arg-type]


def originals(items: list[dict[str, Any]]) -> dict[str, str]:
    """The first item with the same words, which stands for all of them."""
    words = TextBatch(pa.array([item["text"] for item in items], pa.large_string())).words
    first: dict[bytes, str] = {}
    return {
        item["id"]: first.setdefault(words.hashes[low:high].tobytes(), item["id"])
        for item, (low, high) in zip(items, pairwise(words.offsets), strict=True)
    }


def recall(scores: pl.DataFrame, words: dict[str, int], original: dict[str, str], short: int) -> None:
    """Share of planted documents that are found, by kind and threshold, and whether the right item is named."""
    planted = scores.filter(pl.col("source") == "planted").with_columns(
        pl.col("source_id").str.split("|").list.to_struct(fields=["kind", "of"]).struct.unnest()
    )
    planted = planted.with_columns(
        words=pl.col("of").replace_strict(words),
        among=pl.col("decon_matches")
        .list.eval(pl.element().struct.field("item"))
        .list.contains(pl.col("of").replace_strict(original)),
        named=pl.col("decon_item") == pl.col("of").replace_strict(original),
    )
    rows = []
    for kind in KINDS:
        found = planted.filter(pl.col("kind") == kind)
        long = found.filter(pl.col("words") >= short)["decon_hits"] > 0
        brief = found.filter(pl.col("words") < short)["decon_hits"] > 0
        over = [share(found["decon_ratio"] >= threshold) for threshold in THRESHOLDS]
        named = share(found["among"]), share(found["named"].fill_null(value=False))
        rows.append([kind, share(found["decon_hits"] > 0), share(brief), share(long), *over, *named])
    over = [f"ratio >= {threshold}" for threshold in THRESHOLDS]
    table(["planted", "any hit", f"items < {short} words", "longer ones", *over, "among the matches", "best"], rows)


def clean(scores: pl.DataFrame) -> None:
    """Documents of clean text that have something in common with an item."""
    rows = []
    for source in CLEAN:
        found = scores.filter(pl.col("source") == source)
        over = [int((found["decon_ratio"] >= threshold).sum()) for threshold in THRESHOLDS]
        hits = int((found["decon_hits"] > 0).sum())
        rows.append([source, found.height, f"{int(found['bytes'].sum()) / 1e6:.1f}", hits, *over])
    over = [f"ratio >= {threshold}" for threshold in THRESHOLDS]
    table(["clean text", "documents", "MB", "any hit", *over], rows)


def natural(pipeline: Pipeline, scores: pl.DataFrame, most: int = 12) -> None:
    """The longest runs in clean text."""
    found = scores.filter(pl.col("source").is_in(sorted(PRINTED)) & (pl.col("decon_hits") > 0))
    for row in found.sort("decon_ratio", descending=True).head(most).iter_rows(named=True):
        match = max(row["decon_matches"], key=lambda m: m["ratio"])
        said = (
            f"{row['source']}/{row['source_id']}: {match['item']}, ratio {match['ratio']:.2f}, {match['longest']} words"
        )
        print(said, "|", text_of(pipeline, row["source"], row["source_id"], match["start"], match["end"]))
    print()


def text_of(pipeline: Pipeline, source: str, source_id: str, start: int, end: int) -> str:
    artifact = pipeline.nodes["read"].artifact
    for shard in artifact.shards():
        if shard.source == source:
            rows = pl.read_parquet(artifact.part(shard.name), columns=["source_id", "text"])
            for text in rows.filter(pl.col("source_id") == source_id)["text"]:
                return " ".join(text.encode()[start:end].decode().split())[:200]
    return ""


def cost(pipeline: Pipeline, texts: list[str]) -> None:
    """Size of the index, and processor time of the kernel, of the pass and of the run."""
    artifact = pipeline.nodes["decontaminate"].artifact
    made = artifact.body(DecontaminateBody)["index"]
    print(
        f"index: {made['ngrams']:,} n-grams, {made['bytes']:,} bytes, {made['bytes'] / made['ngrams']:.1f} per n-gram"
    )
    (receipt,) = artifact.receipts("index")
    print(f"made in {receipt.cpu_seconds:.2f} s of processor time, kernels loaded on the way")
    index, items = open_index(f"{artifact.path}/index")
    item_ngrams = items.column("ngrams").to_numpy().astype(np.int64)
    batch = TextBatch(pa.array(texts, pa.large_string()))
    size = int(batch.offsets[-1]) / 1e6

    def timed(work: Callable[[], Any]) -> float:
        work()
        best = float("inf")
        for _ in range(5):
            start = time.process_time()
            work()
            best = min(best, time.process_time() - start)
        return best

    segmentation = timed(lambda: TextBatch(batch.text).words)
    words = batch.words
    looking = timed(lambda: find(index, words.hashes, words.offsets))
    hits = find(index, words.hashes, words.offsets)
    gathering = timed(lambda: overlap(index, item_ngrams, words, hits))
    for what, seconds in (("segmentation", segmentation), ("look-up", looking), ("gathering", gathering)):
        print(f"{what}: {size:.1f} MB of {CARRIER} in {seconds:.3f} s, {size / seconds:,.0f} MB per core-second")
    documents = pipeline.nodes["read"].artifact.shards()
    total = sum(shard.text_bytes for shard in documents) / 1_000_000
    spent = sum(receipt.cpu_seconds for receipt in artifact.receipts())
    print(f"pass: {total:.1f} MB in {spent:.2f} s, {total / spent:,.0f} MB per core-second, segmentation included")
    print()


def larger(texts: list[str]) -> None:
    """The look-up in an index of other text than BBH: the filter no longer fits into a cache near the core."""
    from curate.contamination.ngrams import build_index, ngram_hashes

    words = TextBatch(pa.array(texts, pa.large_string())).words
    half = len(texts) // 2
    middle = words.offsets[half]
    start = time.process_time()
    keys, items = ngram_hashes(words.hashes[:middle], words.offsets[: half + 1], np.full(half, 13))
    index = build_index(keys, items, np.zeros(half, np.int64), np.array([13]), 10)
    built = time.process_time() - start
    offsets = words.offsets[half:] - middle
    find(index, words.hashes[middle:], offsets)
    start = time.process_time()
    find(index, words.hashes[middle:], offsets)
    spent = time.process_time() - start
    size = sum(len(text.encode()) for text in texts[half:]) / 1e6
    each = index.nbytes / len(index.keys)
    print(f"index of {len(index.keys):,} n-grams: {each:.1f} bytes per n-gram, made in {built:.1f} s;")
    print(f"look-up of n-grams of one length: {size / spent:,.0f} MB per core-second\n")


PEER = """
import sys, json, time, types
from datatrove.data import Document
from datatrove.pipeline.decont import NGramsDecontConfig, NGramsDecontFilter, NGramsDecontIndexer
from datatrove.utils.hashing import create_hash_func
from datatrove.utils.word_tokenizers import load_word_tokenizer
import numpy as np, os
items, documents, folder = sys.argv[1:]
config = NGramsDecontConfig()
tokenizer, hash_func = load_word_tokenizer("eng"), create_hash_func(config.hash_config)
own = types.SimpleNamespace(config=config, hash_func=hash_func, tokenizer=tokenizer)
hashes = set()
for line in open(items):
    hashes.update(NGramsDecontIndexer.compute_hashes(own, json.loads(line)["text"]))
os.makedirs(folder, exist_ok=True)
np.array(sorted(hashes), dtype=config.hash_config.np_descr).tofile(folder + "/bbh.index.hashes")
filter = NGramsDecontFilter(folder, config, language="eng")
filter.load_index_hashes()
found, size, start = {}, 0, time.process_time()
for line in open(documents):
    row = json.loads(line)
    size += len(row["text"].encode())
    found[row["id"]] = filter.filter(Document(text=row["text"], id=row["id"])) is not True
seconds = time.process_time() - start
print(json.dumps({"hashes": len(hashes), "seconds": seconds, "bytes": size, "found": found}))
"""


def peer(python: str, work: Path, items: list[dict[str, Any]], planted: list[dict[str, Any]], texts: list[str]) -> None:
    """The filter of datatrove on the planted documents and on some clean ones."""
    paths = work / "items.jsonl", work / "documents.jsonl"
    control = [{"id": f"clean|{n}", "text": text} for n, text in enumerate(texts)]
    for path, rows in zip(paths, (items, planted + control), strict=True):
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = subprocess.run(
        [python, "-c", PEER, *map(str, paths), str(work / "index")], capture_output=True, text=True, check=False
    )
    if done.returncode:
        print("datatrove does not run here:", (done.stderr.strip().splitlines() or [""])[-1])
        return
    result = json.loads(done.stdout.strip().splitlines()[-1])
    speed = result["bytes"] / 1e6 / result["seconds"]
    print(f"datatrove, 12-grams: {result['hashes']:,} hashes, {speed:.2f} MB per core-second")
    by_kind: dict[str, list[bool]] = {}
    for name, found in result["found"].items():
        by_kind.setdefault(name.split("|")[0], []).append(found)
    table(["planted", "documents", "found"], [[k, len(v), share(pl.Series(v))] for k, v in by_kind.items()])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--items", type=int, default=500, help="planted per kind")
    parser.add_argument("--work", type=Path)
    parser.add_argument("--peer", help="interpreter of an environment with datatrove")
    parser.add_argument("--peer-items", type=int, default=100, help="planted per kind, and clean documents")
    parser.add_argument("--ngram", type=int, default=13)
    parser.add_argument("--short-words", type=int, default=26)
    arguments = parser.parse_args()
    work = arguments.work or Path(tempfile.mkdtemp())
    work.mkdir(parents=True, exist_ok=True)
    carriers = [row["text"] for row in records(arguments.data / f"{CARRIER}.jsonl.zst")]
    items = list(records(arguments.data / BENCHMARK))
    lengths = np.diff(TextBatch(pa.array([item["text"] for item in items], pa.large_string())).words.offsets)
    words = {item["id"]: int(count) for item, count in zip(items, lengths, strict=True)}
    long = [item for item in items if words[item["id"]] >= 8]
    write(work / "planted.jsonl.zst", plant(long, carriers, arguments.items))
    sources = {"planted": work / "planted.jsonl.zst"}
    sources |= {name: arguments.data / f"{name}.jsonl.zst" for name in CLEAN}
    pipeline, scores = run(
        work / "run", arguments.data, sources, ngram=arguments.ngram, short_words=arguments.short_words
    )
    found = pipeline.nodes["decontaminate"].artifact.body(DecontaminateBody)["benchmarks"]["bbh"]
    print({key: found[key] for key in ("items", "checkable", "short", "shared", "copy", "ngrams")}, "\n")
    recall(scores, words, originals(items), arguments.short_words)
    clean(scores)
    natural(pipeline, scores)
    cost(pipeline, carriers)
    larger(carriers)
    if arguments.peer:
        peer(
            arguments.peer,
            work,
            items,
            list(plant(long, carriers, arguments.peer_items)),
            carriers[: arguments.peer_items],
        )


if __name__ == "__main__":
    sys.exit(main())
