"""Agents that are kept registered, while their registry misbehaves."""

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from agent_registry_client import (
    AgentRegistryClient,
    Change,
    NotARegistry,
    State,
    Unreachable,
)
from agent_registry_client.testing import RegistryProcess

Wait = Callable[..., Any]


def test_an_agent_is_kept_beyond_its_ttl_and_deregistered_at_the_end(
    client: AgentRegistryClient,
    described: dict[str, Any],
    listed: Callable[[], set[str]],
) -> None:
    """Two lines are all it takes."""
    with client.registered("a", **described):
        first = client.get("a").registered_at
        time.sleep(1.5)

        assert client.get("a").is_alive
        assert client.get("a").registered_at == first
    assert listed() == set()


def test_many_agents_of_a_client_share_a_thread(
    client: AgentRegistryClient, described: dict[str, Any], wait_until: Wait
) -> None:
    """And their beats; the thread goes when the last of them goes."""
    before = set(threading.enumerate())
    kept = [client.registered(f"a-{n}", **described).start() for n in range(20)]
    time.sleep(1.5)

    assert sum(agent.is_alive for agent in client.agents()) == 20
    new = set(threading.enumerate()) - before
    assert len(new) <= 2  # one more resolves hosts
    for registration in kept:
        registration.leave()
    assert client.agents() == ()
    wait_until(lambda: set(threading.enumerate()) <= before)


def test_a_registry_that_comes_late_is_waited_for(
    registry: RegistryProcess, described: dict[str, Any], wait_until: Wait
) -> None:
    """The program starts, and is registered once somebody answers."""
    registry.kill()
    client = AgentRegistryClient(registry.url)
    with client.registered("a", **described) as registration:
        assert registration.state == State.RETRYING
        assert isinstance(registration.last_error, Unreachable)
        assert registration.silent_seconds is None

        registry.start()
        wait_until(lambda: registration.state == State.REGISTERED, 2)

        assert client.get("a").is_alive


@pytest.mark.parametrize("empty", [False, True])
def test_a_registry_that_is_killed_and_comes_back_finds_everyone(
    client: AgentRegistryClient,
    registry: RegistryProcess,
    described: dict[str, Any],
    wait_until: Wait,
    *,
    empty: bool,
) -> None:
    """Within one interval, be its memory kept or lost."""
    with (
        client.registered("a", **described) as a,
        client.registered("b", **described) as b,
    ):
        registry.kill()
        wait_until(lambda: {a.state, b.state} == {State.RETRYING})
        registry.start(empty=empty)

        wait_until(lambda: {a.state, b.state} == {State.REGISTERED}, 1)
        alive = {agent.agent_id for agent in client.agents() if agent.is_alive}

    assert alive == {"a", "b"}


def test_a_registry_that_hangs_is_sat_out(
    client: AgentRegistryClient,
    registry: RegistryProcess,
    described: dict[str, Any],
    wait_until: Wait,
) -> None:
    """It takes connections and answers nothing; the program is not held up."""
    with client.registered("a", **described) as registration:
        registry.pause()
        wait_until(lambda: registration.state == State.RETRYING)
        began_at = time.monotonic()
        client.registered("b", **described).start()
        held_up = time.monotonic() - began_at
        registry.resume()

        wait_until(lambda: registration.state == State.REGISTERED, 2)
        assert client.get("a").is_alive
    assert held_up < 3


def test_leaving_a_registry_that_hangs_takes_a_second(
    client: AgentRegistryClient, registry: RegistryProcess, described: dict[str, Any]
) -> None:
    """And no more, whatever is on its way."""
    registration = client.registered("a", **described).start()
    registry.pause()
    began_at = time.monotonic()

    registration.leave()

    assert time.monotonic() - began_at < 1.2
    registry.resume()


def test_a_mistake_does_not_end_the_beats(
    client: AgentRegistryClient,
    described: dict[str, Any],
    wait_until: Wait,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Not even one of our own; it is logged, and the agent is kept."""
    send = client._transport.send

    def stumble(*_: object) -> None:
        client._transport.send = send  # type: ignore[method-assign]
        raise RuntimeError("mistake of ours")

    with client.registered("a", **described) as registration:
        client._transport.send = stumble  # type: ignore[assignment,method-assign]
        wait_until(lambda: registration.state == State.RETRYING)
        wait_until(lambda: registration.state == State.REGISTERED, 3)

        assert "mistake of ours" in caplog.text


def test_many_that_leave_an_absent_registry_say_so_once(
    client: AgentRegistryClient,
    registry: RegistryProcess,
    described: dict[str, Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """One attempt and one line in the log, not one for each of them."""
    kept = [
        client.registered(f"a-{n}", **described | {"ttl_seconds": 60}).start()
        for n in range(20)
    ]
    registry.kill()

    client.close()

    assert {registration.state for registration in kept} == {State.LEFT}
    assert "a-0 (and 19 more) left, but is listed" in caplog.text
    assert len([r for r in caplog.records if "left" in r.message]) == 1


GARBAGE = [
    b"\x00\xff\x00\xff" * 100,
    b"SSH-2.0-OpenSSH_9.2\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]",
    b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n{}",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"HTTP/1.1 302 Found\r\nLocation: http://evil/\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 6\r\n\r\n<html>",
    b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}",
    b"",
]


class Garbage:
    """A server that answers whatever it is asked with the same bytes."""

    def __init__(self, port: int, said: bytes) -> None:
        self._said = said
        self._listening = socket.create_server(("127.0.0.1", port))
        self._listening.settimeout(0.05)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while not self._over.is_set():
            try:
                connection, _ = self._listening.accept()
            except TimeoutError:
                continue
            with connection:
                connection.recv(65_536)
                connection.sendall(self._said)

    def stop(self) -> None:
        """Close it."""
        self._over.set()
        self._thread.join()
        self._listening.close()


@pytest.fixture
def start_garbage() -> Iterator[Callable[[int, bytes], Garbage]]:
    """Return what starts such servers."""
    started: list[Garbage] = []

    def start(port: int, said: bytes) -> Garbage:
        started.append(Garbage(port, said))
        return started[-1]

    yield start
    for garbage in started:
        garbage.stop()


@pytest.mark.parametrize("said", GARBAGE)
def test_garbage_is_told_apart(
    start_garbage: Callable[[int, bytes], Garbage], unused_port: int, said: bytes
) -> None:
    """Whatever speaks at the registry's address, a caller hears of our errors only."""
    start_garbage(unused_port, said)
    client = AgentRegistryClient(f"http://127.0.0.1:{unused_port}", timeout_seconds=1)

    with pytest.raises((NotARegistry, Unreachable)):
        client.get("a")


def test_a_registry_replaced_by_garbage_is_waited_for(
    registry: RegistryProcess,
    start_garbage: Callable[[int, bytes], Garbage],
    described: dict[str, Any],
    wait_until: Wait,
) -> None:
    """Beats go on once a registry is back."""
    client = AgentRegistryClient(registry.url)
    port = int(registry.url.rpartition(":")[2])
    with client.registered("a", **described) as registration:
        registry.kill()
        garbage = start_garbage(port, GARBAGE[2])
        wait_until(lambda: isinstance(registration.last_error, NotARegistry))
        assert registration.state == State.RETRYING
        garbage.stop()
        registry.start()

        wait_until(lambda: registration.state == State.REGISTERED, 2)


def test_each_change_of_state_is_told_once_and_logged_once(
    client: AgentRegistryClient,
    registry: RegistryProcess,
    described: dict[str, Any],
    wait_until: Wait,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """To the callback and to the log, with what went wrong."""
    caplog.set_level(logging.INFO, "agent_registry_client")
    changes: list[Change] = []
    with client.registered("a", **described, on_change=changes.append) as registration:
        registry.kill()
        wait_until(lambda: registration.state == State.RETRYING)
        time.sleep(1)
        registry.start(empty=True)
        wait_until(lambda: registration.state == State.REGISTERED)
    wait_until(lambda: len(changes) == 5)

    states = [change.after.value for change in changes]
    assert states == ["registered", "retrying", "joining", "registered", "left"]
    assert isinstance(changes[1].error, Unreachable)
    logged = [r for r in caplog.records if r.name == "agent_registry_client"]
    assert [record.action for record in logged] == [  # type: ignore[attr-defined]
        f"agent_{state}" for state in states
    ]


def test_a_callback_that_hangs_or_raises_stops_no_beat(
    client: AgentRegistryClient,
    described: dict[str, Any],
    caplog: pytest.LogCaptureFixture,
    wait_until: Wait,
) -> None:
    """It has a thread of its own; what it raises is logged."""
    release = threading.Event()

    def hang(_: Change) -> None:
        release.wait(10)
        raise RuntimeError("mistake of the program")

    with client.registered("a", **described, on_change=hang) as registration:
        time.sleep(1.2)

        assert (registration.silent_seconds or 9) < 0.7
        release.set()
        wait_until(lambda: "mistake of the program" in caplog.text)


@pytest.fixture
def unused_port() -> int:
    """Return a port nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as bound:
        return int(bound.getsockname()[1])
