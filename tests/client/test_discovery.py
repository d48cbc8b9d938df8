"""The local copy, with a clock of our own, and against a registry."""

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from agent_registry_client import (
    AgentInfo,
    AgentRegistryClient,
    AsyncAgentRegistryClient,
    Discovered,
    InvalidRequest,
    Unreachable,
)
from agent_registry_client.discovery import MAX_COPIES, LocalCopies, LocalCopy
from agent_registry_client.models import Page
from agent_registry_client.testing import RegistryProcess

AWAY = Unreachable("connection refused")
SOON = datetime(2026, 11, 22, tzinfo=UTC)
AGENT = AgentInfo(
    agent_id="a",
    agent_name="A",
    host="10.0.0.7",
    port=80,
    ttl_seconds=30,
    metadata={},
    is_alive=True,
    status="alive",
    last_heartbeat=SOON,
    expires_at=SOON,
    registered_at=SOON,
    age_seconds=0.0,
)


class Clock:
    """Time that stands still."""

    now = 100.0

    def __call__(self) -> float:
        """Tell it."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    """Return a clock."""
    return Clock()


@pytest.fixture
def copy(clock: Clock) -> LocalCopy:
    """Return a copy that knows one agent, and draws the longest pauses."""
    copy = LocalCopy(clock, lambda: 1.0)
    copy.heard((AGENT,))
    return copy


def test_a_copy_tells_its_age_and_why(copy: LocalCopy, clock: Clock) -> None:
    """The agents as they were, and the failure since."""
    clock.now += 50
    copy.missed(AWAY)

    told = copy.tell()

    assert (told.agents, told.age_seconds, told.error) == ((AGENT,), 50, AWAY)


def test_nothing_is_told_when_nothing_was_ever_heard(clock: Clock) -> None:
    """An absent registry is not an empty one."""
    copy = LocalCopy(clock)
    copy.missed(AWAY)

    with pytest.raises(Unreachable):
        copy.tell()
    assert not copy.serves(60)


def test_a_registry_that_failed_is_left_in_peace_for_a_while(
    copy: LocalCopy, clock: Clock
) -> None:
    """Callers are served at once; the pauses double, up to a quarter of a minute."""
    pauses = []
    for _ in range(5):
        copy.missed(AWAY)
        began_at = clock.now
        while copy.serves(0):
            clock.now += 1
        pauses.append(clock.now - began_at)

    assert pauses == [2, 4, 8, 15, 15]


def test_a_young_copy_answers_for_the_registry(copy: LocalCopy, clock: Clock) -> None:
    """While it is younger than the caller allows."""
    clock.now += 2

    assert copy.serves(3)
    assert not copy.serves(2)


def test_an_empty_answer_after_a_full_one_is_believed_when_it_is_confirmed(
    copy: LocalCopy, clock: Clock
) -> None:
    """A beat interval later: whoever lives is back by then."""
    clock.now += 1
    copy.heard(())
    first = copy.tell()
    clock.now += 9.9
    copy.heard(())
    second = copy.tell()
    clock.now += 0.1
    copy.heard(())

    assert (first.agents, first.unconfirmed_empty, first.age_seconds) == (
        (AGENT,),
        True,
        1,
    )
    assert second.agents == (AGENT,)
    assert (copy.tell().agents, copy.tell().unconfirmed_empty) == ((), False)


def test_a_full_answer_in_between_begins_the_doubt_anew(
    copy: LocalCopy, clock: Clock
) -> None:
    """Only emptiness that lasts is confirmed."""
    copy.heard(())
    clock.now += 9
    copy.heard((AGENT,))
    copy.heard(())
    clock.now += 9
    copy.heard(())

    assert copy.tell().agents == (AGENT,)


def test_a_failure_in_between_begins_the_doubt_anew(
    copy: LocalCopy, clock: Clock
) -> None:
    """The registry may have been away because it started anew."""
    copy.heard(())
    clock.now += 9
    copy.missed(AWAY)
    clock.now += 2
    copy.heard(())

    assert copy.tell().agents == (AGENT,)
    assert copy.tell().unconfirmed_empty


def test_one_question_is_on_its_way_at_a_time(copy: LocalCopy) -> None:
    """Whoever asks meanwhile waits for the same answer, and a failure counts once."""
    asked: list[int] = []
    release = threading.Event()

    def question() -> Page:
        asked.append(1)
        release.wait(10)
        raise AWAY

    waiting = [copy.ask(question) for _ in range(3)]
    release.set()
    for future in waiting:
        future.result(10)

    assert len(asked) == 1
    assert copy._failures == 1
    copy.ask(question).result(10)
    assert len(asked) == 2


def test_a_copy_is_waited_with_for_a_second(copy: LocalCopy, clock: Clock) -> None:
    """All who ask, together; without one there is nothing to give instead."""
    release = threading.Event()
    copy.ask(lambda: release.wait(10) and Page(agents=(), next_cursor=None))  # type: ignore[arg-type,return-value]
    first = copy.patience_seconds
    clock.now += 0.6
    second = copy.patience_seconds
    clock.now += 0.6
    third = copy.patience_seconds
    release.set()

    assert (first, second, third) == (1, pytest.approx(0.4), 0)
    assert LocalCopy(clock).patience_seconds is None


def test_no_agent_keeps_a_doubt_up_for_more_than_a_minute(
    copy: LocalCopy, clock: Clock
) -> None:
    """However long its TTL."""
    copy.heard((replace(AGENT, ttl_seconds=86_400),))
    copy.heard(())
    clock.now += 60
    copy.heard(())

    assert copy.tell().agents == ()


def test_questions_are_forgotten_in_the_end() -> None:
    """Memory is bounded, and each question has a copy of its own."""
    copies = LocalCopies()
    first = copies.of("first")

    for number in range(MAX_COPIES - 1):
        copies.of(str(number))
    assert copies.of("first") is first
    copies.of("one more")

    assert copies.of("first") is not first


def test_discovery_outlives_the_registry(
    registry: RegistryProcess, described: dict[str, Any]
) -> None:
    """What was found is found while it is away, and what was never asked is not."""
    client = AgentRegistryClient(registry.url)
    client.register("a", **described | {"ttl_seconds": 60})
    fresh = client.discover(name="Summariser")
    registry.kill()

    old = client.discover(name="Summariser")

    assert [agent.agent_id for agent in old.agents] == ["a"]
    assert fresh.error is None
    assert isinstance(old.error, Unreachable)
    assert old.age_seconds > fresh.age_seconds
    with pytest.raises(Unreachable):
        client.discover(name="Translator")


@pytest.mark.parametrize("in_a_loop", [False, True])
def test_a_registry_that_hangs_is_not_waited_for_when_there_is_a_copy(
    registry: RegistryProcess, described: dict[str, Any], *, in_a_loop: bool
) -> None:
    """Ten callers are served within the second, by one question."""
    client = AgentRegistryClient(registry.url)
    other = AsyncAgentRegistryClient(registry.url)
    client.register("a", **described | {"ttl_seconds": 60})
    client.discover()
    asyncio.run(other.discover())
    registry.pause()
    before = threading.active_count()
    began_at = time.monotonic()

    async def ask() -> list[Discovered]:
        return await asyncio.gather(*(other.discover() for _ in range(10)))

    if in_a_loop:
        found = asyncio.run(ask())
    else:
        with ThreadPoolExecutor(10) as pool:
            found = list(pool.map(lambda _: client.discover(), range(10)))

    assert time.monotonic() - began_at < 1.5
    assert {told.agents[0].agent_id for told in found} == {"a"}
    assert threading.active_count() <= before + 1


def test_a_forked_child_waits_for_no_answer_of_its_parents(
    run_program: Callable[[str], Any], registry: RegistryProcess
) -> None:
    """Its parent's question is not on its way there; the copy is."""
    program = run_program("""
        client.register('a', **me)
        client.discover()
        say('known')
        sys.stdin.readline()
        client.discover()
        if os.fork() == 0:
            say([agent.agent_id for agent in client.discover().agents])
            for _ in range(60):
                time.sleep(0.1)
                age_seconds = client.discover().age_seconds
                if age_seconds < 0.1: break
            say(age_seconds < 0.1)
            os._exit(0)
        os.wait()
    """)
    assert program.hear() == "known"
    registry.pause()
    program.process.stdin.write("\n")
    program.process.stdin.flush()

    first = program.hear()
    registry.resume()

    assert (first, program.hear()) == ("['a']", "True")


def test_without_a_thread_it_is_asked_in_this_one(
    run_program: Callable[[str], Any],
) -> None:
    """None can be started while a program ends."""
    program = run_program("""
        client.register('a', **me)
        def stumble(_): raise RuntimeError("can't start")
        threading.Thread.start = stumble
        say([agent.agent_id for agent in client.discover().agents])
    """)

    assert program.end()[:2] == (0, "['a']")


def test_a_question_that_is_wrong_is_an_error(client: AgentRegistryClient) -> None:
    """No copy hides a mistake of the caller."""
    with pytest.raises(InvalidRequest):
        client.discover(host="x" * 300)
