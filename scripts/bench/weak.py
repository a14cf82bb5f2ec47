"""One quality from many signals, end to end: whole documents are hidden among damaged copies of themselves.

usage: python scripts/bench/weak.py ../shared/data [--documents 4000] [--seed 11] [--keep DIR]

Documents of several corpora and one damaged copy of each (words shuffled, cut off, machine-repeated, OCR noise,
boilerplate) become one source, without a word about which is which; other Wikipedia articles are the reference that a
language model and a classifier learn from. One pipeline measures, asks labeling functions, fits the label model and
distils it. Prints, against the hidden truth, the AUC of every signal alone (the better direction of the two, which
a user would not know), of the majority vote, of ``weak_quality`` and of the student. No text of the corpora is printed.
"""

import argparse
import json
import random
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from classifier import rows_of, table
from numpy.typing import NDArray
from support.damage import DAMAGE

from curate import Pipeline
from curate.report.build import build
from curate.stats.separation import separation
from curate.text.hashing import hash64, id_bytes

CORPORA = ("wikipedia_en", "bbc_news", "movie_reviews", "plos_articles", "us_speeches", "product_reviews", "dc_code")
LEAST, MOST = 400, 20_000  # characters of a document
REFERENCE = 4000  # Wikipedia articles to learn from
SHOWN = 20
SEED = 7  # of the run
UNJUDGED = ("weak_", "vote_", "student_")


def write_corpus(data: Path, folder: Path, documents: int, seed: int) -> dict[str, str]:
    """Write both sources; the kind of damage of each document by its id, empty for a whole one."""
    rng = random.Random(seed)
    whole, reference = [], []
    for corpus in CORPORA:
        texts = [row["text"][:MOST] for row in rows_of(data / f"{corpus}.jsonl.zst") if len(row["text"]) >= LEAST]
        rng.shuffle(texts)
        share = documents // 2 if corpus == "wikipedia_en" else documents // (2 * len(CORPORA) - 2)
        whole += texts[:share]
        if corpus == "wikipedia_en":
            reference = texts[share : share + REFERENCE]
    rows = [(text, "") for text in whole]
    for place, text in enumerate(whole):
        kind = list(DAMAGE)[place % len(DAMAGE)]
        rows.append((DAMAGE[kind](text, rng), kind))
    rng.shuffle(rows)
    write_lines(folder / "web.jsonl", [text for text, _ in rows])
    write_lines(folder / "reference.jsonl", reference)
    return {str(place): kind for place, (_, kind) in enumerate(rows)}


def write_lines(path: Path, texts: Sequence[str]) -> None:
    rows = (json.dumps({"id": str(place), "text": text}) for place, text in enumerate(texts))
    path.write_text("\n".join(rows) + "\n")


def columns_of(pipeline: Pipeline, source: str) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """Every column of numbers of the source's documents; NaN for null."""
    shards = [shard for shard in pipeline.nodes["read"].artifact.shards() if shard.source == source]
    for node in pipeline.nodes.values():
        if node.stage.makes_table or not node.stage.columns().names:
            continue
        parts = pa.concat_tables([pq.read_table(node.artifact.part(shard.name)) for shard in shards])
        for name, column in zip(parts.column_names, parts.columns, strict=True):
            if pa.types.is_boolean(column.type):
                column = column.cast(pa.int8())
            if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
                yield name, column.cast(pa.float64()).to_numpy()


def auc(values: NDArray[np.float64], good: NDArray[np.bool_]) -> float:
    """Of all documents: those without a value lie in the middle."""
    if np.isnan(values).all():
        return 0.5
    filled = np.where(np.isnan(values), np.nanmedian(values), values)
    found = separation(filled[~good], filled[good])
    return found.auc if found else 0.5


def by_kind(values: NDArray[np.float64], kinds: NDArray[Any]) -> list[str]:
    return [f"{auc(values[rows], kinds[rows] == ''):.3f}" for rows in ((kinds == "") | (kinds == k) for k in DAMAGE)]


def report(columns: Mapping[str, NDArray[np.float64]], kinds: NDArray[Any], unseen: NDArray[np.bool_]) -> None:
    """Tables; the student is judged on documents that it has not learned from (`unseen`)."""
    good = kinds == ""
    signals = {}
    for name, values in columns.items():
        if not name.startswith(UNJUDGED):
            found = auc(values, good)
            signals[name] = max((found, values), (1 - found, -values), key=lambda pair: pair[0])
    best = sorted(signals, key=lambda name: -signals[name][0])
    rows = [[name, f"{signals[name][0]:.4f}", *by_kind(signals[name][1], kinds)] for name in best[:SHOWN]]
    together = {name: (columns[name], kinds) for name in ("weak_majority", "weak_quality")}
    for name in ("weak_quality", "student_score"):
        together[f"{name}, {int(unseen.sum()):,} documents that the student has not seen"] = (
            columns[name][unseen],
            kinds[unseen],
        )
    for name, (own, kind) in together.items():
        rows.append([f"**{name}**", f"{auc(own, kind == ''):.4f}", *by_kind(own, kind)])
    table(["column", "AUC", *DAMAGE], rows)
    print(
        f"\n{len(good):,} documents, {int(good.sum()):,} of them whole; {len(signals)} signals, the best {SHOWN} shown"
    )
    lead = auc(columns["weak_quality"], good) - signals[best[0]][0]
    print(f"weak_quality against the best single signal ({best[0]}): {lead:+.4f}")


# -- the pipeline ------------------------------------------------------------------------------------------------------

SCORES = {
    "fluency": ("kenlm_bits_per_char", "drop"),
    "likeness": ("kenlm_difference", "drop"),
    "unknown_words": ("kenlm_oov_share", "drop"),
    "ends_of_lines": ("c4_terminal_lines", "keep"),
    "repetition": ("rep_dup_10gram_chars", "drop"),
    "compression": ("info_zstd_ratio", "keep"),
    "word_entropy": ("info_word_entropy", "keep"),
    "english": ("lang_score", "keep"),
    "classifier": ("quality_raw", "keep"),
    "importance": ("dsir_log_weight_per_token", "keep"),
}


def stages_of(folder: Path, gold: Path | None) -> dict[str, Any]:
    functions: dict[str, Any] = {name: {"preset": name} for name in ("fineweb", "c4")}
    functions |= {name: {"score": column, "higher": higher} for name, (column, higher) in SCORES.items()}
    functions["copy"] = {"when": "NOT minhash_keep", "vote": "drop"}
    reference, web = {"sources": ["reference"]}, {"sources": ["web"]}
    said = {"gold": str(gold)} if gold else {"keep_rate": 0.5}
    return {
        "read": {"sources": {name: {"path": str(folder / f"{name}.jsonl")} for name in ("web", "reference")}},
        "heuristics": {},
        "langid": {},
        "information": {},
        "minhash": {"bands": 14, "rows": 8, "ngram": 5},
        "train_lm": {**reference},
        "web_lm": {"stage": "train_lm", **web},
        "perplexity": {"model": "train_lm", "against": "web_lm"},
        "train_classifier": {"positive": reference, "negative": web},
        "quality": {},
        "dsir": {"target": reference, "raw": web},
        "weak": {"functions": functions, **web, **said},
        "distill": {"target": "weak_quality", "documents": web},
        "student": {"stage": "quality", "classifier": "distill"},
    }


def run(folder: Path, gold: Path | None) -> Pipeline:
    config = {"run": {"root": str(folder / "run"), "seed": SEED}, "engine": {"workers": 2}}
    pipeline = Pipeline.from_mapping(config | {"stages": stages_of(folder, gold)})
    pipeline.run()
    build(str(folder / "run"))
    return pipeline


def write_gold(pipeline: Pipeline, kinds: Mapping[str, str], path: Path, documents: int, seed: int) -> None:
    """Answers of someone who knows the truth about a few documents, drawn at random."""
    read = pipeline.nodes["read"].artifact
    rows = []
    for shard in read.shards():
        if shard.source == "web":
            part = pq.read_table(read.part(shard.name), columns=["id", "source_id"])
            rows += [(i.hex(), name) for i, name in zip(*(c.to_pylist() for c in part.columns), strict=True)]
    drawn = random.Random(seed).sample(sorted(rows), documents)
    weight = len(rows) / documents
    lines = [
        {
            "id": key,
            "source": "web",
            "source_id": name,
            "label": "drop" if kinds[name] else "keep",
            "weight": weight,
            "stratum": "web",
        }
        for key, name in drawn
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--documents", type=int, default=4000, help="whole documents; as many damaged copies are added")
    parser.add_argument("--gold", type=int, default=200, help="documents whose truth is told in a second fit")
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--keep", type=Path, help="a folder for corpus and run, kept when all is done")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = given.keep or Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        kinds = write_corpus(given.data, folder, given.documents, given.seed)
        pipeline = run(folder, None)
        names = documents_of(pipeline)
        truth = np.array([kinds[name] for name in names], object)
        print("\n## Without a label")
        held_out = unseen_by_the_student(pipeline)
        report(dict(columns_of(pipeline, "web")), truth, held_out)
        write_gold(pipeline, kinds, folder / "gold.jsonl", given.gold, given.seed)
        told = set(gold_names(folder / "gold.jsonl"))
        pipeline = run(folder, folder / "gold.jsonl")
        others = np.array([name not in told for name in names])
        print(f"\n## With {given.gold} documents judged, on the others")
        columns = {name: values[others] for name, values in columns_of(pipeline, "web")}
        report(columns, truth[others], held_out[others])


def unseen_by_the_student(pipeline: Pipeline) -> NDArray[np.bool_]:
    """The documents that `distill` keeps back, by a hash of the id."""
    read, stage = pipeline.nodes["read"].artifact, pipeline.nodes["distill"].stage
    parts = [pq.read_table(read.part(s.name), columns=["id"]) for s in read.shards() if s.source == "web"]
    ids = id_bytes(pa.concat_tables(parts).column("id"))
    return hash64(SEED, "classifier/held_out", ids) / 2.0**64 < stage.held_out  # type: ignore[attr-defined]


def documents_of(pipeline: Pipeline) -> list[str]:
    read = pipeline.nodes["read"].artifact
    parts = [pq.read_table(read.part(s.name), columns=["source_id"]) for s in read.shards() if s.source == "web"]
    return pa.concat_tables(parts).column("source_id").to_pylist()


def gold_names(path: Path) -> Iterator[str]:
    for line in path.read_text().splitlines():
        yield json.loads(line)["source_id"]


if __name__ == "__main__":
    main()
