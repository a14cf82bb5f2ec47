"""What all signals of `heuristics` cost for every document, beside the filters of other tools, in one sitting.

    python scripts/bench/signals.py [--mb 8] [--ours-mb 60] [--peers datatrove dolma nemo] [--venvs DIR] [--profile]

Processor seconds, user and system, children included. In memory: the text is there (ours: as Arrow) and nothing is
written. End to end: JSONL in, results out, start of the program included; ours is `curate run` with `read` and
`heuristics`, datatrove's and dolma's are scripts of the folder --bench. Peers get the first --mb of the corpus, since
they take long; what they cost per MB does not depend on how much there is.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from curate.signals import classes, composition, gopher, repetition, web
from curate.signals.c4 import c4, find_boilerplate, long_lines
from curate.signals.measure import Limits, measure
from curate.signals.stopwords import ENGLISH_STOP_WORDS
from curate.text.batch import TextBatch
from curate.text.scan import scan
from curate.text.wordlists import compile_list, count_entries

ROWS = 1024
IN_MEMORY, END_TO_END = "in memory", "end to end"
SCRIPTS = {"datatrove": ("bench_datatrove_filters.py", []), "dolma": ("bench_dolma.py", ["tag"])}


def run(command: list[str]) -> float:
    """Processor seconds of a command, its children included."""
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        said.seek(0)
        output = said.read()
    if status:
        raise SystemExit(f"{' '.join(command)} failed:\n{output[-3000:]}")
    return usage.ru_utime + usage.ru_stime


def megabytes(rows: list[dict[str, Any]]) -> float:
    return sum(len(row["text"].encode()) for row in rows) / 1e6


def corpus(options: argparse.Namespace, folder: Path) -> tuple[Path, Path, list[dict[str, Any]]]:
    """A file for us, a file for the peers (the first of it), and its rows."""
    run([sys.executable, f"{options.bench}/make_corpus.py", options.data, str(folder), f"{options.ours_mb:g}", "1"])
    whole = folder / "corpus.jsonl"
    rows = [json.loads(line) for line in whole.read_text(encoding="utf-8").split("\n") if line]
    chosen, size = [], 0.0
    for row in rows:
        if size >= options.mb:
            break
        chosen.append(row)
        size += len(row["text"].encode()) / 1e6
    part = folder / "part.jsonl"
    part.write_text("".join(json.dumps(row) + "\n" for row in chosen), encoding="utf-8")
    return whole, part, rows


def best(function: Callable[[], object], times: int = 3) -> float:
    seconds = []
    for _ in range(times):
        start = time.process_time()
        function()
        seconds.append(time.process_time() - start)
    return min(seconds)


def batches(rows: list[dict[str, Any]]) -> list[pa.Array]:
    texts = [row["text"] for row in rows]
    return [pa.array(texts[i : i + ROWS], pa.large_string()) for i in range(0, len(texts), ROWS)]


def ours_in_memory(arrays: list[pa.Array]) -> float:
    stop_words = compile_list(ENGLISH_STOP_WORDS)
    return best(lambda: [measure(TextBatch(array), Limits(), stop_words) for array in arrays])


def ours_end_to_end(path: Path, folder: Path) -> float:
    recipe = folder / "recipe.yaml"
    command = [sys.executable, "-m", "curate", "run", str(recipe)]
    seconds = []
    for attempt in range(2):
        recipe.write_text(
            f"run: {{root: {folder}/run{attempt}}}\nengine: {{workers: 1}}\n"
            f"stages: {{read: {{sources: {{all: {{path: {path}}}}}}}, heuristics: {{}}}}\n"
        )
        seconds.append(run(command))
    return min(seconds)


def profile(arrays: list[pa.Array], size: float) -> list[tuple[str, float]]:
    """Milliseconds per MB of each step, best of three passes."""
    stop_words = compile_list(ENGLISH_STOP_WORDS)
    found: dict[str, float] = {}
    for _ in range(3):
        spent: dict[str, float] = {}
        for array in arrays:
            batch = TextBatch(array)
            data, offsets = batch.data, batch.offsets

            def step(name: str, function: Callable[[], Any], spent: dict[str, float] = spent) -> Any:
                start = time.process_time()
                result = function()
                spent[name] = spent.get(name, 0.0) + time.process_time() - start
                return result

            step("(reading each byte once)", lambda d=data: int(np.bitwise_xor.reduce(d)))
            words = step("shared words and their hashes", lambda b=batch: b.words)
            counts, lines = step("words, lines, sentences, marks", lambda d=data, o=offsets: scan(d, o))
            made = step("characters, hashes of lines", lambda d=data, o=offsets, x=lines: composition.compose(d, o, x))
            phrases = step("phrases of C4", lambda d=data, x=lines: find_boilerplate(d, x))
            ngrams = step("n-grams, n = 1 to 10", lambda d=data, w=words: repetition.count_ngrams(d, w))
            repeats = step(
                "repeated lines, paragraphs",
                lambda x=lines, m=made: (repetition.repeated_lines(x, m), repetition.repeated_paragraphs(x, m)),
            )
            step(
                "patterns of RefinedWeb",
                lambda d=data, c=counts, x=lines, m=made: web.refinedweb(d, c, x, m, Limits().max_uppercase),
            )
            step("stop words", lambda w=words: count_entries(w, stop_words))
            step(
                "sums and ratios",
                lambda c=counts, x=lines, m=made, p=phrases, n=ngrams, r=repeats: (
                    gopher.gopher(c, x),
                    gopher.gopher_variants(c),
                    c4(c, x, p, 5, 1000),
                    long_lines(x, m, 200),
                    repetition.repetition(n, *r),
                    web.fineweb(c, x, m, 30),
                    web.madlad(c, x),
                    classes.nemo(c, x, m, p.policy),
                    classes.redpajama(c, x, m, n),
                ),
            )
        found = {name: min(seconds, found.get(name, seconds)) for name, seconds in spent.items()}
    return [(name, 1000 * seconds / size) for name, seconds in found.items()]


def peers(options: argparse.Namespace, part: Path, folder: Path) -> list[tuple[str, str, float]]:
    """Name, kind and processor seconds of what each tool does."""
    found = []
    script = str(Path(__file__).parent / "support" / "peer_signals.py")
    for tool in options.peers:
        python = str(options.venvs / tool / "bin" / "python")
        said = folder / f"{tool}.json"
        run([python, script, "--time", tool, str(part), str(said)])
        found += [(f"{tool}: {name}", IN_MEMORY, seconds) for name, seconds in json.loads(said.read_text()).items()]
        if tool in SCRIPTS:
            name, extra = SCRIPTS[tool]
            seconds = run([python, f"{options.bench}/{name}", str(part), str(folder / tool), "1", *extra])
            found.append((f"{tool}: {name}", END_TO_END, seconds))
    return found


def main() -> None:
    shared = Path(__file__).parents[3] / "shared"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=str(shared / "data"))
    parser.add_argument("--bench", default=str(shared / "bench"))
    parser.add_argument("--venvs", type=Path, default=Path.home() / ".cache" / "curate-peers")
    parser.add_argument("--mb", type=float, default=8, help="MB of text for the peers")
    parser.add_argument("--ours-mb", type=float, default=60, help="MB of text for us")
    parser.add_argument("--peers", nargs="*", default=["datatrove", "dolma", "nemo"])
    parser.add_argument("--profile", action="store_true", help="only what each step of ours costs")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        whole, part, rows = corpus(options, folder)
        arrays, size = batches(rows), megabytes(rows)
        measure(TextBatch(arrays[0]), Limits(), compile_list(["a"]))  # compiles the kernels
        if options.profile:
            for name, milliseconds in profile(arrays, size):
                print(f"| {name} | {milliseconds:.2f} | {1000 / milliseconds:.0f} |")
            return
        count = len(part.read_text(encoding="utf-8").splitlines())
        peer_size = megabytes(rows[:count])
        results = [("ours: all signals, every document", IN_MEMORY, ours_in_memory(arrays) / size)]
        results.append(("ours: curate run of read and heuristics", END_TO_END, ours_end_to_end(whole, folder) / size))
        results += [(name, kind, seconds / peer_size) for name, kind, seconds in peers(options, part, folder)]
    fast = {kind: seconds for name, kind, seconds in results if name.startswith("ours")}
    print(f"ours on {len(rows)} documents, {size:.1f} MB; peers on the first {count}, {peer_size:.1f} MB")
    print(
        "| what | how | CPU s per MB | MB per core-second | documents per core-second | times ours |\n"
        + "|---" * 6
        + "|"
    )
    for name, kind, seconds in results:
        rate = (len(rows) / size if name.startswith("ours") else count / peer_size) / seconds
        print(f"| {name} | {kind} | {seconds:.4f} | {1 / seconds:.2f} | {rate:,.0f} | {seconds / fast[kind]:.1f} |")


if __name__ == "__main__":
    main()
