"""Calls in a child process: no call can hang or crash the caller."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from curate.engine.guarded import CallError, Guarded, TimedOutError
from curate.errors import RunError

TARGET = "tests.engine.guarded_functions:behave"
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def guarded() -> Iterator[Guarded]:
    with Guarded(TARGET, {"end": "."}, cpu_seconds=0.3) as started:
        yield started


def test_answers(guarded: Guarded) -> None:
    assert guarded.call(b"abc") == b"ABC."
    assert guarded.call(b"") == b"."
    assert len(guarded.call(b"x" * 5_000_000)) == 5_000_001
    first, second = guarded.call(b"pid"), guarded.call(b"pid")
    assert first == second != str(os.getpid()).encode()


@pytest.mark.parametrize("what", [b"spin", b"spin in C"])
def test_what_takes_too_long_is_ended(guarded: Guarded, what: bytes) -> None:
    with pytest.raises(TimedOutError):
        guarded.call(what)
    assert guarded.call(b"next") == b"NEXT."


def test_each_call_has_its_own_time(guarded: Guarded) -> None:
    assert guarded.call(b"sleep:0.5") == b"SLEEP:0.5."  # sleeping is no processor time
    end = time.process_time() + 0.3
    while time.process_time() < end:  # nor is it the caller's
        pass
    assert guarded.call(b"next") == b"NEXT."


@pytest.mark.parametrize(
    ("what", "message"),
    [
        (b"raise", "ValueError: no such page"),
        (b"die", "its process died (exit code 3)"),
        (b"crash", "its process died (SIGABRT)"),
        (b"eat", "MemoryError"),
    ],
)
def test_failures_have_a_message(guarded: Guarded, what: bytes, message: str) -> None:
    with pytest.raises(CallError) as error:
        guarded.call(what)
    assert str(error.value).startswith(message)
    assert guarded.call(b"next") == b"NEXT."


def test_a_function_that_is_not_there() -> None:
    with pytest.raises(RunError, match=r"no\.such:thing cannot be started: ModuleNotFoundError"):
        Guarded("no.such:thing", {}, 1).call(b"")


def test_what_is_prepared_at_the_start_is_not_counted() -> None:
    target = "tests.engine.guarded_functions:prepare"
    with Guarded(target, {}, cpu_seconds=0.3, warm_up="first") as guarded:
        assert guarded.call(b"page") == b"first page"
        guarded.close()
        assert guarded.call(b"page") == b"first page"
    with Guarded(target, {}, cpu_seconds=0.3) as guarded, pytest.raises(TimedOutError):
        guarded.call(b"page")


def test_a_function_that_cannot_work_is_no_matter_of_a_page() -> None:
    guarded = Guarded("tests.engine.guarded_functions:prepare", {"fail": True}, 1, warm_up="")
    with pytest.raises(RunError, match="prepare cannot be started: ModuleNotFoundError: No module named 'parser'"):
        guarded.call(b"page")


@pytest.mark.parametrize("what", ["spin", "spin in C"])
def test_a_call_ends_with_its_caller(what: str) -> None:
    """Under a limit that it is far from: the caller is killed while the child is in the call."""
    code = f"from curate.engine.guarded import Guarded\ng = Guarded({TARGET!r}, {{}}, 1000)\n"
    code += f"print(g.call(b'pid').decode(), flush=True)\ng.call({what.encode()!r})"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=ROOT) as caller:
        assert caller.stdout is not None
        child = int(caller.stdout.readline())
        while _seconds(child) < 0.2 + _seconds(caller.pid):  # until it is in the call
            time.sleep(0.05)
        caller.kill()
    _await_end(child)


def _seconds(process: int) -> float:
    """Processor time of a process."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _await_end(process: int) -> None:
    for _ in range(200):
        path = Path(f"/proc/{process}/stat")
        if not path.exists() or "Z" in path.read_text().rpartition(")")[2][:3]:
            return
        time.sleep(0.05)
    pytest.fail(f"the process {process} is still there")


def test_the_process_ends_with_its_caller() -> None:
    code = f"from curate.engine.guarded import Guarded; import os\ng = Guarded({TARGET!r}, {{}}, 5)\n"
    for end in ("", "os._exit(0)", "os.abort()"):
        done = subprocess.run(
            [sys.executable, "-c", f"{code}print(g.call(b'pid').decode(), flush=True)\n{end}"],
            capture_output=True,
            text=True,
            cwd=ROOT,
            check=False,
        )
        _await_end(int(done.stdout))
