"""The gold file while people answer: lines are appended for good, and several sessions share the file.

Sessions exclude each other by locks on single bytes of the file, which the system takes away when a process ends in
whatever way: the first byte while one appends, and a byte far behind the end for each document that is being asked
about, so that no other session asks about it.
"""

import errno
import fcntl
import os
from types import TracebackType

from curate import storage
from curate.errors import ConfigError, Problem, RunError
from curate.weak.gold.file import GoldAnswer, parse, split_torn

_APPENDING = 0  # byte that is locked by who appends


class Journal:
    """A gold file that is open for answers; use as a context manager.

    No other part of the process may open the file meanwhile: closing it would take this one's locks away.

    Parameters
    ----------
    path
        The file, on a local disk; made when it is not there. What a killed writer left of a last line is cut off.

    Raises
    ------
    ConfigError
        The path is none to write to, or lines of the file are wrong.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder, Journal(f"{folder}/gold.jsonl") as journal:
    ...     journal.append(GoldAnswer(bytes(16), "drop"))
    ...     journal.append(GoldAnswer(bytes(16), "keep"))
    ...     journal.labels[bytes(16)], len(journal.answers)
    ('keep', 2)
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.answers: list[GoldAnswer] = []
        self.labels: dict[bytes, str] = {}
        self.asked: set[tuple[str, bytes]] = set()
        self.torn = 0
        """Bytes of a half-written last line that were cut off."""
        self._size = self._lines = 0
        self._claims: set[bytes] = set()
        if not storage.is_local(path):
            raise ConfigError(
                [Problem(("--out",), f"{path} is not on a local disk", "answers are appended one by one")]
            )
        try:
            os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise ConfigError([Problem(("--out",), f"{path}: {error.strerror}")]) from None
        try:
            self._lock(_APPENDING)
            self._repair()
            self.refresh()
            self._unlock(_APPENDING)
        except BaseException:
            os.close(self._file)
            raise

    def __enter__(self) -> "Journal":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._file)

    def refresh(self) -> None:
        """Read what other sessions have appended."""
        new = self._read(self._size)
        whole = new[: new.rfind(b"\n") + 1]
        for answer in parse(whole, self.path, self._lines + 1):
            self.answers.append(answer)
            self.labels[answer.id] = answer.label
            self.asked.add((answer.draw, answer.id))
        self._size += len(whole)
        self._lines += whole.count(b"\n")

    def append(self, answer: GoldAnswer) -> None:
        """Add a line; it is on the disk when this returns.

        Raises
        ------
        RunError
            The line could not be written, or another program has replaced the file.
        """
        line = answer.line()
        self._lock(_APPENDING)
        try:
            self._check_place()
            self._repair()  # of a session that was killed while it appended
            before = os.fstat(self._file).st_size
            try:
                written = os.write(self._file, line)
                os.fsync(self._file)
            except OSError as error:
                os.ftruncate(self._file, before)
                raise RunError(f"{self.path}: the answer could not be written: {error.strerror}") from None
            if written < len(line):
                os.ftruncate(self._file, before)
                raise RunError(f"{self.path}: the answer could not be written: the disk is full")
            self.refresh()
        finally:
            self._unlock(_APPENDING)

    def claim(self, own: bytes) -> bool:
        """Whether no other session, nor this one, is asking about a document; from now on this one is."""
        if own in self._claims:
            return False
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _byte_of(own))
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN):
                return False
            raise RunError(f"{self.path}: its file system has no locks: {error.strerror}") from None
        self._claims.add(own)
        return True

    def release(self, own: bytes) -> None:
        """Let others ask about a document."""
        if own in self._claims:
            self._claims.remove(own)
            self._unlock(_byte_of(own))

    def _read(self, start: int) -> bytes:
        """The file from some byte on, through the one descriptor that holds the locks."""
        parts, end = [], os.fstat(self._file).st_size
        while start < end:
            parts.append(os.pread(self._file, end - start, start))
            start += len(parts[-1]) or end
        return b"".join(parts)

    def _repair(self) -> None:
        """End the last line where it has no end, or cut it off where it is not whole."""
        size = os.fstat(self._file).st_size
        if size > self._size and os.pread(self._file, 1, size - 1) != b"\n":
            _, torn = split_torn(self._read(self._size))
            if torn:
                os.ftruncate(self._file, size - len(torn))
                self.torn += len(torn)
            else:
                os.write(self._file, b"\n")
            os.fsync(self._file)

    def _check_place(self) -> None:
        """An editor that saves puts another file in the place of this one: what is appended here would be lost."""
        here = os.fstat(self._file)
        try:
            there = os.stat(self.path)
        except OSError:
            there = None
        if there is None or (here.st_dev, here.st_ino) != (there.st_dev, there.st_ino) or here.st_size < self._size:
            raise RunError(f"{self.path} was changed or replaced by another program; the last answer is not written")

    def _lock(self, byte: int) -> None:
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX, 1, byte)
        except OSError as error:
            raise RunError(f"{self.path}: its file system has no locks: {error.strerror}") from None

    def _unlock(self, byte: int) -> None:
        fcntl.lockf(self._file, fcntl.LOCK_UN, 1, byte)


def _byte_of(own: bytes) -> int:
    """The byte that stands for a document: odd, so never the first, and below 2^62."""
    return int.from_bytes(own[:8], "big") >> 2 | 1
