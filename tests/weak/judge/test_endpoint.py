"""What is retried, what is given up and what ends a run; waits, on a clock of the test's own; keys that stay secret."""

import threading
import time
from email.utils import formatdate

import pytest

from curate.errors import RunError
from curate.weak.judge import endpoint as module
from curate.weak.judge.endpoint import Endpoint, EndpointSettings, Pace, StoppedError, UnansweredError, _retry_after
from tests.weak.judge.server import MODEL, Faults, JudgeServer, document

BODY = {"model": MODEL, "messages": [{"role": "user", "content": "YES, NO or UNSURE? " + document(1)}]}


class Clock(threading.Event):
    """A stop event on which waiting takes no time but moves a clock; `waits` are the seconds asked for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self.now, self.waits = 100.0, []
        monkeypatch.setattr(module.time, "monotonic", lambda: self.now)

    def wait(self, timeout: float | None = None) -> bool:
        if timeout:
            self.waits.append(round(timeout, 6))
            self.now += timeout
        return self.is_set()


def asked(server: JudgeServer, stop: threading.Event | None = None, **settings: float) -> Endpoint:
    return Endpoint(EndpointSettings(server.url, **{"backoff": 0.0, **settings}), stop or threading.Event())  # type: ignore[arg-type]


@pytest.mark.parametrize("fault", ["429", "500", "503", "malformed", "no_choices", "hang_up"])
def test_one_failure_is_tried_again(fault: str) -> None:
    with JudgeServer(faults=Faults(once={fault: 1.0})) as server:
        endpoint = asked(server, retries=1)
        assert endpoint.ask(BODY).completion_tokens
        assert (endpoint.requests, endpoint.failures.total(), server.seen.total()) == (2, 1, 2)


@pytest.mark.parametrize(
    ("fault", "why", "attempts"),
    [
        ("500", "HTTP 500: simulated 500", 3),
        ("400", "HTTP 400: simulated 400", 1),
        ("413", "HTTP 413", 1),
        ("malformed", "no chat completion", 3),
        ("hang_up", "disconnected", 3),
        ("slow", "no answer in 0.1 s", 3),
    ],
)
def test_what_is_given_up(fault: str, why: str, attempts: int) -> None:
    with JudgeServer(faults=Faults(always={fault: 1.0})) as server:
        endpoint = asked(server, retries=2, timeout=0.1 if fault == "slow" else 10.0)
        with pytest.raises(UnansweredError, match=why):
            endpoint.ask(BODY)
        assert endpoint.requests == attempts


@pytest.mark.parametrize("fault", ["403", "404", "308"])
def test_what_ends_the_run(fault: str) -> None:
    with JudgeServer(faults=Faults(always={fault: 1.0})) as server, pytest.raises(RunError, match=f"HTTP {fault}"):
        asked(server).ask(BODY)


def test_the_key_is_sent_and_never_repeated() -> None:
    with JudgeServer(key="secret-1") as server:
        good = Endpoint(EndpointSettings(server.url, key="secret-1"), threading.Event())
        good.greet(MODEL)
        assert good.ask(BODY)
        bad = Endpoint(EndpointSettings(server.url, key="secret-2"), threading.Event())
        for ask in (lambda: bad.greet(MODEL), lambda: bad.ask(BODY)):
            with pytest.raises(RunError) as caught:
                ask()
            assert "wrong key Bearer ***" in str(caught.value)
            assert "secret" not in str(caught.value)
        assert "secret" not in str(server.bodies)


def test_greeting(caplog: pytest.LogCaptureFixture) -> None:
    with JudgeServer() as server:
        asked(server).greet("simulatd")
        assert "lists no model 'simulatd'; did you mean 'simulated'?" in caplog.text
        Endpoint(EndpointSettings(server.url.replace("/v1", "/v2")), threading.Event()).greet(
            MODEL
        )  # has no list: who knows
        url = server.url
    with pytest.raises(RunError, match=f"nobody answers at base_url '{url}'.*3 times.*refused"):
        Endpoint(EndpointSettings(url, backoff=0.0), threading.Event()).greet(MODEL)


def test_waits_between_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    with JudgeServer(faults=Faults(always={"500": 1.0})) as server, pytest.raises(UnansweredError):
        asked(server, clock, retries=8, backoff=1.0).ask(BODY)
    assert clock.waits == [1, 2, 4, 8, 16, 32, 60, 60]


def test_retry_after_holds_all_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    with JudgeServer(faults=Faults(once={"429": 1.0})) as server:
        server.retry_after = "30"
        endpoint = asked(server, clock, backoff=1.0)
        endpoint.ask(BODY)
        assert clock.waits == [1, 29]


def test_pace_begins_so_many_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    pace, starts = Pace(4.0, clock), []
    for _ in range(5):
        pace.wait()
        starts.append(clock.now)
    assert starts == [100, 100.25, 100.5, 100.75, 101]
    clock.now = 200.0
    pace.wait()
    assert clock.now == 200.0  # what was not used is not saved up, and not owed
    pace.hold(7)
    pace.wait()
    assert clock.now == 207.0
    clock.set()
    with pytest.raises(StoppedError):
        pace.wait()


def test_retry_after_as_a_date() -> None:
    later = _retry_after(formatdate(time.time() + 1000, usegmt=True))
    assert later is not None
    assert 0 < later <= 1000
    assert [_retry_after(value) for value in (None, "7", "-1", "tomorrow")] == [None, 7.0, 0.0, None]
