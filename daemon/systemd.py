"""What systemd is told: ready, stopping, and still alive (sd_notify(3))."""

import os
import socket
from collections.abc import Callable, Mapping


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
