"""The page, through plain HTTP."""

import http.client
import re
import threading
from collections.abc import Iterator
from contextlib import closing
from html import unescape
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import pytest

from curate.errors import ConfigError, RunError
from curate.table import Table
from curate.weak.gold.file import read_answers, read_gold
from curate.weak.gold.journal import Journal
from curate.weak.gold.sample import Strata, draw
from curate.weak.gold.session import Questions
from curate.weak.gold.web import MOST_BYTES, Server, serve
from tests.weak.gold.corpora import made_up_run

ATTACK = '<script>alert(1)</script> & "quotes" <b>bold</b> {{ 7 * 7 }}'


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Table:
    texts = {"we<b>": [f"{ATTACK} {n}" for n in range(4)], "books": ["line one\n  line two"] * 4}
    scores = {source: [0.25] * 4 for source in texts}
    return made_up_run(tmp_path_factory.mktemp("run"), scores, urls=True, texts=texts)


@pytest.fixture
def server(table: Table, tmp_path: Path) -> Iterator[Server]:
    with Journal(str(tmp_path / "gold.jsonl")) as journal:
        questions = Questions(table, draw(table, Strata(), 6), journal)
        with Server(questions, 0) as found:
            thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
            thread.start()
            yield found
            found.shutdown()
            thread.join()


def request(
    address: str, form: dict[str, str] | None = None, method: str = "", **headers: str
) -> tuple[int, str, http.client.HTTPMessage]:
    """Status, body and headers of one answer; nothing is followed."""
    place = urlsplit(address)
    connection = http.client.HTTPConnection(place.netloc, timeout=30)
    body = None if form is None else urlencode(form)
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method or ("GET" if form is None else "POST"), place.path, body, sent)
    answer = connection.getresponse()
    with closing(connection):
        return answer.status, answer.read().decode(), answer.headers


class Window:
    """A window of a browser: follows where it is sent."""

    def __init__(self, server: Server) -> None:
        self._server = server
        status, _, headers = request(server.address)
        assert status == 303
        self.address = f"http://127.0.0.1:{server.server_port}{headers['Location']}"
        self.load()

    def load(self) -> None:
        status, self.html, self.headers = request(self.address)
        assert status == 200

    @property
    def id(self) -> str:
        return re.findall(r'name="id" value="([0-9a-f]{32})"', self.html)[0]

    @property
    def place(self) -> str:
        return re.findall(r"<strong>(.*?)</strong>", self.html)[0]

    def say(self, what: str, **other: str) -> None:
        form = {"say": what} | ({"id": self.id} if 'name="id"' in self.html else {}) | other
        status, _, headers = request(self.address, form)
        assert status == 303
        assert self.address.endswith(headers["Location"])
        self.load()


def labels(server: Server) -> list[str]:
    return [answer.label for answer in server.questions.journal.answers]


def test_a_person_answers_all(server: Server) -> None:
    window = Window(server)
    ids = [each.id.hex() for each in server.questions.sample.drawn]
    for number, label in enumerate(["keep", "drop", "skip"]):
        assert window.place == f"{number + 1} of 6"
        assert window.id == ids[number]
        window.say(label)
    window.say("undo")
    assert (window.place, window.id) == ("3 of 6", ids[2])
    assert "answered skip before" in window.html
    window.load()
    assert window.id == ids[2]
    for label in ("drop", "keep", "keep", "drop"):
        window.say(label)
    assert "All documents of the sample have an answer." in window.html
    assert 'name="id"' not in window.html
    window.say("undo")
    assert window.id == ids[5]
    assert labels(server) == ["keep", "drop", "skip", "drop", "keep", "keep", "drop"]


def test_texts_are_shown_and_not_run(server: Server) -> None:
    window = Window(server)
    pages = []
    for _ in range(6):
        pages.append(window.html)
        window.say("skip")
    assert all(page.count("<script") == 1 for page in pages)
    attacked = [page for page in pages if "alert(1)" in page]
    assert attacked
    for page in attacked:
        assert ATTACK in unescape(page)
        assert "<b>bold" not in page
        assert "we&lt;b&gt;/" in page
        assert "https://example.org/" in page
    assert any('<p dir="auto">line one\n  line two</p>' in page for page in pages)
    assert not any("quality" in page or "0.25" in page for page in pages)


def test_the_page_needs_nothing_else(server: Server) -> None:
    """No address of another place, and a policy that lets none be reached."""
    window = Window(server)
    policy = window.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    nonces = set(re.findall(r'nonce="([^"]+)"', window.html))
    assert len(nonces) == 1
    assert policy.count(f"'nonce-{nonces.pop()}'") == 2
    window.load()
    assert policy != window.headers["Content-Security-Policy"]
    assert not re.search(r'(src|href|action)="(?!data:,")', window.html)
    assert window.headers["Cache-Control"] == "no-store"
    assert window.headers["Referrer-Policy"] == "no-referrer"
    for key in "kdsuq":
        assert f'data-key="{key}"' in window.html


def test_a_token_is_needed(server: Server) -> None:
    window = Window(server)
    base = f"http://127.0.0.1:{server.server_port}"
    inner = window.address.rpartition("/")[2]
    wrong = [f"{base}/", f"{base}/wrong/", f"{base}/wrong/{inner}", f"{base}/{server.token[:-1]}/{inner}", f"{base}/é/"]
    for address in wrong:
        for form in (None, {"say": "keep", "id": window.id}):
            status, body, headers = request(address.replace("é", "%C3%A9"), form)
            assert status == 403
            assert server.token not in body
            assert "Location" not in headers
    assert labels(server) == []
    assert len(server.token) >= 20
    assert server.server_address[0] == "127.0.0.1"


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "[::1]:{port}", ""]
)
def test_another_host_name_is_refused(server: Server, host: str) -> None:
    """A page elsewhere can have its name point here, but not send another name than its own."""
    window = Window(server)
    said = host.format(port=server.server_port)
    assert request(window.address, Host=said)[0] == 403
    assert request(window.address, {"say": "keep", "id": window.id}, Host=said)[0] == 403
    assert labels(server) == []
    assert request(window.address, Host=f"localhost:{server.server_port}")[0] == 200


def test_what_is_no_answer(server: Server) -> None:
    window = Window(server)
    for form in (
        {"say": "kept", "id": window.id},
        {"say": "keep"},
        {"say": "keep", "id": "xyz"},
        {"say": "keep", "id": "00" * 16},
        {"id": window.id},
        {},
    ):
        assert request(window.address, form)[0] == 400, form
    assert request(window.address, {"say": "k" * MOST_BYTES, "id": window.id})[0] == 400
    assert request(window.address, method="POST")[0] == 400
    assert request(window.address, method="PUT")[0] == 501
    assert request(f"{server.address}nowhere", {"say": "keep", "id": window.id})[0] == 404
    assert request(f"{server.address}nowhere")[0] == 303
    assert labels(server) == []


def test_an_answer_that_is_sent_twice_counts_once(server: Server) -> None:
    """Nor is it one to the question that has come since."""
    window = Window(server)
    first = window.id
    window.say("keep")
    window.say("drop", id=first)
    assert labels(server) == ["keep"]


def test_each_window_has_a_question_of_its_own(server: Server) -> None:
    one, two = Window(server), Window(server)
    ids = [each.id.hex() for each in server.questions.sample.drawn]
    assert (one.id, two.id) == (ids[0], ids[1])
    two.say("drop")
    two.say("undo")
    assert two.id == ids[1]
    for _ in range(5):
        two.say("keep")
    assert "1 left, which others are asked about." in two.html
    assert 'data-key="t"' in two.html
    two.say("take")
    assert two.id == ids[0]
    two.say("drop")
    assert "All documents of the sample have an answer." in two.html
    one.say("keep")  # what it was asked has been taken over
    assert "All documents of the sample have an answer." in one.html
    assert len(labels(server)) == 7
    assert len(read_gold(server.questions.journal.path).ids) == 6


def test_windows_at_once(server: Server) -> None:
    windows = [Window(server) for _ in range(3)]

    def answer(window: Window) -> None:
        while 'name="id"' in window.html:
            window.say("keep")

    threads = [threading.Thread(target=answer, args=(window,)) for window in windows]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    answers = server.questions.journal.answers
    assert sorted(each.id for each in answers) == sorted(each.id for each in server.questions.sample.drawn)


def served(table: Table, path: Path) -> tuple[threading.Thread, list[str], list[BaseException]]:
    """The page as the command line serves it: its thread, what it says, and how it fails."""
    said: list[str] = []
    failures: list[BaseException] = []
    ready = threading.Event()

    def say(line: str) -> None:
        said.append(line)
        ready.set()

    def run() -> None:
        try:
            with Journal(str(path)) as journal:
                serve(Questions(table, draw(table, Strata(), 6), journal), 0, say)
        except RunError as error:
            failures.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert ready.wait(30)
    return thread, said, failures


def open_address(said: list[str]) -> str:
    address = said[0].split()[1]
    _, _, headers = request(address)
    return f"http://{urlsplit(address).netloc}{headers['Location']}"


def test_quit_ends(table: Table, tmp_path: Path) -> None:
    thread, said, failures = served(table, tmp_path / "gold.jsonl")
    status, html, _ = request(open_address(said), {"say": "quit"})
    assert status == 200
    assert "The answers are kept." in html
    thread.join(30)
    assert not thread.is_alive()
    assert failures == []
    assert read_answers(str(tmp_path / "gold.jsonl")) == []


def test_a_file_that_takes_no_answer_ends_it(table: Table, tmp_path: Path) -> None:
    path = tmp_path / "gold.jsonl"
    thread, said, failures = served(table, path)
    window = open_address(said)
    own = re.findall(r'name="id" value="([0-9a-f]{32})"', request(window)[1])[0]
    path.unlink()
    status, html, _ = request(window, {"say": "keep", "id": own})
    assert status == 200
    assert "replaced by another program" in html
    thread.join(30)
    assert not thread.is_alive()
    assert "replaced by another program" in str(failures[0])


def test_a_port_that_is_taken(server: Server) -> None:
    with pytest.raises(ConfigError, match=r"--port: \d+: Address already in use"):
        Server(server.questions, server.server_port)
