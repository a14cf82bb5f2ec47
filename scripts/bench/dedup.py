"""`curate dedup` beside other tools, in one sitting: cost, recall of planted copies, documents lost.

    python scripts/bench/dedup.py [--mb 50] [--peers datatrove dolma] [--repeat 2]
    python scripts/bench/dedup.py --sizes 50 100 200 400 --peers    # cost by size, each corpus of another seed
    python scripts/bench/dedup.py --planted --bbc --kernel --peers  # other truths; the signature kernel by itself

Corpora and peers come from the folder given as --bench (its make_corpus.py, bench_*.py, score_*.py) and text from
--data; peers live in virtual environments under --venvs, made by setup_peers.sh. Compared are processor seconds, user
and system, children included: other figures depend on what else the machine does.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from curate.dedup.minhash import collision_probability, exact_jaccard, signatures
from curate.stats.intervals import wilson_interval
from curate.text.batch import TextBatch

BANDS, ROWS, NGRAM = 14, 8, 5
PART_MB = 200  # that the text makes a corpus of
PEERS = {
    "datatrove": ("datatrove", "bench_datatrove_minhash.py", []),
    "dolma paragraphs": ("dolma", "bench_dolma.py", ["paragraphs"]),
    "dolma documents": ("dolma", "bench_dolma.py", ["documents"]),
    "text-dedup": ("textdedup", "bench_textdedup040_minhash.py", []),
}
KINDS = ("exact", "near01", "near03", "near08", "near20")


class Cost(NamedTuple):
    """Processor and wall seconds, and MB of the largest process."""

    cpu: float
    wall: float
    peak: float


def run(command: list[str]) -> tuple[Cost, str]:
    """Run a command to its end, with what it prints."""
    start = time.perf_counter()
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        said.seek(0)
        output = said.read()
    if status:
        raise SystemExit(f"{' '.join(command)} failed:\n{output[-3000:]}")
    return Cost(usage.ru_utime + usage.ru_stime, time.perf_counter() - start, usage.ru_maxrss / 1024), output


def corpus(options: argparse.Namespace, folder: Path, megabytes: float, seed: int) -> Path:
    """A labelled corpus of real text; made once per size and seed."""
    out = folder / f"corpus-{megabytes:g}-{seed}"
    if not (out / "labels.jsonl").exists():
        run([sys.executable, f"{options.bench}/make_corpus.py", options.data, str(out), f"{megabytes:g}", str(seed)])
    return out


def deduplicate(inputs: list[str], out: Path, workers: int, *flags: str) -> Cost:
    """What the command costs from start to end."""
    command = [sys.executable, "-m", "curate", "dedup", *inputs, "--out", str(out), "--workers", str(workers), *flags]
    return run(command)[0]


def kept_ids(out: Path) -> set[str]:
    """The documents' own ids."""
    return {
        name for part in (out / "kept").iterdir() for name in pq.read_table(part, columns=["source_id"])[0].to_pylist()
    }


def score(options: argparse.Namespace, made: Path, kept: set[str], folder: Path) -> dict[str, Any]:
    """What score_dedup.py says of the ids that were kept."""
    listing = folder / "kept.txt"
    listing.write_text("\n".join(sorted(kept)))
    command = [sys.executable, f"{options.bench}/score_dedup.py", str(made / "labels.jsonl"), str(listing)]
    return json.loads(run(command)[1].splitlines()[-1])


def similarities(texts: list[str], pairs: np.ndarray) -> np.ndarray:
    """Exact Jaccard similarity of word 5-gram sets, with the kernels of the library."""
    batch = TextBatch(pa.array(texts, pa.large_string()))
    words = batch.words
    return exact_jaccard(words.hashes, words.offsets, pairs, NGRAM, np.zeros(len(texts), np.uint64))


def plain_similarity(a: str, b: str) -> float:
    """The same of one pair without them; for text without marks and of spaced scripts."""
    sets = []
    for text in (a, b):
        words = re.findall(r"[^\W_]+", text.lower())
        sets.append({tuple(words[i : i + NGRAM]) for i in range(max(len(words) - NGRAM, 0) + 1)})
    return len(sets[0] & sets[1]) / len(sets[0] | sets[1])


# -- tables ------------------------------------------------------------------------------------------------------------


def show(head: list[str], rows: list[list[str]]) -> None:
    """A Markdown table."""
    print("|", " | ".join(head), "|\n|" + "---|" * len(head))
    for row in rows:
        print("|", " | ".join(row), "|", flush=True)
    print(flush=True)


def compare(options: argparse.Namespace, folder: Path) -> None:
    """Curate and the peers on one corpus."""
    made = corpus(options, folder, options.mb, options.seed)
    path = made / "corpus.jsonl"
    megabytes = sum(len(json.loads(line)["text"].encode()) for line in path.open()) / 1e6
    best, kept = None, set()
    for number in range(options.repeat):
        out = folder / f"out-{number}"
        cost = deduplicate([str(path)], out, options.workers)
        best = cost if best is None or cost.cpu < best.cpu else best
        kept = kept_ids(out)
    assert best is not None
    head = ["tool", "CPU s", "MB per core-s", "ratio", "wall s", "peak MB", *KINDS, "groups lost", "singles removed"]
    rows = []

    def row(name: str, cost: Cost, ids: set[str]) -> None:
        scored = score(options, made, ids, folder)
        caught = [f"{scored['caught'].get(kind, float('nan')):.3f}" for kind in KINDS]
        speed = [f"{cost.cpu:.1f}", f"{megabytes / cost.cpu:.2f}", f"{cost.cpu / best.cpu:.1f}", f"{cost.wall:.1f}"]
        losses = [
            str(scored["lost_groups_with_copy"]),
            f"{scored['false_removed_singletons']} of {scored['singletons']}",
        ]
        rows.append([name, *speed, f"{cost.peak:.0f}", *caught, *losses])

    row("curate", best, kept)
    for name in options.peers:
        venv, script, extra = PEERS[name]
        python = Path(options.venvs).expanduser() / venv / "bin" / "python"
        if not python.exists():
            print(f"{name} is not installed under {options.venvs}")
            continue
        out = folder / name.replace(" ", "-")
        _, said = run([str(python), f"{options.bench}/{script}", str(path), str(out), "2", *extra])
        result = json.loads(next(line for line in reversed(said.splitlines()) if line.startswith('{"bench"')))
        cost = Cost(result["cpu_s"], result["wall_s"], result["maxrss_mb"])
        ids = set((out / "kept.txt").read_text().split())
        row(name, cost, ids)
        if venv == "dolma":  # which only marks until its mixer writes what is kept, as the others do by themselves
            mixed = dolma_mix(python, out, name.split()[-1])
            total = Cost(cost.cpu + mixed.cpu, cost.wall + mixed.wall, max(cost.peak, mixed.peak))
            row(f"{name}, and mix", total, ids)
    print(f"{megabytes:.1f} MB of text, seed {options.seed}, {options.workers} workers (peers: 2)\n")
    show(head, rows)
    recall(made, folder / "out-0", kept)
    spent(folder / "out-0")


def dolma_mix(python: Path, out: Path, mode: str) -> Cost:
    """Write the documents that dolma's marks leave, without the marked ones or without their marked paragraphs."""
    marked = {
        "documents": {"filter": {"exclude": ["$@.attributes[?(@.dup && @.dup[0] && @.dup[0][2] >= 1)]"]}},
        "paragraphs": {"span_replacement": [{"span": "$.attributes.dup", "min_score": 0.5, "replacement": ""}]},
    }
    stream = {
        "name": "kept",
        "documents": [f"{out}/data/documents/*.gz"],
        "output": {"path": f"{out}/kept", "max_size_in_bytes": 100_000_000},
        "attributes": ["dup"],
        **marked[mode],
    }
    config = out / "mix.json"
    config.write_text(json.dumps({"streams": [stream], "processes": 2}))
    return run([str(python.parent / "dolma"), "-c", str(config), "mix"])[0]


def recall(made: Path, out: Path, kept: set[str]) -> None:
    """Recall per kind of edit beside the formula at the true similarities; precision of what was dropped."""
    texts = {record["id"]: record["text"] for record in map(json.loads, (made / "corpus.jsonl").open())}
    groups = defaultdict(list)
    for label in map(json.loads, (made / "labels.jsonl").open()):
        groups[label["group"]].append(label)
    pairs = [(copy["kind"], orig["id"], copy["id"]) for orig, copy in map(_ordered, groups.values()) if copy]
    involved = {name: number for number, name in enumerate(dict.fromkeys(n for _, *both in pairs for n in both))}
    numbered = np.array([[involved[a], involved[b]] for _, a, b in pairs])
    close = similarities([texts[name] for name in involved], numbered)
    clusters = pl.read_parquet(out / "clusters.parquet")
    cluster = dict(clusters.select("source_id", "cluster").iter_rows())
    threshold = json.loads((out / "report.json").read_text())["settings"]["threshold"]
    rows = []
    for kind in KINDS:
        chosen = [number for number, pair in enumerate(pairs) if pair[0] == kind]
        jaccard = close[chosen]
        # Found: in one cluster, or both dropped for others, which natural duplicates of both are.
        met = [
            cluster.get(a, -1) == cluster.get(b, -2) or not ({a, b} & kept) or len({a, b} & kept) == 1
            for _, a, b in (pairs[number] for number in chosen)
        ]
        chance = collision_probability(jaccard, BANDS, ROWS)
        low, high = wilson_interval(sum(met), len(met))
        reached = float((chance * (jaccard >= threshold)).mean())
        figures = [f"{jaccard.mean():.3f}", f"{np.mean(met):.3f}", f"{low:.3f} to {high:.3f}", f"{chance.mean():.3f}"]
        rows.append([kind, str(len(chosen)), *figures, f"{reached:.3f}"])
    print("Recall of planted copies beside the formula at their exact similarities:\n")
    show(["kind", "pairs", "mean J", "found", "95 %", "formula", f"formula, J >= {threshold:.2f}"], rows)
    ascii_pairs = [(a, b, j) for (_, a, b), j in zip(pairs, close, strict=True) if (texts[a] + texts[b]).isascii()][
        :200
    ]
    worst = max((abs(plain_similarity(texts[a], texts[b]) - j) for a, b, j in ascii_pairs), default=0.0)
    print(f"Similarities of {len(ascii_pairs)} pairs by plain Python differ by at most {worst:.2g}.\n")
    dropped = pl.read_parquet(out / "pairs.parquet")
    names = {name: number for number, name in enumerate({*dropped["source_id"], *dropped["keeper_source_id"]})}
    numbered = np.array([[names[a], names[b]] for a, b in dropped.select("source_id", "keeper_source_id").iter_rows()])
    exact = similarities([texts[name] for name in names], numbered)
    reached = int((exact >= threshold - 1e-6).sum())
    low, high = wilson_interval(reached, len(exact))
    kept_keepers = set(dropped["keeper_source_id"]) <= kept
    print(
        f"Of {len(exact)} dropped documents, {reached} have a similarity of {threshold:.3f} or more to the one kept in "
        f"their place ({reached / len(exact):.4f}; 95 %: {low:.4f} to {high:.4f}); "
        f"largest error of the similarities told: {np.abs(exact - dropped['jaccard'].to_numpy()).max():.2g}; "
        f"every one of those is kept: {kept_keepers}.\n"
    )


def _ordered(group: list[dict[str, Any]]) -> tuple[dict[str, Any], dict[str, Any] | None]:
    originals = [label for label in group if label["kind"] == "orig"]
    return originals[0], next((label for label in group if label["kind"] != "orig"), None)


def spent(out: Path) -> None:
    """Processor seconds of each stage's tasks, as the receipts have them."""
    cost = json.loads((out / "report.json").read_text())["cost"]
    total = sum(cost["cpu_seconds"].values())
    rows = [[name, f"{seconds:.2f}", f"{seconds / total:.0%}"] for name, seconds in cost["cpu_seconds"].items()]
    print("Where the tasks spend their time (starting processes is not in it):\n")
    show(["stage", "CPU s", "share"], rows)


def by_size(options: argparse.Namespace, folder: Path) -> None:
    """Cost by size, each corpus of another seed; what is more than the text there is comes from several of them."""
    rows, seed = [], options.seed
    for size in options.sizes:
        parts = max(round(size / PART_MB), 1)
        paths = [corpus(options, folder, size / parts, seed + part) / "corpus.jsonl" for part in range(parts)]
        seeds = ", ".join(str(seed + part) for part in range(parts))
        seed += parts
        megabytes = sum(len(json.loads(line)["text"].encode()) for path in paths for line in path.open()) / 1e6
        out = folder / f"size-{size:g}"
        cost = deduplicate([f"part{number}={path}" for number, path in enumerate(paths)], out, options.workers)
        spent_in = json.loads((out / "report.json").read_text())["cost"]["cpu_seconds"]
        tasks = sum(spent_in.values())
        figures = [f"{megabytes:.1f}", f"{cost.cpu:.2f}", f"{megabytes / cost.cpu:.1f}", f"{tasks:.2f}"]
        rows.append([f"{size:g}", seeds, *figures, f"{megabytes / tasks:.1f}", f"{cost.peak:.0f}"])
    head = ["asked MB", "seeds", "MB of text", "CPU s", "MB per core-s", "CPU s of tasks", "MB per core-s", "peak MB"]
    show(head, rows)


def planted(options: argparse.Namespace, folder: Path) -> None:
    """Documents of known similarity, made up: what must go and what must stay."""
    made = folder / "planted"
    run([sys.executable, f"{options.bench}/make_planted.py", str(made)])
    out = folder / "planted-out"
    deduplicate(
        [str(made / "docs.jsonl")], out, options.workers, "--threshold", "0.7", "--recall", "0.999", "--closure"
    )
    guarded = folder / "planted-guarded"
    deduplicate([str(made / "docs.jsonl")], guarded, options.workers, "--threshold", "0.7", "--recall", "0.999")
    for name, results in (("closure", out), ("guarded", guarded)):
        listing = folder / f"planted-{name}.jsonl"
        listing.write_text("\n".join(json.dumps({"id": int(own)}) for own in sorted(kept_ids(results))))
        _, said = run([sys.executable, f"{options.bench}/score_planted.py", str(made), str(listing)])
        settings = json.loads((results / "report.json").read_text())["settings"]
        print(f"Planted set, {name}, {settings['bands']} x {settings['rows']}:\n{said}")


def news(options: argparse.Namespace, folder: Path) -> None:
    """News articles, with the exact similarity of all pairs at 0.3 and above."""
    truth = pl.read_csv(f"{options.data}/bbc_news.jaccard.tsv", separator="\t")
    rows = []
    for verify in ("jaccard", "off"):
        out = folder / f"bbc-{verify}"
        deduplicate([f"{options.data}/bbc_news.jsonl.zst"], out, options.workers, "--verify", verify)
        cluster = dict(pl.read_parquet(out / "clusters.parquet").select("source_id", "cluster").iter_rows())
        for low, high in ((0.8, 1.01), (0.7, 0.8), (0.5, 0.7), (0.3, 0.5)):
            some = truth.filter((pl.col("jaccard_word5") >= low) & (pl.col("jaccard_word5") < high))
            found = sum(cluster.get(a, -1) == cluster.get(b, -2) for a, b in some.select("id1", "id2").iter_rows())
            expected = collision_probability(some["jaccard_word5"].to_numpy(), BANDS, ROWS).sum()
            rows.append([verify, f"{low:.1f} to {min(high, 1.0):.1f}", str(some.height), str(found), f"{expected:.1f}"])
    show(["verify", "similarity", "pairs", "in one cluster", "formula"], rows)


def kernel(options: argparse.Namespace, folder: Path) -> None:
    """Signatures by themselves: finding and hashing words, hashing shingles, 112 minima; and datasketch."""
    path = corpus(options, folder, options.mb, options.seed) / "corpus.jsonl"
    texts = [json.loads(line)["text"] for line in path.open()]
    array = pa.array(texts, pa.large_string())
    batches = [array.slice(first, 1024) for first in range(0, len(array), 1024)]
    size = sum(len(text.encode()) for text in texts) / 1e6
    none = np.zeros(1024, np.uint64)
    words_best = signatures_best = float("inf")
    shingles = 0
    for _ in range(4):
        words_spent = signatures_spent = 0.0
        shingles = 0
        for slice_ in batches:
            start = time.process_time()
            words = TextBatch(slice_).words
            middle = time.process_time()
            signatures(words.hashes, words.offsets, NGRAM, BANDS * ROWS, 0, none[: len(slice_)])
            signatures_spent += time.process_time() - middle
            words_spent += middle - start
            shingles += int(np.maximum(np.diff(words.offsets) - NGRAM + 1, 1).sum())
        words_best, signatures_best = min(words_best, words_spent), min(signatures_best, signatures_spent)
    rows = [
        ["words", f"{size / words_best:.0f}"],
        ["signatures of words", f"{size / signatures_best:.0f}"],
        ["both", f"{size / (words_best + signatures_best):.0f}"],
    ]
    import datasketch

    some = texts[:300]
    start = time.process_time()
    for text in some:
        words = re.findall(r"[^\W_]+", text.lower())
        minhash = datasketch.MinHash(num_perm=BANDS * ROWS)
        minhash.update_batch([" ".join(words[i : i + NGRAM]).encode() for i in range(max(len(words) - NGRAM, 0) + 1)])
    spent_there = time.process_time() - start
    rows.append(["datasketch, both", f"{sum(len(text.encode()) for text in some) / 1e6 / spent_there:.1f}"])
    show([f"kernel, {BANDS * ROWS} minima", "MB per core-s"], rows)
    updates = shingles * BANDS * ROWS
    print(
        f"{shingles / size / 1e6:.3f} shingles per byte; {updates / signatures_best / 1e9:.1f} minima updated per ns "
        f"(multiply, add, minimum of 32 bits each), {3 * updates / signatures_best / 1e9 / 8:.2f} vector operations "
        f"of 8 lanes per ns\n"
    )


def main() -> None:
    """Choose what to run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    here = Path(__file__).resolve().parents[3] / "shared"
    parser.add_argument("--bench", default=str(here / "bench"))
    parser.add_argument("--data", default=str(here / "data"))
    parser.add_argument("--venvs", default="~/.cache/curate-peers")
    parser.add_argument("--mb", type=float, default=50)
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--repeat", type=int, default=2)
    parser.add_argument("--peers", nargs="*", default=["datatrove", "dolma paragraphs", "dolma documents"])
    parser.add_argument("--sizes", nargs="*", type=float, default=[])
    for flag in ("planted", "bbc", "kernel"):
        parser.add_argument(f"--{flag}", action="store_true")
    parser.add_argument("--folder", default="", help="where corpora and results stay; a temporary one unless given")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(options.folder or temporary)
        folder.mkdir(parents=True, exist_ok=True)
        deduplicate([str(_tiny(folder))], folder / "compiled", 1)  # kernels are compiled once per machine
        if options.sizes:
            by_size(options, folder)
        for flag, tell in (("planted", planted), ("bbc", news), ("kernel", kernel)):
            if getattr(options, flag):
                tell(options, folder)
        if not (options.sizes or options.planted or options.bbc or options.kernel):
            compare(options, folder)


def _tiny(folder: Path) -> Path:
    path = folder / "tiny.jsonl"
    path.write_text("".join(json.dumps({"id": str(i), "text": "one two three four five six"}) + "\n" for i in range(9)))
    return path


if __name__ == "__main__":
    main()
