"""Figures of docs/perplexity.md: n-gram models beside lmplz and kenlm.

    scripts/bench/models.py equal DATA LMPLZ    our estimator's n-grams and numbers beside lmplz's, 1 MB and 50 MB
    scripts/bench/models.py order DATA LMPLZ    bits of held-out text, other text and noise
    scripts/bench/models.py speed DATA LMPLZ [PEER]  MB of text per core-second, beside kenlm's module; and, where PEER
                                                is a Python that has datatrove and kenlm, beside two of its steps
    scripts/bench/models.py train DATA LMPLZ    seconds and memory of training on 100 MB

DATA is a folder of corpora (``wikipedia_en.jsonl.zst`` and others), LMPLZ the one that scripts/build_kenlm.sh filled.
"""

import json
import os
import random
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pyarrow as pa
import zstandard

from curate.language_models import arpa
from curate.language_models.ccnet import normalize
from curate.language_models.kneser_ney import estimate
from curate.language_models.ngram import NgramModel, load
from curate.language_models.scorer import Scorer, open_scorer
from curate.language_models.segmentation import TextForm, cut
from curate.language_models.tokens import tokenize
from curate.language_models.training import FOLDER, Collected, train, train_with_lmplz
from curate.language_models.vocabulary import Vocabulary, with_bounds
from curate.text.batch import TextBatch

FORM = TextForm()
PATTERN = re.compile(r"\w+|[^\w\s]")


def texts(data: Path, name: str, limit: int | None = None, split: str | None = None) -> list[str]:
    """Documents of a corpus, the first `limit` of them or those of one split."""
    found = []
    with zstandard.open(data / f"{name}.jsonl.zst", "rt", encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            if split is None or row["meta"]["split"] == split:
                found.append(row["text"])
            if len(found) == limit:
                break
    return found


def batch(documents: list[str]) -> TextBatch:
    return TextBatch(pa.array(documents, pa.large_string()))


def collect(documents: list[str], most: float = float("inf")) -> Collected:
    """Token ids of documents, of about the first `most` bytes."""
    vocabulary, parts, size = Vocabulary(), [], 0
    for start in range(0, len(documents), 1000):
        part = documents[start : start + 1000]
        seen = cut(batch(part), FORM)
        parts.append(with_bounds(vocabulary.add(seen.hashes, seen.texts), seen.offsets))
        size += sum(len(text.encode()) for text in part)
        if size > most:
            break
    return Collected(np.concatenate(parts), vocabulary.words, vocabulary.hashes)


def sections(path: Path) -> Iterator[tuple[list[str], np.ndarray]]:
    """N-grams as text and numbers, by order, 2^20 at a time."""
    grams: list[str] = []
    numbers: list[tuple[float, float]] = []
    with path.open() as file:
        for line in file:
            fields = line.rstrip("\n").split("\t")
            if len(fields) > 1:
                grams.append(fields[1])
                numbers.append((float(fields[0]), float(fields[2]) if len(fields) > 2 else 0.0))
            if len(grams) == 1 << 20 or (line.endswith("-grams:\n") and grams):
                yield grams, np.array(numbers)
                grams, numbers = [], []
    yield grams, np.array(numbers)


def equal(data: Path, folder: str) -> None:
    documents = texts(data, "wikipedia_en")
    for size in (1e6, 50e6):
        text = collect(documents, size)
        for prune in ([0], [0, 0, 1]):
            with tempfile.TemporaryDirectory() as place:
                ours, theirs = Path(place, "ours"), Path(place, "theirs")
                found = estimate(text.ids, len(text.words), 5, prune)
                arpa.write(str(ours), found, text.ids, text.words)
                train_with_lmplz(text, {}, 5, prune, fallback=False, arpa_path=str(theirs))
                number, far = 0, np.zeros(2)
                for (a, x), (b, y) in zip(sections(ours), sections(theirs), strict=True):
                    assert a == b, "other n-grams, or in another order"
                    number += len(a)
                    far = np.maximum(far, np.abs(x - y).max(axis=0, initial=0))
                say(text=f"{size / 1e6:.0f} MB", prune=prune, ngrams=number, probability=far[0], backoff=far[1])


def shuffled(text: str, rng: random.Random) -> str:
    return "\n".join(" ".join(rng.sample(line.split(), len(line.split()))) for line in text.split("\n"))


def noisy(text: str, kind: str, rng: random.Random) -> str:
    """A tenth of the words change places or are misspelled by one letter."""
    lines = [line.split() for line in text.split("\n")]
    places = [(i, j) for i, line in enumerate(lines) for j in range(len(line))]
    chosen = rng.sample(places, max(2, round(len(places) / 10)))
    words = [lines[i][j] for i, j in chosen]
    new = words[1:] + words[:1] if kind == "shuffled" else [misspelled(word, rng) for word in words]
    for (i, j), word in zip(chosen, new, strict=True):
        lines[i][j] = word
    return "\n".join(" ".join(line) for line in lines)


def misspelled(word: str, rng: random.Random) -> str:
    at = rng.randrange(len(word))
    kind = rng.randrange(3)
    if kind == 0 and at + 1 < len(word) and word[at] != word[at + 1]:
        return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    if kind == 1 and len(word) > 1:
        return word[:at] + word[at + 1 :]
    return word[:at] + rng.choice("abcdefghijklmnopqrstuvwxyz") + word[at:]


def split(documents: list[str]) -> tuple[list[str], list[str]]:
    """Documents to train on, and 1,500 that are held out."""
    order = random.Random(1).sample(range(len(documents)), len(documents))
    return [documents[i] for i in sorted(order[1500:])], [documents[i] for i in order[:1500]]


def order(data: Path, folder: str = "") -> None:
    training, held = split(texts(data, "wikipedia_en"))
    text = collect(training)
    wikitext = batch(texts(data, "wikitext2_valid_test", split="test"))
    for prune in ([0], [0, 0, 1]):
        models: dict[str, NgramModel] = {"built-in": train(text, {}, 5, prune, fallback=False, arpa_path=None)}
        with tempfile.TemporaryDirectory() as place:
            if folder:
                file = f"{place}/arpa"
                models["lmplz"] = train_with_lmplz(text, {}, 5, prune, fallback=False, arpa_path=file)
                say(
                    wikitext2_test=asked_of_kenlm(folder, file, wikitext),
                    estimator="lmplz, asked by kenlm",
                    prune=prune,
                )
        for name, model in models.items():
            sums = Scorer(model, FORM, None).score(wikitext)
            oov = sums.unknown.sum() / sums.tokens.sum()
            say(wikitext2_test=perplexity(sums), estimator=name, prune=prune, oov=oov)
    scorer = Scorer(models["built-in"], FORM, None)
    rng = random.Random(2)
    sentences = texts(data, "langid_sentences")
    others = {
        "held-out Wikipedia": held,
        "news (bbc_news)": texts(data, "bbc_news"),
        "news (ag_news)": texts(data, "ag_news"),
        "forum (reddit_selfposts)": texts(data, "reddit_selfposts", 4000),
        "held-out Wikipedia, words shuffled": [shuffled(t, rng) for t in held],
        "German (german_law)": texts(data, "german_law", 100),
        "75 languages (langid_sentences)": sentences,
        "Chinese (wikipedia_zh)": texts(data, "wikipedia_zh", 1000),
    }
    for name, documents in others.items():
        sums = scorer.score(batch(documents))
        chars = sum(map(len, documents))
        bits = -np.log2(10) * sums.log10_prob.sum()
        size = sum(len(t.encode()) for t in documents)
        say(text=name, bits_per_char=bits / chars, bits_per_byte=bits / size, perplexity=perplexity(sums))
    for name, documents in (("held-out Wikipedia", held), ("bbc_news", others["news (bbc_news)"])):
        plain = ["\n".join(" ".join(line.split()) for line in t.split("\n")) for t in documents if len(t.split()) >= 50]
        before = scorer.score(batch(plain))
        for kind in ("shuffled", "misspelled"):
            after = scorer.score(batch([noisy(t, kind, rng) for t in plain]))
            up = after.log10_prob < before.log10_prob
            say(text=name, noise=kind, documents=len(plain), share_with_more_bits=up.mean())


def asked_of_kenlm(folder: str, file: str, text: TextBatch) -> float:
    """Perplexity by kenlm's own module, a sentence at a time."""
    import kenlm  # type: ignore[import-not-found]

    subprocess.run([f"{folder}/build_binary", file, f"{file}.bin"], check=True, capture_output=True)
    model = kenlm.Model(f"{file}.bin")
    seen = cut(text, FORM)
    words = seen.texts(np.arange(len(seen.hashes)))
    lines = [words[a:b] for a, b in pairwise(seen.offsets.tolist()) if b > a]
    total = sum(model.score(" ".join(line)) for line in lines)
    return 10 ** (-total / sum(len(line) + 1 for line in lines))


def perplexity(sums: Any) -> float:
    return 10 ** (-sums.log10_prob.sum() / (sums.tokens.sum() + sums.sentences.sum()))


def fastest(work: Callable[[], object], times: int = 5) -> float:
    """The least of some processor times."""
    seconds = []
    for _ in range(times):
        start = time.process_time()
        work()
        seconds.append(time.process_time() - start)
    return min(seconds)


def speed(data: Path, folder: str, peer: str = "") -> None:
    import kenlm  # type: ignore[import-not-found]

    training, _ = split(texts(data, "wikipedia_en"))
    collected = collect(training)
    documents = texts(data, "bbc_news")
    text = batch(documents)
    size = float(text.offsets[-1]) / 1e6
    seen = cut(text, FORM)
    words = seen.texts(np.arange(len(seen.hashes)))
    lines = [" ".join(words[a:b]) for a, b in pairwise(seen.offsets.tolist())]

    def in_python(model: Any) -> None:
        for document in documents:
            for line in document.split("\n"):
                model.score(" ".join(PATTERN.findall(line.lower())))

    for prune in ([0, 0, 1], [0]):
        with tempfile.TemporaryDirectory() as place:
            train(collected, {}, 5, prune, fallback=False, arpa_path=f"{place}/arpa").save(f"{place}/lm")
            binary = subprocess.run([f"{folder}/build_binary", f"{place}/arpa", f"{place}/bin"], capture_output=True)
            assert binary.returncode == 0, binary.stderr
            model, other = load(f"{place}/lm"), kenlm.Model(f"{place}/bin")
            scorer = Scorer(model, FORM, None)
            far = np.abs(model.score(seen.hashes, seen.offsets).log10_prob - [other.score(line) for line in lines])
            ours = size / fastest(lambda s=scorer: s.score(text))
            theirs = {
                "kenlm, ready tokens": size / fastest(lambda m=other: [m.score(line) for line in lines], 3),
                "kenlm, cut into words by a regular expression": size / fastest(lambda m=other: in_python(m), 3),
            }
            if peer and prune != [0]:
                found = of_peers(peer, folder, training[:6000], documents)
                theirs |= {name: size / seconds for name, seconds in found.items()}
            say(prune=prune, ours_from_text=ours, farthest_sentence=far.max())
            for name, speed in theirs.items():
                say(prune=prune, of=name, mb_per_second=speed, ours_is_faster=ours / speed)
            profile(model, text, prune)
            bound(model, seen, prune)


def profile(model: NgramModel, text: TextBatch, prune: list[int]) -> None:
    """Nanoseconds per token of the steps of a score from text, of most by what it takes with them less without."""
    lines = normalize(text)
    seen = cut(text, FORM)
    hashes, offsets = seen.hashes, seen.offsets
    tokens = len(hashes) + len(offsets) - 1
    scorer = Scorer(model, FORM, None)
    sums = [
        fastest(lambda: normalize(text)),
        fastest(lambda: tokenize(lines, "words")),
        fastest(lambda: model.ids(hashes)),
    ]
    for order in range(1, model.order + 1):
        known = NgramModel({**model.meta, "order": order}, model._arrays)
        sums.append(fastest(lambda m=known: m.score(hashes, offsets)))
    whole = fastest(lambda: scorer.score(text))
    steps = {"normalize": sums[0], "cut into words": sums[1], "find words": sums[2], "unigrams": sums[3] - sums[2]}
    steps |= {f"{n}-grams": sums[2 + n] - sums[1 + n] for n in range(2, model.order + 1)}
    steps["sums of documents"] = whole - sums[0] - sums[1] - sums[-1]
    say(prune=prune, **{name.replace(" ", "_"): seconds / tokens * 1e9 for name, seconds in steps.items()})


@numba.njit
def gather(cells: np.ndarray, places: np.ndarray, found: np.ndarray) -> None:
    """Loads that do not wait for each other: what a query cannot do without, and nothing else."""
    for i in range(len(places)):
        found[np.uint64(i)] = cells[places[np.uint64(i)], 0]


PEER = """
import json, sys, time
kind, place, model, pieces = sys.argv[1:]
documents = json.load(open(place))
if kind == "ccnet":
    import kenlm, sentencepiece
    from datatrove.utils.perplexity import KenlmModel, SentencePiece
    step = KenlmModel("none", "en")
    step._model, step._tokenizer = kenlm.Model(model), SentencePiece("none", "en")
    step._tokenizer._model = sentencepiece.SentencePieceProcessor(model_file=pieces)
    work = step.get_perplexity
else:
    from datatrove.data import Document
    from datatrove.pipeline.filters.fasttext_filter import FastTextClassifierFilter
    step = FastTextClassifierFilter(model, keep_labels=[("bbc", 0.5)])
    step.model
    work = lambda text: step.filter(Document(text=text, id="0"))
work(documents[0])
seconds = []
for _ in range(3):
    start = time.process_time()
    for text in documents:
        work(text)
    seconds.append(time.process_time() - start)
print(min(seconds))
"""


def of_peers(peer: str, folder: str, training: list[str], documents: list[str]) -> dict[str, float]:
    """Seconds of datatrove's CCNet perplexity and fastText filter, and of ours with the files that the former has."""
    import fasttext
    import sentencepiece

    with tempfile.TemporaryDirectory() as place:
        lines = normalize(batch(training))
        text = lines.data.tobytes()
        sentences = [text[a:b].decode() for a, b in pairwise(lines.offsets.tolist())]
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(sentences), model_prefix=f"{place}/en.sp", vocab_size=16000, minloglevel=2,
            input_sentence_size=50000, num_threads=1,
        )  # fmt: skip
        processor = sentencepiece.SentencePieceProcessor(model_file=f"{place}/en.sp.model")
        Path(place, "pieces").write_text("\n".join(" ".join(processor.encode(s, out_type=str)) for s in sentences))
        lmplz = [f"{folder}/lmplz", "-o", "5", "--prune", "0", "0", "1", "-S", "10%", "-T", place]
        subprocess.run(
            [*lmplz, "--text", f"{place}/pieces", "--arpa", f"{place}/en.arpa"], check=True, capture_output=True
        )
        subprocess.run(
            [f"{folder}/build_binary", f"{place}/en.arpa", f"{place}/en.bin"], check=True, capture_output=True
        )
        rows = [f"__label__bbc {' '.join(t.split())}" for t in documents[::2]]
        rows += [f"__label__wiki {' '.join(t.split())}" for t in training[: len(rows)]]
        Path(place, "rows").write_text("\n".join(rows))
        fasttext.train_supervised(f"{place}/rows", wordNgrams=2, epoch=1, thread=1, verbose=0).save_model(f"{place}/ft")
        Path(place, "documents").write_text(json.dumps(documents))
        found = {}
        for name, kind, model in (("ccnet perplexity", "ccnet", "en.bin"), ("fastText filter", "fasttext", "ft")):
            command = [peer, "-c", PEER, kind, f"{place}/documents", f"{place}/{model}", f"{place}/en.sp.model"]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            found[f"datatrove: {name}"] = float(done.stdout.split()[-1])
        form = TextForm(sentences="document").model_dump_json()
        for name in ("en.bin", "en.arpa"):
            scorer = open_scorer(f"{place}/{name}", form, f"{place}/en.sp.model")
            found[f"ours with the same pieces, {name}"] = fastest(lambda s=scorer: s.score(batch(documents)), 3)
        found["SentencePiece alone"] = fastest(lambda: processor.encode(documents), 3)
    return found


def bound(model: NgramModel, seen: Any, prune: list[int]) -> None:
    """Nanoseconds of a query per token, and of one load at a random place of its table of n-grams."""
    cells, tokens = model._arrays["cells"], len(seen.hashes) + len(seen.offsets) - 1
    places = np.random.default_rng(0).integers(0, len(cells), 2_000_000).astype(np.uint64)
    found = np.empty(len(places), np.uint64)
    gather(cells, places, found)
    load = fastest(lambda: gather(cells, places, found)) / len(places)
    whole = fastest(lambda: model.score(seen.hashes, seen.offsets)) / tokens
    words = fastest(lambda: model.ids(seen.hashes)) / len(seen.hashes)
    say(
        prune=prune, table_mb=cells.nbytes / 1e6, ns_of_query_per_token=whole * 1e9, ns_of_finding_its_word=words * 1e9,
        ns_of_a_load=load * 1e9, loads_that_take_as_long=whole / load,
    )  # fmt: skip


def training(data: Path, folder: str) -> None:
    """Each estimator in a process of its own, on 100 MB of Wikipedia, papers and novels."""
    for estimator in ("builtin", "lmplz"):
        command = [sys.executable, __file__, f"train-{estimator}", str(data), folder]
        print(subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip(), flush=True)


def train_one(data: Path, folder: str, estimator: str) -> None:
    documents = [t for name in ("wikipedia_en", "acl_papers", "novels_en") for t in texts(data, name)]
    text = collect(documents, 100e6)
    del documents
    before = peak(resource.RUSAGE_SELF)
    for prune in ([0, 0, 1], [0]):
        start = time.perf_counter(), time.process_time()
        if estimator == "builtin":
            model = train(text, {}, 5, prune, fallback=False, arpa_path=None)
        else:
            model = train_with_lmplz(text, {}, 5, prune, fallback=False, arpa_path=None)
        wall, cpu = time.perf_counter() - start[0], time.process_time() - start[1]
        child = resource.getrusage(resource.RUSAGE_CHILDREN)
        say(
            estimator=estimator, prune=prune, tokens=len(text.ids), wall=wall, cpu=cpu, lmplz_cpu=child.ru_utime,
            before_gb=before, peak_gb=peak(resource.RUSAGE_SELF), lmplz_gb=peak(resource.RUSAGE_CHILDREN),
            cells_gb=model._arrays["cells"].nbytes / 1e9,
        )  # fmt: skip


def peak(who: int) -> float:
    return resource.getrusage(who).ru_maxrss / 1e6


def say(**facts: Any) -> None:
    shown = (f"{k}={v:.6g}" if isinstance(v, float | np.floating) else f"{k}={v}" for k, v in facts.items())
    print("  ".join(shown), flush=True)


if __name__ == "__main__":
    task, place, tools = sys.argv[1], Path(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else ""
    if tools:
        os.environ[FOLDER] = tools
    if task.startswith("train-"):
        train_one(place, tools, task.removeprefix("train-"))
    elif task == "speed":
        speed(place, tools, *sys.argv[4:5])
    else:
        {"equal": equal, "order": order, "train": training}[task](place, tools)
