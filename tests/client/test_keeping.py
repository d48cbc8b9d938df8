"""Agents that are kept registered, while their registry misbehaves."""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from agent_registry_client import (
    AgentRegistryClient,
    Change,
    InvalidRequest,
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

    assert time.monotonic() - began_at < 3
    registry.resume()


def test_an_id_that_is_leaving_can_be_registered_again(
    client: AgentRegistryClient,
    registry: RegistryProcess,
    described: dict[str, Any],
    wait_until: Wait,
) -> None:
    """Who hangs in its goodbye is followed by who comes next."""
    client.registered("other", **described).start()
    first = client.registered("a", **described).start()
    registry.pause()
    first.leave()

    second = client.registered("a", **described | {"port": 8002}).start()
    registry.resume()
    wait_until(lambda: second.state == State.REGISTERED)

    assert first.state == State.LEFT
    assert client.get("a").port == 8002
    time.sleep(1)
    assert client.get("a").is_alive


def test_a_registration_that_was_left_before_its_start_is_over(
    client: AgentRegistryClient,
    described: dict[str, Any],
    listed: Callable[[], set[str]],
) -> None:
    """At once; and it is no ghost that somebody else's thread registers."""
    never = client.registered("never", **described)
    began_at = time.monotonic()
    never.leave()
    took = time.monotonic() - began_at

    with pytest.raises(RuntimeError, match="over"):
        never.start()
    with client.registered("a", **described):
        assert listed() == {"a"}
    assert never.state == State.LEFT
    assert took < 0.5


@pytest.mark.parametrize("ttl_seconds", [60 * 10**9, -5])
def test_a_ttl_that_is_none_does_not_end_the_beats(
    client: AgentRegistryClient,
    described: dict[str, Any],
    ttl_seconds: int,
    wait_until: Wait,
) -> None:
    """It is refused where it is written, and harms nobody else."""
    with pytest.raises(InvalidRequest, match="ttl_seconds"):
        client.registered("wrong", **described | {"ttl_seconds": ttl_seconds}).start()

    with client.registered("a", **described) as registration:
        wait_until(lambda: registration.state == State.REGISTERED, 3)


def test_metadata_that_is_spoiled_later_harms_nobody(
    client: AgentRegistryClient, described: dict[str, Any], wait_until: Wait
) -> None:
    """The agent comes back as it described itself, and the others beat on."""
    metadata: dict[str, Any] = {"zone": "eu"}
    with (
        client.registered("a", **described, metadata=metadata) as a,
        client.registered("b", **described) as b,
    ):
        metadata["broken"] = object()
        client.deregister("a")
        wait_until(lambda: client.agents(metadata={"zone": "eu"}))

        time.sleep(0.7)
        assert (a.state, b.state) == (State.REGISTERED, State.REGISTERED)
        assert (b.silent_seconds or 9) < 0.7


@pytest.mark.parametrize("mistake", [RuntimeError, SystemExit])
def test_a_log_that_raises_ends_no_beat(
    client: AgentRegistryClient,
    described: dict[str, Any],
    wait_until: Wait,
    mistake: type[BaseException],
) -> None:
    """A filter of the program is the program's mistake, one that exits too."""
    stumbled = threading.Event()

    def stumble(_: logging.LogRecord) -> bool:
        stumbled.set()
        raise mistake("of the program")

    with client.registered("a", **described) as registration, _filtered(stumble):
        client.deregister("a")
        assert stumbled.wait(3)

        wait_until(lambda: registration.state == State.REGISTERED, 3)
        assert client.get("a").is_alive
        registration.leave()
        assert registration._member.left.done()


def test_a_log_that_hangs_stops_no_beat(
    client: AgentRegistryClient, described: dict[str, Any], wait_until: Wait
) -> None:
    """Its handler may write to a pipe that nobody reads, or to a network."""
    hangs, release = threading.Event(), threading.Event()

    def hang(_: logging.LogRecord) -> bool:
        hangs.set()
        return release.wait(10)

    with client.registered("a", **described) as registration, _filtered(hang):
        client.deregister("a")
        assert hangs.wait(3)

        wait_until(lambda: registration.state == State.REGISTERED, 3)
        release.set()


@contextlib.contextmanager
def _filtered(by: Callable[[logging.LogRecord], bool]) -> Iterator[None]:
    logger = logging.getLogger("agent_registry_client")
    logger.addFilter(by)
    try:
        yield
    finally:
        logger.removeFilter(by)


def test_without_a_thread_nobody_is_kept_and_the_next_one_is(
    run_program: Callable[[str], Any],
) -> None:
    """What could not begin is an error, and no ghost."""
    program = run_program("""
        stumble = lambda *_: (_ for _ in ()).throw(RuntimeError("can't start"))
        start, threading.Thread.start = threading.Thread.start, stumble
        first = client.registered('first', **me)
        try:
            first.start()
        except RuntimeError as error:
            say(error)
        threading.Thread.start = start
        with client.registered('second', **me) as second:
            say(second.state, [agent.agent_id for agent in client.agents()])
    """)

    assert program.end() == (0, "can't start\nregistered ['second']", "")


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
    assert "a-0 (and 19 more) left, but may be listed" in caplog.text
    assert len([r for r in caplog.records if "left" in r.message]) == 1


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
