"""CCNet's kind of model files, made here: SentencePiece pieces scored by kenlm, beside CCNet's own few lines."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from curate.language_models.scorer import Scorer, open_scorer
from curate.language_models.segmentation import Subwords, TextForm
from curate.language_models.training import Collected, find_tool, to_binary, train
from curate.language_models.vocabulary import Vocabulary, with_bounds
from curate.text.batch import TextBatch
from tests.language_models.test_ccnet import ccnet
from tests.runs import document

kenlm = pytest.importorskip("kenlm", reason="needs the extra kenlm, which compiles with a C++ compiler")
sentencepiece = pytest.importorskip("sentencepiece", reason="needs the extra sentencepiece")

PROSE = [document(random.Random(seed), 12) for seed in range(40)]
ASKED = [*PROSE[::4], "Nobody ☃ wrote ☃☃ this: <unk> <s> 1984…", "ÉCLAIR\n\nß q!", "one", "", " \n "]
FORM = TextForm(sentences="document")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``xx.sp.model`` and ``xx.arpa``, with a word that SentencePiece does not know but the language model does."""
    folder = tmp_path_factory.mktemp("ccnet")
    lines = [ccnet(text) for text in PROSE]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_prefix=str(folder / "xx.sp"), vocab_size=60, hard_vocab_limit=False,
        num_threads=1, minloglevel=2,
    )  # fmt: skip
    processor = sentencepiece.SentencePieceProcessor(model_file=str(folder / "xx.sp.model"))
    sentences = [processor.encode(f"{line} ☃", out_type=str) for line in lines]
    vocabulary = Vocabulary()
    ids = vocabulary.add_words([piece for sentence in sentences for piece in sentence])
    text = with_bounds(ids, np.cumsum([0, *map(len, sentences)]))
    train(
        Collected(text, vocabulary.words, vocabulary.hashes),
        {},
        3,
        [0],
        fallback=True,
        arpa_path=str(folder / "xx.arpa"),
    )
    return folder


def by_ccnet(text: str, model: Any, processor: Any) -> tuple[float, int, float, int]:
    """log10 probability, length, perplexity and unknown pieces, as its `perplexity.py` has them."""
    pieces = processor.encode(ccnet(text), out_type=str)
    score = model.score(" ".join(pieces))
    length = len(pieces) + 1
    return score, length, 10.0 ** (-score / length), sum(piece not in model for piece in pieces)


def scorer_of(kind: str, files: Path, folder: Path) -> Scorer:
    tokenizer = str(files / "xx.sp.model")
    if kind == "module":
        return Scorer(kenlm.Model(str(files / "xx.arpa")), FORM, Subwords.from_sentencepiece(tokenizer))
    if kind == "binary":
        if find_tool("build_binary") is None:
            pytest.skip("needs kenlm's build_binary: scripts/build_kenlm.sh FOLDER, then CURATE_KENLM=FOLDER")
        to_binary(str(files / "xx.arpa"), str(folder / "xx.arpa.bin"))
        return open_scorer(str(folder / "xx.arpa.bin"), FORM.model_dump_json(), tokenizer)
    return open_scorer(str(files / "xx.arpa"), FORM.model_dump_json(), tokenizer)


@pytest.mark.parametrize("kind", ["arpa", "module", "binary"])
def test_documents_score_as_in_ccnet(files: Path, tmp_path: Path, kind: str) -> None:
    model = kenlm.Model(str(files / "xx.arpa"))
    processor = sentencepiece.SentencePieceProcessor(model_file=str(files / "xx.sp.model"))
    sums = scorer_of(kind, files, tmp_path).score(TextBatch(pa.array(ASKED)))
    some = [bool(ccnet(text)) for text in ASKED]
    assert sums.sentences.tolist() == [int(has) for has in some]
    expected = np.array([by_ccnet(text, model, processor) for text in ASKED])[some]
    prob, length = sums.log10_prob[some], (sums.tokens + sums.sentences)[some]
    assert prob == pytest.approx(expected[:, 0], abs=1e-3)
    assert length.tolist() == expected[:, 1].tolist()
    assert 10 ** (-prob / length) == pytest.approx(expected[:, 2], rel=1e-4)
    assert sums.unknown[some].tolist() == expected[:, 3].tolist()
    assert sums.unknown.sum() >= 3, "the sample has no unknown piece"
    assert processor.unk_id() in processor.encode("☃"), "the snowman was to be unknown to SentencePiece"
    assert "☃" in model, "the language model must know the character"
