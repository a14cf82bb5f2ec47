"""Many questions to one endpoint: chains of requests, each answered from the cache or once by the endpoint."""

import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from curate.errors import RunError
from curate.weak.judge.answers import Answer, Kind, fault, vote_of
from curate.weak.judge.cache import Cache, request_key
from curate.weak.judge.endpoint import Endpoint, StoppedError, UnansweredError
from curate.weak.judge.prompts import Message, Prompt, Vote

WINDOW = 8  # questions waiting or in flight per thread, so that one slow answer does not hold up the others
ARROW = " => "  # between the answers of a chain

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Call:
    """One request that was answered.

    Parameters
    ----------
    key
        Of the request.
    answer
        The answer.
    seconds
        That the endpoint took, waits between attempts included; None for an answer that was there before.
    """

    key: bytes
    answer: Answer
    seconds: float | None


@dataclass(frozen=True)
class Outcome:
    """What became of one question.

    Parameters
    ----------
    vote
        None where the endpoint gave no answer.
    kind
        Why it is an abstention, where no rule says so.
    said
        The answer, or those of a chain.
    calls
        The requests that were answered.
    """

    vote: Vote | None
    kind: Kind | None = None
    said: str = ""
    calls: tuple[Call, ...] = ()


class Asker:
    """Puts questions to an endpoint that remembers.

    Parameters
    ----------
    model
        Name of the model, as the endpoint knows it.
    parameters
        Of each request: temperature, seed and the like.
    cache
        Looked into first, and told every answer at once.
    endpoint
        Asked for what is not in the cache.
    stop
        Set when the run is to stop.
    allowed
        Questions that may stay unanswered.
    questions
        How many will be put, for the message when that is passed.
    """

    def __init__(
        self,
        model: str,
        parameters: Mapping[str, Any],
        cache: Cache,
        endpoint: Endpoint,
        stop: threading.Event,
        allowed: int,
        questions: int,
    ) -> None:
        self._model, self._parameters = model, parameters
        self._cache, self._endpoint, self._stop = cache, endpoint, stop
        self._allowed, self._questions = allowed, questions
        self._lock, self._greeting = threading.Lock(), threading.Lock()
        self._flying: dict[bytes, Future[Answer]] = {}
        self._greeted = False
        self._unanswered = 0
        self.failure: BaseException | None = None

    def question(self, prompt: Prompt, text: str) -> Outcome:
        """Put one question about a document.

        Raises
        ------
        StoppedError
            The run is to stop; `failure` says why.
        """
        try:
            return self._chain(prompt, text)
        except UnansweredError as error:
            self._count_unanswered(str(error))
            return Outcome(None)
        except StoppedError:
            raise
        except BaseException as error:
            self._fail(error)
            raise StoppedError from error

    def _chain(self, prompt: Prompt, text: str) -> Outcome:
        calls = [self._call(prompt.first(text))]
        if prompt.then is not None and fault(calls[0].answer) is None:
            calls.append(self._call(prompt.second(text, calls[0].answer.said)))
        vote, kind = vote_of(calls[-1].answer, prompt.rules())
        return Outcome(vote, kind, ARROW.join(call.answer.said for call in calls), tuple(calls))

    def _call(self, messages: list[Message]) -> Call:
        """One request, answered once however many threads make it."""
        payload = {"model": self._model, **self._parameters, "messages": messages}
        key = request_key(payload)
        with self._lock:
            known, own = self._cache.get(key), Future[Answer]()
            flight = self._flying.setdefault(key, own) if known is None else own
        if known is not None:
            return Call(key, known, None)
        if flight is not own:
            return Call(key, flight.result(), None)
        start = time.perf_counter()
        try:
            self._greet()
            answer = self._cache.put(key, self._model, self._endpoint.ask(payload))
        except BaseException as error:
            own.set_exception(error)
            raise
        else:
            own.set_result(answer)
            return Call(key, answer, time.perf_counter() - start)
        finally:
            with self._lock:
                del self._flying[key]

    def _greet(self) -> None:
        """Look whether anybody is there, before the first request that the cache cannot answer."""
        with self._greeting:
            if not self._greeted and not self._stop.is_set():
                self._endpoint.greet(self._model)
                self._greeted = True

    def _count_unanswered(self, why: str) -> None:
        with self._lock:
            self._unanswered += 1
            count = self._unanswered
        if count > self._allowed:
            self._fail(
                RunError(
                    f"{count} of {self._questions} questions got no answer, more than `max_unanswered` allows; "
                    f"the last for: {why}\n    answers are kept: the same command asks only what is missing"
                )
            )
            raise StoppedError

    def _fail(self, error: BaseException) -> None:
        with self._lock:
            self.failure = self.failure or error
        self._stop.set()


def in_order(
    ask: Callable[[Item], Result], items: Iterable[Item], concurrency: int, stop: threading.Event
) -> Generator[Result, None, None]:
    """Results in the order of `items`, `concurrency` of them in the making; few items are held at a time.

    When the consumer stops or fails, nothing new is begun, and what is in flight is waited for: its answers are kept.
    """
    with ThreadPoolExecutor(concurrency, thread_name_prefix="judge") as pool:
        flying: deque[Future[Result]] = deque()
        try:
            for item in items:
                flying.append(pool.submit(ask, item))
                if len(flying) >= WINDOW * concurrency:
                    yield flying.popleft().result()
            while flying:
                yield flying.popleft().result()
        finally:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
