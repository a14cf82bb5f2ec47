"""Bodies of answers, the kinds of those that say nothing, and votes."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.weak.judge.answers import Answer, answer_of, fault, vote_of

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["choices", "message", "content", "usage", "finish_reason", "refusal", "prompt_tokens"]),
            inner,
        )
    ),
    max_leaves=12,
)


def body(message: Any, **choice: Any) -> dict[str, Any]:
    return {"choices": [{"message": message, **choice}]}


@given(JSON)
def test_any_json_is_an_answer_or_none(value: Any) -> None:
    found = answer_of(value)
    assert found is None or isinstance(found.content, str)


def test_bodies() -> None:
    usage = {"prompt_tokens": 7, "completion_tokens": 2}
    given = body({"content": "yes"}, finish_reason="stop") | {"usage": usage}
    assert answer_of(given) == Answer("yes", "stop", "", 7, 2)
    assert answer_of(body({"content": None, "refusal": "no"}, finish_reason="stop")) == Answer("", "stop", "no")
    assert answer_of(body({"content": ""}) | {"usage": None}) == Answer("", "")
    for broken in ({}, [], None, {"choices": []}, {"choices": [{}]}, body(None), body({"content": 3})):
        assert answer_of(broken) is None


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Answer("yes"), None),
        (Answer("yes", "length"), "truncated"),
        (Answer("yes", "content_filter"), "refusal"),
        (Answer("", refusal="I will not"), "refusal"),
        (Answer("I'm sorry, but no"), "refusal"),
        (Answer("I’m unable to do that"), "refusal"),
        (Answer("I cannot help with this", "length"), "refusal"),
        (Answer("As an AI, I have no view"), "refusal"),
        (Answer("I cannot find any defect"), None),
        (Answer("As an aid it is fine"), None),
        (Answer("No, sorry"), None),
        (Answer(""), "empty"),
        (Answer(" \n** "), "empty"),
        (Answer("<think>yes, no, yes</think>\n"), "empty"),
    ],
)
def test_faults(answer: Answer, kind: str | None) -> None:
    assert fault(answer) == kind
    assert vote_of(answer, [(re.compile(""), "keep")]) == (("abstain", kind) if kind else ("keep", None))


@given(
    st.text("abc", min_size=1), st.dictionaries(st.sampled_from("abc"), st.sampled_from(["keep", "drop", "abstain"]))
)
def test_votes_are_those_of_the_letters(said: str, rules: dict) -> None:
    votes = {vote for letter, vote in rules.items() if letter in said}
    expected = (votes.pop(), None) if len(votes) == 1 else ("abstain", "ambiguous" if votes else "unmapped")
    assert vote_of(Answer(said), [(re.compile(letter), vote) for letter, vote in rules.items()]) == expected
