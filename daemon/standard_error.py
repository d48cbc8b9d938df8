"""Lines on standard error, which wait for nobody who does not read them.

A pipe that nobody reads is full after 64 KiB, and the write that would follow never
returns: a `tee` on a hung disk, or a terminal on Ctrl-S, would stop the event loop with
the first line that it tells, and every beat with it.
"""

import logging
import os
import select
import sys
import time
from collections.abc import Callable

#: What a pipe takes in one write without waiting, once poll() calls it writable
#: (PIPE_BUF on Linux; see pipe(7)). A socket and a terminal take as much.
_PART_BYTES = 4096
#: How long a reader that is only slow may hold up a line, and how seldom.
_PATIENCE_SECONDS = 0.1
_IMPATIENT_SECONDS = 1.0

log = logging.getLogger(__name__)


def standard_error() -> "logging.Handler":
    """Return what writes to standard error, or to what a program put in its place."""
    try:
        return PromptLines(sys.stderr.fileno())
    except (AttributeError, OSError):  # closed, or no file
        return logging.StreamHandler(sys.stderr)


class PromptLines(logging.Handler):
    """Writes lines to a file; leaves out, counts and tells those that nobody reads.

    Args:
        file: its descriptor.
        monotonic: seconds that nobody steps.
    """

    def __init__(
        self, file: int, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__()
        self._file = file
        self._monotonic = monotonic
        self._writable = select.poll()
        self._writable.register(file, select.POLLOUT)
        self._impatient_until = -1.0
        self._unread = 0
        #: Whether the last line was left out behind a part of it.
        self._torn = False

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record's line, or count it."""
        try:
            line = self.format(record)
        except Exception:  # noqa: BLE001 - as the handlers of the standard library
            self.handleError(record)
            return
        if not self._write(f"{line}\n".encode(errors="backslashreplace")):
            self._unread += 1
        elif self._unread:
            unread, self._unread = self._unread, 0
            log.warning(
                "Lines were not told, for nobody read them: %d",
                unread,
                extra={"action": "log_dropped", "dropped": {"unread": unread}},
            )

    def _write(self, line: bytes) -> bool:
        """Write a line, part by part; tell whether all of it was taken."""
        left = b"\n" + line if self._torn else line
        try:
            while left and self._has_room():
                left = left[os.write(self._file, left[:_PART_BYTES]) :]
                self._torn = bool(left)
        except OSError:  # the reader has gone, or the disk is full
            return False
        return not left

    def _has_room(self) -> bool:
        """Tell whether a write returns at once; wait for it only now and then."""
        if self._writable.poll(0):
            return True
        now = self._monotonic()
        if now < self._impatient_until:
            return False
        if self._writable.poll(_PATIENCE_SECONDS * 1000):
            return True
        self._impatient_until = now + _IMPATIENT_SECONDS
        return False
