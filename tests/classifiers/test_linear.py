"""The kernel for linear fastText models against the library, feature by feature."""

import random
from pathlib import Path
from typing import Any

import fasttext
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.classifiers.classifier import Classifier, Reading
from curate.classifiers.fasttext import train
from curate.text.batch import TextBatch

WORDS = ["foo", "bar", "é", "漢", "the", "of", *(f"x{i}" for i in range(40))]
LABELS = ["__label__a", "__label__b", "__label__c"]
KINDS: dict[str, dict[str, Any]] = {
    "words": {"wordNgrams": 1},
    "pairs": {"wordNgrams": 2},
    "four": {"wordNgrams": 4, "bucket": 7},
    "rare words": {"wordNgrams": 3, "minCount": 40},
    "characters": {"minn": 2, "maxn": 3},
    "one against all": {"loss": "ova"},
}
PIECE = st.sampled_from([*WORDS[:8], " ", "  ", "unseen", "__label__a", "__label__zz", "</s>", "__label", "\u00a0"])


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Any, Classifier]]:
    folder, rng = tmp_path_factory.mktemp("linear"), random.Random(1)
    rows = []
    for i in range(300):
        own = WORDS[i % 3 * 10 : i % 3 * 10 + 12]
        rows.append(f"{LABELS[i % 3]} " + " ".join(rng.choice(rng.choice([own, WORDS])) for _ in range(15)))
    (folder / "lines.txt").write_text("\n".join(rows) + "\n")
    found = {}
    for name, kind in KINDS.items():
        path = folder / f"{name}.bin"
        given = {"dim": 6, "lr": 0.5, "epoch": 20, "bucket": 500, **kind}
        train(Path(folder, "lines.txt"), path, given, quantize=False)
        found[name] = fasttext.load_model(str(path)), Classifier(str(path), Reading(normalize=False))
    return found


def test_which_models_the_kernel_knows(models: dict[str, tuple[Any, Classifier]]) -> None:
    assert {name for name, (_, ours) in models.items() if ours.fast} == set(list(KINDS)[:4])


@given(st.lists(st.lists(PIECE, max_size=12).map(" ".join), min_size=1, max_size=4))
def test_probabilities_are_those_of_the_library(models: dict[str, tuple[Any, Classifier]], texts: list[str]) -> None:
    text = TextBatch(pa.array(texts, pa.large_string()))
    for theirs, ours in models.values():
        found = ours.probabilities(text.data, text.offsets, ["c", "a", "b"])
        for row, line in zip(found, texts, strict=True):
            answer = dict(zip(*theirs.predict(line, k=3), strict=True))
            if not line.strip(" ") or not answer:
                assert np.isnan(row).all()
                continue
            expected = [max(answer[f"__label__{label}"] - 1e-5, 0) for label in "cab"]
            assert row == pytest.approx(expected, abs=1e-6)


def test_the_models_tell_these_words_apart(models: dict[str, tuple[Any, Classifier]]) -> None:
    text = TextBatch(pa.array(["x4 x5 x6 x7 x8 x9"], pa.large_string()))
    for name, (_, ours) in models.items():
        found = ours.probabilities(text.data, text.offsets, ["a", "b", "c"])[0]
        assert found.max() - found.min() > 0.1, name
