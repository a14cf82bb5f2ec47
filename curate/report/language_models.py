"""The numbers of a report on language models: what was trained, how sources score, and how two measurements agree."""

from collections.abc import Iterator, Mapping
from typing import Any

from curate.report.record import RunRecord, StageRecord

Facts = dict[str, Any]
CARD = ("documents", "bytes", "rate", "sentences", "tokens", "vocabulary", "order", "prune")
MEASURES = {"bits_per_byte": "bits per byte", "perplexity": "perplexity", "score": "probability"}
"""What columns measure, by the end of their names, as an axis says it."""
GROUPS = 2  # values of `by` whose cuts are shown, those with the most documents


def perplexity(run: RunRecord) -> Facts | None:
    """Models with what they were trained on, scores of each source, and buckets with their cuts."""
    models = [
        {
            "stage": stage.name,
            "group": "" if stage.manifest["by"] is None else group,
            **{key: card.get(key) for key in CARD},
            "ngrams": card.get("ngrams", []),
            "ngrams_before_pruning": card.get("ngrams_before_pruning", []),
            "discounts": card.get("discounts", []),
            "fallback_discounts": card.get("fallback_discounts", []),
        }
        for stage in run.of("train_lm")
        for group, card in stage.manifest["models"].items()
    ]
    scores = [
        {"stage": stage.name, "model": _model(stage), "sources": stage.manifest["scores"]}
        for stage in run.of("perplexity")
    ]
    buckets = [
        {
            "stage": stage.name,
            "column": _config(stage).get("column"),
            "names": _config(stage).get("names"),
            "by": _config(stage).get("by"),
            "groups": stage.manifest["groups"],
            "cuts": stage.manifest["cuts"],
            "sources": stage.manifest["buckets"],
        }
        for stage in run.of("buckets")
    ]
    if not models and not scores and not buckets:
        return None
    return {"models": models, "scores": scores, "buckets": buckets}


def densities(run: RunRecord) -> list[Facts] | None:
    """Joint densities of two measurements each, with the cuts that buckets have on either."""
    found = []
    for stage in run.of("density"):
        manifest = stage.manifest
        for pair in manifest["pairs"]:
            axes = {
                side: {"column": pair[side], **_described(run, pair[side]), **manifest["axes"][pair[side]]}
                for side in ("x", "y")
            }
            for axis in axes.values():
                axis["cuts"] = list(_cuts(run, axis["column"]))
            found.append({"stage": stage.name, "bins": manifest["bins"], **axes, "sources": pair["sources"]})
    return found or None


def _config(stage: StageRecord) -> Mapping[str, Any]:
    """Fields of a stage, as its manifest keeps them."""
    return stage.manifest.get("payload", {}).get("config", {})


def _model(stage: StageRecord) -> str:
    """What a `perplexity` stage asks: the name of a stage, or of a file."""
    config = _config(stage)
    # A file enters the fingerprint by its content, which is no name.
    return config.get("model") or "a model given by path"


def _described(run: RunRecord, column: str) -> Facts:
    """What a column measures, and which model it asks, as far as the stage that wrote it tells."""
    for stage in run.of("perplexity", "quality"):
        if column in stage.manifest["columns"]:
            measure = next((said for end, said in MEASURES.items() if column.endswith(f"_{end}")), column)
            asked = _model(stage) if stage.kind == "perplexity" else stage.name
            return {"measure": measure, "of": asked}
    return {"measure": column, "of": ""}


def _cuts(run: RunRecord, column: str) -> Iterator[Facts]:
    """Cuts on a column, of the groups with the most documents."""
    for stage in run.of("buckets"):
        config, manifest = _config(stage), stage.manifest
        if config.get("column") == column:
            sizes = manifest["groups"]
            for group in sorted(manifest["cuts"], key=lambda g: (-sizes.get(g, 0), g))[:GROUPS]:
                named = group if config.get("by") else ""
                yield {
                    "stage": stage.name,
                    "group": named,
                    "names": config["names"],
                    "values": manifest["cuts"][group],
                }
