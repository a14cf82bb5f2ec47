"""What published rule sets keep of text that is known to be clean, and let through of text that they are not for.

    python scripts/bench/support/preset_precision.py DATA [--out RUN]

Reads the corpora named below from DATA, measures them once (a second run only evaluates rules), and prints the share of
documents that each preset keeps, and the rule that costs most. Sentences of language identification are too short for
any preset, so ten of one language make a document here, one on each line.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl
import zstandard

from curate.pipeline import Pipeline
from curate.rules.presets import PRESETS
from curate.rules.sql import columns_of
from curate.stages.select import Select, evaluate
from curate.table import Table

CLEAN = (
    *("wikipedia_en", "novels_en", "us_speeches", "python_peps", "rust_rfcs", "dc_code", "acl_papers"),
    *("plos_articles", "bbc_news"),
)
FOREIGN = ("german_law", "wikipedia_zh", "sentences_other", "code_functions")
SENTENCES = 10


def sentences(path: Path) -> Iterator[tuple[str, str]]:
    """Documents of ten sentences each: language, text."""
    by_language: dict[str, list[str]] = {}
    with zstandard.open(path, "rt", encoding="utf-8") as file:
        for row in map(json.loads, file):
            by_language.setdefault(row["meta"]["lang"], []).append(row["text"])
    for language, texts in by_language.items():
        for start in range(0, len(texts), SENTENCES):
            yield language, "\n".join(texts[start : start + SENTENCES])


def measured(data: Path, out: str) -> Table:
    """All corpora, with the columns of heuristics, langid and size."""
    joined = Path(out) / "sentences_other.jsonl"
    if not joined.exists():
        joined.parent.mkdir(parents=True, exist_ok=True)
        rows = [
            json.dumps({"id": f"{language}-{number}", "text": text})
            for number, (language, text) in enumerate(sentences(data / "langid_sentences.jsonl.zst"))
            if language != "en"
        ]
        joined.write_text("\n".join(rows))
    sources = {name: {"path": str(data / f"{name}.jsonl.zst")} for name in (*CLEAN, *FOREIGN)}
    sources["sentences_other"] = {"path": str(joined)}
    stages = {"read": {"sources": sources}, "size": {}, "heuristics": {}, "langid": {}}
    pipeline = Pipeline.from_mapping({"run": {"root": f"{out}/run"}, "stages": stages})
    pipeline.run()
    documents, *sidecars = (pipeline.nodes[name].artifact for name in ("read", "size", "heuristics", "langid"))
    return Table(documents, tuple(sidecars))


def frames(table: Table, columns: list[str]) -> dict[str, pl.DataFrame]:
    """Columns of each source."""
    parts: dict[str, list[pl.DataFrame]] = {}
    for shard in table.shards:
        parts.setdefault(shard.source, []).append(pl.DataFrame(table.read(shard, columns)))
    return {source: pl.concat(found) for source, found in parts.items()}


def cell(stage: Select, frame: pl.DataFrame, source: str) -> tuple[float, str, float]:
    """Share kept, the rule that is true most often, and how often."""
    rules = stage.rules()
    fired = evaluate(rules, frame, source)
    counts = fired.sum(axis=1)
    top = int(counts.argmax())
    return float(1 - fired.any(axis=0).mean()), list(rules)[top], float(counts[top] / frame.height)


def show(title: str, sources: tuple[str, ...], found: dict[str, pl.DataFrame], settings: dict[str, dict]) -> None:
    """A table of shares kept, and one of what costs most."""
    stages = {name: Select(name="select", **given) for name, given in settings.items()}
    cells = {source: {name: cell(stage, found[source], source) for name, stage in stages.items()} for source in sources}
    print(f"\n{title}\n\n| source | documents | {' | '.join(stages)} |\n|---|---|{'---|' * len(stages)}")
    for source, row in cells.items():
        shares = " | ".join(f"{100 * kept:.1f}" for kept, _, _ in row.values())
        print(f"| {source} | {found[source].height:,} | {shares} |")
    print(f"\n| source | {' | '.join(stages)} |\n|---|{'---|' * len(stages)}")
    for source, row in cells.items():
        costs = (f"`{rule}` {100 * share:.1f}" if share >= 0.0005 else "" for _, rule, share in row.values())
        print(f"| {source} | " + " | ".join(costs) + " |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", help="keep the measurements here")
    options = parser.parse_args()
    with TemporaryDirectory() as temporary:
        table = measured(options.data, options.out or temporary)
        every = Select(name="select", presets=tuple(PRESETS), language="lang_code")  # type: ignore[arg-type]
        columns = sorted({column for rule in every.rules().values() for column in columns_of(rule.when)})
        found = frames(table, ["source_id", *columns])
    one = [name for name in PRESETS if name != "english"]
    show("Clean English, each preset by itself", CLEAN, found, {name: {"presets": (name,)} for name in PRESETS})
    show("Other text, each preset by itself", FOREIGN, found, {name: {"presets": (name,)} for name in PRESETS})
    guarded = {name: {"presets": (name,), "language": "lang_code"} for name in one}
    show("The same with `language: lang_code`", FOREIGN, found, guarded)
    show("The same after `english`", FOREIGN, found, {name: {"presets": ("english", name)} for name in one})
    languages(found["sentences_other"])


def languages(frame: pl.DataFrame) -> None:
    """Languages of which rule sets for English keep most."""
    print(f"\nsentences_other: {np.mean(frame['gopher_words'].to_numpy()):.0f} words in a document on average")
    named = frame.with_columns(language=pl.col("source_id").str.split("-").list.first())
    for name in ("gopher", "fineweb", "nemo_english"):
        rules = Select(name="select", presets=(name,)).rules()  # type: ignore[arg-type]
        dropped = evaluate(rules, frame, "sentences_other").any(axis=0)
        kept = named.with_columns(pl.Series("kept", np.logical_not(dropped)))
        shares = kept.group_by("language").agg(pl.col("kept").mean()).sort("kept", "language", descending=[True, False])
        most = ", ".join(f"{language} {100 * share:.0f}" for language, share in shares.head(12).iter_rows())
        print(f"{name} keeps of {shares.filter(kept=0).height} languages nothing, and most (%) of {most}")


if __name__ == "__main__":
    main()
