"""Run a function that may hang or crash in a process of its own, with a limit on processor time.

Python cannot stop a C or Rust library that hangs: an exception could only be raised in the interpreter, to which the
library does not return. So the function runs in a child process, one call after another, under an interval timer of the
kernel (``ITIMER_PROF``). Its signal ends the process whatever it is doing. The limit is on processor time, so that a
busy machine makes no difference. A call that sleeps is ended after a multiple of the limit in real time.
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

MEMORY = 4 << 30  # maximum address space of the child in bytes
_REAL = 20  # real seconds per allowed second of processor time (plus one second) after which a call is ended
_DONE, _FAILED = b"\0", b"\1"
_SERVE = "import sys; from curate.engine.guarded import serve; serve(*sys.argv[1:])"


class TimedOutError(Exception):
    """The call used more processor time than allowed."""


class CallError(Exception):
    """The call raised an exception, or its process died. The message says which."""


class Guarded:
    """A function in a child process. The process starts at the first call, and again after it has died.

    Parameters
    ----------
    target
        The function as ``module:function``. It takes bytes and the options, and returns bytes.
    options
        Options of the function, as JSON values.
    cpu_seconds
        Maximum processor time of one call, in seconds.
    warm_up
        Data of a call without a time limit that is made when the process starts; its result is ignored. It keeps the
        time of imports and preparations out of the first real call, and reveals a function that cannot work at all.

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
            If the call exceeded its time.
        CallError
            If the function raised an exception, or its process died for another reason.
        RunError
            If the process cannot be started.
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
            response = self._connection.recv_bytes()
        except (EOFError, OSError):
            response = _FAILED + f"its process died ({_name(self.close())})".encode()
        if response != _DONE:
            self.close()
            raise RunError(f"{self._arguments[0]} cannot be started: {response[1:].decode()}")
        return self._connection

    def close(self) -> int | None:
        """End the process and return its exit code, which is negative for a signal; None if there is no process."""
        atexit.unregister(self.close)
        child, connection = self._child, self._connection
        self._child = self._connection = None
        if connection is not None:
            connection.close()
        if child is None:
            return None
        try:  # the process ends when its connection is closed, or has died already
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
    """Serve calls in the child process until the connection is closed."""
    import importlib
    import resource

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the driver ends its workers, and the workers end their children
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, resource.getrlimit(resource.RLIMIT_AS)[1]))
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    module, _, name = target.partition(":")
    with Connection(int(descriptor)) as connection:
        try:
            function = getattr(importlib.import_module(module), name)
            first = orjson.loads(warm_up)
            if first is not None:
                function(first.encode(), orjson.loads(options))
        except BaseException as error:  # a panic in Rust is not an Exception
            connection.send_bytes(_FAILED + f"{type(error).__name__}: {error}".encode())
            return
        connection.send_bytes(_DONE)
        with contextlib.suppress(EOFError, ConnectionError):
            while True:
                data = connection.recv_bytes()
                with _end_with_caller(connection):
                    answer = _answer(function, data, orjson.loads(options), float(cpu_seconds))
                connection.send_bytes(answer)


@contextlib.contextmanager
def _end_with_caller(connection: Connection) -> Iterator[None]:
    """End this process as soon as the caller ends, whatever the function is doing.

    While the caller waits, the only possible event on the connection is that it is closed. With ``O_ASYNC`` the kernel
    then sends a SIGIO, which ends this process (on Linux; elsewhere the process ends after the call).
    """
    descriptor = connection.fileno()
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    fcntl.fcntl(descriptor, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | os.O_ASYNC)
    try:
        if connection.poll(0):  # the caller closed it before
            raise EOFError
        yield
    finally:
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags)


def _answer(function: Callable[..., bytes], data: bytes, options: dict[str, Any], cpu_seconds: float) -> bytes:
    signal.setitimer(signal.ITIMER_PROF, cpu_seconds)
    try:
        return _DONE + function(data, options)
    except BaseException as error:  # a panic in Rust is not an Exception
        return _FAILED + f"{type(error).__name__}: {error}"[:300].encode("utf-8", "replace")
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
