"""Modified Kneser-Ney: against the definitions, counted and summed with dictionaries, and against lmplz."""

import json
import math
import random
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.errors import RunError
from curate.language_models import arpa, ngram
from curate.language_models.kneser_ney import FALLBACK, estimate, thresholds
from curate.language_models.ngram import load
from curate.language_models.tokens import hash_of
from curate.language_models.training import Collected, counts_of, find_tool, train, train_with_lmplz
from curate.language_models.vocabulary import Vocabulary, with_bounds
from tests.runs import document

BOS, EOS, UNK = "<s>", "</s>", "<unk>"


def collected(sentences: list[list[str]]) -> Collected:
    vocabulary = Vocabulary()
    ids = vocabulary.add_words([word for sentence in sentences for word in sentence])
    offsets = np.cumsum([0, *map(len, sentences)])
    return Collected(with_bounds(ids, offsets), vocabulary.words, vocabulary.hashes)


def hashes_of(words: list[str]) -> np.ndarray:
    return np.array([hash_of(word) for word in words], np.uint64)


def by_the_book(sentences: list[list[str]], order: int, prune: list[int]) -> dict[tuple[str, ...], list[float]]:
    """log10 probability and backoff of every n-gram of a model, from the definitions of Chen and Goodman."""
    counts: Counter[tuple[str, ...]] = Counter()
    for sentence in sentences:
        whole = [BOS, *sentence, EOS]
        for n in range(1, order + 1):
            counts.update(tuple(whole[i : i + n]) for i in range(len(whole) - n + 1))
    counts[(UNK,)] = 0
    before = defaultdict(set)
    for gram in counts:
        before[gram[1:]].add(gram[0])
    adjusted = {g: n if len(g) == order or g[0] == BOS else len(before[g]) for g, n in counts.items()}
    adjusted[(BOS,)] = 0
    words = sorted({g[0] for g in counts if len(g) == 1} - {BOS})
    model: dict[tuple[str, ...], list[float]] = {}
    for n in range(1, order + 1):
        grams = [g for g in counts if len(g) == n]
        t = Counter(adjusted[g] for g in grams)
        discounts = [0.0, *FALLBACK]
        if t[1] and t[2] and t[3]:
            y = t[1] / (t[1] + 2 * t[2])
            by_count = [k - (k + 1) * y * t[k + 1] / t[k] for k in (1, 2, 3)]
            discounts = [0.0, *by_count] if all(0 <= d <= k for k, d in enumerate(by_count, 1)) else discounts
        kept = {g for g in grams if n == 1 or counts[g] > prune[n - 1]}
        following = defaultdict(list)
        for g in grams:
            following[g[:-1]].append(g)
        for context, extensions in following.items():
            total = sum(adjusted[g] for g in extensions)
            left = sum(discounts[min(adjusted[g], 3)] if g in kept else adjusted[g] for g in extensions)
            if context and context in model:
                model[context][1] = math.log10(left / total) if left > 1e-12 else -99.0
            for g in kept.intersection(extensions):
                lower = 10 ** model[g[1:]][0] if n > 1 else 1 / len(words)
                p = (adjusted[g] - discounts[min(adjusted[g], 3)]) / total + left / total * lower
                model[g] = [0.0 if g == (BOS,) else math.log10(p), 0.0]
    return model


def as_dictionary(path: Path) -> dict[tuple[str, ...], list[float]]:
    ngrams = {}
    for line in path.read_text().splitlines():
        fields = line.split("\t")
        if len(fields) > 1:
            ngrams[tuple(fields[1].split(" "))] = [float(fields[0]), float(fields[2]) if len(fields) > 2 else 0.0]
    return ngrams


def written(
    sentences: list[list[str]], order: int, prune: list[int], folder: Path
) -> dict[tuple[str, ...], list[float]]:
    text = collected(sentences)
    model = estimate(text.ids, len(text.words), order, prune, fallback=True)
    arpa.write(str(folder / "model.arpa"), model, text.ids, text.words)
    return as_dictionary(folder / "model.arpa")


def farthest(a: dict[tuple[str, ...], list[float]], b: dict[tuple[str, ...], list[float]]) -> float:
    assert a.keys() == b.keys()
    return max(abs(x - y) for gram in a for x, y in zip(a[gram], b[gram], strict=True))


PRUNING = [[0], [0, 0, 1], [0, 1], [0, 1, 2, 3]]
CORPORA = st.lists(st.lists(st.sampled_from("abcdefg"), min_size=1, max_size=9), min_size=1, max_size=30)


@given(CORPORA, st.integers(1, 6), st.sampled_from(PRUNING))
def test_is_what_the_definitions_say(
    tmp_path_factory: pytest.TempPathFactory, sentences: list[list[str]], order: int, prune: list[int]
) -> None:
    limits = thresholds(order, prune[:order])
    ours = written(sentences, order, limits, tmp_path_factory.getbasetemp())
    assert farthest(ours, by_the_book(sentences, order, limits)) < 2e-5


def walked(model: dict[tuple[str, ...], list[float]], context: tuple[str, ...], word: str) -> float:
    """log10 p(word | context) by the recursion of the ARPA format."""
    if (*context, word) in model:
        return model[(*context, word)][0]
    return model.get(context, [0, 0.0])[1] + walked(model, context[1:], word) if context else model[(UNK,)][0]


@given(CORPORA, st.integers(2, 4), st.sampled_from(PRUNING[:3]))
def test_probabilities_after_every_context_sum_to_one(
    tmp_path_factory: pytest.TempPathFactory, sentences: list[list[str]], order: int, prune: list[int]
) -> None:
    model = written(sentences, order, prune[:order], tmp_path_factory.getbasetemp())
    words = [gram[0] for gram in model if len(gram) == 1 and gram[0] != BOS]
    for context in [(), (BOS,), tuple(sentences[0][: order - 1]), ("unseen",)]:
        assert sum(10 ** walked(model, context, word) for word in words) == pytest.approx(1, abs=1e-4)


@given(CORPORA, CORPORA, st.integers(1, 5), st.sampled_from(PRUNING[:3]))
def test_scores_are_those_of_the_arpa_format(
    tmp_path_factory: pytest.TempPathFactory,
    sentences: list[list[str]],
    asked: list[list[str]],
    order: int,
    prune: list[int],
) -> None:
    folder = tmp_path_factory.getbasetemp()
    text = collected(sentences)
    model = train(text, {}, order, prune[:order], fallback=True, arpa_path=str(folder / "model.arpa"))
    model.save(str(folder / "model.lm"))
    book = as_dictionary(folder / "model.arpa")
    vocabulary = {gram[0] for gram in book if len(gram) == 1}
    expected = []
    for sentence in asked:
        whole = [BOS, *(word if word in vocabulary else UNK for word in sentence), EOS]
        expected.append(
            sum(walked(book, tuple(whole[max(0, i - order + 1) : i]), whole[i]) for i in range(1, len(whole)))
        )
    hashes = hashes_of([word for sentence in asked for word in sentence])
    offsets = np.cumsum([0, *map(len, asked)])
    for same in (model, load(str(folder / "model.lm")), arpa.read(str(folder / "model.arpa"))):
        scores = same.score(hashes, offsets)
        assert scores.log10_prob == pytest.approx(expected, abs=1e-4)
        assert scores.unknown.tolist() == [sum(word not in vocabulary for word in sentence) for sentence in asked]


def test_long_sentences_and_many_blocks_score_alike() -> None:
    rng = np.random.default_rng(2)
    sentences = [[f"w{i}" for i in rng.zipf(1.3, n) if i < 500] for n in (1, 9000, 3, 40, 5000, 0, 7)]
    model = train(collected([s for s in sentences if s]), {}, 4, [0], fallback=True, arpa_path=None)
    alone = []
    for sentence in sentences:
        hashes = hashes_of(sentence)
        alone += model.score(hashes, np.array([0, len(sentence)])).log10_prob.tolist()
    hashes = hashes_of([word for sentence in sentences for word in sentence])
    together = model.score(hashes, np.cumsum([0, *map(len, sentences)])).log10_prob
    assert together.tolist() == alone


def test_ngrams_beyond_a_full_bucket_are_found(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    sentences = [[f"w{i}" for i in rng.zipf(1.3, 60) if i < 500] for _ in range(120)]
    text = collected(sentences)
    model = train(text, {}, 4, [0], fallback=True, arpa_path=str(tmp_path / "model.arpa"))
    cells = model._arrays["cells"]
    taken = np.flatnonzero(cells[:, 0] != ngram._EMPTY)
    homes = [int(ngram._bucket(key, np.uint64(len(cells) // ngram.WIDTH))) for key in cells[taken, 0]]
    assert 20 < np.count_nonzero(taken // ngram.WIDTH * ngram.WIDTH != homes) < len(taken) / 4
    book = as_dictionary(tmp_path / "model.arpa")
    asked = [rng.permuted(sentence).tolist() if i % 2 else sentence for i, sentence in enumerate(sentences)]
    expected = []
    for sentence in asked:
        whole = [BOS, *sentence, EOS]
        expected.append(sum(walked(book, tuple(whole[max(0, i - 3) : i]), whole[i]) for i in range(1, len(whole))))
    hashes = hashes_of([word for sentence in asked for word in sentence])
    log10_prob = model.score(hashes, np.cumsum([0, *map(len, asked)])).log10_prob
    assert log10_prob == pytest.approx(expected, abs=1e-3)


PROSE = [line.lower().split() for seed in range(60) for line in document(random.Random(seed), 12).splitlines()]


def committed(prune: list[int]) -> tuple[dict[str, int], dict[tuple[str, ...], list[float]]]:
    """Numbers of n-grams of lmplz's model of PROSE, and a sample of them: see `tests/language_models/lmplz.json`."""
    models = json.loads(Path(__file__).with_name("lmplz.json").read_text())[" ".join(map(str, prune))]
    return models["ngrams"], {tuple(gram.split(" ")): values for gram, values in models["sample"].items()}


@pytest.mark.parametrize("prune", [[0], [0, 0, 1]])
def test_is_what_lmplz_said(tmp_path: Path, prune: list[int]) -> None:
    ours = written(PROSE, 5, prune, tmp_path)
    numbers, sample = committed(prune)
    assert {str(n): sum(len(gram) == n for gram in ours) for n in range(1, 6)} == numbers
    assert farthest({gram: ours[gram] for gram in sample}, sample) < 1e-5


@pytest.mark.parametrize("prune", [[0], [0, 0, 1]])
def test_is_what_lmplz_says(tmp_path: Path, prune: list[int]) -> None:
    if find_tool("lmplz") is None:
        pytest.skip("needs lmplz (scripts/build_kenlm.sh, then CURATE_KENLM); its committed numbers were compared")
    train_with_lmplz(collected(PROSE), {}, 5, prune, fallback=True, arpa_path=str(tmp_path / "lmplz.arpa"))
    theirs = as_dictionary(tmp_path / "lmplz.arpa")
    ours = written(PROSE, 5, prune, tmp_path)
    assert ours.keys() == theirs.keys()
    assert farthest(ours, theirs) < 1e-5
    _, sample = committed(prune)
    assert farthest({gram: theirs[gram] for gram in sample}, sample) < 1e-6, "the committed numbers are not lmplz's"


def test_order_of_ngrams_is_that_of_the_words_from_last_to_first(tmp_path: Path) -> None:
    text = collected([["b", "a"], ["a", "a"]])
    arpa.write(str(tmp_path / "m"), estimate(text.ids, len(text.words), 2, fallback=True), text.ids, text.words)
    section = (tmp_path / "m").read_text().split("\\2-grams:\n")[1].split("\n\n")[0]
    assert [line.split("\t")[1] for line in section.splitlines()] == ["a </s>", "<s> b", "<s> a", "b a", "a a"]


@pytest.mark.parametrize(
    ("prune", "message"),
    [
        ([1], "must be 0"),
        ([0, 2, 1], "must not decrease"),
        ([0, 0, 0, 1], "the order is 3"),
        ([0, -1], "must not decrease"),
    ],
)
def test_wrong_thresholds_are_refused(prune: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        thresholds(3, prune)


def test_a_text_without_discounts_is_refused_unless_the_fallback_may_be_used() -> None:
    text = collected([["a", "b"]] * 4)
    with pytest.raises(RunError, match="counts of counts of 1-grams"):
        train(text, {}, 2, [0], fallback=False, arpa_path=None)
    assert train(text, {}, 2, [0], fallback=True, arpa_path=None).meta["fallback_discounts"] == [1, 2]
    with pytest.raises(ValueError, match="no text"):
        estimate(np.empty(0, np.int32), 3, 2)


def test_counts_leave_out_what_bounds_sentences() -> None:
    assert counts_of(collected([["a", "b"], ["a"]])) == {"sentences": 2, "tokens": 3, "vocabulary": 5}


ARPA = "\\data\\\nngram 1=3\nngram 2=1\n\n\\1-grams:\n-1\t<s>\t-0.5\n-0.3\t</s>\n-1e0\tword\t-.25\n\n"


def test_models_of_other_tools_are_read(tmp_path: Path) -> None:
    (tmp_path / "m").write_text(f"some header\n{ARPA}\\2-grams:\n-0.1\tword </s>\n\n\\end\\\n")
    model = arpa.read(str(tmp_path / "m"))
    hashes = hashes_of(["word", "other"])
    scores = model.score(hashes, np.array([0, 1, 2]))
    # p(word | <s>) p(</s> | word); <unk> is as unlikely as kenlm has it where the model does not say.
    assert scores.log10_prob == pytest.approx([-0.5 - 1 - 0.1, -0.5 - 100 - 0.3], abs=1e-6)
    assert model.words()[3:] == ["word"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("words", "not in the ARPA format"),
        (ARPA, "no section"),
        (f"{ARPA}\\2-grams:\n-0.1 word </s>\n", "line 1 of 1 .* is not a 2-gram"),
        (f"{ARPA}\\2-grams:\n-0.1\tword new\n", "missing from the section"),
        (ARPA.replace("ngram 2=1", "ngram 2=many"), "not of the form .ngram ORDER=NUMBER"),
    ],
)
def test_broken_models_say_what_is_wrong(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "m").write_text(text)
    with pytest.raises(ValueError, match=message):
        arpa.read(str(tmp_path / "m"))


def test_a_model_that_lacks_the_end_of_an_ngram_is_refused(tmp_path: Path) -> None:
    text = ARPA.replace("ngram 2=1", "ngram 2=1\nngram 3=1")
    (tmp_path / "m").write_text(f"{text}\\2-grams:\n-0.1\tword </s>\n\n\\3-grams:\n-1\tword word word\n")
    with pytest.raises(ValueError, match="contains 'word word word' but not 'word word'"):
        arpa.read(str(tmp_path / "m"))
