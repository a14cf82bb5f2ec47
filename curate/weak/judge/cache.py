"""Answers that were paid for once, in an SQLite file: a transaction per answer, so a kill loses what was in flight."""

import hashlib
import os
import sqlite3
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from curate.errors import RunError
from curate.weak.judge.answers import Answer

_WAIT = 30.0  # seconds for another process that writes
_TABLE = """
CREATE TABLE IF NOT EXISTS answers (
    key BLOB PRIMARY KEY, content TEXT NOT NULL, finish TEXT NOT NULL, refusal TEXT NOT NULL,
    prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL, model TEXT NOT NULL
)
"""


def request_key(payload: Mapping[str, Any]) -> bytes:
    """SHA-256 of a request in canonical JSON: model, parameters and messages; the address does not enter.

    Examples
    --------
    >>> request_key({"model": "m", "seed": 0}) == request_key({"seed": 0, "model": "m"})
    True
    """
    return hashlib.sha256(orjson.dumps(payload, option=orjson.OPT_SORT_KEYS)).digest()


class Cache:
    """Answers by the key of their request; threads may share it, and so may processes.

    Parameters
    ----------
    path
        Local file; made, with its folder, when it is not there.

    Raises
    ------
    RunError
        The file cannot be written, or is something else.
    """

    def __init__(self, path: str) -> None:
        self._lock = threading.Lock()
        try:
            os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
            self._db = sqlite3.connect(path, timeout=_WAIT, isolation_level=None, check_same_thread=False)
            # With a write-ahead log a transaction costs no wait for the disk; a killed process loses none, and a
            # machine that loses power at most the last ones.
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = NORMAL")
            self._db.execute(_TABLE)
        except (OSError, sqlite3.Error) as error:
            raise RunError(f"the cache of answers {path!r} cannot be used: {error}") from None
        self._path = path

    def get(self, key: bytes) -> Answer | None:
        """The answer that is kept under `key`."""
        query = "SELECT content, finish, refusal, prompt_tokens, completion_tokens FROM answers WHERE key = ?"
        try:
            with self._lock:
                row = self._db.execute(query, (key,)).fetchone()
        except sqlite3.Error as error:
            raise RunError(f"the cache of answers {self._path!r} cannot be read: {error}") from None
        return row and Answer(*row)

    def put(self, key: bytes, model: str, answer: Answer) -> Answer:
        """Keep an answer, in a transaction of its own; returns the first that was kept under `key`."""
        values = (answer.content, answer.finish, answer.refusal, answer.prompt_tokens, answer.completion_tokens)
        try:
            with self._lock:
                self._db.execute("INSERT OR IGNORE INTO answers VALUES (?, ?, ?, ?, ?, ?, ?)", (key, *values, model))
        except sqlite3.Error as error:
            raise RunError(f"the cache of answers {self._path!r} cannot be written: {error}") from None
        return self.get(key) or answer

    def __len__(self) -> int:
        with self._lock:
            return self._db.execute("SELECT count(*) FROM answers").fetchone()[0]

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._db.close()


def default_path(artifact: str) -> str:
    """Beside the artifact that is being made, so that it outlives any change of the configuration.

    Examples
    --------
    >>> default_path("runs/web/judge-3fa91c2e")
    'runs/web/judge.sqlite'
    """
    return str(Path(artifact).parent / "judge.sqlite")
