"""Asking in a web page that this machine alone can open: plain forms, and keys for their buttons.

The page is served on 127.0.0.1 under an address that holds a random token. A request without the token, or with another
host name than the address has (a foreign page whose name was made to point here), is refused. Each window has an
address of its own and so its own question and its own way back.
"""

import secrets
import sys
import threading
from collections.abc import Callable
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import parse_qs

from curate.errors import ConfigError, Problem, RunError
from curate.weak.gold.file import LABELS
from curate.weak.gold.session import Person, Questions

if TYPE_CHECKING:
    from jinja2 import Template

HOST = "127.0.0.1"
MOST_BYTES = 10_000  # of a form
SECONDS = 30  # that a browser may leave a request half sent


def serve(questions: Questions, port: int, say: Callable[[str], None]) -> None:
    """Serve the page until a person quits, or Ctrl-C.

    Parameters
    ----------
    questions
        Where documents come from and answers go.
    port
        Of the address; any free one for 0.
    say
        Told the address.

    Raises
    ------
    ConfigError
        The port is not free.
    RunError
        An answer could not be written.
    """
    with Server(questions, port) as server:
        say(f"open {server.address} in a browser; q or Ctrl-C ends")
        try:
            server.serve_forever(poll_interval=0.1)
        finally:
            server.asking.acquire()  # for good: an answer that is still on its way would meet a closed file
        if server.failure is not None:
            raise server.failure


class Server(ThreadingHTTPServer):
    """The page.

    Parameters
    ----------
    questions, port
        As `serve` takes them.
    """

    daemon_threads = True

    def __init__(self, questions: Questions, port: int) -> None:
        try:
            super().__init__((HOST, port), _Handler)
        except OSError as error:
            raise ConfigError([Problem(("--port",), f"{port}: {error.strerror}", "0 takes any free one")]) from None
        self.questions = questions
        self.token = secrets.token_urlsafe(16)
        self.hosts = {f"{name}:{self.server_port}" for name in (HOST, "localhost")}
        self.windows: dict[str, Person] = {}
        self.asking = threading.Lock()
        """Held while a request is answered: one answer at a time is what a file of answers takes."""
        self.failure: RunError | None = None

    @property
    def address(self) -> str:
        """What a person opens."""
        return f"http://{HOST}:{self.server_port}/{self.token}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that went away is no error."""
        if not isinstance(sys.exc_info()[1], ConnectionError | TimeoutError):
            super().handle_error(request, client_address)

    def end(self, failure: RunError | None = None) -> None:
        """Stop serving once the answer in hand is sent."""
        self.failure = failure
        threading.Thread(target=self.shutdown).start()


class _Handler(BaseHTTPRequestHandler):
    server_version, sys_version = "curate", ""
    timeout = SECONDS

    @property
    def _site(self) -> Server:
        return cast(Server, self.server)

    def do_GET(self) -> None:
        window = self._window()
        if window is None:
            return
        with self._site.asking:
            if window not in self._site.windows:
                self._go(self._new_window())
            else:
                self._answer_or_end(lambda: self._page(self._site.windows[window]))

    def do_POST(self) -> None:
        window = self._window()
        if window is None:
            return
        form = self._form()
        if form is None:
            return
        with self._site.asking:
            person = self._site.windows.get(window)
            if person is None:
                self._refuse(404, "this window is of an earlier start")
            elif form.get("say") == "quit":
                self._ended("The answers are kept.", "You can close this window.")
                self._site.end()
            else:
                self._answer_or_end(lambda: self._take(person, form, window))

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Requests are of no interest."""

    # -- who asks --

    def _window(self) -> str | None:
        """Name of the window in the address; None when the request has been refused."""
        if self.headers.get("Host") not in self._site.hosts:
            self._refuse(403, "another host name than the address has")
            return None
        parts = self.path.partition("?")[0].split("/")
        if len(parts) < 2 or not secrets.compare_digest(parts[1].encode(), self._site.token.encode()):
            self._refuse(403, "the address lacks its token")
            return None
        return parts[2] if len(parts) > 2 else ""

    def _form(self) -> dict[str, str] | None:
        """Fields of the form that was sent; None when the request has been refused."""
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > MOST_BYTES:
            self._refuse(400, "no form")
            return None
        fields = parse_qs(self.rfile.read(int(length)).decode(errors="replace"))
        return {name: values[0] for name, values in fields.items()}

    def _new_window(self) -> str:
        window = secrets.token_urlsafe(6)
        self._site.windows[window] = Person(self._site.questions)
        return window

    # -- answers --

    def _answer_or_end(self, answer: Callable[[], None]) -> None:
        """Answer a request; when the file takes no more answers, say so and end."""
        try:
            answer()
        except (ConfigError, RunError) as error:
            self._ended("This has to stop.", str(error))
            self._site.end(RunError(str(error)))

    def _take(self, person: Person, form: dict[str, str], window: str) -> None:
        say, current = form.get("say"), person.current()
        if say == "undo":
            person.back()
        elif say == "take":
            for other in self._site.windows.values():
                if other is not person:
                    other.leave()
        elif say not in LABELS or self._site.questions.find(_bytes(form.get("id", ""))) is None:
            self._refuse(400, "no answer")
            return
        elif current is not None and current.id.hex() == form["id"]:
            person.answer(say)
        # An answer to another document than is asked about was sent twice, or from a page that was left: not taken.
        self._go(window)

    def _page(self, person: Person) -> None:
        questions = self._site.questions
        drawn = person.current()
        answered, total = questions.answered(), len(questions.sample.drawn)
        open_elsewhere = total - answered if drawn is None else 0
        heading, message = "All documents of the sample have an answer.", "Thank you. Quit ends."
        if open_elsewhere:
            heading = f"{open_elsewhere} left, which others are asked about."
            message = "Take over what other windows of this page have open, if nobody is there any more."
        self._send(
            200,
            document=drawn and questions.read(drawn),
            place=person.place(),
            answered=answered,
            total=total,
            before=drawn and questions.journal.labels.get(drawn.id),
            heading=heading,
            message=message,
            others=open_elsewhere,
            can_undo=person.can_go_back,
            ended=False,
        )

    def _ended(self, heading: str, message: str) -> None:
        self._send(200, document=None, heading=heading, message=message, ended=True)

    def _send(self, status: int, **values: Any) -> None:
        nonce = secrets.token_urlsafe(12)
        body = _template().render(nonce=nonce, **values).encode(errors="replace")
        self.send_response(status)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        policy = f"style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; img-src data:; form-action 'self'"
        self.send_header(
            "Content-Security-Policy", f"default-src 'none'; base-uri 'none'; frame-ancestors 'none'; {policy}"
        )
        self._never_kept()
        self.end_headers()
        self.wfile.write(body)

    def _go(self, window: str) -> None:
        self.send_response(303)
        self.send_header("Location", f"/{self._site.token}/{window}")
        self.send_header("Content-Length", "0")
        self._never_kept()
        self.end_headers()

    def _refuse(self, status: int, why: str) -> None:
        body = f"{why}\n".encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self._never_kept()
        self.end_headers()
        self.wfile.write(body)

    def _never_kept(self) -> None:
        self.send_header("Cache-Control", "no-store")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("X-Content-Type-Options", "nosniff")


@lru_cache(maxsize=1)
def _template() -> "Template":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template("page.html")


def _bytes(digits: str) -> bytes:
    try:
        return bytes.fromhex(digits)
    except ValueError:
        return b""
