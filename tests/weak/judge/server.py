"""A chat endpoint that judges simulated documents badly, and fails now and then: for tests, and to try `judge` by hand.

``python -m tests.weak.judge.server --port 8000`` serves on http://127.0.0.1:8000/v1. It knows the five shipped prompts
by
their words, and documents by "number N" in their text. Everything is decided by hashes: of the seed, the prompt and the
document (what is answered), or of the request (what goes wrong), so two servers of one seed answer alike.
"""

import argparse
import hashlib
import json
import re
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MODEL = "simulated"
KEPT = 0.5  # share of documents that are to be kept


@dataclass(frozen=True)
class Juror:
    """How one prompt is answered.

    Parameters
    ----------
    marker
        Words by which the prompt is known.
    words
        Answers that stand for keep, drop and abstain.
    keeps, drops
        Chance that a document to be kept is voted keep, and one to be dropped drop; else the other vote is given.
    abstains
        Chance of an abstention before all that.
    copies, copied
        Another juror whose vote is repeated, and how often.
    """

    marker: str
    words: tuple[str, str, str]
    keeps: float
    drops: float
    abstains: float = 0.0
    copies: str = ""
    copied: float = 0.0


JURORS = {
    "open": Juror("CONTENT, OTHER or UNCLEAR", ("CONTENT", "OTHER", "UNCLEAR"), 0.72, 0.76, 0.05),
    "yesno": Juror("YES, NO or UNSURE", ("YES", "NO", "UNSURE"), 0.75, 0.78, 0.03),
    # It repeats what `yesno` said nine times of ten: the dependent pair.
    "rubric": Juror("a digit from 0 to 5", ("4", "1", "3"), 0.72, 0.72, 0.0, "yesno", 0.9),
    "defects": Juror("BOILERPLATE", ("NONE", "SPAM, REPETITION", "NONE"), 0.9, 0.6),
    "cloze": Juror("Fill the blank", ("valuable", "worthless", "undecidable"), 0.76, 0.72, 0.05),
}
DESCRIBE = "What kind of document"  # the first step of `open`
NUMBER = re.compile(r"number (\d+)")


def chance(*parts: object) -> float:
    """A number from 0 to 1 that looks random and is always the same."""
    digest = hashlib.blake2b("\0".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def document(number: int) -> str:
    return f"Simulated document number {number}.\nIts words say nothing; the server knows what it is worth."


def is_good(seed: int, number: int) -> bool:
    return chance(seed, "truth", number) < KEPT


def verdict(seed: int, name: str, number: int) -> int:
    """0 keep, 1 drop, 2 abstain."""
    juror = JURORS[name]
    if juror.copies and chance(seed, name, "copies", number) < juror.copied:
        return verdict(seed, juror.copies, number)
    if chance(seed, name, "abstains", number) < juror.abstains:
        return 2
    good = is_good(seed, number)
    right = chance(seed, name, "right", number) < (juror.keeps if good else juror.drops)
    return int(good != right)


@dataclass(frozen=True)
class Faults:
    """Chances by request; `once` goes wrong at the first attempt alone, `always` at each, `odd` is an odd answer."""

    once: Mapping[str, float] = field(default_factory=dict)
    always: Mapping[str, float] = field(default_factory=dict)
    odd: Mapping[str, float] = field(default_factory=dict)
    delay: float = 0.0


ROUGH = Faults(
    once={"429": 0.04, "500": 0.04, "503": 0.02, "malformed": 0.03, "no_choices": 0.02, "hang_up": 0.02},
    odd={"truncated": 0.01, "refusal": 0.01, "nonsense": 0.01, "empty": 0.005},
    delay=0.002,
)
ODD = {
    "truncated": ("YES, and that is because this document", "length"),
    "refusal": ("I'm sorry, but I can't help with that.", "stop"),
    "nonsense": ("Purple monkey dishwasher", "stop"),
    "empty": ("", "stop"),
}


def drawn(chances: Mapping[str, float], at: float) -> str:
    for name, share in chances.items():
        if at < share:
            return name
        at -= share
    return ""


class JudgeServer(ThreadingHTTPServer):
    """Serves in threads of its own; a context manager.

    Attributes
    ----------
    seen, answered
        Per request (by the hash of its body): how often it came, and how often it was answered.
    bodies
        Every different request.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, seed: int = 0, faults: Faults | None = None, *, port: int = 0, key: str = "") -> None:
        self.seed, self.faults, self.key = seed, faults or Faults(), key
        self.lock = threading.Lock()
        self.seen, self.answered = Counter[str](), Counter[str]()
        self.bodies: dict[str, dict[str, Any]] = {}
        self.models, self.retry_after = [MODEL], "0.01"
        super().__init__(("127.0.0.1", port), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def __enter__(self) -> "JudgeServer":
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed is no fault of the server."""

    def answer(self, messages: list[dict[str, str]], key: str) -> tuple[str, str]:
        """The text, and why it ends."""
        odd = drawn(self.faults.odd, chance(self.seed, "odd", key))
        if odd:
            return ODD[odd]
        asked = messages[-1]["content"]
        found = NUMBER.search(asked)
        number = int(found[1]) if found else 0
        if DESCRIBE in asked:
            return f"A simulated text, number {number}, made for a test.", "stop"
        name = next((name for name, juror in JURORS.items() if juror.marker in asked), "")
        if not name:
            return "I do not know that question.", "stop"
        word = JURORS[name].words[verdict(self.seed, name, number)]
        dressed = ("{}", "{}.", "**{}**", " {}\n", '"{}"', "<think>Hm, yes? No.</think>{}")
        return dressed[int(chance(key, "dress") * len(dressed))].format(word), "stop"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: JudgeServer

    def log_message(self, *_: object) -> None:
        """Quiet."""

    def reply(self, status: int, body: Any, **headers: str) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def allowed(self) -> bool:
        given = self.headers.get("Authorization", "")
        if not self.server.key or given == f"Bearer {self.server.key}":
            return True
        self.reply(401, {"error": {"message": f"wrong key {given}"}})
        return False

    def do_GET(self) -> None:
        if self.path != "/v1/models":
            self.reply(404, {"error": {"message": f"no {self.path}"}})
        elif self.allowed():
            self.reply(200, {"object": "list", "data": [{"id": name} for name in self.server.models]})

    def do_POST(self) -> None:
        server = self.server
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path != "/v1/chat/completions":
            self.reply(404, {"error": {"message": f"no {self.path}"}})
            return
        if not self.allowed():
            return
        body = json.loads(raw)
        key = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
        with server.lock:
            server.seen[key] += 1
            first = server.seen[key] == 1
            server.bodies[key] = body
        time.sleep(server.faults.delay)
        fault = drawn(server.faults.always, chance(server.seed, "always", key))
        fault = fault or (drawn(server.faults.once, chance(server.seed, "once", key)) if first else "")
        if fault:
            self.fail(fault)
            return
        content, finish = server.answer(body["messages"], key)
        usage = {"prompt_tokens": len(raw) // 4, "completion_tokens": len(content) // 4 + 1}
        with server.lock:
            server.answered[key] += 1
        message = {"role": "assistant", "content": content}
        choices = [{"index": 0, "message": message, "finish_reason": finish}]
        self.reply(200, {"object": "chat.completion", "model": MODEL, "choices": choices, "usage": usage})

    def fail(self, fault: str) -> None:
        if fault == "hang_up":
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
        elif fault == "malformed":
            self.reply(200, b'{"choices": [{"message": {"cont')
        elif fault == "no_choices":
            self.reply(200, {"error": {"message": "upstream is busy"}})
        elif fault == "slow":
            time.sleep(2)
            self.close_connection = True
        elif fault == "429":
            self.reply(429, {"error": {"message": "slow down"}}, Retry_After=self.server.retry_after)
        else:
            self.reply(int(fault), {"error": {"message": f"simulated {fault}"}})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--smooth", action="store_true", help="no failures and no odd answers")
    given = parser.parse_args()
    with JudgeServer(given.seed, Faults() if given.smooth else ROUGH, port=given.port) as server:
        sys.stderr.write(f"model {MODEL!r} at {server.url}; Ctrl-C ends it\n")
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            sys.stderr.write(f"{server.seen.total()} requests, {len(server.seen)} of them different\n")


if __name__ == "__main__":
    main()
