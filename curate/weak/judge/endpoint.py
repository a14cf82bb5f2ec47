"""An OpenAI-compatible chat endpoint: rate-limited, retried, its errors said to people; keys never leave this module.

Waits are deterministic: ``backoff * 2^attempt`` seconds, at most a minute, or what ``Retry-After`` asks for (RFC 9110,
section 10.2.3), during which no thread sends anything. Spreading retries by chance is for crowds of clients; here one
client limits itself.
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import orjson

from curate.errors import RunError, nearest
from curate.weak.judge.answers import Answer, answer_of

if TYPE_CHECKING:
    import httpx

log = logging.getLogger("curate")

LONGEST_WAIT = 60.0  # seconds between two attempts, unless the endpoint asks for more
LONGEST_ASKED = 600.0  # seconds that an endpoint may ask us to wait
WORTH_SAYING = 20.0  # seconds of such a wait from which on the log has it
PASSING = frozenset({408, 425, 429})  # and all of 500 and more
HOPELESS = frozenset({301, 302, 303, 307, 308, 401, 403, 404, 405})  # equal for every document
QUOTED = 300  # characters of an endpoint's error message


class UnansweredError(Exception):
    """An endpoint that gave no answer to one request after all attempts; the message says why."""


class StoppedError(Exception):
    """The run is stopping: another request met an error that ends it."""


@dataclass(frozen=True)
class EndpointSettings:
    """How an endpoint is asked; nothing here changes an answer.

    Parameters
    ----------
    base_url
        Address below which ``/chat/completions`` lies.
    key
        Sent as a bearer token; None for an endpoint that asks for none.
    concurrency
        Requests in flight.
    requests_per_second
        Most requests begun in a second, attempts counted; None for no limit.
    timeout
        Seconds to wait for an answer.
    retries
        Attempts after the first.
    backoff
        Seconds before the second attempt; each later one waits twice as long.
    """

    base_url: str
    key: str | None = None
    concurrency: int = 8
    requests_per_second: float | None = None
    timeout: float = 120.0
    retries: int = 5
    backoff: float = 1.0


class Pace:
    """When the next request may begin, for threads that share it.

    Parameters
    ----------
    per_second
        Most requests begun in a second; None for no limit.
    stop
        Set when the run is to stop: waiting ends at once.
    """

    def __init__(self, per_second: float | None, stop: threading.Event) -> None:
        self._interval = 1 / per_second if per_second else 0.0
        self._stop, self._lock = stop, threading.Lock()
        self._next = self._open = 0.0

    def wait(self) -> None:
        """Wait for a turn; raises `StoppedError` when the run stops."""
        while True:
            with self._lock:
                now = time.monotonic()
                start = max(now, self._next, self._open)
                if start <= now:
                    self._next = now + self._interval
            if self._stop.wait(max(start - now, 0.0)):
                raise StoppedError
            if start <= now:
                return

    def sleep(self, seconds: float) -> None:
        """Wait before another attempt of one request."""
        if self._stop.wait(seconds):
            raise StoppedError

    def hold(self, seconds: float) -> None:
        """Let no request begin for so long."""
        with self._lock:
            self._open = max(self._open, time.monotonic() + seconds)


class Endpoint:
    """Asks; threads may share one.

    Parameters
    ----------
    settings
        How.
    stop
        Set when the run is to stop.

    Attributes
    ----------
    failures
        Attempts that failed, by what went wrong.
    requests
        Requests sent, failed attempts included.
    """

    def __init__(self, settings: EndpointSettings, stop: threading.Event) -> None:
        import httpx

        self._settings = settings
        self._pace = Pace(settings.requests_per_second, stop)
        self._lock = threading.Lock()
        self.requests, self.failures = 0, Counter[str]()
        headers = {"Content-Type": "application/json"}
        if settings.key:
            headers["Authorization"] = f"Bearer {settings.key}"
        limits = httpx.Limits(max_connections=settings.concurrency, max_keepalive_connections=settings.concurrency)
        self._client = httpx.Client(headers=headers, timeout=settings.timeout, limits=limits)

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def greet(self, model: str) -> None:
        """Ask for the list of models, once, before any document: what can be wrong for all of them is said here.

        Raises
        ------
        RunError
            Nobody answers at the address, or the key is not taken.
        """
        import httpx

        url = f"{self._settings.base_url}/models"
        tries = 1 + min(self._settings.retries, 2)
        for attempt in range(tries):
            try:
                response = self._client.get(url, timeout=min(self._settings.timeout, 10.0))
            except httpx.TransportError as error:
                if attempt + 1 < tries:
                    self._pace.sleep(self._delay(attempt))
                    continue
                raise RunError(
                    f"nobody answers at base_url {self._settings.base_url!r} (tried GET {url} {tries} times): "
                    f"{_said(error)}\n    is the server running, and does the address end as it should (often /v1)?"
                ) from None
            if response.status_code in (401, 403):
                raise self._hopeless(response)
            names = _models(response)
            if names and model not in names:
                log.warning("%s lists no model %r; %s", self._settings.base_url, model, nearest(model, names))
            return

    def ask(self, payload: Mapping[str, Any]) -> Answer:
        """The answer to one request.

        Raises
        ------
        UnansweredError
            Every attempt failed, or the endpoint will not take this request.
        RunError
            What went wrong would for every request.
        StoppedError
            The run is stopping.
        """
        body = orjson.dumps(payload)
        failure = ""
        for attempt in range(self._settings.retries + 1):
            if attempt:
                self._pace.sleep(self._delay(attempt - 1))
            self._pace.wait()
            answer, failure = self._attempt(body)
            if answer is not None:
                return answer
        raise UnansweredError(failure)

    def _attempt(self, body: bytes) -> tuple[Answer | None, str]:
        """One request: an answer, or what went wrong and may pass."""
        import httpx

        with self._lock:
            self.requests += 1
        try:
            response = self._client.post(f"{self._settings.base_url}/chat/completions", content=body)
        except httpx.TimeoutException:
            return None, self._failed("timeout", f"no answer in {self._settings.timeout:g} s")
        except (httpx.TransportError, httpx.DecodingError) as error:
            return None, self._failed("connection", _said(error))
        status = response.status_code
        if status == 200:
            answer = answer_of(_json(response))
            return answer, "" if answer else self._failed("malformed", f"no chat completion: {self._quoted(response)}")
        if status in HOPELESS:
            raise self._hopeless(response)
        said = self._failed(f"HTTP {status}", f"HTTP {status}: {self._quoted(response)}")
        if status not in PASSING and status < 500:
            raise UnansweredError(said)
        asked = _retry_after(response.headers.get("Retry-After"))
        if asked is not None:
            self._pace.hold(min(asked, LONGEST_ASKED))
            if asked > WORTH_SAYING:
                log.info("%s asks to wait %.0f s", self._settings.base_url, asked)
        return None, said

    def _delay(self, attempt: int) -> float:
        return min(self._settings.backoff * 2.0**attempt, LONGEST_WAIT)

    def _failed(self, kind: str, said: str) -> str:
        with self._lock:
            self.failures[kind] += 1
            first = self.failures[kind] == 1
        if first:
            log.info("%s: first request to fail with %s", self._settings.base_url, said)
        return said

    def _hopeless(self, response: "httpx.Response") -> RunError:
        status = response.status_code
        hint = {
            401: "the key is not taken: does `api_key_env` name the right variable?",
            403: "the key is not taken: does `api_key_env` name the right variable?",
            404: "is that the model's name, and does the address end as it should (often /v1)?",
        }.get(status, "is that the address of an OpenAI-compatible API?")
        return RunError(f"{response.request.url} answers HTTP {status}: {self._quoted(response)}\n    {hint}")

    def _quoted(self, response: "httpx.Response") -> str:
        """What the endpoint says of an error, without the key, which some repeat."""
        body = _json(response)
        error = body.get("error", body.get("message")) if isinstance(body, dict) else None
        said = error.get("message") if isinstance(error, dict) else error
        text = " ".join(str(said if said else response.text).split())
        if self._settings.key:
            text = text.replace(self._settings.key, "***")
        return text[:QUOTED] or "(nothing more)"


def _json(response: "httpx.Response") -> Any:
    try:
        return orjson.loads(response.content)
    except orjson.JSONDecodeError:
        return None


def _models(response: "httpx.Response") -> list[str]:
    """Names in a list of models; none where the endpoint has no such list."""
    body = _json(response) if response.status_code == 200 else None
    listed = body.get("data") if isinstance(body, dict) else None
    if not isinstance(listed, list):
        return []
    return [entry["id"] for entry in listed if isinstance(entry, dict) and isinstance(entry.get("id"), str)]


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _retry_after(value: str | None) -> float | None:
    """Seconds that a ``Retry-After`` asks for: a number, or a date.

    Examples
    --------
    >>> _retry_after("2.5"), _retry_after("Wed, 21 Oct 2015 07:28:00 GMT"), _retry_after("soon")
    (2.5, 0.0, None)
    """
    if value is None:
        return None
    try:
        return max(float(value), 0.0)
    except ValueError:
        pass
    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max((date.replace(tzinfo=date.tzinfo or UTC) - datetime.now(UTC)).total_seconds(), 0.0)
