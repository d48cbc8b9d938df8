"""One daemon a database: an exclusive lock on a file beside it."""

import fcntl
import os
import socket
from contextlib import suppress
from pathlib import Path

from store.clock import to_the_second, utcnow


class LockHeld(Exception):
    """Another daemon serves the database; the text names it."""


class DaemonLock:
    """An exclusive `flock` that the kernel lets go of when the process ends.

    The file stays: removing it would let two daemons lock two files of one name.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock; sign its file, unless that is new.

        Raises:
            LockHeld: another daemon has it.
            OSError: the file cannot be made or written.
        """
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 200).decode(errors="replace").strip()
            os.close(descriptor)
            raise LockHeld(holder or "another agent-registryd") from None
        self._descriptor = descriptor
        if os.fstat(descriptor).st_size:
            self.sign()

    def sign(self) -> None:
        """Write into the file who holds the lock.

        Once there is a database, not before: an empty one beside a lock file that was
        signed is one that was emptied. A start that was killed just as SQLite had
        made the file looked like that, and was refused for ever.
        """
        if self._descriptor is None:
            return
        me = f"agent-registryd, pid {os.getpid()} on {socket.gethostname()}"
        signature = f"{me}, since {to_the_second(utcnow())}\n".encode()
        with suppress(OSError):  # the lock is what counts, also on a full disk
            os.pwrite(self._descriptor, signature, 0)
            os.truncate(self._descriptor, len(signature))

    def release(self) -> None:
        """Let go of the lock."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
