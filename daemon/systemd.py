"""What systemd is told (sd_notify(3)), and the socket it passes (sd_listen_fds(3))."""

import os
import socket
from collections.abc import Callable, Mapping, MutableMapping

#: SD_LISTEN_FDS_START: the descriptors that are passed begin here.
_FIRST_PASSED = 3
_FAMILIES = (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX)


class PassedSocketUnusable(Exception):
    """What a socket unit passed cannot be served; the text says why."""


def passed_socket(
    environ: MutableMapping[str, str] = os.environ, first: int = _FIRST_PASSED
) -> socket.socket | None:
    """Take the socket that a socket unit passed to this very process, if any.

    It listens already, and is the caller's to close: systemd keeps a copy. The
    variables that tell of it are removed, so that no child takes it for its own.

    Raises:
        PassedSocketUnusable: there are several, or it is none to accept streams from.
    """
    pid, count, _ = (
        environ.pop(name, "") for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")
    )
    if pid != str(os.getpid()) or count in {"", "0"}:
        return None
    if count != "1":
        raise PassedSocketUnusable(f"{count} sockets were passed, only one is served")
    try:
        passed = socket.socket(fileno=first)
    except OSError as error:
        raise PassedSocketUnusable("what was passed is no socket") from error
    passed.set_inheritable(False)
    listens = passed.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    streams = passed.type == socket.SOCK_STREAM and passed.family in _FAMILIES
    if not (listens and streams):
        passed.close()
        raise PassedSocketUnusable("the socket that was passed listens for no streams")
    return passed


class Notifier:
    """Sends datagrams to the socket that systemd names; does nothing without one."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        if self._address.startswith("@"):  # an abstract socket
            self._address = "\0" + self._address[1:]
        watched = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        watchdog_micros = int(environ.get("WATCHDOG_USEC", "0")) if watched else 0
        #: Seconds within which systemd wants to hear from us; None: it does not.
        self.watchdog_seconds = watchdog_micros / 1_000_000 or None

    def ready(self) -> None:
        """Say that requests are served."""
        self._send(b"READY=1")

    def stopping(self) -> None:
        """Say that the daemon is on its way out."""
        self._send(b"STOPPING=1")

    def alive(self) -> None:
        """Feed the watchdog."""
        self._send(b"WATCHDOG=1")

    def _send(self, state: bytes) -> None:
        if not self._address:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.sendto(state, self._address)


class Watchdog:
    """Feeds systemd's watchdog while scheduler, event loop and all else turn.

    The scheduler proves itself by running `feed`, the loop by having run what
    the feed before asked of it. When one stands still, systemd restarts us. It is
    fed while the store fails, which a restart does not cure.
    """

    def __init__(
        self,
        notifier: Notifier,
        call_on_loop: Callable[[Callable[[], None]], None],
        is_stuck: Callable[[], bool] = lambda: False,
    ) -> None:
        self._notifier = notifier
        self._call_on_loop = call_on_loop
        self._is_stuck = is_stuck
        self._loop_proved = True

    def feed(self) -> None:
        """Feed if the loop answered the last call, and ask it again."""
        if self._loop_proved and not self._is_stuck():
            self._loop_proved = False
            self._notifier.alive()
        self._call_on_loop(self._prove)

    def _prove(self) -> None:
        self._loop_proved = True
