"""Samples against a reference that sorts whole lists, and their inclusion probabilities."""

import random
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.errors import ConfigError
from curate.table import Table
from curate.text.hashing import hash64
from curate.weak.gold.sample import LEAST, SALT, Strata, draw, problems, seats
from tests.corpus import document_id
from tests.examples import examples
from tests.weak.gold.corpora import made_up_run

SIZES = {"web": 130, "books": 40, "notes": 2}
SCORED = Strata(score="weak_quality", groups=4)


def scores_of(sizes: dict[str, int]) -> dict[str, list[float | None]]:
    """Scores with many ties, and some that are missing."""
    rng = random.Random(4)
    return {
        source: [None if rng.random() < 0.1 else round(rng.random(), 1) for _ in range(size)]
        for source, size in sizes.items()
    }


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Table:
    return made_up_run(tmp_path_factory.mktemp("run"), scores_of(SIZES))


def reference_strata(scores: dict[str, list[float | None]], groups: int) -> dict[str, list[bytes]]:
    """Ids by stratum: the group of a score is how many of the group-beginning scores are not above it."""
    found: dict[str, list[bytes]] = {}
    for source, given_scores in scores.items():
        there = sorted(score for score in given_scores if score is not None)
        begins = [there[group * len(there) // groups] for group in range(1, groups)] if there else []
        for row, score in enumerate(given_scores):
            group = "null" if score is None else f"{1 + sum(begin <= score for begin in begins)}/{groups}"
            name = f"{source}, weak_quality {group}"
            found.setdefault(name, []).append(document_id(source, str(row)))
    return found


def test_strata_and_order_are_those_of_the_reference(table: Table) -> None:
    expected = reference_strata(scores_of(SIZES), 4)
    sample = draw(table, SCORED, 60, seed=3)
    assert sample.strata == {name: len(ids) for name, ids in sorted(expected.items())}
    assert len({each.id for each in sample.drawn}) == 60
    for name, ids in expected.items():
        key = hash64(3, SALT, np.frombuffer(b"".join(ids), np.uint8).reshape(-1, 16)).tolist()
        order = [own for _, own in sorted(zip(key, ids, strict=True))]
        asked = [each.id for each in sample.drawn if each.stratum == name]
        assert asked == order[: len(asked)]
        assert asked


def test_places_and_names_of_documents(table: Table) -> None:
    for each in draw(table, SCORED, 60).drawn:
        row = table.read(each.shard, ["id", "source", "source_id"]).slice(each.row, 1).to_pylist()[0]
        assert row == {"id": each.id, "source": each.source, "source_id": each.source_id}


@examples(40)
@given(st.dictionaries(st.text(max_size=3), st.integers(1, 40), min_size=1, max_size=6), st.integers(0, 120))
def test_seats_are_those_of_a_search_of_all_strata(sizes: dict[str, int], n: int) -> None:
    """The next place goes to a stratum that has fewest in the first rounds, then fewest for its size."""
    taken = dict.fromkeys(sizes, 0)
    places = list(seats(sizes, n, seed=1))
    assert len(places) == min(n, sum(sizes.values()))
    for name in places:
        open_strata = [other for other in sizes if taken[other] < sizes[other]]
        poor = [other for other in open_strata if taken[other] < LEAST]
        if poor:
            assert taken[name] == min(taken[other] for other in poor)
        else:
            ratios = {other: (2 * taken[other] + 1) / sizes[other] for other in open_strata}
            assert ratios[name] == pytest.approx(min(ratios.values()))
        taken[name] += 1


def test_a_few_of_each_stratum_and_the_rest_by_size(table: Table) -> None:
    counts = Counter(each.stratum for each in draw(table, Strata(), 86).drawn)
    assert counts["notes"] == 2
    assert counts["web"] == pytest.approx(84 * 130 / 170, abs=1)
    assert min(Counter(seats({"huge": 10**6, "small": 5}, 10)).values()) == LEAST


def test_smaller_samples_are_the_beginning_of_larger_ones(table: Table) -> None:
    whole = draw(table, SCORED, 500)
    assert len(whole.drawn) == 172
    assert {each.weight for each in whole.drawn} == {1.0}
    for n in (15, 16, 40, 99, 171):
        part = draw(table, SCORED, n)
        assert [each.id for each in part.drawn] == [each.id for each in whole.drawn[:n]]
        assert part.draw == whole.draw


@pytest.mark.parametrize("n", [15, 40, 100, 172, 400])
def test_weighted_totals_are_the_corpus(table: Table, n: int) -> None:
    sample = draw(table, SCORED, n, seed=n)
    totals: Counter[str] = Counter()
    for each in sample.drawn:
        totals[each.stratum] += each.weight  # type: ignore[assignment]
    assert dict(totals) == pytest.approx(sample.strata)
    assert sum(totals.values()) == pytest.approx(sample.documents)
    assert sample.documents == sum(SIZES.values())


def test_inclusion_probabilities_are_exact(table: Table) -> None:
    """Over many seeds each document is in as often as its weight says, and the weighted total of anything is right."""
    draws = 150
    drawn: Counter[bytes] = Counter()
    weight: dict[bytes, float] = {}
    value = {document_id(source, str(row)): row % 7 for source, size in SIZES.items() for row in range(size)}
    totals = []
    for seed in range(draws):
        sample = draw(table, SCORED, 40, seed)
        drawn.update(each.id for each in sample.drawn)
        # The sizes of strata decide the number of places but for ties, which a seed breaks.
        for each in sample.drawn:
            weight[each.id] = weight.get(each.id, 0.0) + each.weight
        totals.append(sum(each.weight * value[each.id] for each in sample.drawn))
    assert set(drawn) == set(value)
    for own, count in drawn.items():
        chance = count / weight[own]
        assert abs(count - draws * chance) < 4.5 * (draws * chance * (1 - chance)) ** 0.5 + 1e-9
    error = np.std(totals) / draws**0.5
    assert abs(np.mean(totals) - sum(value.values())) < 4 * error


def test_neither_shards_nor_their_order_matter(table: Table, tmp_path: Path) -> None:
    expected = draw(table, SCORED, 60)
    small = made_up_run(tmp_path / "small", scores_of(SIZES), shard_rows=7)
    backwards = made_up_run(tmp_path / "backwards", dict(reversed(scores_of(SIZES).items())), shard_rows=50)
    for other in (small, backwards):
        sample = draw(other, SCORED, 60)
        assert [each.id for each in sample.drawn] == [each.id for each in expected.drawn]
        assert [each.weight for each in sample.drawn] == [each.weight for each in expected.drawn]
        assert sample.draw == expected.draw


def test_what_is_another_draw(table: Table, tmp_path: Path) -> None:
    scores = scores_of(SIZES)
    first, second = scores["web"].index(0.1), scores["web"].index(0.9)
    scores["web"][first], scores["web"][second] = 0.9, 0.1  # strata of the same sizes
    exchanged = made_up_run(tmp_path, scores)
    names = {
        draw(table, SCORED, 60).draw,
        draw(table, SCORED, 60, seed=1).draw,
        draw(table, Strata(), 60).draw,
        draw(table, Strata(score="weak_quality", groups=3), 60).draw,
        draw(exchanged, SCORED, 60).draw,
    }
    assert len(names) == 5


def test_by_any_column_of_values(table: Table) -> None:
    sample = draw(table, Strata(by="weak_lang"), 30)
    assert sample.strata == {"de": 57, "en": 59, "null": 56}
    assert {each.source for each in sample.drawn} >= {"web", "books"}


def test_scores_that_do_not_divide(tmp_path: Path) -> None:
    equal = made_up_run(tmp_path / "equal", {"a": [0.5] * 9, "b": [None] * 4, "c": [float("nan"), 0.0, -0.0]})
    assert draw(equal, SCORED, 9).strata == {
        "a, weak_quality 4/4": 9,
        "b, weak_quality null": 4,
        "c, weak_quality 4/4": 2,
        "c, weak_quality null": 1,
    }


def test_too_many_strata(table: Table) -> None:
    strata = len(draw(table, SCORED, 100).strata)
    assert len(draw(table, SCORED, strata).drawn) == strata
    with pytest.raises(ConfigError, match=f"{strata - 1} documents are fewer than the strata"):
        draw(table, SCORED, strata - 1)
    for by in (Strata(by="source_id"), Strata(by="source_id", score="weak_quality")):
        with pytest.raises(ConfigError, match="at least"):
            draw(table, by, 20)


def test_no_documents(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no documents"):
        draw(made_up_run(tmp_path, {}), Strata(), 5)


def test_columns_that_do_not_divide() -> None:
    columns = pa.schema(
        [
            ("source", pa.dictionary(pa.int32(), pa.string())),
            ("text", pa.large_string()),
            ("score", pa.float32()),
            ("count", pa.int64()),
            ("kept", pa.bool_()),
            ("spans", pa.list_(pa.int32())),
        ]
    )
    fine = [Strata(), Strata("count", "score"), Strata("kept", "kept"), Strata("source", "count")]
    assert [list(problems(strata, columns)) for strata in fine] == [[]] * 4
    said = [str(each) for each in problems(Strata("scor", "source"), columns)]
    assert said[0].startswith("--by: no column 'scor'\n    did you mean 'score'?")
    assert said[1].startswith("--score: source holds dictionary")
    for by in ("text", "score", "spans"):
        assert [each.where for each in problems(Strata(by), columns)] == [("--by",)]
