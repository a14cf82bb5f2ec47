"""The cache keeps the first answer, is shared, and loses nothing when its process is killed."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from curate.errors import RunError
from curate.weak.judge.answers import Answer
from curate.weak.judge.cache import Cache, request_key

ANSWER = Answer("é\0\n語", "stop", "", 3, 4)


def test_what_is_put_is_got_and_the_first_stays(tmp_path: Path) -> None:
    cache, other = (Cache(str(tmp_path / "new" / "a.sqlite")) for _ in range(2))
    key = request_key({"model": "m"})
    assert cache.get(key) is None
    assert cache.put(key, "m", ANSWER) == ANSWER
    assert other.put(key, "m", Answer("later")) == ANSWER
    assert other.get(key) == ANSWER
    assert len(other) == 1


def test_keys() -> None:
    messages = [{"role": "user", "content": "a"}]
    base = {"model": "m", "seed": 0, "messages": messages}
    assert request_key(base) == request_key(dict(reversed(base.items())))
    others = [base | {"model": "n"}, base | {"seed": 1}, base | {"messages": messages * 2}, base | {"top_p": 1}]
    assert len({request_key(payload) for payload in [base, *others]}) == 5


def test_a_kill_loses_nothing(tmp_path: Path) -> None:
    path = str(tmp_path / "a.sqlite")
    code = f"""
import os, signal
from curate.weak.judge.answers import Answer
from curate.weak.judge.cache import Cache
cache = Cache({path!r})
for number in range(100):
    cache.put(number.to_bytes(4), "m", Answer(str(number)))
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGKILL
    cache = Cache(path)
    assert [cache.get(number.to_bytes(4)) for number in range(100)] == [Answer(str(number)) for number in range(100)]


def test_what_is_no_cache(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("not a database, but long enough to be taken for one" * 100)
    for path in (tmp_path / "text", tmp_path / "text" / "below", tmp_path):
        with pytest.raises(RunError, match="cannot be used"):
            Cache(str(path))
