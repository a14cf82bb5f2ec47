"""Calls that may hang or crash, in a process of their own, with a limit on processor time.

A library in C or Rust that runs away cannot be stopped from within Python: it does not return to the interpreter, which
alone could raise an exception. So the function runs in a child, one call after the other, under an interval timer of
the kernel (``ITIMER_PROF``), whose signal ends the process whatever it is doing. Processor time is what counts, so that
a busy machine makes no difference; a call that sleeps is ended after a multiple of it in real time.
"""

import atexit
import contextlib
import fcntl
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import Any

import orjson

from curate.errors import RunError

MEMORY = 4 << 30  # bytes of address space of the child
_REAL = 20  # real seconds per second of processor time allowed, and as many more, before a call counts as asleep
_DONE, _FAILED = b"\0", b"\1"
_SERVE = "import sys; from curate.engine.guarded import serve; serve(*sys.argv[1:])"


class TimedOutError(Exception):
    """The call used more processor time than it may."""


class CallError(Exception):
    """The call raised an exception, or its process died: what happened."""


class Guarded:
    """A function in a child process, which is started when it is first called and again after it died.

    Parameters
    ----------
    target
        ``module:function``, a function of bytes and the options, that returns bytes.
    options
        JSON values.
    cpu_seconds
        Processor time of one call.
    warm_up
        Data of a call that is made as the process starts, without a limit on its time: what the function imports and
        prepares is not counted against the first call, and a function that cannot work at all is found out. Its answer
        is not used.

    Examples
    --------
    >>> with Guarded("zlib:compress", {}, cpu_seconds=5) as guarded:  # doctest: +SKIP
    ...     guarded.call(b"data")
    """

    def __init__(self, target: str, options: dict[str, Any], cpu_seconds: float, warm_up: str | None = None) -> None:
        self._arguments = [target, orjson.dumps(options).decode(), str(cpu_seconds), orjson.dumps(warm_up).decode()]
        self._wait = _REAL * (cpu_seconds + 1)
        self._child: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None

    def __enter__(self) -> "Guarded":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def call(self, data: bytes) -> bytes:
        """Call the function.

        Raises
        ------
        TimedOutError
            The call was ended.
        CallError
            The function raised, or its process died of something else.
        RunError
            The process cannot be started.
        """
        connection = self._connection or self._start()
        try:
            connection.send_bytes(data)
            if not connection.poll(self._wait):
                self.close()
                raise TimedOutError
            answer = connection.recv_bytes()
        except (EOFError, OSError):
            code = self.close()
            if code == -signal.SIGPROF:
                raise TimedOutError from None
            raise CallError(f"its process died ({_name(code)})") from None
        if answer[:1] == _FAILED:
            raise CallError(answer[1:].decode("utf-8", "replace"))
        return answer[1:]

    def _start(self) -> Connection:
        ours, theirs = socket.socketpair()
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)}
        command = [sys.executable, "-c", _SERVE, str(theirs.fileno()), *self._arguments]
        self._child = subprocess.Popen(
            command, pass_fds=[theirs.fileno()], env=environment, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        theirs.close()
        self._connection = Connection(ours.detach())
        atexit.register(self.close)
        try:
            said = self._connection.recv_bytes()
        except (EOFError, OSError):
            said = _FAILED + f"its process died ({_name(self.close())})".encode()
        if said != _DONE:
            self.close()
            raise RunError(f"{self._arguments[0]} cannot be started: {said[1:].decode()}")
        return self._connection

    def close(self) -> int | None:
        """End the process; its exit code, negative for a signal."""
        atexit.unregister(self.close)
        child, connection = self._child, self._connection
        self._child = self._connection = None
        if connection is not None:
            connection.close()
        if child is None:
            return None
        try:  # it ends by itself as its connection is closed, or has died already
            return child.wait(timeout=0.2)
        except subprocess.TimeoutExpired:
            child.kill()
            return child.wait()


def _name(code: int | None) -> str:
    if code is not None and code < 0:
        with contextlib.suppress(ValueError):
            return signal.Signals(-code).name
    return f"exit code {code}"


def serve(descriptor: str, target: str, options: str, cpu_seconds: str, warm_up: str) -> None:
    """What the child does: answer calls until the connection is closed."""
    import importlib
    import resource

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the driver ends the workers, and they their children
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, resource.getrlimit(resource.RLIMIT_AS)[1]))
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    module, _, name = target.partition(":")
    with Connection(int(descriptor)) as connection:
        try:
            function = getattr(importlib.import_module(module), name)
            first = orjson.loads(warm_up)
            if first is not None:
                function(first.encode(), orjson.loads(options))
        except BaseException as error:  # a panic of Rust is no Exception
            connection.send_bytes(_FAILED + f"{type(error).__name__}: {error}".encode())
            return
        connection.send_bytes(_DONE)
        with contextlib.suppress(EOFError, ConnectionError):
            while True:
                data = connection.recv_bytes()
                with _ending_with_caller(connection):
                    answer = _answer(function, data, orjson.loads(options), float(cpu_seconds))
                connection.send_bytes(answer)


@contextlib.contextmanager
def _ending_with_caller(connection: Connection) -> Iterator[None]:
    """End this process at once if the caller does, whatever the function is doing.

    While the caller waits, nothing can happen on the connection but that it is closed, of which ``O_ASYNC`` lets the
    kernel send a SIGIO, which ends the process (Linux; elsewhere it ends when the call does).
    """
    descriptor = connection.fileno()
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    fcntl.fcntl(descriptor, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | os.O_ASYNC)
    try:
        if connection.poll(0):  # it was closed before
            raise EOFError
        yield
    finally:
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags)


def _answer(function: Callable[..., bytes], data: bytes, options: dict[str, Any], cpu_seconds: float) -> bytes:
    signal.setitimer(signal.ITIMER_PROF, cpu_seconds)
    try:
        return _DONE + function(data, options)
    except BaseException as error:  # a panic of Rust is no Exception
        return _FAILED + f"{type(error).__name__}: {error}"[:300].encode("utf-8", "replace")
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
