"""The dataset card: a README for people, whose front matter lists the rungs for Hugging Face `datasets`."""

from collections.abc import Mapping

import orjson

from curate.config.units import format_bytes, format_count
from curate.mixture.manifest import Plan, ShardsBody

SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M"))
LARGER = ((10**8, "10M<n<100M"), (10**9, "100M<n<1B"), (10**10, "1B<n<10B"), (10**11, "10B<n<100B"))
LISTED = 0.01  # minimum share of documents of a language that the card lists


def dataset_card(name: str, plan: Plan, body: ShardsBody, languages: Mapping[str, int]) -> str:
    """Return the card as Markdown with YAML front matter.

    Parameters
    ----------
    name
        Title of the dataset.
    plan
        Manifest entry ``plan`` of the `mix` stage.
    body
        Manifest of the `shards` stage.
    languages
        Number of documents by language code; empty if unknown.
    """
    rows = plan["rungs"][-1]["copies"] + plan["validation"]["documents"]
    front = [
        f"pretty_name: {_quoted(name)}",
        "task_categories: [text-generation]",
        f"size_categories: [{_quoted(_size_category(rows))}]",
        *_language_lines(languages),
        "configs:",
    ]
    for position, rung in enumerate(plan["rungs"]):
        front += [f"- config_name: {rung['name']}", "  data_files:", "  - split: train", "    path:"]
        front += [f"    - train/{inner['name']}/*.parquet" for inner in plan["rungs"][: position + 1]]
        if plan["validation"]["documents"]:
            front += ["  - split: validation", "    path:", "    - validation/*/*.parquet"]
    front.append("  default: true")
    sections = [_rung_section(plan, body), _source_section(plan), _column_section(body)]
    return "\n".join(["---", *front, "---", "", f"# {name}", "", *sections])


def _quoted(value: str) -> str:
    """Return a string as a YAML string. It is quoted as JSON, which is valid YAML for all strings."""
    return orjson.dumps(value).decode()


def _size_category(rows: int) -> str:
    return next((label for limit, label in (*SIZES, *LARGER) if rows < limit), "100B<n<1T")


def _language_lines(languages: Mapping[str, int]) -> list[str]:
    total = sum(languages.values())
    common = sorted(code for code, count in languages.items() if count >= LISTED * total)
    return ["language:", *(f"- {_quoted(code)}" for code in common)] if common else []


def _table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    cells = [header, ("---", *("---:" for _ in header[1:])), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in cells)


def _rung_section(plan: Plan, body: ShardsBody) -> str:
    rows = [
        (
            rung["name"],
            f"{rung['budget']:,}",
            f"{rung['tokens']:,}",
            f"{rung['bytes']:,}",
            f"{rung['documents']:,}",
            f"{rung['copies']:,}",
            str(rung["files"]),
        )
        for rung in body["rungs"]
    ]
    header = ("rung", f"budget ({plan['unit']})", "tokens", "bytes", "documents", "copies", "files")
    held_out, tokenizer = plan["validation"], body["tokenizer"]
    return f"""## Rungs

Every rung is a prefix of the next one: the first so many of the training files, in the order of their names. Within
what a rung adds, the order is random, so that any prefix of the files carries the mixture.

{_table(header, rows)}

Held out for validation, and in no rung: {held_out["documents"]:,} documents, {format_count(held_out["tokens"])} tokens,
{format_bytes(held_out["bytes"])}. Tokens are those of `{tokenizer["path"]}`, SHA-256
`{tokenizer["sha256"]}`.

```python
from datasets import load_dataset

data = load_dataset("path/to/this/folder", "{plan["rungs"][0]["name"]}")
```
"""


def _source_section(plan: Plan) -> str:
    rows = [
        (
            source,
            rung["name"],
            f"{entry['weight']:.2%}",
            f"{realised['share']:.2%}",
            f"{realised['target']:,}",
            f"{realised[plan['unit']]:,}",
            f"{realised['epochs']:.3g}",
        )
        for source, entry in plan["sources"].items()
        for rung, realised in zip(plan["rungs"], entry["rungs"], strict=True)
    ]
    unit = plan["unit"]
    header = ("source", "rung", "weight", "share", f"target ({unit})", f"realised ({unit})", "epochs")
    return f"## Sources\n\n{_table(header, rows)}\n"


def _column_section(body: ShardsBody) -> str:
    rows = [(f"`{column['name']}`", column["type"]) for column in body["schema"]]
    return f"## Columns\n\n{_table(('column', 'type'), rows)}\n"
