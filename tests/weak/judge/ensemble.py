"""The votes of five noisy prompts over HTTP, and how right they are alone and together."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from curate.stages.judge import Judge
from curate.table import Table
from curate.weak.model.model import LabelModel
from tests.corpus import make_table, run_stage
from tests.weak.judge.server import JURORS, KEPT, MODEL, ROUGH, JudgeServer, document, is_good

CODES = {None: -2, "abstain": -1, "drop": 0, "keep": 1}


def judged(
    seed: int, documents: int, folder: Path, concurrency: int
) -> tuple[NDArray[np.int8], NDArray[np.int8], dict[str, int]]:
    """Votes of shape (documents, prompts) over HTTP, the truth, and what the run took."""
    table = make_table(folder / "read", {"a": [document(number) for number in range(documents)]}, 500)
    with JudgeServer(seed, ROUGH) as server:
        stage = Judge(base_url=server.url, model=MODEL, documents=1.0, backoff=0.01, concurrency=concurrency)
        artifact = run_stage(stage, table, folder)
    whole = Table(table.documents, (artifact,))
    rows = [row for shard in table.shards for row in whole.read(shard, stage.columns().names).to_pylist()]
    votes = np.array([[CODES[row[f"judge_{name}"]] for name in JURORS] for row in rows], np.int8)
    truth = np.array([is_good(seed, number) for number in range(documents)], np.int8)
    spent = next(artifact.receipts("ask")).result["spent"]
    return votes, truth, {"sent": spent["requests"], "failed": sum(spent["failed"].values())}


def accuracies(votes: NDArray[np.int8], truth: NDArray[np.int8]) -> tuple[dict[str, float], list[tuple[str, str]]]:
    """Of each prompt, the unweighted vote share and the label model; and pairs that the model takes for copies."""
    model = LabelModel().fit(votes, class_balance=[1 - KEPT, KEPT], names=list(JURORS))
    shares = {name: np.where(votes[:, j] < 0, 0.5, votes[:, j]) for j, name in enumerate(JURORS)}
    shares["best prompt"] = max(shares.values(), key=lambda share: right(share, truth))
    shares["majority"] = np.divide(
        (votes == 1).sum(axis=1), (votes >= 0).sum(axis=1), where=(votes >= 0).any(axis=1), out=np.full(len(votes), 0.5)
    )
    shares["label model"] = model.predict_proba(votes)[:, 1]
    pairs = [(pair["first"], pair["second"]) for pair in model.summary()["pairs"]]
    return {name: right(share, truth) for name, share in shares.items()}, pairs


def right(share: NDArray[np.float64], truth: NDArray[np.int8]) -> float:
    """Share of right decisions; what is undecided counts as half right."""
    return float(np.where(share == 0.5, 0.5, (share > 0.5) == truth).mean())
