"""Votes on Arrow batches against a plain evaluation, document by document."""

import math
import re
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.text.batch import TextBatch
from curate.weak.functions.config import Function, Voter, voters
from curate.weak.functions.text import finders, found_columns, searched
from curate.weak.functions.votes import evaluate
from tests.examples import examples

CODES = {"drop": 0, "keep": 1, None: -1}
NUMBERS = st.one_of(st.none(), st.just(math.nan), st.floats(-4, 4, width=32))
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "words": st.one_of(st.none(), st.integers(0, 9)),
            "score": NUMBERS,
            "lang": st.sampled_from([None, "en", "de"]),
            "judge": st.sampled_from([None, "keep", "drop", "abstain", "perhaps"]),
            "text": st.lists(
                st.sampled_from(["Bad", "bad", "word", "good", "x", "CLICK", "click", "here", "!"]), max_size=8
            ).map(" ".join),
        }
    ),
    max_size=20,
)
SCHEMA = pa.schema(
    {
        "words": pa.int64(),
        "score": pa.float64(),
        "lang": pa.dictionary(pa.int32(), pa.string()),
        "judge": pa.string(),
        "text": pa.large_string(),
    }
)
CUTS = {"fluent": {"all": [-1.0, 0.5, 0.5, 2.0]}, "by_language": {"en": [0.0], "de": [1.0]}}


@pytest.fixture(scope="module")
def bad_words(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("lists") / "bad.txt"
    path.write_text("# a list\nbad word\ngood\n")
    return str(path)


def functions_with(bad_words: str) -> dict[str, Function]:
    return {
        "short": Function(when="words < 4", vote="drop"),
        "either": Function(when="words >= 4", vote="keep", otherwise="drop"),
        "high": Function(when="score > 1.5", vote="drop", otherwise="keep", sources=("web", "news")),
        "english": Function(when="words = 0", vote="drop", otherwise="keep", where="lang = 'en'"),
        "fluent": Function(score="score", buckets=5),
        "by_language": Function(score="score", buckets=2, higher="drop", by="lang"),
        "listed": Function(words=bad_words, vote="drop", at_least=2),
        "click": Function(regex="(?i)click +here", vote="drop", otherwise="keep"),
        "asked": Function(column="judge"),
        "elsewhere": Function(column="judge", sources=("books",)),
    }


def expected(rows: list[dict[str, Any]], source: str) -> list[list[int]]:
    return [[_vote(name, row, source) for name in functions_with("unread")] for row in rows]


def _vote(name: str, row: dict[str, Any], source: str) -> int:
    words, score = row["words"], row["score"]
    score = None if score is None or math.isnan(score) else score
    if name == "short":
        return 0 if words is not None and words < 4 else -1
    if name == "either":
        return -1 if words is None else int(words >= 4)
    if name == "high":
        return -1 if score is None or source not in ("web", "news") else int(score <= 1.5)
    if name == "english":
        return -1 if words is None or row["lang"] != "en" else int(words != 0)
    if name == "fluent":
        return -1 if score is None else sum(score >= cut for cut in CUTS["fluent"]["all"])
    if name == "by_language":
        return -1 if score is None or row["lang"] is None else int(score < CUTS["by_language"][row["lang"]][0])
    if name == "listed":
        found = re.findall(r"\w+", row["text"].lower())
        return 0 if found.count("good") + list(pairwise(found)).count(("bad", "word")) >= 2 else -1
    if name == "click":
        return 1 - bool(re.search("click +here", row["text"], re.IGNORECASE))
    if name == "elsewhere" and source != "books":
        return -1
    return -2 if row["judge"] is None else CODES[row["judge"] if row["judge"] in CODES else None]


def asked(functions: dict[str, Function], rows: pa.Table, source: str = "web", cuts: Any = None) -> Any:
    """The ballot, with what is found in the text beside the columns."""
    looking = {key: searched(function) for key, function in functions.items() if function.words or function.regex}
    text = TextBatch(rows.column("text").combine_chunks())
    found = [array for find in finders(looking) for array in find(text, pa.record_batch({"text": text.text}))]
    for field, array in zip(found_columns(looking, "weak"), found, strict=True):
        rows = rows.append_column(field, array)
    return evaluate(voters(functions), rows, source, cuts or CUTS, "weak")


@examples(60)
@given(rows=ROWS, source=st.sampled_from(["web", "books"]))
def test_votes_are_those_of_a_plain_evaluation(bad_words: str, rows: list[dict[str, Any]], source: str) -> None:
    table = pa.Table.from_pylist(rows, SCHEMA)
    ballot = asked(functions_with(bad_words), table, source)
    assert ballot.votes.tolist() == expected(rows, source)
    assert ballot.votes.dtype == np.int8
    perhaps = sum(row["judge"] == "perhaps" for row in rows)
    faults = {"another word than drop, keep, abstain": perhaps} if perhaps else {}
    assert ballot.faults == [{}] * 8 + [faults, faults if source == "books" else {}]


def test_rules_of_a_preset_are_functions_by_name() -> None:
    functions = {
        "gopher": Function(preset="gopher", thresholds={"gopher_words_min": 30, "gopher_words_max": None}),
        "own": Function(when="gopher_words > 7", vote="keep"),
    }
    found = voters(functions)
    names = [voter.name for voter in found]
    assert names[0] == "gopher_words_min"
    assert names[-1] == "own"
    assert "gopher_words_max" not in names
    rules = [voter for voter in found if voter.name in ("gopher_words_min", "gopher_stop_words_min")]
    columns = pa.table({"gopher_words": [29, 30, None], "gopher_stop_words": [1, 2, 0]})
    assert evaluate(rules, columns, "web", {}, "weak").votes.tolist() == [[0, 0], [-1, -1], [-1, 0]]


def test_rules_for_one_language_spare_others() -> None:
    (rule,) = (v for v in voters({"g": Function(preset="gopher")}, "lang") if v.name == "gopher_stop_words_min")
    columns = pa.table({"gopher_stop_words": [0, 0, 0], "lang": ["en", "de", None]})
    assert evaluate([rule], columns, "web", {}, "weak").votes.tolist() == [[0], [-1], [-1]]


def test_outside_of_its_slice_a_function_may_be_silent() -> None:
    functions = {
        "here": Function(when="n > 1", vote="keep", sources=("web",)),
        "some": Function(when="n > 1", vote="keep", where="n < 3"),
        "rules": Function(preset="gopher"),
    }
    asked = [v for v in voters(functions, "lang") if v.name in ("here", "some", "gopher_stop_words_min")]
    columns = pa.table({"n": [1, 2, 3], "gopher_stop_words": [0, 0, 0], "lang": ["en", "de", None]})
    assert evaluate(asked, columns, "web", {}, "weak", -2).votes.tolist() == [[-1, -1, 0], [1, 1, -2], [1, -2, -2]]
    assert evaluate(asked, columns, "books", {}, "weak", -2).votes[:, 0].tolist() == [-2, -2, -2]


def test_rules_that_presets_have_in_common_are_there_once() -> None:
    both = voters({"a": Function(preset="gopher"), "b": Function(preset="fineweb")})
    names = [voter.name for voter in both]
    assert len(names) == len(set(names))
    assert {voter.key for voter in both} == {"a", "b"}


def test_an_expression_that_fails_on_the_values_abstains() -> None:
    functions = {"number": Function(when="CAST(name AS INT) > 3", vote="drop", sources=("web",))}
    columns = pa.table({"name": ["4", "x"]})
    ballot = evaluate(voters(functions), columns, "web", {}, "weak")
    assert ballot.votes.tolist() == [[-1], [-1]]
    ((why, documents),) = ballot.faults[0].items()
    assert "InvalidOperationError" in why
    assert documents == 2
    assert evaluate(voters(functions), columns, "books", {}, "weak").faults == [{}]


def test_no_documents() -> None:
    empty = pa.table({"words": pa.array([], pa.int64())})
    ballot = evaluate(voters({"short": Function(when="words < 4", vote="drop")}), empty, "web", {}, "weak")
    assert ballot.votes.shape == (0, 1)


def test_the_columns_that_a_voter_needs_and_where_they_are_named() -> None:
    voter = Voter("v", "v", Function(score="q", by="lang", where="words > 3"))
    assert voter.columns() == ("q", "lang", "words")
    assert [voter.place(column)[-1] for column in voter.columns()] == ["score", "by", "where"]


def test_a_slice_that_cannot_be_told_is_a_fault() -> None:
    functions = {"s": Function(when="words > 3", where="CAST(url AS INTEGER) > 1", vote="drop")}
    columns = pa.table({"words": [1, 99], "url": ["3", "abc"]})
    ballot = evaluate(voters(functions), columns, "a", {}, "weak")
    assert ballot.votes.tolist() == [[-1], [-1]]
    (fault,) = ballot.faults
    assert sum(fault.values()) == 2
    assert next(iter(fault)).startswith("InvalidOperationError")


def test_values_beside_a_tie_of_several_cuts_are_told_from_it() -> None:
    columns = pa.table({"q": [0.0] * 9 + [1.0]})
    cuts = {"q": {"all": [0.0, 0.0, 0.0]}}
    votes = evaluate(voters({"q": Function(score="q", buckets=4)}), columns, "a", cuts, "weak").votes[:, 0]
    assert votes.tolist() == [2] * 9 + [3]


def test_a_group_without_cuts_abstains() -> None:
    columns = pa.table({"q": [0.5, 0.1], "lang": ["en", "yo"]})
    functions = voters({"q": Function(score="q", buckets=2, by="lang")})
    assert evaluate(functions, columns, "a", {"q": {"en": [0.2]}}, "weak").votes[:, 0].tolist() == [1, -1]
