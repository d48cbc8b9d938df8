"""What systemd is told."""

import os
import socket
from collections.abc import Callable

import pytest

from daemon.systemd import Notifier, Watchdog

Systemd = tuple[str, socket.socket]


def _silent(listening: socket.socket) -> bool:
    listening.settimeout(0)
    try:
        listening.recv(100)
    except BlockingIOError:
        return True
    return False


@pytest.mark.parametrize(
    ("tell", "heard"),
    [
        (Notifier.ready, b"READY=1"),
        (Notifier.alive, b"WATCHDOG=1"),
        (Notifier.stopping, b"STOPPING=1"),
    ],
)
def test_systemd_hears_what_it_is_told(
    systemd: Systemd, tell: Callable[[Notifier], None], heard: bytes
) -> None:
    """One datagram each, to a socket in the file system or an abstract one."""
    name, listening = systemd

    tell(Notifier({"NOTIFY_SOCKET": name}))

    assert listening.recv(100) == heard
    assert _silent(listening)


def test_without_systemd_nothing_is_sent() -> None:
    """In a terminal or a container there is nobody to tell."""
    notifier = Notifier({})

    notifier.ready()

    assert notifier.watchdog_seconds is None


def test_the_environment_is_read_when_the_notifier_is_made(
    systemd: Systemd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By default it is the process's own."""
    name, listening = systemd
    monkeypatch.setenv("NOTIFY_SOCKET", name)

    Notifier().ready()

    assert listening.recv(100) == b"READY=1"


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 30),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getppid())}, None),
    ],
)
def test_the_watchdog_period_is_that_of_this_very_process(
    environ: dict[str, str], seconds: float | None
) -> None:
    """A watchdog that is meant for another process is not ours to feed."""
    assert Notifier(environ).watchdog_seconds == seconds


class TestWatchdog:
    """The scheduler calls `feed`; the loop is a list of what it was asked to run."""

    @pytest.fixture
    def loop(self) -> list[Callable[[], None]]:
        """Return a loop that runs nothing by itself."""
        return []

    @pytest.fixture
    def watchdog(self, systemd: Systemd, loop: list[Callable[[], None]]) -> Watchdog:
        """Return a watchdog that has been fed once."""
        name, listening = systemd
        watchdog = Watchdog(Notifier({"NOTIFY_SOCKET": name}), loop.append)
        watchdog.feed()
        assert listening.recv(100) == b"WATCHDOG=1"
        return watchdog

    def test_it_is_fed_while_the_loop_answers(
        self, watchdog: Watchdog, loop: list[Callable[[], None]], systemd: Systemd
    ) -> None:
        """Each feed asks the loop for the proof that the next one needs."""
        for _ in range(3):
            loop.pop()()

            watchdog.feed()

            assert systemd[1].recv(100) == b"WATCHDOG=1"

    def test_it_starves_while_the_loop_stands_still(
        self, watchdog: Watchdog, systemd: Systemd
    ) -> None:
        """The scheduler alone turning is not enough."""
        watchdog.feed()
        watchdog.feed()

        assert _silent(systemd[1])

    def test_it_starves_while_the_sweep_is_stuck(
        self, loop: list[Callable[[], None]], systemd: Systemd
    ) -> None:
        """Nothing else would make it sweep again."""
        notifier = Notifier({"NOTIFY_SOCKET": systemd[0]})
        watchdog = Watchdog(notifier, loop.append, lambda: True)

        watchdog.feed()

        assert _silent(systemd[1])

    def test_it_is_fed_again_once_the_loop_turns_again(
        self, watchdog: Watchdog, loop: list[Callable[[], None]], systemd: Systemd
    ) -> None:
        """A hiccup that systemd did not punish is forgotten."""
        watchdog.feed()
        loop.pop()()

        watchdog.feed()

        assert systemd[1].recv(100) == b"WATCHDOG=1"

    def test_it_starves_while_the_scheduler_stands_still(
        self, watchdog: Watchdog, loop: list[Callable[[], None]], systemd: Systemd
    ) -> None:
        """The loop alone turning is not enough: it only proves, and feeds nothing."""
        del watchdog

        loop.pop()()

        assert _silent(systemd[1])
