"""Language identification on text whose language is known: right answers by threshold, confused pairs, mixed documents.

usage: python scripts/bench/langid.py ../shared/data [--model lid] [--only excerpts parts]

Sentences in 75 languages (about 1,000 each), documents made of them, German law, English and Chinese Wikipedia. Prints
Markdown tables. Speeds are of processor time, next to fastText's own loop over the same lines.
"""

import argparse
import io
import json
import random
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import zstandard

from curate import storage
from curate.io import pretrained
from curate.signals.stopwords import frequent_words
from curate.stages.langid import LangId
from curate.stages.stopwords import StopWordCounts
from curate.text.batch import TextBatch
from curate.text.wordlists import compile_list, count_entries

SAME = {"nb": "no"}  # a code of the data, and the model's for the same language
SERBO_CROATIAN = ("bs", "hr", "sh", "sr")
THRESHOLDS = (0.0, 0.3, 0.5, 0.65, 0.8, 0.9)
LENGTHS = (0, 50, 100, 150, 250, 10**9)  # bytes
BATCH = 1024
VARIANTS: dict[str, dict[str, Any]] = {
    "stage, all the text": {"max_chars": 10**7, "windows": 1},
    "stage, defaults": {},
    "`top: 5`": {"top": 5},
    "`max_chars: 512`": {"max_chars": 512},
    "`parts: line`": {"parts": "line"},
}
SECTIONS = ("sentences", "excerpts", "parts", "stopwords", "documents", "speed")
SETTINGS = ((1, 0), (30, 0), (60, 0), (100, 0), (1, 0.5), (30, 0.5), (60, 0.5), (100, 0.5), (60, 0.65), (60, 0.8))
PER_LANGUAGE = 20  # made documents
SENTENCES = 40  # of a made document


def rows_of(path: Path, limit: int = 10**9) -> Iterator[dict]:
    """Documents of a corpus."""
    with open(path, "rb") as file:
        for position, line in enumerate(io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(file), "utf-8")):
            if position == limit:
                return
            yield json.loads(line)


def annotated(texts: Sequence[str], **fields: object) -> tuple[pa.Table, float]:
    """Columns of the stage for `texts`, and the processor seconds that they took."""
    stage = LangId(**fields)  # type: ignore[arg-type]
    annotate, nothing = stage.load(), pa.RecordBatch.from_pydict({})
    annotate(TextBatch(pa.array(texts[:8], pa.large_string())), nothing)  # compiles
    batches = [TextBatch(pa.array(texts[at : at + BATCH], pa.large_string())) for at in range(0, len(texts), BATCH)]
    start = time.process_time()
    out = [annotate(batch, nothing) for batch in batches]
    seconds = time.process_time() - start
    return pa.Table.from_batches(out).unify_dictionaries(), seconds


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    print(f"\n| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for row in rows:
        print(f"| {' | '.join(map(str, row))} |")


def percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def macro_f1(truth: np.ndarray, found: np.ndarray, languages: Sequence[str]) -> float:
    """Mean F1 of `languages`; what is not in any language counts as missed."""
    scores = []
    for code in languages:
        right = np.count_nonzero((truth == code) & (found == code))
        scores.append(2 * right / max(np.count_nonzero(truth == code) + np.count_nonzero(found == code), 1))
    return float(np.mean(scores))


def by_threshold(truth: np.ndarray, found: np.ndarray, score: np.ndarray, known: set[str]) -> None:
    every = sorted(set(truth))
    covered = [code for code in every if code in known]
    inside = np.isin(truth, covered)
    merged_truth, merged = (np.where(np.isin(codes, SERBO_CROATIAN), "sh", codes) for codes in (truth, found))
    rows = []
    for threshold in THRESHOLDS:
        passed = score >= np.float32(threshold)
        cut = np.where(passed, found, "")
        rows.append(
            [
                threshold,
                percent(passed.mean()),
                percent((truth == found)[passed].mean()),
                f"{macro_f1(truth, cut, every):.3f}",
                percent(passed[inside].mean()),
                percent((truth == found)[passed & inside].mean()),
                f"{macro_f1(truth[inside], cut[inside], covered):.3f}",
                percent((merged_truth == merged)[passed & inside].mean()),
            ]
        )
    head = ["score at least", f"pass, of {len(every)} languages", "right of these", "macro-F1"]
    head += [f"pass, of the {len(covered)} known", "right of these", "macro-F1", "right, bs/hr/sr/sh as one"]
    print(f"\n{len(truth):,} sentences; the model does not know {', '.join(sorted(set(every) - known))}")
    table(head, rows)


def by_language(truth: np.ndarray, found: np.ndarray, score: np.ndarray, known: set[str]) -> None:
    pairs: Counter[tuple[str, str]] = Counter()
    wrong = Counter(zip(truth[truth != found], found[truth != found], strict=True))
    sure = (truth != found) & (score >= np.float32(0.65))
    wrong_sure = Counter(zip(truth[sure], found[sure], strict=True))
    for (one, other), count in wrong.items():
        if one in known:
            pairs[(one, other) if one < other else (other, one)] += count
    table(
        ["pair", "sentences confused", "which way", "of these with a score of 0.65 or more"],
        [
            [
                f"{a} / {b}",
                count,
                f"{a} as {b}: {wrong[a, b]}, {b} as {a}: {wrong[b, a]}",
                wrong_sure[a, b] + wrong_sure[b, a],
            ]
            for (a, b), count in pairs.most_common(20)
        ],
    )
    recalls = {code: float((found[truth == code] == code).mean()) for code in sorted(set(truth) & known)}
    precisions = {code: float((truth[found == code] == code).mean()) for code in recalls}
    low = sorted(recalls, key=lambda code: recalls[code])[:15]
    print("\nfound least: " + ", ".join(f"{code} {percent(recalls[code])}" for code in low))
    low = sorted(precisions, key=lambda code: precisions[code])[:10]
    print("right least when named: " + ", ".join(f"{code} {percent(precisions[code])}" for code in low))
    print(f"languages of which 95 % are found: {sum(value >= 0.95 for value in recalls.values())} of {len(recalls)}")
    table(
        ["language the model does not know", "taken for", "with a score of 0.65 or more"],
        [
            [
                code,
                ", ".join(f"{other} {n}" for other, n in Counter(found[truth == code]).most_common(4)),
                percent((score[truth == code] >= np.float32(0.65)).mean()),
            ]
            for code in sorted(set(truth) - known)
        ],
    )


def by_length(truth: np.ndarray, found: np.ndarray, score: np.ndarray, size: np.ndarray, latin: np.ndarray) -> None:
    """Sentences of the languages that the model knows; in Latin script, which most pairs to confuse are written in."""
    rows = []
    for low, high in pairwise(LENGTHS):
        inside = (size >= low) & (size < high)
        sure = inside & (score >= np.float32(0.65))
        rows.append(
            [
                f"{low} to {high}" if high < 10**9 else f"{low} and more",
                f"{inside.sum():,}",
                percent((truth == found)[inside].mean()),
                percent(sure.sum() / inside.sum()),
                percent((truth == found)[sure].mean()),
                f"{(inside & latin).sum():,}",
                percent((truth == found)[inside & latin].mean()),
                percent((sure & latin).sum() / (inside & latin).sum()),
                percent((truth == found)[sure & latin].mean()),
            ]
        )
    head = ["right", "score of 0.65 or more", "right of these"]
    table(["bytes", "sentences", *head, "in Latin script", *head], rows)


def speed(texts: Sequence[str], name: str) -> list[object]:
    """The stage next to fastText's loop and its call for many lines, which read all of the text; best of three."""
    model = pretrained.load_fasttext("lid")
    lines = [text.replace("\n", " ") for text in texts]
    size = sum(len(text.encode()) for text in texts) / 1e6

    def timed(call: Callable[[], object]) -> float:
        start = time.process_time()
        call()
        return time.process_time() - start

    def once() -> list[float]:
        bare = [timed(lambda: [model.predict(line, k=1) for line in lines]), timed(lambda: model.predict(lines, k=1))]
        return bare + [annotated(texts, **fields)[1] for fields in VARIANTS.values()]

    seconds = np.min([once() for _ in range(3)], axis=0)
    return [name, f"{size * 1e6 / len(texts):,.0f}", *(f"{size / s:.1f} ({len(texts) / s:,.0f})" for s in seconds)]


def made(by: dict[str, list[str]], share: float, where: str, seed: int) -> list[tuple[str, str]]:
    """Documents of a language of which `share` of the sentences, at the beginning or both ends, are in another."""
    rng = random.Random(seed)
    documents = []
    for code in sorted(by):
        other = "en" if code != "en" else "de"
        foreign = round(SENTENCES * share)
        for _ in range(PER_LANGUAGE):
            own, strange = rng.sample(by[code], SENTENCES - foreign), rng.sample(by[other], foreign)
            cut = foreign if where == "top" else foreign // 2
            documents.append((code, "\n".join([*strange[:cut], *own, *strange[cut:]])))
    return documents


def excerpt_table(by: dict[str, list[str]]) -> None:
    kinds = [made(by, 0, "top", 1), *(made(by, share, "top", 2) for share in (0.1, 0.2, 0.3, 0.4))]
    kinds.append(made(by, 0.3, "ends", 3))
    rows = []
    for max_chars, windows in (
        (128, 1), (256, 1), (256, 8), (512, 1), (512, 8), (1024, 1), (1024, 2), (1024, 4), (1024, 8), (1024, 16),
        (2048, 1), (2048, 8), (10**7, 1),
    ):  # fmt: skip
        row, spent = [], 0.0
        for documents in kinds:
            out, seconds = annotated([text for _, text in documents], max_chars=max_chars, windows=windows)
            spent += seconds
            found = out["lang_code"].to_pylist()
            row.append(percent(float(np.mean([a == b for a, (b, _) in zip(found, documents, strict=True)]))))
        size = sum(len(documents) for documents in kinds)
        rows.append([max_chars if max_chars < 10**7 else "all", windows, *row, f"{size / spent:,.0f}"])
    print(f"\n{len(kinds[0]):,} documents of {SENTENCES} sentences each")
    head = ["`max_chars`", "`windows`", "one language", "10 % English on top", "20 %", "30 %", "40 %"]
    table([*head, "15 % on top and below", "documents per core-second"], rows)


def mixed_table(by: dict[str, list[str]]) -> None:
    """Documents whose lines are in two or three languages: shares found next to shares planted."""
    rng = random.Random(5)
    codes = sorted(by)
    documents = []
    for _ in range(2000):
        languages = rng.sample(codes, rng.choice((1, 2, 2, 3)))
        lines = [(code, text) for code in languages for text in rng.sample(by[code], rng.randint(5, 25))]
        rng.shuffle(lines)
        total = sum(len(text.encode()) for _, text in lines)
        truth: dict[str, float] = defaultdict(float)
        for code, text in lines:
            truth[code] += len(text.encode()) / total
        documents.append((dict(truth), "\n".join(text for _, text in lines)))
    texts = [text for _, text in documents]
    rows = []
    for part_bytes, part_score in SETTINGS:
        out, _ = annotated(texts, parts="line", part_bytes=part_bytes, part_score=part_score)
        right, wrong, und, languages, extra = [], [], [], 0, 0
        for (truth, _), names, shares in zip(
            documents, out["lang_part_codes"].to_pylist(), out["lang_part_shares"].to_pylist(), strict=True
        ):
            found = dict(zip(names, shares, strict=True))
            right.append(sum(min(found.get(code, 0), share) for code, share in truth.items()))
            und.append(found.pop("und", 0.0))
            wrong.append(1 - right[-1] - und[-1])
            large = {code for code, share in found.items() if share >= 0.1}
            languages += large >= {code for code, share in truth.items() if share >= 0.15}
            extra += bool(large - set(truth))
        size = len(documents)
        row = [percent(float(np.mean(values))) for values in (right, wrong, und)]
        rows.append([part_bytes, part_score, *row, percent(languages / size), percent(extra / size)])
    print(f"\n{len(documents):,} documents of one to three languages, 5 to 25 lines of each")
    head = ["`part_bytes`", "`part_score`", "share of text in the right language", "in another", "`und`"]
    table([*head, "every language of 15 % or more is there with 10 %", "one of 10 % that is not in the text"], rows)


def stop_word_table(by: dict[str, list[str]]) -> None:
    """Lists of the package, and lists of the frequent words of half the sentences, on documents of the other half."""
    rng = random.Random(3)
    shuffled = {code: rng.sample(texts, len(texts)) for code, texts in by.items()}
    halves = {code: len(texts) // 2 for code, texts in by.items()}
    documents = {
        code: ["\n".join(t[i : i + 5]) for i in range(halves[code], len(t) - 4, 5)] for code, t in shuffled.items()
    }
    own = {}
    for code, texts in shuffled.items():
        batch = TextBatch(pa.array(texts[: halves[code]], pa.large_string()))
        own[code] = frequent_words(batch.data, batch.words, 0.005, least=8)
    iso = storage.read_json(StopWordCounts().files()["lists"])
    rows = []
    for name, lists in (("stopwords-iso", iso), ("frequent words", own)):
        made = {code: compile_list(entries) for code, entries in lists.items()}
        few, few_others, fraction = {}, {}, {}
        for code in sorted(set(lists) & set(documents)):
            others = [text for other, texts in documents.items() if other != code for text in texts[:20]]
            words = [TextBatch(pa.array(texts, pa.large_string())).words for texts in (documents[code], others)]
            counts = [count_entries(each, made[code]) for each in words]
            few[code], few_others[code] = (float((count.distinct < 2).mean()) for count in counts)
            fraction[code] = float(np.median(counts[0].covered / np.diff(words[0].offsets)))
        worst = sorted(few, key=lambda code: -few[code])[:4]
        cells = [f"{len(lists[c])}; {fraction[c]:.2f}; {percent(few_others[c])}" for c in ("en", "de", "fi", "zh")]
        missed = ", ".join(f"{code} {percent(few[code])}" for code in worst)
        rows.append(
            [
                name,
                len(few),
                f"{np.median([len(lists[code]) for code in few]):.0f}",
                percent(float(np.mean(list(few.values())))),
                missed,
                percent(float(np.mean(list(few_others.values())))),
                *cells,
            ]
        )
    print("\nStop words: documents of five sentences")
    head = ["lists", "languages", "words, median", "own documents with fewer than 2 different ones", "most in"]
    table(
        [
            *head,
            "others' documents with fewer than 2",
            *(f"{c}: words; fraction; others" for c in ("en", "de", "fi", "zh")),
        ],
        rows,
    )


def document_table(folder: Path) -> None:
    rows = []
    for name, code in (("german_law", "de"), ("wikipedia_en", "en"), ("wikipedia_zh", "zh")):
        texts = [row["text"] for row in rows_of(folder / f"{name}.jsonl.zst", 5000)]
        for windows in (1, 8):
            out, _ = annotated(texts, windows=windows)
            found, score = np.array(out["lang_code"].to_pylist()), out["lang_score"].to_numpy()
            others = ", ".join(f"{c} {n}" for c, n in Counter(found[found != code]).most_common(4))
            right = found == code
            sure = [percent((right & (score >= np.float32(cut))).mean()) for cut in (0.5, 0.65, 0.8)]
            rows.append([name, len(texts), windows, percent(right.mean()), *sure, others or "none"])
    head = [
        "corpus",
        "documents",
        "`windows`",
        "right",
        "right, score of 0.5 or more",
        "of 0.65",
        "of 0.8",
        "taken for",
    ]
    table(head, rows)


def sentence_tables(sentences: tuple[np.ndarray, list[str]], model: str) -> None:
    truth, texts = sentences
    known = {label.removeprefix("__label__") for label in pretrained.load_fasttext(model).labels}
    out, _ = annotated(texts, model=model)
    found, score = np.array(out["lang_code"].to_pylist()), out["lang_score"].to_numpy()
    by_threshold(truth, found, score, known)
    by_language(truth, found, score, known)
    inside = np.isin(truth, list(known))
    size = np.array([len(text.encode()) for text in texts])
    latin = np.array(out["lang_script"].to_pylist()) == "Latn"
    by_length(*(column[inside] for column in (truth, found, score, size, latin)))


def speed_table(folder: Path, sentences: Sequence[str]) -> None:
    print("\nMB of text (documents) per core-second")
    rows = [speed(sentences[::10], "sentences")]
    for name, count in (("wikipedia_en", 3000), ("wikipedia_zh", 3000), ("german_law", 200)):
        rows.append(speed([row["text"] for row in rows_of(folder / f"{name}.jsonl.zst", count)], name))
    table(["corpus", "bytes per document", "fastText's loop", "its call for many lines", *VARIANTS], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="lid")
    parser.add_argument("--only", nargs="*", choices=SECTIONS, default=SECTIONS, help="tables to print")
    options = parser.parse_args()
    rows = list(rows_of(options.folder / "langid_sentences.jsonl.zst"))
    texts = [row["text"] for row in rows]
    truth = np.array([SAME.get(row["meta"]["lang"], row["meta"]["lang"]) for row in rows])
    known = {label.removeprefix("__label__") for label in pretrained.load_fasttext("lid").labels}
    by: dict[str, list[str]] = defaultdict(list)
    for code, text in zip(truth, texts, strict=True):
        if code in known:
            by[code].append(text)
    tables: dict[str, Callable[[], None]] = {
        "sentences": lambda: sentence_tables((truth, texts), options.model),
        "excerpts": lambda: excerpt_table(by),
        "parts": lambda: mixed_table(by),
        "stopwords": lambda: stop_word_table(by),
        "documents": lambda: document_table(options.folder),
        "speed": lambda: speed_table(options.folder, texts),
    }
    for section in options.only:
        tables[section]()


if __name__ == "__main__":
    main()
