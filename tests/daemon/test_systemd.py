"""What systemd is told, and the socket it passes."""

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from daemon.systemd import (
    Notifier,
    PassedSocketUnusable,
    Watchdog,
    passed_socket,
)

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


class TestPassedSocket:
    """A descriptor, and the variables that tell of it."""

    @pytest.fixture(params=["127.0.0.1", "::1", "unix"])
    def listening(
        self, request: pytest.FixtureRequest, tmp_path: Path
    ) -> Iterator[socket.socket]:
        """Listen as a socket unit does, on an address of each kind."""
        if request.param == "unix":
            family, address = socket.AF_UNIX, f"{tmp_path}/registry.sock"
        else:
            family = socket.AF_INET6 if ":" in request.param else socket.AF_INET
            address = (request.param, 0)
        with socket.socket(family) as listening:
            try:
                listening.bind(address)
            except OSError as error:
                pytest.skip(f"no {request.param} here: {error}")
            listening.listen()
            yield listening

    @pytest.fixture
    def environ(self) -> dict[str, str]:
        """Return what systemd tells this process of one socket."""
        return {
            "LISTEN_PID": str(os.getpid()),
            "LISTEN_FDS": "1",
            "LISTEN_FDNAMES": "http",
        }

    def test_it_is_taken_with_its_address(
        self, listening: socket.socket, environ: dict[str, str]
    ) -> None:
        """The very socket, of whatever family it is, and no child inherits it."""
        copy = os.dup(listening.fileno())
        os.set_inheritable(copy, True)  # noqa: FBT003 - takes no keyword

        passed = passed_socket(environ, copy)

        assert passed is not None
        with passed:
            assert passed.getsockname() == listening.getsockname()
            assert passed.fileno() == copy
            assert not passed.get_inheritable()

    @pytest.mark.parametrize(
        "told",
        [
            {},
            {"LISTEN_FDS": "1"},
            {"LISTEN_FDS": "1", "LISTEN_PID": str(os.getppid())},
            {"LISTEN_FDS": "0", "LISTEN_PID": str(os.getpid())},
        ],
    )
    def test_what_is_meant_for_another_process_is_left_alone(
        self, told: dict[str, str]
    ) -> None:
        """The variables outlive the process they were set for."""
        assert passed_socket(told, first=-1) is None

    @pytest.mark.parametrize("pid", [os.getpid(), os.getppid()], ids=["ours", "other"])
    def test_no_child_is_told_of_it(self, environ: dict[str, str], pid: int) -> None:
        """The variables are removed, whether they were meant for us or not."""
        environ |= {"LISTEN_PID": str(pid), "LISTEN_FDS": "0", "PATH": "/bin"}

        passed_socket(environ)

        assert environ == {"PATH": "/bin"}

    @pytest.mark.parametrize("count", ["2", "-1", "many"])
    def test_several_are_refused(self, environ: dict[str, str], count: str) -> None:
        """Which of them would be the registry's?"""
        with pytest.raises(PassedSocketUnusable, match="only one is served"):
            passed_socket(environ | {"LISTEN_FDS": count}, first=-1)

    @pytest.mark.parametrize(
        "kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET]
    )
    def test_what_nobody_can_connect_to_is_refused_and_closed(
        self, environ: dict[str, str], kind: socket.SocketKind
    ) -> None:
        """A connection (Accept=yes), datagrams, or packets."""
        one, other = socket.socketpair(type=kind)
        with other:
            with pytest.raises(PassedSocketUnusable, match="for no streams"):
                passed_socket(environ, one.detach())

            other.settimeout(1)
            assert kind == socket.SOCK_DGRAM or other.recv(1) == b""

    def test_what_listens_for_packets_is_refused(
        self, environ: dict[str, str], tmp_path: Path
    ) -> None:
        """HTTP needs a stream."""
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        listening.bind(f"{tmp_path}/packets.sock")
        listening.listen()

        with pytest.raises(PassedSocketUnusable, match="for no streams"):
            passed_socket(environ, listening.detach())

    def test_a_file_is_refused(self, environ: dict[str, str], tmp_path: Path) -> None:
        """A descriptor that is no socket at all."""
        with (
            (tmp_path / "file").open("w") as file,
            pytest.raises(PassedSocketUnusable, match="is no socket"),
        ):
            passed_socket(environ, file.fileno())
