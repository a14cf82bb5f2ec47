"""Our scorer against kenlm's own module, where it is installed: the same model gives the same numbers."""

import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from curate.language_models.ngram import load
from curate.language_models.scorer import open_scorer
from curate.language_models.segmentation import TextForm
from curate.language_models.training import Collected, find_tool, to_binary, train
from curate.language_models.vocabulary import Vocabulary, with_bounds
from curate.text.batch import TextBatch
from tests.language_models.test_kneser_ney import hashes_of
from tests.runs import document

kenlm = pytest.importorskip("kenlm", reason="needs the extra kenlm, which compiles with a C++ compiler")

SENTENCES = [line.lower().split() for seed in range(60) for line in document(random.Random(seed), 12).splitlines()]
rng = random.Random(7)
ASKED = [
    *SENTENCES[::5],
    *(rng.sample(sentence, len(sentence)) for sentence in SENTENCES[::7]),
    ["nobody", "wrote", "this"],
    [SENTENCES[0][0], "unseen", *SENTENCES[0][1:]],
]


def trained(folder: Path, prune: list[int]) -> Path:
    vocabulary = Vocabulary()
    ids = vocabulary.add_words([word for sentence in SENTENCES for word in sentence])
    text = with_bounds(ids, np.cumsum([0, *map(len, SENTENCES)]))
    collected = Collected(text, vocabulary.words, vocabulary.hashes)
    model = train(collected, {}, 5, prune, fallback=True, arpa_path=str(folder / "model.arpa"))
    model.save(str(folder / "model.lm"))
    return folder


@pytest.mark.parametrize("prune", [[0], [0, 0, 1]])
def test_sentences_score_as_in_kenlm(tmp_path: Path, prune: list[int]) -> None:
    folder = trained(tmp_path, prune)
    theirs = kenlm.Model(str(folder / "model.arpa"))
    hashes = hashes_of([word for sentence in ASKED for word in sentence])
    ours = load(str(folder / "model.lm")).score(hashes, np.cumsum([0, *map(len, ASKED)]))
    assert ours.log10_prob == pytest.approx([theirs.score(" ".join(sentence)) for sentence in ASKED], abs=1e-4)
    assert ours.unknown.tolist() == [sum(word not in theirs for word in sentence) for sentence in ASKED]
    assert ours.unknown.sum() >= 3, "no unknown word was asked"


def test_a_binary_file_of_kenlm_scores_like_its_arpa_file(tmp_path: Path) -> None:
    if find_tool("build_binary") is None:
        pytest.skip("needs kenlm's build_binary: scripts/build_kenlm.sh FOLDER, then CURATE_KENLM=FOLDER")
    folder = trained(tmp_path, [0])
    to_binary(str(folder / "model.arpa"), str(folder / "model.bin"))
    form = TextForm(tokens="spaces").model_dump_json()
    batch = TextBatch(pa.array([" ".join(sentence) for sentence in ASKED]))
    binary, text = (open_scorer(str(folder / name), form).score(batch) for name in ("model.bin", "model.arpa"))
    assert binary.log10_prob == pytest.approx(text.log10_prob.tolist(), abs=1e-4)
    assert binary.unknown.tolist() == text.unknown.tolist()
