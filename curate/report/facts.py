"""The numbers of a report, from manifests and receipts alone: what report.json holds and the page shows.

Each function gives one part, or None where the run has no stage that it speaks of. Work and size grow with the number
of sources, rules and rungs, never with the number of documents.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from curate.artifact import Totals
from curate.report import language_models
from curate.report.record import RunRecord, StageRecord
from curate.table import read_part

Facts = dict[str, Any]
LARGE = 0.9  # share of a source beyond which a rule is named, as `curate plan` does for a sample

PLACES = 3  # examples per reason of the quarantine


def facts(run: RunRecord) -> Facts:
    """All parts, and what identifies the run.

    Everything is the same for any engine and number of workers, but for ``timings``, ``host`` and what asking a judge
    took (``spent``).
    """
    own = ("seed", "config_hash")
    parts = {
        "funnel": funnel(run),
        "drops": drops(run),
        "quarantine": quarantine(run),
        "web": web(run),
        "duplicates": duplicates(run),
        "recall": recall(run),
        "contamination": contamination(run),
        "cleaned": cleaned(run),
        "classifiers": classifiers(run),
        "perplexity": language_models.perplexity(run),
        "densities": language_models.densities(run),
        "students": students(run),
        "labeling": labeling(run),
        "judges": judges(run),
        "removed": removed(run),
        "tokens": tokens(run),
        "mixture": mixture(run),
        "shards": shards(run),
        "checks": checks(run),
    }
    return {
        **{key: run.description[key] for key in own},
        "stages": [
            {"name": stage.name, "stage": stage.kind, "fingerprint": stage.artifact.fingerprint, "done": stage.finished}
            for stage in run.all_stages
        ],
        **{name: part for name, part in parts.items() if part is not None},
        "timings": timings(run),
        "host": {key: value for key, value in run.description.items() if key not in (*own, "stages")},
    }


def funnel(run: RunRecord) -> Facts | None:
    """Per source: records in, what was lost to which reason of which stage, and documents kept, with bytes of text.

    Documents flow through the stages that make tables and then through the last `select`. Bytes of a record that never
    became a document are not known, and count as none.
    """
    tables = [stage for stage in run.stages if stage.makes_table]
    if not tables:
        return None
    path = [*tables, *run.of("select")[-1:]]
    sources = {source: _source_funnel(path, source) for source in tables[0].manifest["flow"]}
    return {"total": _total(sources.values()), "sources": sources}


def _source_funnel(path: list[StageRecord], source: str) -> Facts:
    first, last = path[0].manifest, path[-1].manifest
    steps = []
    for stage in path:
        manifest = stage.manifest
        sizes = manifest.get("bytes", {}).get(source, {}).get("dropped", {})
        for kind in ("quarantined", "dropped"):
            for reason, documents in manifest["flow"].get(source, _NOTHING)[kind].items():
                if documents:
                    lost = {"stage": stage.name, "reason": reason, "kind": kind, "documents": documents}
                    steps.append(lost | {"bytes": sizes.get(reason)})
    read = sum(shard["text_bytes"] for shard in first["shards"] if shard["source"] == source)
    if "bytes" in last:
        kept = last["bytes"].get(source, {}).get("kept", 0)
    else:
        kept = sum(shard["text_bytes"] for shard in last["shards"] if shard["source"] == source)
    return {
        "in": {"documents": first["flow"][source]["in"], "bytes": read},
        "lost": steps,
        "kept": {"documents": last["flow"].get(source, _NOTHING)["kept"], "bytes": kept},
    }


_NOTHING: Mapping[str, Any] = {"in": 0, "kept": 0, "dropped": {}, "quarantined": {}}


def _total(sources: Iterable[Facts]) -> Facts:
    total: Facts = {"in": {"documents": 0, "bytes": 0}, "lost": [], "kept": {"documents": 0, "bytes": 0}}
    lost: dict[tuple[str, str, str], Facts] = {}
    for source in sources:
        for end in ("in", "kept"):
            for unit in ("documents", "bytes"):
                total[end][unit] += source[end][unit]
        for step in source["lost"]:
            same = lost.setdefault(
                (step["stage"], step["kind"], step["reason"]), step | {"documents": 0, "bytes": None}
            )
            same["documents"] += step["documents"]
            if step["bytes"] is not None:
                same["bytes"] = (same["bytes"] or 0) + step["bytes"]
    total["lost"] = list(lost.values())
    return total


def drops(run: RunRecord) -> list[Facts] | None:
    """Per rule of each `select`: documents of which it is the first rule that is true, any rule, the only one.

    ``large`` names the rules that are true of more than 90 % of a source.
    """
    stages = run.of("select")
    if not stages:
        return None
    found = []
    for stage in stages:
        manifest = stage.manifest
        rules = [
            {
                "name": rule["name"],
                "when": rule["when"],
                "sources": rule["sources"],
                "first": sum(flow["dropped"].get(rule["name"], 0) for flow in manifest["flow"].values()),
                "any": sum(fired.get(rule["name"], 0) for fired in manifest["fired"].values()),
                "only": sum(alone.get(rule["name"], 0) for alone in manifest["alone"].values()),
            }
            for rule in manifest["rules"]
        ]
        documents = sum(flow["in"] for flow in manifest["flow"].values())
        large = [
            {"rule": rule, "source": source, "documents": count, "of": manifest["flow"][source]["in"]}
            for source, fired in manifest["fired"].items()
            for rule, count in fired.items()
            if count > LARGE * manifest["flow"][source]["in"]
        ]
        found.append({"stage": stage.name, "documents": documents, "rules": rules, "large": large})
    return found


def quarantine(run: RunRecord) -> Facts | None:
    """Rows and files that could not be used, by reason, with the first places of each; never their content."""
    stages = run.of("read")
    if not stages:
        return None
    rows: dict[str, Facts] = {}
    files: dict[str, Facts] = {}
    for stage in stages:
        for source, flow in stage.manifest["flow"].items():
            _count(rows, source, flow["quarantined"])
        for source, counts in stage.manifest["files"].items():
            _count(files, source, counts["quarantined"])
        for scope, reasons in (("row", rows), ("file", files)):
            for reason, places in _places(stage, scope, reasons).items():
                reasons[reason]["places"] += places
    ignored = {
        source: counts["ignored"]
        for stage in stages
        for source, counts in stage.manifest["files"].items()
        if counts["ignored"]
    }
    return {"rows": rows, "files": files, "ignored_files": ignored}


def _count(reasons: dict[str, Facts], source: str, counts: Mapping[str, int]) -> None:
    for reason, count in counts.items():
        entry = reasons.setdefault(reason, {"count": 0, "sources": {}, "places": []})
        entry["count"] += count
        entry["sources"][source] = entry["sources"].get(source, 0) + count


def _places(stage: StageRecord, scope: str, reasons: Iterable[str]) -> dict[str, list[Facts]]:
    """The first `PLACES` places of each reason; opens no more quarantine tables than it takes."""
    found: dict[str, list[Facts]] = {reason: [] for reason in reasons}
    columns = ["source", "file", "scope", "line", "offset", "reason"]
    for path in stage.quarantine():
        if all(len(places) == PLACES for places in found.values()):
            break
        for row in read_part(path, columns).to_pylist():
            places = found.get(row["reason"], [])
            if row.pop("scope") == scope and len(places) < PLACES:
                del row["reason"]
                places.append(row)
    return found


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def web(run: RunRecord) -> Facts | None:
    """Records of web archives by what they are, per stage and source, and pages of which there is text, or none.

    Of `read`, the sources in which a record was passed over: those of other formats have none.
    """
    records, pages = [], []
    for stage in run.of("read"):
        sources = {
            source: {
                "records": flow["in"],
                "documents": flow["kept"],
                "skipped": flow["dropped"],
                "quarantined": sum(flow["quarantined"].values()),
            }
            for source, flow in stage.manifest["flow"].items()
            if flow["dropped"]
        }
        records += [{"stage": stage.name, "sources": sources}] if sources else []
    for stage in run.of("extract"):
        sources = {}
        for source, flow in stage.manifest["flow"].items():
            counts = stage.manifest["extracted"].get(source, {})
            own = {name: counts.get(name, 0) for name in ("pages", "passed", "html_bytes", "text_bytes")}
            sources[source] = own | {"lost": sum(flow["dropped"].values()), "dropped": flow["dropped"]}
        pages.append({"stage": stage.name, "sources": sources})
    return {"records": records, "pages": pages} if records or pages else None


def duplicates(run: RunRecord) -> list[Facts] | None:
    """Per deduplicating stage: copies by source, and how many clusters there are of each size."""
    stages = run.of("exact", "minhash")
    if not stages:
        return None
    found = []
    for stage in stages:
        manifest = stage.manifest
        flow = manifest["flow"]
        sources = {}
        for source in flow:
            copies = manifest["duplicates"].get(source, {"documents": 0, "bytes": 0})
            sources[source] = {
                "of": flow[source]["in"],
                **copies,
                "share": _share(copies["documents"], flow[source]["in"]),
            }
        found.append(
            {
                "stage": stage.name,
                "kind": stage.kind,
                "documents": sum(counts["of"] for counts in sources.values()),
                "copies": sum(counts["documents"] for counts in sources.values()),
                "sources": sources,
                "cluster_sizes": manifest["cluster_sizes"],
                "hot_buckets": manifest.get("hot_buckets"),
            }
        )
    return found


def recall(run: RunRecord) -> list[Facts] | None:
    """Per stage that looked for near-duplicates: how well it finds them, and how similar what it found is."""
    found = []
    for stage in run.of("minhash"):
        manifest = stage.manifest
        if "quality" in manifest:
            similarities = Totals()
            for counts in manifest["duplicates"].values():
                similarities.add(counts.get("jaccard", {}))
            limits = ("largest_bucket", "largest_component", "hot_buckets", "crowded", "cut_components")
            found.append(
                {
                    "stage": stage.name,
                    "verify": manifest["verify"],
                    "threshold": manifest["threshold"],
                    **manifest["quality"],
                    "pairs": dict(sorted(similarities.counts.items())),
                    "limits": {name: manifest[name] for name in limits},
                }
            )
    return found or None


def removed(run: RunRecord) -> list[Facts] | None:
    """Per stage that cuts text out of documents: what went, by source."""
    stages = [stage for stage in run.stages if "removed" in stage.manifest]
    return [{"stage": stage.name, "kind": stage.kind, "sources": stage.manifest["removed"]} for stage in stages] or None


def contamination(run: RunRecord) -> list[Facts] | None:
    """Per stage that looked for benchmarks: items that can be found and were, and documents that have them."""
    found = []
    for stage in run.of("decontaminate"):
        benchmarks = {}
        for name, counts in stage.manifest["benchmarks"].items():
            total = Totals({"documents": 0, "mostly": 0, "ngrams": 0})
            for of_source in counts["sources"].values():
                total.add(of_source)
            documents = {"hit": total.counts["documents"], **{key: total.counts[key] for key in ("mostly", "ngrams")}}
            benchmarks[name] = {**counts, "documents": documents}
        own = {key: stage.manifest[key] for key in ("index", "documents")}
        found.append({"stage": stage.name, **own, "benchmarks": benchmarks})
    return found or None


def cleaned(run: RunRecord) -> list[Facts] | None:
    """Per stage that cleans text: documents and bytes before and after, and each kind of change, by source."""
    stages = [stage for stage in run.stages if "changes" in stage.manifest]
    return [{"stage": stage.name, "sources": stage.manifest["changes"]} for stage in stages] or None


def classifiers(run: RunRecord) -> list[Facts] | None:
    """Per classifier that was trained: its documents, how good it is on those it has not seen, and what was tried."""
    return [
        {"stage": stage.name, **_trained(stage.manifest["classifier"])} for stage in run.of("train_classifier")
    ] or None


def students(run: RunRecord) -> list[Facts] | None:
    """Per student: what it learned from, how closely it follows that, and its speed in bytes per processor second."""
    found = []
    for stage in run.of("distill"):
        manifest, clocked = stage.manifest, [receipt.result for receipt in stage.artifact.receipts("speed")]
        size, seconds = (sum(result[key] for result in clocked) for key in ("bytes", "cpu_seconds"))
        speed = size / seconds if seconds else None
        found.append(
            {"stage": stage.name, "targets": manifest["targets"], "speed": speed, **_trained(manifest["student"])}
        )
    return found or None


def _trained(manifest: Facts) -> Facts:
    told = {key: manifest.get(key) for key in ("documents", "raw", "calibrated")}
    return told | ({"tuning": manifest["tuning"]} if "tuning" in manifest else {})


def labeling(run: RunRecord) -> list[Facts] | None:
    """Per label model: its functions, what it learned of each, and the quality and decisions by source."""
    return [{"stage": stage.name, **stage.manifest["weak"]} for stage in run.of("weak")] or None


def judges(run: RunRecord) -> list[Facts] | None:
    """Per stage that asked a chat model: votes, tokens and agreement, and what the last run sent and waited for."""
    return [
        {"stage": stage.name, **stage.manifest["judge"], "spent": receipt.result["spent"]}
        for stage in run.of("judge")
        for receipt in stage.artifact.receipts("ask")
    ] or None


def tokens(run: RunRecord) -> Facts | None:
    """Documents kept, their tokens and bytes per source, and the tokenizer that counted them."""
    stages = run.of("tokens")
    if not stages:
        return None
    manifest = stages[-1].manifest
    total = Totals()
    for counts in manifest["sources"].values():
        total.add(counts)
    return {"total": total.counts, "sources": manifest["sources"], "tokenizer": manifest["tokenizer"]}


def mixture(run: RunRecord) -> Facts | None:
    """What the last `mix` was to give and gave: budgets of the rungs, and the share and epochs of each source."""
    stages = run.of("mix")
    if not stages:
        return None
    plan = stages[-1].manifest["plan"]
    unit = plan["unit"]
    rungs = [
        {**rung, "realised": rung[unit], "miss": (rung[unit] - rung["budget"]) / rung["budget"]}
        for rung in plan["rungs"]
    ]
    sources = {
        source: {
            **{key: entry[key] for key in ("weight", "max_epochs", "available", "validation")},
            "rungs": [{key: rung[key] for key in rung if key != "reach"} for rung in entry["rungs"]],
        }
        for source, entry in plan["sources"].items()
    }
    return {
        "stage": stages[-1].name,
        "unit": unit,
        "rungs": rungs,
        "validation": plan["validation"],
        "sources": sources,
    }


def shards(run: RunRecord) -> Facts | None:
    """What the last `shards` wrote: rungs, each the first so many files, and the files' sums by folder."""
    stages = run.of("shards")
    if not stages:
        return None
    manifest = stages[-1].manifest
    folders: dict[str, Totals] = {}
    for file in manifest["files"]:
        counts = {"files": 1, **{key: file[key] for key in ("rows", "tokens", "bytes")}}
        folders.setdefault(file["path"].rpartition("/")[0], Totals()).add(counts)
    keys = ("name", "files", "copies", "tokens", "bytes", "nesting")
    return {
        "stage": stages[-1].name,
        "folders": {folder: totals.counts for folder, totals in folders.items()},
        "rungs": [{key: rung[key] for key in keys} for rung in manifest["rungs"]],
        "columns": manifest["schema"],
    }


def checks(run: RunRecord) -> list[Facts]:
    """Per stage, whether ``in = kept + dropped + quarantined`` holds for every source, and fits the shards' rows."""
    return [_check(stage) for stage in run.stages if "flow" in stage.manifest]


def _check(stage: StageRecord) -> Facts:
    manifest = stage.manifest
    flow = manifest["flow"]
    sums = {
        "in": sum(counts["in"] for counts in flow.values()),
        "kept": sum(counts["kept"] for counts in flow.values()),
        "dropped": sum(n for counts in flow.values() for n in counts["dropped"].values()),
        "quarantined": sum(n for counts in flow.values() for n in counts["quarantined"].values()),
    }
    unbalanced = [
        source
        for source, counts in flow.items()
        if counts["in"] != counts["kept"] + sum(counts["dropped"].values()) + sum(counts["quarantined"].values())
    ]
    rows = dict.fromkeys(flow, 0)
    for shard in manifest.get("shards", ()):
        rows[shard["source"]] = rows.get(shard["source"], 0) + shard["rows"]
    end = "kept" if stage.makes_table else "in"
    misfit = [
        source for source, count in rows.items() if "shards" in manifest and flow.get(source, _NOTHING)[end] != count
    ]
    faults = sorted({*unbalanced, *misfit})
    return {"stage": stage.name, **sums, "holds": not faults, "faults": faults}


def timings(run: RunRecord) -> list[Facts]:
    """Per stage, from its receipts: tasks, their wall and processor time in seconds, and peak memory in bytes."""
    found = []
    for stage in run.all_stages:
        receipts = list(stage.receipts())
        found.append(
            {
                "stage": stage.name,
                "tasks": len(receipts),
                "seconds": round(sum(receipt.seconds for receipt in receipts), 3),
                "longest": round(max((receipt.seconds for receipt in receipts), default=0.0), 3),
                "cpu_seconds": round(sum(receipt.cpu_seconds for receipt in receipts), 3),
                "peak_rss": max((receipt.peak_rss for receipt in receipts), default=0),
            }
        )
    return found
