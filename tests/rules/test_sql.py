"""Rules over columns: what is one, of which documents it is true, and the groups that are made of them."""

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.classifiers.groups import Group
from curate.rules.sql import columns_of, complaint, holds

COLUMNS = pa.schema(
    [("stars", pa.int32()), ("source", pa.dictionary(pa.int32(), pa.string())), ("good", pa.bool_())],
)
STARS = st.lists(st.none() | st.integers(-5, 5), min_size=1, max_size=20)


@pytest.mark.parametrize(
    "rule", ["stars >= 4", "good", "NOT good", "source = 'web' AND stars > 1", "stars IN (1, 2)", "TRUE", "moons > 2"]
)
def test_rules_that_are_fine(rule: str) -> None:
    assert complaint(rule, COLUMNS) == ""


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("stars", "has the type Int32"),
        ("source", "has the type Categorical"),
        ("stars > avg(stars)", "must not use aggregates or windows over several documents"),
        ("row_number() OVER (ORDER BY stars) > 2", ""),
        ("stars >", "unable to parse"),
        ("", ""),
        ("stars > 'a' + 1", ""),
    ],
)
def test_rules_that_are_none(rule: str, said: str) -> None:
    found = complaint(rule, COLUMNS)
    assert found
    assert said.lower() in found.lower()
    group = Group(where=rule)
    (problem,) = group.problems("target", {}, COLUMNS)
    assert problem.where == ("target", "where")
    (problem,) = group.problems("", {}, COLUMNS)
    assert problem.where == ("where",)


@given(STARS)
def test_null_is_not_true_and_a_rule_of_no_column_is_for_all(stars: list[int | None]) -> None:
    table = pa.table({"stars": pa.array(stars, pa.int32())})
    expected = [value is not None and value >= 2 for value in stars]
    assert holds("stars >= 2", pl.DataFrame(table)).tolist() == expected
    assert Group(where="stars >= 2").mask("web", table).tolist() == expected
    assert Group(where="stars >= 2", sources=("web",)).mask("books", table).tolist() == [False] * len(stars)
    assert Group(where="TRUE").mask("web", table).tolist() == [True] * len(stars)
    assert Group(sources=("web",)).mask("web", table).tolist() == [True] * len(stars)


def test_columns_are_named_once_in_their_order() -> None:
    assert columns_of("b > 1 OR a > 1 OR b < 0") == ["b", "a"]
    assert columns_of("b >") == []
