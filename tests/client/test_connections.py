"""Connections: which are kept, how long they may take, and how much is read of them."""

import socket
import threading
import time
from types import SimpleNamespace

import pytest
from agent_registry_client import (
    AgentRegistryClient,
    InvalidRequest,
    NotARegistry,
    Unreachable,
    connections,
)
from agent_registry_client.connections import connect
from agent_registry_client.testing import RegistryProcess
from agent_registry_client.threads import in_background

from .recording import Recording


def test_the_connection_is_kept(recording: Recording) -> None:
    """Calls one after the other share it."""
    with AgentRegistryClient(recording.url) as client:
        for _ in range(5):
            client.agents()

    assert (len(recording.asked), recording.connections) == (5, 1)


def test_a_connection_that_was_closed_meanwhile_is_no_failure(
    registry: RegistryProcess,
) -> None:
    """A registry that restarted between two calls is not noticed."""
    with AgentRegistryClient(registry.url) as client:
        client.agents()
        registry.kill()
        registry.start()

        assert client.agents() == ()


def test_connections_that_rest_too_long_are_closed_while_others_are_in_use(
    recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A burst leaves many; the registry hangs up on them first, and they stay open."""
    now = time.monotonic()
    monkeypatch.setattr(connections, "time", SimpleNamespace(monotonic=lambda: now))
    met = threading.Barrier(3)
    with AgentRegistryClient(recording.url) as client:
        recording.on_asked = lambda: met.wait(5)
        for call in [in_background(client.agents) for _ in range(3)]:
            call.result(5)
        burst = [one for _, one in client._transport._servers[0]._idle]
        recording.on_asked = lambda: None

        for _ in range(3):
            now += 30
            client.agents()

        assert [one.sock is None for one in burst] == [True, True, False]


def test_one_kept_connection_that_is_silent_speaks_for_the_others(
    recording: Recording,
) -> None:
    """A firewall that forgot them swallows what is sent on any; a new one works."""
    forgotten = set()
    release = threading.Event()
    met = threading.Barrier(3)

    def meet() -> None:
        forgotten.add(threading.current_thread())  # each connection has its own
        met.wait(5)

    def swallow() -> None:
        if threading.current_thread() in forgotten:
            release.wait(5)

    with AgentRegistryClient(recording.url, timeout_seconds=0.2) as client:
        recording.on_asked = meet
        for call in [in_background(client.agents) for _ in range(3)]:
            call.result(5)
        recording.on_asked = swallow
        with pytest.raises(Unreachable, match="timed out"):
            client.agents()

        assert client.agents() == ()
        release.set()


@pytest.mark.parametrize(
    "said",
    [b"Content-Length: 99\r\n\r\nhalf", b"Transfer-Encoding: chunked\r\n\r\n9\r\nhalf"],
)
def test_half_an_answer_is_none(said: bytes) -> None:
    """Half of the metrics looks like all of them."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        head = b"HTTP/1.1 200 OK\r\n"
        answering = threading.Thread(target=_answer, args=(listening, head + said))
        answering.start()
        port = listening.getsockname()[1]

        with pytest.raises(NotARegistry, match="IncompleteRead"):
            AgentRegistryClient(f"http://127.0.0.1:{port}").metrics()
        answering.join()


@pytest.mark.parametrize(
    "said",
    [b"HTTP/1.1 200 OK\r\nX-Drip: ", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n"],
)
def test_an_answer_that_drips_is_cut_off(said: bytes) -> None:
    """The timeout is for the call as a whole, not for each byte of it."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        over = threading.Event()
        dripping = threading.Thread(target=_drip, args=(listening, said, over))
        dripping.start()
        port = listening.getsockname()[1]
        client = AgentRegistryClient(f"http://127.0.0.1:{port}", timeout_seconds=0.5)
        began_at = time.monotonic()

        with pytest.raises(Unreachable, match="timed out"):
            client.agents()

        assert time.monotonic() - began_at < 5
        over.set()
        dripping.join()


def _drip(listening: socket.socket, said: bytes, over: threading.Event) -> None:
    connection, _ = listening.accept()
    with connection:
        connection.sendall(said)
        while not over.wait(0.1):
            connection.sendall(b"a")


def test_the_second_address_of_a_name_is_tried_in_time(
    recording: Recording,
) -> None:
    """Though the first swallows what is sent to it."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        crowd = [_knock(full.getsockname()) for _ in range(3)]
        found = [
            *socket.getaddrinfo(*full.getsockname(), type=socket.SOCK_STREAM),
            *socket.getaddrinfo(*recording.server_address, type=socket.SOCK_STREAM),  # type: ignore[misc]
        ]
        began_at = time.monotonic()

        with connect(found, began_at + 3) as connected:
            assert connected.getpeername() == recording.server_address
        assert 1.4 < time.monotonic() - began_at < 2.9
        for one in crowd:
            one.close()


def _knock(address: tuple[str, int]) -> socket.socket:
    knocking = socket.socket()
    knocking.settimeout(0)
    knocking.connect_ex(address)
    return knocking


def test_no_answer_is_read_beyond_what_its_call_may_bring(
    recording: Recording,
) -> None:
    """A beat is answered in a kilobyte; a listing may be long."""
    long = b" " * (2 << 20)
    client = AgentRegistryClient(recording.url)
    recording.told = (200, b"[" + long + b"]")
    found = client.agents()
    recording.told = (200, b'{"status": "ok"}' + long)

    with pytest.raises(NotARegistry):
        client.health()
    assert found == ()


TOO_LARGE = b'{"status": 413, "code": "body_too_large", "detail": "No more."}'


@pytest.mark.parametrize("header", [b"Connection: close\r\n", b""])
def test_an_answer_that_comes_before_all_is_sent_is_heard(header: bytes) -> None:
    """A body that is too large is answered unread, and its connection closed."""
    head = b"HTTP/1.1 413 Too Large\r\n%bContent-Length: %d\r\n\r\n"

    with pytest.raises(InvalidRequest, match="No more"):
        _register_at_length(head % (header, len(TOO_LARGE)) + TOO_LARGE)


def test_a_connection_that_breaks_while_sending_is_told_without_an_answer() -> None:
    """There is nothing else to tell."""
    with pytest.raises(Unreachable, match=r"reset|[Bb]roken"):
        _register_at_length(b"")


def _register_at_length(said: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        answering = threading.Thread(target=_answer, args=(listening, said, 100))
        answering.start()
        port = listening.getsockname()[1]
        client = AgentRegistryClient(f"http://127.0.0.1:{port}")
        try:
            client.register(
                "a",
                agent_name="A",
                host="10.0.0.7",
                port=80,
                metadata={"long": "x" * (20 << 20)},
            )
        finally:
            answering.join()


def _answer(listening: socket.socket, said: bytes, read: int = 65_536) -> None:
    connection, _ = listening.accept()
    with connection:
        connection.recv(read)
        connection.sendall(said)
