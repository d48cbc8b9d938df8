"""Another process holds the database's lock: nobody is lost, and it heals by itself."""

import http.client
import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any, NamedTuple

import pytest

NineOfTen = Callable[[Sequence[float]], float]

TTL = 5
LOCKED = TTL + 1
AFTERWARDS = 2
BEATERS = 60
#: A read is to take 0.1 s, on a machine that does nothing else.
PROMPT_READ, PROMPT_REFUSAL = 0.5, 1.0


class Answer(NamedTuple):
    """What one call was answered, and how long that took."""

    asked_at: float
    seconds: float
    status: int
    retry_after: str | None
    content: Any


def _ask(connection: http.client.HTTPConnection, method: str, path: str) -> Answer:
    asked_at = time.monotonic()
    connection.request(method, path)
    answer = connection.getresponse()
    content = json.loads(answer.read())
    return Answer(
        asked_at,
        time.monotonic() - asked_at,
        answer.status,
        answer.headers["Retry-After"],
        content,
    )


class Story(NamedTuple):
    """What was answered while the database was locked, and after that."""

    beats: list[Answer]
    reads: list[Answer]
    beats_later: list[Answer]
    reads_later: list[Answer]
    health: Any


@contextmanager
def _locked(database: Any) -> Iterator[None]:
    """Hold the lock that every change needs, on a connection that is not ours."""
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


@pytest.fixture(scope="module")
def story(
    daemons_in: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Story]:
    """Let sixty agents beat on while their registry cannot write."""
    with daemons_in(tmp_path_factory.mktemp("locked")) as start:
        daemon = start(
            AGENT_REGISTRY_LEASES__SWEEP_INTERVAL_SECONDS="1",
            AGENT_REGISTRY_GUARD__ENABLED="false",
        )
        for number in range(BEATERS):
            body = {"agent_id": f"agent-{number}", "agent_name": "agent"}
            body |= {"host": "10.0.0.7", "port": 80, "ttl_seconds": TTL}
            daemon.call("POST", "/agents/register", body)
        beats: list[Answer] = []
        over = threading.Event()

        def beat(number: int) -> None:
            with closing(daemon.connect()) as connection:
                path = f"/agents/agent-{number}/heartbeat"
                while not over.wait(TTL / 10):
                    beats.append(_ask(connection, "POST", path))

        beating = [threading.Thread(target=beat, args=(n,)) for n in range(BEATERS)]
        for thread in beating:
            thread.start()
        with closing(daemon.connect()) as reader:
            with _locked(daemon.database):
                locked_at = time.monotonic()
                reads = list(_read(reader, LOCKED))
                released_at = time.monotonic()
            reads_later = list(_read(reader, AFTERWARDS))
        over.set()
        for thread in beating:
            thread.join()
        health = daemon.call("GET", "/health")
        yield Story(
            [
                one
                for one in beats
                if locked_at < one.asked_at < released_at - PROMPT_REFUSAL
            ],
            reads,
            [one for one in beats if one.asked_at > released_at + 0.5],
            reads_later,
            health,
        )


def _read(reader: http.client.HTTPConnection, seconds: float) -> Iterator[Answer]:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        yield _ask(reader, "GET", "/agents?include_dead=true")
        time.sleep(0.05)


def test_reads_stay_prompt(story: Story, nine_of_ten: NineOfTen) -> None:
    """They have threads and connections of their own."""
    assert {read.status for read in story.reads} == {200}
    assert nine_of_ten([read.seconds for read in story.reads]) < PROMPT_READ


def test_beats_are_put_off_soon(story: Story, nine_of_ten: NineOfTen) -> None:
    """503 and when to ask again, rather than a long wait."""
    told = {(beat.status, beat.retry_after is None) for beat in story.beats}

    assert told == {(503, False)}
    assert nine_of_ten([beat.seconds for beat in story.beats]) < PROMPT_REFUSAL


def test_nobody_is_seen_dead_nor_gone(story: Story) -> None:
    """Neither while beats cannot be written nor after it."""
    for read in story.reads + story.reads_later:
        assert len(read.content) == BEATERS
        assert {agent["status"] for agent in read.content} <= {"alive", "late"}


def test_the_daemon_recovers_by_itself(story: Story) -> None:
    """Beats are taken again, and health tells that leases were re-armed."""
    assert {beat.status for beat in story.beats_later} == {200}
    assert story.health["status"] == "ok"
    assert story.health["lease_time"]["rearms"]["stall"] == 1
