"""Order, windows and counts of many questions."""

import threading
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.weak.judge.answers import Answer
from curate.weak.judge.asking import WINDOW, Asker, Call, Outcome, in_order
from curate.weak.judge.cache import Cache
from curate.weak.judge.endpoint import Endpoint, EndpointSettings
from curate.weak.judge.prompts import PROMPTS
from curate.weak.judge.tally import Tally
from tests.weak.judge.server import MODEL, Faults, JudgeServer, document


def test_results_are_in_order_and_few_items_are_held() -> None:
    taken = 0
    gone = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for number in range(200):
            taken += 1
            assert taken - gone <= WINDOW * 4 + 1
            yield number

    barrier = threading.Barrier(4)  # four are in the making at the same time, or this never ends

    def ask(number: int) -> int:
        barrier.wait(30)
        return -number

    for expected, found in enumerate(in_order(ask, items(), 4, threading.Event())):
        assert found == -expected
        gone += 1
    assert gone == 200


def test_nothing_is_begun_after_the_consumer_left() -> None:
    begun: list[int] = []
    stop = threading.Event()

    def ask(number: int) -> int:
        begun.append(number)
        if number == 1:
            raise KeyError(number)
        stop.wait(0 if number < 1 else 30)  # the rest waits for the stop
        return number

    with pytest.raises(KeyError):
        list(in_order(ask, range(1000), 2, stop))
    assert stop.is_set()
    assert len(begun) <= 4


VOTE = st.sampled_from(["keep", "drop", "abstain", None])


@given(st.lists(st.tuples(VOTE, VOTE, VOTE), max_size=30))
def test_agreement_by_the_definition(ballots: list[tuple]) -> None:
    tally = Tally(["a", "b", "c"])
    for number, ballot in enumerate(ballots):
        for name, vote in zip("abc", ballot, strict=True):
            tally.add(name, Outcome(vote), document=number)
    told = tally.summary()
    for place, name in enumerate("abc"):
        votes = Counter(ballot[place] for ballot in ballots)
        counts = told["prompts"][name]
        assert [counts[key] for key in ("keep", "drop", "abstain", "unanswered")] == [
            votes[key] for key in ("keep", "drop", "abstain", None)
        ]
        assert counts["asked"] == len(ballots)
    assert [(pair["one"], pair["other"]) for pair in told["pairs"]] == [("a", "b"), ("a", "c"), ("b", "c")]
    for pair in told["pairs"]:
        one, other = "abc".index(pair["one"]), "abc".index(pair["other"])
        both = [(b[one], b[other]) for b in ballots if {b[one], b[other]} <= {"keep", "drop"}]
        assert (pair["both"], pair["alike"]) == (len(both), sum(a == b for a, b in both))
        sides = [{a for a, _ in both}, {b for _, b in both}]
        if min(map(len, sides)) < 2:
            assert pair["kappa"] is None
            continue
        observed = pair["alike"] / len(both)
        chance = (
            sum(sum(a == vote for a, _ in both) * sum(b == vote for _, b in both) for vote in ("keep", "drop"))
            / len(both) ** 2
        )
        assert pair["kappa"] == pytest.approx((observed - chance) / (1 - chance), abs=1e-6)


@pytest.mark.parametrize(("unmapped", "warned"), [(5, False), (6, True)])
def test_warnings_from_both_sides(unmapped: int, warned: bool) -> None:
    tally = Tally(["a", "b"])
    for number in range(110):
        vote = "abstain" if number < unmapped else "keep" if number < 100 else None
        tally.add("a", Outcome(vote, "refusal" if number < unmapped else None), document=number)
        tally.add("b", Outcome("abstain"), document=number)
    first = ["6 of 100 answers to 'a' say nothing that its rules know: 6 refusal"]
    assert tally.summary()["warnings"] == [*(first if warned else []), "'b' never voted"]


def test_tokens_are_of_different_requests() -> None:
    tally = Tally(["a"])
    answer = Answer("yes", prompt_tokens=10, completion_tokens=2)
    for place, key in enumerate([b"1", b"2", b"1"]):
        seconds = None if place == 2 else 1.5
        tally.add("a", Outcome("keep", calls=(Call(key, answer, seconds),)), document=place)
    told = tally.summary()["prompts"]["a"]
    assert (told["requests"], told["tokens"]) == (2, {"prompt": 20, "completion": 4})
    assert tally.spent() == {"a": {"answered": 2, "cached": 1, "seconds": 3.0}}


@pytest.mark.parametrize(("always", "votes"), [(0.0, {"drop", "keep"}), (1.0, {None})])
def test_one_request_at_a_time_for_equal_questions(tmp_path: Path, always: float, votes: set) -> None:
    """Those that come while it is in flight share its answer, or its failure."""
    with JudgeServer(faults=Faults(always={"400": always}, delay=0.3)) as server:
        stop = threading.Event()
        endpoint = Endpoint(EndpointSettings(server.url), stop)
        asker = Asker(MODEL, {}, Cache(str(tmp_path / "a")), endpoint, stop, 8, 8)
        ask = partial(asker.question, PROMPTS["yesno"])
        outcomes = list(in_order(ask, [document(3)] * 8, 8, stop))
        assert {outcome.vote for outcome in outcomes} <= votes
        assert len({outcome.vote for outcome in outcomes}) == 1
        assert server.seen.total() == 1
        fresh = [call for outcome in outcomes for call in outcome.calls if call.seconds is not None]
        assert len(fresh) == 1 - always
