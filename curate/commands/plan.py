"""What a run would do and why; reads manifests and receipts, never data."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from curate import storage
from curate.artifact import MANIFEST, Artifact
from curate.pipeline import Pipeline, inputs_of
from curate.stage import Annotator


@dataclass(frozen=True)
class Step:
    """One stage of a plan.

    Parameters
    ----------
    name, kind
        The stage's name, and which kind it is.
    state
        ``cached``, ``resume`` or ``run``.
    why
        Why it runs: it is new, a field changed, or something before it runs.
    after
        Names of the stages whose output it reads.
    fused
        Whether it shares the pass over the text.
    """

    name: str
    kind: str
    state: str
    why: str
    after: tuple[str, ...]
    fused: bool


def plan(pipeline: Pipeline) -> list[Step]:
    """The steps of a pipeline in the order in which they run."""
    steps: dict[str, Step] = {}
    for name, node in pipeline.nodes.items():
        after = inputs_of(node)
        if node.artifact.finished:
            state, why = "cached", ""
        else:
            receipts = node.artifact.tasks_done()
            state = "resume" if receipts else "run"
            changed = _changes(pipeline.root, node.artifact, node.payload)
            reasons = [f"{receipts} tasks are done"] if receipts else []
            reasons += changed or [f"{other} runs" for other in after if steps[other].state != "cached"] or ["new"]
            why = "; ".join(reasons)
        steps[name] = Step(name, node.stage.stage, state, why, after, isinstance(node.stage, Annotator))
    return list(steps.values())


def _changes(root: str, artifact: Artifact, payload: Mapping[str, Any]) -> list[str]:
    """Fields in which `payload` differs from the newest finished artifact of the same name."""
    before = [
        f"{root}/{name}/{MANIFEST}"
        for name in storage.names_in(root)
        if name.rpartition("-")[0] == artifact.name and storage.exists(f"{root}/{name}/{MANIFEST}")
    ]
    if not before:
        return []
    old = min((storage.read_json(path)["payload"] for path in before), key=lambda p: len(_differences(p, payload)))
    return _differences(old, payload)


def _differences(old: Any, new: Any, path: str = "") -> list[str]:
    if _is_pairs(old) and _is_pairs(new) and dict(old) != dict(new):
        old, new = dict(old), dict(new)
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        return [
            difference
            for key in sorted({*old, *new})
            if path or key != "inputs"
            for difference in _differences(old.get(key), new.get(key), f"{path}.{key}" if path else key)
        ]
    return [] if old == new else [f"{path.removeprefix('config.')}: {_short(old)} -> {_short(new)}"]


def _is_pairs(value: Any) -> bool:
    """Whether `value` is a mapping in the form that payloads keep it in: a list of pairs."""
    return isinstance(value, list) and all(
        isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str) for pair in value
    )


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else text[:37] + "..."
