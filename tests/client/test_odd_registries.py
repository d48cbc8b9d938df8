"""Registries that refuse, limit, or fail for one; and what answers in place of one."""

import asyncio
import itertools
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from agent_registry_client import (
    AgentRegistryClient,
    AsyncAgentRegistryClient,
    LimitReached,
    NotAllowed,
    NotARegistry,
    State,
    Unreachable,
)
from agent_registry_client.testing import RegistryProcess

Wait = Callable[..., Any]

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


LEASE = {
    "agent_id": "a",
    "expires_at": "2026-11-22T15:46:00.000000Z",
    "ttl_seconds": 1,
    "heartbeat_interval_seconds": 0.3,
}
AGENT = LEASE | {
    "agent_name": "A",
    "host": "10.0.0.7",
    "port": 80,
    "metadata": {},
    "is_alive": True,
    "status": "alive",
    "last_heartbeat": "2026-11-22T15:45:00.000000Z",
    "registered_at": "2026-11-22T15:45:00.000000Z",
    "age_seconds": 0,
    "outcome": "created",
}


def problem(status: int, code: str) -> Any:
    """Return an answer."""
    return status, {"status": status, "code": code, "detail": "No."}


def yes(method: str, path: str, body: Any) -> Any:
    """Answer as a registry that knows everybody."""
    if path == "/agents/register":
        return 201, AGENT | {"agent_id": body["agent_id"]}
    if path == "/agents/heartbeats":
        return 200, {"renewed": len(body["agent_ids"]), "unknown": []}
    return (204, None) if method == "DELETE" else (200, LEASE)


@pytest.mark.parametrize(
    "interval", [b"NaN", b"Infinity", b"1e999", b"0", b"-1", b"1" + b"0" * 400]
)
def test_an_interval_that_is_none_is_of_no_registry(
    play_registry: Any, interval: bytes
) -> None:
    """Nobody can wait so long, or beat so often."""
    registry = play_registry(
        lambda *_: (200, json.dumps(LEASE).encode().replace(b"0.3", interval))
    )

    with pytest.raises(NotARegistry):
        AgentRegistryClient(registry.url).heartbeat("a")


@pytest.mark.parametrize("cursors", ["b", "ba"])
def test_pages_that_do_not_go_on_are_of_no_registry(
    play_registry: Any, cursors: str
) -> None:
    """A cache that ignores the query would be read for ever; or one goes in circles."""

    def told() -> Callable[..., Any]:
        turn = itertools.cycle(cursors)
        return lambda *_: (
            200,
            [AGENT],
            {"Link": f'</agents?limit=1&cursor={next(turn)}>; rel="next"'},
        )

    agents = AgentRegistryClient(play_registry(told()).url).iter_agents()
    others = AsyncAgentRegistryClient(play_registry(told()).url).iter_agents()

    async def read_others() -> None:
        assert (await anext(others)).agent_id == "a"
        await anext(others)

    assert next(agents).agent_id == "a"
    with pytest.raises(NotARegistry):
        next(agents)
    with pytest.raises(NotARegistry):
        asyncio.run(read_others())


@pytest.mark.parametrize("interval", [1e11, 1e-9])
def test_an_interval_beyond_belief_does_not_end_or_rush_the_beats(
    play_registry: Any, described: dict[str, Any], interval: float
) -> None:
    """Another agent of the client is kept all along."""

    def told(method: str, path: str, body: Any) -> Any:
        status, answer = yes(method, path, body)
        if path == "/agents/register" and body["agent_id"] == "odd":
            answer["heartbeat_interval_seconds"] = interval
        return status, answer

    registry = play_registry(told)
    client = AgentRegistryClient(registry.url)
    with client.registered("odd", **described), client.registered("a", **described):
        registry.asked.clear()
        time.sleep(1)

        assert 2 <= len(registry.asked) < 30


@pytest.mark.parametrize(
    ("status", "code"), [(401, "unauthenticated"), (403, "forbidden")]
)
def test_a_client_that_is_not_allowed_tries_at_its_interval(
    play_registry: Any,
    described: dict[str, Any],
    wait_until: Wait,
    caplog: pytest.LogCaptureFixture,
    status: int,
    code: str,
) -> None:
    """An operator may grant it; until then it is told once, and no storm."""
    allowed = threading.Event()
    allowed.set()
    registry = play_registry(
        lambda *asked: yes(*asked) if allowed.is_set() else problem(status, code)
    )
    with AgentRegistryClient(registry.url).registered("a", **described) as mine:
        allowed.clear()
        wait_until(lambda: mine.state == State.REFUSED, 3)
        registry.asked.clear()
        time.sleep(1)
        refused = len(registry.asked)
        allowed.set()

        wait_until(lambda: mine.state == State.REGISTERED, 3)

    assert isinstance(mine.last_error, NotAllowed)
    assert 1 <= refused < 12
    assert len([r for r in caplog.records if "refused" in r.message]) == 1


@pytest.mark.parametrize("status", [401, 403])
def test_who_is_not_allowed_hears_of_it_where_it_registers(
    play_registry: Any, described: dict[str, Any], status: int
) -> None:
    """And may try again at once, when somebody has granted it."""
    described |= {"ttl_seconds": 60}
    allowed = threading.Event()
    registry = play_registry(
        lambda *asked: yes(*asked) if allowed.is_set() else problem(status, "no")
    )
    client = AgentRegistryClient(registry.url)
    for agent_id in "abc":
        with pytest.raises(NotAllowed):
            client.registered(agent_id, **described).start()
    allowed.set()

    with client.registered("a", **described) as registration:
        assert registration.state == State.REGISTERED


def test_one_that_breaks_a_common_beat_takes_nobody_along(
    play_registry: Any, described: dict[str, Any], wait_until: Wait
) -> None:
    """The others are renewed, and it alone is not."""

    def told(method: str, path: str, body: Any) -> Any:
        broken = path.endswith(("/broken/heartbeat",)) or (
            path == "/agents/heartbeats" and "broken" in body["agent_ids"]
        )
        return problem(500, "internal_error") if broken else yes(method, path, body)

    registry = play_registry(told)
    with AgentRegistryClient(registry.url) as client:
        kept = [
            client.registered(name, **described).start()
            for name in ("a", "b", "broken", "c")
        ]
        wait_until(
            lambda: (
                [one.agent_id for one in kept if one.state == State.RETRYING]
                == ["broken"]
            )
        )
        time.sleep(1)
        silent = [one.silent_seconds or 9 for one in kept if one.agent_id != "broken"]

    assert max(silent) < 1.5


def test_a_limit_is_waited_for_and_holds_up_no_beat(
    play_registry: Any, described: dict[str, Any]
) -> None:
    """As long as it is asked to, up to an interval."""
    taken = threading.Event()

    def told(method: str, path: str, body: Any) -> Any:
        if path == "/agents/register" and taken.is_set():
            return (*problem(429, "quota_exceeded"), {"Retry-After": "2"})
        return yes(method, path, body)

    registry = play_registry(told)
    with AgentRegistryClient(registry.url) as client:
        client.registered("a", **described).start()
        taken.set()
        late = client.registered("late", **described | {"ttl_seconds": 60}).start()
        registry.asked.clear()
        time.sleep(1.5)
        counted = Counter(path for _, path, _ in registry.asked)

    assert isinstance(late.last_error, LimitReached)
    assert counted["/agents/register"] == 0
    assert counted["/agents/a/heartbeat"] >= 3


def test_a_goodbye_that_is_refused_does_not_keep_the_others_from_theirs(
    play_registry: Any, described: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Only a registry that is away ends them all."""

    def told(method: str, path: str, body: Any) -> Any:
        forbidden = method == "DELETE" and path == "/agents/a"
        return problem(403, "forbidden") if forbidden else yes(method, path, body)

    registry = play_registry(told)
    client = AgentRegistryClient(registry.url)
    for agent_id in "abc":
        client.registered(agent_id, **described | {"ttl_seconds": 60}).start()

    client.close()

    said = [path for method, path, _ in registry.asked if method == "DELETE"]
    assert said == ["/agents/a", "/agents/b", "/agents/c"]
    assert "a left, but may be listed" in caplog.text
    assert "and 1 more" not in "".join(
        r.message for r in caplog.records if "but may be listed" in r.message
    )


def test_goodbyes_one_by_one_starve_no_beat(
    play_registry: Any, described: dict[str, Any]
) -> None:
    """Thirty of 0.2 s each kept one silent for 6 s."""

    def told(method: str, path: str, body: Any) -> Any:
        if method == "DELETE":
            time.sleep(0.05)
        return yes(method, path, body)

    registry = play_registry(told)
    with AgentRegistryClient(registry.url) as client:
        client.registered("stays", **described).start()
        going = [client.registered(f"{n}", **described).start() for n in range(20)]
        registry.asked.clear()
        for left in [one._finish() for one in going]:
            left.result(10)
        methods = [method for method, _, _ in registry.asked]

    first, *_, last = (at for at, method in enumerate(methods) if method == "DELETE")
    assert "POST" in methods[first:last]


def test_a_goodbye_to_several_registries_that_hang_takes_a_second(
    play_registry: Any, described: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """All of them together; that it failed is still told."""

    def told(method: str, path: str, body: Any) -> Any:
        if method == "DELETE":
            time.sleep(3)
        return yes(method, path, body)

    client = AgentRegistryClient([play_registry(told).url, play_registry(told).url])
    registration = client.registered("a", **described | {"ttl_seconds": 60}).start()
    began_at = time.monotonic()

    registration.leave()

    assert registration.state == State.LEFT
    assert time.monotonic() - began_at < 1.9
    assert "a left, but may be listed" in caplog.text


@pytest.fixture
def unused_port() -> int:
    """Return a port nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as bound:
        return int(bound.getsockname()[1])
